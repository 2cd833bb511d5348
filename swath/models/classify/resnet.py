"""ResNet classifiers: the plain convolutional network that scene-classification papers measure themselves against.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385. The tensors bear
torchvision's names, so its weight files (and those of many Earth-observation papers) load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from swath.models.base import OneImageModel
from swath.models.cards import Card, Variant
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import ClassificationOutput
from swath.models.recipe import Recipe
from swath.nn.resnet import ResNet, Stem
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomResizedCrop


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Everything that defines a ResNet classifier; `blocks` and `widths` are those of the four stages."""

    input: InputSpec
    output: ClassificationOutput
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    bottleneck: bool = False
    stem: Stem = "published"


class ResNetNetwork(ResNet):
    """The residual network, its mean over the last map, and a linear head: images (B, C, H, W) to logits (B, K)."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(
            channels=config.input.channels,
            blocks=config.blocks,
            widths=config.widths,
            bottleneck=config.bottleneck,
            stem=config.stem,
        )
        self.fc = nn.Linear(self.width, config.output.channels)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Classify a batch of images."""
        logits: Tensor = self.fc(self.pooled(image_BCHW))
        return logits

    def pooled(self, image_BCHW: Tensor) -> Tensor:
        """Return the mean over the last map (B, D), 512 or 2,048 numbers at the published widths."""
        return super().forward(image_BCHW).mean((2, 3))


class ResNetClassifier(OneImageModel):
    """A ResNet classifier under the contract.

    >>> import torch
    >>> model = resnet18(classes=("land", "water"))
    >>> model.eval().network(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 2])
    """

    Config = ResNetConfig
    config: ResNetConfig
    network: ResNetNetwork

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        self.network = ResNetNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def embed(self, batch: Batch) -> Tensor:
        """Return the pooled feature (B, D) that the head reads."""
        self.check(batch)
        return self.network.pooled(batch.images["image"])


def resnet_recipe(*, epochs: int = 90, batch_size: int = 64, size: int = 224, seed: int = 0) -> Recipe:
    """Return a training for scenes (ours): AdamW 1e-3 on a cosine, random resized crops of `size`, flips, CutMix."""
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        weight_decay=0.05,
        warmup_epochs=min(5, epochs / 10),
        minimum_learning_rate=1e-6,
        clip_gradient_norm=5.0,
        channels_last=True,
        cutmix=1.0,
        transforms=(RandomResizedCrop(size=size, area=(0.4, 1.0)), RandomFlip()),
        watch="accuracy",
        seed=seed,
        workers=1,
    )


CARD = Card(
    name="resnet",
    title="ResNet",
    summary="Scene classification by residual convolutional networks, the usual point of comparison.",
    citation="K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition. CVPR, 2016.",
    paper="arXiv 1512.03385",
    code="torchvision (names of tensors only)",
    code_licence="BSD-3-Clause",
    weights_licence="none shipped; torchvision's carry the terms of ImageNet",
    variants=(
        Variant(name="resnet18", parameters=11_689_512, note="1,000 classes"),
        Variant(name="resnet34", parameters=21_797_672, note="1,000 classes"),
        Variant(name="resnet50", parameters=25_557_032, note="1,000 classes"),
        Variant(name="resnet101", parameters=44_549_160, note="1,000 classes"),
    ),
    choices=(
        "A block that shrinks the map does so in its 3x3 convolution, as torchvision's do.",
        "`stem='small'` (a 5x5 convolution of stride 2, no maximum) is ours, for chips of 32 to 128 pixels.",
    ),
)


def resnet(
    *,
    classes: tuple[str, ...],
    blocks: tuple[int, int, int, int],
    bottleneck: bool,
    input: InputSpec | None = None,
) -> ResNetClassifier:
    """Build a ResNet of any depth; without `input`, for 224 px RGB under ImageNet's statistics."""
    spec = input or imagenet_rgb()
    return ResNetClassifier(
        ResNetConfig(
            input=spec,
            output=ClassificationOutput(classes=classes, label_smoothing=0.1),
            blocks=blocks,
            bottleneck=bottleneck,
        )
    )


def resnet18(*, classes: tuple[str, ...], input: InputSpec | None = None) -> ResNetClassifier:
    """Build ResNet-18.

    >>> import torch
    >>> with torch.device("meta"):
    ...     resnet18(classes=tuple(map(str, range(1000)))).parameter_count()
    11689512
    """
    return resnet(classes=classes, blocks=(2, 2, 2, 2), bottleneck=False, input=input)


def resnet34(*, classes: tuple[str, ...], input: InputSpec | None = None) -> ResNetClassifier:
    """Build ResNet-34."""
    return resnet(classes=classes, blocks=(3, 4, 6, 3), bottleneck=False, input=input)


def resnet50(*, classes: tuple[str, ...], input: InputSpec | None = None) -> ResNetClassifier:
    """Build ResNet-50.

    >>> import torch
    >>> with torch.device("meta"):
    ...     resnet50(classes=tuple(map(str, range(1000)))).parameter_count()
    25557032
    """
    return resnet(classes=classes, blocks=(3, 4, 6, 3), bottleneck=True, input=input)


def resnet101(*, classes: tuple[str, ...], input: InputSpec | None = None) -> ResNetClassifier:
    """Build ResNet-101."""
    return resnet(classes=classes, blocks=(3, 4, 23, 3), bottleneck=True, input=input)
