"""Map coordinates as longitude and latitude, with shapes cut where they cross the antimeridian.

GeoJSON and STAC want WGS 84 longitudes between -180 and 180 (RFC 7946, sections 3.1.9 and 4). A shape that
crosses the antimeridian becomes two parts, one at each end of the map; a shape around a pole is closed along
the pole first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as warp_transform
from shapely.geometry import LinearRing, LineString, Polygon
from shapely.geometry.base import BaseGeometry

from swath.errors import GridMismatch
from swath.geometry.polygons import orient_rings
from swath.imagery.grid import Grid

_LONGITUDE_LATITUDE = CRS.from_epsg(4326)
# A scene's straight edges bend in longitude, latitude: points are set along each side of its outline.
_FOOTPRINT_STEPS = 8


class LonLat:
    """A reference system's way to WGS 84 longitude and latitude in degrees.

    Raises `GridMismatch` where `crs` is no reference system.

    >>> LonLat("EPSG:3857").points(np.array([[0.0, 0.0]])).tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, crs: str) -> None:
        self._crs = parse_crs(crs)
        self._name = crs

    def points(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn map coordinates (N, 2) into longitudes, latitudes; `GridMismatch` for points off the Earth."""
        if len(xy) == 0 or self._crs == _LONGITUDE_LATITUDE:
            return xy
        try:
            found = np.array(warp_transform(self._crs, _LONGITUDE_LATITUDE, xy[:, 0], xy[:, 1]))
        except (RasterioError, CPLE_BaseError) as error:
            raise GridMismatch(f"Points cannot be brought from '{self._name}' to longitude, latitude.") from error
        if not np.isfinite(found).all():
            raise GridMismatch(
                f"Some points lie where '{self._name}' has no longitude, latitude; check the scene's place."
            )
        return found.T

    def geometries(self, geometries: NDArray[Any] | Sequence[BaseGeometry]) -> NDArray[Any]:
        """Turn shapes in map coordinates into shapes in longitude, latitude, cut at the antimeridian.

        >>> square = shapely.box(-20_000, -9_000, 20_000, 9_000)
        >>> fiji = LonLat("+proj=tmerc +lon_0=180").geometries([square])[0]
        >>> [round(value, 2) for value in fiji.bounds], len(fiji.geoms)
        ([-180.0, -0.08, 180.0, 0.08], 2)
        """
        placed: NDArray[Any] = shapely.transform(np.asarray(geometries, dtype=object), self.points)
        bounds = shapely.bounds(placed)
        for index in np.flatnonzero(_leaves_the_map(bounds)):
            placed[index] = _on_the_map(placed[index], wrapped=self._crs != _LONGITUDE_LATITUDE)
        return placed


def footprint(grid: Grid) -> BaseGeometry:
    """Return the outline of a grid in longitude, latitude, counter-clockwise, with points on its sides.

    Raises `GridMismatch` for a grid without a reference system.

    >>> from swath.geometry.windows import Size
    >>> from swath.imagery.grid import Affine
    >>> footprint(Grid(crs="EPSG:4326", transform=Affine(1, 0, 5, 0, -1, 50), size=Size(2, 3))).bounds
    (5.0, 48.0, 8.0, 50.0)
    """
    if grid.crs is None:
        raise GridMismatch("An image without a reference system has no place on the Earth.")
    height, width = grid.size.height, grid.size.width
    outline = Polygon([(0, 0), (width, 0), (width, height), (0, height)])
    dense = shapely.segmentize(outline, max(height, width) / _FOOTPRINT_STEPS)
    return orient_rings(LonLat(grid.crs).geometries([shapely.transform(dense, grid.to_map)])[0])


def bounding_box(geometry: BaseGeometry) -> tuple[float, float, float, float]:
    """Return west, south, east, north in degrees.

    West is the greater where the shape crosses the antimeridian (RFC 7946, 5.2).

    >>> halves = shapely.union_all([shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -178, 1)])
    >>> bounding_box(halves)
    (179.0, -1.0, -178.0, 1.0)
    """
    west, south, east, north = (float(value) for value in geometry.bounds)
    if west > -180 or east < 180:
        return west, south, east, north
    # The shape reaches both ends of the map: the box leaves out the widest gap between its parts.
    edges = shapely.bounds(shapely.get_parts(geometry))
    edges = edges[np.argsort(edges[:, 0])]
    reached = np.maximum.accumulate(edges[:, 2])[:-1]
    gaps = edges[1:, 0] - reached
    if len(gaps) == 0 or gaps.max() <= 0:
        return west, south, east, north
    widest = int(gaps.argmax())
    return float(edges[widest + 1, 0]), south, float(reached[widest]), north


def parse_crs(crs: str) -> CRS:
    """Return rasterio's reference system for an authority code or WKT; `GridMismatch` where it is neither.

    >>> parse_crs("EPSG:32633").to_epsg()
    32633
    """
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise GridMismatch(f"'{crs}' is no reference system that PROJ understands; use EPSG:… or WKT.") from error


def _leaves_the_map(bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    west, east = bounds[:, 0], bounds[:, 2]
    return (east - west > 180) | (west < -180) | (east > 180)


def _on_the_map(geometry: BaseGeometry, *, wrapped: bool) -> BaseGeometry:
    """Cut one shape at the antimeridian; `wrapped` says that its longitudes jump there by 360 degrees."""
    parts = [_part_on_the_map(part, wrapped) for part in shapely.get_parts(geometry)]
    whole: BaseGeometry = shapely.union_all(parts)
    return whole


def _part_on_the_map(part: BaseGeometry, wrapped: bool) -> BaseGeometry:
    if isinstance(part, Polygon):
        inside = _cut(Polygon(_unwrapped(part.exterior, wrapped)))
        holes = [_cut(Polygon(_unwrapped(hole, wrapped))) for hole in part.interiors]
        rest: BaseGeometry = shapely.difference(inside, shapely.union_all(holes))
        return rest
    if isinstance(part, LineString):
        return _cut(LineString(_unwrapped(part, wrapped)))
    moved: BaseGeometry = shapely.transform(
        part, lambda lonlat: np.column_stack([_wrapped(lonlat[:, 0]), lonlat[:, 1]])
    )
    return moved


def _wrapped(longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(longitude) > 180, (longitude + 180) % 360 - 180, longitude)


def _unwrapped(line: BaseGeometry, wrapped: bool) -> NDArray[np.float64]:
    """Return a line's or ring's points (N, 2) without jumps, so that its longitudes may pass 180 degrees."""
    lonlat: NDArray[np.float64] = shapely.get_coordinates(line)
    if not wrapped:
        return lonlat
    longitude = np.unwrap(lonlat[:, 0], period=360)
    lonlat = np.column_stack([longitude, lonlat[:, 1]])
    if isinstance(line, LinearRing) and abs(longitude[-1] - longitude[0]) > 180:
        # The ring goes once round the Earth: it holds a pole, along which it must be closed.
        pole = 90.0 if lonlat[:, 1].mean() > 0 else -90.0
        lonlat = np.vstack([lonlat, [[longitude[-1], pole], [longitude[0], pole]]])
    return lonlat


def _cut(shape: BaseGeometry) -> BaseGeometry:
    """Bring a shape of any longitudes between -180 and 180 degrees, in as many parts as that takes."""
    sound = shapely.make_valid(shape)
    west, _, east, _ = sound.bounds
    parts = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))):
        piece = shapely.intersection(sound, shapely.box(turn * 360 - 180, -90, turn * 360 + 180, 90))
        parts.append(shapely.transform(piece, lambda xy, turn=turn: xy - [turn * 360, 0]))
    pieces = shapely.get_parts(parts)
    # An edge that only touches the antimeridian leaves points and lines, which are no part of a polygon.
    whole: BaseGeometry = shapely.union_all(pieces[shapely.get_dimensions(pieces) == shapely.get_dimensions(shape)])
    return whole
