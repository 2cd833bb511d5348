"""Windowed reads of files and arrays against plain rasterio and numpy."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import GridMismatch, ImageryUnreadable, ShapeError, SwathWarning
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Unit
from swath.imagery.grid import Affine, Grid
from swath.imagery.sources import open_source
from swath.imagery.sources_base import Source

Write = Callable[..., str]


def whole(source: Source) -> Window:
    return Window(0, 0, source.grid.size.height, source.grid.size.width)


def ramp(bands: int = 3, height: int = 40, width: int = 50, dtype: type = np.uint8) -> np.ndarray:
    return (np.arange(bands * height * width) % 251 + 1).reshape(bands, height, width).astype(dtype)


def test_a_window_inside_is_what_rasterio_reads_in_the_stored_type(data: Path) -> None:
    path = data / "geotiff_io" / "cogeo.tif"
    source = open_source(path)
    found = source.read(Window(100, 200, 64, 80), [2, 0])
    with rasterio.open(path) as dataset:
        expected = dataset.read([3, 1], window=((100, 164), (200, 280)))
    assert found.values.dtype == np.uint8
    assert np.array_equal(found.values, expected)
    assert found.valid is None
    assert [band.role for band in found.bands] == ["blue", "red"]
    assert found.unit is Unit.EIGHT_BIT
    # A row further down is a pixel further south, a column further right a pixel further east.
    t = source.grid.transform
    assert found.grid.transform.c == pytest.approx(t.c + 200 * t.a)
    assert found.grid.transform.f == pytest.approx(t.f + 100 * t.e)


@settings(deadline=None, max_examples=60)
@given(row=st.integers(-30, 60), column=st.integers(-30, 60), height=st.integers(1, 90), width=st.integers(1, 90))
def test_windows_that_stick_out_are_padded_and_invalid_there(row: int, column: int, height: int, width: int) -> None:
    values = ramp()
    source = open_source(values)
    found = source.read(Window(row, column, height, width), [0, 1, 2])
    padded = np.pad(values, ((0, 0), (200, 200), (200, 200)))[
        :, row + 200 : row + 200 + height, column + 200 : column + 200 + width
    ]
    assert np.array_equal(found.values, padded)
    valid = np.ones(padded.shape[1:], bool) if found.valid is None else found.valid
    assert np.array_equal(valid, padded[0] > 0)
    assert (found.valid is None) == bool(valid.all())


@pytest.mark.parametrize(
    "window", [Window(-5, -7, 20, 20), Window(30, 40, 20, 20), Window(100, 3, 4, 4), Window(-3, -3, 60, 70)]
)
def test_a_file_and_an_array_of_the_same_values_read_alike(write_raster: Write, window: Window) -> None:
    values = ramp()
    from_file = open_source(write_raster("a.tif", values, tiled=True, blockxsize=16, blockysize=16))
    from_array = open_source(values, grid=from_file.grid)
    one, two = (source.read(window, [1, 0]) for source in (from_file, from_array))
    assert np.array_equal(one.values, two.values)
    assert np.array_equal(one.valid, two.valid)
    assert one.grid == two.grid


def test_windows_of_an_array_are_views() -> None:
    values = ramp()
    found = open_source(values).read(Window(3, 4, 5, 6), [0, 1])
    assert np.shares_memory(found.values, values)


def test_nodata_of_eight_bit_imagery_is_missing_only_where_all_bands_have_it(data: Path) -> None:
    path = data / "geotiff_io" / "RGB.byte.tif"
    source = open_source(path)
    found = source.read(whole(source), [0, 1, 2])
    with rasterio.open(path) as dataset:
        expected = dataset.dataset_mask() > 0
    assert found.valid is not None
    assert 0.2 < found.valid.mean() < 0.9
    assert np.array_equal(found.valid, expected)
    middle = source.read(Window(200, 200, 32, 32), [0, 1, 2])
    assert middle.valid is None


def test_nodata_of_other_types_is_missing_where_any_band_has_it(write_raster: Write) -> None:
    values = ramp(2, dtype=np.int16)
    values[0, 3, 4] = -32768
    source = open_source(write_raster("n.tif", values, nodata=-32768))
    valid = source.read(whole(source), [0, 1]).valid
    assert valid is not None
    assert np.argwhere(~valid).tolist() == [[3, 4]]
    assert source.read(whole(source), [1]).valid is None


def test_nan_and_infinity_are_missing(write_raster: Write) -> None:
    values = ramp(2, dtype=np.float32)
    values[0, 1, 2], values[1, 5, 6] = np.nan, np.inf
    for source in (open_source(write_raster("f.tif", values)), open_source(values)):
        valid = source.read(whole(source), [0, 1]).valid
        assert valid is not None
        assert np.argwhere(~valid).tolist() == [[1, 2], [5, 6]]


def test_imagery_that_is_all_nan_or_all_nodata_is_all_invalid(write_raster: Write) -> None:
    empty = open_source(np.full((1, 4, 4), np.nan, np.float32))
    blank = open_source(write_raster("z.tif", np.zeros((3, 4, 4), np.uint8), nodata=0))
    for source in (empty, blank):
        valid = source.read(Window(0, 0, 4, 4), range(len(source.bands))).valid
        assert valid is not None
        assert not valid.any()


def test_an_internal_mask_says_what_is_valid(data: Path) -> None:
    path = data / "geotiff_io" / "cog_rgb_mask.tif"
    source = open_source(path)
    found = source.read(whole(source), [0, 1, 2])
    with rasterio.open(path) as dataset:
        expected = dataset.read_masks(1) > 0
    assert 0 < (~expected).sum() < expected.size
    assert np.array_equal(found.valid, expected)


def test_alpha_is_a_mask_and_not_a_band(write_raster: Write) -> None:
    values = ramp(4)
    values[3] = 255
    values[3, :10] = 0
    source = open_source(write_raster("rgba.tif", values, colours=("red", "green", "blue", "alpha")))
    found = source.read(whole(source), [0, 1, 2])
    assert [band.role for band in source.bands] == ["red", "green", "blue"]
    assert found.valid is not None
    assert np.array_equal(found.valid, values[3] > 0)


def test_alpha_is_near_infrared_for_one_who_wants_that_and_then_masks_nothing(data: Path) -> None:
    path = data / "urban_trees" / "images" / "chico_2018_0.tif"
    source = open_source(path)
    assert [band.role for band in source.bands] == ["red", "green", "blue"]
    assert source.expecting(["red", "green", "blue"]) is source
    with pytest.warns(SwathWarning, match="near infrared"):
        aerial = source.expecting(["red", "green", "blue", "nir"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert source.expecting(["nir"]) is aerial
    found = aerial.read(whole(source), [0, 1, 2, 3])
    with rasterio.open(path) as dataset:
        assert np.array_equal(found.values, dataset.read())
    assert found.valid is None
    assert found.bands[3].wavelength == 860.0


def test_a_smaller_size_reads_through_overviews_over_the_same_ground(data: Path) -> None:
    source = open_source(data / "geotiff_io" / "cogeo.tif")
    small = source.read(whole(source), [0, 1, 2], size=Size(64, 128))
    full = source.read(whole(source), [0, 1, 2]).values.astype(np.float64)
    blocks = full.reshape(3, 64, 16, 128, 8).mean(axis=(2, 4))
    assert small.values.shape == (3, 64, 128)
    assert small.grid.bounds == pytest.approx(source.grid.bounds)
    assert np.abs(small.values - blocks).mean() < 12
    assert np.corrcoef(small.values.ravel(), blocks.ravel())[0, 1] > 0.93


def test_a_smaller_size_of_an_array_averages_and_leaves_out_what_is_missing() -> None:
    values = np.zeros((1, 8, 8), np.float32)
    values[:, :, 4:] = 100.0
    values[:, :4, :4] = np.nan
    found = open_source(values).read(Window(0, 0, 8, 8), [0], size=Size(2, 2), resampling="average")
    assert found.valid is not None
    assert found.valid.tolist() == [[False, True], [True, True]]
    assert found.values[0][found.valid].tolist() == [100.0, 0.0, 100.0]


@pytest.mark.parametrize("kind", ["file", "array"])
def test_a_smaller_read_that_sticks_out_keeps_pixels_in_their_place(write_raster: Write, kind: str) -> None:
    values = np.zeros((1, 40, 40), np.uint8)
    values[:, :20] = 200
    source = open_source(write_raster("edge.tif", values) if kind == "file" else values)
    found = source.read(Window(-20, -20, 80, 80), [0], size=Size(8, 8), resampling="nearest")
    expected = np.zeros((8, 8), bool)
    expected[2:6, 2:6] = True
    assert np.array_equal(found.valid, expected)
    assert found.values[0, 2:4, 2:6].min() == 200
    assert found.values[0, 4:6, 2:6].max() == 0


def test_a_masked_array_says_what_is_missing() -> None:
    values = np.ma.array(np.ones((2, 3, 3), np.uint8), mask=False)
    values[0, 1, 1] = np.ma.masked
    valid = open_source(values).read(Window(0, 0, 3, 3), [0, 1]).valid
    assert valid is not None
    assert np.argwhere(~valid).tolist() == [[1, 1]]


def test_many_threads_read_the_same_as_one(data: Path) -> None:
    source = open_source(data / "geotiff_io" / "cogeo.tif")
    windows = [Window(row, column, 100, 100) for row in range(-50, 1000, 90) for column in range(-50, 1000, 90)]
    alone = [source.read(window, [0, 1, 2]).values for window in windows]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda window: source.read(window, [0, 1, 2]).values, windows))
    assert all(np.array_equal(one, two) for one, two in zip(alone, together, strict=True))


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")


@needs_proc
def test_closing_lets_go_of_the_file_and_a_later_read_says_so(write_raster: Write) -> None:
    path = write_raster("c.tif", ramp())
    descriptors = lambda: {str(link.resolve()) for link in Path("/proc/self/fd").iterdir()}  # noqa: E731
    source = open_source(path)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n: source.read(Window(n, 0, 2, 2), [0]), range(9)))
    assert path in descriptors()
    source.close()
    assert path not in descriptors()
    with pytest.raises(ImageryUnreadable, match="has been closed"):
        source.read(Window(0, 0, 2, 2), [0])


@needs_proc
def test_handles_go_with_their_threads(write_raster: Write) -> None:
    path = Path(write_raster("h.tif", ramp()))
    source = open_source(path)
    held = lambda: [link.resolve() for link in Path("/proc/self/fd").iterdir()].count(path)  # noqa: E731
    before = held()
    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda n: source.read(Window(n, 0, 2, 2), [0]), range(9)))
    assert held() == before == 1


def test_a_source_can_be_sent_to_another_process(write_raster: Write) -> None:
    source = open_source(write_raster("p.tif", ramp()), bands="red,green,blue")
    copy = pickle.loads(pickle.dumps(source))
    window = Window(-2, 3, 20, 20)
    assert np.array_equal(copy.read(window, [2]).values, source.read(window, [2]).values)
    assert copy.bands == source.bands


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_opens_files_of_its_own(write_raster: Write) -> None:
    source = open_source(write_raster("k.tif", ramp()))
    expected = source.read(Window(0, 0, 40, 50), [0]).values
    parent = source._handles.get()  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            own = source._handles.get()  # type: ignore[attr-defined]
            same = np.array_equal(source.read(Window(0, 0, 40, 50), [0]).values, expected)
        finally:
            os._exit(0 if own is not parent and same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_block_cache_is_held_to_64_megabytes_unless_told_otherwise(
    write_raster: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raster("cache.tif", ramp())
    monkeypatch.setenv("GDAL_CACHEMAX", "128")
    open_source(path)
    assert os.environ["GDAL_CACHEMAX"] == "128"
    monkeypatch.delenv("GDAL_CACHEMAX")
    open_source(path)
    assert os.environ["GDAL_CACHEMAX"] == "64"


def test_the_fingerprint_follows_the_content(write_raster: Write) -> None:
    values = ramp()
    one, same = (open_source(write_raster(name, values)).fingerprint() for name in ("1.tif", "2.tif"))
    values[2, 39, 49] ^= 1
    other = open_source(write_raster("3.tif", values)).fingerprint()
    assert one == same
    assert one != other
    arrays = [open_source(array).fingerprint() for array in (values, values.copy(), values.astype(np.int16))]
    assert arrays[0] == arrays[1] != arrays[2]


def test_scale_and_offset_of_the_file_are_its_bands(data: Path) -> None:
    source = open_source(data / "geotiff_io" / "cog_scale_epsg4326.tif")
    assert [(band.scale, band.offset, band.nodata) for band in source.bands] == [
        (0.0001, 1000.0, 0.0),
        (0.001, 2000.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("name", "crs"), [("cog_dateline.tif", "EPSG:32660"), ("cogeo.tif", "EPSG:3857"), ("goes.tif", "PROJCS")]
)
def test_reference_systems_have_their_code_or_are_spelled_out(data: Path, name: str, crs: str) -> None:
    grid = open_source(data / "geotiff_io" / name).grid
    assert grid.crs is not None
    assert grid.crs.startswith(crs)


def test_the_date_comes_from_the_name_else_from_the_tags(write_raster: Write, data: Path) -> None:
    tagged = open_source(write_raster("t.tif", ramp(), tags={"TIFFTAG_DATETIME": "2016:05:02 10:11:12"}))
    assert tagged.acquired == datetime(2016, 5, 2, 10, 11, 12, tzinfo=UTC)
    series = next((data / "s2_time_series").glob("*.tif"))
    assert open_source(series).acquired == datetime(2018, 1, 6, tzinfo=UTC)
    assert open_source(write_raster("undated.tif", ramp())).acquired is None


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_descriptions_units_and_png_are_read(write_raster: Write) -> None:
    radar = open_source(write_raster("r.tif", ramp(2, dtype=np.float32), descriptions=("VV", "VH"), units=("dB", "dB")))
    assert [band.role for band in radar.bands] == ["vv", "vh"]
    assert radar.bands[0].unit is Unit.DECIBEL
    with pytest.warns(SwathWarning, match="no coordinate reference system"):
        photograph = open_source(write_raster("p.png", ramp(3), driver="PNG", crs=None, transform=None))
    assert [band.role for band in photograph.bands] == ["red", "green", "blue"]
    assert photograph.grid.crs is None


def test_files_side_by_side_are_one_image(write_raster: Write) -> None:
    values = ramp(3, dtype=np.uint16)
    paths = [write_raster(f"band_{n}.tif", values[n : n + 1]) for n in range(3)]
    source = open_source(paths, bands="nir,red,green")
    found = source.read(Window(-2, 5, 10, 10), [2, 0])
    expected = open_source(values).read(Window(-2, 5, 10, 10), [2, 0])
    assert [band.role for band in found.bands] == ["green", "nir"]
    assert np.array_equal(found.values, expected.values)
    assert np.array_equal(found.valid, expected.valid)
    named = open_source({"red": paths[1], "nir": paths[0]})
    assert [band.role for band in named.bands] == ["red", "nir"]
    assert np.array_equal(named.read(whole(named), [0]).values, values[1:2])


def test_a_grid_belongs_to_its_array() -> None:
    grid = Grid(crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), size=Size(40, 50))
    assert open_source(ramp(), grid=grid).grid == grid
    with pytest.raises(GridMismatch, match="give the grid of this array"):
        open_source(ramp(height=41), grid=grid)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3, 4)])
def test_an_array_of_other_dimensions_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="found"):
        open_source(np.zeros(shape))


def test_an_array_with_its_bands_last_is_refused_with_the_remedy() -> None:
    with pytest.raises(ShapeError, match="moveaxis"):
        open_source(np.zeros((100, 100, 3), np.uint8))
