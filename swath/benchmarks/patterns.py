"""Patterns that corruptions are drawn with: fractal clouds, lines of motion, gaps in the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from swath.geometry.windows import Size, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

GapShape: TypeAlias = Callable[[Size, float, np.random.Generator], Window]
"""Draws a window of about so many pixels in a frame."""


def fractal_pattern(size: Size, chance: np.random.Generator, *, roughness: float) -> NDArray[np.float64]:
    """Return random hills and valleys (H, W) of mean 0 and standard deviation 1.

    White noise is filtered so that amplitudes fall with frequency to the power of -`roughness` (spectral synthesis;
    Peitgen and Saupe 1988, chapter 2): larger is smoother.

    >>> pattern = fractal_pattern(Size(8, 8), np.random.default_rng(0), roughness=2.0)
    >>> round(float(pattern.std()), 6)
    1.0
    """
    noise = np.fft.rfft2(chance.standard_normal((size.height, size.width)))
    frequency = np.hypot(np.fft.fftfreq(size.height)[:, None], np.fft.rfftfreq(size.width)[None, :])
    frequency[0, 0] = np.inf
    pattern: NDArray[np.float64] = np.fft.irfft2(noise * frequency**-roughness, s=(size.height, size.width))
    pattern -= pattern.mean()
    pattern /= pattern.std() or 1.0
    return pattern


def line_kernel(length: int, angle: float) -> NDArray[np.float64]:
    """Return weights (K, K) of sum 1 along a line through the middle, one point a pixel of its length.

    `angle` is in radians from the x axis, y down; points between pixels are shared out bilinearly. `length` is odd.

    >>> line_kernel(3, 0.0).round(3).tolist()
    [[0.0, 0.0, 0.0], [0.333, 0.333, 0.333], [0.0, 0.0, 0.0]]
    """
    reach = length // 2
    kernel = np.zeros((length + 2, length + 2))
    for step in range(-reach, reach + 1):
        x, y = step * math.cos(angle) + reach + 1, step * math.sin(angle) + reach + 1
        column, row = math.floor(x + 1e-9), math.floor(y + 1e-9)
        along, down = max(x - column, 0.0), max(y - row, 0.0)
        kernel[row : row + 2, column : column + 2] += np.outer((1 - down, down), (1 - along, along))
    inner: NDArray[np.float64] = kernel[1:-1, 1:-1] / length
    return inner


def rectangle(size: Size, area: float, chance: np.random.Generator) -> Window:
    """Return a rectangle of about this area, from half to twice as wide as high, at a random place."""
    aspect = math.exp(chance.uniform(-math.log(2), math.log(2)))
    height = min(size.height, max(1, round(math.sqrt(area / aspect))))
    width = min(size.width, max(1, round(area / height)))
    row = int(chance.integers(size.height - height, endpoint=True))
    return Window(row, int(chance.integers(size.width - width, endpoint=True)), height, width)


def stripe(size: Size, area: float, chance: np.random.Generator) -> Window:
    """Return whole rows or columns of about this area, at a random place.

    >>> stripe(Size(4, 4), 8.0, np.random.default_rng(0)).size.area
    8
    """
    along = bool(chance.random() < 0.5)
    length, side = (size.width, size.height) if along else (size.height, size.width)
    breadth = min(side, max(1, round(area / length)))
    start = int(chance.integers(side - breadth, endpoint=True))
    return Window(start, 0, breadth, size.width) if along else Window(0, start, size.height, breadth)
