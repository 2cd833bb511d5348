"""Protocols of detection and counting, each evaluated on images whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_data import Answering, MadeSpec

from swath.benchmarks.kinds import (
    counting_protocol,
    detection_protocol,
    fine_grained_protocol,
    oriented_detection_protocol,
)
from swath.benchmarks.protocol import evaluate
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.metrics.sizes import SizeRanges
from swath.samples import Boxes, OrientedBoxes, Points
from swath.samples.sample import Sample

CLASSES = ("ship", "court")
SIZE = Size(64, 64)


def made(*truths, classes=CLASSES) -> MadeSpec:
    grey = Pixels.from_array(np.zeros((1, 64, 64), np.uint8), [Band(name="g", role="green")], Unit.EIGHT_BIT)
    samples = (Sample(key=str(at), images={"image": grey}, target=truth) for at, truth in enumerate(truths))
    return MadeSpec("made", classes, tuple(samples))


def answering(answer, classes=CLASSES) -> Answering:
    return Answering("made", classes, answer)


def boxes(corners, **fields) -> Boxes:
    return Boxes(size=SIZE, boxes=corners, classes=CLASSES, **fields)


TWO = boxes([[0, 0, 10, 10], [20, 20, 30, 30]], labels=[0, 1])


def test_coco_finds_half_and_names_its_cap():
    spec = made(TWO, TWO)
    only_ships = answering(lambda sample: sample.target.select(sample.target.labels == 0))
    report = evaluate(only_ships, detection_protocol(spec), ".")
    assert (report.protocol, report.watch) == ("made/coco-100", "AP (COCO, 100 detections)")
    assert report.headline == pytest.approx(0.5)
    # Both images are alike, so that every resample gives the same.
    low, high = report.intervals[report.watch].low, report.intervals[report.watch].high
    assert (low, high) == pytest.approx((0.5, 0.5))
    assert report.figures["AP (class ship, COCO, 100 detections)"] == pytest.approx(1)
    whole = evaluate(only_ships, detection_protocol(spec, cap=None, sizes=None, tile=32), ".")
    assert (whole.protocol, whole.watch) == ("made/coco-all-tiles-32", "AP (COCO, all detections)")
    assert whole.headline == pytest.approx(0.5) and list(whole.intervals) == [
        "AP (COCO, all detections)",
        "AP50 (COCO, all detections)",
        "AP75 (COCO, all detections)",
    ]


def test_voc_on_upright_and_on_oriented_boxes():
    spec = made(TWO)
    half = answering(lambda sample: boxes([[0, 0, 10, 5], [20, 20, 30, 30]], labels=[0, 1]))
    protocol = oriented_detection_protocol(spec, shape="boxes", form="area")
    report = evaluate(half, protocol, ".")
    assert (report.protocol, report.watch) == ("made/area-0.5", "mAP (area, IoU 0.5)")
    assert report.headline == pytest.approx(1)
    strict = evaluate(half, oriented_detection_protocol(spec, shape="boxes", strict=True), ".")
    assert (strict.protocol, strict.headline) == ("made/voc07-over-0.5", pytest.approx(0.5))

    turned = OrientedBoxes(size=SIZE, boxes=[[20, 20, 30, 6, 0.7], [40, 40, 6, 12, -0.2]], classes=CLASSES)
    lengths = SizeRanges(limits=(0, 20, math.inf), names=("short", "long"), of="length", half_open=True)
    protocol = oriented_detection_protocol(made(turned), thresholds=(0.5, 0.75), sizes=lengths)
    assert protocol.name == "made/voc07-oriented-boxes-0.5-0.75"
    assert "VOC07, oriented boxes, mean over IoU 0.5, 0.75" in protocol.title
    report = evaluate(answering(lambda sample: turned.select([0])), protocol, ".")
    by_size = {name: value for name, value in report.figures.items() if "long (" in name}
    assert sorted(by_size.values()) == pytest.approx([0, 1])
    assert set(report.intervals) == set(protocol.headlines)


def test_fine_classes_and_their_categories():
    swapped = answering(lambda sample: boxes(sample.target.boxes, labels=1 - sample.target.labels))
    protocol = fine_grained_protocol(made(TWO), ("thing", "thing"), shape="boxes")
    report = evaluate(swapped, protocol, ".")
    assert (report.protocol, report.watch) == ("made/fine-and-coarse", "mAP (fine, VOC07, IoU 0.5)")
    assert report.headline == 0
    assert report.figures["coarse less fine mAP (VOC07, IoU 0.5)"] == pytest.approx(1)


def test_counts_lead_with_the_figure_that_is_better_the_larger():
    truths = [Points.of([[5, 5]] * count, classes=("tree",), height=64, width=64) for count in (1, 2, 3)]
    spec = made(*truths, classes=("tree",))
    report = evaluate(answering(lambda sample: sample.target, ("tree",)), counting_protocol(spec, levels=2), ".")
    assert (report.protocol, report.watch, report.headline) == ("made/counts", "count R2", 1)
    assert report.figures["count GAME(2)"] == 0
