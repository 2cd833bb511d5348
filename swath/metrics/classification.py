"""How well whole images are classified.

Precision, recall and F1 follow MMPretrain's `SingleLabelMetric` (as RSMamba reports them): per class from the
class of the highest score, 0 where a ratio is 0 / 0, macro averages over all classes, also those that never
occur. MMPretrain prints per cent; these are fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import AnnotationError
from swath.metrics.base import Metric, Tally, expect_kind, share
from swath.metrics.calibration import BINS, Reliability
from swath.metrics.classes import class_positions
from swath.metrics.confusion import ConfusionMatrix, count_pairs, true_positions
from swath.samples.labels import Label

if TYPE_CHECKING:
    from swath.samples.annotation import Annotation


@dataclass(frozen=True, eq=False)
class ClassificationMetric(Metric):
    """Accuracy, macro precision, recall and F1, F1 of each class, Cohen's kappa, calibration and Brier score.

    Classes of prediction and truth are matched by name, so their orders may differ; a predicted class that is
    none of `classes` counts as wrong. The expected calibration error has 15 equal bins. The Brier score is
    the original one, the squared distance between scores and one-hot truth summed over the classes (0 to 2),
    averaged over the images.

    >>> from swath.geometry.windows import Size
    >>> metric = ClassificationMetric(("land", "water"))
    >>> land, water = (Label.of(name, metric.classes, Size(8, 8)) for name in metric.classes)
    >>> for prediction, truth in [(land, land), (water, land), (water, water)]:
    ...     metric.update(prediction, truth)
    >>> round(metric.compute()["macro F1"], 4)
    0.6667
    """

    classes: tuple[str, ...]

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Count one image; raise `AnnotationError` unless both are exclusive `Label`s, the truth one-hot."""
        said, true = expect_kind(prediction, Label, "prediction"), expect_kind(truth, Label, "truth")
        if not said.exclusive or not true.exclusive or true.scores.max() < 1:
            raise AnnotationError("This metric compares labels of exclusive classes, and each truth must be one class.")
        best, place = int(said.scores.argmax()), int(true.scores.argmax())
        row = true_positions(true.classes, self.classes)[[place]]
        columns = class_positions(said.classes, self.classes)
        matrix = count_pairs(row, columns[[best]], len(self.classes))
        reliability = Reliability.of(said.scores[[best]], columns[[best]] == row)
        scores = said.scores.astype(np.float64)
        brier = np.square(scores).sum() - 2 * scores[columns == row[0]].sum() + 1
        return Tally(
            counts=np.concatenate([matrix.ravel(), reliability.seen, reliability.right]),
            sums=np.append(reliability.confidence, brier),
        )

    def confusion(self, total: Tally | None = None) -> ConfusionMatrix:
        """Return the confusion matrix of a total, by default the running one."""
        counts = (total or self.total).counts[: -2 * BINS]
        return ConfusionMatrix(self.classes, counts.reshape(len(self.classes), -1))

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        matrix = self.confusion(total)
        seen, right = total.counts[-2 * BINS : -BINS], total.counts[-BINS:]
        f1 = matrix.f1()
        return {
            "accuracy": matrix.accuracy(),
            "macro precision": float(matrix.precision().mean()),
            "macro recall": float(matrix.recall().mean()),
            "macro F1": float(f1.mean()),
            "Cohen's kappa": matrix.kappa(),
            "expected calibration error": Reliability(seen, right, total.sums[:-1]).expected_calibration_error(),
            "Brier score": share(total.sums[-1], float(seen.sum())),
            **{f"F1 (class {name})": float(value) for name, value in zip(self.classes, f1, strict=True)},
        }
