"""Looking through a data set before it is trained on: what is missing, broken, mislabelled or in two parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.datasets.likeness import Print, near, print_of
from swath.datasets.spec import ALL, Dataset
from swath.errors import ConfigurationError, DataError, ImageryUnreadable, SwathError
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap, Transition

if TYPE_CHECKING:
    from swath.datasets.records import Record
    from swath.datasets.spec import DatasetSpec
    from swath.datasets.splits import Parts
    from swath.samples.annotation import Annotation

Progress = Callable[[int, int], None]
"""Told after every sample how many are done, and of how many."""

NEAR = 12
"""Bits of 128 a slot that near-duplicates may differ in. Of 600 EuroSAT chips, 95 % differ from their resized copies
in so many at most and 75 % from a strongly compressed one, while no two chips differ in fewer than 26."""

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Twins:
    """Two samples in different parts whose images are the same (`apart` 0), or differ in so many bits of their hash.

    >>> print(Twins("train", "a/1.jpg", "test", "b/7.jpg", 0))
    a/1.jpg (train) and b/7.jpg (test)
    """

    part: str
    key: str
    other_part: str
    other_key: str
    apart: int

    def __str__(self) -> str:
        return f"{self.key} ({self.part}) and {self.other_key} ({self.other_part})"


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What was found in a data set.

    `samples` and `counts` are by part: images, and images or pixels of each class (`counted` says which).
    `missing` lists what lacks or does not belong, `unreadable` files that cannot be read, `mislabelled`
    truths that are no class or do not fit their image, all as sentences. `duplicates` are the same images in
    two parts, and `near_duplicates` candidates for that, to be looked at. `unused` images are in no part.

    >>> report = CheckReport(name="eurosat", root="EuroSAT_RGB", samples={"train": 2}, counted="images",
    ...                      counts={"train": {"Forest": 2}})
    >>> report.ok
    True
    >>> print(report)
    eurosat in EuroSAT_RGB: nothing wrong
    train: 2 samples; images of each class: Forest 2
    """

    name: str
    root: str
    samples: Mapping[str, int]
    counted: str
    counts: Mapping[str, Mapping[str, int]]
    missing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    mislabelled: tuple[str, ...] = ()
    duplicates: tuple[Twins, ...] = ()
    near_duplicates: tuple[Twins, ...] = ()
    unused: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; near-duplicates and unused images are only worth a look."""
        return not (self.missing or self.unreadable or self.mislabelled or self.duplicates)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        kinds = ("missing", "unreadable", "mislabelled", "duplicates", "near_duplicates")
        found = {kind.replace("_", "-"): getattr(self, kind) for kind in kinds}
        wrong = ", ".join(f"{len(items)} {kind}" for kind, items in found.items() if items)
        lines = [f"{self.name} in {self.root}: {wrong or 'nothing wrong'}"]
        for part, samples in self.samples.items():
            of_class = ", ".join(f"{name} {count}" for name, count in self.counts.get(part, {}).items())
            lines.append(
                f"{part}: {samples} samples" + (f"; {self.counted} of each class: {of_class}" if of_class else "")
            )
        lines += [f"{self.unused} images are in no part"] if self.unused else []
        for kind, items in found.items():
            lines += [f"{kind}: {item}" for item in items[:_SHOWN]]
            lines += [f"{kind}: and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
        return "\n".join(lines)


def check(
    spec: DatasetSpec, root: str | Path, *, distance: int = NEAR, progress: Progress | None = None
) -> CheckReport:
    """Read every image and truth of a data set below a folder and report what is wrong; nothing is raised for it.

    Near-duplicates are sought between parts, at `distance` bits a slot of the perceptual hash. The work grows
    with the data set; memory holds a few hundred bytes a sample. Raises `ConfigurationError` for a negative distance.
    """
    if distance < 0:
        raise ConfigurationError(f"A distance in bits is 0 or more; found {distance}.")
    folder = Path(root)
    try:
        survey = spec.layout.survey(folder, spec.classes)
    except SwathError as error:
        return CheckReport(name=spec.name, root=str(root), samples={}, counted="", counts={}, missing=(str(error),))
    missing = list(survey.problems)
    parts = _parts(spec, survey.records, folder, missing)
    look = _Look(spec)
    total = sum(map(len, parts.values()))
    for part, records in parts.items():
        for record in records:
            look.at(part, record)
            if progress is not None:
                progress(sum(look.samples.values()), total)
    missing += _lacking_classes(spec, look)
    return CheckReport(
        name=spec.name,
        root=str(root),
        samples={part: len(records) for part, records in parts.items()},
        counted=look.counted,
        counts={part: _ordered(look.counts[part], spec.classes) for part in parts if part in look.counts},
        missing=tuple(missing),
        unreadable=tuple(look.unreadable),
        mislabelled=tuple(look.mislabelled),
        duplicates=tuple(_duplicates(look.prints)),
        near_duplicates=tuple(_near_duplicates(look.prints, distance * len((*spec.slots, *spec.companions)))),
        unused=len(survey.records) - total,
    )


class _Look:
    """Reads samples one after the other and keeps what is to be reported of them."""

    def __init__(self, spec: DatasetSpec) -> None:
        self.spec = spec
        self.samples: Counter[str] = Counter()
        self.counts: dict[str, Counter[str]] = {}
        self.counted = ""
        self.unreadable: list[str] = []
        self.mislabelled: list[str] = []
        self.prints: dict[str, list[tuple[str, Print]]] = {}

    def at(self, part: str, record: Record) -> None:
        """Read a sample."""
        self.samples[part] += 1
        try:
            images = Dataset(spec=self.spec, split=part, records=()).read_images(record)
            self.prints.setdefault(part, []).append((record.key, print_of(images)))
            target = self.spec.layout.target(record, images[self.spec.slots[0]], self.spec.classes)
        except ImageryUnreadable as error:
            self.unreadable.append(str(error))
        except SwathError as error:
            self.mislabelled.append(str(error))
        else:
            self.counted, counts = class_counts(target)
            self.counts.setdefault(part, Counter()).update(counts)


def class_counts(target: Annotation) -> tuple[str, Counter[str]]:
    """Return what is counted in a truth, and how much of each class it holds.

    Images for labels, pixels for class maps and for transitions (of each change, by both names), objects for
    points and the like, nothing for others.

    >>> from swath.geometry.windows import Size
    >>> counted, counts = class_counts(ClassMap(size=Size(1, 3), labels=[[0, 1, 1]], classes=("land", "water")))
    >>> counted, dict(counts)
    ('pixels', {'land': 1, 'water': 2})
    """
    if isinstance(target, Label):
        held = (target.scores >= 0.5).tolist()
        return "images", Counter(name for name, holds in zip(target.classes, held, strict=True) if holds)
    if isinstance(target, ClassMap):
        pixels = np.bincount(target.labels[target.known()].ravel(), minlength=len(target.classes))
        return "pixels", Counter({name: int(n) for name, n in zip(target.classes, pixels, strict=True) if n})
    if isinstance(target, Transition):
        changed = target.changed()
        count = len(target.after.classes)
        codes = target.before.labels[changed].astype(np.int64) * count + target.after.labels[changed]
        names = (target.before.classes, target.after.classes)
        found = zip(*np.unique(codes, return_counts=True), strict=True)
        return "pixels", Counter(
            {f"{names[0][code // count]} to {names[1][code % count]}": int(pixels) for code, pixels in found}
        )
    labels, classes = getattr(target, "labels", None), getattr(target, "classes", ())
    if labels is None or len(classes) == 0:
        return "", Counter()
    return "objects", Counter(classes[int(label)] for label in np.asarray(labels).ravel())


def _parts(spec: DatasetSpec, records: list[Record], root: Path, missing: list[str]) -> Parts:
    """Return the records by part, or all of them as one where the split fails, and note what parts lack."""
    try:
        parts = spec.splits.parts(records, root)
    except DataError as error:
        missing.append(str(error))
        return {ALL: records}
    for part, found in parts.items():
        published = spec.counts.get(part)
        if published is not None and published != len(found):
            missing.append(
                f"The part '{part}' holds {len(found)} images; as published it has {published}: complete the data set."
            )
        elif not found and part != "validation":  # many data sets have none
            missing.append(f"The part '{part}' holds no image; complete the data set.")
    return parts


def _lacking_classes(spec: DatasetSpec, look: _Look) -> Iterator[str]:
    for part, counts in look.counts.items():
        lacking = [name for name in spec.classes if not counts[name]]
        if look.counted and lacking and set(counts) <= set(spec.classes):
            yield f"The part '{part}' has no {look.counted} of the class {', '.join(lacking)}; complete the data set."


def _ordered(counts: Counter[str], classes: tuple[str, ...]) -> dict[str, int]:
    if set(counts) <= set(classes):
        return {name: counts[name] for name in classes}
    return dict(counts.most_common())


def _duplicates(prints: Mapping[str, list[tuple[str, Print]]]) -> Iterator[Twins]:
    first: dict[bytes, tuple[str, str]] = {}
    for part, samples in prints.items():
        for key, own in samples:
            other_part, other_key = first.setdefault(own.digest, (part, key))
            if other_part != part:
                yield Twins(other_part, other_key, part, key, 0)


def _near_duplicates(prints: Mapping[str, list[tuple[str, Print]]], distance: int) -> Iterator[Twins]:
    for part, other_part in combinations(prints, 2):
        ones, others = (
            [(key, own.digest, own.hashes) for key, own in prints[name] if own.hashes is not None]
            for name in (part, other_part)
        )
        for one, other, apart in near([each[2] for each in ones], [each[2] for each in others], distance):
            if ones[one][1] != others[other][1]:
                yield Twins(part, ones[one][0], other_part, others[other][0], apart)
