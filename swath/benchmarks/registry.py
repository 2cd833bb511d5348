"""Protocols by name, and protocols with their folder as the command line writes them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from swath.benchmarks.preparation import ResizeShortEdge
from swath.benchmarks.protocol import Protocol
from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
from swath.datasets.registry import parse_data_argument, unknown_name
from swath.datasets.scenes import AID, EUROSAT_RGB, NWPU_RESISC45, UC_MERCED
from swath.datasets.spec import ALL, DatasetSpec
from swath.datasets.trees import URBAN_TREES
from swath.errors import DataError
from swath.metrics.classification import ClassificationMetric
from swath.metrics.points import PointMetric
from swath.metrics.segmentation import RelaxedMatch, SegmentationMetric
from swath.samples.transforms import CentreCrop, Resize

SCENE_HEADLINES = ("accuracy", "macro F1", "expected calibration error")
BUILDING_HEADLINES = ("mean IoU", "mean accuracy", "mean precision", "IoU (class building)")


def _tree_metric(classes: tuple[str, ...]) -> PointMetric:  # noqa: ARG001 (points carry their classes)
    return PointMetric(radii=(6.0, 3.0), gsd=URBAN_TREES.gsd)


def _building_metric(classes: tuple[str, ...]) -> SegmentationMetric:
    return SegmentationMetric(classes)


def _relaxed_building_metric(classes: tuple[str, ...]) -> SegmentationMetric:
    return SegmentationMetric(classes, relaxed=RelaxedMatch(class_name="building", tolerance=3.0))


def _rsmamba(spec: DatasetSpec, tested: str) -> Protocol:
    return Protocol(
        name=f"{spec.name}/rsmamba-{tested}",
        title=(
            f"RSMamba's protocol: {tested} of each class, shorter side 256, middle 224 pixels, macro F1 "
            "(resized bilinearly with antialiasing; the publication used Pillow's bicubic filter)"
        ),
        dataset=spec,
        split="test",
        metric=ClassificationMetric,
        headlines=("macro F1", "macro precision", "macro recall", "accuracy"),
        transforms=(ResizeShortEdge(256), CentreCrop(224)),
    )


EUROSAT_ACCURACY = Protocol(
    name="eurosat/accuracy-20%",
    title="Accuracy on a random fifth of each class (seed 0), 64-pixel chips as they are",
    dataset=EUROSAT_RGB,
    split="test",
    metric=ClassificationMetric,
    headlines=SCENE_HEADLINES,
)

URBAN_TREES_F1 = Protocol(
    name="urban-trees/f1-6m",
    title="Trees matched one to one within 6 m (and 3 m), on a fifth of the places of each city (seed 0)",
    dataset=URBAN_TREES,
    split="test",
    metric=_tree_metric,
    headlines=("F1 (6 m)", "precision (6 m)", "recall (6 m)", "F1 (3 m)", "count mean absolute error"),
)

MASSACHUSETTS_WHOLE = Protocol(
    name="massachusetts/whole-256",
    title=(
        "Whole images down-sampled to 256 pixels (image bilinear with antialiasing, truth nearest), measured "
        "at 256 pixels over pixel totals of both classes, as the EfficientNet U-Net++ paper is understood"
    ),
    dataset=MASSACHUSETTS_BUILDINGS,
    split="test",
    metric=_building_metric,
    headlines=BUILDING_HEADLINES,
    transforms=(Resize(256),),
)

MASSACHUSETTS_TILES = Protocol(
    name="massachusetts/tiles-256",
    title="Tiles of 256 pixels at the native 1 m, every pixel once; also precision and recall within 3 px",
    dataset=MASSACHUSETTS_BUILDINGS,
    split="test",
    metric=_relaxed_building_metric,
    headlines=BUILDING_HEADLINES,
    tile=256,
)

_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        EUROSAT_ACCURACY,
        URBAN_TREES_F1,
        MASSACHUSETTS_WHOLE,
        MASSACHUSETTS_TILES,
        _rsmamba(UC_MERCED, "30%"),
        _rsmamba(AID, "50%"),
        _rsmamba(NWPU_RESISC45, "30%"),
    )
}


class ProtocolArgument(NamedTuple):
    """A protocol and the folder in which its data lie."""

    protocol: Protocol
    root: Path


def protocols() -> tuple[Protocol, ...]:
    """Return every named protocol, by name.

    >>> [protocol.name for protocol in protocols()][:2]
    ['aid/rsmamba-50%', 'eurosat/accuracy-20%']
    """
    return tuple(_PROTOCOLS[name] for name in sorted(_PROTOCOLS))


def protocol(name: str) -> Protocol:
    """Return a protocol by name; raise `DataError` with the nearest names for an unknown one.

    >>> protocol("urban-trees/f1-6m").watch
    'F1 (6 m)'
    """
    if name not in _PROTOCOLS:
        raise DataError(unknown_name("protocol", name, _PROTOCOLS))
    return _PROTOCOLS[name]


def protocol_of(spec: DatasetSpec) -> Protocol:
    """Return the first protocol on a data set; a folder of class folders is measured whole.

    >>> from swath.datasets.registry import dataset
    >>> protocol_of(dataset("eurosat")).name
    'eurosat/accuracy-20%'
    """
    named = [known for known in _PROTOCOLS.values() if known.dataset == spec]
    if named:
        return named[0]
    return Protocol(
        name=f"{spec.name}/all",
        title="Every image of a folder of class folders",
        dataset=spec,
        split=ALL,
        metric=ClassificationMetric,
        headlines=SCENE_HEADLINES,
    )


def parse_protocol_argument(text: str) -> ProtocolArgument:
    """Read `PROTOCOL=FOLDER`, `DATASET=FOLDER` (its first protocol) or a folder of class folders.

    Raises `DataError` for an unknown name, or a folder that is not there.

    >>> parse_protocol_argument("urban-trees/f1-6m=trees").protocol.split
    'test'
    """
    name, equals, folder = (part.strip() for part in text.partition("="))
    if equals and "/" in name:
        if not folder:
            raise DataError(f"'{text}' names no folder; write {name}=FOLDER.")
        return ProtocolArgument(protocol(name), Path(folder))
    argument = parse_data_argument(text)
    return ProtocolArgument(protocol_of(argument.spec), argument.root)
