"""How well objects are found and told apart, where each class belongs to a coarser category (FAIR1M)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from swath.errors import ConfigurationError
from swath.metrics.base import Metric, Ranking, Tally, share
from swath.metrics.confusion import ConfusionMatrix, count_pairs
from swath.metrics.detections import Detections, mean_of_known, ranked_tally, told_threshold
from swath.metrics.matching import IOU_THRESHOLDS, check_thresholds
from swath.metrics.overlaps import Shape, check_shape
from swath.metrics.precision_recall import precision_recall
from swath.metrics.voc_precision import VocForm, VocMetric, told_overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation

BACKGROUND = "background"
FINE, COARSE, ONE_CLASS = LEVELS = ("fine", "coarse", "one class")
"""How far classes are told apart: wholly, to their category, or not at all."""


@dataclass(frozen=True, eq=False)
class FineGrainedMetric(Metric):
    """AP over fine classes, over their categories and over one class for all, and which classes are confused.

    `categories` names the category of each of `classes`. AP is that of `VocMetric`, in both its forms at the first
    threshold, and of VOC 2007 averaged over all; for categories and for one class, labels are mapped before matching.
    The gap between coarse and fine AP is what recognition loses.

    The confusion is of detections with a score of at least `score`: by falling score, each takes the free truth of
    any class that it overlaps best, by at least the first threshold. So each truth stands in the matrix once, with
    the class it was taken for or as background, and each detection without a truth as background taken for its
    class. Detections on ignored truths are left out.

    Source: sheet fair1m, "Evaluation" (the published rule of the FAIR1M server is not known).

    >>> from swath.geometry.windows import Size
    >>> from swath.samples.vectors import OrientedBoxes
    >>> names = ("A220", "A321")
    >>> metric = FineGrainedMetric(names, ("Airplane", "Airplane"), shape="polygons")
    >>> truth, said = (OrientedBoxes(size=Size(64, 64), boxes=[[32, 32, 20, 10, 0.3]], labels=[label], classes=names)
    ...                for label in (0, 1))
    >>> metric.update(said, truth)
    >>> [metric.compute()[f"mAP ({level}, VOC07, polygons, IoU 0.5)"] for level in ("fine", "coarse")]
    [0.0, 1.0]
    >>> metric.confusion().counts[0, :3].tolist()
    [0, 1, 0]
    """

    classes: tuple[str, ...]
    categories: tuple[str, ...]
    shape: Shape = "oriented boxes"
    thresholds: tuple[float, ...] = IOU_THRESHOLDS
    score: float = 0.3

    def __post_init__(self) -> None:
        check_shape(self.shape)
        check_thresholds(self.thresholds)
        if len(self.categories) != len(self.classes):
            raise ConfigurationError(
                f"Each of the {len(self.classes)} classes needs its category; found {len(self.categories)}."
            )

    @property
    def category_names(self) -> tuple[str, ...]:
        """The categories, each once, in the order in which they are first named."""
        return tuple(dict.fromkeys(self.categories))

    @property
    def headlines(self) -> tuple[str, ...]:
        """The names of fine AP, coarse AP, AP of one class, and the gap between the first two."""
        switches = self._switches("VOC07")
        return (*(f"mAP ({level}, {switches})" for level in LEVELS), f"coarse less fine mAP ({switches})")

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Judge one image's detections; raise `AnnotationError` for other kinds or frames of different size."""
        detections = Detections.of(prediction, truth, self.classes, self.shape)
        pairs = detections.meetings(regions=False)
        levels = [
            detections.judged(pairs, None, mapping[detections.labels], mapping[detections.true_labels])
            for mapping in map(self._mapping, LEVELS)
        ]
        states = [judged.by_best_truth(self.thresholds, strict=False) for judged in levels]
        truths = detections.truths(levels[0], len(self.classes))
        return ranked_tally(detections, states, [truths, self._confused(detections)])

    def confusion(self, total: Tally | None = None) -> ConfusionMatrix:
        """Return which class truths (rows) were taken for (columns), with background the last class of both."""
        names = (*self.classes, BACKGROUND)
        counts = (self.total if total is None else total).counts[len(self.classes) :]
        return ConfusionMatrix(names, counts.reshape(len(names), len(names) + 1))

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        by_form = {form: self._precisions(total, form) for form in get_args(VocForm)}
        figures = {
            f"mAP ({level}, {self._switches(form)})": mean_of_known(precision[:, 0])
            for form, precisions in by_form.items()
            for level, precision in precisions.items()
        }
        switches, old = self._switches("VOC07"), by_form["VOC07"]
        if len(self.thresholds) > 1:
            several = self._switches("VOC07", several=True)
            figures |= {f"mAP ({level}, {several})": mean_of_known(precision) for level, precision in old.items()}
        gap = figures[f"mAP ({COARSE}, {switches})"] - figures[f"mAP ({FINE}, {switches})"]
        return (
            figures
            | {f"coarse less fine mAP ({switches})": gap, self._recognition: self._recognised(total)}
            | _named("class", self.classes, old[FINE], switches)
            | _named("category", self.category_names, old[COARSE], switches)
        )

    def _mapping(self, level: str) -> NDArray[np.int64]:
        """Return the label of each class at a level, (K,)."""
        if level == FINE:
            return np.arange(len(self.classes))
        if level == ONE_CLASS:
            return np.zeros(len(self.classes), dtype=np.int64)
        return np.array([self.category_names.index(name) for name in self.categories], dtype=np.int64)

    def _precisions(self, total: Tally, form: VocForm) -> dict[str, NDArray[np.float64]]:
        """Return the AP of each label at each threshold, (labels, T), at each level."""
        ranking, count = Ranking.joined(total.ranked), len(self.classes)
        precisions = {}
        for column, level in enumerate(LEVELS, start=1):
            mapping = self._mapping(level)
            truths = np.bincount(np.repeat(mapping, total.counts[:count]), minlength=mapping.max() + 1)
            precisions[level] = precision_recall(
                ranking,
                labels=mapping[ranking.marks[:, 0]],
                states=ranking.marks[:, column : column + 1],
                truths=truths[:, None],
                thresholds=len(self.thresholds),
                form=form,
            ).precision[:, 0]
        return precisions

    def _confused(self, detections: Detections) -> NDArray[np.int64]:
        """Count which class each truth was taken for, (K + 1, K + 2), the last column being without use."""
        sure = detections.select(detections.said.scores >= np.float32(self.score))
        blind = np.zeros(len(self.classes), dtype=np.int64)
        pairs = sure.meetings(regions=False)
        partners = sure.judged(pairs, None, blind[sure.labels], blind[sure.true_labels]).partners(self.thresholds[0])
        ignored, count = sure.true.ignored, len(self.classes)
        found = partners >= 0
        counted = found.copy()
        counted[found] = ~ignored[partners[found]]
        missed = ~ignored
        missed[partners[found]] = False
        counts = np.zeros((count + 1, count + 2), dtype=np.int64)
        counts[:count, : count + 1] = count_pairs(sure.true_labels[partners[counted]], sure.labels[counted], count)
        counts[:count, count] = np.bincount(sure.true_labels[missed], minlength=count)
        counts[count, :count] = np.bincount(sure.labels[~found], minlength=count)
        return counts

    @property
    def _recognition(self) -> str:
        at = told_overlap(self.thresholds[:1])
        return f"fine class right of those found ({at}, score {told_threshold(self.score)})"

    def _recognised(self, total: Tally) -> float:
        found = self.confusion(total).counts[: len(self.classes), : len(self.classes)]
        return share(float(np.trace(found)), float(found.sum()))

    def _switches(self, form: VocForm, *, several: bool = False) -> str:
        thresholds = self.thresholds if several else self.thresholds[:1]
        return VocMetric(self.classes, shape=self.shape, form=form).switches(thresholds)


def _named(kind: str, names: tuple[str, ...], precision: NDArray[np.float64], switches: str) -> dict[str, float]:
    """Return the AP of each class or category at the first threshold, by name."""
    pairs = zip(names, precision[:, 0].tolist(), strict=True)
    return {f"AP ({kind} {name}, {switches})": value for name, value in pairs}
