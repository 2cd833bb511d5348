"""The grid of the BTC study: schedules, augmentations, ladder."""

from __future__ import annotations

import colorsys
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch.optim import lr_scheduler

from swath.errors import BandMismatch, ConfigurationError, UnitMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.models.change.btc_study import LADDER, SEEDS, STUDY, WEIGHTS, StudySetting
from swath.models.change.btc_transforms import GaussianBlur, SharedColourJitter, turn_hue
from swath.samples.rasters import CHANGE_CLASSES, ClassMap
from swath.samples.sample import Sample
from swath.samples.transforms import RandomFlip, Sometimes
from swath.training.schedule import learning_rate_at


def rgb(values: np.ndarray, unit: Unit = Unit.EIGHT_BIT, roles=("red", "green", "blue")) -> Pixels:
    return Pixels.from_array(values, [Band(name=role, role=role) for role in roles], unit)


def sample_of(values: np.ndarray, label: np.ndarray | None = None) -> Sample:
    target = None
    if label is not None:
        target = ClassMap(size=Size(*label.shape), labels=label, classes=CHANGE_CLASSES)
    return Sample(key="a", images={"before": rgb(values), "after": rgb(values)}, target=target)


def noise(side: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, side, side), dtype=np.uint8)


def changed_fields(one: StudySetting, other: StudySetting) -> set[str]:
    first, second = asdict(one), asdict(other)
    return {name for name in first if first[name] != second[name]}


def torch_schedule(name: str, optimiser, epochs: int):
    """The schedule as PyTorch has it, for so many epochs."""
    return {
        "none": lambda: lr_scheduler.LambdaLR(optimiser, lambda epoch: 1.0),
        "cosine": lambda: lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=epochs, eta_min=1e-7),
        "multistep": lambda: lr_scheduler.MultiStepLR(optimiser, [epochs * 8 // 10, epochs * 9 // 10], gamma=0.5),
        "linear": lambda: lr_scheduler.LinearLR(optimiser, start_factor=1, end_factor=1e-3, total_iters=epochs),
        "polynomial": lambda: lr_scheduler.PolynomialLR(optimiser, total_iters=epochs, power=0.9),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimiser, gamma=0.95),
    }[name]()


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize("warmup", [0.0, 0.1])
@pytest.mark.parametrize("name", ["none", "cosine", "multistep", "linear", "polynomial", "exponential"])
def test_learning_rates_equal_those_of_pytorch_epoch_by_epoch(name, warmup):
    epochs, rising, steps = 100, round(100 * warmup), 7
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    if rising:
        rise = lr_scheduler.LinearLR(optimiser, start_factor=1 / 3, total_iters=rising)
        fall = torch_schedule(name, optimiser, epochs - rising)
        schedule = lr_scheduler.SequentialLR(optimiser, [rise, fall], milestones=[rising])
    else:
        schedule = torch_schedule(name, optimiser, epochs)
    expected = []
    for _ in range(epochs):
        expected.append(optimiser.param_groups[0]["lr"])
        schedule.step()
    recipe = StudySetting(schedule=name, warmup=warmup).recipe(epochs=epochs)
    for step in (0, steps - 1):
        found = [learning_rate_at(recipe, epoch * steps + step, steps) for epoch in range(epochs)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_warm_up_is_a_share_of_the_epochs():
    with pytest.raises(ConfigurationError, match="share of the epochs"):
        StudySetting(warmup=5)


def test_the_study_changes_one_thing_at_a_time():
    start = STUDY["start"]
    assert (start.encoder, start.pretraining, start.losses) == ("tiny", "imagenet", ("cross_entropy",))
    assert (start.schedule, start.augmentations) == ("none", ())
    for name, setting in STUDY.items():
        factors = changed_fields(start, setting) - ({"warmup"} if "warm-up" in name else set())
        assert len(factors) == (name != "start"), name
    assert {setting.pretraining for setting in STUDY.values()} == {"none", *WEIGHTS}


def test_the_ladder_adds_one_thing_at_a_time_up_to_the_published_models():
    settings = list(LADDER.values())
    steps = [changed_fields(one, other) for one, other in pairwise(settings)]
    assert steps == [{"pretraining"}, {"augmentations"}, {"pretraining"}, {"schedule"}, {"losses"}, {"encoder"}]
    with torch.device("meta"):
        assert LADDER["BTC-T"].model().parameter_count() == 58_941_627
        model = LADDER["BTC-B"].model()
    assert model.parameter_count() == 120_119_929
    assert model.config.losses == ("dice",)
    assert SEEDS == (42, 1337, 564738)


@pytest.mark.parametrize("names", [(), ("flip",), ("crop",), ("colour",), ("blur",), ("flip", "crop")])
def test_augmented_pairs_stay_one_pair_of_the_asked_size(names):
    """Both dates show the same picture, and the label its brightest part: after any augmentation they still do."""
    label = np.zeros((24, 24), np.uint8)
    label[4:12, 6:20] = 1
    values = (60 + 120 * label)[None].repeat(3, 0).astype(np.uint8)
    for seed in range(8):
        generator = np.random.default_rng(seed)
        sample = sample_of(values, label)
        for transform in StudySetting(augmentations=names).transforms(48):
            sample = transform(sample, generator)
        before, after = (sample.images[slot].values[0] for slot in ("before", "after"))
        np.testing.assert_array_equal(before, after)
        assert sample.target.labels.shape == before.shape == (48, 48)
        known = sample.target.known()
        truth = sample.target.labels[known] == 1
        bright = before[known] > before[known].mean()
        assert (truth == bright).mean() > 0.9


def test_a_transform_is_applied_as_often_as_said():
    sample = sample_of(noise())
    generator = np.random.default_rng(0)
    flip = Sometimes(RandomFlip(horizontal=1.0, vertical=0.0), 0.3)
    hits = sum(flip(sample, generator) is not sample for _ in range(1000))
    assert 250 < hits < 350
    with pytest.raises(ConfigurationError, match="0 to 1; found 2"):
        Sometimes(flip, 2)


@pytest.mark.parametrize(
    ("field", "enhancer"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)],
)
def test_colours_change_as_pillows(field, enhancer):
    values = noise()
    jitter = SharedColourJitter(**{field: 0.3})
    for seed in range(4):
        found = jitter(sample_of(values), np.random.default_rng(seed)).images["after"].values
        number = ("brightness", "contrast", "saturation").index(field)
        factor = 1 + 0.3 * np.random.default_rng(seed).uniform(-1, 1, 4)[number]
        picture = enhancer(Image.fromarray(values.transpose(1, 2, 0))).enhance(factor)
        expected = np.asarray(picture).transpose(2, 0, 1).astype(int)
        # Pillow cuts whole numbers where we round once, and rounds the mean grey.
        assert np.abs(found.astype(int) - expected).max() <= 1
        assert found.dtype == np.uint8


@pytest.mark.parametrize("turn", [-0.05, 0.05, 0.4])
def test_hue_turns_as_in_the_standard_library(turn):
    colours = np.random.default_rng(0).random((3, 5, 5)).astype(np.float32)
    colours[:, 0, 0] = 0.4
    found = turn_hue(colours, turn)
    for row in range(5):
        for column in range(5):
            hue, saturation, value = colorsys.rgb_to_hsv(*colours[:, row, column].tolist())
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            np.testing.assert_allclose(found[:, row, column], expected, atol=1e-5)


def test_other_bands_keep_their_values_and_other_units_are_refused():
    values = np.concatenate([noise(), noise(seed=1)[:1]])
    jitter = SharedColourJitter(brightness=0.5, hue=0.1)
    four = Sample(key="a", images={"before": rgb(values, roles=("blue", "green", "red", "nir"))})
    found = jitter(four, np.random.default_rng(0)).images["before"].values
    assert np.array_equal(found[3], values[3])
    assert not np.array_equal(found[:3], values[:3])
    swapped = Sample(key="a", images={"before": rgb(values[[2, 1, 0]])})
    assert np.array_equal(jitter(swapped, np.random.default_rng(0)).images["before"].values, found[[2, 1, 0]])
    with pytest.raises(UnitMismatch, match="8-bit"):
        jitter(Sample(key="a", images={"before": rgb(noise(), Unit.REFLECTANCE)}), np.random.default_rng(0))
    with pytest.raises(BandMismatch):
        jitter(Sample(key="a", images={"before": rgb(noise(), roles=("red", "nir", "blue"))}), np.random.default_rng(0))
    with pytest.raises(ConfigurationError, match="strength of hue"):
        SharedColourJitter(hue=0.6)


def test_a_blurred_point_is_the_kernel():
    values = np.zeros((3, 9, 9), np.uint8)
    values[:, 4, 4] = 200
    found = GaussianBlur(3, 3)(sample_of(values), np.random.default_rng(0)).images["after"].values
    # OpenCV's deviation for 3 pixels is 0.8: exp(-1 / 1.28) = 0.4578 beside 1.
    side = 0.4578 / 1.9156
    taps = np.array([side, 1 - 2 * side, side])
    expected = np.zeros((9, 9))
    expected[3:6, 3:6] = 200 * taps[:, None] * taps
    assert np.abs(found[0] - expected).max() <= 0.5 + 1e-2
    flat = np.full((3, 9, 9), 77, np.uint8)
    assert np.array_equal(GaussianBlur()(sample_of(flat), np.random.default_rng(0)).images["before"].values, flat)


def test_blurs_have_every_odd_side_and_no_other():
    values = np.zeros((3, 31, 31), np.uint8)
    values[:, 15, 15] = 255
    sides = set()
    for seed in range(40):
        found = GaussianBlur()(sample_of(values.astype(np.float32)), np.random.default_rng(seed)).images["after"].values
        sides.add(int((found[0, 15] > 0).sum()))
    assert sides == {3, 5, 7, 9}
    with pytest.raises(ConfigurationError, match="odd"):
        GaussianBlur(2, 4)
