"""Oriented boxes: the one convention of Swath, its corners, and what every function here asks of boxes.

A box is five floats, centre x, centre y, width, height, angle; arrays have shape (N, 5). Its corners are

    (x, y) + R (±width / 2, ±height / 2)   with   R = [[cos angle, -sin angle], [sin angle, cos angle]]

in continuous pixel coordinates with x right and y down, so that a positive angle turns clockwise as seen. The
angle is in radians, in [-pi/2, pi/2): a half turn names the same box. Width lies along the angle, and either
side may be the longer one. Functions take angles of up to a full turn either way; beyond, they are taken for
degrees and refused. `oriented_conventions` and `oriented_text` convert to and from what others write.

>>> ship = np.array([[5.0, 5.0, 4.0, 2.0, 0.0]])
>>> corners(ship)[0].tolist()
[[3.0, 4.0], [7.0, 4.0], [7.0, 6.0], [3.0, 6.0]]
>>> from_corners(corners(ship)).tolist()
[[5.0, 5.0, 4.0, 2.0, 0.0]]
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swath.errors import GeometryError

FULL_TURN = 2 * math.pi
# Half precision holds 2 pi only to a thousandth.
ANGLE_SLACK = 2e-3
# Corners in float32 at 100,000 pixels are a hundredth of a pixel off, which is this share of a small box.
RECTANGLE_TOLERANCE = 2e-3

Floats = TypeVar("Floats", np.float32, np.float64)


def as_oriented_boxes(boxes: ArrayLike, what: str = "Oriented boxes") -> NDArray[np.float64]:
    """Boxes as a contiguous float64 array (N, 5): centre x, centre y, width, height, angle in radians.

    Raises `GeometryError` for another shape, numbers that are not finite, a negative side, and an angle beyond
    a full turn, which is one in degrees.

    >>> as_oriented_boxes([[5, 5, 4, 2, 0]])
    array([[5., 5., 4., 2., 0.]])
    """
    checked = as_coordinates(boxes, (5,), what, "centre x, centre y, width, height, angle")
    negative = (checked[:, 2:4] < 0).any(axis=1)
    if negative.any():
        first = int(np.flatnonzero(negative)[0])
        raise GeometryError(f"{what} have sides of at least 0; number {first} is {checked[first].tolist()}.")
    too_far = np.abs(checked[:, 4]) > FULL_TURN + ANGLE_SLACK
    if too_far.any():
        first = int(np.flatnonzero(too_far)[0])
        raise GeometryError(
            f"{what} have angles in radians, at most a full turn (6.283); number {first} has {checked[first, 4]:g}: "
            "convert degrees with np.deg2rad first."
        )
    return checked


def as_coordinates(values: ArrayLike, shape: tuple[int, ...], what: str, content: str) -> NDArray[np.float64]:
    """Numbers as a contiguous float64 array (N, *shape); an empty list has N = 0.

    Raises `GeometryError`, naming `what` and its `content`, for another shape and numbers that are not finite.

    >>> as_coordinates([[1, 2]], (2,), "Points", "x, y")
    array([[1., 2.]])
    """
    wanted = f"{what} have shape (N, {', '.join(map(str, shape))}): {content}"
    try:
        checked = np.ascontiguousarray(values, dtype=np.float64)
    except ValueError as error:
        raise GeometryError(f"{wanted}; found rows of different lengths or what is no number.") from error
    if checked.size == 0 and checked.ndim == 1:
        return np.zeros((0, *shape))
    if checked.shape[1:] != shape or checked.ndim != len(shape) + 1:
        raise GeometryError(f"{wanted}; found shape {np.shape(values)}.")
    broken = ~np.isfinite(checked).all(axis=tuple(range(1, checked.ndim)))
    if broken.any():
        first = int(np.flatnonzero(broken)[0])
        raise GeometryError(f"{what} must be finite numbers; number {first} is {checked[first].tolist()}.")
    return checked


def normal_angles(angles: NDArray[Floats], start: float = -math.pi / 2) -> NDArray[Floats]:
    """Angles brought into the half turn [start, start + pi) of their own precision; those inside stay as they are.

    >>> normal_angles(np.array([0.5, np.pi])).round(9).tolist()
    [0.5, 0.0]
    """
    first, last = angles.dtype.type(start), angles.dtype.type(start + math.pi)
    turned = (np.mod(angles.astype(np.float64) - start, math.pi) + start).astype(angles.dtype)
    # What lies a hair below the end rounds up to it.
    turned[turned >= last] = first
    return np.where((angles >= first) & (angles < last), angles, turned)


def half_sides(boxes: ArrayLike) -> NDArray[np.float64]:
    """Vectors (N, 2, 2) from the centre to the middle of the right and of the bottom side, as they are at angle 0.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> half_sides([[5, 5, 4, 2, 0]])[0].tolist()
    [[2.0, 0.0], [-0.0, 1.0]]
    """
    width, height, angle = as_oriented_boxes(boxes)[:, 2:].T
    cosine, sine = np.cos(angle), np.sin(angle)
    along = np.stack([cosine * width, sine * width], axis=1) / 2
    across = np.stack([-sine * height, cosine * height], axis=1) / 2
    return np.stack([along, across], axis=1)


def corners(boxes: ArrayLike) -> NDArray[np.float64]:
    """Corners (N, 4, 2), clockwise as seen, from what is the top left at angle 0.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> corners([[5, 5, 2, 2, np.pi / 4]]).round(3)[0].tolist()
    [[5.0, 3.586], [6.414, 5.0], [5.0, 6.414], [3.586, 5.0]]
    """
    checked = as_oriented_boxes(boxes)
    signs = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    offsets: NDArray[np.float64] = signs @ half_sides(checked)
    return checked[:, None, :2] + offsets


def from_corners(points: ArrayLike) -> NDArray[np.float64]:
    """Boxes (N, 5) of rectangles given by four consecutive corners (N, 4, 2), in either sense of turning.

    The width is the side from the first corner to the second. Raises `GeometryError` for another shape,
    numbers that are not finite, and corners that are not those of a rectangle; `minimum_area_rectangles` takes
    any polygon.

    >>> from_corners([[[3, 4], [7, 4], [7, 6], [3, 6]]]).tolist()
    [[5.0, 5.0, 4.0, 2.0, 0.0]]
    """
    checked = as_coordinates(points, (4, 2), "Corners", "four corners as x, y")
    origin = checked[:, 0]
    local = checked - origin[:, None]
    along = (local[:, 1] - local[:, 0] + local[:, 2] - local[:, 3]) / 2
    across = (local[:, 3] - local[:, 0] + local[:, 2] - local[:, 1]) / 2
    width, height = np.hypot(*along.T), np.hypot(*across.T)
    # Zero for a parallelogram, and for perpendicular sides.
    skew = np.hypot(*(local[:, 0] - local[:, 1] + local[:, 2] - local[:, 3]).T)
    lean = np.abs((along * across).sum(axis=1)) / np.maximum(np.maximum(width, height), np.finfo(np.float64).tiny)
    slanting = np.maximum(skew, lean) > RECTANGLE_TOLERANCE * np.hypot(width, height)
    if slanting.any():
        first = int(np.flatnonzero(slanting)[0])
        raise GeometryError(
            f"The corners {checked[first].tolist()} (number {first}) are not those of a rectangle; take "
            "minimum_area_rectangles for other polygons."
        )
    # A side of length zero has no direction; the box then follows the other side.
    direction = np.where((width > 0)[:, None], along, np.stack([across[:, 1], -across[:, 0]], axis=1))
    angle = normal_angles(np.arctan2(direction[:, 1], direction[:, 0]))
    return np.column_stack([origin + local.mean(axis=1), width, height, angle])
