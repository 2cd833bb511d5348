"""COCO's average precision against pycocotools where it is installed, and against cases computed by hand."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from detection_cases import CLASSES, FRAME, as_masks, boxes, images

from swath.errors import AnnotationError, ConfigurationError
from swath.geometry.windows import Size
from swath.metrics.average_precision import CocoMetric
from swath.metrics.sizes import SizeRanges
from swath.samples import Instances, Points

ALL = "AP (COCO, all detections)"
CAPPED = "AP (COCO, 100 detections)"


def measured(pairs, metric):
    for said, true in pairs:
        metric.update(said, true)
    return metric.compute()


def coco_rows(objects, *, image, truth):
    """Return an image's objects as the entries of a COCO file or of a list of results."""
    areas = [mask.area for mask in objects.masks] if isinstance(objects, Instances) else None
    for number, (x1, y1, x2, y2) in enumerate(objects.boxes.astype(float).tolist()):
        row = {"image_id": image, "category_id": int(objects.labels[number]) + 1}
        if areas is not None:
            mask = objects.masks[number]
            row["segmentation"] = {"size": [mask.size.height, mask.size.width], "counts": mask.to_coco_string()}
        if areas is None or truth:
            row["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        if truth:
            area = (x2 - x1) * (y2 - y1) if areas is None else areas[number]
            row |= {"area": area, "iscrowd": int(objects.ignored[number])}
        else:
            row["score"] = float(objects.scores[number])
        yield row


def by_pycocotools(pairs, *, shape, cap, limits=None):
    """Return the figures of the published evaluator; nothing of it is patched."""
    coco_module = pytest.importorskip("pycocotools.coco", reason="the published evaluator is not installed")
    evaluator_module = pytest.importorskip("pycocotools.cocoeval")
    truths = [row for at, (_, true) in enumerate(pairs, 1) for row in coco_rows(true, image=at, truth=True)]
    results = [row for at, (said, _) in enumerate(pairs, 1) for row in coco_rows(said, image=at, truth=False)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = {
            "images": [{"id": at, "height": FRAME.height, "width": FRAME.width} for at in range(1, len(pairs) + 1)],
            "categories": [{"id": at, "name": name} for at, name in enumerate(CLASSES, 1)],
            "annotations": [row | {"id": number} for number, row in enumerate(truths, 1)],
        }
        truth.createIndex()
        evaluator = evaluator_module.COCOeval(truth, truth.loadRes(results), {"boxes": "bbox", "masks": "segm"}[shape])
        evaluator.params.maxDets = sorted({1, min(10, cap), cap})
        if limits is not None:
            evaluator.params.areaRng[1:] = limits
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"], evaluator.eval["recall"]


def known_mean(values):
    known = values[values > -1]
    return known.mean() if known.size else math.nan


def check_against_pycocotools(pairs, *, shape, cap, sizes=None, limits=None):
    precision, recall = by_pycocotools(pairs, shape=shape, cap=10**6 if cap is None else cap, limits=limits)
    metric = CocoMetric(CLASSES, shape=shape, cap=cap, **({} if sizes is None else {"sizes": sizes}))
    figures = measured(pairs, metric)
    told = metric.headlines[0].removeprefix("AP ")
    expected = {
        f"AP {told}": known_mean(precision[:, :, :, 0, -1]),
        f"AP50 {told}": known_mean(precision[0, :, :, 0, -1]),
        f"AP75 {told}": known_mean(precision[5, :, :, 0, -1]),
        f"AP90 {told}": known_mean(precision[8, :, :, 0, -1]),
        f"AR {told}": known_mean(recall[:, :, 0, -1]),
    }
    for place, size in enumerate(map(metric.sizes.told, range(3)), start=1):
        expected[f"AP {size} {told}"] = known_mean(precision[:, :, :, place, -1])
        expected[f"AR {size} {told}"] = known_mean(recall[:, :, place, -1])
    for place, name in enumerate(CLASSES):
        expected[f"AP (class {name}, {told[1:]}"] = known_mean(precision[:, :, place, 0, -1])
    if cap is None or cap > 10:
        measured_of = told.partition(",")[0]
        expected[f"AR {measured_of}, 1 detection)"] = known_mean(recall[:, :, 0, 0])
        expected[f"AR {measured_of}, 10 detections)"] = known_mean(recall[:, :, 0, 1])
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name
    return figures


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cap", [3, 100, None])
def test_boxes_equal_the_published_evaluator(seed, cap):
    figures = check_against_pycocotools(images(seed), shape="boxes", cap=cap)
    assert 0 < next(iter(figures.values())) < 1


@pytest.mark.parametrize("cap", [2, 100])
def test_masks_equal_the_published_evaluator(cap):
    pairs = [(as_masks(said), as_masks(true)) for said, true in images(7, 6, truths=7, strays=3, sides=(6, 120))]
    check_against_pycocotools(pairs, shape="masks", cap=cap)


def test_boxes_of_truths_with_masks_have_the_size_of_the_mask():
    # An ellipse has 79 % of its box's area, so that objects change their range.
    pairs = [(said, as_masks(true)) for said, true in images(9, 8, sides=(24, 44))]
    check_against_pycocotools(pairs, shape="boxes", cap=100)


def test_sizes_in_metres_equal_the_published_evaluator_with_limits_in_pixels():
    sizes = SizeRanges(limits=(0, 20, 50, math.inf), gsd=0.5)
    limits = [[0, 40**2], [40**2, 100**2], [100**2, 1e10]]
    figures = check_against_pycocotools(images(3), shape="boxes", cap=100, sizes=sizes, limits=limits)
    assert "AP medium, 20 to 50 m (COCO, 100 detections)" in figures
    assert "AP large, from 50 m (COCO, 100 detections)" in figures


def test_crowded_images_equal_the_published_evaluator():
    generator = np.random.default_rng(1)
    corners = np.repeat(generator.uniform(0, 100, (60, 2)).round(), 2, axis=1)[:, [0, 2, 1, 3]]
    corners[:, 2:] += generator.uniform(10, 40, (60, 2)).round()
    true = boxes(corners, classes=CLASSES, ignored=generator.random(60) < 0.1)
    moved = np.concatenate([corners, corners + 2, corners + 1])
    said = boxes(moved, classes=CLASSES, scores=generator.integers(1, 9, len(moved)) / 8)
    check_against_pycocotools([(said, true)] * 2, shape="boxes", cap=100)


def many_perfect_boxes():
    row, column = np.divmod(np.arange(400), 20)
    corners = np.stack([column * 12, row * 12, column * 12 + 10, row * 12 + 10], axis=1)
    return boxes(corners, size=Size(240, 240))


def test_400_perfect_boxes_score_1_once_the_cap_is_lifted_and_the_capped_figure_says_so():
    perfect = many_perfect_boxes()
    assert measured([(perfect, perfect)], CocoMetric(("ship",), cap=None))[ALL] == 1.0
    capped = measured([(perfect, perfect)], CocoMetric(("ship",)))
    assert ALL not in capped
    # A quarter is found: precision 1 at the recalls 0 to 0.25, which are 26 of 101.
    assert capped[CAPPED] == pytest.approx(26 / 101)
    assert capped["AR (COCO, 100 detections)"] == pytest.approx(0.25)
    assert capped["AR (COCO, 1 detection)"] == pytest.approx(1 / 400)
    assert "AP (COCO, 400 detections)" in measured([(perfect, perfect)], CocoMetric(("ship",), cap=400))


def test_a_case_by_hand():
    true = boxes([[0, 0, 10, 10], [20, 0, 30, 10]])
    # Overlap 0.6 with the first truth, then nothing, then all of the second.
    said = boxes([[0, 0, 10, 6], [60, 60, 70, 70], [20, 0, 30, 10]], scores=[0.9, 0.8, 0.7])
    figures = measured([(said, true)], CocoMetric(("ship",)))
    # To 0.6: precision 1 to recall 0.5 (51 points), then 2/3. From 0.65: only the third, 1/3 to recall 0.5.
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 3 / 101
    assert figures["AP50 (COCO, 100 detections)"] == pytest.approx(low)
    assert figures["AP75 (COCO, 100 detections)"] == pytest.approx(high)
    assert figures[CAPPED] == pytest.approx((3 * low + 7 * high) / 10)
    assert figures["AR (COCO, 100 detections)"] == pytest.approx((3 * 1 + 7 * 0.5) / 10)


def test_what_lies_in_a_crowd_counts_neither_way_but_objects_before_it_are_found_first():
    true = boxes([[0, 0, 100, 100], [0, 0, 20, 20]], ignored=[True, False])
    inside = boxes([[0, 0, 20, 20], [40, 40, 50, 50], [60, 60, 70, 70]], scores=[0.1, 0.9, 0.9])
    assert measured([(inside, true)], CocoMetric(("ship",)))[CAPPED] == pytest.approx(1)
    # Half outside the crowd is a share of 0.5, enough at the first threshold alone.
    edge = boxes([[0, 0, 20, 20], [90, 0, 110, 10]], scores=[0.1, 0.9])
    assert measured([(edge, true)], CocoMetric(("ship",)))[CAPPED] == pytest.approx(0.1 * 1 + 0.9 * 0.5)


def test_objects_of_another_size_are_no_mistakes_of_this_size():
    true = boxes([[0, 0, 20, 20], [100, 100, 200, 200]])
    said = boxes([[0, 0, 20, 20], [100, 100, 200, 200], [210, 0, 310, 100]], scores=[0.5, 0.9, 0.8])
    figures = measured([(said, true)], CocoMetric(("ship",)))
    assert figures["AP small (COCO, 100 detections)"] == pytest.approx(1)
    assert math.isnan(figures["AP medium (COCO, 100 detections)"])
    assert figures["AP large (COCO, 100 detections)"] == pytest.approx(1)
    alone = measured([(said, true)], CocoMetric(("ship",), sizes=None))
    assert not any("small" in name for name in alone) and alone[CAPPED] == figures[CAPPED]


def test_classes_match_by_name_and_those_without_truth_are_left_out():
    true = boxes([[0, 0, 10, 10]], classes=("Storage Tank", "ship"))
    said = boxes([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], classes=("cow", "storage-tank"), labels=[1, 0, 0])
    figures = measured([(said, true)], CocoMetric(("storage_tank", "ship")))
    assert figures[CAPPED] == pytest.approx(1)
    assert math.isnan(figures["AP (class ship, COCO, 100 detections)"])


def test_images_without_detections_or_truths():
    nothing, one = boxes([]), boxes([[0, 0, 10, 10]])
    assert math.isnan(measured([(nothing, nothing)], CocoMetric(("ship",)))[CAPPED])
    assert measured([(nothing, one)], CocoMetric(("ship",)))[CAPPED] == 0
    figures = measured([(nothing, one), (one, one), (one, nothing)], CocoMetric(("ship",)))
    # All scores are 1, and the hit comes first: precision 1 to half of the recall.
    assert figures[CAPPED] == pytest.approx(51 / 101)


def test_what_cannot_be_measured_is_refused():
    one = boxes([[0, 0, 10, 10]])
    metric = CocoMetric(("ship",))
    with pytest.raises(AnnotationError, match="prediction is Points"):
        metric.update(Points.of([[1, 1]], classes=("ship",), height=FRAME.height, width=FRAME.width), one)
    with pytest.raises(AnnotationError, match="the frame of its truth"):
        metric.update(boxes([], size=Size(8, 8)), one)
    with pytest.raises(AnnotationError, match="'cow', which is none"):
        metric.update(one, boxes([[0, 0, 1, 1]], classes=("cow",)))
    with pytest.raises(AnnotationError, match="masks needs Instances"):
        CocoMetric(("ship",), shape="masks").update(one, one)
    for settings, message in (
        ({"cap": 0}, "At least 1 detection"),
        ({"shape": "circles"}, "found 'circles'"),
        ({"thresholds": (0.0,)}, "above 0"),
        ({"thresholds": ()}, "1 to 31"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            CocoMetric(("ship",), **settings)
    with pytest.raises(ConfigurationError, match="rising"):
        SizeRanges(limits=(0, 5, 5), names=("a", "b"))
    with pytest.raises(ConfigurationError, match="metres a pixel"):
        SizeRanges(gsd=0)
