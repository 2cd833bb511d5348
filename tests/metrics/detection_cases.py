"""Made images with detections and truths, for the tests of detection."""

from __future__ import annotations

import numpy as np

from swath.geometry.windows import Size
from swath.samples import Boxes, Instances, OrientedBoxes

CLASSES = ("plane", "ship", "court")
FRAME = Size(240, 320)


def boxes(corners, *, size=FRAME, classes=("ship",), **fields) -> Boxes:
    return Boxes(size=size, boxes=corners, classes=classes, **fields)


def turned(rows, *, size=FRAME, classes=("ship",), **fields) -> OrientedBoxes:
    return OrientedBoxes(size=size, boxes=rows, classes=classes, **fields)


def as_masks(drawn: Boxes) -> Instances:
    """Return the ellipse in each box, or at least its middle pixel, as instances."""
    y, x = np.mgrid[: drawn.size.height, : drawn.size.width] + 0.5
    masks = []
    for x1, y1, x2, y2 in drawn.boxes.astype(float):
        across, down = (x - (x1 + x2) / 2) / (x2 - x1) * 2, (y - (y1 + y2) / 2) / (y2 - y1) * 2
        mask = across**2 + down**2 <= 1
        mask[int((y1 + y2) / 2), int((x1 + x2) / 2)] = True
        masks.append(mask)
    fields = {name: getattr(drawn, name) for name in ("labels", "scores", "ignored", "classes")}
    return Instances(size=drawn.size, masks=masks, **fields)


def _somewhere(generator, count, sides) -> np.ndarray:
    """Return boxes of whole and quarter pixels (so that overlaps fall on thresholds) inside the frame."""
    extent = np.round(generator.uniform(*sides, (count, 2)) * 4) / 4
    room = np.array([FRAME.width, FRAME.height]) - extent
    corner = np.floor(generator.uniform(0, 1, (count, 2)) * room * 4) / 4
    return np.concatenate([corner, corner + extent], axis=1)


def image(generator, *, truths=12, strays=8, sides=(4, 140)) -> tuple[Boxes, Boxes]:
    """Return detections and truths: truths moved a little, some twice, strays, tied scores, and ignored truths."""
    count = int(generator.integers(0, truths + 1))
    true = _somewhere(generator, count, sides)
    labels = generator.integers(0, len(CLASSES) - 1, count)
    ignored = generator.random(count) < 0.2
    again = generator.integers(0, count, int(generator.integers(0, 2 * count + 1))) if count else np.zeros(0, int)
    shake = np.round(generator.normal(0, 2, (len(again), 4)) * 4) / 4
    moved = true[again] + shake * (generator.random((len(again), 1)) < 0.7)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    stray = _somewhere(generator, int(generator.integers(0, strays + 1)), sides)
    said = np.clip(np.concatenate([moved, stray]), 0, [FRAME.width, FRAME.height] * 2)
    said_labels = np.concatenate([labels[again], generator.integers(0, len(CLASSES), len(stray))])
    wrong = generator.random(len(said)) < 0.1
    said_labels[wrong] = generator.integers(0, len(CLASSES), wrong.sum())
    scores = np.round(generator.random(len(said)), 1)
    keep = (said[:, 2] > said[:, 0]) & (said[:, 3] > said[:, 1])
    return (
        boxes(said[keep], labels=said_labels[keep], scores=scores[keep], classes=CLASSES),
        boxes(true, labels=labels, ignored=ignored, classes=CLASSES),
    )


def images(seed: int, count: int = 12, **options) -> list[tuple[Boxes, Boxes]]:
    generator = np.random.default_rng(seed)
    return [image(generator, **options) for _ in range(count)]
