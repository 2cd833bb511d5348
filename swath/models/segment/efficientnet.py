"""EfficientNet encoders B0 to B7 with static SAME padding, giving features at strides 2, 4, 8, 16 and 32.

Paper: M. Tan and Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019, arXiv 1905.11946. Reference library: the encoder of segmentation_models_pytorch 0.6.0 (MIT), which
follows lukemelas/EfficientNet-PyTorch (Apache-2.0).

Where we differ from the library, and why: tensor names are ours (see `effnet_unetpp.remap_state_dict`); the
convolutions start as in the paper (normal, fan-out), since no pre-trained weights are shipped; the last 1x1
convolution is kept for the weights' sake and is frozen, since segmentation networks never run it.

Shape legend: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Variant = Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How a variant widens and deepens B0, and the image size that its static padding is computed for."""

    width: float
    depth: float
    nominal_size: int


SCALINGS: Mapping[Variant, Scaling] = {
    "b0": Scaling(width=1.0, depth=1.0, nominal_size=224),
    "b1": Scaling(width=1.0, depth=1.1, nominal_size=240),
    "b2": Scaling(width=1.1, depth=1.2, nominal_size=260),
    "b3": Scaling(width=1.2, depth=1.4, nominal_size=300),
    "b4": Scaling(width=1.4, depth=1.8, nominal_size=380),
    "b5": Scaling(width=1.6, depth=2.2, nominal_size=456),
    "b6": Scaling(width=1.8, depth=2.6, nominal_size=528),
    "b7": Scaling(width=2.0, depth=3.1, nominal_size=600),
}


@dataclass(frozen=True, kw_only=True)
class BlockSpec:
    """One inverted-residual block: its kernel, stride, expansion, widths, and its padding (before, after)."""

    kernel: int
    stride: int
    expand: int
    in_channels: int
    out_channels: int
    padding: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class EncoderPlan:
    """Everything that a variant's encoder is built from; see `plan_encoder`.

    `taps` are the indices of the blocks whose outputs are the features f2 to f5; `widths` are the channels of
    f1 to f5; `stem_padding` is the (before, after) padding of the first convolution.
    """

    stem_padding: tuple[int, int]
    blocks: tuple[BlockSpec, ...]
    taps: tuple[int, int, int, int]
    widths: tuple[int, ...]
    head_channels: int


_STAGES = (  # kernel, repeats, stride, expansion, output channels of B0 (EfficientNet paper, table 1)
    (3, 1, 1, 1, 16),
    (3, 2, 2, 6, 24),
    (5, 2, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (5, 3, 1, 6, 112),
    (5, 4, 2, 6, 192),
    (3, 1, 1, 6, 320),
)
_TAPPED_STAGES = (1, 2, 4, 6)


def round_channels(channels: int, width: float) -> int:
    """Scale a number of channels by `width` to a multiple of 8 that is at least 90 % of the exact value.

    Source: EfficientNet, reference implementation.

    >>> round_channels(32, 1.4), round_channels(24, 1.4)
    (48, 32)
    """
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding (before, after) that TensorFlow's SAME rule gives along a side of `size` pixels.

    Source: sheet, "Static SAME padding".

    >>> same_padding(224, 3, 2), same_padding(15, 5, 2)
    ((0, 1), (2, 2))
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def plan_encoder(variant: Variant) -> EncoderPlan:
    """Blocks, paddings and taps of an EfficientNet variant, derived from its multipliers and nominal size.

    The stride-16 feature of B0 is taken after the first of the stage's three blocks, as the library does and
    its weights need; every other feature is the output of a stage's last block.

    >>> plan_encoder("b4").taps, plan_encoder("b0").taps
    ((5, 9, 21, 31), (2, 4, 8, 15))
    """
    scaling = SCALINGS[variant]
    size = scaling.nominal_size
    stem_padding = same_padding(size, 3, 2)
    size = math.ceil(size / 2)
    channels = stem_channels = round_channels(32, scaling.width)
    blocks: list[BlockSpec] = []
    stage_ends: list[int] = []
    for kernel, repeats, stage_stride, expand, stage_channels in _STAGES:
        out_channels = round_channels(stage_channels, scaling.width)
        for repeat in range(math.ceil(scaling.depth * repeats)):
            stride = stage_stride if repeat == 0 else 1
            blocks.append(
                BlockSpec(
                    kernel=kernel,
                    stride=stride,
                    expand=expand,
                    in_channels=channels,
                    out_channels=out_channels,
                    padding=same_padding(size, kernel, stride),
                )
            )
            size = math.ceil(size / stride)
            channels = out_channels
        stage_ends.append(len(blocks) - 1)
    f2, f3, f4, f5 = (stage_ends[stage] for stage in _TAPPED_STAGES)
    if variant == "b0":
        f4 = stage_ends[_TAPPED_STAGES[2] - 1] + 1
    return EncoderPlan(
        stem_padding=stem_padding,
        blocks=tuple(blocks),
        taps=(f2, f3, f4, f5),
        widths=(stem_channels, *(blocks[tap].out_channels for tap in (f2, f3, f4, f5))),
        head_channels=round_channels(1280, scaling.width),
    )


class ConvNorm(nn.Module):
    """A convolution without bias and its batch normalisation, under a static and possibly lopsided padding.

    `padding` is (before, after) for both axes. (B, C, H, W) in, (B, out_channels, H', W') out.

    >>> layer = ConvNorm(3, 8, kernel=3, stride=2, padding=(0, 1))
    >>> layer(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 8, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        groups: int = 1,
        eps: float = 1e-3,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        before, after = padding
        # A lopsided padding costs a copy of the input, so the symmetric part stays with the convolution.
        self.extra = (before - min(padding), after - min(padding)) * 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=min(padding), groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and normalise."""
        if any(self.extra):
            x_BCHW = F.pad(x_BCHW, self.extra)
        normalised: Tensor = self.norm(self.conv(x_BCHW))
        return normalised


class SqueezeExcite(nn.Module):
    """A gate per channel, from the channels' global means through a bottleneck of `reduced` channels.

    >>> SqueezeExcite(16, 4)(torch.ones(1, 16, 8, 8)).shape
    torch.Size([1, 16, 8, 8])
    """

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Scale every channel by its gate in (0, 1)."""
        mean_BC11 = x_BCHW.mean((2, 3), keepdim=True)
        return x_BCHW * torch.sigmoid(self.expand(F.silu(self.reduce(mean_BC11))))


def drop_connect(x_BCHW: Tensor, rate: float) -> Tensor:
    """Zero whole samples of a residual branch with probability `rate`, and scale the others by 1/(1 - rate).

    >>> torch.equal(drop_connect(torch.ones(2, 1, 1, 1), 0.0), torch.ones(2, 1, 1, 1))
    True
    """
    keep = 1 - rate
    mask_B111 = torch.empty(x_BCHW.shape[0], 1, 1, 1, dtype=x_BCHW.dtype, device=x_BCHW.device)
    return x_BCHW * mask_B111.bernoulli_(keep).div_(keep)


class InvertedResidual(nn.Module):
    """MBConv: expand, depth-wise convolution, squeeze and excite, project; plus the input where shapes allow.

    The gate's bottleneck is a quarter of the block's input, not of its expanded width. `drop_rate` is the
    probability that a sample skips the branch in training.

    >>> plan = plan_encoder("b0")
    >>> InvertedResidual(plan.blocks[1], drop_rate=0.0)(torch.zeros(1, 16, 32, 32)).shape
    torch.Size([1, 24, 16, 16])
    """

    def __init__(self, spec: BlockSpec, *, drop_rate: float) -> None:
        super().__init__()
        expanded = spec.in_channels * spec.expand
        self.expand = ConvNorm(spec.in_channels, expanded) if spec.expand != 1 else None
        self.depthwise = ConvNorm(
            expanded, expanded, kernel=spec.kernel, stride=spec.stride, padding=spec.padding, groups=expanded
        )
        self.squeeze = SqueezeExcite(expanded, max(1, spec.in_channels // 4))
        self.project = ConvNorm(expanded, spec.out_channels)
        self.residual = spec.stride == 1 and spec.in_channels == spec.out_channels
        self.drop_rate = drop_rate

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Transform (B, in, H, W) to (B, out, H / stride, W / stride)."""
        expanded = x_BCHW if self.expand is None else F.silu(self.expand(x_BCHW))
        hidden: Tensor = self.project(self.squeeze(F.silu(self.depthwise(expanded))))
        if not self.residual:
            return hidden
        if self.training and self.drop_rate > 0:
            hidden = drop_connect(hidden, self.drop_rate)
        return x_BCHW + hidden


class EfficientNetEncoder(nn.Module):
    """An EfficientNet without its classifier, giving five features at strides 2, 4, 8, 16 and 32.

    The padding is that of the variant's nominal size, whatever the size of the input. In training the
    residual branch of block i is dropped with probability `drop_rate` * i / blocks.

    >>> encoder = EfficientNetEncoder(variant="b0", in_channels=3)
    >>> [tuple(feature.shape[1:]) for feature in encoder(torch.zeros(1, 3, 64, 64))]
    [(32, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    """

    def __init__(self, *, variant: Variant, in_channels: int, drop_rate: float = 0.2) -> None:
        super().__init__()
        self.plan = plan_encoder(variant)
        blocks = self.plan.blocks
        self.stem = ConvNorm(in_channels, self.plan.widths[0], kernel=3, stride=2, padding=self.plan.stem_padding)
        self.blocks = nn.ModuleList(
            InvertedResidual(spec, drop_rate=drop_rate * index / len(blocks)) for index, spec in enumerate(blocks)
        )
        # Published weights hold this layer, though the segmentation network never runs it.
        self.head = ConvNorm(self.plan.widths[-1], self.plan.head_channels).requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 * module.groups / _fan_out(module)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images_BCHW: Tensor, count: int = 5) -> tuple[Tensor, ...]:
        """The first `count` features, finest first; blocks that they do not need are not run."""
        hidden = F.silu(self.stem(images_BCHW))
        features = [hidden]
        for index, block in enumerate(self.blocks):
            if len(features) >= count:
                break
            hidden = block(hidden)
            if index in self.plan.taps:
                features.append(hidden)
        return tuple(features)


def _fan_out(convolution: nn.Conv2d) -> int:
    return convolution.out_channels * math.prod(convolution.kernel_size)
