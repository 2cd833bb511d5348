"""What the names of the agencies' files tell: product, band, acquisition date; and the folders they come in.

Sentinel-2 SAFE folders (`S2A_MSIL2A_20220830T103629_N0400_R008_T33VUE_20220830T112540.SAFE`) hold one JPEG
2000 file a band; Landsat Collection 2 scenes (`LC08_L2SP_193029_20200801_20200908_02_T1_SR_B4.TIF`) one
GeoTIFF a band.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from swath.errors import ImageryUnreadable
from swath.imagery.bands import Band, Sensor
from swath.imagery.sensors import (
    LANDSAT_5,
    LANDSAT_7,
    LANDSAT_8,
    LANDSAT_9,
    landsat_level_1,
    sentinel_2,
    without_scale,
)

_SENTINEL_2 = re.compile(r"S2[A-D]_MSI(L1C|L2A)_(\d{8}T\d{6})_N(\d{4})_R\d{3}_T\w{5}_\d{8}T\d{6}")
_SENTINEL_2_BAND = re.compile(r"T\w{5}_(\d{8}T\d{6})_(B\d\d|B8A)(?:_(\d\d)m)?\.(?:jp2|tiff?)$", re.IGNORECASE)
_LANDSAT = re.compile(r"L[CETO](0[5789])_L([12])[A-Z]{2}_\d{6}_(\d{8})_\d{8}_02_(?:T1|T2|RT)")
_LANDSAT_BAND = re.compile(_LANDSAT.pattern + r"_(?:(SR|ST)_)?(B\d{1,2})\.TIFF?$", re.IGNORECASE)
_PLAIN_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_]?)([01]\d)\2([0-3]\d)(?!\d)")
_LANDSAT_LEVEL_2 = {5: LANDSAT_5, 7: LANDSAT_7, 8: LANDSAT_8, 9: LANDSAT_9}


@dataclass(frozen=True, kw_only=True)
class BandFile:
    """A file of one band as its name describes it; `resolution` is in metres where the name says it."""

    product: Sensor
    band: Band
    resolution: float | None = None


def product_of(path: str) -> Sensor | None:
    """Return the product that a path names (in its file or a folder above), or None.

    >>> product_of("S2B_MSIL2A_20220830T103629_N0400_R008_T33VUE_20220830T112540.SAFE/GRANULE").band("B04").offset
    -0.1
    """
    found = _SENTINEL_2.search(path)
    if found:
        return sentinel_2(found[1], baseline=found[3])
    found = _LANDSAT.search(path)
    if found is None:
        return None
    number = int(found[1])
    return _LANDSAT_LEVEL_2[number] if found[2] == "2" else _level_1(number, path)


def _level_1(number: int, path: str) -> Sensor:
    """Scale by the scene's MTL file where it lies beside the bands; without it the bands stay unscaled."""
    folder = Path(path).parent if _LANDSAT_BAND.search(path) else Path(path)
    scene = _LANDSAT.search(path)
    metadata = folder / f"{scene[0] if scene else ''}_MTL.txt"
    text = metadata.read_text(errors="replace") if metadata.is_file() else ""
    return landsat_level_1(number, dict(re.findall(r'^\s*(\w+)\s*=\s*"?([^"\n]*?)"?\s*$', text, re.MULTILINE)))


def band_file(path: str) -> BandFile | None:
    """Return what the name of a single-band file of Sentinel-2 or Landsat says of it, or None for other
    names.

    Where the path does not name the Sentinel-2 product, its processing baseline is unknown, and so is its
    scale.

    >>> band_file("LC08_L2SP_193029_20200801_20200908_02_T1_SR_B4.TIF").band.role
    'red'
    """
    product = product_of(path)
    found = _SENTINEL_2_BAND.search(path)
    if found:
        product = product or without_scale(sentinel_2("L1C"))
        resolution = float(found[3]) if found[3] else None
        return BandFile(product=product, band=product.band(found[2].upper()), resolution=resolution)
    found = _LANDSAT_BAND.search(path)
    if found is None or product is None:
        return None
    return BandFile(product=product, band=product.band(found[5].upper()))


def acquired_from_name(path: str) -> datetime | None:
    """Return the date (UTC) in a product's or file's name: Sentinel-2, Landsat, else a plain `2018-01-06` or
    `20180106`.

    >>> acquired_from_name("m_4709963_se_14_1_20090818.tif").isoformat()
    '2009-08-18T00:00:00+00:00'
    """
    for pattern, group in ((_SENTINEL_2, 2), (_SENTINEL_2_BAND, 1), (_LANDSAT, 3)):
        found = pattern.search(path)
        if found:
            return parse_date(found[group])
    plain = _PLAIN_DATE.search(re.split(r"[/\\]", path.rstrip("/\\"))[-1])
    return parse_date("".join(plain.group(1, 3, 4))) if plain else None


def parse_date(text: str) -> datetime | None:
    """Read a date or time as products and TIFF tags write them, as UTC; None where it is none.

    >>> parse_date("2016:05:02 10:11:12").isoformat()
    '2016-05-02T10:11:12+00:00'
    """
    digits = re.fullmatch(r"(\d{4})\D?(\d\d)\D?(\d\d)(?:\D?(\d\d)\D?(\d\d)\D?(\d\d))?(?:\.\d+)?Z?", text.strip())
    if digits is None:
        return None
    try:
        year, month, day, hour, minute, second = (int(part) for part in digits.groups(default="0"))
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def folder_files(folder: Path) -> list[Path]:
    """Return the band files of a Sentinel-2 or Landsat folder in the product's order, each at its finest
    resolution.

    Raises `ImageryUnreadable` for a folder that is neither.
    """
    finest: dict[str, tuple[float, int, Path]] = {}
    for path in sorted(folder.rglob("*")):
        described = band_file(path.as_posix())
        if described is None or "QI_DATA" in path.parts:
            continue
        name = described.band.name
        entry = (described.resolution or 0.0, described.product.bands.index(described.band), path)
        finest[name] = min(finest.get(name, entry), entry)
    if not finest:
        raise ImageryUnreadable(
            f"the folder '{folder}' holds no band files with Sentinel-2 names (*_B04.jp2, *_B04_10m.jp2) or Landsat "
            "Collection 2 names (*_SR_B4.TIF); name the image files themselves."
        )
    return [path for _, _, path in sorted(finest.values(), key=lambda entry: entry[1])]
