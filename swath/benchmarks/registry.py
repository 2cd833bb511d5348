"""Protocols by name, and protocols with their folder as the command line writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from swath.benchmarks.firerisk import FIRERISK_VALIDATION
from swath.benchmarks.kinds import (
    change_protocol,
    multi_label_protocol,
    scene_protocol,
    segmentation_protocol,
    semantic_change_protocol,
)
from swath.benchmarks.preparation import ResizeShortEdge
from swath.benchmarks.protocol import Protocol
from swath.datasets.bigearthnet import BIGEARTHNET_S2, BIGEARTHNET_S2_43, BIGEARTHNET_V2
from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
from swath.datasets.change_maps import CHANGE_MAPS, LEVIR_CD
from swath.datasets.eurosat_msi import EUROSAT_MSI, EUROSAT_MSI_TORCHGEO
from swath.datasets.firerisk import FIRERISK_20, FIRERISK_50
from swath.datasets.made_pairs import URBAN_TREE_PAIRS
from swath.datasets.registry import parse_data_argument, unknown_name
from swath.datasets.rsicd import RSICD
from swath.datasets.scenes import AID, EUROSAT_RGB, NWPU_RESISC45, SCENE_VARIANTS, UC_MERCED, UC_MERCED_70
from swath.datasets.so2sat import SO2SAT, SO2SAT_BLOCK, SO2SAT_CULTURE_10, SO2SAT_RANDOM
from swath.datasets.spec import ALL, DatasetSpec
from swath.datasets.transitions import SECOND
from swath.datasets.trees import URBAN_TREES
from swath.errors import DataError
from swath.metrics.points import PointMetric
from swath.metrics.segmentation import RelaxedMatch
from swath.samples.transforms import CentreCrop, Resize

BUILDING_HEADLINES = ("mean IoU", "mean accuracy", "mean precision", "IoU (class building)")


def _tree_metric(classes: tuple[str, ...]) -> PointMetric:  # noqa: ARG001 (points carry their classes)
    return PointMetric(radii=(6.0, 3.0), gsd=URBAN_TREES.gsd)


def _rsmamba(spec: DatasetSpec, tested: str) -> Protocol:
    return scene_protocol(
        spec,
        f"rsmamba-{tested}",
        title=(
            f"RSMamba's protocol: {tested} of each class, shorter side 256, middle 224 pixels, macro F1 "
            "(resized bilinearly with antialiasing; the publication used Pillow's bicubic filter)"
        ),
        headlines=("macro F1", "macro precision", "macro recall", "accuracy"),
        transforms=(ResizeShortEdge(256), CentreCrop(224)),
    )


EUROSAT_ACCURACY = scene_protocol(
    EUROSAT_RGB,
    "accuracy-20%",
    title="Accuracy on a random fifth of each class (seed 0), 64-pixel chips as they are",
)

URBAN_TREES_F1 = Protocol(
    name="urban-trees/f1-6m",
    title="Trees matched one to one within 6 m (and 3 m), on a fifth of the places of each city (seed 0)",
    dataset=URBAN_TREES,
    split="test",
    metric=_tree_metric,
    headlines=("F1 (6 m)", "precision (6 m)", "recall (6 m)", "F1 (3 m)", "count mean absolute error"),
)

MASSACHUSETTS_WHOLE = segmentation_protocol(
    MASSACHUSETTS_BUILDINGS,
    "whole-256",
    family="massachusetts",
    title=(
        "Whole images down-sampled to 256 pixels (image bilinear with antialiasing, truth nearest), measured "
        "at 256 pixels over pixel totals of both classes, as the EfficientNet U-Net++ paper is understood"
    ),
    headlines=BUILDING_HEADLINES,
    transforms=(Resize(256),),
)

MASSACHUSETTS_TILES = segmentation_protocol(
    MASSACHUSETTS_BUILDINGS,
    "tiles-256",
    family="massachusetts",
    title="Tiles of 256 pixels at the native 1 m, every pixel once; also precision and recall within 3 px",
    relaxed=RelaxedMatch(class_name="building", tolerance=3.0),
    headlines=BUILDING_HEADLINES,
    tile=256,
)

SO2SATS = (SO2SAT, SO2SAT_RANDOM, SO2SAT_BLOCK, SO2SAT_CULTURE_10)

# A data set enters here by one call of a function of `benchmarks.kinds`; nothing else has to be said.
_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        EUROSAT_ACCURACY,
        *(
            scene_protocol(spec, "accuracy-20%", title="Accuracy on a random fifth of each class (seed 0)")
            for spec in (RSICD, UC_MERCED)
        ),
        URBAN_TREES_F1,
        MASSACHUSETTS_WHOLE,
        MASSACHUSETTS_TILES,
        _rsmamba(UC_MERCED_70, "30%"),
        _rsmamba(AID, "50%"),
        _rsmamba(NWPU_RESISC45, "30%"),
        FIRERISK_VALIDATION,
        multi_label_protocol(BIGEARTHNET_S2, "map"),
        multi_label_protocol(BIGEARTHNET_S2_43, "map"),
        multi_label_protocol(BIGEARTHNET_V2, "map"),
        *(change_protocol(spec) for spec in (*CHANGE_MAPS, URBAN_TREE_PAIRS)),
        # For models that learnt from none of its parts, and for folders that hold a few pairs without parts.
        *(change_protocol(spec, "all", split=ALL, title=f"Every pair of: {spec.title}") for spec in CHANGE_MAPS),
        # Published figures on LEVIR-CD are of its 1,024 px images or of tiles of 256; the two differ.
        change_protocol(LEVIR_CD, tile=256),
        semantic_change_protocol(SECOND, unchanged="unchanged"),
        *(
            scene_protocol(spec, "accuracy", title=f"Accuracy over the test part of: {spec.title}")
            for spec in (*SCENE_VARIANTS, EUROSAT_MSI, EUROSAT_MSI_TORCHGEO, *SO2SATS)
        ),
        *(
            replace(FIRERISK_VALIDATION, name=f"{spec.name}/validation", dataset=spec)
            for spec in (FIRERISK_50, FIRERISK_20)
        ),
    )
}


class ProtocolArgument(NamedTuple):
    """A protocol and the folder in which its data lie."""

    protocol: Protocol
    root: Path


def protocols() -> tuple[Protocol, ...]:
    """Return every named protocol, by name.

    >>> [protocol.name for protocol in protocols()][:2]
    ['aid/rsmamba-50%', 'bigearthnet-s2-43/map']
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
    return scene_protocol(spec, "all", split=ALL, title="Every image of a folder of class folders")


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
