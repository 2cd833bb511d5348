"""Turning pixel values from one unit into another, always asked for by name.

Digital numbers become a band's `physical_unit` by its scale and offset; radar backscatter goes between
decibel and linear power; `Stretch` makes 8-bit values the way a published data set made them. Nothing is
guessed from values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.errors import ConfigurationError, ShapeError, UnitMismatch
from swath.imagery.bands import Band, Unit, select_bands
from swath.imagery.pixels import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray


def convert(pixels: Pixels, unit: Unit, *, like: Sequence[Band] | None = None) -> Pixels:
    """Return the pixels in `unit` as float32; pixels already in it come back untouched.

    DN become the bands' physical unit, and from there decibel or linear power where that is what is asked
    for. Physical values become DN again by the scale and offset of the bands of `like` with the same names or
    roles. Power of zero or less has no decibel value: those pixels become invalid. Anything else raises
    `UnitMismatch`.

    >>> band = Band(name="B04", role="red", scale=1e-4, offset=-0.1, physical_unit=Unit.REFLECTANCE)
    >>> stored = Pixels.from_array(np.full((1, 1, 1), 3000, np.uint16), [band], Unit.DN)
    >>> reflectance = convert(stored, Unit.REFLECTANCE)
    >>> round(float(reflectance.values[0, 0, 0]), 6), reflectance.bands[0].scale
    (0.2, 1.0)
    """
    unit = Unit(unit)
    if pixels.unit == unit:
        return pixels
    if unit == Unit.DN:
        return _to_dn(pixels, like)
    if pixels.unit == Unit.DN:
        return convert(_to_physical(pixels, unit), unit)
    if (pixels.unit, unit) == (Unit.LINEAR_POWER, Unit.DECIBEL):
        return _to_decibel(pixels)
    if (pixels.unit, unit) == (Unit.DECIBEL, Unit.LINEAR_POWER):
        power = np.power(np.float32(10.0), np.multiply(pixels.values, 0.1, dtype=np.float32))
        return _in_unit(pixels, power, unit)
    raise _mismatch(pixels, unit)


def _in_unit(pixels: Pixels, values: NDArray[Any], unit: Unit) -> Pixels:
    return replace(pixels, values=values, unit=unit, bands=tuple(band.in_unit(unit) for band in pixels.bands))


def _to_physical(pixels: Pixels, unit: Unit) -> Pixels:
    physical = {band.physical_unit for band in pixels.bands}
    reachable = {unit, _OTHER_RADAR_UNIT.get(unit, unit)}
    if len(physical) != 1 or not physical & reachable:
        raise _mismatch(pixels, unit)
    scale = _per_band([band.scale for band in pixels.bands])
    offset = _per_band([band.offset for band in pixels.bands])
    values = np.multiply(pixels.values, scale, dtype=np.float32)
    if np.any(offset):
        values += offset
    return _in_unit(pixels, values, next(unit for unit in physical if unit is not None))


_OTHER_RADAR_UNIT = {Unit.DECIBEL: Unit.LINEAR_POWER, Unit.LINEAR_POWER: Unit.DECIBEL}


def _per_band(numbers: Sequence[float]) -> NDArray[np.float32]:
    """One number for all bands where they agree (the fast case), else a column that broadcasts over (C, H, W)."""
    if len(set(numbers)) == 1:
        return np.array(numbers[0], dtype=np.float32)
    return np.array(numbers, dtype=np.float32)[:, None, None]


def _to_dn(pixels: Pixels, like: Sequence[Band] | None) -> Pixels:
    if like is None:
        raise UnitMismatch(
            f"values in {pixels.unit.value} become DN only by a product's scale and offset; name the product, "
            "for example --bands sentinel-2-l2a, or open the original file."
        )
    wanted = [band.role if _has(like, band.role) else band.name for band in pixels.bands]
    targets = [like[i] for i in select_bands(like, wanted, where="the product asked for")]
    if any(band.physical_unit != pixels.unit for band in targets):
        units = sorted({str(band.physical_unit or "no physical unit") for band in targets})
        raise UnitMismatch(
            f"the product's DN stand for {', '.join(units)} and the imagery is in {pixels.unit.value}; "
            "choose a product of the same quantity."
        )
    offset = _per_band([band.offset for band in targets])
    scale = _per_band([band.scale for band in targets])
    values = np.rint((pixels.values - offset) / scale)
    return replace(pixels, values=values.astype(np.float32, copy=False), unit=Unit.DN, bands=tuple(targets))


def _has(bands: Sequence[Band], role: str) -> bool:
    return any(band.role == role for band in bands)


def _to_decibel(pixels: Pixels) -> Pixels:
    positive = pixels.values > 0
    valid: NDArray[np.bool_] = np.logical_and.reduce(positive, axis=0)
    if pixels.valid is not None:
        valid &= pixels.valid
    power = np.where(positive, pixels.values, 1.0).astype(np.float32)
    values = np.multiply(np.log10(power, out=power), np.float32(10.0), out=power)
    return replace(_in_unit(pixels, values, Unit.DECIBEL), valid=None if valid.all() else valid)


def _mismatch(pixels: Pixels, unit: Unit) -> UnitMismatch:
    names = ", ".join(band.name for band in pixels.bands[:4]) + (", ..." if len(pixels.bands) > 4 else "")
    found = f"the imagery (bands {names}) is in {pixels.unit.value}"
    if pixels.unit == Unit.DN:
        physical = sorted({band.physical_unit.value for band in pixels.bands if band.physical_unit})
        if physical:
            found += f", whose scale gives {' and '.join(physical)}"
        else:
            found += " without a known scale"
    if unit == Unit.EIGHT_BIT:
        remedy = "stretch it to 0..255 first, or say --unit 8-bit if its values are 0 to 255 already"
    else:
        remedy = (
            f"say --unit {unit.value} if its values are {unit.value} already, or name its sensor for the scale, "
            "for example --bands sentinel-2-l2a"
        )
    return UnitMismatch(f"{found}, and {unit.value} was asked for; {remedy}.")


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A linear map from a physical unit to 8 bit: `low` becomes 0, `high` becomes 255, beyond them is
    clipped.

    `low` and `high` are in `unit`, one number for all bands or one a band. Raises `ConfigurationError` where
    `high` does not lie above `low`.

    >>> stretch = Stretch(unit=Unit.REFLECTANCE, low=0.0, high=0.2755)
    >>> band = Band(name="red", role="red", unit=Unit.REFLECTANCE)
    >>> bright = Pixels.from_array(np.full((1, 1, 2), [0.1, 0.9], np.float32), [band], Unit.REFLECTANCE)
    >>> stretch.apply(bright).values.tolist()
    [[[93, 255]]]
    """

    unit: Unit
    low: tuple[float, ...] | float = 0.0
    high: tuple[float, ...] | float

    def __post_init__(self) -> None:
        low, high = np.atleast_1d(self.low), np.atleast_1d(self.high)
        if (low.size != high.size and 1 not in (low.size, high.size)) or not np.all(high > low):
            raise ConfigurationError(
                f"a stretch needs 'high' above 'low', one number for all bands or one a band; found low "
                f"{self.low} and high {self.high}."
            )

    def apply(self, pixels: Pixels) -> Pixels:
        """Return the pixels as uint8, rounded to the nearest and clipped; raise `UnitMismatch` in another unit."""
        if pixels.unit != self.unit:
            raise UnitMismatch(
                f"this stretch is for values in {self.unit.value}; the imagery is in {pixels.unit.value}. "
                "Convert it first."
            )
        low, span = self._limits(pixels)
        values = np.subtract(pixels.values, low, dtype=np.float32)
        values *= np.float32(255.0) / span
        np.rint(values, out=values)
        if pixels.valid is not None:
            np.nan_to_num(values, copy=False, nan=0.0)
        eight_bit = np.clip(values, 0, 255, out=values).astype(np.uint8)
        return _in_unit(pixels, eight_bit, Unit.EIGHT_BIT)

    def invert(self, pixels: Pixels) -> Pixels:
        """Return 8-bit pixels in the stretch's unit, clipped as they are; raise `UnitMismatch` for other pixels."""
        if pixels.unit != Unit.EIGHT_BIT:
            raise UnitMismatch(f"only 8-bit values can be stretched back; the imagery is in {pixels.unit.value}.")
        low, span = self._limits(pixels)
        values = np.multiply(pixels.values, span / np.float32(255.0), dtype=np.float32)
        values += low
        return _in_unit(pixels, values, self.unit)

    def _limits(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        low, high = np.atleast_1d(self.low), np.atleast_1d(self.high)
        count = max(low.size, high.size)
        if count not in (1, len(pixels.bands)):
            raise ShapeError(f"this stretch is for {count} bands; the imagery has {len(pixels.bands)}.")
        column = (-1, 1, 1) if count > 1 else (1, 1, 1)
        bottom = np.broadcast_to(low, count).astype(np.float32).reshape(column)
        return bottom, np.broadcast_to(high, count).astype(np.float32).reshape(column) - bottom
