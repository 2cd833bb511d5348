"""Reading ahead of the model: windows are read, converted and normalised by threads while the model works.

Batches never span a row of windows, so that a resumed run predicts in the same batches as an undisturbed one and
its output is the same to the byte.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from swath.samples.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from swath.geometry.windows import PlannedWindow, Window, WindowPlan
    from swath.imagery.pixels import Pixels
    from swath.imagery.scene import Scene
    from swath.models.base import Model


@dataclass(frozen=True, kw_only=True)
class ReadWindow:
    """One window as the model takes it: a normalised tensor (C, H, W) a slot and which pixels are known.

    `valid` (H, W) is the whole read window, False outside the scene; None when all of it is known. `tensors` is empty
    where no slot has a single valid pixel (there is nothing to predict), and once they have gone into a batch.
    """

    planned: PlannedWindow
    tensors: Mapping[str, Tensor]
    valid: NDArray[np.bool_] | None


@dataclass(frozen=True, kw_only=True)
class ReadBatch:
    """Neighbouring windows of one row; `batch` holds those with something to see, in order."""

    windows: tuple[ReadWindow, ...]
    batch: Batch | None
    ends_row: bool

    def sees(self, position: int) -> bool:
        """Whether the window at this position is in the batch."""
        return self.batch is not None and str(self.windows[position].planned.index) in self.batch.keys


def read_batches(
    scene: Scene, model: Model, plan: WindowPlan, *, batch_size: int, first_row: int, threads: int = 2
) -> Iterator[ReadBatch]:
    """Yield the windows of a plan in batches, row by row from `first_row`, reading ahead with `threads` threads.

    At most two batches are held in memory beyond the one in use.
    """
    pieces = _pieces(plan, batch_size, first_row)
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="swath-read") as pool:
        waiting: deque[tuple[list[Future[ReadWindow]], bool]] = deque()

        def submit() -> None:
            piece = next(pieces, None)
            if piece is not None:
                windows, ends = piece
                waiting.append(([pool.submit(read_window, scene, model, window) for window in windows], ends))

        try:
            submit()
            submit()
            while waiting:
                futures, ends = waiting.popleft()
                submit()
                yield _assemble([future.result() for future in futures], ends)
        finally:
            for futures, _ in waiting:
                for future in futures:
                    future.cancel()


def _pieces(plan: WindowPlan, batch_size: int, first_row: int) -> Iterator[tuple[list[PlannedWindow], bool]]:
    for number in range(first_row, plan.rows):
        row = plan.row(number)
        for start in range(0, len(row), batch_size):
            yield row[start : start + batch_size], start + batch_size >= len(row)


def read_window(scene: Scene, model: Model, planned: PlannedWindow) -> ReadWindow:
    """Read one window in every slot of the model; what sticks out of the scene is filled by mirroring."""
    inside = planned.read.clipped(scene.grid.size)
    tensors: dict[str, Tensor] = {}
    known: NDArray[np.bool_] | None = None
    seen = False
    for slot, spec in model.inputs.items():
        pixels = spec.in_unit(scene.read(inside, slot=slot, bands=spec.bands))
        seen = seen or pixels.valid is None or bool(pixels.valid.any())
        if pixels.valid is not None:
            known = pixels.valid if known is None else known & pixels.valid
        tensors[slot] = spec.normalise(mirrored(pixels, inside, planned.read))
    valid = _known(known, inside, planned.read)
    return ReadWindow(planned=planned, tensors=tensors if seen else {}, valid=valid)


def mirrored(pixels: Pixels, inside: Window, wanted: Window) -> Pixels:
    """Widen pixels of the window `inside` to `wanted` by mirroring them at the border, validity too.

    A network then sees plausible ground beyond the edge of the scene rather than a black wall.
    """
    if inside == wanted:
        return pixels
    part = inside.relative_to(wanted)
    rows = (part.row, wanted.height - part.stop_row)
    columns = (part.column, wanted.width - part.stop_column)
    values: NDArray[Any] = np.pad(pixels.values, ((0, 0), rows, columns), mode="symmetric")
    valid = None if pixels.valid is None else np.pad(pixels.valid, (rows, columns), mode="symmetric")
    return type(pixels)(values=values, bands=pixels.bands, unit=pixels.unit, valid=valid, grid=pixels.grid)


def _known(known: NDArray[np.bool_] | None, inside: Window, wanted: Window) -> NDArray[np.bool_] | None:
    if inside == wanted:
        return known
    full = np.zeros((wanted.height, wanted.width), bool)
    full[inside.relative_to(wanted).slices] = True if known is None else known
    return full


def _assemble(windows: list[ReadWindow], ends_row: bool) -> ReadBatch:
    usable = [window for window in windows if window.tensors]
    batch = _stack(usable) if usable else None
    # The stacked tensors are copies; those of the single windows would only take room.
    spent = tuple(replace(window, tensors={}) for window in windows)
    return ReadBatch(windows=spent, batch=batch, ends_row=ends_row)


def _stack(windows: list[ReadWindow]) -> Batch:
    slots = list(windows[0].tensors)
    images = {slot: _joined([window.tensors[slot] for window in windows]) for slot in slots}
    if all(window.valid is None for window in windows):
        mask = None
    else:
        size = windows[0].planned.read.size
        everything = np.ones((size.height, size.width), bool)
        mask = torch.from_numpy(np.stack([everything if w.valid is None else w.valid for w in windows]))
    return Batch(
        images=images,
        valid=dict.fromkeys(slots, mask),
        keys=tuple(str(window.planned.index) for window in windows),
    )


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)
