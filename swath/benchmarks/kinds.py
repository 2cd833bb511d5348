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
from swath.metrics.average_precision import COCO_CAP, CocoMetric
from swath.metrics.change import ChangeMetric, SemanticChangeMetric
from swath.metrics.classification import ClassificationMetric
from swath.metrics.counting import CountingMetric
from swath.metrics.fine_grained import FineGrainedMetric
from swath.metrics.multilabel import MultiLabelMetric
from swath.metrics.segmentation import RelaxedMatch, SegmentationMetric
from swath.metrics.sizes import COCO_SIZES, SizeRanges
from swath.metrics.voc_precision import VocForm, VocMetric

if TYPE_CHECKING:
    from swath.datasets.spec import DatasetSpec
    from swath.metrics.overlaps import Shape
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


def detection_protocol(
    spec: DatasetSpec,
    measure: str = "",
    *,
    title: str = "",
    split: str = "test",
    tile: int | None = None,
    shape: Shape = "boxes",
    cap: int | None = COCO_CAP,
    sizes: SizeRanges | None = COCO_SIZES,
    headlines: Sequence[str] = (),
    transforms: Sequence[Transform] = (),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of objects found, by the COCO evaluator (`CocoMetric`).

    `shape` is what is laid over each other, `cap` how many detections of a class count in an image, None for all of
    them, and `sizes` the ranges of size. `measure` is by default made of all that, `tile` that of `change_protocol`.

    >>> from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
    >>> protocol = detection_protocol(MASSACHUSETTS_BUILDINGS, shape="masks", cap=None)
    >>> protocol.name, protocol.watch
    ('massachusetts-buildings/coco-masks-all', 'AP (COCO masks, all detections)')
    """
    metric = partial(CocoMetric, shape=shape, cap=cap, sizes=sizes)
    counted = "all" if cap is None else str(cap)
    of = f"all sizes and {', '.join(sizes.names)}" if sizes is not None else "all sizes"
    return Protocol(
        name=f"{spec.name}/{measure or _joined('coco', _drawn(shape), counted, _tiled(tile))}",
        title=title or f"AP by COCO of {shape} in the part '{split}', {counted} detections, {of}, {_seen(tile)}",
        dataset=spec,
        split=split,
        metric=metric,
        headlines=tuple(headlines) or metric(spec.classes).headlines,
        transforms=tuple(transforms),
        tile=tile,
    )


def oriented_detection_protocol(
    spec: DatasetSpec,
    measure: str = "",
    *,
    title: str = "",
    split: str = "test",
    tile: int | None = None,
    shape: Shape = "oriented boxes",
    form: VocForm = "VOC07",
    thresholds: Sequence[float] = (0.5,),
    strict: bool = False,
    sizes: SizeRanges | None = None,
    headlines: Sequence[str] = (),
    transforms: Sequence[Transform] = (),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of objects found, as Pascal VOC and DOTA evaluate (`VocMetric`).

    With the shape "boxes" it is that of VOC. `measure` is by default made of the form, the shape and the thresholds.
    The development kit of DOTA is `strict` with polygons, mmrotate is not, with oriented boxes.

    >>> from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
    >>> protocol = oriented_detection_protocol(MASSACHUSETTS_BUILDINGS)
    >>> protocol.name, protocol.watch
    ('massachusetts-buildings/voc07-oriented-boxes-0.5', 'mAP (VOC07, oriented boxes, IoU 0.5)')
    """
    metric = partial(VocMetric, shape=shape, form=form, thresholds=tuple(thresholds), strict=strict, sizes=sizes)
    at = f"{'over-' if strict else ''}{'-'.join(f'{threshold:.6g}' for threshold in thresholds)}"
    made = metric(spec.classes)
    return Protocol(
        name=f"{spec.name}/{measure or _joined(form.lower(), _drawn(shape), at, _tiled(tile))}",
        title=title or f"Mean AP ({made.switches(made.thresholds)}) over the part '{split}', {_seen(tile)}",
        dataset=spec,
        split=split,
        metric=metric,
        headlines=tuple(headlines) or made.headlines,
        transforms=tuple(transforms),
        tile=tile,
    )


def fine_grained_protocol(
    spec: DatasetSpec,
    categories: Sequence[str],
    measure: str = "fine-and-coarse",
    *,
    title: str = "",
    split: str = "test",
    tile: int | None = None,
    shape: Shape = "oriented boxes",
    headlines: Sequence[str] = (),
    transforms: Sequence[Transform] = (),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of objects found and told apart (`FineGrainedMetric`).

    `categories` names the coarse category of each of the data set's classes.

    >>> from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
    >>> fine_grained_protocol(MASSACHUSETTS_BUILDINGS, ("ground", "building")).watch
    'mAP (fine, VOC07, oriented boxes, IoU 0.5)'
    """
    metric = partial(FineGrainedMetric, categories=tuple(categories), shape=shape)
    return Protocol(
        name=f"{spec.name}/{_joined(measure, _tiled(tile))}",
        title=title or f"AP of fine classes and of their categories over the part '{split}', {_seen(tile)}",
        dataset=spec,
        split=split,
        metric=metric,
        headlines=tuple(headlines) or metric(spec.classes).headlines,
        transforms=tuple(transforms),
        tile=tile,
    )


def counting_protocol(
    spec: DatasetSpec,
    measure: str = "counts",
    *,
    title: str = "",
    split: str = "test",
    levels: int = 3,
    headlines: Sequence[str] = (),
    transforms: Sequence[Transform] = (),
) -> Protocol:
    """Return the protocol `<data set>/<measure>` of things counted, in whole images and in their parts.

    `levels` is how often images are cut in four for the error by region. R2 leads, as larger is better for it.

    >>> from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
    >>> counting_protocol(MASSACHUSETTS_BUILDINGS, levels=1).headlines
    ('count R2', 'count mean absolute error', 'count root mean square error', 'count GAME(1)')
    """
    return Protocol(
        name=f"{spec.name}/{measure}",
        title=title or f"Errors of the counts of images of the part '{split}' and of their parts",
        dataset=spec,
        split=split,
        metric=partial(_counting, levels=levels),
        headlines=tuple(headlines) or CountingMetric(levels=levels).headlines,
        transforms=tuple(transforms),
    )


def _counting(classes: tuple[str, ...], *, levels: int) -> CountingMetric:  # noqa: ARG001 (one signature)
    return CountingMetric(levels=levels)


def _joined(*parts: str) -> str:
    return "-".join(part for part in parts if part)


def _drawn(shape: Shape) -> str:
    return "" if shape == "boxes" else shape.replace(" ", "-")


def _tiled(tile: int | None) -> str:
    return "" if tile is None else f"tiles-{tile}"


def _cut(tile: int | None) -> str:
    return "whole" if tile is None else str(tile)


def _seen(tile: int | None) -> str:
    return "images seen whole" if tile is None else f"in tiles of {tile} pixels"
