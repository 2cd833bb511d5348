"""Images beside mask files of the same name, in one of several known folder arrangements."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swath.datasets.formats.label_rules import UNKNOWN, AnyChannelAbove, LabelRule
from swath.datasets.layout import Layout, Survey
from swath.datasets.records import Record, image_files, listed
from swath.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from swath.imagery.pixels import Pixels
    from swath.samples.rasters import ClassMap

__all__ = ["AnyChannelAbove", "FolderPair", "ImageMaskPairs"]


@dataclass(frozen=True, kw_only=True)
class FolderPair:
    """Where images and masks lie below the data set's folder; `*` is one folder name, the same in both.

    >>> FolderPair(images="*/sat", masks="*/map").masks_of("train/sat")
    'train/map'
    """

    images: str
    masks: str

    def masks_of(self, folder: str) -> str | None:
        """Return the folder of the masks of a folder of images, or None when the pattern does not fit it."""
        found = re.fullmatch(re.escape(self.images).replace(r"\*", "([^/]+)"), folder)
        return None if found is None else self.masks.replace("*", "".join(found.groups()))


@dataclass(frozen=True, kw_only=True)
class ImageMaskPairs(Layout):
    """Images and masks with matching names; the first of `arrangements` that is found in the folder is read.

    With `ignore_white`, pixels that are white (255 in every band) and class 0 are unknown: such areas were
    never photographed.

    >>> pairs = ImageMaskPairs(
    ...     arrangements=(FolderPair(images="images", masks="gt"),), rule=AnyChannelAbove(threshold=127)
    ... )
    >>> pairs.ignore_white
    False
    """

    arrangements: tuple[FolderPair, ...]
    rule: LabelRule
    ignore_white: bool = False

    def survey(self, root: Path, classes: tuple[str, ...]) -> Survey:  # noqa: ARG002 (one signature)
        """List the images folder by folder; an image or mask without its partner is a problem."""
        listed(root)
        for pair in self.arrangements:
            folders = [(path, pair.masks_of(path.relative_to(root).as_posix())) for path in root.glob(pair.images)]
            found = sorted((path, root / masks) for path, masks in folders if masks and (root / masks).is_dir())
            survey = Survey.of_all(_paired(root, images, masks) for images, masks in found)
            if survey.records or survey.problems:
                return survey
        known = "; ".join(f"{pair.images} with {pair.masks}" for pair in self.arrangements)
        raise DataError(f"{root} has none of the folder pairs {known}; give the folder that holds one of them.")

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> ClassMap:
        """Read the mask; raise `DataError` when it is not of the image's size."""
        if record.truth is None:
            raise DataError(f"{record.image} has no mask; complete the data set.")
        target = self.rule.read(record.truth, classes, pixels.size)
        if not self.ignore_white:
            return target
        white = (pixels.values == 255).all(axis=0) & (target.labels == 0)
        labels = target.labels.copy()
        labels[white] = UNKNOWN
        return replace(target, labels=labels)


def _paired(root: Path, images: Path, masks: Path) -> Survey:
    pictures = {path.stem: path for path in image_files(images)}
    truths = {path.stem: path for path in image_files(masks)}
    problems = []
    for stem in sorted(set(pictures) ^ set(truths)):
        folder, other = (images, masks) if stem in pictures else (masks, images)
        problems.append(f"'{stem}' in {folder} has no partner in {other}; complete the data set.")
    records = [
        Record(key=path.relative_to(root).as_posix(), image=path, truth=truths[stem])
        for stem, path in pictures.items()
        if stem in truths
    ]
    return Survey(records=records, problems=problems)
