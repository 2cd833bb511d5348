"""Data sets by name, and data sets with their folder as the command line writes them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from swath.datasets.bigearthnet import BIGEARTHNET_S2, BIGEARTHNET_S2_43, BIGEARTHNET_V2
from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
from swath.datasets.change_maps import CHANGE_MAPS
from swath.datasets.eurosat_msi import EUROSAT_MSI, EUROSAT_MSI_TORCHGEO
from swath.datasets.firerisk import FIRERISK, FIRERISK_20, FIRERISK_50
from swath.datasets.made_pairs import URBAN_TREE_PAIRS
from swath.datasets.objects import OBJECT_SETS
from swath.datasets.rsicd import RSICD
from swath.datasets.scenes import AID, EUROSAT_RGB, NWPU_RESISC45, SCENE_VARIANTS, UC_MERCED, folder_dataset
from swath.datasets.so2sat import SO2SAT, SO2SAT_BLOCK, SO2SAT_CULTURE_10, SO2SAT_RANDOM
from swath.datasets.spec import Dataset, DatasetSpec
from swath.datasets.transitions import SECOND
from swath.datasets.trees import URBAN_TREES
from swath.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPECS = {
    spec.name: spec
    for spec in (
        AID,
        BIGEARTHNET_S2,
        BIGEARTHNET_S2_43,
        BIGEARTHNET_V2,
        *CHANGE_MAPS,
        EUROSAT_MSI,
        EUROSAT_MSI_TORCHGEO,
        EUROSAT_RGB,
        FIRERISK,
        FIRERISK_20,
        FIRERISK_50,
        MASSACHUSETTS_BUILDINGS,
        NWPU_RESISC45,
        *OBJECT_SETS,
        RSICD,
        *SCENE_VARIANTS,
        SECOND,
        SO2SAT,
        SO2SAT_BLOCK,
        SO2SAT_CULTURE_10,
        SO2SAT_RANDOM,
        UC_MERCED,
        URBAN_TREES,
        URBAN_TREE_PAIRS,
    )
}


class DataArgument(NamedTuple):
    """A data set and the folder it lies in."""

    spec: DatasetSpec
    root: Path

    def open(self, split: str = "train", *, cached: bool = False) -> Dataset:
        """List a part of the data set in its folder."""
        return self.spec.open(self.root, split, cached=cached)


def datasets() -> tuple[DatasetSpec, ...]:
    """Return every declared data set, by name.

    >>> [spec.name for spec in datasets()][:2]
    ['aerial-cars', 'aid']
    """
    return tuple(_SPECS[name] for name in sorted(_SPECS))


def dataset(name: str) -> DatasetSpec:
    """Return a data set by name; raise `DataError` with the nearest names for an unknown one.

    >>> dataset("urban-trees").classes
    ('tree',)
    """
    if name not in _SPECS:
        raise DataError(unknown_name("data set", name, _SPECS))
    return _SPECS[name]


def parse_data_argument(text: str) -> DataArgument:
    """Read `NAME=FOLDER`, or a bare folder of class folders.

    Raises `DataError` for an unknown name, or a folder that is not there.

    >>> parse_data_argument("eurosat=EuroSAT_RGB").spec.gsd
    10.0
    """
    name, equals, folder = text.partition("=")
    if equals:
        if not folder.strip():
            raise DataError(f"'{text}' names no folder; write for example {name or 'eurosat'}=FOLDER.")
        return DataArgument(dataset(name.strip()), Path(folder.strip()))
    if not Path(text).is_dir():
        raise DataError(f"'{text}' is neither NAME=FOLDER nor a folder of class folders; the names are {_names()}.")
    return DataArgument(folder_dataset(text), Path(text))


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is not known, with the nearest ones, or all where none is near.

    >>> unknown_name("data set", "eurosatt", ["eurosat", "aid"])
    "There is no data set 'eurosatt'; did you mean eurosat?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}."
    return f"There is no {what} '{name}'; {remedy}"


def _names() -> str:
    return ", ".join(sorted(_SPECS))
