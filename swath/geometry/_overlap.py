"""What two boxes share, upright or oriented: the compiled parts of overlaps and of suppression.

>>> upright = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]])
>>> upright_shared_area(upright, 0, upright, 1)
2.0
>>> frames = oriented_frames(np.array([[1.0, 1.0, 2.0, 2.0, 0.0], [2.0, 1.0, 2.0, 2.0, 0.0]]))
>>> oriented_shared_area(frames, 0, frames, 1)
2.0
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swath.geometry._compile import compiled

# Where less than this share of the smaller box is common, rounding cannot tell it from touching.
TOUCHING = 1e-12
# Columns of frames.
X, Y, COSINE, SINE, HALF_WIDTH, HALF_HEIGHT, REACH_X, REACH_Y = range(8)


def oriented_frames(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (N, 5) as (N, 8): centre, cosine and sine of the angle, half sides, half sides of the upright bounds.

    >>> oriented_frames(np.array([[5.0, 5.0, 4.0, 2.0, 0.0]])).tolist()
    [[5.0, 5.0, 1.0, 0.0, 2.0, 1.0, 2.0, 1.0]]
    """
    cosine, sine = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    half = boxes[:, 2:4] / 2
    reach_x = np.abs(cosine) * half[:, 0] + np.abs(sine) * half[:, 1]
    reach_y = np.abs(sine) * half[:, 0] + np.abs(cosine) * half[:, 1]
    return np.column_stack([boxes[:, :2], cosine, sine, half, reach_x, reach_y])


@compiled
def upright_shared_area(a: NDArray[np.float64], i: int, b: NDArray[np.float64], j: int) -> float:
    """Area common to the upright boxes (N, 4) a[i] and b[j]; 0 where either is degenerate or inside out."""
    height = min(a[i, 3], b[j, 3]) - max(a[i, 1], b[j, 1])
    width = min(a[i, 2], b[j, 2]) - max(a[i, 0], b[j, 0])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    return float(width * height)


@compiled
def oriented_shared_area(a: NDArray[np.float64], i: int, b: NDArray[np.float64], j: int) -> float:
    """Area common to the oriented boxes a[i] and b[j], given as frames (N, 8); 0 where either is degenerate.

    The larger box is put into the frame of the smaller one, where the smaller is |x| <= w, |y| <= h. With
    y(x) along the sides of the larger, the area is the integral over |x| <= w of y limited to |y| <= h, along
    the sides from its leftmost to its rightmost corner one way, less that the other way. No corner of the
    common polygon is made, so nothing depends on how nearly sides coincide.
    """
    x, y = b[j, X] - a[i, X], b[j, Y] - a[i, Y]
    if abs(x) >= a[i, REACH_X] + b[j, REACH_X] or abs(y) >= a[i, REACH_Y] + b[j, REACH_Y]:
        return 0.0
    if a[i, HALF_WIDTH] * a[i, HALF_HEIGHT] <= b[j, HALF_WIDTH] * b[j, HALF_HEIGHT]:
        return _shared_area(a, i, b, j, x, y)
    return _shared_area(b, j, a, i, -x, -y)


@compiled
def _shared_area(
    small: NDArray[np.float64], i: int, large: NDArray[np.float64], j: int, offset_x: float, offset_y: float
) -> float:
    width, height = small[i, HALF_WIDTH], small[i, HALF_HEIGHT]
    cosine, sine = small[i, COSINE], small[i, SINE]
    x, y = cosine * offset_x + sine * offset_y, cosine * offset_y - sine * offset_x
    turned_cosine = cosine * large[j, COSINE] + sine * large[j, SINE]
    turned_sine = cosine * large[j, SINE] - sine * large[j, COSINE]
    # Half sides of the larger box, each taken in its direction of rising x.
    along_x, along_y = large[j, HALF_WIDTH] * turned_cosine, large[j, HALF_WIDTH] * turned_sine
    across_x, across_y = -large[j, HALF_HEIGHT] * turned_sine, large[j, HALF_HEIGHT] * turned_cosine
    if along_x < 0.0:
        along_x, along_y = -along_x, -along_y
    if across_x < 0.0:
        across_x, across_y = -across_x, -across_y
    if abs(x) >= width + along_x + across_x or abs(y) >= height + abs(along_y) + abs(across_y):
        return 0.0
    left_x, left_y = x - along_x - across_x, y - along_y - across_y
    one_way = _integral(left_x, left_y, 2.0 * along_x, 2.0 * along_y, width, height) + _integral(
        x + along_x - across_x, y + along_y - across_y, 2.0 * across_x, 2.0 * across_y, width, height
    )
    other_way = _integral(left_x, left_y, 2.0 * across_x, 2.0 * across_y, width, height) + _integral(
        x - along_x + across_x, y - along_y + across_y, 2.0 * along_x, 2.0 * along_y, width, height
    )
    area = 4.0 * width * height
    shared = abs(one_way - other_way)
    return 0.0 if shared <= TOUCHING * area else min(shared, area)


@compiled
def _integral(x: float, y: float, run: float, rise: float, width: float, height: float) -> float:
    """Integral over |x| <= width of y limited to |y| <= height, from (x, y) on by (run, rise) with run at least 0."""
    left, right = max(x, -width), min(x + run, width)
    if right <= left:
        return 0.0
    first = y if left == x else y + (left - x) * (rise / run)
    last = y + rise if right == x + run else y + rise - (x + run - right) * (rise / run)
    low, high = min(first, last), max(first, last)
    if low >= -height and high <= height:
        return (right - left) * 0.5 * (low + high)
    bottom, top = min(max(low, -height), height), min(max(high, -height), height)
    if top == bottom:
        return (right - left) * bottom
    # Parts below, between and above the limits, each with its share of the way up.
    parts = bottom * (bottom - low) + 0.5 * (top - bottom) * (top + bottom) + top * (high - top)
    return (right - left) * parts / (high - low)
