"""Polygons of shapely: mapping by an affine transform, clipping to a window, repair and ring direction.

>>> from affine import Affine
>>> parcel = shapely.box(0, 0, 2, 1)
>>> apply_affine(parcel, Affine(10, 0, 500, 0, -10, 900)).bounds
(500.0, 890.0, 520.0, 900.0)
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import GeometryCollection, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from swath.geometry.windows import Window

Geometry = TypeVar("Geometry", bound=BaseGeometry)


def apply_affine(geometry: Geometry, transform: Affine) -> Geometry:
    """The same geometry with every point (x, y) mapped, for instance from pixels to map coordinates.

    >>> from affine import Affine
    >>> apply_affine(shapely.Point(3, 4), Affine.translation(10, 20)).wkt
    'POINT (13 24)'
    """
    matrix = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    offset = np.array([transform.c, transform.f])

    def mapped(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return cast("NDArray[np.float64]", points @ matrix.T + offset)

    return cast("Geometry", shapely.transform(geometry, mapped))


def clip_to_window(geometry: BaseGeometry, window: Window) -> Polygon | MultiPolygon:
    """The polygonal part of a geometry inside a pixel window, in the same coordinates.

    An empty polygon if nothing lies inside. Lines and points where the geometry only touches the window are
    left out. The geometry is repaired first if it is not valid.

    >>> clip_to_window(shapely.box(-5, 2, 3, 4), Window(row=0, column=0, height=10, width=10)).bounds
    (0.0, 2.0, 3.0, 4.0)
    """
    frame = shapely.box(window.column, window.row, window.stop_column, window.stop_row)
    return polygonal_part(shapely.intersection(repaired(geometry), frame))


def repaired(geometry: BaseGeometry) -> Polygon | MultiPolygon:
    """The geometry as valid polygons, with what collapsed to lines or points left out; unchanged if valid.

    >>> bow_tie = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    >>> repaired(bow_tie).geom_type, polygon_area(repaired(bow_tie))
    ('MultiPolygon', 2.0)
    """
    return polygonal_part(geometry if geometry.is_valid else shapely.make_valid(geometry))


def polygonal_part(geometry: BaseGeometry) -> Polygon | MultiPolygon:
    """The polygons of a geometry or collection: as they are, or as one `MultiPolygon`, or an empty `Polygon`.

    >>> mixed = GeometryCollection([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)])
    >>> polygonal_part(mixed).geom_type
    'Polygon'
    """
    if isinstance(geometry, Polygon | MultiPolygon):
        return geometry
    if not isinstance(geometry, GeometryCollection):
        return Polygon()
    areal = [polygonal_part(part) for part in geometry.geoms]
    polygons = [polygon for part in areal for polygon in polygons_of(part)]
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons) if polygons else Polygon()


def polygons_of(geometry: Polygon | MultiPolygon) -> list[Polygon]:
    """The non-empty single polygons of a polygon or multi-polygon.

    >>> pair = MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 7, 7)])
    >>> [part.area for part in polygons_of(pair)]
    [1.0, 4.0]
    """
    parts = geometry.geoms if isinstance(geometry, MultiPolygon) else [geometry]
    return [part for part in parts if not part.is_empty]


def orient_rings(
    geometry: Polygon | MultiPolygon,
) -> Polygon | MultiPolygon:
    """The same polygons with shells counter-clockwise and holes clockwise, y pointing up, as RFC 7946 asks.

    Meant for map coordinates; in pixel coordinates, where y points down, a viewer sees the opposite
    directions.

    >>> orient_rings(Polygon([(0, 0), (0, 1), (1, 1), (1, 0)])).exterior.is_ccw
    True
    """
    if isinstance(geometry, MultiPolygon):
        return MultiPolygon([orient(part, 1.0) for part in geometry.geoms])
    return cast("Polygon", orient(geometry, 1.0))


def polygon_area(geometry: BaseGeometry, transform: Affine | None = None) -> float:
    """Area of a geometry, or the area it has after an affine transform, without mapping a single point.

    In the square of the coordinates' unit, or of the transform's target unit; 0 for lines, points and empty
    ones.

    >>> from affine import Affine
    >>> polygon_area(shapely.box(0, 0, 4, 2)), polygon_area(shapely.box(0, 0, 4, 2), Affine.scale(10, -10))
    (8.0, 800.0)
    """
    scale = 1.0 if transform is None else abs(transform.determinant)
    return float(shapely.area(geometry)) * scale
