"""Evaluation: models of known answers give known figures, whatever the batch, tile or size."""

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from little_models import brightness_classifier, brightness_segmenter
from PIL import Image
from sklearn.metrics import jaccard_score

from swath.benchmarks.predictors import ModelPredictor, pad_to_fit, weights_hash
from swath.benchmarks.preparation import ResizeShortEdge
from swath.benchmarks.protocol import evaluate
from swath.benchmarks.registry import parse_protocol_argument, protocol, protocols
from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
from swath.datasets.spec import ALL, DatasetSpec
from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size
from swath.models.inputs import imagenet_rgb
from swath.models.store import load_model, save_model

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def shades(tmp_path_factory):
    """A folder of two classes of chips: 6 bright and 4 dark, of which one bright one is dark in truth."""
    folder = tmp_path_factory.mktemp("shades")
    generator = np.random.default_rng(0)
    for name, levels in (("bright", [200] * 5 + [60]), ("Dark", [40] * 4)):
        (folder / name).mkdir()
        for number, level in enumerate(levels):
            values = level + generator.integers(-20, 20, (20, 24, 3))
            Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def buildings(tmp_path):
    """Two test images of 70 x 90 pixels: noise whose bright pixels are buildings, except in a strip of the first."""
    generator = np.random.default_rng(1)
    for number in range(2):
        values = generator.integers(0, 256, (70, 90), dtype=np.uint8)
        mask = np.where(values > 127, 255, 0).astype(np.uint8)
        if number == 0:
            mask[:7] = 0
        for folder, array in (("sat", values), ("map", mask)):
            (tmp_path / "test" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.stack([array] * 3, 2)).save(tmp_path / "test" / folder / f"{number}.tif")
    return tmp_path


def test_a_folder_is_measured_by_class_name_and_the_figures_are_right(shades):
    model = brightness_classifier(classes=("bright", "dark"))
    report = evaluate(model, *parse_protocol_argument(str(shades)))
    assert report.figures["accuracy"] == 0.9
    assert report.figures["F1 (class bright)"] == pytest.approx(2 * 5 / 11)
    assert report.figures["F1 (class Dark)"] == pytest.approx(2 * 4 / 9)
    assert report.headline == 0.9
    assert (report.samples, report.available, report.split) == (10, 10, "all")


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_and_progress_do_not_change_the_figures(shades, batch_size):
    told = []
    found, root = parse_protocol_argument(str(shades))
    report = evaluate(brightness_classifier(), found, root, batch_size=batch_size, progress=lambda *n: told.append(n))
    assert report.figures["accuracy"] == 0.9
    assert told == [(number, 10) for number in range(1, 11)]


def test_a_limit_takes_evenly_spaced_samples(shades):
    found, root = parse_protocol_argument(str(shades))
    report = evaluate(brightness_classifier(), found, root, limit=2)
    assert (report.samples, report.available) == (2, 10)
    # The first sample is dark and right, the last one is the bright one that looks dark.
    assert (report.figures["F1 (class Dark)"], report.figures["F1 (class bright)"]) == (pytest.approx(2 / 3), 0)
    with pytest.raises(ConfigurationError, match="limit=0"):
        evaluate(brightness_classifier(), found, root, limit=0)


def test_a_model_without_the_classes_of_the_data_is_refused(shades):
    found, root = parse_protocol_argument(str(shades))
    with pytest.raises(DataError, match="does not know the class Dark"):
        evaluate(brightness_classifier(classes=("bright", "grey")), found, root)


def test_a_model_with_more_classes_than_the_data_is_measured_on_those_of_the_data(shades):
    model = brightness_classifier(classes=("bright", "dark", "grey"))
    model.network.forward = dark_or_grey
    report = evaluate(model, *parse_protocol_argument(str(shades)))
    assert report.figures["accuracy"] == 0.4
    assert "F1 (class grey)" not in report.figures


def dark_or_grey(image):
    """Say `dark` for dark images and `grey` for all others."""
    dark = image.mean((1, 2, 3)) < -0.6
    return torch.stack([torch.zeros(len(image)), dark * 9.0, ~dark * 9.0], 1)


def test_tiles_and_padding_measure_every_pixel_once(buildings):
    tiled = replace(protocol("massachusetts/tiles-256"), tile=32)
    whole = replace(tiled, tile=None)
    model = brightness_segmenter(multiple_of=32)
    reports = [evaluate(model, each, buildings, batch_size=5) for each in (tiled, whole)]
    wrong = buildings_wrong(buildings)
    for report in reports:
        assert report.figures["overall accuracy"] == pytest.approx(1 - wrong / (2 * 70 * 90), abs=1e-12)
        assert report.figures["recall (class building)"] == 1
    assert reports[0].samples == 2
    assert {shape[2:] for shape in model.seen} == {(32, 32), (96, 96)}


def buildings_wrong(root) -> int:
    image = np.asarray(Image.open(root / "test" / "sat" / "0.tif"))[:7, :, 0]
    return int((image > 127).sum())


def test_whole_images_are_measured_at_256_pixels(buildings):
    model = brightness_segmenter(multiple_of=32)
    report = evaluate(model, protocol("massachusetts/whole-256"), buildings)
    assert model.seen == [(2, 3, 256, 256)]
    said, true = [], []
    for number in range(2):
        image, mask = (Image.open(buildings / "test" / kind / f"{number}.tif") for kind in ("sat", "map"))
        said.append(np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR))[:, :, 0] > 127)
        true.append(np.asarray(mask.resize((256, 256), Image.Resampling.NEAREST))[:, :, 0] > 127)
    expected = jaccard_score(np.ravel(true), np.ravel(said))
    assert report.figures["IoU (class building)"] == pytest.approx(expected, abs=1e-3)


def test_a_model_of_one_size_sees_resized_images_and_answers_on_theirs(buildings):
    model = brightness_segmenter(window=64, fixed_size=True)
    sample = MASSACHUSETTS_BUILDINGS.open(buildings, "test")[0]
    answer = ModelPredictor.of(model).predict([sample])[0]
    assert model.seen == [(1, 3, 64, 64)]
    assert answer.size == sample.size


def test_samples_of_several_sizes_are_predicted_in_order(shades):
    for number, (height, width) in enumerate([(8, 8), (40, 8)]):
        Image.fromarray(np.full((height, width, 3), 250, np.uint8)).save(shades / "bright" / f"x{number}.png")
    report = evaluate(brightness_classifier(multiple_of=16), *parse_protocol_argument(str(shades)))
    assert report.figures["accuracy"] == pytest.approx(11 / 12)


def test_reflection_padding_equals_the_definition(buildings):
    sample = MASSACHUSETTS_BUILDINGS.open(buildings, "test")[0]
    padded = pad_to_fit(sample, spec(multiple_of=32)).images["image"]
    values = sample.images["image"].values
    assert padded.size == Size(96, 96) == padded.grid.size
    assert (padded.values[:, :70, :90] == values).all()
    assert (padded.values[:, 70, :90] == values[:, 68]).all()
    assert (padded.values[:, :70, 91] == values[:, :, 87]).all()
    assert pad_to_fit(sample, spec(multiple_of=10)) is sample
    assert pad_to_fit(sample, spec(square=True)).size == Size(90, 90)
    assert pad_to_fit(sample, spec(minimum=200, multiple_of=32)).size == Size(224, 224)
    assert pad_to_fit(sample, spec(multiple_of=32), spec(multiple_of=48, square=True)).size == Size(96, 96)


def spec(**options):
    return imagenet_rgb(**{"window": 256, **options})


def test_the_hash_follows_the_weights_and_saved_models_keep_their_name(tmp_path, shades):
    model, other = brightness_classifier(), brightness_classifier()
    assert weights_hash(model) == weights_hash(other)
    other.network.gain.data += 1
    assert weights_hash(model) != weights_hash(other)
    stored = load_model(save_model(model, tmp_path / "shade-model"), model_class=type(model))
    report = evaluate(stored, *parse_protocol_argument(str(shades)))
    assert (report.model, report.fingerprint) == ("shade-model", stored.sha256)


def test_reports_are_json_and_text(shades):
    report = evaluate(brightness_classifier(), *parse_protocol_argument(str(shades)))
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["figures"]["accuracy"] == 0.9
    assert document["weights"] == report.fingerprint
    low, high = document["intervals"]["accuracy"]
    assert 0.5 <= low <= 0.9 <= high <= 1
    lines = report.to_text().splitlines()
    assert lines[1].startswith("10 of 10 all samples")
    assert lines[2].split()[:2] == ["accuracy", "0.9000"]
    nothing = replace(report, figures={"accuracy": math.nan}, intervals={})
    assert nothing.to_json()["figures"]["accuracy"] is None
    assert nothing.to_text().splitlines()[2].split() == ["accuracy", "-"]


def test_the_shorter_edge_keeps_the_aspect():
    assert ResizeShortEdge(256).size_of(Size(600, 600)) == Size(256, 256)
    assert ResizeShortEdge(100).size_of(Size(40, 60)) == Size(100, 150)


def test_every_protocol_names_a_headline_its_metric_gives():
    assert len(protocols()) == 61
    for each in protocols():
        assert protocol(each.name) is each
        assert isinstance(each.dataset, DatasetSpec)
        with contextlib.suppress(DataError):  # lists of files lie beside the data, which are not here
            assert each.split in (ALL, *each.dataset.splits.parts([], Path()))
        figures = {
            "accuracy", "macro F1", "F1 (6 m)", "mean IoU", "macro mAP", "SeK", "F1 (class changed)"
        }  # fmt: skip
        assert each.watch in figures
    with pytest.raises(DataError, match="did you mean urban-trees/f1-6m"):
        protocol("urban-trees/f1")


def test_arguments_of_the_command_line(shades):
    found, root = parse_protocol_argument("massachusetts/tiles-256=somewhere/else")
    assert (found.tile, root) == (256, Path("somewhere/else"))
    assert parse_protocol_argument("eurosat=x").protocol.name == "eurosat/accuracy-20%"
    assert parse_protocol_argument(str(shades)).protocol.dataset.classes == ("Dark", "bright")
    with pytest.raises(DataError, match="names no folder"):
        parse_protocol_argument("urban-trees/f1-6m=")
