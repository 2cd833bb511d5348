"""Oriented boxes: the convention by its formula, every converter by corner sets, rectangles against shapely."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from oriented_cases import polygons

from swath.errors import GeometryError
from swath.geometry import oriented_conventions as conventions
from swath.geometry.oriented import as_oriented_boxes, corners, from_corners, half_sides, normal_angles
from swath.geometry.oriented_rectangles import minimum_area_rectangles
from swath.geometry.oriented_text import (
    from_geochat_text,
    from_geoground_text,
    to_geochat_text,
    to_geoground_text,
)
from swath.geometry.windows import Size

HALF = np.pi / 2
Array = NDArray[np.float64]
Converter = Callable[[Array], Array]

special_angles = st.sampled_from([-HALF, -HALF / 2, -1e-20, 0.0, 1e-20, HALF / 2, np.nextafter(HALF, 0), HALF, np.pi])


@st.composite
def box_sets(draw: st.DrawFn, smallest: float = 0.0, angles: float = 2 * np.pi) -> Array:
    count = draw(st.integers(0, 6))
    centres = draw(arrays(np.float64, (count, 2), elements=st.floats(-2000, 2000)))
    sides = draw(arrays(np.float64, (count, 2), elements=st.floats(smallest, 500) | st.sampled_from([1.0, 4.0])))
    turned = draw(arrays(np.float64, count, elements=st.floats(-angles, angles) | special_angles))
    return np.column_stack([centres, sides, turned])


def assert_same_rectangles(one: Array, other: Array, tolerance: float = 1e-8) -> None:
    """Compare corner sets: each corner of a box has one of the other's at its place."""
    first, second = corners(one), corners(other)
    apart = np.hypot(*np.moveaxis(first[:, :, None] - second[:, None, :], -1, 0))
    assert np.all(apart.min(axis=1, initial=np.inf) <= tolerance)
    assert np.all(apart.min(axis=2, initial=np.inf) <= tolerance)


def test_the_corners_are_those_of_the_stated_formula() -> None:
    # A box 8 long and 2 high, turned an eighth of a turn clockwise as seen: its right end points right and down.
    found = corners([[10, 20, 8, 2, np.pi / 4]])[0]
    reach = np.sqrt(0.5)
    np.testing.assert_allclose(found[1], [10 + reach * (4 + 1), 20 + reach * (4 - 1)])
    np.testing.assert_allclose(half_sides([[10, 20, 8, 2, np.pi / 4]])[0, 0], [4 * reach, 4 * reach])


@given(box_sets())
def test_corners_equal_the_formula_written_out_anew(boxes: Array) -> None:
    expected = [shapely.get_coordinates(polygon)[:4] for polygon in polygons(boxes)]
    np.testing.assert_allclose(corners(boxes), np.reshape(expected, (-1, 4, 2)), atol=1e-9)


@given(box_sets(smallest=0.01), st.integers(0, 3), st.booleans())
def test_boxes_come_back_from_corners_in_any_order_around(boxes: Array, start: int, backwards: bool) -> None:
    around = np.roll(corners(boxes), start, axis=1)
    found = from_corners(around[:, ::-1] if backwards else around)
    assert_same_rectangles(found, boxes)
    assert ((found[:, 4] >= -HALF) & (found[:, 4] < HALF)).all()


def test_boxes_without_width_or_height_come_back_from_corners() -> None:
    boxes = np.array([[5, 5, 4, 0, 0.5], [5, 5, 0, 4, 0.5], [5, 5, 0, 0, 0]])
    np.testing.assert_allclose(from_corners(corners(boxes)), boxes, atol=1e-12)


def test_corners_that_make_no_rectangle_are_refused() -> None:
    for wrong in ([[0, 0], [4, 0], [5, 2], [1, 2]], [[0, 0], [4, 0], [4, 2], [0, 3]], [[0, 0], [4, 2], [4, 0], [0, 2]]):
        with pytest.raises(GeometryError, match="not those of a rectangle"):
            from_corners([wrong])


@given(arrays(np.float64, 5, elements=st.floats(-50, 50)), st.sampled_from([np.float32, np.float64]))
def test_angles_come_into_half_a_turn_and_name_the_same_direction(angles: Array, kind: type) -> None:
    given_angles = angles.astype(kind)
    found = normal_angles(given_angles)
    assert found.dtype == kind
    assert ((found >= kind(-HALF)) & (found < kind(HALF))).all()
    turns = (found.astype(np.float64) - given_angles) / np.pi
    np.testing.assert_allclose(turns, turns.round(), atol=2e-6 if kind is np.float32 else 1e-12)


RANGES: dict[str, tuple[Converter, Converter, Callable[[Array], NDArray[np.bool_]]]] = {
    "le90": (conventions.to_le90, conventions.from_le90, lambda a: (a >= -HALF) & (a < HALF)),
    "le135": (conventions.to_le135, conventions.from_le135, lambda a: (a >= -HALF / 2) & (a < 1.5 * HALF)),
    "oc": (conventions.to_oc, conventions.from_oc, lambda a: (a > 0) & (a <= HALF)),
    "old_opencv": (conventions.to_old_opencv, conventions.from_old_opencv, lambda a: (a >= -HALF) & (a < 0)),
    "robndbox": (conventions.to_robndbox, conventions.from_robndbox, lambda a: (a >= 0) & (a < np.pi)),
}


@pytest.mark.parametrize("name", RANGES)
@given(boxes=box_sets())
def test_conventions_keep_the_rectangle_and_their_range(name: str, boxes: Array) -> None:
    there, back, in_range = RANGES[name]
    written = there(boxes)
    assert in_range(written[:, 4]).all()
    if name.startswith("le"):
        assert (written[:, 2] >= written[:, 3]).all()
    assert_same_rectangles(written, boxes)
    again = back(written)
    assert ((again[:, 4] >= -HALF) & (again[:, 4] < HALF)).all()
    assert_same_rectangles(again, boxes)


def test_conventions_give_the_numbers_worked_out_by_hand() -> None:
    # A box 40 by 10, its long side 30 degrees clockwise of the x axis, and one that stands upright.
    slanting, upright = [[0, 0, 40, 10, np.pi / 6]], [[0, 0, 10, 40, 0]]
    for convert, expected in (
        (conventions.to_le90, [(40, 10, 30), (40, 10, -90)]),
        (conventions.to_le135, [(40, 10, 30), (40, 10, 90)]),
        (conventions.to_oc, [(40, 10, 30), (40, 10, 90)]),
        (conventions.to_old_opencv, [(10, 40, -60), (40, 10, -90)]),
        (conventions.to_robndbox, [(40, 10, 30), (10, 40, 0)]),
    ):
        found = np.concatenate([convert(slanting), convert(upright)])
        found[:, 4] = np.degrees(found[:, 4])
        np.testing.assert_allclose(found[:, 2:], expected, err_msg=convert.__name__)


@given(boxes=box_sets(smallest=0.01))
@pytest.mark.parametrize(
    ("there", "back"),
    [(conventions.to_dota, conventions.from_dota), (conventions.to_fair1m, conventions.from_fair1m)],
)
def test_polygons_of_data_sets_keep_the_rectangle(there: Converter, back: Converter, boxes: Array) -> None:
    assert_same_rectangles(back(there(boxes)), boxes, tolerance=1e-6)


def test_polygons_have_the_published_layout() -> None:
    assert conventions.to_dota([[5, 5, 4, 2, 0]]).tolist() == [[3, 4, 7, 4, 7, 6, 3, 6]]
    closed = conventions.to_fair1m([[5, 5, 4, 2, 0]])
    assert closed.shape == (1, 5, 2) and closed[0, 0].tolist() == closed[0, 4].tolist() == [3, 4]
    assert conventions.from_dota([]).shape == conventions.from_fair1m([]).shape == (0, 5)


def test_a_free_quadrilateral_becomes_the_smallest_rectangle_around_it() -> None:
    # The corners of an annotation that is no rectangle: the box must hold it and be as small as shapely's.
    ring = [[10, 10], [50, 14], [48, 31], [9, 24]]
    found = conventions.from_dota([np.ravel(ring)])
    around, given_ring = polygons(found)[0], shapely.Polygon(ring)
    assert shapely.difference(given_ring, around).area < 1e-9
    assert around.area == pytest.approx(shapely.minimum_rotated_rectangle(given_ring).area)


SIZE = Size(height=600, width=800)


@given(boxes=box_sets())
def test_geochat_text_comes_back_to_within_its_steps(boxes: Array) -> None:
    text = to_geochat_text(boxes, SIZE)
    found = from_geochat_text(text, SIZE)
    assert to_geochat_text(found, SIZE).count("{") == len(boxes)
    # Corners before turning are half a hundredth off at most, and then turned by half a degree at most.
    half_step = np.hypot(SIZE.width, SIZE.height) / 200
    far = np.hypot(boxes[:, 2], boxes[:, 3]) / 2
    slack = 2 * half_step + (far + half_step) * np.radians(0.5) + 1e-6
    assert_within(found, boxes, slack)


@given(boxes=box_sets())
def test_geoground_text_comes_back_to_within_its_steps(boxes: Array) -> None:
    found = from_geoground_text(to_geoground_text(boxes, SIZE), SIZE)
    half_step = np.hypot(SIZE.width, SIZE.height) / 200
    far = np.hypot(boxes[:, 2], boxes[:, 3]) / 2
    assert_within(found, boxes, 2 * half_step + (far + half_step) * np.radians(0.5) + 1e-6)


def assert_within(one: Array, other: Array, slack: Array) -> None:
    assert len(one) == len(other)
    apart = np.hypot(*np.moveaxis(corners(one)[:, :, None] - corners(other)[:, None, :], -1, 0))
    assert (apart.min(axis=1, initial=np.inf) <= slack[:, None]).all()


def test_geochat_text_is_that_of_its_sheet() -> None:
    square = Size(512, 512)
    # The box (102.4, 51.2) to (307.2, 460.8), turned back by 30 degrees.
    assert to_geochat_text([[204.8, 256, 204.8, 409.6, -np.pi / 6]], square) == "{<20><10><60><90>|<30>}"
    answer = "<p>a ship</p>{<1><2><3><4>|<0>}<delim>{<5><6><7><8>|<45>} and {<9><9"
    found = from_geochat_text(answer, Size(100, 100))
    np.testing.assert_allclose(found, [[2, 3, 2, 2, 0], [6, 7, 2, 2, -np.pi / 4]])
    # A box (0, 0, 4, 2) turned by 90 degrees stands upright about (2, 1).
    upended = corners(from_geochat_text("{<0><0><4><2>|<90>}", Size(100, 100)))[0]
    assert {tuple(corner) for corner in upended.round(9).tolist()} == {(1, 3), (1, -1), (3, -1), (3, 3)}
    np.testing.assert_allclose(from_geochat_text("{<10><20><30><40>}", Size(100, 100)), [[20, 30, 20, 20, 0]])
    assert from_geochat_text("There is none.", square).shape == (0, 5)


def test_geochat_turns_counter_clockwise_as_seen() -> None:
    # Width 40 and height 4, turned back by 45 degrees: the right end points up, to smaller y.
    found = from_geochat_text("{<30><48><70><52>|<45>}", Size(100, 100))
    along = half_sides(found)[0, 0]
    assert along[0] > 0 and along[1] < 0


def test_geoground_text_is_that_of_its_figure() -> None:
    text = "<obb>[[20,19,2,10,52]]</obb>"
    found = from_geoground_text(text, Size(100, 100))
    np.testing.assert_allclose(found, [[20, 19, 2, 10, np.radians(52)]])
    assert to_geoground_text(found, Size(100, 100)) == text
    two = from_geoground_text("It is <obb>[[1, 2, 3, 4, 0], [5,6,7,8,90]]</obb> <obb>[[1,2", Size(100, 100))
    np.testing.assert_allclose(two[:, :4], [[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: as_oriented_boxes([[5, 5, 4, 2, 45]]), r"radians.*number 0 has 45.*np.deg2rad"),
        (lambda: conventions.from_le90([[5, 5, 4, 2, 0], [5, 5, 4, 2, -90]]), r"le90.*radians.*number 1 has -90"),
        (lambda: conventions.from_oc([[5, 5, 4, 2, 90]]), "oc.*radians"),
        (lambda: conventions.to_oc([[5, 5, 4, 2, 90]]), "radians"),
        (lambda: conventions.from_robndbox([[5, 5, -4, 2, 0]]), "sides of at least 0"),
        (lambda: conventions.from_le135([[5, 5, np.nan, 2, 0]]), "finite"),
        (lambda: conventions.from_dota([[0, 0, 4, 0, 4, 2]]), r"shape \(N, 8\).*\(1, 6\)"),
        (lambda: conventions.from_dota([[0, 0, 4, 0, 4, 2, 0, np.inf]]), "finite"),
        (lambda: conventions.from_dota([[0, 0, 4, 0, 4, 2], [0] * 8]), "different lengths"),
        (lambda: conventions.from_fair1m([[[0, 0], [4, 0], [4, 2]]]), "five points"),
        (lambda: conventions.from_fair1m([[[0, 0], [4, 0], [4, 2], [0, 2], [0, 1]]]), "the first again"),
        (lambda: from_geochat_text("{<9><2><3><4>|<0>}", SIZE), "x1 <= x2"),
        (lambda: from_geochat_text("{<1><2><3>|<0>}", SIZE), "writes a box as"),
        (lambda: from_geochat_text("{<1><2><3><4>|<400>}", SIZE), "at most 360 degrees"),
        (lambda: from_geoground_text("<obb>[[1,2,3,4]]</obb>", SIZE), r"\[1,2,3,4\]"),
        (lambda: from_geoground_text("<obb>[[1,2,-3,4,0]]</obb>", SIZE), "sides of at least 0"),
        (lambda: from_geoground_text("<obb>[[1,2,3,4,x]]</obb>", SIZE), "writes a box as"),
        (lambda: minimum_area_rectangles([[[0, 0], [1, 1]]]), "at least 3 points; number 0 has 2"),
        (lambda: minimum_area_rectangles(np.zeros((2, 2, 2))), "at least 3 points"),
        (lambda: as_oriented_boxes([[1, 2, 3]]), r"shape \(N, 5\)"),
    ],
)
def test_input_that_makes_no_sense_is_refused(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        wrong()


def test_a_full_turn_in_single_precision_is_no_angle_in_degrees() -> None:
    assert len(as_oriented_boxes(np.array([[0, 0, 1, 1, 2 * np.pi]], np.float32))) == 1


rings = arrays(np.float64, st.tuples(st.integers(3, 12), st.just(2)), elements=st.floats(-100, 100))
grid_rings = arrays(np.float64, st.tuples(st.integers(3, 12), st.just(2)), elements=st.integers(-4, 4).map(float))


@given(st.lists(rings | grid_rings, max_size=4))
def test_smallest_rectangles_hold_the_polygon_and_are_as_small_as_shapely_says(points: list[Array]) -> None:
    boxes = minimum_area_rectangles(points)
    assert len(boxes) == len(points)
    for box, ring in zip(boxes, points, strict=True):
        cosine, sine = np.cos(box[4]), np.sin(box[4])
        local = (ring - box[:2]) @ np.array([[cosine, -sine], [sine, cosine]])
        assert (np.abs(local) <= box[2:4] / 2 + 1e-9).all()
        cloud = shapely.MultiPoint(ring)
        # Of points on one line shapely may divide by zero.
        expected = shapely.minimum_rotated_rectangle(cloud).area if cloud.convex_hull.area > 1e-9 else 0.0
        # Where hull points nearly coincide shapely's own answer is a little off either way.
        assert box[2] * box[3] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_smallest_rectangles_of_many_quadrilaterals_equal_shapely_far_from_the_origin() -> None:
    generator = np.random.default_rng(3)
    local = generator.normal(0, 30, (2000, 4, 2))
    away = generator.integers(0, 100_000, (2000, 1, 2))
    boxes = minimum_area_rectangles(local + away)
    expected = shapely.area(shapely.minimum_rotated_rectangle(shapely.multipoints(local)))
    np.testing.assert_allclose(boxes[:, 2] * boxes[:, 3], expected, rtol=1e-9)


def test_smallest_rectangles_of_round_and_of_flat_polygons() -> None:
    turn = np.linspace(0, 2 * np.pi, 5001)[:-1]
    ellipse = np.stack([30 * np.cos(turn), 10 * np.sin(turn)], axis=1)
    (around,) = minimum_area_rectangles([ellipse])
    assert around[2] * around[3] == pytest.approx(1200, rel=1e-5)
    slanting = np.array([[0.0, 0.0], [3.0, 4.0], [1.5, 2.0], [0.0, 0.0]])
    flat, point = minimum_area_rectangles([slanting, np.ones((3, 2))])
    np.testing.assert_allclose(flat[:4], [1.5, 2, 5, 0], atol=1e-12)
    assert point.tolist() == [1, 1, 0, 0, 0]
    # Sides that all but lie on one line must not end the search.
    bent = np.array([[0, 0], [1, 1e-17], [2, 0], [2, 1], [1, 1 + 1e-16], [0, 1]])
    assert np.prod(minimum_area_rectangles([bent])[0, 2:4]) == pytest.approx(2)
