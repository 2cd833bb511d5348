"""How well every pixel is classified, from exact pixel totals over the whole test set.

Figures are read off the totals, never averaged over images. Pixels that the truth leaves unknown do not
count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from swath.errors import ConfigurationError
from swath.metrics.base import Metric, Tally, expect_kind, expect_same_frame, harmonic_mean, share
from swath.metrics.calibration import BINS, Reliability
from swath.metrics.classes import class_positions
from swath.metrics.confusion import ConfusionMatrix, count_pairs, true_positions
from swath.samples.rasters import ClassMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation


@dataclass(frozen=True, kw_only=True)
class RelaxedMatch:
    """Precision and recall that forgive small shifts, as Mnih (2013) measures roads and buildings.

    A predicted pixel of `class_name` counts as right when a true one lies within `tolerance` pixels (centre
    to centre, Euclidean), and a true pixel as found when a predicted one does.

    >>> RelaxedMatch(class_name="building").tolerance
    3.0
    """

    class_name: str
    tolerance: float = 3.0

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ConfigurationError(f"A tolerance is at least 0 pixels; found {self.tolerance}.")

    def counts(self, said: NDArray[np.bool_], true: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for two masks (H, W): predicted, predicted near true, true, true near predicted."""
        near_true, near_said = self._near(true), self._near(said)
        return np.array([said.sum(), (said & near_true).sum(), true.sum(), (true & near_said).sum()], dtype=np.int64)

    def figures(self, counts: NDArray[np.int64]) -> dict[str, float]:
        """Return relaxed precision, recall and F1 from the four counts."""
        said, said_near, true, true_near = counts.tolist()
        precision, recall = share(said_near, said), share(true_near, true)
        suffix = f"({self.class_name}, {self.tolerance:g} px)"
        return {
            f"relaxed precision {suffix}": precision,
            f"relaxed recall {suffix}": recall,
            f"relaxed F1 {suffix}": harmonic_mean(precision, recall),
        }

    def _near(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if not mask.any():
            return np.zeros_like(mask)
        near: NDArray[np.bool_] = distance_transform_edt(~mask) <= self.tolerance
        return near


@dataclass(frozen=True, eq=False)
class SegmentationMetric(Metric):
    """Overall and mean accuracy, mean IoU, precision and F1, and each class's IoU, F1, precision and recall.

    "mean accuracy" is the mean recall of the classes. A class that neither truth nor prediction holds in the
    whole set is left out of the means and its own figures are NaN; any other 0 / 0 is 0. Classes are matched
    by name; a pixel predicted as unknown, or as a class not measured, is wrong. When every prediction has
    confidences, their expected calibration error (15 equal bins over pixels) is given too.

    >>> from swath.geometry.windows import Size
    >>> metric = SegmentationMetric(("background", "building"))
    >>> said, true = (ClassMap(size=Size(1, 4), labels=[row], classes=metric.classes)
    ...               for row in ([1, 1, 0, 0], [1, 0, 0, 0]))
    >>> metric.update(said, true)
    >>> round(metric.compute()["mean IoU"], 6)
    0.583333
    """

    classes: tuple[str, ...]
    relaxed: RelaxedMatch | None = None

    def __post_init__(self) -> None:
        if self.relaxed is not None and self.relaxed.class_name not in self.classes:
            raise ConfigurationError(
                f"The relaxed class '{self.relaxed.class_name}' is none of the classes {', '.join(self.classes)}."
            )

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Count one image's pixels; raise `AnnotationError` unless both are class maps of the same size."""
        said, true = expect_kind(prediction, ClassMap, "prediction"), expect_kind(truth, ClassMap, "truth")
        expect_same_frame(said, true)
        known = true.known()
        rows = true_positions(true.classes, self.classes)[true.labels[known]]
        columns = pixel_positions(said, self.classes)[known]
        matrix = count_pairs(rows, columns, len(self.classes))
        if said.confidence is None:
            reliability = Reliability.of(np.zeros(0), np.zeros(0, dtype=np.bool_))
        else:
            reliability = Reliability.of(said.confidence[known], rows == columns)
        return Tally(
            counts=np.concatenate(
                [matrix.ravel(), self._relaxed_counts(said, true, known), reliability.seen, reliability.right]
            ),
            sums=reliability.confidence,
        )

    def confusion(self, total: Tally | None = None) -> ConfusionMatrix:
        """Return the confusion matrix of a total in pixels, by default of the running one."""
        counts = (total or self.total).counts[: len(self.classes) * (len(self.classes) + 1)]
        return ConfusionMatrix(self.classes, counts.reshape(len(self.classes), -1))

    def reliability(self, total: Tally) -> Reliability | None:
        """Return the reliability of the pixels' confidences, None unless every pixel measured has one."""
        seen, right = total.counts[-2 * BINS : -BINS], total.counts[-BINS:]
        complete = seen.sum() == self.confusion(total).counts.sum() > 0
        return Reliability(seen, right, total.sums) if complete else None

    def relaxed_figures(self, total: Tally) -> dict[str, float]:
        """Return the figures of the relaxed match, none without one."""
        if self.relaxed is None:
            return {}
        return self.relaxed.figures(total.counts[-2 * BINS - 4 : -2 * BINS])

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        matrix = self.confusion(total)
        by_class = {
            "IoU": matrix.iou(),
            "F1": matrix.f1(),
            "precision": matrix.precision(),
            "recall": matrix.recall(),
        }
        present = matrix.present
        means = {
            kind: float(values[present].mean()) if present.any() else math.nan for kind, values in by_class.items()
        }
        figures = {
            "overall accuracy": matrix.accuracy(),
            "mean accuracy": means["recall"],
            "mean IoU": means["IoU"],
            "mean precision": means["precision"],
            "mean F1": means["F1"],
        }
        reliability = self.reliability(total)
        if reliability is not None:
            figures["expected calibration error"] = reliability.expected_calibration_error()
        for kind, values in by_class.items():
            for name, value, there in zip(self.classes, values, present, strict=True):
                figures[f"{kind} (class {name})"] = float(value) if there else math.nan
        return figures | self.relaxed_figures(total)

    def _relaxed_counts(self, said: ClassMap, true: ClassMap, known: NDArray[np.bool_]) -> NDArray[np.int64]:
        if self.relaxed is None:
            return np.zeros(0, dtype=np.int64)
        wanted = self.classes.index(self.relaxed.class_name)
        return self.relaxed.counts(
            (pixel_positions(said, self.classes) == wanted) & known,
            (pixel_positions(true, self.classes) == wanted) & known,
        )


def pixel_positions(drawn: ClassMap, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return each pixel's position in `classes` (H, W), `len(classes)` for unknown pixels and others.

    >>> from swath.geometry.windows import Size
    >>> row = ClassMap(size=Size(1, 3), labels=[[0, 1, 255]], classes=("land", "water"))
    >>> pixel_positions(row, ("water",)).tolist()
    [[1, 0, 1]]
    """
    table = np.full(int(np.iinfo(drawn.labels.dtype).max) + 1, len(classes), dtype=np.int64)
    table[: len(drawn.classes)] = class_positions(drawn.classes, classes)
    positions: NDArray[np.int64] = table[drawn.labels]
    return positions
