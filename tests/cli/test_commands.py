"""The verbs do what the README says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from swath.catalog import load_catalog

DATA = Path(__file__).parent.parent / "data"


def test_predict_gives_one_point_a_tree_with_its_score(swath, tmp_path, tile):
    done = swath("predict", "trees", tile, "-o", tmp_path / "points.geojson")
    assert done.status == 0, done.err
    document = json.loads((tmp_path / "points.geojson").read_text())
    assert document["features"]
    for feature in document["features"]:
        assert feature["geometry"]["type"] == "Point"
        assert 0 < feature["properties"]["score"] <= 1
        longitude, latitude = feature["geometry"]["coordinates"]
        assert -125 < longitude < -114
        assert 32 < latitude < 42
    assert "nir" in done.err  # the fourth band is called alpha in the file: the reading is said
    item = json.loads((tmp_path / "points.geojson.stac.json").read_text())
    assert item["stac_version"].startswith("1.")


def test_several_scenes_go_into_a_folder(swath, tmp_path):
    tiles = sorted((DATA / "urban_trees" / "images").glob("*.tif"))[:2]
    done = swath("predict", "trees", *tiles, "-o", tmp_path / "found", "--bands", "naip")
    assert done.status == 0, done.err
    assert sorted(path.name for path in (tmp_path / "found").glob("*.gpkg")) == [f"{t.stem}.gpkg" for t in tiles]


def test_evaluate_prints_every_figure_and_writes_json(swath, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = swath("evaluate", "landuse", f"eurosat={DATA / 'eurosat_rgb'}", "-o", tmp_path / "report.json")
    assert done.status == 0, done.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert "accuracy" in done.out
    assert 0 <= report["figures"]["accuracy"] <= 1


def test_evaluate_reads_any_folder_of_class_folders(swath, tmp_path):
    done = swath("evaluate", "landuse", DATA / "eurosat_rgb", "-o", tmp_path / "report.json")
    assert done.status == 0, done.err
    assert json.loads((tmp_path / "report.json").read_text())["samples"] == 30


def test_evaluate_compares_models_and_reports(swath, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = DATA / "eurosat_rgb"
    assert swath("evaluate", "landuse", data, "-o", "first.json").status == 0
    done = swath("evaluate", "first.json", "landuse", data, "-o", "both.json", "--page", "both.html")
    assert done.status == 0, done.err
    assert "McNemar" in done.out
    table = json.loads(Path("both.json").read_text())
    first, again = (model["figures"]["accuracy"] for model in table["models"])
    assert first["value"] == again["value"]
    assert again["difference"]["value"] == 0
    page = Path("both.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    again = swath("evaluate", "first.json", "first.json", data, "--page", "both.html")
    assert again.status == 2
    assert "'both.html' already exists" in again.err


def test_evaluate_on_imagery_made_worse(swath, tmp_path):
    options = ("--corrupt", "gaussian noise,Rotation", "--severities", "1,5", "--limit", "6")
    done = swath("evaluate", "landuse", DATA / "eurosat_rgb", *options, "-o", tmp_path / "worse.json")
    assert done.status == 0, done.err
    assert "Gaussian noise" in done.out
    found = json.loads((tmp_path / "worse.json").read_text())
    assert {result["corruption"] for result in found["corruptions"]} == {"Gaussian noise", "rotation"}


def test_data_check_tells_what_is_wrong(swath, tmp_path):
    folder = tmp_path / "eurosat"
    shutil.copytree(DATA / "eurosat_rgb", folder)
    assert swath("data", "check", "eurosat", folder).status == 0
    broken = next(iter(sorted((folder / "Forest").iterdir())))
    broken.write_bytes(b"no image")
    done = swath("data", "check", "eurosat", folder, "-o", tmp_path / "check.json")
    assert done.status == 2
    assert broken.name in done.out
    assert not json.loads((tmp_path / "check.json").read_text())["ok"]


def test_train_leaves_the_best_weights_and_a_log(swath, tmp_path):
    data = f"eurosat={DATA / 'eurosat_rgb'}"
    done = swath("train", "landuse", data, "-o", tmp_path / "run", "--epochs", "1", "--validation", "0.5")
    assert done.status == 0, done.err
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()
    assert (tmp_path / "run" / "log.jsonl").is_file()


def test_systems_lists_all_of_them(swath):
    done = swath("systems")
    assert done.status == 0
    assert all(system.slug in done.out for system in load_catalog().systems)
    assert "76 systems" in done.out
    complete = swath("systems", "--state", "complete")
    assert "rsmamba" in complete.out
    assert "croma" not in complete.out


@pytest.mark.parametrize("name", ["trees", "landuse", "rsmamba", "effnet-unetpp", "effnet_unetpp_b4", "croma"])
def test_info_prints_a_card(swath, name):
    done = swath("info", name)
    assert done.status == 0, done.err
    assert done.out.startswith("# ")


def test_demo_writes_a_page_that_needs_nothing_else(swath, tmp_path):
    done = swath("demo", "-o", tmp_path / "demo")
    assert done.status == 0, done.err
    page = (tmp_path / "demo" / "report.html").read_text()
    assert str(tmp_path / "demo" / "report.html") in done.out.replace("\n", "")
    assert page.count("data:image/png;base64,") == 4
    assert "://" not in page
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"trees.geojson", "trees.gpkg", "landuse.tif", "landuse.gpkg", "landuse.tif.stac.json"} <= names
