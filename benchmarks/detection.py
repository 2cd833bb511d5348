"""Average precision of 100,000 boxes against pycocotools, where it is installed; figures first have to be equal."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from typing import Any

import numpy as np

from benchmarks.measure import best_seconds
from swath.geometry.windows import Size
from swath.metrics.average_precision import CocoMetric
from swath.samples.vectors import Boxes

SIDE = 800
CLASSES = tuple(f"class {number}" for number in range(10))
EVERY = 1_000_000
"""More detections than any image has, by which pycocotools is told that all count."""

Pair = tuple[Boxes, Boxes]
Figures = tuple[float, float, float]


def report(*, repeats: int) -> None:
    """Print the time from annotations to figures of both: few boxes an image by the cap of 100, and many without."""
    for images, detections, truths, cap in ((1000, 100, 40, 100), (100, 1000, 400, None)):
        pairs = _pairs(images, detections, truths)
        ours = _by_swath(pairs, cap)
        seconds = best_seconds(lambda pairs=pairs, cap=cap: _by_swath(pairs, cap), repeats)
        counted = "all" if cap is None else f"{cap} a class"
        print(f"\nAP of {images * detections} boxes, {detections} an image of which {counted} count, 10 classes")
        print(f"  swath       {seconds:8.3f} s")
        if importlib.util.find_spec("pycocotools") is None:
            print("  pycocotools is not installed; there is nothing to compare with")
            continue
        truth, results = _as_coco(pairs)
        theirs: list[Figures] = []
        # Up to a minute a run: once is enough.
        other = best_seconds(lambda: theirs.append(_by_pycocotools(truth, results, cap)), 1)  # noqa: B023 (run at once)
        if not np.allclose(ours, theirs[0], rtol=0, atol=1e-9):
            raise AssertionError(f"AP, AR and AP50 are {ours}, those of pycocotools {theirs[0]}")
        print(f"  pycocotools {other:8.3f} s, {other / seconds:.1f} times as long; AP {ours[0]:.6f} is equal")


def _pairs(images: int, detections: int, truths: int) -> list[Pair]:
    """Make truths of ordinary sizes, and detections most of which are truths moved a little."""
    generator = np.random.default_rng(0)
    pairs = []
    for _ in range(images):
        corner = generator.uniform(0, SIDE - 130, (truths, 2)).round()
        true = np.concatenate([corner, corner + generator.uniform(6, 130, (truths, 2)).round()], axis=1)
        labels = generator.integers(0, len(CLASSES), truths)
        again = generator.integers(0, truths, detections)
        said = true[again] + generator.normal(0, 3, (detections, 4)).round()
        said[:, 2:] = np.maximum(said[:, 2:], said[:, :2] + 1)
        wrong = generator.random(detections) < 0.2
        said_labels = np.where(wrong, generator.integers(0, len(CLASSES), detections), labels[again])
        size = Size(SIDE, SIDE)
        pairs.append(
            (
                Boxes(size=size, boxes=said, labels=said_labels, scores=generator.random(detections), classes=CLASSES),
                Boxes(size=size, boxes=true, labels=labels, ignored=generator.random(truths) < 0.02, classes=CLASSES),
            )
        )
    return pairs


def _by_swath(pairs: list[Pair], cap: int | None) -> Figures:
    metric = CocoMetric(CLASSES, cap=cap)
    for said, true in pairs:
        metric.update(said, true)
    figures = metric.compute()
    told = "all" if cap is None else str(cap)
    return tuple(figures[f"{kind} (COCO, {told} detections)"] for kind in ("AP", "AR", "AP50"))  # type: ignore[return-value]


def _as_coco(pairs: list[Pair]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    annotations, results = [], []
    for image, (said, true) in enumerate(pairs, start=1):
        for objects, rows in ((true, annotations), (said, results)):
            extents = np.concatenate([objects.boxes[:, :2], objects.boxes[:, 2:] - objects.boxes[:, :2]], axis=1)
            for number, box in enumerate(extents.astype(float).tolist()):
                row = {"image_id": image, "category_id": int(objects.labels[number]) + 1, "bbox": box}
                if objects is true:
                    crowd = int(true.ignored[number])
                    row |= {"id": len(rows) + 1, "area": box[2] * box[3], "iscrowd": crowd}
                else:
                    row["score"] = float(said.scores[number])
                rows.append(row)
    truth = {
        "images": [{"id": image} for image in range(1, len(pairs) + 1)],
        "categories": [{"id": number} for number in range(1, len(CLASSES) + 1)],
        "annotations": annotations,
    }
    return truth, results


def _by_pycocotools(truth: dict[str, Any], results: list[dict[str, Any]], cap: int | None) -> Figures:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluator.params.maxDets = [1, 10, EVERY if cap is None else cap]
        evaluator.evaluate()
        evaluator.accumulate()
    precision, recall = evaluator.eval["precision"][:, :, :, 0, -1], evaluator.eval["recall"][:, :, 0, -1]
    return precision[precision > -1].mean(), recall[recall > -1].mean(), precision[0][precision[0] > -1].mean()
