"""Overlap of oriented boxes, and suppression of those that a better one overlaps.

Boxes are (N, 5) in the convention of `oriented`. Areas are found in double precision in the frame of one of
the two boxes, so that nothing is lost at coordinates of 100,000 pixels. A box without width or height has
area 0 and overlaps nothing; boxes that only touch share nothing.

>>> ships = np.array([[5.0, 5.0, 4.0, 2.0, 0.0], [5.0, 5.0, 4.0, 2.0, np.pi / 2]])
>>> oriented_iou(ships, ships).round(4).tolist()
[[1.0, 0.3333], [0.3333, 1.0]]
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swath.errors import GeometryError
from swath.geometry._compile import compiled
from swath.geometry._overlap import (
    HALF_HEIGHT,
    HALF_WIDTH,
    REACH_X,
    REACH_Y,
    X,
    Y,
    oriented_frames,
    oriented_shared_area,
)
from swath.geometry.boxes import as_labels, rank_by_score
from swath.geometry.oriented import as_oriented_boxes
from swath.geometry.suppression import Decay, Shapes, Suppressed, check_threshold, suppressed


def oriented_iou(one: ArrayLike, other: ArrayLike, *, over: Literal["union", "first"] = "union") -> NDArray[np.float64]:
    """Intersection over union (N, M) of boxes (N, 5) with boxes (M, 5), in 0 ... 1 and never NaN.

    With `over="first"`, intersection over the area of each box of `one`: how much of a detection lies in a
    region to be ignored.

    Raises `GeometryError` as `as_oriented_boxes` does, and for another `over`.

    >>> oriented_iou([[0, 0, 4, 4, 0]], [[0, 0, 4, 2, 0], [0, 0, 8, 8, 0.5]])
    array([[0.5 , 0.25]])
    >>> oriented_iou([[0, 0, 4, 4, 0]], [[0, 0, 4, 2, 0], [0, 0, 8, 8, 0.5]], over="first")
    array([[0.5, 1. ]])
    """
    if over not in ("union", "first"):
        raise GeometryError(f"Overlap is measured over the union or over the first box, found over='{over}'.")
    first, second = as_oriented_boxes(one), as_oriented_boxes(other)
    return _pairwise(oriented_frames(first), oriented_frames(second), over == "first")


def aligned_oriented_iou(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union (N,) of each box (N, 5) with the one at its place in the other array (N, 5).

    Raises `GeometryError` as `as_oriented_boxes` does, and for arrays of different length.

    >>> aligned_oriented_iou([[0, 0, 4, 4, 0], [0, 0, 4, 4, 0]], [[0, 0, 4, 2, 0], [4, 0, 4, 4, 0]])
    array([0.5, 0. ])
    """
    first, second = as_oriented_boxes(one), as_oriented_boxes(other)
    if len(first) != len(second):
        raise GeometryError(f"Boxes compared one by one must be as many, found {len(first)} and {len(second)}.")
    return _aligned(oriented_frames(first), oriented_frames(second))


def oriented_non_maximum_suppression(
    boxes: ArrayLike, scores: NDArray[Any], iou_threshold: float, labels: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Indices of the boxes (N, 5) that no better box overlaps by more than the threshold, best first.

    As `boxes.non_maximum_suppression`: by falling score (N,), equal scores by rising index, and with integer
    `labels` (N,) only within a label.

    Raises `GeometryError` as `as_oriented_boxes` does, for shapes that differ and a threshold out of range.

    >>> ships = [[5, 5, 4, 2, 0], [5, 5, 4, 2, 0.1], [5, 5, 4, 2, np.pi / 2]]
    >>> oriented_non_maximum_suppression(ships, np.array([0.5, 0.9, 0.7]), iou_threshold=0.5)
    array([1, 2])
    """
    check_threshold(iou_threshold)
    return _suppressed(boxes, scores, iou_threshold, labels).indices


def oriented_soft_non_maximum_suppression(
    boxes: ArrayLike, scores: NDArray[Any], decay: Decay, labels: NDArray[Any] | None = None
) -> Suppressed:
    """Boxes (N, 5) with scores (N,) lowered by better boxes that overlap them, best first.

    Again and again the best box left is taken, and the scores of those that overlap it decay; with integer
    `labels` (N,) only within a label.

    Raises `GeometryError` as `as_oriented_boxes` does, for shapes that differ and scores that are negative or NaN.

    >>> ships = [[5, 5, 4, 2, 0], [5, 5, 4, 2, np.pi / 2]]
    >>> oriented_soft_non_maximum_suppression(ships, np.array([0.75, 0.9]), Decay(method="linear")).scores.round(3)
    array([0.9, 0.5])
    """
    return _suppressed(boxes, scores, decay, labels)


def _suppressed(boxes: ArrayLike, scores: NDArray[Any], rule: float | Decay, labels: NDArray[Any] | None) -> Suppressed:
    checked = as_oriented_boxes(boxes)
    ranking = rank_by_score(scores, len(checked))
    frames = oriented_frames(checked)
    middle, reach = frames[:, : Y + 1], frames[:, REACH_X:]
    shapes = Shapes(
        bounds=np.concatenate([middle - reach, middle + reach], axis=1),
        areas=checked[:, 2] * checked[:, 3],
        frames=frames,
    )
    return suppressed(shapes, scores.astype(np.float64), ranking, as_labels(labels, len(checked)), rule)


@compiled
def _pairwise(one: NDArray[np.float64], other: NDArray[np.float64], over_first: bool) -> NDArray[np.float64]:
    overlaps = np.zeros((len(one), len(other)))
    # Most pairs are far apart: columns side by side make passing over them cheap.
    x, y, reach_x, reach_y = other[:, X].copy(), other[:, Y].copy(), other[:, REACH_X].copy(), other[:, REACH_Y].copy()
    for i in range(len(one)):
        own_x, own_y, own_reach_x, own_reach_y = one[i, X], one[i, Y], one[i, REACH_X], one[i, REACH_Y]
        for j in range(len(other)):
            if abs(x[j] - own_x) < own_reach_x + reach_x[j] and abs(y[j] - own_y) < own_reach_y + reach_y[j]:
                overlaps[i, j] = _share(one, i, other, j, over_first)
    return overlaps


@compiled
def _aligned(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    overlaps = np.zeros(len(one))
    for i in range(len(one)):
        overlaps[i] = _share(one, i, other, i, False)
    return overlaps


@compiled
def _share(one: NDArray[np.float64], i: int, other: NDArray[np.float64], j: int, over_first: bool) -> float:
    """Intersection of one[i] and other[j] over their union, or over one[i]."""
    shared = oriented_shared_area(one, i, other, j)
    if shared == 0.0:
        return 0.0
    whole = 4.0 * one[i, HALF_WIDTH] * one[i, HALF_HEIGHT]
    if not over_first:
        whole += 4.0 * other[j, HALF_WIDTH] * other[j, HALF_HEIGHT] - shared
    return float(min(1.0, shared / whole))
