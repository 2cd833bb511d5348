"""Slots on other grids, against bilinear interpolation worked out by hand and GDAL's own warper."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject

from swath.errors import GridMismatch, SwathWarning
from swath.geometry.windows import Size, Window
from swath.imagery.alignment import align, ground_sample_distance
from swath.imagery.bands import Unit
from swath.imagery.grid import Affine, Grid
from swath.imagery.scene import open_scene
from swath.imagery.sources import open_source

Write = Callable[..., str]
HERE = Grid(crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), size=Size(40, 50))


def ramp(size: Size = HERE.size, dtype: type = np.float32) -> np.ndarray:
    return (np.arange(size.area) % 233 + 1).reshape(1, size.height, size.width).astype(dtype)


def read_all(source: object, size: Size, bands: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    found = source.read(Window(0, 0, size.height, size.width), bands or [0])  # type: ignore[attr-defined]
    return found.values, np.ones(found.values.shape[1:], bool) if found.valid is None else found.valid


def test_the_same_grid_needs_no_alignment() -> None:
    source = open_source(ramp(), grid=HERE)
    assert align(source, HERE) is source


@pytest.mark.parametrize("kind", ["array", "file"])
def test_a_shift_by_whole_pixels_is_exact(write_raster: Write, kind: str) -> None:
    values = ramp()
    source = open_source(write_raster("a.tif", values)) if kind == "file" else open_source(values, grid=HERE)
    there = replace(HERE, transform=HERE.transform.shifted(-3, 7), size=Size(44, 40))
    found, valid = read_all(align(source, there), there.size)
    expected = np.zeros((44, 40))
    expected[:33, 3:] = values[0, 7:, :37]
    assert np.array_equal(found[0], expected)
    assert np.array_equal(valid, expected > 0)


def test_real_dates_of_one_place_differ_by_part_of_a_pixel(data: Path) -> None:
    """Grids 2 m of 5 m apart in y: bilinear weights 0.4 and 0.6 of neighbouring rows."""
    before, after = (data / "naip_series" / f"m_4709963_se_14_1_{day}.tif" for day in ("20090818", "20140720"))
    scene = open_scene(before=before, after=after, bands="naip")
    found = scene.read(Window(1, 0, 126, 160), slot="after")
    with rasterio.open(after) as dataset:
        raw = dataset.read().astype(np.float64)
    expected = 0.4 * raw[:, 0:126] + 0.6 * raw[:, 1:127]
    assert np.abs(found.values - expected).max() <= 1.0
    assert np.abs(found.values - expected).mean() < 0.3
    assert found.valid is None
    assert found.grid == scene.grid.window(Window(1, 0, 126, 160))


def test_another_reference_system_is_warped_as_gdal_warps_it(data: Path) -> None:
    path = data / "geotiff_io" / "cogeo.tif"
    own = open_source(path).grid
    utm = Grid(crs="EPSG:32652", transform=Affine(0.6, 0, 469_650, 0, -0.6, 4_169_300), size=Size(300, 400))
    found, valid = read_all(align(open_source(path), utm), utm.size, [0, 1, 2])
    expected = np.zeros((3, 300, 400), np.uint8)
    with rasterio.open(path) as dataset:
        reproject(
            rasterio.band(dataset, [1, 2, 3]),
            expected,
            dst_transform=rasterio.Affine(0.6, 0, 469_650, 0, -0.6, 4_169_300),
            dst_crs=utm.crs,
            resampling=Resampling.bilinear,
        )
    assert own.crs != utm.crs
    assert valid.mean() > 0.9
    assert np.abs(found.astype(int) - expected)[:, valid].mean() < 0.2


def test_a_pixel_has_one_value_whatever_window_asks_for_it(data: Path) -> None:
    path = data / "geotiff_io" / "cogeo.tif"
    utm = Grid(crs="EPSG:32652", transform=Affine(0.6, 0, 469_650, 0, -0.6, 4_169_300), size=Size(300, 400))
    source = align(open_source(path), utm)
    full, _ = read_all(source, utm.size, [0, 1, 2])
    for row, column in ((0, 0), (37, 91), (211, 305)):
        part = source.read(Window(row, column, 77, 83), [0, 1, 2]).values
        assert np.array_equal(part, full[:, row : row + 77, column : column + 83])


def test_what_is_outside_or_missing_stays_invalid_after_warping(write_raster: Write) -> None:
    there = replace(HERE, transform=HERE.transform.shifted(-10.4, -10.4))
    mask = np.full((40, 50), True)
    mask[20:, :] = False
    with_nan = ramp()
    with_nan[0, 20:] = np.nan
    with_nodata = ramp(dtype=np.int16)
    with_nodata[0, 20:] = -999
    rgba = np.concatenate([ramp(dtype=np.uint8)] * 4)
    rgba[3] = np.where(mask, 9, 0)  # anything but 0 is opaque
    black = np.concatenate([ramp(dtype=np.uint8)] * 3)
    black[:, 20:] = 0
    black[0, :20] = 0
    sources = {
        "nan": open_source(write_raster("nan.tif", with_nan)),
        "nan array": open_source(with_nan, grid=HERE),
        "nodata": open_source(write_raster("nodata.tif", with_nodata, nodata=-999)),
        "mask": open_source(write_raster("mask.tif", ramp(dtype=np.uint16), mask=mask)),
        "alpha": open_source(write_raster("rgba.tif", rgba, colours=("red", "green", "blue", "alpha"))),
        "black": open_source(write_raster("black.tif", black, nodata=0)),
        "masked array": open_source(np.ma.array(ramp(dtype=np.uint16), mask=~mask[None]), grid=HERE),
    }
    for name, source in sources.items():
        bands = list(range(len(source.bands)))
        _, valid = read_all(align(source, there), there.size, bands)
        assert valid[12:29, 12:].all(), name
        assert not valid[:9].any(), name
        assert not valid[:, :9].any(), name
        assert not valid[32:].any(), name


def test_bands_with_missing_values_of_their_own(write_raster: Write) -> None:
    values = np.concatenate([ramp(dtype=np.int16)] * 2)
    values[0, 5:10], values[1, 20:25] = -1, -2
    source = open_source(write_raster("two.tif", values), bands="red,nir")
    one, two = (replace(band, nodata=nodata) for band, nodata in zip(source.bands, (-1.0, -2.0), strict=True))
    source = open_source(write_raster("two.tif", values), bands=[one, two])
    there = replace(HERE, transform=HERE.transform.shifted(0.4, 0.4))
    found, valid = read_all(align(source, there), there.size, [0, 1])
    assert not valid[5:9].any()
    assert not valid[20:24].any()
    assert valid[11:19, :49].all()
    assert found[:, valid].min() > 0


def test_class_labels_take_the_nearest_and_are_never_mixed(write_raster: Write) -> None:
    labels = np.zeros((1, 40, 50), np.uint8)
    labels[:, :, 25:] = 200
    there = replace(HERE, transform=HERE.transform.shifted(0.3, 0.3))
    kinds = {
        "unitless": open_source(write_raster("l.tif", labels), bands="classes=1", unit=Unit.UNITLESS),
        "continuous": open_source(write_raster("l.tif", labels)),
    }
    values = {name: set(np.unique(read_all(align(source, there), there.size)[0])) for name, source in kinds.items()}
    assert values["unitless"] == {0, 200}
    assert len(values["continuous"]) > 2


def test_a_coarser_grid_averages(write_raster: Write) -> None:
    checkerboard = (np.indices((40, 40)).sum(axis=0) % 2 * 100).astype(np.float32)[None]
    source = open_source(write_raster("c.tif", checkerboard))
    coarse = Grid(crs=HERE.crs, transform=HERE.transform.scaled(8, 8), size=Size(5, 5))
    found, valid = read_all(align(source, coarse), coarse.size)
    assert valid.all()
    assert np.abs(found - 50).max() < 5


def test_near_infrared_that_is_called_alpha_is_warped_as_imagery(data: Path) -> None:
    path = data / "urban_trees" / "images" / "chico_2018_0.tif"
    own = open_source(path)
    there = replace(own.grid, transform=own.grid.transform.shifted(0.5, 0.0), size=Size(96, 95))
    with pytest.warns(SwathWarning, match="near infrared"):
        moved = align(own, there).expecting(["red", "nir"])
    found, valid = read_all(moved, there.size, [0, 1, 2, 3])
    with rasterio.open(path) as dataset:
        raw = dataset.read().astype(np.float64)
    assert valid.all()
    assert np.abs(found - (raw[:, :, :-1] + raw[:, :, 1:]) / 2).max() <= 1.0


def test_without_a_reference_system_only_the_size_can_tell() -> None:
    same = open_scene(before=ramp(), after=ramp() + 1)
    assert same.read(Window(0, 0, 1, 1), slot="after").values.item() == 2.0
    placed = open_scene(before=open_source(ramp(), grid=HERE), after=ramp())
    assert placed.read(Window(0, 0, 2, 2), slot="after").grid == HERE.window(Window(0, 0, 2, 2))
    with pytest.raises(GridMismatch, match=r"has 41 x 50 pixels, .*40 x 50.*no coordinate reference system"):
        open_scene(before=ramp(), after=ramp(Size(41, 50)))


def test_images_of_different_places_are_refused_with_both_bounds(data: Path) -> None:
    folder = data / "geotiff_io"
    with pytest.raises(GridMismatch) as caught:
        open_scene(before=folder / "cogeo.tif", after=folder / "RGB.byte.tif")
    message = str(caught.value)
    assert "RGB.byte.tif' does not overlap '" in message
    assert "EPSG:32618 (longitude -78.9" in message
    assert "EPSG:3857 (longitude 128.6" in message
    assert message.endswith("give images of the same ground.")


def test_neighbours_that_only_touch_do_not_overlap() -> None:
    neighbour = replace(HERE, transform=HERE.transform.shifted(50, 0))
    with pytest.raises(GridMismatch, match="does not overlap"):
        align(open_source(ramp(), grid=neighbour), HERE)


def test_a_disc_of_the_whole_earth_covers_a_place_it_sees_and_not_the_other_side(data: Path) -> None:
    goes = open_source(data / "geotiff_io" / "goes.tif")
    bahamas = open_source(data / "geotiff_io" / "RGB.byte.tif").grid
    assert align(goes, bahamas).read(Window(0, 0, 8, 8), [0]).valid is None
    with pytest.raises(GridMismatch, match="does not overlap"):
        align(goes, open_source(data / "geotiff_io" / "cog_dateline.tif").grid)


@pytest.mark.parametrize("kind", ["file", "array", "shifted"])
def test_an_aligned_source_can_be_sent_to_another_process(write_raster: Write, kind: str) -> None:
    source = open_source(ramp(), grid=HERE) if kind == "array" else open_source(write_raster("s.tif", ramp()))
    step = 2.0 if kind == "shifted" else 0.25
    there = replace(HERE, transform=HERE.transform.shifted(step, step))
    aligned = align(source, there)
    copy = pickle.loads(pickle.dumps(aligned))
    assert np.array_equal(read_all(copy, there.size)[0], read_all(aligned, there.size)[0], equal_nan=True)
    assert aligned.fingerprint() == copy.fingerprint() != source.fingerprint()


@pytest.mark.parametrize(
    ("crs", "step", "y", "expected"),
    [
        ("EPSG:32633", 10.0, 5_000_000.0, 10.0),
        # Mercator stretches by 1 / cos(latitude): 8_399_738 m north is 60 degrees.
        ("EPSG:3857", 10.0, 8_399_737.9, 5.0),
        ("EPSG:4326", 1e-4, 0.0, 11.13),
    ],
)
def test_ground_sample_distance_is_in_true_metres(crs: str, step: float, y: float, expected: float) -> None:
    x = 500_000.0 if crs == "EPSG:32633" else 15.0
    grid = Grid(crs=crs, transform=Affine(step, 0, x, 0, -step, y), size=Size(2, 2))
    assert ground_sample_distance(grid) == pytest.approx(expected, rel=0.006)
    assert ground_sample_distance(replace(grid, crs=None)) is None
