"""FireRisk's published confusion matrix gives its published figures."""

from __future__ import annotations

import numpy as np
import pytest

from swath.benchmarks.firerisk import FIRERISK_VALIDATION, LEVELS, HazardLevelMetric, mean_absolute_level_error
from swath.datasets.firerisk import FIRERISK, FIRERISK_20, FIRERISK_CODES
from swath.geometry.windows import Size
from swath.metrics.confusion import ConfusionMatrix
from swath.samples.labels import Label

ORDER = ("Water", "Non-burnable", "Very_Low", "Low", "Moderate", "High", "Very_High")
MATRIX = np.array(
    [
        [511, 17, 42, 5, 5, 4, 0],
        [17, 4442, 550, 47, 15, 8, 12],
        [26, 591, 6706, 735, 235, 45, 110],
        [4, 117, 1067, 778, 327, 92, 214],
        [9, 87, 382, 252, 513, 254, 275],
        [7, 82, 223, 122, 422, 401, 352],
        [0, 13, 81, 112, 337, 182, 713],
    ]
)


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    """Every image of the matrix told one by one, as tallies that are multiplied."""
    metric = HazardLevelMetric(FIRERISK.classes)
    labels = {name: Label.of(name, FIRERISK.classes, Size(1, 1)) for name in ORDER}
    total = None
    for true, row in zip(ORDER, MATRIX, strict=True):
        for said, count in zip(ORDER, row.tolist(), strict=True):
            tally = metric.tally(labels[said], labels[true])
            many = type(tally)(tally.counts * count, tally.sums * count)
            total = many if total is None else total + many
    assert total is not None
    return metric.figures(total)


def test_accuracy_and_macro_figures_are_the_published_ones(figures):
    found = [figures[name] for name in ("accuracy", "macro precision", "macro recall", "macro F1")]
    assert np.round(100 * np.array(found), 4).tolist() == [65.2894, 56.4247, 55.3602, 55.4932]


def test_levels_are_off_by_six_tenths_on_average(figures):
    assert figures["mean absolute level error"] == pytest.approx(0.604354, abs=5e-7)


def test_level_error_leaves_out_what_has_no_level():
    """Two of a level told right and told as no level, one told two levels too high: 2 / 2."""
    classes = ("low", "middle", "high", "water")
    counts = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [5, 0, 0, 5, 0]])
    assert mean_absolute_level_error(ConfusionMatrix(classes, counts), classes[:3]) == 1.0


def test_rows_of_the_matrix_are_the_validation_part():
    assert MATRIX.sum(axis=1).tolist() == [584, 5091, 8448, 2599, 1772, 1609, 1438]
    assert MATRIX.sum() == FIRERISK.counts["validation"]
    assert FIRERISK.counts["train"] + FIRERISK.counts["validation"] == 91_872


def test_the_commonest_class_alone_gives_39_per_cent():
    assert round(100 * MATRIX.sum(axis=1).max() / MATRIX.sum(), 2) == 39.22


def test_a_fifth_of_the_training_part_is_14066_images():
    assert FIRERISK_20.counts == {"train": 14_066, "validation": 21_541}


def test_levels_stand_in_the_order_of_risk_and_the_protocol_says_there_is_no_test_part():
    assert LEVELS == ("Very_Low", "Low", "Moderate", "High", "Very_High")
    folder = {code: FIRERISK.classes.index(name) for code, name in FIRERISK_CODES.items()}
    assert folder == {1: 5, 2: 1, 3: 2, 4: 0, 5: 4, 6: 3, 7: 6}
    assert "no test part" in FIRERISK_VALIDATION.title
    assert FIRERISK_VALIDATION.split == "validation"
