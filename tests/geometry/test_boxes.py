"""Boxes against shapely and a textbook greedy suppression."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from swath.errors import GeometryError
from swath.geometry.boxes import area, box_of_mask, clip_boxes, iou_matrix, non_maximum_suppression
from swath.geometry.windows import Size

# The first call compiles, which takes longer than the usual deadline.
unhurried = settings(deadline=None)

quarters = st.integers(-20, 20).map(lambda value: value / 4)


@st.composite
def box_sets(draw: st.DrawFn, most: int = 12) -> NDArray[np.float64]:
    corners = draw(arrays(np.float64, (draw(st.integers(0, most)), 4), elements=quarters))
    return np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)


@unhurried
@given(box_sets(), box_sets())
def test_areas_and_overlaps_equal_shapely(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    polygons_a, polygons_b = (shapely.box(*boxes.T) for boxes in (a, b))
    np.testing.assert_allclose(area(a), shapely.area(polygons_a))
    shared = shapely.area(shapely.intersection(polygons_a[:, None], polygons_b[None, :]))
    union = shapely.area(polygons_a)[:, None] + shapely.area(polygons_b)[None, :] - shared
    expected = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    np.testing.assert_allclose(iou_matrix(a, b), expected, atol=1e-12)


def test_degenerate_boxes_overlap_nothing_not_even_themselves() -> None:
    boxes = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 2.0, 0.0], [3.0, 3.0, 1.0, 1.0], [0.0, 0.0, 4.0, 4.0]])
    expected = np.zeros((4, 4))
    expected[3, 3] = 1.0
    np.testing.assert_array_equal(iou_matrix(boxes, boxes), expected)


def test_empty_sets_give_empty_matrices() -> None:
    assert iou_matrix(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    assert non_maximum_suppression(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


def test_clipping_moves_outside_boxes_onto_the_edge() -> None:
    boxes = np.array([[-3.0, 1.0, -1.0, 2.0], [2.0, -1.0, 9.0, 9.0]])
    np.testing.assert_array_equal(
        clip_boxes(boxes, Size(height=4, width=6)), [[0.0, 1.0, 0.0, 2.0], [2.0, 0.0, 6.0, 4.0]]
    )


@unhurried
@given(arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_box_of_a_mask_bounds_its_pixels(mask: NDArray[np.bool_]) -> None:
    rows, columns = np.nonzero(mask)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if mask.any() else [0, 0, 0, 0]
    np.testing.assert_array_equal(box_of_mask(mask), expected)


def greedy(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float, labels: NDArray[np.int64]
) -> list[int]:
    overlaps = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(overlaps[i, j] <= threshold or labels[i] != labels[j] for j in kept):
            kept.append(i)
    return kept


@unhurried
@given(box_sets(most=25), st.data(), st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 1.0]))
def test_suppression_equals_the_textbook(boxes: NDArray[np.float64], data: st.DataObject, threshold: float) -> None:
    count = len(boxes)
    scores = data.draw(arrays(np.float64, count, elements=st.sampled_from([0.1, 0.5, 0.9])))
    labels = data.draw(arrays(np.int64, count, elements=st.integers(0, 1)))
    assert non_maximum_suppression(boxes, scores, threshold, labels).tolist() == greedy(
        boxes, scores, threshold, labels
    )
    assert non_maximum_suppression(boxes, scores, threshold).tolist() == greedy(
        boxes, scores, threshold, np.zeros(count, dtype=np.int64)
    )


def test_suppression_of_many_boxes_of_mixed_size_equals_the_textbook() -> None:
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 400, (1500, 2))
    boxes = np.concatenate([corner, corner + np.exp(generator.uniform(0, 5, (1500, 2)))], axis=1)
    scores = generator.random(1500).round(2)
    labels = generator.integers(0, 3, 1500)
    assert non_maximum_suppression(boxes, scores, 0.3, labels).tolist() == greedy(boxes, scores, 0.3, labels)


def test_wrong_input_is_refused() -> None:
    boxes, scores = np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([0.5])
    for wrong in (
        lambda: iou_matrix(np.zeros((3, 5)), boxes),
        lambda: area(np.array([[0.0, 0.0, np.nan, 1.0]])),
        lambda: box_of_mask(np.zeros(3)),
        lambda: non_maximum_suppression(boxes, np.zeros(2), 0.5),
        lambda: non_maximum_suppression(boxes, np.array([np.nan]), 0.5),
        lambda: non_maximum_suppression(boxes, scores, 1.5),
        lambda: non_maximum_suppression(boxes, scores, 0.5, np.array([0.5])),
    ):
        with pytest.raises(GeometryError):
            wrong()
