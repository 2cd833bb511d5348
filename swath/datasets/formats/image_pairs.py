"""Pairs of images of one place at two dates, with a map of what changed or of the classes at each date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swath.datasets.formats.label_rules import LabelRule
from swath.datasets.formats.parts import part_named
from swath.datasets.layout import Layout, Survey
from swath.datasets.records import IMAGE_SUFFIXES, Record, listed
from swath.errors import DataError
from swath.samples.rasters import ClassMap, Transition

if TYPE_CHECKING:
    from swath.imagery.pixels import Pixels

PART = "part"
"""The piece of a path that names the part of the data set."""


@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """Where the files of a pair lie below the data set's folder, without their suffixes.

    A piece in braces is any text without `/`, the same in all patterns; `{part}` names the part of the data
    set. `label_after` is given where both dates are annotated.

    >>> files = PairFiles(before="{part}/A/{name}", after="{part}/B/{name}", label="{part}/label/{name}")
    >>> files.pieces("before", "train/A/7.png")
    (('name', '7'), ('part', 'train'))
    """

    before: str
    after: str
    label: str
    label_after: str = ""

    def pieces(self, which: str, path: str) -> tuple[tuple[str, str], ...] | None:
        """Return the braces of a pattern with what they are in a path, by name, or None where it does not fit."""
        pattern = re.escape(getattr(self, which)).replace(r"\{", "{").replace(r"\}", "}")
        found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+?)", pattern) + r"\.[^./]+", path)
        return None if found is None else tuple(sorted(found.groupdict().items()))

    def files(self, root: Path, which: str) -> dict[tuple[tuple[str, str], ...], Path]:
        """Return the image files that fit a pattern, by their pieces, in the order of their paths."""
        wanted = re.sub(r"{\w+}", "*", getattr(self, which)) + ".*"
        found = {}
        for path in sorted(path for path in root.glob(wanted) if path.suffix.lower() in IMAGE_SUFFIXES):
            pieces = self.pieces(which, path.relative_to(root).as_posix())
            if pieces is not None and not path.name.startswith("."):
                found[pieces] = path
        return found

    def survey(self, root: Path) -> Survey:
        """List the pairs; a file without its partners is a problem."""
        names = ("before", "after", "label", "label_after") if self.label_after else ("before", "after", "label")
        files = {which: self.files(root, which) for which in names}
        every = dict.fromkeys(pieces for found in files.values() for pieces in found)
        records, problems = [], []
        for pieces in every:
            missing = [which for which in names if pieces not in files[which]]
            if missing:
                have = next(found[pieces] for found in files.values() if pieces in found)
                lacking = " and ".join(getattr(self, which).format(**dict(pieces)) for which in missing)
                problems.append(f"{have} has no partner {lacking} in {root}; complete the data set.")
                continue
            before = files["before"][pieces]
            records.append(
                Record(
                    key=before.relative_to(root).as_posix(),
                    image=before,
                    others=(files["after"][pieces],),
                    truth=files["label"][pieces],
                    truth_after=files["label_after"][pieces] if self.label_after else None,
                    part=part_named(dict(pieces).get(PART, "")),
                )
            )
        return Survey(records=records, problems=problems)


@dataclass(frozen=True, kw_only=True)
class PairLayout(Layout):
    """What all layouts of pairs share: masks read by a rule, one for the pair or one a date."""

    rule: LabelRule

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> ClassMap | Transition:
        """Read the mask, or both as a transition; raise `DataError` where one has another size than the image."""
        if record.truth is None:
            raise DataError(f"'{record.key}' has no mask; complete the data set.")
        target = self.rule.read(record.truth, classes, pixels.size)
        if record.truth_after is None:
            return target
        after = self.rule.read(record.truth_after, classes, pixels.size)
        return Transition(size=pixels.size, before=target, after=after)


@dataclass(frozen=True, kw_only=True)
class ImagePairs(PairLayout):
    """Two images and their masks with equal names; the first of `arrangements` that is found is read.

    >>> from swath.datasets.formats.label_rules import binary
    >>> layout = ImagePairs(arrangements=pair_folders(("A", "B", "label")), rule=binary("unchanged", "changed"))
    >>> layout.described()
    '{part}/A/{name} with {part}/B/{name} and {part}/label/{name}; A/{name} with B/{name} and label/{name}'
    """

    arrangements: tuple[PairFiles, ...]

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:  # noqa: ARG002 (one signature)
        """List the pairs by path; a file without its partners is a problem."""
        listed(root)
        for files in self.arrangements:
            if files.files(root, "before"):
                return files.survey(root)
        raise DataError(f"{root} holds no image pairs such as {self.described()}; give the folder that does.")

    def fits(self, root: Path) -> bool:
        """Return whether there is a file of a first date."""
        return any(files.files(root, "before") for files in self.arrangements)

    def described(self) -> str:
        """Say where the files lie."""
        return "; ".join(f"{files.before} with {files.after} and {files.label}" for files in self.arrangements)


def pair_folders(*names: tuple[str, str, str]) -> tuple[PairFiles, ...]:
    """Return the usual arrangements of folders with these names: one set a part, or one set for all.

    >>> [files.before for files in pair_folders(("A", "B", "label"))]
    ['{part}/A/{name}', 'A/{name}']
    """
    return tuple(
        PairFiles(before=f"{at}{before}/{{name}}", after=f"{at}{after}/{{name}}", label=f"{at}{label}/{{name}}")
        for before, after, label in names
        for at in ("{part}/", "")
    )


@dataclass(frozen=True, kw_only=True)
class PairLists(PairLayout):
    """Text files, one a part, whose lines are `image of before  image of after  label`, two spaces between.

    Paths may hold single spaces. Those that are not absolute lie below the data set's folder; absolute ones
    of another machine are looked for there by as many of their last folders as fit.

    >>> from swath.datasets.formats.label_rules import binary
    >>> PairLists(files={"test": "test.txt"}, rule=binary("unchanged", "changed")).described()
    'test.txt of image pairs'
    """

    files: Mapping[str, str]

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:  # noqa: ARG002 (one signature)
        """List the pairs in the order of the lists; a file that is not there, or in two lists, is a problem."""
        records: list[Record] = []
        problems: list[str] = []
        part_of: dict[str, str] = {}
        for part, name in self.files.items():
            path = root / name
            for number, line in enumerate(_lines(path), start=1):
                entries = [entry.strip() for entry in re.split(r"\s{2,}|\t", line.strip())]
                if len(entries) != 3:
                    raise DataError(
                        f"Line {number} of {path} holds {len(entries)} paths; three are needed (before, after, "
                        "label), with two spaces between them."
                    )
                before, after, label = (_found(root, entry) for entry in entries)
                if not (before and after and label):
                    lacking = next(e for e, f in zip(entries, (before, after, label), strict=True) if f is None)
                    problems.append(f"Line {number} of {path} names {lacking}, which is not there; complete the data.")
                    continue
                key = before.relative_to(root).as_posix() if before.is_relative_to(root) else before.as_posix()
                if part_of.setdefault(key, part) != part:
                    problems.append(f"'{key}' is in the lists of both '{part_of[key]}' and '{part}' in {root}.")
                records.append(Record(key=key, image=before, others=(after,), truth=label, part=part))
        if not (records or problems):
            raise DataError(f"{root} has no lists of image pairs ({self.described()}); give the folder that has.")
        return Survey(records=records, problems=problems)

    def fits(self, root: Path) -> bool:
        """Return whether a list starts with a line of three paths."""
        lines = (_lines(root / name)[:1] for name in self.files.values())
        return any(len(re.split(r"\s{2,}|\t", line.strip())) == 3 for first in lines for line in first)

    def described(self) -> str:
        """Say which lists are looked for."""
        return f"{', '.join(self.files.values())} of image pairs"


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _found(root: Path, entry: str) -> Path | None:
    given = Path(entry.replace("\\", "/"))
    if given.is_absolute():
        pieces = given.parts[1:]
        tails = [root.joinpath(*pieces[start:]) for start in range(len(pieces))]
        candidates = [given, *tails]
    else:
        candidates = [root / given]
    return next((path for path in candidates if path.is_file()), None)
