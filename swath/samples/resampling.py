"""Taking values of an array between its pixels: nearest and bilinear.

Pixel centres lie at half-integers, so resizing by a whole factor is symmetric. Bilinear weights widen where
an image shrinks (the triangle filter that Pillow calls bilinear and torch calls bilinear with antialiasing).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from swath.errors import AnnotationError
from swath.geometry._compile import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.geometry.windows import Size
    from swath.imagery.grid import Affine


class Taps(NamedTuple):
    """Which old pixels make up each pixel of a resized axis, and with what weights; both (new, taps)."""

    positions: NDArray[np.int64]
    weights: NDArray[np.float32]


def resize_nearest(values: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize the last two axes, each new pixel taking the old one that its centre falls in; keeps the type.

    Raises `AnnotationError` for an array without pixels.

    >>> from swath.geometry.windows import Size
    >>> resize_nearest(np.array([[1, 2]]), Size(2, 4)).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    height, width = values.shape[-2:]
    _check_area(height, width)
    if (height, width) == (size.height, size.width):
        return np.array(values)
    return values.take(_nearest(height, size.height), axis=-2).take(_nearest(width, size.width), axis=-1)


def resize_bilinear(values: NDArray[Any], size: Size) -> NDArray[np.float32]:
    """Resize the last two axes with the triangle filter, antialiased where the image shrinks; gives float32.

    Raises `AnnotationError` for an array without pixels.

    >>> from swath.geometry.windows import Size
    >>> resize_bilinear(np.array([[0.0, 4.0]]), Size(1, 4)).tolist()
    [[0.0, 1.0, 3.0, 4.0]]
    """
    height, width = values.shape[-2:]
    _check_area(height, width)
    resized = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, height, width)
    if size.height != height:
        resized = _mix_rows(resized, *_triangle_taps(height, size.height))
    if size.width != width:
        resized = _mix_columns(resized, *_triangle_taps(width, size.width))
    unchanged = size.height == height and size.width == width
    shape = (*values.shape[:-2], size.height, size.width)
    return resized.reshape(shape).copy() if unchanged else resized.reshape(shape)


def sample_affine(values: NDArray[Any], back: Affine, *, fill: float = 0, smooth: bool = False) -> NDArray[Any]:
    """Return an array of the same shape whose pixel centres take the values found where `back` carries them.

    Positions outside the array get `fill`. Nearest keeps the type; bilinear (`smooth`) gives float32 and
    repeats the edge pixels within half a pixel of the border.

    >>> from swath.imagery.grid import Affine
    >>> sample_affine(np.array([[1, 2]]), Affine(1, 0, 1, 0, 1, 0), fill=9).tolist()
    [[2, 9]]
    """
    height, width = values.shape[-2:]
    coefficients = np.array([back.a, back.b, back.c, back.d, back.e, back.f], dtype=np.float64)
    if smooth:
        planes = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, height, width)
        return _sample_bilinear(planes, coefficients, np.float32(fill)).reshape(values.shape)
    places = _places(height, width, coefficients)
    flat = values.reshape(*values.shape[:-2], height * width)
    padded = np.concatenate([flat, np.full((*flat.shape[:-1], 1), fill, dtype=values.dtype)], axis=-1)
    return padded.take(places, axis=-1)


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    # Twice the centre in whole numbers: floating point would misplace centres that fall on a border.
    return (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)


@lru_cache(maxsize=256)
def _triangle_taps(old: int, new: int) -> Taps:
    ratio = old / new
    reach = max(ratio, 1.0)
    centre = (np.arange(new)[:, None] + 0.5) * ratio
    first = np.floor(centre - reach + 0.5).astype(np.int64)
    positions = first + np.arange(math.ceil(2 * reach) + 1, dtype=np.int64)
    weights = np.clip(1 - np.abs(positions + 0.5 - centre) / reach, 0, None)
    weights[(positions < 0) | (positions >= old)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return Taps(np.clip(positions, 0, old - 1), weights.astype(np.float32))


@compiled
def _mix_rows(
    planes: NDArray[np.float32], positions: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    count, _, width = planes.shape
    mixed = np.zeros((count, len(positions), width), dtype=np.float32)
    for plane in range(count):
        for row in range(len(positions)):
            for tap in range(positions.shape[1]):
                weight = weights[row, tap]
                if weight != 0:
                    source = planes[plane, positions[row, tap]]
                    for column in range(width):
                        mixed[plane, row, column] += weight * source[column]
    return mixed


@compiled
def _mix_columns(
    planes: NDArray[np.float32], positions: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    count, height, _ = planes.shape
    mixed = np.empty((count, height, len(positions)), dtype=np.float32)
    for plane in range(count):
        for row in range(height):
            source = planes[plane, row]
            for column in range(len(positions)):
                total = np.float32(0)
                for tap in range(positions.shape[1]):
                    total += weights[column, tap] * source[positions[column, tap]]
                mixed[plane, row, column] = total
    return mixed


@compiled
def _places(height: int, width: int, back: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each pixel the flat position that it takes, `height * width` where that lies outside."""
    places = np.empty((height, width), dtype=np.int64)
    for row in range(height):
        for column in range(width):
            x = math.floor(back[0] * (column + 0.5) + back[1] * (row + 0.5) + back[2])
            y = math.floor(back[3] * (column + 0.5) + back[4] * (row + 0.5) + back[5])
            inside = 0 <= x < width and 0 <= y < height
            places[row, column] = y * width + x if inside else height * width
    return places


@compiled
def _sample_bilinear(planes: NDArray[np.float32], back: NDArray[np.float64], fill: np.float32) -> NDArray[np.float32]:
    count, height, width = planes.shape
    sampled = np.full((count, height, width), fill, dtype=np.float32)
    for row in range(height):
        for column in range(width):
            x = back[0] * (column + 0.5) + back[1] * (row + 0.5) + back[2]
            y = back[3] * (column + 0.5) + back[4] * (row + 0.5) + back[5]
            if not (0 <= x < width and 0 <= y < height):
                continue
            u, v = min(max(x - 0.5, 0.0), width - 1.0), min(max(y - 0.5, 0.0), height - 1.0)
            left, top = int(u), int(v)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            along, down = np.float32(u - left), np.float32(v - top)
            for plane in range(count):
                values = planes[plane]
                above = values[top, left] * (1 - along) + values[top, right] * along
                below = values[bottom, left] * (1 - along) + values[bottom, right] * along
                sampled[plane, row, column] = above * (1 - down) + below * down
    return sampled


def _check_area(height: int, width: int) -> None:
    if height * width == 0:
        raise AnnotationError(f"An array of {height} x {width} pixels holds nothing to resize.")
