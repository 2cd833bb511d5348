"""Merging objects across windows: each is counted once, and written as soon as no later window can change it.

A window answers for the objects whose centre lies in its core, and reports those a little beyond it, where its
neighbour may have missed them. Two that the merge rule takes for one become the better one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swath.geometry.windows import Window
from swath.samples.instances import Instances
from swath.samples.vectors import Boxes, OrientedBoxes, Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.geometry.windows import PlannedWindow, WindowPlan
    from swath.samples.objects import MergeRule, Objects


class ObjectStitcher:
    """Collects the objects of windows, given in the order of the plan, and gives out those that are settled.

    All coordinates it gives out are of the scene. Rows below a settled object cannot touch it any more: points are
    settled once the next row's points are farther than the radius, boxes and masks once the next row starts below.
    """

    def __init__(self, plan: WindowPlan, rule: MergeRule) -> None:
        self.plan = plan
        self.rule = rule
        self._row: list[Objects] = []
        self._windows: list[Window] = []
        self._open: Objects | None = None

    @property
    def open(self) -> Objects | None:
        """Objects that a later row may still change."""
        return self._open

    def restore(self, objects: Objects) -> None:
        """Go on with the open objects of an earlier run."""
        self._open = objects

    def push(self, planned: PlannedWindow, objects: Objects) -> None:
        """Take a window's objects, in its own pixel coordinates."""
        found = objects.shifted(planned.read.row, planned.read.column, self.plan.scene)
        core, reach = planned.core, self._reach(objects)
        x, y = found.centres().T
        inside = (x >= core.column - reach) & (x < core.stop_column + reach)
        inside &= (y >= core.row - reach) & (y < core.stop_row + reach)
        inside &= (x >= 0) & (x < self.plan.scene.width) & (y >= 0) & (y < self.plan.scene.height)
        self._row.append(found.select(inside))
        self._windows.append(planned.read)

    def finish_row(self, row: int) -> Objects | None:
        """Merge what the row brought and return the objects that are settled, from top to bottom."""
        parts, windows = self._row, self._windows
        self._row, self._windows = [], []
        everything = self._merged(row, parts, windows)
        if everything is None:
            return None
        if row == self.plan.rows - 1:
            settled = np.ones(len(everything), bool)
        else:
            core_stop = (row + 1) * self.plan.step.height
            settled = lowest(everything) < core_stop - self._reach(everything) - self._span(everything)
        self._open = everything.select(~settled)
        done = everything.select(settled)
        x, y = done.centres().T
        return done.select(np.lexsort((x, y)))

    def _merged(self, row: int, parts: list[Objects], windows: list[Window]) -> Objects | None:
        """Put a row's objects and the open ones together, each once; masks that a seam has cut are joined."""
        cut = [part for part in parts if isinstance(part, Instances)]
        if cut:
            joined = Instances.join_touching(cut, windows, iou=self.rule.iou)
            if isinstance(self._open, Instances):
                strips = [self._strip(row - 1), self._strip(row)]
                joined = Instances.join_touching([self._open, joined], strips, iou=self.rule.iou)
            return joined
        gathered = ([] if self._open is None else [self._open]) + parts
        return type(gathered[0]).concatenate(gathered).deduplicated(self.rule) if gathered else None

    def _strip(self, row: int) -> Window:
        """Everything that a row of windows reads."""
        first = self.plan[row * self.plan.columns].read
        return Window(first.row, 0, first.height, self.plan.scene.width)

    def _reach(self, objects: Objects) -> int:
        """How far beyond its core a window reports: the merging radius for points, the halo for things with extent."""
        if isinstance(objects, Points):
            return min(math.ceil(self.rule.radius), self.plan.halo)
        return self.plan.halo

    def _span(self, objects: Objects) -> float:
        return self.rule.radius if isinstance(objects, Points) else 0.0


def lowest(objects: Objects) -> NDArray[np.float32]:
    """Return the lowest image row that each object touches, (N,)."""
    if isinstance(objects, Points):
        return objects.points[:, 1]
    if isinstance(objects, OrientedBoxes):
        half_diagonal = np.hypot(objects.boxes[:, 2], objects.boxes[:, 3]) / 2
        return (objects.boxes[:, 1] + half_diagonal).astype(np.float32)
    if isinstance(objects, (Boxes, Instances)):
        return objects.boxes[:, 3]
    return np.full(len(objects), np.inf, np.float32)
