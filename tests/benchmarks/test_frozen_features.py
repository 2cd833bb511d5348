"""Frozen features end to end: a grid on a small data set, beside numpy and scikit-learn, and probes as models."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from little_models import brightness_classifier
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from swath.benchmarks import feature_extractors
from swath.benchmarks.feature_extractors import (
    extractor,
    model_extractor,
    pretrained_resnet50,
    repeated_stem,
)
from swath.benchmarks.feature_readings import RGB, Reading
from swath.benchmarks.feature_sets import FeaturePart, FeatureSet, Scaler, embed_folder, embed_part
from swath.benchmarks.feature_table import FeatureRow, FeatureTable, RunSettings, Spread
from swath.benchmarks.frozen_features import (
    FrozenFeatureProtocol,
    compare_frozen_features,
    figures_of,
    linear_probe_of,
    settings_of,
)
from swath.benchmarks.linear_probing import LinearHead
from swath.benchmarks.protocol import evaluate
from swath.benchmarks.registry import parse_protocol_argument
from swath.datasets.registry import dataset, parse_data_argument
from swath.errors import ConfigurationError, DataError, ImageryNotFound, WeightsMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.imagery.pixels import Pixels
from swath.models.classify.resnet import ResNetClassifier, ResNetConfig
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.pretrain.image_statistics import image_statistics
from swath.models.pretrain.preparation import Preparation
from swath.models.store import load_model, save_model
from swath.samples.labels import Label
from swath.samples.sample import Sample
from swath.samples.vectors import Points

DATA = Path(__file__).parents[1] / "data"
LEVELS = {"dark": 60, "grey": 90, "light": 120}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 20 chips of 12 x 12 pixels, brighter and brighter, that noise confuses now and then."""
    root = tmp_path_factory.mktemp("levels")
    draws = np.random.default_rng(0)
    for name, level in LEVELS.items():
        (root / name).mkdir()
        for number in range(20):
            values = draws.normal(level, 14, (1, 1, 3)) + draws.normal(0, 25, (12, 12, 3))
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


def protocol(folder, **changes) -> FrozenFeatureProtocol:
    return replace(FrozenFeatureProtocol(dataset=parse_data_argument(str(folder)).spec), **changes)


def read(folder, part) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 12, 12, 3) and class numbers of a part, read by Pillow."""
    keys = [record.key for record in parse_data_argument(str(folder)).open(part).records]
    images = np.stack([np.asarray(Image.open(folder / key)) for key in keys]).astype(np.float64)
    return images, np.array([list(LEVELS).index(key.partition("/")[0]) for key in keys])


def by_hand(images) -> np.ndarray:
    flat = images.reshape(len(images), -1, 3)
    return np.concatenate([flat.mean(1), flat.std(1, ddof=1), flat.max(1), flat.min(1)], axis=1)


def test_the_grid_equals_numpy_and_scikit_learn(folder):
    table = compare_frozen_features(
        protocol(folder, scalers=(True, False), classifiers=("neighbours", "linear")),
        [extractor("imagestats")],
        folder,
        batch_size=7,
    )
    (train, truth), (test, true) = read(folder, "train"), read(folder, "test")
    expected = []
    for scaler in ((StandardScaler(),), ()):
        for classifier in (KNeighborsClassifier(5), LogisticRegression(max_iter=3000)):
            expected.append(make_pipeline(*scaler, classifier).fit(by_hand(train), truth).score(by_hand(test), true))
    assert [row.figures["accuracy"] for row in table.rows] == pytest.approx(expected)
    assert 0.5 < min(expected) < 1
    settings = [(row.settings.scaler, row.settings.classifier) for row in table.rows]
    assert settings == [(True, "neighbours"), (True, "linear"), (False, "neighbours"), (False, "linear")]
    assert {row.settings.features for row in table.rows} == {12}


def test_every_size_and_normalisation_is_run_under_every_seed(folder):
    kept = []
    table = compare_frozen_features(
        protocol(folder, sizes=(None, 16), normalisations=("divide", "standardization"), seeds=(0, 42, 2023), limit=15),
        [extractor("imagestats"), extractor("mosaiks_512_3"), extractor("mosaiks_zca_512_3")],
        folder,
        cached=True,
        keep=kept.append,
    )
    groups = table.groups()
    assert [len(group.rows) for group in groups] == [1] * 4 + [3] * 8
    assert len(kept) == len(table.rows) == 28
    assert {tuple(map(len, (each.features.train, each.features.test))) for each in kept} == {(15, 12)}
    assert [row.seed for row in groups[4].rows] == [0, 42, 2023]
    again = next(settings_of(protocol(folder, seeds=(42,)), extractor("mosaiks_512_3"), [])).model
    same = next(each.setting.model for each in kept if each.setting.seed == 42)
    assert torch.equal(again.network.weights, same.network.weights)


def test_zca_filters_come_from_raw_training_images_however_these_are_shown(folder):
    train = parse_data_argument(str(folder)).open("train")
    chosen = protocol(folder, sizes=(None, 20), normalisations=("raw", "divide"), seeds=(3,))
    filters = [s.model.network.weights for s in settings_of(chosen, extractor("mosaiks_zca_512_3"), train)]
    assert len(filters) == 4
    draws, (images, _) = np.random.default_rng(3), read(folder, "train")
    which, y, x = draws.integers(0, len(images)), draws.integers(0, 9), draws.integers(0, 9)
    first = torch.from_numpy(images[which, y : y + 3, x : x + 3].transpose(2, 0, 1)).float().flatten()
    # Whitening turns a patch, but leaves it nearer to itself than to others.
    likeness = torch.corrcoef(torch.stack([first, filters[0][0].flatten()]))[0, 1]
    assert likeness > 0.3
    assert all(torch.equal(each, filters[0]) for each in filters)


def test_both_orders_give_the_same_features_unless_values_are_clipped():
    spec = replace(dataset("eurosat"), unit=Unit.DN, name="made-up")
    draws = np.random.default_rng(0)
    train = [
        Sample(
            key=str(n),
            images={"image": Pixels.from_array(draws.integers(0, 6000, (3, 12, 12)), spec.file_bands, spec.unit)},
            target=Label.of(spec.classes[n % 3], spec.classes, Size(12, 12)),
        )
        for n in range(6)
    ]

    def features(name, order):
        chosen = FrozenFeatureProtocol(dataset=spec, sizes=(20,), normalisations=(name,), order=order)
        return next(settings_of(chosen, extractor("mosaiks_512_3"), train)).embed(train).features

    affine, clipped = (
        np.abs(features(name, "resize first") - features(name, "normalise first")).max()
        for name in ("standardization", "for_seco")
    )
    assert affine < 1e-4
    assert clipped > 1e-2


def test_real_chips_find_themselves():
    """30 chips of EuroSAT: each is its own nearest neighbour, and of the four next ones some are of another class."""
    chosen = FrozenFeatureProtocol(
        dataset=dataset("eurosat"), train="all", test="all", neighbours=1, seeds=(0,), sizes=(None,)
    )
    names = ("imagestats", "mosaiks_512_3", "mosaiks_zca_512_3")
    table = compare_frozen_features(chosen, [extractor(name) for name in names], DATA / "eurosat_rgb")
    assert [row.figures["accuracy"] for row in table.rows] == [1, 1, 1]
    assert [row.published for row in table.rows] == [0.7694, 0.7885, 0.8147]
    five = compare_frozen_features(replace(chosen, neighbours=5), [extractor("imagestats")], DATA / "eurosat_rgb")
    assert 0.3 < five.rows[0].figures["accuracy"] < 1


def test_several_labels_an_image_are_measured_by_average_precision():
    draws = np.random.default_rng(0)
    train, test = (
        FeaturePart(features=draws.normal(size=(n, 4)).astype(np.float32), truth=draws.integers(0, 2, (n, 3), np.int16))
        for n in (60, 40)
    )
    figures = figures_of(FeatureSet(train=train, test=test), "neighbours", classes=3)
    pairs = KNeighborsClassifier(5).fit(train.features, train.truth).predict_proba(test.features)
    scores = np.stack([pair[:, 1] for pair in pairs], 1)
    for average in ("micro", "macro", "weighted"):
        expected = average_precision_score(test.truth, scores, average=average)
        assert figures[f"{average} mAP"] == pytest.approx(expected)
    assert "accuracy" not in figures
    with pytest.raises(DataError, match="exclusive classes"):
        figures_of(FeatureSet(train=train, test=test), "linear", classes=3)


def test_truths_are_read_from_labels():
    classes, size = ("a", "b", "c"), Size(4, 4)
    spec = replace(dataset("eurosat"), classes=classes)

    def part(targets):
        pixels = Pixels.from_array(np.zeros((3, 4, 4), np.uint8), spec.file_bands, spec.unit)
        samples = [Sample(key="x", images={"image": pixels}, target=target) for target in targets]
        return embed_part(image_statistics(), samples, Reading.of(spec), Preparation())

    exclusive = part([Label.of(name, classes, size) for name in "cab"])
    assert (exclusive.truth.tolist(), exclusive.truth.dtype, exclusive.exclusive) == ([2, 0, 1], np.int16, True)
    several = part([Label.of(names, classes, size) for names in (["a", "c"], [])])
    assert (several.truth.tolist(), several.exclusive) == ([[1, 0, 1], [0, 0, 0]], False)
    with pytest.raises(DataError, match="'x' has no label"):
        part([Points.of([], classes=("a",), height=4, width=4)])
    with pytest.raises(DataError, match="no image to embed"):
        part([])


def test_the_scaler_is_fitted_on_the_training_part_alone():
    draws = np.random.default_rng(0)
    features = [draws.normal(mean, 3, (50, 4)).astype(np.float32) for mean in (5, 6)]
    for part in features:
        part[:, 3] = 0.1
    library = StandardScaler().fit(features[0])
    parts = [FeaturePart(features=each, truth=np.zeros(50, np.int16)) for each in features]
    scaled = FeatureSet(train=parts[0], test=parts[1]).scaled()
    for part, each in ((scaled.train, features[0]), (scaled.test, features[1])):
        np.testing.assert_allclose(part.features, library.transform(each), atol=1e-5)
    assert np.abs(scaled.train.features.mean(0)).max() < 1e-5
    assert (scaled.test.features[:, :3].mean(0) > 0.1).all()
    assert Scaler.fit(features[0]).spread[3] == 1


def test_feature_files_hold_the_published_arrays(tmp_path):
    parts = [FeaturePart(features=np.full((n, 2), n, np.float32), truth=np.arange(n, dtype=np.int16)) for n in (3, 2)]
    file = FeatureSet(train=parts[0], test=parts[1]).save(tmp_path / "imagestats")
    with np.load(file) as stored:
        assert list(stored) == ["x_train", "y_train", "x_test", "y_test"]
        assert stored["y_test"].dtype == np.int16
        assert stored["x_train"].dtype == np.float32
    loaded = FeatureSet.load(file)
    assert np.array_equal(loaded.test.features, parts[1].features)
    assert np.array_equal(loaded.train.truth, parts[0].truth)
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(DataError, match="not a feature file"):
        FeatureSet.load(tmp_path / "other.npz")
    with pytest.raises(ImageryNotFound, match="no feature file"):
        FeatureSet.load(tmp_path / "none.npz")
    with pytest.raises(DataError, match="3 feature vectors need as many truths; found 2"):
        FeaturePart(features=np.zeros((3, 1), np.float32), truth=np.zeros(2, np.int16))


def test_the_images_of_a_folder_are_embedded_by_name(folder, tmp_path):
    spec = InputSpec(bands=RGB, unit=Unit.EIGHT_BIT, mean=(10.0,), std=(2.0,))
    file = embed_folder(image_statistics(input=spec), "imagestats", folder / "grey", tmp_path / "out", batch_size=6)
    assert file == tmp_path / "out" / "imagestats_features.npy"
    images = np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "grey").glob("*.png"))])
    np.testing.assert_allclose(np.load(file), by_hand((images.astype(np.float64) - 10) / 2), rtol=1e-4)
    with pytest.raises(DataError, match="holds no image"):
        embed_folder(image_statistics(), "x", tmp_path / "out", tmp_path)


def test_a_share_of_the_training_part_keeps_every_class():
    part = FeaturePart(
        features=np.arange(110, dtype=np.float32)[:, None], truth=np.array([0] * 100 + [1] * 10, np.int16)
    )
    tenth = part.share(0.1)
    assert np.bincount(tenth.truth).tolist() == [10, 1]
    assert np.bincount(part.share(0.005).truth).tolist() == [1, 1]
    assert np.array_equal(tenth.features[:, 0].astype(int) >= 100, tenth.truth == 1)
    assert not np.array_equal(part.share(0.1, seed=1).features, tenth.features)
    assert part.share(1.0) is part


def test_a_learning_curve_is_a_row_a_share(folder):
    chosen = protocol(folder, train_shares=(0.2, 1.0), classifiers=("linear", "linear without penalty"))
    table = compare_frozen_features(chosen, [extractor("imagestats")], folder)
    assert [row.settings.train_share for row in table.rows] == [0.2, 0.2, 1, 1]
    (train, truth), (test, true) = read(folder, "train"), read(folder, "test")
    library = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf, max_iter=3000))
    assert table.rows[3].figures["accuracy"] == library.fit(by_hand(train), truth).score(by_hand(test), true)


def test_a_probe_is_a_model_that_is_evaluated_like_any_other(folder, tmp_path):
    chosen = protocol(folder, sizes=(16,), classifiers=("linear",), seeds=(1,))
    train = parse_data_argument(str(folder)).open("train")
    probe = linear_probe_of(chosen, extractor("mosaiks_zca_512_3"), train)
    stored = load_model(save_model(probe, tmp_path / "probe"))
    found, root = parse_protocol_argument(str(folder))
    report = evaluate(stored, replace(found, split="test"), root)
    table = compare_frozen_features(chosen, [extractor("mosaiks_zca_512_3")], folder)
    assert report.figures["accuracy"] == pytest.approx(table.rows[0].figures["accuracy"])
    assert report.model == "probe"
    assert stored.model.inputs["image"].window == 12


def test_a_probes_probabilities_are_those_of_scikit_learn(folder):
    part = parse_data_argument(str(folder))
    probe = linear_probe_of(protocol(folder), extractor("imagestats"), part.open("train"))
    (train, truth), (test, _) = read(folder, "train"), read(folder, "test")
    library = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)).fit(by_hand(train), truth)
    answers = probe.predict(probe.prepare(list(part.open("test"))))
    found = np.stack([answer.scores for answer in answers])
    np.testing.assert_allclose(found, library.predict_proba(by_hand(test)), atol=1e-3)
    assert probe.classes == tuple(LEVELS)


def test_two_classes_have_two_rows_of_weights():
    draws = np.random.default_rng(0)
    part = FeaturePart(features=draws.normal(size=(40, 3)).astype(np.float32), truth=draws.integers(0, 2, 40, np.int16))
    head = LinearHead.fit(part)
    library = LogisticRegression(max_iter=3000).fit(part.features, part.truth)
    assert head.weights.shape == (2, 3)
    assert np.array_equal(head.predict(part.features), library.predict(part.features))
    with pytest.raises(DataError, match="has one"):
        LinearHead.fit(FeaturePart(features=part.features, truth=np.zeros(40, np.int16)))


def test_a_probe_needs_one_setting_and_some_images_of_each_class(folder):
    train = parse_data_argument(str(folder)).open("train")
    with pytest.raises(ConfigurationError, match="one setting"):
        linear_probe_of(protocol(folder, sizes=(None, 16)), extractor("imagestats"), train)
    with pytest.raises(DataError, match="no image of light"):
        linear_probe_of(protocol(folder), extractor("imagestats"), train.select(range(20)))


def small_resnet(*, classes, input):
    return ResNetClassifier(
        ResNetConfig(
            input=input,
            output=ClassificationOutput(classes=classes),
            blocks=(1, 1, 1, 1),
            widths=(4, 4, 8, 8),
            bottleneck=True,
        )
    )


def test_any_model_with_an_embedding_joins_under_its_own_normalisation(folder):
    spec = InputSpec(bands=RGB, unit=Unit.EIGHT_BIT, mean=(100.0, 90.0, 80.0), std=(50.0,))
    model = small_resnet(classes=("unread",), input=spec).eval()
    test = parse_data_argument(str(folder)).open("test")
    setting = next(settings_of(protocol(folder), model_extractor(model, "mine"), test))
    with torch.inference_mode():
        expected = model.embed(model.prepare(list(test))).numpy()
    np.testing.assert_allclose(setting.embed(test).features, expected, rtol=1e-4, atol=1e-5)
    table = compare_frozen_features(protocol(folder, sizes=(32,)), [model_extractor(model, "mine")], folder)
    assert (table.rows[0].settings.model, table.rows[0].settings.features) == ("mine", 32)
    with pytest.raises(ConfigurationError, match="gives no embedding"):
        compare_frozen_features(protocol(folder), [model_extractor(brightness_classifier(), "little")], folder)


def test_random_resnets_follow_their_seed_and_start_as_shortcuts(folder, monkeypatch):
    monkeypatch.setattr(feature_extractors, "resnet50", small_resnet)
    chosen = protocol(folder, seeds=(0, 0, 1))
    one, two, other = (s.model for s in settings_of(chosen, extractor("resnet50_randominit"), []))
    assert torch.equal(one.network.conv1.weight, two.network.conv1.weight)
    assert not torch.equal(one.network.conv1.weight, other.network.conv1.weight)
    assert not one.network.layer1[0].bn3.weight.any()
    assert one.network.layer1[0].bn1.weight.all()


def test_pretrained_weights_are_loaded_without_their_head_and_spread_over_more_bands(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_extractors, "resnet50", small_resnet)
    three = InputSpec(bands=RGB, unit=Unit.EIGHT_BIT)
    source = small_resnet(classes=tuple("abcdef"), input=three).network
    torch.save(source.state_dict(), tmp_path / "imagenet.pth")
    thirteen = InputSpec(bands=tuple(f"band {n}" for n in range(13)), unit=Unit.DN)
    build = pretrained_resnet50(tmp_path / "imagenet.pth", "resnet50_pretrained_imagenet").build
    for spec in (three, thirteen):
        network = build(spec, [], None).network
        assert torch.equal(network.layer4[0].conv3.weight, source.layer4[0].conv3.weight)
        assert torch.equal(network.bn1.running_var, source.bn1.running_var)
    grey = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        answers = [
            build(spec, [], None).network.conv1(grey.expand(1, spec.channels, 32, 32))
            for spec in (three, InputSpec(bands=tuple("abcdef"), unit=Unit.DN))
        ]
    # Twice three bands of half the weight: grey images look the same.
    torch.testing.assert_close(*answers)
    torch.save({"conv1.weight": torch.zeros(4, 3, 7, 7)}, tmp_path / "part.pth")
    with pytest.raises(WeightsMismatch, match="does not hold a ResNet-50"):
        pretrained_resnet50(tmp_path / "part.pth", "x").build(three, [], None)


def test_the_stem_repeats_red_green_blue_red():
    spread = repeated_stem(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1), 13)
    assert spread.flatten().tolist() == pytest.approx([v * 3 / 13 for v in [1, 2, 3] * 4 + [1]])


def row(seed, accuracy, **changes) -> FeatureRow:
    settings = RunSettings(
        data="d",
        bands="red green blue",
        model="mosaiks_512_3",
        features=512,
        size=224,
        normalisation="divide",
        order="resize first",
        scaler=True,
        classifier="neighbours",
    )
    return FeatureRow(settings=replace(settings, **changes), seed=seed, figures={"accuracy": accuracy}, published=0.769)


def test_figures_over_seeds_have_a_mean_and_both_standard_deviations():
    values = [0.7, 0.75, 0.71]
    table = FeatureTable(
        rows=tuple(row(seed, value) for seed, value in zip((0, 42, 2023), values, strict=True)), headline="accuracy"
    )
    assert "72.00 ± 2.65  3      76.90" in table.to_text().splitlines()[1]
    assert "sample standard deviation (n - 1)" in table.to_text()
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [line["seed"] for line in lines] == ["0", "42", "2023", "mean", "population std", "sample std"]
    found = [float(line["accuracy"]) for line in lines]
    assert found == pytest.approx([*values, np.mean(values), np.std(values), np.std(values, ddof=1)], abs=1e-6)
    assert (lines[0]["size"], lines[0]["scaler"], lines[0]["published"], lines[0]["micro mAP"]) == (
        *("224", "yes"),
        *("0.7690", ""),
    )
    assert np.isnan(Spread.of([0.5]).sample)


def test_the_best_is_chosen_over_normalisation_order_and_scaler_by_the_mean():
    rows = (
        *(row(seed, value) for seed, value in ((0, 0.9), (1, 0.1))),
        *(row(seed, 0.6, normalisation="minmax") for seed in (0, 1)),
        row(None, 0.3, model="imagestats"),
        row(None, 0.4, model="imagestats", scaler=False),
        row(None, 0.2, model="imagestats", size=None),
    )
    best = FeatureTable(rows=rows, headline="accuracy").best()
    assert [(r.settings.model, r.settings.size, r.figures["accuracy"]) for r in best.rows] == [
        ("mosaiks_512_3", 224, 0.6),
        ("mosaiks_512_3", 224, 0.6),
        ("imagestats", 224, 0.4),
        ("imagestats", None, 0.2),
    ]


def test_protocols_of_the_study_state_its_switches():
    bigearthnet = FrozenFeatureProtocol.of_study(dataset("bigearthnet-s2"))
    assert (bigearthnet.sizes, bigearthnet.order, bigearthnet.padding) == ((120, 224), "resize first", "published")
    assert bigearthnet.seeds == (0, 42, 2023)
    rgb = FrozenFeatureProtocol.of_study(dataset("eurosat-msi"), bands=RGB)
    assert (rgb.sizes, rgb.order, rgb.bands) == ((64, 224), "normalise first", RGB)
    with pytest.raises(DataError, match="no figures"):
        FrozenFeatureProtocol.of_study(dataset("aid"))


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(DataError, match="no feature extractor 'resnet'"):
        extractor("resnet")
    with pytest.raises(ConfigurationError, match="nothing to compare"):
        compare_frozen_features(protocol(folder), [], folder)
