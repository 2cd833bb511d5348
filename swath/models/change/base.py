"""What all models of two dates share: the slots, and classes that say whether a pixel changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swath.models.base import OneImageModel
from swath.models.inputs import InputSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


class ChangeModel(OneImageModel):
    """A model of two co-registered dates that look alike: both slots take what `config.input` says.

    Its network maps (before, after), each (B, C, H, W), to what `config.output` reads: usually scores of
    `CHANGE_CLASSES` at every pixel, so that the answer is a `ClassMap` as that of any segmentation model. Changed
    pixels are rare: `weigh_classes` lets them count for more, where the loss is the output's.
    """

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """The slots `before` and `after`."""
        spec: InputSpec = self.config.input
        return {"before": spec, "after": spec}
