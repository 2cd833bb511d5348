"""Layouts of objects: images whose objects stand in files, and images each beside a file of its own.

What is left out of a data set (see `stated_objects`) is said in one warning for each reason, at the first object that
is concerned; `count_left_out` goes through the whole data set and counts it.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from swath.datasets.formats.images import opened
from swath.datasets.formats.stated_objects import ObjectRules, ObjectsRead, StatedObject, objects_from
from swath.datasets.layout import FirstLayout, Layout, Survey
from swath.datasets.records import Record, image_files, listed
from swath.errors import DataError, SwathWarning
from swath.geometry.windows import Size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swath.datasets.spec import Dataset, DatasetSpec
    from swath.imagery.pixels import Pixels
    from swath.samples.objects import Objects

BLANK = "blank files, whose images hold no object"

_said: set[tuple[Path, str]] = set()
"""The folders of data sets, and the reasons that were told for them."""


@dataclass(frozen=True, kw_only=True)
class ObjectLayout(Layout):
    """Images whose objects stand in files: what all layouts of objects share."""

    rules: ObjectRules = field(default_factory=ObjectRules)

    @abstractmethod
    def stated(self, record: Record, size: Size) -> list[StatedObject]:
        """Return the objects of an image of this size as its file states them."""

    def read(self, record: Record, size: Size, classes: tuple[str, ...]) -> ObjectsRead:
        """Read the objects of an image of this size, and count what is left out."""
        return objects_from(self.stated(record, size), size, classes, self.rules)

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Objects:
        """Read the objects; warn, once a data set, of what is left out."""
        found = self.read(record, pixels.size, classes)
        root = root_of(record)
        for reason in found.left_out:
            if (root, reason) not in _said:
                _said.add((root, reason))
                warnings.warn(
                    f"{root} has {reason}, the first in {record.truth}; they are left out, there and in all other "
                    "files, and this is said once.",
                    SwathWarning,
                    stacklevel=2,
                )
        return found.objects


@dataclass(frozen=True, kw_only=True)
class ObjectFolder:
    """Where images and the files of their objects lie below the data set's folder, and their part.

    An `optional` folder may be missing.

    >>> ObjectFolder(images="train/images", truths="train/labelTxt", part="train").optional
    False
    """

    images: str
    truths: str
    part: str | None = None
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class ObjectFiles(ObjectLayout):
    """Images, each with a file of its objects that has the image's name and another suffix.

    An image without its file is a `"problem"`, or holds no objects (`"empty"`), or is `"skipped"`, as `lacking` says.
    A file without its image is a problem, unless its name is among `others`.
    """

    suffix: ClassVar[str] = ".txt"
    folders: tuple[ObjectFolder, ...]
    lacking: Literal["problem", "empty", "skipped"] = "problem"
    others: tuple[str, ...] = ()

    @abstractmethod
    def parse(self, path: Path, size: Size) -> list[StatedObject]:
        """Return the objects that a file states for an image of this size; raise `DataError` for a broken file."""

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:  # noqa: ARG002 (one signature)
        """List the images folder by folder; an image or file without its partner is a problem."""
        listed(root)
        records: list[Record] = []
        problems: list[str] = []
        unpaired: dict[Path, dict[str, Path]] = {}
        for folder in self.folders:
            images, truths = root / folder.images, root / folder.truths
            absent = [path for path in (images, truths) if not path.is_dir()]
            if absent:
                problems += [] if folder.optional else [f"There is no folder {absent[0]}; complete the data set."]
                continue
            files = {path.stem: path for path in listed(truths) if self._is_truth(path)}
            orphans = unpaired.setdefault(truths, dict(files))
            for path in image_files(images):
                truth = files.get(path.stem)
                orphans.pop(path.stem, None)
                if truth is None and self.lacking == "problem":
                    problems.append(f"{path} has no file {path.stem}{self.suffix} in {truths}; complete the data set.")
                elif truth is not None or self.lacking == "empty":
                    key = path.relative_to(root).as_posix()
                    records.append(Record(key=key, image=path, truth=truth, part=folder.part))
        orphaned = [path for orphans in unpaired.values() for path in orphans.values()]
        problems += [f"{path} has no image; complete the data set." for path in orphaned]
        if not (records or problems):
            raise DataError(f"{root} holds no image of {self.described()}; give the folder that does.")
        return Survey(records=records, problems=problems)

    def stated(self, record: Record, size: Size) -> list[StatedObject]:
        """Return what the image's file states; nothing where it has none."""
        return self.parse(record.truth, size) if isinstance(record.truth, Path) else []

    def read(self, record: Record, size: Size, classes: tuple[str, ...]) -> ObjectsRead:
        """Read the objects of an image of this size, and count what is left out; a blank file states none."""
        found = super().read(record, size, classes)
        if not len(found.objects) and isinstance(record.truth, Path) and not record.truth.read_bytes().strip():
            found.left_out[BLANK] += 1
        return found

    def fits(self, root: Path) -> bool:
        """Return whether there are the folders of images and files, optional ones aside."""
        needed = [folder for folder in self.folders if not folder.optional] or self.folders[:1]
        return all((root / folder.images).is_dir() and self._has_truths(root / folder.truths) for folder in needed)

    def described(self) -> str:
        """Say where images and files lie."""
        return ", ".join(f"{folder.images} with {folder.truths}/*{self.suffix}" for folder in self.folders)

    def _is_truth(self, path: Path) -> bool:
        return path.suffix.lower() == self.suffix and path.name not in self.others and not path.name.startswith(".")

    def _has_truths(self, folder: Path) -> bool:
        return folder.is_dir() and any(self._is_truth(path) for path in folder.iterdir())


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text file that are not blank, each with words that say where it is."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield line.strip(), f"Line {number} of {path}"


def root_of(record: Record) -> Path:
    """Return the data set's folder, below which the record's key leads to its image.

    >>> root_of(Record(key="train/1.png", image=Path("dota/train/1.png"))).as_posix()
    'dota'
    """
    if not isinstance(record.image, Path):
        raise DataError(f"'{record.key}' is no file of its own, as data sets of objects need; unpack the archive.")
    return record.image.parents[record.key.count("/")]


def layout_of(spec: DatasetSpec, record: Record) -> ObjectLayout:
    """Return the layout that reads the objects of a record; raise `DataError` for a data set of something else."""
    layout = spec.layout
    chosen = layout.layouts[record.way] if isinstance(layout, FirstLayout) else layout
    if not isinstance(chosen, ObjectLayout):
        raise DataError(f"The data set '{spec.name}' holds no objects; name one that does, such as dota-v1.0.")
    return chosen


def size_of(record: Record) -> Size:
    """Return the size of a record's image by its file's header alone; raise `ImageryUnreadable` for a broken one."""
    path = root_of(record) / record.key
    with opened(path, str(path)) as source:
        return Size(source.height, source.width)


def count_left_out(dataset: Dataset) -> Counter[str]:
    """Count by reason what is left out of all truths of a data set of objects; only the headers of images are read."""
    total: Counter[str] = Counter()
    for record in dataset.records:
        total += layout_of(dataset.spec, record).read(record, size_of(record), dataset.classes).left_out
    return total
