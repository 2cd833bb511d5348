"""The one loop of non-maximum suppression, hard and soft, for upright and oriented boxes.

`boxes.non_maximum_suppression` and `oriented_overlap.oriented_non_maximum_suppression` drop boxes; the soft
ones lower their scores, as a `Decay` says, and return `Suppressed`.

>>> Decay(method="linear", iou_threshold=0.5).least_score
0.001
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from swath.errors import GeometryError
from swath.geometry._compile import compiled
from swath.geometry._overlap import oriented_shared_area, upright_shared_area

HARD, LINEAR, GAUSSIAN = range(3)
FRESH, LOWERED, SETTLED = range(3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decay:
    """How soft suppression lowers the score of a box that overlaps a better one (Bodla et al. 2017, Soft-NMS).

    `linear` multiplies it by 1 - IoU where the IoU exceeds `iou_threshold`, `gaussian` by exp(-IoU² / sigma)
    at any overlap (arXiv 1704.04503). Boxes that fall below `least_score`, or to 0, are dropped.

    Raises `GeometryError` for another method and numbers out of range.

    >>> Decay(method="gaussian", sigma=0.5).sigma
    0.5
    """

    method: Literal["linear", "gaussian"] = "gaussian"
    iou_threshold: float = 0.3
    sigma: float = 0.5
    least_score: float = 0.001

    def __post_init__(self) -> None:
        if self.method not in ("linear", "gaussian"):
            raise GeometryError(f"Soft suppression is linear or gaussian, found '{self.method}'.")
        check_threshold(self.iou_threshold)
        if not (math.isfinite(self.sigma) and self.sigma > 0 and math.isfinite(self.least_score)):
            raise GeometryError(
                f"Soft suppression needs a sigma above 0 and a finite least score, found {self.sigma} and "
                f"{self.least_score}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Suppressed:
    """What suppression kept: `indices` (K,) of the boxes, best first, and their `scores` (K,) after decay.

    >>> Suppressed(indices=np.array([1]), scores=np.array([0.9])).scores.tolist()
    [0.9]
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shapes:
    """Boxes as suppression compares them: `bounds` (N, 4) upright around each, `areas` (N,), and `frames`.

    `frames` (N, 8) are those of `_overlap.oriented_frames`; None says that the bounds are the boxes.

    >>> Shapes(bounds=np.zeros((1, 4)), areas=np.zeros(1)).frames is None
    True
    """

    bounds: NDArray[np.float64]
    areas: NDArray[np.float64]
    frames: NDArray[np.float64] | None = None


def check_threshold(iou_threshold: float) -> None:
    """Raise `GeometryError` unless an IoU threshold lies in 0 ... 1.

    >>> check_threshold(0.5)
    """
    if not 0.0 <= iou_threshold <= 1.0:
        raise GeometryError(f"The IoU threshold lies between 0 and 1, found {iou_threshold}.")


def suppressed(
    shapes: Shapes,
    scores: NDArray[np.float64],
    ranking: NDArray[np.int64],
    labels: NDArray[np.int64],
    rule: float | Decay,
) -> Suppressed:
    """Boxes left by suppression: at an IoU threshold, or by a decay of scores.

    `ranking` (N,) is the order of falling score. Each box kept is compared with those of its label that may
    overlap it, found along x. Equal scores, also after decay, are taken by rising index.

    >>> shapes = Shapes(bounds=np.array([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.5]]), areas=np.array([4.0, 3.0]))
    >>> both = np.array([0.5, 0.9]), np.array([1, 0]), np.array([0, 0])
    >>> suppressed(shapes, *both, 0.5).indices.tolist()
    [1]
    >>> suppressed(shapes, *both, Decay(method="linear")).scores.tolist()
    [0.9, 0.125]
    """
    along_x = np.argsort(shapes.bounds[:, 0], kind="stable")
    places = np.empty_like(along_x)
    places[along_x] = np.arange(len(along_x))
    if isinstance(rule, Decay):
        if scores.min(initial=0.0) < 0.0:
            raise GeometryError(f"Scores that decay are at least 0, found {scores.min():g}.")
        kind = LINEAR if rule.method == "linear" else GAUSSIAN
        threshold = rule.iou_threshold if rule.method == "linear" else 0.0
        sigma, least = rule.sigma, rule.least_score
    else:
        kind, threshold, sigma, least = HARD, rule, 1.0, -math.inf
    lowered = scores[along_x]
    kept = _suppress(
        shapes.bounds[along_x],
        None if shapes.frames is None else shapes.frames[along_x],
        shapes.areas[along_x],
        labels[along_x],
        places[ranking],
        along_x,
        lowered,
        (kind, float(threshold), float(sigma), float(least)),
    )
    return Suppressed(indices=along_x[kept], scores=lowered[kept])


@compiled
def _suppress(
    bounds: NDArray[np.float64],
    frames: NDArray[np.float64] | None,
    areas: NDArray[np.float64],
    labels: NDArray[np.int64],
    ranking: NDArray[np.int64],
    indices: NDArray[np.int64],
    scores: NDArray[np.float64],
    rule: tuple[int, float, float, float],
) -> NDArray[np.int64]:
    """Take the best box that is left, again and again; boxes come sorted by x_min, and `scores` are lowered in place.

    Boxes whose scores are as given come by ranking. The others wait in a heap, whose keys bound their scores
    from above: one that comes up with an outdated key goes back with its own.
    """
    count = len(bounds)
    state = np.full(count, FRESH, dtype=np.uint8)
    waiting = [(0.0, 0, 0)]
    waiting.pop()
    starts = bounds[:, 0].copy()
    widest = 0.0
    for i in range(count):
        widest = max(widest, bounds[i, 2] - bounds[i, 0])
    kept = np.empty(count, dtype=np.int64)
    number = following = 0
    while True:
        while following < count and state[ranking[following]] != FRESH:
            following += 1
        best = ranking[following] if following < count else -1
        if len(waiting) > 0 and (best < 0 or waiting[0] < (-scores[best], indices[best], best)):
            key, _, best = heapq.heappop(waiting)
            if state[best] == SETTLED:
                continue
            if -key != scores[best]:
                heapq.heappush(waiting, (-scores[best], indices[best], best))
                continue
        if best < 0 or scores[best] < rule[3]:
            return kept[:number].copy()
        state[best] = SETTLED
        kept[number] = best
        number += 1
        reach = _reach(bounds[best, 2] - bounds[best, 0], widest, frames, rule[1])
        for other in range(np.searchsorted(starts, bounds[best, 0] - reach), count):
            if starts[other] >= bounds[best, 2]:
                break
            if state[other] == SETTLED or labels[other] != labels[best]:
                continue
            overlap = _overlap(bounds, frames, areas, best, other)
            if overlap > rule[1]:
                weight = _weight(overlap, rule[0], rule[2])
                if weight == 0.0:
                    state[other] = SETTLED
                    continue
                scores[other] *= weight
                if state[other] == FRESH:
                    state[other] = LOWERED
                    heapq.heappush(waiting, (-scores[other], indices[other], other))


@compiled
def _reach(width: float, widest: float, frames: NDArray[np.float64] | None, threshold: float) -> float:
    """How far before a box one may start whose IoU with it exceeds the threshold."""
    if threshold <= 0.0:
        return widest
    # A strip of a rectangle's bounds, as wide as a share s of them, holds at most s of an upright one's area and
    # 2 s of a turned one's, and IoU is at most the share of the wider box that the narrower one can cover.
    most = 1.0 if frames is None else 2.0
    return min(widest, most * width / threshold * (1.0 + 1e-9))


@compiled
def _weight(overlap: float, kind: int, sigma: float) -> float:
    """What remains of a score: nothing in hard suppression."""
    if kind == HARD:
        return 0.0
    return 1.0 - overlap if kind == LINEAR else math.exp(-overlap * overlap / sigma)


@compiled
def _overlap(
    bounds: NDArray[np.float64], frames: NDArray[np.float64] | None, areas: NDArray[np.float64], i: int, j: int
) -> float:
    """Intersection over union of two boxes, 0 where either has no area."""
    shared = _shared_area(bounds, frames, i, j)
    return 0.0 if shared == 0.0 else shared / (areas[i] + areas[j] - shared)


@compiled
def _shared_area(bounds: NDArray[np.float64], frames: NDArray[np.float64] | None, i: int, j: int) -> float:
    if frames is None:
        return upright_shared_area(bounds, i, bounds, j)
    return oriented_shared_area(frames, i, frames, j)
