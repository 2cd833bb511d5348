"""Objects of overlapping windows are counted once, whatever their kind."""

from __future__ import annotations

import numpy as np
import pytest

from swath.geometry.masks import RunLengthMask
from swath.geometry.windows import PlannedWindow, Size, WindowPlan
from swath.inference.objects import ObjectStitcher, lowest
from swath.samples.instances import Instances
from swath.samples.objects import MergeRule, Objects
from swath.samples.vectors import Boxes, OrientedBoxes, Points

PLAN = WindowPlan(scene=Size(60, 70), step=Size(20, 20), halo=6)
BLOBS = ((3, 3, 9, 10), (15, 14, 27, 26), (38, 30, 44, 48), (50, 55, 58, 68), (35, 5, 41, 12))
"""Rectangles (left, top, right, bottom), some across seams and over corners of four windows."""


def scene_mask() -> np.ndarray:
    numbers = np.zeros((PLAN.scene.height, PLAN.scene.width), int)
    for number, (left, top, right, bottom) in enumerate(BLOBS, start=1):
        numbers[top:bottom, left:right] = number
    return numbers


def seen(planned: PlannedWindow) -> np.ndarray:
    """The blobs' numbers in a read window, 0 outside the scene."""
    padded = np.pad(scene_mask(), PLAN.step.height + PLAN.halo)
    shift = PLAN.step.height + PLAN.halo
    read = planned.read
    return padded[read.row + shift : read.stop_row + shift, read.column + shift : read.stop_column + shift]


def boxes_of(numbers: np.ndarray) -> list[tuple[int, int, int, int]]:
    found = []
    for number in np.unique(numbers[numbers > 0]):
        rows, columns = np.nonzero(numbers == number)
        found.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return found


def stitched(make, rule: MergeRule) -> Objects:
    stitcher = ObjectStitcher(PLAN, rule)
    settled = []
    for row in range(PLAN.rows):
        for planned in PLAN.row(row):
            stitcher.push(planned, make(planned))
        done = stitcher.finish_row(row)
        if done is not None:
            settled.append(done)
    return type(settled[0]).concatenate(settled)


def instances(planned: PlannedWindow) -> Instances:
    numbers = seen(planned)
    size = Size(*numbers.shape)
    present = np.unique(numbers[numbers > 0])
    return Instances(
        size=size,
        boxes=np.array(boxes_of(numbers), np.float32).reshape(-1, 4),
        masks=tuple(RunLengthMask.encode(numbers == number) for number in present),
        scores=np.full(len(present), 0.9, np.float32),
        classes=("blob",),
    )


def test_masks_cut_by_seams_are_whole_again():
    found = stitched(instances, MergeRule(iou=0.5))
    assert len(found) == len(BLOBS)
    numbers = scene_mask()
    whole = {tuple(np.flatnonzero((numbers == number).ravel())) for number in range(1, len(BLOBS) + 1)}
    assert {tuple(np.flatnonzero(mask.decode().ravel())) for mask in found.masks} == whole


def test_boxes_seen_whole_by_several_windows_are_counted_once():
    small = [(left, top, left + 4, top + 4) for left, top, _, _ in BLOBS]

    def make(planned: PlannedWindow) -> Boxes:
        read = planned.read
        inside = [
            (a - read.column, b - read.row, c - read.column, d - read.row)
            for a, b, c, d in small
            if a >= read.column and b >= read.row and c <= read.stop_column and d <= read.stop_row
        ]
        return Boxes(size=read.size, boxes=np.array(inside, np.float32).reshape(-1, 4), classes=("box",))

    found = stitched(make, MergeRule(iou=0.5))
    assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted(small)


@pytest.mark.parametrize("offset", [0.0, 0.4])
def test_points_that_neighbours_place_a_little_differently_are_one(offset):
    truth = np.array([(19.8, 20.1), (40.0, 40.0), (5.0, 30.0), (69.0, 59.0)])

    def make(planned: PlannedWindow) -> Points:
        read = planned.read
        shift = offset * (planned.index % 2)
        xy = truth + shift - (read.column, read.row)
        inside = (xy >= 0).all(1) & (xy < (read.width, read.height)).all(1)
        return Points.of(xy[inside], classes=("p",), height=read.height, width=read.width)

    found = stitched(make, MergeRule(radius=2.0))
    assert len(found) == len(truth)


def test_lowest_row_of_every_kind():
    size = Size(50, 50)
    assert lowest(Points.of([[3, 7]], classes=("a",), height=50, width=50)).tolist() == [7]
    assert lowest(Boxes(size=size, boxes=[[1, 2, 3, 9]], classes=("a",))).tolist() == [9]
    oriented = OrientedBoxes(size=size, boxes=[[20, 20, 6, 8, 0.3]], classes=("a",))
    assert lowest(oriented).tolist() == [25]  # half the diagonal of 6 x 8 is 5
