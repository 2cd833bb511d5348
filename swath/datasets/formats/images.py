"""Reading one small image of a data set whole: JPEG, PNG and BMP through Pillow, TIFF through rasterio."""

from __future__ import annotations

import io
import warnings
from abc import abstractmethod
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from swath.datasets.records import ImageSource, StoredImage
from swath.errors import DataError, ImageryUnreadable
from swath.geometry.windows import Size
from swath.imagery.grid import Affine, Grid
from swath.imagery.pixels import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.bands import Band, Unit

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})

_WITHOUT_ALPHA = {"LA": "L", "RGBA": "RGB"}
_Readable: TypeAlias = Path | io.BytesIO


class EncodedImage(StoredImage):
    """An image file inside another file, such as a member of an archive or a cell of a table.

    `str` is its name there, whose suffix says whether it is a TIFF.
    """

    @abstractmethod
    def content(self) -> bytes:
        """Return the bytes of the image file."""

    def pixels(self, bands: tuple[Band, ...], unit: Unit) -> Pixels:
        """Decode it as `read_image` does a file."""
        return _image(io.BytesIO(self.content()), str(self), bands, unit)

    def mask(self, *, colours: bool) -> NDArray[Any]:
        """Decode it as `read_mask` does a file."""
        return _mask(io.BytesIO(self.content()), str(self), colours=colours)


def read_image(source: ImageSource, bands: tuple[Band, ...], unit: Unit) -> Pixels:
    """Read an image whose bands the data set declares; every pixel is valid unless the file names a no-data
    value.

    Colour tables, grey and alpha of JPEG and PNG become RGB where three bands are declared. Raises
    `ImageryUnreadable` for a broken file and `DataError` for another number of bands.
    """
    if isinstance(source, StoredImage):
        return source.pixels(bands, unit)
    return _image(source, str(source), bands, unit)


def read_mask(source: ImageSource, *, colours: bool = True) -> NDArray[Any]:
    """Read a mask, (C, H, W), no alpha: its colours as RGB, or else its values as they are stored.

    The values of a picture with a colour table are the entries' numbers. Raises `ImageryUnreadable` for a
    broken file.
    """
    if isinstance(source, StoredImage):
        return source.mask(colours=colours)
    return _mask(source, str(source), colours=colours)


def checked(values: NDArray[Any], name: object, bands: int) -> NDArray[Any]:
    """Return the values (C, H, W) of an image; raise `DataError` unless it has so many bands."""
    if len(values) != bands:
        raise DataError(f"{name} has {len(values)} bands; this data set has {bands}. Get the file again.")
    return values


def opened(file: _Readable, name: str) -> Any:
    """Open a TIFF with rasterio; raise `ImageryUnreadable` where it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(file)
    except RasterioError as error:
        raise ImageryUnreadable(f"{name} cannot be read as an image ({error}); get the file again.") from error


def read_values(source: Any, name: str, **options: Any) -> NDArray[Any]:
    """Read all bands of an opened TIFF, (C, H, W); raise `ImageryUnreadable` for a damaged one."""
    try:
        values: NDArray[Any] = source.read(**options)
    except RasterioError as error:
        raise ImageryUnreadable(f"{name} is cut short or damaged ({error}); get the file again.") from error
    return values


def grid_of(source: Any, size: Size) -> Grid:
    """Return where an opened TIFF lies, for an image of this size of the same ground."""
    crs = None if source.crs is None else _crs_text(source.crs)
    transform = Affine(*source.transform[:6]).scaled(source.width / size.width, source.height / size.height)
    return Grid(crs=crs, transform=transform, size=size)


def _is_tiff(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in TIFF_SUFFIXES


def _image(file: _Readable, name: str, bands: tuple[Band, ...], unit: Unit) -> Pixels:
    if not _is_tiff(name):
        values = _picture(file, name, "RGB" if len(bands) == 3 else None)
        return Pixels.from_array(checked(values, name, len(bands)), bands, unit)
    with opened(file, name) as source:
        values = checked(read_values(source, name), name, len(bands))
        grid, nodata = grid_of(source, Size(*values.shape[1:])), source.nodata
    valid = None if nodata is None else ~(values == nodata).all(axis=0)
    return Pixels(values=values, bands=bands, unit=unit, valid=valid, grid=grid)


def _mask(file: _Readable, name: str, *, colours: bool) -> NDArray[Any]:
    if not _is_tiff(name):
        return _picture(file, name, "RGB" if colours else None, alpha=False)
    with opened(file, name) as source:
        values: NDArray[Any] = read_values(source, name)[:3]
        return values


def _picture(file: _Readable, name: str, mode: str | None, *, alpha: bool = True) -> NDArray[Any]:
    """Decode a picture, (C, H, W), in this colour mode, or in its own with or without its alpha channel."""
    try:
        with Image.open(file) as picture:
            wanted = mode or (picture.mode if alpha else _WITHOUT_ALPHA.get(picture.mode, picture.mode))
            values = np.asarray(picture if wanted == picture.mode else picture.convert(wanted))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageryUnreadable(f"{name} cannot be read as an image ({error}); get the file again.") from error
    return values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


@lru_cache(maxsize=64)
def _crs_text(crs: Any) -> str:
    return str(crs.to_string())
