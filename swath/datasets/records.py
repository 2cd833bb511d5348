"""What a layout finds on disk: one record an image, not yet read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from swath.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swath.imagery.pixels import Pixels
    from swath.samples.annotation import Annotation

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
"""Files that count as images of a data set, in lower case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """An image of a data set and where its truth is.

    `key` is the image's path below the data set's folder, with `/`; `truth` the file of its annotation, if it
    has one; `label` its class, if the layout says so.

    >>> Record(key="Forest/Forest_1.jpg", image=Path("eurosat/Forest/Forest_1.jpg"), label="Forest").stem
    'Forest/Forest_1'
    """

    key: str
    image: Path
    truth: Path | None = None
    label: str | None = None

    @property
    def stem(self) -> str:
        """The key without the file's suffix."""
        return self.key[: self.key.rfind(".")] if "." in self.key.rpartition("/")[2] else self.key


class Layout(Protocol):
    """A way in which a data set lies on disk."""

    def records(self, root: Path, classes: tuple[str, ...]) -> list[Record]:
        """List all images below a folder, in a fixed order; raise `DataError` for another layout."""
        ...

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Annotation:
        """Read what is known about an image that has been read; raise `DataError` for a broken file."""
        ...


def image_files(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the image files of a folder by name, not hidden ones; raise `DataError` for no folder."""
    wanted = frozenset(suffixes)
    return [path for path in listed(folder) if path.suffix.lower() in wanted and not path.name.startswith(".")]


def listed(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name; raise `DataError` when it is not there."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; give the folder that holds the data set.")
    return sorted(folder.iterdir(), key=lambda path: path.name)
