"""What black and white are in each unit, so that a change described for 8-bit values fits any imagery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.errors import ConfigurationError
from swath.imagery.bands import Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels

PERCENTILES = (1.0, 99.0)
"""What stands for black and white in units that have neither: percentiles of each band of the image itself."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values that stand for 0 and 255 of an 8-bit image.

    >>> ValueRange(0.0, 0.3).high
    0.3
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigurationError(f"A range of values rises from black to white; found {self.low} to {self.high}.")


UNIT_RANGES: dict[Unit, ValueRange] = {
    Unit.EIGHT_BIT: ValueRange(0.0, 255.0),
    Unit.REFLECTANCE: ValueRange(0.0, 0.3),
    Unit.LINEAR_POWER: ValueRange(0.0, 0.3),
    Unit.DECIBEL: ValueRange(-25.0, 0.0),
}
"""Black and white as maps usually show them: of reflectance, and of radar backscatter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EightBitScale:
    """How the values of an image become numbers from 0 (black) to 255 (white), and the way back.

    `low` and `span` (C, 1, 1) are in the image's unit; `pixels` is the image. Numbers may lie outside 0 to 255, as
    those of a bright roof do in reflectance.
    """

    low: NDArray[np.float64]
    span: NDArray[np.float64]
    pixels: Pixels

    @classmethod
    def of(cls, pixels: Pixels, given: ValueRange | None = None) -> EightBitScale:
        """Return the scale by the `given` range, by that of the unit, or by percentiles of each band.

        Digital numbers take the range of their band's physical unit through its scale and offset, or 0 to 255
        where they are stored in 8 bits.

        >>> from swath.imagery.bands import Band
        >>> from swath.imagery.pixels import Pixels
        >>> red = Band(name="B04", role="red", scale=1e-4, physical_unit=Unit.REFLECTANCE)
        >>> stored = Pixels.from_array(np.array([[[0, 1500, 3000]]], np.uint16), [red], Unit.DN)
        >>> EightBitScale.of(stored).forth().round(6).tolist()
        [[[0.0, 127.5, 255.0]]]
        """
        ranges = [given or _range_of(pixels, band) for band in range(len(pixels.bands))]
        low = np.array([one.low for one in ranges])[:, None, None]
        span = np.array([one.high - one.low for one in ranges])[:, None, None]
        return cls(low=low, span=span, pixels=pixels)

    def forth(self) -> NDArray[np.float64]:
        """Return the image's values (C, H, W) as numbers from black to white; invalid pixels are black."""
        shown: NDArray[np.float64] = (self.pixels.values.astype(np.float64) - self.low) / self.span * 255
        return shown if self.pixels.valid is None else np.where(self.pixels.valid, shown, 0.0)

    def back(self, shown: NDArray[np.float64]) -> NDArray[Any]:
        """Return changed numbers in the image's unit and type.

        They are cut at black and white, or at the band's own darkest and brightest value where those lie further
        out: no change leaves the range of values. Whole numbers are rounded, and invalid pixels keep theirs.
        """
        stored, low, high = self.pixels.values, self.low, self.low + self.span
        seen = _seen(self.pixels, slice(None))
        if seen.shape[1]:
            low = np.minimum(low, seen.min(axis=1)[:, None, None])
            high = np.maximum(high, seen.max(axis=1)[:, None, None])
        changed = self._stored(np.clip(shown / 255 * self.span + self.low, low, high))
        return changed if self.pixels.valid is None else np.where(self.pixels.valid, changed, stored)

    def black(self) -> NDArray[Any]:
        """Return black in the image's unit and type, (C, 1, 1)."""
        return self._stored(self.low)

    def _stored(self, values: NDArray[np.float64]) -> NDArray[Any]:
        dtype = self.pixels.values.dtype
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return values.astype(dtype)


def _range_of(pixels: Pixels, number: int) -> ValueRange:
    band = pixels.bands[number]
    if pixels.unit in UNIT_RANGES:
        return UNIT_RANGES[pixels.unit]
    if pixels.unit == Unit.DN and band.physical_unit in UNIT_RANGES and band.scale > 0:
        physical = UNIT_RANGES[band.physical_unit]
        return ValueRange((physical.low - band.offset) / band.scale, (physical.high - band.offset) / band.scale)
    if pixels.unit == Unit.DN and pixels.values.dtype == np.uint8:
        return UNIT_RANGES[Unit.EIGHT_BIT]
    return _own_range(_seen(pixels, number))


def _own_range(values: NDArray[Any]) -> ValueRange:
    low, high = np.percentile(values.astype(np.float64), PERCENTILES) if values.size else (0.0, 1.0)
    # A band of one value has no contrast; any span serves.
    return ValueRange(float(low), float(high) if high > low else float(low) + 1.0)


def _seen(pixels: Pixels, bands: Any) -> NDArray[Any]:
    values: NDArray[Any] = pixels.values[bands]
    return values.reshape(*values.shape[:-2], -1) if pixels.valid is None else values[..., pixels.valid]
