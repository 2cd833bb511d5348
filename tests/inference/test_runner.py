"""The whole road from scene to map, with models whose answers are known."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from small_models import bright_points, brightness, per_pixel, red_or_blue

from swath.errors import (
    BandMismatch,
    GeometryError,
    ImageryUnreadable,
    NothingToSee,
    OutputExists,
    OutputFailed,
    ResumeMismatch,
)
from swath.imagery.scene import open_scene
from swath.inference.manifest import work_folder
from swath.inference.options import RunOptions
from swath.inference.runner import predict_scene, run

HERE = Path(__file__).parent


def write_scene(path: Path, values: np.ndarray, **options) -> Path:
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:32633",
        "transform": Affine(2, 0, 500_000, 0, -2, 4_000_000),
        "photometric": "RGB",
    }
    with rasterio.open(path, "w", **{**profile, **options}) as target:
        target.write(values)
    return path


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 255, (3, height, width), dtype=np.uint8)


def lamps(height: int, width: int, seed: int = 0, spacing: int = 5) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """A dark scene with single bright pixels at least `spacing` apart; their (column, row)."""
    generator = np.random.default_rng(seed)
    values = np.zeros((3, height, width), np.uint8)
    places = set()
    for row in range(2, height - 2, spacing):
        for column in range(2, width - 2, spacing):
            if generator.random() < 0.5:
                values[:, row, column] = 255
                places.add((column, row))
    return values, places


def whole_scene_labels(model, values: np.ndarray) -> np.ndarray:
    image = (torch.from_numpy(values).float() - 127.5) / 127.5
    with torch.inference_mode():
        return model.model.network(image[None])[0].argmax(0).numpy()


@pytest.mark.parametrize("window", [32, 48, 96])
@pytest.mark.parametrize("shape", [(70, 101), (5, 130), (96, 96), (1, 1)])
def test_per_pixel_classes_are_those_of_the_whole_scene(tmp_path, shape, window):
    values = texture(*shape)
    model = per_pixel()
    scene = open_scene(write_scene(tmp_path / "scene.tif", values))
    run(model, scene, tmp_path / "map.tif", options=RunOptions(window=window))
    with rasterio.open(tmp_path / "map.tif") as found:
        labels, confidence = found.read()
        assert found.crs.to_epsg() == 32633
        assert found.transform == Affine(2, 0, 500_000, 0, -2, 4_000_000)
        assert found.nodata == 255
    np.testing.assert_array_equal(labels, whole_scene_labels(model, values))
    assert confidence.min() >= 255 // 3


@pytest.mark.parametrize("shape", [(20, 30), (9, 50), (70, 101)])
def test_a_model_of_squares_sees_squares_of_the_size_it_needs(tmp_path, shape):
    """The contract refuses anything else, in scenes smaller than a window too, and in files of strips."""
    values = texture(*shape)
    model = per_pixel(square=True, minimum=24)
    run(model, open_scene(write_scene(tmp_path / "scene.tif", values)), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as found:
        np.testing.assert_array_equal(found.read(1), whole_scene_labels(model, values))


def test_window_size_changes_nothing_inside_when_the_overlap_covers_the_receptive_field(tmp_path):
    values = texture(90, 120)
    model = per_pixel(3)
    scene = open_scene(write_scene(tmp_path / "scene.tif", values))
    maps = []
    for window in (32, 64):
        run(model, scene, tmp_path / f"{window}.tif", options=RunOptions(window=window, overlap=8))
        maps.append(rasterio.open(tmp_path / f"{window}.tif").read(1))
    differing = (maps[0] != maps[1]).mean()
    # Only where windows' zero padding enters the blend, with little weight, may a close decision tip.
    assert differing < 0.01
    inside = maps[0][1:-1, 1:-1]
    assert (inside != whole_scene_labels(model, values)[1:-1, 1:-1]).mean() < 0.01


@pytest.mark.parametrize("window", [24, 40, 128])
def test_points_are_found_once_each_whatever_the_window(tmp_path, window):
    values, places = lamps(61, 83)
    scene = open_scene(write_scene(tmp_path / "scene.tif", values))
    run(bright_points(), scene, tmp_path / "lamps.gpkg", options=RunOptions(window=window, overlap=8))
    frame = pyogrio.raw.read(tmp_path / "lamps.gpkg")
    import shapely

    points = shapely.get_coordinates(shapely.from_wkb(frame[2]))
    pixels = {(int((x - 500_000) / 2), int((4_000_000 - y) / 2)) for x, y in points}
    assert len(points) == len(places)
    assert pixels == places
    assert pyogrio.read_info(tmp_path / "lamps.gpkg")["crs"] == "EPSG:32633"


def test_geojson_is_in_longitude_and_latitude_and_the_item_says_what_made_it(tmp_path):
    values, places = lamps(40, 40)
    scene = open_scene(write_scene(tmp_path / "scene.tif", values))
    result = run(bright_points(), scene, tmp_path / "lamps.geojson")
    document = json.loads((tmp_path / "lamps.geojson").read_text())
    assert len(document["features"]) == len(places)
    longitude, latitude = document["features"][0]["geometry"]["coordinates"]
    # UTM 33N, easting 500 km is the central meridian at 15 degrees east; 4,000 km north is near 36.1 degrees.
    assert longitude == pytest.approx(15.0, abs=0.01)
    assert latitude == pytest.approx(36.14, abs=0.02)
    item = json.loads(result.item.read_text())
    text = json.dumps(item)
    assert item["type"] == "Feature"
    assert "0" * 64 in text
    assert "scene.tif" in text


def test_polygons_cover_just_the_pixels_of_their_class_without_the_background(tmp_path):
    values = texture(40, 56)
    model = per_pixel()
    scene = open_scene(write_scene(tmp_path / "scene.tif", values))
    run(model, scene, tmp_path / "map.gpkg")
    _, _, geometry, (classes, confidence, pixels, area) = pyogrio.raw.read(
        tmp_path / "map.gpkg", columns=["class", "confidence", "pixels", "area"]
    )
    import shapely

    shapes = shapely.from_wkb(geometry)
    labels = whole_scene_labels(model, values)
    assert set(classes) == {"grass", "roof"}
    for number, name in ((1, "grass"), (2, "roof")):
        chosen = classes == name
        assert pixels[chosen].sum() == (labels == number).sum()
        assert shapely.area(shapes[chosen]).sum() == pytest.approx(4.0 * (labels == number).sum())
    assert (confidence >= 1 / 3 - 0.01).all()
    # 2 m pixels on the central meridian, where UTM's scale is 0.9996
    np.testing.assert_allclose(area / pixels, (2 / 0.9996) ** 2, rtol=2e-3)


def test_pixels_without_data_have_no_class(tmp_path):
    values = texture(64, 64)
    values[:, 10:20, 30:50] = 0
    scene = open_scene(write_scene(tmp_path / "scene.tif", values, nodata=0))
    run(per_pixel(), scene, tmp_path / "map.tif")
    labels = rasterio.open(tmp_path / "map.tif").read(1)
    assert (labels[10:20, 30:50] == 255).all()
    assert (labels[:10] != 255).mean() > 0.95


def test_nothing_but_missing_pixels_leaves_no_result(tmp_path):
    scene = open_scene(write_scene(tmp_path / "scene.tif", np.zeros((3, 50, 50), np.uint8), nodata=0))
    with pytest.raises(NothingToSee, match="not one valid pixel"):
        run(per_pixel(), scene, tmp_path / "map.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_continuous_values_are_kept_and_missing_ones_are_nan(tmp_path):
    values = np.maximum(texture(50, 70), 1)
    values[:, 20:24, 30:60] = 0
    scene = open_scene(write_scene(tmp_path / "scene.tif", values, nodata=0))
    run(brightness(), scene, tmp_path / "mean.tif")
    found = rasterio.open(tmp_path / "mean.tif").read(1)
    truth = (values.astype(np.float32).mean(0) - 127.5) / 127.5
    truth[20:24, 30:60] = np.nan
    np.testing.assert_allclose(found, truth, atol=1e-5)


def test_labels_become_a_coarse_map_squares_and_a_vote(tmp_path):
    values = np.zeros((3, 40, 48), np.uint8)
    values[0, :, :16] = 255
    values[2, :, 16:] = 255
    scene = open_scene(write_scene(tmp_path / "scene.tif", values))
    model = red_or_blue(16)
    run(model, scene, tmp_path / "grid.tif")
    with rasterio.open(tmp_path / "grid.tif") as grid:
        np.testing.assert_array_equal(grid.read(1), [[0, 1, 1]] * 3)
        assert grid.transform == Affine(32, 0, 500_000, 0, -32, 4_000_000)
    run(model, scene, tmp_path / "grid.gpkg")
    assert pyogrio.read_info(tmp_path / "grid.gpkg")["features"] == 9
    run(model, scene, tmp_path / "vote.txt")
    first = (tmp_path / "vote.txt").read_text().splitlines()[0].split("\t")
    assert first[0] == "blue"
    assert float(first[1]) == pytest.approx(2 / 3, abs=0.01)


def test_in_memory_results_are_those_of_the_file(tmp_path):
    values = texture(64, 80)
    model = per_pixel()
    scene = open_scene(write_scene(tmp_path / "scene.tif", values))
    located = predict_scene(model, scene)
    np.testing.assert_array_equal(located.annotation.labels, whole_scene_labels(model, values))
    lamp_values, places = lamps(40, 40)
    found = predict_scene(bright_points(), open_scene(write_scene(tmp_path / "lamps.tif", lamp_values)))
    assert len(found.annotation) == len(places)


@pytest.mark.parametrize(("kind", "name"), [("classes", "map.tif"), ("classes", "map.gpkg"), ("points", "lamps.gpkg")])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, kind, name):
    values, _ = lamps(120, 90) if kind == "points" else (texture(120, 90), None)
    scene = write_scene(tmp_path / "scene.tif", values)

    def start(output: Path, windows: int) -> int:
        command = [sys.executable, str(HERE / "run_and_die.py"), str(scene), str(output), str(windows), kind]
        return subprocess.run(command, check=False, cwd=HERE).returncode

    undisturbed, resumed = tmp_path / "a" / name, tmp_path / "b" / name
    assert start(undisturbed, 0) == 0
    assert start(resumed, 9) == -signal.SIGKILL
    assert not resumed.exists()
    assert work_folder(resumed).exists()
    assert start(resumed, 0) == 0
    assert resumed.read_bytes() == undisturbed.read_bytes()
    assert not work_folder(resumed).exists()


def test_an_unfinished_run_of_another_model_is_not_continued(tmp_path):
    scene_path = write_scene(tmp_path / "scene.tif", texture(90, 90))

    def stop(progress):
        if progress.done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(per_pixel(3), open_scene(scene_path), tmp_path / "map.tif", progress=stop)
    with pytest.raises(ResumeMismatch, match=r"another .*window"):
        run(per_pixel(3), open_scene(scene_path), tmp_path / "map.tif", options=RunOptions(window=64))
    result = run(per_pixel(3), open_scene(scene_path), tmp_path / "map.tif")
    assert result.resumed_rows > 0
    again = run(per_pixel(3), open_scene(scene_path), tmp_path / "other.tif")
    assert again.resumed_rows == 0
    assert (tmp_path / "map.tif").read_bytes() == (tmp_path / "other.tif").read_bytes()


def test_a_result_that_is_there_is_kept(tmp_path):
    scene = open_scene(write_scene(tmp_path / "scene.tif", texture(40, 40)))
    (tmp_path / "map.tif").write_text("precious")
    with pytest.raises(OutputExists, match="already there"):
        run(per_pixel(), scene, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_text() == "precious"
    run(per_pixel(), scene, tmp_path / "map.tif", overwrite=True)
    assert rasterio.open(tmp_path / "map.tif").count == 2


@pytest.mark.parametrize(
    ("model", "name"), [(bright_points, "lamps.tif"), (per_pixel, "map.xyz"), (brightness, "b.gpkg")]
)
def test_formats_that_do_not_fit_are_refused_and_leave_nothing(tmp_path, model, name):
    scene = open_scene(write_scene(tmp_path / "scene.tif", texture(40, 40)))
    with pytest.raises(OutputFailed, match="cannot be written as"):
        run(model(), scene, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_windows_that_a_model_cannot_take_are_refused(tmp_path):
    scene = open_scene(write_scene(tmp_path / "scene.tif", texture(40, 40)))
    with pytest.raises(GeometryError, match="exactly 16"):
        run(red_or_blue(16), scene, tmp_path / "grid.tif", options=RunOptions(window=32))


def test_missing_bands_are_refused_before_anything_is_written(tmp_path):
    scene = open_scene(write_scene(tmp_path / "scene.tif", texture(40, 40)[:1], photometric="MINISBLACK"))
    with pytest.raises(BandMismatch, match="--bands"):
        run(per_pixel(), scene, tmp_path / "map.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_a_file_cut_short_stops_the_run_without_a_result(tmp_path):
    path = write_scene(tmp_path / "scene.tif", texture(300, 300), tiled=True, blockxsize=64, blockysize=64)
    whole = path.read_bytes()
    scene = open_scene(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageryUnreadable):
        run(per_pixel(window=64), open_scene(path) if scene is None else scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
