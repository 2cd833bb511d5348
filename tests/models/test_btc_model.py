"""BTC under the contract of all models, and every acceptance check of its description that can be run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import ModelContract
from torch.nn import functional

from swath.errors import ConfigurationError, DataError, WeightsMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.metrics.change import ChangeMetric
from swath.models.change.btc import (
    BTC,
    BTC_INPUT,
    BTCConfig,
    btc_base,
    btc_recipe,
    btc_small,
    btc_tiny,
    change_losses,
    load_encoder,
)
from swath.models.outputs import SegmentationOutput
from swath.models.published import load_published
from swath.samples.batch import Batch
from swath.samples.rasters import CHANGE_CLASSES, ClassMap
from swath.training.schedule import learning_rate_at

TENSORS = json.loads((Path(__file__).parents[1] / "parity/btc/meta.json").read_text())["tensors"]
TWO_MAPS = SegmentationOutput(classes=CHANGE_CLASSES)


def small(**options) -> BTC:
    """A narrow network with windows of 3, without chance in training."""
    shape = {"width": 8, "depths": (1, 2, 1, 1), "heads": (1, 1, 2, 2), "window": 3, "head_width": 8, "drop_path": 0.0}
    torch.manual_seed(0)
    return BTC(BTCConfig(**{**shape, **options}))


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """Give every tensor, statistics and tables of position included, values that tell it from any other."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = 0.1 * torch.randn(tensor.shape, generator=generator)
            tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return network.eval()


def change_map(labels) -> ClassMap:
    array = np.asarray(labels, dtype=np.uint8)
    return ClassMap(size=Size(*array.shape), labels=array, classes=CHANGE_CLASSES)


def pair(*, count: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(2, count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return images[0], images[1]


def batch_of(before, after, labels=None) -> Batch:
    targets = None if labels is None else tuple(map(change_map, labels))
    return Batch(images={"before": before, "after": after}, targets=targets)


class TestContract(ModelContract):
    counts: ClassVar = {"tiny": (btc_tiny, 58_941_627), "base": (btc_base, 120_119_929)}
    published_names: ClassVar = {name: tuple(shape) for name, shape in TENSORS.items()}
    published_builder = staticmethod(btc_tiny)

    def small(self) -> BTC:
        return small()

    def targets(self, count, height, width):
        labels = np.random.default_rng(0).integers(0, 2, (count, height, width))
        return tuple(map(change_map, labels))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("build", "encoder", "decoder"), [(btc_tiny, 27_520_698, 31_420_929), (btc_base, 86_880_376, 33_239_553)]
)
def test_encoder_and_head_have_the_published_counts(build, encoder, decoder):
    with torch.device("meta"):
        network = build().network
    assert (count(network.encoder), count(network.decoder), count(network)) == (encoder, decoder, encoder + decoder)


def test_the_studys_network_on_swin_s_has_the_published_count():
    with torch.device("meta"):
        assert round(btc_small().parameter_count() / 1e6, 2) == 80.26


def test_tensors_that_the_sheet_names_have_their_shapes():
    tiny = {
        "enc.backbone.embeddings.patch_embeddings.projection.weight": (96, 3, 4, 4),
        "enc.backbone.encoder.layers.0.blocks.0.attention.self.query.weight": (96, 96),
        "enc.backbone.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table": (169, 3),
        "enc.backbone.hidden_states_norms.stage1.weight": (96,),
        "dec.psp_modules.3.1.conv.weight": (512, 768, 1, 1),
        "dec.bottleneck.conv.weight": (512, 2816, 3, 3),
        "dec.fpn_bottleneck.conv.weight": (512, 2048, 3, 3),
        "dec.classifier.weight": (1, 512, 1, 1),
    }
    base = {
        "enc.backbone.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table": (529, 4),
        "dec.bottleneck.conv.weight": (512, 3072, 3, 3),
    }
    with torch.device("meta"):
        for build, named in ((btc_tiny, tiny), (btc_base, base)):
            own = build().network.state_dict()
            for name, shape in named.items():
                (ours,) = BTC.remap_state_dict({name: torch.empty(shape)})
                assert tuple(own[ours].shape) == shape, name


def test_maps_and_scores_have_the_published_shapes():
    with torch.device("meta"):
        network = btc_tiny().network.eval()
        maps = network.encoder(torch.zeros(2, 3, 256, 256))
        scores = network(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256))
    assert [tuple(map_.shape) for map_ in maps] == [(2, 96, 64, 64), (2, 192, 32, 32), (2, 384, 16, 16), (2, 768, 8, 8)]
    assert tuple(scores.shape) == (1, 1, 256, 256)


@torch.no_grad()
def test_equal_dates_give_one_value_inside_whatever_they_show():
    network = shaken(small().network)
    before, after = pair(height=256, width=256)
    first, second = network(before, before), network(after, after)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    # Convolutions see zeros beyond the border: two pixels of the coarsest map deep, 64 of the image, and a few more.
    inside = first[..., 80:176, 80:176]
    spread = float(first.max() - first.min())
    assert spread > 1e-3
    assert float(inside.max() - inside.min()) < 1e-4 * spread


@torch.no_grad()
def test_exchanged_dates_give_another_answer_unless_differences_are_absolute():
    before, after = pair(height=32, width=32)
    for difference, same in (("signed", False), ("absolute", True)):
        network = shaken(small(difference=difference).network)
        assert torch.allclose(network(before, after), network(after, before), atol=1e-5) == same


@torch.no_grad()
def test_both_dates_at_once_are_encoded_as_apart():
    encoder = shaken(small().network).encoder
    before, after = pair()
    together = encoder(torch.cat([before, after]))
    for both, first, second in zip(together, encoder(before), encoder(after), strict=True):
        torch.testing.assert_close(both, torch.cat([first, second]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_maps_are_padded_to_whole_windows_of_seven():
    """64 x 64 pixels of the first map become 70 x 70, in 10 x 10 windows; shifted windows are masked on that size."""
    encoder = small(window=7, depths=(2, 1, 1, 1)).network.encoder
    seen = []
    for block in encoder.backbone.swin.encoder.layers[0].blocks:
        block.attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    encoder(torch.randn(1, 3, 256, 256))
    (plain, no_mask), (shifted, mask) = seen
    assert plain.shape == shifted.shape == (100, 49, 8)
    assert no_mask is None
    # What was rolled to the end from the start is 3 wide: the last windows hold 4 + 3 columns (or rows) that part.
    places = torch.arange(70).view(10, 7)
    part = (places >= 67).int()
    rows, columns = part.view(10, 1, 7, 1).expand(10, 10, 7, 7), part.view(1, 10, 1, 7).expand(10, 10, 7, 7)
    groups = (2 * rows + columns).reshape(100, 49)
    expected = torch.where(groups[:, :, None] == groups[:, None, :], 0.0, -100.0)
    assert torch.equal(mask, expected)


@pytest.mark.parametrize(("window", "size"), [(12, (96, 64)), (7, (64, 160)), (7, (50, 39))])
@torch.no_grad()
def test_encoder_equals_the_other_swin_of_transformers(window, size):
    """MaskFormer's Swin bears the published names; windows of 12 are those of BTC-B."""
    from transformers.models.maskformer.configuration_maskformer_swin import MaskFormerSwinConfig
    from transformers.models.maskformer.modeling_maskformer_swin import MaskFormerSwinBackbone

    config = BTCConfig(width=16, depths=(2, 2, 2, 1), heads=(1, 2, 2, 4), window=window, head_width=8)
    theirs = shaken(
        MaskFormerSwinBackbone(
            MaskFormerSwinConfig(
                embed_dim=16,
                depths=[2, 2, 2, 1],
                num_heads=[1, 2, 2, 4],
                window_size=window,
                out_features=["stage1", "stage2", "stage3", "stage4"],
            )
        )
    )
    published = {}
    for name, tensor in theirs.state_dict().items():
        *_, layer, number, last = f"..{name}".split(".")
        norm = f"hidden_states_norms.stage{int(number) + 1}.{last}" if layer == "hidden_states_norms" else None
        published[f"enc.backbone.{norm or name.removeprefix('model.')}"] = tensor
    published = {name: tensor for name, tensor in published.items() if ".backbone.layernorm." not in name}
    network = BTC(config).network.eval()
    report = network.load_state_dict(BTC.remap_state_dict(published), strict=False)
    assert not report.unexpected_keys
    assert all(name.startswith("decoder.") for name in report.missing_keys)
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    for ours, expected in zip(network.encoder(image), theirs(image).feature_maps, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_other_sizes_are_scored_pixel_by_pixel_where_the_input_allows_them():
    model = small(input=replace(BTC_INPUT, multiple_of=1)).eval()
    (found,) = model.predict(batch_of(*pair(height=50, width=39)))
    assert found.size == Size(50, 39)


@torch.no_grad()
def test_a_pixel_changed_where_its_probability_exceeds_a_half():
    model = small().eval()
    found = {}
    for bias in (-1.0, 0.0, 1e-3):
        model.network.decoder.classifier.weight.zero_()
        model.network.decoder.classifier.bias.fill_(bias)
        (found[bias],) = model.predict(batch_of(*pair(height=32, width=32)))
    assert [int(map_.labels.max()) for map_ in found.values()] == [0, 0, 1]
    np.testing.assert_allclose(found[-1.0].confidence, 1 / (1 + np.exp(-1)), rtol=1e-6)


def losses(scores, labels, *names, ignore=255) -> dict[str, float]:
    found = change_losses(names, torch.tensor(scores, dtype=torch.float32), torch.tensor(labels), ignore=ignore)
    return {name: float(value) for name, value in found.items()}


def test_losses_by_hand():
    certain = losses([[[[20.0] * 4]]], [[[1, 1, 1, 1]]], "dice")
    assert certain["dice"] == pytest.approx(0, abs=1e-6)
    undecided = losses([[[[0.0] * 4]]], [[[1, 0, 0, 0]]], "dice", "cross_entropy", "focal")
    assert undecided["dice"] == pytest.approx(1 - (1 + 1) / (2 + 1 + 1))
    assert undecided["cross_entropy"] == pytest.approx(np.log(2))
    assert undecided["focal"] == pytest.approx(0.25 * np.log(2))
    assert losses([[[[0.0]]]], [[[1]]], "focal")["focal"] == pytest.approx(0.17329, abs=1e-5)


def test_dice_is_of_the_whole_batch_not_the_mean_over_images():
    scores = [[[[20.0, -20.0]]], [[[-20.0, -20.0]]]]
    labels = [[[1, 0]], [[1, 1]]]
    assert losses(scores, labels, "dice")["dice"] == pytest.approx(1 - (2 + 1) / (1 + 3 + 1))


def test_unknown_pixels_count_in_no_loss():
    names = ("dice", "cross_entropy", "focal")
    known = losses([[[[0.3, -0.7]]]], [[[1, 0]]], *names)
    assert losses([[[[0.3, -0.7, 9.0]]]], [[[1, 0, 255]]], *names) == pytest.approx(known)
    assert losses([[[[1.0]]]], [[[255]]], *names) == {"dice": 0.0, "cross_entropy": 0.0, "focal": 0.0}


def test_two_maps_of_scores_learn_by_the_cross_entropy_of_two_classes():
    scores = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 2, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    found = change_losses(("cross_entropy", "dice"), scores, labels)
    torch.testing.assert_close(found["cross_entropy"], functional.cross_entropy(scores, labels))
    share = scores.softmax(1)[:, 1]
    dice = 1 - (2 * (share * labels).sum() + 1) / (share.sum() + labels.sum() + 1)
    torch.testing.assert_close(found["dice"], dice)


def test_losses_have_finite_gradients_where_the_network_is_certain():
    scores = torch.tensor([[[[80.0, -80.0, 80.0, -80.0]]]], requires_grad=True)
    terms = change_losses(("dice", "cross_entropy", "focal"), scores, torch.tensor([[[1, 0, 0, 1]]]))
    sum(terms.values()).backward()
    assert bool(torch.isfinite(scores.grad).all())


def test_the_configured_losses_are_named_apart_and_added_up():
    batch = batch_of(*pair(count=2, height=32, width=32), labels=np.eye(32, dtype=np.uint8)[None].repeat(2, 0))
    assert list(small().loss(batch)) == ["dice"]
    model = small(losses=("focal", "cross_entropy"), auxiliary_width=8, output=TWO_MAPS)
    assert list(model.loss(batch)) == ["focal", "cross_entropy", "auxiliary focal", "auxiliary cross_entropy"]
    assert list(model.eval().loss(batch)) == ["focal", "cross_entropy"]


def test_an_auxiliary_head_sees_the_third_map_and_learns():
    model = small(auxiliary_width=8)
    seen = []
    model.network.auxiliary.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    terms = model.loss(batch_of(*pair(count=2), labels=np.ones((2, 64, 64))))
    terms["auxiliary dice"].backward()
    assert seen == [(2, 32, 4, 4)]
    assert bool(model.network.auxiliary[1].weight.grad.any())


def test_differences_can_be_normalised():
    network = small(difference_norm=True).network
    first, second = ([torch.randn(1, width, 4, 4) for width in (8, 16, 32, 64)] for _ in range(2))
    for found, one, other in zip(network.difference(first, second), first, second, strict=True):
        plain = one - other
        centred = plain - plain.mean(1, keepdim=True)
        torch.testing.assert_close(found, centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt())


def test_truth_is_asked_for():
    with pytest.raises(DataError, match="class map a pair; the batch of 1 has 0"):
        small().eval().loss(batch_of(*pair()))


def test_attention_is_dropped_more_with_depth_to_three_tenths():
    with torch.device("meta"):
        layers = btc_tiny().network.encoder.backbone.swin.encoder.layers
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for layer in layers for block in layer.blocks]
    np.testing.assert_allclose(rates, np.linspace(0, 0.3, 12))


def test_the_heads_start_as_published():
    network = small(head_width=64, auxiliary_width=64).network
    for convolution in (network.decoder.fpn_bottleneck.conv, network.auxiliary[0].conv):
        assert float(convolution.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not bool(network.decoder.classifier.bias.any())


def published_name(name: str) -> str:
    """The published name of one of our tensors, written independently of `remap_state_dict`."""
    parts = name.split(".")
    if parts[0] == "decoder":
        return ".".join(["dec", *parts[1:]])
    rest = parts[2:] if parts[2] == "hidden_states_norms" else parts[3:]
    words = {
        "q_proj": ["self", "query"],
        "k_proj": ["self", "key"],
        "v_proj": ["self", "value"],
        "o_proj": ["output", "dense"],
        "relative_position_bias": ["self"],
        "mlp": [],
        "fc1": ["intermediate", "dense"],
        "fc2": ["output", "dense"],
    }
    return ".".join(["enc.backbone", *(word for part in rest for word in words.get(part, [part]))])


def test_a_lightning_checkpoint_loads_with_nothing_missing(tmp_path):
    donor = small()
    published = {published_name(name): tensor for name, tensor in donor.network.state_dict().items()}
    assert "enc.backbone.encoder.layers.1.blocks.1.attention.self.relative_position_bias_table" in published
    published["enc.backbone.embeddings.mask_token"] = torch.zeros(1, 1, 8)
    published["enc.backbone.encoder.layers.0.blocks.0.attention.self.relative_position_index"] = torch.zeros(9, 9)
    torch.save({"state_dict": published, "epoch": 100, "hyper_parameters": {"lr": 1e-4}}, tmp_path / "last.ckpt")
    model = shaken(small())
    assert load_published(model, tmp_path / "last.ckpt").complete
    for name, tensor in donor.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], tensor), name


LAYOUTS = {
    "Mask2Former": "model.pixel_level_module.encoder.",
    "Mask2Former, Swin-B": "model.pixel_level_module.encoder.model.",
    "classifier": "swin.",
    "BTC": "enc.backbone.",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_encoder_starts_from_every_published_layout(layout, tmp_path):
    donor = shaken(small())
    content = {"model.pixel_level_module.decoder.encoder.layers.0.fc1.weight": torch.zeros(1), "layernorm.bias": None}
    for name, tensor in donor.network.state_dict().items():
        if name.startswith("encoder."):
            content[published_name(name).replace("enc.backbone.", LAYOUTS[layout])] = tensor
    norms = [name for name in content if "hidden_states_norms" in name]
    if layout == "classifier":
        content = {name: tensor for name, tensor in content.items() if name not in norms}
    if layout == "Mask2Former, Swin-B":
        for name in norms:
            stage = int(name.split("stage")[1][0])
            moved = name.replace("encoder.model.", "encoder.").replace(f"stage{stage}", str(stage - 1))
            content[moved] = content.pop(name)
    torch.save({name: tensor for name, tensor in content.items() if tensor is not None}, tmp_path / "swin.pth")
    model = small()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    load_encoder(model, tmp_path / "swin.pth")
    for name, tensor in model.network.state_dict().items():
        kept = name.startswith("decoder.") or (layout == "classifier" and ".hidden_states_norms." in name)
        assert torch.equal(tensor, before[name] if kept else donor.network.state_dict()[name]), name


def test_another_encoder_is_refused_and_changes_nothing(tmp_path):
    torch.save({published_name(n): t for n, t in small(window=5).network.state_dict().items()}, tmp_path / "other.pth")
    model = small()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    with pytest.raises(WeightsMismatch, match=r"5 of .*relative_position_bias_table"):
        load_encoder(model, tmp_path / "other.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"losses": ()}, "'losses'"),
        ({"losses": ("dice", "dice")}, "at most once"),
        ({"losses": ("iou",)}, "dice, cross_entropy, focal"),
        ({"difference": "squared"}, "'signed' or 'absolute'"),
        ({"heads": (3, 5, 12, 24)}, "must divide"),
        ({"drop_path": 1.0}, "below 1"),
        ({"output": SegmentationOutput(classes=("a", "b", "c"))}, "two classes"),
    ],
)
def test_meaningless_configurations_are_refused(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        BTCConfig(**fields)


def test_other_bands_get_the_mean_of_imagenets_statistics():
    with torch.device("meta"):
        model = btc_tiny(bands=("nir", "green"))
    spec = model.inputs["after"]
    assert spec.bands == ("nir", "green")
    assert spec.mean == pytest.approx(((123.675 + 116.28 + 103.53) / 3, 116.28))
    assert spec.std[1] == 57.12
    with pytest.raises(ConfigurationError, match="either"):
        btc_tiny(bands=("red",), input=BTC_INPUT)


def test_pixels_are_normalised_as_published():
    bands = tuple(Band(name=role, role=role, unit=Unit.EIGHT_BIT) for role in ("red", "green", "blue"))
    values = np.full((3, 1, 1), 51, np.uint8)
    found = BTC_INPUT.prepare(Pixels.from_array(values, bands, Unit.EIGHT_BIT))
    expected = (0.2 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-5)


@pytest.mark.parametrize("cuts", [(2,), (1, 3)])
def test_figures_are_of_all_pixels_however_they_are_batched(cuts):
    said, true = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    metric = ChangeMetric(CHANGE_CLASSES)
    for one, other in zip(np.split(said, cuts), np.split(true, cuts), strict=True):
        metric.update(change_map(one[None]), change_map(other[None]))
    figures = metric.compute()
    found = [figures[f"{kind} (class changed)"] for kind in ("precision", "recall", "F1", "IoU")]
    assert found == pytest.approx([0.5, 0.5, 0.5, 1 / 3])
    assert btc_recipe().watch in figures


def test_recipe_is_the_papers():
    recipe = btc_recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.validate_every, recipe.seed) == (100, 32, 5, 42)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.decay_everything) == (1e-4, 1e-4, True)
    assert (recipe.betas, recipe.clip_gradient_norm, recipe.precision) == ((0.9, 0.999), 0.0, "bfloat16")
    rates = [learning_rate_at(recipe, 222 * epoch, 222) for epoch in (0, 50, 99)]
    assert rates[:2] == pytest.approx([1e-4, (1e-4 + 1e-7) / 2])
    assert 1e-7 < rates[2] < 1.3e-7
    assert learning_rate_at(recipe, 222 * 50 + 221, 222) == rates[1]
