"""Classification figures against hand cases and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from swath.errors import AnnotationError, ConfigurationError, DataError
from swath.geometry.windows import Size
from swath.metrics.classes import class_positions
from swath.metrics.classification import ClassificationMetric
from swath.samples.labels import Label
from swath.samples.vectors import Points

few_examples = settings(deadline=None, max_examples=40)

SIZE = Size(8, 8)
CLASSES = ("a", "b", "c")


def one_hot(index: int, classes: tuple[str, ...] = CLASSES) -> Label:
    return Label.of(classes[index], classes, SIZE)


def measured(true: list[int], said: list[int], classes: tuple[str, ...] = CLASSES) -> dict[str, float]:
    metric = ClassificationMetric(classes)
    for t, s in zip(true, said, strict=True):
        metric.update(one_hot(s, classes), one_hot(t, classes))
    return metric.compute()


def test_macro_f1_of_the_rsmamba_sheet():
    figures = measured([0, 0, 1], [0, 1, 1], ("a", "b"))
    assert figures["F1 (class a)"] == pytest.approx(2 / 3)
    assert figures["F1 (class b)"] == pytest.approx(2 / 3)
    assert round(100 * figures["macro F1"], 2) == 66.67


pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@few_examples
@given(pairs)
def test_figures_equal_scikit_learn(rows):
    true, said = [t for t, _ in rows], [s for _, s in rows]
    figures = measured(true, said)
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, said, labels=[0, 1, 2], average="macro", zero_division=0
    )
    assert figures["macro precision"] == pytest.approx(precision)
    assert figures["macro recall"] == pytest.approx(recall)
    assert figures["macro F1"] == pytest.approx(f1)
    assert figures["accuracy"] == pytest.approx(accuracy_score(true, said))
    weighted = precision_recall_fscore_support(true, said, labels=[0, 1, 2], average="weighted", zero_division=0)
    names = ("weighted precision", "weighted recall", "weighted F1")
    assert [figures[name] for name in names] == pytest.approx(weighted[:3])
    if len(set(true) | set(said)) > 1:
        assert figures["Cohen's kappa"] == pytest.approx(cohen_kappa_score(true, said))


@few_examples
@given(pairs)
def test_confusion_matrix_equals_scikit_learn(rows):
    metric = ClassificationMetric(CLASSES)
    for t, s in rows:
        metric.update(one_hot(s), one_hot(t))
    expected = confusion_matrix([t for t, _ in rows], [s for _, s in rows], labels=[0, 1, 2])
    assert (metric.confusion().counts[:, :3] == expected).all()
    assert metric.confusion().counts[:, 3].sum() == 0


def test_calibration_and_brier_by_hand():
    metric = ClassificationMetric(("a", "b"))
    truth = one_hot(0, ("a", "b"))
    for share in (0.9, 0.9, 0.2):  # right, right, wrong with confidence 0.8
        metric.update(Label(size=SIZE, scores=[share, 1 - share], classes=("a", "b")), truth)
    figures = metric.compute()
    # 0.9 lies in the bin (13/15, 14/15], 0.8 in (11/15, 12/15].
    assert figures["expected calibration error"] == pytest.approx((2 * 0.1 + 0.8) / 3, abs=1e-6)
    assert figures["Brier score"] == pytest.approx((2 * (0.01 + 0.01) + 0.64 + 0.64) / 3, abs=1e-6)


@few_examples
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_calibration_equals_a_plain_loop(seed, count):
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet([0.5, 0.5, 0.5], count).astype(np.float32)
    true = generator.integers(3, size=count)
    metric = ClassificationMetric(CLASSES)
    for row, t in zip(scores, true, strict=True):
        metric.update(Label(size=SIZE, scores=row, classes=CLASSES), one_hot(int(t)))
    expected = 0.0
    confidence, right = scores.max(1).astype(np.float64), scores.argmax(1) == true
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert metric.compute()["expected calibration error"] == pytest.approx(expected, abs=1e-9)
    brier = np.square(scores - np.eye(3)[true]).sum(1).mean()
    assert metric.compute()["Brier score"] == pytest.approx(brier, abs=1e-6)


def test_classes_are_matched_by_name_and_not_by_position():
    metric = ClassificationMetric(("SeaLake", "Forest"))
    metric.update(Label.of("sea_lake", ("forest", "sea_lake"), SIZE), Label.of("SeaLake", ("SeaLake", "Forest"), SIZE))
    assert metric.compute()["accuracy"] == 1


def test_a_predicted_class_unknown_to_the_data_is_wrong_for_its_truth_only():
    metric = ClassificationMetric(("a", "b"))
    metric.update(one_hot(2), one_hot(0, ("a", "b")))
    metric.update(one_hot(1), one_hot(1, ("a", "b")))
    figures = metric.compute()
    assert metric.confusion().counts.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert (figures["accuracy"], figures["F1 (class a)"], figures["F1 (class b)"]) == (0.5, 0, 1)
    assert figures["Brier score"] == 1  # (1 + 1 + 0) / 2: the scores of the unknown class count too


def test_two_halves_add_up_to_the_whole():
    rows = [(0, 1), (1, 1), (2, 0), (2, 2)]
    halves = ClassificationMetric(CLASSES), ClassificationMetric(CLASSES)
    for number, (t, s) in enumerate(rows):
        halves[number % 2].update(one_hot(s), one_hot(t))
    halves[0].add(halves[1].total)
    assert halves[0].compute() == measured([t for t, _ in rows], [s for _, s in rows])


def test_a_metric_without_images_says_so_and_reset_forgets():
    metric = ClassificationMetric(CLASSES)
    metric.update(one_hot(0), one_hot(0))
    metric.reset()
    with pytest.raises(DataError, match="no image yet"):
        metric.compute()


def test_other_kinds_soft_truth_and_unknown_true_classes_are_refused():
    metric = ClassificationMetric(CLASSES)
    points = Points.of([], classes=("a",), height=8, width=8)
    with pytest.raises(AnnotationError, match="compares Label annotations; the prediction is a Points"):
        metric.update(points, one_hot(0))
    with pytest.raises(AnnotationError, match="one class"):
        metric.update(one_hot(0), Label(size=SIZE, scores=[0.5, 0.5, 0], classes=CLASSES))
    with pytest.raises(AnnotationError, match="'d'"):
        metric.update(one_hot(0), Label.of("d", ("d",), SIZE))


def test_class_positions_are_shared_and_cannot_be_changed():
    positions = class_positions(("a", "b"), ("b",))
    assert positions.tolist() == [1, 0]
    with pytest.raises(ValueError, match="read-only"):
        positions[0] = 5


@few_examples
@given(st.integers(0, 2**31), st.integers(1, 40))
def test_top_k_accuracy_equals_scikit_learn(seed, count):
    classes = ("a", "b", "c", "d")
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet([1, 1, 1, 1], count).astype(np.float32)
    true = generator.integers(4, size=count)
    metric = ClassificationMetric(classes, top_k=(1, 2, 3, 4))
    for row, t in zip(scores, true, strict=True):
        metric.update(Label(size=SIZE, scores=row, classes=classes), one_hot(int(t), classes))
    figures = metric.compute()
    for k in (1, 2, 3):
        expected = top_k_accuracy_score(true, scores, k=k, labels=[0, 1, 2, 3])
        assert figures[f"top-{k} accuracy"] == pytest.approx(expected)
    assert figures["top-1 accuracy"] == figures["accuracy"]
    assert "top-4 accuracy" not in figures


def test_top_k_matches_names_and_takes_the_earlier_of_equal_scores():
    metric = ClassificationMetric(CLASSES, top_k=(2,))
    tied = Label(size=SIZE, scores=[0.25, 0.25, 0.25, 0.25], classes=("z", "C", "B", "A"))
    metric.update(tied, one_hot(2))
    metric.update(tied, one_hot(0))
    assert metric.compute()["top-2 accuracy"] == 0.5
    assert "top-5 accuracy" not in measured([0], [0])
    with pytest.raises(ConfigurationError, match="k = "):
        ClassificationMetric(CLASSES, top_k=(0,))


def test_one_image_is_right_or_wrong():
    metric = ClassificationMetric(CLASSES)
    assert metric.right(metric.tally(one_hot(1), one_hot(1))) is True
    assert metric.right(metric.tally(one_hot(1), one_hot(2))) is False


def test_the_reliability_diagram_has_the_means_of_each_bin():
    metric = ClassificationMetric(("a", "b"))
    for share in (0.9, 0.88, 0.25):
        metric.update(Label(size=SIZE, scores=[share, 1 - share], classes=("a", "b")), one_hot(0, ("a", "b")))
    bars = metric.reliability(metric.total).diagram()
    full = {number: bar for number, bar in enumerate(bars) if bar.count}
    # 0.9 and 0.88 (right) lie in (13/15, 14/15], 0.75 (wrong) in (11/15, 12/15].
    assert sorted(full) == [11, 13]
    assert (full[13].count, full[13].accuracy, full[11].accuracy) == (2, 1.0, 0.0)
    assert full[13].confidence == pytest.approx(0.89)
    assert full[11].confidence == pytest.approx(0.75)
    assert (bars[0].low, bars[-1].high) == (0, 1)
    assert np.isnan(bars[0].accuracy)
