"""Objects in COCO's JSON: one file for many images, with boxes, polygons or run-length masks, and crowds."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.datasets.formats.coco_masks import coco_mask, polygons_of
from swath.datasets.formats.object_files import ObjectLayout, root_of
from swath.datasets.formats.stated_objects import ObjectKind, ObjectsRead, StatedObject, objects_from, sift
from swath.datasets.layout import Survey
from swath.datasets.records import Record, listed
from swath.errors import DataError
from swath.geometry.oriented import corners
from swath.geometry.oriented_rectangles import minimum_area_rectangles
from swath.samples.instances import Instances

if TYPE_CHECKING:
    from swath.geometry.windows import Size


@dataclass(frozen=True, kw_only=True)
class CocoFile:
    """A JSON file below the data set's folder, the folder of its images, and their part.

    Of several `annotations` the first that is there counts. An `optional` file may be missing.

    >>> CocoFile(annotations=("train/_annotations.coco.json",), images="train", part="train").optional
    False
    """

    annotations: tuple[str, ...]
    images: str
    part: str | None = None
    optional: bool = False

    def path(self, root: Path) -> Path | None:
        """Return the file, None where it is not there."""
        return next((root / name for name in self.annotations if (root / name).is_file()), None)


@dataclass(frozen=True, kw_only=True)
class CocoJson(ObjectLayout):
    """JSON files of COCO's kind: images, categories, annotations with bbox (x, y, width, height) and segmentation.

    Upright data sets take `bbox`; those of masks take the segmentation, whose pixels are COCO's own; oriented ones take
    the smallest rectangle around the polygons. Crowds are ignored in measuring. Categories go by their name. With
    `filled`, images without annotations are left out of the data set, as in the training of COCO models.

    >>> CocoJson(files=(CocoFile(annotations=("train.json",), images="train"),)).described()
    'train.json'
    """

    files: tuple[CocoFile, ...]
    filled: bool = False

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:  # noqa: ARG002 (one signature)
        """List the images in the order of the files; one that is not there, or there twice, is a problem."""
        listed(root)
        records: dict[str, Record] = {}
        problems: list[str] = []
        for file in self.files:
            path = file.path(root)
            if path is None:
                lacks = f"There is no file {root / file.annotations[0]}; complete the data set."
                problems += [] if file.optional else [lacks]
                continue
            for name, image in load_coco(path).items():
                key = (Path(file.images) / name).as_posix()
                if not (root / key).is_file():
                    problems.append(
                        f"{path} names {name}, which is not in {root / file.images}; complete the data set."
                    )
                elif key in records:
                    problems.append(f"{path} and {records[key].truth} both name {name}; an image belongs to one part.")
                elif image or not self.filled:
                    records[key] = Record(key=key, image=root / key, truth=path, part=file.part)
        if not (records or problems):
            raise DataError(f"{root} holds no image of {self.described()}; give the folder that does.")
        return Survey(records=list(records.values()), problems=problems)

    def read(self, record: Record, size: Size, classes: tuple[str, ...]) -> ObjectsRead:
        """Read the objects of an image of this size, and count what is left out."""
        if self.rules.kind is not ObjectKind.MASKS:
            return objects_from(self.stated(record, size), size, classes, self.rules)
        entries = {_where(entry, record): entry for entry in self._entries(record)}
        kept = sift(self.stated(record, size), size, classes, self.rules)
        masks = tuple(coco_mask(entries[each.where].get("segmentation"), size, each.where) for each in kept.objects)
        common = kept.common(size, classes)
        return ObjectsRead(objects=Instances(boxes=kept.boxes, masks=masks, **common), left_out=kept.left_out)

    def stated(self, record: Record, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the annotations of an image."""
        return [self._object(entry, _where(entry, record)) for entry in self._entries(record)]

    def fits(self, root: Path) -> bool:
        """Return whether the files are there, optional ones aside."""
        needed = [file for file in self.files if not file.optional] or self.files[:1]
        return all(file.path(root) is not None for file in needed)

    def described(self) -> str:
        """Say the files."""
        return ", ".join(" or ".join(file.annotations) for file in self.files)

    def _entries(self, record: Record) -> tuple[dict[str, Any], ...]:
        root = root_of(record)
        for file in self.files:
            path = file.path(root)
            if path is not None and path == record.truth:
                return load_coco(path)[Path(record.key).relative_to(file.images).as_posix()]
        raise DataError(f"{record.truth} is none of {self.described()} in {root}.")

    def _object(self, entry: dict[str, Any], where: str) -> StatedObject:
        if self.rules.kind is ObjectKind.ORIENTED:
            points = np.concatenate(polygons_of(entry.get("segmentation"), where))
            shape = corners(minimum_area_rectangles([points]))[0]
        else:
            box = entry.get("bbox")
            try:
                x, y, width, height = map(float, box or ())
            except (TypeError, ValueError) as error:
                raise DataError(f"{where} has the bbox {box}, where x, y, width, height are needed.") from error
            shape = np.array([x, y, x + width, y + height])
        return StatedObject(name=entry["category"], shape=shape, where=where, ignored=bool(entry.get("iscrowd", 0)))


def load_coco(path: Path) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return the annotations of each image of a file, by the image's name and with the name of their `category`.

    Files are kept once read. Raises `DataError` for a file that is not of COCO's kind, or where annotations belong to
    no image or category.
    """
    return _loaded(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _loaded(path: Path, changed: int) -> dict[str, tuple[dict[str, Any], ...]]:  # noqa: ARG001 (a changed file is read)
    try:
        content = json.loads(path.read_bytes())
        names = {image["id"]: str(image["file_name"]).replace("\\", "/") for image in content["images"]}
        categories = {category["id"]: str(category["name"]) for category in content["categories"]}
        annotations = content["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no JSON of COCO's kind with images, annotations and categories ({error!r}); get it again."
        ) from error
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    if repeated:
        raise DataError(f"{path} has more than one image named {repeated[0]}; mend the file.")
    found: dict[Any, list[dict[str, Any]]] = {image: [] for image in names}
    for entry in annotations:
        number, image, category = (entry.get(name) for name in ("id", "image_id", "category_id"))
        if image not in found or category not in categories:
            raise DataError(
                f"Annotation {number} of {path} is of image {image} and category {category}; one of them is missing."
            )
        kept = {name: entry[name] for name in ("id", "bbox", "iscrowd") if name in entry}
        packed = _packed(entry.get("segmentation"))
        found[image].append(kept | {"segmentation": packed, "category": categories[category]})
    return {names[image]: tuple(entries) for image, entries in found.items()}


def _packed(segmentation: Any) -> Any:
    """Return polygons as arrays, which take a quarter of the memory of lists; other masks as they are."""
    if isinstance(segmentation, list) and all(isinstance(points, list) for points in segmentation):
        with contextlib.suppress(TypeError, ValueError):
            return [np.array(points, dtype=np.float64) for points in segmentation]
    return segmentation


def _where(entry: dict[str, Any], record: Record) -> str:
    return f"Annotation {entry.get('id')} of {record.truth}"
