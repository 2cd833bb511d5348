"""Overlap of oriented boxes against shapely, and against rational arithmetic where shapely fails."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from oriented_cases import exact_iou, hard_pairs, polygons, random_boxes, shapely_iou

from swath.errors import GeometryError
from swath.geometry.boxes import iou_matrix
from swath.geometry.oriented_overlap import aligned_oriented_iou, oriented_iou

PAIRS = 20_000


@pytest.fixture(scope="module")
def pairs() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return hard_pairs(PAIRS, np.random.default_rng(1))


def test_overlaps_of_hard_pairs_equal_shapely_or_where_it_fails_rational_numbers(
    pairs: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    one, other = pairs
    found, expected = aligned_oriented_iou(one, other), shapely_iou(one, other)
    # Of boxes that all but coincide shapely now and then finds nothing in common.
    doubtful = np.flatnonzero(np.abs(found - expected) > 1e-9)
    assert len(doubtful) < PAIRS / 2000
    expected[doubtful] = [exact_iou(one[pair], other[pair]) for pair in doubtful]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_overlaps_of_hard_pairs_equal_rational_numbers(
    pairs: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    one, other = (boxes[:220] for boxes in pairs)
    expected = [exact_iou(*pair) for pair in zip(one, other, strict=True)]
    np.testing.assert_allclose(aligned_oriented_iou(one, other), expected, rtol=0, atol=1e-11)


def test_overlap_does_not_depend_on_which_comes_first(
    pairs: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    one, other = pairs
    np.testing.assert_allclose(aligned_oriented_iou(one, other), aligned_oriented_iou(other, one), rtol=0, atol=1e-12)


def test_all_pairs_of_a_scene_equal_shapely() -> None:
    generator = np.random.default_rng(2)
    one, other = random_boxes(150, generator, scene=300), random_boxes(100, generator, scene=300)
    first, second = polygons(one)[:, None], polygons(other)[None, :]
    shared = shapely.area(shapely.intersection(first, second))
    assert (shared > 0).sum() > 500
    union = shapely.area(first) + shapely.area(second) - shared
    np.testing.assert_allclose(oriented_iou(one, other), shared / union, rtol=0, atol=1e-9)
    np.testing.assert_allclose(oriented_iou(one, other, over="first"), shared / shapely.area(first), rtol=0, atol=1e-9)


def test_boxes_that_lie_upright_overlap_as_upright_boxes_do() -> None:
    boxes = random_boxes(100, np.random.default_rng(4), scene=200).round()
    boxes[:, 4] = 0
    upright = np.concatenate([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], axis=1)
    np.testing.assert_allclose(oriented_iou(boxes, boxes), iou_matrix(upright, upright), rtol=0, atol=1e-15)


def test_overlaps_known_by_hand() -> None:
    square, eighth = [0, 0, 2, 2, 0], np.pi / 4
    octagon = 8 * (np.sqrt(2) - 1)  # the regular octagon that a square and its eighth turn share
    for other, expected in (
        ([0, 0, 2, 2, 0], 1.0),
        ([0, 0, 2, 2, np.pi / 2], 1.0),
        ([2, 0, 2, 2, 0], 0.0),  # one side in common
        ([2, 2, 2, 2, 0], 0.0),  # one corner in common
        ([1 + np.sqrt(2), 0, 2, 2, eighth], 0.0),  # a corner on a side
        ([0, 0, 1, 1, 0.3], 0.25),
        ([0, 0, 2, 2, eighth], octagon / (8 - octagon)),
        ([0, 0, 0, 2, 0.3], 0.0),
        ([0, 0, 0, 0, 0], 0.0),
    ):
        assert aligned_oriented_iou([square], [other])[0] == pytest.approx(expected, abs=1e-15), other
        assert oriented_iou([other], [square])[0, 0] == pytest.approx(expected, abs=1e-15), other
    flat = [[0, 0, 0, 2, 0.3]]
    assert oriented_iou(flat, flat).tolist() == [[0.0]]


def test_nothing_is_lost_far_from_the_origin() -> None:
    generator = np.random.default_rng(5)
    one, other = random_boxes(500, generator, scene=64), random_boxes(500, generator, scene=64)
    # Multiples of 2 ** -20, so that moving them far away is itself exact.
    one[:, :2], other[:, :2] = (np.round(boxes[:, :2] * 2**20) / 2**20 for boxes in (one, other))
    here = aligned_oriented_iou(one, other)
    one[:, :2] += 2.0**22
    other[:, :2] += 2.0**22
    np.testing.assert_array_equal(aligned_oriented_iou(one, other), here)


def test_a_detection_within_a_region_lies_in_it_wholly() -> None:
    region, detections = [[50, 50, 80, 60, 0.3]], [[50, 50, 4, 8, 1.2], [48, 55, 0.01, 20, -0.4], [500, 50, 4, 8, 1.2]]
    np.testing.assert_allclose(oriented_iou(detections, region, over="first")[:, 0], [1, 1, 0])


def test_empty_sets_give_empty_overlaps() -> None:
    assert oriented_iou([], np.zeros((3, 5))).shape == (0, 3)
    assert aligned_oriented_iou([], []).shape == (0,)


def test_wrong_input_is_refused() -> None:
    box = [[5, 5, 4, 2, 0]]
    for wrong, message in (
        (lambda: oriented_iou(box, [[5, 5, 4, 2, 30]]), "radians"),
        (lambda: oriented_iou([[5, 5, np.nan, 2, 0]], box), "finite"),
        (lambda: oriented_iou(box, box, over="second"), "over='second'"),
        (lambda: aligned_oriented_iou(box, box * 2), "found 1 and 2"),
    ):
        with pytest.raises(GeometryError, match=message):
            wrong()
