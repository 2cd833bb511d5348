"""Make the parity bundle of BTC-T from parts of `transformers` (a maintainer's tool).

The authors' repository is not run here. Its encoder is transformers' Swin; Swath runs the library's `SwinBackbone`, so
the encoder here is `MaskFormerSwinBackbone`, the library's other Swin, which bears the published names. The head is
the library's `UperNetHead`, from which the published one derives; difference and losses are written out below.

Run it on a CPU in an environment that has transformers (made with 5.24.0) and torchvision:
`python tests/parity/make_btc.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torchvision
import transformers
from bundles import BundleWriter
from fill import fill, generator
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss
from transformers import UperNetConfig
from transformers.models.maskformer.configuration_maskformer_swin import MaskFormerSwinConfig
from transformers.models.maskformer.modeling_maskformer_swin import MaskFormerSwinBackbone
from transformers.models.upernet.modeling_upernet import UperNetHead

WIDTH, DEPTHS, HEADS, WINDOW = 96, (2, 2, 6, 2), (3, 6, 12, 24), 7
HIDDEN, SCALES = 512, (1, 2, 3, 6)
HEIGHT_PX, WIDTH_PX = 96, 128
MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
INDEX = "relative_position_index"

Shapes = dict[str, list[int]]


def affine(name: str, inputs: int, outputs: int) -> Shapes:
    """A linear layer with a bias."""
    return {f"{name}.weight": [outputs, inputs], f"{name}.bias": [outputs]}


def norm(name: str, width: int) -> Shapes:
    """A LayerNorm."""
    return {f"{name}.weight": [width], f"{name}.bias": [width]}


def module(name: str, inputs: int, outputs: int, side: int) -> Shapes:
    """A convolution without a bias and its BatchNorm."""
    shapes: Shapes = {f"{name}.conv.weight": [outputs, inputs, side, side]}
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.batch_norm.{part}"] = [outputs]
    return shapes | {f"{name}.batch_norm.num_batches_tracked": []}


def encoder_shapes() -> Shapes:
    """Names and shapes of the published encoder."""
    root = "enc.backbone."
    shapes: Shapes = {
        root + "embeddings.patch_embeddings.projection.weight": [WIDTH, 3, 4, 4],
        root + "embeddings.patch_embeddings.projection.bias": [WIDTH],
    }
    shapes |= norm(root + "embeddings.norm", WIDTH)
    for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        width = WIDTH * 2**stage
        for number in range(depth):
            block = f"{root}encoder.layers.{stage}.blocks.{number}."
            shapes |= norm(block + "layernorm_before", width)
            shapes[f"{block}attention.self.relative_position_bias_table"] = [(2 * WINDOW - 1) ** 2, heads]
            shapes[f"{block}attention.self.{INDEX}"] = [WINDOW**2, WINDOW**2]
            for part in ("query", "key", "value"):
                shapes |= affine(f"{block}attention.self.{part}", width, width)
            shapes |= affine(block + "attention.output.dense", width, width)
            shapes |= norm(block + "layernorm_after", width)
            shapes |= affine(block + "intermediate.dense", width, 4 * width)
            shapes |= affine(block + "output.dense", 4 * width, width)
        if stage < 3:
            shapes[f"{root}encoder.layers.{stage}.downsample.reduction.weight"] = [2 * width, 4 * width]
            shapes |= norm(f"{root}encoder.layers.{stage}.downsample.norm", 4 * width)
        shapes |= norm(f"{root}hidden_states_norms.stage{stage + 1}", width)
    return shapes


def decoder_shapes() -> Shapes:
    """Names and shapes of the published head."""
    widths = [WIDTH * 2**stage for stage in range(4)]
    shapes: Shapes = {"dec.classifier.weight": [1, HIDDEN, 1, 1], "dec.classifier.bias": [1]}
    for number in range(len(SCALES)):
        shapes |= module(f"dec.psp_modules.{number}.1", widths[-1], HIDDEN, 1)
    shapes |= module("dec.bottleneck", widths[-1] + len(SCALES) * HIDDEN, HIDDEN, 3)
    for number, width in enumerate(widths[:-1]):
        shapes |= module(f"dec.lateral_convs.{number}", width, HIDDEN, 1)
        shapes |= module(f"dec.fpn_convs.{number}", HIDDEN, HIDDEN, 3)
    return shapes | module("dec.fpn_bottleneck", 4 * HIDDEN, HIDDEN, 3)


def library_encoder() -> MaskFormerSwinBackbone:
    """The library's encoder with the derived weights."""
    config = MaskFormerSwinConfig(
        embed_dim=WIDTH,
        depths=list(DEPTHS),
        num_heads=list(HEADS),
        window_size=WINDOW,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    encoder = MaskFormerSwinBackbone(config).eval()
    weights = {}
    for name, shape in encoder_shapes().items():
        if name.endswith(INDEX):
            continue
        own = "model." + name.removeprefix("enc.backbone.")
        for number in range(4):
            own = own.replace(f"model.hidden_states_norms.stage{number + 1}.", f"hidden_states_norms.{number}.")
        weights[own] = torch.from_numpy(fill(name, shape))
    report = encoder.load_state_dict(weights, strict=False)
    assert not report.unexpected_keys
    # The norm of the last tokens, which nobody reads, is not published.
    absent = {name for name in report.missing_keys if not name.endswith(INDEX)}
    assert absent == {"model.layernorm.weight", "model.layernorm.bias"}, absent
    return encoder


def library_head() -> UperNetHead:
    """The library's head with the derived weights."""
    config = UperNetConfig(hidden_size=HIDDEN, pool_scales=list(SCALES), num_labels=1)
    head = UperNetHead(config, in_channels=[WIDTH * 2**stage for stage in range(4)]).eval()
    shapes = decoder_shapes()
    weights = {name.removeprefix("dec."): torch.from_numpy(fill(name, shape)) for name, shape in shapes.items()}
    head.load_state_dict(weights, strict=True)
    return head


def logits_of(head: UperNetHead, first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The head on the signed differences, enlarged to the size of the images."""
    coarse = head([one - other for one, other in zip(first, second, strict=True)])
    return functional.interpolate(coarse, size=(HEIGHT_PX, WIDTH_PX), mode="bilinear", align_corners=False)


def losses_of(logits: torch.Tensor, label: np.ndarray) -> dict[str, np.ndarray]:
    """Dice in float64 of numpy, cross-entropy of torch, focal loss of torchvision."""
    scores = logits.numpy().astype(np.float64).ravel()
    truth = label.astype(np.float64).ravel()
    share = 1 / (1 + np.exp(-scores))
    dice = 1 - (2 * (share * truth).sum() + 1) / (share.sum() + truth.sum() + 1)
    labels = torch.from_numpy(label).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, labels)
    focal = sigmoid_focal_loss(logits, labels, alpha=-1, gamma=2, reduction="mean")
    return {"dice": np.array(dice), "cross_entropy": entropy.numpy(), "focal": focal.numpy()}


def count(part: torch.nn.Module) -> int:
    """How many parameters a module has."""
    return sum(parameter.numel() for parameter in part.parameters())


@torch.no_grad()
def main() -> None:
    """Write `tests/parity/btc`."""
    torch.set_num_threads(1)
    writer = BundleWriter.start("btc")
    images = {name: generator(name).integers(0, 256, (1, 3, HEIGHT_PX, WIDTH_PX), dtype=np.uint8) for name in "AB"}
    label = generator("label").integers(0, 2, (1, 1, HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
    for name, image in images.items():
        writer.add_input(name, image)
    writer.add_input("label", label)
    encoder, head = library_encoder(), library_head()
    features: dict[str, Any] = {}
    for name, image in images.items():
        features[name] = encoder((torch.from_numpy(image).float() / 255 - MEAN) / STD).feature_maps
    for stage in (1, 4):
        writer.add_output(f"stage{stage}", features["A"][stage - 1].numpy())
    logits = logits_of(head, features["A"], features["B"])
    writer.add_output("logits", logits.numpy())
    writer.add_output("swapped_logits", logits_of(head, features["B"], features["A"]).numpy())
    for name, value in losses_of(logits, label).items():
        writer.add_output(name, value)
        print(name, float(value))
    print([round(float(feature.std()), 3) for feature in features["A"]], float(logits.mean()), float(logits.std()))
    shapes = encoder_shapes() | decoder_shapes()
    about = {
        "library": f"MaskFormerSwinBackbone and UperNetHead of transformers {transformers.__version__} (Apache-2.0), "
        f"sigmoid_focal_loss of torchvision {torchvision.__version__} (BSD-3-Clause)",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "input": "uint8 A, B and label drawn by the generators of their names (0 to 255, labels 0 or 1); the network "
        "sees (value / 255 - mean) / std of ImageNet",
        "parameters": {"encoder": count(encoder) - 2 * 8 * WIDTH, "decoder": count(head)},
        "tensors": shapes,
    }
    print(about["parameters"])
    print(writer.write(about))


if __name__ == "__main__":
    main()
