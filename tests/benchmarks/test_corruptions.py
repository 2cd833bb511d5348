"""The twelve corruptions: hand cases, stronger with severity, seeded, within range, targets moving along."""

from __future__ import annotations

import io
import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import center_of_mass

from swath.benchmarks.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    BrightnessContrast,
    Clouds,
    CompressionArtefacts,
    DataGaps,
    GaussianBlur,
    GaussianNoise,
    Haze,
    MotionBlur,
    Rotation,
    SaltAndPepperNoise,
    Scale,
    Translation,
    corruption_named,
)
from swath.benchmarks.patterns import fractal_pattern, line_kernel
from swath.benchmarks.value_ranges import EightBitScale, ValueRange
from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap
from swath.samples.sample import Sample
from swath.samples.vectors import Boxes, OrientedBoxes, Points

APPEARANCE = [kind for kind in CORRUPTIONS if not kind.geometric]
GEOMETRIC = [kind for kind in CORRUPTIONS if kind.geometric]
CHIP = next((Path(__file__).parents[1] / "data" / "eurosat_rgb").rglob("*Residential*.jpg"))

of_all = pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda kind: kind.__name__)
of_appearance = pytest.mark.parametrize("kind", APPEARANCE, ids=lambda kind: kind.__name__)
of_geometry = pytest.mark.parametrize("kind", GEOMETRIC, ids=lambda kind: kind.__name__)


def pixels(values, unit=Unit.EIGHT_BIT, valid=None, **band) -> Pixels:
    array = np.asarray(values)
    bands = [Band(name=f"b{number}", role=f"b{number}", unit=unit, **band) for number in range(len(array))]
    return replace(Pixels.from_array(array, bands, unit), valid=valid)


def sample(values, target=None, key="a", **options) -> Sample:
    block = values if isinstance(values, Pixels) else pixels(values, **options)
    return Sample(key=key, images={"image": block}, target=target)


def corrupted(corruption, given: Sample) -> Sample:
    return corruption(given, np.random.default_rng(99))


def values_of(given: Sample):
    return given.images["image"].values


def flat(level, count=1, side=64):
    return np.full((count, side, side), level, np.uint8)


@pytest.fixture(scope="module")
def chip():
    return np.asarray(Image.open(CHIP)).transpose(2, 0, 1).copy()


def test_the_twelve_are_those_of_the_benchmark_in_its_order():
    assert [kind.name for kind in CORRUPTIONS] == [
        "Gaussian noise",
        "salt and pepper noise",
        "Gaussian blur",
        "motion blur",
        "brightness/contrast",
        "clouds",
        "haze",
        "data gaps",
        "compression artefacts",
        "rotation",
        "scale",
        "translation",
    ]
    assert [kind.geometric for kind in CORRUPTIONS] == [False] * 9 + [True] * 3
    assert corruption_named("clouds") is Clouds


@of_all
def test_severity_0_changes_nothing_and_others_do(kind, chip):
    given = sample(chip)
    assert corrupted(kind(0), given) is given
    assert (values_of(corrupted(kind(1), given)) != chip).any()


@of_appearance
@pytest.mark.parametrize("seed", [0, 1])
def test_distortion_grows_with_severity(kind, seed, chip):
    distances = [
        np.abs(values_of(corrupted(kind(severity, seed), sample(chip))).astype(float) - chip).mean()
        for severity in SEVERITIES
    ]
    assert distances[0] > 0
    assert (np.diff(distances) > 0).all(), distances


@of_geometry
def test_less_of_the_ground_keeps_its_place_with_severity(kind):
    rows, columns = np.mgrid[:60, :60].astype(np.float32)
    given = sample(np.stack([columns, rows]), unit=Unit.EIGHT_BIT)
    distances = []
    for severity in SEVERITIES:
        # Where a pixel shows the ground of (x, y), its bands say so; outside it is black.
        x, y = values_of(corrupted(kind(severity), given))
        seen = (x > 0) & (y > 0)
        distances.append(np.hypot(x - columns, y - rows)[seen].mean())
    assert (np.diff(distances) > 0).all(), distances


@of_all
def test_the_same_seed_and_key_give_the_same_image(kind, chip):
    first, again = (corrupted(kind(3, seed=5), sample(chip)) for _ in range(2))
    assert (values_of(first) == values_of(again)).all()
    # The protocol's generator plays no part.
    assert (values_of(kind(3, seed=5)(sample(chip), np.random.default_rng(1))) == values_of(first)).all()


@pytest.mark.parametrize(
    "kind", [k for k in CORRUPTIONS if k not in (GaussianBlur, CompressionArtefacts)], ids=lambda kind: kind.__name__
)
def test_seeds_and_keys_change_the_draw(kind, chip):
    by_seed = {values_of(corrupted(kind(3, seed=seed), sample(chip))).tobytes() for seed in range(6)}
    by_key = {values_of(corrupted(kind(3), sample(chip, key=str(key)))).tobytes() for key in range(6)}
    assert len(by_seed) > 1
    assert len(by_key) > 1


RANDOM = np.random.default_rng(0)
IMAGERY = {
    "8-bit": pixels(RANDOM.integers(0, 256, (3, 20, 24), dtype=np.uint8)),
    "one band": pixels(RANDOM.integers(0, 256, (1, 20, 24), dtype=np.uint8)),
    "reflectance": pixels(RANDOM.uniform(-0.01, 0.7, (5, 20, 24)).astype(np.float32), Unit.REFLECTANCE),
    "dn": pixels(
        RANDOM.integers(900, 5000, (4, 20, 24), dtype=np.uint16),
        Unit.DN,
        scale=1e-4,
        offset=-0.1,
        physical_unit=Unit.REFLECTANCE,
    ),
    "decibel": pixels(RANDOM.uniform(-31, 5, (2, 20, 24)).astype(np.float32), Unit.DECIBEL),
    "kelvin": pixels(RANDOM.uniform(270, 310, (1, 20, 24)).astype(np.float64), Unit.KELVIN),
    "unknown dn": pixels(RANDOM.integers(-500, 900, (2, 20, 24), dtype=np.int16), Unit.DN),
    "partly valid": pixels(
        np.where(RANDOM.random((20, 24)) < 0.7, RANDOM.uniform(0, 0.4, (2, 20, 24)), np.nan).astype(np.float32),
        Unit.REFLECTANCE,
    ),
}
IMAGERY["partly valid"] = replace(
    IMAGERY["partly valid"], valid=np.isfinite(IMAGERY["partly valid"].values).all(axis=0)
)
LIMITS = {
    "8-bit": (0, 255),
    "one band": (0, 255),
    "reflectance": (0, 0.3),
    "dn": (1000, 4000),
    "decibel": (-25, 0),
    "partly valid": (0, 0.3),
}


@of_all
@pytest.mark.parametrize("name", IMAGERY)
@pytest.mark.parametrize("severity", [1, 5])
def test_no_corruption_leaves_the_range_of_values(kind, name, severity):
    before = IMAGERY[name]
    after = corrupted(kind(severity), sample(before)).images["image"]
    seen = before.values if before.valid is None else before.values[:, before.valid]
    seen = seen.reshape(len(seen), -1).astype(np.float64)
    low, high = LIMITS.get(name, (np.inf, -np.inf))
    lowest, highest = (np.array([edge]) for edge in (np.minimum(seen.min(1), low), np.maximum(seen.max(1), high)))
    found = after.values if after.valid is None else after.values[:, after.valid]
    found = found.reshape(len(found), -1).astype(np.float64)
    slack = 1e-6 * (highest - lowest).max()
    assert (found.min(1) >= lowest - slack).all()
    assert (found.max(1) <= highest + slack).all()
    assert after.values.dtype == before.values.dtype
    assert after.size == before.size
    assert (after.unit, after.bands) == (before.unit, before.bands)


@of_appearance
def test_invalid_pixels_stay_as_they_are_and_spoil_nothing(kind):
    before = IMAGERY["partly valid"]
    after = corrupted(kind(3), sample(before)).images["image"]
    assert np.isnan(after.values[:, ~before.valid]).sum() == np.isnan(before.values[:, ~before.valid]).sum()
    assert np.isfinite(after.values[:, before.valid]).all()
    assert after.valid is before.valid


@of_appearance
def test_other_units_are_corrupted_as_their_8_bit_view(kind, chip):
    shown = chip.astype(np.float64)
    expected = values_of(corrupted(kind(4), sample(shown)))
    reflectance = values_of(corrupted(kind(4), sample(shown / 255 * 0.3, unit=Unit.REFLECTANCE)))
    assert reflectance / 0.3 * 255 == pytest.approx(expected, abs=1e-6)
    given = kind(4, value_range=ValueRange(-1.0, 1.0))
    index = values_of(corrupted(given, sample(shown / 127.5 - 1, unit=Unit.UNITLESS)))
    assert (index + 1) * 127.5 == pytest.approx(expected, abs=1e-6)


def test_units_without_black_and_white_take_percentiles_of_the_image():
    values = np.arange(101, dtype=np.float64).reshape(1, 1, 101)
    scale = EightBitScale.of(pixels(values, Unit.METRE))
    assert (scale.low.item(), scale.span.item()) == (1, 98)
    constant = EightBitScale.of(pixels(np.full((1, 2, 2), 7.0), Unit.METRE))
    assert constant.back(constant.forth()).tolist() == [[[7.0, 7.0], [7.0, 7.0]]]
    assert EightBitScale.of(pixels(flat(3), Unit.DN)).span.item() == 255


@of_all
@pytest.mark.parametrize("side", [(1, 1), (3, 2)])
def test_tiny_images_survive(kind, side):
    given = sample(np.full((2, *side), 90, np.uint8), Label.of("a", ("a", "b"), Size(*side)))
    after = corrupted(kind(5), given)
    assert (after.size, after.target.size, after.target.best.name) == (Size(*side), Size(*side), "a")


def test_gaussian_noise_has_its_deviation_and_is_independent():
    noise = values_of(corrupted(GaussianNoise(2), sample(flat(128, 2, 128).astype(np.float32)))) - 128
    assert noise.std() == pytest.approx(20, rel=0.03)
    assert abs(noise.mean()) < 0.5
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.03


def test_salt_and_pepper_are_halves_of_the_fraction_in_all_bands():
    after = values_of(corrupted(SaltAndPepperNoise(5), sample(flat(100, 3, 128))))
    for level in (0, 255):
        hit = (after == level).all(axis=0)
        assert hit.mean() == pytest.approx(0.075, abs=0.008)
        assert (hit == (after[0] == level)).all()
    assert (values_of(corrupted(SaltAndPepperNoise(2), sample(flat(100)))) != 100).mean() == pytest.approx(
        0.03, abs=0.01
    )


def test_gaussian_blur_equals_its_definition():
    impulse = np.zeros((1, 31, 31))
    impulse[0, 15, 15] = 255
    after = values_of(corrupted(GaussianBlur(2), sample(impulse)))[0]
    weights = np.exp(-(np.arange(-8, 9) ** 2) / (2 * 2.0**2))
    weights /= weights.sum()
    assert after[7:24, 7:24] == pytest.approx(255 * np.outer(weights, weights), abs=1e-9)


def test_a_blur_is_a_mean_of_valid_pixels():
    values = np.full((1, 9, 9), 0.1)
    values[0, :, 5:] = np.nan
    block = pixels(values, Unit.REFLECTANCE, valid=np.isfinite(values[0]))
    for kind in (GaussianBlur, MotionBlur):
        after = values_of(corrupted(kind(3), sample(block)))
        assert after[0, :, :5] == pytest.approx(0.1, abs=1e-12)


def test_motion_blur_spreads_a_point_along_a_line_of_its_length():
    impulse = np.zeros((1, 41, 41))
    impulse[0, 20, 20] = 255
    for key in range(5):
        after = values_of(corrupted(MotionBlur(3), sample(impulse, key=str(key))))[0]
        assert after.sum() == pytest.approx(255)
        assert center_of_mass(after) == pytest.approx((20, 20))
        rows, columns = np.nonzero(after)
        spread = np.cov(np.stack([rows, columns]), aweights=after[rows, columns], bias=True)
        along, across = np.linalg.eigvalsh(spread)[::-1]
        # 13 points a pixel apart: variance (13^2 - 1) / 12, and at most a quarter each way from sharing out.
        assert along == pytest.approx((13**2 - 1) / 12, abs=0.5)
        assert across < 0.5


def test_the_line_kernel_of_a_diagonal_is_the_diagonal():
    kernel = line_kernel(5, math.pi / 2)
    assert kernel[:, 2] == pytest.approx(np.full(5, 0.2))
    for angle in np.linspace(0, math.pi, 17):
        turned = line_kernel(9, angle)
        assert turned.sum() == pytest.approx(1)
        assert turned == pytest.approx(turned[::-1, ::-1], abs=1e-9)


def test_brightness_and_contrast_by_hand():
    values = np.array([[[100.0, 140.0]], [[50.0, 50.0]]])
    after = values_of(corrupted(BrightnessContrast(2), sample(values)))
    shift = after[1, 0, 0] - 50
    assert abs(shift) == pytest.approx(30)
    assert after[0, 0] == pytest.approx(np.array([104, 136]) + shift)
    signs = {
        np.sign(values_of(corrupted(BrightnessContrast(1), sample(values, key=str(k))))[1, 0, 0] - 50) for k in range(9)
    }
    assert signs == {-1, 1}


def test_clouds_cover_their_share_and_are_white_at_most():
    for severity, cover in zip(SEVERITIES, (0.15, 0.25, 0.35, 0.45, 0.60), strict=True):
        after = values_of(corrupted(Clouds(severity), sample(np.zeros((2, 64, 64)))))
        assert (after[0] > 0).mean() == pytest.approx(cover, abs=0.002)
        assert (after[0] == after[1]).all()
        assert after.max() == 255
    assert (values_of(corrupted(Clouds(5), sample(flat(255)))) == 255).all()


def test_haze_follows_its_equation():
    black = values_of(corrupted(Haze(3), sample(np.zeros((1, 64, 64)))))
    white = values_of(corrupted(Haze(3), sample(np.full((1, 64, 64), 255.0))))
    # I t + A (1 - t) with I = 0 and 255: the difference is 255 t, and black alone is A (1 - t).
    transmission = (white - black) / 255
    assert transmission.mean() == pytest.approx(0.6, abs=0.01)
    assert (transmission.min(), transmission.max()) >= (0.6 * 0.9 - 1e-9, 0.6)
    assert transmission.max() <= 0.6 * 1.1 + 1e-9
    assert black == pytest.approx(0.9 * 255 * (1 - transmission))


@pytest.mark.parametrize("key", ["a", "b", "c"])
def test_gaps_take_their_share_grow_and_are_black(key, chip):
    bright = np.maximum(chip, 1)
    before = np.zeros((64, 64), bool)
    for severity, share in zip(SEVERITIES, DataGaps.shares, strict=True):
        after = values_of(corrupted(DataGaps(severity), sample(bright, key=key)))
        gaps = (after == 0).all(axis=0)
        assert gaps.mean() == pytest.approx(share, abs=0.012)
        assert (after[:, ~gaps] == bright[:, ~gaps]).all()
        assert (gaps | ~before).all()
        before = gaps


def test_compression_is_that_of_pillow_for_colour_and_for_single_bands(chip):
    stream = io.BytesIO()
    Image.fromarray(chip.transpose(1, 2, 0)).save(stream, "JPEG", quality=20)
    expected = np.asarray(Image.open(stream)).transpose(2, 0, 1)
    assert (values_of(corrupted(CompressionArtefacts(3), sample(chip))) == expected).all()
    stream = io.BytesIO()
    Image.fromarray(chip[1]).save(stream, "JPEG", quality=7)
    after = values_of(corrupted(CompressionArtefacts(5), sample(chip[:2])))
    assert (after[1] == np.asarray(Image.open(stream))).all()


def test_what_is_brighter_than_white_stays_so_after_compression():
    values = np.full((1, 16, 16), 0.1)
    values[0, 8:, 8:] = 0.9
    after = values_of(corrupted(CompressionArtefacts(1), sample(values, unit=Unit.REFLECTANCE)))
    assert after[0, 12:, 12:].min() > 0.85


def blob(height=100, width=120):
    """A bright square on dark ground with its mask, its centre, its box and its oriented box."""
    image = np.full((1, height, width), 20, np.uint8)
    image[0, 40:60, 50:70] = 220
    size = Size(height, width)
    mask = ClassMap(size=size, labels=(image[0] > 100).astype(np.uint8), classes=("ground", "roof"))
    return image, size, mask


def test_a_translation_moves_image_and_labels_by_whole_pixels():
    image, _, mask = blob()
    after = corrupted(Translation(2), sample(image, mask))
    rows, columns = np.nonzero(after.target.labels == 1)
    down, right = rows.min() - 40, columns.min() - 50
    assert (abs(down), abs(right)) == (10, 12)
    kept = np.zeros((100, 120), bool)
    kept[max(down, 0) : 100 + min(down, 0), max(right, 0) : 120 + min(right, 0)] = True
    shifted = np.roll(image[0], (down, right), (0, 1))
    assert (values_of(after)[0] == np.where(kept, shifted, 0)).all()
    assert (after.target.labels == np.where(kept, np.roll(mask.labels, (down, right), (0, 1)), 255)).all()
    assert after.images["image"].valid is None
    points = Points.of([[60, 50]], classes=("roof",), height=100, width=120)
    assert corrupted(Translation(2), sample(image, points)).target.points.tolist() == [[60 + right, 50 + down]]


@of_geometry
@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_targets_stay_on_what_they_show(kind, severity, seed):
    image, size, mask = blob()
    corruption = kind(severity, seed)
    after = corrupted(corruption, sample(image, mask))
    roof = values_of(after)[0] > 120
    labelled = after.target.labels == 1
    assert (roof & labelled).sum() / (roof | labelled).sum() > 0.93
    known = after.target.labels != 255
    assert (values_of(after)[0][~known] == 0).all()
    assert (values_of(after)[0][known] >= 19).all()
    row, column = center_of_mass(roof)
    points = Points.of([[60, 50]], classes=("roof",), height=100, width=120)
    moved = corrupted(corruption, sample(image, points)).target
    assert moved.points[0] == pytest.approx((column + 0.5, row + 0.5), abs=0.3)
    oriented = OrientedBoxes(size=size, boxes=[[60, 50, 20, 20, 0]], classes=("roof",))
    there = corrupted(corruption, sample(image, oriented)).target.boxes[0]
    assert there[2] * there[3] == pytest.approx(roof.sum(), rel=0.07)


def test_rotations_have_their_angle_and_scales_their_factor():
    image, size, _ = blob()
    turned = {}
    for seed in range(6):
        box = OrientedBoxes(size=size, boxes=[[60, 50, 40, 20, 0]], classes=("roof",))
        angle = corrupted(Rotation(3, seed), sample(image, box)).target.boxes[0, 4]
        turned[round(math.degrees(angle))] = True
    assert set(turned) == {-20, 20}
    lengths = set()
    for seed in range(6):
        box = OrientedBoxes(size=size, boxes=[[60, 50, 40, 20, 0]], classes=("roof",))
        lengths.add(round(float(corrupted(Scale(5, seed), sample(image, box)).target.boxes[0, 2]), 3))
    assert lengths == {20.0, 80.0}


def test_objects_of_which_little_is_left_are_dropped():
    image, size, _ = blob()
    for seed in range(4):
        corruption = Translation(5, seed)
        centre = Points.of([[60, 50]], classes=("a",), height=100, width=120)
        x, y = corrupted(corruption, sample(image, centre)).target.points[0] - (60, 50)
        # Strips at the edge that is lost: a fifth and two fifths of each stay.
        lost = 0 if x < 0 else 120
        boxes = [
            sorted((lost, lost + s * w)) for s, w in (((1, 37.5), (1, 50.0)) if x < 0 else ((-1, 37.5), (-1, 50.0)))
        ]
        given = Boxes(size=size, boxes=[[a, 40, b, 60] for a, b in boxes], classes=("a",))
        left = corrupted(corruption, sample(image, given)).target
        assert abs(x) == 30
        assert len(left) == 1
        assert left.boxes[0, 2] - left.boxes[0, 0] == pytest.approx(20)
        assert left.boxes[0, 1] == 40 + y


def test_what_comes_from_outside_is_black_in_the_unit_and_counts_as_seen():
    values = np.full((2, 40, 40), -8.0, np.float32)
    valid = np.ones((40, 40), bool)
    valid[18:22, 18:22] = False
    for kind in GEOMETRIC:
        after = corrupted(kind(3, seed=1), sample(values, unit=Unit.DECIBEL)).images["image"]
        assert set(np.unique(after.values.round(4))) <= {np.float32(-25.0), np.float32(-8.0)}
        assert after.valid is None
        partly = corrupted(kind(3, seed=1), sample(values, unit=Unit.DECIBEL, valid=valid)).images["image"]
        hidden = ~partly.valid
        assert 4 <= hidden.sum() <= 40
        assert (partly.values[:, ~hidden].round(4) == after.values[:, ~hidden].round(4)).all()


def test_all_slots_move_alike_and_look_bad_each_by_itself(chip):
    pair = Sample(key="a", images={"before": pixels(chip), "after": pixels(chip)})
    moved = corrupted(Rotation(4), pair).images
    assert (moved["before"].values == moved["after"].values).all()
    noisy = corrupted(GaussianNoise(1), pair).images
    assert (noisy["before"].values != noisy["after"].values).mean() > 0.9


def test_patterns_are_standardised_and_smoother_with_roughness():
    roughs = [fractal_pattern(Size(64, 48), np.random.default_rng(0), roughness=r) for r in (1.0, 2.0, 3.0)]
    for pattern in roughs:
        assert (pattern.mean(), pattern.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    steps = [np.abs(np.diff(pattern, axis=1)).mean() for pattern in roughs]
    assert steps[0] > steps[1] > steps[2]


def test_corruptions_are_frozen_comparable_and_checked():
    assert GaussianNoise(2) == GaussianNoise(2) != GaussianBlur(2)
    assert len({GaussianNoise(2), GaussianNoise(2), GaussianNoise(3)}) == 2
    with pytest.raises(FrozenInstanceError):
        GaussianNoise(2).severity = 3
    with pytest.raises(ConfigurationError, match="found 6"):
        Haze(6)
    with pytest.raises(ConfigurationError, match="no corruption 'rain'"):
        corruption_named("rain")
    with pytest.raises(ConfigurationError, match="rises"):
        ValueRange(1.0, 1.0)
