"""LWGANet's classifier under the contract of all models, its parts, and every acceptance check of its description."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from contract import ModelContract
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from swath.errors import ConfigurationError, ShapeError, WeightsMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.models.classify.lwganet import (
    LWGANet,
    LWGANetConfig,
    lwganet,
    lwganet_l0,
    lwganet_l1,
    lwganet_l2,
    lwganet_recipe,
)
from swath.models.classify.lwganet_backbone import (
    L0,
    L1,
    L2,
    Backbone,
    BackboneConfig,
    Block,
    Blur,
    SelfAttention,
    SparseConvolution,
    SparseSelfAttention,
    StripAttention,
    check_input,
    load_backbone,
    published_size,
    shear,
    unshear,
)
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.published import load_published
from swath.models.store import save_model
from swath.samples.batch import Batch
from swath.samples.labels import Label
from swath.training.schedule import learning_rate_at

TENSORS = json.loads((Path(__file__).parents[1] / "parity/lwganet/meta.json").read_text())["tensors"]
NWPU = tuple(f"class {number}" for number in range(45))
THOUSAND = tuple(f"class {number}" for number in range(1000))
TWO = ("land", "water")
LAST = "stages.6.blocks.1.GA4.qkv.weight"
TINY = BackboneConfig(width=16, depths=(1, 1, 1, 1))


def spec(**options) -> InputSpec:
    return InputSpec(
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        **{"window": 96, "overlap": 0, "multiple_of": 32, "fixed_size": True} | options,
    )


def small(**options) -> LWGANet:
    torch.manual_seed(0)
    return LWGANet(
        LWGANetConfig(
            **{
                "input": spec(),
                "output": ClassificationOutput(classes=TWO),
                "backbone": TINY,
                "head_width": 24,
            }
            | options
        )
    )


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestContract(ModelContract):
    counts: ClassVar = {
        "L0": (partial(lwganet_l0, classes=NWPU), 1_717_423),
        "L1": (partial(lwganet_l1, classes=NWPU), 5_906_975),
        "L2": (partial(lwganet_l2, classes=NWPU), 13_040_667),
        "L0, ImageNet-1k": (partial(lwganet_l0, classes=THOUSAND), 2_940_778),
        "L1, ImageNet-1k": (partial(lwganet_l1, classes=THOUSAND), 7_130_330),
        "L2, ImageNet-1k": (partial(lwganet_l2, classes=THOUSAND), 14_264_022),
    }
    published_names: ClassVar = {
        name: tuple(shape) for part in ("backbone-l0", "head-l0") for name, shape in TENSORS[part].items()
    }
    published_builder = staticmethod(partial(lwganet_l0, classes=NWPU))

    def small(self) -> LWGANet:
        return small()

    def size(self) -> tuple[int, int]:
        return 96, 96

    def targets(self, count: int, height: int, width: int) -> tuple[Label, ...]:
        return tuple(Label.of(TWO[number % 2], TWO, Size(height, width)) for number in range(count))


def test_published_names_are_those_of_the_sheet():
    """The shapes that the description states for L0."""
    names = TENSORS["backbone-l0"] | TENSORS["head-l0"]
    stated = {
        "Stem.proj.weight": [32, 3, 4, 4],
        "stages.0.blocks.0.MRA.max_m2.filt": [8, 1, 4, 4],
        "stages.0.blocks.0.MRA.H_att1.weight": [8, 1, 11, 3],
        "stages.0.blocks.0.MRA.V_att2.weight": [8, 1, 3, 11],
        "stages.4.blocks.3.GA3.attn.qkv.weight": [96, 32],
        "avgpool_pre_head.1.weight": [1280, 256, 1, 1],
    }
    assert {name: names[name] for name in stated} == stated


@pytest.mark.parametrize(("config", "count"), [(L0, 1_333_058), (L2, 12_002_862)])
def test_dense_backbones_have_the_published_counts(config, count):
    with torch.device("meta"):
        backbone = Backbone(config, channels=3, dense=True)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == count


@pytest.mark.parametrize("config", [L0, L1, L2])
def test_maps_of_256_pixels_have_the_published_shapes(config):
    with torch.device("meta"):
        maps = Backbone(config, channels=3, dense=True)(torch.zeros(2, 3, 256, 256))
    width = config.width
    shapes = [(2, width * 2**stage, 64 // 2**stage, 64 // 2**stage) for stage in range(4)]
    assert [tuple(map_.shape) for map_ in maps] == shapes


@pytest.mark.parametrize("side", [224, 800, 1024])
def test_sides_that_the_description_says_work_do(side):
    with torch.device("meta"):
        assert lwganet_l0(classes=NWPU).network(torch.zeros(1, 3, side, side)).shape == (1, 45)


@pytest.mark.parametrize("sides", [(64, 64), (240, 240), (600, 600), (96, 128), (128, 96)])
def test_other_sides_are_refused_with_what_was_found(sides):
    with (
        torch.device("meta"),
        pytest.raises(ShapeError, match=rf"square .* multiple of 32 .* 96 .* found {sides[0]} x {sides[1]}"),
    ):
        Backbone(TINY, channels=3, dense=False)(torch.zeros(1, 3, *sides))


def test_a_model_of_free_size_refuses_rectangles_too():
    model = small(input=spec(fixed_size=False)).eval()
    batch = Batch(images={"image": torch.zeros(2, 3, 128, 96)}, keys=("a", "b"))
    with pytest.raises(ShapeError, match="square"):
        model.predict(batch)
    assert len(model.predict(Batch(images={"image": torch.zeros(1, 3, 128, 128)}, keys=("a",)))) == 1


@pytest.mark.parametrize("options", [{"multiple_of": 16}, {"window": 240}, {"window": 64}])
def test_inputs_that_could_not_work_are_refused(options):
    with pytest.raises(ConfigurationError, match="multiple_of"):
        check_input(spec(**options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 12}, "multiple of 8; found 12"),
        ({"depths": (1, 1, 1)}, "four stages"),
        ({"depths": (1, 0, 1, 1)}, "four stages"),
        ({"activation": "silu"}, "'gelu' or 'relu'"),
        ({"drop_path": 1.0}, "below 1"),
    ],
)
def test_sizes_outside_their_range_are_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        BackboneConfig(**{"width": 16, "depths": (1, 1, 1, 1)} | options)


def test_variants_go_by_their_names():
    assert [published_size(name) for name in ("L0", "L1", "L2")] == [L0, L1, L2]
    with pytest.raises(ConfigurationError, match="L0, L1, L2; found 'L3'"):
        lwganet(classes=TWO, variant="L3")


def test_shear_moves_each_row_by_its_number():
    sheared = shear(torch.tensor([[[[1, 2], [3, 4]]]]))
    assert sheared[0, 0].tolist() == [[1, 2, 0], [0, 3, 4]]
    assert unshear(sheared)[0, 0].tolist() == [[1, 2], [3, 4]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_shear_puts_every_pixel_where_its_row_says_and_unshear_undoes_it(height, width, seed):
    map_ = noise(2, 3, height, width, seed=seed)
    sheared = shear(map_)
    assert sheared.shape == (2, 3, height, width + height - 1)
    for row in range(height):
        assert torch.equal(sheared[:, :, row, row : row + width], map_[:, :, row])
    torch.testing.assert_close(sheared.sum(), map_.sum())
    assert torch.equal(unshear(sheared), map_)


@pytest.mark.parametrize(("before", "after"), [(56, 19), (28, 10), (14, 5), (7, 3)])
def test_blur_takes_every_third_pixel_and_keeps_a_constant(before, after):
    blurred = Blur()(torch.full((1, 2, before, before), 3.5))
    assert blurred.shape == (1, 2, after, after) == (1, 2, math.ceil(before / 3), math.ceil(before / 3))
    torch.testing.assert_close(blurred, torch.full_like(blurred, 3.5))


def test_blur_of_one_bright_pixel_is_its_row_of_the_kernel():
    map_ = torch.zeros(1, 1, 6, 6)
    map_[0, 0, 4, 4] = 64.0
    # Windows of four start at pixels -1 and 2; the bright pixel is the third of the second window.
    assert Blur()(map_)[0, 0].tolist() == [[0.0, 0.0], [0.0, 9.0]]


@pytest.mark.parametrize(
    ("part", "step"), [("tall", (1, 0)), ("wide", (0, 1)), ("tall_sheared", (1, -1)), ("wide_sheared", (1, -1))]
)
@torch.no_grad()
def test_an_impulse_spreads_along_each_strip(part, step):
    """Down, to the right, or along the rising diagonal, eleven pixels long and cut off by the border."""
    strips = StripAttention(1)
    for name in ("tall", "wide", "tall_sheared", "wide_sheared"):
        nn.init.zeros_(getattr(strips, name).weight)
    kernel = getattr(strips, part).weight[0, 0]
    middle = kernel[:, 1] if kernel.shape == (11, 3) else kernel[1]
    middle.fill_(1.0)
    map_ = torch.zeros(1, 1, 15, 15)
    map_[0, 0, 4, 7] = 1.0
    places = {(4 + k * step[0], 7 + k * step[1]) for k in range(-5, 6)}
    expected = torch.zeros(15, 15)
    for row, column in places:
        if 0 <= row < 15 and 0 <= column < 15:
            expected[row, column] = 1.0
    torch.testing.assert_close(strips.scores(map_)[0, 0], expected)


def whole_parts() -> list[nn.Module]:
    torch.manual_seed(0)
    return [SparseConvolution(8, "gelu").eval(), SparseSelfAttention(8).eval()]


@pytest.mark.parametrize("number", [0, 1])
@torch.no_grad()
def test_only_the_strongest_quarter_of_the_positions_is_answered(number):
    map_ = noise(2, 8, 6, 6)
    answer = whole_parts()[number](map_)
    cells = (answer != 0).reshape(2, 8, 3, 2, 3, 2).sum((3, 5))
    assert int(cells.max()) == 1
    assert (answer != 0).float().mean() <= 0.25
    largest = nn.functional.max_pool2d(map_, 2)
    enlarged = nn.functional.interpolate(largest, scale_factor=2, mode="nearest")
    assert bool((map_ == enlarged)[answer != 0].all())


@torch.no_grad()
def test_attention_equals_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(12), nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
    theirs.in_proj_weight.copy_(ours.qkv.weight)
    theirs.out_proj.weight.copy_(ours.project.weight)
    map_ = noise(2, 12, 3, 3)
    tokens = map_.reshape(2, 12, 9).transpose(1, 2)
    expected, _ = theirs(tokens, tokens, tokens)
    torch.testing.assert_close(ours(map_), expected.transpose(1, 2).reshape(2, 12, 3, 3))


def test_a_dropped_branch_still_adds_the_offset_of_the_norm():
    block = Block(16, 0, "gelu", 0.999)
    nn.init.constant_(block.norm.bias, 3.0)
    torch.manual_seed(0)
    map_ = noise(2, 16, 24, 24)
    torch.testing.assert_close(block.train()(map_), map_ + 3.0)


def test_branches_are_dropped_more_with_depth():
    with torch.device("meta"):
        backbone = Backbone(L2, channels=3, dense=False)
    shares = [block.drop_path.share for stage in backbone.stages for block in stage]
    assert shares == pytest.approx([0.01 * number for number in range(11)])


def test_first_weights_are_those_of_the_description():
    torch.manual_seed(0)
    backbone = Backbone(L0, channels=3, dense=False)
    kernels = [module for module in backbone.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    values = torch.cat([kernel.weight.detach().flatten() for kernel in kernels])
    assert values.std().item() == pytest.approx(0.02, rel=0.01)
    assert not any(bool(kernel.bias.any()) for kernel in kernels if kernel.bias is not None)


@torch.no_grad()
def test_published_weights_load_whole_and_nested(tmp_path):
    donor = small(backbone=L0, head_width=1280).network
    published = {
        name: torch.zeros(shape) for part in ("backbone-l0", "head-l0") for name, shape in TENSORS[part].items()
    }
    published |= {"head.weight": noise(2, 1280), "head.bias": noise(2), "Stem.proj.weight": noise(32, 3, 4, 4)}
    torch.save({"model": published}, tmp_path / "published.pth")
    model = lwganet_l0(classes=TWO)
    report = load_published(model, tmp_path / "published.pth")
    assert report.complete
    assert report.renamed["Stem.proj.weight"] == "backbone.stem.projection.weight"
    assert torch.equal(model.network.backbone.stem.projection.weight, published["Stem.proj.weight"])
    assert model.network.state_dict().keys() == donor.state_dict().keys()


@pytest.mark.parametrize("prefix", ["", "backbone."])
@torch.no_grad()
def test_a_published_backbone_starts_a_dense_one(tmp_path, prefix):
    shapes = TENSORS["backbone-l0"]
    published = {prefix + name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    published[prefix + LAST] = noise(192, 64)
    published["head.weight"] = torch.zeros(5, 5)
    torch.save({"state_dict": published}, tmp_path / "published.pth")
    backbone = Backbone(L0, channels=3, dense=True)
    norms = {name: value.clone() for name, value in backbone.norms.state_dict().items()}
    load_backbone(backbone, tmp_path / "published.pth")
    assert torch.equal(backbone.stages[3][1].whole.qkv.weight, published[prefix + LAST])
    assert all(torch.equal(value, norms[name]) for name, value in backbone.norms.state_dict().items())


def test_weights_saved_by_us_start_a_backbone_and_those_of_another_size_do_not(tmp_path):
    model = small()
    weights = save_model(model, tmp_path / "model") / "model.safetensors"
    backbone = Backbone(TINY, channels=3, dense=True)
    load_backbone(backbone, weights)
    assert torch.equal(backbone.stages[0][0].mlp.expand.weight, model.network.backbone.stages[0][0].mlp.expand.weight)
    other = Backbone(BackboneConfig(width=24, depths=(1, 1, 1, 1)), channels=3, dense=True)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(WeightsMismatch, match=r"first stem\.projection\.weight"):
        load_backbone(other, weights)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_recipe_is_that_of_the_appendix():
    recipe = lwganet_recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay, recipe.seed) == (300, 64, 0.05, 1234)
    rates = [learning_rate_at(recipe, step, 100) for step in (0, 200, 29_999)]
    assert rates == pytest.approx([1e-7, 1e-4, 1e-6], rel=1e-3)
