"""How well objects are detected, by the arithmetic of the COCO evaluator.

Average precision (AP) is the mean precision at 101 recalls, and the mean of that over ten thresholds of overlap
and over the classes. How many detections an image may have is part of every figure's name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import ConfigurationError
from swath.metrics.base import Metric, Ranking, Tally
from swath.metrics.detections import Detections, mean_of_known, ranked_tally, told_threshold
from swath.metrics.matching import IOU_THRESHOLDS, check_thresholds, ranks_in_class
from swath.metrics.overlaps import Shape, check_shape
from swath.metrics.precision_recall import PrecisionRecall, precision_recall
from swath.metrics.sizes import COCO_SIZES, SizeRanges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation

COCO_CAP = 100
"""How many detections of a class in an image the COCO evaluator looks at."""

FEWER = (1, 10)
"""The smaller numbers of detections at which the COCO evaluator also gives the recall."""


@dataclass(frozen=True, eq=False)
class CocoMetric(Metric):
    """AP and recall (AR) by the COCO evaluator, over all sizes and small, medium and large, and AP of each class.

    `shape` is what is laid over each other. Of each class in an image only the `cap` detections of best score
    count; None lifts the cap, which crowded scenes need: with 400 ships in an image, 100 detections cannot reach a
    recall above 0.25. Truths that are `ignored` are regions, as COCO's crowds: any number of detections may lie in
    them and count neither way, where overlap is the share of the detection. `sizes` None measures all sizes alone.
    Classes without truth have no AP and are left out of the means.

    The order of ties, the preference for truths that count, and the rule for objects out of a range of size are
    those of the published evaluator (pycocotools 2.0), and figures are equal to its own.

    >>> from swath.geometry.windows import Size
    >>> from swath.samples.vectors import Boxes
    >>> ships = Boxes(size=Size(64, 64), boxes=[[8, 8, 24, 16], [32, 32, 48, 40]], classes=("ship",))
    >>> metric = CocoMetric(("ship",))
    >>> metric.update(ships.select([0]), ships)
    >>> round(metric.compute()["AP (COCO, 100 detections)"], 4), metric.compute()["AR (COCO, 100 detections)"]
    (0.505, 0.5)
    """

    classes: tuple[str, ...]
    shape: Shape = "boxes"
    cap: int | None = COCO_CAP
    thresholds: tuple[float, ...] = IOU_THRESHOLDS
    sizes: SizeRanges | None = COCO_SIZES

    def __post_init__(self) -> None:
        check_shape(self.shape)
        check_thresholds(self.thresholds)
        if self.cap is not None and self.cap < 1:
            raise ConfigurationError(f"At least 1 detection an image must count, or None for all; found {self.cap}.")

    @property
    def headlines(self) -> tuple[str, ...]:
        """The names of AP, of AP at 0.5 and 0.75 where measured, and of AP in each range of size."""
        single = [_at(threshold) for threshold in (0.5, 0.75) if threshold in self.thresholds]
        return tuple(f"{kind} ({self._switches})" for kind in ("AP", *single, *(f"AP {size}" for size in self._told)))

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Judge one image's detections; raise `AnnotationError` for other kinds or frames of different size."""
        detections = Detections.of(prediction, truth, self.classes, self.shape)
        ranks = ranks_in_class(detections.said.scores, detections.labels)
        if self.cap is not None:
            detections, ranks = detections.select(ranks < self.cap), ranks[ranks < self.cap]
        judged = detections.judged(
            detections.meetings(regions=True), self.sizes, detections.labels, detections.true_labels
        )
        states = judged.by_free_truth(self.thresholds)
        return ranked_tally(detections, [ranks, states], [detections.truths(judged, len(self.classes))])

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        truths = total.counts.reshape(len(self.classes), -1)
        ranking = Ranking.joined(total.ranked)
        curves = self._curves(ranking, truths)
        figures = {f"AP ({self._switches})": mean_of_known(curves.precision[:, 0])}
        for place, threshold in enumerate(self.thresholds):
            figures[f"{_at(threshold)} ({self._switches})"] = mean_of_known(curves.precision[:, 0, place])
        for place, size in enumerate(self._told, start=1):
            figures[f"AP {size} ({self._switches})"] = mean_of_known(curves.precision[:, place])
        figures |= self._recalls(ranking, truths, curves)
        for name, by_threshold in zip(self.classes, curves.precision[:, 0], strict=True):
            figures[f"AP (class {name}, {self._switches})"] = float(by_threshold.mean())
        return figures

    def _curves(self, ranking: Ranking, truths: NDArray[np.int64]) -> PrecisionRecall:
        """Return precision and recall in the ranges of size for which truths (K, A) are given."""
        return precision_recall(
            ranking,
            labels=ranking.marks[:, 0],
            states=ranking.marks[:, 2 : 2 + truths.shape[1]],
            truths=truths,
            thresholds=len(self.thresholds),
            form="COCO",
        )

    def _recalls(self, ranking: Ranking, truths: NDArray[np.int64], curves: PrecisionRecall) -> dict[str, float]:
        figures: dict[str, float] = {}
        for fewer in FEWER:
            if self.cap is None or fewer < self.cap:
                first = replace(ranking, times=ranking.times * (ranking.marks[:, 1] < fewer))
                recall = self._curves(first, truths[:, :1]).recall[:, 0]
                figures[f"AR ({self._measured}, {_counted(fewer)})"] = mean_of_known(recall)
        figures[f"AR ({self._switches})"] = mean_of_known(curves.recall[:, 0])
        for place, size in enumerate(self._told, start=1):
            figures[f"AR {size} ({self._switches})"] = mean_of_known(curves.recall[:, place])
        return figures

    @property
    def _told(self) -> tuple[str, ...]:
        return () if self.sizes is None else tuple(map(self.sizes.told, range(len(self.sizes.names))))

    @property
    def _measured(self) -> str:
        return "COCO" if self.shape == "boxes" else f"COCO {self.shape}"

    @property
    def _switches(self) -> str:
        return f"{self._measured}, {_counted(self.cap)}"


def _at(threshold: float) -> str:
    return f"AP{told_threshold(100 * threshold)}"


def _counted(cap: int | None) -> str:
    if cap is None:
        return "all detections"
    return "1 detection" if cap == 1 else f"{cap} detections"
