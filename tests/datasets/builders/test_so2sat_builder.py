"""So2Sat's builder on toy cities: polygons, mosaics whose values tell where they are, and votes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.warp import transform as warp

from swath.datasets.builders.label_votes import tally_votes
from swath.datasets.builders.so2sat import (
    City,
    PatchSettings,
    build_so2sat,
    export_patch,
    world_file_numbers,
)
from swath.datasets.builders.zone_places import PlaceDraw, Zones, labelled_corners
from swath.datasets.formats.geo_rows import grid_of_world_file
from swath.datasets.so2sat import RADAR_BANDS, SO2SAT
from swath.errors import ConfigurationError, DataError, GridMismatch, OutputExists, OutputFailed
from swath.geometry.windows import Size
from swath.imagery.grid import PIXELS, Affine, Grid
from swath.imagery.sources import open_source

UTM = "EPSG:32633"
WEST, NORTH = 500_000.0, 5_800_000.0
HEIGHT, WIDTH = 120, 200
LCZ_2 = shapely.box(WEST + 200, NORTH - 800, WEST + 700, NORTH - 300)
LCZ_17 = shapely.box(WEST + 1000, NORTH - 900, WEST + 1800, NORTH - 250)


def write_mosaic(path: Path, names: list[str], *, west: float = WEST, missing: bool = False) -> Path:
    """Band b is 1000 (b + 1) + column + row / 1000, so that every value tells its band and place."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    values = np.stack([1000.0 * (b + 1) + columns + rows / 1000 for b in range(len(names))]).astype(np.float32)
    if missing:
        values[:, :, 60:] = np.nan
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": len(names), "dtype": "float32"}
    with rasterio.open(path, "w", **profile, crs=UTM, transform=rasterio.Affine(10, 0, west, 0, -10, NORTH)) as dataset:
        dataset.write(values)
        dataset.descriptions = names
        dataset.units = ["reflectance" if names[0] == "B02" else "linear"] * len(names)
    return path


def write_polygons(path: Path, shapes: dict[int, shapely.Geometry], attribute: str = "class") -> Path:
    """GeoJSON as RFC 7946 wants it: longitude and latitude."""

    def lonlat(xy):
        return np.array(warp(UTM, "EPSG:4326", xy[:, 0], xy[:, 1])).T

    features = [
        {
            "type": "Feature",
            "properties": {attribute: number},
            "geometry": shapely.geometry.mapping(shapely.transform(shape, lonlat)),
        }
        for number, shape in shapes.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


OPTICAL = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
RADAR = [band.role for band in RADAR_BANDS]


def toy_city(folder: Path, name: str = "toy", **changes) -> City:
    return City(
        **{
            "name": name,
            "polygons": write_polygons(folder / f"{name}.geojson", {2: LCZ_2, 17: LCZ_17}),
            "radar": write_mosaic(folder / f"{name}_s1.tif", RADAR),
            "optical": write_mosaic(folder / f"{name}_s2.tif", OPTICAL),
            **changes,
        }
    )


FIVE = PatchSettings(per_class=5)


def test_two_classes_with_a_quota_of_five_give_ten_patches_inside_their_polygons(tmp_path):
    report = build_so2sat([toy_city(tmp_path)], tmp_path / "training.h5", FIVE)
    assert report.patches == 10
    assert report.cities[0].patches == {2: 5, 17: 5}
    with h5py.File(tmp_path / "training.h5") as file, h5py.File(tmp_path / "training_geo.h5") as places:
        labels = file["label"][:]
        assert labels.sum(axis=1).tolist() == [1.0] * 10
        for row in range(10):
            number = int(labels[row].argmax()) + 1
            grid = grid_of_world_file(places["tfw"][row].tolist(), int(places["epsg"][row, 0]), Size(32, 32))
            centre = grid.to_map(np.array([[16.0, 16.0]]))[0]
            assert {2: LCZ_2, 17: LCZ_17}[number].covers(shapely.Point(centre))
            column, line = round((grid.transform.c - WEST) / 10), round((NORTH - grid.transform.f) / 10)
            for name, bands in (("sen1", 8), ("sen2", 10)):
                expected = [1000 * (band + 1) + column + 3 + (line + 7) / 1000 for band in range(bands)]
                np.testing.assert_allclose(file[name][row, 7, 3], expected, rtol=1e-6)
            assert places["city"].asstr()[row, 0] == "toy"
            assert int(places["epsg"][row, 0]) == 32633


def test_the_files_have_the_published_arrays(tmp_path):
    build_so2sat([toy_city(tmp_path)], tmp_path / "training.h5", FIVE)
    with h5py.File(tmp_path / "training.h5") as file:
        assert {name: (array.shape, array.dtype.str) for name, array in file.items()} == {
            "sen1": ((10, 32, 32, 8), "<f8"),
            "sen2": ((10, 32, 32, 10), "<f8"),
            "label": ((10, 17), "<f8"),
        }
    with h5py.File(tmp_path / "training_geo.h5") as file:
        assert {name: array.shape for name, array in file.items()} == {"epsg": (10, 1), "tfw": (10, 6), "city": (10, 1)}
        # The corrected order: A, D, B, E, C, F, with E negative.
        assert file["tfw"][0, :4].tolist() == [10, 0, 0, -10]


def test_the_declared_reader_opens_what_was_built(tmp_path):
    build_so2sat([toy_city(tmp_path)], tmp_path / "training.h5", FIVE)
    train = SO2SAT.open(tmp_path, "train")
    assert len(train) == 10
    sample = train[0]
    assert sample.images["image"].values.shape == (10, 32, 32)
    assert sample.images["radar"].values.shape == (8, 32, 32)
    assert sample.target.best.name in ("Compact mid rise", "Water")
    assert sample.images["image"].grid.crs == UTM


def test_the_draw_is_the_same_for_a_seed_and_another_for_another(tmp_path):
    city = toy_city(tmp_path)
    read = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build_so2sat([city], tmp_path / f"{name}.h5", PatchSettings(per_class=5, seed=seed))
        with h5py.File(tmp_path / f"{name}.h5") as file, h5py.File(tmp_path / f"{name}_geo.h5") as places:
            read[name] = {key: array[:] for key, array in (*file.items(), *places.items())}
    assert all(np.array_equal(read["a"][key], read["b"][key]) for key in read["a"])
    assert not np.array_equal(read["a"]["tfw"], read["c"]["tfw"])


def test_any_stretch_of_the_file_holds_all_classes(tmp_path):
    build_so2sat([toy_city(tmp_path)], tmp_path / "training.h5", FIVE)
    with h5py.File(tmp_path / "training.h5") as file:
        assert file["label"][:].argmax(axis=1).tolist() == [1, 16] * 5


def test_a_class_that_runs_out_leaves_the_others_their_quota(tmp_path):
    """A 30 m square holds nine corners of the grid inside or on its edge."""
    little = shapely.box(WEST + 305, NORTH - 335, WEST + 335, NORTH - 305)
    city = toy_city(tmp_path, polygons=write_polygons(tmp_path / "p.geojson", {1: little, 17: LCZ_17}))
    report = build_so2sat([city], tmp_path / "training.h5", PatchSettings(per_class=40))
    assert report.cities[0].patches == {1: 9, 17: 40}


def test_centres_of_a_class_keep_their_distance(tmp_path):
    settings = PatchSettings(per_class=1000, distance=150.0)
    report = build_so2sat([toy_city(tmp_path)], tmp_path / "training.h5", settings)
    with h5py.File(tmp_path / "training.h5") as file, h5py.File(tmp_path / "training_geo.h5") as places:
        labels, corners = file["label"][:].argmax(axis=1), places["tfw"][:, 4:]
    for label in (1, 16):
        own = corners[labels == label]
        gaps = np.linalg.norm(own[:, None] - own[None], axis=2) + 1e9 * np.eye(len(own))
        assert gaps.min() >= 150
        # As many as a random packing of the polygon leaves room for, none of which another would fit into.
        area = {1: LCZ_2, 16: LCZ_17}[label].area
        assert len(own) > 0.4 * area / 150**2
    assert report.cities[0].patches == {2: int((labels == 1).sum()), 17: int((labels == 16).sum())}


def test_cities_follow_each_other_with_their_names(tmp_path):
    told = []
    cities = [toy_city(tmp_path, "one"), toy_city(tmp_path, "two")]
    build_so2sat(cities, tmp_path / "t.h5", FIVE, progress=lambda done, total: told.append((done, total)))
    with h5py.File(tmp_path / "t_geo.h5") as places:
        assert places["city"].asstr()[:, 0].tolist() == ["one"] * 10 + ["two"] * 10
    assert told == [(1, 2), (2, 2)]


def test_patches_with_missing_pixels_are_passed_over_and_counted(tmp_path):
    """Columns from 60 on are missing in Sentinel-1: no patch of water is whole, and few of class 2."""
    city = toy_city(tmp_path)
    write_mosaic(Path(str(city.radar)), RADAR, missing=True)
    report = build_so2sat([city], tmp_path / "t.h5", FIVE)
    assert report.cities[0].patches == {2: 5}
    assert report.cities[0].incomplete > 1000
    with h5py.File(tmp_path / "t.h5") as file:
        assert np.isfinite(file["sen1"][:]).all()


def test_digital_numbers_become_reflectance(tmp_path):
    city = toy_city(tmp_path)
    with rasterio.open(city.optical) as dataset:
        profile, values = dataset.profile, dataset.read()
    profile.update(dtype="uint16")
    with rasterio.open(tmp_path / "dn.tif", "w", **profile) as dataset:
        dataset.write((values[:, :, :] * 0 + 2500).astype(np.uint16))
    digital = open_source(tmp_path / "dn.tif", bands="sentinel-2-l1c:" + ",".join(OPTICAL))
    build_so2sat([toy_city(tmp_path, optical=digital)], tmp_path / "t.h5", FIVE)
    with h5py.File(tmp_path / "t.h5") as file:
        np.testing.assert_allclose(file["sen2"][:], 0.25, rtol=1e-6)


def test_a_failure_leaves_no_file(tmp_path):
    broken = toy_city(tmp_path, "broken", polygons=write_polygons(tmp_path / "x.geojson", {18: LCZ_2}))
    with pytest.raises(DataError, match="'class' is 18; it must be 1 to 17"):
        build_so2sat([toy_city(tmp_path), broken], tmp_path / "t.h5", FIVE)
    assert [path.name for path in tmp_path.glob("*.h5")] == []
    assert not list(tmp_path.glob(".*"))


def test_other_inputs_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(GridMismatch, match="do not share a grid"):
        moved = toy_city(tmp_path, "moved", radar=write_mosaic(tmp_path / "moved.tif", RADAR, west=WEST + 10))
        build_so2sat([moved], tmp_path / "t.h5", FIVE)
    with pytest.raises(DataError, match="the attribute 'class'"):
        unnamed = toy_city(tmp_path, polygons=write_polygons(tmp_path / "y.geojson", {2: LCZ_2}, "zone"))
        build_so2sat([unnamed], tmp_path / "t.h5", FIVE)
    with pytest.raises(OutputFailed, match=r"end in \.h5"):
        build_so2sat([toy_city(tmp_path)], tmp_path / "t.npz", FIVE)
    with pytest.raises(ConfigurationError, match="at least 1 a class"):
        PatchSettings(per_class=0)


def test_existing_files_are_kept(tmp_path):
    city = toy_city(tmp_path)
    build_so2sat([city], tmp_path / "t.h5", FIVE)
    before = (tmp_path / "t.h5").read_bytes()
    with pytest.raises(OutputExists):
        build_so2sat([city], tmp_path / "t.h5", PatchSettings(per_class=1))
    assert (tmp_path / "t.h5").read_bytes() == before
    build_so2sat([city], tmp_path / "t.h5", PatchSettings(per_class=1), overwrite=True)
    with h5py.File(tmp_path / "t.h5") as file:
        assert len(file["label"]) == 2


def test_corners_equal_a_point_in_polygon_test_and_contested_ones_are_left_out(monkeypatch):
    """Two overlapping polygons at odd places, in strips of three rows."""
    monkeypatch.setattr("swath.datasets.builders.zone_places.CORNERS_A_STRIP", 60)
    one = shapely.Polygon([(3.3, 2.2), (17.1, 4.6), (14.2, 19.7), (4.4, 15.3)])
    two = shapely.Point(15.2, 12.9).buffer(4.9)
    zones = Zones(polygons=np.array([one, two], dtype=object), numbers=np.array([3, 9]))
    found = labelled_corners(zones, Grid(crs=None, transform=PIXELS, size=Size(24, 22)), patch=4)
    expected, contested = {3: [], 9: []}, 0
    for row in range(2, 23):
        for column in range(2, 21):
            inside = [n for n, shape in ((3, one), (9, two)) if shape.contains(shapely.Point(column, row))]
            contested += len(inside) == 2
            if len(inside) == 1:
                expected[inside[0]].append([row, column])
    assert {number: corners.tolist() for number, corners in found.corners.items()} == expected
    assert found.contested == contested > 0


def test_a_draw_visits_every_corner_once_without_a_distance():
    corners = np.argwhere(np.ones((6, 7), bool)).astype(np.int64)
    visited = list(PlaceDraw(corners, 0.0, 0, "x"))
    assert sorted(visited) == sorted(map(tuple, corners.tolist()))
    assert visited != sorted(visited)


def test_world_files_of_both_releases_give_one_place():
    """The sheet's example, as the authors' notebook prints it."""
    size = Size(32, 32)
    new = grid_of_world_file([10, 0, 0, -10, 550335.858, 4183214.43], 32610, size)
    old = grid_of_world_file([550335.858, 10, 0, 4183214.43, 0, 10], 32610, size)
    assert new == old
    np.testing.assert_allclose(new.to_map(np.array([16.0, 16.0])), [550495.858, 4183054.43])
    assert world_file_numbers(old) == (10, 0, 0, -10, 550335.858, 4183214.43)


def test_an_exported_patch_covers_320_m_in_its_zone(tmp_path):
    build_so2sat([toy_city(tmp_path)], tmp_path / "training.h5", FIVE)
    pixels = SO2SAT.open(tmp_path, "train")[3].images["image"]
    with rasterio.open(export_patch(pixels, tmp_path / "patch.tif")) as dataset:
        west, south, east, north = dataset.bounds
        assert (east - west, north - south) == (320, 320)
        assert dataset.crs.to_epsg() == 32633
        assert dataset.descriptions[2] == "B04"
        np.testing.assert_array_equal(dataset.read(), pixels.values)
    placeless = pixels.__class__.from_array(pixels.values, pixels.bands, pixels.unit)
    with pytest.raises(GridMismatch, match="no place"):
        export_patch(placeless, tmp_path / "other.tif")


def test_votes_of_the_sheet():
    report = tally_votes([["A", "A", "B"], ["B", "B", "B"]], classes=("A", "B"))
    assert report.majority == ("A", "B")
    assert report.overall == pytest.approx(5 / 6)
    np.testing.assert_allclose(report.agreement, [2 / 3, 1])
    np.testing.assert_allclose(report.confidence, [[2 / 3, 1 / 3], [0, 1]])
    assert report.ties == ()


def test_a_tie_has_no_winner_and_counts_for_no_class():
    report = tally_votes([["A", "B"], ["C", "C", "A"]], classes=("A", "B", "C"))
    assert report.majority == (None, "C")
    assert report.ties == (0,)
    assert report.counts.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 2]]
    assert report.overall == pytest.approx(3 / 5)
    assert report.confidence[0].tolist() == [0, 0, 0]


def test_votes_for_nothing_or_for_unknown_classes_are_refused():
    with pytest.raises(DataError, match="thing 1 has no vote"):
        tally_votes([["A"], []], classes=("A",))
    with pytest.raises(DataError, match="a vote for 'D'"):
        tally_votes([["D"]], classes=("A",))


def test_places_in_a_rotated_or_coarser_grid_are_refused(tmp_path):
    grid = Grid(crs=UTM, transform=Affine(20, 0, WEST, 0, -20, NORTH), size=Size(60, 60))
    radar = open_source(np.zeros((8, 60, 60), np.float32), bands=RADAR, grid=grid)
    optical = open_source(np.zeros((10, 60, 60), np.float32), bands=OPTICAL, grid=grid)
    city = toy_city(tmp_path, radar=radar, optical=optical)
    with pytest.raises(GridMismatch, match="upright pixels of 10 m"):
        build_so2sat([city], tmp_path / "t.h5", FIVE)
