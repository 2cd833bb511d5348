"""Every failure is one clear sentence, exit status 2, and nothing under the name of the result."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine

from swath.inference.manifest import work_folder
from swath.models.shipped import WEIGHTS


def write(path: Path, values: np.ndarray, **options) -> Path:
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:26911",
        "transform": Affine(0.6, 0, 360_000, 0, -0.6, 3_770_000),
    }
    with rasterio.open(path, "w", **{**profile, **options}) as target:
        target.write(values)
    return path


def four_bands(side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (4, side, side), dtype=np.uint8)


def zero_pixel_tiff(path: Path) -> Path:
    """A TIFF of one directory whose width is 0."""
    tags = [(256, 4, 1, 0), (257, 4, 1, 0), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 0)]
    body = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags))
    body += b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    path.write_bytes(body)
    return path


def truncated(path: Path, tile: Path) -> Path:
    whole = tile.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def test_missing_file(swath, tmp_path):
    done = swath("predict", "trees", tmp_path / "nowhere.tif", "-o", tmp_path / "t.gpkg")
    assert done.status == 2
    assert "nowhere.tif" in done.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"this is a letter, not an image"])
def test_not_an_image(swath, tmp_path, content):
    (tmp_path / "letter.tif").write_bytes(content)
    done = swath("predict", "trees", tmp_path / "letter.tif", "-o", tmp_path / "t.gpkg")
    assert done.status == 2
    assert "letter.tif" in done.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["letter.tif"]


def test_truncated_file(swath, tmp_path, tile):
    done = swath("predict", "trees", truncated(tmp_path / "cut.tif", tile), "-o", tmp_path / "t.gpkg")
    assert done.status == 2
    assert "cut.tif" in done.sentence
    assert not (tmp_path / "t.gpkg").exists()


def test_no_pixels(swath, tmp_path):
    done = swath("predict", "trees", zero_pixel_tiff(tmp_path / "empty.tif"), "-o", tmp_path / "t.gpkg")
    assert done.status == 2
    assert "empty.tif" in done.sentence


def test_without_a_reference_system_coordinates_are_pixels_and_the_user_is_told(swath, tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        scene = write(tmp_path / "plain.tif", four_bands(), crs=None, transform=Affine.identity(), photometric="RGB")
    done = swath("predict", "trees", scene, "-o", tmp_path / "t.geojson", "--bands", "naip")
    assert done.status == 0, done.err
    assert "pixel" in done.err
    document = json.loads((tmp_path / "t.geojson").read_text())
    for feature in document["features"]:
        x, y = feature["geometry"]["coordinates"]
        assert 0 <= x <= 64
        assert 0 <= y <= 64


@pytest.mark.parametrize(
    ("bands", "words"),
    [(None, ("red", "--bands")), ("red=1,green=2,blue=3", ("nir",)), ("red=1,green=2,blue=3,nir=9", ("9",))],
)
def test_missing_renamed_or_too_few_bands(swath, tmp_path, bands, words):
    scene = write(tmp_path / "three.tif", four_bands()[:3].astype(np.uint16))
    options = [] if bands is None else ["--bands", bands]
    done = swath("predict", "trees", scene, "-o", tmp_path / "t.gpkg", *options)
    assert done.status == 2
    for word in words:
        assert word in done.sentence
    assert not (tmp_path / "t.gpkg").exists()


def test_band_names_that_are_no_names(swath, tmp_path, tile):
    done = swath("predict", "trees", tile, "-o", tmp_path / "t.gpkg", "--bands", "red=one")
    assert done.status == 2
    assert "red=3,green=2,blue=1" in done.sentence


def test_wrong_unit(swath, tmp_path):
    scene = write(tmp_path / "float.tif", four_bands().astype(np.float32))
    done = swath("predict", "trees", scene, "-o", tmp_path / "t.gpkg", "--bands", "naip", "--unit", "kelvin")
    assert done.status == 2
    assert "kelvin" in done.sentence
    unknown = swath("predict", "trees", scene, "-o", tmp_path / "t.gpkg", "--unit", "furlong")
    assert unknown.status == 2
    assert "reflectance" in unknown.sentence


@pytest.mark.parametrize("kind", ["nodata", "nan"])
def test_nothing_valid(swath, tmp_path, kind):
    if kind == "nodata":
        scene = write(tmp_path / "void.tif", np.zeros((4, 64, 64), np.uint8), nodata=0)
        options = ["--bands", "naip"]
    else:
        scene = write(tmp_path / "void.tif", np.full((4, 64, 64), np.nan, np.float32))
        options = ["--bands", "naip", "--unit", "8-bit"]
    done = swath("predict", "trees", scene, "-o", tmp_path / "t.gpkg", *options)
    assert done.status == 2
    assert "valid" in done.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["void.tif"]


def test_slots_that_do_not_overlap(swath, tmp_path):
    here = write(tmp_path / "here.tif", four_bands(), photometric="RGB")
    there = write(tmp_path / "there.tif", four_bands(), transform=Affine(0.6, 0, 900_000, 0, -0.6, 3_770_000))
    done = swath(
        "predict", "trees", f"image={here}", f"reference={there}", "-o", tmp_path / "t.gpkg", "--bands", "naip"
    )
    assert done.status == 2
    assert "overlap" in done.sentence
    mixed = swath("predict", "trees", here, f"reference={there}", "-o", tmp_path / "t.gpkg")
    assert mixed.status == 2
    assert "slot" in mixed.sentence


def test_output_exists(swath, tmp_path, tile):
    (tmp_path / "t.gpkg").write_text("precious")
    done = swath("predict", "trees", tile, "-o", tmp_path / "t.gpkg", "--bands", "naip")
    assert done.status == 2
    assert "already" in done.sentence
    assert (tmp_path / "t.gpkg").read_text() == "precious"


def test_unknown_format(swath, tmp_path, tile):
    done = swath("predict", "trees", tile, "-o", tmp_path / "t.shp", "--bands", "naip")
    assert done.status == 2
    assert ".gpkg" in done.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_disk_full(swath, tiny_disk, tile):
    done = swath("predict", "trees", tile, "-o", tiny_disk / "t.gpkg", "--bands", "naip")
    assert done.status == 2
    assert "free" in done.sentence or "full" in done.sentence
    assert not (tiny_disk / "t.gpkg").exists()


def test_weights_of_another_model(swath, tmp_path, tile):
    shutil.copytree(WEIGHTS / "trees", tmp_path / "mine")
    shutil.copy(WEIGHTS / "landuse" / "model.safetensors", tmp_path / "mine" / "model.safetensors")
    done = swath("predict", tmp_path / "mine", tile, "-o", tmp_path / "t.gpkg", "--bands", "naip")
    assert done.status == 2
    assert "missing" in done.sentence


def test_a_pickle_in_place_of_weights(swath, tmp_path, tile):
    shutil.copytree(WEIGHTS / "trees", tmp_path / "mine")
    torch.save({"anything": 1}, tmp_path / "mine" / "model.safetensors")
    done = swath("predict", tmp_path / "mine", tile, "-o", tmp_path / "t.gpkg", "--bands", "naip")
    assert done.status == 2
    assert "not a safetensors file" in done.sentence


def test_unknown_model(swath, tmp_path, tile):
    done = swath("predict", "tree", tile, "-o", tmp_path / "t.gpkg")
    assert done.status == 2
    assert "trees" in done.sentence
    planned = swath("predict", "croma", tile, "-o", tmp_path / "t.gpkg")
    assert planned.status == 2


def test_interrupted_run_goes_on(swath, tmp_path, monkeypatch):
    scene = write(tmp_path / "scene.tif", four_bands(192), photometric="RGB")
    arguments = ("predict", "trees", scene, "-o", tmp_path / "t.gpkg", "--bands", "naip", "--window", "96")
    from swath.cli.progress import ProgressLine

    def interrupt(self, progress):
        if progress.done >= progress.total // 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProgressLine, "show", interrupt)
        done = swath(*arguments)
    assert done.status == 2
    assert "run the same command again" in done.sentence
    assert not (tmp_path / "t.gpkg").exists()
    assert work_folder(tmp_path / "t.gpkg").is_dir()
    again = swath(*arguments)
    assert again.status == 0
    assert "rows of windows from the run before" in again.out
    assert not work_folder(tmp_path / "t.gpkg").exists()


def test_words_that_are_no_command(swath):
    assert swath("predikt").status == 2
    assert swath("predict", "trees").status == 2
    assert swath("systems", "--state", "done").status == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("evaluate", "landuse"), "needs a model and its data, found only 'landuse'"),
        (("evaluate", "landuse", "DATA", "--corrupt", "fog"), "fog"),
        (("evaluate", "landuse", "DATA", "--corrupt", "all", "--severities", "high"), "found 'high'"),
        (("evaluate", "landuse", "landuse", "DATA", "--corrupt", "all"), "takes one model at a time"),
        (("evaluate", "landuse", "DATA", "--page", "page.html"), "--page holds a comparison"),
        (("evaluate", "missing.json", "landuse", "DATA"), "no report to read at missing.json"),
        (("data", "check", "eurosatt", "DATA"), "did you mean eurosat"),
        (("data", "check", "eurosat", "nowhere"), "nowhere"),
    ],
)
def test_words_of_judging_that_do_not_fit(swath, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    data = Path(__file__).parent.parent / "data" / "eurosat_rgb"
    done = swath(*(data if word == "DATA" else word for word in words))
    assert done.status == 2
    assert told in done.err + done.out
    assert list(tmp_path.iterdir()) == []
