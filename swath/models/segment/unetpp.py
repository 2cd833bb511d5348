"""U-Net++ on an EfficientNet encoder: the plain network, from images to logits.

Paper: Z. Zhou et al., "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", DLMIA 2018,
arXiv 1807.10165. Reference library: `UnetPlusPlus` of segmentation_models_pytorch 0.6.0 (MIT), whose
widths, node names and orders of concatenation these are.

Where we differ from the library, and why: deep supervision and pruning are in the paper but not in the
library, so they are optional here; the doubling of a node's left map and its first convolution are one step
(`convolve_doubled`), which is faster and equal up to rounding.

In the paper's notation X^{i,j} (level i from the top, counted from stride 2; step j along the skip path)
the node x_d_l is X^{4-l,1+l-d}.

Shape legend: B batch, C channels, K score maps, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.errors import ShapeError
from swath.models.segment.efficientnet import ConvNorm, EfficientNetEncoder, Variant

LEVELS = (1, 2, 3, 4)
"""The nested U-Nets L1 to L4; 4 is the whole network."""

STRIDE = 32
"""Sides of the input must be multiples of this, since the encoder halves them five times."""

DecoderChannels = tuple[int, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """A decoder node: the map that it up-samples, the maps that it concatenates (in order), and its width."""

    name: str
    left: str
    skips: tuple[str, ...]
    out_channels: int


def plan_decoder(feature_widths: Sequence[int], decoder_channels: Sequence[int]) -> tuple[NodeSpec, ...]:
    """The eleven nodes of the nested decoder in the order in which they can be computed.

    `feature_widths` are the channels of f1 to f5. Node x_d_l stands at depth d and layer l; maps are named
    `f1` to `f5` and `x_d_l`. Source: the library's decoder.

    >>> plan = plan_decoder((48, 32, 56, 160, 448), (256, 128, 64, 32, 16))
    >>> plan[4]
    NodeSpec(name='x_0_1', left='x_0_0', skips=('x_1_1', 'f3'), out_channels=128)
    """
    last = len(LEVELS) - 1
    nodes = []
    for distance in range(last + 1):  # of the node from the diagonal d == l
        for depth in range(last + 1 - distance):
            layer = depth + distance
            skips = [f"x_{inner}_{layer}" for inner in range(depth + 1, layer + 1)] + [f"f{4 - layer}"]
            nodes.append(
                NodeSpec(
                    name=f"x_{depth}_{layer}",
                    left=f"f{5 - depth}" if distance == 0 else f"x_{depth}_{layer - 1}",
                    skips=tuple(skips),
                    out_channels=decoder_channels[layer] if depth == 0 else feature_widths[3 - layer],
                )
            )
    final = NodeSpec(name=f"x_0_{last + 1}", left=f"x_0_{last}", skips=(), out_channels=decoder_channels[last + 1])
    return (*nodes, final)


def convolve_doubled(x_BCHW: Tensor, weight_OC33: Tensor) -> Tensor:
    """The 3x3 convolution (padding 1) of a map doubled by nearest neighbour, without making the doubled map.

    Doubling repeats every pixel over a 2x2 box, so both steps are one transposed convolution of stride 2
    whose 4x4 kernel is the mirrored 3x3 one summed over that box: 16 multiplications a pixel of the small
    map in place of 36. (B, C, H, W) and (O, C, 3, 3) to (B, O, 2H, 2W).

    >>> x, weight = torch.randn(1, 5, 4, 6), torch.randn(2, 5, 3, 3)
    >>> doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    >>> torch.allclose(convolve_doubled(x, weight), F.conv2d(doubled, weight, padding=1), atol=1e-4)
    True
    """
    mirrored = F.pad(weight_OC33.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
    rows = mirrored[:, :, 1:] + mirrored[:, :, :-1]
    kernel_CO44 = rows[..., 1:] + rows[..., :-1]
    return F.conv_transpose2d(x_BCHW, kernel_CO44, stride=2, padding=1)


class DecoderNode(nn.Module):
    """Doubles the left map by nearest neighbour, joins the skips to it, and convolves twice.

    >>> node = DecoderNode(left_channels=6, skip_channels=2, out_channels=4)
    >>> node(torch.zeros(1, 6, 4, 4), [torch.zeros(1, 2, 8, 8)]).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(self, *, left_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.left_channels = left_channels
        self.conv1 = _decoder_layer(left_channels + skip_channels, out_channels)
        self.conv2 = _decoder_layer(out_channels, out_channels)

    def forward(self, left_BCHW: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """The node's map, at twice the size of the left one."""
        # A convolution sums over its input channels, so the left map's share needs no copy at twice the size.
        weight = self.conv1.conv.weight
        hidden = convolve_doubled(left_BCHW, weight[:, : self.left_channels])
        if skips:
            hidden = hidden + F.conv2d(torch.cat(list(skips), 1), weight[:, self.left_channels :], padding=1)
        return F.relu_(self.conv2(F.relu_(self.conv1.norm(hidden))))


def _decoder_layer(in_channels: int, out_channels: int) -> ConvNorm:
    layer = ConvNorm(in_channels, out_channels, kernel=3, padding=(1, 1), eps=1e-5, momentum=0.1)
    nn.init.kaiming_uniform_(layer.conv.weight, nonlinearity="relu")
    return layer


class UnetPlusPlusDecoder(nn.Module):
    """The nested decoder: nodes named x_d_l, computed only where an asked-for node needs them.

    >>> decoder = UnetPlusPlusDecoder((4, 4, 4, 4, 4), (8, 8, 8, 8, 8))
    >>> decoder.nodes_for("x_3_3"), decoder.nodes_for("x_2_3")
    (('x_3_3',), ('x_2_2', 'x_3_3', 'x_2_3'))
    """

    def __init__(self, feature_widths: Sequence[int], decoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.plan = plan_decoder(feature_widths, decoder_channels)
        widths = {f"f{number}": width for number, width in enumerate(feature_widths, 1)}
        self.nodes = nn.ModuleDict()
        for node in self.plan:
            self.nodes[node.name] = DecoderNode(
                left_channels=widths[node.left],
                skip_channels=sum(widths[skip] for skip in node.skips),
                out_channels=node.out_channels,
            )
            widths[node.name] = node.out_channels

    def nodes_for(self, *wanted: str) -> tuple[str, ...]:
        """Names of the nodes that must be computed to know the `wanted` ones, in order."""
        needed = set(wanted)
        for node in reversed(self.plan):
            if node.name in needed:
                needed.update((node.left, *node.skips))
        return tuple(node.name for node in self.plan if node.name in needed)

    def forward(self, features: Sequence[Tensor], wanted: Sequence[str]) -> tuple[Tensor, ...]:
        """Maps of the `wanted` nodes, from the features f1, f2, … that they need."""
        maps = {f"f{number}": feature for number, feature in enumerate(features, 1)}
        needed = self.nodes_for(*wanted)
        for node in self.plan:
            if node.name in needed:
                skips = [maps[skip] for skip in node.skips]
                maps[node.name] = self.nodes[node.name](maps[node.left], skips)
        return tuple(maps[name] for name in wanted)


_LEVEL_NODES = ("x_3_3", "x_2_3", "x_1_3", "x_0_4")


class UnetPlusPlus(nn.Module):
    """EfficientNet encoder, nested decoder and segmentation head, as a plain network.

    (B, C, H, W) float32 with sides that are multiples of 32 to logits (B, K, H, W). With deep supervision
    there are four nested U-Nets, L1 to L4: training gives the logits of all, inference those of
    `inference_levels`, as a tuple where there are several. Raises `ShapeError` for other inputs.

    >>> network = UnetPlusPlus(variant="b0", in_channels=4).eval()
    >>> network(torch.zeros(1, 4, 64, 96)).shape
    torch.Size([1, 1, 64, 96])
    """

    def __init__(
        self,
        *,
        variant: Variant,
        in_channels: int = 3,
        out_channels: int = 1,
        decoder_channels: DecoderChannels = (256, 128, 64, 32, 16),
        drop_connect: float = 0.2,
        deep_supervision: bool = False,
        inference_levels: tuple[int, ...] = (4,),
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.training_levels = LEVELS if deep_supervision else LEVELS[-1:]
        self.inference_levels = inference_levels
        self.encoder = EfficientNetEncoder(variant=variant, in_channels=in_channels, drop_rate=drop_connect)
        widths = self.encoder.plan.widths
        self.decoder = UnetPlusPlusDecoder(widths, decoder_channels)
        self.head = _head(decoder_channels[-1], out_channels, kernel=3)
        if deep_supervision:
            self.ds_heads = nn.ModuleDict(
                {name: _head(widths[0], out_channels, kernel=1) for name in _LEVEL_NODES[:-1]}
            )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from the stubs

    def forward(self, images_BCHW: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, H, W): one tensor, or one a nested U-Net."""
        levels = self.training_levels if self.training else self.inference_levels
        logits = self.forward_levels(images_BCHW, levels)
        return logits if len(logits) > 1 else logits[0]

    def forward_levels(self, images_BCHW: Tensor, levels: Sequence[int]) -> tuple[Tensor, ...]:
        """Logits (B, K, H, W) of the asked-for nested U-Nets, running only the layers that they need.

        Levels 1 to 3 answer at stride 2 and are doubled bilinearly; they exist only with deep supervision.

        >>> network = UnetPlusPlus(variant="b0", deep_supervision=True).eval()
        >>> [tuple(logits.shape) for logits in network.forward_levels(torch.zeros(1, 3, 32, 32), (1, 4))]
        [(1, 1, 32, 32), (1, 1, 32, 32)]
        """
        check_images(images_BCHW, self.in_channels)
        # A training step on a CPU takes a fifth less time in this layout; on a GPU it suits half precision.
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
        features = self.encoder(images_BCHW, max(levels) + 1)
        maps = self.decoder(features, [_LEVEL_NODES[level - 1] for level in levels])
        return tuple(self._answer(level, map_BCHW) for level, map_BCHW in zip(levels, maps, strict=True))

    def _answer(self, level: int, map_BCHW: Tensor) -> Tensor:
        if level == LEVELS[-1]:
            logits: Tensor = self.head(map_BCHW)
            return logits
        logits = self.ds_heads[_LEVEL_NODES[level - 1]](map_BCHW)
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)


def _head(in_channels: int, out_channels: int, *, kernel: int) -> nn.Conv2d:
    head = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(head.weight)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    return head


def check_images(images_BCHW: Tensor, in_channels: int) -> None:
    """Raise `ShapeError` unless the images are (B, in_channels, H, W) with sides that are multiples of 32.

    >>> check_images(torch.zeros(1, 3, 64, 64), 3)
    """
    shape = tuple(images_BCHW.shape)
    if len(shape) != 4 or shape[1] != in_channels:
        raise ShapeError(f"the network takes images (B, {in_channels}, H, W); found the shape {shape}.")
    height, width = shape[2:]
    if height % STRIDE or width % STRIDE or not height or not width:
        raise ShapeError(
            f"image sides must be multiples of {STRIDE}; found {height} x {width}. Pad or resize the images."
        )


def mean_logits(answers: Sequence[Tensor], *, exclusive: bool) -> Tensor:
    """Logits of the mean probability of several answers (B, K, H, W), each given as logits.

    `exclusive` says that the K maps share one softmax; otherwise each is a sigmoid of its own. Computed on
    logarithms, so that sure answers keep their digits.

    >>> answers = [torch.tensor([[[[0.0]]]]), torch.tensor([[[[1.0]]]])]
    >>> round(torch.sigmoid(mean_logits(answers, exclusive=False)).item(), 4)  # (0.5 + 0.7311) / 2
    0.6155
    """
    if len(answers) == 1:
        return answers[0]
    stacked = torch.stack(list(answers))
    if exclusive:
        return stacked.log_softmax(2).logsumexp(0) - math.log(len(answers))
    return F.logsigmoid(stacked).logsumexp(0) - F.logsigmoid(-stacked).logsumexp(0)
