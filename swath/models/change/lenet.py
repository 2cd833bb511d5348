"""LENet: change detection that exchanges feature levels between two dates and weighs them by their difference.

"A Remote Sensing Image Change Detection Method Integrating Layer Exchange and Channel-Spatial Differences", IEEE
JSTARS 2025, arXiv 2501.10905. Official repository: github dyzy41/lenet (no licence file; on mmsegmentation,
Apache-2.0); nothing of it was copied. No weights were published; training starts from timm's
`swinv2_base_window8_256.ms_in1k`, which `load_encoder` reads.

Where we differ, and why:

- Both dates pass the encoder as one batch, since they share its weights; results are equal to rounding.
- Windows and their shifts follow from the size of each map instead of a size fixed at construction, so the same
  weights run on any size that the windows tile. At 256 pixels they are the published ones.
- The published checkpoints carry a second, unused backbone; it is dropped when they are loaded.
- The published rate falls along a line; our recipe falls along a cosine to the same last value.
  `PublishedSchedule` gives the published rate itself.

Shape legend: B batch, C channels, K score maps, H rows, W columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError, ShapeError, WeightsMismatch
from swath.models.cards import Card, Figure, Variant
from swath.models.change.base import ChangeModel
from swath.models.change.lenet_decoder import (
    ChangeHead,
    CrossDecoder,
    DifferenceWeighting,
    FeaturePyramid,
    Pair,
    exchange_layers,
)
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import SegmentationOutput
from swath.models.published import read_tensors
from swath.models.recipe import Recipe
from swath.nn.swin_v2 import SwinV2, encoder_tensors
from swath.samples.batch import Batch
from swath.samples.rasters import CHANGE_CLASSES
from swath.samples.transforms import ColourJitter, RandomCrop, RandomFlip, RandomRotate

LEVEL_STRIDES = (4, 8, 16, 32)
"""Pixels a side of a place in the four levels, finest first."""

PAIR_INPUT = imagenet_rgb(window=256, overlap=86, fixed_size=True)
"""Windows of 256 pixels every 170, as in the published test."""

CHANGE = SegmentationOutput(classes=CHANGE_CLASSES, dice=0.0)
"""Two score maps a pixel, taught by cross-entropy alone."""


@dataclass(frozen=True, kw_only=True)
class LENetConfig:
    """Everything that defines a LENet; the defaults are the published size.

    `width`, `depths`, `heads`, `window` and `drop_path` are those of the SwinV2 encoder; `exchange_levels` counts from
    the finest level; `pyramid_channels` is the width of pyramid and decoder, `decoder_heads` are by level.
    `auxiliary_weight` is the share of each of the two auxiliary losses.
    Raises `ConfigurationError` for sizes that the windows cannot tile and for values outside their range.

    >>> LENetConfig().output.classes
    ('unchanged', 'changed')
    """

    input: InputSpec = PAIR_INPUT
    output: SegmentationOutput = CHANGE
    width: int = 128
    depths: tuple[int, int, int, int] = (2, 2, 18, 2)
    heads: tuple[int, int, int, int] = (4, 8, 16, 32)
    window: int = 8
    drop_path: float = 0.1
    exchange_levels: tuple[int, ...] = (0, 2)
    pyramid_channels: int = 256
    decoder_heads: tuple[int, int, int, int] = (4, 8, 16, 32)
    head_channels: int = 256
    dropout: float = 0.1
    auxiliary_weight: float = 0.3

    def __post_init__(self) -> None:
        sides = [self.input.window / stride for stride in LEVEL_STRIDES]
        fits = all(side == int(side) and (side <= self.window or side % self.window == 0) for side in sides)
        if not (fits and self.input.fixed_size) and self.input.multiple_of % (LEVEL_STRIDES[-1] * self.window):
            size = LEVEL_STRIDES[-1] * self.window
            raise ConfigurationError(
                f"windows of {self.window} tokens must tile the maps at 1/4, 1/8, 1/16 and 1/32 of the image, or hold "
                f"them whole; they cannot for every input of this kind (window {self.input.window}). Take a fixed "
                f"window such as {size}, or multiple_of={size}."
            )
        if not set(self.exchange_levels) <= set(range(len(LEVEL_STRIDES))):
            raise ConfigurationError(f"'exchange_levels' are among 0 to 3; found {self.exchange_levels}.")
        if self.pyramid_channels % 8:
            raise ConfigurationError(f"'pyramid_channels' must be a multiple of 8; found {self.pyramid_channels}.")


@dataclass(frozen=True, kw_only=True)
class HeadLogits:
    """What the heads say of the change maps, (B, K, H, W) at the maps' own sizes.

    `answer` is of the finest, `auxiliary` of the coarsest map and of the one in the middle.
    """

    answer: Tensor
    auxiliary: tuple[Tensor, Tensor]


class LENetNetwork(nn.Module):
    """Images of two dates, each (B, C, H, W), to logits (B, K, H, W)."""

    def __init__(self, config: LENetConfig) -> None:
        super().__init__()
        self.exchange_levels = config.exchange_levels
        self.encoder = SwinV2(
            channels=config.input.channels,
            width=config.width,
            depths=config.depths,
            heads=config.heads,
            window=config.window,
            drop_path=config.drop_path,
        )
        widths = self.encoder.widths
        self.encoder_weighting = nn.ModuleList(DifferenceWeighting(width) for width in (widths[0], *widths))
        channels = config.pyramid_channels
        self.pyramid_before = FeaturePyramid(widths, channels)
        self.pyramid_after = FeaturePyramid(widths, channels)
        self.decoder = CrossDecoder(channels, config.decoder_heads, window=config.window)

        def head() -> ChangeHead:
            classes = config.output.channels
            return ChangeHead(2 * channels, config.head_channels, classes=classes, dropout=config.dropout)

        self.head = head()
        self.auxiliary_heads = nn.ModuleList((head(), head()))

    def forward(self, before_BCHW: Tensor, after_BCHW: Tensor) -> Tensor:
        """Score every pixel; what only the auxiliary heads need does not run."""
        finest = self.decoder(self.exchanged_pyramids(self.encode(before_BCHW, after_BCHW)))
        return resized(self.head(finest), before_BCHW)

    def all_logits(self, before_BCHW: Tensor, after_BCHW: Tensor) -> HeadLogits:
        """Return the logits of all three heads at the sizes of their maps."""
        coarse, middle, fine = self.change_maps(before_BCHW, after_BCHW)
        first, second = self.auxiliary_heads
        return HeadLogits(answer=self.head(fine), auxiliary=(first(coarse), second(middle)))

    def change_maps(self, before_BCHW: Tensor, after_BCHW: Tensor) -> list[Tensor]:
        """Return the three change maps at 1/8, 1/4 and 1/4 of the image's sides, each of twice the pyramid's width."""
        return self.decoder.change_maps(self.exchanged_pyramids(self.encode(before_BCHW, after_BCHW)))

    def encode(self, before_BCHW: Tensor, after_BCHW: Tensor) -> list[Pair]:
        """Return the four levels, finest first; each is re-weighted before the next stage sees it."""
        both_BHWC = torch.cat([before_BCHW, after_BCHW])
        levels = []
        parts = (self.encoder.patch_embed, *self.encoder.stages)
        for part, weighting in zip(parts, self.encoder_weighting, strict=True):
            before, after = part(both_BHWC).permute(0, 3, 1, 2).chunk(2)
            pair: Pair = weighting(Pair(before=before, after=after))
            both_BHWC = torch.cat([pair.before, pair.after]).permute(0, 2, 3, 1)
            levels.append(pair)
        return levels[1:]

    def exchanged_pyramids(self, levels: list[Pair]) -> list[Pair]:
        """Swap levels, run each date's pyramid, and swap the same levels back."""
        swapped = exchange_layers(levels, self.exchange_levels)
        before = self.pyramid_before([pair.before for pair in swapped])
        after = self.pyramid_after([pair.after for pair in swapped])
        pairs = [Pair(before=first, after=second) for first, second in zip(before, after, strict=True)]
        return exchange_layers(pairs, self.exchange_levels)


def resized(logits_BKHW: Tensor, like: Tensor) -> Tensor:
    """Return logits at the height and width of an image, bilinearly, corners not aligned.

    >>> resized(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 16, 8)).shape
    torch.Size([1, 2, 16, 8])
    """
    size = (like.shape[2], like.shape[3])
    return functional.interpolate(logits_BKHW, size=size, mode="bilinear", align_corners=False)


class LENet(ChangeModel):
    """LENet under the contract.

    >>> _ = torch.manual_seed(0)
    >>> config = LENetConfig(
    ...     input=imagenet_rgb(window=64, overlap=16, fixed_size=True), width=16, depths=(1, 1, 1, 1),
    ...     heads=(1, 2, 2, 4), window=4, pyramid_channels=16, decoder_heads=(1, 2, 2, 4), head_channels=8)
    >>> pair = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    >>> LENet(config).eval().network(*pair).shape
    torch.Size([1, 2, 64, 64])
    """

    Config = LENetConfig
    loss_by_output = True
    config: LENetConfig
    network: LENetNetwork

    def __init__(self, config: LENetConfig) -> None:
        super().__init__(config)
        self.network = LENetNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy` of the answer and the weighted ones of both auxiliary heads.

        Each is against the labels at their own size (sheet, "Objective and training").
        """
        self.check(batch)
        pair = (batch.images["before"], batch.images["after"])
        found = self.network.all_logits(*pair)

        def entropy(logits: Tensor) -> Tensor:
            return self.config.output.loss(resized(logits, pair[0]), batch)["cross_entropy"]

        auxiliary = {
            f"auxiliary_{number}": self.config.auxiliary_weight * entropy(logits)
            for number, logits in enumerate(found.auxiliary)
        }
        return {"cross_entropy": entropy(found.answer), **auxiliary}

    def sliding_logits(self, batch: Batch) -> Tensor:
        """Return the logits of images larger than the window as published tests have them, (B, K, H, W).

        Windows stand every `window - overlap` pixels, the last ones moved inside; where they overlap, their logits
        are averaged. A scene that does not fit in memory goes through `swath.inference`, which blends the seams.
        Raises `ShapeError` for images smaller than the window.
        """
        spec = self.config.input
        stride = spec.window - spec.overlap
        size = batch.size
        total = torch.zeros(len(batch), self.config.output.channels, size.height, size.width, device=batch.device)
        seen = torch.zeros(size.height, size.width, device=batch.device)
        for row in slide_starts(size.height, window=spec.window, stride=stride):
            for column in slide_starts(size.width, window=spec.window, stride=stride):
                place = (..., slice(row, row + spec.window), slice(column, column + spec.window))
                part = Batch(images={slot: image[place] for slot, image in batch.images.items()}, keys=batch.keys)
                total[place] += self(part)
                seen[place] += 1
        return total / seen

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn published names into ours; the unused backbone and tables that follow from the window are dropped.

        >>> list(LENet.remap_state_dict({"model.channelA.2.conv3.bn.bias": torch.zeros(1)}))
        ['decoder.levels.1.before.fusion.norm.bias']
        """
        return {
            _own_name(name): value
            for name, value in published.items()
            if not name.startswith("backbone.") and not name.endswith(_TABLES)
        }


def slide_starts(length: int, *, window: int, stride: int) -> list[int]:
    """Return where windows along an axis start: every `stride` pixels, the last one moved inside.

    Raises `ShapeError` for an axis shorter than the window.

    >>> slide_starts(512, window=256, stride=170)
    [0, 170, 256]
    """
    if length < window:
        raise ShapeError(f"a window of {window} pixels does not fit into {length}; pad the images.")
    count = math.ceil((length - window) / stride) + 1
    return [min(number * stride, length - window) for number in range(count)]


_TABLES = ("relative_position_index", "relative_coords_table", "attn_mask", "k_bias")
_PLACES = (
    (r"model\.model\.", "encoder."),
    (r"model\.rwe\.(?P<place>\d)\.conv(?P<date>[AB])\.", "encoder_weighting.{place}.{date}."),
    (r"model\.fpn(?P<date>[AB])\.lateral_convs\.(?P<place>\d)\.conv\.", "pyramid_{date}.lateral.{place}."),
    (r"model\.fpn(?P<date>[AB])\.fpn_convs\.(?P<place>\d)\.conv\.", "pyramid_{date}.smooth.{place}."),
    (r"model\.decode_layers(?P<date>[AB])\.(?P<level>\d)\.", "decoder.levels.{level}.{date}."),
    (r"model\.channel(?P<date>[AB])\.(?P<level>\d)\.", "decoder.levels.{level}.{date}.fusion."),
    (r"model\.re_weight(?P<level>\d)\.conv(?P<date>[AB])\.", "decoder.weighting.{level}.{date}."),
    (r"decode_head\.", "head."),
    (r"auxiliary_head\.(?P<place>\d)\.", "auxiliary_heads.{place}."),
)
_PARTS = {
    "convs.0.conv.": "conv.",
    "convs.0.bn.": "norm.",
    "conv_seg.": "classify.",
    "conv1.conv.": "reduce.",
    "conv2.conv.": "expand.",
    "conv3.conv.": "project.",
    "conv3.bn.": "norm.",
}


def _own_name(name: str) -> str:
    for pattern, template in _PLACES:
        match = re.match(pattern, name)
        if match is None:
            continue
        found = match.groupdict()
        date = {"A": "before", "B": "after"}.get(found.get("date", ""), "")
        # Published levels count from 1 (their place 0 is empty).
        level = int(found.get("level", 1)) - 1
        own, rest = template.format(date=date, level=level, place=found.get("place")), name[match.end() :]
        part = next((part for part in _PARTS if rest.startswith(part)), "")
        return own + _PARTS.get(part, "") + rest.removeprefix(part)
    return name


def load_encoder(model: LENet, file: str | Path) -> None:
    """Start the encoder from published SwinV2 weights, such as ImageNet's of timm; all the rest stays fresh.

    Raises `WeightsMismatch` unless every tensor of the encoder is found, and leaves the model as it was.
    """
    published = encoder_tensors(read_tensors(file))
    own = model.network.encoder.state_dict()
    unfit = [name for name, value in own.items() if name not in published or published[name].shape != value.shape]
    if unfit:
        raise WeightsMismatch(
            f"{file} does not hold this SwinV2 encoder; {len(unfit)} of {len(own)} tensors are missing or of another "
            f"shape, first {unfit[0]}. Give weights of the same widths and depths for {model.config.input.channels} "
            "bands."
        )
    model.network.encoder.load_state_dict({name: published[name] for name in own})


@dataclass(frozen=True, kw_only=True)
class PublishedSchedule:
    """How the authors trained on one data set: AdamW's rate by iteration, batch, crops, validation.

    The rate rises linearly from a millionth over 1,500 iterations and then falls along a line that would reach zero
    at iteration `end`. Source: sheet, "Objective and training".
    """

    learning_rate: float
    iterations: int
    batch_size: int
    end: int
    crop: bool = False
    validate_every: int = 1000
    warmup: int = 1500
    warmup_start: float = 1e-6

    def learning_rate_at(self, iteration: int) -> float:
        """Return the rate of an iteration, counted from 0.

        >>> round(PUBLISHED_SCHEDULES["levir-cd"].learning_rate_at(40_000) / 3e-4, 4)
        0.5096
        """
        if iteration < self.warmup:
            return self.learning_rate * (self.warmup_start + (1 - self.warmup_start) * iteration / self.warmup)
        return self.learning_rate * max(0.0, 1 - (iteration - self.warmup) / (self.end - self.warmup))


PUBLISHED_SCHEDULES: Mapping[str, PublishedSchedule] = {
    "levir-cd": PublishedSchedule(learning_rate=3e-4, iterations=40_000, batch_size=16, end=80_000, crop=True),
    "clcd": PublishedSchedule(
        learning_rate=3e-5, iterations=20_000, batch_size=12, end=40_000, crop=True, validate_every=200
    ),
    "sysu-cd": PublishedSchedule(learning_rate=1e-4, iterations=40_000, batch_size=12, end=80_000, validate_every=200),
    "px-clcd": PublishedSchedule(learning_rate=3e-4, iterations=40_000, batch_size=16, end=80_000),
    "s2looking": PublishedSchedule(
        learning_rate=3e-4, iterations=80_000, batch_size=16, end=160_000, crop=True, validate_every=2000
    ),
    "cdd": PublishedSchedule(learning_rate=3e-4, iterations=50_000, batch_size=12, end=100_000),
    "whu-cd": PublishedSchedule(learning_rate=3e-4, iterations=60_000, batch_size=12, end=80_000),
}
"""The published trainings by data set; those that crop test with a sliding window, the others on whole tiles."""


def lenet_recipe(*, samples: int = 445, data: str = "levir-cd", seed: int = 0) -> Recipe:
    """Return the published training on a data set of so many `samples`, as nearly as a recipe says it.

    LEVIR-CD has 445 pairs to train on; for other data say how many, as the published steps are so many epochs.

    Raises `ConfigurationError` for a data set without a published training.

    >>> recipe = lenet_recipe()
    >>> recipe.epochs, recipe.batch_size, round(recipe.minimum_learning_rate, 6)
    (1429, 16, 0.000153)
    """
    schedule = PUBLISHED_SCHEDULES.get(data)
    if schedule is None:
        raise ConfigurationError(f"LENet was trained on {', '.join(PUBLISHED_SCHEDULES)}; found '{data}'.")
    steps = math.ceil(samples / schedule.batch_size)
    return Recipe(
        epochs=math.ceil(schedule.iterations / steps),
        batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        weight_decay=0.01,
        warmup_epochs=schedule.warmup / steps,
        warmup_start=schedule.warmup_start,
        minimum_learning_rate=schedule.learning_rate_at(schedule.iterations),
        transforms=(
            *((RandomCrop(PAIR_INPUT.window),) if schedule.crop else ()),
            RandomRotate(30.0),
            ColourJitter(brightness=32 / 255, contrast=0.5),
            RandomFlip(vertical=0.0),
        ),
        validate_every=max(1, round(schedule.validate_every / steps)),
        watch="IoU (class changed)",
        seed=seed,
    )


def _reported() -> tuple[Figure, ...]:
    table = {
        "CLCD": (66.83, 80.12),
        "LEVIR-CD": (86.30, 92.64),
        "S2Looking": (51.19, 67.71),
        "PX-CLCD": (94.86, 97.36),
    }
    return tuple(
        Figure(metric=f"{metric} (class changed)", value=round(value / 100, 4), data=data, source="paper")
        for data, values in table.items()
        for metric, value in zip(("IoU", "F1"), values, strict=True)
    )


CARD = Card(
    name="lenet",
    title="LENet",
    summary="Change detection by layer exchange between two dates and channel-spatial differences, on SwinV2-B.",
    citation="A Remote Sensing Image Change Detection Method Integrating Layer Exchange and Channel-Spatial "
    "Differences. IEEE JSTARS, 2025.",
    paper="arXiv 2501.10905",
    code="github dyzy41/lenet",
    code_licence="none stated (built on mmsegmentation, Apache-2.0)",
    weights_licence="no weights published; the encoder starts from timm's swinv2_base_window8_256.ms_in1k",
    variants=(Variant(name="lenet", parameters=168_063_726, note="SwinV2-B encoder, both auxiliary heads included"),),
    reported=_reported(),
    choices=(
        "The finer level takes a decoder level's enlarged answer before it is re-weighted (the sheet's order of steps; "
        "no published bundle was at hand to confirm it).",
        "The cosine of a map of zeros with any map counts as 0, as PyTorch's does.",
        "Stochastic depth 0.1 in the encoder is timm's default, which the published code leaves as it is [inferred].",
        "Ignored pixels leave the mean of the loss as well; mmsegmentation's default would count them as zeros.",
        "Of the published augmentation, rotation is always drawn (published: half of the time), its corners count as "
        "invalid (published: black), and saturation and hue stay as they are; weight decay spares all norms and biases "
        "(published: tensors named norm).",
        "Windows and shifts follow from the size of each map, so larger tiles run whole; published decoder blocks are "
        "built for 256 pixels.",
        "`sliding_logits` is the published test on large tiles; scenes are blended by weights that fall to the edge.",
    ),
    limits=(
        "No weights exist publicly, so neither the figures nor loading a real checkpoint could be verified.",
        "Swapping the dates changes the answer, since everything after the encoder has its own weights for each.",
        "The network takes windows of 256 pixels; other sizes must be tiled by its windows of 8 tokens.",
    ),
)


def lenet(*, input: InputSpec | None = None) -> LENet:
    """Build the published size; without `input`, for RGB pairs of 256 pixels.

    >>> with torch.device("meta"):
    ...     lenet().parameter_count()
    168063726
    """
    return LENet(LENetConfig(input=input or PAIR_INPUT))
