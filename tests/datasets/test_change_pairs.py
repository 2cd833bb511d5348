"""Pairs made from single dates: what differs is what the truth says, and everything repeats by number and seed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from swath.datasets.builders.change_pairs import (
    ChangePairs,
    LightSettings,
    PairSettings,
    object_masks,
    relight,
)
from swath.datasets.registry import dataset
from swath.errors import ConfigurationError, DataError
from swath.geometry.masks import RunLengthMask
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.samples.instances import Instances
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap
from swath.samples.sample import Sample
from swath.samples.vectors import Boxes, Points

DATA = Path(__file__).parent.parent / "data"
RGB = tuple(Band(name=name, role=name) for name in ("red", "green", "blue"))
STILL = LightSettings(gain=0, band_gain=0, gamma=0, offset=0, season=0, blur=0, noise=0)
PLAIN = PairSettings(size=64, zoom=(1.0, 1.0), light=STILL, registration=0.0)


def sample(number, *, side=128, target=None):
    """Smooth ground of its own colour, with some texture."""
    draw = np.random.default_rng(number)
    ground = ndimage.gaussian_filter(draw.standard_normal((3, side, side)), (0, 6, 6)) * 120
    values = np.clip(draw.uniform(60, 190, (3, 1, 1)) + ground, 0, 255).astype(np.uint8)
    pixels = Pixels.from_array(values, RGB, Unit.EIGHT_BIT)
    return Sample(key=str(number), images={"image": pixels}, target=target)


def replace_values(of, change):
    pixels = of.images["image"]
    return replace(of, images={"image": replace(pixels, values=change(pixels.values))})


SOURCE = [sample(number) for number in range(6)]


def values(pair, slot):
    return pair.images[slot].values.astype(int)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_only_what_the_truth_marks_differs(index):
    pair = ChangePairs(source=SOURCE, pairs=10_001, settings=replace(PLAIN, unchanged=0.0))[index]
    differs = np.abs(values(pair, "before") - values(pair, "after")).max(0) > 0
    changed = pair.target.labels == 1
    assert pair.target.classes == ("unchanged", "changed")
    beside = ndimage.binary_dilation(changed, np.ones((3, 3)), iterations=4)
    # Edges are soft over three pixels, and that of a piece beyond the frame reaches into it.
    assert not (differs & ~beside)[4:-4, 4:-4].any()


def test_changed_ground_looks_different():
    pairs = ChangePairs(source=SOURCE, pairs=60, settings=replace(PLAIN, unchanged=0.0))
    seen = 0
    for index in range(60):
        changed = pairs[index].target.labels == 1
        if changed.sum() > 100:
            seen += 1
            apart = np.abs(values(pairs[index], "before") - values(pairs[index], "after"))[:, changed]
            assert apart.mean() > 10
    assert seen > 20


def test_a_share_of_pairs_is_unchanged():
    pairs = ChangePairs(source=SOURCE, pairs=200, settings=replace(PLAIN, unchanged=1.0))
    for index in range(5):
        assert not (pairs[index].target.labels == 1).any()
        np.testing.assert_array_equal(values(pairs[index], "before"), values(pairs[index], "after"))
    some = ChangePairs(source=SOURCE, pairs=200, settings=replace(PLAIN, unchanged=0.0, regions=4))
    assert sum((some[index].target.labels == 1).any() for index in range(60)) > 30


def test_pairs_repeat_by_number_and_seed():
    first, again = (ChangePairs(source=SOURCE, pairs=50, seed=3)[7] for _ in range(2))
    other = ChangePairs(source=SOURCE, pairs=50, seed=4)[7]
    np.testing.assert_array_equal(values(first, "after"), values(again, "after"))
    assert first.target == again.target
    assert not np.array_equal(values(first, "after"), values(other, "after"))


def test_the_second_date_is_shifted_by_at_most_two_pixels():
    """The shift that fits best, found by trying all of a grid, lies within the limit and is not always zero."""
    settings_ = replace(PLAIN, unchanged=1.0, registration=2.0)
    found = []
    for index in range(8):
        pair = ChangePairs(source=SOURCE, pairs=8, settings=settings_)[index]
        before, after = (values(pair, slot).astype(np.float32) for slot in ("before", "after"))
        tries = {
            (down, right): np.abs(ndimage.shift(before, (0, down, right), order=1) - after)[:, 6:-6, 6:-6].mean()
            for down in np.arange(-4, 4.1, 0.5)
            for right in np.arange(-4, 4.1, 0.5)
        }
        found.append(min(tries, key=tries.get))
    assert np.abs(found).max() <= 2.0
    assert np.abs(found).max() >= 0.5


def test_pairs_start_from_two_dates_of_a_place():
    """Nothing replaced, no light: the two dates of the place themselves, cut alike, and marked as unchanged."""
    other_light = replace_values(SOURCE[0], lambda image: 255 - image)
    wanted = replace(PLAIN, unchanged=1.0, two_dates=1.0)
    pairs = ChangePairs(source=[SOURCE[0], other_light], pairs=6, settings=wanted, places=((0, 1),))
    for index in range(6):
        total = values(pairs[index], "before") + values(pairs[index], "after")
        np.testing.assert_array_equal(total, 255)
        assert not (pairs[index].target.labels == 1).any()


def test_dates_of_a_place_that_differ_in_size_are_not_paired():
    wanted = replace(PLAIN, unchanged=1.0, two_dates=1.0)
    pairs = ChangePairs(source=[sample(0), sample(1, side=96)], pairs=6, settings=wanted, places=((0, 1),))
    for index in range(6):
        np.testing.assert_array_equal(values(pairs[index], "before"), values(pairs[index], "after"))


def test_fields_take_another_colour_and_stay_unchanged():
    light = replace(STILL, fields=3, field_gain=0.3)
    pairs = ChangePairs(source=SOURCE, pairs=20, settings=replace(PLAIN, unchanged=1.0, light=light))
    differing = 0
    for index in range(20):
        before, after = (values(pairs[index], slot) for slot in ("before", "after"))
        differing += bool(np.abs(before - after).max() > 10)
        assert not (pairs[index].target.labels == 1).any()
    assert 10 < differing < 20, "up to three fields, none in a quarter of the pairs"


def test_vanished_things_give_way_to_the_ground_beside_them():
    side = 160
    flat = np.full((3, side, side), 90, np.uint8)
    rows, columns = np.mgrid[:side, :side] + 0.5
    centres = [(x, y) for x in range(20, 150, 30) for y in range(20, 150, 30)]
    for x, y in centres:
        flat[:, (columns - x) ** 2 + (rows - y) ** 2 <= 16] = 220
    points = Points(size=Size(side, side), points=centres, labels=[0] * len(centres), classes=("tree",))
    trees = Sample(key="t", images={"image": Pixels.from_array(flat, RGB, Unit.EIGHT_BIT)}, target=points)
    wanted = replace(PLAIN, unchanged=0.0, regions=0, vanish=1.0, object_radius=5.0)
    pairs = ChangePairs(source=[trees], pairs=20, settings=wanted)
    marked = 0
    for index in range(20):
        pair = pairs[index]
        changed = ndimage.binary_erosion(pair.target.labels == 1)
        lower = np.minimum(values(pair, "before"), values(pair, "after"))
        upper = np.maximum(values(pair, "before"), values(pair, "after"))
        marked += int(changed.sum())
        assert np.abs(lower[:, changed] - 90).max(initial=0) <= 2, "one date shows bare ground"
        unchanged_trees = (upper[0] > 200) & (lower[0] > 200)
        assert not (unchanged_trees & (pair.target.labels == 1)).any()
    assert marked > 500


def test_every_kind_of_truth_gives_masks():
    size = Size(10, 10)
    labels = np.zeros((10, 10), np.uint8)
    labels[1:3, 1:3], labels[6:9, 6:9] = 1, 1
    built = ClassMap(size=size, labels=labels, classes=("ground", "building"))
    boxes = Boxes(size=size, boxes=[[2, 3, 5, 7]], labels=[0], scores=[1.0], classes=("car",))
    instance = Instances(
        size=size,
        boxes=[[1, 1, 3, 3]],
        masks=(RunLengthMask.encode(labels == 1),),
        labels=[0],
        scores=[1.0],
        classes=("building",),
    )
    assert [int(mask.sum()) for mask in object_masks(built, radius=1.0)] == [4, 9]
    assert [int(mask.sum()) for mask in object_masks(boxes, radius=1.0)] == [12]
    assert [int(mask.sum()) for mask in object_masks(instance, radius=1.0)] == [13]
    assert object_masks(None, radius=1.0) == []
    with pytest.raises(DataError, match="found Label"):
        object_masks(Label.of("a", ("a", "b"), size), radius=1.0)


def test_light_keeps_the_range_and_the_shape():
    image = np.random.default_rng(0).uniform(0, 255, (4, 32, 32)).astype(np.float32)
    strong = LightSettings(gain=1.0, band_gain=1.0, gamma=1.0, offset=0.5, season=3.0, blur=3.0, noise=0.2)
    for seed in range(10):
        relit = relight(image, strong, np.random.default_rng(seed), 255.0)
        assert relit.shape == image.shape
        assert relit.min() >= 0
        assert relit.max() <= 255


def test_bad_settings_and_no_imagery_are_refused():
    with pytest.raises(DataError, match="made of no imagery"):
        ChangePairs(source=[], pairs=3)
    with pytest.raises(ConfigurationError, match="'unchanged' must be 0 to 1; found 2"):
        PairSettings(unchanged=2)
    with pytest.raises(ConfigurationError, match="found 16 and 5"):
        PairSettings(size=16, registration=5)
    with pytest.raises(ConfigurationError, match="'zoom' must rise"):
        PairSettings(zoom=(1.0, 0.5))
    with pytest.raises(IndexError):
        ChangePairs(source=SOURCE, pairs=3)[3]


@pytest.fixture
def tiles(tmp_path):
    """Ten places with a tile each, all the same imagery."""
    for folder, suffix in (("images", ".tif"), ("csv", ".csv")):
        (tmp_path / folder).mkdir()
        original = DATA / "urban_trees" / folder / f"chico_2018_0{suffix}"
        for number in range(10):
            shutil.copy(original, tmp_path / folder / f"chico_2018_{number}{suffix}")
    return tmp_path


def test_a_made_data_set_keeps_places_apart_and_repeats_itself(tiles):
    spec = dataset("urban-tree-pairs")
    learning, tested = (spec.open(tiles, part, cached=True) for part in ("train", "test"))
    assert (len(learning), len(tested)) == (40 * 8, 40 * 2)
    assert not {record.key for record in learning.records} & {record.key for record in tested.records}
    pair = learning[3]
    assert set(pair.images) == {"before", "after"}
    assert pair.images["after"].size == pair.target.size == Size(128, 128)
    assert [band.role for band in pair.images["before"].bands] == ["red", "green", "blue", "nir"]
    again = spec.open(tiles, "train").select([1, 3])
    assert len(again) == 2
    np.testing.assert_array_equal(values(again[1], "after"), values(pair, "after"))
    with pytest.raises(IndexError):
        learning[len(learning)]


def test_a_made_data_set_divides_by_place(tiles):
    division = dataset("urban-tree-pairs").open(tiles, "train").divide(0.25)
    rest, held = ({record.key for record in part.records} for part in (division.rest, division.held))
    assert (len(rest), len(held)) == (6, 2)
    assert not rest & held
    assert len(division.held) == 40 * 2
