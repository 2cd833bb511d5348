"""Overlap and suppression of oriented boxes against shapely, which searches by a tree, and OpenCV where it is there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping

import numpy as np
import shapely
from numpy.typing import NDArray

from benchmarks.measure import best_seconds
from swath.geometry.oriented import corners
from swath.geometry.oriented_overlap import oriented_iou, oriented_non_maximum_suppression

PAIRED, CROWD, THRESHOLD = 400, 4000, 0.1
LEAST_DIFFERENCE = 1e-9
# OpenCV computes in single precision.
SINGLE_PRECISION = 1e-3


def report(*, repeats: int) -> None:
    """Print the time of each contender, once their overlaps and the boxes they keep are equal."""
    generator = np.random.default_rng(0)
    one, other = _scene(PAIRED, 1024, generator), _scene(PAIRED, 1024, generator)
    crowd, scores = _scene(CROWD, 2048, generator), generator.random(CROWD)
    overlaps: dict[str, Callable[[], NDArray[np.float64]]] = {
        "swath": lambda: oriented_iou(one, other),
        "shapely": lambda: _overlaps_by_shapely(one, other),
    }
    kept: dict[str, Callable[[], list[int]]] = {
        "swath": lambda: oriented_non_maximum_suppression(crowd, scores, THRESHOLD).tolist(),
        "shapely": lambda: _kept_by_shapely(crowd, scores),
    }
    if importlib.util.find_spec("cv2"):
        overlaps["opencv"] = lambda: _overlaps_by_opencv(one, other)
        kept["opencv"] = lambda: _kept_by_opencv(crowd, scores)
    _check_overlaps(overlaps)
    if kept["swath"]() != kept["shapely"]():
        raise AssertionError("swath and shapely keep different boxes")
    _print(f"Overlap of {PAIRED} with {PAIRED} oriented boxes; all are equal", overlaps, repeats)
    _print(f"Suppression of {CROWD} oriented boxes; the boxes kept are the same", kept, repeats)
    if "opencv" in kept:
        # Its suppression takes a box that lies within another for one of IoU 1.
        print(f"  but opencv keeps {len(kept['opencv']())} boxes, not {len(kept['swath']())}: one within another goes")


def _scene(count: int, side: int, generator: np.random.Generator) -> NDArray[np.float64]:
    centres, sides = generator.uniform(0, side, (count, 2)), generator.uniform(5, 80, (count, 2))
    return np.column_stack([centres, sides, generator.uniform(-np.pi / 2, np.pi / 2, count)])


def _overlaps_by_shapely(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = shapely.polygons(corners(one)), shapely.polygons(corners(other))
    i, j = shapely.STRtree(second).query(first, predicate="intersects")
    shared = shapely.area(shapely.intersection(first[i], second[j]))
    overlaps = np.zeros((len(one), len(other)))
    overlaps[i, j] = shared / (shapely.area(first[i]) + shapely.area(second[j]) - shared)
    return overlaps


def _kept_by_shapely(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> list[int]:
    polygons = shapely.polygons(corners(boxes))
    areas, tree = shapely.area(polygons), shapely.STRtree(polygons)
    alive, kept = np.ones(len(boxes), dtype=bool), []
    for best in np.argsort(-scores, kind="stable").tolist():
        if alive[best]:
            kept.append(best)
            near = tree.query(polygons[best])
            near = near[alive[near]]
            shared = shapely.area(shapely.intersection(polygons[best], polygons[near]))
            alive[near[shared > THRESHOLD * (areas[best] + areas[near] - shared)]] = False
    return kept


def _rotated(boxes: NDArray[np.float64]) -> list[tuple[tuple[float, float], tuple[float, float], float]]:
    return [((x, y), (w, h), float(np.degrees(angle))) for x, y, w, h, angle in boxes.tolist()]


def _overlaps_by_opencv(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    import cv2

    first, second = _rotated(one), _rotated(other)
    overlaps = np.zeros((len(one), len(other)))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            _, points = cv2.rotatedRectangleIntersection(a, b)
            if points is not None and len(points) > 2:
                shared = cv2.contourArea(cv2.convexHull(points))
                overlaps[i, j] = shared / (a[1][0] * a[1][1] + b[1][0] * b[1][1] - shared)
    return overlaps


def _kept_by_opencv(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> list[int]:
    import cv2

    return np.ravel(cv2.dnn.NMSBoxesRotated(_rotated(boxes), scores.tolist(), 0.0, THRESHOLD)).tolist()


def _check_overlaps(contenders: dict[str, Callable[[], NDArray[np.float64]]]) -> None:
    ours = contenders["swath"]()
    for name, job in contenders.items():
        allowed = SINGLE_PRECISION if name == "opencv" else LEAST_DIFFERENCE
        difference = float(np.abs(job() - ours).max())
        if difference > allowed:
            raise AssertionError(f"overlaps by {name} differ by {difference}")


def _print(title: str, contenders: Mapping[str, Callable[[], object]], repeats: int) -> None:
    print(f"\n{title}")
    for name, job in contenders.items():
        print(f"  {name:8} {best_seconds(job, repeats) * 1e3:9.2f} ms")
