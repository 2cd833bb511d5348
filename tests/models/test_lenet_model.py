"""LENet under the contract of all models, and the acceptance checks of its sheet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import ModelContract
from torch import nn

from swath.errors import ConfigurationError, ShapeError, WeightsMismatch
from swath.geometry.windows import Size, plan_windows
from swath.models.change.lenet import (
    PUBLISHED_SCHEDULES,
    LENet,
    LENetConfig,
    lenet,
    lenet_recipe,
    load_encoder,
    slide_starts,
)
from swath.models.change.lenet_decoder import (
    DifferenceWeighting,
    FeaturePyramid,
    Pair,
    SqueezeFusion,
    difference_weights,
    exchange_layers,
)
from swath.models.inputs import imagenet_rgb
from swath.nn.swin_v2 import SwinTransformerV2Block
from swath.samples.batch import Batch
from swath.samples.rasters import CHANGE_CLASSES, ClassMap

WIDTHS, DEPTHS, HEADS, CHANNELS = (128, 256, 512, 1024), (2, 2, 18, 2), (4, 8, 16, 32), 256


def norm(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": (width,) for name in names} | {f"{prefix}.num_batches_tracked": ()}


def block_names(prefix: str, width: int, heads: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}.attn.logit_scale": (heads, 1, 1),
        f"{prefix}.attn.q_bias": (width,),
        f"{prefix}.attn.v_bias": (width,),
        f"{prefix}.attn.cpb_mlp.0.weight": (512, 2),
        f"{prefix}.attn.cpb_mlp.0.bias": (512,),
        f"{prefix}.attn.cpb_mlp.2.weight": (heads, 512),
        f"{prefix}.attn.qkv.weight": (3 * width, width),
        f"{prefix}.attn.proj.weight": (width, width),
        f"{prefix}.attn.proj.bias": (width,),
        f"{prefix}.mlp.fc1.weight": (4 * width, width),
        f"{prefix}.mlp.fc1.bias": (4 * width,),
        f"{prefix}.mlp.fc2.weight": (width, 4 * width),
        f"{prefix}.mlp.fc2.bias": (width,),
        **{f"{prefix}.norm{number}.{part}": (width,) for number in (1, 2) for part in ("weight", "bias")},
    }


def weighting_names(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    names: dict[str, tuple[int, ...]] = {}
    for date in ("convA", "convB"):
        for number in (1, 2):
            names[f"{prefix}.{date}.conv{number}.weight"] = (width, width, 3, 3)
            names |= norm(f"{prefix}.{date}.bn{number}", width)
    return names


def head_names(prefix: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}.convs.0.conv.weight": (256, 512, 3, 3),
        **norm(f"{prefix}.convs.0.bn", 256),
        f"{prefix}.conv_seg.weight": (2, 256, 1, 1),
        f"{prefix}.conv_seg.bias": (2,),
    }


def published_names() -> dict[str, tuple[int, ...]]:
    """The sheet's list, spelt out; the tensor of the unused backbone and a table of timm's are to be dropped."""
    names: dict[str, tuple[int, ...]] = {
        "backbone.patch_embed.projection.weight": (96, 3, 4, 4),
        "model.model.layers_0.blocks.1.attn.relative_position_index": (64, 64),
        "model.model.patch_embed.proj.weight": (128, 3, 4, 4),
        "model.model.patch_embed.proj.bias": (128,),
        "model.model.patch_embed.norm.weight": (128,),
        "model.model.patch_embed.norm.bias": (128,),
        **weighting_names("model.rwe.0", 128),
    }
    for stage, (width, depth, heads) in enumerate(zip(WIDTHS, DEPTHS, HEADS, strict=True)):
        layer = f"model.model.layers_{stage}"
        for block in range(depth):
            names |= block_names(f"{layer}.blocks.{block}", width, heads)
        if stage:
            names[f"{layer}.downsample.reduction.weight"] = (width, 2 * width)
            names |= {f"{layer}.downsample.norm.{part}": (width,) for part in ("weight", "bias")}
        names |= weighting_names(f"model.rwe.{stage + 1}", width)
    for date in "AB":
        for stage, width in enumerate(WIDTHS):
            for kind, shape in (("lateral", (CHANNELS, width, 1, 1)), ("fpn", (CHANNELS, CHANNELS, 3, 3))):
                prefix = f"model.fpn{date}.{kind}_convs.{stage}.conv"
                names |= {f"{prefix}.weight": shape, f"{prefix}.bias": (CHANNELS,)}
        for level, heads in enumerate(HEADS, start=1):
            for block in (0, 1):
                names |= block_names(f"model.decode_layers{date}.{level}.blocks.{block}", CHANNELS, heads)
            channel = f"model.channel{date}.{level}"
            names |= {
                f"{channel}.conv1.conv.weight": (32, 512, 1, 1),
                f"{channel}.conv1.conv.bias": (32,),
                f"{channel}.conv2.conv.weight": (512, 32, 1, 1),
                f"{channel}.conv2.conv.bias": (512,),
                f"{channel}.conv3.conv.weight": (256, 512, 1, 1),
                **norm(f"{channel}.conv3.bn", 256),
            }
    for level in (1, 2, 3):
        names |= weighting_names(f"model.re_weight{level}", CHANNELS)
    heads = ("decode_head", "auxiliary_head.0", "auxiliary_head.1")
    return names | {name: shape for head in heads for name, shape in head_names(head).items()}


def small_config(*, size: int = 64, **options: object) -> LENetConfig:
    return LENetConfig(
        **(
            {
                "input": imagenet_rgb(window=size, overlap=16, fixed_size=True),
                "width": 16,
                "depths": (1, 1, 1, 1),
                "heads": (1, 2, 2, 4),
                "window": 4,
                "drop_path": 0.0,
                "pyramid_channels": 32,
                "decoder_heads": (1, 2, 2, 4),
                "head_channels": 16,
            }
            | options
        )
    )


def small_lenet(**options: object) -> LENet:
    """A narrow LENet of which every part does something.

    Published encoder blocks start as the identity, and the few units of narrow gates may all be dead.
    """
    torch.manual_seed(0)
    model = LENet(small_config(**options))
    for module in model.network.modules():
        if isinstance(module, SqueezeFusion):
            nn.init.ones_(module.reduce.bias)
    for module in model.network.encoder.modules():
        if isinstance(module, SwinTransformerV2Block):
            nn.init.normal_(module.norm1.weight, 1.0, 0.2)
            nn.init.normal_(module.norm2.weight, 1.0, 0.2)
    return model.eval()


def class_map(labels: np.ndarray) -> ClassMap:
    return ClassMap(size=Size(*labels.shape), labels=labels.astype(np.uint8), classes=CHANGE_CLASSES)


def pair_batch(size: int = 64, *, labels: np.ndarray | None = None, count: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(3)
    images = {slot: torch.randn(count, 3, size, size, generator=generator) for slot in ("before", "after")}
    targets = None if labels is None else tuple(class_map(labels) for _ in range(count))
    return Batch(images=images, targets=targets, keys=tuple(map(str, range(count))))


class TestContract(ModelContract):
    counts: ClassVar = {"lenet": (lenet, 168_063_726)}
    published_names: ClassVar = published_names()
    published_builder = staticmethod(lenet)

    def small(self) -> LENet:
        return small_lenet()

    def targets(self, count: int, height: int, width: int) -> tuple[ClassMap, ...]:
        generator = np.random.default_rng(0)
        return tuple(class_map(generator.integers(0, 2, (height, width))) for _ in range(count))


@pytest.fixture(scope="module")
def full() -> LENet:
    """The published size without memory for its weights."""
    with torch.device("meta"):
        return lenet().eval()


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_every_part_has_the_published_count(full):
    network = full.network
    body = (
        network.encoder,
        network.encoder_weighting,
        network.pyramid_before,
        network.pyramid_after,
        network.decoder,
    )
    assert count(*body) == 164_521_704
    assert count(network.head) == 1_180_674
    assert count(network.auxiliary_heads) == 2_361_348


def test_maps_and_logits_have_the_published_shapes(full):
    pair = [torch.empty(1, 3, 256, 256, device="meta") for _ in range(2)]
    maps = full.network.change_maps(*pair)
    assert [tuple(found.shape) for found in maps] == [(1, 512, 32, 32), (1, 512, 64, 64), (1, 512, 64, 64)]
    heads = (*full.network.auxiliary_heads, full.network.head)
    logits = [tuple(head(found).shape) for head, found in zip(heads, maps, strict=True)]
    assert logits == [(1, 2, 32, 32), (1, 2, 64, 64), (1, 2, 64, 64)]


def some_map(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 16, 5, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("factor", "weight"), [(1.0, 0.07233), (3.0, 0.07233), (-1.0, 0.53445)])
def test_maps_that_are_equal_or_opposite_have_the_published_weights(factor, weight):
    """Equal: s = t = 1 - σ(1) = 0.26894; opposite: 1 - σ(-1)."""
    weights = difference_weights(some_map(), factor * some_map())
    torch.testing.assert_close(weights, torch.full_like(weights, weight), rtol=0, atol=1e-5)


def test_weights_are_the_product_of_both_cosines():
    before, after = some_map().double().numpy(), some_map(1).double().numpy()

    def difference(dims: tuple[int, ...]) -> np.ndarray:
        lengths = [np.sqrt((x**2).sum(dims, keepdims=True)) for x in (before, after)]
        cosine = (before * after).sum(dims, keepdims=True) / (lengths[0] * lengths[1])
        return 1 - 1 / (1 + np.exp(-cosine))

    expected = difference((1,)) * difference((2, 3))
    found = difference_weights(some_map(), some_map(1)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (found > 0.07).all()
    assert (found < 0.5345).all()
    assert np.unique(found[0, :, 0, 0]).size > 1
    assert np.unique(found[0, 0]).size > 1


@torch.no_grad()
def test_a_block_without_branch_adds_the_positive_weighted_map():
    weighting = DifferenceWeighting(16).eval()
    for block in (weighting.before, weighting.after):
        nn.init.zeros_(block.bn2.weight)
    pair = Pair(before=some_map(), after=some_map(1))
    found, weights = weighting(pair), difference_weights(pair.before, pair.after)
    torch.testing.assert_close(found.before, pair.before + (pair.before * weights).clamp(min=0))
    torch.testing.assert_close(found.after, pair.after + (pair.after * weights).clamp(min=0))


def test_exchanging_twice_gives_back_the_levels():
    levels = [Pair(before=torch.tensor(float(n)), after=torch.tensor(10.0 + n)) for n in range(4)]
    once = exchange_layers(levels, (0, 2))
    assert [pair.before.item() for pair in once] == [10, 1, 12, 3]
    assert [pair.after.item() for pair in once] == [0, 11, 2, 13]
    assert [pair.before.item() for pair in exchange_layers(once, (0, 2))] == [0, 1, 2, 3]


@torch.no_grad()
def test_around_equal_pyramids_the_exchange_still_mixes_levels():
    network = small_lenet().network
    network.pyramid_after.load_state_dict(network.pyramid_before.state_dict())
    batch = pair_batch()
    levels = network.encode(batch.images["before"], batch.images["after"])
    mixed = network.exchanged_pyramids(levels)
    straight = network.pyramid_before([pair.before for pair in levels])
    # The coarsest level sees itself alone; the next is exchanged there and back but gets the other date from above.
    torch.testing.assert_close(mixed[3].before, straight[3])
    assert (mixed[2].before - straight[2]).abs().max() > 1e-3
    network.exchange_levels = ()
    for pair, plain in zip(network.exchanged_pyramids(levels), straight, strict=True):
        torch.testing.assert_close(pair.before, plain)


@torch.no_grad()
def test_pyramid_doubles_the_coarser_map_by_repetition():
    pyramid = FeaturePyramid((1, 1), 1)
    for lateral, factor in zip(pyramid.lateral, (2.0, 3.0), strict=True):
        nn.init.constant_(lateral.weight, factor)
        nn.init.constant_(lateral.bias, 0.5)
    for smooth in pyramid.smooth:
        nn.init.zeros_(smooth.weight)
        nn.init.ones_(smooth.weight[:, :, 1, 1])
        nn.init.zeros_(smooth.bias)
    coarse = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    fine, coarsest = pyramid([torch.ones(1, 1, 4, 4), coarse])
    assert coarsest[0, 0].tolist() == [[3.5, 6.5], [9.5, 12.5]]
    assert fine[0, 0].tolist() == [[6.0, 6.0, 9.0, 9.0]] * 2 + [[12.0, 12.0, 15.0, 15.0]] * 2


@torch.no_grad()
def test_gate_and_answer_of_the_fusion_pass_a_hard_sigmoid():
    """hsig(-3) = 0, hsig(0) = 0.5, hsig(3) = 1; the gate scales what is projected."""
    fusion = SqueezeFusion(8).eval()
    nn.init.zeros_(fusion.expand.weight)
    nn.init.zeros_(fusion.project.weight)
    fusion.project.weight[0, 0] = 1.0
    fusion.norm.running_var.fill_(1 - fusion.norm.eps)
    x = torch.zeros(1, 16, 1, 5)
    x[0, 0, 0] = torch.tensor([-9.0, -3.0, 0.0, 1.5, 3.0])
    answers = {}
    for gate in (-3.0, 0.0, 3.0):
        nn.init.constant_(fusion.expand.bias, gate)
        answers[gate] = fusion(x)[0, 0, 0].tolist()
    assert answers[3.0] == pytest.approx([0, 0, 0.5, 0.75, 1])
    assert answers[0.0] == pytest.approx([0, 0.25, 0.5, 0.625, 0.75])
    assert answers[-3.0] == pytest.approx([0.5] * 5)


@torch.no_grad()
def test_fused_maps_lie_between_zero_and_one():
    torch.manual_seed(0)
    fused = SqueezeFusion(16)(50 * torch.randn(2, 32, 8, 8))
    assert fused.min() == 0
    assert fused.max() == 1
    assert ((fused > 0) & (fused < 1)).any()


@torch.no_grad()
def test_levels_take_the_answers_of_the_other_date_from_below():
    decoder = small_lenet().network.decoder
    sides = (16, 8, 4, 2)
    pairs = [Pair(before=torch.randn(1, 32, side, side), after=torch.randn(1, 32, side, side)) for side in sides]
    answers = decoder.answers(pairs)
    assert [tuple(answer.before.shape[2:]) for answer in answers] == [(4, 4), (8, 8), (16, 16), (16, 16)]
    third = decoder.levels[2]
    own, other = pairs[2].before + answers[0].after, pairs[2].after + answers[0].before
    decoded = own.permute(0, 2, 3, 1)
    for block in third.before.blocks:
        decoded = block(decoded)
    fused = third.before.fusion(torch.cat([decoded.permute(0, 3, 1, 2), other], 1))
    expected = nn.Upsample(scale_factor=2, mode="bilinear")(fused)
    torch.testing.assert_close(answers[1].before, expected)
    maps = decoder.change_maps(pairs)
    torch.testing.assert_close(decoder(pairs), maps[2])
    torch.testing.assert_close(maps[0], decoder.weighting[2](answers[1]).joined())


def silence(model: LENet, *values: float) -> None:
    """Let the heads answer constants: the answer's, and those of both auxiliary heads, for the second class."""
    for head, value in zip((model.network.head, *model.network.auxiliary_heads), values, strict=True):
        nn.init.zeros_(head.classify.weight)
        head.classify.bias.data = torch.tensor([0.0, value])


def test_loss_of_undecided_heads_is_the_sheets():
    model = small_lenet()
    silence(model, 0.0, 0.0, 0.0)
    terms = model.loss(pair_batch(labels=np.zeros((64, 64))))
    assert sum(terms.values()).item() == pytest.approx(1.6 * math.log(2), abs=1e-5)
    assert sum(terms.values()).item() == pytest.approx(1.10904, abs=1e-5)


def test_every_head_has_its_weight_and_ignored_pixels_none():
    model = small_lenet()
    silence(model, 1.0, 2.0, 3.0)
    labels = np.full((64, 64), 255)
    labels[0, :30], labels[1, :10] = 1, 0
    terms = model.loss(pair_batch(labels=labels))
    # -log p of a changed pixel is log(1 + e^-x), of an unchanged one log(1 + e^x); three of four are changed.
    entropy = [0.75 * math.log1p(math.exp(-x)) + 0.25 * math.log1p(math.exp(x)) for x in (1.0, 2.0, 3.0)]
    assert list(terms) == ["cross_entropy", "auxiliary_0", "auxiliary_1"]
    weighted = [entropy[0], 0.3 * entropy[1], 0.3 * entropy[2]]
    assert [term.item() for term in terms.values()] == pytest.approx(weighted, rel=1e-5)


@torch.no_grad()
def test_auxiliary_logits_are_enlarged_to_the_labels():
    """The first auxiliary head reads the coarsest change map: its logits, enlarged, give the term."""
    model = small_lenet()
    labels = np.random.default_rng(0).integers(0, 2, (64, 64))
    batch = pair_batch(labels=labels)
    maps = model.network.change_maps(batch.images["before"], batch.images["after"])
    logits = model.network.auxiliary_heads[0](maps[0])
    assert logits.shape == (1, 2, 8, 8)
    scores = nn.Upsample(scale_factor=8, mode="bilinear")(logits)
    entropy = nn.functional.cross_entropy(scores, torch.from_numpy(labels)[None])
    assert model.loss(batch)["auxiliary_0"].item() == pytest.approx(0.3 * entropy.item(), rel=1e-5)


def test_rate_is_the_published_one():
    levir = PUBLISHED_SCHEDULES["levir-cd"]
    shares = {iteration: levir.learning_rate_at(iteration) / 3e-4 for iteration in (0, 750, 1500, 40_000, 80_000)}
    assert shares[0] == pytest.approx(1e-6)
    assert shares[750] == pytest.approx(0.5, abs=1e-6)
    assert shares[1500] == 1
    assert shares[40_000] == pytest.approx(1 - 38_500 / 78_500)
    assert shares[40_000] == pytest.approx(0.5096, abs=1e-4)
    assert shares[80_000] == 0
    ends = {data: schedule.end - schedule.iterations for data, schedule in PUBLISHED_SCHEDULES.items()}
    assert ends.pop("whu-cd") == 20_000
    assert all(extra == PUBLISHED_SCHEDULES[data].iterations for data, extra in ends.items())


def test_recipe_trains_for_the_published_iterations():
    recipe = lenet_recipe(samples=445)
    assert recipe.epochs * recipe.steps_per_epoch(445) == pytest.approx(40_000, abs=28)
    assert recipe.warmup_epochs * recipe.steps_per_epoch(445) == pytest.approx(1500)
    assert (recipe.learning_rate, recipe.batch_size, recipe.weight_decay) == (3e-4, 16, 0.01)
    assert type(recipe.transforms[0]).__name__ == "RandomCrop"
    whole = lenet_recipe(samples=12_000, data="sysu-cd")
    assert "RandomCrop" not in [type(part).__name__ for part in whole.transforms]
    assert (whole.learning_rate, whole.epochs) == (1e-4, 40)
    with pytest.raises(ConfigurationError, match="levir-cd"):
        lenet_recipe(samples=1, data="second")


def test_windows_slide_as_published():
    starts = slide_starts(1024, window=256, stride=170)
    assert starts == [0, 170, 340, 510, 680, 768]
    spec = LENetConfig().input
    assert spec.window - spec.overlap == 170
    assert slide_starts(256, window=256, stride=170) == [0]
    assert slide_starts(257, window=256, stride=170) == [0, 1]
    with pytest.raises(ShapeError, match="200"):
        slide_starts(200, window=256, stride=170)
    # Scenes are read in windows of the same size and step.
    plan = plan_windows(Size(1024, 1024), window=Size(256, 256), overlap=spec.overlap)
    assert (plan.read_size, plan.step) == (Size(256, 256), Size(170, 170))


class Peek(nn.Module):
    """Answers a window with what makes means checkable: its own pixels, and the brightness of its corner."""

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        corner = before[:, :1, :1, :1].expand(-1, 1, *before.shape[2:])
        return torch.cat([after[:, :1], corner], 1)


def test_overlapping_windows_are_averaged():
    model = small_lenet(input=imagenet_rgb(window=64, overlap=24, fixed_size=True))
    constant = Batch(
        images={slot: torch.full((2, 3, 90, 150), value) for slot, value in (("before", 3.0), ("after", -1.0))},
        keys=("a", "b"),
    )
    model.network = Peek()
    expected = torch.tensor([-1.0, 3.0])[None, :, None, None].expand(2, 2, 90, 150)
    torch.testing.assert_close(model.sliding_logits(constant), expected)
    batch = pair_batch(104)
    found = model.sliding_logits(batch)
    torch.testing.assert_close(found[:, 0], batch.images["after"][:, 0])
    corners = batch.images["before"][0, 0, [0, 0, 40, 40], [0, 40, 0, 40]]
    assert found[0, 1, 10, 10].item() == pytest.approx(corners[0].item())
    assert found[0, 1, 10, 50].item() == pytest.approx(corners[:2].mean().item(), rel=1e-5)
    assert found[0, 1, 50, 50].item() == pytest.approx(corners.mean().item(), rel=1e-5)


@torch.no_grad()
def test_an_image_of_one_window_slides_to_the_plain_answer():
    model, batch = small_lenet(), pair_batch()
    torch.testing.assert_close(model.sliding_logits(batch), model(batch))
    assert model.score_maps(batch)[0].decided() == model.predict(batch)[0]


@torch.no_grad()
def test_weights_run_on_every_size_that_the_windows_tile():
    model, larger = small_lenet(), LENet(small_config(size=128)).eval()
    larger.network.load_state_dict(model.network.state_dict(), strict=True)
    assert larger(pair_batch(128)).shape == (1, 2, 128, 128)
    oblong = small_config(input=replace(imagenet_rgb(window=128, overlap=0), multiple_of=128))
    images = {slot: torch.zeros(1, 3, 128, 256) for slot in ("before", "after")}
    assert LENet(oblong).eval()(Batch(images=images, keys=("a",))).shape == (1, 2, 128, 256)


@pytest.mark.parametrize(
    "options",
    [
        {"input": imagenet_rgb(window=96, overlap=0, fixed_size=True)},
        {"input": imagenet_rgb(window=250, overlap=0, fixed_size=True)},
        {"input": imagenet_rgb(window=256, overlap=0, multiple_of=32)},
        {"exchange_levels": (0, 4)},
        {"pyramid_channels": 36},
    ],
)
def test_meaningless_configurations_are_refused(options):
    with pytest.raises(ConfigurationError):
        small_config(**({"window": 8} | options))


def test_encoder_starts_from_a_classifier_of_timm(tmp_path):
    donor, model = small_lenet(), LENet(small_config())
    published = {
        name.replace("layers_", "layers."): value for name, value in donor.network.encoder.state_dict().items()
    }
    torch.save(published | {"head.fc.bias": torch.zeros(1000), "norm.bias": torch.zeros(128)}, tmp_path / "timm.pth")
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    load_encoder(model, tmp_path / "timm.pth")
    for name, value in model.network.state_dict().items():
        expected = donor.network.state_dict() if name.startswith("encoder.") else before
        assert torch.equal(value, expected[name]), name
    wider = LENet(small_config(width=32))
    with pytest.raises(WeightsMismatch, match="patch_embed"):
        load_encoder(wider, tmp_path / "timm.pth")


def test_pair_input_is_the_published_one():
    config = LENetConfig()
    assert config.input.bands == ("red", "green", "blue")
    assert config.input.mean == (123.675, 116.28, 103.53)
    assert config.input.std == (58.395, 57.12, 57.375)
    assert config.output.classes == CHANGE_CLASSES
