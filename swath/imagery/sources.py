"""Opening one raster: a file, an address, an array, a folder of a satellite product, single-band files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from swath.errors import BandMismatch, GridMismatch, ImageryNotFound, ImageryUnreadable
from swath.imagery.alignment import align
from swath.imagery.bands import Unit
from swath.imagery.grid import Grid
from swath.imagery.naming import BandsSpec, name_bands
from swath.imagery.products import folder_files
from swath.imagery.sources_array import ArraySource
from swath.imagery.sources_base import Source
from swath.imagery.sources_file import FileSource
from swath.imagery.sources_stack import StackSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Source", "Where", "open_source"]

Where: TypeAlias = "str | Path | NDArray[Any] | Sequence[str | Path] | Mapping[str, str | Path] | Source"


def open_source(
    where: Where, *, bands: BandsSpec | None = None, unit: Unit | None = None, grid: Grid | None = None
) -> Source:
    """Open a raster for windowed reads.

    `where` is a file of any GDAL driver, an `http(s)://` address (read by ranges), a Sentinel-2 SAFE or
    Landsat folder, an array (bands, height, width), a list of files whose bands are put side by side, or a
    mapping from role to file. `bands` says which band is which (see `naming.name_bands`), `unit` what unit
    the values are in; both win over what the file says. `grid` places an array.

    >>> source = open_source(np.zeros((2, 4, 4), np.float32), bands="vv,vh", unit=Unit.DECIBEL)
    >>> [band.role for band in source.bands], source.bands[0].unit.value
    (['vv', 'vh'], 'db')
    """
    if unit is not None:
        unit = Unit(unit)
    if isinstance(where, np.ndarray):
        return ArraySource(where, bands=bands, unit=unit, grid=grid)
    if grid is not None:
        raise GridMismatch("a grid can only be given to an array; a file has its own.")
    if isinstance(where, str | Path):
        if Path(where).is_dir():
            return _open_files(folder_files(Path(where)), str(where), bands, unit)
        return FileSource(str(where), bands=bands, unit=unit)
    if isinstance(where, Mapping):
        parts = [_named_part(role, path, unit) for role, path in where.items()]
        return _stack(parts, "+".join(str(path) for path in where.values()))
    if isinstance(where, Sequence):
        return _open_files(where, "+".join(str(path) for path in where), bands, unit)
    if not isinstance(where, Source):
        raise _not_imagery(where)
    return where


def _not_imagery(where: object) -> ImageryUnreadable:
    return ImageryUnreadable(
        f"a {type(where).__name__} is no imagery; give a file name, an address, an array (bands, height, width) or a "
        "list of file names."
    )


def _open_files(paths: Sequence[str | Path], name: str, bands: BandsSpec | None, unit: Unit | None) -> Source:
    """Open files side by side; `bands` names them as if their bands stood in one file, in this order."""
    if not paths:
        raise ImageryNotFound("the list of band files is empty; name at least one file.")
    for path in paths:
        if not isinstance(path, str | Path):
            raise _not_imagery(path)
    parts = [FileSource(str(path), unit=unit) for path in paths]
    if bands is not None:
        stored = [band for part in parts for band in part.stored if band.colour != "alpha"]
        renumbered = [replace(band, number=number) for number, band in enumerate(stored, start=1)]
        named = name_bands(renumbered, where=f"the list of {len(parts)} files", bands=bands, unit=unit)
        places = [(part, own) for part in parts for own in range(len(part.bands))]
        parts = [part.only([own]).with_bands([item.band]) for item in named for part, own in [places[item.number - 1]]]
    return _stack(parts, name)


def _named_part(role: str, path: str | Path, unit: Unit | None) -> FileSource:
    """Open the single-band file of a role; what its name tells of the product stays."""
    part = FileSource(str(path), unit=unit)
    if len(part.bands) != 1:
        raise BandMismatch(f"'{path}' was named '{role}' but has {len(part.bands)} bands; give single-band files.")
    band = part.bands[0]
    known = role.lower() in (band.role.lower(), band.name.lower())
    return part if known else part.with_bands([replace(band, name=role, role=role)])


def _stack(parts: Sequence[FileSource], name: str) -> Source:
    """Put files side by side on the grid of the finest (the first of them where several are)."""
    if len(parts) == 1:
        return parts[0]
    finest = min(parts, key=lambda part: part.grid.pixel_size)
    return StackSource([align(part, finest.grid, reference=f"'{finest.name}'") for part in parts], name=name)
