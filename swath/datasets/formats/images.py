"""Reading one small image of a data set whole: JPEG and PNG through Pillow, TIFF through rasterio."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from swath.errors import DataError, ImageryUnreadable
from swath.geometry.windows import Size
from swath.imagery.grid import Affine, Grid
from swath.imagery.pixels import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.bands import Band, Unit

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})


def read_image(path: Path, bands: tuple[Band, ...], unit: Unit) -> Pixels:
    """Read an image whose bands the data set declares; every pixel is valid unless the file names a no-data
    value.

    Colour tables, grey and alpha of JPEG and PNG become RGB where three bands are declared. Raises
    `ImageryUnreadable` for a broken file and `DataError` for another number of bands.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _read_tiff(path, bands, unit)
    values = _read_picture(path, "RGB" if len(bands) == 3 else None)
    return Pixels.from_array(_checked(values, path, len(bands)), bands, unit)


def read_mask(path: Path) -> NDArray[Any]:
    """Read the colours of a mask file, (C, H, W), no alpha; raise `ImageryUnreadable` for a broken one."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        with _opened(path) as source:
            values: NDArray[Any] = _values(source, path)[:3]
            return values
    return _read_picture(path, "RGB")


def _read_picture(path: Path, mode: str | None) -> NDArray[Any]:
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture if mode in (None, picture.mode) else picture.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageryUnreadable(f"{path} cannot be read as an image ({error}); get the file again.") from error
    return values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


def _read_tiff(path: Path, bands: tuple[Band, ...], unit: Unit) -> Pixels:
    with _opened(path) as source:
        values = _checked(_values(source, path), path, len(bands))
        crs = None if source.crs is None else _crs_text(source.crs)
        transform = Affine(*source.transform[:6])
        nodata = source.nodata
    grid = Grid(crs=crs, transform=transform, size=Size(*values.shape[1:]))
    valid = None if nodata is None else ~(values == nodata).all(axis=0)
    return Pixels(values=values, bands=bands, unit=unit, valid=valid, grid=grid)


def _opened(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioError as error:
        raise ImageryUnreadable(f"{path} cannot be read as an image ({error}); get the file again.") from error


def _values(source: Any, path: Path) -> NDArray[Any]:
    try:
        values: NDArray[Any] = source.read()
    except RasterioError as error:
        raise ImageryUnreadable(f"{path} is cut short or damaged ({error}); get the file again.") from error
    return values


@lru_cache(maxsize=64)
def _crs_text(crs: Any) -> str:
    return str(crs.to_string())


def _checked(values: NDArray[Any], path: Path, bands: int) -> NDArray[Any]:
    if len(values) != bands:
        raise DataError(f"{path} has {len(values)} bands; this data set has {bands}. Get the file again.")
    return values
