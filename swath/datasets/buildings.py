"""Data sets of building footprints as masks."""

from __future__ import annotations

from swath.datasets.formats.image_masks import AnyChannelAbove, FolderPair, ImageMaskPairs
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import FolderSplit
from swath.imagery.bands import Unit

MASSACHUSETTS_BUILDINGS = DatasetSpec(
    name="massachusetts-buildings",
    title="Massachusetts Buildings: aerial images of Boston, 1500 pixels a side, with building masks",
    classes=("background", "building"),
    licence="research use; no formal licence found",
    citation="Mnih 2013: Machine Learning for Aerial Image Labeling. PhD thesis, University of Toronto",
    source="Volodymyr Mnih's road and building detection datasets, or the copy on Kaggle",
    layout=ImageMaskPairs(
        arrangements=(
            # The original has buildings red on black, the copy white on black.
            FolderPair(images="*/sat", masks="*/map"),
            FolderPair(images="png/*", masks="png/*_labels"),
            FolderPair(images="tiff/*", masks="tiff/*_labels"),
            FolderPair(images="*", masks="*_labels"),
        ),
        rule=AnyChannelAbove(threshold=127),
    ),
    splits=FolderSplit(),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=1.0,
)
"""Some training images have white areas without data. The layout's `ignore_white` leaves them out; by
default they count, as they did, so far as is known, in the published figures."""
