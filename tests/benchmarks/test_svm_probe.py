"""Linear SVM probes and handcrafted features against hand-worked cases and scikit-learn itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from sklearn.svm import LinearSVC

from swath.benchmarks.handcrafted import ColourHistogram, Gist, LocalBinaryPatterns
from swath.benchmarks.svm_probe import (
    ModelFeatures,
    RepeatedAccuracy,
    SvmProbe,
    extract_all,
    finetune_recipe,
    probe_repeatedly,
    row_shares,
)
from swath.benchmarks.visual_words import BagOfWords, LocalDescriptors, dense_sift
from swath.datasets.scenes import NWPU_RESISC45, NWPU_RESISC45_TORCHGEO, folder_dataset
from swath.errors import ConfigurationError, DataError, ShapeError, UnitMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.metrics.confusion import ConfusionMatrix, count_pairs
from swath.models.classify.resnet import resnet18
from swath.models.inputs import InputSpec
from swath.samples.labels import Label
from swath.samples.sample import Sample
from swath.training.layers import layer_scales

BANDS = tuple(Band(name=role, role=role) for role in ("red", "green", "blue"))
CLASSES = ("red", "green", "blue")


def sample(values: np.ndarray, name: str = "red", key: str = "a", classes=CLASSES) -> Sample:
    pixels = Pixels.from_array(values.astype(np.uint8), BANDS, Unit.EIGHT_BIT)
    return Sample(key=key, images={"image": pixels}, target=Label.of(name, classes, pixels.size))


def tinted(count: int, seed: int = 0) -> list[Sample]:
    """Noise in which one colour is brighter: that colour is the class."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        values = generator.integers(0, 120, (3, 16, 16))
        values[number % 3] += 100
        found.append(sample(values, CLASSES[number % 3], key=str(number)))
    return found


def texture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_a_histogram_of_a_constant_image_has_three_bins():
    values = np.broadcast_to(np.array([10, 100, 255], np.uint8), (8, 8, 3))
    found = ColourHistogram().describe(values)
    assert found.shape == (96,)
    assert np.flatnonzero(found).tolist() == [10 // 8, 32 + 100 // 8, 64 + 31]
    assert found[found > 0].tolist() == [1.0, 1.0, 1.0]


def test_a_histogram_equals_that_of_numpy():
    image = texture(9, 7, 3)
    expected = [np.histogram(image[..., band], bins=32, range=(0, 256))[0] / 63 for band in range(3)]
    np.testing.assert_allclose(ColourHistogram(32).describe(image), np.concatenate(expected))


def test_binary_patterns_equal_a_loop_over_pixels():
    image = texture(12, 10, 3)
    brightness = image @ np.array([0.299, 0.587, 0.114])
    uniform = [c for c in range(256) if sum(((c >> b) & 1) != ((c >> (b + 1) % 8) & 1) for b in range(8)) <= 2]
    assert len(uniform) == 58
    expected = np.zeros(59)
    round_it = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    for row in range(1, 11):
        for column in range(1, 9):
            code = sum(
                int(brightness[row + i, column + j] >= brightness[row, column]) << bit
                for bit, (i, j) in enumerate(round_it)
            )
            expected[uniform.index(code) if code in uniform else 58] += 1
    np.testing.assert_allclose(LocalBinaryPatterns().describe(image), expected / 80)


def waves(direction: float, frequency: float, side: int = 128) -> np.ndarray:
    """A grating whose brightness changes along `direction` (radians from right, clockwise on the screen)."""
    y, x = np.mgrid[:side, :side]
    wave = np.sin(2 * np.pi * frequency * (x * np.cos(direction) + y * np.sin(direction)))
    return np.repeat((127.5 + 100 * wave)[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("scale", range(4))
def test_gist_of_a_grating_is_strongest_at_its_scale_and_direction(scale):
    for direction in (0, 2, 5):
        found = Gist().describe(waves(-np.pi * direction / 8, 0.3 / 1.85**scale)).reshape(4, 8, 4, 4)
        means = found.mean((2, 3))
        assert np.unravel_index(means.argmax(), means.shape) == (scale, direction)
        assert found.size == 512


def test_gist_of_nothing_is_nothing_and_cells_are_in_their_places():
    assert Gist().describe(np.full((40, 40, 3), 90, np.uint8)).max() < 1e-6
    image = np.full((128, 128, 3), 128, np.uint8)
    image[:32, 96:] = waves(0.0, 0.3)[:32, 96:]
    cells = Gist().describe(image).reshape(32, 4, 4).sum(0)
    assert np.unravel_index(cells.argmax(), cells.shape) == (0, 3)


def test_features_of_other_units_are_refused():
    pixels = Pixels.from_array(np.zeros((3, 16, 16), np.float32), BANDS, Unit.REFLECTANCE)
    with pytest.raises(UnitMismatch, match="'x' is in reflectance"):
        ColourHistogram().extract([Sample(key="x", images={"image": pixels})])


def test_descriptors_of_an_edge_point_across_it():
    """A step from dark on the left to bright on the right: gradients to the right alone, in the cells beside it."""
    brightness = np.zeros((16, 16))
    brightness[:, 8:] = 100.0
    found = dense_sift(brightness)
    assert found.places.tolist() == [[0.5, 0.5]]
    vector = found.vectors.reshape(4, 4, 8)
    assert not vector[:, [0, 3]].any()
    assert not vector[..., 1:].any()
    assert np.linalg.norm(found.vectors) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(vector, vector[::-1, ::-1], atol=1e-6)
    assert not dense_sift(np.full((16, 16), 7.0)).vectors.any()
    with pytest.raises(ShapeError, match="at least 16 x 16"):
        dense_sift(np.zeros((12, 40)))


def test_descriptors_turn_with_the_image():
    """A quarter turn counter-clockwise moves cells and turns directions by two of eight."""
    brightness = texture(16, 16, seed=4).astype(float)
    one = dense_sift(brightness).vectors.reshape(4, 4, 8)
    other = dense_sift(np.rot90(brightness)).vectors.reshape(4, 4, 8)
    np.testing.assert_allclose(other, np.roll(np.rot90(one), -2, axis=2), atol=1e-5)


def test_patches_stand_every_eight_pixels():
    found = dense_sift(texture(40, 24, seed=1).astype(float))
    rows, columns = (found.places * [40, 24]).T
    assert sorted(set(rows)) == [8, 16, 24, 32]
    assert sorted(set(columns)) == [8, 16]
    assert len(found.vectors) == 8


def unit_words(count: int) -> np.ndarray:
    return np.eye(count, 128, dtype=np.float32)


def test_a_dictionary_of_one_word_gives_the_histogram_1():
    bag = BagOfWords(size=1, words=unit_words(1))
    assert bag.extract([sample(texture(3, 32, 32))]).tolist() == [[1.0]]


def test_a_pyramid_of_three_levels_has_21_histograms():
    bag = BagOfWords(size=7, levels=2, words=unit_words(7))
    assert bag.dimensions == 21 * 7
    assert bag.extract([sample(texture(3, 64, 64))]).shape == (1, 147)


def test_a_pyramid_counts_words_where_they_are():
    """Two descriptors, in the top left and the bottom right; weights 1/4, 1/4, 1/2."""
    words = unit_words(2)
    found = LocalDescriptors(vectors=words, places=np.array([[0.1, 0.1], [0.9, 0.6]]))
    vector = BagOfWords(size=2, levels=2, words=words).describe(found).reshape(21, 2)
    expected = np.zeros((21, 2))
    expected[0] = 0.25 / 2
    expected[1, 0] = expected[1 + 3, 1] = 0.25 / 2
    expected[5, 0] = expected[5 + 3 * 4 + 2, 1] = 0.5 / 2
    np.testing.assert_allclose(vector, expected)
    assert vector.sum() == pytest.approx(1)


def test_locality_constrained_codes_solve_their_equation():
    """A point half-way between two words and far from the others is half of each."""
    words = np.zeros((8, 128), np.float32)
    words[np.arange(8), np.arange(8)] = [1, 1, 50, 50, 50, 50, 50, 50]
    half_way = (words[0] + words[1])[None] / 2
    bag = BagOfWords(size=8, coding="locality", words=words)
    code = bag.describe(LocalDescriptors(vectors=half_way, places=np.array([[0.5, 0.5]])))
    np.testing.assert_allclose(code[:2], np.sqrt(0.5), atol=0.01)
    assert abs(code[2:]).max() < 0.01
    # Pooled by the maximum: a second descriptor on another word adds that word.
    both = LocalDescriptors(vectors=np.concatenate([half_way, words[2:3]]), places=np.full((2, 2), 0.5))
    np.testing.assert_allclose(bag.describe(both)[:3], np.array([0.5, 0.5, 1]) / np.sqrt(1.5), atol=0.01)


def test_words_are_learned_from_the_training_part():
    bag = BagOfWords(size=4, descriptors=60)
    with pytest.raises(ConfigurationError, match="no words yet"):
        bag.extract([sample(texture(3, 32, 32))])
    learned = bag.fitted([sample(texture(3, 32, 32, seed=seed)) for seed in range(3)])
    assert learned.words is not None
    assert learned.words.shape == (4, 128)
    assert learned.fingerprint != bag.fingerprint
    with pytest.raises(DataError, match="4 words need as many descriptors"):
        bag.fitted([sample(np.zeros((3, 16, 16)))])
    with pytest.raises(ConfigurationError, match="at least 1 word"):
        BagOfWords(size=0)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_decides_as_scikit_learn_does(classes):
    train, test = tinted(60), tinted(45, seed=1)
    names = CLASSES[:classes]
    train = [one for one in train if one.target.best.name in names]
    probe = SvmProbe.fit(ColourHistogram(8), train, CLASSES)
    features = extract_all(ColourHistogram(8), train)
    numbers = [CLASSES.index(one.target.best.name) for one in train]
    machine = LinearSVC(C=1, random_state=0, max_iter=10_000).fit(features, numbers)
    expected = machine.predict(ColourHistogram(8).extract(test))
    found = [CLASSES.index(label.best.name) for label in probe.predict(test)]
    assert found == expected.tolist()
    if classes == 2:
        assert all(label.scores[2] == 0 for label in probe.predict(test))


def test_a_probe_needs_labels_of_two_classes():
    with pytest.raises(DataError, match="found 1"):
        SvmProbe.fit(ColourHistogram(8), tinted(9)[::3], CLASSES)
    with pytest.raises(DataError, match="no label"):
        SvmProbe.fit(ColourHistogram(8), [Sample(key="a", images=tinted(1)[0].images)], CLASSES)


def test_a_models_embedding_serves_as_features():
    torch.manual_seed(0)
    spec = InputSpec(bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, mean=(127.5,), std=(60.0,), window=32)
    model = resnet18(classes=("a", "b"), input=spec)
    features = ModelFeatures.of(model)
    images = tinted(40)
    found = extract_all(features, images)
    assert found.shape == (40, 512)
    with torch.inference_mode():
        alone = model.embed(model.prepare(images[5:6])).numpy()
    np.testing.assert_allclose(found[5], alone[0], rtol=1e-3, atol=1e-4)
    probe = SvmProbe.fit(features, images[:30], CLASSES)
    said = [label.best.name for label in probe.predict(images[30:])]
    assert np.mean([name == one.target.best.name for name, one in zip(said, images[30:], strict=True)]) > 0.8
    assert probe.name == "ResNetClassifier + linear SVM"


def write_tree(root: Path, images: int = 20) -> Path:
    generator = np.random.default_rng(0)
    for place, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(images):
            values = generator.integers(0, 200, (16, 16, 3))
            values[..., place] += generator.integers(0, 56)
            Image.fromarray(values.astype(np.uint8)).save(root / name / f"{name}_{number:03d}.png")
    return root


def test_draws_are_repeated_and_told_with_their_protocol(tmp_path):
    spec = folder_dataset(write_tree(tmp_path / "toy"))
    told = []
    found = probe_repeatedly(
        ColourHistogram(8),
        spec,
        tmp_path / "toy",
        seeds=(0, 1, 2),
        progress=lambda done, all_: told.append((done, all_)),
    )
    assert found.protocol == "toy"
    assert len(found.accuracies) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    for accuracy, matrix in zip(found.accuracies, found.confusion, strict=True):
        assert matrix.accuracy() == pytest.approx(accuracy)
        assert matrix.true.tolist() == [4, 4, 4]
    again = probe_repeatedly(ColourHistogram(8), spec, tmp_path / "toy", seeds=(0, 1, 2))
    assert again == found
    assert len({matrix.counts.tobytes() for matrix in found.confusion}) > 1


def test_each_image_is_described_once_for_all_draws(tmp_path, monkeypatch):
    spec = folder_dataset(write_tree(tmp_path / "toy"))
    described = []
    plain = ColourHistogram.describe
    monkeypatch.setattr(ColourHistogram, "describe", lambda self, image: described.append(1) or plain(self, image))
    probe_repeatedly(ColourHistogram(8), spec, tmp_path / "toy", seeds=(0, 1, 2))
    assert len(described) == 60


def test_dictionaries_are_learned_anew_in_each_draw(tmp_path):
    spec = folder_dataset(write_tree(tmp_path / "toy"))
    bag = BagOfWords(size=3, descriptors=30)
    found = probe_repeatedly(bag, spec, tmp_path / "toy", seeds=(0, 1))
    assert found.method == "bag of visual words, 3 words + linear SVM"
    assert bag.words is None


def test_fixed_lists_have_one_draw(tmp_path):
    with pytest.raises(ConfigurationError, match="one draw alone"):
        probe_repeatedly(ColourHistogram(8), NWPU_RESISC45_TORCHGEO, tmp_path, seeds=(0, 1))
    with pytest.raises(ConfigurationError, match="each another"):
        probe_repeatedly(ColourHistogram(8), NWPU_RESISC45_TORCHGEO, tmp_path, seeds=(1, 1))


def test_the_deviation_is_that_of_a_sample():
    found = RepeatedAccuracy(protocol="p", method="m", seeds=(0, 1), accuracies=(0.80, 0.90))
    assert str(found) == "p, m: 85.00 ± 7.07 (2 draws)"
    assert found.deviation == pytest.approx(np.sqrt(2) * 0.05)
    single = RepeatedAccuracy(protocol="p", method="m", seeds=(0,), accuracies=(0.5,))
    assert np.isnan(single.deviation)


def test_rows_of_a_confusion_matrix_are_shares():
    true, said = np.array([0, 0, 1]), np.array([0, 1, 1])
    matrix = ConfusionMatrix(("a", "b"), count_pairs(true, said, 2))
    assert row_shares(matrix)[:, :2].tolist() == confusion_matrix(true, said, normalize="true").tolist()
    assert row_shares(matrix)[:, :2].tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert round(100 * matrix.accuracy(), 2) == 66.67


def test_fine_tuning_runs_15_000_batches_of_50():
    recipe = finetune_recipe(images=3_150)
    steps = recipe.epochs * recipe.steps_per_epoch(3_150)
    assert 15_000 <= steps < 15_000 + recipe.steps_per_epoch(3_150)
    assert (recipe.optimiser, recipe.learning_rate, recipe.batch_size) == ("sgd", 1e-3, 50)
    with torch.device("meta"):
        model = resnet18(classes=NWPU_RESISC45.classes)
    scales = layer_scales(model, recipe.layer_decay, head_rate=recipe.head_rate)
    assert {name for name, scale in scales.items() if scale == 10.0} == {"network.fc.weight", "network.fc.bias"}
    assert set(scales.values()) == {1.0, 10.0}


def test_samples_of_several_sizes_are_described_in_order():
    images = [sample(texture(3, side, side, seed=side), key=str(side)) for side in (16, 20, 16, 24, 24)]
    found = extract_all(ColourHistogram(4), images)
    for row, one in zip(found, images, strict=True):
        np.testing.assert_array_equal(row, ColourHistogram(4).extract([one])[0])
    assert images[3].size == Size(24, 24)
