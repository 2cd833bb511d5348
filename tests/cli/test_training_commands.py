"""Classifiers trained and compared from one command each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swath.models.store import load_model

EUROSAT = f"eurosat={Path(__file__).parent.parent / 'data' / 'eurosat_rgb'}"


@pytest.fixture(scope="module")
def levels(tmp_path_factory) -> Path:
    """Two classes of 15 chips, dark and light."""
    root = tmp_path_factory.mktemp("levels")
    draws = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 110)):
        (root / name).mkdir()
        for number in range(15):
            values = draws.normal(level, 20, (1, 1, 3)) + draws.normal(0, 25, (64, 64, 3))
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


def test_a_linear_probe_is_trained_compared_and_asked_like_any_model(swath, tmp_path, monkeypatch, levels):
    monkeypatch.chdir(tmp_path)
    done = swath("train", "linear-probe", levels, "--embedder", "imagestats", "-o", "runs/probe", "--device", "cpu")
    assert done.status == 0, done.err
    assert "runs/probe/best" in done.out
    assert "of the held-back images right" in done.out
    assert json.loads(Path("runs/probe/best/config.json").read_text())["model"].endswith("linear_probe:LinearProbe")
    compared = swath("evaluate", "runs/probe/best", "runs/probe", levels, "-o", "both.json", "--page", "both.html")
    assert compared.status == 0, compared.err
    table = json.loads(Path("both.json").read_text())
    # A run is called by its own name, not by that of the folder of its best weights.
    assert [model["model"] for model in table["models"]] == ["probe", "probe"]
    assert table["models"][0]["figures"]["accuracy"]["value"] > 0.7
    assert "expected calibration error" in Path("both.html").read_text()
    image = next(iter(sorted((levels / "light").iterdir())))
    found = swath("predict", "runs/probe/best", image, "-o", "light.geojson", "--bands", "red=1,green=2,blue=3")
    assert found.status == 0, found.err


def test_models_are_judged_by_their_frozen_features_in_one_table(swath, tmp_path, monkeypatch, levels):
    monkeypatch.chdir(tmp_path)
    words = ("imagestats", "landuse", levels, "--frozen", "-o", "frozen.json", "--page", "frozen.html")
    done = swath("evaluate", *words, "--device", "cpu")
    assert done.status == 0, done.err
    table = json.loads(Path("frozen.json").read_text())
    assert [model["model"] for model in table["models"]] == [
        "imagestats, 5 nearest neighbours",
        "imagestats, linear probe",
        "landuse, 5 nearest neighbours",
        "landuse, linear probe",
    ]
    for model in table["models"]:
        low, high = model["figures"]["accuracy"]["interval"]
        assert low <= model["figures"]["accuracy"]["value"] <= high
        assert model["figures"]["expected calibration error"]["value"] is not None
    assert "--paper" in Path("frozen.html").read_text()  # the style of all pages


def test_what_cannot_be_judged_by_frozen_features_is_told_in_one_sentence(swath, tmp_path, monkeypatch, levels):
    monkeypatch.chdir(tmp_path)
    assert "'trees' takes" not in swath("evaluate", "landuse", "trees", levels, "--frozen").sentence
    assert "'trees' gives no embedding" in swath("evaluate", "landuse", "trees", levels, "--frozen").sentence
    assert "is a report; give the model" in swath("evaluate", "x.json", levels, "--frozen").sentence
    assert "no embedder 'landuze' (did you mean landuse" in swath("evaluate", "landuze", levels, "--frozen").sentence
    assert "ask for one" in swath("evaluate", "landuse", levels, "--frozen", "--corrupt", "all").sentence
    assert "--size is for --frozen" in swath("evaluate", "landuse", levels, "--size", "64").sentence
    assert not list(tmp_path.iterdir())


def test_results_that_may_not_be_written_are_refused_before_the_work(swath, tmp_path, monkeypatch, levels):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swath.cli.judging.evaluate", lambda *words, **options: pytest.fail("it was evaluated"))
    for name in ("kept.json", "kept.html", "kept.tallies.npz"):
        Path(name).write_text("kept")
    for words in (
        ("landuse", levels, "-o", "kept.json"),
        ("landuse", "landuse", levels, "-o", "new.json", "--page", "kept.html"),
        ("landuse", "landuse", levels, "-o", "kept.json"),
        ("landuse", levels, "--corrupt", "all", "--page", "kept.html"),
        ("landuse", levels, "--frozen", "--page", "kept.html"),
    ):
        assert "already exists" in swath("evaluate", *words).sentence
    assert "name of its own" in swath("evaluate", "landuse", "landuse", levels, "-o", "a", "--page", "a").sentence
    assert all(Path(name).read_text() == "kept" for name in ("kept.json", "kept.html"))


def test_training_says_what_an_embedder_is_for_and_what_a_probe_needs(swath, tmp_path, levels):
    folder = tmp_path / "run"
    assert (
        "linear-probe DATASET=FOLDER --embedder dinov2_small"
        in swath("train", "dinov2_small", levels, "-o", folder).sentence
    )
    assert "needs --embedder" in swath("train", "linear-probe", levels, "-o", folder).sentence
    options = ("--embedder", "imagestats", "--epochs", "3", "--batch-size", "8")
    assert (
        "takes no --epochs or --batch-size" in swath("train", "linear-probe", levels, "-o", folder, *options).sentence
    )
    assert (
        "--embedder is for linear-probe"
        in swath("train", "landuse", EUROSAT, "-o", folder, "--embedder", "imagestats").sentence
    )
    assert (
        "has its weights already"
        in swath("train", "linear-probe", levels, "-o", folder, "--embedder", "landuse", "--from", "x.pth").sentence
    )
    assert not folder.exists()


def test_a_network_starts_from_the_weights_of_another_data_set(swath, tmp_path, levels):
    """Weights of ten classes for a data set of two: all but the head is taken over, and told."""
    options = ("--epochs", "1", "--validation", "0.5", "--batch-size", "6", "--device", "cpu", "--no-resume")
    done = swath("train", "landuse", levels, "-o", tmp_path / "run", "--from", "landuse", *options)
    assert done.status == 0, done.err
    assert "starting from landuse" in done.err
    assert "2 fresh (head.weight, head.bias)" in done.err
    trained = load_model(tmp_path / "run" / "best").model
    assert trained.classes == ("dark", "light")
    wrong = swath("train", "lwganet_l0", levels, "-o", tmp_path / "other", "--from", "landuse", *options)
    assert "landuse is a RSMamba and the model to train a LWGANet" in wrong.sentence
    lost = swath("train", "landuse", levels, "-o", tmp_path / "other", "--from", tmp_path / "none.pth", *options)
    assert "there is no weights file" in lost.sentence


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size"), [("lwganet_l0", 96), ("rsmamba_base", 32)])
def test_published_networks_train_on_small_chips(swath, tmp_path, model, size):
    options = ("--epochs", "1", "--validation", "0.5", "--batch-size", "5", "--size", size, "--device", "cpu")
    done = swath("train", model, EUROSAT, "-o", tmp_path / "run", *options)
    assert done.status == 0, done.err
    trained = load_model(tmp_path / "run" / "best").model
    assert trained.config.input.window == size
    assert len(trained.classes) == 10


def test_a_size_that_a_network_cannot_take_is_refused(swath, tmp_path):
    done = swath("train", "lwganet_l0", EUROSAT, "-o", tmp_path / "run", "--size", "64")
    assert "at least 96 pixels a side; found the size 64" in done.sentence
