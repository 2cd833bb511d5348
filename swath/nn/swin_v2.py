"""Swin Transformer V2: windows of cosine attention whose position bias comes from a small network.

Liu et al.: "Swin Transformer V2: Scaling Up Capacity and Resolution", CVPR 2022, arXiv 2111.09883. Tensors bear the
names under which timm (Apache-2.0) publishes weights: those of its feature extractors as they are, those of its
classifiers through `encoder_tensors`. No tensor depends on the size of the image, so any size runs whose maps the
windows tile; a map no larger than the window is one window and is not shifted.

Shape legend: B batch, H rows, W columns, C channels, N windows of an image, L tokens of a window, A attention heads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError, ShapeError

_LARGEST_LOGIT_SCALE = math.log(100.0)
_BIAS_HIDDEN = 512  # width of the network that gives the position bias
_MASKED = -100.0  # added to the logits of tokens that only the cyclic shift brought together


@dataclass(frozen=True, kw_only=True)
class WindowAxis:
    """How windows divide one axis of a map: its `length`, the window's, and how far the map is rolled first.

    >>> WindowAxis.of(64, window=8, shift=4)
    WindowAxis(length=64, window=8, shift=4)
    >>> WindowAxis.of(4, window=8, shift=4)
    WindowAxis(length=4, window=4, shift=0)
    """

    length: int
    window: int
    shift: int

    @classmethod
    def of(cls, length: int, *, window: int, shift: int) -> WindowAxis:
        """Shrink the window to a shorter axis; raise `ShapeError` where windows do not tile a longer one."""
        if length <= window:
            return cls(length=length, window=length, shift=0)
        if length % window:
            raise ShapeError(
                f"windows of {window} do not tile a map whose side is {length}; choose an image size whose maps are "
                f"multiples of {window} or no larger than it."
            )
        return cls(length=length, window=window, shift=shift)

    @property
    def count(self) -> int:
        """How many windows the axis has."""
        return self.length // self.window

    def wrapped(self, device: torch.device) -> Tensor:
        """Say of each place, by window (count, window), whether the roll brought it from the other end."""
        return (torch.arange(self.length, device=device) >= self.length - self.shift).view(self.count, self.window)


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """In training, zero `x` for a share `rate` of the samples and scale the rest by 1 / (1 - rate).

    Huang et al. 2016 ("Deep Networks with Stochastic Depth"), one draw a sample (first axis).

    >>> torch.equal(drop_path(torch.ones(2, 3), 0.5, False), torch.ones(2, 3))
    True
    """
    if not training or rate == 0.0:
        return x
    kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= rate
    return x * (kept / (1 - rate)).to(x.dtype)


def log_spaced_coordinates(
    window: tuple[int, int], *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the offsets of a window, (2h-1, 2w-1, 2), from -1 to 1 and then log-spaced.

    An offset r becomes sign(r) log2(1 + |8 r|) / log2(8): paper, eq. 4, in the scaling of the published code.

    >>> [round(float(part), 4) for part in log_spaced_coordinates((8, 8))[0, 7]]
    [-1.0566, 0.0]
    """
    axes = []
    for side in window:
        offsets = torch.arange(1 - side, side, device=device, dtype=dtype) * (8 / max(side - 1, 1))
        axes.append(offsets.sign() * torch.log2(offsets.abs() + 1) / math.log2(8))
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


class WindowAttention(nn.Module):
    """Cosine attention inside windows: softmax(cos(q, k) min(scale, 100) + 16 sigmoid(bias)) v.

    Queries and values have a bias, keys have none. Raises `ConfigurationError` unless the heads divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigurationError(f"the width must be a multiple of the heads; found {width} and {heads}.")
        self.heads = heads
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, _BIAS_HIDDEN), nn.ReLU(inplace=True), nn.Linear(_BIAS_HIDDEN, heads, bias=False)
        )
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x_BNLC: Tensor, window: tuple[int, int], mask_NLL: Tensor | None = None) -> Tensor:
        """Attend within each window of `window` rows and columns; `mask_NLL` is added to the logits."""
        batch, windows, length, width = x_BNLC.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = functional.linear(x_BNLC, self.qkv.weight, bias)
        q, k, v = qkv.view(batch, windows, length, 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5).unbind()
        q = functional.normalize(q, dim=-1) * self.logit_scale.clamp(max=_LARGEST_LOGIT_SCALE).exp()
        logits_BNALL = q @ functional.normalize(k, dim=-1).transpose(-2, -1)
        added = self.position_bias(window)
        if mask_NLL is not None:
            added = added + mask_NLL.unsqueeze(1)
        mixed = (logits_BNALL + added).softmax(-1) @ v
        answer: Tensor = self.proj(mixed.transpose(2, 3).reshape(batch, windows, length, width))
        return answer

    def position_bias(self, window: tuple[int, int]) -> Tensor:
        """Return what each pair of tokens adds to its logit, (A, L, L), from 0 to 16."""
        height, width = window
        like = self.logit_scale
        coordinates = log_spaced_coordinates(window, device=like.device, dtype=like.dtype)
        biases = 16 * torch.sigmoid(self.cpb_mlp(coordinates))
        # Row i of the unfolded table holds the offsets i + 1 - h ... i; turned round, the token at j has offset i - j.
        pairs = biases.unfold(0, height, 1).unfold(1, width, 1).flip(3, 4)
        return pairs.permute(2, 0, 1, 3, 4).reshape(self.heads, height * width, height * width)


class Mlp(nn.Module):
    """Two linear layers with GELU between: (..., C) to (..., C)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Widen, bend, narrow."""
        answer: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return answer


class SwinTransformerV2Block(nn.Module):
    """Attention in windows, then an MLP, each normalised *before* it is added to its input: maps (B, H, W, C).

    `shift` rolls the map before it is cut into windows, so that these straddle those of the block before. `drop_path`
    is the rate of stochastic depth.
    Raises `ShapeError` for a map that is larger than the window and no multiple of it.

    >>> block = SwinTransformerV2Block(16, 4, window=4, shift=2)
    >>> block(torch.zeros(1, 8, 12, 16)).shape
    torch.Size([1, 8, 12, 16])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        window: int = 8,
        shift: int = 0,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.drop_path = drop_path
        self.attn = WindowAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Add both branches."""
        x = x_BHWC + drop_path(self.norm1(self.attend(x_BHWC)), self.drop_path, self.training)
        return x + drop_path(self.norm2(self.mlp(x)), self.drop_path, self.training)

    def attend(self, x_BHWC: Tensor) -> Tensor:
        """Return the attention branch before its norm."""
        batch, height, width, channels = x_BHWC.shape
        rows = WindowAxis.of(height, window=self.window, shift=self.shift)
        columns = WindowAxis.of(width, window=self.window, shift=self.shift)
        rolled = bool(rows.shift or columns.shift)
        x = x_BHWC.roll((-rows.shift, -columns.shift), (1, 2)) if rolled else x_BHWC
        x = x.view(batch, rows.count, rows.window, columns.count, columns.window, channels).transpose(2, 3)
        windows_BNLC = x.reshape(batch, rows.count * columns.count, rows.window * columns.window, channels)
        mask = shift_mask(rows, columns, x_BHWC) if rolled else None
        mixed_BNLC: Tensor = self.attn(windows_BNLC, (rows.window, columns.window), mask)
        x = mixed_BNLC.view(batch, rows.count, columns.count, rows.window, columns.window, channels)
        x = x.transpose(2, 3).reshape(batch, height, width, channels)
        return x.roll((rows.shift, columns.shift), (1, 2)) if rolled else x


def shift_mask(rows: WindowAxis, columns: WindowAxis, like: Tensor) -> Tensor:
    """Return what keeps apart tokens that only the roll made neighbours, (N, L, L): -100 between them, 0 elsewhere.

    >>> axis = WindowAxis.of(4, window=2, shift=1)
    >>> shift_mask(WindowAxis.of(1, window=2, shift=0), axis, torch.zeros(1))[1].tolist()
    [[0.0, -100.0], [-100.0, 0.0]]
    """
    down, across = rows.wrapped(like.device).long(), columns.wrapped(like.device).long()
    parts = 2 * down[:, None, :, None] + across[None, :, None, :]
    parts_NL = parts.reshape(rows.count * columns.count, rows.window * columns.window)
    apart_NLL = parts_NL[:, :, None] != parts_NL[:, None, :]
    return like.new_zeros(apart_NLL.shape).masked_fill(apart_NLL, _MASKED)


class PatchEmbedding(nn.Module):
    """Square patches to normalised tokens: images (B, C, H, W) to maps (B, H / size, W / size, width)."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.proj = nn.Conv2d(channels, width, size, size)
        self.norm = nn.LayerNorm(width)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Embed; raise `ShapeError` for sides that patches do not tile."""
        height, width = image_BCHW.shape[-2:]
        if height % self.size or width % self.size:
            raise ShapeError(f"patches of {self.size} pixels do not tile {height} x {width}; pad the image.")
        tokens: Tensor = self.norm(self.proj(image_BCHW).permute(0, 2, 3, 1))
        return tokens


class PatchMerging(nn.Module):
    """Four neighbours become one of twice the width: (B, H, W, C) to (B, H / 2, W / 2, 2 C), reduced, then normalised.

    The neighbours are concatenated column by column: upper left, lower left, upper right, lower right.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Merge; raise `ShapeError` for odd sides."""
        batch, height, width, channels = x_BHWC.shape
        if height % 2 or width % 2:
            raise ShapeError(f"only maps with even sides are merged; found {height} x {width}. Pad the image.")
        quads = x_BHWC.view(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 4, 2, 5)
        merged: Tensor = self.norm(self.reduction(quads.flatten(3)))
        return merged


class SwinV2Stage(nn.Module):
    """Merging (except in the first stage), then blocks of which every second is shifted by half a window.

    Maps are (B, H, W, C); `width` is that of the answer, and each block has its own rate of `drop_path`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        merge: bool,
        window: int,
        mlp_ratio: float,
        drop_path: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.downsample = PatchMerging(width // 2) if merge else nn.Identity()
        self.blocks = nn.ModuleList(
            SwinTransformerV2Block(
                width,
                heads,
                window=window,
                shift=window // 2 if number % 2 else 0,
                mlp_ratio=mlp_ratio,
                drop_path=rate,
            )
            for number, rate in enumerate(drop_path)
        )

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Run the stage."""
        x: Tensor = self.downsample(x_BHWC)
        for block in self.blocks:
            x = block(x)
        return x


class SwinV2(nn.Module):
    """The encoder: patches and stages, the widths doubling, without a final norm.

    `width` is that of the first stage; `depths` and `heads` are by stage; `drop_path` is the rate that the blocks
    approach with depth. The last norms of all blocks start at zero, so that a fresh network is the identity on its
    tokens (published start). Raises `ConfigurationError` unless there are as many `heads` as `depths`.

    >>> encoder = SwinV2(width=16, depths=(1, 2), heads=(1, 2), window=4)
    >>> [tuple(found.shape) for found in encoder(torch.zeros(1, 3, 64, 32))]
    [(1, 16, 16, 8), (1, 32, 8, 4)]
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 128,
        depths: tuple[int, ...] = (2, 2, 18, 2),
        heads: tuple[int, ...] = (4, 8, 16, 32),
        window: int = 8,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if len(depths) != len(heads) or not depths:
            raise ConfigurationError(f"give depths and heads for the same stages; found {depths} and {heads}.")
        self.widths = tuple(width * 2**number for number in range(len(depths)))
        self.patch_embed = PatchEmbedding(channels, width, patch_size)
        blocks = sum(depths)
        rates = [drop_path * number / max(blocks - 1, 1) for number in range(blocks)]
        for number, (depth, stage_heads) in enumerate(zip(depths, heads, strict=True)):
            first = sum(depths[:number])
            stage = SwinV2Stage(
                self.widths[number],
                stage_heads,
                merge=number > 0,
                window=window,
                mlp_ratio=mlp_ratio,
                drop_path=tuple(rates[first : first + depth]),
            )
            self.add_module(f"layers_{number}", stage)
        self.apply(_start)

    @property
    def stages(self) -> Iterator[nn.Module]:
        """The stages in the order in which they run, for networks that do something between them."""
        return (self.get_submodule(f"layers_{number}") for number in range(len(self.widths)))

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the maps after the stages, finest first, each (B, C, H, W)."""
        x = self.patch_embed(image_BCHW)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x.permute(0, 3, 1, 2))
        return tuple(maps)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, SwinTransformerV2Block):
        nn.init.zeros_(module.norm1.weight)
        nn.init.zeros_(module.norm2.weight)


_TABLES = ("relative_position_index", "relative_coords_table", "attn_mask")


def encoder_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a published SwinV2 classifier or extractor that belong to `SwinV2`, under its names.

    The classifier's final norm and head are left out, and so are position tables, which follow from the window. Old
    files (timm before 0.9, Microsoft's own) keep a stage's merging at the end of the stage before.

    >>> names = ("layers.0.downsample.norm.bias", "layers.1.blocks.0.attn.q_bias", "norm.bias", "head.bias")
    >>> list(encoder_tensors(dict.fromkeys(names, torch.zeros(1))))
    ['layers_1.downsample.norm.bias', 'layers_1.blocks.0.attn.q_bias']
    """
    merging_last = any(re.match(r"layers[._]0\.downsample\.", name) for name in published)
    found = {}
    for name, value in published.items():
        match = re.match(r"layers[._](\d+)\.(.+)", name)
        if name.endswith(_TABLES) or not (match or name.startswith("patch_embed.")):
            continue
        if match:
            stage, rest = int(match[1]), match[2]
            stage += merging_last and rest.startswith("downsample.")
            name = f"layers_{stage}.{rest}"
        found[name] = value
    return found
