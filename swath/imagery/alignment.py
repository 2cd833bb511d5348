"""Bringing rasters onto one grid: by a shift of whole pixels where that is exact, else by warping as they are
read.

Warping goes through GDAL's virtual warped files, whose fixed inner blocks make a pixel's value independent of
the window that asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from affine import Affine as RasterioAffine
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform

from swath.errors import GridMismatch
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Unit
from swath.imagery.grid import Grid
from swath.imagery.lonlat import bounding_box, footprint, parse_crs
from swath.imagery.pixels import Pixels
from swath.imagery.sources_array import ArraySource
from swath.imagery.sources_base import BandedSource, Source, output_grid
from swath.imagery.sources_file import FileSource, Handles, gdal_address
from swath.imagery.sources_stack import StackSource

LON_LAT = "EPSG:4326"
SAME_PLACE = 0.01  # pixels; grids whose corners differ by less are one grid
LATTICE = 33  # points a side of the lattice that looks for common ground
EARTH_RADIUS = 6_371_008.8  # metres, mean
_OPAQUE = 100  # alpha of a fully covered pixel, which every data type can hold
_GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
    "complex64": "CFloat32",
    "complex128": "CFloat64",
}


def align(source: Source, grid: Grid, *, reference: str = "the first image") -> Source:
    """Return the source on another grid: itself, shifted by whole pixels, or warped as it is read.

    Continuous values are interpolated bilinearly (averaged where the grid is coarser), class labels
    (palettes, whole numbers without a unit) take the nearest. Raises `GridMismatch` where the two share no
    ground, or where one has no reference system and the sizes differ.

    >>> from swath.imagery.sources import open_source
    >>> from swath.imagery.grid import Affine
    >>> here = Grid(crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 0), size=Size(4, 4))
    >>> there = replace(here, transform=Affine(10, 0, 20, 0, -10, 0))
    >>> moved = align(open_source(np.arange(16).reshape(1, 4, 4), grid=here), there)
    >>> moved.read(Window(0, 0, 1, 4), [0]).values.tolist(), moved.read(Window(0, 0, 1, 4), [0]).valid.tolist()
    ([[[2, 3, 0, 0]]], [[True, True, False, False]])
    """
    if source.grid == grid:
        return source
    if isinstance(source, ShiftedSource | WarpedSource):
        return align(source.origin, grid, reference=reference)
    if isinstance(source, StackSource):
        return StackSource([align(part, grid, reference=reference) for part in source.parts], name=source.name)
    shift = _whole_pixel_shift(source, grid, reference)
    if shift is not None:
        return ShiftedSource(source, grid, rows=shift[0], columns=shift[1])
    _check_overlap(source, grid, reference)
    if isinstance(source, ArraySource):
        return _warped(InMemoryFile(source), grid)
    if isinstance(source, FileSource):
        return _warped(source, grid)
    raise GridMismatch(f"'{source.name}' lies on another grid and is of a kind that cannot be warped onto it.")


def _warped(source: FileSource, grid: Grid) -> Source:
    """Warp a file; bands with different missing values must each be warped by themselves."""
    if len({repr(band.nodata) for band in source.bands}) == 1:
        return WarpedSource(source, grid)
    alone = [source.only([position]) for position in range(len(source.bands))]
    return StackSource([WarpedSource(one, grid) for one in alone], name=source.name)


class ShiftedSource(BandedSource):
    """A source seen from a grid whose pixels are its own, some whole rows and columns away.

    >>> origin = ArraySource(np.arange(6).reshape(1, 2, 3))
    >>> moved = ShiftedSource(origin, replace(origin.grid, size=Size(1, 1)), rows=1, columns=2)
    >>> moved.read(Window(0, 0, 1, 1), [0]).values.item()
    5
    """

    def __init__(self, origin: Source, grid: Grid, *, rows: int, columns: int) -> None:
        self.origin = origin
        self.name = origin.name
        self.grid = grid
        self.bands = origin.bands
        self.dtype = origin.dtype
        self.block = origin.block
        self.acquired = origin.acquired
        self._shift = (rows, columns)

    def read(
        self, window: Window, bands: Sequence[int], *, size: Size | None = None, resampling: str = "bilinear"
    ) -> Pixels:
        """Return the bands at these positions in a window of the new grid; see `Source.read`."""
        pixels = self.origin.read(window.shifted(*self._shift), bands, size=size, resampling=resampling)
        return replace(pixels, grid=output_grid(self.grid, window, pixels.size))

    def expecting(self, wanted: Sequence[str]) -> ShiftedSource:
        """Return the shifted source as it is read by one who wants these bands."""
        origin = self.origin.expecting(wanted)
        if origin is self.origin:
            return self
        return ShiftedSource(origin, self.grid, rows=self._shift[0], columns=self._shift[1])

    def fingerprint(self) -> str:
        """Return a hash of the origin's and the grid."""
        return _aligned_fingerprint(self.origin, self.grid)

    def close(self) -> None:
        """Close the origin."""
        self.origin.close()


class WarpedSource(FileSource):
    """A file warped onto another grid as it is read.

    >>> from swath.imagery.grid import Affine
    >>> here = Grid(crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 0), size=Size(2, 4))
    >>> origin = InMemoryFile(ArraySource(np.array([[0.0, 10.0, 20.0, 30.0]] * 2), grid=here))
    >>> half = WarpedSource(origin, replace(here, transform=here.transform.shifted(0.5, 0)))
    >>> half.read(Window(0, 0, 1, 3), [0]).values.tolist()
    [[[5.0, 15.0, 25.0]]]
    """

    def __init__(self, origin: FileSource, grid: Grid) -> None:
        self.origin = origin
        self.name = origin.name
        self.grid = grid
        self.bands = origin.bands
        self.numbers = tuple(range(1, len(origin.bands) + 1))
        self.stored = origin.stored
        self.dtype = origin.dtype
        self.acquired = origin.acquired
        self.opaque = _OPAQUE
        self._twins = {}
        self._selections = {}
        self._handles = Handles(self.open_dataset, origin.name)
        dataset = self._handles.get()
        self.block = Size(*dataset.block_shapes[0])
        self.mask_number = dataset.count if dataset.count > len(self.bands) else None

    def open_dataset(self) -> Any:
        """Open one more handle of the virtual warped file, for the calling thread."""
        nodata = self.origin.bands[0].nodata
        if nodata is None and self.dtype.kind in "fc":
            nodata = float("nan")
        masked = self.origin.mask_number is not None
        options: dict[str, Any] = {
            "add_alpha": nodata is None and not masked,
            "SRC_ALPHA_MAX": "255",
            "DST_ALPHA_MAX": str(_OPAQUE),
        }
        if nodata is not None and not masked:
            options |= {"src_nodata": nodata, "nodata": nodata}
            options["UNIFIED_SRC_NODATA"] = "YES" if self.dtype == np.uint8 else "NO"
        transform = RasterioAffine(*(getattr(self.grid.transform, name) for name in "abcdef"))
        return WarpedVRT(
            rasterio.open(_virtual_file(self.origin)),
            crs=self.grid.crs,
            transform=transform,
            height=self.grid.size.height,
            width=self.grid.size.width,
            resampling=Resampling.nearest if _is_categorical(self.origin) else Resampling.bilinear,
            **options,
        )

    def expecting(self, wanted: Sequence[str]) -> FileSource:
        """Return the warped file as it is read by one who wants these bands."""
        origin = self.origin.expecting(wanted)
        if origin is self.origin:
            return self
        key = ",".join(band.name for band in origin.bands)
        if key not in self._twins:
            self._twins[key] = WarpedSource(origin, self.grid)
        return self._twins[key]

    def fingerprint(self) -> str:
        """Return a hash of the origin's and the grid."""
        return _aligned_fingerprint(self.origin, self.grid)

    def close(self) -> None:
        """Close the warped handles and the origin's."""
        super().close()
        self.origin.close()


class InMemoryFile(FileSource):
    """An array copied into a file in memory, so that GDAL can warp it.

    >>> from swath.imagery.grid import Affine
    >>> here = Grid(crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 0), size=Size(1, 2))
    >>> InMemoryFile(ArraySource(np.array([[7, 8]], np.int16), grid=here)).read(Window(0, 0, 1, 2), [0]).values.tolist()
    [[[7, 8]]]
    """

    def __init__(self, array: ArraySource) -> None:
        self._array = array
        self._memory = MemoryFile(ext=".tif")
        size = array.grid.size
        pixels = array.read(Window(0, 0, size.height, size.width), range(len(array.bands)))
        storable = pixels.values.dtype.name in _GDAL_TYPES
        values = pixels.values if storable else pixels.values.astype(np.float32)
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "count": len(values),
            "dtype": values.dtype,
            "height": size.height,
            "width": size.width,
            "crs": array.grid.crs,
            "transform": RasterioAffine(*(getattr(array.grid.transform, name) for name in "abcdef")),
            "BIGTIFF": "IF_SAFER",
        }
        with self._memory.open(**profile) as dataset:
            dataset.write(values)
            dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(values) - 1)
            if pixels.valid is not None:
                dataset.write_mask(pixels.valid)
        super().__init__(self._memory.name, bands=list(array.bands))

    def __reduce__(self) -> tuple[type[InMemoryFile], tuple[ArraySource]]:
        return InMemoryFile, (self._array,)


def _virtual_file(source: FileSource) -> str:
    """Describe the source's bands as a GDAL virtual file: imagery without labels, then what masks it as alpha."""
    size, kind = source.grid.size, _GDAL_TYPES[source.dtype.name]
    address = escape(gdal_address(source.name))
    bands = [(str(number), kind, "Undefined", "") for number in source.numbers]
    if source.mask_number is not None:
        mask = str(source.mask_number) if source.mask_number else f"mask,{source.numbers[0]}"
        # Half-transparent is valid, so only 0 may weaken what is interpolated.
        bands.append((mask, "Byte", "Alpha", "<LUT>0:0,1:255</LUT>"))
    transform = ", ".join(repr(float(number)) for number in source.grid.transform.as_gdal_order())
    # A complex source takes every value through floating point, which makes a warped read a sixth longer.
    ways = ["ComplexSource" if table else "SimpleSource" for *_, table in bands]
    described = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{position}"><ColorInterp>{colour}</ColorInterp><{way}>'
        f'<SourceFilename relativeToVRT="0">{address}</SourceFilename><SourceBand>{number}</SourceBand>{table}'
        f"</{way}></VRTRasterBand>"
        for position, ((number, kind, colour, table), way) in enumerate(zip(bands, ways, strict=True), start=1)
    )
    return (
        f'<VRTDataset rasterXSize="{size.width}" rasterYSize="{size.height}"><SRS>{escape(str(source.grid.crs))}'
        f"</SRS><GeoTransform>{transform}</GeoTransform>{described}</VRTDataset>"
    )


def _is_categorical(source: FileSource) -> bool:
    palette = any(band.colour == "palette" for band in source.stored)
    return palette or (source.dtype.kind in "iu" and all(band.unit == Unit.UNITLESS for band in source.bands))


def _aligned_fingerprint(origin: Source, grid: Grid) -> str:
    return hashlib.sha256(f"{origin.fingerprint()} {grid}".encode()).hexdigest()


def _whole_pixel_shift(source: Source, grid: Grid, reference: str) -> tuple[int, int] | None:
    """Rows and columns from the grid's origin to the same place on the source, or None where pixels do not
    coincide.

    Raises `GridMismatch` where a reference system is missing and the sizes differ.
    """
    if source.grid.crs is None or grid.crs is None:
        if source.grid.size == grid.size:
            return 0, 0
        lacking = source.name if source.grid.crs is None else reference
        raise GridMismatch(
            f"'{source.name}' has {source.grid.size.height} x {source.grid.size.width} pixels, {reference} "
            f"{grid.size.height} x {grid.size.width}, and {lacking} has no coordinate reference system that would "
            "tell how they lie; give images of one size, or georeferenced ones."
        )
    if not _same_crs(source.grid.crs, grid.crs):
        return None
    corners = source.grid.to_pixels(grid.corners())
    column, row = (int(number) for number in np.rint(corners[0]))
    expected = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (grid.size.width, grid.size.height) + (
        column,
        row,
    )
    if not np.allclose(corners, expected, rtol=0, atol=SAME_PLACE):
        return None
    wanted = Window(row, column, grid.size.height, grid.size.width)
    # Images that do not touch must not pass for aligned ones.
    return None if wanted.clipped(source.grid.size).is_empty else (row, column)


def _same_crs(one: str, other: str) -> bool:
    return one == other or bool(parse_crs(one) == parse_crs(other))


def _check_overlap(source: Source, grid: Grid, reference: str) -> None:
    if not (_points_inside(source.grid, grid) or _points_inside(grid, source.grid)):
        raise GridMismatch(
            f"'{source.name}' does not overlap {reference}: it covers {_bounds_text(source.grid)}, and {reference} "
            f"{_bounds_text(grid)}; give images of the same ground."
        )


def _points_inside(grid: Grid, other: Grid) -> bool:
    """Whether any point of a lattice over one grid lies on the other (so either of them may be the larger)."""
    steps = np.linspace(0.0, 1.0, LATTICE)
    columns, rows = np.meshgrid(steps * grid.size.width, steps * grid.size.height)
    x, y = grid.to_map(np.stack([columns.ravel(), rows.ravel()], axis=-1)).T
    try:
        there = np.array(transform(parse_crs(grid.crs or ""), parse_crs(other.crs or ""), x, y)).T
    except (RasterioError, CPLE_BaseError):  # some of the points cannot be seen from there; the way back may do
        return False
    there = other.to_pixels(there[np.isfinite(there).all(axis=1)])
    limits = np.array([other.size.width, other.size.height])
    return bool(np.any(np.all((there > SAME_PLACE) & (there < limits - SAME_PLACE), axis=1)))


def _bounds_text(grid: Grid) -> str:
    """Bounds in the grid's own reference system and in degrees of longitude and latitude."""
    own = ", ".join(f"{number:.8g}" for number in grid.bounds)
    name = grid.crs if grid.crs and grid.crs.startswith("EPSG") else "its reference system"
    try:
        west, south, east, north = bounding_box(footprint(grid))
    except GridMismatch:  # a disc of the whole Earth has corners in space
        return f"{own} in {name}"
    return f"{own} in {name} (longitude {west:.5f} to {east:.5f}, latitude {south:.5f} to {north:.5f})"


def ground_sample_distance(grid: Grid) -> float | None:
    """Return the pixel's side on the ground in metres at the image's centre; None without a reference system.

    It is measured on the sphere, so degrees and Mercator metres come out as true ones: the square root of the
    product of a pixel's two sides.

    >>> from swath.imagery.grid import Affine
    >>> degree = Grid(crs="EPSG:4326", transform=Affine(1e-4, 0, 10, 0, -1e-4, 60), size=Size(2, 2))
    >>> round(ground_sample_distance(degree), 2)
    7.86
    """
    if grid.crs is None:
        return None
    column, row = grid.size.width / 2, grid.size.height / 2
    x, y = grid.to_map(np.array([[column, row], [column + 1, row], [column, row + 1]])).T
    longitude, latitude = (np.radians(degrees) for degrees in transform(grid.crs, LON_LAT, x, y))
    half_chord = (
        np.sin((latitude[1:] - latitude[0]) / 2) ** 2
        + np.cos(latitude[1:]) * np.cos(latitude[0]) * np.sin((longitude[1:] - longitude[0]) / 2) ** 2
    )
    sides = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(half_chord))
    return float(np.sqrt(sides[0] * sides[1]))
