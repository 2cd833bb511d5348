"""Data sets of Sentinel-2 chips in their published layouts, written from a real patch of 13 bands."""

import json

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import rasterio
from real_pixels import SENTINEL, write_tiff

from swath.datasets.bigearthnet import (
    BIGEARTHNET_CLASSES,
    BIGEARTHNET_GROUPS,
    BIGEARTHNET_S2,
    BIGEARTHNET_S2_43,
    BIGEARTHNET_V2,
)
from swath.datasets.eurosat_msi import EUROSAT_MSI
from swath.datasets.formats.geo_rows import grid_of_world_file
from swath.datasets.formats.hdf5 import class_numbers
from swath.datasets.so2sat import RADAR_BANDS, SO2SAT, SO2SAT_BLOCK, SO2SAT_CULTURE_10, SO2SAT_RANDOM
from swath.errors import DataError, ImageryUnreadable
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.imagery.sensors import SENTINEL_2_L1C
from swath.imagery.units import convert

NAMES = [band.name for band in SENTINEL_2_L1C.bands]
UTM = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}


def band(name):
    return SENTINEL[NAMES.index(name)]


def test_the_last_band_of_a_eurosat_file_is_b8a(tmp_path):
    stored = np.stack([band(name) for name in NAMES if name != "B8A"] + [band("B8A")])[:, :64, :64]
    for number, name in enumerate(EUROSAT_MSI.classes):
        write_tiff(tmp_path / name / f"{name}_{number}.tif", stored, **UTM)
    pixels = EUROSAT_MSI.open(tmp_path, "all")[3].images["image"]
    assert [band.name for band in pixels.bands[7:]] == ["B08", "B09", "B10", "B11", "B12", "B8A"]
    assert (pixels.select(["nir_narrow"]).values[0] == band("B8A")[:64, :64]).all()
    assert (pixels.select(["B09", "red"]).values == np.stack([band("B09"), band("B04")])[:, :64, :64]).all()
    assert pixels.grid.crs == "EPSG:32633"
    reflectance = convert(pixels, Unit.REFLECTANCE).select(["nir"]).values[0]
    assert np.allclose(reflectance, band("B08")[:64, :64] / 10_000)
    statistics = EUROSAT_MSI.statistics["image"]
    assert len(statistics.mean) == len(statistics.std) == 13
    assert dict(zip(EUROSAT_MSI.bands, statistics.mean, strict=True))["nir_narrow"] == 2594.141


def bigearthnet_patch(root, name, labels, skip=()):
    """A patch of 120 pixels a side, its bands at 10, 20 and 60 m, with the classes in JSON."""
    wide = np.pad(SENTINEL, ((0, 0), (0, 24), (0, 24)), mode="reflect")
    for at, each in zip(NAMES, SENTINEL_2_L1C.bands, strict=True):
        if at == "B10" or at in skip:
            continue
        step = int(each.gsd // 10)
        values = wide[NAMES.index(at)].reshape(120 // step, step, 120 // step, step).mean(axis=(1, 3))
        profile = {"crs": UTM["crs"], "transform": UTM["transform"] @ rasterio.Affine.scale(step)}
        write_tiff(root / name / f"{name}_{at}.tif", values.astype(np.uint16)[None], **profile)
    if labels is not None:
        (root / name / f"{name}_labels_metadata.json").write_text(json.dumps({"labels": labels, "projection": "UTM"}))


PATCHES = {
    "S2A_MSIL2A_20170613T101031_0_45": ["Olive groves", "Vineyards", "Water courses"],
    "S2A_MSIL2A_20170613T101031_0_46": ["Transitional woodland/shrub", "Airports"],
    "S2B_MSIL2A_20180204T94161_57_88": ["Pastures"],
}


@pytest.fixture
def bigearthnet(tmp_path):
    for name, labels in PATCHES.items():
        bigearthnet_patch(tmp_path / "BigEarthNet-v1.0", name, labels)
    for file, name in zip(("train.csv", "val.csv", "test.csv"), PATCHES, strict=True):
        (tmp_path / file).write_text(f"{name},S1A_IW_{name}\n")
    return tmp_path


def held(sample):
    return [name for name, score in zip(sample.target.classes, sample.target.scores, strict=True) if score]


def test_bigearthnet_groups_43_classes_into_19(bigearthnet):
    samples = [BIGEARTHNET_S2.open(bigearthnet, part)[0] for part in ("train", "validation", "test")]
    assert [held(sample) for sample in samples] == [
        ["Permanent crops", "Inland waters"],
        ["Transitional woodland, shrub"],
        ["Pastures"],
    ]
    assert not samples[0].target.exclusive
    fine = BIGEARTHNET_S2_43.open(bigearthnet / "BigEarthNet-v1.0", "validation")[0]
    assert held(fine) == ["Airports", "Transitional woodland/shrub"]
    assert len(BIGEARTHNET_S2_43.classes) == len(BIGEARTHNET_GROUPS) == 43


def test_the_groups_are_those_of_the_published_table():
    """The groupings that the SpectralGPT sheet restates, and how many fine classes each of the 19 has."""
    sizes = [sum(group == name for group in BIGEARTHNET_GROUPS.values()) for name in BIGEARTHNET_CLASSES]
    assert sizes == [2, 1, 3, 4, 1, 1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 2, 2, 2, 3]
    assert sum(group == "" for group in BIGEARTHNET_GROUPS.values()) == 43 - sum(sizes) == 11
    assert BIGEARTHNET_GROUPS["Salines"] == "Coastal wetlands"
    assert BIGEARTHNET_GROUPS["Coastal lagoons"] == BIGEARTHNET_GROUPS["Estuaries"] == "Marine waters"


def test_coarse_bands_of_bigearthnet_are_brought_to_ten_metres(bigearthnet):
    pixels = BIGEARTHNET_S2.open(bigearthnet, "train")[0].images["image"]
    assert pixels.values.shape == (12, 120, 120)
    assert [band.name for band in pixels.bands] == [name for name in NAMES if name != "B10"]
    assert (pixels.select(["red"]).values[0, :96, :96] == band("B04")).all()
    assert pixels.grid.pixel_size == (10, 10)
    # Bilinear by hand: at 20 m, the pixel at (2, 2) lies a quarter of a coarse pixel from the centre of (1, 1).
    with rasterio.open(next((bigearthnet / "BigEarthNet-v1.0").glob("*_0_45/*_B05.tif"))) as file:
        coarse = file.read(1).astype(float)
    weights = np.array([0.25, 0.75])
    expected = weights @ coarse[0:2, 0:2] @ weights
    assert abs(pixels.select(["B05"]).values[0, 2, 2] - expected) <= 1
    assert abs(pixels.select(["B01"]).values[0].mean() - SENTINEL[0].mean()) < 40


def test_broken_patches_are_told(bigearthnet):
    root = bigearthnet / "BigEarthNet-v1.0"
    name = next(iter(PATCHES))
    path = root / name / f"{name}_labels_metadata.json"
    path.write_text(json.dumps({"labels": ["Sea of sand"]}))
    with pytest.raises(DataError, match=r"labels_metadata\.json says the class 'Sea of sand'"):
        BIGEARTHNET_S2.open(bigearthnet, "train")[0]
    path.write_text("{}")
    with pytest.raises(DataError, match="holds no list 'labels' in JSON"):
        BIGEARTHNET_S2.open(bigearthnet, "train")[0]
    (root / name / f"{name}_B8A.tif").write_bytes(b"no TIFF")
    with pytest.raises(ImageryUnreadable, match=r"_B8A\.tif"):
        BIGEARTHNET_S2.open(bigearthnet, "train")[0]
    (root / name / f"{name}_B8A.tif").unlink()
    with pytest.raises(DataError, match=rf"{name} lacks {name}_B8A\.tif; complete"):
        BIGEARTHNET_S2.open(bigearthnet, "train")
    with pytest.raises(DataError, match=r"no folders \* or BigEarthNet-v1\.0/\* with <name>_B01\.tif"):
        BIGEARTHNET_S2.open(root / name)


def test_version_2_has_a_table_of_classes_and_parts(tmp_path):
    rows = []
    for (name, _), part in zip(PATCHES.items(), ("train", "validation", "test"), strict=True):
        tile = name.rsplit("_", 2)[0]
        bigearthnet_patch(tmp_path / "BigEarthNet-S2" / tile, name, None)
        rows.append({"patch_id": name, "labels": ["Arable land", "Marine waters"], "split": part, "country": "Serbia"})
    bigearthnet_patch(tmp_path / "BigEarthNet-S2" / tile, "S2B_cloudy_1_1", None)  # left out of the table, so no image
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    assert [len(BIGEARTHNET_V2.open(tmp_path, part)) for part in ("train", "validation", "test", "all")] == [1, 1, 1, 3]
    assert held(BIGEARTHNET_V2.open(tmp_path, "test")[0]) == ["Arable land", "Marine waters"]
    rows.append({"patch_id": "S2B_gone_1_1", "labels": [], "split": "test", "country": "Serbia"})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    with pytest.raises(DataError, match=r"metadata\.parquet names S2B_gone_1_1, which is not there"):
        BIGEARTHNET_V2.open(tmp_path)


LCZ = [band(name) for name in ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")]


def so2sat_rows(count, start=0):
    """Windows of 32 pixels as float64 reflectance, channels last, with radar made of them, and their classes."""
    optical = np.stack([np.stack(LCZ)[:, i : i + 32, 2 * i : 2 * i + 32] for i in range(start, start + count)])
    radar = np.concatenate([-optical[:, :4], optical[:, 4:8]], axis=1) / 5_000.0
    labels = [(start + number) % 17 for number in range(count)]
    return optical.transpose(0, 2, 3, 1) / 10_000.0, radar.transpose(0, 2, 3, 1), np.eye(17)[labels], labels


def so2sat_file(path, count, start=0, places=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    optical, radar, one_hot, _ = so2sat_rows(count, start)
    with h5py.File(path, "w") as file:
        file["sen1"], file["sen2"], file["label"] = radar, optical, one_hot
    if places is not None:
        with h5py.File(path.with_name(f"{path.stem}_geo.h5"), "w") as file:
            file["tfw"] = np.array([places] * count)
            file["epsg"] = np.full((count, 1), 32610.0)


def test_so2sat_version_2_gives_reflectance_radar_and_zone(tmp_path):
    for name, count, start in (("training", 20, 0), ("validation", 3, 20), ("testing", 2, 23)):
        so2sat_file(tmp_path / f"{name}.h5", count, start)
    train = SO2SAT.open(tmp_path, "train")
    assert [len(train), len(SO2SAT.open(tmp_path, "validation")), len(SO2SAT.open(tmp_path, "test"))] == [20, 3, 2]
    optical, radar, _, labels = so2sat_rows(20)
    sample = train[18]
    image, other = sample.images["image"], sample.images["radar"]
    assert (image.values.shape, other.values.shape) == ((10, 32, 32), (8, 32, 32))
    assert image.values.dtype == other.values.dtype == np.float32
    assert np.allclose(image.values, optical[18].transpose(2, 0, 1))
    assert np.allclose(other.values, radar[18].transpose(2, 0, 1))
    assert np.allclose(image.select(["red", "green", "blue"]).values, optical[18].transpose(2, 0, 1)[[2, 1, 0]])
    assert (image.unit, other.unit) == (Unit.REFLECTANCE, Unit.LINEAR_POWER)
    assert [band.role for band in other.bands[4:6]] == ["vh", "vv"]
    assert sample.target.best.name == SO2SAT.classes[labels[18]] == "Compact mid rise"


def test_the_zones_are_lcz_1_to_10_and_a_to_g():
    assert len(SO2SAT.classes) == 17
    assert [SO2SAT.classes[number] for number in (0, 9, 10, 16)] == [
        "Compact high rise",
        "Heavy industry",
        "Dense trees",
        "Water",
    ]


@pytest.mark.parametrize(
    ("spec", "folder"), [(SO2SAT_RANDOM, "random"), (SO2SAT_BLOCK, "block"), (SO2SAT_CULTURE_10, "culture_10")]
)
def test_so2sat_version_3_has_scenarios_whose_validation_is_carved(tmp_path, spec, folder):
    so2sat_file(tmp_path / folder / "training.h5", 12)
    so2sat_file(tmp_path / folder / "testing.h5", 4, 12)
    for root in (tmp_path, tmp_path / folder):
        parts = {part: spec.open(root, part) for part in ("train", "validation", "test")}
        assert {part: len(dataset) for part, dataset in parts.items()} == {"train": 10, "validation": 2, "test": 4}
        keys = [{record.key for record in dataset.records} for dataset in parts.values()]
        assert len(set.union(*keys)) == 16
    again = {record.key for record in spec.open(tmp_path / folder, "validation").records}
    assert again == keys[1]
    for slot, bands in (("image", 10), ("radar", 8)):
        assert len(spec.statistics[slot].mean) == len(spec.statistics[slot].std) == bands
    assert len(RADAR_BANDS) == 8


@pytest.mark.parametrize("places", [[10, 0, 0, -10, 550335.858, 4183214.43], [550335.858, 10, 0, 4183214.43, 0, 10]])
def test_version_4_places_patches_whatever_the_order_of_the_numbers(tmp_path, places):
    """The place that the So2Sat sheet works out: the centre of this patch is (550495.858, 4183054.43)."""
    so2sat_file(tmp_path / "training.h5", 2, places=places)
    sample = SO2SAT.open(tmp_path, "train")[1]
    assert sample.footprint.crs == "EPSG:32610"
    assert np.allclose(sample.footprint.to_map(np.array([16.0, 16.0])), [550495.858, 4183054.43])
    assert np.allclose(sample.footprint.bounds, (550335.858, 4182894.43, 550655.858, 4183214.43))


def test_arrays_of_places_that_lack_a_row_are_told(tmp_path):
    so2sat_file(tmp_path / "training.h5", 2, places=[10, 0, 0, -10, 5e5, 4e6])
    with h5py.File(tmp_path / "training_geo.h5", "a") as file:
        del file["epsg"]
    with pytest.raises(DataError, match=r"training_geo\.h5 has no place of row 0"):
        SO2SAT.open(tmp_path, "train")[0]
    with pytest.raises(DataError, match="needs six numbers; found 4"):
        grid_of_world_file([10, 0, 0, -10], 32610, Size(32, 32))


def test_labels_of_hdf5_files_are_one_hot_or_numbers(tmp_path):
    assert class_numbers(np.eye(17)[[3, 16]], 17, "x.h5") == [3, 16]
    assert class_numbers(np.array([[2], [0]]), 3, "x.h5") == [2, 0]
    for label, message in (
        (np.array([[1, 1, 0], [0, 1, 0]]), "Row 0 of the labels of x.h5 is not one 1 among zeros"),
        (np.array([[0, 1, 0], [0.5, 0.5, 0]]), "Row 1"),
        (np.array([[0, 0, 0]]), "Row 0"),
        (np.eye(4), "have 4 columns; this data set has 3 classes"),
        (np.array([0, 3]), "Row 1 of the labels of x.h5 is 3, which is none of 0 to 2"),
    ):
        with pytest.raises(DataError, match=message):
            class_numbers(label, 3, "x.h5")
    with pytest.raises(DataError, match=r"holds none of the files training\.h5, validation\.h5, testing\.h5"):
        SO2SAT.open(tmp_path)
