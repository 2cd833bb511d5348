"""What frozen networks are shown of a data set: bands, zeros for those that lack, normalisations, published figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from swath.benchmarks.feature_readings import (
    RGB,
    SENTINEL_2_ROLES,
    ReadImages,
    Reading,
    extremes_of,
    normalisation_of,
)
from swath.benchmarks.resize_normalize_study import STUDY, STUDY_STATISTICS, statistics_of, study_row
from swath.datasets.registry import dataset
from swath.datasets.spec import DatasetSpec
from swath.datasets.statistics import BandStatistics
from swath.errors import BandMismatch, ConfigurationError, DataError, NothingToSee
from swath.imagery.bands import Unit
from swath.imagery.pixels import Pixels
from swath.models.inputs import InputSpec
from swath.models.pretrain.preparation import Preparation
from swath.samples.sample import Sample

OWN = InputSpec(bands=RGB, unit=Unit.EIGHT_BIT, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))


def sample(spec: DatasetSpec, values: np.ndarray, key="a") -> Sample:
    return Sample(key=key, images={"image": Pixels.from_array(values, spec.file_bands, spec.unit)})


def numbered(spec: DatasetSpec) -> Sample:
    """A sample of 2 x 2 pixels whose bands hold 100, 200, 300, ..."""
    levels = 100 * np.arange(1, len(spec.bands) + 1, dtype=np.float32)
    return sample(spec, np.broadcast_to(levels[:, None, None], (len(levels), 2, 2)).copy())


def test_eurosat_is_read_in_the_order_of_its_files_whose_last_band_is_b8a():
    spec = dataset("eurosat-msi")
    reading = Reading.of(spec, padding="correct")
    assert reading.shown[-1] == "nir_narrow"
    assert reading.zero_bands == ()
    assert reading.array(numbered(spec))[:, 0, 0].tolist() == [100.0 * n for n in range(1, 14)]


def test_rgb_is_read_by_role():
    spec = dataset("eurosat-msi")
    assert Reading.of(spec, RGB).array(numbered(spec))[:, 0, 0].tolist() == [400, 300, 200]


def test_so2sat_gets_zeros_at_0_9_and_10():
    spec = dataset("so2sat")
    for padding in ("correct", "published"):
        reading = Reading.of(spec, padding=padding)
        assert reading.shown == SENTINEL_2_ROLES
        found = reading.array(numbered(spec))[:, 0, 0]
        assert found.tolist() == [0, 100, 200, 300, 400, 500, 600, 700, 800, 0, 0, 900, 1000]
    assert Reading.of(spec).shown == spec.bands


def test_published_padding_of_bigearthnet_shifts_three_channels_under_others_statistics():
    spec = dataset("bigearthnet-s2")
    image = numbered(spec)
    shown = {}
    for padding in ("correct", "published"):
        reading = Reading.of(spec, padding=padding)
        normalisation = normalisation_of("standardization", reading, spec, [image], OWN)
        raw = torch.from_numpy(reading.array(image))[None]
        shown[padding] = Preparation(normalisation=normalisation)(raw)[0, :, 0, 0].tolist()
    assert shown["correct"][:8] == shown["published"][:8]
    assert shown["correct"][11:] == shown["published"][11:]
    # B8A holds 900 and B09 1000; the means and deviations are those of B8A, B09 and B10 (0 and 10,000).
    expected = {
        "correct": [(900 - 2266.460) / 1356.138, (1000 - 2246.061) / 1302.329, 0],
        "published": [-2266.460 / 1356.138, (900 - 2246.061) / 1302.329, 1000 / 10_000],
    }
    for padding, values in expected.items():
        assert shown[padding][8:11] == pytest.approx(values, rel=1e-5)


def test_bands_that_a_network_needs_and_the_data_lack_are_refused():
    spec = dataset("eurosat")
    with pytest.raises(BandMismatch, match="lacks the band nir"):
        Reading.of(spec, ("red", "nir"), padding="correct")
    with pytest.raises(BandMismatch, match="lacks the bands coastal, water_vapour, cirrus"):
        Reading.of(dataset("so2sat"), SENTINEL_2_ROLES)
    assert Reading.of(spec, padding="correct").shown == RGB


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raw", [400.0, 300.0, 200.0]),
        ("divide", [0.04, 0.03, 0.02]),
        ("standardization", [(400 - 947.626) / 593.751, (300 - 1042.930) / 395.092, (200 - 1118.244) / 333.008]),
        ("minmax", [400 / 28_000, 300 / 28_000, 200 / 28_000]),
        ("for_seco", [400 / 2750, 300 / 2750, 200 / 2750]),
        ("own", [399 / 4, 298 / 5, 197 / 6]),
    ],
)
def test_normalisations_of_eurosat_by_hand(name, expected):
    spec = dataset("eurosat-msi")
    reading = Reading.of(spec, RGB)
    normalisation = normalisation_of(name, reading, spec, [], OWN)
    raw = torch.from_numpy(reading.array(numbered(spec)))[None]
    assert normalisation(raw)[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)
    assert normalisation.name == name


def test_for_seco_clips_and_8_bit_values_have_none():
    spec = dataset("eurosat-msi")
    normalisation = normalisation_of("for_seco", Reading.of(spec, RGB), spec, [], OWN)
    assert normalisation(torch.tensor([[[[9000.0]]]])).item() == 1
    rgb = dataset("eurosat")
    with pytest.raises(ConfigurationError, match="'for_seco' has no meaning for 'eurosat', whose values are in 8-bit"):
        normalisation_of("for_seco", Reading.of(rgb), rgb, [], OWN)


def test_values_are_divided_by_what_their_unit_says():
    for name, divisor in (("eurosat", 255), ("eurosat-msi", 10_000), ("so2sat", 1)):
        spec = dataset(name)
        assert normalisation_of("divide", Reading.of(spec), spec, [], OWN).scale == (divisor,)


def test_statistics_that_nobody_published_are_measured_on_the_training_part():
    spec = dataset("eurosat")
    assert statistics_of(spec) is None
    draws = np.random.default_rng(0)
    train = [sample(spec, draws.integers(0, 256, (3, 8, 8), dtype=np.uint8)) for _ in range(4)]
    reading = Reading.of(spec, ("blue", "red"))
    pixels = np.stack([each.images["image"].values for each in train]).astype(np.float64)[:, [2, 0]]
    measured = normalisation_of("standardization", reading, spec, train, OWN)
    assert measured.shift == pytest.approx(pixels.mean((0, 2, 3)))
    assert measured.scale == pytest.approx(pixels.std((0, 2, 3)))
    between = normalisation_of("minmax", reading, spec, train, OWN)
    low, high = pixels.min((0, 2, 3)), pixels.max((0, 2, 3))
    assert between.shift == pytest.approx(low)
    assert between.scale == pytest.approx(high - low)
    images = ReadImages(samples=train, reading=reading)
    assert len(images) == 4
    assert np.array_equal(images[3], pixels[3])


def test_a_band_of_one_value_is_divided_and_nothing_is_nothing_to_see():
    spec = dataset("eurosat")
    flat = [sample(spec, np.full((3, 4, 4), 9, np.uint8))]
    assert normalisation_of("standardization", Reading.of(spec), spec, flat, OWN).scale == (255, 255, 255)
    assert normalisation_of("minmax", Reading.of(spec), spec, flat, OWN).scale == (255, 255, 255)
    with pytest.raises(NothingToSee, match="no valid pixel"):
        extremes_of(spec, [])


def test_invalid_pixels_do_not_count_among_the_extremes():
    spec = dataset("eurosat")
    values = np.full((3, 1, 3), 7, np.uint8)
    values[:, 0, 0] = 200
    image = sample(spec, values)
    pixels = replace(image.images["image"], valid=np.array([[False, True, True]]))
    assert extremes_of(spec, [replace(image, images={"image": pixels})]).maximum == (7, 7, 7)


def test_the_studys_statistics_join_those_of_the_data_sets():
    assert len(STUDY_STATISTICS["treesatai"].mean) == len(STUDY_STATISTICS["treesatai"].std) == 12
    # The shares of 255 that are published: .4405, .4497, .4478, .4201.
    assert [value / 255 for value in STUDY_STATISTICS["sat-6"].mean] == pytest.approx([0.4405, 0.4497, 0.4478, 0.4201])
    spec = replace(dataset("eurosat"), name="sat-6", bands=("red", "green", "blue", "nir"))
    assert normalisation_of("standardization", Reading.of(spec, RGB), spec, [], OWN).scale == pytest.approx(
        (0.2147 * 255, 0.1878 * 255, 0.1456 * 255)
    )
    own = BandStatistics(mean=(1.0,) * 4, std=(2.0,) * 4)
    assert statistics_of(replace(spec, statistics={"image": own})) == own


def test_the_abstracts_gains_follow_from_the_published_table():
    for data, gain in (("so2sat-random", 32.28), ("eurosat-msi", 11.16)):
        native, large = study_row(data, rgb=False).figures["resnet50_pretrained_imagenet"]
        assert large - native == pytest.approx(gain, abs=0.005)


def test_published_figures_by_data_model_and_size():
    assert len(STUDY) == 13
    eurosat = study_row("eurosat-torchgeo", rgb=True)
    assert (eurosat.figure("mosaiks_zca_512_3", None), eurosat.figure("mosaiks_zca_512_3", 224)) == (0.8147, 0.7788)
    assert (eurosat.figure("mosaiks_zca_512_3", 64), eurosat.figure("mosaiks_zca_512_3", 100)) == (0.8147, None)
    assert eurosat.figure("somebody", 224) is None
    assert (eurosat.order, eurosat.seeds, eurosat.sizes) == ("normalise first", (0, 1, 2), (64, 224))
    trees = study_row("bigearthnet-s2", rgb=False)
    assert (trees.headline, trees.sizes, trees.order, trees.seeds) == (
        *("micro mAP", (120, 224)),
        *("resize first", (0, 42, 2023)),
    )
    assert trees.figure("imagestats", 224) is None
    assert study_row("nwpu-resisc45", rgb=True).figure("imagestats", None) == 0.3403
    with pytest.raises(DataError, match="no figures for 'aid' in red, green and blue"):
        study_row("aid", rgb=True)
