"""The plain vision transformer: patches, positions, pre-norm blocks, under the names of timm's weight files.

Dosovitskiy et al.: "An Image is Worth 16x16 Words", ICLR 2021, arXiv 2010.11929. The fixed sine and cosine positions
are those of masked auto-encoders (He et al., CVPR 2022, arXiv 2111.06377): the first half of the channels tells the
column, the second the row, each half all sines and then all cosines. Norms add 1e-6 to the variance, GELU is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError, ShapeError

Positions = Literal["sincos", "learned", "none"]
"""Where a token stands: a fixed table of sines and cosines, a table that is learnt, or nothing (relative positions
come as a `bias` of the attention)."""


@dataclass(frozen=True, kw_only=True)
class TransformerShape:
    """The size of a transformer: channels of a token, layers, heads, and how much wider the hidden layer is.

    >>> TransformerShape(width=768, layers=12, heads=12).hidden
    3072
    """

    width: int
    layers: int
    heads: int
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width % self.heads:
            raise ConfigurationError(f"{self.width} channels cannot be divided among {self.heads} heads.")

    @property
    def hidden(self) -> int:
        """Channels of the hidden layer of the feed-forward part."""
        return int(self.width * self.mlp_ratio)


class Attention(nn.Module):
    """Multi-head self-attention over tokens (B, L, D); one matrix makes queries, keys and values.

    >>> Attention(8, 2)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, bias_BHLL: Tensor | None = None) -> Tensor:
        """Mix the tokens; `bias` (broadcast to B, heads, queries, keys) is added to the scaled products."""
        batch, length, width = x_BLD.shape
        qkv = self.qkv(x_BLD).reshape(batch, length, 3, self.heads, width // self.heads)
        q_BHLd, k_BHLd, v_BHLd = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q_BHLd, k_BHLd, v_BHLd, attn_mask=bias_BHLL)
        joined: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return joined


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Transform each token by itself."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x_BLD)))
        return out


class DropPath(nn.Module):
    """Leave a residual branch out, image by image, in training only (Huang et al., ECCV 2016).

    What is kept is scaled by 1 / (1 - `share`), so that the mean stays.

    >>> DropPath(0.5).eval()(torch.ones(2, 1)).tolist()
    [[1.0], [1.0]]
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ConfigurationError(f"the share of dropped branches must be 0 to below 1; found {share}.")
        self.share = share

    def forward(self, branch: Tensor) -> Tensor:
        """Drop by chance."""
        if not self.training or self.share == 0:
            return branch
        kept = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) >= self.share
        return branch * kept.to(branch.dtype) / (1 - self.share)


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and added to what went in."""

    def __init__(self, shape: TransformerShape, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attn = Attention(shape.width, shape.heads)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-6)
        self.mlp = FeedForward(shape.width, shape.hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BLD: Tensor, bias_BHLL: Tensor | None = None) -> Tensor:
        """Transform the tokens (B, L, D)."""
        x_BLD = x_BLD + self.drop_path(self.attn(self.norm1(x_BLD), bias_BHLL))
        out: Tensor = x_BLD + self.drop_path(self.mlp(self.norm2(x_BLD)))
        return out


def blocks(shape: TransformerShape, *, drop_path: float = 0.0) -> nn.ModuleList:
    """Return the layers of a transformer; the share of dropped branches rises linearly from 0 to `drop_path`.

    >>> layers = blocks(TransformerShape(width=8, layers=3, heads=2), drop_path=0.2)
    >>> [round(layer.drop_path.share, 2) for layer in layers]
    [0.0, 0.1, 0.2]
    """
    steps = max(shape.layers - 1, 1)
    return nn.ModuleList(Block(shape, drop_path=drop_path * layer / steps) for layer in range(shape.layers))


class PatchEmbedding(nn.Module):
    """Patches of an image (B, C, H, W) as tokens (B, L, D), row by row: a convolution as wide as its stride."""

    def __init__(self, channels: int, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, patch_size)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Embed the patches."""
        tokens: Tensor = self.proj(image_BCHW)
        return tokens.flatten(2).transpose(1, 2)


class PatchTransformer(nn.Module):
    """A vision transformer without a head: `cls_token`, `pos_embed`, `patch_embed.proj` and `blocks`.

    `size` is the side of the square images, whose patches the position table fits. Raises `ConfigurationError` where
    patches do not tile them.

    >>> shape = TransformerShape(width=8, layers=1, heads=2)
    >>> encoder = PatchTransformer(channels=3, size=32, patch_size=8, shape=shape)
    >>> encoder.tokens(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 17, 8])
    """

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        patch_size: int,
        shape: TransformerShape,
        positions: Positions = "sincos",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if size % patch_size:
            raise ConfigurationError(f"patches of {patch_size} pixels do not tile an image of {size}.")
        self.patches_per_side = size // patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = position_table(positions, self.patches_per_side, shape.width)
        self.patch_embed = PatchEmbedding(channels, shape.width, patch_size)
        self.blocks = blocks(shape, drop_path=drop_path)

    def embed(self, image_BCHW: Tensor) -> Tensor:
        """Return the patches with their positions (B, L, D), without the class token."""
        patches: Tensor = self.patch_embed(image_BCHW)
        return patches if self.pos_embed is None else patches + self.pos_embed[:, 1:]

    def encode(self, patches_BLD: Tensor, bias_BHLL: Tensor | None = None) -> Tensor:
        """Put the class token first and run the blocks; returns (B, 1 + L, D)."""
        first = self.cls_token if self.pos_embed is None else self.cls_token + self.pos_embed[:, :1]
        x_BLD = torch.cat([first.expand(len(patches_BLD), -1, -1), patches_BLD], dim=1)
        for block in self.blocks:
            x_BLD = block(x_BLD, bias_BHLL)
        return x_BLD

    def tokens(self, image_BCHW: Tensor) -> Tensor:
        """Return the class token and all patches after the last block (B, 1 + L, D), not normed."""
        return self.encode(self.embed(image_BCHW))


def position_table(kind: Positions, side: int, width: int) -> nn.Parameter | None:
    """Return the table (1, 1 + side * side, width) of a square of patches behind a class token, or None.

    A fixed table is a parameter that is not trained, because published weight files hold it.

    >>> position_table("sincos", 2, 8).requires_grad, position_table("none", 2, 8)
    (False, None)
    """
    if kind == "none":
        return None
    if kind == "learned":
        table = nn.Parameter(torch.empty(1, 1 + side * side, width))
        nn.init.trunc_normal_(table, std=0.02)
        return table
    fixed = functional.pad(sincos_positions(side, side, width), (0, 0, 1, 0))
    return nn.Parameter(fixed, requires_grad=False)


def sincos_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return the fixed table (1, rows * columns, width), patches row by row.

    Raises `ConfigurationError` for a width that is not a multiple of 4.

    >>> [round(value, 3) for value in sincos_positions(1, 2, 4)[0, 1].tolist()]
    [0.841, 0.54, 0.0, 1.0]
    """
    if width % 4:
        raise ConfigurationError(f"sine and cosine positions need a width that is a multiple of 4; found {width}.")
    frequency = 10_000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    waves = []
    for count in (columns, rows):
        angle = torch.arange(count, dtype=torch.float64)[:, None] * frequency
        waves.append(torch.cat([angle.sin(), angle.cos()], dim=1))
    column, row = waves[0][None].expand(rows, -1, -1), waves[1][:, None].expand(-1, columns, -1)
    return torch.cat([column, row], dim=2).reshape(1, rows * columns, width).float()


def resize_positions(table_1LD: Tensor, side: int) -> Tensor:
    """Return a table for a square of `side` x `side` patches from one for another square, class token first.

    The patches' rows are interpolated bicubically, as in the fine-tuning of masked auto-encoders. Raises `ShapeError`
    for a table of no square.

    >>> resize_positions(torch.ones(1, 1 + 4, 8), 3).shape
    torch.Size([1, 10, 8])
    """
    count, width = table_1LD.shape[1] - 1, table_1LD.shape[2]
    before = math.isqrt(max(count, 0))
    if before < 1 or before * before != count:
        raise ShapeError(f"a position table of {count + 1} rows is no class token and a square of patches.")
    if before == side:
        return table_1LD
    grid = table_1LD[:, 1:].transpose(1, 2).reshape(1, width, before, before)
    resized = functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([table_1LD[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def start_weights(module: nn.Module, *, style: Literal["xavier", "truncated"]) -> None:
    """Draw the weights of linear layers and patches: Xavier-uniform as masked auto-encoders do, or timm's.

    timm draws from a normal distribution of deviation 0.02, cut at two units. Biases start at 0.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            if style == "xavier":
                nn.init.xavier_uniform_(part.weight)
            else:
                nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbedding) and style == "xavier":
            # The convolution is the linear layer of a patch, so its fans are those of one.
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.out_channels, -1))
