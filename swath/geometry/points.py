"""Points: keeping one of those that lie closer together than objects can.

>>> xy = np.array([[0.0, 0.0], [0.5, 0.0], [9.0, 9.0]])
>>> merge_close_points(xy, np.array([0.6, 0.9, 0.8]), radius=1.0)
array([1, 2])
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swath.errors import GeometryError
from swath.geometry._compile import compiled
from swath.geometry.boxes import as_labels, rank_by_score

MOST_CELLS = 1 << 40  # cells from the origin; beyond, float64 could not tell neighbouring cells apart
# Cells are a little wider than the radius, so that rounding never puts close points two cells apart.
CELL_SLACK = 1.001


def merge_close_points(
    xy: NDArray[Any], scores: NDArray[Any], radius: float, labels: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Indices of the points that no better point lies within `radius` of, best first.

    Points (N, 2) are taken by falling score (N,), equal scores by rising index; a point is dropped if its
    distance to a kept one is at most `radius` (same unit as `xy`). With integer `labels` (N,) only points of
    one label drop each other. Kept points are hashed by grid cell, so time grows linearly with N.

    Raises `GeometryError` for shapes that differ, numbers that are not finite, and a radius that is not
    positive or is vanishingly small beside the coordinates.

    >>> merge_close_points(np.array([[0, 0], [1, 0], [2, 0]]), np.array([0.3, 0.3, 0.2]), radius=1.0)
    array([0, 2])
    """
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise GeometryError(f"Points have shape (N, 2): x, y; found shape {xy.shape}.")
    points = np.ascontiguousarray(xy, dtype=np.float64)
    if not np.isfinite(points).all():
        first = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise GeometryError(f"Point {first} is not finite: {points[first].tolist()}; drop such points first.")
    largest = float(np.abs(points).max(initial=0.0))
    if not (math.isfinite(radius) and radius > 0 and largest / radius < MOST_CELLS):
        raise GeometryError(
            "The radius to merge points within must be positive and not tiny beside their coordinates "
            f"(up to {largest:g}), found {radius}."
        )
    ranking = rank_by_score(scores, len(points))
    return _merge(points, as_labels(labels, len(points)), ranking, radius)


@compiled
def _merge(
    points: NDArray[np.float64], labels: NDArray[np.int64], ranking: NDArray[np.int64], radius: float
) -> NDArray[np.int64]:
    """Chain the kept points of each hash bucket; distances are compared, so a shared bucket does no harm."""
    buckets = 1
    while buckets < 2 * len(points):
        buckets *= 2
    latest = np.full(buckets, -1, dtype=np.int64)
    earlier = np.empty(len(points), dtype=np.int64)
    kept = np.empty(len(points), dtype=np.int64)
    count = 0
    cell = radius * CELL_SLACK
    for i in ranking:
        cell_x, cell_y = math.floor(points[i, 0] / cell), math.floor(points[i, 1] / cell)
        if not _has_close(points, labels, i, cell_x, cell_y, radius, latest, earlier):
            bucket = _bucket(cell_x, cell_y, buckets)
            earlier[i] = latest[bucket]
            latest[bucket] = i
            kept[count] = i
            count += 1
    return kept[:count].copy()


@compiled
def _has_close(
    points: NDArray[np.float64],
    labels: NDArray[np.int64],
    i: int,
    cell_x: int,
    cell_y: int,
    radius: float,
    latest: NDArray[np.int64],
    earlier: NDArray[np.int64],
) -> bool:
    """Whether a kept point of the same label lies within the radius of point i, searching nine cells."""
    for near_x in range(cell_x - 1, cell_x + 2):
        for near_y in range(cell_y - 1, cell_y + 2):
            j = latest[_bucket(near_x, near_y, len(latest))]
            while j >= 0:
                offset_x, offset_y = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
                if labels[i] == labels[j] and offset_x * offset_x + offset_y * offset_y <= radius * radius:
                    return True
                j = earlier[j]
    return False


@compiled
def _bucket(cell_x: int, cell_y: int, buckets: int) -> int:
    """Bucket of a cell: odd multipliers scatter neighbours, and high bits are folded onto the low ones."""
    mixed = cell_x * 0x9E3779B1 + cell_y * 0x85EBCA6B
    mixed ^= mixed >> 17
    return mixed & (buckets - 1)
