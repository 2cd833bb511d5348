"""Samples and transforms: images and targets must stay together, and chance must be as stated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swath.errors import AnnotationError, ConfigurationError, ShapeError
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Band, Unit
from swath.imagery.grid import Affine, Grid
from swath.imagery.pixels import Pixels
from swath.samples import ClassMap, Points, Raster, Sample
from swath.samples.moves import Crop, QuarterTurns, Rotate
from swath.samples.transforms import (
    CentreCrop,
    ColourJitter,
    Compose,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomRotate,
    RandomRotate90,
    Resize,
    Transform,
)

RED = Band(name="red", role="red")


def block(values: np.ndarray, unit: Unit = Unit.EIGHT_BIT) -> Pixels:
    size = Size(*values.shape[-2:])
    grid = Grid(crs="EPSG:32633", transform=Affine(10.0, 0.0, 5e5, 0.0, -10.0, 4e6), size=size)
    return Pixels.from_array(values[None], [RED], unit, grid=grid)


def labelled(height: int = 20, width: int = 30) -> Sample:
    """The image shows the class map itself, so that any drift between them shows."""
    labels = np.random.default_rng(1).integers(1, 200, (height, width), dtype=np.uint8)
    classes = tuple(f"class {number}" for number in range(200))
    return Sample(
        key="a",
        images={"before": block(labels), "after": block(labels + 1)},
        target=ClassMap(size=Size(height, width), labels=labels, classes=classes),
        footprint=block(labels).grid,
    )


@pytest.mark.parametrize(
    "transform",
    [
        RandomFlip(),
        RandomRotate90(),
        RandomCrop(12),
        RandomCrop(Size(40, 8)),
        CentreCrop(14),
        Pad(size=Size(10, 64), multiple_of=16),
        Compose((RandomCrop(16), RandomFlip(), RandomRotate90())),
    ],
)
def test_images_target_grid_and_footprint_stay_together(transform: Transform) -> None:
    generator = np.random.default_rng(0)
    for _ in range(8):
        moved = transform(labelled(), generator)
        assert isinstance(moved.target, ClassMap)
        before, after = moved.images["before"], moved.images["after"]
        known = moved.target.known()
        np.testing.assert_array_equal(before.values[0], np.where(known, moved.target.labels, 0))
        np.testing.assert_array_equal(after.values[0], np.where(known, moved.target.labels + 1, 0))
        assert moved.size == moved.target.size == before.size == after.size
        assert before.grid == after.grid == moved.footprint
        if before.valid is None:
            assert known.all()
        else:
            np.testing.assert_array_equal(before.valid, known)


@pytest.mark.parametrize("transform", [RandomResizedCrop(Size(11, 17), area=(0.2, 0.8)), RandomRotate(30.0)])
def test_interpolating_transforms_keep_a_bright_blob_under_its_point(transform: Transform) -> None:
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :80] + 0.5
    blob = 200 * np.exp(-((columns - 42.3) ** 2 + (rows - 28.6) ** 2) / (2 * 6.0**2))
    sample = Sample(
        key="a",
        images={"image": block(blob.astype(np.float32), Unit.REFLECTANCE)},
        target=Points.of([[42.3, 28.6]], classes=("a",), height=60, width=80),
    )
    checked = 0
    for _ in range(30):
        moved = transform(sample, generator)
        assert isinstance(moved.target, Points)
        values = moved.images["image"].values[0]
        row, column = np.unravel_index(values.argmax(), values.shape)
        inner = 0 < row < values.shape[0] - 1 and 0 < column < values.shape[1] - 1
        if len(moved.target) and inner:
            np.testing.assert_allclose(moved.target.points[0], [column + 0.5, row + 0.5], atol=1.0)
            checked += 1
    assert checked > 10


def test_a_turn_with_a_probability_leaves_the_other_samples_as_they_are() -> None:
    sample, generator = labelled(), np.random.default_rng(0)
    turned = sum(RandomRotate(20.0, probability=0.3)(sample, generator) is not sample for _ in range(400))
    assert 90 < turned < 150  # 120, three standard deviations of 9.2
    assert RandomRotate(20.0, probability=0.0)(sample, generator) is sample
    with pytest.raises(ConfigurationError, match=r"a turn must be 0 to 1; found 1\.5"):
        RandomRotate(20.0, probability=1.5)


def test_a_certain_turn_draws_its_angle_alone_and_reads_as_it_did_before_there_was_a_probability() -> None:
    draw = np.random.default_rng(5)
    turned = RandomRotate(20.0)(labelled(), np.random.default_rng(5))
    expected = labelled().moved(Rotate(float(draw.uniform(-20.0, 20.0))))
    np.testing.assert_array_equal(turned.images["before"].values, expected.images["before"].values)
    assert repr(RandomRotate(20.0)) == "RandomRotate(degrees=20.0)"
    assert repr(RandomRotate(20.0, probability=0.5)) == "RandomRotate(degrees=20.0, probability=0.5)"


def test_the_same_seed_gives_the_same_sample() -> None:
    transform = Compose((RandomResizedCrop(8), RandomFlip(), RandomRotate90(), ColourJitter(0.3, 0.3)))
    one, other = (transform(labelled(), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.images["before"].values, other.images["before"].values)
    assert one.target == other.target
    different = transform(labelled(), np.random.default_rng(8))
    assert not np.array_equal(one.images["before"].values, different.images["before"].values)


def test_flips_and_turns_come_as_often_as_stated() -> None:
    sample, generator = labelled(3, 3), np.random.default_rng(0)
    original = sample.images["before"].values[0]

    def share(transform: Transform, expected: np.ndarray) -> float:
        draws = [transform(sample, generator).images["before"].values[0] for _ in range(400)]
        return float(np.mean([np.array_equal(draw, expected) for draw in draws]))

    assert share(RandomFlip(horizontal=0.8, vertical=0.0), original[:, ::-1]) == pytest.approx(0.8, abs=0.07)
    assert share(RandomFlip(horizontal=0.8, vertical=0.5), original[::-1, ::-1]) == pytest.approx(0.4, abs=0.08)
    assert share(RandomRotate90(), np.rot90(original, 3)) == pytest.approx(0.25, abs=0.07)


def test_random_crops_reach_every_place_and_none_outside() -> None:
    generator = np.random.default_rng(0)
    sample = labelled(5, 6)
    corners = {
        (crop.images["before"].grid.transform.c, crop.images["before"].grid.transform.f)
        for crop in (RandomCrop(4)(sample, generator) for _ in range(200))
    }
    assert corners == {(5e5 + 10 * x, 4e6 - 10 * y) for x in range(3) for y in range(2)}
    assert all(RandomCrop(4)(sample, generator).images["before"].valid is None for _ in range(5))


def test_resized_crops_have_the_stated_area_and_aspect() -> None:
    transform = RandomResizedCrop(8, area=(0.3, 0.5), aspect=(0.5, 2.0))
    generator = np.random.default_rng(0)
    drawn = [transform.window(Size(400, 400), generator) for _ in range(300)]
    areas = np.array([window.area for window in drawn]) / 400**2
    aspects = np.array([window.width / window.height for window in drawn])
    assert areas.min() > 0.295 and areas.max() < 0.505 and np.ptp(areas) > 0.15
    assert aspects.min() > 0.49 and aspects.max() < 2.05
    assert abs(np.log(aspects).mean()) < 0.1
    assert all(Window(0, 0, 400, 400).contains(window) for window in drawn)


@pytest.mark.parametrize(("frame", "expected"), [(Size(10, 1000), Size(10, 20)), (Size(1000, 10), Size(20, 10))])
def test_a_frame_of_another_shape_gives_the_largest_window_that_fits(frame: Size, expected: Size) -> None:
    transform = RandomResizedCrop(8, area=(1.0, 1.0), aspect=(0.5, 2.0))
    window = transform.window(frame, np.random.default_rng(0))
    assert window.size == expected
    assert abs(window.row + window.height / 2 - frame.height / 2) <= 1
    assert abs(window.column + window.width / 2 - frame.width / 2) <= 1


def test_padding_and_resizing_do_nothing_where_nothing_is_to_do() -> None:
    sample, generator = labelled(32, 64), np.random.default_rng(0)
    assert Pad(size=16, multiple_of=32)(sample, generator) is sample
    assert Resize(Size(32, 64))(sample, generator) is sample
    assert Resize(16)(sample, generator).size == Size(16, 16)
    assert Pad(multiple_of=48)(sample, generator).size == Size(48, 96)


def test_slots_of_another_pixel_count_get_the_same_ground() -> None:
    coarse, fine = np.arange(24, dtype=np.uint8).reshape(4, 6), np.zeros((8, 12), dtype=np.float32)
    fine[4:, 6:] = 5
    sample = Sample(
        key="a",
        images={"image": block(coarse)},
        target=Raster(size=Size(8, 12), values=fine[None], names=("sharp",), unit="8-bit"),
    )
    cut = sample.moved(Crop(Window(2, 3, 2, 3)))
    assert isinstance(cut.target, Raster)
    assert cut.target.size == Size(4, 6) and (cut.target.values == 5).all()
    assert cut.images["image"].values.tolist() == [[[15, 16, 17], [21, 22, 23]]]
    assert sample.moved(QuarterTurns(1)).target.size == Size(12, 8)  # type: ignore[union-attr]
    resized = Resize(2)(sample, np.random.default_rng(0))
    assert resized.target is not None and resized.target.size == Size(4, 4)
    odd = Sample(key="b", images={"image": block(fine), "coarse": block(coarse)})
    with pytest.raises(AnnotationError, match="whole pixels"):
        odd.moved(Crop(Window(1, 0, 2, 2)))


def test_jitter_draws_anew_for_every_slot_and_spares_radar() -> None:
    grey = np.full((4, 4), 100, dtype=np.uint8)
    sample = Sample(
        key="a",
        images={"before": block(grey), "after": block(grey), "radar": block(grey * -0.1, Unit.DECIBEL)},
    )
    generator = np.random.default_rng(0)
    seen = [ColourJitter(brightness=0.2)(sample, generator).images for _ in range(50)]
    before = np.array([images["before"].values[0, 0, 0] for images in seen])
    after = np.array([images["after"].values[0, 0, 0] for images in seen])
    assert before.min() >= 80 and before.max() <= 120 and np.ptp(before) > 25
    assert (before != after).mean() > 0.8
    assert all(images["radar"] is sample.images["radar"] for images in seen)


@pytest.mark.parametrize(
    "build",
    [
        lambda: RandomFlip(horizontal=1.5),
        lambda: RandomResizedCrop(8, area=(0.0, 1.0)),
        lambda: RandomResizedCrop(8, area=(0.5, 0.2)),
        lambda: RandomResizedCrop(8, aspect=(2.0, 0.5)),
        lambda: ColourJitter(brightness=-0.1),
        lambda: ColourJitter(contrast=math.inf),
        lambda: Pad(multiple_of=0),
    ],
)
def test_settings_without_meaning_are_refused(build: object) -> None:
    with pytest.raises(ConfigurationError):
        build()  # type: ignore[operator]


def test_a_sample_needs_an_image() -> None:
    with pytest.raises(ShapeError, match="'a' has no image"):
        Sample(key="a", images={})
