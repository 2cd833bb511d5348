"""EfficientNet U-Net++ as a model: configuration, inputs, loss, prediction, loading of published weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from swath.errors import ConfigurationError, ShapeError, WeightsMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.metrics.segmentation import SegmentationMetric
from swath.models.outputs import PointOutput, SegmentationOutput
from swath.models.published import load_published
from swath.models.segment import effnet_unetpp
from swath.models.segment.effnet_unetpp import (
    MASSACHUSETTS_INPUT,
    EfficientNetUnetPlusPlus,
    EfficientNetUnetPlusPlusConfig,
    adapt_input_bands,
    effnet_unetpp_b0,
    effnet_unetpp_recipe,
    load_encoder,
    remap_state_dict,
)
from swath.models.segment.unetpp import UnetPlusPlus
from swath.models.store import load_model, save_model
from swath.samples.batch import Batch
from swath.samples.rasters import ClassMap
from swath.samples.vectors import Points

SMALL = {"decoder_channels": (16, 8, 8, 8, 8)}
COVER = SegmentationOutput(classes=("land", "water", "wood"))
TREES = PointOutput(classes=("tree",), sigma=1.5, minimum_distance=3.0, threshold=0.3)


# Counts of the reference library: encoder, decoder, total.
PUBLISHED = {
    "b0": (4_007_548, 2_561_888, 6_569_581),
    "b1": (6_513_184, 2_561_888, 9_075_217),
    "b2": (7_700_994, 2_700_160, 10_401_299),
    "b3": (10_696_232, 2_928_416, 13_624_793),
    "b4": (17_548_616, 3_264_352, 20_813_113),
    "b5": (28_340_784, 3_569_152, 31_910_081),
    "b6": (40_735_704, 3_929_280, 44_665_129),
    "b7": (63_786_960, 4_376_448, 68_163_553),
}


def building_batch(*, images: torch.Tensor | None = None) -> Batch:
    generator = np.random.default_rng(0)
    targets = tuple(
        ClassMap(
            size=Size(32, 32),
            labels=generator.integers(0, 2, (32, 32), dtype=np.uint8),
            classes=("background", "building"),
        )
        for _ in range(2)
    )
    if images is None:
        images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images={"image": images}, targets=targets, keys=("a", "b"))


def seeded(**options: object) -> EfficientNetUnetPlusPlus:
    torch.manual_seed(0)
    return effnet_unetpp_b0(**SMALL, **options)


@pytest.mark.parametrize("output", [COVER, TREES, effnet_unetpp.BUILDINGS])
def test_configuration_survives_json(output):
    config = EfficientNetUnetPlusPlusConfig(encoder="b2", output=output, deep_supervision=True, inference="L2")
    adapter = TypeAdapter(EfficientNetUnetPlusPlusConfig)
    assert adapter.validate_json(adapter.dump_json(config)) == config


@pytest.mark.parametrize(
    "fields",
    [
        {"inference": "L1"},
        {"drop_connect": 1.0},
        {"decoder_channels": (16, 8, 8, 8, 0)},
        {"input": replace(MASSACHUSETTS_INPUT, multiple_of=16)},
    ],
)
def test_meaningless_configurations_are_refused(fields):
    with pytest.raises(ConfigurationError):
        EfficientNetUnetPlusPlusConfig(**fields)


def test_pixels_are_scaled_to_minus_one_to_one():
    bands = tuple(Band(name=role, role=role, unit=Unit.EIGHT_BIT) for role in ("red", "green", "blue"))
    values = np.array([0.0, 127.5, 255.0], np.float32)[:, None, None]
    scaled = MASSACHUSETTS_INPUT.prepare(Pixels.from_array(values, bands, Unit.EIGHT_BIT))
    assert scaled.flatten().tolist() == [-1.0, 0.0, 1.0]


def test_builders_name_the_bands_once():
    model = seeded(bands=("red", "green", "blue", "nir"))
    assert model.inputs["image"].bands == ("red", "green", "blue", "nir")
    assert model.network.encoder.stem.conv.in_channels == 4
    with pytest.raises(ConfigurationError, match="either"):
        effnet_unetpp_b0(bands=("red",), input=MASSACHUSETTS_INPUT)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("variant", PUBLISHED)
def test_parameter_counts_are_the_published_ones(variant):
    with torch.device("meta"):
        model = getattr(effnet_unetpp, f"effnet_unetpp_{variant}")()
    network = model.network
    assert model.config.encoder == variant
    assert (count(network.encoder), count(network.decoder), count(network)) == PUBLISHED[variant]
    assert count(network.head) == 145
    assert {entry.name: entry.parameters for entry in model.card().variants}[variant] == count(network)


def test_batches_of_other_sizes_are_refused():
    with pytest.raises(ShapeError, match="multiples of 32"):
        seeded().loss(Batch(images={"image": torch.zeros(1, 3, 48, 32)}))


def test_loss_with_deep_supervision_is_the_mean_over_the_nested_networks():
    model = seeded(deep_supervision=True, drop_connect=0.0).train()
    batch = building_batch()
    terms = model.loss(batch)
    answers = model.network.forward_levels(batch.images["image"], (1, 2, 3, 4))
    each = [model.config.output.loss(answer, batch) for answer in answers]
    assert set(terms) == {"cross_entropy", "dice"}
    for name, value in terms.items():
        assert value.item() == pytest.approx(sum(term[name].item() for term in each) / 4, rel=1e-5)
    sum(terms.values()).backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in model.network.ds_heads.values())


@torch.no_grad()
def test_accurate_prediction_is_the_mean_probability_and_pruned_ones_are_single():
    batch = building_batch()
    models = {name: seeded(deep_supervision=True, inference=name).eval() for name in ("accurate", "L1", "L4")}
    maps = {name: model.predict(batch)[1] for name, model in models.items()}
    answers = models["accurate"].network.forward_levels(batch.images["image"], (1, 2, 3, 4))
    building = [torch.sigmoid(answer[1, 0]).numpy() for answer in answers]
    expected = {"accurate": np.mean(building, axis=0), "L1": building[0], "L4": building[3]}
    for name, share in expected.items():
        assert isinstance(maps[name], ClassMap)
        np.testing.assert_allclose(maps[name].confidence, np.maximum(share, 1 - share), atol=1e-5)
        assert np.array_equal(models[name].score_maps(batch)[1].decided().labels, maps[name].labels)
        certain = np.abs(share - 0.5) > 1e-5
        assert np.array_equal(maps[name].labels[certain], (share > 0.5)[certain])


@torch.no_grad()
def test_accurate_prediction_of_several_classes_averages_the_softmax():
    model = seeded(deep_supervision=True, output=COVER).eval()
    batch = building_batch()
    answers = model.network.forward_levels(batch.images["image"], (1, 2, 3, 4))
    share = torch.stack([answer.softmax(1) for answer in answers]).mean(0)
    predicted = model.predict(batch)
    assert predicted[0].classes == COVER.classes
    np.testing.assert_allclose(predicted[0].confidence, share[0].max(0).values.numpy(), atol=1e-5)


@torch.no_grad()
def test_untrained_centres_start_rare():
    torch.manual_seed(0)
    model = EfficientNetUnetPlusPlus(EfficientNetUnetPlusPlusConfig(encoder="b0", output=TREES, deep_supervision=True))
    biases = [model.network.head.bias, *(head.bias for head in model.network.ds_heads.values())]
    assert [torch.sigmoid(bias).item() for bias in biases] == pytest.approx([0.1] * 4)
    assert all(isinstance(points, Points) for points in model.eval().predict(building_batch()))
    assert model.score_maps(building_batch()) is None
    assert model.merge_rule == TREES.merge_rule


@torch.no_grad()
def test_saved_models_predict_the_same(tmp_path):
    model = seeded(output=COVER, deep_supervision=True).eval()
    stored = load_model(save_model(model, tmp_path / "cover"))
    batch = building_batch()
    assert stored.model.config == model.config
    for before, after in zip(model.predict(batch), stored.model.predict(batch), strict=True):
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-6)


def test_library_checkpoints_load_with_nothing_missing(tmp_path):
    model = seeded(drop_connect=0.0)
    published = {library_name(name): tensor for name, tensor in model.network.state_dict().items()}
    assert {"encoder._conv_stem.weight", "encoder._blocks.1._se_expand.bias"} <= set(published)
    assert {"decoder.blocks.x_0_4.conv2.1.running_var", "segmentation_head.0.bias"} <= set(published)
    published["encoder._fc.weight"] = torch.zeros(1000, 1280)
    torch.save({"state_dict": published}, tmp_path / "library.pth")
    torch.manual_seed(1)
    other = effnet_unetpp_b0(**SMALL)
    report = load_published(other, tmp_path / "library.pth")
    assert report.complete
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name]), name


@torch.no_grad()
def test_a_published_encoder_starts_the_encoder_alone(tmp_path):
    donor = seeded()
    published = {
        library_name(name).removeprefix("encoder."): tensor
        for name, tensor in donor.network.state_dict().items()
        if name.startswith("encoder.") and not name.endswith("num_batches_tracked")
    }
    torch.save(published | {"_fc.bias": torch.zeros(1000)}, tmp_path / "encoder.pth")
    torch.manual_seed(1)
    model = effnet_unetpp_b0(**SMALL, bands=("red", "green", "blue", "nir"))
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    with pytest.raises(WeightsMismatch, match="band_sources"):
        load_encoder(model, tmp_path / "encoder.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())

    load_encoder(model, tmp_path / "encoder.pth", band_sources=(0, 1, 2, 0))
    after = model.network.state_dict()
    expected = adapt_input_bands(donor.network.state_dict(), (0, 1, 2, 0))
    assert all(torch.equal(after[name], expected[name]) for name in after if name.startswith("encoder."))
    assert all(torch.equal(after[name], before[name]) for name in after if not name.startswith("encoder."))


def library_name(name: str) -> str:
    """The library's name of one of our tensors, written independently of `remap_state_dict`."""
    parts = name.split(".")
    if parts[0] == "head":
        return ".".join(["segmentation_head", "0", *parts[1:]])
    if parts[0] == "decoder":
        _, _, node, conv, layer, last = parts
        return f"decoder.blocks.{node}.{conv}.{'0' if layer == 'conv' else '1'}.{last}"
    layers = {
        ("stem", "conv"): "_conv_stem",
        ("stem", "norm"): "_bn0",
        ("head", "conv"): "_conv_head",
        ("head", "norm"): "_bn1",
        ("expand", "conv"): "_expand_conv",
        ("expand", "norm"): "_bn0",
        ("depthwise", "conv"): "_depthwise_conv",
        ("depthwise", "norm"): "_bn1",
        ("squeeze", "reduce"): "_se_reduce",
        ("squeeze", "expand"): "_se_expand",
        ("project", "conv"): "_project_conv",
        ("project", "norm"): "_bn2",
    }
    layer = layers[parts[-3], parts[-2]]
    block = [f"_blocks.{parts[2]}"] if parts[1] == "blocks" else []
    return ".".join(["encoder", *block, layer, parts[-1]])


def test_an_encoder_alone_is_recognised_and_unknown_names_stay_visible():
    one = torch.zeros(1)
    names = [
        "_conv_stem.weight",
        "_blocks.3._bn1.bias",
        "_bn1.running_mean",
        "_conv_head.weight",
        "_fc.bias",
        "x",
    ]
    assert list(remap_state_dict(dict.fromkeys(names, one))) == [
        "encoder.stem.conv.weight",
        "encoder.blocks.3.depthwise.norm.bias",
        "encoder.head.norm.running_mean",
        "encoder.head.conv.weight",
        "x",
    ]


@torch.no_grad()
def test_kernels_for_other_bands_answer_like_the_published_ones():
    torch.manual_seed(0)
    rgb = UnetPlusPlus(variant="b0").eval()
    state = rgb.state_dict()
    grey = torch.randn(1, 1, 32, 32)
    expected = rgb.encoder.stem(grey.expand(1, 3, 32, 32))
    for sources in ((None,), (None, None), (0, 1, 2, 0, 1, 2)):
        other = UnetPlusPlus(variant="b0", in_channels=len(sources)).eval()
        other.load_state_dict(adapt_input_bands(state, sources))
        answer = other.encoder.stem(grey.expand(1, len(sources), 32, 32))
        torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)


def test_kernels_are_adapted_from_three_bands_only():
    kernels = {"encoder.stem.conv.weight": torch.zeros(32, 4, 3, 3)}
    with pytest.raises(WeightsMismatch, match="4 bands"):
        adapt_input_bands(kernels, (0, 1, 2))
    with pytest.raises(WeightsMismatch, match="none"):
        adapt_input_bands({}, (0, 1, 2))
    with pytest.raises(ConfigurationError, match="3"):
        adapt_input_bands({"encoder.stem.conv.weight": torch.zeros(32, 3, 3, 3)}, (0, 3))


def test_recipe_is_the_sheets():
    recipe = effnet_unetpp_recipe()
    assert (recipe.epochs, recipe.batch_size) == (100, 8)
    assert (recipe.learning_rate, recipe.minimum_learning_rate, recipe.weight_decay) == (1e-4, 0.0, 1e-4)
    assert not recipe.decay_everything
    said, true = (
        ClassMap(size=Size(1, 2), labels=[row], classes=("background", "building")) for row in ([0, 1], [1, 1])
    )
    metric = SegmentationMetric(said.classes)
    metric.update(said, true)
    assert metric.compute()[recipe.watch] == 0.5
