"""Sentinel-2 SAFE folders and Landsat scenes, written small under their true names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from swath.errors import UnitMismatch
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Unit
from swath.imagery.products import acquired_from_name, band_file, product_of
from swath.imagery.scene import open_scene
from swath.imagery.sources import open_source

Write = Callable[..., str]
L2A = "S2A_MSIL2A_20220830T103629_N0400_R008_T33VUE_20220830T112540.SAFE"
L1C = "S2B_MSIL1C_20180830T103629_N0206_R008_T33VUE_20180830T112540.SAFE"
LANDSAT = "LC08_L2SP_193029_20200801_20200908_02_T1"
GSD = {band.name: band.gsd for band in (*(product_of(L1C).bands),)}  # type: ignore[union-attr]
EXTENT = 240.0  # metres a side, so 24, 12 or 4 pixels


def plane(gsd: float, level: int) -> np.ndarray:
    """A field that is linear over the ground: level + metres east of the corner, at pixel centres."""
    centres = (np.arange(int(EXTENT / gsd)) + 0.5) * gsd
    return np.broadcast_to(level + centres, (1, len(centres), len(centres))).astype(np.uint16)


def write_band(write_raster: Write, name: str, gsd: float, level: int, **options: object) -> str:
    transform = Affine(gsd, 0, 300_000, 0, -gsd, 6_500_000)
    return write_raster(name, plane(gsd, level), transform=transform, **options)


@pytest.fixture
def safe_l2a(write_raster: Write, tmp_path: Path) -> Path:
    """An L2A folder: 10 m bands at 10 m, the others at 20 m too, as the processor delivers them."""
    images = f"{L2A}/GRANULE/L2A_T33VUE_A037550_20220830T103630/IMG_DATA"
    jp2 = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    for number, (band, gsd) in enumerate(GSD.items()):
        if band == "B10":
            continue
        for resolution in (10, 20, 60):
            if resolution >= gsd:
                name = f"{images}/R{resolution}m/T33VUE_20220830T103629_{band}_{resolution}m.jp2"
                write_band(write_raster, name, resolution, 2000 + 100 * number, **jp2)
    write_band(write_raster, f"{images}/R20m/T33VUE_20220830T103629_SCL_20m.jp2", 20, 0, **jp2)
    return tmp_path / L2A


def test_a_level_2a_folder_has_its_bands_in_order_on_the_ten_metre_grid(safe_l2a: Path) -> None:
    scene = open_scene(safe_l2a)
    assert [band.name for band in scene.slot_bands()] == ([band for band in GSD if band != "B10"])
    assert scene.grid.size == Size(24, 24)
    assert scene.grid.pixel_size == (10.0, 10.0)
    assert scene.acquired == datetime(2022, 8, 30, 10, 36, 29, tzinfo=UTC)
    assert {band.offset for band in scene.slot_bands()} == {-0.1}


def test_coarser_bands_are_interpolated_in_their_place(safe_l2a: Path) -> None:
    """A field linear over the ground stays that field, whatever the resolution it was stored at."""
    scene = open_scene(safe_l2a)
    for name, level in (("B04", 2300), ("B05", 2400), ("B8A", 2800), ("B01", 2000)):
        found = scene.read(Window(0, 0, 24, 24), bands=[name])
        inner = slice(3, -3)  # outside the outermost centres of 60 m pixels there is nothing to interpolate
        expected = level + (np.arange(24) + 0.5) * 10
        assert np.abs(found.values[0][inner, inner] - expected[inner]).max() <= 1.0, name
        assert found.valid is None
    part = scene.read(Window(5, 6, 7, 8), bands=["B05"]).values
    assert np.array_equal(part, scene.read(Window(0, 0, 24, 24), bands=["B05"]).values[:, 5:12, 6:14])


def test_reflectance_of_baseline_four_and_before(safe_l2a: Path, write_raster: Write, tmp_path: Path) -> None:
    found = open_scene(safe_l2a).read(Window(0, 0, 1, 1), bands=["red"], unit=Unit.REFLECTANCE)
    assert float(found.values[0, 0, 0]) == pytest.approx((2305 - 1000) / 10_000)
    write_band(
        write_raster,
        f"{L1C}/GRANULE/L1C_X/IMG_DATA/T33VUE_20180830T103629_B04.jp2",
        10,
        2300,
        driver="JP2OpenJPEG",
        QUALITY="100",
        REVERSIBLE="YES",
    )
    old = open_scene(tmp_path / L1C).read(Window(0, 0, 1, 1), bands=["red"], unit=Unit.REFLECTANCE)
    assert float(old.values[0, 0, 0]) == pytest.approx(2305 / 10_000)


def test_zero_is_missing_in_sentinel_2(write_raster: Write) -> None:
    values = np.full((1, 4, 4), 1500, np.uint16)
    values[0, 1, 2] = 0
    path = write_raster(f"{L1C}/GRANULE/A/IMG_DATA/T33VUE_20180830T103629_B04.tif", values)
    valid = open_source(path).read(Window(0, 0, 4, 4), [0]).valid
    assert valid is not None
    assert np.argwhere(~valid).tolist() == [[1, 2]]


def test_a_band_file_without_its_product_has_no_scale_until_it_is_named(write_raster: Write) -> None:
    path = write_band(write_raster, "T33VUE_20220830T103629_B04_10m.tif", 10, 2300)
    scene = open_scene([path])
    assert scene.slot_bands()[0].wavelength == 664.6
    with pytest.raises(UnitMismatch, match="without a known scale"):
        scene.read(Window(0, 0, 1, 1), bands=["red"], unit=Unit.REFLECTANCE)
    told = open_scene([path], bands="sentinel-2-l2a-04.00:B04")
    assert float(told.read(Window(0, 0, 1, 1), unit=Unit.REFLECTANCE).values.max()) == pytest.approx(0.1305)


def test_landsat_files_are_named_scaled_and_dated_by_their_names(write_raster: Write, tmp_path: Path) -> None:
    for number, band in enumerate(("SR_B2", "SR_B4", "SR_B5", "ST_B10", "QA_PIXEL"), start=1):
        write_raster(f"scene/{LANDSAT}_{band}.TIF", np.full((1, 3, 3), 10_000 + number, np.uint16), nodata=0)
    scene = open_scene(tmp_path / "scene")
    assert [band.role for band in scene.slot_bands()] == ["blue", "red", "nir", "thermal_1"]
    assert scene.acquired == datetime(2020, 8, 1, tzinfo=UTC)
    red = scene.read(Window(0, 0, 1, 1), bands=["red"], unit=Unit.REFLECTANCE)
    assert float(red.values[0, 0, 0]) == pytest.approx(10_002 * 2.75e-5 - 0.2)
    heat = scene.read(Window(0, 0, 1, 1), bands=["thermal_1"], unit=Unit.KELVIN)
    assert float(heat.values[0, 0, 0]) == pytest.approx(10_004 * 0.00341802 + 149.0, abs=1e-3)
    listed = open_scene([tmp_path / "scene" / f"{LANDSAT}_SR_B{n}.TIF" for n in (5, 4)])
    assert [band.role for band in listed.slot_bands()] == ["nir", "red"]


def test_landsat_level_1_is_scaled_by_the_metadata_beside_it(write_raster: Write, tmp_path: Path) -> None:
    name = "LC09_L1TP_193029_20220801_20220908_02_T1"
    write_raster(f"one/{name}_B4.TIF", np.full((1, 3, 3), 10_000, np.uint16))
    (tmp_path / "one" / f"{name}_MTL.txt").write_text(
        "GROUP = LANDSAT_METADATA_FILE\n    SUN_ELEVATION = 30.0\n    REFLECTANCE_MULT_BAND_4 = 2.0000E-05\n"
        '    REFLECTANCE_ADD_BAND_4 = -0.100000\n    SPACECRAFT_ID = "LANDSAT_9"\nEND_GROUP = LANDSAT_METADATA_FILE\n'
    )
    found = open_scene(tmp_path / "one").read(Window(0, 0, 1, 1), bands=["red"], unit=Unit.REFLECTANCE)
    assert float(found.values[0, 0, 0]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("path", "band", "product"),
    [
        (f"{L2A}/GRANULE/x/IMG_DATA/R20m/T33VUE_20220830T103629_B8A_20m.jp2", "B8A", "sentinel-2-l2a-04.00"),
        (f"{L1C}/GRANULE/x/IMG_DATA/T33VUE_20180830T103629_B10.jp2", "B10", "sentinel-2-l1c"),
        (f"{LANDSAT}_SR_B4.TIF", "B4", "landsat-8"),
        ("LT05_L2SP_193029_19990801_20200908_02_T1_ST_B6.TIF", "B6", "landsat-5"),
        ("LE07_L2SP_193029_20020801_20200908_02_T2_SR_B7.TIF", "B7", "landsat-7"),
    ],
)
def test_names_of_band_files(path: str, band: str, product: str) -> None:
    found = band_file(path)
    assert found is not None
    assert (found.band.name, found.product.name) == (band, product)


@pytest.mark.parametrize("path", ["scene.tif", "T33VUE_SCL_20m.jp2", f"{LANDSAT}_QA_PIXEL.TIF", "B04.tif"])
def test_other_names_are_no_band_files(path: str) -> None:
    assert band_file(path) is None


@pytest.mark.parametrize(
    ("path", "date"),
    [
        (L2A, datetime(2022, 8, 30, 10, 36, 29, tzinfo=UTC)),
        (f"{LANDSAT}_SR_B4.TIF", datetime(2020, 8, 1, tzinfo=UTC)),
        ("patch_2018-01-06_0.tif", datetime(2018, 1, 6, tzinfo=UTC)),
        ("2018-01-06/plain.tif", None),
        ("chico_2018_10.tif", None),
        ("tile_20181399.tif", None),
        ("m_4709963_se_14.tif", None),
    ],
)
def test_dates_in_names(path: str, date: datetime | None) -> None:
    assert acquired_from_name(path) == date
