"""LWGANet with its A2Net decoder under the contract, its parts, its loss by hand, and its augmentation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import ModelContract
from torch import nn
from torch.nn import functional

from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.imagery.scene import open_scene
from swath.inference.runner import predict_scene
from swath.metrics.segmentation import SegmentationMetric
from swath.models.change.lwganet_a2net import (
    ChangeOutput,
    ExchangeDates,
    InwardCrop,
    LWGANetA2Net,
    LWGANetA2NetConfig,
    NeighbourAggregation,
    SupervisedAttention,
    TemporalFusion,
    bgr_input,
    lwganet_a2net,
    lwganet_a2net_recipe,
)
from swath.models.classify.lwganet_backbone import BackboneConfig
from swath.models.store import StoredModel
from swath.samples.batch import Batch
from swath.samples.rasters import CHANGE_CLASSES, ClassMap
from swath.samples.sample import Sample

TENSORS = json.loads((Path(__file__).parents[1] / "parity/lwganet/meta.json").read_text())["tensors"]
RGB = tuple(Band(name=role, role=role) for role in ("red", "green", "blue"))


def small(**options) -> LWGANetA2Net:
    torch.manual_seed(0)
    config = {"input": bgr_input(96), "backbone": BackboneConfig(width=16, depths=(1, 1, 1, 1)), "width": 8}
    return LWGANetA2Net(LWGANetA2NetConfig(**config | options))


def change_maps(labels) -> tuple[ClassMap, ...]:
    array = np.asarray(labels, dtype=np.uint8)
    return tuple(ClassMap(size=Size(*each.shape), labels=each, classes=CHANGE_CLASSES) for each in array)


def pair(count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(2, count, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    return images[0], images[1]


class TestContract(ModelContract):
    counts: ClassVar = {"L0": (lwganet_a2net, 2_913_094)}
    published_names: ClassVar = {
        prefix + name: tuple(shape)
        for prefix, part in (("backbone.", "backbone-l0"), ("backbone.", "norms-l0"), ("", "a2net-l0"))
        for name, shape in TENSORS[part].items()
    }
    published_builder = staticmethod(lwganet_a2net)

    def small(self) -> LWGANetA2Net:
        return small()

    def size(self) -> tuple[int, int]:
        return 96, 96

    def targets(self, count: int, height: int, width: int) -> tuple[ClassMap, ...]:
        return change_maps(np.random.default_rng(0).integers(0, 2, (count, height, width)))


@torch.no_grad()
def test_exchanging_the_dates_changes_nothing():
    network = small().network.eval()
    before, after = pair(2)
    masks, exchanged = network.masks(before, after), network.masks(after, before)
    assert [mask.shape for mask in masks] == [(2, 1, 96, 96)] * 4
    for one, other in zip(masks, exchanged, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    torch.testing.assert_close(network(before, after), masks[0], rtol=0, atol=0)


@torch.no_grad()
def test_two_equal_dates_leave_nothing_but_constants_of_the_decoder():
    network = small().network.eval()
    before, after = pair()
    torch.testing.assert_close(network(before, before), network(after, after), rtol=0, atol=0)
    assert (network(before, after) - network(before, before)).abs().max() > 0


def test_bands_and_statistics_are_those_of_bgr():
    model = small()
    values = np.zeros((3, 96, 96), np.uint8)
    values[0], values[1], values[2] = 10, 20, 30
    pixels = Pixels.from_array(values, RGB, Unit.EIGHT_BIT)
    batch = model.prepare([Sample(key="a", images={"before": pixels, "after": pixels})])
    expected = [(30 - 103.53) / 57.375, (20 - 116.28) / 57.12, (10 - 123.675) / 58.395]
    assert batch.images["before"][0, :, 5, 5].tolist() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_a_scale_takes_in_its_neighbours_and_no_others():
    torch.manual_seed(0)
    maps = [torch.randn(1, width, side, side) for width, side in ((4, 24), (8, 12), (16, 6), (32, 3))]
    for place, neighbours in enumerate(((0, 1), (0, 1, 2), (1, 2, 3), (2, 3))):
        aggregation = NeighbourAggregation((4, 8, 16, 32), place, 8).eval()
        answer = aggregation(maps)
        assert answer.shape == (1, 8, 24 // 2**place, 24 // 2**place)
        changed = [
            not torch.equal(aggregation([m + 1 if number == n else m for n, m in enumerate(maps)]), answer)
            for number in range(4)
        ]
        assert changed == [number in neighbours for number in range(4)]


@torch.no_grad()
def test_one_changed_pixel_reaches_as_far_as_the_dilations_add_up():
    """7 + 5 + 3 + 1 pixels to each side."""
    torch.manual_seed(0)
    fusion = TemporalFusion(2).eval()
    for layer in fusion.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.uniform_(layer.weight, 0.1, 1.0)
            nn.init.zeros_(layer.bias)
    before = torch.zeros(1, 2, 41, 41)
    after = before.clone()
    after[0, 0, 20, 20] = -1.0
    reached = fusion(before, after)[0].amax(0).nonzero()
    assert reached.min(0).values.tolist() == [4, 4]
    assert reached.max(0).values.tolist() == [36, 36]


@torch.no_grad()
def test_the_context_is_made_of_the_two_shares_of_the_mask():
    attention = SupervisedAttention(4).eval()
    nn.init.zeros_(attention.mask.weight)
    nn.init.constant_(attention.mask.bias, math.log(3))
    nn.init.zeros_(attention.context.conv.bias)
    attention.context.conv.weight.copy_(
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])[..., None, None]
    )
    attention.context.norm = nn.Identity()
    attention.mix = nn.Identity()
    attended = attention(torch.full((1, 4, 2, 2), 8.0))
    torch.testing.assert_close(attended.map[0, :, 0, 0], torch.tensor([6.0, 2.0, 8.0, 0.0]))
    torch.testing.assert_close(attended.mask, torch.full((1, 1, 2, 2), math.log(3)))


def batch_of(labels) -> Batch:
    maps = change_maps(labels)
    images = torch.zeros(len(maps), 3, *maps[0].labels.shape)
    return Batch(images={"before": images, "after": images}, targets=maps)


def test_a_prediction_that_is_the_truth_costs_nothing():
    labels = [[[0, 1], [1, 1]]]
    logits = (torch.tensor(labels).float() * 2 - 1).unsqueeze(1) * 120
    terms = ChangeOutput().loss(logits, batch_of(labels))
    assert [term.item() for term in terms.values()] == pytest.approx([0.0, 0.0], abs=1e-7)


def test_loss_by_hand():
    """Probabilities 3/4 of change at three pixels, of which one changed and one is not known."""
    logits = torch.full((1, 1, 1, 3), math.log(3))
    terms = ChangeOutput().loss(logits, batch_of([[[1, 0, 255]]]))
    assert terms["cross_entropy"].item() == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert terms["dice"].item() == pytest.approx(1 - (1.5 + 1e-5) / (2.5 + 1e-5))


def test_dice_is_that_of_the_whole_batch():
    """An image without change and one that is all change, both given even odds: 2 x 1 / (2 + 2)."""
    terms = ChangeOutput().loss(torch.zeros(2, 1, 1, 2), batch_of([[[0, 0]], [[1, 1]]]))
    assert terms["dice"].item() == pytest.approx(0.5, abs=1e-5)


@torch.no_grad()
def test_the_loss_adds_up_the_four_masks():
    model = small().eval()
    before, after = pair(2)
    labels = np.random.default_rng(0).integers(0, 2, (2, 96, 96))
    terms = model.loss(Batch(images={"before": before, "after": after}, targets=change_maps(labels)))
    truth = torch.from_numpy(labels).float().unsqueeze(1)
    masks = [torch.sigmoid(mask) for mask in model.network.masks(before, after)]
    assert len(masks) == 4
    entropy = sum(functional.binary_cross_entropy(mask, truth) for mask in masks)
    dice = sum(1 - (2 * (mask * truth).sum() + 1e-5) / (mask.sum() + truth.sum() + 1e-5) for mask in masks)
    torch.testing.assert_close(terms["cross_entropy"], entropy)
    torch.testing.assert_close(terms["dice"], dice)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(DataError, match="class map"):
        ChangeOutput().loss(torch.zeros(1, 1, 2, 2), Batch(images={"before": torch.zeros(1, 3, 2, 2)}))
    with pytest.raises(ConfigurationError, match="binary=True"):
        ChangeOutput(binary=False)
    with pytest.raises(ConfigurationError, match="'width' must be even"):
        small(width=7)
    with pytest.raises(ConfigurationError, match="window=64"):
        lwganet_a2net(window=64)


def test_change_figures_of_a_known_confusion():
    """50 pixels rightly unchanged, 10 false alarms, 5 missed, 35 found."""
    said = np.repeat([0, 1, 0, 1], [50, 10, 5, 35])
    true = np.repeat([0, 0, 1, 1], [50, 10, 5, 35])
    metric = SegmentationMetric(CHANGE_CLASSES)
    metric.update(*change_maps([[said], [true]]))
    figures = metric.compute()
    found = [figures[f"{name} (class changed)"] for name in ("precision", "recall", "F1", "IoU")]
    assert [round(100 * value, 2) for value in found] == [77.78, 87.5, 82.35, 70.0]


def test_a_few_steps_fit_two_pairs():
    model = small().train()
    before, after = pair(2)
    after = torch.where(torch.arange(96) < 48, before, after)
    batch = Batch(
        images={"before": before, "after": after},
        targets=change_maps(np.broadcast_to(np.arange(96) >= 48, (2, 96, 96))),
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        loss = torch.stack(list(model.loss(batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_scene_of_two_dates_of_any_size_is_mapped_by_square_windows():
    model = small().eval()
    dates = np.random.default_rng(0).integers(0, 256, (2, 3, 50, 130), dtype=np.uint8)
    stored = StoredModel(name="small", model=model, card=model.card(), sha256="")
    found = predict_scene(stored, open_scene(before=dates[0], after=dates[1], bands="red,green,blue")).annotation
    assert isinstance(found, ClassMap)
    assert (found.size.height, found.size.width) == (50, 130)


def sample(before: np.ndarray, after: np.ndarray) -> Sample:
    images = {
        slot: Pixels.from_array(values[None].repeat(3, 0), RGB, Unit.EIGHT_BIT)
        for slot, values in (("before", before), ("after", after))
    }
    return Sample(key="a", images=images, target=change_maps([before != after])[0])


def test_dates_change_places_and_the_truth_stays():
    values = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    given = sample(*values)
    exchanged = ExchangeDates()(given, np.random.default_rng(0))
    assert list(exchanged.images) == ["before", "after"]
    assert np.array_equal(exchanged.images["before"].values[0], values[1])
    assert np.array_equal(exchanged.images["after"].values[0], values[0])
    assert exchanged.target == given.target


def test_an_inward_crop_keeps_the_size_and_cuts_at_most_its_share():
    """On a ramp the first and the last column tell what was cut; both dates and the truth move alike."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (256, 256)).copy()
    given = sample(ramp, np.where(ramp >= 128, ramp - 1, ramp).astype(np.uint8))
    left, right = [], []
    for seed in range(40):
        moved = InwardCrop()(given, np.random.default_rng(seed))
        assert moved.size == Size(256, 256)
        row = moved.images["before"].values[0, 0].astype(int)
        left.append(int(row[0]))
        right.append(255 - int(row[-1]))
        edge = int(np.argmax(moved.target.labels[0]))
        assert abs(int(np.argmax(row >= 128)) - edge) <= 1
    assert (min(left), max(left)) == (0, 8)
    assert (min(right), max(right)) == (0, 8)


def test_recipe_is_that_of_the_code():
    recipe = lwganet_a2net_recipe()
    assert (recipe.learning_rate, recipe.weight_decay, recipe.betas) == (5e-4, 1e-4, (0.9, 0.99))
    steps = recipe.steps_per_epoch(7_120)
    assert abs(recipe.epochs * steps - 40_000) < steps
    assert recipe.warmup_epochs * steps == pytest.approx(200, abs=2)
