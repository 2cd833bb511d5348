"""Detections as the servers of DOTA, GLH-Bridge and FAIR1M take them: archives of text or of XML, and their rules.

Sources: sheets legnet and glh-bridge ("Inference") and fair1m ("Submission").
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swath.datasets.formats.fair1m_xml import Fair1mObject, fair1m_document, fair1m_objects
from swath.datasets.formats.safe_xml import parse_xml
from swath.datasets.object_classes import FAIR1M_ORDERS
from swath.errors import DataError
from swath.imagery.atomic import AtomicOutput, output_errors
from swath.metrics.classes import fold_class_name
from swath.samples.vectors import Boxes, OrientedBoxes

if TYPE_CHECKING:
    import os

Task = Literal["Task1", "Task2"]
"""DOTA's tasks: boxes at any angle, and upright ones."""

FAIR1M_FOLDER = "test"
_DATE = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes


def write_dota_submission(
    found: Mapping[str, OrientedBoxes] | Mapping[str, Boxes],
    path: str | os.PathLike[str],
    *,
    images: Sequence[str],
    classes: Sequence[str],
    overwrite: bool = False,
) -> Task:
    """Write a ZIP archive with a text file a class, `Task1_<class>.txt`, or `Task2_` for upright boxes; return which.

    A line is the image, the score, and the corners x1 y1 ... x4 y4 (or x1 y1 x2 y2) to hundredths of a pixel. `found`
    holds the detections by the image's name without suffix, in whole images, not tiles. Raises `DataError` unless it
    holds exactly the `images`, also those without detections, all of one kind, with exactly the `classes`, and scores
    of 0 to 1.
    """
    _check_images(found, images)
    kinds = {type(each) for each in found.values()}
    if len(kinds) != 1 or not kinds <= {Boxes, OrientedBoxes}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(f"DOTA takes OrientedBoxes (Task1) or Boxes (Task2), all of one kind; found {names}.")
    task: Task = "Task1" if kinds == {OrientedBoxes} else "Task2"
    spelt = {fold_class_name(name): name for name in classes}
    lines: dict[str, list[str]] = {name: [] for name in classes}
    for image in sorted(found):
        objects = found[image]
        _check_objects(image, objects, classes)
        places = objects.corners().reshape(-1, 8) if isinstance(objects, OrientedBoxes) else objects.boxes
        for label, score, place in zip(objects.labels, objects.scores, places.tolist(), strict=True):
            numbers = " ".join(f"{value:.2f}" for value in place)
            lines[spelt[fold_class_name(objects.classes[label])]].append(f"{image} {score:.6f} {numbers}\n")
    _write(path, {f"{task}_{name}.txt": "".join(of_class) for name, of_class in lines.items()}, overwrite)
    return task


def check_dota_submission(
    path: str | os.PathLike[str], *, images: Sequence[str], classes: Sequence[str], task: Task = "Task1"
) -> list[str]:
    """Return what is wrong with an archive for DOTA, a sentence each: its files, and lines that are of another form."""
    wanted = {f"{task}_{name}.txt" for name in classes}
    known, length = set(images), 10 if task == "Task1" else 6
    contents = _contents(path)
    problems = list(_other_files(path, set(contents), wanted))
    for name in sorted(wanted & set(contents)):
        for number, line in enumerate(contents[name].decode("utf-8", errors="replace").splitlines(), start=1):
            fields = line.split()
            where = f"Line {number} of {name} in {path}"
            if len(fields) != length or not all(map(_is_finite, fields[1:])):
                problems.append(f"{where} is not an image and {length - 1} numbers.")
            elif fields[0] not in known:
                problems.append(f"{where} names the image '{fields[0]}', which is not asked for.")
            elif not 0 <= float(fields[1]) <= 1:
                problems.append(f"{where} has the score {fields[1]}, which is not 0 to 1.")
    return problems


def write_fair1m_submission(
    found: Mapping[str, OrientedBoxes],
    path: str | os.PathLike[str],
    *,
    images: Sequence[str],
    overwrite: bool = False,
) -> None:
    """Write a ZIP archive with the folder `test` and in it an XML file an image, also for images without detections.

    `found` holds the detections by the image's name without suffix. Classes are written as FAIR1M spells them, whatever
    their order. Raises `DataError` unless it holds exactly the `images`, boxes at any angle, FAIR1M's 37 classes, and
    scores of 0 to 1.
    """
    _check_images(found, images)
    spelt = {fold_class_name(name): name for name in FAIR1M_ORDERS["petdet"]}
    files = {}
    for image in sorted(found):
        objects = found[image]
        if not isinstance(objects, OrientedBoxes):
            raise DataError(f"FAIR1M takes OrientedBoxes; found {type(objects).__name__} for '{image}'.")
        _check_objects(image, objects, tuple(spelt.values()))
        names = [spelt[fold_class_name(name)] for name in objects.classes]
        written = [
            Fair1mObject(name=names[label], probability=float(score), corners=corners)
            for label, score, corners in zip(objects.labels, objects.scores, objects.corners(), strict=True)
        ]
        files[f"{FAIR1M_FOLDER}/{image}.xml"] = fair1m_document(f"{image}.tif", objects.size, written)
    _write(path, files, overwrite)


def check_fair1m_submission(path: str | os.PathLike[str], *, images: Sequence[str]) -> list[str]:
    """Return what is wrong with an archive for FAIR1M, a sentence each: its files, their form, classes and scores."""
    contents = _contents(path)
    wanted = {f"{FAIR1M_FOLDER}/{image}.xml" for image in images}
    problems = list(_other_files(path, set(contents), wanted))
    known = {fold_class_name(name) for name in FAIR1M_ORDERS["petdet"]}
    for name in sorted(wanted & set(contents)):
        try:
            objects = fair1m_objects(parse_xml(contents[name], name), name)
        except DataError as error:
            problems.append(str(error))
            continue
        for each in objects:
            if fold_class_name(each.name) not in known:
                problems.append(f"{each.where} in {path} has the class '{each.name}', which is none of FAIR1M's 37.")
            if not 0 <= each.score <= 1:
                problems.append(f"{each.where} in {path} has the probability {each.score:g}, which is not 0 to 1.")
    return problems


def _check_images(found: Mapping[str, Boxes] | Mapping[str, OrientedBoxes], images: Sequence[str]) -> None:
    lacking, extra = sorted(set(images) - set(found)), sorted(set(found) - set(images))
    if lacking or not images:
        what = f"'{lacking[0]}' and {len(lacking) - 1} other images are missing" if lacking else "no image is asked for"
        raise DataError(f"A submission has every image, also those without detections; {what}.")
    if extra:
        raise DataError(f"The submission has '{extra[0]}' and {len(extra) - 1} others, which are not asked for.")


def _check_objects(image: str, objects: Boxes | OrientedBoxes, classes: Sequence[str]) -> None:
    if sorted(map(fold_class_name, objects.classes)) != sorted(map(fold_class_name, classes)):
        raise DataError(
            f"The detections in '{image}' have the classes {', '.join(objects.classes)}; asked for are "
            f"{', '.join(classes)}."
        )
    if len(objects) and not (objects.scores.min() >= 0 and objects.scores.max() <= 1):
        raise DataError(
            f"The scores in '{image}' are {objects.scores.min():g} to {objects.scores.max():g}, not 0 to 1."
        )


def _write(path: str | os.PathLike[str], files: Mapping[str, str], overwrite: bool) -> None:
    with AtomicOutput(path, overwrite=overwrite) as part, output_errors(path), zipfile.ZipFile(part, "w") as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name, date_time=_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)


def _contents(path: str | os.PathLike[str]) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{Path(path)} cannot be read as a ZIP archive ({error}); write it again.") from error


def _other_files(path: object, found: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{path} lacks {name}." for name in sorted(wanted - found))
    yield from (f"{path} holds {name}, which the server does not take." for name in sorted(found - wanted))


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
