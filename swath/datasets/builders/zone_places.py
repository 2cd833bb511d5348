"""Where patches of labelled areas may stand: corners of pixels inside polygons of one class, drawn by chance.

A patch of an even number of pixels has its centre on a corner between pixels, so the corners of the grid are the
candidates. Polygons are burnt onto them in strips; memory grows with the labelled area, not with the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyogrio.errors
import pyogrio.raw
import shapely
from affine import Affine as RasterioAffine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import transform as warp_transform

from swath.datasets.builders.chance import chance
from swath.errors import DataError, GridMismatch, ImageryNotFound
from swath.imagery.lonlat import parse_crs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.grid import Grid

CORNERS_A_STRIP = 1 << 22


@dataclass(frozen=True, kw_only=True, eq=False)
class Zones:
    """Polygons in the pixels of a grid (N,) and the class number of each (N,)."""

    polygons: NDArray[Any]
    numbers: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ZonePlaces:
    """Corners by class number, (N, 2) as row and column; `contested` lie in polygons of several classes, left out."""

    corners: Mapping[int, NDArray[np.int64]]
    contested: int


def read_zones(path: str | Path, grid: Grid, *, attribute: str = "class", classes: int) -> Zones:
    """Read polygons (GeoJSON or any vector file) whose attribute numbers their class from 1, into a grid's pixels.

    Raises `ImageryNotFound` for no file, `DataError` for one without polygons or with another attribute or number, and
    `GridMismatch` where the reference systems cannot be related.
    """
    if not Path(path).is_file():
        raise ImageryNotFound(f"there is no file of polygons at {path}; check the path.")
    try:
        about, _, shapes, columns = pyogrio.raw.read(Path(path), columns=[attribute])
    except pyogrio.errors.DataSourceError as error:
        raise DataError(f"{path} is not a vector file that can be read ({error}); give GeoJSON.") from error
    if not len(columns) or shapes is None or not len(shapes):
        raise DataError(f"{path} needs polygons with the attribute '{attribute}'; it has none.")
    polygons = shapely.from_wkb(shapes)
    numbers = [_number(value, path, attribute, classes) for value in columns[0].tolist()]
    if not np.isin(shapely.get_type_id(polygons), (3, 6)).all():
        raise DataError(f"{path} holds shapes that are no polygons; leave them out.")
    placed = shapely.transform(polygons, lambda xy: grid.to_pixels(_onto(xy, about["crs"], grid, path)))
    return Zones(polygons=placed, numbers=np.array(numbers, np.int64))


def _number(value: Any, path: str | Path, attribute: str, classes: int) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (number.is_integer() and 1 <= number <= classes):
        raise DataError(f"{path} has a polygon whose '{attribute}' is {value!r}; it must be 1 to {classes}.")
    return int(number)


def _onto(xy: NDArray[np.float64], crs: str | None, grid: Grid, path: str | Path) -> NDArray[np.float64]:
    if crs is None or grid.crs is None:
        raise GridMismatch(f"{path} or the imagery has no reference system, so they cannot be laid on each other.")
    one, two = parse_crs(crs), parse_crs(grid.crs)
    if one == two:
        return xy
    try:
        found = np.array(warp_transform(one, two, xy[:, 0], xy[:, 1])).T
    except (RasterioError, CPLE_BaseError) as error:
        raise GridMismatch(f"{path} cannot be brought to '{grid.crs}'; give polygons of the same area.") from error
    if not np.isfinite(found).all():
        raise GridMismatch(f"{path} has polygons where '{grid.crs}' has no place; give polygons of the same area.")
    return found


def labelled_corners(zones: Zones, grid: Grid, *, patch: int) -> ZonePlaces:
    """Return the corners inside the polygons of each class around which a patch fits into the grid.

    >>> from swath.geometry.windows import Size
    >>> from swath.imagery.grid import PIXELS, Grid
    >>> zones = Zones(polygons=np.array([shapely.box(1.5, 1.5, 3.5, 2.5)]), numbers=np.array([7]))
    >>> labelled_corners(zones, Grid(crs=None, transform=PIXELS, size=Size(4, 5)), patch=2).corners[7].tolist()
    [[2, 2], [2, 3]]
    """
    half = patch // 2
    first_row, stop_row = half, grid.size.height - (patch - half) + 1
    first_column, stop_column = half, grid.size.width - (patch - half) + 1
    found: dict[int, list[NDArray[np.int64]]] = {int(number): [] for number in np.unique(zones.numbers)}
    contested = 0
    width = max(stop_column - first_column, 0)
    height = max(1, CORNERS_A_STRIP // max(width, 1))
    for row in range(first_row, stop_row if width else first_row, height):
        shape = (min(height, stop_row - row), width)
        masks = {number: _burnt(zones, number, (first_column, row), shape) for number in found}
        claims = np.sum(list(masks.values()), axis=0, dtype=np.uint8)
        contested += int((claims > 1).sum())
        for number, mask in masks.items():
            rows, columns = np.nonzero(mask & (claims == 1))
            found[number].append(np.stack([rows + row, columns + first_column], axis=1))
    corners = {number: np.concatenate(parts) for number, parts in found.items() if sum(map(len, parts))}
    return ZonePlaces(corners=corners, contested=contested)


def _burnt(zones: Zones, number: int, origin: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which corners from `origin` (column, row) on lie in polygons of a class."""
    column, row = origin
    area = shapely.box(column - 1, row - 1, column + shape[1], row + shape[0])
    own = zones.polygons[zones.numbers == number]
    own = own[shapely.intersects(own, area)]
    if not len(own):
        return np.zeros(shape, np.bool_)
    # Half a pixel up and left, so that the centre of what is burnt is the corner itself.
    transform = RasterioAffine.translation(column - 0.5, row - 0.5)
    burnt: NDArray[np.uint8] = rasterize(own, out_shape=shape, transform=transform, dtype="uint8")
    return burnt > 0


@dataclass(eq=False)
class PlaceDraw:
    """Draws corners of one class in a random order, none nearer to another taken one than `distance` pixels.

    >>> draw = PlaceDraw(np.array([[0, 0], [0, 1], [0, 9]]), distance=5.0, seed=0, name="toy")
    >>> taken = []
    >>> for corner in draw:
    ...     draw.take(corner)
    ...     taken.append(corner)
    >>> len(taken)
    2
    """

    corners: NDArray[np.int64]
    distance: float
    seed: int
    name: str
    _taken: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        numbers = (self.corners[:, 0] << 32) | self.corners[:, 1]
        for place in np.argsort(chance(numbers, self.seed, self.name)):
            row, column = self.corners[place].tolist()
            if not self.distance or self._is_free(row, column):
                yield row, column

    def take(self, corner: tuple[int, int]) -> None:
        """Mark a corner as taken, so that its surroundings are left out from now on."""
        if self.distance:
            self._taken.setdefault(self._bucket(*corner), []).append(corner)

    def _bucket(self, row: int, column: int) -> tuple[int, int]:
        return int(row // self.distance), int(column // self.distance)

    def _is_free(self, row: int, column: int) -> bool:
        down, right = self._bucket(row, column)
        near = (self._taken.get((down + i, right + j), ()) for i in (-1, 0, 1) for j in (-1, 0, 1))
        return all(math.hypot(r - row, c - column) >= self.distance for bucket in near for r, c in bucket)
