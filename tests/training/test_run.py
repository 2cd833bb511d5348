"""Training on a declared data set: parts, classes and sizes are checked, and the loop runs on real files."""

import numpy as np
import pytest
import tiny
from PIL import Image

from swath.datasets.scenes import folder_dataset
from swath.errors import ConfigurationError, DataError, ShapeError
from swath.models.recipe import Recipe
from swath.training.run import open_parts, train_from

RECIPE = Recipe(epochs=6, batch_size=8, learning_rate=2e-2)


@pytest.fixture
def ponds(tmp_path):
    data = tiny.Ponds(60, whole_image=True)
    for index in range(len(data)):
        sample = data[index]
        folder = tmp_path / "ponds" / sample.target.best.name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.images["image"].values.transpose(1, 2, 0)).save(folder / f"{index}.png")
    return tmp_path / "ponds"


def measure(model, data):
    found = model.predict(model.prepare(list(data)))
    return {"accuracy": np.mean([f.best.name == s.target.best.name for f, s in zip(found, data, strict=True)])}


def test_a_classifier_learns_from_class_folders(ponds, tmp_path):
    result = train_from(
        tiny.fresh(tiny.TinyClassifier),
        folder_dataset(ponds),
        ponds,
        RECIPE,
        folder=tmp_path / "run",
        evaluate=measure,
        validation="test",
        device="cpu",
    )
    assert result.best_value > 0.9


def test_parts_held_back_share_no_image(ponds):
    spec = folder_dataset(ponds)
    parts = open_parts(spec, ponds, validation=0.25, seed=4)
    learning, held = ({record.key for record in part.records} for part in parts)
    assert not learning & held
    assert learning | held == {record.key for record in spec.open(ponds, "train").records}
    assert len(held) == pytest.approx(0.25 * len(learning | held), abs=2)
    other = open_parts(spec, ponds, validation=0.25, seed=5)
    assert {record.key for record in other.validation.records} != held


def test_other_classes_and_parts_are_refused(ponds, tmp_path):
    arguments = {"folder": tmp_path / "run", "evaluate": measure}
    other = tiny.fresh(tiny.TinyClassifier, classes=("water", "land"))
    told = r"2 classes \(water, land\) and 'ponds' has 2 classes \(land, water\), number 1 being 'water' for the model"
    with pytest.raises(ConfigurationError, match=told):
        train_from(other, folder_dataset(ponds), ponds, RECIPE, **arguments)
    model = tiny.fresh(tiny.TinyClassifier)
    with pytest.raises(DataError, match="no part 'validation'"):
        train_from(model, folder_dataset(ponds), ponds, RECIPE, validation="validation", **arguments)


def test_images_of_different_sizes_are_told_with_the_remedy(ponds, tmp_path):
    for path in (ponds / "land").iterdir():
        Image.open(path).resize((20, 18)).save(path)
    with pytest.raises(ShapeError, match=r"18 x 20.*add RandomCrop or Resize"):
        train_from(
            tiny.fresh(tiny.TinyClassifier),
            folder_dataset(ponds),
            ponds,
            RECIPE,
            folder=tmp_path / "run",
            evaluate=measure,
        )
