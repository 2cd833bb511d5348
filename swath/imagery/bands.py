"""What a band is: its role, wavelength, ground-sample distance, unit, scale and offset.

A band is never a bare channel index. A model names the bands it takes by *role* (`"red"`, `"nir"`, `"vv"`), a
scene names what it has, and `select_bands` joins the two or says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from swath.errors import BandMismatch


class Unit(StrEnum):
    """The unit of pixel values; conversion is always asked for by name, never guessed from the values.

    >>> Unit("reflectance") is Unit.REFLECTANCE
    True
    """

    DN = "dn"
    """Digital numbers as delivered; `scale` and `offset` of the band turn them into `physical_unit`."""
    EIGHT_BIT = "8-bit"
    """Display values 0 to 255, such as aerial photography or a stretched preview."""
    REFLECTANCE = "reflectance"
    """Surface or top-of-atmosphere reflectance, 0 to about 1."""
    RADIANCE = "radiance"
    """Watts per square metre, steradian and micrometre."""
    LINEAR_POWER = "linear"
    """Radar backscatter coefficient as a linear power ratio."""
    DECIBEL = "db"
    """Radar backscatter coefficient in decibel, 10 log10 of the power ratio."""
    KELVIN = "kelvin"
    """Brightness temperature."""
    METRE = "metre"
    """Elevation or height."""
    UNITLESS = "unitless"
    """Indices, masks, probabilities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """One spectral or polarimetric channel of a sensor or of a file.

    `name` is the sensor's own (`"B04"`), `role` the common one (`"red"`). `wavelength` and `bandwidth` are in
    nm, `gsd` in metres. Stored values become `physical_unit` by `value * scale + offset`.

    >>> Band(name="B04", role="red", wavelength=664.6, gsd=10.0, unit=Unit.DN,
    ...      scale=1e-4, physical_unit=Unit.REFLECTANCE).role
    'red'
    """

    name: str
    role: str
    wavelength: float | None = None
    bandwidth: float | None = None
    gsd: float | None = None
    unit: Unit = Unit.DN
    scale: float = 1.0
    offset: float = 0.0
    physical_unit: Unit | None = None
    nodata: float | None = None

    def in_unit(self, unit: Unit) -> Band:
        """Return the same band whose values are already in `unit` (scale 1, offset 0).

        >>> Band(name="B04", role="red", scale=1e-4, physical_unit=Unit.REFLECTANCE).in_unit(Unit.REFLECTANCE).scale
        1.0
        """
        return replace(self, unit=unit, scale=1.0, offset=0.0, physical_unit=unit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensor:
    """A named instrument and product level with its bands in the order in which its files store them.

    `nodata` is the value the product uses for missing pixels. `layouts` are the band lists, by name and in
    file order, of the smaller files in which the product also comes (a panchromatic file; VV and VH without
    HH and HV).

    >>> rgb = Sensor(name="rgb", title="Plain red, green, blue", bands=(Band(name="red", role="red"),))
    >>> rgb.band("red").name
    'red'
    """

    name: str
    title: str
    bands: tuple[Band, ...]
    nodata: float | None = None
    source: str = ""
    layouts: tuple[tuple[str, ...], ...] = ()

    def band(self, key: str) -> Band:
        """Return the band with this name or role (the name wins); raise `BandMismatch` otherwise."""
        return find_band(self.bands, key, where=f"sensor '{self.name}'")


def find_band(bands: Sequence[Band], key: str, *, where: str) -> Band:
    """Return the band of `bands` whose name or role is `key`, ignoring case and leading zeros (`B4` is
    `B04`).

    Raises `BandMismatch` naming what there is.

    >>> find_band([Band(name="B04", role="red")], "b4", where="the scene").role
    'red'
    """
    wanted = _plain(key)
    for attribute in ("name", "role"):
        for band in bands:
            if _plain(getattr(band, attribute)) == wanted:
                return band
    have = ", ".join(band.name if band.name == band.role else f"{band.name} ({band.role})" for band in bands)
    raise BandMismatch(f"{where} has no band '{key}'; it has: {have or 'none'}.")


def select_bands(have: Sequence[Band], wanted: Sequence[str], *, where: str) -> tuple[int, ...]:
    """Return the positions in `have` of the `wanted` names or roles, in the order wanted.

    Raises `BandMismatch` that lists all that are missing and gives the remedy on the command line.

    >>> select_bands([Band(name="B02", role="blue"), Band(name="B04", role="red")], ["red"], where="the scene")
    (1,)
    """
    positions: list[int] = []
    missing: list[str] = []
    for key in wanted:
        try:
            positions.append(list(have).index(find_band(have, key, where=where)))
        except BandMismatch:
            missing.append(key)
    if missing:
        names = ", ".join(band.name for band in have) or "none"
        remedy = ",".join(f"{key}={number}" for number, key in enumerate(wanted, start=1))
        raise BandMismatch(
            f"{where} lacks the band{'s' if len(missing) > 1 else ''} {', '.join(missing)}: its {len(have)} "
            f"band{'s are' if len(have) != 1 else ' is'} {names}. Say which file band is which, for example "
            f"--bands {remedy}, or name a sensor, for example --bands sentinel-2-l2a."
        )
    return tuple(positions)


def parse_band_numbers(text: str) -> Mapping[str, int]:
    """Read `red=3,green=2,blue=1` into a mapping from role to 1-based file band.

    Raises `BandMismatch` when a piece has no `=` or its number is not a positive whole number.

    >>> parse_band_numbers("red=3,nir=4")["nir"]
    4
    """
    numbers: dict[str, int] = {}
    for piece in text.split(","):
        role, equals, number = (part.strip() for part in piece.partition("="))
        if not equals or not role or not number.isdigit() or int(number) < 1:
            raise BandMismatch(
                f"'{piece}' in --bands is not of the form ROLE=NUMBER with numbers from 1; "
                "write for example --bands red=3,green=2,blue=1."
            )
        numbers[role] = int(number)
    return numbers


def _plain(text: str) -> str:
    folded = text.strip().lower().replace("-", "_").replace(" ", "_")
    head = folded.rstrip("0123456789a") if folded[:1] == "b" else folded
    tail = folded[len(head) :]
    return head + tail.lstrip("0") if head == "b" and tail else folded
