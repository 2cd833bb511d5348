"""ViT classifiers under the contract of all models, and beside the ViT of transformers with the same weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest
import torch
from contract import ModelContract
from vit_names import encoder_names, in_transformers, linear, norm

from swath.errors import ConfigurationError, WeightsMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.models.classify.vit import (
    VisionTransformer,
    VisionTransformerConfig,
    start_from,
    vit_base_16,
    vit_huge_14,
    vit_large_16,
    vit_recipe,
)
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.pretrain.mae import MaskedAutoencoder, MaskedAutoencoderConfig
from swath.models.published import load_published
from swath.nn.vit import TransformerShape, resize_positions
from swath.samples.labels import Label
from swath.training.layers import layer_scales

THOUSAND = tuple(f"class {number}" for number in range(1000))
TWO = ("land", "water")
SHAPE = TransformerShape(width=16, layers=2, heads=2)


def published_names() -> dict[str, tuple[int, ...]]:
    """timm's vit_base_patch16_224."""
    encoder = encoder_names(width=768, layers=12, patches=196, patch_size=16)
    return {**encoder, **norm("norm", 768), **linear("head", 768, 1000)}


class TestContract(ModelContract):
    counts: ClassVar = {
        "vit_base_16": (partial(vit_base_16, classes=THOUSAND), 86_567_656),
        "vit_large_16": (partial(vit_large_16, classes=THOUSAND), 304_326_632),
        "vit_huge_14": (partial(vit_huge_14, classes=THOUSAND), 632_045_800),
    }
    published_names: ClassVar = published_names()
    published_builder = staticmethod(partial(vit_base_16, classes=THOUSAND))

    def size(self):
        return 32, 32

    def small(self) -> VisionTransformer:
        return small()

    def targets(self, count, height, width):
        return tuple(Label.of(TWO[number % 2], TWO, Size(height, width)) for number in range(count))


def spec(window: int = 32) -> InputSpec:
    return InputSpec(
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        mean=(127.5,),
        std=(60.0,),
        window=window,
        overlap=0,
        fixed_size=True,
    )


def small(*, window: int = 32, **changes) -> VisionTransformer:
    return VisionTransformer(
        VisionTransformerConfig(
            **{
                "input": spec(window),
                "output": ClassificationOutput(classes=TWO),
                "patch_size": 8,
                "shape": SHAPE,
                "drop_path": 0.1,
                **changes,
            }
        )
    )


def livened(model: VisionTransformer | MaskedAutoencoder) -> None:
    """Draw weights large enough that every layer matters."""
    torch.manual_seed(1)
    for parameter in model.network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_features_and_logits_equal_those_of_transformers(pool):
    transformers = pytest.importorskip("transformers")
    ours = small(pool=pool).eval()
    livened(ours)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    theirs = transformers.ViTModel(config, add_pooling_layer=False).eval()
    tensors = {name: value.detach() for name, value in ours.network.state_dict().items()}
    head, bias = tensors.pop("head.weight"), tensors.pop("head.bias")
    own_norm = {kind: tensors.pop(f"fc_norm.{kind}", torch.ones(16)) for kind in ("weight", "bias")}
    if pool == "mean":
        tensors |= {"norm.weight": torch.ones(16), "norm.bias": torch.zeros(16)}
    theirs.load_state_dict(in_transformers(tensors), strict=True)
    # Without the library's last norm: it stands behind the pooling here.
    kept = theirs.layernorm
    theirs.layernorm = torch.nn.Identity() if pool == "mean" else kept
    batch = TestContract().batch(ours)
    with torch.inference_mode():
        tokens = theirs(batch.images["image"]).last_hidden_state
        if pool == "mean":
            feature = torch.nn.functional.layer_norm(
                tokens[:, 1:].mean(1), (16,), own_norm["weight"], own_norm["bias"], eps=1e-6
            )
        else:
            feature = tokens[:, 0]
        torch.testing.assert_close(ours.embed(batch), feature, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours(batch), feature @ head.T + bias, rtol=1e-4, atol=1e-5)


def wrapped(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone.", "encoder."])
def test_checkpoints_load_whatever_wraps_their_names(tmp_path, prefix):
    model = small()
    published = {name: torch.randn_like(value) for name, value in model.network.state_dict().items()}
    torch.save({"model": wrapped(published, prefix)}, tmp_path / "checkpoint.pth")
    assert load_published(model, tmp_path / "checkpoint.pth").complete
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, published[name]), name


def test_projectors_beside_a_wrapped_backbone_are_left_out():
    tensors = {"module.backbone.cls_token": torch.zeros(1), "module.head.mlp.0.weight": torch.zeros(1)}
    assert list(VisionTransformer.remap_state_dict(tensors)) == ["cls_token"]


def test_a_masked_autoencoder_hands_its_encoder_on():
    """FireRisk's road: pre-training without labels, then a head on the mean of the patches."""
    mae = MaskedAutoencoder(
        MaskedAutoencoderConfig(
            input=spec(), patch_size=8, encoder=SHAPE, decoder=TransformerShape(width=12, layers=1, heads=3)
        )
    ).eval()
    livened(mae)
    model = small(pool="mean").eval()
    head = model.network.head.weight.detach().clone()
    report = start_from(model, mae.network.state_dict())
    assert sorted(report.missing) == ["fc_norm.bias", "fc_norm.weight", "head.bias", "head.weight"]
    assert torch.equal(model.network.head.weight, head)
    image = TestContract().batch(model).images["image"]
    with torch.inference_mode():
        torch.testing.assert_close(model.network.tokens(image), mae.network.tokens(image))


def test_positions_of_another_image_size_are_interpolated():
    before, after = small(), small(window=48)
    livened(before)
    start_from(after, before.network.state_dict())
    expected = resize_positions(before.network.pos_embed.detach(), 6)
    torch.testing.assert_close(after.network.pos_embed.detach(), expected)
    assert torch.equal(after.network.get_submodule("norm").weight, before.network.get_submodule("norm").weight)


def test_weights_of_another_transformer_are_refused_and_nothing_changes():
    model = small()
    kept = {name: value.clone() for name, value in model.network.state_dict().items()}
    wider = small(shape=TransformerShape(width=32, layers=2, heads=2))
    shallow = small(shape=TransformerShape(width=16, layers=1, heads=2))
    for other, message in ((wider, "of another shape"), (shallow, "12 tensors missing")):
        with pytest.raises(WeightsMismatch, match=message):
            start_from(model, other.network.state_dict())
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, kept[name])


def test_learning_rates_fall_with_depth_as_in_maes_fine_tuning():
    """Layer 0 is patches and tokens, layer i block i - 1, the last norm and head: decay ** (layers + 1 - i)."""
    scales = layer_scales(small(pool="mean"), vit_recipe().layer_decay)
    expected = {
        "cls_token": 0.65**3,
        "pos_embed": 0.65**3,
        "patch_embed.proj.weight": 0.65**3,
        "blocks.0.attn.qkv.weight": 0.65**2,
        "blocks.1.mlp.fc2.bias": 0.65,
        "fc_norm.weight": 1.0,
        "head.weight": 1.0,
    }
    for name, scale in expected.items():
        assert scales[f"network.{name}"] == pytest.approx(scale), name


def test_recipe_keeps_what_firerisk_tells():
    recipe = vit_recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.watch) == (100, 32, "accuracy")
    assert recipe.learning_rate == pytest.approx(5e-4 * 32 / 256)


def test_branches_are_dropped_in_training_alone():
    model = small(drop_path=0.5)
    batch = TestContract().batch(model, count=16)
    torch.manual_seed(0)
    with torch.no_grad():
        assert not torch.equal(model(batch), model(batch))
        model.eval()
        assert torch.equal(model(batch), model(batch))


def test_fixed_positions_are_not_trained():
    model = small(positions="sincos")
    assert [name for name, p in model.network.named_parameters() if not p.requires_grad] == ["pos_embed"]


def test_another_image_size_needs_another_model():
    with pytest.raises(ConfigurationError, match="fixed_size=True"):
        small(input=replace(spec(), fixed_size=False))
