"""A folder of class folders of images: `<root>/<class>/<file>`, or one such folder a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swath.datasets.formats.class_names import label_of
from swath.datasets.layout import Layout, Survey
from swath.datasets.records import Record, image_files, listed
from swath.errors import DataError
from swath.metrics.classes import fold_class_name

if TYPE_CHECKING:
    from pathlib import Path

    from swath.imagery.pixels import Pixels
    from swath.samples.labels import Label


@dataclass(frozen=True)
class ClassFolders(Layout):
    """Each class has a folder; names match without regard to case, spaces, hyphens and underscores.

    The order of the classes is the data set's, not that of the folders. A class without a folder, a folder
    that is no class and an empty folder are errors, because figures over other classes would not be
    comparable. With `parts`, each part of the data set, by name, has a folder that holds the class folders.

    >>> ClassFolders(parts={"train": "train", "validation": "val"}).described()
    'train/<class>, val/<class>'
    """

    parts: Mapping[str, str] | None = None

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:
        """List the images class by class, each class by file name."""
        if self.parts is None:
            return _survey(root, root, classes, None)
        return Survey.of_all(_survey(root, root / folder, classes, part) for part, folder in self.parts.items())

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Label:
        """Return the class as a one-hot label."""
        return label_of(record, classes, pixels.size)

    def fits(self, root: Path) -> bool:
        """Return whether there are folders, those of the parts where the data set has parts."""
        if self.parts is not None:
            return all((root / folder).is_dir() for folder in self.parts.values())
        return any(path.is_dir() for path in listed(root))

    def described(self) -> str:
        """Say where the class folders lie."""
        if self.parts is None:
            return "<class>"
        return ", ".join(f"{folder}/<class>" for folder in self.parts.values())


def class_folders(root: Path) -> list[Path]:
    """Return the folders below a folder by name, not hidden ones; raise `DataError` where there is none."""
    folders = [path for path in listed(root) if path.is_dir() and not path.name.startswith((".", "__"))]
    if not folders:
        raise DataError(f"{root} holds no class folders; give the folder whose folders are the classes.")
    return folders


def _survey(root: Path, folder: Path, classes: tuple[str, ...], part: str | None) -> Survey:
    folders = class_folders(folder)
    folded = {fold_class_name(name): name for name in classes}
    found = {fold_class_name(path.name): path for path in folders}
    images = {fold: image_files(found[fold]) for fold in folded if fold in found}
    records = [
        Record(key=path.relative_to(root).as_posix(), image=path, label=folded[fold], part=part)
        for fold, paths in images.items()
        for path in paths
    ]
    problems = []
    missing = [name for fold, name in folded.items() if fold not in found]
    extra = [path.name for fold, path in found.items() if fold not in folded]
    if missing or extra:
        pieces = [f"lacks the class folder{_s(missing)} {', '.join(missing)}"] if missing else []
        pieces += [f"has {', '.join(extra)}, which {_are(extra)} of the data set"] if extra else []
        problems.append(
            f"{folder} {' and '.join(pieces)}; give the folder that holds exactly the {len(classes)} class folders."
        )
    empty = [found[fold] for fold, paths in images.items() if not paths]
    problems += [f"The class folder {path} holds no image; complete the data set." for path in empty]
    return Survey(records=records, problems=problems)


def _s(names: list[str]) -> str:
    return "s" if len(names) > 1 else ""


def _are(names: list[str]) -> str:
    return "are no classes" if len(names) > 1 else "is no class"
