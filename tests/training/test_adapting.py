"""Networks made ready for other data: classes, sizes, and the weights of another training."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from tiny import TinyClassifier, TinyConfig

from swath.errors import ConfigurationError, WeightsMismatch
from swath.models.classify.lwganet import LWGANet, LWGANetConfig
from swath.models.classify.lwganet_backbone import BackboneConfig
from swath.models.classify.resnet import ResNetClassifier, ResNetConfig
from swath.models.classify.rsmamba import RSMamba, RSMambaConfig
from swath.models.classify.vit import VisionTransformer, VisionTransformerConfig
from swath.models.inputs import imagenet_rgb
from swath.models.outputs import ClassificationOutput
from swath.models.pretrain.image_statistics import image_statistics
from swath.models.published import read_tensors
from swath.models.recipe import Recipe
from swath.models.segment.effnet_unetpp import effnet_unetpp_b0
from swath.models.store import load_model, save_model
from swath.nn.vit import TransformerShape
from swath.training.adapting import (
    head_of,
    recipe_for_count,
    recipe_from_weights,
    start_from,
    with_classes,
    with_size,
)
from swath.training.layers import layer_scales

TWO, THREE = ("land", "water"), ("forest", "road", "river")
RECIPE = Recipe(epochs=1, batch_size=32, learning_rate=1e-3)


def residual(classes=TWO) -> ResNetClassifier:
    output = ClassificationOutput(classes=classes)
    return ResNetClassifier(
        ResNetConfig(input=imagenet_rgb(), output=output, blocks=(1, 1, 1, 1), widths=(4, 4, 8, 8), stem="small")
    )


def mamba(classes=TWO) -> RSMamba:
    spec, output = imagenet_rgb(window=32, fixed_size=True), ClassificationOutput(classes=classes)
    return RSMamba(RSMambaConfig(input=spec, output=output, layers=2, width=16))


def light(classes=TWO) -> LWGANet:
    spec = imagenet_rgb(window=96, multiple_of=32, fixed_size=True)
    backbone = BackboneConfig(width=16, depths=(1, 1, 1, 1))
    return LWGANet(
        LWGANetConfig(input=spec, output=ClassificationOutput(classes=classes), backbone=backbone, head_width=24)
    )


def transformer(classes=TWO) -> VisionTransformer:
    shape = TransformerShape(width=16, layers=2, heads=2)
    spec, output = imagenet_rgb(window=32, fixed_size=True), ClassificationOutput(classes=classes)
    return VisionTransformer(VisionTransformerConfig(input=spec, output=output, shape=shape))


@pytest.mark.parametrize(("build", "head"), [(residual, "fc"), (mamba, "head"), (light, "head"), (transformer, "head")])
def test_weights_of_another_data_set_are_taken_over_but_for_the_head(build, head, tmp_path):
    """The usual transfer, as tools do it that drop the last layer by its name."""
    source, model = build(TWO), build(THREE)
    fresh = {name: value.clone() for name, value in model.network.state_dict().items()}
    found = start_from(model, load_model(save_model(source, tmp_path / "source")), origin="source")
    assert set(found.fresh) == {f"{head}.weight", f"{head}.bias"}
    assert f"2 fresh ({head}." in found.summary()
    for name, value in model.network.state_dict().items():
        expected = fresh if name.startswith(f"{head}.") else source.network.state_dict()
        assert torch.equal(value, expected[name]), name


def test_a_head_for_the_same_number_of_other_classes_stays_fresh_and_one_for_the_same_classes_does_not(tmp_path):
    stored = load_model(save_model(residual(TWO), tmp_path / "source"))
    other = residual(("a", "b"))
    before = other.network.fc.weight.clone()
    assert start_from(other, stored, origin="source").fresh == ("fc.weight", "fc.bias")
    assert torch.equal(other.network.fc.weight, before)
    same = residual(TWO)
    assert start_from(same, stored, origin="source").fresh == ()
    assert torch.equal(same.network.fc.weight, stored.model.network.fc.weight)


def test_files_are_read_under_our_names_and_under_the_published_ones(tmp_path):
    source, model = mamba(TWO), mamba(THREE)
    ours = save_model(source, tmp_path / "source") / "model.safetensors"
    assert len(start_from(model, read_tensors(ours), origin="ours").fresh) == 2
    assert torch.equal(model.network.backbone.position, source.network.backbone.position)
    published = {
        name.replace("backbone.position", "backbone.pos_embed")
        .replace("patch_embedding", "patch_embed")
        .replace(".mixer.", ".")
        .replace("token_norm", "ln1")
        .replace("pooled_norm", "ln2"): value.clone()
        for name, value in source.network.state_dict().items()
        if not name.startswith("head.")
    }
    renamed = {}
    for name, value in published.items():
        parts = name.split(".")
        renamed[f"backbone.gate_layers.{parts[2]}.0.{parts[-1]}" if ".gate." in name else name] = value
    save_file(renamed, tmp_path / "published.safetensors")
    again = mamba(THREE)
    found = start_from(again, read_tensors(tmp_path / "published.safetensors"), origin="published")
    assert set(found.fresh) == {"head.weight", "head.bias"}
    assert torch.equal(again.network.backbone.position, source.network.backbone.position)


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path):
    model = residual()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    stored = load_model(save_model(mamba(), tmp_path / "other"))
    with pytest.raises(WeightsMismatch, match="other is a RSMamba and the model to train a ResNetClassifier"):
        start_from(model, stored, origin="other")
    wide = ResNetClassifier(
        ResNetConfig(
            input=imagenet_rgb(), output=ClassificationOutput(classes=TWO), blocks=(1, 1, 1, 1), widths=(8, 8, 8, 8)
        )
    )
    with pytest.raises(WeightsMismatch, match=r"of another shape; give weights of the same network, size and bands"):
        start_from(model, load_model(save_model(wide, tmp_path / "wide")), origin="wide")
    with pytest.raises(WeightsMismatch, match="does not hold the weights of ResNetClassifier"):
        start_from(model, {"unknown": torch.zeros(1)}, origin="x.pth")
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())


def test_the_head_is_what_changes_with_the_classes():
    assert head_of(image_statistics()) == frozenset()
    with torch.device("meta"):
        found = head_of(effnet_unetpp_b0())
    assert not found  # two classes on one channel


def test_a_network_for_other_classes_or_another_size_is_the_same_otherwise():
    model = mamba(TWO)
    assert with_classes(model, TWO) is model
    assert with_classes(model, THREE).config.layers == model.config.layers
    assert with_classes(model, THREE).classes == THREE
    larger = with_size(model, 64)
    assert larger.network(torch.zeros(1, 3, 64, 64)).shape == (1, 2)
    assert with_size(model, 32) is model
    with pytest.raises(ConfigurationError, match="takes no other image size"):
        with_size(TinyClassifier(TinyConfig()), 64)


def test_early_layers_learn_a_tenth_as_fast_when_they_know_something():
    model = residual()
    recipe = recipe_from_weights(RECIPE, model)
    scales = layer_scales(model, decay=recipe.layer_decay)
    assert min(scales.values()) == pytest.approx(0.1)
    assert scales["network.fc.weight"] == 1
    own = Recipe(epochs=1, batch_size=1, learning_rate=1, layer_decay=0.65)
    assert recipe_from_weights(own, model) is own


@pytest.mark.parametrize(
    ("samples", "batch", "accumulate"), [(10_000, 32, 32), (1024, 32, 32), (100, 32, 4), (5, 5, 1)]
)
def test_no_step_sees_more_samples_than_there_are(samples, batch, accumulate):
    recipe = recipe_for_count(Recipe(epochs=1, batch_size=32, learning_rate=1, accumulate=32), samples)
    assert (recipe.batch_size, recipe.accumulate) == (batch, accumulate)
    assert recipe.steps_per_epoch(samples) == -(-samples // (batch * accumulate))
