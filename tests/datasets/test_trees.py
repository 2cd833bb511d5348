"""Point tables: real NAIP windows with trees, the half-pixel rule, and broken tables."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from swath.datasets.formats.point_tables import PointTables
from swath.datasets.trees import URBAN_TREES
from swath.errors import DataError, SwathWarning

TREES = Path(__file__).parents[1] / "data" / "urban_trees"


@pytest.fixture
def own_copy(tmp_path):
    shutil.copytree(TREES, tmp_path / "trees")
    return tmp_path / "trees"


def test_images_come_with_four_bands_their_place_and_their_points():
    dataset = URBAN_TREES.open(TREES, "all")
    sample = dataset[0]
    pixels = sample.images["image"]
    with rasterio.open(TREES / sample.key) as file:
        assert (pixels.values == file.read()).all()
        assert pixels.grid.to_map(np.array([0.0, 0.0])).tolist() == [file.transform.c, file.transform.f]
    assert [band.role for band in pixels.bands] == ["red", "green", "blue", "nir"]
    assert pixels.valid is None  # the fourth band is near infrared, though the files call it alpha
    assert sample.footprint == pixels.grid
    assert [len(sample.target) for sample in dataset] == [17, 20, 14]


def test_points_lie_within_half_a_pixel_of_the_published_map_coordinates(tmp_path):
    """The first trees of the tile chico_2018_0 as its csv and its GeoJSON give them, and the tile's corner."""
    published = np.array([[594868.0078, 4403011.218], [594868.0078, 4403017.78], [594856.7895, 4403023.071]])
    corner = np.array([594717.6, 4403031.0])
    rows = [(250, 32), (250, 22), (231, 13)]
    (tmp_path / "images").mkdir()
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "chico_2018_0.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in rows))
    with rasterio.open(
        tmp_path / "images" / "chico_2018_0.tif",
        "w",
        driver="GTiff",
        dtype="uint8",
        count=4,
        height=256,
        width=256,
        crs="EPSG:26910",
        transform=rasterio.Affine(0.6, 0, corner[0], 0, -0.6, corner[1]),
        compress="deflate",
    ) as file:
        file.write(np.zeros((4, 256, 256), np.uint8))
    sample = URBAN_TREES.open(tmp_path, "all")[0]
    on_map = sample.footprint.to_map(sample.target.points.astype(np.float64))
    assert np.abs(on_map - published).max() <= 0.3 + 1e-6


def test_all_years_of_a_place_stay_together():
    parts = [
        {record.key for record in URBAN_TREES.splits.parts(URBAN_TREES.open(TREES, "all").records, TREES)[part]}
        for part in ("train", "test")
    ]
    chico = {"images/chico_2018_0.tif", "images/chico_2020_0.tif"}
    assert chico <= parts[0] or chico <= parts[1]
    assert dict(URBAN_TREES.open(TREES, "all").describe().groups) == {"chico": 2, "palm_springs": 1}


def test_an_image_without_a_table_has_no_trees(own_copy):
    (own_copy / "csv" / "chico_2018_0.csv").unlink()
    assert len(URBAN_TREES.open(own_copy, "all")[0].target) == 0
    (own_copy / "csv" / "chico_2020_0.csv").write_text("x,y\n")
    assert URBAN_TREES.open(own_copy, "all")[1].target.points.shape == (0, 2)


def test_tables_with_a_byte_order_mark_and_other_columns_are_read(own_copy):
    (own_copy / "csv" / "chico_2018_0.csv").write_bytes("\ufeffid,y,x\n1,4,3\n".encode())
    assert URBAN_TREES.open(own_copy, "all")[0].target.points.tolist() == [[3.5, 4.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "needs the columns x and y; found a, b"),
        ("", "needs the columns x and y; found none"),
        ("x,y\n1,2\n3,oak\n", "Line 3 of"),
        ("x,y\n1\n", "Line 2 of"),
        ("x,y\nnan,2\n", "Line 2 of"),
    ],
)
def test_broken_tables_are_told_with_their_line(own_copy, text, message):
    (own_copy / "csv" / "chico_2018_0.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        URBAN_TREES.open(own_copy, "all")[0]


def test_points_outside_the_image_are_left_out_with_a_warning(own_copy):
    (own_copy / "csv" / "chico_2018_0.csv").write_text("x,y\n95,0\n96,0\n-1,3\n")
    with pytest.warns(SwathWarning, match="2 points outside"):
        sample = URBAN_TREES.open(own_copy, "all")[0]
    assert sample.target.points.tolist() == [[95.5, 0.5]]


def test_a_folder_that_is_not_laid_out_like_this_is_told(own_copy):
    (own_copy / "csv" / "chico_2019_7.csv").write_text("x,y\n")
    with pytest.raises(DataError, match=r"chico_2019_7\.csv without its image"):
        URBAN_TREES.open(own_copy, "all")
    with pytest.raises(DataError, match=r"no folder .*images"):
        URBAN_TREES.open(own_copy / "csv", "all")
    with pytest.raises(DataError, match="one class"):
        PointTables().records(own_copy, ("oak", "elm"))
