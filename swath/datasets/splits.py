"""Rules that say which images train a model and which test it.

Where chance decides, images are ordered by a hash of the seed and their name rather than by a generator's
draws, so that the split stays the same on every machine, in every version of numpy, and whatever the file
format.
"""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swath.datasets.formats.parts import FOLDERS_OF_PARTS
from swath.datasets.records import Record
from swath.errors import ConfigurationError, DataError

Parts = dict[str, list[Record]]
"""The records of each part of a data set, by its name."""


class SplitRule(ABC):
    """Divides the records of a data set into named parts, such as `train` and `test`."""

    @abstractmethod
    def parts(self, records: Sequence[Record], root: Path) -> Parts:
        """Return the records of each part, in the order given; raise `DataError` where it does not fit."""

    def unit(self, record: Record) -> str:
        """Return what must stay together: records of one unit never part. By default each image."""
        return record.stem.casefold()

    def stratum(self, record: Record) -> str:
        """Return the kind within which shares are kept, by default the class."""
        return record.label or ""

    def fits(self, records: Sequence[Record], root: Path) -> bool:  # noqa: ARG002 (one signature)
        """Return whether the rule can say the parts of these records."""
        return True

    def divide(self, records: Sequence[Record], shares: Mapping[str, float], seed: int) -> Parts:
        """Divide by chance into shares of each stratum's units, keeping units whole and the order of the
        records.

        Cuts fall at the rounded cumulative shares, so that no unit is lost.
        """
        by_stratum: dict[str, set[str]] = {}
        for record in records:
            by_stratum.setdefault(self.stratum(record), set()).add(self.unit(record))
        part_of: dict[str, str] = {}
        for units in by_stratum.values():
            ordered, start, reached = by_chance(units, seed), 0, 0.0
            for part, portion in shares.items():
                reached += portion
                stop = math.floor(len(ordered) * reached + 0.5)
                part_of |= dict.fromkeys(ordered[start:stop], part)
                start = stop
        return gather(records, lambda record: part_of.get(self.unit(record)), tuple(shares))


def by_chance(units: set[str] | Sequence[str], seed: int) -> list[str]:
    """Return units in a random order that depends on nothing but the seed and their names.

    >>> by_chance(["a", "b", "c"], seed=0) == by_chance(["c", "b", "a"], seed=0)
    True
    """
    return sorted(units, key=lambda unit: hashlib.sha256(f"{seed}/{unit}".encode()).digest())


def gather(records: Sequence[Record], part_of: Callable[[Record], str | None], names: Sequence[str]) -> Parts:
    """Return the records of each part of `names`; records that belong to none are left out."""
    parts: Parts = {name: [] for name in names}
    for record in records:
        part = part_of(record)
        if part is not None:
            parts[part].append(record)
    return parts


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise `ConfigurationError` unless shares are positive and sum to 1 at most."""
    if not shares or min(shares.values()) <= 0 or sum(shares.values()) > 1 + 1e-9:
        raise ConfigurationError(f"The shares of a split are above 0 and sum to 1 at most; found {dict(shares)}.")


@dataclass(frozen=True, kw_only=True)
class SeededSplit(SplitRule):
    """Random shares of the images; `stratified` keeps the shares within each class.

    >>> records = [Record(key=f"a/{i}.jpg", image=Path(), label="a") for i in range(10)]
    >>> parts = SeededSplit(shares={"train": 0.8, "test": 0.2}).parts(records, Path())
    >>> len(parts["train"]), len(parts["test"])
    (8, 2)
    """

    shares: Mapping[str, float]
    seed: int = 0
    stratified: bool = True

    def __post_init__(self) -> None:
        check_shares(self.shares)

    def parts(self, records: Sequence[Record], root: Path) -> Parts:  # noqa: ARG002 (one signature)
        """Divide by chance."""
        return self.divide(records, self.shares, self.seed)

    def stratum(self, record: Record) -> str:
        """Return the class where shares are kept within classes."""
        return super().stratum(record) if self.stratified else ""


@dataclass(frozen=True, kw_only=True)
class PlaceSplit(SplitRule):
    """Random shares of the places; all images of a place, of whatever date, go to the same part.

    `place` is a regular expression found in the key (without suffix); its groups together name the place.
    With `balance`, the name of one of the groups, the shares are kept within each of its values.

    >>> rule = PlaceSplit(place=r"(\\w+)_\\d{4}_(\\d+)$", shares={"train": 0.5, "test": 0.5})
    >>> rule.unit(Record(key="images/chico_2018_7.tif", image=Path()))
    'chico/7'
    """

    place: str
    shares: Mapping[str, float]
    seed: int = 0
    balance: str = ""

    def __post_init__(self) -> None:
        check_shares(self.shares)

    def parts(self, records: Sequence[Record], root: Path) -> Parts:  # noqa: ARG002 (one signature)
        """Divide the places by chance."""
        return self.divide(records, self.shares, self.seed)

    def unit(self, record: Record) -> str:
        """Return the place of a record; raise `DataError` when its name holds none."""
        return "/".join(self._found(record).groups())

    def stratum(self, record: Record) -> str:
        """Return the value of the balancing group."""
        return self._found(record)[self.balance] if self.balance else ""

    def _found(self, record: Record) -> re.Match[str]:
        found = re.search(self.place, record.stem.rpartition("/")[2])
        if found is None:
            raise DataError(
                f"The name '{record.key}' does not say its place in the form '{self.place}'; rename it or leave it out."
            )
        return found


@dataclass(frozen=True, kw_only=True)
class FolderSplit(SplitRule):
    """The folders say it: a record belongs to the part one of whose folder names is in its key.

    >>> rule = FolderSplit()
    >>> parts = rule.parts([Record(key="valid/sat/1.tiff", image=Path())], Path())
    >>> [len(part) for part in parts.values()]
    [0, 1, 0]
    """

    folders: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(FOLDERS_OF_PARTS))

    def parts(self, records: Sequence[Record], root: Path) -> Parts:
        """Sort records by their folders; raise `DataError` for one that lies in none."""
        part_of_folder = {name: part for part, names in self.folders.items() for name in names}

        def part_of(record: Record) -> str:
            for folder in record.key.casefold().split("/")[:-1]:
                if folder in part_of_folder:
                    return part_of_folder[folder]
            raise DataError(
                f"'{record.key}' in {root} lies in none of the folders {', '.join(part_of_folder)}; move it into one "
                "of them, or leave it out."
            )

        return gather(records, part_of, tuple(self.folders))


@dataclass(frozen=True, kw_only=True)
class ListSplit(SplitRule):
    """Text files in the data set's folder, or the one above it, say it, one `<folder>/<file>` a line.

    File suffixes and case do not matter. With `by_name`, lines are file names alone, whatever folders they
    name; of a line that is no name, the first column counts. Images that no list names belong to no part, and
    parts of `optional` may lack their list.

    >>> ListSplit(files={"train": "train.txt", "test": "val.txt"}).files["test"]
    'val.txt'
    """

    files: Mapping[str, str]
    by_name: bool = False
    optional: tuple[str, ...] = ()

    def parts(self, records: Sequence[Record], root: Path) -> Parts:
        """Sort records by the lists; raise `DataError` for a missing list, or an image unknown or in two."""
        part_of: dict[str, str] = {}
        known = Counter(self._listed(record) for record in records)
        for part, file in self.files.items():
            path = _list_file(root, file)
            if part in self.optional and not path.is_file():
                continue
            for line in _lines(path):
                unit = self._unit(line, known)
                if unit is None:
                    raise DataError(f"{path} names '{line}', which is not in {root}; complete the data set.")
                if known[unit] > 1:
                    raise DataError(
                        f"{path} names '{line}', which is the name of {known[unit]} images in {root}; keep one of them."
                    )
                if part_of.setdefault(unit, part) != part:
                    raise DataError(
                        f"'{line}' is in the lists of both '{part_of[unit]}' and '{part}' in {root}; a model must not "
                        "be tested on what it has learnt from: strike it from one of them."
                    )
        return gather(records, lambda record: part_of.get(self._listed(record)), tuple(self.files))

    def fits(self, records: Sequence[Record], root: Path) -> bool:  # noqa: ARG002 (one signature)
        """Return whether one of the lists is there."""
        return any(_list_file(root, file).is_file() for file in self.files.values())

    def _listed(self, record: Record) -> str:
        return record.name.casefold() if self.by_name else self.unit(record)

    def _unit(self, line: str, known: Counter[str]) -> str | None:
        for text in (line, re.split(r"[,\s]", line)[0]):
            # A name without suffix may hold a dot, so it is tried as it stands too.
            bare = text.rpartition("/")[2] if self.by_name else text
            for unit in (Record(key=bare, image=Path()).stem.casefold(), bare.casefold()):
                if unit in known:
                    return unit
        return None


def _list_file(root: Path, file: str) -> Path:
    above = root.parent / file
    return above if above.is_file() and not (root / file).is_file() else root / file


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"There is no list {path}, which says how this data set is split; put it there.")
    text = path.read_text(encoding="utf-8").replace("\\", "/")
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True, kw_only=True)
class PerClassFractionSplit(SplitRule):
    """RSMamba's rule: shuffle each class and take int(n * fraction) images to train, the others to test.

    The product is cut in floating point, as published: int(700 * 0.7) is 489. The published shuffle itself
    ships as lists (`ListSplit`); this one is ours.

    >>> records = [Record(key=f"a/{i}.jpg", image=Path(), label="a") for i in range(700)]
    >>> len(PerClassFractionSplit(fraction=0.7).parts(records, Path())["train"])
    489
    """

    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        check_shares({"train": self.fraction})

    def parts(self, records: Sequence[Record], root: Path) -> Parts:  # noqa: ARG002 (one signature)
        """Divide each class."""
        by_class: dict[str, list[str]] = {}
        for record in records:
            by_class.setdefault(self.stratum(record), []).append(self.unit(record))
        train = {
            unit
            for units in by_class.values()
            for unit in by_chance(units, self.seed)[: int(len(units) * self.fraction)]
        }
        return gather(records, lambda r: "train" if self.unit(r) in train else "test", ("train", "test"))


@dataclass(frozen=True, kw_only=True)
class RecordedSplit(SplitRule):
    """The layout says it: every record names its part.

    >>> record = Record(key="train/A/1.png", image=Path(), part="train")
    >>> [name for name, part in RecordedSplit().parts([record], Path()).items() if part]
    ['train']
    """

    names: tuple[str, ...] = tuple(FOLDERS_OF_PARTS)

    def parts(self, records: Sequence[Record], root: Path) -> Parts:
        """Sort records by the part they name; raise `DataError` for one that names none of these."""
        for record in records:
            if record.part not in self.names:
                raise DataError(
                    f"'{record.key}' in {root} belongs to none of the parts {', '.join(self.names)}; move it into the "
                    "folder of one of them, or leave it out."
                )
        return gather(records, lambda record: record.part, self.names)

    def fits(self, records: Sequence[Record], root: Path) -> bool:  # noqa: ARG002 (one signature)
        """Return whether a record names its part."""
        return any(record.part is not None for record in records)


@dataclass(frozen=True)
class FirstSplit(SplitRule):
    """The first of several rules that fits, for data sets that are published with folders or with lists.

    Where none fits, the last one tells what it lacks.

    >>> rule = FirstSplit((RecordedSplit(), SeededSplit(shares={"train": 0.5, "test": 0.5})))
    >>> len(rule.parts([Record(key="a", image=Path()), Record(key="b", image=Path())], Path())["train"])
    1
    """

    rules: tuple[SplitRule, ...]

    def parts(self, records: Sequence[Record], root: Path) -> Parts:
        """Sort records as the first rule that fits does."""
        return next((rule for rule in self.rules if rule.fits(records, root)), self.rules[-1]).parts(records, root)


@dataclass(frozen=True, kw_only=True)
class DividedPart(SplitRule):
    """Another rule's parts, one of which is divided by chance: to carve a validation part, or to keep a share.

    What the `shares` leave over belongs to no part. The classes are not kept apart, as in published draws of
    this kind.

    >>> kept = DividedPart(rule=RecordedSplit(), part="train", shares={"train": 0.2})
    >>> records = [Record(key=str(number), image=Path(), part="train") for number in range(70_331)]
    >>> len(kept.parts(records, Path())["train"])
    14066
    """

    rule: SplitRule
    part: str
    shares: Mapping[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        check_shares(self.shares)

    def parts(self, records: Sequence[Record], root: Path) -> Parts:
        """Divide by the other rule, and then its part."""
        parts = self.rule.parts(records, root)
        drawn = SeededSplit(shares=self.shares, seed=self.seed, stratified=False).parts(parts[self.part], root)
        return parts | {self.part: []} | drawn

    def unit(self, record: Record) -> str:
        """Return the other rule's unit."""
        return self.rule.unit(record)

    def stratum(self, record: Record) -> str:
        """Return the other rule's stratum."""
        return self.rule.stratum(record)
