"""RSICD: the scenes of its images, which are better known for their captions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swath.datasets.formats.class_names import class_named
from swath.datasets.formats.class_tables import ClassLines, Line
from swath.datasets.layout import FirstLayout
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import SeededSplit
from swath.errors import DataError
from swath.imagery.bands import Unit


@dataclass(frozen=True, kw_only=True)
class ListPerClass(ClassLines):
    """A text file a class, named as the class, with the name of an image a line.

    >>> ListPerClass(folder="txtclasses_rsicd", images="RSICD_images/{}").described()
    'txtclasses_rsicd/<class>.txt'
    """

    folder: str

    def lines(self, root: Path, classes: tuple[str, ...]) -> Iterator[Line]:
        """Yield the lines of the files, class by class in the order of their names."""
        for path in sorted((root / self.folder).glob("*.txt")):
            name = class_named(path.stem, classes, path)
            for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
                if line.strip():
                    yield Line(line.strip(), name, None, f"Line {number} of {path}")

    def fits(self, root: Path) -> bool:
        """Return whether the folder of the lists is there."""
        return (root / self.folder).is_dir()

    def described(self) -> str:
        """Say where the lists lie."""
        return f"{self.folder}/<class>.txt"


@dataclass(frozen=True, kw_only=True)
class ClassIndex(ClassLines):
    """A file of JSON lines, an object an image, whose field `image` is its path and whose field `label` is its class.

    >>> ClassIndex(index="index.jsonl", image="file", label="scene").described()
    'index.jsonl'
    """

    index: str
    image: str
    label: str

    def lines(self, root: Path, classes: tuple[str, ...]) -> Iterator[Line]:
        """Yield the objects in the order of the lines."""
        path = root / self.index
        if not path.is_file():
            raise DataError(f"There is no file {path}, which says the classes of the images; put it there.")
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            where = f"Line {number} of {path}"
            if not text.strip():
                continue
            try:
                entry = json.loads(text)
                image, label = str(entry[self.image]), str(entry[self.label])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{where} is no JSON object with the fields '{self.image}' and '{self.label}'; mend it."
                ) from error
            yield Line(image, class_named(label, classes, where), None, where)

    def fits(self, root: Path) -> bool:
        """Return whether the file is there."""
        return (root / self.index).is_file()

    def described(self) -> str:
        """Say the file."""
        return self.index


_CLASSES = """
    airport bareland baseballfield beach bridge center church commercial denseresidential desert farmland forest
    industrial meadow mediumresidential mountain park parking playground pond port railwaystation resort river school
    sparseresidential square stadium storagetanks viaduct
"""

RSICD = DatasetSpec(
    name="rsicd",
    title="RSICD: 30 classes of scenes in images of Google Earth and other maps, 224 pixels a side",
    classes=tuple(_CLASSES.split()),
    licence="none stated; research use with citation, images from Google Earth, Baidu Map, MapABC and Tianditu",
    citation=(
        "Lu et al. 2017: Exploring Models and Data for Remote Sensing Image Caption Generation. IEEE TGRS 56(4); "
        "arXiv 1712.07835"
    ),
    source="GitHub repository 201528014227051/RSICD_optimal: RSICD_images and txtclasses_rsicd, 10,921 images",
    layout=FirstLayout(
        (
            ListPerClass(folder="txtclasses_rsicd", images="RSICD_images/{}"),
            ClassIndex(index="index.jsonl", image="file", label="scene"),
        )
    ),
    # The published parts, those of the captions, leave the classes of scenes uneven.
    splits=SeededSplit(shares={"train": 0.8, "test": 0.2}, seed=0),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=None,
)
"""Copies that give the scene of each image in a file `index.jsonl` (fields `file` and `scene`) are read as well."""
