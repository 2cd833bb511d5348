"""Objects in the text of YOLO: a line an object, its class by number and its place in shares of the image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from swath.datasets.formats.object_files import ObjectFiles, lines_of
from swath.datasets.formats.stated_objects import StatedObject, number, quadrilateral
from swath.errors import DataError

if TYPE_CHECKING:
    from swath.geometry.windows import Size


@dataclass(frozen=True, kw_only=True)
class YoloText(ObjectFiles):
    """A text file an image, `class x y width height` or, for boxes at any angle, `class x1 y1 ... x4 y4` a line.

    All coordinates are shares of the image's width and height, x and y the centre. `names` are the classes by number,
    in the files' own order; left out, numbers count the data set's classes. An image without a file has no objects.
    A sixth number in the first form is the score of a prediction.

    >>> YoloText(folders=(), names=("car", "truck")).names[1]
    'truck'
    """

    names: tuple[str, ...] = ()
    lacking: Literal["problem", "empty", "skipped"] = "empty"

    def parse(self, path: Path, size: Size) -> list[StatedObject]:
        """Return the objects of a file in pixels; raise `DataError` naming the line that is wrong."""
        found = []
        scale = np.array([size.width, size.height], dtype=np.float64)
        for line, where in lines_of(path):
            first, *rest = line.split()
            values = [number(text, where) for text in rest]
            name, score = self._name(first, where), 1.0
            if len(values) in (4, 5):
                centre, side = (np.array(values[start : start + 2]) * scale for start in (0, 2))
                shape = np.concatenate([centre - side / 2, centre + side / 2])
                score = values[4] if len(values) == 5 else 1.0
            else:
                shape = quadrilateral(values, where) * scale
            found.append(StatedObject(name=name, shape=shape, where=where, score=score))
        return found

    def _name(self, text: str, where: str) -> str:
        if not re.fullmatch(r"\d+", text):
            raise DataError(f"{where} begins with '{text}', where the number of a class is needed; mend the file.")
        if not self.names:
            return text
        if int(text) >= len(self.names):
            raise DataError(
                f"{where} has the class {text}; the {len(self.names)} classes are 0 to {len(self.names) - 1}."
            )
        return self.names[int(text)]
