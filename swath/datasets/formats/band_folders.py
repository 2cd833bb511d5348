"""A folder an image with one file a band, and its classes in a JSON file beside them or in a table of all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet
from pyarrow.lib import ArrowException
from rasterio.enums import Resampling

from swath.datasets.formats.class_names import label_of
from swath.datasets.formats.images import checked, grid_of, opened, read_values
from swath.datasets.formats.parts import part_named
from swath.datasets.layout import Layout, Survey
from swath.datasets.records import Record, StoredImage, listed
from swath.errors import DataError, ImageryUnreadable
from swath.geometry.windows import Size
from swath.imagery.pixels import Pixels
from swath.samples.labels import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.bands import Band, Unit


@dataclass(frozen=True, slots=True)
class BandStack(StoredImage):
    """One-band files `<folder>/<folder name>_<band>.tif`, all brought to the size of the largest.

    Coarser bands are interpolated bilinearly, as GDAL does it on reading.
    """

    folder: Path
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.folder} ({', '.join(self.names)})"

    def paths(self) -> list[Path]:
        """Return the files in the order of the bands."""
        return [self.folder / f"{self.folder.name}_{name}.tif" for name in self.names]

    def pixels(self, bands: tuple[Band, ...], unit: Unit) -> Pixels:
        """Read the files; raise `ImageryUnreadable` for one that is missing or broken."""
        files = [opened(path, str(path)) for path in self.paths()]
        try:
            largest = max(files, key=lambda file: int(file.width) * int(file.height))
            size = Size(largest.height, largest.width)
            layers = [read_values(f, f.name, **_resampled(f, size)) for f in files]
            grid = grid_of(largest, size)
        finally:
            for file in files:
                file.close()
        for layer, path in zip(layers, self.paths(), strict=True):
            checked(layer, path, 1)
        return Pixels(values=checked(np.concatenate(layers), self, len(bands)), bands=bands, unit=unit, grid=grid)

    def mask(self, *, colours: bool) -> NDArray[Any]:
        """Raise `DataError`: files of bands are no mask."""
        raise DataError(f"{self} holds bands and no mask (read as {'colours' if colours else 'values'}).")


@dataclass(frozen=True, kw_only=True)
class BandFolders(Layout):
    """Folders named as their images, each with one file a band, as BigEarthNet has them.

    `folders` are the globs of the images' folders, the first that finds any being used. The classes stand in
    `<folder>/<folder name><labels>` (JSON with the list `labels`), or, with `table`, in a Parquet file with
    the columns `patch_id`, `labels` and `split`, which says the parts as well; folders without a row there
    are no images. `groups` renames finer classes before they are looked up; those with an empty group are
    left out.

    >>> BandFolders(folders=("*",), bands=("B02", "B03")).labels
    '_labels_metadata.json'
    """

    folders: tuple[str, ...]
    bands: tuple[str, ...]
    labels: str = "_labels_metadata.json"
    table: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:
        """List the images by folder; one without a band or without its labels is a problem."""
        listed(root)
        rows = None if self.table is None else _rows(root / self.table)
        records, problems = [], []
        for folder, files in self._found(root):
            row = None if rows is None else rows.pop(folder.name, None)
            if rows is not None and row is None:
                continue
            stack = BandStack(folder, self.bands)
            truth = folder / f"{folder.name}{self.labels}" if rows is None else None
            wanted = [*stack.paths(), *([truth] if truth else [])]
            missing = [path.name for path in wanted if path.name not in files]
            if missing:
                problems.append(f"{folder} lacks {', '.join(missing)}; complete the data set.")
                continue
            records.append(
                Record(
                    key=folder.relative_to(root).as_posix(),
                    image=stack,
                    truth=truth,
                    labels=None if row is None else self.grouped(row["labels"], classes, folder),
                    part=None if row is None else part_named(str(row["split"])),
                )
            )
        if not (records or problems):
            raise DataError(f"{root} holds no folders {self.described()}; give the folder that does.")
        problems += [f"{root / str(self.table)} names {name}, which is not there; complete it." for name in rows or ()]
        return Survey(records=records, problems=problems)

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Label:
        """Return all classes that hold; raise `DataError` for a broken file or a name that is no class."""
        if not isinstance(record.truth, Path):
            return label_of(record, classes, pixels.size)
        try:
            names = json.loads(record.truth.read_text(encoding="utf-8"))["labels"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{record.truth} holds no list 'labels' in JSON; get the file again.") from error
        return Label.of(list(self.grouped(names, classes, record.truth)), classes, pixels.size)

    def grouped(self, names: list[str], classes: tuple[str, ...], where: object) -> tuple[str, ...]:
        """Return the data set's classes of an image's labels; raise `DataError` for one that is unknown."""
        known = {name: name for name in classes} | dict(self.groups)
        wrong = [name for name in names if name not in known]
        if wrong:
            raise DataError(f"{where} says the class '{wrong[0]}', which is none of this data set's; mend it.")
        return tuple(dict.fromkeys(known[name] for name in names if known[name] in classes))

    def fits(self, root: Path) -> bool:
        """Return whether there is such a folder, and the table where there should be one."""
        return (self.table is None or (root / self.table).is_file()) and any(True for _ in self._found(root))

    def described(self) -> str:
        """Say what lies where."""
        beside = self.table or f"<name>{self.labels}"
        return f"{' or '.join(self.folders)} with <name>_{self.bands[0]}.tif and {beside}"

    def _found(self, root: Path) -> Iterator[tuple[Path, frozenset[str]]]:
        """Yield the images' folders with the names of their files, each listed once, for there are many."""
        for pattern in self.folders:
            found = False
            for folder in sorted(path for path in root.glob(pattern) if path.is_dir()):
                files = frozenset(path.name for path in folder.iterdir())
                if f"{folder.name}_{self.bands[0]}.tif" in files:
                    found = True
                    yield folder, files
            if found:
                return


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"There is no table {path}, which says the classes of the images; put it there.")
    try:
        table = pyarrow.parquet.read_table(path, columns=["patch_id", "labels", "split"])
    except (ArrowException, OSError, KeyError) as error:
        raise ImageryUnreadable(f"{path} cannot be read ({error}); get the file again.") from error
    return {str(row["patch_id"]): row for row in table.to_pylist()}


def _resampled(file: Any, size: Size) -> dict[str, Any]:
    if (file.height, file.width) == (size.height, size.width):
        return {}
    return {"out_shape": (file.count, size.height, size.width), "resampling": Resampling.bilinear}
