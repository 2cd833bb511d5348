"""How much detections overlap truths: which of them meet at all, and by what share.

Only pairs whose upright extents meet are looked at, so that a scene with many small objects costs little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import shapely

from swath.errors import AnnotationError, ConfigurationError
from swath.geometry import boxes as upright
from swath.geometry._compile import compiled
from swath.geometry.oriented_overlap import aligned_oriented_iou
from swath.samples.instances import Instances
from swath.samples.objects import Objects
from swath.samples.vectors import Boxes, OrientedBoxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = Literal["boxes", "oriented boxes", "masks", "polygons"]
"""What is laid over each other: upright boxes, boxes at any angle, masks, or the outlines as polygons."""


@dataclass(frozen=True, eq=False)
class Meetings:
    """Pairs of a detection and a truth, by detection, then by truth: their positions and overlap, all (P,).

    The overlap is intersection over union, and over the detection's own area where the truth is a region.
    """

    said: NDArray[np.int64]
    true: NDArray[np.int64]
    overlap: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Meetings:
        """Return the pairs (P,) chosen."""
        return Meetings(self.said[chosen], self.true[chosen], self.overlap[chosen])

    def starts(self, detections: int) -> NDArray[np.int64]:
        """Return where the pairs of each detection start, (detections + 1,), the last being where all end."""
        starts: NDArray[np.int64] = np.searchsorted(self.said, np.arange(detections + 1))
        return starts


@dataclass(frozen=True)
class _Kind:
    """How objects of a shape are read: extents (N, 4), areas (N,), and the overlap of pairs."""

    accepts: tuple[type[Objects], ...]
    extents: Callable[[Any], NDArray[np.float64]]
    areas: Callable[[Any], NDArray[np.float64]]
    overlap: Callable[[Any, Any, Meetings, NDArray[np.bool_]], NDArray[np.float64]]


def check_shape(shape: str) -> None:
    """Raise `ConfigurationError` unless this is a shape that overlaps are measured of.

    >>> check_shape("masks")
    """
    if shape not in get_args(Shape):
        raise ConfigurationError(f"Overlap is measured of {', '.join(get_args(Shape))}; found '{shape}'.")


def meetings(said: Objects, true: Objects, shape: Shape, *, regions: NDArray[np.bool_] | None = None) -> Meetings:
    """Return all pairs whose extents share an area, with their overlap; classes play no part.

    `regions` (M,) marks truths of which a detection may cover any part: overlap is then the share of the
    detection. Raises `AnnotationError` for objects that do not have the shape.

    >>> from swath.geometry.windows import Size
    >>> one = Boxes(size=Size(8, 8), boxes=[[0, 0, 4, 4]], classes=("ship",))
    >>> meetings(one, replace(one, boxes=[[0, 0, 4, 8]]), "boxes").overlap.tolist()
    [0.5]
    """
    kind = _KINDS[shape]
    for objects, what in ((said, "prediction"), (true, "truth")):
        if not isinstance(objects, kind.accepts):
            names = " or ".join(accepted.__name__ for accepted in kind.accepts)
            raise AnnotationError(f"The overlap of {shape} needs {names}; the {what} is {type(objects).__name__}.")
    firsts, seconds = _meeting(kind.extents(said), kind.extents(true))
    pairs = Meetings(firsts, seconds, np.zeros(len(firsts)))
    of_region = np.zeros(len(firsts), dtype=np.bool_) if regions is None else regions[seconds]
    return replace(pairs, overlap=kind.overlap(said, true, pairs, of_region))


def areas_of(objects: Objects, shape: Shape) -> NDArray[np.float64]:
    """Return the area of each object in square pixels, (N,).

    >>> from swath.geometry.windows import Size
    >>> areas_of(Boxes(size=Size(8, 8), boxes=[[0, 0, 4, 2]], classes=("ship",)), "boxes").tolist()
    [8.0]
    """
    return _KINDS[shape].areas(objects)


def lengths_of(objects: Objects, shape: Shape) -> NDArray[np.float64]:
    """Return the longer side of each object's box in pixels, (N,); of oriented boxes their own, else of the extent.

    >>> from swath.geometry.windows import Size
    >>> lengths_of(Boxes(size=Size(8, 8), boxes=[[0, 0, 4, 2]], classes=("ship",)), "boxes").tolist()
    [4.0]
    """
    if isinstance(objects, OrientedBoxes):
        sides = objects.boxes[:, 2:4].astype(np.float64)
    else:
        extents = _KINDS[shape].extents(objects)
        sides = extents[:, 2:] - extents[:, :2]
    return np.maximum(sides[:, 0], sides[:, 1])


@compiled
def _meeting(said: NDArray[np.float64], true: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which extents (N, 4) and (M, 4) share an area, as two arrays (P,): a sweep along x."""
    along = np.argsort(true[:, 0], kind="mergesort")
    starts = true[along, 0]
    widest = 0.0
    for j in range(len(true)):
        widest = max(widest, true[j, 2] - true[j, 0])
    firsts, seconds = np.empty(len(said) + 16, dtype=np.int64), np.empty(len(said) + 16, dtype=np.int64)
    count = 0
    for i in range(len(said)):
        first = count
        for place in range(np.searchsorted(starts, said[i, 0] - widest), len(true)):
            j = along[place]
            if true[j, 0] >= said[i, 2]:
                break
            if true[j, 2] <= said[i, 0] or min(said[i, 3], true[j, 3]) <= max(said[i, 1], true[j, 1]):
                continue
            if count == len(firsts):
                firsts = np.concatenate((firsts, np.empty_like(firsts)))
                seconds = np.concatenate((seconds, np.empty_like(seconds)))
            firsts[count], seconds[count] = i, j
            count += 1
        seconds[first:count].sort()
    return firsts[:count].copy(), seconds[:count].copy()


def _box_extents(objects: Boxes | Instances) -> NDArray[np.float64]:
    return objects.boxes.astype(np.float64)


def _box_overlap(
    said: Boxes | Instances, true: Boxes | Instances, pairs: Meetings, of_region: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Divide as the COCO evaluator does, so that an overlap on a threshold falls on the same side of it."""
    one, other = _box_extents(said), _box_extents(true)
    first, second = one[pairs.said], other[pairs.true]
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = sides[:, 0] * sides[:, 1]
    return _ratio(shared, upright.area(one)[pairs.said], upright.area(other)[pairs.true], of_region)


def _oriented_extents(objects: OrientedBoxes) -> NDArray[np.float64]:
    corners = objects.corners()
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).reshape(-1, 4)


def _oriented_areas(objects: OrientedBoxes) -> NDArray[np.float64]:
    return objects.boxes[:, 2].astype(np.float64) * objects.boxes[:, 3]


def _oriented_overlap(
    said: OrientedBoxes, true: OrientedBoxes, pairs: Meetings, of_region: NDArray[np.bool_]
) -> NDArray[np.float64]:
    overlap = aligned_oriented_iou(said.boxes[pairs.said], true.boxes[pairs.true])
    areas, true_areas = _oriented_areas(said)[pairs.said], _oriented_areas(true)[pairs.true]
    shared = overlap * (areas + true_areas) / (1 + overlap)
    return np.where(of_region, np.divide(shared, areas, out=np.zeros(len(areas)), where=areas > 0), overlap)


def _mask_extents(objects: Instances) -> NDArray[np.float64]:
    return np.array([mask.box for mask in objects.masks], dtype=np.float64).reshape(-1, 4)


def _mask_areas(objects: Instances) -> NDArray[np.float64]:
    return np.array([mask.area for mask in objects.masks], dtype=np.float64)


def _mask_overlap(
    said: Instances, true: Instances, pairs: Meetings, of_region: NDArray[np.bool_]
) -> NDArray[np.float64]:
    both = zip(pairs.said.tolist(), pairs.true.tolist(), strict=True)
    shared = np.array([said.masks[i].intersection_area(true.masks[j]) for i, j in both], dtype=np.float64)
    return _ratio(shared, _mask_areas(said)[pairs.said], _mask_areas(true)[pairs.true], of_region)


def _polygons(objects: Objects) -> NDArray[np.object_]:
    polygons = np.empty(len(objects), dtype=np.object_)
    polygons[:] = list(objects.outlines())
    return polygons


def _polygon_extents(objects: Objects) -> NDArray[np.float64]:
    bounds: NDArray[np.float64] = shapely.bounds(_polygons(objects)).reshape(-1, 4)
    return bounds


def _polygon_areas(objects: Objects) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = shapely.area(_polygons(objects))
    return areas


def _polygon_overlap(
    said: Objects, true: Objects, pairs: Meetings, of_region: NDArray[np.bool_]
) -> NDArray[np.float64]:
    one, other = _polygons(said), _polygons(true)
    shared = shapely.area(shapely.intersection(one[pairs.said], other[pairs.true]))
    return _ratio(shared, shapely.area(one)[pairs.said], shapely.area(other)[pairs.true], of_region)


def _ratio(
    shared: NDArray[np.float64],
    said: NDArray[np.float64],
    true: NDArray[np.float64],
    of_region: NDArray[np.bool_],
) -> NDArray[np.float64]:
    whole = np.where(of_region, said, said + true - shared)
    return np.divide(shared, whole, out=np.zeros(len(shared)), where=whole > 0)


_KINDS: dict[Shape, _Kind] = {
    "boxes": _Kind((Boxes, Instances), _box_extents, lambda objects: upright.area(objects.boxes), _box_overlap),
    "oriented boxes": _Kind((OrientedBoxes,), _oriented_extents, _oriented_areas, _oriented_overlap),
    "masks": _Kind((Instances,), _mask_extents, _mask_areas, _mask_overlap),
    "polygons": _Kind((Boxes, OrientedBoxes, Instances), _polygon_extents, _polygon_areas, _polygon_overlap),
}
