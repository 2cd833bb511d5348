"""What layouts of rows, cells and members share: a class a row, or a mask, and files by part."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swath.datasets.formats.class_names import label_of
from swath.datasets.formats.label_rules import LabelRule
from swath.datasets.formats.parts import described_files, part_files
from swath.datasets.layout import Layout, Survey
from swath.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from swath.datasets.records import Record
    from swath.imagery.pixels import Pixels
    from swath.samples.labels import Label
    from swath.samples.rasters import ClassMap


@dataclass(frozen=True, kw_only=True)
class PackedLayout(Layout):
    """Many images in a file: `files` are the globs of each part's files below the data set's folder.

    The truth is a mask where there is a `rule` to read it by, and a class (or several) otherwise.
    """

    files: Mapping[str, tuple[str, ...]]
    rule: LabelRule | None = None

    @abstractmethod
    def in_file(self, path: Path, key: str, part: str, classes: tuple[str, ...]) -> Survey:
        """List the images of one file, whose keys begin with `key`; raise `DataError` for one that does not fit."""

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:
        """List the images file by file; raise `DataError` where there is no file, or for what does not fit."""
        surveys = [
            self.in_file(path, path.relative_to(root).as_posix(), part, classes)
            for part, path in part_files(root, self.files)
        ]
        if not surveys:
            raise DataError(f"{root} holds none of the files {self.described()}; give the folder that does.")
        return Survey.of_all(surveys)

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Label | ClassMap:
        """Read the mask, or return the class; raise `DataError` for a mask of another size or value."""
        if self.rule is not None and record.truth is not None:
            return self.rule.read(record.truth, classes, pixels.size)
        return label_of(record, classes, pixels.size)

    def fits(self, root: Path) -> bool:
        """Return whether one of the files is there."""
        return any(True for _ in part_files(root, self.files))

    def described(self) -> str:
        """Say which files are looked for."""
        return described_files(self.files)


def file_stamp(path: Path) -> int:
    """Return when a file was last changed, to tell it from an earlier one of its name; `DataError` where it is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise DataError(f"{path} is no longer there; put it back.") from error
