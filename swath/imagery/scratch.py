"""A raster on disk that takes windows in any order, and no memory, until it is turned into a result.

The store is an uncompressed tiled BigTIFF with all its overviews laid out beforehand, so that GDAL reads it
as it is. Values go in and come out by positioned reads and writes of the file, never through a memory map,
whose pages would count as resident memory.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from swath.errors import ConfigurationError, GeometryError, OutputFailed, ResumeMismatch, ShapeError
from swath.geometry.windows import Size, Window
from swath.imagery.atomic import free_space, output_errors, readable_bytes, write_all

TILE = 512
"""Pixels along a tile's side, in the store and in the Cloud-Optimised GeoTIFF made of it."""

_PAGE = 4096
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
_SHORT, _LONG, _LONG8 = 3, 4, 16
_TYPE_FORMATS = {_SHORT: "<u2", _LONG: "<u4", _LONG8: "<u8"}


def scratch_path(path: str | os.PathLike[str]) -> Path:
    """Return where the scratch of the result `path` lies: a hidden sibling, the same at every run.

    >>> scratch_path("maps/trees.tif").name
    '.trees.tif.swath-scratch'
    """
    final = Path(path)
    return final.with_name(f".{final.name}.swath-scratch")


@dataclass(frozen=True, slots=True)
class _Level:
    """Full resolution or one overview: its size and where its tiles begin in the file."""

    size: Size
    start: int

    @property
    def rows(self) -> int:
        return -(-self.size.height // TILE)

    @property
    def columns(self) -> int:
        return -(-self.size.width // TILE)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The part of a window that lies in one tile: the tile's number, its pixels there and in the window."""

    tile: int
    inside: Window
    outside: Window


class ScratchRaster:
    """An uncompressed raster of `bands` bands on disk, written and read by windows from any thread.

    `dtype` is an integer type of up to 32 bits or a float of 32 or 64. Pixels never written read as zero.
    With `resume` an earlier scratch at `path` is taken up again; otherwise it is replaced. Space for
    overviews of half, a quarter, ... of the size is laid out too, and counted as level 1, 2, ...

    Raises `ConfigurationError` for another type or no pixels, `ResumeMismatch` when the earlier scratch has
    another shape, and `OutputFailed` when the disk has no room for all of it or a write fails.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with ScratchRaster(Path(folder, "map"), size=Size(600, 700), bands=1, dtype="uint8") as scratch:
    ...         scratch.write(Window(500, 0, 50, 2), np.full((1, 50, 2), 7, np.uint8))
    ...         scratch.read(Window(549, 0, 2, 3)).tolist()
    [[[7, 7, 0], [0, 0, 0]]]
    """

    def __init__(
        self, path: str | os.PathLike[str], *, size: Size, bands: int, dtype: DTypeLike, resume: bool = False
    ) -> None:
        self.path = Path(path)
        self.size = size
        self.bands = bands
        self.dtype = np.dtype(dtype)
        _check_shape(size, bands, self.dtype)
        self._tile_bytes = TILE * TILE * self.dtype.itemsize
        self._levels, header, self._length = self._lay_out()
        self._lock = threading.Lock()
        with output_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._take_up(header) if resume and self.path.exists() else self._begin(header)

    @property
    def level_sizes(self) -> tuple[Size, ...]:
        """Size of the full resolution and of each overview, largest first; the last fits one tile."""
        return tuple(level.size for level in self._levels)

    def write(self, window: Window, values: NDArray[Any], *, level: int = 0) -> None:
        """Store values of shape (C, h, w), which must lie inside the raster.

        Raises `ShapeError` for another shape or for a type that the raster's does not hold, `GeometryError`
        for a window that sticks out, `OutputFailed` when the disk is full.
        """
        self._check_window(window, level)
        if values.shape != (self.bands, window.height, window.width):
            raise ShapeError(
                f"The window needs values of shape {(self.bands, window.height, window.width)}, found {values.shape}."
            )
        if not np.can_cast(values.dtype, self.dtype, casting="safe"):
            raise ShapeError(f"The raster holds {self.dtype} values, found {values.dtype}; convert them first.")
        with output_errors(self.path):
            for piece in self._pieces(window, level):
                rows, columns = piece.outside.slices
                for band in range(self.bands):
                    self._write_piece(piece, band, values[band, rows, columns], level)

    def read(self, window: Window, *, level: int = 0) -> NDArray[Any]:
        """Return a window's values, (C, h, w); `GeometryError` for a window that sticks out."""
        self._check_window(window, level)
        values = np.empty((self.bands, window.height, window.width), self.dtype)
        for piece in self._pieces(window, level):
            rows, columns = piece.outside.slices
            for band in range(self.bands):
                strip = self._read_rows(self._offset(piece, band, level), piece.inside.height)
                values[band, rows, columns] = strip[:, piece.inside.column : piece.inside.stop_column]
        return values

    def flush(self) -> None:
        """Wait until all that was written has reached the disk, so that it survives a loss of power."""
        with output_errors(self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file and leave it where it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Close the file and delete it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> ScratchRaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, header: bytes) -> int:
        free = free_space(self.path.parent)
        if free < self._length:
            raise OutputFailed(
                f"Cannot write '{self.path}': the map needs {readable_bytes(self._length)} while it is being "
                f"made and {readable_bytes(free)} are free in '{self.path.parent}'. Free some space or "
                "choose another folder."
            )
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            write_all(descriptor, header, 0)
            os.truncate(descriptor, self._length)
        except OSError:
            os.close(descriptor)
            self.path.unlink(missing_ok=True)
            raise
        return descriptor

    def _take_up(self, header: bytes) -> int:
        descriptor = os.open(self.path, os.O_RDWR)
        if os.fstat(descriptor).st_size != self._length or os.pread(descriptor, len(header), 0) != header:
            os.close(descriptor)
            raise ResumeMismatch(
                f"'{self.path}' was begun for a map of another size, number of bands or type than "
                f"{self.size.height} x {self.size.width} x {self.bands} {self.dtype}; remove it to begin "
                "again."
            )
        return descriptor

    def _check_window(self, window: Window, level: int) -> None:
        size = self._levels[level].size
        if not Window(0, 0, size.height, size.width).contains(window):
            raise GeometryError(
                f"The window {window} sticks out of the raster of {size.height} x {size.width} pixels; clip it first."
            )

    def _pieces(self, window: Window, level: int) -> Iterator[_Piece]:
        columns = self._levels[level].columns
        for tile_row in range(window.row // TILE, -(-window.stop_row // TILE)):
            for tile_column in range(window.column // TILE, -(-window.stop_column // TILE)):
                tile = Window(tile_row * TILE, tile_column * TILE, TILE, TILE)
                shared = tile.intersection(window)
                if shared is not None:
                    yield _Piece(tile_row * columns + tile_column, shared.relative_to(tile), shared.relative_to(window))

    def _offset(self, piece: _Piece, band: int, level: int) -> int:
        tile_start = self._levels[level].start + (piece.tile * self.bands + band) * self._tile_bytes
        return tile_start + piece.inside.row * TILE * self.dtype.itemsize

    def _write_piece(self, piece: _Piece, band: int, values: NDArray[Any], level: int) -> None:
        offset = self._offset(piece, band, level)
        left, right = piece.inside.column, piece.inside.stop_column
        if (left, right) == (0, TILE):
            write_all(self._descriptor, np.ascontiguousarray(values, self.dtype).data, offset)
            return
        # Rows of a tile lie one after the other: the rest of each row is read and written back as it was,
        # which costs two calls where writing row by row would cost hundreds.
        with self._lock:
            strip = self._read_rows(offset, piece.inside.height).copy()
            strip[:, left:right] = values
            write_all(self._descriptor, strip.data, offset)

    def _read_rows(self, offset: int, rows: int) -> NDArray[Any]:
        wanted = rows * TILE * self.dtype.itemsize
        raw = os.pread(self._descriptor, wanted, offset)
        if len(raw) != wanted:
            raise OutputFailed(f"'{self.path}' was cut short by another program; remove it to begin again.")
        return np.frombuffer(raw, self.dtype).reshape(rows, TILE)

    def _lay_out(self) -> tuple[tuple[_Level, ...], bytes, int]:
        sizes = [self.size]
        while max(sizes[-1].height, sizes[-1].width) > TILE:
            sizes.append(Size(-(-sizes[-1].height // 2), -(-sizes[-1].width // 2)))
        # The header's length does not depend on where the tiles begin, so it is made twice.
        drafts = [_Level(size, 0) for size in sizes]
        start = -(-len(self._header(drafts)) // _PAGE) * _PAGE
        levels = []
        for draft in drafts:
            levels.append(_Level(draft.size, start))
            start += draft.rows * draft.columns * self.bands * self._tile_bytes
        return tuple(levels), self._header(levels), start

    def _header(self, levels: Sequence[_Level]) -> bytes:
        header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16)
        for number, level in enumerate(levels):
            last = number == len(levels) - 1
            header += _directory(self._tags(level, overview=number > 0), at=len(header), last=last)
        return header

    def _tags(self, level: _Level, *, overview: bool) -> list[tuple[int, int, NDArray[Any]]]:
        tiles = level.rows * level.columns
        # A tile's bands lie side by side in the file, but the directory lists them band by band.
        order = np.arange(tiles, dtype=np.uint64) * self.bands + np.arange(self.bands, dtype=np.uint64)[:, None]
        offsets = level.start + order.ravel() * self._tile_bytes
        each = np.ones(self.bands, np.uint64)
        return [
            (254, _LONG, np.array([int(overview)])),  # NewSubfileType: reduced resolution
            (256, _LONG, np.array([level.size.width])),
            (257, _LONG, np.array([level.size.height])),
            (258, _SHORT, each * self.dtype.itemsize * 8),  # BitsPerSample
            (259, _SHORT, np.array([1])),  # Compression: none
            (262, _SHORT, np.array([1])),  # PhotometricInterpretation: zero is black
            (277, _SHORT, np.array([self.bands])),  # SamplesPerPixel
            (284, _SHORT, np.array([2])),  # PlanarConfiguration: a tile holds one band
            (322, _LONG, np.array([TILE])),  # TileWidth
            (323, _LONG, np.array([TILE])),  # TileLength
            (324, _LONG8, offsets),  # TileOffsets
            (325, _LONG8, np.full(tiles * self.bands, self._tile_bytes)),  # TileByteCounts
            *([(338, _SHORT, each[1:] * 0)] if self.bands > 1 else []),  # ExtraSamples: of no special meaning
            (339, _SHORT, each * _SAMPLE_FORMATS[self.dtype.kind]),  # SampleFormat
        ]


def _directory(tags: Sequence[tuple[int, int, NDArray[Any]]], *, at: int, last: bool) -> bytes:
    """Lay out one BigTIFF image file directory that begins at byte `at`, its longer values behind it."""
    length = 8 + 20 * len(tags) + 8
    entries, values = struct.pack("<Q", len(tags)), b""
    for tag, kind, numbers in tags:
        raw = numbers.astype(_TYPE_FORMATS[kind]).tobytes()
        entries += struct.pack("<HHQ", tag, kind, len(numbers))
        if len(raw) <= 8:
            entries += raw.ljust(8, b"\0")
        else:
            entries += struct.pack("<Q", at + length + len(values))
            values += raw.ljust(-(-len(raw) // 8) * 8, b"\0")
    return entries + struct.pack("<Q", 0 if last else at + length + len(values)) + values


def _check_shape(size: Size, bands: int, dtype: np.dtype[Any]) -> None:
    if size.area == 0 or bands < 1:
        raise ConfigurationError(
            f"A raster needs at least one pixel and one band, found {size.height} x {size.width} x {bands}."
        )
    limit = 8 if dtype.kind == "f" else 4
    if dtype.kind not in _SAMPLE_FORMATS or dtype.itemsize > limit or dtype == np.float16:
        raise ConfigurationError(
            f"A raster file cannot hold values of type {dtype}; use an integer of up to 32 bits, float32 or float64."
        )
