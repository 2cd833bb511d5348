"""The parts of LENet after and between the stages of its encoder; the system itself is in `lenet`.

Everything here treats two dates, `before` and `after` (the sheet's A and B), each with its own weights. Maps are
(B, C, H, W). Source: sheet, "Architecture" (class names of the authors' code in brackets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.nn.resnet import BasicBlock
from swath.nn.swin_v2 import SwinTransformerV2Block


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One map of each date, of the same shape.

    >>> Pair(before=torch.zeros(1, 2, 4, 4), after=torch.ones(1, 2, 4, 4)).joined().shape
    torch.Size([1, 4, 4, 4])
    """

    before: Tensor
    after: Tensor

    def joined(self) -> Tensor:
        """Concatenate the channels."""
        return torch.cat([self.before, self.after], 1)

    def swapped(self) -> Pair:
        """Each date's map in the other's place."""
        return Pair(before=self.after, after=self.before)


def exchange_layers(pairs: Sequence[Pair], levels: Sequence[int]) -> list[Pair]:
    """Swap the dates at some levels, counted from the finest.

    >>> pairs = [Pair(before=torch.zeros(1), after=torch.ones(1)) for _ in range(3)]
    >>> [pair.before.item() for pair in exchange_layers(pairs, (0, 2))]
    [1.0, 0.0, 1.0]
    """
    return [pair.swapped() if level in levels else pair for level, pair in enumerate(pairs)]


def difference_weights(before: Tensor, after: Tensor) -> Tensor:
    """Return how much two maps differ, (B, C, H, W): spatial (1 - σ(cosine)) times channel-wise (1 - σ(cosine)).

    The first cosine is over the channels of each pixel, the second over the pixels of each channel; a map of zeros
    has the cosine 0 with any. So the weights lie between 0.0723 (equal maps) and 0.5344 (opposite ones).

    >>> same = torch.ones(1, 2, 3, 3)
    >>> round(float(difference_weights(same, same)[0, 0, 0, 0]), 5)
    0.07233
    """
    spatial = 1 - torch.sigmoid(functional.cosine_similarity(before, after, dim=1))
    channel = 1 - torch.sigmoid(functional.cosine_similarity(before.flatten(2), after.flatten(2), dim=2))
    return spatial.unsqueeze(1) * channel[:, :, None, None]


class DifferenceWeighting(nn.Module):
    """Re-weigh both dates by how much they differ (CSDW): x + block(x · w), with a residual block a date.

    >>> weighting = DifferenceWeighting(8)
    >>> weighting(Pair(before=torch.zeros(1, 8, 4, 4), after=torch.ones(1, 8, 4, 4))).after.shape
    torch.Size([1, 8, 4, 4])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = BasicBlock(width, width)
        self.after = BasicBlock(width, width)

    def forward(self, pair: Pair) -> Pair:
        """Add to each date what its block makes of the weighted map."""
        weights = difference_weights(pair.before, pair.after)
        return Pair(
            before=pair.before + self.before(pair.before * weights),
            after=pair.after + self.after(pair.after * weights),
        )


class FeaturePyramid(nn.Module):
    """A feature pyramid as mmsegmentation's FPN: 1x1 to one width, nearest top-down sums, 3x3; no norms.

    `widths` are those of the maps, finest first, each map half the size of the one before.

    >>> pyramid = FeaturePyramid((8, 16), 4)
    >>> [tuple(found.shape) for found in pyramid([torch.zeros(1, 8, 4, 4), torch.zeros(1, 16, 2, 2)])]
    [(1, 4, 4, 4), (1, 4, 2, 2)]
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return a map a level, finest first."""
        sums: list[Tensor] = [lateral(found) for lateral, found in zip(self.lateral, maps, strict=True)]
        for level in range(len(sums) - 1, 0, -1):
            size = (sums[level - 1].shape[2], sums[level - 1].shape[3])
            sums[level - 1] = sums[level - 1] + functional.interpolate(sums[level], size=size, mode="nearest")
        return [smooth(found) for smooth, found in zip(self.smooth, sums, strict=True)]


class SqueezeFusion(nn.Module):
    """Two maps of `channels` become one with values from 0 to 1 (SELayerIn2Out).

    The joined channels are gated by squeeze and excitation (a sixteenth in between), projected by a 1x1 convolution,
    normalised, and bent by a hard sigmoid, which the gate uses as well: clamp((x + 3) / 6, 0, 1).

    >>> fusion = SqueezeFusion(16)
    >>> fusion.eval()(torch.zeros(1, 32, 2, 2))[0, 0, 0, 0].item()
    0.5
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        joined = 2 * channels
        self.reduce = nn.Conv2d(joined, joined // 16, 1)
        self.expand = nn.Conv2d(joined // 16, joined, 1)
        self.project = nn.Conv2d(joined, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Gate and project."""
        squeezed = self.reduce(x_BCHW.mean((2, 3), keepdim=True)).relu()
        gate = functional.hardsigmoid(self.expand(squeezed))
        return functional.hardsigmoid(self.norm(self.project(x_BCHW * gate)))


class DateDecoder(nn.Module):
    """What a decoder level does for one date: two SwinV2 blocks on its map, fused with the other date's map."""

    def __init__(self, channels: int, heads: int, *, window: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(SwinTransformerV2Block(channels, heads, window=window, shift=shift) for shift in (0, window // 2))
        )
        self.fusion = SqueezeFusion(channels)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Decode `own` and fuse it with `other`, which is not decoded."""
        decoded = self.blocks(own.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        fused: Tensor = self.fusion(torch.cat([decoded, other], 1))
        return fused


class DecoderLevel(nn.Module):
    """One level: add the other date's coarser answer, decode and fuse each date, and enlarge (the finest does not)."""

    def __init__(self, channels: int, heads: int, *, window: int, enlarge: bool) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.before = DateDecoder(channels, heads, window=window)
        self.after = DateDecoder(channels, heads, window=window)

    def forward(self, pair: Pair, coarser: Pair | None) -> Pair:
        """Return the level's answer, which the next finer level takes as `coarser`."""
        before, after = pair.before, pair.after
        if coarser is not None:
            before, after = before + coarser.after, after + coarser.before
        answers = (self.before(before, after), self.after(after, before))
        if self.enlarge:
            answers = (_doubled(answers[0]), _doubled(answers[1]))
        return Pair(before=answers[0], after=answers[1])


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class CrossDecoder(nn.Module):
    """The levels from the coarsest to the finest; every level but the coarsest gives a change map.

    A change map is a level's answer re-weighted, the channels of both dates joined: (B, 2 C, H, W). `heads` are by
    level, finest first. The finer level takes a level's answer as it is before the re-weighting, which acts on the
    change maps alone (sheet, "Decoder", steps 1 and 6).

    >>> decoder = CrossDecoder(16, (2, 2, 2), window=4)
    >>> zeros = [torch.zeros(1, 16, side, side) for side in (8, 4, 2)]
    >>> maps = decoder.change_maps([Pair(before=zero, after=zero) for zero in zeros])
    >>> [tuple(found.shape) for found in maps]
    [(1, 32, 8, 8), (1, 32, 8, 8)]
    """

    def __init__(self, channels: int, heads: Sequence[int], *, window: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            DecoderLevel(channels, count, window=window, enlarge=level > 0) for level, count in enumerate(heads)
        )
        self.weighting = nn.ModuleList(DifferenceWeighting(channels) for _ in heads[1:])

    def forward(self, pairs: Sequence[Pair]) -> Tensor:
        """Return the finest change map alone."""
        return self._change_map(0, self.answers(pairs)[-1])

    def change_maps(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Return all change maps, coarsest first."""
        answers = self.answers(pairs)[1:]
        return [self._change_map(len(answers) - 1 - number, answer) for number, answer in enumerate(answers)]

    def answers(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the answers of all levels, coarsest first."""
        answers: list[Pair] = []
        for level, pair in zip(reversed(self.levels), reversed(pairs), strict=True):
            answers.append(level(pair, answers[-1] if answers else None))
        return answers

    def _change_map(self, level: int, answer: Pair) -> Tensor:
        weighted: Pair = self.weighting[level](answer)
        return weighted.joined()


class ChangeHead(nn.Module):
    """mmsegmentation's FCN head with one convolution: 3x3, norm, ReLU, dropout of channels, 1x1 to scores.

    >>> ChangeHead(16, 8, classes=2, dropout=0.1).eval()(torch.zeros(1, 16, 4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(self, inputs: int, width: int, *, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Score every pixel of the map."""
        scores: Tensor = self.classify(self.dropout(self.norm(self.conv(x_BCHW)).relu()))
        return scores
