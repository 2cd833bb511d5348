"""Parquet files of images as bytes, as Hugging Face keeps data sets: `data/train-00000-of-00005.parquet`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet
from pyarrow.lib import ArrowException

from swath.datasets.formats.class_names import class_named
from swath.datasets.formats.images import EncodedImage
from swath.datasets.formats.packed import PackedLayout, file_stamp
from swath.datasets.layout import Survey
from swath.datasets.records import Record
from swath.errors import DataError, ImageryUnreadable

HUB_FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("data/train-*.parquet", "train-*.parquet"),
        "validation": tuple(f"{at}{name}-*.parquet" for at in ("data/", "") for name in ("val", "validation")),
        "test": ("data/test-*.parquet", "test-*.parquet"),
    }
)
"""Where Hugging Face keeps the files of the parts, with or without the folder `data`."""


@dataclass(frozen=True, slots=True)
class ImageCell(EncodedImage):
    """The image file in one cell of a Parquet file: a struct with `bytes`, or the bytes themselves."""

    path: Path
    column: str
    group: int
    row: int

    def __str__(self) -> str:
        return f"{self.path}, {self.column} of row {self.row} of row group {self.group}"

    def content(self) -> bytes:
        """Return the bytes; raise `ImageryUnreadable` for a cell without any."""
        cell = column_of(self.path, self.group, self.column)[self.row].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes) or not data:
            raise ImageryUnreadable(f"{self} holds no image; get the file again.")
        return data


@dataclass(frozen=True, kw_only=True)
class ImageTable(PackedLayout):
    """Each part has Parquet files with one column a slot, `images` in the order of the slots, and `label`.

    Without a rule, `label` holds names or numbers of classes, or lists of them where several may hold.
    Numbers count the names that the file itself lists for the column (Hugging Face's `ClassLabel`), or else
    the data set's classes.

    >>> ImageTable(images=("imageA", "imageB")).described()
    'data/train-*.parquet or train-*.parquet, data/val-*.parquet or data/validation-*.parquet or \
val-*.parquet or validation-*.parquet, data/test-*.parquet or test-*.parquet'
    """

    files: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(HUB_FILES))
    images: tuple[str, ...] = ("image",)
    label: str = "label"

    def in_file(self, path: Path, key: str, part: str, classes: tuple[str, ...]) -> Survey:
        """List the rows; raise `DataError` for missing columns or labels that are no class."""
        file = _opened(path)
        have = file.schema_arrow.names
        missing = [name for name in (*self.images, self.label) if name not in have]
        if missing:
            raise DataError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(have)}.")
        names = _listed_names(file.schema_arrow, self.label) or classes
        records: list[Record] = []
        for group in range(file.num_row_groups):
            labels = None if self.rule is not None else column_of(path, group, self.label).to_pylist()
            for row in range(file.metadata.row_group(group).num_rows):
                chosen = None if labels is None else _names(labels[row], names, classes, path)
                records.append(
                    Record(
                        key=f"{key}/{len(records):06d}",
                        image=ImageCell(path, self.images[0], group, row),
                        others=tuple(ImageCell(path, name, group, row) for name in self.images[1:]),
                        truth=ImageCell(path, self.label, group, row) if labels is None else None,
                        label=chosen if isinstance(chosen, str) else None,
                        labels=chosen if isinstance(chosen, tuple) else None,
                        part=part,
                    )
                )
        return Survey(records=records, problems=[])


def _names(value: Any, names: tuple[str, ...], classes: tuple[str, ...], where: object) -> str | tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(class_named(class_named(str(each), names, where), classes, where) for each in value)
    return class_named(class_named(str(value), names, where), classes, where)


def _listed_names(schema: Any, column: str) -> tuple[str, ...]:
    """Return the names that Hugging Face's metadata list for a column of class numbers, or none."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    try:
        feature = json.loads(metadata)["info"]["features"][column] if metadata else {}
    except (ValueError, KeyError, TypeError):
        return ()
    inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
    return tuple(inner.get("names") or ())


def _opened(path: Path, metadata: Any = None) -> Any:
    try:
        return pyarrow.parquet.ParquetFile(path, metadata=metadata)
    except (ArrowException, OSError) as error:
        raise ImageryUnreadable(f"{path} cannot be read as Parquet ({error}); get the file again.") from error


def column_of(path: Path, group: int, column: str) -> Any:
    """Return a column of a row group, and keep the last few; raise `ImageryUnreadable` for a damaged file."""
    return _column(path, file_stamp(path), group, column)


@lru_cache(maxsize=64)
def _metadata(path: Path, stamp: int) -> Any:  # noqa: ARG001 (another file, another entry)
    return _opened(path).metadata


@lru_cache(maxsize=8)
def _column(path: Path, stamp: int, group: int, column: str) -> Any:
    # Parquet is read by row groups. A reader of its own for each, since readers are not shared by threads.
    try:
        return _opened(path, _metadata(path, stamp)).read_row_group(group, columns=[column]).column(column)
    except (ArrowException, OSError) as error:
        raise ImageryUnreadable(f"{path} is cut short or damaged ({error}); get the file again.") from error
