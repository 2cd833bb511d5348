"""The parts of training against cases worked out by hand and against torch's own."""

import threading
import time

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size
from swath.models.recipe import Recipe
from swath.samples.batch import Batch
from swath.samples.labels import Label
from swath.training.average import WeightAverage
from swath.training.draws import Purpose, generator_for
from swath.training.feeding import BatchMaker, plan_epoch, prefetch
from swath.training.mixing import Patch, blend_images, cut_images, draw_patch, mix_batch
from swath.training.optimiser import (
    build_optimiser,
    decay_groups,
    load_optimiser_tensors,
    optimiser_tensors,
)
from swath.training.schedule import learning_rate_at

CLASSES = ("field", "forest", "town")


def recipe(**changes):
    return Recipe(**{"epochs": 1, "batch_size": 4, "learning_rate": 1.0, **changes})


# -- schedule


def test_the_rate_rises_then_falls_as_worked_out_by_hand():
    # RSMamba's: 500 epochs, 10 of warm-up from 1e-3 x 5e-4, cosine to 1e-5; here two steps an epoch.
    given_recipe = recipe(
        epochs=500, learning_rate=5e-4, warmup_epochs=10, warmup_start=1e-3, minimum_learning_rate=1e-5
    )
    expected = {0: 5e-7, 10: 2.5025e-4, 20: 5e-4, 510: 2.55e-4, 265: 4.282413e-4, 999: 1.000126e-5}
    assert {step: learning_rate_at(given_recipe, step, 2) for step in expected} == pytest.approx(expected, rel=1e-6)


def test_the_rate_is_torchs_cosine_without_warm_up():
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=30, eta_min=0.01)
    for step in range(30):
        own = learning_rate_at(recipe(epochs=10, learning_rate=0.3, minimum_learning_rate=0.01), step, 3)
        assert own == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        optimiser.step()
        peer.step()


# -- optimiser


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.LayerNorm((4, 2, 2))  # its weight has three axes and is spared all the same
        self.batch_norm = nn.BatchNorm2d(4)
        self.table = nn.Parameter(torch.zeros(1, 9, 4))
        self.scale = nn.Parameter(torch.zeros(4))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_norms_biases_and_vectors_are_spared_from_decay():
    groups = decay_groups(Mixed())
    assert set(groups.decayed) == {"conv.weight", "table"}
    norms = {f"{norm}.{part}" for norm in ("norm", "batch_norm") for part in ("weight", "bias")}
    assert set(groups.spared) == {"conv.bias", "scale", *norms}
    everything = decay_groups(Mixed(), decay_everything=True)
    assert set(everything.decayed) == set(groups.names)
    assert not everything.spared


def test_the_optimisers_state_comes_back_in_the_layout_of_its_weights():
    torch.manual_seed(0)
    first, second = (
        Mixed().to(memory_format=torch.channels_last),
        Mixed().to(memory_format=torch.channels_last),
    )
    second.load_state_dict(first.state_dict())
    optimisers = []
    for module in (first, second):
        groups = decay_groups(module)
        optimisers.append(build_optimiser(groups, recipe(weight_decay=0.1)))
    for parameter in first.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimisers[0].step()
    stored = {
        name: value.clone().contiguous() for name, value in optimiser_tensors(optimisers[0], groups.names).items()
    }
    load_optimiser_tensors(optimisers[1], groups.names, stored)
    again = optimiser_tensors(optimisers[1], groups.names)
    assert set(again) == {f"{what}/{name}" for what in ("step", "exp_avg", "exp_avg_sq") for name in groups.names}
    assert all(torch.equal(value, again[name]) for name, value in stored.items())
    assert again["exp_avg/conv.weight"].stride() == second.conv.weight.stride()
    assert again["step/conv.weight"].item() == 1


# -- average


def test_the_average_is_the_sum_worked_out_by_hand():
    layer = nn.BatchNorm1d(1)
    average = WeightAverage(layer, decay=0.25)
    for weight, running in ((2.0, 4.0), (3.0, 8.0)):
        with torch.no_grad():
            layer.weight.fill_(weight)
            layer.running_mean.fill_(running)
            layer.num_batches_tracked += 1
        average.update()
    # d is 2/11 at the first update, where the ramp is below 0.25, and 3/12 at the second.
    first = 2 / 11 * 1.0 + 9 / 11 * 2.0
    assert average.tensors["weight"].item() == pytest.approx(0.25 * first + 0.75 * 3.0)
    assert average.tensors["running_mean"].item() == pytest.approx(0.25 * (9 / 11 * 4.0) + 0.75 * 8.0)
    assert average.tensors["num_batches_tracked"].item() == 2


def test_the_average_is_in_place_for_a_while_even_when_something_breaks():
    layer = nn.Linear(1, 1)
    average = WeightAverage(layer, decay=0.9)
    averaged = layer.weight.item()
    with torch.no_grad():
        layer.weight.fill_(7.0)
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert layer.weight.item() == averaged
        assert layer(torch.zeros(1, 1)).requires_grad
        _ = 1 / 0
    assert layer.weight.item() == 7.0
    assert average.tensors["weight"].item() == averaged


# -- mixing


def labelled_batch():
    images = torch.arange(3, dtype=torch.float32)[:, None, None, None].expand(3, 2, 4, 8).clone()
    valid = torch.ones(3, 4, 8, dtype=torch.bool)
    valid[0, 0, 0] = False
    labels = tuple(Label.of(name, CLASSES, Size(4, 8)) for name in CLASSES)
    return Batch(images={"image": images}, valid={"image": valid}, targets=labels, keys=("a", "b", "c"))


def test_mixup_blends_pixels_and_labels_alike():
    batch = labelled_batch()
    mixed = blend_images(batch, batch.targets, np.array([1, 2, 0]), 0.75)
    assert mixed.images["image"][:, 0, 0, 0].tolist() == [0.25, 1.25, 1.5]
    expected = [[0.75, 0.25, 0.0], [0.0, 0.75, 0.25], [0.25, 0.0, 0.75]]
    assert [label.scores.tolist() for label in mixed.targets] == expected
    assert (~mixed.valid["image"]).sum(dim=(1, 2)).tolist() == [1, 0, 1]  # invalid where either is


def test_cutmix_pastes_a_patch_and_labels_go_by_its_true_area():
    batch = labelled_batch()
    patch = Patch(top=0.0, left=0.5, bottom=0.6, right=1.0)  # rows 0 and 1 of 4, columns 4 to 7 of 8
    mixed = cut_images(batch, batch.targets, np.array([1, 2, 0]), patch)
    assert mixed.images["image"][0, 1].tolist() == [[0] * 4 + [1] * 4] * 2 + [[0] * 8] * 2
    assert mixed.targets[0].scores.tolist() == [0.75, 0.25, 0.0]
    assert batch.images["image"][0].max() == 0  # the batch given is untouched


@given(seed=st.integers(0, 10_000), area=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_a_patch_lies_inside_and_is_no_larger_than_asked(seed, area):
    patch = draw_patch(area, np.random.default_rng(seed))
    assert 0 <= patch.top <= patch.bottom <= 1
    assert 0 <= patch.left <= patch.right <= 1
    assert (patch.bottom - patch.top) * (patch.right - patch.left) <= area + 1e-9


def test_mixing_keeps_the_mean_and_the_mass_and_takes_each_kind_half_of_the_time():
    batch = labelled_batch()
    cuts = 0
    for seed in range(400):
        mixed = mix_batch(batch, np.random.default_rng(seed), mixup=0.8, cutmix=1.0)
        total = np.sum([label.scores for label in mixed.targets], axis=0)
        assert total == pytest.approx([1, 1, 1], abs=1e-5)
        for label, image in zip(mixed.targets, mixed.images["image"], strict=True):
            assert image.mean().item() == pytest.approx(label.scores @ [0, 1, 2], abs=1e-5)
        uneven = mixed.images["image"].flatten(1).std(dim=1).max() > 1e-6
        cuts += int(uneven)
    # A patch that is empty or partners that are the same hide some of the 200 cuts to be expected.
    assert 120 < cuts < 220


def test_one_kind_alone_is_always_taken():
    batch = labelled_batch()
    for seed in range(20):
        mixed = mix_batch(batch, np.random.default_rng(seed), mixup=0.8, cutmix=0.0)
        assert mixed.images["image"].flatten(1).std(dim=1).max() < 1e-6


# -- feeding


def test_draws_differ_by_purpose_place_and_length():
    places = [
        (Purpose.SAMPLE, 0),
        (Purpose.SAMPLE, 0, 0),
        (Purpose.SAMPLE, 0, 0, 0),
        (Purpose.ORDER, 0, 0),
        (2, 1, 0),
    ]
    assert len({generator_for(*place).random() for place in places}) == len(places)
    with pytest.raises(ConfigurationError, match="'seed' must not be negative; found -1"):
        generator_for(Purpose.ORDER, -1)


@given(
    samples=st.integers(1, 40),
    batch_size=st.integers(1, 5),
    accumulate=st.integers(1, 3),
    world=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_an_epoch_uses_every_sample_alike_and_processes_share_it(samples, batch_size, accumulate, world, epoch):
    given_recipe = recipe(batch_size=batch_size, accumulate=accumulate)
    shares = [plan_epoch(samples, given_recipe, epoch, rank=rank, world=world) for rank in range(world)]
    assert len({share.steps for share in shares}) == 1
    used = np.concatenate([share.indices.ravel() for share in shares])
    counts = np.bincount(used, minlength=samples)
    assert len(used) % (batch_size * accumulate * world) == 0
    assert len(used) - samples < batch_size * accumulate * world
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    pairs = {
        (index, turn)
        for share in shares
        for index, turn in zip(share.indices.ravel().tolist(), share.rounds.ravel().tolist(), strict=True)
    }
    assert len(pairs) == len(used)  # a sample used twice is drawn anew
    if world == 1:
        assert shares[0].steps == given_recipe.steps_per_epoch(samples)


def test_epochs_and_seeds_shuffle_differently_and_the_same_ones_alike():
    orders = [
        tuple(plan_epoch(20, recipe(seed=seed), epoch).indices.ravel().tolist()) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert orders[0] == tuple(plan_epoch(20, recipe(), 0).indices.ravel().tolist())
    later = list(plan_epoch(20, recipe(accumulate=2), 1).batches(first_step=1))
    assert later == list(plan_epoch(20, recipe(accumulate=2), 1).batches())[2:]


def test_a_sample_is_changed_anew_each_epoch_and_the_same_in_each_run():
    def draws(epoch, seed=0):
        seen = {}

        def note(sample, generator):
            seen[sample.key] = generator.random()
            return sample

        settings = recipe(transforms=(note,), seed=seed)
        make = BatchMaker(model=tiny.fresh(tiny.TinySegmenter), data=tiny.Ponds(4), recipe=settings)
        (plan,) = plan_epoch(4, settings, epoch).batches()
        batch = make(plan)
        assert batch.keys == tuple(f"pond{index}" for index in plan.indices)
        return [seen[key] for key in sorted(seen)]

    assert draws(0) == draws(0)
    assert len(set(draws(0) + draws(1) + draws(0, seed=1))) == 12


def test_work_is_done_ahead_by_several_threads_and_comes_in_order():
    most, running, lock = 0, 0, threading.Lock()

    def make(job):
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002 * (10 - job % 10))
        with lock:
            running -= 1
        return job

    assert list(prefetch(make, range(30), workers=3)) == list(range(30))
    assert most == 3


def test_no_more_is_made_than_the_workers_ask_for_and_closing_ends_them():
    made = []
    feed = prefetch(lambda job: made.append(job) or job, iter(range(1000)), workers=2)
    before = threading.active_count()
    assert [next(feed) for _ in range(3)] == [0, 1, 2]
    time.sleep(0.05)
    assert len(made) <= 3 + 2
    feed.close()
    assert threading.active_count() <= before


def test_an_error_comes_up_in_its_turn():
    def make(job):
        if job == 4:
            raise DataError("the fifth is broken.")
        return job

    feed = prefetch(make, range(9), workers=3)
    assert [next(feed) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(DataError, match="the fifth"):
        next(feed)
