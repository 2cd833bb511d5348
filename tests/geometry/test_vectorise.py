"""Vectorising against rasterio's shapes, scipy's labelling and hand-drawn cases."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import Polygon, shape

from swath.errors import GeometryError
from swath.geometry.vectorise import LabelledPolygon, StreamingVectoriser, vectorise

Raster = NDArray[Any]
# The first call compiles, which takes seconds.
unhurried = settings(deadline=None, max_examples=150)

rasters = st.integers(1, 4).flatmap(
    lambda most: arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, most))
)


def listed(found: list[LabelledPolygon]) -> list[tuple[int, str, int]]:
    """Labels, outlines with every vertex in its order, and areas."""
    return [(one.label, one.polygon.wkt, one.pixel_area) for one in found]


def by_rasterio(labels: Raster, ignore: Collection[int]) -> list[tuple[int, str]]:
    kept = ~np.isin(labels, list(ignore))
    outlines = shapes(labels.astype(np.int32), mask=kept, connectivity=4)
    return sorted((int(value), shape(outline).normalize().wkt) for outline, value in outlines)


def in_strips(labels: Raster, cuts: Collection[int], ignore: Collection[int]) -> list[LabelledPolygon]:
    vectoriser = StreamingVectoriser(labels.shape[1], ignore)
    found: list[LabelledPolygon] = []
    for strip in np.split(labels, sorted(cuts)):
        found += vectoriser.push(strip)
    found += vectoriser.finish()
    assert vectoriser.open_vertices == 0
    return found


def smooth_field(size: int, sigma: float, classes: int, seed: int) -> Raster:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), sigma)
    return np.digitize(field, np.quantile(field, np.linspace(0, 1, classes + 1)[1:-1])).astype(np.uint8)


@unhurried
@given(rasters, st.booleans())
@example(np.array([[1, 1, 1], [1, 2, 1], [1, 1, 2]], dtype=np.uint8), False)
def test_polygons_equal_rasterio_vertex_for_vertex(labels: Raster, skip_zero: bool) -> None:
    ignore = [0] if skip_zero else []
    found = vectorise(labels, ignore=ignore)
    assert sorted((one.label, one.polygon.normalize().wkt) for one in found) == by_rasterio(labels, ignore)
    for one in found:
        assert one.polygon.is_valid
        assert one.polygon.area == one.pixel_area


@unhurried
@given(rasters, st.data(), st.sampled_from([(), (0,), (1, 2)]))
def test_strips_of_any_height_give_the_same_list(labels: Raster, data: st.DataObject, ignore: tuple[int, ...]) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(labels)), max_size=len(labels)))
    assert listed(in_strips(labels, cuts, ignore)) == listed(vectorise(labels, ignore=ignore))


@unhurried
@given(rasters)
def test_each_polygon_is_one_region_of_connected_pixels(labels: Raster) -> None:
    found = vectorise(labels)
    assert sum(one.pixel_area for one in found) == labels.size
    for label in np.unique(labels):
        regions, count = ndimage.label(labels == label)
        areas = sorted(one.pixel_area for one in found if one.label == label)
        assert areas == sorted(np.bincount(regions.ravel())[1:].tolist())
        assert len(areas) == count


@pytest.mark.parametrize(("sigma", "classes"), [(6.0, 2), (3.0, 5), (0.6, 3)])
def test_smooth_fields_equal_rasterio_in_64_row_strips(sigma: float, classes: int) -> None:
    labels = smooth_field(300, sigma, classes, seed=classes)
    found = in_strips(labels, range(64, 300, 64), ignore=[0])
    assert sorted((one.label, one.polygon.normalize().wkt) for one in found) == by_rasterio(labels, [0])
    assert shapely.is_valid([one.polygon for one in found]).all()
    assert listed(found) == listed(vectorise(labels, ignore=[0]))


def test_pixels_that_touch_at_a_corner_are_separate() -> None:
    found = vectorise(np.array([[1, 0], [0, 1]]), ignore=[0])
    assert [one.polygon.wkt for one in found] == [
        "POLYGON ((0 0, 0 1, 1 1, 1 0, 0 0))",
        "POLYGON ((1 1, 1 2, 2 2, 2 1, 1 1))",
    ]


def test_a_ring_pinched_at_a_corner_becomes_a_shell_and_a_hole_that_touch() -> None:
    [found] = vectorise(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]]), ignore=[0])
    expected = Polygon([(0, 0), (0, 3), (2, 3), (2, 2), (3, 2), (3, 0)], [[(1, 1), (2, 1), (2, 2), (1, 2)]])
    assert found.polygon.is_valid
    assert found.polygon.normalize() == expected.normalize()
    assert found.pixel_area == 7


def test_corner_pinches_split_holes_but_do_not_join_pixels_to_the_frame() -> None:
    labels = np.ones((7, 7), dtype=np.uint8)
    labels[1:6, 1:6] = np.indices((5, 5)).sum(axis=0) % 2
    # The frame is the 24 border pixels and the 8 ones beside them; four ones further in touch it at corners.
    # Its holes are the four zeros in the corners and, pinched off from them, a plus of 13 pixels.
    frame = next(one for one in vectorise(labels) if one.label == 1 and one.pixel_area > 1)
    assert frame.pixel_area == frame.polygon.area == 32
    assert frame.polygon.is_valid
    assert sorted(Polygon(hole).area for hole in frame.polygon.interiors) == [1, 1, 1, 1, 13]


def test_rings_run_counter_clockwise_on_screen_from_the_first_pixel() -> None:
    [found] = vectorise(np.pad(np.zeros((2, 2), dtype=np.uint8), 1, constant_values=5), ignore=[0])
    assert list(found.polygon.exterior.coords) == [(0, 0), (0, 4), (4, 4), (4, 0), (0, 0)]
    assert not found.polygon.exterior.is_ccw  # with y down, the screen's counter-clockwise is y-up clockwise
    assert found.polygon.interiors[0].is_ccw


def test_regions_are_returned_once_they_are_closed() -> None:
    vectoriser = StreamingVectoriser(4, ignore=[0])
    assert vectoriser.push(np.array([[1, 1, 0, 2]])) == []
    assert vectoriser.open_vertices > 0
    assert [one.label for one in vectoriser.push(np.array([[1, 0, 0, 0], [0, 3, 0, 0]]))] == [2, 1]
    assert [one.label for one in vectoriser.finish()] == [3]
    assert vectoriser.open_vertices == 0


def test_memory_holds_open_regions_only() -> None:
    generator = np.random.default_rng(5)
    vectoriser = StreamingVectoriser(200, ignore=[0])
    held, closed = [], 0
    for _ in range(60):
        strip = (generator.random((32, 200)) < 0.3).astype(np.uint8)
        strip[-1] = 0
        closed += sum(len(one.polygon.exterior.coords) for one in vectoriser.push(strip))
        held.append((vectoriser.open_vertices, len(vectoriser._state.vertices)))
    assert closed > 100_000
    assert max(used for used, _ in held) == 0
    assert held[-1][1] < 40_000  # room for the vertices of two strips or so, not of sixty


def test_labels_of_every_integer_type_are_kept() -> None:
    for kind in (np.bool_, np.int8, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        assert [one.label for one in vectorise(np.array([[0, 1]], dtype=kind))] == [0, 1]
    extremes = np.array([[-(2**31), 2**31 - 1]])
    assert [one.label for one in vectorise(extremes)] == [-(2**31), 2**31 - 1]


def test_adjoining_ignored_labels_leave_one_gap() -> None:
    labels = np.array([[7, 7, 7, 7], [7, 0, 255, 7], [7, 7, 7, 7]], dtype=np.uint8)
    [found] = vectorise(labels, ignore=[0, 255])
    assert [len(ring.coords) for ring in found.polygon.interiors] == [5]
    assert found.pixel_area == 10


def test_wrong_input_is_refused() -> None:
    finished = StreamingVectoriser(2)
    finished.finish()
    for wrong in (
        lambda: vectorise(np.zeros(4, dtype=np.uint8)),
        lambda: vectorise(np.zeros((2, 2))),
        lambda: vectorise(np.array([[2**31]])),
        lambda: StreamingVectoriser(0),
        lambda: StreamingVectoriser(3).push(np.zeros((1, 2), dtype=np.uint8)),
        lambda: finished.push(np.zeros((1, 2), dtype=np.uint8)),
    ):
        with pytest.raises(GeometryError):
            wrong()
