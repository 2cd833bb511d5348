"""Data sets of pairs of dates with the land cover at both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from swath.datasets.formats.image_pairs import ImagePairs, PairFiles
from swath.datasets.formats.label_rules import Colour, ColourClasses
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import FirstSplit, ListSplit, RecordedSplit
from swath.imagery.bands import Unit

SECOND_COLOURS: Mapping[str, tuple[Colour, ...]] = MappingProxyType(
    {
        # White in the authors' files, black in copies.
        "unchanged": ((255, 255, 255), (0, 0, 0)),
        "low vegetation": ((0, 128, 0),),
        "non-vegetated ground surface": ((128, 128, 128),),
        "tree": ((0, 255, 0),),
        "water": ((0, 0, 255),),
        "building": ((128, 0, 0),),
        "playground": ((255, 0, 0),),
    }
)
"""SECOND's classes with the colours of their masks, in the order of ChangeMamba's class numbers."""

CHANGEN_SECOND_CLASSES = (
    "unchanged",
    "water",
    "non-vegetated ground surface",
    "low vegetation",
    "tree",
    "building",
    "playground",
)
"""The order of the class numbers in Changen2's evaluation of SECOND."""


def _dates(before: str, after: str, label: str, label_after: str) -> PairFiles:
    return PairFiles(
        **{
            which: f"{{part}}/{folder}/{{name}}"
            for which, folder in (
                ("before", before),
                ("after", after),
                ("label", label),
                ("label_after", label_after),
            )
        }
    )


SECOND = DatasetSpec(
    name="second",
    title="SECOND: land cover before and after where it changed, aerial images of Chinese cities, 512 pixels a side",
    classes=tuple(SECOND_COLOURS),
    licence="none stated; research use with citation",
    citation=(
        "Yang et al. 2022: Asymmetric Siamese Networks for Semantic Change Detection in Aerial Images. IEEE TGRS 60"
    ),
    source="Wuhan University, CAPTAIN: train and test with im1, im2, label1, label2 [recalled], or ChangeMamba's copy",
    layout=ImagePairs(
        arrangements=(_dates("im1", "im2", "label1", "label2"), _dates("T1", "T2", "GT_T1", "GT_T2")),
        rule=ColourClasses(table=dict(SECOND_COLOURS)),
    ),
    splits=FirstSplit((RecordedSplit(), ListSplit(files={"train": "train_list.txt", "test": "test_list.txt"}))),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=None,
    slots=("before", "after"),
    counts={"train": 2_968, "test": 1_694},
)
"""Both masks say `unchanged` where nothing changed; the land cover is known only where it did."""


def with_second_classes(classes: tuple[str, ...]) -> DatasetSpec:
    """Return SECOND with its classes in another order, such as `CHANGEN_SECOND_CLASSES`; masks are read by name.

    >>> with_second_classes(CHANGEN_SECOND_CLASSES).classes[1]
    'water'
    """
    return replace(SECOND, classes=classes)
