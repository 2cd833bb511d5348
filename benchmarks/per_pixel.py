"""The model of the road benchmark: five classes by a 1 x 1 convolution of four bands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from swath.imagery.bands import Unit
from swath.models.base import OneImageModel
from swath.models.cards import Card
from swath.models.inputs import InputSpec
from swath.models.outputs import SegmentationOutput
from swath.models.store import StoredModel

CLASSES = ("water", "wood", "grass", "roof", "road")
CARD = Card(
    name="per-pixel", title="Per pixel", summary="", citation="", paper="", code="", code_licence="", weights_licence=""
)


@dataclass(frozen=True, kw_only=True)
class PerPixelConfig:
    input: InputSpec
    output: SegmentationOutput


class PerPixel(OneImageModel):
    """A 1 x 1 convolution: what the road costs beside it is the road's own."""

    Config = PerPixelConfig

    def __init__(self, config: PerPixelConfig) -> None:
        super().__init__(config)
        self.network = nn.Conv2d(config.input.channels, config.output.channels, 1)

    @classmethod
    def card(cls) -> Card:
        return CARD


def per_pixel(window: int = 1056, overlap: int = 32) -> StoredModel:
    """Return the model with fixed weights."""
    torch.manual_seed(0)
    spec = InputSpec(
        bands=("red", "green", "blue", "nir"),
        unit=Unit.EIGHT_BIT,
        mean=(127.5,),
        std=(127.5,),
        window=window,
        overlap=overlap,
    )
    model = PerPixel(PerPixelConfig(input=spec, output=SegmentationOutput(classes=CLASSES)))
    return StoredModel(name="per-pixel", model=model.eval(), card=CARD, sha256="0" * 64)
