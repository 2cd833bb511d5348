"""LWGANet with a UNetFormer decoder: segmentation by windows of attention and local branches on the light backbone.

Lu, Chen, Ding, Tang, Luo: "LWGANet", AAAI 2026, arXiv 2501.10040 (licences: see `classify.lwganet`). The decoder is
that of Wang et al.: "UNetFormer: A UNet-like transformer for efficient semantic segmentation of remote sensing urban
scene imagery", ISPRS Journal 190, 2022, arXiv 2109.08937. Written from a description of the networks; nothing was
copied, and no weights of the pair are published.

Where we differ, and why:

- Images under 160 pixels are refused: their coarsest map cannot be mirrored to a whole window of 8.
- Pixels that are unknown count in no loss and in no mean.

Shape legend: B images, C channels, K classes, H rows, W columns, N windows, L positions in a window, h heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError
from swath.models.base import OneImageModel
from swath.models.cards import Card, Figure, Variant
from swath.models.classify.lwganet import CARD as LWGANET_CARD
from swath.models.classify.lwganet_backbone import (
    L2,
    SMALLEST,
    STRIDE,
    Backbone,
    BackboneConfig,
    ConvNorm,
    VariantName,
    check_input,
    check_sides,
    enlarge,
    published_size,
    remap_backbone,
)
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import ScoreMap, SegmentationOutput
from swath.models.recipe import Recipe
from swath.samples.annotation import Annotation
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomResizedCrop


@dataclass(frozen=True, kw_only=True)
class SmoothedSegmentationOutput(SegmentationOutput):
    """Every pixel has one of several classes, learnt by cross-entropy with smoothed labels plus soft Dice.

    Dice is 1 - (2 sum pt + s) / (sum p + sum t + s) over the batch with s = `dice_smoothing`, averaged over all
    classes, where a class that no pixel has adds nothing. Pixels labelled `ignore` count in neither. Source: sheet,
    "Objective and training". Raises `ConfigurationError` for a binary output.

    >>> SmoothedSegmentationOutput(classes=("road", "water", "forest")).channels
    3
    """

    label_smoothing: float = 0.05
    dice_smoothing: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binary:
            raise ConfigurationError(
                "labels are smoothed among channels: this output needs one a class (binary=False)."
            )

    def loss(self, logits_BKHW: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy` and `dice` against the class maps of the batch, in 32-bit floats."""
        target_BHW = self.targets(logits_BKHW, batch)
        known_BHW = target_BHW != self.ignore
        share_BKHW = logits_BKHW.float().softmax(1)
        truth_BKHW = functional.one_hot(torch.where(known_BHW, target_BHW, 0), self.channels).movedim(-1, 1)
        weight_BKHW = known_BHW.unsqueeze(1).to(share_BKHW.dtype)
        both_K = (share_BKHW * truth_BKHW * weight_BKHW).sum((0, 2, 3))
        truth_K = (truth_BKHW * weight_BKHW).sum((0, 2, 3))
        total_K = (share_BKHW * weight_BKHW).sum((0, 2, 3)) + truth_K
        dice_K = 1 - (2 * both_K + self.dice_smoothing) / (total_K + self.dice_smoothing)
        return {
            "cross_entropy": self.smoothed_cross_entropy(logits_BKHW, batch),
            "dice": self.dice * (dice_K * (truth_K > 0)).mean(),
        }

    def smoothed_cross_entropy(self, logits_BKHW: Tensor, batch: Batch) -> Tensor:
        """Return the mean over the known pixels of the cross-entropy against target (1 - e) + e / K."""
        target_BHW = self.targets(logits_BKHW, batch)
        total = functional.cross_entropy(
            logits_BKHW.float(),
            target_BHW,
            ignore_index=self.ignore,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / (target_BHW != self.ignore).sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class LWGANetUNetFormerConfig:
    """Everything that defines the network; the defaults are the published ones, with the L2 backbone.

    `width` and `heads` are those of the decoder, `window` the side of its windows on every map. `dropout` acts before
    the last layer of both heads; `auxiliary_weight` multiplies the auxiliary head's loss. Predictions average the
    logits over `orientations`: the image and its mirror image (2, the published "lr", for UAVid) or all its turns and
    mirror images (8, "d4", for LoveDA).

    Raises `ConfigurationError` for a value outside its range.

    >>> output = SmoothedSegmentationOutput(classes=("road", "water"))
    >>> LWGANetUNetFormerConfig(input=rgb_input(512), output=output).smallest
    160
    """

    input: InputSpec
    output: SmoothedSegmentationOutput
    backbone: BackboneConfig = L2
    width: int = 64
    heads: int = 8
    window: int = 8
    dropout: float = 0.1
    auxiliary_weight: float = 0.4
    orientations: Literal[1, 2, 8] = 1

    def __post_init__(self) -> None:
        if self.window < 2 or self.window % 2:
            raise ConfigurationError(f"'window' must be even and at least 2; found {self.window}.")
        if self.width < 16 or self.heads < 1 or self.width % self.heads:
            raise ConfigurationError(
                f"'width' must be at least 16 and a multiple of 'heads'; found width={self.width} and "
                f"heads={self.heads}."
            )
        if self.orientations not in (1, 2, 8):
            raise ConfigurationError(f"'orientations' is 1, 2 or 8; found {self.orientations}.")
        check_input(self.input, smallest=self.smallest)

    @property
    def smallest(self) -> int:
        """The least side of an image: mirroring gives the coarsest map less than its own side more."""
        return max(SMALLEST, STRIDE * (self.window // 2 + 1))


class Separable(nn.Module):
    """A depthwise convolution, batch norm and a 1x1 convolution, without biases; an even side takes a pixel off."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, side, padding=(side - 1) // 2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Run the three."""
        mixed: Tensor = self.pointwise(self.norm(self.depthwise(map_BCHW)))
        return mixed


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learnt bias for each relative place (as in Swin, one table a head).

    Maps are mirrored at the bottom and the right to whole windows, and cut back.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.relative_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_bias, std=0.02)
        self.register_buffer("relative_place", relative_places(window), persistent=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Mix the pixels of each window."""
        height, width = map_BCHW.shape[-2:]
        side = self.window
        padded = functional.pad(map_BCHW, (0, -width % side, 0, -height % side), mode="reflect")
        batch, channels, tall, wide = padded.shape
        rows, columns = tall // side, wide // side
        split = self.qkv(padded).reshape(batch, 3, self.heads, channels // self.heads, rows, side, columns, side)
        qkv_NhLd = split.permute(1, 0, 4, 6, 2, 5, 7, 3).flatten(5, 6).flatten(1, 3)
        bias_hLL = self.relative_bias[self.get_buffer("relative_place")].movedim(-1, 0)
        query, key, value = qkv_NhLd.unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias_hLL.unsqueeze(0))
        windows = mixed.reshape(batch, rows, columns, self.heads, side, side, channels // self.heads)
        return windows.permute(0, 3, 6, 1, 4, 2, 5).reshape(padded.shape)[..., :height, :width]


def relative_places(window: int) -> Tensor:
    """Return the row of the table of biases for each query and key of a window (L, L): row step first, then column.

    >>> relative_places(2).tolist()
    [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    """
    steps = torch.arange(window)
    row, column = (place.flatten() for place in torch.meshgrid(steps, steps, indexing="ij"))
    down = row[:, None] - row[None] + window - 1
    right = column[:, None] - column[None] + window - 1
    return down * (2 * window - 1) + right


class GlobalLocalAttention(WindowAttention):
    """Windows of attention, joined across their borders by two averages, plus a local branch of two convolutions."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads, window)
        self.local = ConvNorm(width, width, 3)
        self.point = ConvNorm(width, width, 1)
        self.mix = Separable(width, window)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Mix a map; an even window reaches one pixel further on, so that row and column are mirrored."""
        windows = super().forward(map_BCHW)
        side, margin = self.window, self.window // 2 - 1
        lower, right = (functional.pad(windows, pads, mode="reflect") for pads in ((0, 0, 0, 1), (0, 1, 0, 0)))
        joined = functional.avg_pool2d(lower, (side, 1), stride=1, padding=(margin, 0))
        joined = joined + functional.avg_pool2d(right, (1, side), stride=1, padding=(0, margin))
        joined = joined + self.local(map_BCHW) + self.point(map_BCHW)
        mixed: Tensor = self.mix(functional.pad(joined, (0, 1, 0, 1), mode="reflect"))
        return mixed


class DecoderBlock(nn.Module):
    """Global and local attention, then two 1x1 convolutions with four times the width between, each on a norm's."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attention_norm = nn.BatchNorm2d(width)
        self.attention = GlobalLocalAttention(width, heads, window)
        self.mlp_norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, 4 * width, 1)
        self.project = nn.Conv2d(4 * width, width, 1)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Transform a map."""
        map_BCHW = map_BCHW + self.attention(self.attention_norm(map_BCHW))
        hidden = functional.relu6(self.expand(self.mlp_norm(map_BCHW)))
        transformed: Tensor = map_BCHW + self.project(hidden)
        return transformed


class WeightedFusion(nn.Module):
    """A map at twice its size and a finer one of the backbone, by two learnt shares of one; then a convolution."""

    def __init__(self, skip_width: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.skip = nn.Conv2d(skip_width, width, 1, bias=False)
        self.mix = ConvNorm(width, width, 3)

    def forward(self, map_BCHW: Tensor, finer_BCHW: Tensor) -> Tensor:
        """Join the two."""
        weight = functional.relu(self.weight)
        of_finer, of_map = weight / (weight.sum() + 1e-8)
        return functional.relu6(self.mix(of_finer * self.skip(finer_BCHW) + of_map * enlarge(map_BCHW, 2)))


class Refinement(nn.Module):
    """The feature-refinement head: a gate for every pixel and one for every channel, summed, and a 1x1 shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixel_gate = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.squeeze = nn.Conv2d(width, width // 16, 1, bias=False)
        self.excite = nn.Conv2d(width // 16, width, 1, bias=False)
        self.mix = Separable(width, 3)
        self.shortcut = ConvNorm(width, width, 1)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Refine a map."""
        squeezed = functional.relu6(self.squeeze(map_BCHW.mean((2, 3), keepdim=True)))
        gate = torch.sigmoid(self.pixel_gate(map_BCHW)) + torch.sigmoid(self.excite(squeezed))
        return functional.relu6(self.mix(gate * map_BCHW) + self.shortcut(map_BCHW))


class Head(nn.Module):
    """A 3x3 convolution, dropout, and a 1x1 convolution to the scores of the classes."""

    def __init__(self, width: int, classes: int, dropout: nn.Module) -> None:
        super().__init__()
        self.mix = ConvNorm(width, width, 3)
        self.dropout = dropout
        self.classify = nn.Conv2d(width, classes, 1, bias=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Score every pixel of the map."""
        scores: Tensor = self.classify(self.dropout(functional.relu6(self.mix(map_BCHW))))
        return scores


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What the decoder makes of a backbone's maps: the outputs of its blocks, coarsest first, and the refined map."""

    blocks: tuple[Tensor, ...]
    refined: Tensor


class UNetFormerDecoder(nn.Module):
    """Three blocks at strides 32, 16 and 8, fusions with finer maps between them, and a refined map at stride 4."""

    def __init__(self, widths: Sequence[int], width: int, heads: int, window: int) -> None:
        super().__init__()
        *finer, coarsest = widths
        self.enter = ConvNorm(coarsest, width, 1)
        self.blocks = nn.ModuleList(DecoderBlock(width, heads, window) for _ in finer)
        self.fusions = nn.ModuleList(WeightedFusion(skip_width, width) for skip_width in reversed(finer))
        self.refinement = Refinement(width)

    def forward(self, maps: Sequence[Tensor]) -> Decoded:
        """Decode maps that come finest first."""
        *finer, coarsest = maps
        map_BCHW = self.enter(coarsest)
        found = []
        for block, fusion, skip_BCHW in zip(self.blocks, self.fusions, reversed(finer), strict=True):
            found.append(block(map_BCHW))
            map_BCHW = fusion(found[-1], skip_BCHW)
        return Decoded(blocks=tuple(found), refined=self.refinement(map_BCHW))


@dataclass(frozen=True, kw_only=True)
class SupervisedLogits:
    """The scores of both heads (B, K, H, W), at the size of the images."""

    main: Tensor
    auxiliary: Tensor


class LWGANetUNetFormerNetwork(nn.Module):
    """Backbone, decoder and head: square images (B, C, S, S) to logits (B, K, S, S).

    The auxiliary head, on the sum of the blocks' outputs, runs in `supervised` alone. Raises `ShapeError` for sides
    that are no multiple of 32 or under `config.smallest`.
    """

    def __init__(self, config: LWGANetUNetFormerConfig) -> None:
        super().__init__()
        self.smallest = config.smallest
        self.backbone = Backbone(config.backbone, channels=config.input.channels, dense=True)
        self.decoder = UNetFormerDecoder(config.backbone.widths, config.width, config.heads, config.window)
        self.head = Head(config.width, config.output.channels, nn.Dropout2d(config.dropout))
        self.auxiliary_head = Head(config.width, config.output.channels, nn.Dropout(config.dropout))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Score every pixel."""
        return enlarge(self.head(self.decode(image_BCHW).refined), 4)

    def decode(self, image_BCHW: Tensor) -> Decoded:
        """Run backbone and decoder."""
        check_sides(image_BCHW, smallest=self.smallest)
        decoded: Decoded = self.decoder(self.backbone(image_BCHW))
        return decoded

    def supervised(self, image_BCHW: Tensor) -> SupervisedLogits:
        """Score every pixel by both heads."""
        decoded = self.decode(image_BCHW)
        coarse, middle, fine = decoded.blocks
        summed = enlarge(coarse, 4, align_corners=True) + enlarge(middle, 2, align_corners=True) + fine
        return SupervisedLogits(
            main=enlarge(self.head(decoded.refined), 4),
            auxiliary=enlarge(self.auxiliary_head(summed), 8),
        )


class LWGANetUNetFormer(OneImageModel):
    """LWGANet with a UNetFormer decoder under the contract.

    >>> model = lwganet_unetformer(classes=("road", "water", "forest"), variant="L0", window=160).eval()
    >>> model.network(torch.zeros(1, 3, 160, 160)).shape
    torch.Size([1, 3, 160, 160])
    """

    Config = LWGANetUNetFormerConfig
    config: LWGANetUNetFormerConfig
    network: LWGANetUNetFormerNetwork

    def __init__(self, config: LWGANetUNetFormerConfig) -> None:
        super().__init__(config)
        self.network = LWGANetUNetFormerNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the card of the pair."""
        return CARD

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy` and `dice` of the head, and `auxiliary`, the weighed cross-entropy of the other."""
        self.check(batch)
        logits = self.network.supervised(batch.images["image"])
        auxiliary = self.config.output.smoothed_cross_entropy(logits.auxiliary, batch)
        terms = self.config.output.loss(logits.main, batch)
        return terms | {"auxiliary": self.config.auxiliary_weight * auxiliary}

    def predict(self, batch: Batch) -> list[Annotation]:
        """Return one `ClassMap` an image, from the logits averaged over the orientations asked for."""
        return self.config.output.annotations(self._mean_logits(batch), batch)

    def score_maps(self, batch: Batch) -> list[ScoreMap]:
        """Return the averaged logits an image, undecided."""
        return self.config.output.score_maps(self._mean_logits(batch))

    def _mean_logits(self, batch: Batch) -> Tensor:
        self.check(batch)
        image_BCHW = batch.images["image"]
        total: Tensor = self.network(image_BCHW)
        for number in range(1, self.config.orientations):
            turns, mirrored = number // 2, number % 2 == 1
            view = torch.rot90(image_BCHW.flip(3) if mirrored else image_BCHW, turns, (2, 3))
            logits = torch.rot90(self.network(view), -turns, (2, 3))
            total = total + (logits.flip(3) if mirrored else logits)
        return total / self.config.orientations

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors under `backbone.` from the published names; the decoder's are ours."""
        return remap_backbone(published)


def lwganet_unetformer_recipe(
    *, epochs: int = 30, batch_size: int = 16, size: int = 512, learning_rate: float = 4e-4, seed: int = 0
) -> Recipe:
    """Return the published training for LoveDA: AdamW 4e-4, decay 0.01, cosine to 1e-6, squares at scales 0.75 to 1.5.

    The squares are those that the published crops of 512 pixels show of LoveDA's 1,024. For UAVid it is 70 epochs,
    batches of 6, `size` 1024 and a rate of 1e-3. Lookahead around the optimiser is left out. Source: sheet, "Objective
    and training".

    >>> lwganet_unetformer_recipe().epochs
    30
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=0.01,
        minimum_learning_rate=1e-6,
        transforms=(RandomResizedCrop(size=size, area=(1 / 9, 4 / 9), aspect=(1.0, 1.0)), RandomFlip()),
        watch="mean IoU",
        seed=seed,
    )


CARD = replace(
    LWGANET_CARD,
    title="LWGANet with a UNetFormer decoder",
    summary="Land cover by the light backbone LWGANet and the UNetFormer decoder: windows of attention beside local "
    "convolutions at three scales, and a refined map at a quarter of the sides.",
    variants=(Variant(name="L2, UNetFormer", parameters=12_582_092, note="7 classes, 37,440 in the auxiliary head"),),
    reported=(
        Figure(metric="mean IoU, L2", value=0.691, data="UAVid, test server", source="paper"),
        Figure(metric="mean IoU, L2", value=0.536, data="LoveDA, test server", source="paper"),
    ),
    choices=(
        *LWGANET_CARD.choices[:3],
        "In a fusion the first of the two weights is the finer map's; 1e-8 keeps their sum from zero [recalled].",
        "The averages that join the windows count the zeros at the border; windows are cut to the map before they are "
        "joined [inferred].",
        "ReLU6 stands between the two layers of the channel gate; the auxiliary head adds maps enlarged with their "
        "corners aligned, all other maps without [recalled].",
        "Classes that no pixel of a batch has add nothing to Dice [recalled]; ignored pixels leave the mean of the "
        "cross-entropy [ours].",
        'Orientations are averaged as logits; "lr" and "d4" are read as one mirror image and all eight [inferred].',
        "Decoder and heads start from PyTorch's first weights [inferred].",
        "Epochs, crops and rates are the code's (the appendix exchanges the epochs of the two sets); Lookahead is left "
        "out.",
    ),
    limits=(
        "Square images only, their side a multiple of 32 and at least 160 pixels; a model is built for one window, "
        "and the same weights serve any other.",
        *LWGANET_CARD.limits[1:],
    ),
)


def rgb_input(window: int) -> InputSpec:
    """Return squares of red, green and blue, 0 to 255, under ImageNet's statistics.

    >>> rgb_input(512).fixed_size
    True
    """
    return imagenet_rgb(window=window, overlap=window // 8, multiple_of=STRIDE, fixed_size=True, square=True)


def lwganet_unetformer(
    *,
    classes: tuple[str, ...],
    variant: VariantName = "L2",
    window: int = 512,
    input: InputSpec | None = None,
    orientations: Literal[1, 2, 8] = 1,
) -> LWGANetUNetFormer:
    """Build the network for windows of so many pixels; without `input`, for RGB under ImageNet's statistics.

    >>> with torch.device("meta"):
    ...     lwganet_unetformer(classes=tuple(map(str, range(7)))).parameter_count()
    12582092
    """
    return LWGANetUNetFormer(
        LWGANetUNetFormerConfig(
            input=input or rgb_input(window),
            output=SmoothedSegmentationOutput(classes=classes),
            backbone=published_size(variant),
            orientations=orientations,
        )
    )
