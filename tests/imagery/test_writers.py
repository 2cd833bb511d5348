"""Raster results: what is written is read back by other programs, and equal maps are equal bytes."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from swath.errors import (
    ConfigurationError,
    GeometryError,
    GridMismatch,
    OutputExists,
    OutputFailed,
    ResumeMismatch,
    ShapeError,
)
from swath.geometry.windows import Size, Window
from swath.imagery.grid import PIXELS, Affine, Grid
from swath.imagery.raster_writer import Colour, RasterLayout, finish_cog, halve, write_raster
from swath.imagery.scratch import ScratchRaster, scratch_path

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def layout_of(values: np.ndarray, *, crs: str | None = "EPSG:32633", **more: Any) -> RasterLayout:
    grid = Grid(crs=crs, transform=UTM if crs else PIXELS, size=Size(*values.shape[1:]))
    names = tuple(f"band{index}" for index in range(len(values)))
    return RasterLayout(**{"grid": grid, "dtype": values.dtype.name, "names": names, **more})


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) * 100).astype(dtype)


# ---- scratch rasters


def test_a_scratch_holds_what_was_written_in_any_order(tmp_path: Path) -> None:
    values = noise(2, 1300, 1100)
    scratch = ScratchRaster(tmp_path / "scratch", size=Size(1300, 1100), bands=2, dtype="uint8")
    corners = [(row, column) for row in range(0, 1300, 333) for column in range(0, 1100, 501)]
    for row, column in reversed(corners):
        window = Window(row, column, 333, 501).clipped(scratch.size)
        rows, columns = window.slices
        scratch.write(window, values[:, rows, columns])
    np.testing.assert_array_equal(scratch.read(Window(0, 0, 1300, 1100)), values)
    # GDAL is the independent reader of the hand-made BigTIFF.
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(scratch.path) as opened:
        np.testing.assert_array_equal(opened.read(), values)
        assert opened.overviews(1) == [2, 4]
        assert opened.block_shapes == [(512, 512)] * 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 599), st.integers(0, 799)] * 2), min_size=1, max_size=6))
def test_a_scratch_is_like_an_array(
    tmp_path_factory: pytest.TempPathFactory, corners: list[tuple[int, int, int, int]]
) -> None:
    array = np.zeros((1, 600, 800), np.int16)
    with ScratchRaster(
        tmp_path_factory.mktemp("scratch") / "s", size=Size(600, 800), bands=1, dtype="int16"
    ) as scratch:
        for number, (row, column, other_row, other_column) in enumerate(corners, start=1):
            top, left = min(row, other_row), min(column, other_column)
            window = Window(top, left, abs(row - other_row) + 1, abs(column - other_column) + 1)
            block = np.full((1, window.height, window.width), number, np.int16)
            scratch.write(window, block)
            array[:, window.slices[0], window.slices[1]] = block
        np.testing.assert_array_equal(scratch.read(Window(0, 0, 600, 800)), array)
        scratch.remove()


def test_threads_that_write_side_by_side_do_not_undo_each_other(tmp_path: Path) -> None:
    scratch = ScratchRaster(tmp_path / "scratch", size=Size(512, 512), bands=1, dtype="uint8")

    def write_columns(start: int) -> None:
        for column in range(start, 512, 8):
            scratch.write(Window(0, column, 512, 1), np.full((1, 512, 1), column % 251, np.uint8))

    threads = [threading.Thread(target=write_columns, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = np.broadcast_to(np.arange(512) % 251, (1, 512, 512))
    np.testing.assert_array_equal(scratch.read(Window(0, 0, 512, 512)), expected)


def test_a_scratch_is_taken_up_again_after_a_crash(tmp_path: Path) -> None:
    path = scratch_path(tmp_path / "map.tif")
    with ScratchRaster(path, size=Size(600, 600), bands=1, dtype="uint8") as scratch:
        scratch.write(Window(0, 0, 600, 1), np.full((1, 600, 1), 5, np.uint8))
        scratch.flush()
    with ScratchRaster(path, size=Size(600, 600), bands=1, dtype="uint8", resume=True) as scratch:
        assert scratch.read(Window(0, 0, 600, 2)).sum() == 5 * 600
    with pytest.raises(ResumeMismatch, match="begun for a map of another size"):
        ScratchRaster(path, size=Size(600, 601), bands=1, dtype="uint8", resume=True)
    with ScratchRaster(path, size=Size(600, 600), bands=1, dtype="uint8") as scratch:
        assert scratch.read(Window(0, 0, 600, 2)).sum() == 0


def test_windows_and_values_that_do_not_fit_a_scratch_are_refused(tmp_path: Path) -> None:
    scratch = ScratchRaster(tmp_path / "scratch", size=Size(20, 30), bands=1, dtype="uint8")
    with pytest.raises(GeometryError, match="sticks out of the raster of 20 x 30"):
        scratch.write(Window(10, 0, 11, 30), np.zeros((1, 11, 30), np.uint8))
    with pytest.raises(GeometryError, match="sticks out"):
        scratch.read(Window(-1, 0, 2, 2))
    with pytest.raises(ShapeError, match=r"shape \(1, 2, 3\), found \(2, 3\)"):
        scratch.write(Window(0, 0, 2, 3), np.zeros((2, 3), np.uint8))
    with pytest.raises(ShapeError, match="holds uint8 values, found float64"):
        scratch.write(Window(0, 0, 2, 3), np.zeros((1, 2, 3)))
    with pytest.raises(ConfigurationError, match="values of type int64"):
        ScratchRaster(tmp_path / "other", size=Size(20, 30), bands=1, dtype="int64")
    with pytest.raises(ConfigurationError, match="at least one pixel"):
        ScratchRaster(tmp_path / "other", size=Size(0, 30), bands=1, dtype="uint8")


# ---- overviews


def test_the_three_ways_to_halve_on_a_case_counted_by_hand() -> None:
    values = np.array([[[1, 2, 9], [3, 3, 9], [4, 6, 7]]], np.uint8)
    assert halve(values, "nearest").tolist() == [[[1, 9], [4, 7]]]
    assert halve(values, "mode").tolist() == [[[3, 9], [4, 7]]]
    assert halve(values, "average").tolist() == [[[2, 9], [5, 7]]]  # (1 + 2 + 3 + 3) / 4 is 2.25
    assert halve(values, "average", nodata=9).tolist() == [[[2, 9], [5, 7]]]
    assert halve(values, "average", nodata=3).tolist() == [[[2, 9], [5, 7]]]  # (1 + 2) / 2, to the even
    measured = np.array([[[np.nan, 1.0], [2.0, np.nan]]], np.float32)
    assert halve(measured, "average").tolist() == [[[1.5]]]


def test_the_commonest_of_four_is_what_counting_says() -> None:
    values = np.random.default_rng(0).integers(0, 3, (1, 60, 60)).astype(np.uint8)
    halved = halve(values, "mode")[0]
    for row in range(30):
        for column in range(30):
            four = values[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel().tolist()
            assert halved[row, column] == Counter(four).most_common(1)[0][0]  # the first met where two are equal


# ---- Cloud-Optimised GeoTIFFs


@pytest.mark.parametrize(
    ("dtype", "bands", "height", "width"),
    [
        ("uint8", 2, 1100, 1300),
        ("float32", 3, 513, 1027),
        ("int16", 1, 1, 1),
        ("uint16", 4, 40, 600),
        ("int8", 1, 700, 2),
        ("uint32", 1, 30, 20),
        ("int32", 2, 30, 20),
        ("float64", 1, 600, 600),
    ],
)
def test_a_raster_is_read_back_as_it_was(dtype: str, bands: int, height: int, width: int, tmp_path: Path) -> None:
    values = noise(bands, height, width, dtype=dtype)
    path = write_raster(tmp_path / "map.tif", values, layout_of(values))
    with rasterio.open(path) as opened:
        np.testing.assert_array_equal(opened.read(), values)
        assert opened.crs == CRS.from_epsg(32633)
        assert tuple(opened.transform)[:6] == (10, 0, 500_000, 0, -10, 5_000_000)
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.tif"]


def test_a_raster_says_what_its_layout_says(tmp_path: Path) -> None:
    values = noise(2, 40, 40)
    layout = layout_of(
        values,
        names=("class", "confidence"),
        nodata=255,
        classes=("öde", "forest"),
        colours={1: Colour(0, 128, 0)},
        tags={"SWATH_MODEL": "trees <1> & more"},
        units=("", "percent"),
        scales=(1.0, 0.5),
        offsets=(0.0, -1.0),
    )
    with rasterio.open(write_raster(tmp_path / "map.tif", values, layout)) as opened:
        assert opened.nodata == 255
        assert opened.descriptions == ("class", "confidence")
        assert (opened.scales, opened.offsets) == ((1.0, 0.5), (0.0, -1.0))
        assert opened.units[1] == "percent"
        tags = opened.tags()
    assert tags["SWATH_MODEL"] == "trees <1> & more"
    assert json.loads(tags["CLASS_NAMES"]) == ["öde", "forest"]
    assert json.loads(tags["CLASS_COLOURS"]) == {"1": [0, 128, 0, 255]}


def test_a_single_class_band_carries_its_colours(tmp_path: Path) -> None:
    values = noise(1, 600, 600) % 3
    layout = layout_of(values, colours={0: Colour(1, 2, 3), 2: Colour(7, 8, 9)})
    with rasterio.open(write_raster(tmp_path / "map.tif", values, layout)) as opened:
        assert opened.colorinterp == (ColorInterp.palette,)
        assert [opened.colormap(1)[value][:3] for value in (0, 2)] == [(1, 2, 3), (7, 8, 9)]
        np.testing.assert_array_equal(opened.read(), values)


def test_a_raster_without_reference_system_has_none_and_no_warning(tmp_path: Path) -> None:
    values = noise(3, 30, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write_raster(tmp_path / "map.tif", values, layout_of(values, crs=None, names=("red", "green", "blue")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path) as opened:
            assert opened.crs is None
            assert opened.transform.is_identity
            assert opened.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def directories(raw: bytes) -> Iterator[dict[int, list[int]]]:
    """The image file directories of a little-endian classic TIFF: an independent, minimal reader."""
    assert raw[:4] == b"II*\0"
    (offset,) = struct.unpack_from("<I", raw, 4)
    while offset:
        (count,) = struct.unpack_from("<H", raw, offset)
        tags = {-1: [offset]}
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from("<HHI", raw, entry)
            code, size = {3: ("H", 2), 4: ("I", 4)}.get(kind, ("B", 1))
            place = entry + 8 if size * length <= 4 else struct.unpack_from("<I", raw, entry + 8)[0]
            tags[tag] = list(struct.unpack_from(f"<{length}{code}", raw, place)) if code != "B" else []
        yield tags
        (offset,) = struct.unpack_from("<I", raw, offset + 2 + 12 * count)


def test_a_map_is_cloud_optimised(tmp_path: Path) -> None:
    values = noise(2, 1100, 2300)
    path = write_raster(tmp_path / "map.tif", values, layout_of(values))
    with rasterio.open(path) as opened:
        assert opened.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert opened.overviews(1) == opened.overviews(2) == [2, 4, 8]
        np.testing.assert_array_equal(opened.read(out_shape=(2, 550, 1150)), values[:, ::2, ::2])
    raw = path.read_bytes()
    assert raw[8:].startswith(b"GDAL_STRUCTURAL_METADATA_SIZE=")
    found = list(directories(raw))
    widths = [tags[256][0] for tags in found]
    assert widths == [2300, 1150, 575, 288]
    places = [tags[-1][0] for tags in found]
    first_tiles = [min(tags[324]) for tags in found]
    assert places == sorted(places)  # all directories come first, largest image first,
    assert max(places) < min(first_tiles)
    assert first_tiles == sorted(first_tiles, reverse=True)  # then the tiles, smallest image first
    assert {(tags[322][0], tags[323][0]) for tags in found} == {(512, 512)}


def test_averages_in_overviews_leave_nodata_out(tmp_path: Path) -> None:
    values = np.full((1, 1024, 1024), -1, np.float32)
    values[:, ::2, ::2] = 8
    path = write_raster(tmp_path / "map.tif", values, layout_of(values, nodata=-1), overviews="average")
    with rasterio.open(path, overview_level=0) as opened:
        np.testing.assert_array_equal(opened.read(), np.full((1, 512, 512), 8, np.float32))


def test_equal_maps_are_equal_bytes_in_any_order_and_with_any_threads(tmp_path: Path) -> None:
    values = noise(2, 1100, 1300)
    layout = layout_of(values, nodata=255, tags={"b": "2", "a": "1"}, classes=("x",))
    contents = []
    windows = [Window(row, column, 550, 650) for row in (0, 550) for column in (0, 650)]
    for number, (order, threads) in enumerate([(windows, 1), (windows[::-1], 1), (windows, 3)]):
        scratch = ScratchRaster(tmp_path / f"s{number}", size=layout.grid.size, bands=2, dtype="uint8")
        for window in order:
            scratch.write(window, values[:, window.slices[0], window.slices[1]])
        path = finish_cog(scratch, tmp_path / f"{number}.tif", layout, threads=threads)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_zstd_is_smaller_than_raw_and_says_so(tmp_path: Path) -> None:
    values = np.tile(np.arange(100, dtype=np.uint8), (1, 600, 6))
    path = write_raster(tmp_path / "map.tif", values, layout_of(values), compression="zstd")
    with rasterio.open(path) as opened:
        assert opened.compression.name == "zstd"
        np.testing.assert_array_equal(opened.read(), values)
    assert path.stat().st_size < values.nbytes / 10


def test_memory_does_not_grow_with_the_map(tmp_path: Path) -> None:
    # 8192 x 8192 x 2 bytes are 134 MB, 179 MB with overviews; GDAL's cache of 64 MB and a few blocks are allowed.
    script = f"""
import numpy as np
from pathlib import Path
from swath.geometry.windows import Size, Window
from swath.imagery.grid import Affine, Grid
from swath.imagery.raster_writer import RasterLayout, ScratchRaster, finish_cog
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1000
block = np.random.default_rng(0).integers(0, 3, (2, 1024, 1024)).astype(np.uint8)
grid = Grid(crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5e6), size=Size(8192, 8192))
before = peak()
scratch = ScratchRaster({str(tmp_path / "scratch")!r}, size=grid.size, bands=2, dtype="uint8")
for row in range(0, 8192, 1024):
    for column in range(0, 8192, 1024):
        scratch.write(Window(row, column, 1024, 1024), block)
print(peak() - before)
layout = RasterLayout(grid=grid, dtype="uint8", names=("class", "confidence"), nodata=255)
finish_cog(scratch, {str(tmp_path / "map.tif")!r}, layout)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    filling, finishing = (float(line) for line in done.stdout.split())
    assert filling < 30
    assert finishing < 125


def test_rasters_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    values = noise(1, 20, 20)
    layout = layout_of(values)
    with pytest.raises(OutputFailed, match=r"map\.jpg': a raster map is written as \.tif"):
        write_raster(tmp_path / "map.jpg", values, layout)
    with pytest.raises(ShapeError, match=r"shape \(1, 20, 20\), found \(2, 20, 20\)"):
        write_raster(tmp_path / "map.tif", noise(2, 20, 20), layout)
    with pytest.raises(GridMismatch, match="'EPSG:0' is no reference system"):
        write_raster(tmp_path / "map.tif", values, layout_of(values, crs="EPSG:0"))
    with pytest.raises(ConfigurationError, match=r"needs as many units, found 2"):
        layout_of(values, units=("m", "m"))
    with pytest.raises(ConfigurationError, match="uint8 values cannot hold the nodata value -1"):
        layout_of(values, nodata=-1)
    with pytest.raises(ConfigurationError, match="cannot hold 'complex64'"):
        layout_of(values, dtype="complex64")
    write_raster(tmp_path / "map.tif", values, layout)
    before = (tmp_path / "map.tif").read_bytes()
    with pytest.raises(OutputExists):
        write_raster(tmp_path / "map.tif", values + 1, layout)
    assert (tmp_path / "map.tif").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.tif"]
