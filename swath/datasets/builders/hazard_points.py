"""Places for a data set of hazard: cells of a classified raster, drawn by class, divided among parts by blocks of land.

What a GIS calls raster to point: every cell with a value has a number, counted from 1 row by row, and stands at its
centre. The raster is read in strips, so that a country at 270 m fits in any memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from swath.datasets.builders.chance import chance
from swath.datasets.splits import by_chance
from swath.errors import DataError, GridMismatch
from swath.geometry.windows import Window
from swath.imagery.lonlat import LonLat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.grid import Grid
    from swath.imagery.sources_base import Source

CELLS_A_STRIP = 1 << 21
EARTH_RADIUS = 6_371_008.8  # metres, the mean of the ellipsoid's axes

Coverage = Callable[[Window], "NDArray[np.bool_]"]
"""Says for a window of the raster which cells have imagery, (H, W)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HazardPoint:
    """A cell: its number, class code, place in the raster, and the longitude and latitude of its centre."""

    number: int
    code: int
    row: int
    column: int
    longitude: float
    latitude: float


@dataclass(frozen=True, kw_only=True)
class DrawnPoints:
    """The points that were drawn, by number, and how many cells of each code lie where there is no imagery."""

    points: tuple[HazardPoint, ...]
    uncovered: Mapping[int, int]

    def counts(self) -> dict[int, int]:
        """Return how many points each code has."""
        return dict(sorted(Counter(point.code for point in self.points).items()))


@dataclass
class _Reservoir:
    """The cells of one class that chance ranks first, as columns: rank, number, row, column."""

    quota: int
    ranks: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    cells: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))

    def add(self, ranks: NDArray[np.uint64], cells: NDArray[np.int64]) -> None:
        self.ranks = np.concatenate([self.ranks, ranks])
        self.cells = np.concatenate([self.cells, cells])
        if len(self.ranks) > self.quota:
            kept = np.argpartition(self.ranks, self.quota - 1)[: self.quota]
            self.ranks, self.cells = self.ranks[kept], self.cells[kept]


def draw_points(hazard: Source, quotas: Mapping[int, int], covered: Coverage, *, seed: int = 0) -> DrawnPoints:
    """Draw cells of each code by chance among those with imagery, as many as its quota or as there are.

    `quotas` name every code that the raster may hold, with 0 for those that are not drawn. Raises `GridMismatch` for a
    raster without a reference system, `DataError` for values that are no code.

    >>> from swath.imagery.grid import Affine, Grid
    >>> from swath.geometry.windows import Size
    >>> from swath.imagery.sources import open_source
    >>> grid = Grid(crs="EPSG:5070", transform=Affine(270, 0, 0, 0, -270, 0), size=Size(1, 3))
    >>> hazard = open_source(np.array([[[1, 2, 2]]], np.uint8), bands=["hazard"], grid=grid)
    >>> drawn = draw_points(hazard, {1: 5, 2: 1}, lambda window: np.ones((1, 3), bool))
    >>> drawn.counts()
    {1: 1, 2: 1}
    """
    if hazard.grid.crs is None:
        raise GridMismatch(f"'{hazard.name}' has no reference system, so its cells have no place; give it one.")
    reservoirs = {code: _Reservoir(quota) for code, quota in quotas.items() if quota > 0}
    uncovered = dict.fromkeys(sorted(quotas), 0)
    for window, codes, numbers in _strips(hazard, frozenset(quotas)):
        has_imagery = covered(window)
        for code in quotas:
            of_code = codes == code
            uncovered[code] += int((of_code & ~has_imagery).sum())
            if code not in reservoirs:
                continue
            rows, columns = np.nonzero(of_code & has_imagery)
            found = numbers[rows, columns]
            cells = np.stack([found, rows + window.row, columns], axis=1)
            reservoirs[code].add(chance(found, seed, "hazard"), cells)
    rows_of = [(code, *cell) for code, reservoir in reservoirs.items() for cell in reservoir.cells.tolist()]
    return DrawnPoints(points=_placed(hazard.grid, rows_of), uncovered=uncovered)


def _strips(hazard: Source, codes: frozenset[int]) -> Iterator[tuple[Window, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield windows of whole rows with their codes (0 where there is none) and the numbers of their cells."""
    size = hazard.grid.size
    height = max(1, CELLS_A_STRIP // size.width)
    last = 0
    for row in range(0, size.height, height):
        window = Window(row, 0, min(height, size.height - row), size.width)
        pixels = hazard.read(window, [0])
        values = pixels.values[0]
        known = np.ones(values.shape, bool) if pixels.valid is None else pixels.valid
        strange = known & ~np.isin(values, sorted(codes))
        if strange.any():
            raise DataError(
                f"'{hazard.name}' holds the value {values[strange][0]}, which is no code of {min(codes)} to "
                f"{max(codes)}; give the classified raster, or mark the value as no-data."
            )
        numbers = last + np.cumsum(known.ravel()).reshape(known.shape)
        last = int(numbers[-1, -1])
        yield window, np.where(known, values, 0).astype(np.int64), numbers


def _placed(grid: Grid, cells: Sequence[tuple[int, int, int, int]]) -> tuple[HazardPoint, ...]:
    if not cells:
        return ()
    ordered = sorted(cells, key=lambda cell: cell[1])
    centres = np.array([(column + 0.5, row + 0.5) for _, _, row, column in ordered])
    places = LonLat(grid.crs or "").points(grid.to_map(centres))
    return tuple(
        HazardPoint(
            number=number, code=code, row=row, column=column, longitude=float(place[0]), latitude=float(place[1])
        )
        for (code, number, row, column), place in zip(ordered, places, strict=True)
    )


def divide_by_blocks(
    points: Sequence[HazardPoint], grid: Grid, *, share: float, block: float, seed: int = 0
) -> frozenset[int]:
    """Return the numbers of the points that are held back: whole blocks of land of `block` map units a side.

    Blocks are tried in a random order and taken where that brings the held back nearer to `share` of the points; with a
    `block` of 0 every point is its own. Raises `DataError` where either part would be empty.
    """
    centres = grid.to_map(np.array([(point.column + 0.5, point.row + 0.5) for point in points]).reshape(-1, 2))
    members: dict[str, list[int]] = {}
    for point, (x, y) in zip(points, centres, strict=True):
        name = f"{math.floor(x / block)}/{math.floor(y / block)}" if block else str(point.number)
        members.setdefault(name, []).append(point.number)
    held: list[int] = []
    wanted = share * len(points)
    for name in by_chance(set(members), seed):
        larger = len(held) + len(members[name])
        if abs(larger - wanted) < abs(len(held) - wanted):
            held += members[name]
    if not held or len(held) == len(points):
        raise DataError(
            f"{len(points)} points in {len(members)} block{'s' if len(members) != 1 else ''} of {block:g} m cannot be "
            f"divided so that {share:.0%} are held back; choose smaller blocks or more points."
        )
    return frozenset(held)


def distance_to_nearest(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far (metres along the Earth) each place (N, 2) of longitude, latitude is from the nearest other.

    Small distances between the images of two parts say that figures on one may rest on having seen the other.

    >>> distance_to_nearest(np.array([[0.0, 0.0]]), np.array([[0.0, 1.0], [90.0, 0.0]])).round().tolist()
    [111195.0]
    """
    chord, _ = cKDTree(_on_sphere(others)).query(_on_sphere(places))
    distances: NDArray[np.float64] = 2 * EARTH_RADIUS * np.arcsin(np.clip(chord / 2, 0, 1))
    return distances


def _on_sphere(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    longitude, latitude = np.radians(lonlat).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
