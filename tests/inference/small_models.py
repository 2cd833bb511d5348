"""Small models whose answers can be worked out by hand, for trying the road from scene to map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swath.imagery.bands import Unit
from swath.models.base import Model, OneImageModel
from swath.models.cards import Card
from swath.models.change.base import ChangeModel
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput, PointOutput, ScoreMap, SegmentationOutput
from swath.models.store import StoredModel
from swath.samples.annotation import Annotation
from swath.samples.batch import Batch
from swath.samples.rasters import CHANGE_CLASSES, Raster

CARD = Card(
    name="small",
    title="Small",
    summary="For tests.",
    citation="-",
    paper="-",
    code="-",
    code_licence="-",
    weights_licence="-",
)


@dataclass(frozen=True, kw_only=True)
class SmallConfig:
    input: InputSpec
    output: SegmentationOutput | PointOutput | ClassificationOutput


def spec(
    *, window: int = 32, overlap: int = 8, fixed_size: bool = False, square: bool = False, minimum: int = 1
) -> InputSpec:
    return InputSpec(
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        mean=(127.5,),
        std=(127.5,),
        window=window,
        overlap=overlap,
        fixed_size=fixed_size,
        square=square,
        minimum=minimum,
    )


class SmallModel(OneImageModel):
    """A network under the contract whose output part does all the rest."""

    Config = SmallConfig

    def __init__(self, config: SmallConfig, network: nn.Module) -> None:
        super().__init__(config)
        self.network = network

    @classmethod
    def card(cls) -> Card:
        return CARD


class BrightnessModel(SmallModel):
    """Gives the mean of the bands as a continuous raster."""

    def predict(self, batch: Batch) -> list[Annotation]:
        return [
            Raster(size=batch.size, values=values.numpy(), names=("brightness",), unit="unitless")
            for values in self(batch)
        ]

    def score_maps(self, batch: Batch) -> list[ScoreMap] | None:
        return None


class Mean(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.mean(1, keepdim=True)


def stored(model: Model) -> StoredModel:
    return StoredModel(name="small", model=model.eval(), card=CARD, sha256="0" * 64)


def per_pixel(kernel: int = 1, **options: int) -> StoredModel:
    """Three classes from a convolution; with `kernel` 1 a pixel's class depends on that pixel alone."""
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, kernel, padding=kernel // 2)
    output = SegmentationOutput(classes=("background", "grass", "roof"))
    return stored(SmallModel(SmallConfig(input=spec(**options), output=output), network))


class Bright(nn.Module):
    """A bright pixel on a dark ground is a certain centre."""

    def forward(self, image: Tensor) -> Tensor:
        return 6 * image.mean(1, keepdim=True)


def bright_points(*, minimum_distance: float = 2.0, **options: int) -> StoredModel:
    output = PointOutput(classes=("lamp",), sigma=1.0, minimum_distance=minimum_distance, threshold=0.5)
    return stored(SmallModel(SmallConfig(input=spec(**options), output=output), Bright()))


class Redness(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        red = image[:, 0].mean((1, 2))
        blue = image[:, 2].mean((1, 2))
        return 4 * torch.stack([red - blue, blue - red], dim=1)


def red_or_blue(window: int = 16) -> StoredModel:
    output = ClassificationOutput(classes=("red", "blue"))
    return stored(
        SmallModel(SmallConfig(input=spec(window=window, overlap=0, fixed_size=True), output=output), Redness())
    )


class SmallChangeModel(ChangeModel):
    """Changed is what became brighter or darker by more than a tenth of the range."""

    Config = SmallConfig

    def __init__(self, config: SmallConfig, network: nn.Module) -> None:
        super().__init__(config)
        self.network = network

    @classmethod
    def card(cls) -> Card:
        return CARD


class Difference(nn.Module):
    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        return 40 * ((after - before).mean(1, keepdim=True).abs() - 0.2)


def change(**options: int) -> StoredModel:
    output = SegmentationOutput(classes=CHANGE_CLASSES, binary=True)
    return stored(SmallChangeModel(SmallConfig(input=spec(**options), output=output), Difference()))


def brightness(**options: int) -> StoredModel:
    output = SegmentationOutput(classes=("a", "b"))
    return stored(BrightnessModel(SmallConfig(input=spec(**options), output=output), Mean()))
