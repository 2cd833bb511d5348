"""How well objects are detected, by the arithmetic of Pascal VOC and DOTA: average precision at a fixed overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from swath.errors import ConfigurationError
from swath.metrics.base import Metric, Ranking, Tally
from swath.metrics.detections import Detections, mean_of_known, ranked_tally, told_threshold
from swath.metrics.matching import check_thresholds
from swath.metrics.overlaps import Shape, check_shape
from swath.metrics.precision_recall import precision_recall

if TYPE_CHECKING:
    from swath.metrics.sizes import SizeRanges
    from swath.samples.annotation import Annotation

VocForm = Literal["VOC07", "area"]
"""The mean over 11 recalls of VOC 2007, or the whole area under precision over recall as of VOC 2010."""


@dataclass(frozen=True, eq=False)
class VocMetric(Metric):
    """Mean AP over the classes that have truth, and AP of each class, at one threshold of overlap or over several.

    Detections of the whole set are taken by falling score. Each is compared with the truth that it overlaps best:
    a hit if that is free and the overlap reaches the threshold, or exceeds it where the rule is `strict` as in the
    development kit of DOTA; false if it is taken, whatever else lies below; and it does not count if that truth is
    `ignored` (difficult). Ignored truths are no misses either. Boxes have no extra pixel: their sides are x2 - x1.

    With `sizes`, truths out of a range are ignored, and unmatched detections out of it do not count.

    Source: sheets dior (the evaluation of mmrotate), fair1m and glh-bridge, "Evaluation".

    >>> from swath.geometry.windows import Size
    >>> from swath.samples.vectors import Boxes
    >>> ships = Boxes(size=Size(64, 64), boxes=[[8, 8, 24, 16], [32, 32, 48, 40]], classes=("ship",))
    >>> metric = VocMetric(("ship",))
    >>> metric.update(ships.select([0]), ships)
    >>> round(metric.compute()["mAP (VOC07, IoU 0.5)"], 4)
    0.5455
    """

    classes: tuple[str, ...]
    shape: Shape = "boxes"
    form: VocForm = "VOC07"
    thresholds: tuple[float, ...] = (0.5,)
    strict: bool = False
    sizes: SizeRanges | None = None

    def __post_init__(self) -> None:
        check_shape(self.shape)
        check_thresholds(self.thresholds)
        if self.form not in get_args(VocForm):
            raise ConfigurationError(f"Average precision is of the form {' or '.join(get_args(VocForm))}.")

    @property
    def headlines(self) -> tuple[str, ...]:
        """The names of the mean over all thresholds, of those at 0.5 and 0.75 among several, and of each size."""
        singles = [
            (f"mAP ({self.switches((threshold,))})") for threshold in (0.5, 0.75) if threshold in self.thresholds
        ]
        whole = self.switches(self.thresholds)
        sizes = () if self.sizes is None else map(self.sizes.told, range(len(self.sizes.names)))
        return tuple(dict.fromkeys([f"mAP ({whole})", *singles, *(f"mAP {size} ({whole})" for size in sizes)]))

    def switches(self, thresholds: tuple[float, ...]) -> str:
        """Return the part of a figure's name that says how it was measured at these thresholds.

        >>> VocMetric(("ship",), shape="oriented boxes", strict=True).switches((0.5,))
        'VOC07, oriented boxes, IoU > 0.5'
        """
        shape = () if self.shape == "boxes" else (self.shape,)
        return ", ".join([self.form, *shape, told_overlap(thresholds, strict=self.strict)])

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Judge one image's detections; raise `AnnotationError` for other kinds or frames of different size."""
        detections = Detections.of(prediction, truth, self.classes, self.shape)
        judged = detections.judged(
            detections.meetings(regions=False), self.sizes, detections.labels, detections.true_labels
        )
        states = judged.by_best_truth(self.thresholds, strict=self.strict)
        return ranked_tally(detections, [states], [detections.truths(judged, len(self.classes))])

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        ranking = Ranking.joined(total.ranked)
        precision = precision_recall(
            ranking,
            labels=ranking.marks[:, 0],
            states=ranking.marks[:, 1:],
            truths=total.counts.reshape(len(self.classes), -1),
            thresholds=len(self.thresholds),
            form=self.form,
        ).precision
        whole = self.switches(self.thresholds)
        figures = {f"mAP ({whole})": mean_of_known(precision[:, 0])}
        for place, threshold in enumerate(self.thresholds):
            figures[f"mAP ({self.switches((threshold,))})"] = mean_of_known(precision[:, 0, place])
        for place in range(1, precision.shape[1]):
            size = "" if self.sizes is None else self.sizes.told(place - 1)
            figures[f"mAP {size} ({whole})"] = mean_of_known(precision[:, place])
        for name, by_threshold in zip(self.classes, precision[:, 0], strict=True):
            figures[f"AP (class {name}, {whole})"] = float(by_threshold.mean())
        return figures


def told_overlap(thresholds: tuple[float, ...], *, strict: bool = False) -> str:
    """Return thresholds of overlap for the name of a figure.

    >>> told_overlap((0.5,)), told_overlap((0.5, 0.75), strict=True)
    ('IoU 0.5', 'mean over IoU > 0.5, 0.75')
    """
    said = [told_threshold(threshold) for threshold in thresholds]
    over = "IoU > " if strict else "IoU "
    if len(said) == 1:
        return over + said[0]
    steps = np.diff(thresholds)
    even = len(said) > 2 and np.allclose(steps, steps[0])
    return f"mean over {over}" + (f"{said[0]} to {said[-1]}" if even else ", ".join(said))
