"""How well whole images are classified.

Precision, recall and F1 follow MMPretrain's `SingleLabelMetric` (as RSMamba reports them): per class from the
class of the highest score, 0 where a ratio is 0 / 0, macro averages over all classes, also those that never
occur. MMPretrain prints per cent; these are fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import AnnotationError, ConfigurationError
from swath.metrics.base import Metric, Tally, expect_kind, share
from swath.metrics.calibration import BINS, Reliability, bin_of
from swath.metrics.classes import class_positions
from swath.metrics.confusion import ConfusionMatrix, true_positions
from swath.samples.labels import Label

if TYPE_CHECKING:
    from swath.samples.annotation import Annotation


@dataclass(frozen=True, eq=False)
class ClassificationMetric(Metric):
    """Accuracy, precision, recall and F1 (macro, weighted, by class), Cohen's kappa, calibration, Brier score.

    Classes of prediction and truth are matched by name, so their orders may differ; a predicted class that is
    none of `classes` counts as wrong. Weighted averages weigh each class by how often it is true. For each k of
    `top_k` below the number of classes, top-k accuracy is the share of images whose class has one of the k
    highest scores; of equal scores the earlier class comes first. The expected calibration error has 15 equal
    bins. The Brier score is the original one, the squared distance between scores and one-hot truth summed over
    the classes (0 to 2), averaged over the images.

    >>> from swath.geometry.windows import Size
    >>> metric = ClassificationMetric(("land", "water"))
    >>> land, water = (Label.of(name, metric.classes, Size(8, 8)) for name in metric.classes)
    >>> for prediction, truth in [(land, land), (water, land), (water, water)]:
    ...     metric.update(prediction, truth)
    >>> round(metric.compute()["macro F1"], 4)
    0.6667
    """

    classes: tuple[str, ...]
    top_k: tuple[int, ...] = (5,)

    def __post_init__(self) -> None:
        if any(k < 1 for k in self.top_k):
            raise ConfigurationError(f"Top-k accuracy looks at the best 1 or more classes; found k = {self.top_k}.")

    @property
    def counted_top_k(self) -> tuple[int, ...]:
        """Those of `top_k` that say something: k below the number of classes."""
        return tuple(k for k in self.top_k if k < len(self.classes))

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Count one image; raise `AnnotationError` unless both are exclusive `Label`s, the truth one-hot."""
        said, true = expect_kind(prediction, Label, "prediction"), expect_kind(truth, Label, "truth")
        if not said.exclusive or not true.exclusive or true.scores.max() < 1:
            raise AnnotationError("This metric compares labels of exclusive classes, and each truth must be one class.")
        row = int(true_positions(true.classes, self.classes)[true.scores.argmax()])
        columns = class_positions(said.classes, self.classes)
        scores = said.scores.astype(np.float64)
        best = int(scores.argmax())
        column, confidence = int(columns[best]), float(scores[best])
        number = bin_of(confidence)
        # Written into place: an evaluation tallies tens of thousands of images, and each array made would cost more.
        cells, tops = len(self.classes) * (len(self.classes) + 1), self.counted_top_k
        counts = np.zeros(cells + len(tops) + 2 * BINS, dtype=np.int64)
        counts[row * (len(self.classes) + 1) + column] = 1
        if tops:
            places = np.flatnonzero(columns[np.argsort(-scores, kind="stable")] == row)
            counts[cells : cells + len(tops)] = [len(places) > 0 and places[0] < k for k in tops]
        counts[number - 2 * BINS] = 1
        counts[number - BINS] = column == row
        sums = np.zeros(BINS + 1)
        sums[number] = confidence
        sums[-1] = np.square(scores).sum() - 2 * scores[columns == row].sum() + 1
        return Tally(counts=counts, sums=sums)

    def confusion(self, total: Tally | None = None) -> ConfusionMatrix:
        """Return the confusion matrix of a total, by default the running one."""
        counts = (total or self.total).counts[: len(self.classes) * (len(self.classes) + 1)]
        return ConfusionMatrix(self.classes, counts.reshape(len(self.classes), -1))

    def reliability(self, total: Tally) -> Reliability:
        """Return the reliability of the best class's score over a total."""
        return Reliability(total.counts[-2 * BINS : -BINS], total.counts[-BINS:], total.sums[:BINS])

    def right(self, tally: Tally) -> bool:
        """Return whether the class of one image was right."""
        return bool(tally.counts[-BINS:].any())

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        matrix, reliability = self.confusion(total), self.reliability(total)
        images = float(reliability.seen.sum())
        by_class = {"precision": matrix.precision(), "recall": matrix.recall(), "F1": matrix.f1()}
        found = total.counts[matrix.counts.size : -2 * BINS]
        return {
            "accuracy": matrix.accuracy(),
            **{
                f"top-{k} accuracy": share(float(hits), images)
                for k, hits in zip(self.counted_top_k, found, strict=True)
            },
            **{f"macro {kind}": float(values.mean()) for kind, values in by_class.items()},
            **{f"weighted {kind}": share(float(values @ matrix.true), images) for kind, values in by_class.items()},
            "Cohen's kappa": matrix.kappa(),
            "expected calibration error": reliability.expected_calibration_error(),
            "Brier score": share(total.sums[-1], images),
            **{f"F1 (class {name})": float(value) for name, value in zip(self.classes, by_class["F1"], strict=True)},
        }
