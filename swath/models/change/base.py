"""What all models of two dates share: the slots, and classes that say whether a pixel changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swath.imagery.bands import Unit
from swath.models.base import OneImageModel
from swath.models.inputs import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from swath.samples.rasters import CHANGE_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHANGE_CLASSES", "ChangeModel", "rgb_pair_input"]


class ChangeModel(OneImageModel):
    """A model of two co-registered dates that look alike: both slots take what `config.input` says.

    Its network maps (before, after), each (B, C, H, W), to what `config.output` reads: usually scores of
    `CHANGE_CLASSES` at every pixel, so that the answer is a `ClassMap` as that of any segmentation model.
    """

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """The slots `before` and `after`."""
        spec: InputSpec = self.config.input
        return {"before": spec, "after": spec}


def rgb_pair_input(*, window: int, overlap: int, multiple_of: int = 1, fixed_size: bool = False) -> InputSpec:
    """Return what published change detectors take: 8-bit RGB under ImageNet's statistics, for both dates.

    >>> rgb_pair_input(window=256, overlap=86).bands
    ('red', 'green', 'blue')
    """
    return InputSpec(
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        window=window,
        overlap=overlap,
        multiple_of=multiple_of,
        fixed_size=fixed_size,
    )
