"""Tar shards as WebDataset writes them: `<key>.jpg`, `<key>.cls`, ... one after the other in `train-000000.tar`."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.datasets.formats.class_names import class_named
from swath.datasets.formats.images import EncodedImage
from swath.datasets.formats.packed import PackedLayout
from swath.datasets.layout import Survey
from swath.datasets.records import Record
from swath.errors import DataError, ImageryUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES = ("jpg", "jpeg", "png", "tif", "tiff")


@dataclass(frozen=True, slots=True)
class Member(EncodedImage):
    """A file in an uncompressed archive, by where it begins and how long it is."""

    path: Path
    name: str
    start: int
    length: int

    def __str__(self) -> str:
        return f"{self.path}/{self.name}"

    def content(self) -> bytes:
        """Return the bytes; raise `ImageryUnreadable` where the archive ends before."""
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            data = stream.read(self.length)
        if len(data) < self.length:
            raise ImageryUnreadable(f"{self} is cut short; get the archive again.")
        return data


@dataclass(frozen=True, kw_only=True)
class TarShards(PackedLayout):
    """Each part has shards in which files of one key, the name up to its first dot, make one sample.

    `images` are the endings of each slot's image, in the order of the slots. `label` is the ending of the
    truth: a mask to be read by the rule, or else text with a class by name or number, or JSON with
    `json_field`, a class or a list of all that hold.

    >>> TarShards(files={"train": ("train-*.tar",)}).described()
    'train-*.tar'
    """

    images: tuple[tuple[str, ...], ...] = (PICTURES,)
    label: str = "cls"
    json_field: str = "label"

    def in_file(self, path: Path, key: str, part: str, classes: tuple[str, ...]) -> Survey:
        """List the samples; one without its image or truth is a problem."""
        records: list[Record] = []
        problems: list[str] = []
        for name, members in _samples(path):
            images = [
                next((members[ending] for ending in endings if ending in members), None) for endings in self.images
            ]
            found = [image for image in images if image is not None]
            truth = members.get(self.label)
            if len(found) < len(images) or truth is None:
                endings = [*(endings[0] for endings in self.images), self.label]
                problems.append(f"'{name}' in {path} lacks one of {', '.join(endings)}; get the archive again.")
                continue
            chosen = None if self.rule is not None else self._classes(truth, classes)
            records.append(
                Record(
                    key=f"{key}/{name}",
                    image=found[0],
                    others=tuple(found[1:]),
                    truth=None if self.rule is None else truth,
                    label=chosen if isinstance(chosen, str) else None,
                    labels=chosen if isinstance(chosen, tuple) else None,
                    part=part,
                )
            )
        return Survey(records=records, problems=problems)

    def _classes(self, truth: Member, classes: tuple[str, ...]) -> str | tuple[str, ...]:
        text = truth.content().decode("utf-8", errors="replace")
        if not truth.name.endswith(".json"):
            return class_named(text, classes, truth)
        try:
            value: Any = json.loads(text)[self.json_field]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{truth} has no field '{self.json_field}' in JSON; mend it.") from error
        if isinstance(value, list):
            return tuple(class_named(str(each), classes, truth) for each in value)
        return class_named(str(value), classes, truth)


def _samples(path: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """Yield the key and the members by ending of each sample, in the order of the archive."""
    grouped: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                stem, dot, ending = name.partition(".")
                if member.isfile() and dot and stem:
                    key = f"{folder}/{stem}" if folder not in ("", ".") else stem
                    place = Member(path, member.name, member.offset_data, member.size)
                    grouped.setdefault(key, {})[ending.lower()] = place
    except (tarfile.TarError, OSError) as error:
        raise ImageryUnreadable(f"{path} cannot be read as an uncompressed tar ({error}); get it again.") from error
    yield from grouped.items()
