"""Make the parity bundle `lenet`; needs timm (and torch, torchvision), not Swath.

Run from this folder: `python make_lenet.py`. The transformer blocks, in the encoder and in the decoder, are those of
timm; all the rest is written down here step by step from our description of the published network, since the authors'
repository has no licence. The network is narrow: everything else (window 8, shifts, levels) is as published.
"""

from __future__ import annotations

import numpy as np
import timm
import torch
from bundles import BundleWriter
from fill import fill, generator
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch.nn import functional

SIZE, WIDTH, DEPTHS, HEADS = 128, 32, (2, 2, 4, 2), (1, 2, 4, 8)
PYRAMID, WINDOW = 32, 8
LEVEL_WIDTHS = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
MEAN = torch.tensor([123.675, 116.28, 103.53] * 2)[None, :, None, None]
STD = torch.tensor([58.395, 57.12, 57.375] * 2)[None, :, None, None]

Weights = dict[str, torch.Tensor]
Pair = tuple[torch.Tensor, torch.Tensor]


def build_encoder() -> torch.nn.Module:
    """The published encoder, narrow and for smaller images."""
    return timm.create_model(
        "swinv2_base_window8_256",
        features_only=True,
        pretrained=False,
        img_size=SIZE,
        embed_dim=WIDTH,
        depths=DEPTHS,
        num_heads=HEADS,
        window_size=WINDOW,
    ).eval()


def build_blocks(level: int) -> torch.nn.ModuleList:
    """The two blocks of a decoder level (1 is the finest), for one date."""
    side = SIZE // 2 ** (level + 1)
    blocks = [
        SwinTransformerV2Block(PYRAMID, (side, side), HEADS[level - 1], window_size=WINDOW, shift_size=shift)
        for shift in (0, WINDOW // 2)
    ]
    return torch.nn.ModuleList(blocks).eval()


def norm_shapes(name: str, width: int) -> dict[str, list[int]]:
    """The tensors of a batch norm."""
    one = [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    return {tensor: [width] for tensor in one} | {f"{name}.num_batches_tracked": []}


def weighting_shapes(name: str, width: int) -> dict[str, list[int]]:
    """The tensors of one channel-spatial difference weighting."""
    shapes: dict[str, list[int]] = {}
    for date in ("convA", "convB"):
        for number in (1, 2):
            shapes[f"{name}.{date}.conv{number}.weight"] = [width, width, 3, 3]
            shapes |= norm_shapes(f"{name}.{date}.bn{number}", width)
    return shapes


def head_shapes(name: str) -> dict[str, list[int]]:
    """The tensors of a head."""
    return {
        f"{name}.convs.0.conv.weight": [PYRAMID, 2 * PYRAMID, 3, 3],
        **norm_shapes(f"{name}.convs.0.bn", PYRAMID),
        f"{name}.conv_seg.weight": [2, PYRAMID, 1, 1],
        f"{name}.conv_seg.bias": [2],
    }


def all_shapes() -> dict[str, list[int]]:
    """Names and shapes of the published state dict at this width."""
    shapes = {f"model.model.{name}": list(value.shape) for name, value in build_encoder().state_dict().items()}
    for number, width in enumerate([WIDTH, *LEVEL_WIDTHS]):
        shapes |= weighting_shapes(f"model.rwe.{number}", width)
    for date in "AB":
        for number, width in enumerate(LEVEL_WIDTHS):
            lateral, smooth = (f"model.fpn{date}.{kind}_convs.{number}.conv" for kind in ("lateral", "fpn"))
            shapes |= {f"{lateral}.weight": [PYRAMID, width, 1, 1], f"{lateral}.bias": [PYRAMID]}
            shapes |= {f"{smooth}.weight": [PYRAMID, PYRAMID, 3, 3], f"{smooth}.bias": [PYRAMID]}
        for level in (1, 2, 3, 4):
            prefix = f"model.decode_layers{date}.{level}.blocks."
            shapes |= {prefix + name: list(value.shape) for name, value in build_blocks(level).state_dict().items()}
            channel, both = f"model.channel{date}.{level}", 2 * PYRAMID
            shapes |= {
                f"{channel}.conv1.conv.weight": [both // 16, both, 1, 1],
                f"{channel}.conv1.conv.bias": [both // 16],
                f"{channel}.conv2.conv.weight": [both, both // 16, 1, 1],
                f"{channel}.conv2.conv.bias": [both],
                f"{channel}.conv3.conv.weight": [PYRAMID, both, 1, 1],
                **norm_shapes(f"{channel}.conv3.bn", PYRAMID),
            }
    for level in (1, 2, 3):
        shapes |= weighting_shapes(f"model.re_weight{level}", PYRAMID)
    return shapes | head_shapes("decode_head") | head_shapes("auxiliary_head.0") | head_shapes("auxiliary_head.1")


def load(module: torch.nn.Module, prefix: str, weights: Weights) -> torch.nn.Module:
    """Give a part of the library its share of the weights."""
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    module.load_state_dict(own, strict=True)
    return module


def batch_norm(x: torch.Tensor, name: str, weights: Weights) -> torch.Tensor:
    """The batch norm of that name, in evaluation."""
    mean, var, weight, bias = (weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None] * weight[:, None, None] + bias[
        :, None, None
    ]


def basic_block(x: torch.Tensor, name: str, weights: Weights) -> torch.Tensor:
    """conv3x3 - BN - ReLU - conv3x3 - BN, plus the input, ReLU."""
    hidden = functional.conv2d(x, weights[f"{name}.conv1.weight"], padding=1)
    hidden = batch_norm(hidden, f"{name}.bn1", weights).clamp(min=0)
    hidden = functional.conv2d(hidden, weights[f"{name}.conv2.weight"], padding=1)
    return (batch_norm(hidden, f"{name}.bn2", weights) + x).clamp(min=0)


def weigh(a: torch.Tensor, b: torch.Tensor, name: str, weights: Weights) -> Pair:
    """CSDW: both dates under 1 - sigmoid(cosine), over the channels of a pixel and over the pixels of a channel."""
    w = torch.ones(())
    for dims in ((1,), (2, 3)):
        lengths = (torch.square(x).sum(dims, keepdim=True).sqrt() for x in (a, b))
        # A hard sigmoid may leave a whole channel at zero; its cosine is then zero.
        cosine = (a * b).sum(dims, keepdim=True) / torch.clamp(next(lengths) * next(lengths), min=1e-16)
        w = w * (1 - torch.sigmoid(cosine))
    return (
        basic_block(a * w, f"{name}.convA", weights) + a,
        basic_block(b * w, f"{name}.convB", weights) + b,
    )


def pyramid(levels: list[torch.Tensor], name: str, weights: Weights) -> list[torch.Tensor]:
    """The FPN: 1x1, the coarser map doubled by repetition and added, 3x3."""

    def convolve(x: torch.Tensor, convolution: str) -> torch.Tensor:
        weight, bias = (weights[f"{name}.{convolution}.conv.{part}"] for part in ("weight", "bias"))
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    lateral = [convolve(x, f"lateral_convs.{i}") for i, x in enumerate(levels)]
    for i in (2, 1, 0):
        lateral[i] = lateral[i] + lateral[i + 1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    return [convolve(x, f"fpn_convs.{i}") for i, x in enumerate(lateral)]


def exchange(a: list[torch.Tensor], b: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Levels 0 and 2 change places."""
    return [b[0], a[1], b[2], a[3]], [a[0], b[1], a[2], b[3]]


def hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """The version that reaches 0 at -3 and 1 at 3."""
    return torch.clamp((x + 3) / 6, 0, 1)


def fuse(decoded: torch.Tensor, other: torch.Tensor, name: str, weights: Weights) -> torch.Tensor:
    """Squeeze, excite, project: two maps of a level become one with values from 0 to 1."""
    x = torch.cat([decoded, other], 1)
    gate = x.mean((2, 3))
    for number, activation in ((1, torch.relu), (2, hard_sigmoid)):
        matrix = weights[f"{name}.conv{number}.conv.weight"][:, :, 0, 0]
        gate = activation(gate @ matrix.T + weights[f"{name}.conv{number}.conv.bias"])
    projected = functional.conv2d(x * gate[:, :, None, None], weights[f"{name}.conv3.conv.weight"])
    return hard_sigmoid(batch_norm(projected, f"{name}.conv3.bn", weights))


def decode(a: list[torch.Tensor], b: list[torch.Tensor], weights: Weights) -> list[torch.Tensor]:
    """The decoder from the coarsest level to the finest; its three change maps, M3 first."""
    maps = []
    up_a = up_b = None
    for level in (4, 3, 2, 1):
        x, y = a[level - 1], b[level - 1]
        if level < 4:
            x, y = x + up_b, y + up_a
        through = {}
        for date, value in (("A", x), ("B", y)):
            moved = value.permute(0, 2, 3, 1)
            for block in load(build_blocks(level), f"model.decode_layers{date}.{level}.blocks.", weights):
                moved = block(moved)
            through[date] = moved.permute(0, 3, 1, 2)
        up_a = fuse(through["A"], y, f"model.channelA.{level}", weights)
        up_b = fuse(through["B"], x, f"model.channelB.{level}", weights)
        if level > 1:
            up_a, up_b = (functional.interpolate(u, scale_factor=2, mode="bilinear") for u in (up_a, up_b))
        if level < 4:
            maps.append(torch.cat(weigh(up_a, up_b, f"model.re_weight{level}", weights), 1))
    return maps


def head(x: torch.Tensor, name: str, weights: Weights) -> torch.Tensor:
    """The FCN head: 3x3, BN, ReLU, 1x1."""
    hidden = functional.conv2d(x, weights[f"{name}.convs.0.conv.weight"], padding=1)
    hidden = batch_norm(hidden, f"{name}.convs.0.bn", weights).clamp(min=0)
    return functional.conv2d(hidden, weights[f"{name}.conv_seg.weight"], weights[f"{name}.conv_seg.bias"])


@torch.no_grad()
def run(images: torch.Tensor, weights: Weights) -> dict[str, torch.Tensor]:
    """All outputs worth keeping for a pair of 6 channels."""
    normalised = (images - MEAN) / STD
    encoder = load(build_encoder(), "model.model.", weights)
    _, _, *coarse = (x.permute(0, 3, 1, 2) for x in encoder(normalised[:, :3]))
    found = {f"encoder/{2 + i}": x for i, x in enumerate(coarse)}
    a, b = normalised[:, :3], normalised[:, 3:]
    lists: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for number, (_, child) in enumerate(encoder.named_children()):
        a, b = (child(x).permute(0, 3, 1, 2) for x in (a, b))
        a, b = weigh(a, b, f"model.rwe.{number}", weights)
        if number == 0:
            found["weighted"] = a
        else:
            lists[0].append(a)
            lists[1].append(b)
        print(f"level {number}: {a.std():.3f} {b.std():.3f}")
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    first, second = exchange(*lists)
    first, second = exchange(pyramid(first, "model.fpnA", weights), pyramid(second, "model.fpnB", weights))
    found |= {f"pyramid/{i}": torch.cat([first[i], second[i]], 1) for i in (2, 3)}
    maps = decode(first, second, weights)
    found |= {"change/0": maps[0], "change/2": maps[2], "logits": head(maps[2], "decode_head", weights)}
    found |= {f"auxiliary/{i}": head(maps[i], f"auxiliary_head.{i}", weights) for i in (0, 1)}
    return found


def main() -> None:
    """Write `tests/parity/lenet`."""
    torch.set_num_threads(1)
    shapes = all_shapes()
    weights = {name: torch.from_numpy(fill(name, shape)) for name, shape in shapes.items()}
    writer = BundleWriter.start("lenet")
    pair = generator("input").integers(0, 16, (1, 6, SIZE, SIZE), dtype=np.uint8) * np.uint8(17)
    # Half of the second date is the first, so that cosines of both signs and of exactly one occur.
    pair[:, 3:, :, : SIZE // 2] = pair[:, :3, :, : SIZE // 2]
    writer.add_input("input", pair)
    images = torch.from_numpy(pair).float()
    found = run(images, weights)
    found["swapped"] = run(images.roll(3, 1), weights)["logits"]
    for name, value in found.items():
        print(f"{name}: {tuple(value.shape)}, standard deviation {value.std():.3f}")
        writer.add_output(name, value.numpy())
    about = {
        "library": f"SwinV2 encoder and blocks of timm {timm.__version__} (Apache-2.0), the rest transcribed",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "input": "uint8 (before, after) of three channels each, 17 x integers below 16 by the generator of the name "
        "'input'; the left half of both dates is one; normalised by ImageNet's statistics",
        "tensors": shapes,
    }
    print(writer.write(about))


if __name__ == "__main__":
    main()
