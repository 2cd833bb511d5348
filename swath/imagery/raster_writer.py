"""Map layers as Cloud-Optimised GeoTIFFs: from an array, or from a scratch raster that was filled by windows.

Overviews are made here, tile by tile in the scratch, and handed to GDAL's COG driver ready-made: left to
itself the driver makes them through a compressed temporary file, which costs more time than all the rest.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from swath.errors import ConfigurationError, OutputFailed, ShapeError
from swath.geometry.windows import Window
from swath.imagery.atomic import AtomicOutput, output_errors
from swath.imagery.grid import PIXELS, Grid
from swath.imagery.lonlat import parse_crs
from swath.imagery.scratch import TILE, ScratchRaster, scratch_path

__all__ = ["Colour", "RasterLayout", "ScratchRaster", "finish_cog", "halve", "scratch_path", "write_raster"]

Overviews = Literal["nearest", "average", "mode"]
Compression = Literal["deflate", "zstd"]

CACHE_BYTES = 64 * 1024 * 1024
"""GDAL's block cache while a map is written. In bytes: rasterio hands the number on as it is."""

_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16",
    "uint32": "UInt32", "int32": "Int32", "float32": "Float32", "float64": "Float64",
}  # fmt: skip
_COLOUR_ROLES = {"red": "Red", "green": "Green", "blue": "Blue", "alpha": "Alpha"}


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour in which a class is drawn; each part 0 to 255, `alpha` 0 is invisible.

    >>> Colour(34, 139, 34).alpha
    255
    """

    red: int
    green: int
    blue: int
    alpha: int = 255


@dataclass(frozen=True, kw_only=True)
class RasterLayout:
    """What a raster file says besides its values.

    `names` has one entry a band; `units`, `scales` and `offsets` are empty or have as many. `classes` names
    the values 0, 1, ... of the first band, and `colours` says how to draw them (shown by viewers where the
    file has a single 8- or 16-bit band; kept in the tag `CLASS_COLOURS` in any case). `tags` are free text
    pairs. `nodata` marks pixels without a value in all bands.

    Raises `ConfigurationError` where the counts differ or `nodata` is no value of the type.

    >>> from swath.geometry.windows import Size
    >>> layout = RasterLayout(
    ...     grid=Grid(crs="EPSG:32633", transform=PIXELS, size=Size(4, 4)), dtype="uint8", names=("class",),
    ...     nodata=255, classes=("water", "forest"), colours={0: Colour(0, 0, 255)})
    >>> layout.all_tags()["CLASS_NAMES"]
    '["water", "forest"]'
    """

    grid: Grid
    dtype: str
    names: tuple[str, ...]
    nodata: float | None = None
    classes: tuple[str, ...] = ()
    colours: Mapping[int, Colour] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    units: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in _GDAL_TYPES:
            raise ConfigurationError(f"A map cannot hold '{self.dtype}' values; use one of {', '.join(_GDAL_TYPES)}.")
        for what, entries in (("units", self.units), ("scales", self.scales), ("offsets", self.offsets)):
            if entries and len(entries) != len(self.names):
                raise ConfigurationError(
                    f"A map of {len(self.names)} bands needs as many {what}, found {len(entries)}."
                )
        if self.nodata is not None and not _holds(self.dtype, self.nodata):
            raise ConfigurationError(f"{self.dtype} values cannot hold the nodata value {self.nodata}.")

    def all_tags(self) -> dict[str, str]:
        """Return `tags` together with the classes' names and colours as JSON, in a fixed order."""
        tags = dict(sorted(self.tags.items()))
        if self.classes:
            tags["CLASS_NAMES"] = json.dumps(self.classes, ensure_ascii=False)
        if self.colours:
            parts = {str(value): [c.red, c.green, c.blue, c.alpha] for value, c in sorted(self.colours.items())}
            tags["CLASS_COLOURS"] = json.dumps(parts)
        return tags


def write_raster(
    path: str | os.PathLike[str],
    values: NDArray[Any],
    layout: RasterLayout,
    *,
    overviews: Overviews = "nearest",
    compression: Compression = "deflate",
    overwrite: bool = False,
) -> Path:
    """Write an array (C, H, W) of the layout's type as a Cloud-Optimised GeoTIFF, and return its path.

    Raises `ShapeError` where the array does not fit the layout, and as `finish_cog` does.

    >>> import tempfile
    >>> from swath.geometry.windows import Size
    >>> grid = Grid(crs=None, transform=PIXELS, size=Size(2, 3))
    >>> layout = RasterLayout(grid=grid, dtype="uint8", names=("class",))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_raster(Path(folder, "map.tif"), np.ones((1, 2, 3), np.uint8), layout).name
    'map.tif'
    """
    size = layout.grid.size
    if values.shape != (len(layout.names), size.height, size.width):
        raise ShapeError(
            f"The map needs values of shape {(len(layout.names), size.height, size.width)}, found {values.shape}."
        )
    # Checked before the scratch is made, so that a refused name leaves no trace.
    AtomicOutput(path, overwrite=overwrite)
    scratch = ScratchRaster(scratch_path(path), size=size, bands=len(layout.names), dtype=layout.dtype)
    try:
        scratch.write(Window(0, 0, size.height, size.width), values)
        return finish_cog(scratch, path, layout, overviews=overviews, compression=compression, overwrite=overwrite)
    finally:
        scratch.remove()


def finish_cog(
    scratch: ScratchRaster,
    path: str | os.PathLike[str],
    layout: RasterLayout,
    *,
    overviews: Overviews = "nearest",
    compression: Compression = "deflate",
    level: int = 1,
    threads: int = 1,
    overwrite: bool = False,
) -> Path:
    """Turn a filled scratch raster into a Cloud-Optimised GeoTIFF, and return its path; the scratch is left.

    The result depends on the values and the layout alone: equal ones give equal bytes, whatever the number of
    threads. Memory stays below about 100 MB at any size. `overviews` says how 2 x 2 pixels become one:
    `"nearest"` (the top left) and `"mode"` (the commonest; the top left where there is none) suit classes,
    `"average"` (over pixels that are not `nodata`) continuous values. `level` is the compression's effort,
    from 1.

    Raises `ShapeError` where the scratch does not fit the layout, `GridMismatch` for a reference system that
    is none, `OutputExists`, and `OutputFailed` for a suffix other than .tif or .tiff, a full disk and the
    like.

    >>> import tempfile
    >>> from swath.geometry.windows import Size
    >>> from swath.imagery.grid import Affine
    >>> grid = Grid(crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 0), size=Size(600, 700))
    >>> layout = RasterLayout(grid=grid, dtype="uint8", names=("class",), nodata=255)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scratch = ScratchRaster(Path(folder, "scratch"), size=grid.size, bands=1, dtype="uint8")
    ...     scratch.write(Window(0, 0, 2, 700), np.ones((1, 2, 700), np.uint8))
    ...     with rasterio.open(finish_cog(scratch, Path(folder, "map.tif"), layout)) as opened:
    ...         opened.overviews(1), int(opened.read().sum())
    ([2], 1400)
    """
    if Path(path).suffix.lower() not in (".tif", ".tiff"):
        raise OutputFailed(f"Cannot write '{path}': a raster map is written as .tif; give it that suffix.")
    found = (scratch.size, scratch.bands, scratch.dtype.name)
    if found != (layout.grid.size, len(layout.names), layout.dtype):
        raise ShapeError(
            f"The layout says {layout.grid.size}, {len(layout.names)} bands of {layout.dtype}; the scratch "
            f"has {found[0]}, {found[1]} of {found[2]}."
        )
    source = _virtual_raster(scratch, layout)
    with AtomicOutput(path, overwrite=overwrite) as part:
        _build_overviews(scratch, overviews, layout.nodata)
        with output_errors(path, RasterioError, CPLE_BaseError, SystemError, probe=part):
            _copy_to_cog(source, part, compression=compression, level=level, threads=threads)
            _check_complete(part, scratch)
    return Path(path)


def _copy_to_cog(source: str, part: Path, *, compression: Compression, level: int, threads: int) -> None:
    # GDAL_PAM_ENABLED: what a TIFF cannot hold would otherwise be written to a second file beside it.
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_PAM_ENABLED="NO"), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.shutil.copy(
            source,
            os.fspath(part),
            driver="COG",
            BLOCKSIZE=str(TILE),
            COMPRESS=compression.upper(),
            LEVEL=str(level),
            PREDICTOR="YES",
            OVERVIEWS="FORCE_USE_EXISTING",
            BIGTIFF="IF_SAFER",
            NUM_THREADS=str(threads),
        )


def _check_complete(part: Path, scratch: ScratchRaster) -> None:
    """Raise `OutputFailed` unless the last tile of the full resolution, written last, is there and equal."""
    rows, columns = ((side - 1) // TILE * TILE for side in (scratch.size.height, scratch.size.width))
    last = Window(rows, columns, scratch.size.height - rows, scratch.size.width - columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(part, driver="GTiff") as written:
            found = written.read(window=tuple((piece.start, piece.stop) for piece in last.slices))
    if not np.array_equal(found, scratch.read(last), equal_nan=scratch.dtype.kind == "f"):
        raise OutputFailed(f"Cannot write '{part}': the disk did not take all of the map.")


def _build_overviews(scratch: ScratchRaster, method: Overviews, nodata: float | None) -> None:
    """Fill every level of the scratch from the one above it, a tile at a time."""
    sizes = scratch.level_sizes
    for level in range(1, len(sizes)):
        size, finer = sizes[level], sizes[level - 1]
        for row in range(0, size.height, TILE):
            for column in range(0, size.width, TILE):
                tile = Window(row, column, TILE, TILE).clipped(size)
                above = tile.scaled(2).clipped(finer)
                values = scratch.read(above, level=level - 1)
                scratch.write(tile, halve(values, method, nodata), level=level)


def halve(values: NDArray[Any], method: Overviews, nodata: float | None = None) -> NDArray[Any]:
    """Make one pixel of each 2 x 2 of an array (C, H, W); an odd last row or column counts twice.

    >>> halve(np.array([[[1, 2, 9], [3, 3, 9]]], np.uint8), "mode").tolist()
    [[[3, 9]]]
    """
    if method == "nearest":
        return values[:, ::2, ::2]
    height, width = values.shape[1:]
    even = np.pad(values, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    quarters = (even[:, ::2, ::2], even[:, ::2, 1::2], even[:, 1::2, ::2], even[:, 1::2, 1::2])
    return _commonest(*quarters) if method == "mode" else _mean(quarters, nodata)


def _commonest(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], d: NDArray[Any]) -> NDArray[Any]:
    pair_without_a = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.where((a == b) | (a == c) | (a == d), a, pair_without_a)


def _mean(quarters: tuple[NDArray[Any], ...], nodata: float | None) -> NDArray[Any]:
    dtype = quarters[0].dtype
    total = np.zeros(quarters[0].shape, np.float64)
    count = np.zeros(quarters[0].shape, np.uint8)
    for quarter in quarters:
        valid = _valid(quarter, nodata)
        total += np.where(valid, quarter, 0)
        count += valid
    with np.errstate(invalid="ignore"):
        mean = total / count
    if dtype.kind != "f":
        mean = np.rint(mean)
    empty = np.nan if nodata is None else nodata
    return np.where(count > 0, mean, empty).astype(dtype)


def _valid(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    valid = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    return valid if nodata is None or np.isnan(nodata) else valid & (values != nodata)


def _virtual_raster(scratch: ScratchRaster, layout: RasterLayout) -> str:
    """Describe the scratch as GDAL's XML, which adds place, names, colours and tags to its bytes."""
    size = scratch.size
    root = ElementTree.Element("VRTDataset", rasterXSize=str(size.width), rasterYSize=str(size.height))
    if layout.grid.crs is not None:
        _add(root, "SRS", str(parse_crs(layout.grid.crs).to_wkt()), dataAxisToSRSAxisMapping="1,2")
    if layout.grid.transform != PIXELS:
        _add(root, "GeoTransform", ", ".join(repr(float(v)) for v in layout.grid.transform.as_gdal_order()))
    metadata = _add(root, "Metadata")
    for key, text in layout.all_tags().items():
        _add(metadata, "MDI", text, key=key)
    for band in range(scratch.bands):
        _add_band(root, scratch, layout, band)
    return ElementTree.tostring(root, encoding="unicode")


def _add_band(root: ElementTree.Element, scratch: ScratchRaster, layout: RasterLayout, band: int) -> None:
    node = _add(root, "VRTRasterBand", dataType=_GDAL_TYPES[layout.dtype], band=str(band + 1))
    node.set("blockXSize", str(TILE))
    node.set("blockYSize", str(TILE))
    _add(node, "Description", layout.names[band])
    if layout.units and layout.units[band]:
        _add(node, "UnitType", layout.units[band])
    if layout.scales:
        _add(node, "Scale", repr(float(layout.scales[band])))
    if layout.offsets:
        _add(node, "Offset", repr(float(layout.offsets[band])))
    if layout.nodata is not None:
        _add(node, "NoDataValue", repr(float(layout.nodata)))
    if layout.colours and scratch.bands == 1 and layout.dtype in ("uint8", "uint16"):
        _add(node, "ColorInterp", "Palette")
        _add_colours(node, layout.colours)
    else:
        _add(node, "ColorInterp", _COLOUR_ROLES.get(layout.names[band], "Undefined" if band else "Gray"))
    place = str(scratch.path.absolute())
    _add_source(_add(node, "SimpleSource"), place, band)
    for level in range(1, len(scratch.level_sizes)):
        _add_source(_add(node, "Overview"), f"GTIFF_DIR:{level + 1}:{place}", band)


def _add_source(node: ElementTree.Element, place: str, band: int) -> None:
    _add(node, "SourceFilename", place, relativeToVRT="0")
    _add(node, "SourceBand", str(band + 1))


def _add_colours(node: ElementTree.Element, colours: Mapping[int, Colour]) -> None:
    table = _add(node, "ColorTable")
    for value in range(max(colours) + 1):
        colour = colours.get(value, Colour(0, 0, 0, 0))
        parts = (colour.red, colour.green, colour.blue, colour.alpha)
        _add(table, "Entry", **{f"c{number}": str(part) for number, part in enumerate(parts, start=1)})


def _add(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> ElementTree.Element:
    node = ElementTree.SubElement(parent, name, attributes)
    node.text = text
    return node


def _holds(dtype: str, value: float) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    limits = np.iinfo(kind)
    return float(value).is_integer() and limits.min <= value <= limits.max
