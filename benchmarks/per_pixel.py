"""The models of the benchmarks of the road: classes by a 1 x 1 convolution of four bands, or of their differences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swath.imagery.bands import Unit
from swath.models.base import OneImageModel
from swath.models.cards import Card
from swath.models.change.base import ChangeModel
from swath.models.inputs import InputSpec
from swath.models.outputs import SegmentationOutput
from swath.models.store import StoredModel
from swath.samples.rasters import CHANGE_CLASSES

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


class DifferenceNetwork(nn.Module):
    """Scores of unchanged and changed by a 1 x 1 convolution of after - before, both (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scores = nn.Conv2d(channels, len(CHANGE_CLASSES), 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        scores: Tensor = self.scores(after - before)
        return scores


class PerPixelChange(ChangeModel):
    """The difference of two dates at each pixel: what the road costs beside it is the road's own."""

    Config = PerPixelConfig

    def __init__(self, config: PerPixelConfig) -> None:
        super().__init__(config)
        self.network = DifferenceNetwork(config.input.channels)

    @classmethod
    def card(cls) -> Card:
        return CARD


def per_pixel(window: int = 1056, overlap: int = 32) -> StoredModel:
    """Return the model of one date with fixed weights."""
    return _stored(PerPixel, CLASSES, window, overlap)


def per_pixel_change(window: int = 1056, overlap: int = 32) -> StoredModel:
    """Return the model of two dates with fixed weights."""
    return _stored(PerPixelChange, CHANGE_CLASSES, window, overlap)


def _stored(kind: type[OneImageModel], classes: tuple[str, ...], window: int, overlap: int) -> StoredModel:
    torch.manual_seed(0)
    spec = InputSpec(
        bands=("red", "green", "blue", "nir"),
        unit=Unit.EIGHT_BIT,
        mean=(127.5,),
        std=(127.5,),
        window=window,
        overlap=overlap,
    )
    model = kind(PerPixelConfig(input=spec, output=SegmentationOutput(classes=classes)))
    return StoredModel(name="per-pixel", model=model.eval(), card=CARD, sha256="0" * 64)
