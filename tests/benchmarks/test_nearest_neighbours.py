"""Nearest neighbours and the averages of scores, beside scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support
from sklearn.neighbors import KNeighborsClassifier

from swath.benchmarks import nearest_neighbours
from swath.benchmarks.averaged_scores import CLASS_FIGURES, LABEL_FIGURES, class_figures, label_figures
from swath.benchmarks.nearest_neighbours import NearestNeighbours, decide
from swath.errors import ConfigurationError, DataError, ShapeError


def neighbours(features, truth, classes=4, count=5) -> NearestNeighbours:
    return NearestNeighbours(features=np.asarray(features), truth=np.asarray(truth), classes=classes, count=count)


@given(seed=st.integers(0, 10_000), width=st.integers(3, 40), count=st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_votes_equal_those_of_scikit_learn(seed, width, count):
    draws = np.random.default_rng(seed)
    train, test = (draws.normal(size=(n, width)) for n in (60, 30))
    truth = draws.integers(0, 4, 60)
    truth[:4] = range(4)
    library = KNeighborsClassifier(count).fit(train, truth)
    found = neighbours(train, truth, count=count)
    assert np.array_equal(found.indices(test), library.kneighbors(test, return_distance=False))
    shares = found.shares(test)
    assert np.array_equal(shares, library.predict_proba(test))
    assert np.array_equal(decide(shares, exclusive=True), library.predict(test))


@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 6),
    offset=st.sampled_from([0, 0.1, 12_345.678, 1e8]),
    whole=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_neighbours_are_the_nearest_in_order_also_far_from_0_and_where_distances_tie(seed, width, offset, whole):
    draws = np.random.default_rng(seed)
    train, test = (draws.normal(0, 2, (n, width)) for n in (60, 20))
    if whole:
        train, test = train.round(), test.round()
    train, test = train + offset, test + offset
    distances = ((test[:, None] - train) ** 2).sum(2)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :5]
    found = neighbours(train, np.zeros(60, int)).indices(test)
    # Sums of squares may be rounded in another order; where they are exact, so are the neighbours.
    near, wanted = (np.take_along_axis(distances, places, 1) for places in (found, expected))
    np.testing.assert_allclose(near, wanted, rtol=1e-14)
    if whole and offset in (0, 1e8):
        assert np.array_equal(found, expected)


def test_a_tie_of_2_2_1_goes_to_the_smallest_label():
    train = np.arange(5.0)[:, None]
    found = neighbours(train, [3, 2, 2, 3, 1])
    shares = found.shares(np.array([[2.2]]))
    assert shares.tolist() == [[0, 0.2, 0.4, 0.4]]
    assert decide(shares, exclusive=True).tolist() == [2]
    assert KNeighborsClassifier(5).fit(train, [3, 2, 2, 3, 1]).predict([[2.2]]).tolist() == [2]


def test_equal_distances_take_the_earlier_training_images():
    train = np.array([[1.0], [-1.0]] * 50)
    assert neighbours(train, [0] * 100, count=4).indices(np.array([[0.0]])).tolist() == [[0, 1, 2, 3]]
    assert neighbours(train, [0] * 100, count=4).indices(np.array([[0.5]])).tolist() == [[0, 2, 4, 6]]
    lopsided = np.array([[3.0], [1.0], [1.0], [7.0], [3.0]]) + 0.1
    assert neighbours(lopsided, [0] * 5, count=3).indices(np.array([[2.1]])).tolist() == [[0, 1, 2]]


def test_distances_that_differ_in_the_last_digits_are_told_apart():
    """A product of matrices loses them: the squares are 1e16 times larger than what they differ by."""
    train = 1e8 + np.array([[0.0, 2.0], [0.0, 1.0], [3.0, 0.0], [0.0, -3.5]])
    assert neighbours(train, [0] * 4, count=3).indices(np.full((1, 2), 1e8)).tolist() == [[1, 0, 2]]


def test_small_steps_give_the_same_neighbours(monkeypatch):
    draws = np.random.default_rng(0)
    train, test = draws.integers(0, 3, (200, 3)).astype(float), draws.integers(0, 3, (50, 3)).astype(float)
    expected = neighbours(train, np.zeros(200, int)).indices(test)
    for numbers in (1, 1500):
        monkeypatch.setattr(nearest_neighbours, "NUMBERS_A_STEP", numbers)
        assert np.array_equal(neighbours(train, np.zeros(200, int)).indices(test), expected)


def test_label_shares_are_fifths_and_a_majority_decides():
    draws = np.random.default_rng(1)
    train, test = draws.normal(size=(80, 4)), draws.normal(size=(40, 4))
    labels = draws.integers(0, 2, (80, 3))
    library = KNeighborsClassifier(5).fit(train, labels)
    shares = neighbours(train, labels, classes=3).shares(test)
    assert set((5 * shares).round(9).ravel()) <= {0, 1, 2, 3, 4, 5}
    for column, pair in enumerate(library.predict_proba(test)):
        assert np.array_equal(shares[:, column], pair[:, 1])
    assert np.array_equal(decide(shares, exclusive=False), library.predict(test))
    assert decide(np.array([[0.5, 0.75]]), exclusive=False).tolist() == [[0, 1]]


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="5 nearest neighbours need at least as many"):
        neighbours(np.zeros((4, 2)), [0] * 4)
    with pytest.raises(DataError, match="not finite"):
        neighbours(np.array([[np.nan]] * 5), [0] * 5)
    with pytest.raises(ShapeError, match="as many truths; found 3"):
        neighbours(np.zeros((5, 2)), [0] * 3)
    with pytest.raises(ShapeError, match="queries need 2 features; found 3"):
        neighbours(np.zeros((5, 2)), [0] * 5).indices(np.zeros((1, 3)))
    with pytest.raises(ShapeError, match="a matrix"):
        neighbours(np.zeros(5), [0] * 5)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_class_figures_equal_those_of_scikit_learn(seed, classes):
    draws = np.random.default_rng(seed)
    truth, said = draws.integers(0, classes, (2, 30))
    found = class_figures(truth, said, classes)
    assert tuple(found) == CLASS_FIGURES
    assert found["accuracy"] == pytest.approx((truth == said).mean())
    for average in ("micro", "macro", "weighted"):
        expected = precision_recall_fscore_support(truth, said, labels=range(classes), average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "F1"), expected[:3], strict=True):
            assert found[f"{average} {name}"] == pytest.approx(value, abs=1e-12)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_label_figures_equal_those_of_scikit_learn(seed, classes):
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, 2, (24, classes))
    truth[0] = 1
    scores = draws.integers(0, 6, (24, classes)) / 5
    found = label_figures(truth, scores, decide(scores, exclusive=False))
    assert tuple(found) == LABEL_FIGURES
    for average in ("micro", "macro", "weighted"):
        expected = average_precision_score(truth, scores, average=average)
        assert found[f"{average} mAP"] == pytest.approx(expected, abs=1e-12)
        ratios = precision_recall_fscore_support(truth, scores > 0.5, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "F1"), ratios[:3], strict=True):
            assert found[f"{average} {name}"] == pytest.approx(value, abs=1e-12)


def test_micro_average_precision_by_hand():
    """Ranked, the truths are 1, 0, 0, 1: (1/1 + 2/4) / 2."""
    truth, scores = np.array([[1, 0], [0, 1]]), np.array([[0.8, 0.6], [0.4, 0.2]])
    assert label_figures(truth, scores, scores > 0.5)["micro mAP"] == 0.75


def test_a_class_that_never_holds_counts_as_0():
    truth, scores = np.array([[1, 0], [1, 0]]), np.array([[0.8, 0.6], [0.4, 0.2]])
    figures = label_figures(truth, scores, scores > 0.5)
    assert (figures["macro mAP"], figures["weighted mAP"]) == (0.5, 1)
