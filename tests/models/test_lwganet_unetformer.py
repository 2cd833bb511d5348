"""LWGANet with its UNetFormer decoder under the contract, its windows, and its loss by hand."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import ModelContract
from torch import nn
from torch.nn import functional

from swath.errors import ConfigurationError, ShapeError
from swath.geometry.windows import Size
from swath.imagery.scene import open_scene
from swath.inference.runner import predict_scene
from swath.models.classify.lwganet_backbone import BackboneConfig
from swath.models.segment.lwganet_unetformer import (
    LWGANetUNetFormer,
    LWGANetUNetFormerConfig,
    Separable,
    SmoothedSegmentationOutput,
    WeightedFusion,
    WindowAttention,
    lwganet_unetformer,
    lwganet_unetformer_recipe,
    rgb_input,
)
from swath.models.store import StoredModel
from swath.samples.batch import Batch
from swath.samples.rasters import ClassMap
from swath.training.schedule import learning_rate_at

TENSORS = json.loads((Path(__file__).parents[1] / "parity/lwganet/meta.json").read_text())["tensors"]
LOVEDA = ("background", "building", "road", "water", "barren", "forest", "agricultural")
THREE = ("road", "water", "forest")


def small(**options) -> LWGANetUNetFormer:
    torch.manual_seed(0)
    config = {
        "input": rgb_input(96),
        "output": SmoothedSegmentationOutput(classes=THREE),
        "backbone": BackboneConfig(width=16, depths=(1, 1, 1, 1)),
        "width": 16,
        "heads": 2,
        "window": 4,
        "dropout": 0.0,
    }
    return LWGANetUNetFormer(LWGANetUNetFormerConfig(**config | options))


def class_maps(labels) -> tuple[ClassMap, ...]:
    array = np.asarray(labels, dtype=np.uint8)
    return tuple(ClassMap(size=Size(*each.shape), labels=each, classes=THREE) for each in array)


class TestContract(ModelContract):
    counts: ClassVar = {"L2": (partial(lwganet_unetformer, classes=LOVEDA), 12_582_092)}
    published_names: ClassVar = {
        prefix + name: tuple(shape)
        for prefix, part in (("backbone.", "backbone-l2"), ("backbone.", "norms-l2"), ("", "unetformer-l2"))
        for name, shape in TENSORS[part].items()
    }
    published_builder = staticmethod(partial(lwganet_unetformer, classes=LOVEDA))

    def small(self) -> LWGANetUNetFormer:
        return small()

    def size(self) -> tuple[int, int]:
        return 96, 96

    def targets(self, count: int, height: int, width: int) -> tuple[ClassMap, ...]:
        return class_maps(np.random.default_rng(0).integers(0, 3, (count, height, width)))


def test_the_auxiliary_head_has_its_published_share_of_the_parameters():
    with torch.device("meta"):
        network = lwganet_unetformer(classes=LOVEDA).network
    assert sum(parameter.numel() for parameter in network.auxiliary_head.parameters()) == 37_440


@pytest.mark.parametrize("side", [160, 192, 256])
def test_logits_have_the_size_of_the_image(side):
    with torch.device("meta"):
        network = lwganet_unetformer(classes=LOVEDA, variant="L0", window=side).network
        logits = network.supervised(torch.zeros(1, 3, side, side))
    assert logits.main.shape == logits.auxiliary.shape == (1, 7, side, side)


def test_images_too_small_for_a_window_are_refused():
    with torch.device("meta"):
        network = lwganet_unetformer(classes=LOVEDA, variant="L0").network
        with pytest.raises(ShapeError, match="at least 160 pixels; found 128 x 128"):
            network(torch.zeros(1, 3, 128, 128))
        with pytest.raises(ShapeError, match=r"square .* found 160 x 192"):
            network(torch.zeros(1, 3, 160, 192))
    with pytest.raises(ConfigurationError, match="window=128"):
        lwganet_unetformer(classes=LOVEDA, window=128)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 5}, "must be even"),
        ({"heads": 3}, "multiple of 'heads'"),
        ({"width": 8}, "at least 16"),
        ({"orientations": 4}, "1, 2 or 8"),
    ],
)
def test_decoders_that_could_not_work_are_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        small(**options)


def test_a_binary_output_is_refused():
    with pytest.raises(ConfigurationError, match="binary=False"):
        SmoothedSegmentationOutput(classes=("no", "yes"), binary=True)


@torch.no_grad()
def test_windows_equal_attention_of_torch_with_the_bias_as_a_mask():
    """Each window by itself through torch's module; the bias is looked up pair by pair."""
    torch.manual_seed(0)
    ours, theirs = WindowAttention(8, 2, 4), nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    nn.init.normal_(ours.relative_bias)
    theirs.in_proj_weight.copy_(ours.qkv.weight[:, :, 0, 0])
    theirs.out_proj.weight.copy_(torch.eye(8))
    places = [(row, column) for row in range(4) for column in range(4)]
    table = ours.relative_bias.reshape(7, 7, 2)
    mask = torch.stack(
        [
            torch.stack([torch.stack([table[r - a + 3, c - b + 3, head] for a, b in places]) for r, c in places])
            for head in range(2)
        ]
    )
    map_ = torch.randn(1, 8, 8, 8)
    answer = ours(map_)
    for top in (0, 4):
        for left in (0, 4):
            tokens = map_[:, :, top : top + 4, left : left + 4].flatten(2).mT
            expected, _ = theirs(tokens, tokens, tokens, attn_mask=mask)
            found = answer[:, :, top : top + 4, left : left + 4].flatten(2).mT
            torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_maps_of_no_whole_windows_are_mirrored_and_cut():
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 4)
    map_ = torch.randn(1, 8, 6, 6)
    order = [0, 1, 2, 3, 4, 5, 4, 3]
    torch.testing.assert_close(attention(map_), attention(map_[:, :, order][:, :, :, order])[:, :, :6, :6])


def test_an_even_depthwise_kernel_takes_a_pixel_off():
    assert Separable(4, 8)(torch.zeros(1, 4, 9, 9)).shape == (1, 4, 8, 8)
    assert Separable(4, 3)(torch.zeros(1, 4, 9, 9)).shape == (1, 4, 9, 9)


@torch.no_grad()
def test_a_fusion_weighs_by_the_share_of_what_is_positive():
    torch.manual_seed(0)
    fusion = WeightedFusion(4, 4).eval()
    fusion.mix = nn.Identity()
    fusion.skip = nn.Identity()
    finer, map_ = torch.full((1, 4, 4, 4), 5.0), torch.full((1, 4, 2, 2), 1.0)
    for weight, expected in (((1.0, 3.0), 2.0), ((2.0, -1.0), 5.0), ((-1.0, 2.0), 1.0)):
        fusion.weight.copy_(torch.tensor(weight))
        torch.testing.assert_close(fusion(map_, finer), torch.full((1, 4, 4, 4), expected))


def batch_of(labels) -> Batch:
    maps = class_maps(labels)
    return Batch(images={"image": torch.zeros(len(maps), 3, 1, 2)}, targets=maps)


def test_loss_by_hand():
    """Two pixels of the first of three classes, with probabilities 0.8, 0.1 and 0.1."""
    output = SmoothedSegmentationOutput(classes=THREE)
    logits = torch.tensor([math.log(8), 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    terms = output.loss(logits, batch_of([[[0, 0]]]))
    entropy = -(0.95 + 0.05 / 3) * math.log(0.8) - 2 * 0.05 / 3 * math.log(0.1)
    assert terms["cross_entropy"].item() == pytest.approx(entropy)
    # Of the first class: overlap 1.6, sums 1.6 and 2; the others have no pixel and add nothing to the mean of three.
    assert terms["dice"].item() == pytest.approx((1 - (3.2 + 0.05) / (3.6 + 0.05)) / 3)


def test_equal_scores_cost_the_logarithm_of_the_count_of_classes():
    terms = SmoothedSegmentationOutput(classes=THREE).loss(torch.zeros(1, 3, 1, 2), batch_of([[[2, 1]]]))
    assert terms["cross_entropy"].item() == pytest.approx(math.log(3))


def test_unknown_pixels_do_not_count():
    output = SmoothedSegmentationOutput(classes=THREE)
    logits = torch.randn(1, 3, 1, 2, generator=torch.Generator().manual_seed(0))
    both = output.loss(logits, batch_of([[[1, 255]]]))
    alone = output.loss(logits[..., :1], Batch(images={"image": torch.zeros(1, 3, 1, 1)}, targets=class_maps([[[1]]])))
    assert {name: term.item() for name, term in both.items()} == pytest.approx(
        {name: term.item() for name, term in alone.items()}
    )
    nothing = output.loss(logits, batch_of([[[255, 255]]]))
    assert [term.item() for term in nothing.values()] == [0.0, 0.0]


@torch.no_grad()
def test_the_auxiliary_head_adds_two_fifths_of_its_smoothed_cross_entropy():
    model = small().eval()
    labels = np.random.default_rng(1).integers(0, 3, (2, 96, 96))
    image = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    terms = model.loss(Batch(images={"image": image}, targets=class_maps(labels)))
    logits = model.network.supervised(image)
    target = torch.from_numpy(labels)
    expected = 0.4 * functional.cross_entropy(logits.auxiliary, target, label_smoothing=0.05)
    torch.testing.assert_close(terms["auxiliary"], expected)
    torch.testing.assert_close(
        terms["cross_entropy"], functional.cross_entropy(logits.main, target, label_smoothing=0.05)
    )
    assert set(terms) == {"cross_entropy", "dice", "auxiliary"}


class Ramp(nn.Module):
    """Logits that tell where a pixel is in the view: its column, its row, and what is in it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(96.0)
        places = [steps.expand(96, 96), steps[:, None].expand(96, 96), image[0, 0]]
        return torch.stack(places).unsqueeze(0)


@pytest.mark.parametrize(("orientations", "column", "row"), [(1, 0.0, 0.0), (2, 47.5, 0.0), (8, 47.5, 47.5)])
def test_views_are_turned_back_before_they_are_averaged(orientations, column, row):
    """What is in the pixels comes back where it was; the places in the views average to those of the middle."""
    model = small(orientations=orientations)
    model.network = Ramp()
    image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    scores = model.score_maps(Batch(images={"image": image}))[0].scores
    assert (scores[0, 0, 0], scores[1, 0, 0]) == pytest.approx((column, row))
    np.testing.assert_allclose(scores[2], image[0, 0].numpy(), rtol=1e-5)


def test_a_few_steps_fit_two_images():
    model = small().train()
    image = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    right = torch.arange(96) >= 48
    labels = (2 * right).expand(2, 96, 96)
    batch = Batch(images={"image": image + 2.0 * right}, targets=class_maps(labels.numpy()))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = torch.stack(list(model.loss(batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_scene_of_any_size_is_mapped_by_square_windows():
    model = small().eval()
    values = np.random.default_rng(0).integers(0, 256, (3, 50, 130), dtype=np.uint8)
    stored = StoredModel(name="small", model=model, card=model.card(), sha256="")
    found = predict_scene(stored, open_scene(values, bands="red,green,blue")).annotation
    assert isinstance(found, ClassMap)
    assert (found.size.height, found.size.width) == (50, 130)


def test_recipe_is_that_of_the_code_for_loveda():
    recipe = lwganet_unetformer_recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (30, 16, 0.01)
    assert learning_rate_at(recipe, 0, 100) == pytest.approx(4e-4)
    assert learning_rate_at(recipe, 3000, 100) == pytest.approx(1e-6)
    sides = {int(1024 * math.sqrt(share)) for share in recipe.transforms[0].area}
    assert sides == {int(512 / 1.5), int(512 / 0.75)}
