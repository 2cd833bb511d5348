"""Learning from a teacher: its answers become labels, and what does not fit is refused."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from swath.errors import ConfigurationError, ResumeMismatch
from swath.models.recipe import Recipe
from swath.models.store import load_model, save_model
from swath.samples.labels import Label
from swath.training.loop import train
from swath.training.teaching import Teaching

RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=2e-2, teacher_share=1.0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A classifier that learnt the ponds from their true labels."""
    folder = tmp_path_factory.mktemp("teacher")
    data = tiny.Ponds(60, whole_image=True)
    train(tiny.fresh(tiny.TinyClassifier), data, replace(RECIPE, epochs=8, teacher_share=0.0), folder=folder)
    return load_model(folder / "best", model_class=tiny.TinyClassifier)


class Mislabelled:
    """The same ponds, each with one and the same label."""

    def __init__(self):
        self.data = tiny.Ponds(60, whole_image=True)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        sample = self.data[index]
        return replace(sample, target=Label.of("land", sample.target.classes, sample.target.size))


def accuracy(model):
    data = tiny.Ponds(40, whole_image=True, first=1000)
    samples = [data[index] for index in range(len(data))]
    with torch.inference_mode():
        found = model.predict(model.prepare(samples))
    return np.mean([said.best.name == sample.target.best.name for said, sample in zip(found, samples, strict=True)])


def test_labels_are_mixed_by_the_share(teacher):
    student = tiny.fresh(tiny.TinyClassifier)
    data = Mislabelled()
    batch = student.prepare([data[index] for index in range(4)])
    with torch.inference_mode():
        answers = teacher.model.predict(batch)
    taught = Teaching.of(teacher, student, 0.25)(batch)
    for label, answer in zip(taught.targets, answers, strict=True):
        np.testing.assert_allclose(label.scores, 0.75 * np.array([1.0, 0.0]) + 0.25 * answer.scores, atol=1e-6)


def test_a_student_follows_its_teacher_against_wrong_labels(teacher, tmp_path):
    taught = tiny.fresh(tiny.TinyClassifier)
    train(taught, Mislabelled(), replace(RECIPE, epochs=8), folder=tmp_path / "taught", teacher=teacher)
    alone = tiny.fresh(tiny.TinyClassifier)
    train(alone, Mislabelled(), replace(RECIPE, epochs=8, teacher_share=0.0), folder=tmp_path / "alone")
    assert accuracy(teacher.model) > 0.9
    assert accuracy(taught) > 0.9
    assert accuracy(alone) < 0.7


def test_a_run_goes_on_with_its_own_teacher_only(teacher, tmp_path):
    train(tiny.fresh(tiny.TinyClassifier), Mislabelled(), RECIPE, folder=tmp_path / "run", teacher=teacher)
    other = tiny.fresh(tiny.TinyClassifier)
    stored = load_model(save_model(other, tmp_path / "other"), model_class=tiny.TinyClassifier)
    with pytest.raises(ResumeMismatch, match="another model, recipe"):
        train(tiny.fresh(tiny.TinyClassifier), Mislabelled(), RECIPE, folder=tmp_path / "run", teacher=stored)


def test_teacher_and_share_come_together(teacher, tmp_path):
    with pytest.raises(ConfigurationError, match=r"'teacher_share' is 1.0 and there is no teacher"):
        train(tiny.fresh(tiny.TinyClassifier), Mislabelled(), RECIPE, folder=tmp_path / "a")
    alone = replace(RECIPE, teacher_share=0.0)
    with pytest.raises(ConfigurationError, match=r"'teacher_share' is 0.0 and there is a teacher"):
        train(tiny.fresh(tiny.TinyClassifier), Mislabelled(), alone, folder=tmp_path / "b", teacher=teacher)
    with pytest.raises(ConfigurationError, match=r"'teacher_share' must be 0 to 1; found 1.5"):
        replace(RECIPE, teacher_share=1.5)


def test_a_teacher_that_does_not_fit_is_refused(teacher, tmp_path):
    with pytest.raises(ConfigurationError, match="tells other classes"):
        Teaching.of(teacher, tiny.fresh(tiny.TinyClassifier, classes=("water", "land")), 0.5)
    segmenter = tiny.fresh(tiny.TinySegmenter)
    ponds = tiny.Ponds(8)
    with pytest.raises(ConfigurationError, match="mixes labels of whole images; found ClassMap"):
        train(segmenter, ponds, RECIPE, folder=tmp_path / "run", teacher=teacher)
