"""FireRisk's builder on a toy hazard raster and synthetic aerial images whose pixels tell where they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.warp import transform as warp

from swath.datasets.builders import firerisk as builder
from swath.datasets.builders.chance import chance
from swath.datasets.builders.firerisk import ABOUT, JOURNAL, FireRiskSettings, build_firerisk
from swath.datasets.builders.hazard_points import distance_to_nearest, divide_by_blocks, draw_points
from swath.datasets.firerisk import FIRERISK, FIRERISK_CODES, parse_firerisk_name
from swath.errors import (
    ConfigurationError,
    DataError,
    GridMismatch,
    ImageryUnreadable,
    OutputExists,
    ResumeMismatch,
    UnitMismatch,
)
from swath.geometry.windows import Size
from swath.imagery.grid import Affine, Grid
from swath.imagery.sources import open_source

ALBERS, UTM = "EPSG:5070", "EPSG:32613"
CODES = np.array([[1, 2, 3], [4, 5, 6], [7, 1, 2]], np.uint8)
WEST, NORTH = -750_000.0, 1_900_000.0
ALL_CODES = dict.fromkeys(range(1, 8), 9)
TOY = FireRiskSettings(quotas=ALL_CODES, block=270.0)


def write_hazard(path: Path, codes: np.ndarray = CODES, *, crs: str | None = ALBERS, nodata: int = 0) -> Path:
    height, width = codes.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": nodata}
    transform = rasterio.Affine(270, 0, WEST, 0, -270, NORTH)
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as dataset:
        dataset.write(codes[None])
    return path


def write_aerial(
    path: Path,
    *,
    west: float,
    north: float,
    width: int,
    height: int,
    crs: str = ALBERS,
    pixel: float = 1.0,
    dtype="uint8",
) -> Path:
    """Red counts columns from WEST, green rows from NORTH (both in pixels, modulo 251), blue is 200."""
    columns = np.arange(width)[None, :] + round((west - WEST) / pixel)
    rows = np.arange(height)[:, None] + round((NORTH - north) / pixel)
    values = np.stack([columns % 251 + rows * 0, rows % 251 + columns * 0, np.full((height, width), 200)]).astype(dtype)
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": dtype, "photometric": "RGB"}
    transform = rasterio.Affine(pixel, 0, west, 0, -pixel, north)
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as dataset:
        dataset.write(values)
    return path


def mosaic(folder: Path) -> Path:
    return write_aerial(folder / "mosaic.tif", west=WEST, north=NORTH, width=810, height=810)


def images_of(root: Path) -> dict[int, Path]:
    return {parse_firerisk_name(path.name).point: path for path in sorted(root.rglob("*.png"))}


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_raster_of_nine_cells_gives_nine_crops_with_their_code_and_place(tmp_path):
    root = tmp_path / "FireRisk"
    report = build_firerisk(write_hazard(tmp_path / "whp.tif"), [mosaic(tmp_path)], root, TOY)
    images = images_of(root)
    assert sorted(images) == list(range(1, 10))
    for number, path in images.items():
        row, column = divmod(number - 1, 3)
        said = parse_firerisk_name(path.name)
        assert said.risk == FIRERISK_CODES[int(CODES[row, column])] == path.parent.name
        x, y = warp("EPSG:4326", ALBERS, [said.longitude], [said.latitude])
        assert abs(x[0] - (WEST + 270 * column + 135)) < 0.1
        assert abs(y[0] - (NORTH - 270 * row - 135)) < 0.1
        values = np.asarray(Image.open(path))
        assert values.shape == (270, 270, 3)
        expected = [(270 * column + 135) % 251, (270 * row + 135) % 251, 200]
        assert values[135, 135].tolist() == expected
        # North up: rows count downwards, columns to the right.
        assert values[0, 0].tolist() == [(270 * column) % 251, (270 * row) % 251, 200]
    assert sum(sum(counts.values()) for counts in report.images.values()) == 9
    assert report.skipped == ()
    assert set(report.uncovered.values()) == {0}


def test_the_declared_reader_opens_what_was_built(tmp_path):
    """Every class in both parts: the layout of the published archive."""
    codes = np.tile(np.arange(1, 8, dtype=np.uint8), (8, 1))
    image = write_aerial(tmp_path / "m.tif", west=WEST, north=NORTH, width=7 * 270, height=8 * 270)
    root = tmp_path / "FireRisk"
    settings = FireRiskSettings(quotas=ALL_CODES, block=0.0, validation=0.5, side=30.0, pixels=30, seed=0)
    build_firerisk(write_hazard(tmp_path / "whp.tif", codes), [image], root, settings)
    train, validation = FIRERISK.open(root, "train"), FIRERISK.open(root, "validation")
    assert (len(train), len(validation)) == (28, 28)
    sample = validation[0]
    assert sample.images["image"].values.shape == (3, 30, 30)
    assert sample.images["image"].values[2].tolist() == [[200] * 30] * 30
    assert sample.target.best.name == sample.key.split("/")[1]


def test_cells_without_imagery_are_left_out_and_counted(tmp_path):
    """Imagery over the left two columns: the third is not shown whole."""
    image = write_aerial(tmp_path / "part.tif", west=WEST, north=NORTH, width=700, height=810)
    report = build_firerisk(write_hazard(tmp_path / "whp.tif"), [image], tmp_path / "out", TOY)
    assert sorted(images_of(tmp_path / "out")) == [1, 2, 4, 5, 7, 8]
    assert {code: count for code, count in report.uncovered.items() if count} == {2: 1, 3: 1, 6: 1}
    assert "3 cells without imagery" in str(report)


def test_points_with_missing_pixels_are_skipped_and_listed(tmp_path):
    path = mosaic(tmp_path)
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.zeros((3, 20, 20), np.uint8), window=((300, 320), (300, 320)))
        dataset.nodata = 0
    report = build_firerisk(write_hazard(tmp_path / "whp.tif"), [path], tmp_path / "out", TOY)
    assert [skipped.point.number for skipped in report.skipped] == [5]
    assert 5 not in images_of(tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "skipped.csv").open()))
    assert [(row["pointid"], row["reason"]) for row in rows] == [("5", "the imagery has missing pixels here")]


def test_another_image_fills_in_for_missing_pixels(tmp_path):
    holed, whole = tmp_path / "a.tif", mosaic(tmp_path)
    write_aerial(holed, west=WEST, north=NORTH, width=810, height=810)
    with rasterio.open(holed, "r+") as dataset:
        dataset.write(np.zeros((3, 810, 810), np.uint8))
        dataset.nodata = 0
    report = build_firerisk(write_hazard(tmp_path / "whp.tif"), [holed, whole], tmp_path / "out", TOY)
    assert report.skipped == ()
    rows = list(csv.DictReader((tmp_path / "out" / "manifest.csv").open()))
    assert {row["imagery"] for row in rows} == {"mosaic.tif"}


def test_manifest_has_the_attributes_of_the_published_table(tmp_path):
    build_firerisk(write_hazard(tmp_path / "whp.tif"), [mosaic(tmp_path)], tmp_path / "out", TOY)
    rows = list(csv.DictReader((tmp_path / "out" / "manifest.csv").open()))
    assert list(rows[0])[:6] == ["FID", "pointid", "grid_code", "class_desc", "x_coord", "y_coord"]
    assert [row["pointid"] for row in rows] == [str(number) for number in range(1, 10)]
    assert rows[0]["class_desc"] == "Very Low"
    for row in rows:
        assert (tmp_path / "out" / row["file"]).is_file()
        assert row["file"].split("/")[0] == row["part"]
    about = json.loads((tmp_path / "out" / ABOUT).read_text())
    assert (about["seed"], about["block"], about["side"]) == (0, 270.0, 270.0)


def test_crops_from_another_reference_system_lie_within_half_a_pixel(tmp_path):
    """Imagery of 0.6 m in UTM whose pixels hold their own map coordinates: the middle is the cell's centre."""
    hazard = write_hazard(tmp_path / "whp.tif", np.array([[3, 3]], np.uint8))
    x, y = warp(ALBERS, UTM, [WEST + 270.0], [NORTH - 135.0])
    west, north = round(x[0]) - 480.0, round(y[0]) + 480.0
    size = 1600
    values = np.zeros((3, size, size), np.uint8)
    values[0] = (np.arange(size) // 8)[None, :]  # a step of one every 4.8 m to the east
    values[1] = (np.arange(size) // 8)[:, None]
    values[2] = 1
    path = tmp_path / "utm.tif"
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    with rasterio.open(
        path, "w", **profile, crs=UTM, transform=rasterio.Affine(0.6, 0, west, 0, -0.6, north)
    ) as dataset:
        dataset.write(values)
    settings = FireRiskSettings(quotas=ALL_CODES, block=0.0, validation=0.5)
    build_firerisk(hazard, [path], tmp_path / "out", settings)
    images = images_of(tmp_path / "out")
    assert sorted(images) == [1, 2]
    for path in images.values():
        said = parse_firerisk_name(path.name)
        east, north_ = (float(v[0]) for v in warp("EPSG:4326", UTM, [said.longitude], [said.latitude]))
        crop = np.asarray(Image.open(path)).astype(float)
        assert crop.shape == (270, 270, 3)
        # Means of the ramps give the centre of the square: a step is 4.8 m, its middle 2.4 m in.
        centre_x = west + crop[..., 0].mean() * 4.8 + 2.4
        centre_y = north - crop[..., 1].mean() * 4.8 - 2.4
        assert abs(centre_x - east) < 0.5
        assert abs(centre_y - north_) < 0.5


class Died(Exception):
    """Stands for the end of the process."""


def test_a_build_that_died_goes_on_and_ends_with_the_same_files(tmp_path):
    hazard, image = write_hazard(tmp_path / "whp.tif"), mosaic(tmp_path)
    build_firerisk(hazard, [image], tmp_path / "whole", TOY)

    def die_after_four(done: int, total: int) -> None:
        assert total == 9
        if done == 4:
            raise Died

    with pytest.raises(Died):
        build_firerisk(hazard, [image], tmp_path / "died", TOY, progress=die_after_four)
    assert len(images_of(tmp_path / "died")) == 4
    assert not (tmp_path / "died" / ABOUT).exists()
    with (tmp_path / "died" / JOURNAL).open("a") as journal:
        journal.write('{"point": 9, "fr')  # cut short in the middle of a line
    seen: list[int] = []
    build_firerisk(hazard, [image], tmp_path / "died", TOY, progress=lambda done, total: seen.append(done))
    assert seen == [5, 6, 7, 8, 9]
    assert contents(tmp_path / "died") == contents(tmp_path / "whole")


def test_an_unfinished_build_of_other_settings_is_not_mixed_in(tmp_path):
    hazard, image = write_hazard(tmp_path / "whp.tif"), mosaic(tmp_path)

    def die(done: int, total: int) -> None:
        raise Died

    with pytest.raises(Died):
        build_firerisk(hazard, [image], tmp_path / "out", TOY, progress=die)
    other = FireRiskSettings(quotas=ALL_CODES, block=270.0, seed=1)
    with pytest.raises(ResumeMismatch, match="other settings or inputs"):
        build_firerisk(hazard, [image], tmp_path / "out", other)


def test_a_finished_build_is_not_overwritten(tmp_path):
    hazard, image = write_hazard(tmp_path / "whp.tif"), mosaic(tmp_path)
    build_firerisk(hazard, [image], tmp_path / "out", TOY)
    with pytest.raises(OutputExists, match="finished build"):
        build_firerisk(hazard, [image], tmp_path / "out", TOY)


@pytest.mark.filterwarnings("ignore:.*no coordinate reference system")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("no crs", GridMismatch, "no reference system"),
        ("strange code", DataError, "holds the value 9"),
        ("16-bit imagery", UnitMismatch, "uint16"),
        ("text", ImageryUnreadable, "is not an image"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_a_sentence(tmp_path, change, error, message):
    codes = np.where(CODES == 5, 9, CODES) if change == "strange code" else CODES
    hazard = write_hazard(tmp_path / "whp.tif", codes, crs=None if change == "no crs" else ALBERS)
    image = write_aerial(
        tmp_path / "m.tif",
        west=WEST,
        north=NORTH,
        width=810,
        height=810,
        dtype="uint16" if change == "16-bit imagery" else "uint8",
    )
    if change == "text":
        image.write_text("no image")
    with pytest.raises(error, match=message):
        build_firerisk(hazard, [image], tmp_path / "out", TOY)
    assert not (tmp_path / "out" / ABOUT).exists()


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigurationError, match="found 8"):
        FireRiskSettings(quotas={8: 1})
    with pytest.raises(ConfigurationError, match="found 1"):
        FireRiskSettings(validation=1.0)
    with pytest.raises(ConfigurationError, match="must be positive"):
        FireRiskSettings(pixels=0)


def test_published_counts_are_those_of_the_data_set():
    assert sum(FireRiskSettings().quotas.values()) == 91_872
    assert FireRiskSettings().quotas[1] == 21_757 + 8_448


def everywhere(window):
    return np.ones((window.height, window.width), bool)


def test_quotas_are_kept_and_the_draw_does_not_depend_on_how_strips_are_cut(monkeypatch):
    codes = np.random.default_rng(0).integers(1, 8, (40, 30)).astype(np.uint8)
    grid = Grid(crs=ALBERS, transform=Affine(270, 0, WEST, 0, -270, NORTH), size=Size(40, 30))
    hazard = open_source(codes[None], bands=["hazard"], grid=grid)
    quotas = {**dict.fromkeys(range(1, 8), 11), 7: 10_000}
    whole = draw_points(hazard, quotas, everywhere, seed=3)
    assert whole.counts() == {**dict.fromkeys(range(1, 7), 11), 7: int((codes == 7).sum())}
    for point in whole.points:
        assert codes[point.row, point.column] == point.code
        assert point.number == point.row * 30 + point.column + 1
    monkeypatch.setattr("swath.datasets.builders.hazard_points.CELLS_A_STRIP", 70)
    assert draw_points(hazard, quotas, everywhere, seed=3) == whole
    other = draw_points(hazard, quotas, everywhere, seed=4)
    assert other.points != whole.points


def test_numbers_skip_cells_without_a_value():
    codes = np.array([[0, 1, 0], [1, 0, 1]], np.uint8)
    grid = Grid(crs=ALBERS, transform=Affine(270, 0, WEST, 0, -270, NORTH), size=Size(2, 3))
    hazard = open_source(np.ma.masked_equal(codes[None], 0), bands=["hazard"], grid=grid)
    drawn = draw_points(hazard, ALL_CODES, everywhere)
    assert [(point.number, point.row, point.column) for point in drawn.points] == [(1, 0, 1), (2, 1, 0), (3, 1, 2)]


def test_parts_are_whole_blocks_of_land():
    codes = np.ones((40, 40), np.uint8)
    grid = Grid(crs=ALBERS, transform=Affine(270, 0, 0, 0, -270, 0), size=Size(40, 40))
    points = draw_points(open_source(codes[None], bands=["h"], grid=grid), {1: 1600}, everywhere).points
    held = divide_by_blocks(points, grid, share=0.25, block=2700.0)
    blocks = {(point.row // 10, point.column // 10) for point in points if point.number in held}
    others = {(point.row // 10, point.column // 10) for point in points if point.number not in held}
    assert len(held) == 400
    assert len(blocks) == 4
    assert not blocks & others
    assert divide_by_blocks(points, grid, share=0.25, block=2700.0) == held
    assert divide_by_blocks(points, grid, share=0.25, block=2700.0, seed=1) != held
    with pytest.raises(DataError, match="1 block of 50000 m"):
        divide_by_blocks(points, grid, share=0.25, block=50_000.0)


def test_distances_to_the_nearest_training_point_by_hand():
    """A degree of a great circle is 111,195 m on the mean sphere; the nearer of two counts."""
    found = distance_to_nearest(np.array([[10.0, 0.0], [0.0, 60.0]]), np.array([[10.0, 1.0], [10.0, 3.0], [1.0, 60.0]]))
    assert found[0] == pytest.approx(np.pi / 180 * 6_371_008.8)
    # The haversine formula for one degree of longitude at 60 degrees.
    half = np.cos(np.radians(60)) * np.sin(np.radians(0.5))
    assert found[1] == pytest.approx(2 * 6_371_008.8 * np.arcsin(half))


def test_ranks_are_a_permutation_and_even():
    ranks = chance(np.arange(100_000), seed=5)
    assert len(np.unique(ranks)) == 100_000
    counts, _ = np.histogram(ranks.astype(np.float64), bins=16, range=(0, 2.0**64))
    assert abs(counts - 6250).max() < 6 * np.sqrt(6250)
    assert not np.array_equal(ranks, chance(np.arange(100_000), seed=5, name="other"))


def test_at_most_a_few_files_are_open_at_a_time(tmp_path):
    tiles = [
        write_aerial(
            tmp_path / f"{row}{column}.tif", west=WEST + 270 * column, north=NORTH - 270 * row, width=270, height=270
        )
        for row in range(3)
        for column in range(3)
    ]
    report = build_firerisk(write_hazard(tmp_path / "whp.tif"), tiles, tmp_path / "out", TOY)
    assert report.nearest == pytest.approx(270, abs=3)  # on the ground; the projection stretches
    stock = builder.AerialStock.of(tiles, open_source(tmp_path / "whp.tif", bands=["h"]).grid, side=270, pixels=270)
    for number in range(9):
        assert stock.showing(*divmod(number, 3)) == (number,)
        stock.crop(number, *divmod(number, 3))
    assert len(stock.opened) == 8
    stock.close()
    assert not stock.opened
