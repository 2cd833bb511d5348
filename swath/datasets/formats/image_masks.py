"""Images beside mask files of the same name, in one of several known folder arrangements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.datasets.formats.images import read_mask
from swath.datasets.records import Record, image_files, listed
from swath.errors import DataError
from swath.geometry.windows import Size
from swath.samples.rasters import ClassMap

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels

UNKNOWN = 255
"""The label of pixels that count neither in training nor in measuring."""


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
class AnyChannelAbove:
    """A pixel is class 1 where one of the mask's colours exceeds a threshold, and class 0 elsewhere.

    So red, white and any other bright colour on black mean the same.

    >>> AnyChannelAbove(threshold=127).labels(np.array([[[255, 0]], [[0, 0]], [[0, 0]]], np.uint8)).tolist()
    [[1, 0]]
    """

    threshold: int

    def labels(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the labels (H, W) of a mask (C, H, W)."""
        labels: NDArray[np.uint8] = np.asarray((mask > self.threshold).any(axis=0), dtype=np.uint8)
        return labels


@dataclass(frozen=True, kw_only=True)
class ImageMaskPairs:
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
    rule: AnyChannelAbove
    ignore_white: bool = False

    def records(self, root: Path, classes: tuple[str, ...]) -> list[Record]:  # noqa: ARG002 (one signature)
        """List the images folder by folder; raise `DataError` for an image or mask without its partner."""
        listed(root)
        for pair in self.arrangements:
            folders = [(path, pair.masks_of(path.relative_to(root).as_posix())) for path in root.glob(pair.images)]
            found = sorted((path, root / masks) for path, masks in folders if masks and (root / masks).is_dir())
            records = [record for images, masks in found for record in _paired(root, images, masks)]
            if records:
                return records
        known = "; ".join(f"{pair.images} with {pair.masks}" for pair in self.arrangements)
        raise DataError(f"{root} has none of the folder pairs {known}; give the folder that holds one of them.")

    def target(self, record: Record, pixels: Pixels, classes: tuple[str, ...]) -> ClassMap:
        """Read the mask; raise `DataError` when it is not of the image's size."""
        if record.truth is None:
            raise DataError(f"{record.image} has no mask; complete the data set.")
        labels = self.rule.labels(read_mask(record.truth))
        size = Size(*labels.shape)
        if size != pixels.size:
            raise DataError(
                f"{record.truth} is {size.height} x {size.width} pixels and its image {pixels.size.height} x "
                f"{pixels.size.width}; get both files again."
            )
        if self.ignore_white:
            labels[(pixels.values == 255).all(axis=0) & (labels == 0)] = UNKNOWN
        return ClassMap(size=size, labels=labels, classes=classes, ignore=UNKNOWN)


def _paired(root: Path, images: Path, masks: Path) -> list[Record]:
    pictures = {path.stem: path for path in image_files(images)}
    truths = {path.stem: path for path in image_files(masks)}
    alone = sorted(set(pictures) ^ set(truths))
    if alone:
        folder, other = (images, masks) if alone[0] in pictures else (masks, images)
        raise DataError(f"'{alone[0]}' in {folder} has no partner in {other}; complete the data set.")
    return [
        Record(key=path.relative_to(root).as_posix(), image=path, truth=truths[stem]) for stem, path in pictures.items()
    ]
