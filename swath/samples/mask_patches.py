"""Masks of a large frame handled as small patches: the bits inside the bounding box, and where that lies.

A mask of one roof in a scene of 100,000 pixels a side has few runs; unpacking the whole frame to flip or
shift it would take 10 GB. Everything here costs what the bounding box costs.

>>> patch = MaskPatch(window=Window(2, 3, 1, 2), bits=np.ones((1, 2), np.bool_))
>>> patch.encoded(Size(10, 10)).box.tolist()
[3.0, 2.0, 5.0, 3.0]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.geometry.masks import RunLengthMask
from swath.geometry.windows import Size, Window
from swath.samples.moves import Crop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swath.samples.moves import Move


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaskPatch:
    """The bits (h, w) of a mask inside a window of its frame; outside there are none.

    >>> corner = RunLengthMask.encode(np.array([[0, 0], [0, 1]]))
    >>> MaskPatch.of(corner).window
    Window(row=1, column=1, height=1, width=1)
    """

    window: Window
    bits: NDArray[np.bool_]

    @classmethod
    def of(cls, mask: RunLengthMask) -> MaskPatch:
        """Unpack the bounding box of a mask; an empty mask gives an empty patch."""
        left, top, right, bottom = (int(edge) for edge in mask.box)
        height, width = bottom - top, right - left
        stops = np.cumsum(mask.counts)[1::2]
        starts = stops - mask.counts[1::2]
        column, row = np.divmod(starts, max(mask.size.height, 1))
        # Where a run goes on into the next column, the box is as tall as the frame, so lengths still hold.
        begins = (column - left) * height + row - top
        steps = np.zeros(height * width + 1, dtype=np.int32)
        filled = stops > starts
        np.add.at(steps, begins[filled], 1)
        np.add.at(steps, (begins + stops - starts)[filled], -1)
        bits = np.cumsum(steps[:-1]) > 0
        return cls(window=Window(top, left, height, width), bits=bits.reshape((height, width), order="F"))

    def encoded(self, size: Size) -> RunLengthMask:
        """Return the mask of a frame of that size; what lies outside is cut off."""
        bits, window = self.bits, self.window
        inside = window.clipped(size)
        if inside.is_empty:
            return RunLengthMask(size, np.array([size.area] if size.area else [], dtype=np.int64))
        if inside != window:
            bits, window = bits[inside.relative_to(window).slices], inside
        # Column by column, as the runs go, with background above and below so that every run begins and ends.
        columns = np.zeros((window.width, window.height + 2), dtype=np.int8)
        columns[:, 1:-1] = bits.T
        change = np.diff(columns, axis=1)
        edges = [
            column * size.height + row + window.column * size.height + window.row
            for column, row in (np.nonzero(change == 1), np.nonzero(change == -1))
        ]
        runs = np.stack(edges, axis=1).ravel()
        # A run that goes on into the next column ends where the next begins.
        goes_on = np.flatnonzero(runs[1:] == runs[:-1])
        runs = np.delete(runs, np.concatenate([goes_on, goes_on + 1]))
        counts = np.diff(np.concatenate([[0], runs, [size.area]])).astype(np.int64)
        return RunLengthMask(size, counts[:-1] if counts[-1] == 0 else counts)

    def area_in(self, window: Window) -> int:
        """Return how many of the bits lie in a window of the frame."""
        shared = self.window.intersection(window)
        return 0 if shared is None else int(self.bits[shared.relative_to(self.window).slices].sum())

    def shared_area(self, other: MaskPatch) -> int:
        """Return how many bits both have."""
        shared = self.window.intersection(other.window)
        if shared is None:
            return 0
        mine = self.bits[shared.relative_to(self.window).slices]
        return int((mine & other.bits[shared.relative_to(other.window).slices]).sum())


def move_mask(mask: RunLengthMask, move: Move) -> RunLengthMask:
    """Return a mask after a move of its frame, taking the nearest pixel where the move interpolates.

    >>> from swath.samples.moves import Flip
    >>> move_mask(RunLengthMask.encode(np.array([[1, 0, 0]])), Flip(horizontal=True)).decode().tolist()
    [[False, False, True]]
    """
    if move.interpolates:
        return RunLengthMask.encode(move.array(mask.decode()))
    patch = MaskPatch.of(mask)
    corners = np.array(
        [[patch.window.column, patch.window.row], [patch.window.stop_column, patch.window.stop_row]],
        dtype=np.float64,
    )
    column, row = move.affine(mask.size).apply(corners).min(axis=0).round().astype(int)
    bits = patch.bits if isinstance(move, Crop) else move.array(patch.bits)
    window = Window(int(row), int(column), *bits.shape)
    return MaskPatch(window=window, bits=bits).encoded(move.size_after(mask.size))


def union_of(patches: Sequence[MaskPatch]) -> MaskPatch:
    """Return the patch of all bits of several, at least one.

    >>> one = MaskPatch(window=Window(0, 0, 1, 1), bits=np.ones((1, 1), np.bool_))
    >>> two = MaskPatch(window=Window(0, 2, 1, 1), bits=np.ones((1, 1), np.bool_))
    >>> union_of([one, two]).bits.tolist()
    [[True, False, True]]
    """
    windows = [patch.window for patch in patches]
    row, column = min(window.row for window in windows), min(window.column for window in windows)
    height = max(window.stop_row for window in windows) - row
    whole = Window(row, column, height, max(window.stop_column for window in windows) - column)
    bits = np.zeros((whole.height, whole.width), dtype=np.bool_)
    for patch in patches:
        bits[patch.window.relative_to(whole).slices] |= patch.bits
    return MaskPatch(window=whole, bits=bits)
