"""Swin V2 against a loop over tokens, against transformers, and against the paper's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from swath.errors import ConfigurationError, ShapeError
from swath.nn.swin_v2 import (
    SwinTransformerV2Block,
    SwinV2,
    WindowAttention,
    drop_path,
    encoder_tensors,
    log_spaced_coordinates,
)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter a value that shows: norms about 1, heads of different sharpness."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            value = 1 + 0.2 * noise
        elif name.endswith("logit_scale"):
            value = 1.5 + noise
        else:
            value = noise / math.sqrt(parameter.shape[-1]) if parameter.ndim > 1 else 0.3 * noise
        parameter.data.copy_(value)
    return module.eval()


def attention_by_hand(block: SwinTransformerV2Block, x_HWC: np.ndarray) -> np.ndarray:
    """Equations of the paper, token by token: a token sees those of its own window of the shifted grid."""
    tensors = {name: value.double().numpy() for name, value in block.attn.state_dict().items()}
    height, width, channels = x_HWC.shape
    heads = len(tensors["logit_scale"])
    sides = [min(block.window, length) for length in (height, width)]
    shifts = [block.shift if length > block.window else 0 for length in (height, width)]
    q_weight, k_weight, v_weight = np.split(tensors["qkv.weight"], 3)
    q, k, v = (
        (x_HWC @ weight.T + bias).reshape(height, width, heads, -1)
        for weight, bias in ((q_weight, tensors["q_bias"]), (k_weight, 0.0), (v_weight, tensors["v_bias"]))
    )
    q, k = (part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (q, k))
    scale = np.minimum(np.exp(tensors["logit_scale"][:, 0, 0]), 100)
    places = [(row, column) for row in range(height) for column in range(width)]

    def window_of(place):
        return [(at - shift) // side for at, shift, side in zip(place, shifts, sides, strict=True)]

    def bias(one, other):
        offsets = [8 * (p - o) / max(side - 1, 1) for p, o, side in zip(one, other, sides, strict=True)]
        coordinates = np.array([np.sign(r) * np.log2(1 + abs(r)) / 3 for r in offsets])
        hidden = np.maximum(tensors["cpb_mlp.0.weight"] @ coordinates + tensors["cpb_mlp.0.bias"], 0)
        return 16 / (1 + np.exp(-tensors["cpb_mlp.2.weight"] @ hidden))

    mixed = np.zeros((height, width, heads, channels // heads))
    for place in places:
        seen = [other for other in places if window_of(other) == window_of(place)]
        logits = np.stack([(q[place] * k[other]).sum(-1) * scale + bias(place, other) for other in seen])
        shares = np.exp(logits - logits.max(0))
        shares /= shares.sum(0)
        mixed[place] = sum(share[:, None] * v[other] for share, other in zip(shares, seen, strict=True))
    return mixed.reshape(height, width, channels) @ tensors["proj.weight"].T + tensors["proj.bias"]


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"),
    [(8, 12, 4, 0), (8, 12, 4, 2), (4, 8, 4, 2), (3, 8, 4, 2), (8, 1, 4, 2), (6, 6, 3, 1)],
)
@torch.no_grad()
def test_attention_equals_a_loop_over_tokens(height, width, window, shift):
    block = randomised(SwinTransformerV2Block(8, 2, window=window, shift=shift))
    x = torch.randn(2, height, width, 8, generator=torch.Generator().manual_seed(1))
    found = block.attend(x)
    expected = np.stack([attention_by_hand(block, image.double().numpy()) for image in x])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_block_normalises_what_it_adds():
    block = randomised(SwinTransformerV2Block(8, 2, window=4))
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    attended = block.attend(x)
    mean, deviation = attended.mean(-1, keepdim=True), attended.var(-1, unbiased=False, keepdim=True)
    middle = x + (attended - mean) / torch.sqrt(deviation + 1e-5) * block.norm1.weight + block.norm1.bias
    hidden = middle @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    raised = hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    mean, deviation = raised.mean(-1, keepdim=True), raised.var(-1, unbiased=False, keepdim=True)
    expected = middle + (raised - mean) / torch.sqrt(deviation + 1e-5) * block.norm2.weight + block.norm2.bias
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_coordinates_are_log_spaced():
    """Offsets of 7, 0 and -7 in a window of 8: log2(9) / 3, 0, -log2(9) / 3."""
    table = log_spaced_coordinates((8, 8))
    assert table.shape == (15, 15, 2)
    assert table[[14, 7, 0], 7, 0].tolist() == pytest.approx([1.0566, 0.0, -1.0566], abs=1e-4)
    assert table[7, [14, 7, 0], 1].tolist() == pytest.approx([1.0566, 0.0, -1.0566], abs=1e-4)
    # Halfway the spacing is far from linear: log2(1 + 8 * 3 / 7) / 3.
    assert table[10, 7, 0].item() == pytest.approx(0.7157, abs=1e-4)


@torch.no_grad()
def test_a_large_logit_scale_counts_as_one_hundred():
    attention = randomised(WindowAttention(8, 2))
    x = torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(1))
    answers = []
    for value in (math.log(50), math.log(100), 10.0):
        nn.init.constant_(attention.logit_scale, value)
        answers.append(attention(x, (2, 2)))
    torch.testing.assert_close(answers[2], answers[1], rtol=1e-4, atol=1e-5)
    assert (answers[0] - answers[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 86_891_768),  # timm's swinv2_base_window8_256 as a feature extractor
        ({"width": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 16}, 27_576_618),
    ],
)
def test_parameter_counts_are_those_of_published_encoders(options, count):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in SwinV2(**options).parameters()) == count


def library_name(name: str) -> str:
    """The name in transformers' Swinv2Model of one of ours; queries, keys and values are told apart elsewhere."""
    if name.startswith("patch_embed."):
        part = "patch_embeddings.projection" if ".proj." in name else "norm"
        return f"embeddings.{part}.{name.rpartition('.')[2]}"
    _, stage, rest = name.replace("layers_", "layers.").split(".", 2)
    if rest.startswith("downsample."):
        return f"encoder.layers.{int(stage) - 1}.{rest}"
    for ours, theirs in (
        ("attn.cpb_mlp", "attention.self.continuous_position_bias_mlp"),
        ("attn.logit_scale", "attention.self.logit_scale"),
        ("attn.proj", "attention.output.dense"),
        ("norm1", "layernorm_before"),
        ("norm2", "layernorm_after"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        rest = rest.replace(ours, theirs)
    return f"encoder.layers.{stage}.{rest}"


def tensors_for_the_library(encoder: SwinV2) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, value in encoder.state_dict().items():
        kind = "weight" if name.endswith("attn.qkv.weight") else "bias"
        prefix = library_name(name.rpartition(".attn.")[0] + ".attn.").removesuffix("attn.") + "attention.self."
        if name.endswith("attn.qkv.weight"):
            parts = dict(zip(("query", "key", "value"), value.chunk(3), strict=True))
        elif name.endswith(("q_bias", "v_bias")):
            parts = {"query" if name.endswith("q_bias") else "value": value}
        else:
            tensors[library_name(name)] = value
            continue
        tensors |= {f"{prefix}{part}.{kind}": tensor for part, tensor in parts.items()}
    return tensors


@pytest.mark.parametrize("size", [64, 128])
@torch.no_grad()
def test_maps_of_all_stages_equal_those_of_transformers(size):
    """An independent SwinV2 with the same weights; at 64 pixels the window shrinks to the last map."""
    transformers = pytest.importorskip("transformers")
    depths, heads = (2, 2, 2), (1, 2, 4)
    encoder = randomised(SwinV2(width=16, depths=depths, heads=heads, window=8, drop_path=0.0))
    config = transformers.Swinv2Config(
        image_size=size, patch_size=4, embed_dim=16, depths=list(depths), num_heads=list(heads), window_size=8
    )
    library = transformers.Swinv2Model(config, add_pooling_layer=False).eval()
    missing, unexpected = library.load_state_dict(tensors_for_the_library(encoder), strict=False)
    assert unexpected == []
    assert {name for name in missing if "relative" not in name} == {"layernorm.weight", "layernorm.bias"}
    image = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = library(image, output_hidden_states=True).reshaped_hidden_states
    # The library's maps follow the merging at the end of a stage; ours precede it.
    maps = encoder(image)
    for number, stage in enumerate(list(encoder.stages)[1:]):
        merged = stage.downsample(maps[number].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(merged, expected[number + 1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(maps[-1], expected[-1], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_fresh_blocks_leave_their_tokens_as_they_are():
    encoder = SwinV2(width=16, depths=(3,), heads=(2,), window=4).eval()
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(encoder(image)[0], encoder.patch_embed(image).permute(0, 3, 1, 2))


def test_depth_is_dropped_by_whole_samples_and_more_of_it_later():
    torch.manual_seed(0)
    kept = drop_path(torch.ones(4000, 3, 2), 0.25, True)
    assert kept.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))
    assert kept.mean().item() == pytest.approx(1.0, abs=0.05)
    encoder = SwinV2(width=16, depths=(1, 2), heads=(1, 1), drop_path=0.2)
    rates = [block.drop_path for block in encoder.modules() if isinstance(block, SwinTransformerV2Block)]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_sizes_that_do_not_divide_are_refused():
    encoder = SwinV2(width=16, depths=(1, 1), heads=(1, 2), window=4)
    for image, words in (((30, 32), "tile 30 x 32"), ((32, 48), "side is 6"), ((20, 16), "side is 5")):
        with pytest.raises(ShapeError, match=words):
            encoder(torch.zeros(1, 3, *image))
    with pytest.raises(ShapeError, match="even sides"):
        encoder(torch.zeros(1, 3, 12, 12))
    with pytest.raises(ConfigurationError, match="heads"):
        SwinV2(width=16, depths=(1, 1), heads=(1,))
    with pytest.raises(ConfigurationError, match="multiple of the heads"):
        SwinTransformerV2Block(16, 3)


@pytest.mark.parametrize("merging_last", [False, True])
def test_classifier_files_of_either_age_give_the_encoder(merging_last):
    encoder = randomised(SwinV2(width=16, depths=(1, 1, 1), heads=(1, 1, 2)))
    published = {"norm.weight": torch.ones(64), "head.weight": torch.ones(10, 64)}
    for name, value in encoder.state_dict().items():
        stage = name.split(".")[0].removeprefix("layers_")
        if stage.isdigit():
            number = int(stage) - (merging_last and ".downsample." in name)
            name = name.replace(f"layers_{stage}", f"layers.{number}")
        published[name] = value
    published["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(64, 64)
    found = encoder_tensors(published)
    assert found.keys() == encoder.state_dict().keys()
    assert all(
        found[name] is not None and torch.equal(found[name], value) for name, value in encoder.state_dict().items()
    )
