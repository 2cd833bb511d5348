"""Segmentation figures against the sheet's hand case, scikit-learn and a brute-force distance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, jaccard_score, precision_recall_fscore_support

from swath.errors import AnnotationError, ConfigurationError
from swath.geometry.windows import Size
from swath.metrics.segmentation import RelaxedMatch, SegmentationMetric
from swath.samples.rasters import ClassMap

few_examples = settings(deadline=None, max_examples=40)

BUILDINGS = ("background", "building")
THREE = ("a", "b", "c")


def drawn(labels, classes=THREE, **options):
    values = np.atleast_2d(np.asarray(labels))
    return ClassMap(size=Size(*values.shape), labels=values, classes=classes, **options)


def test_hand_case_of_the_effnet_unetpp_sheet():
    metric = SegmentationMetric(BUILDINGS)
    metric.update(drawn([1, 1, 0, 0], BUILDINGS), drawn([1, 0, 0, 0], BUILDINGS))
    figures = metric.compute()
    assert figures["IoU (class building)"] == pytest.approx(1 / 2)
    assert figures["IoU (class background)"] == pytest.approx(2 / 3)
    assert figures["mean IoU"] == pytest.approx(7 / 12)
    assert figures["overall accuracy"] == pytest.approx(3 / 4)
    assert figures["mean precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert figures["mean accuracy"] == pytest.approx((1 + 2 / 3) / 2)


label_maps = arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 255]))
known_maps = arrays(np.uint8, (3, 4), elements=st.integers(0, 2))


@few_examples
@given(st.lists(st.tuples(known_maps, label_maps), min_size=1, max_size=4))
def test_figures_equal_scikit_learn_over_the_pixels_of_all_images(images):
    metric = SegmentationMetric(THREE)
    for said, true in images:
        metric.update(drawn(said), drawn(true))
    true = np.concatenate([t[t != 255] for _, t in images])
    said = np.concatenate([s[t != 255] for s, t in images])
    figures = metric.compute()
    assert metric.confusion().counts.sum() == len(true)
    if not len(true):
        assert math.isnan(figures["mean IoU"])
        return
    present = sorted(set(true) | set(said))
    precision, recall, f1, _ = precision_recall_fscore_support(true, said, labels=present, zero_division=0)
    iou = jaccard_score(true, said, labels=present, average=None, zero_division=0)
    assert figures["overall accuracy"] == pytest.approx(accuracy_score(true, said))
    assert figures["mean accuracy"] == pytest.approx(recall.mean())
    assert figures["mean precision"] == pytest.approx(precision.mean())
    assert figures["mean F1"] == pytest.approx(f1.mean())
    assert figures["mean IoU"] == pytest.approx(iou.mean())
    for number, name in enumerate(THREE):
        value = figures[f"IoU (class {name})"]
        assert math.isnan(value) if number not in present else value == pytest.approx(iou[present.index(number)])


def test_totals_stay_exact_far_beyond_what_floats_hold():
    metric = SegmentationMetric(BUILDINGS)
    metric.update(drawn([0, 0, 1], BUILDINGS), drawn([0, 0, 1], BUILDINGS))
    for _ in range(60):
        metric.add(metric.total)
    metric.update(drawn([0, 0, 1], BUILDINGS), drawn([0, 0, 1], BUILDINGS))
    assert metric.confusion().counts.tolist() == [[2 * (2**60 + 1), 0, 0], [0, 2**60 + 1, 0]]


def test_predicted_unknown_and_foreign_classes_are_wrong():
    metric = SegmentationMetric(BUILDINGS)
    metric.update(drawn([255, 1, 0], BUILDINGS), drawn([1, 1, 0], BUILDINGS))
    metric.update(drawn([1, 0], ("building", "road")), drawn([0, 1], BUILDINGS))
    assert metric.confusion().counts.tolist() == [[1, 0, 1], [0, 2, 1]]


def test_confidence_of_pixels_is_calibrated_when_all_images_have_it():
    truth = drawn([0, 0, 1, 255], BUILDINGS)
    sure = drawn([0, 1, 1, 0], BUILDINGS, confidence=[[0.9, 0.9, 0.7, 0.1]])
    metric = SegmentationMetric(BUILDINGS)
    metric.update(sure, truth)
    # 0.9 and 0.9: one right of two; 0.7: right; the unknown pixel does not count.
    assert metric.compute()["expected calibration error"] == pytest.approx((0.8 + 0.3) / 3, abs=1e-6)
    metric.update(drawn([0, 0, 1, 0], BUILDINGS), truth)
    assert "expected calibration error" not in metric.compute()


def test_relaxed_match_forgives_a_shift_within_the_tolerance_only():
    true, said = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    true[5:10, 5:10] = 1
    said[5:10, 8:13] = 1  # shifted by 3
    for tolerance, expected in ((3.0, 1.0), (0.0, 2 / 5)):
        metric = SegmentationMetric(BUILDINGS, relaxed=RelaxedMatch(class_name="building", tolerance=tolerance))
        metric.update(drawn(said, BUILDINGS), drawn(true, BUILDINGS))
        figures = metric.compute()
        assert figures[f"relaxed precision (building, {tolerance:g} px)"] == pytest.approx(expected)
        assert figures[f"relaxed recall (building, {tolerance:g} px)"] == pytest.approx(expected)


masks = arrays(np.bool_, (6, 7))


@few_examples
@given(masks, masks, st.sampled_from([0.0, 1.0, 1.5, 3.0]))
def test_relaxed_counts_equal_brute_force(said, true, tolerance):
    def near(here, there):
        ones, others = np.argwhere(here), np.argwhere(there)
        if not len(ones) or not len(others):
            return 0
        distance = np.linalg.norm(ones[:, None] - others[None], axis=2).min(axis=1)
        return int((distance <= tolerance).sum())

    counts = RelaxedMatch(class_name="building", tolerance=tolerance).counts(said, true)
    assert counts.tolist() == [said.sum(), near(said, true), true.sum(), near(true, said)]


def test_relaxed_match_leaves_unknown_pixels_out():
    metric = SegmentationMetric(BUILDINGS, relaxed=RelaxedMatch(class_name="building", tolerance=1.0))
    metric.update(drawn([1, 1, 0, 0], BUILDINGS), drawn([1, 0, 0, 255], BUILDINGS))
    assert metric.compute()["relaxed precision (building, 1 px)"] == 1
    metric.reset()
    metric.update(drawn([0, 0, 0, 1], BUILDINGS), drawn([1, 0, 0, 255], BUILDINGS))
    assert metric.compute()["relaxed F1 (building, 1 px)"] == 0


def test_frames_and_settings_that_do_not_fit_are_refused():
    metric = SegmentationMetric(BUILDINGS)
    with pytest.raises(AnnotationError, match="on the frame of its truth"):
        metric.update(drawn([0, 0], BUILDINGS), drawn([0, 0, 0], BUILDINGS))
    with pytest.raises(ConfigurationError, match="road"):
        SegmentationMetric(BUILDINGS, relaxed=RelaxedMatch(class_name="road"))
    with pytest.raises(ConfigurationError, match="-1"):
        RelaxedMatch(class_name="road", tolerance=-1)
