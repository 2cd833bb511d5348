"""Axis-aligned boxes: area, overlap, clipping and non-maximum suppression.

A box is four floats, x_min, y_min, x_max, y_max, in continuous pixel coordinates (x right, y down), so a box
that covers one pixel is one wide; arrays have shape (N, 4). A degenerate box, without width or height, has
area 0 and overlaps nothing.

>>> boxes = np.array([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
>>> iou_matrix(np.array([[0.0, 0.0, 2.0, 2.0]]), boxes).round(3)
array([[0.333, 0.   ]])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swath.errors import GeometryError
from swath.geometry._compile import compiled
from swath.geometry._overlap import upright_shared_area
from swath.geometry.suppression import Decay, Shapes, Suppressed, check_threshold, suppressed
from swath.geometry.windows import Size


def area(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Areas (N,) of boxes (N, 4) in square pixels; 0 where a box is degenerate or inside out.

    Raises `GeometryError` for another shape, and for coordinates that are not finite.

    >>> area(np.array([[0.0, 0.0, 2.0, 3.0], [2.0, 0.0, 1.0, 1.0]]))
    array([6., 0.])
    """
    return _areas(as_boxes(boxes))


def iou_matrix(a_xyxy: NDArray[Any], b_xyxy: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union (N, M) of boxes (N, 4) with boxes (M, 4), in 0 ... 1 and never NaN.

    Raises `GeometryError` for another shape, and for coordinates that are not finite.

    >>> iou_matrix(np.array([[0.0, 0.0, 4.0, 4.0]]), np.array([[0.0, 0.0, 4.0, 2.0]]))
    array([[0.5]])
    """
    return _iou_matrix(as_boxes(a_xyxy), as_boxes(b_xyxy))


def clip_boxes(boxes: NDArray[Any], size: Size) -> NDArray[np.float64]:
    """Boxes (N, 4) cut to an image of that size; one that lies outside becomes degenerate at the edge.

    Raises `GeometryError` for another shape, and for coordinates that are not finite.

    >>> clip_boxes(np.array([[-1.0, 2.0, 3.0, 9.0]]), Size(height=5, width=10))
    array([[0., 2., 3., 5.]])
    """
    limits = np.array([size.width, size.height, size.width, size.height], dtype=np.float64)
    return np.clip(as_boxes(boxes), 0.0, limits)


def box_of_mask(mask: NDArray[Any]) -> NDArray[np.float64]:
    """Smallest box (4,) around the true pixels of an (H, W) mask, all zeros if there are none.

    Raises `GeometryError` for an array that is not two-dimensional.

    >>> box_of_mask(np.array([[0, 0, 0], [0, 1, 1]]))
    array([1., 1., 3., 2.])
    """
    if mask.ndim != 2:
        raise GeometryError(f"A mask has shape (H, W), found {mask.shape}.")
    occupied = mask.astype(bool, copy=False)
    rows, columns = np.flatnonzero(occupied.any(axis=1)), np.flatnonzero(occupied.any(axis=0))
    if rows.size == 0:
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def non_maximum_suppression(
    boxes: NDArray[Any], scores: NDArray[Any], iou_threshold: float, labels: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Indices of the boxes that no better box overlaps by more than the threshold, best first.

    Boxes (N, 4) are taken by falling score (N,), equal scores by rising index; a box is dropped if its
    intersection over union with a kept one exceeds `iou_threshold` (0 ... 1). With integer `labels` (N,) only
    boxes of one label suppress each other. Neighbours are found along x, so many small boxes in a large scene
    cost little.

    Raises `GeometryError` for shapes that differ, numbers that are not finite, and a threshold out of range.

    >>> boxes = np.array([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
    >>> non_maximum_suppression(boxes, np.array([0.5, 0.9, 0.7]), iou_threshold=0.5)
    array([1, 2])
    """
    check_threshold(iou_threshold)
    return _suppressed(boxes, scores, iou_threshold, labels).indices


def soft_non_maximum_suppression(
    boxes: NDArray[Any], scores: NDArray[Any], decay: Decay, labels: NDArray[Any] | None = None
) -> Suppressed:
    """Boxes (N, 4) with scores (N,) lowered by better boxes that overlap them, best first.

    Again and again the best box left is taken, and the scores of those that overlap it decay; with integer
    `labels` (N,) only within a label.

    Raises `GeometryError` for shapes that differ, numbers that are not finite, and negative scores.

    >>> boxes = np.array([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
    >>> soft_non_maximum_suppression(boxes, np.array([0.5, 0.9, 0.7]), Decay(method="linear")).scores
    array([0.9  , 0.7  , 0.125])
    """
    return _suppressed(boxes, scores, decay, labels)


def as_boxes(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Boxes as a contiguous float64 array (N, 4).

    Raises `GeometryError` for another shape, and for numbers that are not finite.

    >>> as_boxes(np.array([[0, 0, 1, 2]]))
    array([[0., 0., 1., 2.]])
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise GeometryError(f"Boxes have shape (N, 4): x_min, y_min, x_max, y_max; found shape {boxes.shape}.")
    checked = np.ascontiguousarray(boxes, dtype=np.float64)
    if not np.isfinite(checked).all():
        first = int(np.flatnonzero(~np.isfinite(checked).all(axis=1))[0])
        raise GeometryError(f"Box {first} is not finite: {checked[first].tolist()}; drop such boxes first.")
    return checked


def as_labels(labels: NDArray[Any] | None, count: int) -> NDArray[np.int64]:
    """Integer labels (count,) as int64, all zero where none are given.

    Raises `GeometryError` for another shape or type.

    >>> as_labels(None, 2)
    array([0, 0])
    """
    if labels is None:
        return np.zeros(count, dtype=np.int64)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise GeometryError(
            f"Labels are {count} integers, one for each score, found {labels.dtype} of shape {labels.shape}."
        )
    return labels.astype(np.int64, copy=False)


def rank_by_score(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Indices by falling score, equal scores by rising index; `GeometryError` for another shape or NaN.

    >>> rank_by_score(np.array([0.2, 0.9, 0.9]), 3)
    array([1, 2, 0])
    """
    if scores.shape != (count,):
        raise GeometryError(f"There must be one score for each of {count} items, found shape {scores.shape}.")
    if np.isnan(scores).any():
        raise GeometryError(f"Score {int(np.flatnonzero(np.isnan(scores))[0])} is NaN, which cannot be ranked.")
    return np.argsort(-scores.astype(np.float64), kind="stable")


@compiled
def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas = np.zeros(len(boxes))
    for i in range(len(boxes)):
        width, height = boxes[i, 2] - boxes[i, 0], boxes[i, 3] - boxes[i, 1]
        if width > 0.0 and height > 0.0:
            areas[i] = width * height
    return areas


@compiled
def _iou_matrix(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    areas_a, areas_b = _areas(a), _areas(b)
    overlaps = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            shared = upright_shared_area(a, i, b, j)
            if shared > 0.0:
                overlaps[i, j] = shared / (areas_a[i] + areas_b[j] - shared)
    return overlaps


def _suppressed(
    boxes: NDArray[Any], scores: NDArray[Any], rule: float | Decay, labels: NDArray[Any] | None
) -> Suppressed:
    checked = as_boxes(boxes)
    ranking = rank_by_score(scores, len(checked))
    shapes = Shapes(bounds=checked, areas=_areas(checked))
    return suppressed(shapes, scores.astype(np.float64), ranking, as_labels(labels, len(checked)), rule)
