"""Pixels: a block of values together with which are valid, what bands they are, in what unit, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.errors import ShapeError
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit, select_bands
from swath.imagery.grid import PIXELS, Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """An array of shape (C, H, W) that knows its bands, its unit, its validity and its place.

    `valid` is (H, W) bool, or None when every pixel is valid. Values keep the type they were stored in.

    >>> block = Pixels.from_array(np.zeros((1, 2, 2), np.uint8), [Band(name="red", role="red")], Unit.EIGHT_BIT)
    >>> block.size
    Size(height=2, width=2)
    """

    values: NDArray[Any]
    bands: tuple[Band, ...]
    unit: Unit
    valid: NDArray[np.bool_] | None = None
    grid: Grid

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[0] != len(self.bands):
            raise ShapeError(
                f"pixels need an array (bands, height, width) with {len(self.bands)} bands; "
                f"found the shape {self.values.shape}."
            )

    @classmethod
    def from_array(cls, values: NDArray[Any], bands: Sequence[Band], unit: Unit, *, grid: Grid | None = None) -> Pixels:
        """Wrap an array (C, H, W) in memory; without a grid its map coordinates are pixel coordinates."""
        size = Size(values.shape[-2], values.shape[-1])
        place = grid or Grid(crs=None, transform=PIXELS, size=size)
        return cls(values=values, bands=tuple(bands), unit=unit, grid=place)

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return Size(self.values.shape[1], self.values.shape[2])

    def select(self, wanted: Sequence[str]) -> Pixels:
        """Return the bands with these names or roles, in this order; raise `BandMismatch` when one is missing."""
        positions = select_bands(self.bands, wanted, where="the imagery")
        if positions == tuple(range(len(self.bands))):
            return self
        return replace(self, values=self.values[list(positions)], bands=tuple(self.bands[i] for i in positions))
