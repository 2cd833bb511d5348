"""Models whose answers are known in advance, for the tests of evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from swath.imagery.bands import Unit
from swath.models.base import Model
from swath.models.cards import Card
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput, SegmentationOutput


class Meaner(nn.Module):
    """Scores of a bright and a dark class from the mean of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))

    def forward(self, image_BCHW):
        brightness = image_BCHW.mean((1, 2, 3)) * self.gain
        return torch.stack([brightness, -brightness], 1)


class Brighter(nn.Module):
    """One logit a pixel: bright is the second class."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))

    def forward(self, image_BCHW):
        return image_BCHW.mean(1, keepdim=True) * self.gain


@dataclass(frozen=True, kw_only=True)
class LittleConfig:
    output: ClassificationOutput | SegmentationOutput
    input: InputSpec


class Little(Model):
    Config = LittleConfig

    def __init__(self, config: LittleConfig) -> None:
        super().__init__(config)
        self.network = Meaner() if isinstance(config.output, ClassificationOutput) else Brighter()
        self.seen: list[tuple[int, ...]] = []

    @property
    def inputs(self):
        return {"image": self.config.input}

    @property
    def classes(self):
        return self.config.output.classes

    @classmethod
    def card(cls):
        texts = ("name", "title", "summary", "citation", "paper", "code", "code_licence", "weights_licence")
        return Card(**dict.fromkeys(texts, "-"))

    def loss(self, batch):
        return self.config.output.loss(self(batch), batch)

    def predict(self, batch):
        self.seen.append(tuple(batch.images["image"].shape))
        return self.config.output.annotations(self(batch), batch)


def little(output, **options) -> Little:
    bands = ("red", "green", "blue")
    spec = InputSpec(bands=bands, unit=Unit.EIGHT_BIT, mean=(127.5,), std=(127.5,), **options)
    return Little(LittleConfig(output=output, input=spec))


def brightness_classifier(classes=("bright", "dark"), **options) -> Little:
    return little(ClassificationOutput(classes=classes), **options)


def brightness_segmenter(classes=("background", "building"), **options) -> Little:
    return little(SegmentationOutput(classes=classes, binary=True), **options)
