"""Merging of close points against a quadratic search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from swath.errors import GeometryError
from swath.geometry.points import merge_close_points

# The first call compiles, which takes longer than the usual deadline.
unhurried = settings(deadline=None)


def merged_by_search(
    points: NDArray[np.float64], scores: NDArray[np.float64], radius: float, labels: NDArray[np.int64]
) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (-scores[i], i)):
        if all(labels[i] != labels[j] or ((points[i] - points[j]) ** 2).sum() > radius * radius for j in kept):
            kept.append(i)
    return kept


@unhurried
@given(st.integers(0, 40), st.sampled_from([0.25, 1.0, 1.5, 7.0]), st.data())
def test_merging_equals_a_quadratic_search(count: int, radius: float, data: st.DataObject) -> None:
    eighths = st.integers(-60, 60).map(lambda value: value / 8)
    points = data.draw(arrays(np.float64, (count, 2), elements=eighths))
    scores = data.draw(arrays(np.float64, count, elements=st.sampled_from([0.2, 0.4, 0.8])))
    labels = data.draw(arrays(np.int64, count, elements=st.integers(0, 2)))
    assert merge_close_points(points, scores, radius, labels).tolist() == merged_by_search(
        points, scores, radius, labels
    )


def test_merging_far_from_the_origin_equals_a_quadratic_search() -> None:
    generator = np.random.default_rng(3)
    points = generator.uniform(0, 30, (600, 2)) + np.array([499_980.0, 5_200_020.0])
    scores, labels = generator.random(600), np.zeros(600, dtype=np.int64)
    found = merge_close_points(points, scores, 1.2)
    assert found.tolist() == merged_by_search(points, scores, 1.2, labels)
    assert 100 < len(found) < 600


def test_wrong_input_is_refused() -> None:
    points, scores = np.zeros((2, 2)), np.zeros(2)
    for wrong in (
        lambda: merge_close_points(np.zeros((2, 3)), scores, 1.0),
        lambda: merge_close_points(np.array([[0.0, np.inf], [0.0, 0.0]]), scores, 1.0),
        lambda: merge_close_points(points, np.zeros(3), 1.0),
        lambda: merge_close_points(points, scores, 0.0),
        lambda: merge_close_points(points + 1e6, scores, 1e-9),
        lambda: merge_close_points(points, scores, 1.0, np.zeros(3, dtype=np.int64)),
    ):
        with pytest.raises(GeometryError):
            wrong()
