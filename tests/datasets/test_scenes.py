"""Class folders: real EuroSAT chips, and what happens when a folder is not as declared."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from swath.datasets.formats.images import read_image
from swath.datasets.scenes import (
    AID,
    EUROSAT_RGB,
    NWPU_RESISC45,
    RSMAMBA_CLASSES,
    RSMAMBA_STATISTICS,
    UC_MERCED,
    folder_dataset,
    with_rsmamba_classes,
)
from swath.datasets.statistics import band_statistics
from swath.errors import DataError, ImageryUnreadable, NothingToSee
from swath.imagery.bands import Unit

EUROSAT = Path(__file__).parents[1] / "data" / "eurosat_rgb"


@pytest.fixture
def own_copy(tmp_path):
    shutil.copytree(EUROSAT, tmp_path / "eurosat")
    return tmp_path / "eurosat"


def test_chips_are_read_with_their_pixels_bands_and_class():
    sample = EUROSAT_RGB.open(EUROSAT, "all")[4]
    pixels = sample.images["image"]
    expected = np.asarray(Image.open(EUROSAT / sample.key)).transpose(2, 0, 1)
    assert sample.key.startswith("Forest/")
    assert sample.target.best.name == "Forest"
    assert sample.target.classes == EUROSAT_RGB.classes
    assert (pixels.values == expected).all()
    assert pixels.values.dtype == np.uint8
    assert [band.role for band in pixels.bands] == ["red", "green", "blue"]
    assert (pixels.unit, pixels.bands[0].gsd) == (Unit.EIGHT_BIT, 10.0)


def test_both_parts_hold_every_class_and_share_nothing():
    train, test = EUROSAT_RGB.open(EUROSAT, "train"), EUROSAT_RGB.open(EUROSAT, "test")
    assert (len(train), len(test)) == (20, 10)
    assert not {record.key for record in train.records} & {record.key for record in test.records}
    assert dict(test.describe().groups) == dict.fromkeys(EUROSAT_RGB.classes, 1)
    assert str(test.describe()).startswith("eurosat, test: 10 samples (AnnualCrop 1, Forest 1")


def test_folder_names_match_without_case_and_marks(own_copy):
    (own_copy / "SeaLake").rename(own_copy / "sea_lake")
    (own_copy / "SOURCE.md").write_text("not a class")
    dataset = EUROSAT_RGB.open(own_copy, "all")
    assert dataset[-1].target.best.name == "SeaLake"
    assert len(dataset) == 30


def test_missing_extra_and_empty_class_folders_are_told(own_copy):
    (own_copy / "River").rename(own_copy / "Desert")
    with pytest.raises(DataError, match="lacks the class folder River and has Desert, which is no class"):
        EUROSAT_RGB.open(own_copy)
    (own_copy / "Desert").rename(own_copy / "River")
    for path in (own_copy / "River").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="River holds no image"):
        EUROSAT_RGB.open(own_copy)
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        EUROSAT_RGB.open(own_copy / "nowhere")
    with pytest.raises(DataError, match="holds no class folders"):
        EUROSAT_RGB.open(own_copy / "River")
    with pytest.raises(DataError, match="no part 'validation'; it has train, test, all"):
        EUROSAT_RGB.open(EUROSAT, "validation")


def test_broken_images_are_told_by_name(own_copy):
    path = own_copy / EUROSAT_RGB.open(own_copy, "all").records[0].key
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ImageryUnreadable, match=path.name):
        EUROSAT_RGB.open(own_copy, "all")[0]
    path.write_text("not a picture")
    with pytest.raises(ImageryUnreadable, match=path.name):
        EUROSAT_RGB.open(own_copy, "all")[0]


def test_grey_and_palette_pictures_become_rgb(tmp_path):
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values).convert("P").save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        pixels = read_image(tmp_path / name, EUROSAT_RGB.file_bands, Unit.EIGHT_BIT)
        assert (pixels.values == values).all()
        assert len(pixels.values) == 3


def write_tiff(path, values, **profile):
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, count=count, height=height, width=width, **profile
    ) as file:
        file.write(values)


def test_tiff_chips_keep_place_and_no_data_and_tell_a_wrong_band_count(tmp_path):
    values = np.ones((3, 4, 5), np.uint8)
    values[:, 1, 2] = 0
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)
    write_tiff(tmp_path / "a.tif", values, crs="EPSG:32633", transform=transform, nodata=0)
    pixels = read_image(tmp_path / "a.tif", EUROSAT_RGB.file_bands, Unit.EIGHT_BIT)
    assert (pixels.grid.crs, pixels.grid.pixel_size) == ("EPSG:32633", (10, 10))
    assert np.argwhere(~pixels.valid).tolist() == [[1, 2]]
    write_tiff(tmp_path / "b.tif", values[:2], crs="EPSG:32633", transform=transform)
    with pytest.raises(DataError, match=r"b\.tif has 2 bands; this data set has 3"):
        read_image(tmp_path / "b.tif", EUROSAT_RGB.file_bands, Unit.EIGHT_BIT)
    data = io.BytesIO((tmp_path / "a.tif").read_bytes()).read(150)
    (tmp_path / "c.tif").write_bytes(data)
    with pytest.raises(ImageryUnreadable, match=r"c\.tif"):
        read_image(tmp_path / "c.tif", EUROSAT_RGB.file_bands, Unit.EIGHT_BIT)


def test_a_cache_reads_each_chip_once(own_copy):
    dataset = EUROSAT_RGB.open(own_copy, "test", cached=True)
    first, last = dataset[0], dataset[-1]
    shutil.rmtree(own_copy)
    assert dataset[0] is first
    assert dataset[len(dataset) - 1] is last
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_a_part_held_back_is_stratified_and_disjoint():
    train = EUROSAT_RGB.open(EUROSAT, "all")
    division = train.divide(1 / 3)
    assert dict(division.held.describe().groups) == dict.fromkeys(EUROSAT_RGB.classes, 1)
    keys = [{record.key for record in part.records} for part in (division.held, division.rest)]
    assert not keys[0] & keys[1]
    assert len(keys[0] | keys[1]) == 30
    with pytest.raises(DataError, match="neither may be empty"):
        train.divide(0.01)


def test_statistics_of_both_rules_equal_plain_numpy():
    samples = list(EUROSAT_RGB.open(EUROSAT, "test"))
    stack = np.stack([sample.images["image"].values for sample in samples]).astype(np.float64)
    pooled, published = band_statistics(samples), band_statistics(samples, pooled=False)
    assert np.allclose(pooled.mean, stack.mean(axis=(0, 2, 3)))
    assert np.allclose(pooled.std, stack.std(axis=(0, 2, 3)))
    assert np.allclose(published.mean, stack.mean(axis=(2, 3)).mean(axis=0))
    assert np.allclose(published.std, stack.std(axis=(2, 3)).mean(axis=0))
    with pytest.raises(NothingToSee):
        band_statistics([])


@pytest.mark.parametrize(
    ("spec", "count", "first", "last"),
    [
        (UC_MERCED, 21, "harbor", "denseresidential"),
        (AID, 30, "Port", "Beach"),
        (NWPU_RESISC45, 45, "river", "roundabout"),
    ],
)
def test_rsmamba_orders_are_permutations_of_the_alphabetical_classes(spec, count, first, last):
    published = with_rsmamba_classes(spec).classes
    assert len(spec.classes) == count
    assert sorted(published) == list(spec.classes)
    assert (published[0], published[-1]) == (first, last)
    assert len(RSMAMBA_STATISTICS[spec.name].mean) == 3
    assert RSMAMBA_CLASSES[spec.name] == published


def test_alphabetical_order_of_resisc45_is_the_published_label_index():
    """Indices as the RESISC45 sheet lists them."""
    for index, name in ((0, "airplane"), (9, "cloud"), (29, "railway"), (30, "railway_station"), (44, "wetland")):
        assert NWPU_RESISC45.classes[index] == name


def test_any_folder_of_class_folders_is_a_data_set(own_copy):
    for name in EUROSAT_RGB.classes[3:]:
        shutil.rmtree(own_copy / name)
    spec = folder_dataset(own_copy)
    assert spec.classes == ("AnnualCrop", "Forest", "HerbaceousVegetation")
    assert len(spec.open(own_copy, "all")) == 9
