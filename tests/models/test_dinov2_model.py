"""DINOv2 under the contract, against a transcription under the official names, and the folder of its weights."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from embedder_contract import EmbedderContract
from safetensors.torch import save_file
from torch.nn import functional

from swath.errors import ImageryNotFound, WeightsMismatch
from swath.models.pretrain.dinov2 import (
    IMAGENET_INPUT,
    DINOv2,
    DINOv2Config,
    dinov2,
    dinov2_base,
    dinov2_giant,
    dinov2_large,
    dinov2_small,
)
from swath.models.store import load_model, save_model


def official_shapes(width: int, layers: int, positions: int, *, swiglu: bool = False) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the official state dict."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, positions + 1, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8 if swiglu else 4 * width
    names = ("w12", "w3") if swiglu else ("fc1", "fc2")
    for block in range(layers):
        sizes = {
            **{f"norm{n}.{part}": (width,) for n in (1, 2) for part in ("weight", "bias")},
            **{f"ls{n}.gamma": (width,) for n in (1, 2)},
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            f"mlp.{names[0]}.weight": (hidden * (2 if swiglu else 1), width),
            f"mlp.{names[0]}.bias": (hidden * (2 if swiglu else 1),),
            f"mlp.{names[1]}.weight": (width, hidden),
            f"mlp.{names[1]}.bias": (width,),
        }
        shapes |= {f"blocks.{block}.{name}": shape for name, shape in sizes.items()}
    return shapes


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def transcribed(weights: dict[str, torch.Tensor], image: torch.Tensor, layers: int, heads: int) -> torch.Tensor:
    """All tokens after the last norm, from the official names, at the size the positions were trained for."""
    width = weights["cls_token"].shape[-1]

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        return functional.layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    patches = functional.conv2d(image, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], 14)
    x = torch.cat([weights["cls_token"].expand(len(image), 1, -1), patches.flatten(2).transpose(1, 2)], 1)
    x = x + weights["pos_embed"]
    for i in range(layers):
        b = f"blocks.{i}."
        q, k, v = (
            part.unflatten(2, (heads, -1)).transpose(1, 2)
            for part in linear(b + "attn.qkv", norm(b + "norm1", x)).split(width, 2)
        )
        mixed = (q @ k.transpose(2, 3) / math.sqrt(width // heads)).softmax(3) @ v
        x = x + weights[b + "ls1.gamma"] * linear(b + "attn.proj", mixed.transpose(1, 2).flatten(2))
        y = norm(b + "norm2", x)
        if f"{b}mlp.w12.weight" in weights:
            gate, up = linear(b + "mlp.w12", y).chunk(2, 2)
            y = linear(b + "mlp.w3", functional.silu(gate) * up)
        else:
            y = linear(b + "mlp.fc2", functional.gelu(linear(b + "mlp.fc1", y)))
        x = x + weights[b + "ls2.gamma"] * y
    return norm("norm", x)


def tiny(**changes) -> DINOv2Config:
    config = DINOv2Config(input=IMAGENET_INPUT, width=24, layers=2, heads=3, trained_size=56)
    return replace(config, **changes)


class TestContract(EmbedderContract):
    counts: ClassVar = {
        "dinov2_small": (dinov2_small, 22_056_576),
        "dinov2_base": (dinov2_base, 86_580_480),
        "dinov2_large": (dinov2_large, 304_368_640),
        "dinov2_giant": (dinov2_giant, 1_136_480_768),
    }
    published_names: ClassVar = official_shapes(384, 12, 37 * 37)
    published_builder = staticmethod(dinov2_small)

    def small(self) -> DINOv2:
        return DINOv2(tiny())

    def size(self):
        return 42, 56


def with_official_weights(swiglu: bool, feature="class token") -> tuple[DINOv2, dict[str, torch.Tensor]]:
    shapes = official_shapes(24, 2, 16, swiglu=swiglu)
    weights = drawn(shapes)
    model = DINOv2(tiny(swiglu=swiglu, feature=feature)).eval()
    model.network.load_state_dict(DINOv2.remap_state_dict(weights), strict=True)
    return model, weights


@pytest.mark.parametrize("swiglu", [False, True])
@torch.inference_mode()
def test_features_under_official_weights_equal_the_transcription(swiglu):
    image = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    for feature in ("class token", "mean of patches"):
        model, weights = with_official_weights(swiglu, feature)
        tokens = transcribed(weights, image, layers=2, heads=3)
        expected = tokens[:, 0] if feature == "class token" else tokens[:, 1:].mean(1)
        torch.testing.assert_close(model.network(image), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("given", "shown"), [((64, 64), (70, 70)), ((62, 77), (56, 84)), ((5, 14), (14, 14))])
def test_sides_become_the_nearest_multiples_of_14(given, shown):
    assert DINOv2(tiny()).network.fitted(torch.zeros(1, 3, *given)).shape[-2:] == shown


def as_older_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names in the published files for transformers, written out from the official ones."""
    renamed = {}
    for name, value in weights.items():
        name = re.sub(r"^(cls_token|mask_token)", r"embeddings.\1", name)
        name = name.replace("pos_embed", "embeddings.position_embeddings")
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = re.sub(r"^norm\.", "layernorm.", name).replace("blocks.", "encoder.layer.")
        name = re.sub(r"ls(\d)\.gamma", r"layer_scale\1.lambda1", name).replace("attn.proj", "attention.output.dense")
        if "attn.qkv" in name:
            for part, tensor in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[name.replace("attn.qkv", f"attention.attention.{part}")] = tensor.clone()
        else:
            renamed[name] = value
    return renamed


def test_a_folder_of_published_weights_is_loaded_and_the_card_says_so(tmp_path):
    shapes = official_shapes(24, 2, 37 * 37)
    weights = drawn(shapes)
    (tmp_path / "theirs").mkdir()
    save_file(as_older_transformers(weights), tmp_path / "theirs" / "model.safetensors")
    torch.save(weights, tmp_path / "official.pth")
    models = [dinov2(width=24, layers=2, heads=3, weights=tmp_path / name) for name in ("theirs", "official.pth")]
    for one, other in zip(*(model.network.state_dict().values() for model in models), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(models[0].network.transformer.layernorm.weight, weights["norm.weight"])
    assert models[0].config.weights == "theirs/model.safetensors"
    assert "from theirs/model.safetensors" in models[0].own_card().to_markdown()
    stored = load_model(save_model(models[0], tmp_path / "ours", card=models[0].own_card()))
    assert "from theirs/model.safetensors" in stored.card.training


def test_random_weights_are_said_to_be_random(tmp_path):
    assert "random: nobody trained them" in DINOv2(tiny()).own_card().training
    assert any("No weights ship" in limit for limit in DINOv2.card().limits)


def test_weights_that_are_not_there_or_of_another_size_are_refused(tmp_path):
    with pytest.raises(ImageryNotFound, match="holds no weights"):
        dinov2(width=24, layers=2, heads=3, weights=tmp_path)
    save_file({"cls_token": torch.zeros(1, 1, 8)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsMismatch, match="another shape"):
        dinov2(width=24, layers=2, heads=3, weights=tmp_path)
