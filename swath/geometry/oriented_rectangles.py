"""The smallest oriented box around any polygon, as data sets ask it of four free corners.

>>> minimum_area_rectangles([np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 2.0]])]).tolist()
[[2.0, 1.0, 4.0, 2.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swath.errors import GeometryError
from swath.geometry._compile import compiled
from swath.geometry.oriented import as_coordinates, normal_angles

FEWEST_POINTS = 3
ROUNDING = 1e-13


def minimum_area_rectangles(polygons: ArrayLike | Iterable[ArrayLike]) -> NDArray[np.float64]:
    """Smallest oriented box (N, 5) around each polygon, given as (N, K, 2) or one by one as (K, 2), K at least 3.

    One side of the smallest rectangle lies on a side of the convex hull (Freeman and Shapira 1975), so that
    calipers turned once around the hull find it (Toussaint 1983); time grows with K log K. Polygons need be
    neither convex nor closed, and those whose points all lie on one line give boxes of height 0. Of rectangles
    of the same area the one whose side comes first from the leftmost corner on is taken.

    Raises `GeometryError` for fewer than three points, and for numbers that are not finite.

    >>> minimum_area_rectangles([[[0, 0], [4, 0], [4, 2], [1, 2]]]).tolist()
    [[2.0, 1.0, 4.0, 2.0, 0.0]]
    """
    if isinstance(polygons, np.ndarray) and polygons.ndim == 3:
        points = as_coordinates(polygons, (polygons.shape[1], 2), "Polygons", "corners as x, y")
        counts = np.full(len(points), polygons.shape[1], dtype=np.int64)
        points = points.reshape(-1, 2)
    else:
        rings = [_ring(ring) for ring in cast("Iterable[ArrayLike]", polygons)]
        counts = np.array([len(ring) for ring in rings], dtype=np.int64)
        points = np.concatenate([np.zeros((0, 2)), *rings])
    if (counts < FEWEST_POINTS).any():
        first = int(np.flatnonzero(counts < FEWEST_POINTS)[0])
        raise GeometryError(f"A polygon has at least {FEWEST_POINTS} points; number {first} has {counts[first]}.")
    boxes = _rectangles(points, np.concatenate([[0], np.cumsum(counts)]))
    boxes[:, 4] = normal_angles(boxes[:, 4])
    return boxes


def _ring(points: ArrayLike) -> NDArray[np.float64]:
    return as_coordinates(points, (2,), "Polygons", "corners as x, y")


@compiled
def _rectangles(points: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    boxes = np.zeros((len(starts) - 1, 5))
    for k in range(len(boxes)):
        ring = points[starts[k] : starts[k + 1]]
        boxes[k] = _rectangle(_hull(ring - ring[0]))
        boxes[k, :2] += ring[0]
    return boxes


@compiled
def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convex hull by Andrew's monotone chain, turning from x towards y, without points on its sides."""
    by_y = points[np.argsort(points[:, 1], kind="mergesort")]
    ordered = by_y[np.argsort(by_y[:, 0], kind="mergesort")]
    hull = np.empty((2 * len(points), 2))
    count = 0
    for k in range(len(ordered)):
        while count >= 2 and _turn(hull, count, ordered[k]) <= 0.0:
            count -= 1
        hull[count] = ordered[k]
        count += 1
    forth = count
    for k in range(len(ordered) - 2, -1, -1):
        while count > forth and _turn(hull, count, ordered[k]) <= 0.0:
            count -= 1
        hull[count] = ordered[k]
        count += 1
    # The chain comes back to the point that it set out from.
    return hull[: count - 1].copy()


@compiled
def _turn(hull: NDArray[np.float64], count: int, point: NDArray[np.float64]) -> float:
    """Twice the signed area of the triangle of the last two hull points and another; positive turns x to y."""
    last_x, last_y = hull[count - 1, 0], hull[count - 1, 1]
    side_x, side_y = last_x - hull[count - 2, 0], last_y - hull[count - 2, 1]
    return float(side_x * (point[1] - last_y) - side_y * (point[0] - last_x))


@compiled
def _rectangle(hull: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest box (5,) on a side of the hull (K, 2): the furthest points along and across only move forward."""
    best = np.zeros(5)
    smallest = np.inf
    count = len(hull)
    slack = ROUNDING * np.abs(hull).max()
    ahead = above = behind = 1
    for k in range(count):
        side_x, side_y = hull[(k + 1) % count, 0] - hull[k, 0], hull[(k + 1) % count, 1] - hull[k, 1]
        length = np.hypot(side_x, side_y)
        if length == 0.0:
            continue
        x, y = side_x / length, side_y / length
        ahead = _furthest(hull, max(ahead, k + 1), k + count, x, y, slack)
        above = _furthest(hull, max(above, ahead), k + count, -y, x, slack)
        behind = _furthest(hull, max(behind, above), k + count, -x, -y, slack)
        reach = _along(hull, ahead, x, y)
        width = reach - _along(hull, behind, x, y)
        base = _along(hull, k, -y, x)
        height = max(_along(hull, above, -y, x) - base, 0.0)
        if width * height < smallest:
            smallest = width * height
            middle, rise = reach - width / 2.0, base + height / 2.0
            best[0], best[1] = middle * x - rise * y, middle * y + rise * x
            best[2], best[3], best[4] = width, height, np.arctan2(y, x)
    return best


@compiled
def _furthest(hull: NDArray[np.float64], start: int, last: int, x: float, y: float, slack: float) -> int:
    """Hull point, from `start` on and no later than `last`, that reaches furthest along (x, y) before the way back.

    Sides all but across to (x, y) rise or fall by less than rounding, which `slack` takes for neither.
    """
    furthest = _along(hull, start, x, y)
    while start < last:
        following = _along(hull, start + 1, x, y)
        if following < furthest - slack:
            break
        furthest = max(furthest, following)
        start += 1
    return start


@compiled
def _along(hull: NDArray[np.float64], index: int, x: float, y: float) -> float:
    point = hull[index % len(hull)]
    return float(point[0] * x + point[1] * y)
