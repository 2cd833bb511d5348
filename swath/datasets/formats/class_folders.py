"""A folder of class folders of images: `<root>/<class>/<file>`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from swath.datasets.records import Record, image_files, listed
from swath.errors import DataError
from swath.metrics.classes import fold_class_name
from swath.samples.labels import Label

if TYPE_CHECKING:
    from pathlib import Path

    from swath.geometry.windows import Size
    from swath.imagery.pixels import Pixels


@dataclass(frozen=True)
class ClassFolders:
    """Each class has a folder; names match without regard to case, spaces, hyphens and underscores.

    The order of the classes is the data set's, not that of the folders. A class without a folder, a folder
    that is no class and an empty folder are errors, because figures over other classes would not be
    comparable.

    >>> ClassFolders()
    ClassFolders()
    """

    def records(self, root: Path, classes: tuple[str, ...]) -> list[Record]:
        """List the images class by class, each class by file name."""
        folders = class_folders(root)
        folded = {fold_class_name(name): name for name in classes}
        found = {fold_class_name(folder.name): folder for folder in folders}
        missing = [name for fold, name in folded.items() if fold not in found]
        extra = [folder.name for fold, folder in found.items() if fold not in folded]
        if missing or extra:
            problems = [f"lacks the class folder{_s(missing)} {', '.join(missing)}"] if missing else []
            problems += [f"has {', '.join(extra)}, which {_are(extra)} of the data set"] if extra else []
            raise DataError(
                f"{root} {' and '.join(problems)}; give the folder that holds exactly the {len(classes)} class folders."
            )
        return [
            Record(key=f"{found[fold].name}/{path.name}", image=path, label=name)
            for fold, name in folded.items()
            for path in _images(found[fold])
        ]

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Label:
        """Return the class as a one-hot label."""
        return _truth(record.label or "", classes, pixels.size)


def class_folders(root: Path) -> list[Path]:
    """Return the folders below a folder by name, not hidden ones; raise `DataError` where there is none."""
    folders = [path for path in listed(root) if path.is_dir() and not path.name.startswith((".", "__"))]
    if not folders:
        raise DataError(f"{root} holds no class folders; give the folder whose folders are the classes.")
    return folders


@lru_cache(maxsize=4096)
def _truth(name: str, classes: tuple[str, ...], size: Size) -> Label:
    return Label.of(name, classes, size)


def _images(folder: Path) -> list[Path]:
    images = image_files(folder)
    if not images:
        raise DataError(f"The class folder {folder} holds no image; complete the data set.")
    return images


def _s(names: list[str]) -> str:
    return "s" if len(names) > 1 else ""


def _are(names: list[str]) -> str:
    return "are no classes" if len(names) > 1 else "is no class"
