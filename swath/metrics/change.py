"""How well change between two dates is found, from exact pixel totals over the whole test set.

Figures are read off the totals, never averaged over images or tiles, so that a set measured in tiles and whole
gives the same numbers for the same predictions. (Only pixels within the tolerance of a tile's edge may differ
in the relaxed figures: what lies in the next tile is not seen.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import ConfigurationError
from swath.metrics.base import Metric, Tally, expect_kind, expect_same_frame, harmonic_mean, share
from swath.metrics.confusion import ConfusionMatrix, count_pairs, true_positions
from swath.metrics.segmentation import RelaxedMatch, SegmentationMetric, pixel_positions
from swath.samples.rasters import ClassMap, Transition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.metrics.calibration import Reliability
    from swath.samples.annotation import Annotation


@dataclass(frozen=True, eq=False)
class ChangeMetric(Metric):
    """Precision, recall, F1 and IoU of change, Cohen's kappa and overall accuracy over all known pixels.

    `classes` are two, unchanged first. Predictions and truths are class maps of these, or transitions, which
    changed where their two classes are known and differ. Pixels that the truth leaves unknown do not count; a
    pixel that the prediction leaves unknown is wrong. With a `tolerance` in pixels there are also precision,
    recall and F1 that forgive shifts of so many pixels between the dates or against the truth (`RelaxedMatch`).
    Where predictions have confidences, their expected calibration error is given too. Ratios 0 / 0 are 0.

    >>> from swath.geometry.windows import Size
    >>> metric = ChangeMetric(("unchanged", "changed"))
    >>> said, true = (ClassMap(size=Size(1, 4), labels=[row], classes=metric.classes)
    ...               for row in ([1, 1, 0, 0], [1, 0, 0, 0]))
    >>> metric.update(said, true)
    >>> metric.compute()["IoU (class changed)"], metric.compute()["Cohen's kappa"]
    (0.5, 0.5)
    """

    classes: tuple[str, ...]
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if len(self.classes) != 2:
            raise ConfigurationError(
                f"Change has two classes, unchanged and changed in this order; found {', '.join(self.classes)}."
            )
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ConfigurationError(f"A tolerance is at least 0 pixels; found {self.tolerance}.")

    @property
    def pixels(self) -> SegmentationMetric:
        """The measure of two classes of pixels that does the counting."""
        if self.tolerance is None:
            return SegmentationMetric(self.classes)
        return SegmentationMetric(
            self.classes, relaxed=RelaxedMatch(class_name=self.classes[1], tolerance=self.tolerance)
        )

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Count one image's pixels; raise `AnnotationError` for other kinds or frames of different size."""
        return self.pixels.tally(self._as_map(prediction, "prediction"), self._as_map(truth, "truth"))

    def _as_map(self, annotation: Annotation, what: str) -> ClassMap:
        if not isinstance(annotation, Transition):
            return expect_kind(annotation, ClassMap, what)
        known = annotation.before.known() & annotation.after.known()
        labels = np.where(known, annotation.changed(), 255).astype(np.uint8)
        return ClassMap(size=annotation.size, labels=labels, classes=self.classes)

    def confusion(self, total: Tally | None = None) -> ConfusionMatrix:
        """Return the confusion matrix of a total in pixels, by default of the running one."""
        return self.pixels.confusion(total or self.total)

    def reliability(self, total: Tally) -> Reliability | None:
        """Return the reliability of the pixels' confidences, None unless every pixel measured has one."""
        return self.pixels.reliability(total)

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        matrix, changed = self.confusion(total), self.classes[1]
        figures = {
            f"F1 (class {changed})": float(matrix.f1()[1]),
            f"IoU (class {changed})": float(matrix.iou()[1]),
            f"precision (class {changed})": float(matrix.precision()[1]),
            f"recall (class {changed})": float(matrix.recall()[1]),
            "overall accuracy": matrix.accuracy(),
            "Cohen's kappa": matrix.kappa(),
        }
        reliability = self.reliability(total)
        if reliability is not None:
            figures["expected calibration error"] = reliability.expected_calibration_error()
        return figures | self.pixels.relaxed_figures(total)


@dataclass(frozen=True, eq=False)
class SemanticChangeMetric(Metric):
    """SeK, Fscd, mean IoU and overall accuracy of from-to change, by the arithmetic published with SECOND.

    Each pixel is one of K * K + 1 kinds: 0 where nothing changed, else 1 + K * before + after with the K land
    covers in the order of `classes`. From the confusion matrix of these kinds: mean IoU is that of unchanged and
    changed; kappa is Cohen's, without the pixels that both sides call unchanged; SeK = kappa * exp(IoU of change
    - 1); Fscd is the harmonic mean of the rightly named changed pixels over those predicted and over those truly
    changed; score = 0.3 mean IoU + 0.7 SeK. "overall accuracy" is over all pixels; the published one is the mean
    of the images' accuracies (of the tiles', where a protocol cuts them), which is the same for images of one
    size. Kappa is 0 where chance alone agrees fully, and every ratio 0 / 0 is 0.

    `unchanged` is the class that both dates have where nothing changed, as SECOND's label maps do; every other
    pair of classes is then a change, also one from a class to itself. Without it both dates are full land-cover
    maps, and a pixel changed where its classes differ. A predicted change from or to `unchanged`, a class not
    measured or an unknown pixel is wrong, and counts as a predicted change; where the truth has one, the pixel
    does not count.

    Source: sheets changemamba, changen2 and fusu, "Evaluation" (the benchmark of SECOND).

    >>> from swath.geometry.windows import Size
    >>> covers = ("water", "tree")
    >>> before, after = (ClassMap(size=Size(1, 3), labels=[row], classes=covers) for row in ([0, 0, 1], [0, 1, 0]))
    >>> truth = Transition(size=before.size, before=before, after=after)
    >>> metric = SemanticChangeMetric(covers)
    >>> metric.update(truth, truth)
    >>> [round(metric.compute()[name], 6) for name in ("SeK", "Fscd", "mean IoU")]
    [1.0, 1.0, 1.0]
    """

    classes: tuple[str, ...]
    unchanged: str | None = None

    def __post_init__(self) -> None:
        if self.unchanged is not None and self.unchanged not in self.classes:
            raise ConfigurationError(
                f"The class of what did not change, '{self.unchanged}', is none of {', '.join(self.classes)}."
            )

    @property
    def covers(self) -> tuple[str, ...]:
        """The land covers: the classes without that of what did not change."""
        return tuple(name for name in self.classes if name != self.unchanged)

    @property
    def kinds(self) -> int:
        """How many kinds of pixels there are: one for each pair of land covers, and unchanged."""
        return len(self.covers) ** 2 + 1

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Count one image's pixels; raise `AnnotationError` unless both are transitions of the same size."""
        said, true = expect_kind(prediction, Transition, "prediction"), expect_kind(truth, Transition, "truth")
        expect_same_frame(said, true)
        for date in (true.before, true.after):
            true_positions(date.classes, self.classes)
        rows, columns = self.kind_of(true), self.kind_of(said)
        known = (rows < self.kinds) & true.before.known() & true.after.known()
        matrix = count_pairs(rows[known], columns[known], self.kinds)
        accuracy = share(float((rows == columns)[known].sum()), float(known.sum()))
        return Tally(counts=np.append(matrix.ravel(), int(known.any())), sums=np.array([accuracy]))

    def kind_of(self, transition: Transition) -> NDArray[np.int64]:
        """Return each pixel's kind, (H, W): 0 unchanged, 1 + K * before + after, or `kinds` for none of these.

        >>> from swath.geometry.windows import Size
        >>> one = ClassMap(size=Size(1, 2), labels=[[5, 0]], classes=("a", "b", "c", "d", "e", "f"))
        >>> other = ClassMap(size=Size(1, 2), labels=[[4, 1]], classes=one.classes)
        >>> SemanticChangeMetric(one.classes).kind_of(Transition(size=one.size, before=one, after=other)).tolist()
        [[35, 2]]
        """
        count = len(self.covers)
        before, after = (pixel_positions(date, self.covers) for date in (transition.before, transition.after))
        kinds = np.where((before < count) & (after < count), 1 + before * count + after, self.kinds)
        if self.unchanged is None:
            kinds[(before == after) & (before < count)] = 0
            return kinds
        still = [pixel_positions(date, (self.unchanged,)) == 0 for date in (transition.before, transition.after)]
        kinds[still[0] & still[1]] = 0
        return kinds

    def confusion(self, total: Tally | None = None) -> ConfusionMatrix:
        """Return the confusion matrix of the kinds of pixels, by default of the running total."""
        names = ("unchanged", *(f"{before} to {after}" for before in self.covers for after in self.covers))
        return ConfusionMatrix(names, (total or self.total).counts[:-1].reshape(self.kinds, -1))

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        matrix = self.confusion(total)
        return _semantic_figures(matrix) | {
            "overall accuracy": matrix.accuracy(),
            "overall accuracy (mean of images)": share(float(total.sums[0]), float(total.counts[-1])),
        }


def _semantic_figures(matrix: ConfusionMatrix) -> dict[str, float]:
    counts = matrix.counts
    still, all_pixels = int(counts[0, 0]), int(counts.sum())
    missed, false_alarm = int(counts[1:, 0].sum()), int(counts[0, 1:].sum())
    both = all_pixels - still - missed - false_alarm
    iou_unchanged = share(still, still + missed + false_alarm)
    iou_changed = share(both, both + missed + false_alarm)
    moving = counts.copy()
    moving[0, 0] = 0
    kappa = ConfusionMatrix(matrix.classes, moving).kappa()
    named = int(matrix.hits[1:].sum())
    mean_iou, sek = (iou_unchanged + iou_changed) / 2, kappa * math.exp(iou_changed - 1)
    return {
        "SeK": sek,
        "Fscd": harmonic_mean(share(named, both + false_alarm), share(named, both + missed)),
        "mean IoU": mean_iou,
        "score": 0.3 * mean_iou + 0.7 * sek,
        "IoU (changed)": iou_changed,
        "IoU (unchanged)": iou_unchanged,
    }
