"""A result's STAC item: what the specification and its extensions require, and nothing that changes by itself."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from swath.errors import OutputExists, OutputFailed
from swath.geometry.windows import Size
from swath.imagery.grid import PIXELS, Affine, Grid
from swath.imagery.raster_writer import Colour, RasterLayout, write_raster
from swath.imagery.stac import MODEL_TASKS, ModelProvenance, SceneProvenance, result_item, write_item

GRID = Grid(crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), size=Size(20, 30))
MODEL = ModelProvenance(
    name="btc_base@levir-cd",
    version="2.1",
    architecture="U-Net",
    tasks=("semantic-segmentation",),
    bands=("red", "nir"),
    classes=("open water", "forest"),
    weights_sha256="ab" * 32,
    weights_href="https://example.org/weights.safetensors",
    parameters=1234,
)
SCENE = SceneProvenance(name="image", href="https://example.org/scene.tif", bands=("red", "nir"), fingerprint="c0ffee")
WHEN = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    path = tmp_path / "answer.txt"
    path.write_text("three ships")
    return path


def item_of(outputs: Any, **more: Any) -> dict[str, Any]:
    told = {"grid": GRID, "acquired": WHEN, "model": MODEL, "inputs": [SCENE], "options": {"window": 512}, **more}
    return result_item(outputs, **told)


def assert_is_an_item(item: dict[str, Any]) -> None:
    """The required members of a STAC 1.1.0 item, as its specification lists them."""
    assert item["type"] == "Feature"
    assert item["stac_version"] == "1.1.0"
    assert isinstance(item["id"], str)
    assert item["id"]
    assert {"geometry", "properties", "links", "assets"} <= item.keys()
    assert (item["geometry"] is None) == ("bbox" not in item)
    properties = item["properties"]
    assert "datetime" in properties
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
    times = ["start_datetime", "end_datetime"] if properties["datetime"] is None else ["datetime"]
    assert all(stamp.fullmatch(properties[name]) for name in times)
    assert all({"href", "rel"} <= link.keys() for link in item["links"])
    assert all("href" in asset for asset in item["assets"].values())
    json.dumps(item, allow_nan=False)


def test_an_item_has_all_that_stac_requires(answer: Path) -> None:
    item = item_of(answer)
    assert_is_an_item(item)
    assert item["id"] == "answer"
    assert item["properties"]["datetime"] == "2024-05-01T12:30:00Z"
    assert item["links"] == [
        {
            "rel": "derived_from",
            "href": "https://example.org/scene.tif",
            "title": "image",
            "swath:bands": ["red", "nir"],
            "swath:fingerprint": "c0ffee",
        }
    ]


def test_an_independent_reader_takes_it(answer: Path) -> None:
    pystac = pytest.importorskip("pystac")
    path = write_item(answer.with_name("item.json"), item_of(answer))
    item = pystac.Item.from_file(str(path))
    assert item.datetime == WHEN
    assert Path(item.assets["txt"].get_absolute_href()) == answer
    assert item.to_dict(include_self_link=False, transform_hrefs=False)["properties"] == item_of(answer)["properties"]


def test_the_model_is_described_as_the_mlm_extension_requires(answer: Path) -> None:
    item = item_of(answer)
    properties = item["properties"]
    assert "https://stac-extensions.github.io/mlm/v1.4.0/schema.json" in item["stac_extensions"]
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", properties["mlm:name"])
    assert properties["mlm:architecture"] == "U-Net"
    assert properties["mlm:tasks"] == ["semantic-segmentation"]
    assert properties["mlm:total_parameters"] == 1234
    (taken,), (given,) = properties["mlm:input"], properties["mlm:output"]
    assert taken["bands"] == ["red", "nir"]
    assert taken["input"]["shape"] == [-1, 2, -1, -1]
    assert given["result"]["shape"] == [-1, 2, -1, -1]
    for tensor in (taken["input"], given["result"]):
        assert len(tensor["shape"]) == len(tensor["dim_order"]) == len(set(tensor["dim_order"]))
    # Bands that an input names must be described; and one asset is the model, with its kind of file.
    assert {band["name"] for band in properties["bands"]} == {"red", "nir"}
    (model,) = [asset for asset in item["assets"].values() if "mlm:model" in asset["roles"]]
    assert model["mlm:artifact_type"]
    assert model["href"] == "https://example.org/weights.safetensors"
    assert model["file:checksum"] == "1220" + "ab" * 32
    classes = given["classification:classes"]
    assert [entry["title"] for entry in classes] == ["open water", "forest"]
    assert all(re.fullmatch(r"[0-9A-Za-z_-]+", entry["name"]) for entry in classes)


@pytest.mark.parametrize("name", ["x", "5", "@@", "größe", "a b"])
def test_any_name_of_a_model_becomes_one_that_the_extension_allows(name: str, answer: Path) -> None:
    model = ModelProvenance(name=name, version="1", architecture="CNN", tasks=(), bands=("red",))
    found = item_of(answer, model=model)["properties"]["mlm:name"]
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", found)


def test_tasks_that_the_extension_does_not_know_are_kept_aside(answer: Path) -> None:
    model = ModelProvenance(
        name="a", version="1", architecture="CNN", tasks=("counting", "object-detection"), bands=("red",)
    )
    properties = item_of(answer, model=model)["properties"]
    assert set(properties["mlm:tasks"]) <= MODEL_TASKS
    assert properties["mlm:tasks"] == ["object-detection"]
    assert properties["swath:tasks"] == ["counting", "object-detection"]


def test_the_processing_is_described(answer: Path) -> None:
    properties = item_of(answer, options={"window": 512, "classes": ("a", "b")})["properties"]
    assert "btc_base@levir-cd 2.1" in properties["processing:lineage"]
    assert "https://example.org/scene.tif" in properties["processing:lineage"]
    assert properties["processing:software"]["btc_base@levir-cd"] == "2.1"
    assert properties["processing:expression"]["expression"] == {"classes": ["a", "b"], "window": 512}


def test_the_place_is_the_grids(answer: Path) -> None:
    item = item_of(answer)
    properties = item["properties"]
    assert properties["proj:code"] == "EPSG:32633"
    assert properties["proj:shape"] == [20, 30]
    assert properties["proj:transform"] == [10, 0, 500_000, 0, -10, 5_000_000]
    assert properties["proj:bbox"] == [500_000, 4_999_800, 500_300, 5_000_000]
    shape = shapely.from_geojson(json.dumps(item["geometry"]))
    assert shapely.is_ccw(shape.exterior)
    west, south, east, north = item["bbox"]
    assert shape.bounds == (west, south, east, north)
    # The zone's central meridian is 15 degrees east; 300 m there are 300 / (111320 cos 45.15) degrees at scale 0.9996.
    assert west == 15.0
    assert east - west == pytest.approx(300 / 0.9996 / (111_320 * np.cos(np.radians(45.15))), rel=5e-3)


def test_the_outline_follows_the_bent_edges_of_a_large_scene(answer: Path) -> None:
    transform = Affine(1000, 0, 200_000, 0, -1000, 7_000_000)
    item = item_of(answer, grid=Grid(crs="EPSG:32633", transform=transform, size=Size(600, 600)))

    def on_a_sphere(x: float, y: float) -> tuple[float, float]:
        """Longitude and latitude by the spherical transverse Mercator projection, true to about 0.2 degrees."""
        east, north = (x - 500_000) / 0.9996 / 6_371_000, y / 0.9996 / 6_371_000
        longitude = 15 + np.degrees(np.arctan2(np.sinh(east), np.cos(north)))
        return longitude, np.degrees(np.arcsin(np.sin(north) / np.cosh(east)))

    west, corner_latitude = on_a_sphere(200_000, 7_000_000)
    assert item["bbox"][0] == pytest.approx(west, abs=0.2)
    assert item["bbox"][2] == pytest.approx(30 - west, abs=0.2)
    # On the central meridian the northern edge lies farther north than at its two corners.
    ring = shapely.get_coordinates(shapely.from_geojson(json.dumps(item["geometry"])))
    highest = ring[ring[:, 1].argmax()]
    corner = ring[ring[:, 0].argmin()]
    assert highest[0] == pytest.approx(15, abs=1e-6)
    rise = on_a_sphere(500_000, 7_000_000)[1] - corner_latitude
    assert highest[1] - corner[1] == pytest.approx(rise, abs=0.02)


def test_a_scene_over_the_antimeridian_has_two_parts_and_a_box_that_crosses(answer: Path) -> None:
    over = Grid(crs="EPSG:4326", transform=Affine(1, 0, 175, 0, -1, 5), size=Size(10, 10))
    item = item_of(answer, grid=over)
    assert item["geometry"]["type"] == "MultiPolygon"
    assert item["bbox"] == [175, -5, -175, 5]


def test_a_scene_without_reference_system_has_no_geometry(answer: Path) -> None:
    item = item_of(answer, grid=Grid(crs=None, transform=PIXELS, size=Size(20, 30)))
    assert_is_an_item(item)
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["properties"]["proj:code"] is None


def test_a_reference_system_without_code_is_written_out(answer: Path) -> None:
    lambert = Grid(
        crs="+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84", transform=Affine(9, 0, 0, 0, -9, 0), size=Size(2, 2)
    )
    properties = item_of(answer, grid=lambert)["properties"]
    assert properties["proj:code"] is None
    assert properties["proj:wkt2"].startswith("PROJCRS[")


def test_times_are_in_utc_spans_or_admittedly_unknown(answer: Path) -> None:
    east = datetime(2024, 5, 1, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    assert item_of(answer, acquired=east)["properties"]["datetime"] == "2024-05-01T12:30:00Z"
    assert item_of(answer, acquired=datetime(2024, 5, 1))["properties"]["datetime"] == "2024-05-01T00:00:00Z"
    span = item_of(answer, acquired=[WHEN, WHEN - timedelta(days=365)])
    assert_is_an_item(span)
    assert span["properties"]["start_datetime"] == "2023-05-02T12:30:00Z"
    assert span["properties"]["end_datetime"] == "2024-05-01T12:30:00Z"
    unknown = item_of(answer, acquired=None)
    assert_is_an_item(unknown)
    assert unknown["properties"]["swath:datetime_unknown"] is True


def test_an_item_changes_only_with_what_it_is_told(answer: Path) -> None:
    first = json.dumps(item_of(answer, options={"b": 1, "a": 2}))
    assert json.dumps(item_of(answer, options={"a": 2, "b": 1})) == first
    assert "created" not in first
    assert item_of(answer, created=WHEN)["properties"]["created"] == "2024-05-01T12:30:00Z"


def test_assets_have_their_type_size_and_checksum(tmp_path: Path) -> None:
    types = {
        "map.gpkg": "application/geopackage+sqlite3",
        "map.geojson": "application/geo+json",
        "map.parquet": "application/vnd.apache.parquet",
        "map.fgb": "application/vnd.flatgeobuf",
        "map.strange": "application/octet-stream",
    }
    for name in types:
        (tmp_path / name).write_bytes(name.encode())
    assets = item_of([tmp_path / name for name in types])["assets"]
    for name, media_type in types.items():
        asset = assets[name.split(".")[1]]
        assert asset["href"] == f"./{name}"
        assert asset["type"] == media_type
        assert asset["roles"] == ["data"]
        assert asset["file:size"] == len(name)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(name.encode()).hexdigest()


def test_two_files_of_one_kind_are_two_assets(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    paths = [tmp_path / "a.txt", tmp_path / "more" / "b.txt"]
    for path in paths:
        path.write_text(path.name)
    assets = item_of(paths)["assets"]
    assert [assets[key]["href"] for key in ("a.txt", "b.txt")] == ["./a.txt", "./more/b.txt"]


def test_a_map_tells_its_bands_and_classes(tmp_path: Path) -> None:
    layout = RasterLayout(
        grid=GRID,
        dtype="uint8",
        names=("class", "confidence"),
        nodata=255,
        classes=("open water", "forest"),
        colours={1: Colour(0, 128, 255)},
        scales=(1.0, 0.5),
    )
    path = write_raster(tmp_path / "map.tif", np.zeros((2, 20, 30), np.uint8), layout)
    item = item_of(path)
    asset = item["assets"]["tif"]
    assert asset["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    first, second = asset["bands"]
    assert (first["name"], first["data_type"], first["nodata"]) == ("class", "uint8", 255)
    assert [entry["title"] for entry in first["classification:classes"]] == ["open water", "forest"]
    assert first["classification:classes"][1]["color_hint"] == "0080FF"
    assert second["raster:scale"] == 0.5
    names = {url.split("/")[3] for url in item["stac_extensions"]}
    assert names == {"processing", "mlm", "projection", "file", "classification", "raster"}


def test_local_imagery_is_linked_from_the_items_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps").mkdir()
    Path("scene.tif").write_text("x")
    Path("maps/answer.txt").write_text("x")
    scene = SceneProvenance(name="image", href="scene.tif", bands=("red",), fingerprint="c0ffee")
    assert item_of("maps/answer.txt", inputs=[scene])["links"][0]["href"] == "../scene.tif"


def test_items_are_written_whole_and_never_over_another(answer: Path) -> None:
    path = write_item(answer.with_name("item.json"), item_of(answer))
    assert json.loads(path.read_text()) == item_of(answer)
    with pytest.raises(OutputExists):
        write_item(path, item_of(answer))
    write_item(path, {"type": "Feature"}, overwrite=True)
    assert sorted(entry.name for entry in answer.parent.iterdir()) == ["answer.txt", "item.json"]


def test_a_missing_output_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match=r"gone\.tif': No such file"):
        item_of(tmp_path / "gone.tif")
