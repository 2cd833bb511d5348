"""Vector results: what is written is read back by other programs, and equal features are equal bytes."""

from __future__ import annotations

import json
import math
import sqlite3
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pyogrio
import pyogrio.raw
import pytest
import shapely
from rasterio.crs import CRS
from shapely.geometry import MultiPolygon, Point, Polygon

from swath.errors import (
    GridMismatch,
    OutputExists,
    OutputFailed,
    SwathWarning,
)
from swath.geometry.windows import Size
from swath.imagery import vector_writer
from swath.imagery.features import Feature, Field
from swath.imagery.grid import Affine, Grid
from swath.imagery.lonlat import LonLat, bounding_box, footprint
from swath.imagery.vector_writer import VectorWriter

FORMATS = [".gpkg", ".geojson", ".json", ".parquet", ".fgb"]
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
