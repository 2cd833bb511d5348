"""Which band of a file is which: from what the user says, else from what the file says, never from its
values.

In this order: the user's `bands=`; band descriptions that are a sensor's own; colour interpretation red,
green, blue; else `band1` ... `bandN` in DN. The unit follows the user's `unit=`, 8-bit storage, the sensor,
the file's unit tag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from swath.errors import BandMismatch
from swath.imagery.bands import Band, Sensor, Unit, parse_band_numbers
from swath.imagery.sensors import SENTINEL_2_L1C, sensor, sensors, without_scale

BandsSpec: TypeAlias = str | Sequence[Band | str] | Mapping[str, int]
"""How a user names a file's bands; see `name_bands`."""

UNIT_TAGS = {
    "db": Unit.DECIBEL,
    "decibel": Unit.DECIBEL,
    "dn": Unit.DN,
    "k": Unit.KELVIN,
    "kelvin": Unit.KELVIN,
    "m": Unit.METRE,
    "metre": Unit.METRE,
    "meter": Unit.METRE,
    "metres": Unit.METRE,
    "meters": Unit.METRE,
    "reflectance": Unit.REFLECTANCE,
    "linear": Unit.LINEAR_POWER,
}
COLOURS = ("red", "green", "blue")
_ROLES = frozenset(band.role for known in sensors() for band in known.bands) | {"elevation"}
_SENTINEL_2_NAMES = frozenset(band.name for band in SENTINEL_2_L1C.bands)


@dataclass(frozen=True, kw_only=True)
class StoredBand:
    """What a file says of one of its bands; `number` counts from 1, `colour` is GDAL's colour interpretation."""

    number: int
    dtype: str
    description: str = ""
    colour: str = "undefined"
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    nodata: float | None = None

    @property
    def is_scaled(self) -> bool:
        """Whether the file carries a scale or offset of its own."""
        return self.scale != 1.0 or self.offset != 0.0


@dataclass(frozen=True, kw_only=True)
class NamedBand:
    """A band of a file together with what is known of it; `number` counts from 1."""

    number: int
    band: Band


def name_bands(
    stored: Sequence[StoredBand],
    *,
    where: str,
    bands: BandsSpec | None = None,
    unit: Unit | None = None,
    product: Sensor | None = None,
) -> tuple[NamedBand, ...]:
    """Say which stored band is which; alpha bands are left out unless the user names them.

    `bands` is one of
    - a sensor's name, or a `.toml` file of one: `"naip"`;
    - a sensor with the bands that the file holds, in file order: `"sentinel-2-l2a:B02,B03,B04,B08"`;
    - roles in file order, `"red,green,blue"` or a sequence of roles or `Band`s;
    - roles with 1-based numbers: `"red=3,green=2,blue=1"` or a mapping.
    `product` is the sensor that the file's own name tells. Raises `BandMismatch` where the count does not
    fit.

    >>> file = [StoredBand(number=i, dtype="uint16") for i in (1, 2)]
    >>> [named.band.role for named in name_bands(file, where="x.tif", bands="sentinel-1")]
    ['vv', 'vh']
    >>> [named.band.name for named in name_bands(file, where="x.tif")]
    ['band1', 'band2']
    """
    if bands is not None:
        named = _as_told(stored, bands, where)
        trusted = not isinstance(bands, str | Mapping) and all(isinstance(band, Band) for band in bands)
    else:
        named = _as_described(stored, product) or _as_coloured(stored)
        trusted = False
    by_number = {band.number: band for band in stored}
    return tuple(
        NamedBand(number=item.number, band=_settle_unit(item.band, by_number[item.number], unit, trusted))
        for item in named
    )


def offers_near_infrared(stored: Sequence[StoredBand], wanted: Sequence[str]) -> bool:
    """Whether a file that calls its bands red, green, blue and alpha may be NAIP's red, green, blue, near
    infrared.

    GDAL's writers label the fourth of four 8-bit bands alpha unless told otherwise, so aerial photography
    comes with its near infrared called alpha. It is only taken for that when `nir` is among the bands wanted.

    >>> colours = ("red", "green", "blue", "alpha")
    >>> file = [StoredBand(number=i, dtype="uint8", colour=c) for i, c in enumerate(colours, start=1)]
    >>> offers_near_infrared(file, ["nir", "red"]), offers_near_infrared(file, ["red"])
    (True, False)
    """
    return (
        "nir" in {key.lower() for key in wanted}
        and len(stored) == 4
        and all(band.dtype == "uint8" for band in stored)
        and tuple(band.colour for band in stored[:3]) == COLOURS
        and stored[3].colour in ("alpha", "undefined")
        and not stored[3].description
    )


def _as_told(stored: Sequence[StoredBand], bands: BandsSpec, where: str) -> list[NamedBand]:
    known: Sensor | None = None
    if isinstance(bands, str):
        head, colon, tail = bands.partition(":")
        lone_role = not colon and bands.strip().lower() in _ROLES
        if colon or ("=" not in bands and "," not in bands and not lone_role):
            known = sensor(head)
            bands = tail
        if "=" in bands:
            bands = parse_band_numbers(bands)
        elif bands:
            bands = [name.strip() for name in bands.split(",")]
    if isinstance(bands, Mapping):
        return [_numbered(stored, number, _band_called(known, key), where) for key, number in bands.items()]
    if known is not None and not bands:
        return _in_sensor_order(stored, known, where)
    named = [_band_called(known, band) for band in bands]
    return _in_order(stored, named, where, f"{len(named)} bands were named")


def _band_called(known: Sensor | None, band: Band | str) -> Band:
    if isinstance(band, Band):
        return band
    return known.band(band) if known else Band(name=band.lower(), role=band.lower())


def _numbered(stored: Sequence[StoredBand], number: int, band: Band, where: str) -> NamedBand:
    if not 1 <= number <= len(stored):
        raise BandMismatch(
            f"band {number} was named '{band.role}', but {where} has the bands 1 to {len(stored)}; "
            "give a number among them."
        )
    return NamedBand(number=number, band=band)


def _in_sensor_order(stored: Sequence[StoredBand], known: Sensor, where: str) -> list[NamedBand]:
    opaque = [band for band in stored if band.colour != "alpha"]
    own = _own_names([band.description for band in opaque], known)
    if own:
        return [NamedBand(number=band.number, band=named) for band, named in zip(opaque, own, strict=True)]
    layouts = [known.bands, *(tuple(known.band(name) for name in names) for names in known.layouts)]
    for candidates in (stored, opaque):
        for layout in layouts:
            if len(layout) == len(candidates):
                return [
                    NamedBand(number=band.number, band=named) for band, named in zip(candidates, layout, strict=True)
                ]
    names = ", ".join(band.name for band in known.bands)
    raise BandMismatch(
        f"{where} has {len(stored)} band{'s' if len(stored) != 1 else ''} and {known.name} has {len(known.bands)} "
        f"({names}); say which it holds, in file order, for example --bands {known.name}:"
        f"{','.join(band.name for band in known.bands[: max(len(stored), 1)])}."
    )


def _in_order(stored: Sequence[StoredBand], named: Sequence[Band], where: str, told: str) -> list[NamedBand]:
    opaque = [band for band in stored if band.colour != "alpha"]
    for candidates in (stored, opaque):
        if len(candidates) == len(named):
            return [NamedBand(number=s.number, band=b) for s, b in zip(candidates, named, strict=True)]
    example = ",".join(f"{band.role}={number}" for number, band in enumerate(named[: len(stored)], start=1))
    raise BandMismatch(
        f"{where} has {len(stored)} band{'s' if len(stored) != 1 else ''} and {told}; name each of them, "
        f"or give numbers, for example --bands {example}."
    )


def _as_described(stored: Sequence[StoredBand], product: Sensor | None) -> list[NamedBand]:
    """Take the file's own names, where every band has one and at least one of them is the field's."""
    opaque = [band for band in stored if band.colour != "alpha"]
    names = [band.description.strip() for band in opaque]
    if not opaque or not all(names) or len({name.lower() for name in names}) != len(names):
        return []
    known = _read_names(names, product)
    return (
        [NamedBand(number=band.number, band=named) for band, named in zip(opaque, known, strict=True)] if known else []
    )


def _read_names(names: Sequence[str], product: Sensor | None) -> list[Band]:
    own = _own_names(names, product) if product is not None else []
    if own:
        return own
    # Zero-padded names are Sentinel-2's alone (B4 would be red on one Landsat and near infrared on another). Which
    # processing baseline, and so which offset, they do not tell.
    if all(name.upper() in _SENTINEL_2_NAMES for name in names):
        return [without_scale(SENTINEL_2_L1C).band(name) for name in names]
    folded = [re.sub(r"[\s-]+", "_", name.lower()) for name in names]
    if not any(name in _ROLES for name in folded):
        return []
    return [Band(name=name, role=role if role in _ROLES else name) for name, role in zip(names, folded, strict=True)]


def _own_names(names: Sequence[str], known: Sensor) -> list[Band]:
    """The sensor's bands of these names (Landsat's files write SR_B4 for B4), or none where one is not its own."""
    own = {band.name.lower(): band for band in known.bands}
    keys = [re.sub(r"^s[rt]_", "", name.strip().lower()) for name in names]
    return [own[key] for key in keys] if all(key in own for key in keys) and len(set(keys)) == len(keys) else []


def _as_coloured(stored: Sequence[StoredBand]) -> list[NamedBand]:
    opaque = [band for band in stored if band.colour != "alpha"]
    coloured = all([band.colour for band in opaque].count(colour) == 1 for colour in COLOURS)
    names = [
        band.colour if coloured and band.colour in COLOURS else band.description.strip() or f"band{band.number}"
        for band in opaque
    ]
    return [
        NamedBand(number=band.number, band=Band(name=name, role=name)) for band, name in zip(opaque, names, strict=True)
    ]


def _settle_unit(band: Band, stored: StoredBand, unit: Unit | None, trusted: bool) -> Band:
    """Join what the sensor says of a band with how the file stores it; `unit` is what the user says, and wins."""
    nodata = stored.nodata
    if unit is not None and unit != Unit.DN:
        return replace(band.in_unit(unit), nodata=nodata)
    if trusted and unit is None:
        return replace(band, nodata=band.nodata if nodata is None else nodata)
    if stored.dtype == "uint8" and not stored.is_scaled and unit is None:
        return replace(band.in_unit(Unit.EIGHT_BIT), nodata=nodata)
    whole = np.dtype(stored.dtype).kind in "iu"
    tagged = UNIT_TAGS.get(stored.unit.strip().lower())
    if unit is None and not whole:
        if band.unit not in (Unit.DN, Unit.EIGHT_BIT):
            return replace(band, nodata=nodata)
        if tagged is not None and tagged != Unit.DN and not stored.is_scaled:
            return replace(band.in_unit(tagged), nodata=nodata)
    if nodata is None and whole:
        nodata = band.nodata
    if (whole or unit == Unit.DN) and band.unit == Unit.DN and band.physical_unit is not None:
        return replace(band, nodata=nodata)
    if whole and tagged is not None and not stored.is_scaled:
        return replace(band.in_unit(tagged), nodata=nodata)
    physical = (tagged or Unit.UNITLESS) if stored.is_scaled else None
    return replace(band, unit=Unit.DN, scale=stored.scale, offset=stored.offset, physical_unit=physical, nodata=nodata)
