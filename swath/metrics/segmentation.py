"""How well every pixel is classified, from exact pixel totals over the whole test set.

Figures are read off the totals, never averaged over images. Pixels that the truth leaves unknown do not
count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from swath.errors import ConfigurationError
from swath.geometry._compile import compiled
from swath.metrics.base import Metric, Tally, expect_kind, expect_same_frame, harmonic_mean, share
from swath.metrics.calibration import BINS, Reliability, bin_of
from swath.metrics.classes import class_positions
from swath.metrics.confusion import ConfusionMatrix, true_positions
from swath.samples.rasters import ClassMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation

_NO_CONFIDENCE = np.zeros(0, dtype=np.float32)


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
        true_positions(true.classes, self.classes)
        sure = _NO_CONFIDENCE if said.confidence is None else said.confidence.ravel()
        matrix = np.zeros((len(self.classes), len(self.classes) + 1), dtype=np.int64)
        reliability = Reliability.empty()
        _add_pixels(
            true.labels.ravel(),
            said.labels.ravel(),
            position_table(true, self.classes),
            position_table(said, self.classes),
            sure,
            matrix,
            reliability.seen,
            reliability.right,
            reliability.confidence,
        )
        return Tally(
            counts=np.concatenate(
                [matrix.ravel(), self._relaxed_counts(said, true), reliability.seen, reliability.right]
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

    def _relaxed_counts(self, said: ClassMap, true: ClassMap) -> NDArray[np.int64]:
        if self.relaxed is None:
            return np.zeros(0, dtype=np.int64)
        wanted, known = self.classes.index(self.relaxed.class_name), true.known()
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
    positions: NDArray[np.int64] = position_table(drawn, classes)[drawn.labels]
    return positions


def position_table(drawn: ClassMap, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the position in `classes` of every value that a map's labels can have, (256,) or (65536,).

    It is `len(classes)` for what is none of them.

    >>> from swath.geometry.windows import Size
    >>> row = ClassMap(size=Size(1, 3), labels=[[0, 1, 255]], classes=("land", "water"))
    >>> position_table(row, ("water",))[[0, 1, 255]].tolist()
    [1, 0, 1]
    """
    table = np.full(int(np.iinfo(drawn.labels.dtype).max) + 1, len(classes), dtype=np.int64)
    table[: len(drawn.classes)] = class_positions(drawn.classes, classes)
    return table


@compiled
def _add_pixels(
    true: NDArray[Any],
    said: NDArray[Any],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    sure: NDArray[np.float32],
    counts: NDArray[np.int64],
    seen: NDArray[np.int64],
    hits: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add labels (N,) to the counts (K, K + 1) and, where there are confidences `sure` (N,), to their bins.

    `rows` and `columns` are position tables; what is true and none of the K classes does not count.
    """
    for pixel in range(len(true)):
        row, column = rows[true[pixel]], columns[said[pixel]]
        if row == len(counts):
            continue
        counts[row, column] += 1
        if len(sure):
            confidence = np.float64(sure[pixel])
            number = bin_of(confidence)
            seen[number] += 1
            hits[number] += row == column
            sums[number] += confidence
