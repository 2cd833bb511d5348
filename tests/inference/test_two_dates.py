"""Two dates on different grids, in different systems and band orders, become objects of change with area and date."""

import json
import re

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points
from small_models import bright_points, change, per_pixel, red_or_blue
from test_runner import lamps, write_scene

from swath.errors import GridMismatch, OutputExists
from swath.imagery.scene import open_scene
from swath.inference.runner import run


def smooth_ground(longitude, latitude):
    """A pattern that is the same on the ground whatever grid it is read on."""
    x, y = (longitude - 15.0) * 90_000, (latitude - 36.12) * 111_000
    return 120 + 30 * np.sin(x / 40) + 30 * np.cos(y / 50)


def lonlat(crs, affine, height, width):
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = affine * (columns.ravel(), rows.ravel())
    return (np.array(part).reshape(height, width) for part in transform_points(crs, "EPSG:4326", x, y))


@pytest.fixture
def pair(tmp_path):
    """Before: UTM, 2 m. After: web Mercator, about 1.2 m on the ground, blue first, a bright square of 40 m."""
    affine = Affine(2, 0, 500_000, 0, -2, 4_000_000)
    ground = smooth_ground(*lonlat("EPSG:32633", affine, 150, 160))
    before = np.repeat(ground[None], 3, 0).round().astype(np.uint8)
    write_scene(tmp_path / "town_20190704.tif", before)

    x0, y0 = (value[0] for value in transform_points("EPSG:32633", "EPSG:3857", [499_990], [4_000_010]))
    warped = Affine(1.5, 0, x0, 0, -1.5, y0)
    longitude, latitude = lonlat("EPSG:3857", warped, 330, 330)
    after = smooth_ground(longitude, latitude)
    easting, northing = transform_points("EPSG:4326", "EPSG:32633", longitude.ravel(), latitude.ravel())
    easting, northing = (np.array(part).reshape(after.shape) for part in (easting, northing))
    square = (np.abs(easting - 500_150) < 20) & (np.abs(northing - 3_999_850) < 20)
    after[square] = 250
    values = np.repeat(after[None], 3, 0).round().clip(0, 255).astype(np.uint8)
    write_scene(tmp_path / "town_20230815.tif", values, crs="EPSG:3857", transform=warped)
    return tmp_path


def test_change_is_found_once_with_its_area_and_dates(pair):
    scene = open_scene(
        before=str(pair / "town_20190704.tif"),
        after=str(pair / "town_20230815.tif"),
        bands={"blue": 1, "green": 2, "red": 3},
    )
    result = run(change(window=48, overlap=8), scene, pair / "change.gpkg")
    info = pyogrio.read_info(pair / "change.gpkg")
    assert info["crs"] == "EPSG:32633"
    _, _, geometry, fields = pyogrio.raw.read(
        pair / "change.gpkg", columns=["class", "confidence", "area", "before", "after"]
    )
    large = [k for k, shape in enumerate(shapely.from_wkb(geometry)) if shape.area > 200]
    assert len(large) == 1
    kind, confidence, area, before, after = (column[large[0]] for column in fields)
    assert (kind, before, after) == ("changed", "2019-07-04", "2023-08-15")
    assert area == pytest.approx(1600, rel=0.12)
    assert confidence > 0.9
    found = shapely.from_wkb(geometry)[large[0]]
    assert (found.centroid.x, found.centroid.y) == pytest.approx((500_150, 3_999_850), abs=2)
    text = result.item.read_text()
    assert "town_20190704.tif" in text
    assert "town_20230815.tif" in text
    assert json.loads(text)["type"] == "Feature"


def test_pixels_missing_at_one_date_are_unknown(pair):
    with rasterio.open(pair / "town_20190704.tif", "r+") as target:
        target.nodata = 0
        values = target.read()
        values[:, :30] = 0
        target.write(values)
    scene = open_scene(before=str(pair / "town_20190704.tif"), after=str(pair / "town_20230815.tif"), bands="rgb")
    run(change(window=48, overlap=8), scene, pair / "change.tif")
    labels = rasterio.open(pair / "change.tif").read(1)
    assert (labels[:28] == 255).all()
    assert (labels[32:] != 255).mean() > 0.95


def test_dates_that_do_not_overlap_are_refused(pair):
    far = np.zeros((3, 50, 50), np.uint8)
    write_scene(pair / "far_20200101.tif", far, transform=Affine(2, 0, 700_000, 0, -2, 4_000_000))
    with pytest.raises(GridMismatch, match="overlap"):
        open_scene(before=str(pair / "town_20190704.tif"), after=str(pair / "far_20200101.tif"), bands="rgb")


def test_a_page_shows_both_dates_and_the_change(pair):
    scene = open_scene(before=str(pair / "town_20190704.tif"), after=str(pair / "town_20230815.tif"), bands="rgb")
    run(change(window=48, overlap=8), scene, pair / "change.html")
    text = (pair / "change.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 3
    assert "before (2019-07-04)" in text
    assert "after (2023-08-15)" in text
    assert "http://" not in text
    assert "https://" not in text
    # the square of 40 m in a scene of 300 m x 320 m, which 'after' covers whole
    share = float(re.search(r"([\d.]+)% of the known ground", text).group(1))
    assert share == pytest.approx(100 * 1600 / (300 * 320), abs=0.2)


def test_a_page_counts_objects_and_shares(pair):
    values, places = lamps(40, 40)
    write_scene(pair / "lamps.tif", values)
    run(bright_points(), open_scene(str(pair / "lamps.tif"), bands="rgb"), pair / "lamps.html")
    assert f"{len(places)} x lamp" in (pair / "lamps.html").read_text(encoding="utf-8")
    run(per_pixel(), open_scene(str(pair / "lamps.tif"), bands="rgb"), pair / "map.html")
    assert "of the known ground is" in (pair / "map.html").read_text(encoding="utf-8")
    run(red_or_blue(), open_scene(str(pair / "lamps.tif"), bands="rgb"), pair / "scene.html")
    assert "of the known ground is" in (pair / "scene.html").read_text(encoding="utf-8")
    with pytest.raises(OutputExists):
        run(per_pixel(), open_scene(str(pair / "lamps.tif"), bands="rgb"), pair / "map.html")
