"""Multi-label figures against hand cases and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score

from swath.errors import AnnotationError, ConfigurationError
from swath.geometry.windows import Size
from swath.metrics.multilabel import MultiLabelMetric, score_levels
from swath.samples.labels import Label

few_examples = settings(deadline=None, max_examples=25)

SIZE = Size(8, 8)
CLASSES = ("a", "b", "c")


def label(scores, classes=CLASSES) -> Label:
    return Label(size=SIZE, scores=scores, classes=classes, exclusive=False)


def measured(scores, holds, classes=CLASSES, **options):
    metric = MultiLabelMetric(classes, **options)
    for said, true in zip(scores, holds, strict=True):
        metric.update(label(said, classes), label(true, classes))
    return metric.compute()


def test_hand_case_of_three_images():
    # Said: {a}, {a, b}, {}; true: {a}, {a}, {c}.
    figures = measured([[0.9, 0.1, 0.2], [0.8, 0.7, 0.4], [0.3, 0.2, 0.3]], [[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    assert figures["subset accuracy"] == pytest.approx(1 / 3)
    assert figures["micro precision"] == pytest.approx(2 / 3)
    assert figures["micro recall"] == pytest.approx(2 / 3)
    assert figures["micro F1"] == pytest.approx(2 / 3)
    assert figures["macro F1"] == pytest.approx((1 + 0 + 0) / 3)
    # a is ranked perfectly; c's only positive is second of three; b never holds.
    assert figures["AP (class a)"] == 1
    assert figures["AP (class c)"] == pytest.approx(1 / 2)
    assert math.isnan(figures["AP (class b)"])
    assert figures["macro mAP"] == pytest.approx(3 / 4)
    # All nine by score: 0.9 right, 0.8 right, 0.7 and 0.4 wrong, then 0.3 twice, one of them right.
    assert figures["micro mAP"] == pytest.approx((1 + 1 + 3 / 6) / 3)


@few_examples
@given(st.integers(0, 2**31), st.integers(1, 50), st.sampled_from([0.3, 0.5]))
def test_figures_equal_scikit_learn(seed, count, threshold):
    generator = np.random.default_rng(seed)
    # Scores at the middle of levels, so that the ranking loses nothing; some of them tie.
    levels = generator.integers(0, 1025, (count, 3)) // 8 * 8
    scores = (1 / (1 + np.exp(16 - levels / 32))).astype(np.float32)
    holds = generator.integers(0, 2, (count, 3))
    figures = measured(scores, holds, threshold=threshold)
    said = scores >= threshold
    assert figures["subset accuracy"] == pytest.approx(accuracy_score(holds, said))
    for average in ("micro", "macro"):
        for name, function in (("F1", f1_score), ("precision", precision_score), ("recall", recall_score)):
            expected = function(holds, said, average=average, zero_division=0)
            assert figures[f"{average} {name}"] == pytest.approx(expected)
    present = holds.any(axis=0)
    if present.any():
        expected = average_precision_score(holds[:, present], score_levels(scores)[:, present], average="macro")
        assert figures["macro mAP"] == pytest.approx(expected)
        expected = average_precision_score(holds, score_levels(scores), average="micro")
        assert figures["micro mAP"] == pytest.approx(expected)


def test_ranking_by_levels_moves_average_precision_by_less_than_a_thousandth():
    generator = np.random.default_rng(3)
    holds = generator.integers(0, 2, (2000, 3))
    scores = (1 / (1 + np.exp(-generator.normal(2.5 * holds - 1.5, 2.0)))).astype(np.float32)
    figures = measured(scores, holds)
    for average in ("micro", "macro"):
        assert figures[f"{average} mAP"] == pytest.approx(
            average_precision_score(holds, scores, average=average), abs=1e-3
        )


def test_levels_keep_very_sure_scores_apart():
    sure = score_levels(np.array([0.99, 0.999, 0.9999, 0.99999, 1.0]))
    assert (np.diff(sure) > 0).all()
    assert score_levels(np.array([0.25, 0.75])).sum() == 1024


def test_calibration_takes_scores_as_probabilities():
    figures = measured([[0.9, 0.1, 0.1], [0.9, 0.1, 0.1]], [[1, 0, 0], [1, 0, 0]])
    assert figures["expected calibration error"] == pytest.approx(0.1, abs=1e-6)


def test_classes_are_matched_by_name_and_foreign_ones_do_not_count():
    metric = MultiLabelMetric(("a", "b"))
    metric.update(label([0.9, 0.1, 0.8], ("road", "B", "A")), label([1, 0], ("a", "b")))
    assert metric.compute()["subset accuracy"] == 1
    assert metric.right(metric.total) is True
    with pytest.raises(AnnotationError, match="nothing of the class 'b'"):
        metric.update(label([0.9], ("a",)), label([1, 0], ("a", "b")))


def test_exclusive_labels_soft_truths_and_wrong_thresholds_are_refused():
    metric = MultiLabelMetric(CLASSES)
    one = Label.of("a", CLASSES, SIZE)
    with pytest.raises(AnnotationError, match="exclusive=False"):
        metric.update(one, label([1, 0, 0]))
    with pytest.raises(AnnotationError, match="each truth is 0 or 1"):
        metric.update(label([1, 0, 0]), label([0.5, 0, 0]))
    with pytest.raises(ConfigurationError, match="found 0"):
        MultiLabelMetric(CLASSES, threshold=0)


def test_halves_add_up_to_the_whole():
    generator = np.random.default_rng(0)
    scores, holds = generator.random((10, 3)), generator.integers(0, 2, (10, 3))
    halves = MultiLabelMetric(CLASSES), MultiLabelMetric(CLASSES)
    for number, (said, true) in enumerate(zip(scores, holds, strict=True)):
        halves[number % 2].update(label(said), label(true))
    halves[0].add(halves[1].total)
    assert halves[0].compute() == pytest.approx(measured(scores, holds), nan_ok=True)
