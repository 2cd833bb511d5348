"""Two tiny models and synthetic data that they can learn, for the tests of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.models.base import Model
from swath.models.cards import Card
from swath.models.inputs import InputSpec
from swath.models.outputs import SegmentationOutput
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap
from swath.samples.sample import Sample

BANDS = tuple(Band(name=name, role=name) for name in ("red", "green", "blue"))
INPUTS = {
    "image": InputSpec(bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, mean=(127.5,), std=(127.5,), window=16)
}
CARD = Card(
    name="tiny",
    title="Tiny",
    summary="A test.",
    citation="-",
    paper="-",
    code="-",
    code_licence="-",
    weights_licence="-",
)


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    classes: tuple[str, ...] = ("land", "water")
    batch_norm: bool = True
    dropout: float = 0.2


class TinySegmenter(Model):
    Config = TinyConfig

    def __init__(self, config: TinyConfig = TinyConfig()) -> None:
        super().__init__(config)
        self.output = SegmentationOutput(classes=config.classes)
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if config.batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout2d(config.dropout),
            nn.Conv2d(8, len(config.classes), 3, padding=1),
        )

    @property
    def inputs(self):
        return INPUTS

    @property
    def classes(self):
        return self.config.classes

    @classmethod
    def card(cls):
        return CARD

    def loss(self, batch):
        return self.output.loss(self(batch), batch)

    def predict(self, batch):
        return self.output.annotations(self(batch), batch)


class TinyClassifier(Model):
    Config = TinyConfig

    def __init__(self, config: TinyConfig = TinyConfig()) -> None:
        super().__init__(config)
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
        )

    @property
    def inputs(self):
        return INPUTS

    @property
    def classes(self):
        return self.config.classes

    @classmethod
    def card(cls):
        return CARD

    def loss(self, batch):
        truth = torch.from_numpy(np.stack([target.scores for target in batch.targets]))
        return {"cross_entropy": functional.cross_entropy(self(batch), truth)}

    def predict(self, batch):
        shares = self(batch).float().softmax(1).numpy()
        return [Label(size=batch.size, scores=row, classes=self.classes) for row in shares]


def fresh(kind, seed=0, **config):
    """Build a model whose first weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(TinyConfig(**config))


@dataclass(frozen=True)
class Ponds:
    """Noisy land with a rectangle of water, whose mean colour differs by half the noise's spread."""

    count: int
    first: int = 0
    whole_image: bool = False

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        draw = np.random.default_rng(self.first + index)
        labels = np.zeros((16, 16), np.uint8)
        if self.whole_image:
            labels[:] = draw.integers(2)
        else:
            row, column = draw.integers(1, 8, 2)
            labels[row : row + 8, column : column + 8] = 1
        colour = np.where(labels, 160.0, 90.0)[None] + draw.normal(0, 35, (3, 16, 16))
        pixels = Pixels.from_array(np.clip(colour, 0, 255).astype(np.uint8), BANDS, Unit.EIGHT_BIT)
        classes = ("land", "water")
        target = (
            Label.of(classes[labels[0, 0]], classes, Size(16, 16))
            if self.whole_image
            else ClassMap(size=Size(16, 16), labels=labels, classes=classes)
        )
        return Sample(key=f"pond{self.first + index}", images={"image": pixels}, target=target)


def mirror(sample: Sample, generator: np.random.Generator) -> Sample:
    """Flip half the samples left to right."""
    if generator.random() < 0.5:
        return sample
    pixels = sample.images["image"]
    flipped = Pixels.from_array(pixels.values[:, :, ::-1].copy(), pixels.bands, pixels.unit)
    return Sample(key=sample.key, images={"image": flipped}, target=sample.target.flip_horizontal())


def accuracy(model: Model) -> dict[str, float]:
    """Share of pixels, or of images, of unseen ponds that get the right class."""
    whole = isinstance(model, TinyClassifier)
    data = Ponds(32, first=1000, whole_image=whole)
    samples = [data[index] for index in range(len(data))]
    right = []
    for sample, found in zip(samples, model.predict(model.prepare(samples)), strict=True):
        if whole:
            right.append(float(found.best.name == sample.target.best.name))
        else:
            right.append(float((found.labels == sample.target.labels).mean()))
    return {"accuracy": float(np.mean(right))}
