"""HDF5 files whose arrays hold an image a row, such as So2Sat's `sen1`, `sen2` and `label`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from swath.datasets.formats.images import checked
from swath.datasets.formats.packed import PackedLayout, file_stamp
from swath.datasets.layout import Survey
from swath.datasets.records import Record, StoredImage
from swath.errors import DataError, ImageryUnreadable
from swath.imagery.pixels import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.bands import Band, Unit


@dataclass(frozen=True, slots=True)
class ArrayRow(StoredImage):
    """One row of an array (N, H, W, C) or (N, H, W) of an HDF5 file; float64 is read as float32."""

    path: Path
    array: str
    row: int

    def __str__(self) -> str:
        return f"{self.path}, {self.array}[{self.row}]"

    def pixels(self, bands: tuple[Band, ...], unit: Unit) -> Pixels:
        """Read the row as an image; raise `DataError` for another number of channels."""
        return Pixels.from_array(checked(self._values(), self, len(bands)), bands, unit)

    def mask(self, *, colours: bool) -> NDArray[Any]:
        """Read the row as a mask; one channel becomes three where colours are wanted."""
        values = self._values()
        return np.repeat(values, 3, axis=0) if colours and len(values) == 1 else values

    def _values(self) -> NDArray[Any]:
        try:
            values: NDArray[Any] = open_file(self.path)[self.array][self.row]
        except (OSError, KeyError, ValueError, IndexError) as error:
            raise ImageryUnreadable(f"{self} cannot be read ({error}); get the file again.") from error
        channels_first = values[None] if values.ndim == 2 else np.ascontiguousarray(np.moveaxis(values, -1, 0))
        return channels_first.astype(np.float32) if values.dtype == np.float64 else channels_first


def open_file(path: Path) -> Any:
    """Open an HDF5 file for reading, once a process; raise `ImageryUnreadable` where it is none."""
    return _opened(path, file_stamp(path), os.getpid())


@lru_cache(maxsize=16)
def _opened(path: Path, stamp: int, process: int) -> Any:  # noqa: ARG001 (another file, another process: another handle)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ImageryUnreadable(f"{path} cannot be read as HDF5 ({error}); get the file again.") from error


@dataclass(frozen=True, kw_only=True)
class ArrayRows(PackedLayout):
    """Each part has files with one array a slot, `images` in the order of the data set's slots, and `label`.

    Without a rule, `label` (N, K) has one 1 a row, or (N,) numbers the classes in the data set's order.

    >>> ArrayRows(files={"train": ("training.h5",)}, images=("sen2", "sen1")).described()
    'training.h5'
    """

    images: tuple[str, ...]
    label: str = "label"

    def source(self, path: Path, array: str, row: int) -> ArrayRow:
        """Return where the pixels of one row are."""
        return ArrayRow(path, array, row)

    def in_file(self, path: Path, key: str, part: str, classes: tuple[str, ...]) -> Survey:
        """List the rows; raise `DataError` for missing arrays or labels that are no class."""
        file = open_file(path)
        lengths = {name: len(file[name]) for name in (*self.images, self.label) if name in file}
        missing = [name for name in (*self.images, self.label) if name not in lengths]
        if missing:
            raise DataError(f"{path} lacks the array {', '.join(missing)}; it has {', '.join(file) or 'none'}.")
        if len(set(lengths.values())) != 1:
            counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"The arrays of {path} need the same number of rows; found {counts}.")
        rows = next(iter(lengths.values()))
        numbers = None if self.rule is not None else class_numbers(np.asarray(file[self.label]), len(classes), path)
        records = [
            Record(
                key=f"{key}/{row:06d}",
                image=self.source(path, self.images[0], row),
                others=tuple(self.source(path, name, row) for name in self.images[1:]),
                truth=self.source(path, self.label, row) if numbers is None else None,
                label=None if numbers is None else classes[numbers[row]],
                part=part,
            )
            for row in range(rows)
        ]
        return Survey(records=records, problems=[])


def class_numbers(label: NDArray[Any], count: int, where: object) -> list[int]:
    """Return the class of each row of a one-hot array (N, K) or of an array of numbers (N,) or (N, 1).

    Raises `DataError` for a row that is not one-hot, or a number that is no class.

    >>> class_numbers(np.array([[0, 1, 0], [1, 0, 0]]), 3, "x.h5")
    [1, 0]
    """
    if label.ndim == 2 and label.shape[1] == count > 1:
        wrong = np.flatnonzero(((label == 1).sum(axis=1) != 1) | ((label != 0).sum(axis=1) != 1))
        if len(wrong):
            raise DataError(f"Row {wrong[0]} of the labels of {where} is not one 1 among zeros; get the file again.")
        return [int(number) for number in label.argmax(axis=1)]
    numbers = label.reshape(len(label), -1)
    if numbers.shape[1] != 1:
        raise DataError(
            f"The labels of {where} have {numbers.shape[1]} columns; this data set has {count} classes, so they need "
            f"{count} or one."
        )
    wrong = np.flatnonzero((numbers[:, 0] < 0) | (numbers[:, 0] >= count))
    if len(wrong):
        found = numbers[wrong[0], 0]
        raise DataError(f"Row {wrong[0]} of the labels of {where} is {found}, which is none of 0 to {count - 1}.")
    return [int(number) for number in numbers[:, 0]]
