"""Images whose classes stand in a text file: a CSV table, or a list of `path class` a line."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from swath.datasets.formats.class_names import class_named, label_of
from swath.datasets.formats.parts import part_named
from swath.datasets.layout import Layout, Survey
from swath.datasets.records import Record, listed
from swath.errors import DataError
from swath.metrics.classes import fold_class_name

if TYPE_CHECKING:
    from swath.imagery.pixels import Pixels
    from swath.samples.labels import Label


class Line(NamedTuple):
    """An image as a line of a file names it, its class or classes, its part, and where the line is."""

    image: str
    chosen: str | tuple[str, ...]
    part: str | None
    where: str


@dataclass(frozen=True, kw_only=True)
class ClassLines(Layout):
    """What tables and lists share: a line names an image, with or without suffix, and its class.

    `images` says where an image lies below the data set's folder, with `{}` for what the line says.
    """

    images: str = "{}"

    @abstractmethod
    def lines(self, root: Path, classes: tuple[str, ...]) -> Iterator[Line]:
        """Yield the lines; raise `DataError` naming the one that is wrong."""

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:
        """List the images in the order of the lines; one that is not there, or in two parts, is a problem."""
        listed(root)
        records: list[Record] = []
        problems: list[str] = []
        part_of: dict[str, str | None] = {}
        for line in self.lines(root, classes):
            path = self._path(root, line.image)
            if path is None:
                problems.append(f"{line.where} names {line.image}, which is not in {root}; complete the data set.")
                continue
            key = path.relative_to(root).as_posix()
            if key in part_of:
                both = f"for both '{part_of[key]}' and '{line.part}'" if part_of[key] != line.part else "twice"
                problems.append(f"{line.where} names {line.image} {both}; mend it.")
                continue
            part_of[key] = line.part
            one, several = (line.chosen, None) if isinstance(line.chosen, str) else (None, line.chosen)
            records.append(Record(key=key, image=path, label=one, labels=several, part=line.part))
        if not (records or problems):
            raise DataError(f"{root} holds no image of {self.described()}; give the folder that does.")
        return Survey(records=records, problems=problems)

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Label:
        """Return the class or classes of the line."""
        return label_of(record, classes, pixels.size)

    def _path(self, root: Path, image: str) -> Path | None:
        given = self.images.format(PurePosixPath(image.replace("\\", "/")))
        path = root / given
        if path.is_file():
            return path
        found = sorted(path.parent.glob(f"{path.name}.*")) if path.parent.is_dir() and "*" not in path.name else []
        return next((each for each in found if each.is_file()), None)


@dataclass(frozen=True, kw_only=True)
class ClassTable(ClassLines):
    """A CSV table with a row an image.

    The column `label` holds its class by name or number; with `separator` it holds all classes that hold,
    with that between them. Without `label` there is a column a class, named as the class, with 1 where it
    holds. The column `part`, if given, says the part of the data set.

    >>> ClassTable(table="labels.csv", separator=" ").described()
    'labels.csv'
    """

    table: str
    image: str = "image"
    label: str | None = "label"
    separator: str | None = None
    part: str | None = None

    def lines(self, root: Path, classes: tuple[str, ...]) -> Iterator[Line]:
        """Yield the rows of the table."""
        path = root / self.table
        if not path.is_file():
            raise DataError(f"There is no table {path}, which says the classes of the images; put it there.")
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            have = {fold_class_name(name): name for name in rows.fieldnames or ()}
            wanted = [self.image, *([self.label] if self.label else classes), *([self.part] if self.part else [])]
            missing = [name for name in wanted if fold_class_name(name) not in have]
            if missing:
                found = ", ".join(rows.fieldnames or ()) or "none"
                raise DataError(f"{path} lacks the column {', '.join(missing)}; it has {found}.")
            for row in rows:
                cells = {name: (row[have[fold_class_name(name)]] or "").strip() for name in wanted}
                where = f"Line {rows.line_num} of {path}"
                chosen = self._chosen(cells, classes, where)
                said = cells[self.part] if self.part else ""
                if said and part_named(said) is None:
                    raise DataError(f"{where} says the part '{said}'; known are train, validation (val) and test.")
                yield Line(cells[self.image], chosen, part_named(said), where)

    def fits(self, root: Path) -> bool:
        """Return whether the table is there."""
        return (root / self.table).is_file()

    def described(self) -> str:
        """Say the table."""
        return self.table

    def _chosen(self, cells: Mapping[str, str], classes: tuple[str, ...], where: str) -> str | tuple[str, ...]:
        if self.label is None:
            wrong = next((name for name in classes if cells[name] not in ("0", "1", "0.0", "1.0")), None)
            if wrong is not None:
                raise DataError(f"{where} holds '{cells[wrong]}' for {wrong}, where 0 or 1 is needed; mend it.")
            return tuple(name for name in classes if float(cells[name]))
        if self.separator is None:
            return class_named(cells[self.label], classes, where)
        pieces = [piece.strip() for piece in cells[self.label].split(self.separator) if piece.strip()]
        return tuple(class_named(piece, classes, where) for piece in pieces)


@dataclass(frozen=True, kw_only=True)
class ClassLists(ClassLines):
    """A text file a part, whose lines are a path and a class by name or number; or a path alone.

    The class of a path alone is the folder that the image lies in.

    >>> ClassLists(files={"train": "train.txt", "test": "test.txt"}).described()
    'train.txt, test.txt'
    """

    files: Mapping[str, str]

    def lines(self, root: Path, classes: tuple[str, ...]) -> Iterator[Line]:
        """Yield the lines of the lists."""
        for part, name in self.files.items():
            path = root / name
            if not path.is_file():
                raise DataError(f"There is no list {path}, which says the classes of the images; put it there.")
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                where = f"Line {number} of {path}"
                if line.strip():
                    image, _, said = line.strip().partition(" ")
                    named = said.strip() or PurePosixPath(image.replace("\\", "/")).parent.name
                    yield Line(image, class_named(named, classes, where), part, where)

    def fits(self, root: Path) -> bool:
        """Return whether all lists are there."""
        return all((root / name).is_file() for name in self.files.values())

    def described(self) -> str:
        """Say the lists."""
        return ", ".join(self.files.values())
