"""Average precision of Pascal VOC and DOTA against a plain transcription of the rule, and against hand cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from detection_cases import CLASSES, boxes, images, turned

from swath.errors import AnnotationError, ConfigurationError
from swath.metrics import overlaps
from swath.metrics.sizes import SizeRanges
from swath.metrics.voc_precision import VocMetric

VOC07, AREA = "mAP (VOC07, IoU 0.5)", "mAP (area, IoU 0.5)"
IN_TURN = "mAP (VOC07, oriented boxes, IoU 0.5)"
BRIDGES = SizeRanges(limits=(0, 30, 80, 20000), names=("short", "middle", "large"), of="length", half_open=True)


def measured(pairs, **settings):
    metric = VocMetric(settings.pop("classes", ("ship",)), **settings)
    for said, true in pairs:
        metric.update(said, true)
    return metric.compute()


def polygon_iou(one, other):
    shared = one.intersection(other).area
    return shared / (one.area + other.area - shared)


def by_the_published_loop(pairs, label, *, form, threshold, strict, length=None):
    """Pool the detections of a class, walk down them by score, and average as the development kits do."""
    truths, positives = {}, 0
    for image, (_, true) in enumerate(pairs):
        rows = [
            {"shape": shape, "difficult": bool(ignored), "found": False}
            for shape, kind, ignored in zip(true.outlines(), true.labels, true.ignored, strict=True)
            if kind == label
        ]
        for row in rows:
            row["difficult"] |= length is not None and not length[0] <= longer(row["shape"]) < length[1]
        truths[image] = rows
        positives += sum(not row["difficult"] for row in rows)
    pooled = [
        (score, image, shape)
        for image, (said, _) in enumerate(pairs)
        for score, kind, shape in zip(said.scores, said.labels, said.outlines(), strict=True)
        if kind == label
    ]
    pooled = [pooled[at] for at in np.argsort([-row[0] for row in pooled], kind="stable")]
    hits, false = [], []
    for _, image, shape in pooled:
        ious = [polygon_iou(shape, row["shape"]) for row in truths[image]]
        best = int(np.argmax(ious)) if ious else -1
        reached = bool(ious) and (ious[best] > threshold if strict else ious[best] >= threshold)
        hit = wrong = False
        if reached and not truths[image][best]["difficult"]:
            hit, wrong = not truths[image][best]["found"], truths[image][best]["found"]
            truths[image][best]["found"] = True
        elif not reached:
            wrong = length is None or length[0] <= longer(shape) < length[1]
        hits.append(hit)
        false.append(wrong)
    if positives == 0:
        return math.nan
    recall = np.cumsum(hits) / positives
    precision = np.cumsum(hits) / np.maximum(np.cumsum(hits) + np.cumsum(false), np.finfo(float).eps)
    if form == "VOC07":
        reach = [precision[recall >= least] for least in np.arange(0.0, 1.1, 0.1)]
        return sum(best.max() if len(best) else 0.0 for best in reach) / 11
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(((recall[steps + 1] - recall[steps]) * precision[steps + 1]).sum())


def longer(shape):
    x, y = np.array(shape.exterior.coords).T
    return np.hypot(np.diff(x), np.diff(y)).max()


@pytest.mark.parametrize("form", ["VOC07", "area"])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("shape", ["boxes", "polygons"])
def test_figures_equal_the_published_loop(form, strict, shape):
    pairs = images(11, 10)
    figures = measured(pairs, classes=CLASSES, shape=shape, form=form, strict=strict, thresholds=(0.5, 0.75))
    drawn = "" if shape == "boxes" else "polygons, "
    over = "IoU > " if strict else "IoU "
    at = {
        threshold: [
            by_the_published_loop(pairs, label, form=form, threshold=threshold, strict=strict) for label in range(3)
        ]
        for threshold in (0.5, 0.75)
    }
    for threshold, by_class in at.items():
        assert figures[f"mAP ({form}, {drawn}{over}{threshold})"] == pytest.approx(np.nanmean(by_class), abs=1e-12)
    both = f"{form}, {drawn}mean over {over}0.5, 0.75"
    for label, name in enumerate(CLASSES):
        expected = np.mean([by_class[label] for by_class in at.values()])
        assert figures[f"AP (class {name}, {both})"] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert 0.1 < figures[f"mAP ({both})"] < 0.9


def test_ranges_of_length_equal_the_published_loop():
    pairs = images(5, 12)
    figures = measured(pairs, classes=CLASSES, sizes=BRIDGES)
    for name, length in (("short, 0 to 30 px long", (0, 30)), ("middle, 30 to 80 px long", (30, 80))):
        by_class = [
            by_the_published_loop(pairs, label, form="VOC07", threshold=0.5, strict=False, length=length)
            for label in range(3)
        ]
        assert figures[f"mAP {name} (VOC07, IoU 0.5)"] == pytest.approx(np.nanmean(by_class), abs=1e-12)
    assert figures[VOC07] == measured(pairs, classes=CLASSES)[VOC07]


def test_two_hits_with_a_mistake_between_them():
    true = boxes([[0, 0, 10, 10], [20, 0, 30, 10]])
    said = boxes([[0, 0, 10, 10], [60, 60, 70, 70], [20, 0, 30, 10]], scores=[0.9, 0.8, 0.7])
    assert measured([(said, true)])[VOC07] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert measured([(said, true)], form="area")[AREA] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_second_detection_of_one_truth_is_false_even_where_another_truth_is_free():
    true = boxes([[0, 0, 10, 10], [4, 0, 14, 10]])
    # The second overlaps the first truth by 9/11 and the free one by 7/13.
    said = boxes([[0, 0, 10, 10], [1, 0, 11, 10]], scores=[0.9, 0.8])
    assert measured([(said, true)], form="area")[AREA] == 0.5
    alone = replace(said, scores=[0.8, 0.9])
    # Taken first, it takes the first truth, and the exact detection is the duplicate.
    assert measured([(alone, true)], form="area")[AREA] == 0.5


def test_detections_of_the_whole_set_are_taken_by_score():
    one, nothing = boxes([[0, 0, 10, 10]], scores=[0.5]), boxes([])
    surer = replace(one, scores=[0.9])
    truth = boxes([[0, 0, 10, 10]])
    assert measured([(one, truth), (surer, nothing)], form="area")[AREA] == 0.5
    assert measured([(surer, truth), (one, nothing)], form="area")[AREA] == 1


def test_difficult_truths_are_neither_found_nor_missed():
    true = boxes([[0, 0, 10, 10], [20, 0, 30, 10]], ignored=[False, True])
    said = boxes([[20, 0, 30, 10], [21, 0, 31, 10], [0, 0, 10, 10]], scores=[0.9, 0.8, 0.7])
    assert measured([(said, true)])[VOC07] == pytest.approx(1)
    assert measured([(said.select([2]), true)])[VOC07] == pytest.approx(1)
    assert math.isnan(measured([(said, replace(true, ignored=[True, True]))])[VOC07])


def test_an_overlap_on_the_threshold_counts_unless_the_rule_is_strict():
    true, said = boxes([[0, 0, 10, 10]]), boxes([[0, 0, 10, 5]])
    assert measured([(said, true)])[VOC07] == pytest.approx(1)
    assert measured([(said, true)], strict=True)["mAP (VOC07, IoU > 0.5)"] == 0


def test_classes_without_truth_leave_the_mean_alone_and_those_never_found_pull_it_down():
    true = boxes([[0, 0, 10, 10], [20, 0, 30, 10]], labels=[0, 1], classes=CLASSES)
    said = boxes([[0, 0, 10, 10], [60, 60, 70, 70]], labels=[0, 2], classes=CLASSES)
    figures = measured([(said, true)], classes=CLASSES)
    assert figures[VOC07] == pytest.approx(0.5)
    assert figures["AP (class ship, VOC07, IoU 0.5)"] == 0
    assert math.isnan(figures["AP (class court, VOC07, IoU 0.5)"])


def shaken(seed, count=60):
    generator = np.random.default_rng(seed)
    place = generator.uniform(20, 200, (count, 2))
    true = np.column_stack([place, generator.uniform(8, 40, (count, 2)), generator.uniform(-1.5, 1.5, count)])
    moves = np.column_stack([generator.normal(0, 1.5, (count, 4)), generator.normal(0, 0.1, count)])
    said = np.abs(true + moves) * np.sign(true)
    labels = generator.integers(0, 2, count)
    return (
        turned(said, labels=labels, scores=generator.random(count), classes=CLASSES),
        turned(true, labels=labels, ignored=generator.random(count) < 0.1, classes=CLASSES),
    )


def test_oriented_boxes_equal_the_published_loop_over_polygons():
    pairs = [shaken(seed) for seed in range(3)]
    figures = measured(pairs, classes=CLASSES, shape="oriented boxes")
    by_class = [by_the_published_loop(pairs, label, form="VOC07", threshold=0.5, strict=False) for label in range(2)]
    assert figures[IN_TURN] == pytest.approx(np.mean(by_class), abs=1e-9)
    as_polygons = measured(pairs, classes=CLASSES, shape="polygons")
    assert as_polygons["mAP (VOC07, polygons, IoU 0.5)"] == pytest.approx(figures[IN_TURN], abs=1e-9)


def test_a_turned_box_overlaps_its_upright_twin_by_the_octagon_between_them():
    side = 10.0
    true, said = turned([[50, 50, side, side, 0]]), turned([[50, 50, side, side, math.pi / 4]])
    octagon = 2 * (math.sqrt(2) - 1) * side**2
    pairs = overlaps.meetings(said, true, "oriented boxes")
    assert pairs.overlap.tolist() == pytest.approx([octagon / (2 * side**2 - octagon)])
    region = overlaps.meetings(said, true, "oriented boxes", regions=np.array([True]))
    assert region.overlap.tolist() == pytest.approx([octagon / side**2])


def test_only_pairs_that_meet_are_compared():
    generator = np.random.default_rng(3)
    sets = [generator.uniform(0, 200, (count, 4)) for count in (80, 90)]
    drawn = [boxes(np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:] / 8 + 0.5], axis=1)) for rows in sets]
    pairs = overlaps.meetings(*drawn, "boxes")
    shapes = [shapely.box(*drawn_boxes.boxes.astype(float).T) for drawn_boxes in drawn]
    shared = shapely.area(shapely.intersection(shapes[0][:, None], shapes[1][None]))
    rows, columns = np.nonzero(shared)
    assert pairs.said.tolist() == rows.tolist() and pairs.true.tolist() == columns.tolist()
    union = shapely.area(shapes[0])[rows] + shapely.area(shapes[1])[columns] - shared[rows, columns]
    np.testing.assert_allclose(pairs.overlap, shared[rows, columns] / union, rtol=1e-6)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigurationError, match="VOC07 or area"):
        VocMetric(("ship",), form="COCO")
    with pytest.raises(AnnotationError, match="oriented boxes needs OrientedBoxes; the truth is Boxes"):
        measured([(turned([[5, 5, 2, 2, 0]]), boxes([[0, 0, 1, 1]]))], shape="oriented boxes")
