"""LWGANet: scene classification by a light backbone that gives each quarter of the channels another reach.

Lu, Chen, Ding, Tang, Luo: "LWGANet: Addressing Spatial and Channel Redundancy in Remote Sensing Visual Tasks with
Light-Weight Grouped Attention", AAAI 2026, arXiv 2501.10040 (first title: "LWGANet: A Lightweight Group Attention
Backbone for Remote Sensing Visual Tasks"). Official repository: github lwCVer/LWGANet (CC BY-NC 4.0). Published
weights: its release `weights`, files `lwganet_l0_e299.pth`, `lwganet_l1_e299.pth`, `lwganet_l2_e296.pth` (ImageNet-1k).
Because of that licence this is written from a description of the network; nothing was copied.

The backbone is in `lwganet_backbone`; `segment.lwganet_unetformer` and `change.lwganet_a2net` put decoders on it.

Where we differ, and why:

- Images that are not square, or smaller than 96 pixels, are refused with a message; the published network fails inside.
- RandAugment is not part of the recipe: its colour operations are defined for photographs in 8-bit RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from swath.errors import ConfigurationError
from swath.models.base import OneImageModel
from swath.models.cards import Card, Figure, Variant
from swath.models.classify.lwganet_backbone import (
    L0,
    SMALLEST,
    STRIDE,
    Backbone,
    BackboneConfig,
    VariantName,
    check_input,
    published_size,
    remap_backbone,
    start,
)
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import ClassificationOutput
from swath.models.recipe import Recipe
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomResizedCrop


@dataclass(frozen=True, kw_only=True)
class LWGANetConfig:
    """Everything that defines an LWGANet classifier; `head_width` is that of the layer before the last.

    Raises `ConfigurationError` for an input that the network cannot take.
    """

    input: InputSpec
    output: ClassificationOutput
    backbone: BackboneConfig = L0
    head_width: int = 1280

    def __post_init__(self) -> None:
        check_input(self.input)
        if self.head_width < 1:
            raise ConfigurationError(f"'head_width' must be positive; found {self.head_width}.")


class LWGANetNetwork(nn.Module):
    """Backbone, mean over the last map, a hidden layer and a linear head: images (B, C, S, S) to logits (B, K)."""

    def __init__(self, config: LWGANetConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config.backbone, channels=config.input.channels, dense=False)
        self.hidden = nn.Conv2d(config.backbone.widths[-1], config.head_width, 1, bias=False)
        self.head = nn.Linear(config.head_width, config.output.channels)
        for layer in (self.hidden, self.head):
            start(layer)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Classify a batch of images."""
        logits: Tensor = self.head(self.pooled(image_BCHW))
        return logits

    def pooled(self, image_BCHW: Tensor) -> Tensor:
        """Return the answer of the hidden layer (B, D), which the head reads."""
        *_, map_BCHW = self.backbone(image_BCHW)
        hidden: Tensor = self.backbone.activation(self.hidden(map_BCHW.mean((2, 3), keepdim=True)))
        return hidden.flatten(1)


class LWGANet(OneImageModel):
    """The LWGANet classifier under the contract.

    >>> import torch
    >>> lwganet_l0(classes=("land", "water")).eval().network(torch.zeros(1, 3, 96, 96)).shape
    torch.Size([1, 2])
    """

    Config = LWGANetConfig
    config: LWGANetConfig
    network: LWGANetNetwork

    def __init__(self, config: LWGANetConfig) -> None:
        super().__init__(config)
        self.network = LWGANetNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def embed(self, batch: Batch) -> Tensor:
        """Return the feature (B, D) that the head reads, 1,280 numbers at the published width."""
        self.check(batch)
        return self.network.pooled(batch.images["image"])

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of a published classifier (`Stem.proj.weight`, `avgpool_pre_head.1.weight`, ...).

        >>> import torch
        >>> list(LWGANet.remap_state_dict({"Stem.norm.bias": torch.zeros(1), "head.bias": torch.zeros(1)}))
        ['backbone.stem.norm.bias', 'head.bias']
        """
        return {_our_name(name): value for name, value in remap_backbone(published).items()}


def _our_name(name: str) -> str:
    if name.startswith("avgpool_pre_head.1."):
        return name.replace("avgpool_pre_head.1.", "hidden.", 1)
    return f"backbone.{name}" if name.startswith(("stem.", "stages.", "reductions.")) else name


def lwganet_recipe(*, epochs: int = 300, batch_size: int = 64, size: int = 224, seed: int = 1234) -> Recipe:
    """Return the published training from scratch: AdamW 1e-4, decay 0.05, 2 epochs of warm-up, cosine to 1e-6.

    Random resized crops of `size` and left-right flips; RandAugment is left out (see the module). Source: sheet,
    "Objective and training", after the paper's appendix (the code's default rate is 5e-4).

    >>> lwganet_recipe().learning_rate
    0.0001
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-4,
        weight_decay=0.05,
        warmup_epochs=min(2, epochs / 10),
        warmup_start=1e-3,
        minimum_learning_rate=1e-6,
        transforms=(RandomResizedCrop(size=size), RandomFlip(vertical=0.0)),
        watch="accuracy",
        seed=seed,
    )


CARD = Card(
    name="lwganet",
    title="LWGANet",
    summary="A backbone of 1.7 to 14 million parameters whose blocks give each quarter of the channels another reach: "
    "the pixel, its neighbours, strips, the whole map. Here as a classifier, and under UNetFormer and A2Net decoders.",
    citation="W. Lu, S.-B. Chen, C. H. Q. Ding, J. Tang, B. Luo: LWGANet: Addressing Spatial and Channel Redundancy in "
    "Remote Sensing Visual Tasks with Light-Weight Grouped Attention. AAAI, 2026.",
    paper="arXiv 2501.10040",
    code="github lwCVer/LWGANet",
    code_licence="CC BY-NC 4.0 (not used: written from a description of the network)",
    weights_licence="CC BY-NC 4.0 (as the repository; none shipped)",
    variants=(
        Variant(name="L0", parameters=1_717_423, note="45 classes"),
        Variant(name="L1", parameters=5_906_975, note="45 classes"),
        Variant(name="L2", parameters=13_040_667, note="45 classes"),
        Variant(name="L0, ImageNet-1k", parameters=2_940_778, note="1,000 classes, the published weights"),
        Variant(name="L1, ImageNet-1k", parameters=7_130_330, note="1,000 classes, the published weights"),
        Variant(name="L2, ImageNet-1k", parameters=14_264_022, note="1,000 classes, the published weights"),
        Variant(name="L0 dense", parameters=1_333_058, note="backbone alone, a norm on each of its four maps"),
        Variant(name="L2 dense", parameters=12_002_862, note="backbone alone, a norm on each of its four maps"),
    ),
    reported=tuple(
        Figure(metric=f"accuracy, {variant}", value=value, data=data, source="paper, appendix")
        for data, values in (
            ("NWPU-RESISC45, 80/20", (0.9549, 0.9570, 0.9617)),
            ("AID, 80/20", (0.9460, 0.9485, 0.9545)),
            ("UC Merced, 80/20", (0.9857, 0.9881, 0.9857)),
        )
        for variant, value in zip(("L0", "L1", "L2"), values, strict=True)
    ),
    choices=(
        "The map sheared by columns is convolved in its own upright position, so that its strips run along diagonals "
        "as those of the map sheared by rows [inferred].",
        "GELU is the exact one, attention is scaled by the root of its 4 channels a head, and its queries, keys and "
        "values follow one another in one matrix [inferred].",
        "Between stages the same activation acts as in the blocks [inferred].",
        "Learning rate and warm-up are the appendix's; the code's default rate is 5e-4.",
        "Samples of other sizes are resized to 224 pixels whole; the published evaluation resizes the shorter side to "
        "256 and cuts out the central 224.",
        "Published shares of training and test are drawn without a seed, so the reported figures cannot be repeated to "
        "the digit.",
    ),
    limits=(
        "Square images only, their side a multiple of 32 and at least 96 pixels (224, 256, 800, 1024; not 64, 240 or "
        "600). Of 96 pixels at least two images make a batch of training, as their smallest map is one pixel.",
        "The CLAFA decoder for change and the Oriented R-CNN detector are not built yet; of the published detectors "
        "only the backbone can be loaded (`load_backbone`).",
        "No published weights were at hand: equality was checked against an independent transcription of the same "
        "description.",
    ),
)


def lwganet(*, classes: tuple[str, ...], variant: VariantName = "L0", input: InputSpec | None = None) -> LWGANet:
    """Build a classifier of a published size; without `input`, for 224 px RGB under ImageNet's statistics.

    Raises `ConfigurationError` for a variant that there is not.
    """
    spec = input or imagenet_rgb(multiple_of=STRIDE, fixed_size=True, square=True, minimum=SMALLEST)
    return LWGANet(
        LWGANetConfig(input=spec, output=ClassificationOutput(classes=classes), backbone=published_size(variant))
    )


def lwganet_l0(*, classes: tuple[str, ...], input: InputSpec | None = None) -> LWGANet:
    """Build LWGANet-L0: 32 channels, 1.3 million parameters before the head.

    >>> import torch
    >>> with torch.device("meta"):
    ...     lwganet_l0(classes=tuple(map(str, range(45)))).parameter_count()
    1717423
    """
    return lwganet(classes=classes, variant="L0", input=input)


def lwganet_l1(*, classes: tuple[str, ...], input: InputSpec | None = None) -> LWGANet:
    """Build LWGANet-L1: 64 channels.

    >>> import torch
    >>> with torch.device("meta"):
    ...     lwganet_l1(classes=tuple(map(str, range(45)))).parameter_count()
    5906975
    """
    return lwganet(classes=classes, variant="L1", input=input)


def lwganet_l2(*, classes: tuple[str, ...], input: InputSpec | None = None) -> LWGANet:
    """Build LWGANet-L2: 96 channels, more blocks, ReLU.

    >>> import torch
    >>> with torch.device("meta"):
    ...     lwganet_l2(classes=tuple(map(str, range(45)))).parameter_count()
    13040667
    """
    return lwganet(classes=classes, variant="L2", input=input)
