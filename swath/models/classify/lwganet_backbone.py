"""The backbone of LWGANet, and what the networks on it share.

Lu, Chen, Ding, Tang, Luo: "LWGANet: Addressing Spatial and Channel Redundancy in Remote Sensing Visual Tasks with
Light-Weight Grouped Attention", AAAI 2026, arXiv 2501.10040. Licences and differences: see `lwganet`.

Four stages at strides 4, 8, 16 and 32. Each block gives every quarter of its channels another reach: the pixel itself,
its eight neighbours, strips of 11 pixels on a map a third as large, and the whole map (its strongest quarter of the
positions). The paper calls them GPA, RLA, SMA and SGA, the published tensors PA, LA, MRA and GA12, GA3 or GA4.

Shape legend: B images, C channels, H rows, W columns, S columns of a sheared map, L positions.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError, ShapeError, WeightsMismatch
from swath.models.inputs import InputSpec
from swath.models.published import read_tensors
from swath.nn.vit import DropPath

Activation = Literal["gelu", "relu"]
Four = tuple[int, int, int, int]

STRIDE = 32
SMALLEST = 96
"""The least side of an image: the blur of the last stage mirrors two pixels, so its map needs three."""

HEAD_WIDTH = 4
"""Channels of a head of attention."""

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "relu": functional.relu}


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The size of a backbone: channels of the first stage (doubled by each further one), blocks, activation, drop path.

    `drop_path` is the share of dropped branches that the blocks approach with depth, in training.
    Raises `ConfigurationError` for a value outside its range.

    >>> L2.widths, L2.activation
    ((96, 192, 384, 768), 'relu')
    """

    width: int
    depths: Four
    activation: Activation = "gelu"
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8:
            raise ConfigurationError(f"the backbone's 'width' must be a multiple of 8; found {self.width}.")
        if len(self.depths) != 4 or min(self.depths) < 1:
            raise ConfigurationError(f"the backbone has four stages of one block or more; found depths {self.depths}.")
        if self.activation not in _ACTIVATIONS:
            raise ConfigurationError(f"'activation' is 'gelu' or 'relu'; found '{self.activation}'.")
        if not 0 <= self.drop_path < 1:
            raise ConfigurationError(f"'drop_path' is a probability below 1; found {self.drop_path}. 0 turns it off.")

    @property
    def widths(self) -> Four:
        """The channels of the four maps."""
        return (self.width, 2 * self.width, 4 * self.width, 8 * self.width)


L0 = BackboneConfig(width=32, depths=(1, 2, 4, 2))
L1 = BackboneConfig(width=64, depths=(1, 2, 4, 2), drop_path=0.1)
L2 = BackboneConfig(width=96, depths=(1, 4, 4, 2), activation="relu", drop_path=0.1)

VariantName = Literal["L0", "L1", "L2"]
VARIANTS: dict[VariantName, BackboneConfig] = {"L0": L0, "L1": L1, "L2": L2}
"""The published sizes by name."""


def published_size(variant: VariantName) -> BackboneConfig:
    """Return a published size by its name; raise `ConfigurationError` for another name.

    >>> published_size("L1").width
    64
    """
    if variant not in VARIANTS:
        raise ConfigurationError(f"LWGANet has the variants {', '.join(VARIANTS)}; found '{variant}'.")
    return VARIANTS[variant]


def check_sides(image_BCHW: Tensor, *, smallest: int = SMALLEST) -> None:
    """Raise `ShapeError` unless the images are square with a side that the network can take.

    >>> check_sides(torch.zeros(1, 3, 96, 96))
    """
    height, width = image_BCHW.shape[-2:]
    if height != width or height % STRIDE or height < smallest:
        raise ShapeError(
            f"LWGANet takes square images whose side is a multiple of {STRIDE} and at least {smallest} pixels; found "
            f"{height} x {width}. Cut squares out of the image, or pad it to one."
        )


def check_input(spec: InputSpec, *, smallest: int = SMALLEST) -> None:
    """Raise `ConfigurationError` for an input whose windows the network could not take.

    >>> from swath.imagery.bands import Unit
    >>> check_input(InputSpec(bands=("red",), unit=Unit.EIGHT_BIT, window=224, multiple_of=32))
    """
    if spec.multiple_of % STRIDE or spec.window % STRIDE or spec.window < smallest:
        raise ConfigurationError(
            f"LWGANet needs an input whose 'multiple_of' is {STRIDE} and whose 'window' is a multiple of {STRIDE} and "
            f"at least {smallest}; found multiple_of={spec.multiple_of} and window={spec.window}."
        )


class ConvNorm(nn.Module):
    """A convolution of an odd side that keeps the size of the map, and batch norm.

    >>> ConvNorm(2, 4, 3, dilation=5)(torch.zeros(1, 2, 3, 3)).shape
    torch.Size([1, 4, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int, side: int, *, dilation: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, padding=dilation * (side // 2), dilation=dilation, bias=bias)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Run both."""
        normed: Tensor = self.norm(self.conv(map_BCHW))
        return normed


def enlarge(map_BCHW: Tensor, factor: int, *, align_corners: bool = False) -> Tensor:
    """Enlarge a map bilinearly.

    >>> enlarge(torch.tensor([[[[0.0, 4.0]]]]), 2)[0, 0, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    return functional.interpolate(map_BCHW, scale_factor=factor, mode="bilinear", align_corners=align_corners)


class Perceptron(nn.Module):
    """Two 1x1 convolutions without biases, batch norm and the activation between them."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, width, 1, bias=False)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Transform every pixel by itself."""
        transformed: Tensor = self.project(self.activation(self.norm(self.expand(map_BCHW))))
        return transformed


def shear(map_BCHW: Tensor) -> Tensor:
    """Shift row i to the right by i pixels; (B, C, H, W) becomes (B, C, H, W + H - 1), zeros where nothing comes.

    >>> shear(torch.tensor([[[[1, 2], [3, 4]]]]))[0, 0].tolist()
    [[1, 2, 0], [0, 3, 4]]
    """
    height, width = map_BCHW.shape[-2:]
    # With as many zeros behind each row as there are rows, every row of one pixel less starts a pixel later.
    flat = functional.pad(map_BCHW, (0, height)).flatten(2)
    batch, channels = map_BCHW.shape[:2]
    return flat[..., : height * (width + height - 1)].reshape(batch, channels, height, width + height - 1)


def unshear(sheared_BCHS: Tensor) -> Tensor:
    """Undo `shear`: shift row i back to the left by i pixels and cut to the width it had.

    >>> unshear(torch.tensor([[[[1, 2, 0], [0, 3, 4]]]]))[0, 0].tolist()
    [[1, 2], [3, 4]]
    """
    height, width = sheared_BCHS.shape[-2:]
    flat = functional.pad(sheared_BCHS.flatten(2), (0, height))
    batch, channels = sheared_BCHS.shape[:2]
    return flat.reshape(batch, channels, height, width + 1)[..., : width + 1 - height]


class Blur(nn.Module):
    """Every third pixel of a map blurred by outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64; n pixels become ceil(n / 3).

    Borders are mirrored about their last pixel.

    >>> Blur()(torch.full((1, 2, 7, 7), 5.0)).unique().tolist(), Blur()(torch.zeros(1, 1, 56, 56)).shape
    ([5.0], torch.Size([1, 1, 19, 19]))
    """

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", (torch.outer(row, row) / 64)[None, None], persistent=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Blur each channel by itself."""
        channels = map_BCHW.shape[1]
        padded = functional.pad(map_BCHW, (1, 2, 1, 2), mode="reflect")
        kernel = self.get_buffer("kernel").expand(channels, 1, 4, 4)
        return functional.conv2d(padded, kernel, stride=3, groups=channels)


class StripAttention(nn.Module):
    """Medium reach (MRA): four depthwise strips of 11 x 3 pixels on a map a third as large gate the input.

    Two strips stand and lie; two do so on maps sheared by rows and by columns, and so run along diagonals.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blur = Blur()
        self.tall, self.tall_sheared = (
            nn.Conv2d(width, width, (11, 3), padding=(5, 1), groups=width, bias=False) for _ in range(2)
        )
        self.wide, self.wide_sheared = (
            nn.Conv2d(width, width, (3, 11), padding=(1, 5), groups=width, bias=False) for _ in range(2)
        )
        self.norm = nn.BatchNorm2d(width)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Weigh every position of the map."""
        small = self.blur(functional.max_pool2d(map_BCHW, 3, stride=1, padding=1))
        gate = torch.sigmoid(self.norm(self.scores(small)))
        return map_BCHW * functional.interpolate(gate, size=map_BCHW.shape[-2:], mode="nearest")

    def scores(self, map_BCHW: Tensor) -> Tensor:
        """Return the sum of the four strips at every position of the small map."""
        by_rows = unshear(self.tall_sheared(shear(map_BCHW)))
        by_columns = unshear(self.wide_sheared(shear(map_BCHW.mT).mT).mT).mT
        straight: Tensor = self.tall(map_BCHW) + self.wide(map_BCHW)
        return straight + by_rows + by_columns


class SparseConvolution(nn.Module):
    """Whole reach in the first two stages (GA12): large kernels, weighed place by place, over the strongest positions.

    The strongest of every 2 x 2 pixels is taken, and what becomes of it goes back to where it was; the rest is zero.
    """

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.enter = nn.Conv2d(width, width, 1)
        self.near = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.far = nn.Conv2d(width, width, 7, padding=9, groups=width, dilation=3)
        self.near_half = nn.Conv2d(width, width // 2, 1)
        self.far_half = nn.Conv2d(width, width // 2, 1)
        self.weigh = nn.Conv2d(2, 2, 7, padding=3)
        self.widen = nn.Conv2d(width // 2, width, 1)
        self.leave = nn.Conv2d(width, width, 1)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Transform the strongest quarter of the positions."""
        pooled, places = functional.max_pool2d(map_BCHW, 2, return_indices=True)
        entered = self.activation(self.enter(pooled))
        near = self.near(entered)
        far = self.far_half(self.far(near))
        near = self.near_half(near)
        both = torch.cat([near, far], dim=1)
        summary = torch.cat([both.mean(1, keepdim=True), both.amax(1, keepdim=True)], dim=1)
        near_share, far_share = torch.sigmoid(self.weigh(summary)).chunk(2, dim=1)
        attention = self.widen(near * near_share + far * far_share)
        return functional.max_unpool2d(self.leave(entered * attention), places, [2, 2])


class SelfAttention(nn.Module):
    """Whole reach in the last stage (GA4): self-attention among all positions, 4 channels a head, no position code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Mix the positions."""
        tokens_BLC = map_BCHW.flatten(2).mT
        batch, length, _ = tokens_BLC.shape
        qkv = self.qkv(tokens_BLC).reshape(batch, length, 3, self.heads, HEAD_WIDTH)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        projected_BLC: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return projected_BLC.mT.reshape(map_BCHW.shape)


class SparseSelfAttention(nn.Module):
    """Whole reach in the third stage (GA3): self-attention among the strongest positions, as in `SparseConvolution`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Mix the strongest quarter of the positions."""
        pooled, places = functional.max_pool2d(map_BCHW, 2, return_indices=True)
        return functional.max_unpool2d(self.norm(self.attention(pooled)), places, [2, 2])


class Block(nn.Module):
    """The light-weight grouped attention: four quarters of the channels, each with its reach, mixed by a perceptron."""

    def __init__(self, width: int, stage: int, activation: Activation, drop_path: float) -> None:
        super().__init__()
        quarter = width // 4
        self.point = Perceptron(quarter, 4 * quarter, activation)
        self.local = ConvNorm(quarter, quarter, 3)
        self.strips = StripAttention(quarter)
        self.whole: nn.Module
        if stage < 2:
            self.whole = SparseConvolution(quarter, activation)
        else:
            self.whole = SparseSelfAttention(quarter) if stage == 2 else SelfAttention(quarter)
        # The third stage has its norm inside, before the way back.
        self.whole_norm = nn.Identity() if stage == 2 else nn.BatchNorm2d(quarter)
        self.mlp = Perceptron(width, 2 * width, activation)
        self.drop_path = DropPath(drop_path)
        self.norm = nn.BatchNorm2d(width)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Transform a map."""
        point, local, strips, whole = map_BCHW.chunk(4, dim=1)
        point = point + point * torch.sigmoid(self.point(point))
        local = self.activation(self.local(local))
        strips = self.strips(strips)
        whole = self.whole_norm(whole + self.whole(whole))
        mixed = self.mlp(torch.cat([point, local, strips, whole], dim=1))
        # Normed after the drop, in this order: a dropped branch still adds the norm's offset.
        branch_BCHW: Tensor = self.norm(self.drop_path(mixed))
        return map_BCHW + branch_BCHW


class Reduction(nn.Module):
    """Between two stages (DRFD): half the sides and twice the channels, by a convolution and a maximum side by side."""

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        double = 2 * width
        self.widen = nn.Conv2d(width, double, 3, padding=1, groups=width)
        self.conv = nn.Conv2d(double, double, 3, stride=2, padding=1, groups=double)
        self.conv_norm = nn.BatchNorm2d(double)
        self.maximum_norm = nn.BatchNorm2d(double)
        self.fuse = nn.Conv2d(2 * double, double, 1)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Reduce a map."""
        wide = self.widen(map_BCHW)
        convolved = self.conv_norm(self.activation(self.conv(wide)))
        largest = self.maximum_norm(functional.max_pool2d(wide, 3, stride=2, padding=1))
        fused: Tensor = self.fuse(torch.cat([convolved, largest], dim=1))
        return fused


class Backbone(nn.Module):
    """Square images (B, C, S, S) to four maps at strides 4 to 32, finest first.

    With `dense`, for decoders, each map passes a batch norm of its own. Raises `ShapeError` for other sides.

    >>> [tuple(map_.shape[1:]) for map_ in Backbone(L0, channels=3, dense=True)(torch.zeros(2, 3, 96, 96))]
    [(32, 24, 24), (64, 12, 12), (128, 6, 6), (256, 3, 3)]
    """

    def __init__(self, config: BackboneConfig, *, channels: int, dense: bool) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[config.activation]
        projection = nn.Conv2d(channels, config.width, 4, stride=4, bias=False)
        self.stem = nn.Sequential(OrderedDict(projection=projection, norm=nn.BatchNorm2d(config.width)))
        steps = max(sum(config.depths) - 1, 1)
        rates = iter([config.drop_path * block / steps for block in range(sum(config.depths))])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, stage, config.activation, next(rates)) for _ in range(depth)))
            for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True))
        )
        self.reductions = nn.ModuleList(Reduction(width, config.activation) for width in config.widths[:3])
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in config.widths if dense)
        self.apply(start)

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the four maps."""
        check_sides(image_BCHW)
        map_BCHW = self.stem(image_BCHW)
        maps = []
        for number, stage in enumerate(self.stages):
            map_BCHW = stage(self.reductions[number - 1](map_BCHW) if number else map_BCHW)
            maps.append(map_BCHW)
        if self.norms:
            maps = [norm(map_BCHW) for norm, map_BCHW in zip(self.norms, maps, strict=True)]
        return tuple(maps)


def start(module: nn.Module) -> None:
    """Draw the first weights of a convolution or linear layer: a truncated normal of deviation 0.02, zero biases.

    >>> layer = nn.Linear(100, 100)
    >>> start(layer)
    >>> round(layer.weight.std().item(), 2), layer.bias.any().item()
    (0.02, False)
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _stage(match: re.Match[str]) -> str:
    return f"stages.{int(match[1]) // 2}.{match[2]}."


def _reduction(match: re.Match[str]) -> str:
    parts = {"conv": "widen", "conv_c": "conv", "norm_c": "conv_norm", "norm_m": "maximum_norm", "fusion": "fuse"}
    return f"reductions.{int(match[1]) // 2}.{parts[match[2]]}."


def _dense_norm(match: re.Match[str]) -> str:
    return f"norms.{int(match[1]) // 2}."


_DROPPED = re.compile(r"\.MRA\.max_m2\.filt$")
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bStem\.proj\.", "stem.projection."),
        (r"\bStem\.norm\.", "stem.norm."),
        (r"\bstages\.([135])\.(conv|conv_c|norm_c|norm_m|fusion)\.", _reduction),
        (r"\bnorm([0246])\.", _dense_norm),
        # The block's own norms before the parts, some of which have a `norm` of their own.
        (r"(\.blocks\.\d+)\.norm\.", r"\1.whole_norm."),
        (r"(\.blocks\.\d+)\.norm1\.", r"\1.norm."),
        (r"\bstages\.([0246])\.blocks\.(\d+)\.", _stage),
        (r"\.(PA\.p_conv|mlp)\.0\.", r".\1.expand."),
        (r"\.(PA\.p_conv|mlp)\.1\.", r".\1.norm."),
        (r"\.(PA\.p_conv|mlp)\.3\.", r".\1.project."),
        (r"\.PA\.p_conv\.", ".point."),
        (r"\.LA\.conv\.0\.", ".local.conv."),
        (r"\.LA\.conv\.1\.", ".local.norm."),
        (r"\.MRA\.H_att1\.", ".strips.tall."),
        (r"\.MRA\.V_att1\.", ".strips.wide."),
        (r"\.MRA\.H_att2\.", ".strips.tall_sheared."),
        (r"\.MRA\.V_att2\.", ".strips.wide_sheared."),
        (r"\.MRA\.norm\.", ".strips.norm."),
        (r"\.GA12\.proj_1\.", ".whole.enter."),
        (r"\.GA12\.conv0\.", ".whole.near."),
        (r"\.GA12\.conv_spatial\.", ".whole.far."),
        (r"\.GA12\.conv1\.", ".whole.near_half."),
        (r"\.GA12\.conv2\.", ".whole.far_half."),
        (r"\.GA12\.conv_squeeze\.", ".whole.weigh."),
        (r"\.GA12\.conv\.", ".whole.widen."),
        (r"\.GA12\.proj_2\.", ".whole.leave."),
        (r"\.GA3\.norm\.", ".whole.norm."),
        (r"\.GA3\.attn\.qkv\.", ".whole.attention.qkv."),
        (r"\.GA3\.attn\.proj\.", ".whole.attention.project."),
        (r"\.GA4\.qkv\.", ".whole.qkv."),
        (r"\.GA4\.proj\.", ".whole.project."),
    )
)


def remap_backbone(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published tensors of a backbone, under any prefix, and drop the blur's kernels, which are constant.

    Other names pass unchanged, so that whoever loads the weights sees them as left over.

    >>> list(remap_backbone({"stages.4.blocks.1.GA3.attn.qkv.weight": torch.zeros(1), "head.bias": torch.zeros(1)}))
    ['stages.2.1.whole.attention.qkv.weight', 'head.bias']
    """
    remapped = {}
    for name, tensor in published.items():
        if _DROPPED.search(name):
            continue
        for pattern, replacement in _RULES:
            name = pattern.sub(replacement, name)
        remapped[name] = tensor
    return remapped


def load_backbone(backbone: Backbone, file: str | Path) -> None:
    """Start a backbone from published weights, such as ImageNet's; what stands on it stays as it is.

    The file may hold a classifier, published or ours, or a whole network with its backbone under `backbone.` (as
    detectors do). The norms of a dense backbone, which a classifier has not got, then stay fresh. Raises
    `WeightsMismatch` unless every other tensor is found in its shape, and leaves the backbone as it was.
    """
    found = remap_backbone(read_tensors(file))
    if any(name.startswith("backbone.") for name in found):
        found = {name.removeprefix("backbone."): value for name, value in found.items() if name.startswith("backbone.")}
    own = backbone.state_dict()
    wanted = [name for name in own if name in found or not name.startswith("norms.")]
    unfit = [name for name in wanted if name not in found or found[name].shape != own[name].shape]
    if unfit:
        raise WeightsMismatch(
            f"{file} does not hold this backbone of LWGANet: {len(unfit)} of {len(own)} tensors are missing or of "
            f"another shape, first {unfit[0]}. Build the variant that it was made for, with three bands."
        )
    backbone.load_state_dict({name: found[name] for name in wanted}, strict=False)
