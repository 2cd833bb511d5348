"""Change figures against hand cases, the sheets' numbers and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from swath.errors import AnnotationError, ConfigurationError
from swath.geometry.windows import Size
from swath.metrics.base import Tally
from swath.metrics.change import ChangeMetric, SemanticChangeMetric
from swath.metrics.segmentation import RelaxedMatch
from swath.samples.labels import Text
from swath.samples.rasters import ClassMap, Transition

few_examples = settings(deadline=None, max_examples=40)

CHANGE = ("unchanged", "changed")
COVERS = ("water", "tree", "building")
SECOND = ("unchanged", "low vegetation", "ground", "tree", "water", "building", "playground")


def drawn(labels, classes=CHANGE, **options):
    values = np.atleast_2d(np.asarray(labels))
    return ClassMap(size=Size(*values.shape), labels=values, classes=classes, **options)


def transition(before, after, classes=COVERS):
    one, other = drawn(before, classes), drawn(after, classes)
    return Transition(size=one.size, before=one, after=other)


def test_hand_case_of_change():
    metric = ChangeMetric(CHANGE)
    metric.update(drawn([1, 1, 0, 0, 1]), drawn([1, 0, 0, 1, 255]))
    figures = metric.compute()
    # One found, one false, one missed, one rightly unchanged; the unknown pixel does not count.
    assert figures["precision (class changed)"] == figures["recall (class changed)"] == 0.5
    assert figures["F1 (class changed)"] == 0.5
    assert figures["IoU (class changed)"] == pytest.approx(1 / 3)
    assert figures["overall accuracy"] == 0.5
    assert figures["Cohen's kappa"] == 0


label_maps = arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 255]))
known_maps = arrays(np.uint8, (3, 4), elements=st.integers(0, 1))


@few_examples
@given(st.lists(st.tuples(known_maps, label_maps), min_size=1, max_size=4))
def test_change_equals_scikit_learn_over_the_pixels_of_all_images(images):
    metric = ChangeMetric(CHANGE)
    for said, true in images:
        metric.update(drawn(said), drawn(true))
    true = np.concatenate([t[t != 255] for _, t in images])
    said = np.concatenate([s[t != 255] for s, t in images])
    figures = metric.compute()
    if not len(true):
        assert figures["overall accuracy"] == 0
        return
    pairs = {"precision": precision_score, "recall": recall_score, "F1": f1_score, "IoU": jaccard_score}
    for name, function in pairs.items():
        assert figures[f"{name} (class changed)"] == pytest.approx(function(true, said, zero_division=0))
    assert figures["overall accuracy"] == pytest.approx(accuracy_score(true, said))
    if len(set(true) | set(said)) > 1:
        assert figures["Cohen's kappa"] == pytest.approx(cohen_kappa_score(true, said))


def test_tiles_and_the_whole_scene_give_the_same_figures():
    generator = np.random.default_rng(0)
    said, true = generator.integers(0, 2, (2, 8, 8))
    whole, tiled = ChangeMetric(CHANGE), ChangeMetric(CHANGE)
    whole.update(drawn(said), drawn(true))
    for row in (0, 4):
        for column in (0, 4):
            place = (slice(row, row + 4), slice(column, column + 4))
            tiled.update(drawn(said[place]), drawn(true[place]))
    assert tiled.compute() == whole.compute()


def test_figures_are_over_totals_and_not_means_of_images():
    metric = ChangeMetric(CHANGE)
    metric.update(drawn([1, 1, 1]), drawn([1, 1, 1]))
    metric.update(drawn([0]), drawn([1]))
    assert metric.compute()["F1 (class changed)"] == pytest.approx(6 / 7)


def test_transitions_are_measured_by_where_their_classes_differ():
    metric = ChangeMetric(CHANGE)
    metric.update(transition([0, 1, 2, 0], [0, 2, 2, 1]), transition([0, 1, 2, 255], [1, 0, 2, 1]))
    # Said changed: second and fourth; truly changed: first and second; the fourth is unknown.
    assert metric.confusion().counts.tolist() == [[1, 0, 0], [1, 1, 0]]
    metric.reset()
    metric.update(transition([0, 1], [1, 1]), drawn([1, 0]))
    assert metric.compute()["overall accuracy"] == 1


def test_a_shift_within_the_tolerance_is_forgiven():
    true, said = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    true[5:10, 5:10] = 1
    said[5:10, 7:12] = 1
    for tolerance, expected in ((2.0, 1.0), (1.0, 20 / 25)):
        metric = ChangeMetric(CHANGE, tolerance=tolerance)
        metric.update(drawn(said), drawn(true))
        figures = metric.compute()
        counts = RelaxedMatch(class_name="changed", tolerance=tolerance).counts(said > 0, true > 0)
        assert figures[f"relaxed precision (changed, {tolerance:g} px)"] == pytest.approx(counts[1] / counts[0])
        assert figures[f"relaxed F1 (changed, {tolerance:g} px)"] == pytest.approx(expected)
        assert figures["F1 (class changed)"] == pytest.approx(15 / 25)


def test_confidences_of_change_are_calibrated():
    metric = ChangeMetric(CHANGE)
    metric.update(drawn([0, 1], confidence=[[0.9, 0.7]]), drawn([0, 0]))
    assert metric.compute()["expected calibration error"] == pytest.approx((0.1 + 0.7) / 2, abs=1e-6)
    metric.update(drawn([0]), drawn([0]))
    assert metric.reliability(metric.total) is None


def test_what_is_no_change_is_refused():
    with pytest.raises(ConfigurationError, match="two classes"):
        ChangeMetric(COVERS)
    with pytest.raises(ConfigurationError, match="-1"):
        ChangeMetric(CHANGE, tolerance=-1)
    with pytest.raises(AnnotationError, match="the prediction is a Text"):
        ChangeMetric(CHANGE).update(Text(size=Size(1, 1), text="-"), drawn([0]))
    with pytest.raises(AnnotationError, match="compares Transition"):
        SemanticChangeMetric(COVERS).update(drawn([0]), transition([0], [0]))
    with pytest.raises(ConfigurationError, match="'nothing'"):
        SemanticChangeMetric(COVERS, unchanged="nothing")
    with pytest.raises(AnnotationError, match="'road'"):
        SemanticChangeMetric(COVERS).update(transition([0], [0]), transition([0], [0], ("road",)))


def figures_of(matrix, classes=("a", "b")):
    """The figures of a confusion matrix (kinds, kinds + 1) of one image."""
    metric = SemanticChangeMetric(classes)
    counts = np.zeros((metric.kinds, metric.kinds + 1), np.int64)
    counts[: len(matrix), : len(matrix)] = matrix
    return metric.figures(Tally(np.append(counts.ravel(), 1), np.array([np.trace(matrix) / np.sum(matrix)])))


def test_perfect_change_of_one_kind_has_no_kappa_by_the_sheets():
    assert figures_of(np.diag([90, 10]))["SeK"] == 0
    # Two kinds of change, as the sheets of ChangeMamba and FUSU have it.
    for diagonal in ([90, 5, 5], [10, 5, 5]):
        figures = figures_of(np.diag(diagonal))
        for name in ("SeK", "Fscd", "mean IoU", "score", "overall accuracy"):
            assert figures[name] == pytest.approx(1)


def test_hand_case_of_semantic_change():
    # Rows true, columns predicted; kinds 0 (unchanged), 1 and 2.
    matrix = [[80, 2, 1], [3, 6, 1], [2, 1, 4]]
    figures = figures_of(matrix)
    iou = 12 / (12 + 3 + 5), 80 / (80 + 3 + 5)
    assert figures["IoU (changed)"] == pytest.approx(iou[0])
    assert figures["mean IoU"] == pytest.approx(sum(iou) / 2)
    # Without (0, 0): 20 pixels, 10 on the diagonal; rows 3, 10, 7 and columns 5, 9, 6.
    observed, chance = 10 / 20, (3 * 5 + 10 * 9 + 7 * 6) / 20**2
    kappa = (observed - chance) / (1 - chance)
    assert figures["SeK"] == pytest.approx(kappa * math.exp(iou[0] - 1))
    precision, recall = 10 / 15, 10 / 17
    assert figures["Fscd"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert figures["overall accuracy"] == pytest.approx(90 / 100)
    assert figures["score"] == pytest.approx(0.3 * figures["mean IoU"] + 0.7 * figures["SeK"])


def test_kinds_follow_the_published_numbering():
    metric = SemanticChangeMetric(SECOND, unchanged="unchanged")
    assert metric.kinds == 37
    pairs = transition([6, 1, 0, 6, 0], [6, 2, 0, 1, 5], SECOND)
    # A = 6, B = 6 is 36; A = 1, B = 2 is 2; unchanged is 0; (6 - 1) * 6 + 1; from unchanged is none of these.
    assert metric.kind_of(pairs).tolist() == [[36, 2, 0, 31, 37]]


cover_maps = arrays(np.uint8, (3, 5), elements=st.integers(0, 2))
partly_known = arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 2, 255]))


@few_examples
@given(st.lists(st.tuples(cover_maps, cover_maps, partly_known, cover_maps), min_size=1, max_size=3))
def test_semantic_change_equals_plain_counting_and_scikit_learn(images):
    metric = SemanticChangeMetric(COVERS)
    said, true = [], []
    for said_before, said_after, true_before, true_after in images:
        metric.update(transition(said_before, said_after), transition(true_before, true_after))
        known = true_before != 255
        said += [_kind(*pair) for pair in zip(said_before[known], said_after[known], strict=True)]
        true += [_kind(*pair) for pair in zip(true_before[known], true_after[known], strict=True)]
    figures = metric.compute()
    said, true = np.array(said, int), np.array(true, int)
    moving = (said > 0) | (true > 0)
    both = ((said > 0) & (true > 0)).sum()
    iou = both / moving.sum() if moving.any() else 0
    kappa = 0.0
    if len(set(said[moving]) | set(true[moving])) > 1:
        kappa = cohen_kappa_score(true[moving], said[moving])
    assert figures["SeK"] == pytest.approx(kappa * math.exp(iou - 1), abs=1e-12)
    named = ((said == true) & (said > 0)).sum()
    assert figures["Fscd"] == pytest.approx(2 * named / max((said > 0).sum() + (true > 0).sum(), 1))
    assert figures["overall accuracy"] == pytest.approx((said == true).mean() if len(true) else 0)


def _kind(before, after):
    return 0 if before == after else 1 + 3 * int(before) + int(after)


def test_the_published_accuracy_is_the_mean_of_images():
    metric = SemanticChangeMetric(COVERS)
    metric.update(transition([0, 0, 0, 0], [1, 1, 1, 1]), transition([0, 0, 0, 0], [1, 1, 1, 1]))
    metric.update(transition([0], [1]), transition([0], [0]))
    metric.update(transition([0], [1]), transition([255], [0]))  # nothing known: no image
    assert metric.compute()["overall accuracy"] == pytest.approx(4 / 5)
    assert metric.compute()["overall accuracy (mean of images)"] == pytest.approx(1 / 2)


def test_half_a_predicted_change_is_wrong_and_half_a_true_one_does_not_count():
    metric = SemanticChangeMetric(SECOND, unchanged="unchanged")
    half, whole, none = transition([0], [5], SECOND), transition([3], [5], SECOND), transition([0], [0], SECOND)
    metric.update(half, whole)
    metric.update(half, none)
    assert metric.confusion().counts[:, -1].sum() == 2
    assert metric.compute()["IoU (changed)"] == 1 / 2
    assert metric.compute()["Fscd"] == 0
    before = metric.confusion().counts.copy()
    metric.update(whole, half)
    assert (metric.confusion().counts == before).all()
