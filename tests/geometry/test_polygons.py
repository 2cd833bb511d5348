"""Polygon helpers against shapely's own arithmetic and hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon

from swath.geometry.polygons import (
    apply_affine,
    clip_to_window,
    orient_rings,
    polygon_area,
    polygonal_part,
    polygons_of,
    repaired,
)
from swath.geometry.windows import Window

WITH_HOLE = Polygon([(0, 0), (8, 0), (8, 8), (0, 8)], [[(2, 2), (2, 6), (6, 6), (6, 2)]])
numbers = st.integers(-9, 9).map(float)


@given(st.builds(Affine, *([numbers] * 6)))
def test_affine_maps_points_and_areas_like_shapely(transform: Affine) -> None:
    expected = affinity.affine_transform(
        WITH_HOLE, [transform.a, transform.b, transform.d, transform.e, transform.c, transform.f]
    )
    mapped = apply_affine(WITH_HOLE, transform)
    np.testing.assert_allclose(shapely.get_coordinates(mapped), shapely.get_coordinates(expected))
    assert len(mapped.interiors) == 1
    assert polygon_area(WITH_HOLE, transform) == pytest.approx(expected.area)


@given(st.integers(-4, 9), st.integers(-4, 9), st.integers(0, 9), st.integers(0, 9))
def test_clipping_counts_the_pixels_inside(row: int, column: int, height: int, width: int) -> None:
    window = Window(row, column, height, width)
    inside = np.zeros((30, 30), dtype=bool)
    inside[10:18, 10:18] = True
    inside[12:16, 12:16] = False
    expected = inside[window.shifted(10, 10).slices].sum()
    clipped = clip_to_window(WITH_HOLE, window)
    assert clipped.is_valid
    assert polygon_area(clipped) == expected


def test_clipping_drops_the_line_where_shapes_only_touch() -> None:
    assert clip_to_window(shapely.box(0, 0, 4, 4), Window(0, 4, 4, 4)).is_empty


def test_repair_keeps_the_polygons_of_what_collapses() -> None:
    spiked = Polygon([(0, 0), (4, 0), (4, 4), (4, 9), (4, 4), (0, 4)])
    fixed = repaired(spiked)
    assert fixed.is_valid and fixed.equals(shapely.box(0, 0, 4, 4))
    assert repaired(WITH_HOLE) is WITH_HOLE
    assert repaired(Point(1, 1)).is_empty


def test_the_polygonal_part_of_a_collection_is_flattened() -> None:
    first, second = shapely.box(0, 0, 1, 1), shapely.box(3, 3, 5, 5)
    nested = GeometryCollection([LineString([(0, 0), (1, 1)]), GeometryCollection([first, MultiPolygon([second])])])
    assert polygons_of(polygonal_part(nested)) == [first, second]
    assert polygonal_part(GeometryCollection([Point(0, 0), first])) == first
    assert polygonal_part(LineString([(0, 0), (1, 1)])).is_empty
    assert polygons_of(Polygon()) == []


@pytest.mark.parametrize("reverse_shell", [False, True])
@pytest.mark.parametrize("reverse_hole", [False, True])
def test_rings_follow_rfc_7946(reverse_shell: bool, reverse_hole: bool) -> None:
    shell = list(WITH_HOLE.exterior.coords)[:: -1 if reverse_shell else 1]
    hole = list(WITH_HOLE.interiors[0].coords)[:: -1 if reverse_hole else 1]
    polygon = Polygon(shell, [hole])
    for part in polygons_of(orient_rings(MultiPolygon([polygon]))) + polygons_of(orient_rings(polygon)):
        assert part.exterior.is_ccw and not part.interiors[0].is_ccw
        assert part.equals(WITH_HOLE)
