"""Rare classes count as much as they should: in the draw of samples and in the loss."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from swath.datasets.scenes import folder_dataset
from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.models.classify.resnet import ResNetClassifier, ResNetConfig
from swath.models.outputs import ClassificationOutput
from swath.models.recipe import Recipe
from swath.models.store import load_model
from swath.samples.labels import Label, Text
from swath.samples.rasters import ClassMap
from swath.samples.sample import Sample
from swath.samples.vectors import Points
from swath.training.balance import balance, balanced_weights, count_classes, sampling_shares
from swath.training.feeding import plan_epoch
from swath.training.loop import train

CLASSES = ("land", "water")
FRAME = Size(2, 3)
RECIPE = Recipe(epochs=1, batch_size=8, learning_rate=1e-2)


def samples_of(*targets):
    image = tiny.Ponds(1)[0].images
    return [Sample(key=f"sample{number}", images=image, target=target) for number, target in enumerate(targets)]


class Weighing(tiny.TinyClassifier):
    def weigh_classes(self, weights):
        self.weights = torch.tensor(weights)

    def loss(self, batch):
        truth = torch.from_numpy(np.stack([target.scores for target in batch.targets]))
        return {"cross_entropy": functional.cross_entropy(self(batch), truth, weight=self.weights)}


def test_labels_pixels_and_objects_are_counted():
    mapped = ClassMap(size=FRAME, labels=[[0, 1, 1], [255, 1, 0]], classes=CLASSES)
    points = Points.of([[0, 0], [1, 1], [2, 1]], labels=[1, 1, 0], classes=CLASSES, height=2, width=3)
    nothing = Points.of(np.zeros((0, 2)), classes=CLASSES, height=2, width=3)
    found = count_classes(samples_of(Label.of("water", CLASSES, FRAME), mapped, points, nothing), CLASSES)
    assert found.tolist() == [[0, 1], [2, 3], [1, 2], [0, 0]]


def test_a_layout_that_tells_classes_spares_reading(tmp_path):
    for name, count in (("land", 5), ("water", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("RGB", (4, 4)).save(tmp_path / name / f"{number}.png")
    data = folder_dataset(tmp_path).open(tmp_path, "all")
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")  # whoever reads it fails
    assert count_classes(data, CLASSES).sum(axis=0).tolist() == [5, 3]


def test_truth_without_classes_or_of_others_is_refused():
    with pytest.raises(ConfigurationError, match="the truth of sample0 is a Text"):
        count_classes(samples_of(Text(size=FRAME, text="a pond")), CLASSES)
    with pytest.raises(ConfigurationError, match="the truth of sample0 is missing"):
        count_classes(samples_of(None), CLASSES)
    with pytest.raises(ConfigurationError, match="has the classes water, land and the model tells land, water"):
        count_classes(samples_of(Label.of("water", ("water", "land"), FRAME)), CLASSES)


def test_classes_are_drawn_alike_and_those_without_anything_are_one():
    counts = np.array([[4.0, 0.0], [0.0, 0.0], [12.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
    assert sampling_shares(counts) == pytest.approx([1 / 12, 1 / 3, 3 / 12, 3 / 12, 1 / 12])
    one_class = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert sampling_shares(one_class).tolist() == [0.5, 0.5]


def test_an_epoch_is_drawn_by_the_shares_and_used_anew_each_time():
    labels = np.zeros((400, 2))
    labels[:360, 0] = labels[360:, 1] = 1
    shares = sampling_shares(labels)
    plan = plan_epoch(400, RECIPE, 0, shares=shares)
    drawn = plan.indices.ravel()
    assert len(drawn) == 400
    assert (drawn >= 360).mean() == pytest.approx(0.5, abs=0.08)  # three standard deviations
    pairs = set(zip(drawn.tolist(), plan.rounds.ravel().tolist(), strict=True))
    assert len(pairs) == 400
    assert sorted(plan.rounds.ravel()[drawn == drawn[0]]) == list(range(int((drawn == drawn[0]).sum())))
    halves = [plan_epoch(400, RECIPE, 0, shares=shares, rank=rank, world=2) for rank in (0, 1)]
    assert sorted(np.concatenate([half.indices.ravel() for half in halves])) == sorted(drawn)


def test_balanced_weights_are_sklearns():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(np.eye(3)[labels]) == pytest.approx(expected)
    assert balanced_weights(np.array([[3.0, 0.0, 3.0]])) == (1.0, 1.0, 1.0)


def test_the_loss_gets_the_weights(tmp_path):
    data = tiny.Ponds(8, whole_image=True)
    water = np.array([data[index].target.scores[1] for index in range(8)])
    model = tiny.fresh(Weighing)
    told = []
    settings = Recipe(epochs=1, batch_size=8, learning_rate=1e-2, class_weights="balanced")
    train(model, data, settings, folder=tmp_path, progress=told.append)
    weights = 4 / (8 - water.sum()), 4 / water.sum()
    assert model.weights.tolist() == pytest.approx(weights)
    twin = tiny.fresh(Weighing)
    twin.weigh_classes(weights)
    expected = twin.loss(twin.prepare([data[index] for index in range(8)]))["cross_entropy"].item()
    assert told[0].losses["cross_entropy"] == pytest.approx(expected, rel=1e-5)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    settings = Recipe(epochs=1, batch_size=8, learning_rate=1e-2, class_weights=(1.0, 2.0, 3.0))
    with pytest.raises(ConfigurationError, match="TinyClassifier does not"):
        balance(tiny.fresh(tiny.TinyClassifier), tiny.Ponds(8), replace(settings, class_weights=(1.0, 2.0)))
    with pytest.raises(ConfigurationError, match="are 3 numbers and the model tells 2 classes"):
        balance(tiny.fresh(Weighing), tiny.Ponds(8), settings)
    with pytest.raises(ConfigurationError, match="name lava, and the model tells land, water; name some of these"):
        balance(tiny.fresh(Weighing), tiny.Ponds(8), replace(settings, class_weights={"lava": 2.0}))
    with pytest.raises(ConfigurationError, match="are all 0"):
        balance(tiny.fresh(Weighing), tiny.Ponds(8), replace(settings, class_weights=(0.0, 0.0)))


def test_weights_may_be_given_by_name():
    model = tiny.fresh(Weighing)
    balance(model, tiny.Ponds(8), replace(RECIPE, class_weights={"water": 3.0}))
    assert model.weights.tolist() == [1.0, 3.0]


def small_resnet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        output = ClassificationOutput(classes=CLASSES)
        config = ResNetConfig(
            input=tiny.INPUTS["image"], output=output, blocks=(1, 1, 1, 1), widths=(4, 4, 4, 4), stem="small"
        )
        return ResNetClassifier(config)


def test_a_model_whose_output_is_its_loss_learns_by_weighted_cross_entropy_and_forgets_the_weights(tmp_path):
    data = tiny.Ponds(8, whole_image=True)
    truth = torch.tensor([int(data[index].target.scores[1]) for index in range(8)])
    model, told = small_resnet(), []
    train(model, data, replace(RECIPE, class_weights="balanced"), folder=tmp_path / "one", progress=told.append)
    twin = small_resnet()
    logits = twin(twin.prepare([data[index] for index in range(8)]))
    counts = torch.bincount(truth)
    expected = functional.cross_entropy(logits, truth, weight=8 / (2 * counts)).item()
    assert counts[0] != counts[1]
    assert told[0].losses["cross_entropy"] == pytest.approx(expected, rel=1e-5)
    # Weights are of a training: neither the saved model nor the next training knows them.
    assert "class_weights" not in (tmp_path / "one" / "best" / "config.json").read_text()
    assert load_model(tmp_path / "one" / "best").model.config.output.class_weights == ()
    assert model.config.output.class_weights != ()
    train(model, data, RECIPE, folder=tmp_path / "two")
    assert model.config.output.class_weights == ()


def test_the_loop_draws_by_the_shares(tmp_path):
    drawn = []

    class Noting(tiny.TinyClassifier):
        def loss(self, batch):
            drawn.extend(target.best.name for target in batch.targets)
            return super().loss(batch)

    ponds = [tiny.Ponds(64, whole_image=True)[index] for index in range(64)]
    land = [sample for sample in ponds if sample.target.best.name == "land"]
    rare = [*land, next(sample for sample in ponds if sample.target.best.name == "water")]
    settings = Recipe(epochs=8, batch_size=8, learning_rate=1e-3, balance_classes=True)
    train(tiny.fresh(Noting), rare, settings, folder=tmp_path)
    assert drawn.count("water") / len(drawn) == pytest.approx(0.5, abs=0.12)  # of one in about thirty
