"""Scenes: slots, bands by role, units, overviews."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from swath.errors import BandMismatch, ConfigurationError, ImageryNotFound, ImageryUnreadable, SwathWarning
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Unit
from swath.imagery.scene import open_scene
from swath.imagery.sources import open_source

Write = Callable[..., str]
CORNER = Window(0, 0, 3, 4)


def test_bands_come_in_the_order_asked_for_by_role_or_name(data: Path) -> None:
    path = next((data / "s2_time_series").glob("*.tif"))
    with open_scene(path, bands="sentinel-2-l1c") as scene:
        found = scene.read(CORNER, bands=["nir", "B3", "b8a"])
    with rasterio.open(path) as dataset:
        expected = dataset.read([8, 3, 9])[:, :3, :4]
    assert np.array_equal(found.values, expected)
    assert [band.name for band in found.bands] == ["B08", "B03", "B8A"]
    with pytest.raises(ImageryUnreadable, match="has been closed"):
        scene.read(CORNER)


def test_values_are_converted_when_a_unit_is_asked_for(data: Path) -> None:
    path = next((data / "s2_time_series").glob("*.tif"))
    scene = open_scene(path, bands="sentinel-2-l1c")
    stored = scene.read(CORNER, bands=["red"])
    found = scene.read(CORNER, bands=["red"], unit=Unit.REFLECTANCE)
    assert (stored.unit, stored.values.dtype, found.unit) == (Unit.DN, np.uint16, Unit.REFLECTANCE)
    np.testing.assert_allclose(found.values, stored.values / 10_000, rtol=1e-6)


def test_aerial_photography_whose_near_infrared_is_called_alpha(data: Path) -> None:
    """Who asks for nir gets it, once warned; who asks for colours alone gets the alpha band as a mask."""
    path = data / "urban_trees" / "images" / "chico_2018_0.tif"
    scene = open_scene(path)
    assert [band.role for band in scene.slot_bands()] == ["red", "green", "blue"]
    with pytest.warns(SwathWarning, match="--bands naip"):
        assert len(scene.slot_bands(expects=("red", "green", "blue", "nir"))) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scene.read(CORNER, bands=["nir", "red"])
        told = open_scene(path, bands="naip").read(CORNER, bands=["nir", "red"])
    assert np.array_equal(found.values, told.values)
    assert found.valid is None


def test_slots_have_bands_and_units_of_their_own(write_raster: Write) -> None:
    optical = write_raster("o.tif", np.full((3, 8, 8), 7, np.uint16))
    radar = write_raster("r.tif", np.full((2, 8, 8), -12.0, np.float32))
    scene = open_scene(
        optical=optical,
        radar=radar,
        bands={"optical": "blue=1,red=3", "radar": "sentinel-1"},
        unit={"radar": Unit.DECIBEL},
    )
    assert list(scene.slots) == ["optical", "radar"]
    assert [band.role for band in scene.slot_bands("radar")] == ["vv", "vh"]
    assert scene.read(CORNER, slot="radar").unit is Unit.DECIBEL
    power = scene.read(CORNER, slot="radar", bands=["vh"], unit=Unit.LINEAR_POWER)
    assert power.values.max() == pytest.approx(10**-1.2, rel=1e-5)
    with pytest.raises(BandMismatch, match=r"no slot 'image'; it has: optical, radar"):
        scene.read(CORNER)


def test_numbers_for_roles_hold_for_every_slot() -> None:
    pair = open_scene(before=np.zeros((3, 8, 8), np.uint8), after=np.ones((3, 8, 8), np.uint8), bands={"red": 3})
    assert [band.role for slot in pair.slots for band in pair.slot_bands(slot)] == ["red", "red"]


def test_a_single_slot_answers_to_image() -> None:
    scene = open_scene(optical=np.zeros((1, 8, 8), np.uint8))
    assert np.array_equal(scene.read(CORNER).values, scene.read(CORNER, slot="optical").values)


def test_a_series_is_a_slot_a_date(data: Path) -> None:
    dates = [data / "naip_series" / f"m_4709963_se_14_1_{day}.tif" for day in ("20090818", "20140720")]
    scene = open_scene(series=dates, bands="naip")
    assert list(scene.slots) == ["series_1", "series_2"]
    assert scene.acquired == datetime(2009, 8, 18, tzinfo=UTC)
    assert scene.slots["series_2"].acquired == datetime(2014, 7, 20, tzinfo=UTC)
    assert scene.gsd == pytest.approx(5.0, rel=0.01)


def test_an_overview_keeps_the_shape_and_the_ground(data: Path) -> None:
    scene = open_scene(data / "geotiff_io" / "RGB.byte.tif")
    small = scene.overview(100, bands=["green"])
    assert small.size == Size(90, 100)
    assert small.grid.bounds == pytest.approx(scene.grid.bounds)
    assert small.valid is not None
    assert small.valid.mean() == pytest.approx(
        float(scene.read(Window(0, 0, 360, 400), bands=["green"]).valid.mean()),  # type: ignore[union-attr]
        abs=0.04,
    )
    assert scene.overview(100_000).size == scene.grid.size
    with pytest.raises(ConfigurationError, match="at least one pixel"):
        scene.overview(0)


def test_the_block_is_that_of_the_storage(write_raster: Write) -> None:
    path = write_raster("t.tif", np.zeros((1, 300, 300), np.uint8), tiled=True, blockxsize=128, blockysize=64)
    assert open_scene(path).block() == Size(64, 128)


def test_the_fingerprint_follows_content_names_and_slots(write_raster: Write) -> None:
    path = write_raster("f.tif", np.full((3, 8, 8), 7, np.uint16))
    prints = [
        open_scene(path).fingerprint(),
        open_scene(path, bands="red,green,blue").fingerprint(),
        open_scene(path, bands="blue,green,red").fingerprint(),
        open_scene(path, unit=Unit.REFLECTANCE).fingerprint(),
        open_scene(before=path, after=path).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert open_scene(path).fingerprint() == prints[0]


def test_an_open_source_can_be_a_slot_and_a_scene_can_travel(data: Path) -> None:
    source = open_source(data / "geotiff_io" / "cogeo.tif")
    scene = open_scene(source)
    assert scene.slots["image"] is source
    copy = pickle.loads(pickle.dumps(scene))
    assert np.array_equal(copy.read(CORNER).values, scene.read(CORNER).values)
    assert "cogeo.tif" in repr(copy)
    assert "1024 x 1024 pixels" in repr(copy)


def test_threads_may_read_slots_at_once(data: Path) -> None:
    before, after = (data / "naip_series" / f"m_4709963_se_14_1_{day}.tif" for day in ("20090818", "20140720"))
    scene = open_scene(before=before, after=after, bands="naip")
    jobs = [(slot, Window(row, 10, 20, 30)) for row in range(0, 110, 5) for slot in ("before", "after")]

    def read(job: tuple[str, Window]) -> np.ndarray:
        return scene.read(job[1], slot=job[0], bands=["nir", "red"]).values

    alone = [read(job) for job in jobs]
    with ThreadPoolExecutor(6) as pool:
        assert all(np.array_equal(one, two) for one, two in zip(alone, pool.map(read, jobs), strict=True))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")
def test_a_slot_that_cannot_be_opened_closes_the_others(write_raster: Write, tmp_path: Path) -> None:
    own, theirs = (write_raster(name, np.zeros((1, 8, 8), np.uint8)) for name in ("own.tif", "theirs.tif"))
    source = open_source(theirs)
    with pytest.raises(ImageryNotFound):
        open_scene(before=own, after=source, reference=tmp_path / "nothing.tif")
    held = {link.resolve() for link in Path("/proc/self/fd").iterdir()}
    assert Path(own) not in held
    assert source.read(CORNER, [0]).values.shape == (1, 3, 4)
