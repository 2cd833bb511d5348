"""Annotations with their place, written to files and drawn."""

from __future__ import annotations

import numpy as np
import pyogrio
import pytest
import rasterio

from swath.errors import OutputExists, OutputFailed
from swath.geometry.windows import Size
from swath.imagery.grid import Affine, Grid
from swath.imagery.scene import open_scene
from swath.samples.located import Located
from swath.samples.rasters import ClassMap, Raster
from swath.samples.vectors import Points

SIZE = Size(6, 8)
GRID = Grid(crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 4_000_000), size=SIZE)
LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 2


def points(count: int) -> Located:
    xy = np.arange(2 * count, dtype=float).reshape(-1, 2) / 4
    return Located(annotation=Points.of(xy, classes=("tree",), height=6, width=8), grid=GRID)


@pytest.mark.parametrize("count", [0, 3])
def test_points_are_saved_with_class_and_score(tmp_path, count):
    path = points(count).save(tmp_path / "trees.gpkg")
    information = pyogrio.read_info(path)
    assert information["features"] == count
    assert list(information["fields"]) == ["class", "score"]
    assert information["crs"] == "EPSG:32633"
    with pytest.raises(OutputExists):
        points(count).save(path)


def test_class_maps_become_rasters_or_areas(tmp_path):
    located = Located(annotation=ClassMap(size=SIZE, labels=LABELS, classes=("field", "road")), grid=GRID)
    with rasterio.open(located.save(tmp_path / "map.tif")) as found:
        np.testing.assert_array_equal(found.read(1), LABELS)
        assert found.transform.c == 500_000
    areas = pyogrio.raw.read(located.save(tmp_path / "map.gpkg"))[2]
    assert len(areas) == 8  # a column of six equal pixels each


def test_values_become_rasters_and_points_do_not(tmp_path):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 6, 8)
    located = Located(annotation=Raster(size=SIZE, values=values, names=("height",), unit="metre"), grid=GRID)
    with rasterio.open(located.save(tmp_path / "height.tif")) as found:
        np.testing.assert_array_equal(found.read(), values)
    with pytest.raises(OutputFailed, match="no raster"):
        points(2).save(tmp_path / "trees.tif")
    assert not (tmp_path / "trees.tif").exists()


def test_a_scene_is_drawn_with_what_was_found():
    scene = open_scene(np.zeros((3, 6, 8), np.uint8), bands="rgb")
    picture = np.asarray(points(3).draw(scene, scale=4))
    assert picture.shape[:2] == (24, 32)
    assert picture.max() > 0
