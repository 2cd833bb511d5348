"""Parts of the vision transformer against hand-worked values and torch's own layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from swath.errors import ConfigurationError, ShapeError
from swath.nn.vit import (
    Attention,
    Block,
    DropPath,
    PatchTransformer,
    TransformerShape,
    position_table,
    resize_positions,
    sincos_positions,
    start_weights,
)

SHAPE = TransformerShape(width=8, layers=2, heads=2)


def test_positions_tell_the_column_first_then_the_row():
    """Width 8: two frequencies, 1 and 1/100; sin, sin, cos, cos of the column, then of the row."""
    table = sincos_positions(3, 4, 8)[0]
    assert table.shape == (12, 8)
    row, column = 2, 3
    expected = [f(place * w) for place in (column, row) for f in (math.sin, math.cos) for w in (1.0, 0.01)]
    torch.testing.assert_close(table[row * 4 + column], torch.tensor(expected))


def test_the_class_token_has_no_fixed_position():
    table = position_table("sincos", 3, 8)
    assert table is not None
    assert not table.requires_grad
    assert bool((table[0, 0] == 0).all())
    torch.testing.assert_close(table[:, 1:].detach(), sincos_positions(3, 3, 8))


def test_a_learnt_table_is_trained():
    torch.manual_seed(0)
    table = position_table("learned", 14, 64)
    assert table is not None
    assert table.requires_grad
    assert float(table.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_widths_that_four_does_not_divide_are_refused():
    with pytest.raises(ConfigurationError, match="multiple of 4; found 6"):
        sincos_positions(2, 2, 6)


def test_attention_equals_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = Attention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.proj.weight,
            "out_proj.bias": ours.proj.bias,
        }
    )
    x, bias = torch.randn(2, 5, 12), torch.randn(3, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])
    torch.testing.assert_close(ours(x, bias[None]), theirs(x, x, x, attn_mask=bias.repeat(2, 1, 1))[0])


def test_a_block_equals_torchs_pre_norm_layer():
    torch.manual_seed(0)
    ours = Block(TransformerShape(width=12, layers=1, heads=3))
    theirs = nn.TransformerEncoderLayer(
        12, 3, 48, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    names = {
        "self_attn.in_proj_": "attn.qkv.",
        "self_attn.out_proj.": "attn.proj.",
        "linear1.": "mlp.fc1.",
        "linear2.": "mlp.fc2.",
        "norm1.": "norm1.",
        "norm2.": "norm2.",
    }
    own = ours.state_dict()
    theirs.load_state_dict({a + end: own[b + end] for a, b in names.items() for end in ("weight", "bias")})
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(x), theirs(x))


def test_dropped_paths_keep_the_mean_and_drop_whole_images():
    torch.manual_seed(0)
    dropped = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert bool((dropped == dropped[:, :1, :1]).all())
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.03)
    with pytest.raises(ConfigurationError, match="found 1"):
        DropPath(1.0)


def test_positions_keep_patches_apart_and_their_absence_does_not():
    """Without positions attention knows no places: the class token of an image and of its patches shuffled agree."""
    torch.manual_seed(0)
    for kind, same in (("none", True), ("sincos", False)):
        encoder = PatchTransformer(channels=1, size=8, patch_size=4, shape=SHAPE, positions=kind)
        image = torch.randn(1, 1, 8, 8)
        swapped = image.roll(4, dims=3)
        first, second = encoder.tokens(image)[:, 0], encoder.tokens(swapped)[:, 0]
        assert torch.allclose(first, second, atol=1e-5) == same


def test_patches_that_do_not_tile_the_image_are_refused():
    with pytest.raises(ConfigurationError, match="patches of 16 pixels do not tile an image of 100"):
        PatchTransformer(channels=3, size=100, patch_size=16, shape=SHAPE)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigurationError, match="8 channels cannot be divided among 3 heads"):
        TransformerShape(width=8, layers=1, heads=3)


def test_resized_positions_equal_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(hidden_size=8, image_size=64, patch_size=16, num_attention_heads=2)
    theirs = transformers.models.vit.modeling_vit.ViTEmbeddings(config)
    table = theirs.position_embeddings.detach()
    expected = theirs.interpolate_pos_encoding(torch.zeros(1, 1 + 36, 8), 96, 96)
    torch.testing.assert_close(resize_positions(table, 6), expected.detach())
    assert resize_positions(table, 4) is table


def test_a_table_of_no_square_is_refused():
    with pytest.raises(ShapeError, match="7 rows"):
        resize_positions(torch.zeros(1, 7, 8), 3)


def test_weights_start_as_published():
    """Xavier-uniform: the largest weight is sqrt(6 / (inputs + outputs)); a patch counts as one input vector."""
    torch.manual_seed(0)
    encoder = PatchTransformer(
        channels=3, size=32, patch_size=16, shape=TransformerShape(width=64, layers=1, heads=2), positions="learned"
    )
    start_weights(encoder, style="xavier")
    patch, hidden = encoder.patch_embed.proj.weight.detach(), encoder.blocks[0].mlp.fc1.weight.detach()
    assert float(patch.abs().max()) == pytest.approx(math.sqrt(6 / (3 * 256 + 64)), rel=0.01)
    assert float(hidden.abs().max()) == pytest.approx(math.sqrt(6 / (64 + 256)), rel=0.01)
    start_weights(encoder, style="truncated")
    assert float(encoder.blocks[0].mlp.fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not bool(encoder.blocks[0].mlp.fc1.bias.any())
