"""Rows of HDF5 files whose place on the map stands in a second file, as So2Sat's version 4 has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swath.datasets.formats.hdf5 import ArrayRow, ArrayRows, open_file
from swath.errors import DataError
from swath.geometry.windows import Size
from swath.imagery.grid import Affine, Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swath.imagery.bands import Band, Unit
    from swath.imagery.pixels import Pixels


@dataclass(frozen=True, slots=True)
class PlacedRow(ArrayRow):
    """A row that has the same row in the arrays `epsg` and `tfw` of a second file, where that is there.

    The second file is named as the first, with `_geo` before the suffix.
    """

    def pixels(self, bands: tuple[Band, ...], unit: Unit) -> Pixels:
        """Read the row with its place."""
        # the two-argument form, since dataclasses with slots are made anew
        pixels = super(PlacedRow, self).pixels(bands, unit)
        places = self.path.with_name(f"{self.path.stem}_geo{self.path.suffix}")
        if not places.is_file():
            return pixels
        file = open_file(places)
        try:
            numbers, epsg = file["tfw"][self.row].ravel().tolist(), int(file["epsg"][self.row].ravel()[0])
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(f"{places} has no place of row {self.row} ({error}); get the file again.") from error
        return replace(pixels, grid=grid_of_world_file(numbers, epsg, pixels.size))


@dataclass(frozen=True, kw_only=True)
class PlacedArrayRows(ArrayRows):
    """Arrays as in `ArrayRows`, whose images lie on the map.

    >>> PlacedArrayRows(files={"train": ("training.h5",)}, images=("sen2",)).images
    ('sen2',)
    """

    def source(self, path: Path, array: str, row: int) -> ArrayRow:
        """Return where the pixels and the place of one row are."""
        return PlacedRow(path, array, row)


def grid_of_world_file(numbers: Sequence[float], epsg: int, size: Size) -> Grid:
    """Return the grid of six numbers in either of the two orders that So2Sat was published with.

    The corrected release has a world file's A, D, B, E, C, F, the first one has C, A, B, F, D and E counted
    upwards. Both give the outer corner of the first pixel. Raises `DataError` for other numbers.

    >>> size = Size(32, 32)
    >>> new = grid_of_world_file([10, 0, 0, -10, 550335.858, 4183214.43], 32610, size)
    >>> new == grid_of_world_file([550335.858, 10, 0, 4183214.43, 0, 10], 32610, size)
    True
    """
    if len(numbers) != 6:
        raise DataError(f"A place needs six numbers; found {len(numbers)}.")
    if abs(numbers[0]) <= 100:  # a pixel's width in metres, and no easting
        a, d, b, e, c, f = numbers
    else:
        c, a, b, f, d, e = numbers
    return Grid(crs=f"EPSG:{epsg}", transform=Affine(a, b, c, d, -abs(e), f), size=size)
