"""Raster and vector results: what is written is read back by other programs, and equal results are equal bytes."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry import MultiPolygon, Point, Polygon

from swath.errors import (
    ConfigurationError,
    GeometryError,
    GridMismatch,
    OutputExists,
    OutputFailed,
    ResumeMismatch,
    ShapeError,
    SwathWarning,
)
from swath.geometry.windows import Size, Window
from swath.imagery import vector_writer
from swath.imagery.features import Feature, Field
from swath.imagery.grid import PIXELS, Affine, Grid
from swath.imagery.lonlat import LonLat, bounding_box, footprint
from swath.imagery.raster_writer import Colour, RasterLayout, finish_cog, halve, write_raster
from swath.imagery.scratch import ScratchRaster, scratch_path
from swath.imagery.vector_writer import VectorWriter

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
FORMATS = [".gpkg", ".geojson", ".json", ".parquet", ".fgb"]


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


# ---- vectors

FIELDS = (Field("class", str), Field("score", float), Field("count", int), Field("sure", bool))


def some_features(count: int) -> list[Feature]:
    known = [{"class": f"Bäume {i}", "score": i / 7, "count": i, "sure": i % 2 == 0} for i in range(count)]
    return [
        Feature(
            shapely.box(500_000 + 20 * i, 5_000_000, 500_010 + 20 * i, 5_000_010),
            known[i] if i % 3 else {"class": None, "score": np.float32(0.5)},
        )
        for i in range(count)
    ]


def write_features(path: Path, features: list[Feature], **more: Any) -> Path:
    options = {"crs": "EPSG:32633", "fields": FIELDS, "geometry": "Polygon", **more}
    with VectorWriter(path, **options) as writer:
        writer.add(features)
    return path


def read_columns(path: Path) -> tuple[dict[str, list[Any]], np.ndarray]:
    """Columns and geometries, by pyogrio or, where its GDAL has no driver, pyarrow."""
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        geometry = shapely.from_wkb(table.column("geometry").to_pylist())
    else:
        meta, table = pyogrio.raw.read_arrow(path)
        geometry = shapely.from_wkb(table.column(meta["geometry_name"] or "wkb_geometry").to_pylist())
    return {field.name: table.column(field.name).to_pylist() for field in FIELDS}, geometry


@pytest.mark.parametrize("suffix", FORMATS)
def test_features_are_read_back_as_they_were(suffix: str, tmp_path: Path) -> None:
    features = some_features(50)
    columns, geometry = read_columns(write_features(tmp_path / f"trees{suffix}", features))
    order = np.argsort(shapely.bounds(geometry)[:, 0])  # FlatGeobuf sorts features in space
    for field in FIELDS:
        expected = [feature.properties.get(field.name) for feature in features]
        assert [columns[field.name][i] for i in order] == expected
    shapes = [feature.geometry for feature in features]
    if suffix in (".geojson", ".json"):
        shapes = LonLat("EPSG:32633").geometries(shapes)
    assert shapely.equals_exact(shapely.normalize(geometry[order]), shapely.normalize(shapes), tolerance=1e-7).all()
    assert [entry.name for entry in tmp_path.iterdir()] == [f"trees{suffix}"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_features_are_a_valid_file(suffix: str, tmp_path: Path) -> None:
    path = write_features(tmp_path / f"nothing{suffix}", [])
    if suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        assert table.num_rows == 0
        assert table.schema.names == ["class", "score", "count", "sure", "geometry", "bbox"]
        return
    assert len(read_columns(path)[1]) == 0 if suffix == ".fgb" else pyogrio.read_info(path)["features"] == 0
    found = pyogrio.read_info(path)
    if suffix in (".gpkg", ".fgb"):
        assert found["fields"].tolist() == ["class", "score", "count", "sure"]
        assert found["geometry_type"] == "Polygon"
        assert found["crs"] == "EPSG:32633"
    else:
        assert json.loads(path.read_text())["features"] == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_equal_features_are_equal_bytes_however_they_arrive(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_writer, "BATCH_FEATURES", 16)
    features = some_features(100)
    (tmp_path / "a").mkdir()
    at_once = write_features(tmp_path / "a" / f"trees{suffix}", features).read_bytes()
    time.sleep(0.01)  # a date in the file would differ now: GeoPackage's has milliseconds
    other = tmp_path / f"trees{suffix}"
    with VectorWriter(other, crs="EPSG:32633", fields=FIELDS, geometry="Polygon") as writer:
        for start in range(0, 100, 7):
            writer.add(iter(features[start : start + 7]))
    assert other.read_bytes() == at_once


def test_a_geopackage_has_the_date_it_is_given_and_a_spatial_index(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)
    path = write_features(tmp_path / "trees.gpkg", some_features(20), timestamp=moment)
    base = sqlite3.connect(path)
    assert base.execute("SELECT table_name, last_change FROM gpkg_contents").fetchall() == [
        ("trees", "2024-05-01T10:30:00.000Z")
    ]
    assert base.execute("SELECT COUNT(*) FROM rtree_trees_geom_rowid").fetchone() == (20,)
    base.close()
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None
    few = pyogrio.raw.read(path, bbox=(500_000, 4_999_999, 500_025, 5_000_020))
    assert len(few[2]) == 2


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_the_reference_system_is_kept_or_absent(suffix: str, tmp_path: Path) -> None:
    lambert = "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84"
    kept = pyogrio.read_info(write_features(tmp_path / f"a{suffix}", some_features(2), crs=lambert))["crs"]
    assert CRS.from_string(kept) == CRS.from_string(lambert)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write_features(tmp_path / f"b{suffix}", some_features(2), crs=None)
    assert "Undefined" in str(pyogrio.read_info(path)["crs"]) or pyogrio.read_info(path)["crs"] is None


def test_geoparquet_describes_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_writer, "BATCH_FEATURES", 8)
    path = write_features(tmp_path / "trees.parquet", some_features(20))
    file = pyarrow.parquet.ParquetFile(path)
    assert file.metadata.num_row_groups == 3
    geo = json.loads(file.metadata.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32633}
    assert column["bbox"] == [500_000, 5_000_000, 500_390, 5_000_010]
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    boxes = file.read().column("bbox").to_pylist()
    assert boxes[1] == {"xmin": 500_020, "ymin": 5_000_000, "xmax": 500_030, "ymax": 5_000_010}
    plain = write_features(tmp_path / "pixels.parquet", some_features(1), crs=None)
    geo = json.loads(pyarrow.parquet.ParquetFile(plain).metadata.metadata[b"geo"])
    assert geo["columns"]["geometry"]["crs"] is None


def test_geojson_is_in_longitude_and_latitude(tmp_path: Path) -> None:
    # The spherical Mercator projection, by its own formula.
    x, y, radius = 1_234_567.0, 5_432_100.0, 6_378_137.0
    longitude = math.degrees(x / radius)
    latitude = math.degrees(2 * math.atan(math.exp(y / radius)) - math.pi / 2)
    path = write_features(tmp_path / "a.geojson", [Feature(Point(x, y), {})], crs="EPSG:3857", geometry="Point")
    found = json.loads(path.read_text())
    assert (found["type"], found["name"]) == ("FeatureCollection", "a")
    assert found["features"][0]["geometry"]["coordinates"] == [round(longitude, 7), round(latitude, 7)]
    assert found["features"][0]["properties"] == {"class": None, "score": None, "count": None, "sure": None}


def test_geojson_shells_are_counter_clockwise_and_holes_clockwise(tmp_path: Path) -> None:
    ring = Polygon([(0, 0), (0, 9), (9, 9), (9, 0)], [[(2, 2), (4, 2), (4, 4), (2, 4)]])
    path = write_features(tmp_path / "a.geojson", [Feature(ring, {})], crs="EPSG:4326")
    shell, hole = json.loads(path.read_text())["features"][0]["geometry"]["coordinates"]
    assert shapely.is_ccw(shapely.linearrings(shell))
    assert not shapely.is_ccw(shapely.linearrings(hole))


def test_geojson_of_pixels_says_so(tmp_path: Path) -> None:
    with pytest.warns(SwathWarning, match="holds pixel coordinates"):
        path = write_features(tmp_path / "a.geojson", [Feature(Point(3.5, 7.25), {})], crs=None, geometry="Point")
    found = json.loads(path.read_text())
    assert found["swath:coordinates"] == "pixels"
    assert "coordinates" not in found  # which RFC 7946, section 7.1, forbids here
    assert found["features"][0]["geometry"]["coordinates"] == [3.5, 7.25]


def test_geojson_has_no_numbers_that_json_has_not(tmp_path: Path) -> None:
    feature = Feature(Point(0, 0), {"score": math.nan})
    path = write_features(tmp_path / "a.geojson", [feature], crs="EPSG:4326", geometry="Point")
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["features"][0]["properties"]["score"] is None


def test_a_polygon_over_the_antimeridian_is_cut_in_two(tmp_path: Path) -> None:
    # In the Mercator projection of the Pacific (EPSG:3832) x is the longitude from 150 degrees east.
    degree = math.radians(1) * 6_378_137.0
    square = shapely.box(20 * degree, 0, 40 * degree, 1_000_000)
    path = write_features(tmp_path / "a.geojson", [Feature(square, {})], crs="EPSG:3832")
    geometry = shapely.from_geojson(json.dumps(json.loads(path.read_text())["features"][0]["geometry"]))
    assert isinstance(geometry, MultiPolygon)
    edges = sorted((round(part.bounds[0], 6), round(part.bounds[2], 6)) for part in geometry.geoms)
    assert edges == [(-180, -170), (170, 180)]
    assert bounding_box(geometry)[::2] == pytest.approx((170, -170))


def test_shapes_around_a_pole_and_global_grids_stay_whole() -> None:
    polar = LonLat("EPSG:3413").geometries([Point(0, 0).buffer(2e6), Point(0, 0).buffer(2e6) - Point(0, 0).buffer(1e6)])
    disc, ring = polar
    for longitude in range(-175, 180, 25):
        assert disc.contains(Point(longitude, 89))
        assert disc.contains(Point(longitude, 73))
        assert not disc.contains(Point(longitude, 70))
        assert ring.contains(Point(longitude, 75))
        assert not ring.intersects(Point(longitude, 85))
    half_degrees = Grid(crs="EPSG:4326", transform=Affine(0.5, 0, 0, 0, -0.5, 90), size=Size(360, 720))
    assert footprint(half_degrees).area == 360 * 180  # a grid of longitudes 0 to 360
    assert bounding_box(footprint(half_degrees)) == (-180, -90, 180, 90)
    over = Grid(crs="EPSG:4326", transform=Affine(1, 0, 175, 0, -1, 5), size=Size(10, 10))
    assert bounding_box(footprint(over)) == (175, -5, -175, 5)
    assert footprint(over).area == 100


def test_lines_and_points_over_the_antimeridian_are_brought_back() -> None:
    line, point = LonLat("EPSG:4326").geometries([shapely.LineString([(170, 0), (190, 0)]), Point(185, 3)])
    assert sorted(part.bounds[::2] for part in line.geoms) == [(-180, -170), (170, 180)]
    assert (point.x, point.y) == (-175, 3)


def test_points_without_longitude_and_latitude_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GridMismatch, match="longitude, latitude"):
        write_features(tmp_path / "a.geojson", [Feature(Point(1e30, 1e30), {})], geometry="Point", crs="EPSG:32633")
    assert list(tmp_path.iterdir()) == []


def test_single_geometries_fit_a_multi_type(tmp_path: Path) -> None:
    path = write_features(tmp_path / "a.gpkg", some_features(3), geometry="MultiPolygon")
    assert pyogrio.read_info(path)["geometry_type"] == "MultiPolygon"
    _, geometry = read_columns(path)
    assert [shape.geom_type for shape in geometry] == ["MultiPolygon"] * 3


def test_heights_are_left_out(tmp_path: Path) -> None:
    path = write_features(tmp_path / "a.parquet", [Feature(Point(1, 2, 3), {})], geometry="Point")
    assert not read_columns(path)[1][0].has_z


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_exception_in_the_block_leaves_no_file(suffix: str, tmp_path: Path) -> None:
    features = some_features(10)

    def broken() -> Iterator[Feature]:
        yield from features
        raise RuntimeError("the model fell over")

    with (
        pytest.raises(RuntimeError, match="fell over"),
        VectorWriter(tmp_path / f"a{suffix}", crs="EPSG:32633", fields=FIELDS, geometry="Polygon") as writer,
    ):
        writer.add(broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (Feature(Point(0, 0), {}), "is a Point, but the file was announced as Polygon"),
        (Feature(Polygon(), {}), "a Polygon without a point"),
        (Feature(shapely.box(0, 0, 1, 1), {"class": 3}), "'class' .* holds str values, found 3"),
        (Feature(shapely.box(0, 0, 1, 1), {"count": True}), "'count' .* holds int values, found True"),
        (Feature(shapely.box(0, 0, 1, 1), {"colour": "red"}), "property 'colour', which is none of its fields"),
    ],
)
def test_features_that_do_not_fit_are_refused(feature: Feature, words: str, tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match=words):
        write_features(tmp_path / "a.gpkg", [feature])
    assert list(tmp_path.iterdir()) == []


def test_vector_files_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match=r"'\.shp' is no suffix .* \.gpkg, \.geojson, \.json, \.parquet, \.fgb"):
        write_features(tmp_path / "a.shp", [])
    with pytest.raises(OutputFailed, match="'Circle' is no geometry type"):
        write_features(tmp_path / "a.gpkg", [], geometry="Circle")
    with pytest.raises(OutputFailed, match="Two fields are called 'class'"):
        write_features(tmp_path / "a.gpkg", [], fields=(Field("class", str), Field("Class", int)))
    with pytest.raises(OutputFailed, match="cannot be called 'Geom'"):
        Field("Geom", str)
    with pytest.raises(OutputFailed, match="use str, int, float or bool"):
        Field("when", datetime)  # type: ignore[arg-type]
    for suffix in FORMATS:
        with pytest.raises(GridMismatch, match="no reference system"):
            write_features(tmp_path / f"a{suffix}", [], crs="EPSG:0")
    assert list(tmp_path.iterdir()) == []
    write_features(tmp_path / "a.gpkg", some_features(1))
    with pytest.raises(OutputExists):
        write_features(tmp_path / "a.gpkg", [])
    assert pyogrio.read_info(write_features(tmp_path / "a.gpkg", [], overwrite=True))["features"] == 0
