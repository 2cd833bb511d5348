"""LWGANet with an A2Net decoder: change between two dates, its mask supervised at four scales.

Lu, Chen, Ding, Tang, Luo: "LWGANet", AAAI 2026, arXiv 2501.10040 (licences: see `classify.lwganet`). The decoder is
that of Li et al.: "Lightweight Remote Sensing Change Detection With Progressive Feature Aggregation and Supervised
Attention", IEEE TGRS 61, 2023. Written from a description of the networks; nothing was copied, and no weights of the
pair are published.

Both dates pass the same backbone; each of its four maps takes in its finer and coarser neighbours, and the absolute
differences are decoded from coarse to fine, so that exchanging the dates changes nothing.

Where we differ, and why:

- Scores are logits, and only the finest mask is enlarged in prediction; the published network gives four probabilities.
- Pixels that are unknown count in no loss.

Shape legend: B pairs, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError
from swath.geometry.windows import Window
from swath.imagery.bands import Unit
from swath.models.cards import Card, Figure, Variant
from swath.models.change.base import ChangeModel
from swath.models.classify.lwganet import CARD as LWGANET_CARD
from swath.models.classify.lwganet_backbone import (
    L0,
    STRIDE,
    Backbone,
    BackboneConfig,
    ConvNorm,
    VariantName,
    check_input,
    enlarge,
    published_size,
    remap_backbone,
)
from swath.models.inputs import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from swath.models.outputs import SegmentationOutput
from swath.models.recipe import Recipe
from swath.samples.batch import Batch
from swath.samples.moves import Crop, Resize
from swath.samples.rasters import CHANGE_CLASSES
from swath.samples.transforms import RandomFlip, Sometimes

if TYPE_CHECKING:
    import numpy as np

    from swath.samples.sample import Sample


@dataclass(frozen=True, kw_only=True)
class ChangeOutput(SegmentationOutput):
    """Whether each pixel changed, learnt by binary cross-entropy plus soft Dice over the whole batch.

    Dice is 1 - (2 sum pt + e) / (sum p + sum t + e) with e = 1e-5; pixels labelled `ignore` count in neither. Source:
    sheet, "Objective and training". Raises `ConfigurationError` unless binary.

    >>> ChangeOutput().channels
    1
    """

    classes: tuple[str, ...] = CHANGE_CLASSES
    binary: bool = True
    dice_smoothing: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.binary:
            raise ConfigurationError("the network gives one map, how likely a pixel changed: set binary=True.")

    def loss(self, logits_BKHW: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy` and `dice` of one map against the class maps of the batch, in 32-bit floats."""
        logits_BHW = logits_BKHW[:, 0].float()
        target_BHW = self.targets(logits_BKHW, batch)
        truth = (target_BHW == 1).to(logits_BHW.dtype)
        known = (target_BHW != self.ignore).to(logits_BHW.dtype)
        entropy = functional.binary_cross_entropy_with_logits(logits_BHW, truth, weight=known, reduction="sum")
        share = torch.sigmoid(logits_BHW) * known
        overlap = (2 * (share * truth).sum() + self.dice_smoothing) / (share.sum() + truth.sum() + self.dice_smoothing)
        return {"cross_entropy": entropy / known.sum().clamp(min=1), "dice": self.dice * (1 - overlap)}


def bgr_input(window: int) -> InputSpec:
    """Return squares of blue, green and red (in this order), 0 to 255, under ImageNet's statistics.

    >>> bgr_input(256).mean
    (103.53, 116.28, 123.675)
    """
    return InputSpec(
        bands=("blue", "green", "red"),
        unit=Unit.EIGHT_BIT,
        mean=IMAGENET_MEAN[::-1],
        std=IMAGENET_STD[::-1],
        window=window,
        overlap=window // 4,
        multiple_of=STRIDE,
        fixed_size=True,
        square=True,
    )


BGR_INPUT = bgr_input(256)
CHANGE = ChangeOutput()


@dataclass(frozen=True, kw_only=True)
class LWGANetA2NetConfig:
    """Everything that defines the network; the defaults are the published ones. `width` is that of the decoder.

    Raises `ConfigurationError` for a value outside its range.

    >>> LWGANetA2NetConfig().input.bands
    ('blue', 'green', 'red')
    """

    input: InputSpec = BGR_INPUT
    output: ChangeOutput = CHANGE
    backbone: BackboneConfig = L0
    width: int = 64

    def __post_init__(self) -> None:
        check_input(self.input)
        if self.width < 2 or self.width % 2:
            raise ConfigurationError(f"'width' must be even and at least 2; found {self.width}.")


class NeighbourAggregation(nn.Module):
    """One scale with its neighbours: the finer map's maxima, itself, the coarser map enlarged, half a width each."""

    def __init__(self, widths: Sequence[int], place: int, width: int) -> None:
        super().__init__()
        self.place = place
        self.sources = [source for source in (place - 1, place, place + 1) if 0 <= source < len(widths)]
        half = width // 2
        self.neighbours = nn.ModuleList(ConvNorm(widths[source], half, 3, bias=True) for source in self.sources)
        self.first = ConvNorm(half * len(self.sources), width, 3, bias=True)
        self.second = ConvNorm(width, width, 3, bias=True)
        self.identity = nn.Conv2d(widths[place], width, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Aggregate from all maps of one date, finest first."""
        parts = []
        for source, convolve in zip(self.sources, self.neighbours, strict=True):
            finer, coarser = source < self.place, source > self.place
            part = functional.relu(convolve(functional.max_pool2d(maps[source], 2) if finer else maps[source]))
            parts.append(enlarge(part, 2) if coarser else part)
        fused = self.second(functional.relu(self.first(torch.cat(parts, dim=1))))
        return functional.relu(fused + self.identity(maps[self.place]))


class TemporalFusion(nn.Module):
    """What differs between two maps, through four ever narrower dilated convolutions, each fed the difference anew."""

    dilations = (7, 5, 3, 1)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            ConvNorm(width, width, 3, dilation=dilation, bias=True) for dilation in self.dilations
        )
        self.shortcuts = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in self.dilations)

    def forward(self, before_BCHW: Tensor, after_BCHW: Tensor) -> Tensor:
        """Fuse two maps."""
        difference = found = (before_BCHW - after_BCHW).abs()
        for branch, shortcut in zip(self.branches, self.shortcuts, strict=True):
            found = functional.relu(shortcut(difference) + branch(found))
        return found


@dataclass(frozen=True, kw_only=True)
class Attended:
    """A map after its supervised attention, and the logits of the mask that it attended by."""

    map: Tensor
    mask: Tensor


class SupervisedAttention(nn.Module):
    """A learnt mask of one channel, whose two shares (changed or not) become a context that multiplies the map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mask = nn.Conv2d(width, 1, 1)
        self.context = ConvNorm(2, width, 1, bias=True)
        self.mix = ConvNorm(width, width, 3, bias=True)

    def forward(self, map_BCHW: Tensor) -> Attended:
        """Attend by the map's own mask."""
        mask = self.mask(map_BCHW)
        share = torch.sigmoid(mask)
        context = functional.relu(self.context(torch.cat([share, 1 - share], dim=1)))
        return Attended(map=functional.relu(self.mix(map_BCHW * context)), mask=mask)


class A2NetDecoder(nn.Module):
    """From the coarsest difference to the finest, a supervised attention before each step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(SupervisedAttention(width) for _ in range(3))
        self.joints = nn.ModuleList(ConvNorm(width, width, 3, bias=True) for _ in range(3))
        self.mask = nn.Conv2d(width, 1, 1)

    def forward(self, differences: Sequence[Tensor]) -> list[Tensor]:
        """Return the logits of four masks at the sizes of the differences, finest first as those come."""
        *finer, map_BCHW = differences
        masks = []
        for attention, joint, difference in zip(self.attentions, self.joints, reversed(finer), strict=True):
            attended = attention(map_BCHW)
            masks.append(attended.mask)
            map_BCHW = functional.relu(joint(difference + enlarge(attended.map, 2)))
        return [self.mask(map_BCHW), *reversed(masks)]


class LWGANetA2NetNetwork(nn.Module):
    """Two dates (B, C, S, S) to logits of change (B, 1, S, S); `masks` gives those of all four scales."""

    def __init__(self, config: LWGANetA2NetConfig) -> None:
        super().__init__()
        widths = config.backbone.widths
        self.backbone = Backbone(config.backbone, channels=config.input.channels, dense=True)
        self.aggregations = nn.ModuleList(
            NeighbourAggregation(widths, place, config.width) for place in range(len(widths))
        )
        self.fusions = nn.ModuleList(TemporalFusion(config.width) for _ in widths)
        self.decoder = A2NetDecoder(config.width)

    def forward(self, before_BCHW: Tensor, after_BCHW: Tensor) -> Tensor:
        """Score what changed."""
        finest, *_ = self._small_masks(before_BCHW, after_BCHW)
        return enlarge(finest, 4)

    def masks(self, before_BCHW: Tensor, after_BCHW: Tensor) -> list[Tensor]:
        """Return the logits of four masks at the size of the images, finest scale first."""
        small = self._small_masks(before_BCHW, after_BCHW)
        return [enlarge(mask, 4 * 2**place) for place, mask in enumerate(small)]

    def _small_masks(self, before_BCHW: Tensor, after_BCHW: Tensor) -> list[Tensor]:
        # One date after the other, as published: in training each is normalised by its own statistics.
        before, after = (self.aggregate(image_BCHW) for image_BCHW in (before_BCHW, after_BCHW))
        differences = [fuse(*pair) for fuse, *pair in zip(self.fusions, before, after, strict=True)]
        masks: list[Tensor] = self.decoder(differences)
        return masks

    def aggregate(self, image_BCHW: Tensor) -> list[Tensor]:
        """Return the four aggregated maps of one date, finest first."""
        maps = self.backbone(image_BCHW)
        return [aggregation(maps) for aggregation in self.aggregations]


class LWGANetA2Net(ChangeModel):
    """LWGANet with an A2Net decoder under the contract.

    >>> model = lwganet_a2net(window=96).eval()
    >>> model.network(torch.zeros(1, 3, 96, 96), torch.ones(1, 3, 96, 96)).shape
    torch.Size([1, 1, 96, 96])
    """

    Config = LWGANetA2NetConfig
    config: LWGANetA2NetConfig
    network: LWGANetA2NetNetwork

    def __init__(self, config: LWGANetA2NetConfig) -> None:
        super().__init__(config)
        self.network = LWGANetA2NetNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the card of the pair."""
        return CARD

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy` and `dice`, each summed over the masks of the four scales."""
        self.check(batch)
        masks = self.network.masks(batch.images["before"], batch.images["after"])
        terms = [self.config.output.loss(mask, batch) for mask in masks]
        return {name: torch.stack([term[name] for term in terms]).sum() for name in terms[0]}

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors under `backbone.` from the published names; the decoder's are ours."""
        return remap_backbone(published)


@dataclass(frozen=True)
class ExchangeDates:
    """Let `before` and `after` change places; what changed stays what changed.

    >>> ExchangeDates()
    ExchangeDates()
    """

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:  # noqa: ARG002 (one signature)
        """Exchange the images."""
        return replace(sample, images={"before": sample.images["after"], "after": sample.images["before"]})


@dataclass(frozen=True)
class InwardCrop:
    """Cut up to a `share` of the side off each side, by chance, and resize what is left to the size it had.

    >>> InwardCrop(share=1 / 32).share
    0.03125
    """

    share: float = 1 / 32

    def __post_init__(self) -> None:
        if not 0 <= self.share < 0.5:
            raise ConfigurationError(f"'share' must be 0 to below one half; found {self.share}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Crop and resize."""
        size = sample.size
        most = [int(self.share * side) for side in (size.height, size.height, size.width, size.width)]
        top, bottom, left, right = (int(generator.integers(limit, endpoint=True)) for limit in most)
        window = Window(top, left, size.height - top - bottom, size.width - left - right)
        return sample.moved(Crop(window)).moved(Resize(size))


def lwganet_a2net_recipe(*, epochs: int = 180, batch_size: int = 32, seed: int = 0) -> Recipe:
    """Return the published training as far as recipes go: rate 5e-4, decay 1e-4, betas 0.9 and 0.99, 200 steps up.

    180 epochs are the published 40,000 steps on LEVIR-CD's 7,120 tiles of 256 pixels, 0.9 of one the 200 steps of
    warm-up. The published fall is a polynomial of power 0.9, here a cosine, and its Adam adds the decay to the
    gradient, AdamW does not. Source: sheet, "Objective and training" and "Data".

    >>> lwganet_a2net_recipe().betas
    (0.9, 0.99)
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=5e-4,
        weight_decay=1e-4,
        betas=(0.9, 0.99),
        warmup_epochs=min(0.9, epochs / 10),
        transforms=(Sometimes(InwardCrop(), 0.5), RandomFlip(), Sometimes(ExchangeDates(), 0.5)),
        watch="IoU (class changed)",
        seed=seed,
    )


CARD = replace(
    LWGANET_CARD,
    title="LWGANet with an A2Net decoder",
    summary="Change between two dates by the light backbone LWGANet and the A2Net decoder: neighbouring scales are "
    "aggregated, absolute differences decoded from coarse to fine under supervised attention.",
    variants=(Variant(name="L0, A2Net", parameters=2_913_094, note="one map: changed or not"),),
    reported=(
        Figure(metric="IoU of change, from scratch (ablation)", value=0.8395, data="LEVIR-CD, 256 px", source="paper"),
    ),
    choices=(
        *LWGANET_CARD.choices[:3],
        "A coarser neighbour is convolved before it is enlarged, a finer one pooled before it is convolved; neighbours "
        "are joined finest first [recalled].",
        "In the cascade each 1x1 shortcut of the difference is added to the branch before it, then ReLU [recalled]. "
        "Every convolution of the decoder has a bias, as the published count demands.",
        "Maps are enlarged bilinearly without aligned corners [inferred].",
        "The backbone runs once a date, so that batch norm sees one date at a time in training [inferred].",
        "Decoder layers start from PyTorch's first weights [inferred].",
        "Rates and steps are the code's (the appendix says 1e-3, 20,000 steps, batches of 64); a cosine stands for the "
        "polynomial fall, AdamW for Adam.",
    ),
)


def lwganet_a2net(*, variant: VariantName = "L0", window: int = 256, input: InputSpec | None = None) -> LWGANetA2Net:
    """Build the network for windows of so many pixels; without `input`, for BGR under ImageNet's statistics.

    >>> with torch.device("meta"):
    ...     lwganet_a2net().parameter_count()
    2913094
    """
    return LWGANetA2Net(LWGANetA2NetConfig(input=input or bgr_input(window), backbone=published_size(variant)))
