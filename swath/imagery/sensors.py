"""Sensors and product levels with their bands: wavelengths, ground-sample distances, scales, offsets, missing
values.

The tables are those of the agencies' own handbooks (each sensor's `source` names it). Roles are the join
between sensors: `red`, `nir`, `swir_1` (near 1600 nm) and `swir_2` (near 2200 nm) mean the same wherever they
occur; a short-wave band outside those two windows is named after its wavelength (`swir_1240`).

>>> sensor("NAIP").band("nir").name
'nir'
>>> sentinel_2("L2A", baseline="04.00").band("B04").offset
-0.1
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from swath.errors import BandMismatch, ConfigurationError, ImageryNotFound
from swath.imagery.bands import Band, Sensor, Unit

C_BAND_NM = 55_465_763.0  # wavelength of Sentinel-1's 5.405 GHz carrier


def _edges(name: str, role: str, low: float, high: float, gsd: float) -> Band:
    """A band given by its half-power edges in nm, as USGS, NASA and Maxar print them."""
    return Band(name=name, role=role, wavelength=(low + high) / 2, bandwidth=high - low, gsd=gsd)


def _as_reflectance(band: Band, scale: float, offset: float, nodata: float) -> Band:
    return replace(band, scale=scale, offset=offset, physical_unit=Unit.REFLECTANCE, nodata=nodata)


def without_scale(known: Sensor) -> Sensor:
    """Return the sensor with bands whose DN stand for nothing known, because the product's version is not.

    >>> without_scale(SENTINEL_2_L2A).band("red").physical_unit is None
    True
    """
    bands = tuple(replace(band, scale=1.0, offset=0.0, physical_unit=None) for band in known.bands)
    return replace(known, bands=bands)


# --- Sentinel-1 ------------------------------------------------------------


def _sentinel_1(name: str, title: str, unit: Unit) -> Sensor:
    polarisations = tuple(
        Band(
            name=polarisation,
            role=polarisation.lower(),
            wavelength=C_BAND_NM,
            gsd=10.0,
            unit=unit,
            physical_unit=unit,
        )
        for polarisation in ("VV", "VH", "HH", "HV")
    )
    return Sensor(
        name=name,
        title=title,
        bands=polarisations,
        layouts=(("VV", "VH"), ("VV",)),
        source="ESA, Sentinel-1 Product Specification (S1-RS-MDA-52-7441), C-SAR centre frequency 5.405 GHz, "
        "IW GRD pixel spacing 10 m",
    )


SENTINEL_1 = _sentinel_1("sentinel-1", "Sentinel-1 C-SAR backscatter, linear power", Unit.LINEAR_POWER)
SENTINEL_1_DECIBEL = _sentinel_1("sentinel-1-db", "Sentinel-1 C-SAR backscatter, decibel", Unit.DECIBEL)

# --- Sentinel-2 ------------------------------------------------------------

_SENTINEL_2_BANDS = tuple(
    Band(name=name, role=role, wavelength=wavelength, bandwidth=bandwidth, gsd=gsd)
    for name, role, wavelength, bandwidth, gsd in (
        ("B01", "coastal", 442.7, 21.0, 60.0),
        ("B02", "blue", 492.4, 66.0, 10.0),
        ("B03", "green", 559.8, 36.0, 10.0),
        ("B04", "red", 664.6, 31.0, 10.0),
        ("B05", "red_edge_1", 704.1, 15.0, 20.0),
        ("B06", "red_edge_2", 740.5, 15.0, 20.0),
        ("B07", "red_edge_3", 782.8, 20.0, 20.0),
        ("B08", "nir", 832.8, 106.0, 10.0),
        ("B8A", "nir_narrow", 864.7, 21.0, 20.0),
        ("B09", "water_vapour", 945.1, 20.0, 60.0),
        ("B10", "cirrus", 1373.5, 31.0, 60.0),
        ("B11", "swir_1", 1613.7, 91.0, 20.0),
        ("B12", "swir_2", 2202.4, 175.0, 20.0),
    )
)
_QUANTIFICATION = 10_000
_OFFSET_BASELINE = (4, 0)


def sentinel_2(level: str, baseline: str = "02.00") -> Sensor:
    """Return Sentinel-2 at level `"L1C"` (13 bands) or `"L2A"` (12, no B10), of a processing baseline.

    From baseline 04.00 on (25 January 2022, and all of Collection 1), reflectance is (DN - 1000) / 10000,
    before DN / 10000; DN 0 is "no data" in both. `baseline` is written `"04.00"` or `"0400"`, as in a
    product's name. Raises `ConfigurationError` for another level or a baseline that is not a number.

    >>> [len(sentinel_2(level).bands) for level in ("L1C", "L2A")]
    [13, 12]
    """
    level = level.upper()
    digits = re.fullmatch(r"N?(\d\d)\.?(\d\d)", baseline)
    if level not in ("L1C", "L2A") or digits is None:
        raise ConfigurationError(
            f"Sentinel-2 comes at level L1C or L2A and baselines such as 04.00; found level '{level}' "
            f"and baseline '{baseline}'."
        )
    shifted = (int(digits[1]), int(digits[2])) >= _OFFSET_BASELINE
    offset = -1000 / _QUANTIFICATION if shifted else 0.0
    kept = [band for band in _SENTINEL_2_BANDS if level == "L1C" or band.name != "B10"]
    kind = "top-of-atmosphere" if level == "L1C" else "surface"
    return Sensor(
        name=f"sentinel-2-{level.lower()}" + ("-04.00" if shifted else ""),
        title=f"Sentinel-2 MSI {level}, {kind} reflectance, baseline "
        + ("04.00 and later" if shifted else "before 04.00"),
        bands=tuple(_as_reflectance(band, 1 / _QUANTIFICATION, offset, 0.0) for band in kept),
        nodata=0.0,
        source="ESA, Sentinel-2 User Handbook and MSI Technical Guide, 'Radiometric resolutions' (Sentinel-2A centre "
        "wavelengths and bandwidths); Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), "
        "'RADIO_ADD_OFFSET' and 'BOA_ADD_OFFSET'",
    )


SENTINEL_2_L1C = sentinel_2("L1C")
SENTINEL_2_L2A = sentinel_2("L2A")
SENTINEL_2_L1C_BASELINE_4 = sentinel_2("L1C", baseline="04.00")
SENTINEL_2_L2A_BASELINE_4 = sentinel_2("L2A", baseline="04.00")

# --- Landsat ---------------------------------------------------------------

_TM = (
    _edges("B1", "blue", 450, 520, 30.0),
    _edges("B2", "green", 520, 600, 30.0),
    _edges("B3", "red", 630, 690, 30.0),
    _edges("B4", "nir", 760, 900, 30.0),
    _edges("B5", "swir_1", 1550, 1750, 30.0),
    _edges("B6", "thermal_1", 10_400, 12_500, 120.0),
    _edges("B7", "swir_2", 2080, 2350, 30.0),
)
_ETM = (
    _edges("B1", "blue", 450, 520, 30.0),
    _edges("B2", "green", 520, 600, 30.0),
    _edges("B3", "red", 630, 690, 30.0),
    _edges("B4", "nir", 770, 900, 30.0),
    _edges("B5", "swir_1", 1550, 1750, 30.0),
    _edges("B6", "thermal_1", 10_400, 12_500, 60.0),
    _edges("B7", "swir_2", 2090, 2350, 30.0),
    _edges("B8", "pan", 520, 900, 15.0),
)
_OLI_TIRS = (
    _edges("B1", "coastal", 430, 450, 30.0),
    _edges("B2", "blue", 450, 510, 30.0),
    _edges("B3", "green", 530, 590, 30.0),
    _edges("B4", "red", 640, 670, 30.0),
    _edges("B5", "nir", 850, 880, 30.0),
    _edges("B6", "swir_1", 1570, 1650, 30.0),
    _edges("B7", "swir_2", 2110, 2290, 30.0),
    _edges("B8", "pan", 500, 680, 15.0),
    _edges("B9", "cirrus", 1360, 1380, 30.0),
    _edges("B10", "thermal_1", 10_600, 11_190, 100.0),
    _edges("B11", "thermal_2", 11_500, 12_510, 100.0),
)
_LANDSAT_BANDS: Mapping[int, tuple[Band, ...]] = {5: _TM, 7: _ETM, 8: _OLI_TIRS, 9: _OLI_TIRS}
_LANDSAT_TITLES = {
    5: "Landsat 5 TM",
    7: "Landsat 7 ETM+",
    8: "Landsat 8 OLI/TIRS",
    9: "Landsat 9 OLI-2/TIRS-2",
}
_NOT_IN_LEVEL_2 = ("pan", "cirrus", "thermal_2")
_SURFACE_REFLECTANCE = (2.75e-5, -0.2)
_SURFACE_TEMPERATURE = (0.00341802, 149.0)
_BAND_TABLE = "USGS, 'What are the band designations for the Landsat satellites?'"


def _landsat_level_2(number: int) -> Sensor:
    """Collection 2 Level 2: surface reflectance and surface temperature, 30 m, DN 0 is fill."""
    bands = []
    for band in _LANDSAT_BANDS[number]:
        if band.role in _NOT_IN_LEVEL_2:
            continue
        thermal = band.role == "thermal_1"
        scale, offset = _SURFACE_TEMPERATURE if thermal else _SURFACE_REFLECTANCE
        physical = Unit.KELVIN if thermal else Unit.REFLECTANCE
        bands.append(replace(band, scale=scale, offset=offset, physical_unit=physical, nodata=0.0))
    return Sensor(
        name=f"landsat-{number}",
        title=f"{_LANDSAT_TITLES[number]}, Collection 2 Level 2",
        bands=tuple(bands),
        nodata=0.0,
        source=f"{_BAND_TABLE}; USGS, Landsat {'8-9' if number > 7 else '4-7'} Collection 2 Level 2 Science Product "
        f"Guide (LSDS-{'1619' if number > 7 else '1618'}), 'Scale factors'",
    )


LANDSAT_5 = _landsat_level_2(5)
LANDSAT_7 = _landsat_level_2(7)
LANDSAT_8 = _landsat_level_2(8)
LANDSAT_9 = _landsat_level_2(9)


def landsat_level_1(number: int, metadata: Mapping[str, str]) -> Sensor:
    """Return Landsat `number` (5, 7, 8, 9) at Collection 2 Level 1, scaled by a scene's own MTL metadata.

    `metadata` maps the keys of the `_MTL.txt` file to their text. Reflective bands become top-of-atmosphere
    reflectance, corrected for the sun's height: (REFLECTANCE_MULT_BAND_n DN + REFLECTANCE_ADD_BAND_n) /
    sin(SUN_ELEVATION); thermal bands become radiance (RADIANCE_MULT_BAND_n DN + RADIANCE_ADD_BAND_n). Bands
    that the metadata lacks are left unscaled. Raises `ConfigurationError` for another Landsat or a sun below
    the horizon. Source: USGS, Landsat 8-9 Calibration and Validation Algorithm Description Document
    (LSDS-1747), section 5.

    >>> mtl = {"SUN_ELEVATION": "30.0", "REFLECTANCE_MULT_BAND_4": "2.0E-05", "REFLECTANCE_ADD_BAND_4": "-0.1"}
    >>> round(landsat_level_1(8, mtl).band("red").scale, 9)
    4e-05
    """
    if number not in _LANDSAT_BANDS:
        raise ConfigurationError(f"Landsat {number} is not among those known: {', '.join(map(str, _LANDSAT_BANDS))}.")
    sun = math.sin(math.radians(float(metadata.get("SUN_ELEVATION", "nan"))))
    if sun <= 0:
        raise ConfigurationError(
            f"the scene's SUN_ELEVATION is {metadata['SUN_ELEVATION']} degrees, so it was taken at night and has "
            "no reflectance."
        )
    bands = []
    for band in _LANDSAT_BANDS[number]:
        thermal = band.role.startswith("thermal")
        kind, divisor, unit = ("RADIANCE", 1.0, Unit.RADIANCE) if thermal else ("REFLECTANCE", sun, Unit.REFLECTANCE)
        scale = float(metadata.get(f"{kind}_MULT_BAND_{band.name[1:]}", "nan")) / divisor
        offset = float(metadata.get(f"{kind}_ADD_BAND_{band.name[1:]}", "nan")) / divisor
        known = math.isfinite(scale) and math.isfinite(offset)
        scaling = {"scale": scale, "offset": offset, "physical_unit": unit} if known else {}
        bands.append(replace(band, nodata=0.0, **scaling))  # type: ignore[arg-type]
    return Sensor(
        name=f"landsat-{number}-l1",
        title=f"{_LANDSAT_TITLES[number]}, Collection 2 Level 1",
        bands=tuple(bands),
        nodata=0.0,
        source=f"{_BAND_TABLE}; the scene's own MTL file",
    )


# --- MODIS, aerial photography, very high resolution -----------------------

MODIS = Sensor(
    name="modis",
    title="MODIS land bands, MOD09/MYD09 surface reflectance",
    bands=tuple(
        _as_reflectance(band, 1e-4, 0.0, -28672.0)
        for band in (
            _edges("B01", "red", 620, 670, 250.0),
            _edges("B02", "nir", 841, 876, 250.0),
            _edges("B03", "blue", 459, 479, 500.0),
            _edges("B04", "green", 545, 565, 500.0),
            _edges("B05", "swir_1240", 1230, 1250, 500.0),
            _edges("B06", "swir_1", 1628, 1652, 500.0),
            _edges("B07", "swir_2", 2105, 2155, 500.0),
        )
    ),
    nodata=-28672.0,
    layouts=(("B01", "B02"),),
    source="NASA, MODIS Surface Reflectance User's Guide (Collection 6.1), tables of science data sets for MOD09GQ "
    "and MOD09GA",
)

NAIP = Sensor(
    name="naip",
    title="USDA NAIP aerial photography, 8 bit",
    bands=tuple(
        replace(_edges(role, role, low, high, 0.6), unit=Unit.EIGHT_BIT, physical_unit=Unit.EIGHT_BIT)
        for role, low, high in (("red", 608, 662), ("green", 533, 587), ("blue", 428, 492), ("nir", 833, 887))
    ),
    layouts=(("red", "green", "blue"),),
    source="USDA FPAC-BC, National Agriculture Imagery Program information sheet; wavelengths are those of the Leica "
    "ADS80 camera (SH82), which most but not all contractors flew",
)

RGB = Sensor(
    name="rgb",
    title="Plain red, green and blue, 8 bit",
    bands=tuple(
        Band(name=role, role=role, unit=Unit.EIGHT_BIT, physical_unit=Unit.EIGHT_BIT)
        for role in ("red", "green", "blue")
    ),
    source="sRGB photographs and rendered previews; no spectral definition",
)


def _worldview(gsd: float) -> tuple[Band, ...]:
    return (
        _edges("C", "coastal", 400, 450, gsd),
        _edges("B", "blue", 450, 510, gsd),
        _edges("G", "green", 510, 580, gsd),
        _edges("Y", "yellow", 585, 625, gsd),
        _edges("R", "red", 630, 690, gsd),
        _edges("RE", "red_edge_1", 705, 745, gsd),
        _edges("N", "nir", 770, 895, gsd),
        _edges("N2", "nir_2", 860, 1040, gsd),
    )


_MULTISPECTRAL = tuple(band.name for band in _worldview(1.0))

WORLDVIEW_2 = Sensor(
    name="worldview-2",
    title="WorldView-2, 8 multispectral bands and panchromatic",
    bands=(*_worldview(1.84), _edges("P", "pan", 450, 800, 0.46)),
    nodata=0.0,
    layouts=(_MULTISPECTRAL, ("P",)),
    source="DigitalGlobe (Maxar), WorldView-2 data sheet, 'Spectral bands' and 'Sensor resolution' (GSD at nadir)",
)

WORLDVIEW_3 = Sensor(
    name="worldview-3",
    title="WorldView-3, 8 multispectral and 8 short-wave bands and panchromatic",
    bands=(
        *_worldview(1.24),
        _edges("S1", "swir_1210", 1195, 1225, 3.7),
        _edges("S2", "swir_1570", 1550, 1590, 3.7),
        _edges("S3", "swir_1", 1640, 1680, 3.7),
        _edges("S4", "swir_1730", 1710, 1750, 3.7),
        _edges("S5", "swir_2165", 2145, 2185, 3.7),
        _edges("S6", "swir_2", 2185, 2225, 3.7),
        _edges("S7", "swir_2260", 2235, 2285, 3.7),
        _edges("S8", "swir_2330", 2295, 2365, 3.7),
        _edges("P", "pan", 450, 800, 0.31),
    ),
    nodata=0.0,
    layouts=(_MULTISPECTRAL, ("P",)),
    source="DigitalGlobe (Maxar), WorldView-3 data sheet, 'Spectral bands' and 'Sensor resolution' (GSD at nadir)",
)

_SENSORS = (
    SENTINEL_1,
    SENTINEL_1_DECIBEL,
    SENTINEL_2_L1C,
    SENTINEL_2_L1C_BASELINE_4,
    SENTINEL_2_L2A,
    SENTINEL_2_L2A_BASELINE_4,
    LANDSAT_5,
    LANDSAT_7,
    LANDSAT_8,
    LANDSAT_9,
    MODIS,
    NAIP,
    WORLDVIEW_2,
    WORLDVIEW_3,
    RGB,
)


def sensors() -> tuple[Sensor, ...]:
    """Return every sensor that is known by name.

    >>> "landsat-8" in [known.name for known in sensors()]
    True
    """
    return _SENSORS


def sensor(name: str) -> Sensor:
    """Return the sensor of this name, ignoring case, or the one that a `.toml` file of this path describes.

    Raises `BandMismatch` naming the nearest that there are.

    >>> sensor("Sentinel_2 L2A").name
    'sentinel-2-l2a'
    """
    if name.lower().endswith(".toml"):
        return sensor_from_toml(name)
    wanted = re.sub(r"[\s_]+", "-", name.strip().lower())
    by_name = {known.name: known for known in _SENSORS}
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(by_name)}."
    raise BandMismatch(f"no sensor is called '{name}'; {hint}")


_BAND_KEYS = (
    "name",
    "role",
    "wavelength",
    "bandwidth",
    "gsd",
    "unit",
    "scale",
    "offset",
    "physical_unit",
    "nodata",
)


def sensor_from_toml(path: str | Path) -> Sensor:
    """Read a sensor of your own from a TOML file.

    The file has `name`, optionally `title`, `nodata` and `source`, and one `[[bands]]` table a band with
    `name`, `role` (the name where it is left out) and any further field of `Band`. Raises `ImageryNotFound`
    for a missing file and `ConfigurationError` for one that does not say this.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "camera.toml"
    >>> _ = file.write_text('name = "camera"\\n[[bands]]\\nname = "1"\\nrole = "red"\\nwavelength = 668\\n')
    >>> sensor_from_toml(file).band("red").wavelength
    668.0
    """
    path = Path(path)
    if not path.is_file():
        raise ImageryNotFound(f"the sensor file '{path}' is not there.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the sensor file '{path}' is not TOML: {error}.") from error
    tables = content.get("bands")
    if not isinstance(content.get("name"), str) or not isinstance(tables, list) or not tables:
        raise ConfigurationError(f"the sensor file '{path}' needs a 'name' and at least one [[bands]] table.")
    nodata = content.get("nodata")
    return Sensor(
        name=content["name"],
        title=str(content.get("title", content["name"])),
        bands=tuple(_band_from_table(table, nodata, path) for table in tables),
        nodata=nodata,
        source=str(content.get("source", path.name)),
    )


def _band_from_table(table: Mapping[str, Any], nodata: float | None, path: Path) -> Band:
    unknown = sorted(set(table) - set(_BAND_KEYS))
    if unknown or "name" not in table:
        problem = f"has the unknown key {unknown[0]}" if unknown else "lacks its 'name'"
        raise ConfigurationError(f"a band of '{path}' {problem}; a band may have: {', '.join(_BAND_KEYS)}.")
    fields: dict[str, Any] = {"role": table["name"], "nodata": nodata, **table}
    try:
        for key in ("unit", "physical_unit"):
            if key in fields:
                fields[key] = Unit(fields[key])
        for key in ("wavelength", "bandwidth", "gsd", "scale", "offset", "nodata"):
            if fields.get(key) is not None:
                fields[key] = float(fields[key])
    except ValueError as error:
        raise ConfigurationError(f"the band '{table['name']}' of '{path}' has a bad value: {error}.") from error
    return Band(**fields)
