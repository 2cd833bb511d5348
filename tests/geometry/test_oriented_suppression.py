"""Suppression, hard and soft, of oriented and upright boxes against the textbook over the whole matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oriented_cases import hard_pairs, random_boxes

from swath.errors import GeometryError
from swath.geometry.boxes import iou_matrix, non_maximum_suppression, soft_non_maximum_suppression
from swath.geometry.oriented_overlap import (
    oriented_iou,
    oriented_non_maximum_suppression,
    oriented_soft_non_maximum_suppression,
)
from swath.geometry.suppression import Decay
from swath.geometry.windows import Size
from swath.samples import MergeRule, OrientedBoxes
from swath.samples.objects import suppress

Array = NDArray[np.float64]


def crowd(seed: int, count: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return boxes of mixed size that overlap a lot, some nearly alike, with scores (some equal) and labels."""
    generator = np.random.default_rng(seed)
    boxes = random_boxes(count, generator, scene=20 * np.sqrt(count))
    boxes[::7, 2:4] *= 4
    boxes[::5, 3] = 1.0
    boxes[1::10] = boxes[::10] + np.array([0.05, 0.05, 0.01, 0.01, 0.001])
    return boxes, generator.random(count).round(2), generator.integers(0, 3, count)


def upright(boxes: Array) -> Array:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], axis=1)


def hard_textbook(overlaps: Array, scores: Array, threshold: float, labels: NDArray[np.int64]) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(overlaps[i, j] <= threshold or labels[i] != labels[j] for j in kept):
            kept.append(i)
    return kept


def soft_textbook(
    overlaps: Array, scores: Array, labels: NDArray[np.int64], decay: Decay
) -> tuple[list[int], list[float]]:
    """Take the largest score, again and again, over the whole row (Bodla et al. 2017, figure 2)."""
    left, lowered = list(range(len(scores))), scores.astype(float).tolist()
    kept: list[int] = []
    while left:
        best = max(left, key=lambda i: (lowered[i], -i))
        left.remove(best)
        if lowered[best] < decay.least_score:
            break
        kept.append(best)
        for i in left:
            overlap = overlaps[best, i] if labels[i] == labels[best] else 0.0
            if decay.method == "gaussian":
                lowered[i] *= np.exp(-(overlap**2) / decay.sigma)
            elif overlap > decay.iou_threshold:
                lowered[i] *= 1 - overlap
    return kept, [lowered[i] for i in kept]


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9])
def test_hard_suppression_of_oriented_boxes_equals_the_textbook(threshold: float) -> None:
    boxes, scores, labels = crowd(0, 700)
    overlaps = oriented_iou(boxes, boxes)
    for groups in (labels, np.zeros_like(labels)):
        found = oriented_non_maximum_suppression(boxes, scores, threshold, groups)
        assert found.tolist() == hard_textbook(overlaps, scores, threshold, groups)
    assert 0 < len(found) < len(boxes)
    assert oriented_non_maximum_suppression(boxes, scores, threshold).tolist() == found.tolist()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_hard_suppression_of_coinciding_boxes_equals_the_textbook(seed: int, threshold: float) -> None:
    generator = np.random.default_rng(seed)
    boxes = np.concatenate(hard_pairs(22, generator))
    scores = generator.random(len(boxes)).round(1)
    overlaps = oriented_iou(boxes, boxes)
    if (np.abs(overlaps - threshold) < 1e-9)[overlaps > 0].any():
        return  # rounding would decide
    expected = hard_textbook(overlaps, scores, threshold, np.zeros(len(boxes), dtype=np.int64))
    assert oriented_non_maximum_suppression(boxes, scores, threshold).tolist() == expected


@pytest.mark.parametrize("method", ["linear", "gaussian"])
@pytest.mark.parametrize("least", [0.0, 0.3])
def test_soft_suppression_equals_the_textbook(method: Literal["linear", "gaussian"], least: float) -> None:
    boxes, scores, labels = crowd(1, 400)
    decay = Decay(method=method, iou_threshold=0.2, sigma=0.4, least_score=least)
    for places, soft, matrix in (
        (boxes, oriented_soft_non_maximum_suppression, oriented_iou),
        (upright(boxes), soft_non_maximum_suppression, iou_matrix),
    ):
        overlaps = matrix(places, places)
        for groups in (labels, np.zeros_like(labels)):
            found = soft(places, scores, decay, groups)
            kept, lowered = soft_textbook(overlaps, scores, groups, decay)
            assert found.indices.tolist() == kept
            np.testing.assert_allclose(found.scores, lowered, rtol=1e-12)


def test_soft_suppression_of_three_boxes_by_hand() -> None:
    boxes = np.array([[0, 0, 4, 4, 0], [0, 0, 4, 2, 0], [50, 50, 4, 4, 0.5]])
    scores = np.array([0.9, 0.8, 0.5])
    linear = oriented_soft_non_maximum_suppression(boxes, scores, Decay(method="linear"))
    assert linear.indices.tolist() == [0, 2, 1]
    np.testing.assert_allclose(linear.scores, [0.9, 0.5, 0.8 * 0.5])
    gaussian = oriented_soft_non_maximum_suppression(boxes, scores, Decay(method="gaussian", sigma=0.5))
    assert gaussian.indices.tolist() == [0, 2, 1]
    np.testing.assert_allclose(gaussian.scores, [0.9, 0.5, 0.8 * np.exp(-0.5)])
    high = oriented_soft_non_maximum_suppression(boxes, scores, Decay(method="linear", least_score=0.45))
    assert high.indices.tolist() == [0, 2]


def old_merge(found: OrientedBoxes, rule: MergeRule) -> list[int]:
    """Suppress polygons of shapely, as was done before there was an overlap of boxes."""
    outlines = np.array(list(found.outlines()), dtype=object)
    areas = found.boxes[:, 2].astype(np.float64) * found.boxes[:, 3]

    def iou(one: int, other: int) -> float:
        shared = shapely.intersection(outlines[one], outlines[other]).area
        return float(shared / (areas[one] + areas[other] - shared))

    return suppress(found.scores, found.labels if rule.class_aware else None, outlines, iou, rule.iou).tolist()


@pytest.mark.parametrize("class_aware", [True, False])
def test_merging_keeps_what_polygons_of_shapely_keep(class_aware: bool) -> None:
    boxes, scores, labels = crowd(2, 500)
    found = OrientedBoxes(
        size=Size(500, 500), boxes=boxes, scores=scores, labels=labels, classes=("ship", "plane", "harbour")
    )
    rule = MergeRule(iou=0.3, class_aware=class_aware)
    kept = found.merge_overlaps(rule).tolist()
    assert kept == old_merge(found, rule)
    assert len(kept) < len(boxes)


def test_empty_sets_and_wrong_input() -> None:
    box, score = np.array([[5.0, 5.0, 4.0, 2.0, 0.0]]), np.array([0.5])
    assert oriented_non_maximum_suppression([], np.zeros(0), 0.5).tolist() == []
    assert oriented_soft_non_maximum_suppression([], np.zeros(0), Decay()).indices.tolist() == []
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: oriented_non_maximum_suppression(box, score, 1.5), "between 0 and 1"),
        (lambda: oriented_non_maximum_suppression(box, np.zeros(2), 0.5), "one score for each"),
        (lambda: oriented_non_maximum_suppression(box, np.array([np.nan]), 0.5), "NaN"),
        (lambda: oriented_non_maximum_suppression(box, score, 0.5, np.array([0.5])), "Labels"),
        (lambda: oriented_soft_non_maximum_suppression(box, -score, Decay()), "at least 0"),
        (lambda: soft_non_maximum_suppression(upright(box), -score, Decay()), "at least 0"),
        (lambda: non_maximum_suppression(upright(box), score, -0.5), "between 0 and 1"),
        (lambda: Decay(sigma=0.0), "sigma above 0"),
        (lambda: Decay(iou_threshold=2.0), "between 0 and 1"),
        (lambda: Decay(method="cubic"), "linear or gaussian"),  # type: ignore[arg-type]
    ]
    for wrong, message in refused:
        with pytest.raises(GeometryError, match=message):
            wrong()
