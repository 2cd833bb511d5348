"""Changing pixels: geometric moves, in which values, validity and grid stay together, and radiometric jitter.

After a move the grid still says where each pixel lies on the Earth: a crop shifts its transform, a flip
changes a sign, a turn swaps the axes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.imagery.bands import Unit
from swath.imagery.grid import Affine, Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels
    from swath.samples.moves import Move

RADIOMETRIC_UNITS = frozenset({Unit.DN, Unit.EIGHT_BIT, Unit.REFLECTANCE, Unit.RADIANCE, Unit.LINEAR_POWER})
"""Units in which twice the light is twice the value, so that brightness and contrast mean something."""


def move_pixels(pixels: Pixels, move: Move) -> Pixels:
    """Return pixels after a move of their frame; what comes from outside is invalid and 0.

    Values keep their type. Where a move interpolates, invalid pixels count for nothing, and a pixel is valid
    when valid ones make up more than half of it.

    >>> from swath.imagery.bands import Band
    >>> from swath.imagery.pixels import Pixels
    >>> from swath.samples.moves import Flip
    >>> red = Band(name="red", role="red")
    >>> block = Pixels.from_array(np.array([[[1, 2]]], np.uint8), [red], Unit.EIGHT_BIT)
    >>> flipped = move_pixels(block, Flip(horizontal=True))
    >>> flipped.values.tolist(), flipped.grid.to_map(np.array([0.5, 0.5])).tolist()
    ([[[2, 1]]], [1.5, 0.5])
    """
    values, valid = pixels.values, pixels.valid
    if valid is None and not move.covers(pixels.size):
        valid = np.ones(values.shape[-2:], dtype=np.bool_)
    if not move.interpolates:
        moved = move.array(values)
        valid = None if valid is None else move.array(valid)
    elif valid is None:
        moved = move.array(values, smooth=True)
    else:
        share = move.array(valid, smooth=True)
        moved = move.array(np.where(valid, values, 0), smooth=True) / np.maximum(share, 1e-6)
        valid = share > 0.5
    return replace(pixels, values=as_type(moved, values.dtype), valid=valid, grid=move_grid(pixels.grid, move))


def move_grid(grid: Grid, move: Move) -> Grid:
    """Return the grid of an image after a move of its frame: each pixel keeps its place on the map.

    >>> from swath.geometry.windows import Size
    >>> from swath.samples.moves import Flip
    >>> grid = Grid(crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 100), size=Size(10, 20))
    >>> move_grid(grid, Flip(horizontal=True)).transform.a
    -10.0
    """
    outer, inner = grid.transform, move.affine(grid.size).inverse()
    transform = Affine(
        outer.a * inner.a + outer.b * inner.d,
        outer.a * inner.b + outer.b * inner.e,
        outer.a * inner.c + outer.b * inner.f + outer.c,
        outer.d * inner.a + outer.e * inner.d,
        outer.d * inner.b + outer.e * inner.e,
        outer.d * inner.c + outer.e * inner.f + outer.f,
    )
    return replace(grid, transform=transform, size=move.size_after(grid.size))


def jitter_pixels(pixels: Pixels, brightness: float, contrast: float) -> Pixels:
    """Return pixels whose bands are scaled by `brightness`, and about their mean by `contrast`.

    Whole-number types are rounded and cut at their range. Pixels in a unit without brightness (decibel,
    kelvin, metre, unitless) come back as they are.

    >>> from swath.imagery.bands import Band
    >>> from swath.imagery.pixels import Pixels
    >>> red = Band(name="red", role="red")
    >>> block = Pixels.from_array(np.array([[[10, 30]]], np.uint8), [red], Unit.EIGHT_BIT)
    >>> jitter_pixels(block, brightness=2.0, contrast=0.5).values.tolist()
    [[[30, 50]]]
    """
    if pixels.unit not in RADIOMETRIC_UNITS:
        return pixels
    values = pixels.values
    seen = values.reshape(len(values), -1) if pixels.valid is None else values[:, pixels.valid]
    if seen.shape[1] == 0:
        return pixels
    means = seen.mean(axis=1, dtype=np.float64)
    gain, shifts = brightness * contrast, brightness * (1 - contrast) * means
    if values.dtype == np.uint8:
        tables = np.clip(np.rint(np.arange(256) * gain + shifts[:, None]), 0, 255).astype(np.uint8)
        return replace(pixels, values=np.stack([table[band] for table, band in zip(tables, values, strict=True)]))
    changed = values.astype(np.float32) * np.float32(gain) + shifts.astype(np.float32)[:, None, None]
    return replace(pixels, values=as_type(changed, values.dtype))


def as_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in this type, rounded and cut at its range where it holds whole numbers.

    >>> as_type(np.array([1.6, 300.0]), np.dtype(np.uint8)).tolist()
    [2, 255]
    """
    if values.dtype == dtype:
        return values
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)
