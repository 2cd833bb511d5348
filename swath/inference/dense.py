"""Dense stitching: overlapping windows of scores become one seamless map, a window at a time.

Neighbouring windows share a strip of twice the halo. Across it the weight of one falls from 1 to 0 while the other's
rises, so the weights of all windows add up to one at every pixel and no division is needed. Only the shared strips
are ever kept: the right strip of the last window in memory, the bottom strips of the last row of windows on disk, so
memory does not grow with the scene, and a run that died goes on from the last finished row.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import AnnotationError
from swath.geometry.windows import PlannedWindow, Window, WindowPlan
from swath.inference.dense_kernels import decide, weigh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

NO_CLASS = 255
"""The label of a pixel about which nothing is known (no valid imagery there)."""


@dataclass(frozen=True, kw_only=True)
class ClassBlock:
    """Finished pixels of a class map: labels and confidence (0 to 255), both (H, W) uint8, over `window`."""

    window: Window
    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ValueBlock:
    """Finished pixels of a continuous raster, (C, H, W) float32 with NaN where nothing is known, over `window`."""

    window: Window
    values: Floats


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis of a window divides: [0, before) is shared with the previous window, [after, length) with the next.

    `start` is the scene position of index 0; [0, after) is finished once the window is in.
    """

    start: int
    length: int
    before: int
    after: int

    @classmethod
    def of(cls, *, number: int, count: int, step: int, halo: int, scene: int) -> _Axis:
        start = number * step - halo if number else 0
        last = number == count - 1
        stop = scene if last else min(scene, (number + 1) * step + halo)
        length = stop - start
        after = length if last else (number + 1) * step - halo - start
        return cls(start=start, length=length, before=min(2 * halo, length) if number else 0, after=after)

    def weights(self, halo: int) -> Floats:
        """Return the weight of each position: a rise over the shared strip before, a fall over the one after."""
        weight = np.ones(self.length, np.float32)
        ramp = (np.arange(2 * halo, dtype=np.float32) + np.float32(0.5)) / np.float32(max(2 * halo, 1))
        weight[: self.before] = ramp[: self.before]
        tail = self.length - self.after
        if tail:
            weight[self.after :] *= np.float32(1.0) - ramp[:tail]
        return weight


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the part of a read window that lies in the scene sits, and how it divides."""

    rows: _Axis
    columns: _Axis
    read: Window

    @property
    def top(self) -> int:
        return self.rows.start - self.read.row

    @property
    def left(self) -> int:
        return self.columns.start - self.read.column

    def inner(self) -> Window:
        """The pixels that no other window sees, relative to the frame."""
        rows, columns = self.rows, self.columns
        return Window(rows.before, columns.before, rows.after - rows.before, columns.after - columns.before)

    def done(self) -> Window:
        """The finished pixels, in the scene."""
        return Window(self.rows.start, self.columns.start, self.rows.after, self.columns.after)


class CarryStore:
    """The weighted bottom strips of a row of windows, on disk, one file for even rows and one for odd ones.

    A row reads what the previous one left and writes for the next, so the previous row's strips are intact until
    the row is finished.
    """

    def __init__(self, folder: Path, *, record_bytes: int) -> None:
        self._record = record_bytes
        flags = os.O_RDWR | os.O_CREAT
        self._files = [os.open(folder / f"carry-{parity}.raw", flags, 0o644) for parity in (0, 1)]

    def write(self, row: int, column: int, strip: Floats) -> None:
        """Keep the strip that the window at (row, column) leaves for the row below."""
        os.pwrite(self._files[row % 2], np.ascontiguousarray(strip).data, column * self._record)

    def read(self, row: int, column: int, shape: tuple[int, ...]) -> Floats:
        """Return the strip that the window at (row, column) left."""
        count = int(np.prod(shape))
        data = os.pread(self._files[row % 2], 4 * count, column * self._record)
        return np.frombuffer(data, np.float32).reshape(shape)

    def close(self) -> None:
        """Close the files; whoever owns the folder removes them."""
        for file in self._files:
            os.close(file)
        self._files = []


class DenseStitcher:
    """Joins windows, given in the order of the plan, into finished blocks of a class map or of continuous values.

    `channels` is the number of score maps. Each push returns the pixels that no later window can change; together
    they tile the scene exactly.
    """

    def __init__(self, plan: WindowPlan, *, channels: int, folder: Path) -> None:
        self.plan = plan
        self.channels = channels
        strip = 4 * channels * 2 * plan.halo * plan.read_size.width
        self._carry = CarryStore(folder, record_bytes=max(strip, 1))
        self._left: Floats | None = None

    def push_classes(
        self,
        planned: PlannedWindow,
        scores_KHW: Floats,
        *,
        logits: bool,
        valid: NDArray[np.bool_] | None = None,
    ) -> ClassBlock:
        """Add a window's class scores (over its whole read window) and return the finished block of labels."""
        frame = self._frame(planned, scores_KHW)
        labels = np.empty((frame.rows.after, frame.columns.after), np.uint8)
        confidence = np.empty_like(labels)
        inner = frame.inner()
        if not inner.is_empty:
            self._decide(scores_KHW, frame, inner, logits, labels, confidence)
        for window, values in self._shared(planned, scores_KHW, frame, logits=logits):
            part_labels = np.empty(values.shape[1:], np.uint8)
            part_confidence = np.empty_like(part_labels)
            decide(values, 0, 0, False, part_labels, part_confidence)
            labels[window.slices] = part_labels
            confidence[window.slices] = part_confidence
        done = frame.done()
        if valid is not None:
            unseen = ~valid[done.relative_to(planned.read).slices]
            labels[unseen] = NO_CLASS
            confidence[unseen] = 0
        return ClassBlock(window=done, labels=labels, confidence=confidence)

    def push_values(
        self, planned: PlannedWindow, values_CHW: Floats, *, valid: NDArray[np.bool_] | None = None
    ) -> ValueBlock:
        """Add a window's continuous values and return the finished block."""
        frame = self._frame(planned, values_CHW)
        done = frame.done()
        inside = done.relative_to(planned.read)
        finished = values_CHW[(slice(None), *inside.slices)].copy()
        for window, values in self._shared(planned, values_CHW, frame, logits=False):
            finished[(slice(None), *window.slices)] = values
        if valid is not None:
            finished[:, ~valid[inside.slices]] = np.nan
        return ValueBlock(window=done, values=finished)

    def close(self) -> None:
        """Release the strips on disk."""
        self._carry.close()

    def _frame(self, planned: PlannedWindow, scores: Floats) -> _Frame:
        plan = self.plan
        expected = (self.channels, planned.read.height, planned.read.width)
        if scores.shape != expected:
            raise AnnotationError(f"the window's scores have the shape {scores.shape}; the plan needs {expected}.")
        rows = _Axis.of(
            number=planned.grid_row,
            count=plan.rows,
            step=plan.step.height,
            halo=plan.halo,
            scene=plan.scene.height,
        )
        columns = _Axis.of(
            number=planned.grid_column,
            count=plan.columns,
            step=plan.step.width,
            halo=plan.halo,
            scene=plan.scene.width,
        )
        return _Frame(rows=rows, columns=columns, read=planned.read)

    def _decide(
        self,
        scores: Floats,
        frame: _Frame,
        inner: Window,
        logits: bool,
        labels: NDArray[np.uint8],
        confidence: NDArray[np.uint8],
    ) -> None:
        part_labels = np.empty((inner.height, inner.width), np.uint8)
        part_confidence = np.empty_like(part_labels)
        decide(scores, frame.top + inner.row, frame.left + inner.column, logits, part_labels, part_confidence)
        labels[inner.slices] = part_labels
        confidence[inner.slices] = part_confidence

    def _shared(
        self, planned: PlannedWindow, scores: Floats, frame: _Frame, *, logits: bool
    ) -> list[tuple[Window, Floats]]:
        """Blend the strips shared with neighbours and return those that are finished, in window coordinates."""
        rows, columns = frame.rows, frame.columns
        weight_rows, weight_columns = rows.weights(self.plan.halo), columns.weights(self.plan.halo)

        def weighted(top: int, bottom: int, left: int, right: int) -> Floats:
            out = np.empty((self.channels, bottom - top, right - left), np.float32)
            if out.size:
                part_rows, part_columns = weight_rows[top:bottom], weight_columns[left:right]
                weigh(scores, frame.top + top, frame.left + left, logits, part_rows, part_columns, out)
            return out

        left = weighted(0, rows.length, 0, columns.before)
        if self._left is not None:
            left += self._left
        inner_top = weighted(0, rows.before, columns.before, columns.after)
        top = np.concatenate([left[:, : rows.before], inner_top], axis=2)
        if rows.before:
            top += self._carry.read(planned.grid_row - 1, planned.grid_column, top.shape)
        if rows.after < rows.length:
            inner_bottom = weighted(rows.after, rows.length, columns.before, columns.after)
            bottom = np.concatenate([left[:, rows.after :], inner_bottom], axis=2)
            self._carry.write(planned.grid_row, planned.grid_column, bottom)
        shared_next = columns.after < columns.length
        self._left = weighted(0, rows.length, columns.after, columns.length) if shared_next else None
        middle = Window(rows.before, 0, rows.after - rows.before, columns.before)
        finished = [
            (Window(0, 0, rows.before, columns.after), top),
            (middle, left[:, rows.before : rows.after]),
        ]
        return [(window, np.ascontiguousarray(values)) for window, values in finished if values.size]
