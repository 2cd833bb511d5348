"""RSMamba under the contract of all models, and the acceptance checks of its sheet."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import ModelContract
from torch import nn

from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.models.classify.rsmamba import (
    MultiPathLayer,
    RSMamba,
    rsmamba,
    rsmamba_base,
    rsmamba_huge,
    rsmamba_large,
    sine_positions,
)
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.nn.selective_scan import selective_scan
from swath.samples.batch import Batch
from swath.samples.labels import Label

NWPU = tuple(f"class {number}" for number in range(45))
FIVE = ("river", "forest", "harbor", "beach", "desert")
PATH_TYPES = {
    "forward": 1,
    "forward_reverse_mean": 2,
    "forward_reverse_gate": 2,
    "forward_reverse_shuffle_mean": 3,
    "forward_reverse_shuffle_gate": 3,
}


def published_names() -> dict[str, tuple[int, ...]]:
    """The sheet's table for the base size with 45 classes."""
    names: dict[str, tuple[int, ...]] = {
        "backbone.patch_embed.projection.weight": (192, 3, 16, 16),
        "backbone.pos_embed": (1, 784, 192),
        "head.fc.weight": (45, 192),
        "head.fc.bias": (45,),
    }
    for layer in range(24):
        prefix = f"backbone.layers.{layer}."
        names |= {
            prefix + "A_log": (384, 16),
            prefix + "D": (384,),
            prefix + "in_proj.weight": (768, 192),
            prefix + "conv1d.weight": (384, 1, 4),
            prefix + "conv1d.bias": (384,),
            prefix + "x_proj.weight": (44, 384),
            prefix + "dt_proj.weight": (384, 12),
            prefix + "dt_proj.bias": (384,),
            prefix + "out_proj.weight": (192, 384),
            f"backbone.gate_layers.{layer}.0.weight": (3, 576),
        }
    for norm in ("pre_norm", "ln1", "ln2"):
        names |= {f"backbone.{norm}.weight": (192,), f"backbone.{norm}.bias": (192,)}
    return names


def small_rsmamba(**options: object) -> RSMamba:
    torch.manual_seed(0)
    spec = InputSpec(bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, window=64, overlap=0, fixed_size=True)
    return rsmamba(classes=FIVE, **({"layers": 2, "width": 32, "input": spec} | options)).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(5))


class TestRSMamba(ModelContract):
    counts: ClassVar = {
        "base": (partial(rsmamba_base, classes=NWPU), 6_385_773),
        "large": (partial(rsmamba_large, classes=NWPU), 16_252_717),
        "huge": (partial(rsmamba_huge, classes=NWPU), 33_060_845),
    }
    published_names = published_names()
    published_builder = staticmethod(partial(rsmamba_base, classes=NWPU))

    def small(self) -> RSMamba:
        return small_rsmamba()

    def targets(self, count: int, height: int, width: int) -> tuple[Label, ...]:
        return tuple(Label.of(FIVE[number], FIVE, Size(height, width)) for number in range(count))


@pytest.mark.parametrize(
    ("build", "count"), [(rsmamba_base, 6_377_088), (rsmamba_large, 16_241_152), (rsmamba_huge, 33_046_400)]
)
def test_backbone_counts_and_its_three_norms(build, count):
    with torch.device("meta"):
        backbone = build(classes=NWPU).network.backbone
    assert sum(parameter.numel() for parameter in backbone.parameters()) == count
    assert sum(isinstance(module, nn.LayerNorm) for module in backbone.modules()) == 3
    assert len(backbone.layers) in (24, 36, 48)


def test_the_corner_is_padded_with_eight_pixels_of_zeros():
    embedding = rsmamba(classes=FIVE, layers=1, width=32).network.backbone.patch_embedding
    nn.init.ones_(embedding.projection.weight)
    with torch.no_grad():
        sums = embedding(torch.ones(1, 3, 224, 224))
    assert sums.shape == (1, 784, 32)
    expected = torch.full((28, 28), 16.0 * 16 * 3)
    expected[-1] /= 2
    expected[:, -1] /= 2
    torch.testing.assert_close(sums[0].reshape(28, 28, 32), expected[..., None].expand(-1, -1, 32))


@torch.no_grad()
def test_patches_follow_one_another_row_by_row():
    embedding = small_rsmamba().network.backbone.patch_embedding
    picture = images(1)
    token = embedding(picture)[0, 2 * 8 + 5]
    patch = picture[0, :, 16:32, 40:56]
    torch.testing.assert_close(token, (embedding.projection.weight * patch).sum((1, 2, 3)), rtol=1e-4, atol=1e-4)


def layer_of(path_type: str) -> MultiPathLayer:
    return small_rsmamba(layers=1, path_type=path_type).network.backbone.layers[0]


def tokens(count: int = 2, length: int = 20) -> torch.Tensor:
    return torch.randn(count, length, 32, generator=torch.Generator().manual_seed(7))


def paths_one_by_one(layer: MultiPathLayer, x: torch.Tensor, order: torch.Tensor, paths: int) -> list[torch.Tensor]:
    """The whole mixer over each sequence, every result back in the order of the tokens."""
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    results = [layer.mixer(x), layer.mixer(x.flip(1)).flip(1), layer.mixer(x[:, order])[:, back]]
    return results[:paths]


@pytest.mark.parametrize("path_type", PATH_TYPES)
@torch.no_grad()
def test_shared_projections_give_what_three_whole_passes_give(path_type):
    layer, x = layer_of(path_type), tokens()
    nn.init.normal_(layer.mixer.D)
    if layer.gate is not None:
        nn.init.normal_(layer.gate.weight)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    results = paths_one_by_one(layer, x, order, PATH_TYPES[path_type])
    if path_type.endswith("gate"):
        assert layer.gate is not None
        scores = torch.cat([result.mean(1) for result in results], 1) @ layer.gate.weight.T
        shares = scores.exp() / scores.exp().sum(1, keepdim=True)
        assert shares.min() < 0.9 / len(results)
    else:
        shares = torch.full((2, len(results)), 1 / len(results))
    expected = sum(shares[:, number, None, None] * result for number, result in enumerate(results))
    answer = layer(x, order if "shuffle" in path_type else None)
    assert (answer - expected).abs().max() < 1e-5
    assert answer.abs().max() > 1e-2


@torch.no_grad()
def test_gate_shares_sum_to_one_and_without_weights_are_equal():
    layer, x = layer_of("forward_reverse_shuffle_gate"), tokens()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    inner = torch.randn(3, 2, 20, 64, generator=torch.Generator().manual_seed(2))
    nn.init.normal_(layer.gate.weight)
    shares = layer.shares(inner)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    assert (shares - 1 / 3).abs().max() > 0.01
    nn.init.zeros_(layer.gate.weight)
    mean = sum(paths_one_by_one(layer, x, order, 3)) / 3
    torch.testing.assert_close(layer(x, order), mean, rtol=0, atol=1e-5)


@torch.no_grad()
def test_palindromic_tokens_stay_palindromic_where_both_directions_are_averaged():
    backbone = small_rsmamba(path_type="forward_reverse_mean").network.backbone
    nn.init.zeros_(backbone.position)
    half = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(3))
    patches = torch.cat([half, half.flip(1)], 1)
    backbone.patch_embedding.forward = lambda image: patches
    answer = backbone.tokens(images(1))
    torch.testing.assert_close(answer, answer.flip(1), rtol=0, atol=1e-5)
    one_way = layer_of("forward")(patches, None)
    assert (one_way - one_way.flip(1)).abs().max() > 1e-2


@torch.no_grad()
def test_identity_as_permutation_makes_the_shuffled_path_the_forward_path():
    layer, x = layer_of("forward_reverse_shuffle_mean"), tokens()
    answer = layer(x, torch.arange(20))
    expected = (2 * layer.mixer(x) + layer.mixer(x.flip(1)).flip(1)) / 3
    torch.testing.assert_close(answer, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_one_seed_always_gives_the_same_logits_and_another_gives_others():
    state = small_rsmamba().network.state_dict()
    answers = {}
    for seed in (0, 0, 1):
        model = small_rsmamba(permutation_seed=seed)
        model.network.load_state_dict(state)
        answer = model.network(images())
        assert torch.equal(answer, model.network(images()))
        assert torch.equal(answer, answers.setdefault(seed, answer))
    assert not torch.equal(answers[0], answers[1])


@torch.no_grad()
def test_published_permutations_differ_from_call_to_call_and_so_do_those_of_training():
    for model in (small_rsmamba(permutation="published"), small_rsmamba().train()):
        assert not torch.equal(model.network(images()), model.network(images()))


def test_every_layer_has_its_own_permutation_of_all_tokens():
    backbone = small_rsmamba().network.backbone
    orders = [backbone.order(layer, 64, torch.device("cpu")) for layer in range(2)]
    assert all(torch.equal(order.sort().values, torch.arange(64)) for order in orders)
    assert not torch.equal(*orders)


@torch.no_grad()
def test_a_source_of_permutations_is_asked_by_layer_and_length():
    model = small_rsmamba()
    asked = []

    def source(layer: int, length: int) -> torch.Tensor:
        asked.append((layer, length))
        return torch.arange(length)

    before = model.network(images())
    model.network.backbone.permutation_source = source
    assert not torch.equal(model.network(images()), before)
    assert asked == [(0, 64), (1, 64)]


def test_scan_equals_the_hand_case():
    """E = 1, N = 1, A = -1, steps of ln 2, B = C = 1, D = 0, u = (1, 0)."""
    u, one = torch.tensor([[[1.0], [0.0]]]), torch.ones(1, 2, 1)
    y = selective_scan(u, torch.full((1, 2, 1), math.log(2)), -torch.ones(1, 1), one, one, torch.zeros(1))
    assert y.flatten().tolist() == pytest.approx([0.693147, 0.346574], abs=1e-6)


@pytest.mark.parametrize("path_type", PATH_TYPES)
@torch.no_grad()
def test_every_path_type_runs_with_its_gate(path_type):
    model = small_rsmamba(path_type=path_type)
    gates = [tuple(value.shape) for name, value in model.network.state_dict().items() if "gate" in name]
    paths = PATH_TYPES[path_type]
    assert gates == ([(paths, 32 * paths)] * 2 if path_type.endswith("gate") else [])
    assert model.network(images()).isfinite().all()


@pytest.mark.parametrize("position", ["learned", "sine", "none"])
@pytest.mark.parametrize(
    ("class_token", "places"),
    [("none", []), ("head", [0]), ("tail", [64]), ("head_tail", [0, 65]), ("middle", [32])],
)
@torch.no_grad()
def test_class_tokens_stand_in_their_places_and_are_what_is_pooled(class_token, places, position):
    backbone = small_rsmamba(class_token=class_token, position=position).network.backbone
    patches = torch.zeros(1, 64, 32)
    if position == "sine":
        patches = patches - sine_positions(8, 32)
    elif position == "learned":
        assert backbone.position.shape == (1, 64 + len(places), 32)
        nn.init.zeros_(backbone.position)
    placed = backbone.place(patches)
    assert placed.shape == (1, 64 + len(places), 32)
    assert placed.abs().sum(2).nonzero()[:, 1].tolist() == places
    assert [torch.equal(placed[0, place], backbone.class_tokens[0, i]) for i, place in enumerate(places)] == [
        True
    ] * len(places)
    assert backbone.tokens(images()).shape == (2, 64 + len(places), 32)
    if places:
        numbered = torch.arange(64.0 + len(places))[None, :, None].expand(1, -1, 32)
        assert backbone.pool(numbered).unique().tolist() == [sum(places) / len(places)]


@torch.no_grad()
def test_learned_positions_are_added_to_the_patches():
    backbone = small_rsmamba().network.backbone
    assert torch.equal(backbone.place(torch.zeros(3, 64, 32)), backbone.position.expand(3, -1, -1))


def test_sine_positions_are_sines_and_cosines_of_row_and_column():
    table = sine_positions(8, 32)[0, 3 * 8 + 5]
    for k in range(8):
        step = 10_000 ** (-k / 8)
        expected = [math.sin(3 * step), math.cos(3 * step), math.sin(5 * step), math.cos(5 * step)]
        assert table[k::8].tolist() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ConfigurationError, match="multiple of 4"):
        sine_positions(8, 30)


def test_an_input_of_any_size_is_refused():
    config = small_rsmamba().config
    with pytest.raises(ConfigurationError, match="fixed_size"):
        RSMamba(replace(config, input=replace(config.input, fixed_size=False)))


def label_batch(names: tuple[str, ...], classes: tuple[str, ...]) -> Batch:
    targets = tuple(Label.of(name, classes, Size(8, 8)) for name in names)
    return Batch(images={"image": torch.zeros(len(names), 3, 8, 8)}, targets=targets)


def test_smoothed_loss_of_even_logits_is_the_logarithm_of_the_classes():
    output = ClassificationOutput(classes=("a", "b"), label_smoothing=0.1)
    loss = output.loss(torch.zeros(1, 2), label_batch(("a",), ("a", "b")))["cross_entropy"]
    assert loss.item() == pytest.approx(math.log(2))


def test_smoothing_leaves_the_true_class_of_45_the_weight_of_the_sheet():
    logits = torch.zeros(1, 45, requires_grad=True)
    output = rsmamba(classes=NWPU, layers=1, width=32).config.output
    output.loss(logits, label_batch(("class 7",), NWPU))["cross_entropy"].backward()
    weights = 1 / 45 - logits.grad[0]  # the gradient is softmax minus weight
    assert weights[7].item() == pytest.approx(0.902222, abs=1e-6)
    assert weights[[0, 44]].tolist() == pytest.approx([0.1 / 45] * 2, abs=1e-6)


def test_the_mean_over_orientations_does_not_see_how_the_image_is_turned():
    torch.manual_seed(0)
    model = small_rsmamba().eval()
    model.config = replace(model.config, orientations=8)
    image = torch.randn(1, 3, 64, 64)
    turned = [view for k in range(4) for view in (image.rot90(k, (2, 3)), image.rot90(k, (2, 3)).flip(3))]
    scores = [model.predict(Batch(images={"image": view}, keys=("a",)))[0].scores for view in turned]
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-6)
    # The plain mean of the eight answers, worked out one by one.
    answers = torch.cat([model.network(view).softmax(1) for view in turned])
    np.testing.assert_allclose(scores[0], answers.mean(0).detach().numpy(), atol=1e-6)
