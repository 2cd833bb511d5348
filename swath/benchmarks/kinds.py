"""Protocols by kind of task: a data set's evaluation is one call that says only what is its own.

>>> from swath.datasets.scenes import EUROSAT_RGB
>>> scene_protocol(EUROSAT_RGB, "accuracy-20%").name
'eurosat/accuracy-20%'
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from swath.benchmarks.protocol import Protocol
from swath.errors import ConfigurationError
from swath.metrics.change import ChangeMetric, SemanticChangeMetric
from swath.metrics.classification import ClassificationMetric
from swath.metrics.multilabel import MultiLabelMetric
from swath.metrics.segmentation import RelaxedMatch, SegmentationMetric

if TYPE_CHECKING:
    from swath.datasets.spec import DatasetSpec
    from swath.samples.transforms import Transform

SCENE_HEADLINES = ("accuracy", "macro F1", "expected calibration error")
MULTI_LABEL_HEADLINES = ("macro mAP", "micro mAP", "macro F1", "micro F1", "subset accuracy")
SEGMENTATION_HEADLINES = ("mean IoU", "mean F1", "overall accuracy")
SEMANTIC_CHANGE_HEADLINES = ("SeK", "Fscd", "mean IoU", "overall accuracy")


def scene_protocol(
    spec: DatasetSpec,
    measure: str,
    *,
    title: str = "",
    split: str = "test",
    headlines: Sequence[str] = SCENE_HEADLINES,
    transforms: Sequence[Transform] = (),
    top_k: Sequence[int] = (5,),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of images with one class each.

    `title` says in a sentence what is measured on what; without one it is made from the rest. `transforms`
    prepare image and truth, for example a resize.
    """
    return Protocol(
        name=f"{spec.name}/{measure}",
        title=title or f"Accuracy over the images of the part '{split}'",
        dataset=spec,
        split=split,
        metric=partial(ClassificationMetric, top_k=tuple(top_k)),
        headlines=tuple(headlines),
        transforms=tuple(transforms),
    )


def multi_label_protocol(
    spec: DatasetSpec,
    measure: str,
    *,
    title: str = "",
    split: str = "test",
    headlines: Sequence[str] = MULTI_LABEL_HEADLINES,
    transforms: Sequence[Transform] = (),
    threshold: float = 0.5,
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of images of which several classes may hold.

    >>> from swath.datasets.scenes import UC_MERCED
    >>> multi_label_protocol(UC_MERCED, "map").watch
    'macro mAP'
    """
    return Protocol(
        name=f"{spec.name}/{measure}",
        title=title or f"Average precision and F1 (from a score of {threshold:g}) over the part '{split}'",
        dataset=spec,
        split=split,
        metric=partial(MultiLabelMetric, threshold=threshold),
        headlines=tuple(headlines),
        transforms=tuple(transforms),
    )


def segmentation_protocol(
    spec: DatasetSpec,
    measure: str = "",
    *,
    family: str = "",
    title: str = "",
    split: str = "test",
    tile: int | None = None,
    relaxed: RelaxedMatch | None = None,
    headlines: Sequence[str] = SEGMENTATION_HEADLINES,
    transforms: Sequence[Transform] = (),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of images with a class at every pixel.

    `tile` cuts images into tiles of so many pixels a side before they are predicted; `measure` is by default that
    number, or `whole`. `family` stands before the stroke instead of the data set's name.

    >>> from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
    >>> segmentation_protocol(MASSACHUSETTS_BUILDINGS, tile=512).name
    'massachusetts-buildings/512'
    """
    return Protocol(
        name=f"{family or spec.name}/{measure or _cut(tile)}",
        title=title or f"Mean IoU over all pixels of the part '{split}', {_seen(tile)}",
        dataset=spec,
        split=split,
        metric=partial(SegmentationMetric, relaxed=relaxed),
        headlines=tuple(headlines),
        transforms=tuple(transforms),
        tile=tile,
    )


def change_protocol(
    spec: DatasetSpec,
    measure: str = "",
    *,
    title: str = "",
    split: str = "test",
    tile: int | None = None,
    tolerance: float | None = None,
    headlines: Sequence[str] = (),
    transforms: Sequence[Transform] = (),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of pairs of dates with a map of what changed.

    The data set's two classes are unchanged and changed in this order; all figures are of the second, over all
    pixels of the part. `tile` cuts pairs into tiles of so many pixels a side before they are predicted; `measure`
    is by default that number, or `whole`. `tolerance` in pixels adds figures that forgive shifts.

    >>> from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
    >>> protocol = change_protocol(MASSACHUSETTS_BUILDINGS, tile=256)
    >>> protocol.name, protocol.watch
    ('massachusetts-buildings/256', 'F1 (class building)')
    """
    if len(spec.classes) != 2:
        raise ConfigurationError(
            f"Change has two classes, unchanged and changed; '{spec.name}' has {', '.join(spec.classes)}. "
            "Use semantic_change_protocol for what changed into what."
        )
    kinds = ("F1", "IoU", "precision", "recall")
    figures = (*(f"{kind} (class {spec.classes[1]})" for kind in kinds), "overall accuracy", "Cohen's kappa")
    return Protocol(
        name=f"{spec.name}/{measure or _cut(tile)}",
        title=title or f"F1 of '{spec.classes[1]}' over all pixels of the part '{split}', {_seen(tile)}",
        dataset=spec,
        split=split,
        metric=partial(ChangeMetric, tolerance=tolerance),
        headlines=tuple(headlines) or figures,
        transforms=tuple(transforms),
        tile=tile,
    )


def semantic_change_protocol(
    spec: DatasetSpec,
    measure: str = "",
    *,
    title: str = "",
    split: str = "test",
    tile: int | None = None,
    unchanged: str | None = None,
    headlines: Sequence[str] = SEMANTIC_CHANGE_HEADLINES,
    transforms: Sequence[Transform] = (),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of pairs of dates with a land cover each (a `Transition`).

    `unchanged` is the class that both dates have where nothing changed, if the data set has one; `tile` and
    `measure` are those of `change_protocol`.

    >>> from swath.datasets.scenes import EUROSAT_RGB
    >>> semantic_change_protocol(EUROSAT_RGB).watch
    'SeK'
    """
    return Protocol(
        name=f"{spec.name}/{measure or _cut(tile)}",
        title=title or f"From-to change over all pixels of the part '{split}', {_seen(tile)}",
        dataset=spec,
        split=split,
        metric=partial(SemanticChangeMetric, unchanged=unchanged),
        headlines=tuple(headlines),
        transforms=tuple(transforms),
        tile=tile,
    )


def _cut(tile: int | None) -> str:
    return "whole" if tile is None else str(tile)


def _seen(tile: int | None) -> str:
    return "images seen whole" if tile is None else f"in tiles of {tile} pixels"
