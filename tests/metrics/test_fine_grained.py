"""Fine classes, categories and their confusion, against cases computed by hand and the measure of each level alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detection_cases import CLASSES, boxes, images, turned

from swath.errors import ConfigurationError
from swath.metrics.fine_grained import FineGrainedMetric
from swath.metrics.voc_precision import VocMetric

NAMES = ("A220", "A321", "Tugboat")
CATEGORIES = ("Airplane", "Airplane", "Ship")


def test_a_sub_type_taken_for_another_is_found_coarsely_and_stands_in_the_confusion():
    truth = turned([[60, 60, 40, 20, 0.3]], classes=NAMES)
    said = turned([[60, 60, 39, 20, 0.3]], classes=NAMES, labels=[1])
    metric = FineGrainedMetric(NAMES, CATEGORIES)
    metric.update(said, truth)
    figures = metric.compute()
    at = "VOC07, oriented boxes, IoU 0.5"
    assert [figures[f"mAP ({level}, {at})"] for level in ("fine", "coarse", "one class")] == pytest.approx([0, 1, 1])
    assert figures[f"coarse less fine mAP ({at})"] == pytest.approx(1)
    assert figures[f"AP (class A220, {at})"] == 0 and np.isnan(figures[f"AP (class A321, {at})"])
    assert figures[f"AP (category Airplane, {at})"] == pytest.approx(1)
    assert figures["fine class right of those found (IoU 0.5, score 0.3)"] == 0
    assert metric.confusion().counts.tolist() == [[0, 1, 0, 0, 0], [0] * 5, [0] * 5, [0] * 5]


def test_each_truth_stands_in_the_confusion_once_and_what_lies_on_ignored_ones_not_at_all():
    true = boxes(
        [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]],
        labels=[0, 1, 2, 2],
        ignored=[False, False, False, True],
        classes=NAMES,
    )
    said = boxes(
        [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [60, 0, 70, 10], [90, 90, 99, 99], [40, 0, 50, 10]],
        labels=[0, 1, 2, 2, 1, 2],
        scores=[0.9, 0.8, 0.3, 0.9, 0.5, 0.29],
        classes=NAMES,
    )
    metric = FineGrainedMetric(NAMES, CATEGORIES, shape="boxes")
    metric.update(said, true)
    matrix = metric.confusion()
    # The second box of the first truth and the stray are false; the last truth is found too unsurely.
    assert matrix.counts[:, :4].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 2, 0, 0]]
    assert matrix.classes == (*NAMES, "background") and not matrix.counts[:, 4].any()
    assert metric.compute()["fine class right of those found (IoU 0.5, score 0.3)"] == 0.5


def test_each_level_equals_its_measure_alone():
    pairs = images(21, 10)
    categories = ("moves", "moves", "stays")
    metric = FineGrainedMetric(CLASSES, categories, shape="boxes")
    fine = VocMetric(CLASSES, thresholds=metric.thresholds)
    coarse = VocMetric(("moves", "stays"), thresholds=metric.thresholds)
    whole = VocMetric(("thing",), thresholds=metric.thresholds, form="area")

    def mapped(drawn, names, labels):
        return replace(drawn, classes=names, labels=np.array(labels)[drawn.labels])

    for said, true in pairs:
        metric.update(said, true)
        fine.update(said, true)
        coarse.update(*(mapped(drawn, ("moves", "stays"), [0, 0, 1]) for drawn in (said, true)))
        whole.update(*(mapped(drawn, ("thing",), [0, 0, 0]) for drawn in (said, true)))
    figures = metric.compute()
    for level, alone in (("fine", fine), ("coarse", coarse)):
        for at in ("IoU 0.5", "mean over IoU 0.5 to 0.95"):
            assert figures[f"mAP ({level}, VOC07, {at})"] == pytest.approx(alone.compute()[f"mAP (VOC07, {at})"])
    assert figures["mAP (one class, area, IoU 0.5)"] == pytest.approx(whole.compute()["mAP (area, IoU 0.5)"])
    assert all(name in figures for name in metric.headlines)
    asked = sum(int((~true.ignored).sum()) for _, true in pairs)
    assert metric.confusion().counts[:3].sum() == asked


def test_each_class_needs_a_category():
    with pytest.raises(ConfigurationError, match="3 classes needs its category; found 1"):
        FineGrainedMetric(NAMES, ("Airplane",))
