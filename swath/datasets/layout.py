"""A way in which a data set lies on disk, and the choice between several such ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swath.datasets.records import Record, listed
from swath.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from swath.imagery.pixels import Pixels
    from swath.samples.annotation import Annotation


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found below a folder, and each thing that is missing or does not belong, as a sentence.

    >>> Survey(records=[], problems=["The folder is empty."]).problems
    ['The folder is empty.']
    """

    records: list[Record]
    problems: list[str]

    @classmethod
    def of_all(cls, surveys: Iterable[Survey]) -> Survey:
        """Put together what was found in several places, in their order."""
        found = list(surveys)
        return cls(
            records=[record for survey in found for record in survey.records],
            problems=[problem for survey in found for problem in survey.problems],
        )


class Layout(ABC):
    """A way in which a data set lies on disk: how to find its images, and how to read their truth."""

    @abstractmethod
    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:
        """List all images below a folder in a fixed order, and what is wrong with the folder.

        Raises `DataError` for a folder that has another layout altogether.
        """

    @abstractmethod
    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Annotation:
        """Read what is known about an image that has been read; raise `DataError` for a broken file."""

    def records(self, root: Path, classes: tuple[str, ...]) -> list[Record]:
        """List all images below a folder, in a fixed order; raise `DataError` for the first problem."""
        survey = self.survey(root, classes)
        if survey.problems:
            more = len(survey.problems) - 1
            raise DataError(survey.problems[0] + (f" There are {more} more such problems." if more else ""))
        return survey.records

    def fits(self, root: Path) -> bool:  # noqa: ARG002 (one signature)
        """Return whether a folder looks as if it had this layout."""
        return True

    def described(self) -> str:
        """Say in a few words what lies where, for messages."""
        return type(self).__name__


@dataclass(frozen=True)
class FirstLayout(Layout):
    """The first of several layouts that fits the folder, for data sets that are published in more than one.

    Raises `DataError` that says all of them where none fits.

    >>> from swath.datasets.formats.class_folders import ClassFolders
    >>> FirstLayout((ClassFolders(),)).layouts
    (ClassFolders(parts=None),)
    """

    layouts: tuple[Layout, ...]

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:
        """List the images as the first layout that fits does."""
        listed(root)
        for way, layout in enumerate(self.layouts):
            if layout.fits(root):
                found = layout.survey(root, classes)
                return replace(found, records=[replace(record, way=way) for record in found.records])
        known = "; ".join(layout.described() for layout in self.layouts)
        raise DataError(f"{root} has none of the layouts of this data set ({known}); give the folder that has one.")

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> Annotation:
        """Read the truth as the layout that found the record does."""
        return self.layouts[record.way].target(record, pixels, classes)

    def fits(self, root: Path) -> bool:
        """Return whether one of them fits."""
        return any(layout.fits(root) for layout in self.layouts)

    def described(self) -> str:
        """Say what lies where in each."""
        return "; ".join(layout.described() for layout in self.layouts)
