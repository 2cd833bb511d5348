"""What a layout finds on disk: one record an image (or pair of images), not yet read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from swath.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from swath.imagery.bands import Band, Unit
    from swath.imagery.pixels import Pixels

IMAGE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff"})
"""Files that count as images of a data set, in lower case."""


class StoredImage(ABC):
    """An image that is not a file of its own: a row of an HDF5 file, a member of an archive, a stack of files.

    It holds where the pixels are, not the pixels, so that millions of records are cheap and go to other
    processes. `str` names it in messages.
    """

    @abstractmethod
    def pixels(self, bands: tuple[Band, ...], unit: Unit) -> Pixels:
        """Read it as an image; raise `ImageryUnreadable` or, for another number of bands, `DataError`."""

    @abstractmethod
    def mask(self, *, colours: bool) -> NDArray[Any]:
        """Read it as a mask, (C, H, W), as `formats.images.read_mask` does a file."""


ImageSource: TypeAlias = Path | StoredImage
"""Where the pixels of an image are: a file, or something inside one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """An image of a data set and where its truth is.

    `key` is the image's path below the data set's folder, with `/`. `image` is the source of the data set's
    first slot and `others` those of its further slots, in order. `truth` holds its annotation, if it has one,
    and `truth_after` that of the second date where both are annotated. `label` is its class, `labels` all
    that hold where several may, and `part` the part it belongs to, each if the layout says so. `way` says
    which of several layouts found it.

    >>> Record(key="Forest/Forest_1.jpg", image=Path("eurosat/Forest/Forest_1.jpg"), label="Forest").stem
    'Forest/Forest_1'
    """

    key: str
    image: ImageSource
    others: tuple[ImageSource, ...] = ()
    truth: ImageSource | None = None
    truth_after: ImageSource | None = None
    label: str | None = None
    labels: tuple[str, ...] | None = None
    part: str | None = None
    way: int = 0

    @property
    def stem(self) -> str:
        """The key without the file's suffix."""
        return self.key[: self.key.rfind(".")] if "." in self.key.rpartition("/")[2] else self.key

    @property
    def name(self) -> str:
        """The last piece of the stem: the file's name without folder and suffix."""
        return self.stem.rpartition("/")[2]


def image_files(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the image files of a folder by name, not hidden ones; raise `DataError` for no folder."""
    wanted = frozenset(suffixes)
    return [path for path in listed(folder) if path.suffix.lower() in wanted and not path.name.startswith(".")]


def listed(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name; raise `DataError` when it is not there."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; give the folder that holds the data set.")
    return sorted(folder.iterdir(), key=lambda path: path.name)
