"""Oriented boxes in the conventions of other tools and data sets, to and from the one in `oriented`.

All of those that write an angle share the corners (x, y) + R (±width / 2, ±height / 2) of `oriented`, a
positive angle turning clockwise as seen; they differ in its range, and in which side is called the width.

| convention | angle in radians | width | source |
|---|---|---|---|
| Swath | [-pi/2, pi/2) | either side | `oriented` |
| `le90` | [-pi/2, pi/2) | the longer side | MMRotate's introduction, "Definition of rotated box" |
| `le135` | [-pi/4, 3 pi/4) | the longer side | the same |
| `oc` | (0, pi/2] | the side at that angle | the same: OpenCV from 4.5.1 on, and MMRotate's `oc` with any OpenCV |
| old OpenCV | [-pi/2, 0) | the side at that angle | the same: `cv2.minAreaRect` before 4.5.1, there in degrees |
| `robndbox` | [0, pi) | either side | XML of roLabelImg: cx, cy, w, h, angle |

Data sets that write corners may hold any quadrilateral; their reader takes the smallest rectangle around it,
as evaluations in MMRotate do.

>>> ship = np.array([[50.0, 50.0, 10.0, 40.0, 0.25]])
>>> to_le90(ship).round(3).tolist()
[[50.0, 50.0, 40.0, 10.0, -1.321]]
>>> from_dota(to_dota(ship)).round(3).tolist()
[[50.0, 50.0, 10.0, 40.0, 0.25]]
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swath.errors import GeometryError
from swath.geometry.oriented import as_coordinates, as_oriented_boxes, corners, normal_angles
from swath.geometry.oriented_rectangles import minimum_area_rectangles

QUARTER_TURN = math.pi / 2
# Annotations in text round their coordinates.
CLOSING_DISTANCE = 0.01


def to_le90(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) in the long-edge convention `le90`: width >= height, angle in [-pi/2, pi/2).

    Where height exceeds width, (w, h, a) becomes (h, w, a + pi/2), less a half turn where that leaves the range.
    Raises `GeometryError` as `as_oriented_boxes` does. Source: MMRotate's introduction.

    >>> to_le90([[0, 0, 2, 4, 0]]).round(4).tolist()
    [[0.0, 0.0, 4.0, 2.0, -1.5708]]
    """
    return _longer_side_first(boxes, -QUARTER_TURN)


def from_le90(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) of Swath from `le90`; the corners are the same, so the numbers are checked and stay.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> from_le90([[0, 0, 4, 2, -1.25]]).tolist()
    [[0.0, 0.0, 4.0, 2.0, -1.25]]
    """
    return _normal(boxes, "Boxes in le90")


def to_le135(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) in the long-edge convention `le135`: width >= height, angle in [-pi/4, 3 pi/4).

    As `to_le90`, but for the range. Raises `GeometryError` as `as_oriented_boxes` does.

    >>> to_le135([[0, 0, 2, 4, 0]]).round(4).tolist()
    [[0.0, 0.0, 4.0, 2.0, 1.5708]]
    """
    return _longer_side_first(boxes, -QUARTER_TURN / 2)


def from_le135(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) of Swath from `le135`: angles of pi/2 and more lose a half turn.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> from_le135([[0, 0, 4, 2, 2.0]]).round(4).tolist()
    [[0.0, 0.0, 4.0, 2.0, -1.1416]]
    """
    return _normal(boxes, "Boxes in le135")


def to_oc(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) in the convention `oc` of MMRotate and of OpenCV from 4.5.1 on: angle in (0, pi/2].

    The angle loses k quarter turns, k = ceil(angle / (pi/2)) - 1, and the sides change places where k is odd.
    Raises `GeometryError` as `as_oriented_boxes` does. Source: MMRotate's introduction.

    >>> to_oc([[0, 0, 4, 2, 0]]).round(4).tolist()
    [[0.0, 0.0, 2.0, 4.0, 1.5708]]
    """
    checked = _normal(boxes, "Oriented boxes")
    return without_quarter_turns(checked, np.ceil(checked[:, 4] / QUARTER_TURN) - 1)


def from_oc(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) of Swath from `oc`: a right angle becomes -pi/2.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> from_oc([[0, 0, 2, 4, np.pi / 2]]).round(4).tolist()
    [[0.0, 0.0, 2.0, 4.0, -1.5708]]
    """
    return _normal(boxes, "Boxes in oc")


def to_old_opencv(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) as `cv2.minAreaRect` gave them before OpenCV 4.5.1: angle in [-pi/2, 0), here in radians.

    The angle loses k quarter turns, k = floor(angle / (pi/2)) + 1, and the sides change places where k is odd.
    Raises `GeometryError` as `as_oriented_boxes` does. Source: MMRotate's introduction.

    >>> to_old_opencv([[0, 0, 4, 2, 0]]).round(4).tolist()
    [[0.0, 0.0, 2.0, 4.0, -1.5708]]
    """
    checked = _normal(boxes, "Oriented boxes")
    return without_quarter_turns(checked, np.floor(checked[:, 4] / QUARTER_TURN) + 1)


def from_old_opencv(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) of Swath from what `cv2.minAreaRect` gave before OpenCV 4.5.1, the angle in radians.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> from_old_opencv([[0, 0, 4, 2, -0.5]]).tolist()
    [[0.0, 0.0, 4.0, 2.0, -0.5]]
    """
    return _normal(boxes, "Boxes of old OpenCV")


def to_robndbox(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) as roLabelImg writes them into `robndbox`: cx, cy, w, h, angle in [0, pi).

    Negative angles gain a half turn. Raises `GeometryError` as `as_oriented_boxes` does.

    >>> to_robndbox([[0, 0, 4, 2, -0.5]]).round(4).tolist()
    [[0.0, 0.0, 4.0, 2.0, 2.6416]]
    """
    return _normal(boxes, "Oriented boxes", start=0.0)


def from_robndbox(boxes: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) of Swath from cx, cy, w, h, angle of roLabelImg's `robndbox`.

    DIOR-R has four corners in elements of that name; those go to `from_dota`. Raises `GeometryError` as
    `as_oriented_boxes` does.

    >>> from_robndbox([[580.8, 343.3, 775.0, 170.2, 2.889813]]).round(4).tolist()
    [[580.8, 343.3, 775.0, 170.2, -0.2518]]
    """
    return _normal(boxes, "Boxes of robndbox")


def to_dota(boxes: ArrayLike) -> NDArray[np.float64]:
    """Polygons (N, 8) of DOTA: x1, y1 ... x4, y4, clockwise as seen, from what is the top left at angle 0.

    Raises `GeometryError` as `as_oriented_boxes` does. Source: captain-whu.github.io/DOTA/dataset.html.

    >>> to_dota([[5, 5, 4, 2, 0]]).tolist()
    [[3.0, 4.0, 7.0, 4.0, 7.0, 6.0, 3.0, 6.0]]
    """
    return corners(boxes).reshape(-1, 8)


def from_dota(polygons: ArrayLike) -> NDArray[np.float64]:
    """Smallest boxes (N, 5) around polygons (N, 8) of DOTA, in either sense of turning.

    Raises `GeometryError` for another shape, such as three points, and for numbers that are not finite.

    >>> from_dota([[3, 4, 7, 4, 7, 6, 3, 6]]).tolist()
    [[5.0, 5.0, 4.0, 2.0, 0.0]]
    """
    checked = as_coordinates(polygons, (8,), "DOTA polygons", "x1, y1 ... x4, y4")
    return minimum_area_rectangles(checked.reshape(-1, 4, 2))


def to_fair1m(boxes: ArrayLike) -> NDArray[np.float64]:
    """Polygons (N, 5, 2) of FAIR1M: the corners, and the first of them again.

    Raises `GeometryError` as `as_oriented_boxes` does. Source: the `points` of FAIR1M's XML, five "x,y" each.

    >>> to_fair1m([[5, 5, 4, 2, 0]])[0].tolist()
    [[3.0, 4.0], [7.0, 4.0], [7.0, 6.0], [3.0, 6.0], [3.0, 4.0]]
    """
    return corners(boxes)[:, [0, 1, 2, 3, 0]]


def from_fair1m(polygons: ArrayLike) -> NDArray[np.float64]:
    """Smallest boxes (N, 5) around closed polygons (N, 5, 2) of FAIR1M; their start and sense are free.

    Raises `GeometryError` for another shape, numbers that are not finite, and a fifth point that is not the
    first again.

    >>> from_fair1m([[[3, 6], [7, 6], [7, 4], [3, 4], [3, 6]]]).tolist()
    [[5.0, 5.0, 4.0, 2.0, 0.0]]
    """
    checked = as_coordinates(polygons, (5, 2), "FAIR1M polygons", "five points as x, y, the last being the first")
    open_ones = np.abs(checked[:, 4] - checked[:, 0]).max(axis=1, initial=0.0) > CLOSING_DISTANCE
    if open_ones.any():
        first = int(np.flatnonzero(open_ones)[0])
        raise GeometryError(
            f"The fifth point of a FAIR1M polygon is the first again; number {first} starts at "
            f"{checked[first, 0].tolist()} and ends at {checked[first, 4].tolist()}."
        )
    return minimum_area_rectangles(np.ascontiguousarray(checked[:, :4]))


def without_quarter_turns(boxes: NDArray[np.float64], turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same boxes (N, 5) with angles less by whole numbers (N,) of quarter turns; odd ones swap the sides.

    >>> without_quarter_turns(np.array([[0, 0, 4, 2, 1.5]]), np.array([1.0])).round(4).tolist()
    [[0.0, 0.0, 2.0, 4.0, -0.0708]]
    """
    odd = np.mod(turns, 2) == 1
    sides = np.where(odd[:, None], boxes[:, [3, 2]], boxes[:, 2:4])
    return np.column_stack([boxes[:, :2], sides, boxes[:, 4] - turns * QUARTER_TURN])


def _normal(boxes: ArrayLike, what: str, start: float = -QUARTER_TURN) -> NDArray[np.float64]:
    checked = as_oriented_boxes(boxes, what)
    return np.column_stack([checked[:, :4], normal_angles(checked[:, 4], start)])


def _longer_side_first(boxes: ArrayLike, start: float) -> NDArray[np.float64]:
    checked = as_oriented_boxes(boxes)
    upended = checked[:, 3] > checked[:, 2]
    longer = without_quarter_turns(checked, -upended.astype(np.float64))
    longer[:, 4] = normal_angles(longer[:, 4], start)
    return longer
