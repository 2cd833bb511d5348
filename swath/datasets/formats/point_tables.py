"""Images beside tables of points: `images/<name>.tif` and `csv/<name>.csv` with the columns x and y."""

from __future__ import annotations

import csv
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.datasets.layout import Layout, Survey
from swath.datasets.records import Record, image_files, listed
from swath.errors import DataError, SwathWarning
from swath.samples.vectors import Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class PointTables(Layout):
    """Every image may have a table of points of one class; an image without a table has no points.

    Tables hold pixel indices counted from 0, so index i stands for the whole pixel whose centre is i +
    `offset`.

    >>> PointTables().offset
    0.5
    """

    images: str = "images"
    tables: str = "csv"
    offset: float = 0.5

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:
        """List the images by name; a table without its image is a problem, and no images an error."""
        if len(classes) != 1:
            raise DataError(f"Tables of x and y hold points of one class; the data set declares {len(classes)}.")
        images = image_files(root / self.images)
        if not images:
            raise DataError(f"{root / self.images} holds no image; give the folder that holds '{self.images}'.")
        tables = {path.stem: path for path in listed(root / self.tables) if path.suffix.lower() == ".csv"}
        orphans = sorted(set(tables) - {path.stem for path in images})
        folder = root / self.tables
        return Survey(
            records=[
                Record(key=f"{self.images}/{path.name}", image=path, truth=tables.get(path.stem)) for path in images
            ],
            problems=[f"{folder} has {name}.csv without its image; complete the data set." for name in orphans],
        )

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Points:
        """Read the points in pixels; raise `DataError` for a broken table, warn of points outside."""
        table = record.truth
        xy = read_points(table) + self.offset if isinstance(table, Path) else np.zeros((0, 2))
        height, width = pixels.size.height, pixels.size.width
        inside = (xy >= 0).all(axis=1) & (xy[:, 0] < width) & (xy[:, 1] < height)
        if not inside.all():
            warnings.warn(
                f"{table} has {int((~inside).sum())} points outside its image, which are left out.",
                SwathWarning,
                stacklevel=2,
            )
        return Points.of(xy[inside], classes=classes, height=height, width=width)


def read_points(path: Path) -> NDArray[np.float64]:
    """Read the columns x and y of a table, (N, 2); raise `DataError` naming the line that is wrong."""
    rows: list[list[float]] = []
    with path.open(newline="", encoding="utf-8-sig") as stream:
        table = csv.DictReader(stream)
        if not {"x", "y"} <= set(table.fieldnames or ()):
            raise DataError(f"{path} needs the columns x and y; found {', '.join(table.fieldnames or ()) or 'none'}.")
        for row in table:
            try:
                point = [float(row["x"]), float(row["y"])]
            except (TypeError, ValueError):
                point = [math.nan]
            if not all(map(math.isfinite, point)):
                raise DataError(f"Line {table.line_num} of {path} does not hold two numbers; mend the table.")
            rows.append(point)
    return np.array(rows, dtype=np.float64).reshape(-1, 2)
