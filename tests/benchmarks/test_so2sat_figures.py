"""The figures that So2Sat LCZ42 is reported by, against the sheet's hand-worked matrix."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score

from swath.geometry.windows import Size
from swath.metrics.classification import ClassificationMetric
from swath.metrics.confusion import ConfusionMatrix
from swath.samples.labels import Label


def test_kappa_of_the_sheets_matrix_is_two_fifths():
    """Observed agreement 35 / 50, expected (25 * 30 + 25 * 20) / 2500 = 0.5."""
    matrix = ConfusionMatrix(("a", "b"), np.array([[20, 5, 0], [10, 15, 0]]))
    assert matrix.kappa() == pytest.approx(0.4)


def test_average_accuracy_is_the_macro_recall():
    classes = ("Compact high rise", "Dense trees", "Water")
    generator = np.random.default_rng(0)
    true, said = generator.integers(0, 3, 60), generator.integers(0, 3, 60)
    metric = ClassificationMetric(classes)
    for one, other in zip(true, said, strict=True):
        metric.update(Label.of(classes[other], classes, Size(32, 32)), Label.of(classes[one], classes, Size(32, 32)))
    figures = metric.compute()
    assert figures["macro recall"] == pytest.approx(balanced_accuracy_score(true, said))
    assert figures["Cohen's kappa"] == pytest.approx(cohen_kappa_score(true, said))
