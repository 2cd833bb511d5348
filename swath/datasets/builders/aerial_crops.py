"""Squares of ground cut from a stock of aerial images: which file shows a place whole, and the pixels it has there."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine as RasterioAffine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import transform as warp_transform
from shapely.geometry import Point, Polygon

from swath.errors import GridMismatch, ImageryNotFound, UnitMismatch
from swath.geometry.windows import Size, Window
from swath.imagery.bands import select_bands
from swath.imagery.lonlat import parse_crs
from swath.imagery.sources import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.grid import Grid
    from swath.imagery.naming import BandsSpec
    from swath.imagery.sources_base import Source

RGB = ("red", "green", "blue")
OPEN_FILES = 8
SAME_SIZE = 1e-3  # a pixel this near to the wanted size is not resampled
_OUTLINE_STEPS = 16  # straight edges bend in another reference system


@dataclass(frozen=True, kw_only=True)
class AerialFile:
    """What is known of one image of the stock: its address and grid."""

    name: str
    grid: Grid


@dataclass(frozen=True, kw_only=True, eq=False)
class AerialStock:
    """Aerial images, and where the centre of a square of `side` metres may lie so that one of them shows it whole.

    Places are those of another raster, `reference`; `outlines` are in its pixels. Made by `of`.
    """

    files: tuple[AerialFile, ...]
    reference: Grid
    side: float
    pixels: int
    outlines: NDArray[Any]
    tree: shapely.STRtree
    bands: BandsSpec | None
    opened: OrderedDict[int, Source] = field(default_factory=OrderedDict)

    @classmethod
    def of(
        cls,
        images: Sequence[str | Path],
        reference: Grid,
        *,
        side: float,
        pixels: int,
        bands: BandsSpec | None = None,
    ) -> AerialStock:
        """Look at the grids of all images (files or addresses), 8-bit with red, green and blue, north up.

        Raises `ImageryNotFound` for no image, `UnitMismatch` for other values, `BandMismatch` for other bands and
        `GridMismatch` for an image without a place or not north up.
        """
        if reference.crs is None:
            raise GridMismatch("the raster of places has no reference system, so its cells have no place; give it one.")
        if not images:
            raise ImageryNotFound("there is no aerial image to cut from; give at least one file.")
        files = []
        for name in map(str, images):
            source = open_source(name, bands=bands)
            try:
                _check(source)
                files.append(AerialFile(name=name, grid=source.grid))
            finally:
                source.close()
        outlines = np.array([_allowed_centres(file.grid, reference, side) for file in files], dtype=object)
        return cls(
            files=tuple(files),
            reference=reference,
            side=side,
            pixels=pixels,
            outlines=outlines,
            tree=shapely.STRtree(outlines),
            bands=bands,
        )

    def covers(self, window: Window) -> NDArray[np.bool_]:
        """Return for which cells of a window of the reference a square around their centre is shown whole, (H, W)."""
        area = shapely.box(window.column, window.row, window.stop_column, window.stop_row)
        inside = self.outlines[np.sort(self.tree.query(area))]
        if not len(inside):
            return np.zeros((window.height, window.width), np.bool_)
        burnt: NDArray[np.uint8] = rasterize(
            inside,
            out_shape=(window.height, window.width),
            transform=RasterioAffine.translation(window.column, window.row),
            dtype="uint8",
        )
        return burnt > 0

    def showing(self, row: int, column: int) -> tuple[int, ...]:
        """Return the positions of the files that show the square around a cell's centre whole, in order."""
        centre = Point(column + 0.5, row + 0.5)
        return tuple(int(found) for found in np.sort(self.tree.query(centre, predicate="intersects")))

    def crop(self, file: int, row: int, column: int) -> NDArray[np.uint8] | None:
        """Return the square around a cell's centre as (3, pixels, pixels), north up; None where pixels are missing.

        The square is that of the file's own grid whose centre is nearest: half of its pixel away at most.
        """
        source = self._open(file)
        centre = self.reference.to_map(np.array([[column + 0.5, row + 0.5]]))
        x, y = source.grid.to_pixels(_between(centre, self.reference, source.grid))[0]
        across, down = source.grid.pixel_size
        width, height = (max(1, round(self.side / size)) for size in (across, down))
        window = Window(
            _start(y, height, source.grid.size.height), _start(x, width, source.grid.size.width), height, width
        )
        same = abs(self.side / self.pixels / across - 1) < SAME_SIZE and (height, width) == (self.pixels, self.pixels)
        positions = select_bands(source.bands, RGB, where=f"'{source.name}'")
        found = source.read(window, positions, size=None if same else Size(self.pixels, self.pixels))
        if found.valid is not None:
            return None
        values: NDArray[np.uint8] = found.values
        return values

    def close(self) -> None:
        """Close the files that are open."""
        while self.opened:
            self.opened.popitem()[1].close()

    def _open(self, file: int) -> Source:
        if file not in self.opened:
            if len(self.opened) >= OPEN_FILES:
                self.opened.popitem(last=False)[1].close()
            self.opened[file] = open_source(self.files[file].name, bands=self.bands)
        self.opened.move_to_end(file)
        return self.opened[file]


def _check(source: Source) -> None:
    t = source.grid.transform
    if source.grid.crs is None or t.b or t.d or t.a <= 0 or t.e >= 0:
        raise GridMismatch(f"'{source.name}' has no reference system or is not north up; warp it first.")
    select_bands(source.bands, RGB, where=f"'{source.name}'")
    if source.dtype != np.uint8:
        raise UnitMismatch(f"'{source.name}' holds {source.dtype} values; aerial crops are made of 8-bit imagery.")


def _allowed_centres(grid: Grid, reference: Grid, side: float) -> Polygon:
    """Return in the reference's pixels where the centre of a square may lie, with half a pixel to spare."""
    across, down = grid.pixel_size
    half_width, half_height = (round(side / size) / 2 - 0.5 for size in (across, down))
    west, east = half_width, grid.size.width - half_width
    north, south = half_height, grid.size.height - half_height
    if west > east or north > south:
        return Polygon()
    outline = shapely.segmentize(
        shapely.box(west, north, east, south), max(east - west, south - north) / _OUTLINE_STEPS
    )
    placed = shapely.transform(outline, lambda xy: reference.to_pixels(_between(grid.to_map(xy), grid, reference)))
    return placed if np.isfinite(shapely.get_coordinates(placed)).all() else Polygon()


def _between(xy: NDArray[np.float64], grid: Grid, other: Grid) -> NDArray[np.float64]:
    """Bring map coordinates (N, 2) from one grid's reference system to another's."""
    one, two = parse_crs(grid.crs or ""), parse_crs(other.crs or "")
    if one == two:
        return xy
    try:
        return np.array(warp_transform(one, two, xy[:, 0], xy[:, 1])).T
    except (RasterioError, CPLE_BaseError) as error:
        raise GridMismatch(
            f"'{grid.crs}' and '{other.crs}' cannot be related; give imagery of the same area."
        ) from error


def _start(centre: float, length: int, whole: int) -> int:
    return min(max(math.floor(centre - length / 2 + 0.5), 0), whole - length)
