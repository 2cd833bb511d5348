"""Objects in the text of DOTA: a line an object, its four corners, its class and how difficult it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.datasets.formats.object_files import ObjectFiles, lines_of
from swath.datasets.formats.stated_objects import StatedObject, number, quadrilateral
from swath.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.geometry.windows import Size

_HEADER = re.compile(r"(imagesource|gsd|acquisition dates)\s*:", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class DotaText(ObjectFiles):
    """A text file an image, `x1 y1 x2 y2 x3 y3 x4 y4 class difficult` a line, as in DOTA 1.0, 1.5 and 2.0.

    Header lines (`imagesource:`, `gsd:`) are skipped. The class is all that stands between the eight numbers and the
    last field, so that it may hold blanks; a line may lack the last field. Objects that are difficult (1, or 2 for one
    that a tile cut) are ignored in measuring.

    >>> from swath.datasets.formats.object_files import ObjectFolder
    >>> DotaText(folders=(ObjectFolder(images="train/images", truths="train/labelTxt"),)).described()
    'train/images with train/labelTxt/*.txt'
    """

    def parse(self, path: Path, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the objects of a file; raise `DataError` naming the line that is wrong."""
        return [parse_dota_line(line, where) for line, where in lines_of(path) if not _HEADER.match(line)]


def parse_dota_line(line: str, where: str) -> StatedObject:
    """Read one line; raise `DataError`, with `where` in front, for another form.

    >>> parse_dota_line("0 0 4 0 4 2 0 2 Dry Cargo Ship 1", "line 1 of a.txt").name
    'Dry Cargo Ship'
    """
    fields = re.split(r"[\s,]+", line)
    count = next((place for place, text in enumerate(fields) if not _is_number(text)), len(fields))
    rest = fields[count:]
    if not rest:
        raise DataError(f"{where} names no class after its {count} numbers; mend the file.")
    corners = quadrilateral([number(text, where) for text in fields[:count]], where)
    difficult = int(rest.pop()) > 0 if len(rest) > 1 and rest[-1].isdigit() else False
    return StatedObject(name=" ".join(rest), shape=corners, where=where, ignored=difficult)


def dota_line(corners: NDArray[np.float64], name: str, difficulty: int = 0) -> str:
    """Write an object as a line, coordinates to hundredths of a pixel; blanks in the class become underscores.

    >>> dota_line(np.array([[0, 0], [4, 0], [4, 2], [0, 2]]), "Dry Cargo Ship", 2)
    '0.00 0.00 4.00 0.00 4.00 2.00 0.00 2.00 Dry_Cargo_Ship 2'
    """
    return f"{' '.join(f'{value:.2f}' for value in corners.ravel())} {name.replace(' ', '_')} {difficulty}"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)", text) is not None
