"""Linear probes trained from one call, and models judged by their frozen features, beside scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from little_models import brightness_classifier
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from swath.benchmarks.compare import compare
from swath.benchmarks.feature_extractors import extractor, model_extractor
from swath.benchmarks.feature_sets import FeaturePart
from swath.benchmarks.frozen_reports import frozen_reports
from swath.benchmarks.probe_training import PENALTIES, choose_head, embed_parts, setting_for, train_linear_probe
from swath.benchmarks.protocol import evaluate
from swath.benchmarks.registry import parse_protocol_argument
from swath.benchmarks.temperature import CANDIDATES
from swath.datasets.registry import parse_data_argument
from swath.errors import ConfigurationError, DataError
from swath.models.classify.resnet import resnet18
from swath.models.pretrain.image_statistics import image_statistics
from swath.models.store import load_model
from swath.samples.labels import Label
from swath.training.run import open_parts

LEVELS = {"dark": 60, "grey": 90, "light": 120}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 30 chips of 12 x 12 pixels, brighter and brighter, that noise confuses now and then."""
    root = tmp_path_factory.mktemp("levels")
    draws = np.random.default_rng(0)
    for name, level in LEVELS.items():
        (root / name).mkdir()
        for number in range(30):
            values = draws.normal(level, 14, (1, 1, 3)) + draws.normal(0, 25, (12, 12, 3))
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


def features_of(root, records) -> tuple[np.ndarray, np.ndarray]:
    """Means, spreads, maxima and minima of the bands of images that Pillow reads, and their classes."""
    images = np.stack([np.asarray(Image.open(root / record.key)) for record in records]).astype(np.float64)
    flat = images.reshape(len(images), -1, 3)
    found = np.concatenate([flat.mean(1), flat.std(1, ddof=1), flat.max(1), flat.min(1)], axis=1)
    return found, np.array([list(LEVELS).index(record.label) for record in records])


def tempered(shares, temperature):
    raised = shares ** (1 / temperature)
    return raised / raised.sum(1, keepdims=True)


def by_library(learning, held) -> tuple[float, float, LogisticRegression]:
    """Penalty and temperature of the least loss on held-back images, all tried, and the pipeline fitted on all."""
    found = []
    for penalty in PENALTIES:
        library = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=3000)).fit(*learning)
        shares = library.predict_proba(held[0])
        losses = [log_loss(held[1], tempered(shares, t), labels=range(3)) for t in CANDIDATES]
        found.append((min(losses), penalty, CANDIDATES[int(np.argmin(losses))]))
    _, penalty, temperature = min(found)
    both = [np.concatenate(parts) for parts in zip(learning, held, strict=True)]
    return (
        penalty,
        temperature,
        make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=3000)).fit(*both),
    )


def test_penalty_and_temperature_are_those_with_the_likeliest_answers_on_held_back_images(folder, tmp_path):
    argument = parse_data_argument(str(folder))
    trained = train_linear_probe(
        extractor("imagestats"), argument.spec, folder, folder=tmp_path, validation=0.5, seed=1
    )
    parts = open_parts(argument.spec, folder, validation=0.5, seed=1)
    learning, held = (features_of(folder, part.records) for part in parts)
    penalty, temperature, library = by_library(learning, held)
    assert trained.chosen.penalty == penalty
    assert trained.chosen.temperature == pytest.approx(temperature, rel=0.05)
    test = argument.open("test")
    answers = trained.model.predict(trained.model.prepare(list(test)))
    expected = tempered(library.predict_proba(features_of(folder, test.records)[0]), trained.chosen.temperature)
    np.testing.assert_allclose([answer.scores for answer in answers], expected, atol=2e-3)


def test_a_trained_probe_is_a_model_like_any_other_and_tells_how_it_came_about(folder, tmp_path):
    argument = parse_data_argument(str(folder))
    told = []
    trained = train_linear_probe(
        extractor("mosaiks_512_3"),
        argument.spec,
        folder,
        folder=tmp_path,
        size=10,
        progress=lambda done, total: told.append((done, total)),
    )
    stored = load_model(tmp_path / "best")
    assert stored.model.config == trained.model.config
    assert stored.model.config.preparation.size == 10
    assert stored.model.config.output.temperature == trained.chosen.temperature
    assert "mosaiks_512_3" in stored.card.training
    assert "66 images of" in stored.card.training
    assert "6 more, held back (seed 0)" in stored.card.training
    assert trained.chosen.temperature == 1  # six images tell none
    assert told[-1] == (72, 72)
    found, root = parse_protocol_argument(str(folder))
    report = evaluate(stored, replace(found, split="test"), root)
    assert report.figures["accuracy"] > 0.6
    assert report.figures["expected calibration error"] < 0.3


def test_trained_networks_see_their_own_size_and_others_the_images_as_they_are():
    model = resnet18(classes=("unread",))
    assert model_extractor(model, "mine").size == 224
    assert model_extractor(image_statistics(), "statistics").size is None
    with pytest.raises(ConfigurationError, match="'little' gives no embedding"):
        model_extractor(type("Plain", (type(brightness_classifier()),), {})(brightness_classifier().config), "little")


def test_a_class_without_images_to_learn_from_is_told(folder, tmp_path):
    root = tmp_path / "few"
    for name, count in (("dark", 10), ("grey", 10), ("light", 1)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes((folder / name / f"{number:02}.png").read_bytes())
    # The one image is for training by the split, and held back from it by the larger share.
    spec = parse_data_argument(str(root)).spec
    with pytest.raises(DataError, match="no image of light"):
        train_linear_probe(extractor("imagestats"), spec, root, folder=tmp_path, validation=0.7)


def test_the_search_ends_where_weaker_penalties_gain_nothing():
    draws = np.random.default_rng(0)
    truth = draws.integers(0, 2, 120).astype(np.int16)
    features = (truth[:, None] + draws.normal(0, 3, (120, 30))).astype(np.float32)
    parts = [FeaturePart(features=features[rows], truth=truth[rows]) for rows in (slice(0, 60), slice(60, 120))]
    chosen = choose_head(*parts, classes=2)
    assert chosen.penalty > PENALTIES[-1]
    shares = chosen.shares(features, classes=2)
    np.testing.assert_allclose(shares.sum(1), 1)


def test_frozen_features_are_judged_by_neighbours_and_by_the_probe_that_training_makes(folder, tmp_path):
    protocol, root = parse_protocol_argument(str(folder))
    neighbours, probe = frozen_reports(extractor("imagestats"), protocol, root)
    assert (probe.protocol, probe.split, probe.samples) == (f"{folder.name}/frozen-features", "test", 18)
    train, test = (protocol.dataset.open(root, part) for part in ("train", "test"))
    (known, truth), (asked, true) = features_of(root, train.records), features_of(root, test.records)
    library = make_pipeline(StandardScaler(), KNeighborsClassifier(5)).fit(known, truth)
    assert neighbours.figures["accuracy"] == pytest.approx(library.score(asked, true))
    trained = train_linear_probe(extractor("imagestats"), protocol.dataset, root, folder=tmp_path)
    own = evaluate(trained.model, replace(protocol, split="test"), root)
    for figure in ("accuracy", "macro F1", "expected calibration error", "Brier score"):
        assert probe.figures[figure] == pytest.approx(own.figures[figure], abs=1e-4)
    table = compare(neighbours, probe)
    assert table.names == ("imagestats, 5 nearest neighbours", "imagestats, linear probe")
    assert table.models[0].figures["accuracy"].interval.low < neighbours.figures["accuracy"]


def test_frozen_features_of_images_with_several_classes_are_refused(folder, monkeypatch):
    protocol, root = parse_protocol_argument(str(folder))
    layout = type(protocol.dataset.layout)
    monkeypatch.setattr(layout, "target", lambda own, record, pixels, classes: Label.of(["dark"], classes, pixels.size))
    with pytest.raises(DataError, match="have several"):
        frozen_reports(extractor("imagestats"), protocol, root)


def test_a_limit_keeps_so_many_images_of_each_part(folder):
    protocol, root = parse_protocol_argument(str(folder))
    report, _ = frozen_reports(extractor("imagestats"), protocol, root, limit=12, validation=0.25)
    assert (report.samples, report.available) == (12, 18)


def test_parts_are_embedded_one_after_another_in_order(folder):
    spec = parse_data_argument(str(folder)).spec
    parts = open_parts(spec, folder, validation=0.3)
    setting = setting_for(extractor("imagestats"), spec, parts.learning)
    first, second = embed_parts(setting, parts)
    np.testing.assert_allclose(first.features, features_of(folder, parts.learning.records)[0], rtol=1e-4)
    np.testing.assert_allclose(second.features, features_of(folder, parts.validation.records)[0], rtol=1e-4)
