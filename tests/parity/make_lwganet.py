"""Make the parity bundle of LWGANet, its UNetFormer and its A2Net (a maintainer's tool).

The authors' repository is not run here (its licence is non-commercial): the networks are transcribed below, as
literally as it goes, from our description of them, and share no line with Swath. Shears are loops over rows, un-pooling
picks the largest of four by hand, attention is written out, windows are taken one by one.
The tensors of the backbone bear their published names; those of the decoders, for which there are none, bear Swath's.

Run it on a CPU in an environment that has torch and numpy: `python tests/parity/make_lwganet.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from bundles import BundleWriter
from fill import fill, generator
from torch.nn import functional

Shapes = dict[str, list[int]]
Maps = list[torch.Tensor]

VARIANTS = {
    "l0": (32, (1, 2, 4, 2), "gelu"),
    "l1": (64, (1, 2, 4, 2), "gelu"),
    "l2": (96, (1, 4, 4, 2), "relu"),
}
SIZE, SMALL, CLASSES, LAND_CLASSES = 160, 96, 45, 7
TAMED = {
    "GA12.proj_2.weight": 0.05,
    "mlp.3.weight": 0.2,
    "fusion.weight": 0.5,
    "qkv.weight": 0.3,
    "expand.weight": 0.5,
    "mix.conv.weight": 0.5,
    "second.conv.weight": 0.5,
}
"""Factors upon the filled values, by the end of the name. The gates of the first stages multiply features by features:
as filled, maps reach 1e7 and L2's overflow; with the factors those of the backbone stay within about 30."""
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


def conv_shape(name: str, out: int, per_group: int, kernel: tuple[int, int], *, bias: bool) -> Shapes:
    """Names and shapes of a convolution."""
    shapes = {f"{name}.weight": [out, per_group, *kernel]}
    return shapes | ({f"{name}.bias": [out]} if bias else {})


def norm_shape(name: str, width: int) -> Shapes:
    """Names and shapes of a batch norm."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": [width] for part in parts} | {f"{name}.num_batches_tracked": []}


def block_shapes(p: str, d: int, stage: int) -> Shapes:
    """Names and shapes of one LWGA block of width d in stage 0 to 3."""
    q = d // 4
    shapes = conv_shape(f"{p}PA.p_conv.0", 4 * q, q, (1, 1), bias=False) | norm_shape(f"{p}PA.p_conv.1", 4 * q)
    shapes |= conv_shape(f"{p}PA.p_conv.3", q, 4 * q, (1, 1), bias=False)
    shapes |= conv_shape(f"{p}LA.conv.0", q, q, (3, 3), bias=False) | norm_shape(f"{p}LA.conv.1", q)
    shapes |= {f"{p}MRA.max_m2.filt": [q, 1, 4, 4]}
    for name, kernel in (("H_att1", (11, 3)), ("V_att1", (3, 11)), ("H_att2", (11, 3)), ("V_att2", (3, 11))):
        shapes |= conv_shape(f"{p}MRA.{name}", q, 1, kernel, bias=False)
    shapes |= norm_shape(f"{p}MRA.norm", q)
    if stage < 2:
        for name, out, into, side in (
            ("proj_1", q, q, 1),
            ("conv0", q, 1, 5),
            ("conv_spatial", q, 1, 7),
            ("conv1", q // 2, q, 1),
            ("conv2", q // 2, q, 1),
            ("conv_squeeze", 2, 2, 7),
            ("conv", q, q // 2, 1),
            ("proj_2", q, q, 1),
        ):
            shapes |= conv_shape(f"{p}GA12.{name}", out, into, (side, side), bias=True)
    elif stage == 2:
        shapes |= {f"{p}GA3.attn.qkv.weight": [3 * q, q], f"{p}GA3.attn.proj.weight": [q, q]}
        shapes |= norm_shape(f"{p}GA3.norm", q)
    else:
        shapes |= {f"{p}GA4.qkv.weight": [3 * q, q], f"{p}GA4.proj.weight": [q, q]}
    if stage != 2:
        shapes |= norm_shape(f"{p}norm", q)
    shapes |= norm_shape(f"{p}norm1", d)
    shapes |= conv_shape(f"{p}mlp.0", 2 * d, d, (1, 1), bias=False) | norm_shape(f"{p}mlp.1", 2 * d)
    return shapes | conv_shape(f"{p}mlp.3", d, 2 * d, (1, 1), bias=False)


def backbone_shapes(variant: str) -> Shapes:
    """Names and shapes of the published state dict, without the classifier and the norms of the dense form."""
    width, depths, _ = VARIANTS[variant]
    shapes = conv_shape("Stem.proj", width, 3, (4, 4), bias=False) | norm_shape("Stem.norm", width)
    for stage, depth in enumerate(depths):
        d = width * 2**stage
        for j in range(depth):
            shapes |= block_shapes(f"stages.{2 * stage}.blocks.{j}.", d, stage)
        if stage < 3:
            s = f"stages.{2 * stage + 1}."
            shapes |= conv_shape(f"{s}conv", 2 * d, 1, (3, 3), bias=True)
            shapes |= conv_shape(f"{s}conv_c", 2 * d, 1, (3, 3), bias=True)
            shapes |= norm_shape(f"{s}norm_c", 2 * d) | norm_shape(f"{s}norm_m", 2 * d)
            shapes |= conv_shape(f"{s}fusion", 2 * d, 4 * d, (1, 1), bias=True)
    return shapes


def dense_norm_shapes(variant: str) -> Shapes:
    """Names and shapes of the norms of the four maps."""
    width = VARIANTS[variant][0]
    shapes: Shapes = {}
    for stage in range(4):
        shapes |= norm_shape(f"norm{2 * stage}", width * 2**stage)
    return shapes


def head_shapes(variant: str) -> Shapes:
    """Names and shapes of the classifier's last layers."""
    width = VARIANTS[variant][0]
    shapes = conv_shape("avgpool_pre_head.1", 1280, 8 * width, (1, 1), bias=False)
    return shapes | {"head.weight": [CLASSES, 1280], "head.bias": [CLASSES]}


def tamed(name: str) -> float:
    """The factor upon the filled values of the tensor of that name."""
    return next((factor for end, factor in TAMED.items() if name.endswith(end)), 1.0)


class Weights:
    """Tensors by name, filled from their names, and the few operations that read them."""

    def __init__(self, shapes: Shapes, activation: str) -> None:
        self.tensors = {name: torch.from_numpy(fill(name, shape)) * tamed(name) for name, shape in shapes.items()}
        self.activation = activation

    def act(self, x: torch.Tensor) -> torch.Tensor:
        """GELU by the error function, or ReLU."""
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2))) if self.activation == "gelu" else x.clamp(min=0)

    def conv(self, name: str, x: torch.Tensor, *, stride: int = 1, dilation: int = 1) -> torch.Tensor:
        """The convolution of that name, keeping the size (before its stride); odd kernels and the stem's 4x4."""
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        padding = [0, 0] if stride == 4 else [dilation * (k // 2) for k in weight.shape[2:]]
        groups = x.shape[1] // weight.shape[1]
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """The batch norm of that name, by its running statistics."""
        mean, var, weight, bias = (
            self.tensors[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def blur_pool(x: torch.Tensor) -> torch.Tensor:
    """Every third pixel of the map blurred by outer([1, 3, 3, 1]) / 64, mirrored 1 before and 2 behind."""
    n = x.shape[-1]
    index = [1, *range(n), n - 2, n - 3]
    padded = x[:, :, index][:, :, :, index]
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    positions = range(0, n, 3)
    rows = [
        torch.stack(
            [(padded[..., i : i + 4, j : j + 4] * torch.outer(row, row) / 64).sum((-2, -1)) for j in positions], -1
        )
        for i in positions
    ]
    return torch.stack(rows, -2)


def sheared(x: torch.Tensor, convolve: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Shift row i right by i, convolve, shift back."""
    n = x.shape[-1]
    wide = torch.zeros(*x.shape[:3], 2 * n - 1)
    for i in range(n):
        wide[:, :, i, i : i + n] = x[:, :, i]
    wide = convolve(wide)
    return torch.stack([wide[:, :, i, i : i + n] for i in range(n)], 2)


def strips(w: Weights, p: str, x: torch.Tensor) -> torch.Tensor:
    """MRA: four strips of 11 pixels over a map a third as large gate the input."""
    m = blur_pool(functional.max_pool2d(x, 3, 1, 1))
    total = w.conv(f"{p}H_att1", m) + w.conv(f"{p}V_att1", m)
    total = total + sheared(m, lambda s: w.conv(f"{p}H_att2", s))
    total = total + sheared(m.mT, lambda s: w.conv(f"{p}V_att2", s.mT).mT).mT
    gate = torch.sigmoid(w.norm(f"{p}norm", total))
    index = torch.arange(x.shape[-1]) * gate.shape[-1] // x.shape[-1]
    return x * gate[:, :, index][:, :, :, index]


def pooled_cells(x: torch.Tensor) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """The largest of every 2x2 cell, and the way back to where it was (zeros elsewhere)."""
    b, c, h, width = x.shape
    cells = x.reshape(b, c, h // 2, 2, width // 2, 2).permute(0, 1, 2, 4, 3, 5).reshape(b, c, h // 2, width // 2, 4)
    chosen = functional.one_hot(cells.argmax(-1), 4).float()

    def back(values: torch.Tensor) -> torch.Tensor:
        spread = (values[..., None] * chosen).reshape(b, c, h // 2, width // 2, 2, 2)
        return spread.permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, width)

    return cells.max(-1).values, back


def spatial_gate(w: Weights, p: str, x: torch.Tensor) -> torch.Tensor:
    """GA12: large kernels over the pooled map, weighed place by place."""
    small, back = pooled_cells(x)
    u = w.act(w.conv(f"{p}proj_1", small))
    a1 = w.conv(f"{p}conv0", u)
    a2 = w.conv(f"{p}conv_spatial", a1, dilation=3)
    a1, a2 = w.conv(f"{p}conv1", a1), w.conv(f"{p}conv2", a2)
    both = torch.cat([a1, a2], 1)
    s = torch.sigmoid(w.conv(f"{p}conv_squeeze", torch.stack([both.mean(1), both.max(1).values], 1)))
    a = w.conv(f"{p}conv", a1 * s[:, 0:1] + a2 * s[:, 1:2])
    return back(w.conv(f"{p}proj_2", u * a))


def attention(w: Weights, p: str, x: torch.Tensor) -> torch.Tensor:
    """Multi-head self-attention over all positions, four channels a head."""
    b, c, h, width = x.shape
    tokens = x.reshape(b, c, h * width).mT
    qkv = tokens @ w.tensors[f"{p}qkv.weight"].T
    answers = []
    for head in range(c // 4):
        q, k, v = (qkv[..., part * c + 4 * head : part * c + 4 * head + 4] for part in range(3))
        answers.append(torch.softmax(q @ k.mT / 2, -1) @ v)
    out = torch.cat(answers, -1) @ w.tensors[f"{p}proj.weight"].T
    return out.mT.reshape(b, c, h, width)


def block(w: Weights, p: str, x: torch.Tensor, stage: int) -> torch.Tensor:
    """One LWGA block."""
    q = x.shape[1] // 4
    g1, g2, g3, g4 = x[:, :q], x[:, q : 2 * q], x[:, 2 * q : 3 * q], x[:, 3 * q :]
    hidden = w.act(w.norm(f"{p}PA.p_conv.1", w.conv(f"{p}PA.p_conv.0", g1)))
    g1 = g1 + g1 * torch.sigmoid(w.conv(f"{p}PA.p_conv.3", hidden))
    g2 = w.act(w.norm(f"{p}LA.conv.1", w.conv(f"{p}LA.conv.0", g2)))
    g3 = strips(w, f"{p}MRA.", g3)
    if stage < 2:
        g4 = w.norm(f"{p}norm", g4 + spatial_gate(w, f"{p}GA12.", g4))
    elif stage == 2:
        small, back = pooled_cells(g4)
        g4 = g4 + back(w.norm(f"{p}GA3.norm", attention(w, f"{p}GA3.attn.", small)))
    else:
        g4 = w.norm(f"{p}norm", g4 + attention(w, f"{p}GA4.", g4))
    mixed = w.conv(f"{p}mlp.0", torch.cat([g1, g2, g3, g4], 1))
    return x + w.norm(f"{p}norm1", w.conv(f"{p}mlp.3", w.act(w.norm(f"{p}mlp.1", mixed))))


def backbone(w: Weights, variant: str, image: torch.Tensor, p: str = "") -> Maps:
    """The four maps; each under its own norm where there is one."""
    x = w.norm(f"{p}Stem.norm", w.conv(f"{p}Stem.proj", image, stride=4))
    maps = []
    for stage, depth in enumerate(VARIANTS[variant][1]):
        for j in range(depth):
            x = block(w, f"{p}stages.{2 * stage}.blocks.{j}.", x, stage)
        name = f"{p}norm{2 * stage}"
        maps.append(w.norm(name, x) if f"{name}.weight" in w.tensors else x)
        if stage < 3:
            s = f"{p}stages.{2 * stage + 1}."
            wide = w.conv(f"{s}conv", x)
            c = w.norm(f"{s}norm_c", w.act(w.conv(f"{s}conv_c", wide, stride=2)))
            m = w.norm(f"{s}norm_m", functional.max_pool2d(wide, 3, 2, 1))
            x = w.conv(f"{s}fusion", torch.cat([c, m], 1))
    return maps


def classify(w: Weights, variant: str, image: torch.Tensor) -> torch.Tensor:
    """Logits (B, K)."""
    pooled = backbone(w, variant, image)[-1].mean((2, 3), keepdim=True)
    hidden = w.act(w.conv("avgpool_pre_head.1", pooled)).flatten(1)
    return hidden @ w.tensors["head.weight"].T + w.tensors["head.bias"]


# UNetFormer's decoder: 64 channels, windows of 8, 8 heads.


def conv_norm_shape(name: str, out: int, into: int, side: int, *, bias: bool = False) -> Shapes:
    """Names and shapes of a convolution and its norm."""
    return conv_shape(f"{name}.conv", out, into, (side, side), bias=bias) | norm_shape(f"{name}.norm", out)


def separable_shape(name: str, side: int) -> Shapes:
    """Names and shapes of a depthwise convolution, a norm and a pointwise convolution."""
    shapes = conv_shape(f"{name}.depthwise", 64, 1, (side, side), bias=False) | norm_shape(f"{name}.norm", 64)
    return shapes | conv_shape(f"{name}.pointwise", 64, 64, (1, 1), bias=False)


def unetformer_shapes(variant: str) -> Shapes:
    """Names and shapes of the decoder and its auxiliary head."""
    width = VARIANTS[variant][0]
    shapes = conv_norm_shape("decoder.enter", 64, 8 * width, 1)
    for number in range(3):
        b = f"decoder.blocks.{number}."
        shapes |= norm_shape(f"{b}attention_norm", 64) | norm_shape(f"{b}mlp_norm", 64)
        shapes |= conv_shape(f"{b}attention.qkv", 192, 64, (1, 1), bias=False)
        shapes |= {f"{b}attention.relative_bias": [225, 8]}
        shapes |= conv_norm_shape(f"{b}attention.local", 64, 64, 3)
        shapes |= conv_norm_shape(f"{b}attention.point", 64, 64, 1)
        shapes |= separable_shape(f"{b}attention.mix", 8)
        shapes |= conv_shape(f"{b}expand", 256, 64, (1, 1), bias=True)
        shapes |= conv_shape(f"{b}project", 64, 256, (1, 1), bias=True)
    for number, skip in enumerate((4 * width, 2 * width, width)):
        f = f"decoder.fusions.{number}."
        shapes |= {f"{f}weight": [2]} | conv_shape(f"{f}skip", 64, skip, (1, 1), bias=False)
        shapes |= conv_norm_shape(f"{f}mix", 64, 64, 3)
    r = "decoder.refinement."
    shapes |= conv_shape(f"{r}pixel_gate", 64, 1, (3, 3), bias=True)
    shapes |= conv_shape(f"{r}squeeze", 4, 64, (1, 1), bias=False)
    shapes |= conv_shape(f"{r}excite", 64, 4, (1, 1), bias=False)
    shapes |= separable_shape(f"{r}mix", 3) | conv_norm_shape(f"{r}shortcut", 64, 64, 1)
    for head in ("head.", "auxiliary_head."):
        shapes |= conv_norm_shape(f"{head}mix", 64, 64, 3)
        shapes |= conv_shape(f"{head}classify", LAND_CLASSES, 64, (1, 1), bias=False)
    return shapes


def reflected(x: torch.Tensor, more: tuple[int, int]) -> torch.Tensor:
    """The map with so many mirrored rows and columns more, at the bottom and the right."""
    h, width = x.shape[-2:]
    rows = [*range(h), *(h - 2 - k for k in range(more[0]))]
    columns = [*range(width), *(width - 2 - k for k in range(more[1]))]
    return x[:, :, rows][:, :, :, columns]


def window_attention(w: Weights, p: str, x: torch.Tensor) -> torch.Tensor:
    """Attention inside windows of 8x8, one by one, with a learned bias for every relative place."""
    n = x.shape[-1]
    x = reflected(x, (-n % 8, -n % 8))
    qkv = w.conv(f"{p}qkv", x)
    table = w.tensors[f"{p}relative_bias"]
    places = [(i, j) for i in range(8) for j in range(8)]
    bias = torch.stack([torch.stack([table[(i - k + 7) * 15 + j - m + 7] for k, m in places]) for i, j in places])
    out = torch.zeros_like(x)
    for top in range(0, x.shape[-1], 8):
        for left in range(0, x.shape[-1], 8):
            window = qkv[0, :, top : top + 8, left : left + 8].reshape(3, 8, 8, 64)
            for head in range(8):
                q, k, v = window[0, head].T, window[1, head].T, window[2, head].T
                mixed = torch.softmax(q @ k.T / math.sqrt(8) + bias[:, :, head], -1) @ v
                out[0, 8 * head : 8 * head + 8, top : top + 8, left : left + 8] = mixed.T.reshape(8, 8, 8)
    return out[:, :, :n, :n]


def global_local(w: Weights, p: str, x: torch.Tensor) -> torch.Tensor:
    """The block's attention: windows joined by two averages, plus a local branch, then a separable 8x8."""
    n = x.shape[-1]
    local = w.norm(f"{p}local.norm", w.conv(f"{p}local.conv", x)) + w.norm(
        f"{p}point.norm", w.conv(f"{p}point.conv", x)
    )
    windows = window_attention(w, p, x)
    tall = functional.pad(reflected(windows, (1, 0)), (0, 0, 3, 3))
    wide = functional.pad(reflected(windows, (0, 1)), (3, 3, 0, 0))
    down = sum(tall[:, :, k : k + n] for k in range(8)) / 8
    right = sum(wide[:, :, :, k : k + n] for k in range(8)) / 8
    joined = functional.pad(reflected(down + right + local, (1, 1)), (3, 3, 3, 3))
    mixed = functional.conv2d(joined, w.tensors[f"{p}mix.depthwise.weight"], groups=64)
    return w.conv(f"{p}mix.pointwise", w.norm(f"{p}mix.norm", mixed))


def enlarged(x: torch.Tensor, factor: int, *, corners: bool = False) -> torch.Tensor:
    """Bilinear enlargement as a product with a matrix of weights on both sides."""
    n = x.shape[-1]
    matrix = torch.zeros(n * factor, n)
    for row in range(n * factor):
        place = row * (n - 1) / (n * factor - 1) if corners else max((row + 0.5) / factor - 0.5, 0.0)
        below = min(int(place), n - 1)
        matrix[row, below] += 1 - (place - below)
        matrix[row, min(below + 1, n - 1)] += place - below
    return matrix @ x @ matrix.T


def relu6(x: torch.Tensor) -> torch.Tensor:
    """Values between 0 and 6."""
    return x.clamp(0, 6)


def conv_norm(w: Weights, name: str, x: torch.Tensor, *, dilation: int = 1) -> torch.Tensor:
    """A convolution and its norm."""
    return w.norm(f"{name}.norm", w.conv(f"{name}.conv", x, dilation=dilation))


def fuse(w: Weights, p: str, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Twice the size, and the skip, by two weights that sum to one."""
    first, second = w.tensors[f"{p}weight"].clamp(min=0) / (w.tensors[f"{p}weight"].clamp(min=0).sum() + 1e-8)
    mixed = first * w.conv(f"{p}skip", skip) + second * enlarged(x, 2)
    return relu6(conv_norm(w, f"{p}mix", mixed))


def refine(w: Weights, p: str, x: torch.Tensor) -> torch.Tensor:
    """The feature-refinement head, after its fusion."""
    pixel = torch.sigmoid(w.conv(f"{p}pixel_gate", x)) * x
    squeezed = relu6(w.conv(f"{p}squeeze", x.mean((2, 3), keepdim=True)))
    channel = torch.sigmoid(w.conv(f"{p}excite", squeezed)) * x
    mixed = w.norm(f"{p}mix.norm", w.conv(f"{p}mix.depthwise", pixel + channel))
    return relu6(w.conv(f"{p}mix.pointwise", mixed) + conv_norm(w, f"{p}shortcut", x))


def segment(w: Weights, variant: str, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the head and of the auxiliary head, both as large as the image."""
    maps = backbone(w, variant, image, "backbone.")
    x = conv_norm(w, "decoder.enter", maps[3])
    seen = []
    for number in range(3):
        b = f"decoder.blocks.{number}."
        if number:
            x = fuse(w, f"decoder.fusions.{number - 1}.", x, maps[3 - number])
        x = x + global_local(w, f"{b}attention.", w.norm(f"{b}attention_norm", x))
        hidden = relu6(w.conv(f"{b}expand", w.norm(f"{b}mlp_norm", x)))
        x = x + w.conv(f"{b}project", hidden)
        seen.append(x)
    x = refine(w, "decoder.refinement.", fuse(w, "decoder.fusions.2.", x, maps[0]))
    total = enlarged(seen[0], 4, corners=True) + enlarged(seen[1], 2, corners=True) + seen[2]
    logits = []
    for head, features, factor in (("head.", x, 4), ("auxiliary_head.", total, 8)):
        scores = w.conv(f"{head}classify", relu6(conv_norm(w, f"{head}mix", features)))
        logits.append(enlarged(scores, factor))
    return logits[0], logits[1]


# A2Net's decoder: 64 channels, 32 a neighbour; every convolution has a bias.

SCALES = (2, 3, 4, 5)


def a2net_shapes(variant: str) -> Shapes:
    """Names and shapes of the aggregation, the temporal fusion and the decoder."""
    widths = {scale: VARIANTS[variant][0] * 2 ** (scale - 2) for scale in SCALES}
    shapes: Shapes = {}
    for scale in SCALES:
        a = f"aggregations.{scale - 2}."
        neighbours = [other for other in (scale - 1, scale, scale + 1) if other in SCALES]
        for number, other in enumerate(neighbours):
            shapes |= conv_norm_shape(f"{a}neighbours.{number}", 32, widths[other], 3, bias=True)
        shapes |= conv_norm_shape(f"{a}first", 64, 32 * len(neighbours), 3, bias=True)
        shapes |= conv_norm_shape(f"{a}second", 64, 64, 3, bias=True)
        shapes |= conv_shape(f"{a}identity", 64, widths[scale], (1, 1), bias=True)
    for scale in SCALES:
        t = f"fusions.{scale - 2}."
        for number in range(4):
            shapes |= conv_norm_shape(f"{t}branches.{number}", 64, 64, 3, bias=True)
            shapes |= conv_shape(f"{t}shortcuts.{number}", 64, 64, (1, 1), bias=True)
    for number in range(3):
        s = f"decoder.attentions.{number}."
        shapes |= conv_shape(f"{s}mask", 1, 64, (1, 1), bias=True)
        shapes |= conv_norm_shape(f"{s}context", 64, 2, 1, bias=True) | conv_norm_shape(f"{s}mix", 64, 64, 3, bias=True)
        shapes |= conv_norm_shape(f"decoder.joints.{number}", 64, 64, 3, bias=True)
    return shapes | conv_shape("decoder.mask", 1, 64, (1, 1), bias=True)


def aggregate(w: Weights, maps: Maps) -> Maps:
    """Each scale with its neighbours."""
    out = []
    for place in range(4):
        a = f"aggregations.{place}."
        parts = []
        for number, other in enumerate([o for o in (place - 1, place, place + 1) if 0 <= o < 4]):
            x = maps[other] if other >= place else functional.max_pool2d(maps[other], 2)
            part = conv_norm(w, f"{a}neighbours.{number}", x).clamp(min=0)
            parts.append(enlarged(part, 2) if other > place else part)
        first = conv_norm(w, f"{a}first", torch.cat(parts, 1)).clamp(min=0)
        out.append((conv_norm(w, f"{a}second", first) + w.conv(f"{a}identity", maps[place])).clamp(min=0))
    return out


def cascade(w: Weights, p: str, x: torch.Tensor) -> torch.Tensor:
    """Four dilated convolutions, each on the sum of the one before and a 1x1 shortcut of the difference."""
    y = conv_norm(w, f"{p}branches.0", x, dilation=7)
    for number, dilation in ((1, 5), (2, 3), (3, 1)):
        y = (w.conv(f"{p}shortcuts.{number - 1}", x) + y).clamp(min=0)
        y = conv_norm(w, f"{p}branches.{number}", y, dilation=dilation)
    return (w.conv(f"{p}shortcuts.3", x) + y).clamp(min=0)


def change(w: Weights, variant: str, before: torch.Tensor, after: torch.Tensor) -> Maps:
    """Logits of the four masks, finest first, all as large as the image."""
    pair = [aggregate(w, backbone(w, variant, image, "backbone.")) for image in (before, after)]
    d = [cascade(w, f"fusions.{place}.", (pair[0][place] - pair[1][place]).abs()) for place in range(4)]
    masks = []
    x = d[3]
    for number, place in enumerate((2, 1, 0)):
        s = f"decoder.attentions.{number}."
        mask = w.conv(f"{s}mask", x)
        masks.append(enlarged(mask, 2 ** (place + 3)))
        share = torch.sigmoid(mask)
        x = x * conv_norm(w, f"{s}context", torch.cat([share, 1 - share], 1)).clamp(min=0)
        x = conv_norm(w, f"{s}mix", x).clamp(min=0)
        x = conv_norm(w, f"decoder.joints.{number}", d[place] + enlarged(x, 2)).clamp(min=0)
    masks.append(enlarged(w.conv("decoder.mask", x), 4))
    return masks[::-1]


def with_backbone(parts: dict[str, Shapes], variant: str, decoder: Shapes) -> Shapes:
    """The tensors of a decoder and of the dense backbone under `backbone.`."""
    dense = parts[f"backbone-{variant}"] | parts[f"norms-{variant}"]
    return {f"backbone.{name}": shape for name, shape in dense.items()} | decoder


@torch.no_grad()
def main() -> None:
    """Write `tests/parity/lwganet`."""
    torch.set_num_threads(1)
    writer = BundleWriter.start("lwganet")
    pixels = generator("input").integers(0, 256, (1, 3, SIZE, SIZE), dtype=np.uint8)
    writer.add_input("input", pixels)
    image = torch.from_numpy(((pixels - MEAN[:, None, None]) / STD[:, None, None]).astype(np.float32))
    small = image[:, :, :SMALL, :SMALL]
    parts = {f"backbone-{variant}": backbone_shapes(variant) for variant in VARIANTS}
    parts |= {f"head-{variant}": head_shapes(variant) for variant in VARIANTS}
    parts |= {f"norms-{variant}": dense_norm_shapes(variant) for variant in ("l0", "l2")}
    parts |= {"unetformer-l2": unetformer_shapes("l2"), "a2net-l0": a2net_shapes("l0")}

    def store(name: str, output: torch.Tensor) -> None:
        print(f"{name}: {tuple(output.shape)}, mean {output.mean():.3f}, std {output.std():.3f}")
        writer.add_output(name, output.numpy())

    for variant, (_, _, activation) in VARIANTS.items():
        weights = Weights(parts[f"backbone-{variant}"] | parts[f"head-{variant}"], activation)
        store(f"{variant}/logits", classify(weights, variant, small))
    weights = Weights(parts["backbone-l0"] | parts["norms-l0"], "gelu")
    maps = backbone(weights, "l0", small)
    for number in (0, 2, 3):
        store(f"l0-dense/map{number}", maps[number])
    weights = Weights(with_backbone(parts, "l2", parts["unetformer-l2"]), "relu")
    logits, auxiliary = segment(weights, "l2", image)
    store("unetformer-l2/logits", logits)
    store("unetformer-l2/auxiliary", auxiliary)
    weights = Weights(with_backbone(parts, "l0", parts["a2net-l0"]), "gelu")
    for number, found in enumerate(change(weights, "l0", image, image.flip(3))):
        store(f"a2net-l0/mask{number + 2}", found)
    about = {
        "library": "none: transcribed from a description of the published networks",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "input": "uint8 drawn by the generator of the name 'input'; the networks see (value - mean) / std with "
        f"ImageNet's 8-bit statistics; classifiers and dense maps see the first {SMALL} rows and columns, A2Net sees "
        "the whole as the first date and mirrored left to right as the second",
        "factors": TAMED,
        "tensors": parts,
    }
    print(writer.write(about))


if __name__ == "__main__":
    main()
