"""Boxes in tables: CSV with a row a box for many images, VisDrone's text, and the text of NWPU VHR-10."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from swath.datasets.formats.object_files import ObjectFiles, ObjectLayout, lines_of, root_of
from swath.datasets.formats.stated_objects import EVERY_CLASS, StatedObject, number
from swath.datasets.layout import Survey
from swath.datasets.records import Record, listed
from swath.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swath.geometry.windows import Size

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, kw_only=True)
class BoxTable(ObjectLayout):
    """CSV tables with the columns image_path, xmin, ymin, xmax, ymax, label: a row a box, in pixels.

    `tables` are patterns of files below the data set's folder by part, and a part may be None. Image paths go from the
    table's folder, after `images` has been put around them. A row with an image and no box says that the image holds
    none. Tables with a column of `predictions` hold no truth and are not read; nor are those that a pattern with `*`
    found and that lack the columns.

    >>> BoxTable(tables={"train": ("train.csv",)}).described()
    'train.csv'
    """

    tables: Mapping[str | None, tuple[str, ...]]
    images: str = "{}"
    predictions: str = "score"

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:  # noqa: ARG002 (one signature)
        """List the images in the order of the tables; one that is not there, or in two of them, is a problem."""
        listed(root)
        records: dict[str, Record] = {}
        problems: list[str] = []
        for part, patterns in self.tables.items():
            for table in self._tables(root, patterns):
                for name in read_table(table):
                    path = table.parent / self.images.format(name)
                    key = path.relative_to(root).as_posix()
                    if not path.is_file():
                        problems.append(f"{table} names {name}, which is not in {path.parent}; complete the data set.")
                    elif key in records:
                        problems.append(f"{table} and {records[key].truth} both name {name}; keep one of them.")
                    else:
                        records[key] = Record(key=key, image=path, truth=table, part=part)
        if not (records or problems):
            raise DataError(f"{root} holds no table {self.described()} of boxes; give the folder that does.")
        return Survey(records=list(records.values()), problems=problems)

    def stated(self, record: Record, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the rows of an image."""
        if not isinstance(record.truth, Path):
            raise DataError(f"'{record.key}' has no table; complete the data set.")
        placed = (root_of(record) / record.key).relative_to(record.truth.parent).as_posix()
        before, _, after = self.images.partition("{}")
        return list(read_table(record.truth)[placed.removeprefix(before).removesuffix(after)])

    def fits(self, root: Path) -> bool:
        """Return whether a table is there for each part."""
        return all(self._tables(root, patterns) for patterns in self.tables.values())

    def described(self) -> str:
        """Say the tables."""
        return ", ".join(" or ".join(patterns) for patterns in self.tables.values())

    def _tables(self, root: Path, patterns: tuple[str, ...]) -> list[Path]:
        found: dict[Path, None] = {}
        for pattern in patterns:
            for path in sorted(root.glob(pattern)):
                columns = _columns(path)
                whole = {"image_path", *_CORNERS, "label"} <= columns
                if self.predictions not in columns and (whole or "*" not in pattern):
                    found[path] = None
        return list(found)


def read_table(path: Path) -> Mapping[str, tuple[StatedObject, ...]]:
    """Return the boxes of each image that a CSV table names; raise `DataError` naming the line that is wrong.

    Tables are kept once read.
    """
    return _table(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _table(path: Path, changed: int) -> Mapping[str, tuple[StatedObject, ...]]:  # noqa: ARG001 (a changed file is read)
    found: dict[str, list[StatedObject]] = {}
    lacking = {"image_path", *_CORNERS, "label"} - _columns(path)
    if lacking:
        raise DataError(f"{path} lacks the columns {', '.join(sorted(lacking))}; mend the table.")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        table = csv.DictReader(stream)
        for row in table:
            where = f"Line {table.line_num} of {path}"
            image = PurePosixPath((row["image_path"] or "").strip().replace("\\", "/")).as_posix()
            rows = found.setdefault(image, [])
            texts = [row[name] for name in _CORNERS]
            if any((text or "").strip() for text in texts):
                box = np.array([number(text, where) for text in texts])
                rows.append(StatedObject(name=row["label"] or "", shape=box, where=where))
    return {name: tuple(rows) for name, rows in found.items()}


def _columns(path: Path) -> set[str]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return set(next(csv.reader(stream), []))


@dataclass(frozen=True, kw_only=True)
class VisDroneText(ObjectFiles):
    """VisDrone-DET's text: `left,top,width,height,score,category,truncation,occlusion` a line.

    `names` are the categories by number. Category 0, an ignored region, becomes an ignored object of every class; a
    score of 0 marks an object that does not count in measuring.

    >>> VisDroneText(folders=()).names[1]
    'pedestrian'
    """

    names: tuple[str, ...] = (
        EVERY_CLASS,
        "pedestrian",
        "people",
        "bicycle",
        "car",
        "van",
        "truck",
        "tricycle",
        "awning-tricycle",
        "bus",
        "motor",
        "others",
    )

    def parse(self, path: Path, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the objects of a file; raise `DataError` naming the line that is wrong."""
        found = []
        for line, where in lines_of(path):
            fields = line.rstrip(",").split(",")
            if len(fields) < 6:
                raise DataError(f"{where} has {len(fields)} fields, where 8 are needed; mend the file.")
            left, top, width, height, counts, category = (number(text, where) for text in fields[:6])
            if category not in range(len(self.names)):
                raise DataError(f"{where} has the category {fields[5]}; there are 0 to {len(self.names) - 1}.")
            name = self.names[int(category)]
            found.append(
                StatedObject(
                    name=name,
                    shape=np.array([left, top, left + width, top + height]),
                    where=where,
                    ignored=counts == 0 or name == EVERY_CLASS,
                )
            )
        return found


@dataclass(frozen=True, kw_only=True)
class CornerText(ObjectFiles):
    """NWPU VHR-10's text: `(x1,y1),(x2,y2),class` a line, the class a number counted from 1 in the order of `names`.

    >>> CornerText(folders=(), names=("airplane", "ship")).names[0]
    'airplane'
    """

    names: tuple[str, ...] = ()

    def parse(self, path: Path, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the objects of a file; raise `DataError` naming the line that is wrong."""
        found = []
        for line, where in lines_of(path):
            fields = re.sub(r"[()\s]", "", line).rstrip(",").split(",")
            if len(fields) != 5:
                raise DataError(f"{where} is not of the form (x1,y1),(x2,y2),class; mend the file.")
            *box, category = (number(text, where) for text in fields)
            if category not in range(1, len(self.names) + 1):
                raise DataError(f"{where} has the class {fields[4]}; there are 1 to {len(self.names)}.")
            found.append(StatedObject(name=self.names[int(category) - 1], shape=np.array(box), where=where))
        return found
