"""Integer pixel windows, and the plan that cuts a scene of any size into overlapping ones.

Rows run down and columns run right; a window is half-open, so it holds rows `row ... stop_row - 1`. A plan is
arithmetic, not a list: a scene of a million pixels a side has millions of windows and costs no memory.

>>> plan = plan_windows(Size(1000, 1500), window=Size(512, 512), overlap=64)
>>> plan.rows, plan.columns, plan.read_size
(3, 4, Size(height=512, width=512))
>>> plan[0].core, plan[0].read
(Window(row=0, column=0, height=448, width=448), Window(row=-32, column=-32, height=512, width=512))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from operator import index

from swath.errors import GeometryError

ROUNDING_SLACK = 1e-9  # pixels; keeps 30 * 0.1 = 3.0000000000000004 from reaching into a fourth pixel


@dataclass(frozen=True, slots=True)
class Size:
    """Height and width in pixels, neither negative (`GeometryError`).

    >>> Size(height=512, width=640).area
    327680
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise GeometryError(f"A size cannot be negative, found {self.height} x {self.width} pixels.")

    @property
    def area(self) -> int:
        """Number of pixels.

        >>> Size(2, 3).area
        6
        """
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open rectangle of whole pixels, which may lie partly or wholly outside an image.

    `row` and `column` name the top-left pixel and may be negative; `height` and `width` may be zero, never
    negative (`GeometryError`).

    >>> Window(row=10, column=20, height=5, width=6).stop_column
    26
    """

    row: int
    column: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise GeometryError(f"A window cannot have a negative size, found {self.height} x {self.width} pixels.")

    @property
    def stop_row(self) -> int:
        """First row below the window.

        >>> Window(1, 2, 3, 4).stop_row
        4
        """
        return self.row + self.height

    @property
    def stop_column(self) -> int:
        """First column right of the window.

        >>> Window(1, 2, 3, 4).stop_column
        6
        """
        return self.column + self.width

    @property
    def size(self) -> Size:
        """Height and width.

        >>> Window(1, 2, 3, 4).size
        Size(height=3, width=4)
        """
        return Size(self.height, self.width)

    @property
    def area(self) -> int:
        """Number of pixels.

        >>> Window(1, 2, 3, 4).area
        12
        """
        return self.height * self.width

    @property
    def is_empty(self) -> bool:
        """Whether the window holds no pixel.

        >>> Window(1, 2, 0, 4).is_empty
        True
        """
        return self.height == 0 or self.width == 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices that cut the window out of an (H, W) array.

        Raises `GeometryError` for a window that begins above or left of the image, because numpy would read a
        negative start from the far end.

        >>> Window(1, 2, 3, 4).slices
        (slice(1, 4, None), slice(2, 6, None))
        """
        if self.row < 0 or self.column < 0:
            raise GeometryError(
                f"A window that begins at row {self.row}, column {self.column} lies outside the array; "
                "clip it to the array's size before slicing."
            )
        return slice(self.row, self.stop_row), slice(self.column, self.stop_column)

    def intersection(self, other: Window) -> Window | None:
        """Pixels that both windows hold, or None where they share none.

        >>> Window(0, 0, 4, 4).intersection(Window(2, 3, 4, 4))
        Window(row=2, column=3, height=2, width=1)
        >>> Window(0, 0, 4, 4).intersection(Window(4, 0, 4, 4)) is None
        True
        """
        row, column = max(self.row, other.row), max(self.column, other.column)
        height = min(self.stop_row, other.stop_row) - row
        width = min(self.stop_column, other.stop_column) - column
        return Window(row, column, height, width) if height > 0 and width > 0 else None

    def contains(self, other: Window) -> bool:
        """Whether every pixel of the other window lies in this one (so an empty window lies in any).

        >>> Window(0, 0, 4, 4).contains(Window(1, 1, 3, 3))
        True
        """
        return other.is_empty or self.intersection(other) == other

    def shifted(self, rows: int, columns: int) -> Window:
        """The same size, moved down by `rows` and right by `columns`.

        >>> Window(0, 0, 4, 4).shifted(rows=2, columns=-1)
        Window(row=2, column=-1, height=4, width=4)
        """
        return Window(self.row + rows, self.column + columns, self.height, self.width)

    def expanded(self, pixels: int) -> Window:
        """The window grown by `pixels` on all four sides, or shrunk if negative.

        Raises `GeometryError` if it would shrink past empty.

        >>> Window(0, 0, 4, 4).expanded(2)
        Window(row=-2, column=-2, height=8, width=8)
        """
        return Window(self.row - pixels, self.column - pixels, self.height + 2 * pixels, self.width + 2 * pixels)

    def clipped(self, size: Size) -> Window:
        """The part inside an image of that size; empty, at the nearest edge, where the window lies outside.

        >>> Window(-2, 3, 4, 4).clipped(Size(10, 5))
        Window(row=0, column=3, height=2, width=2)
        """
        row, column = min(max(self.row, 0), size.height), min(max(self.column, 0), size.width)
        stop_row = min(max(self.stop_row, row), size.height)
        stop_column = min(max(self.stop_column, column), size.width)
        return Window(row, column, stop_row - row, stop_column - column)

    def relative_to(self, other: Window) -> Window:
        """The same pixels, counted from the other window's top-left pixel.

        >>> Window(10, 10, 4, 4).relative_to(Window(8, 9, 16, 16))
        Window(row=2, column=1, height=4, width=4)
        """
        return self.shifted(-other.row, -other.column)

    def scaled(self, factor: float) -> Window:
        """The window on a grid with `factor` times as many pixels a side, rounded outward to whole pixels.

        An edge within 1e-9 pixel of a whole one counts as lying on it. `factor` must be a positive number
        (`GeometryError`).

        >>> Window(1, 2, 3, 4).scaled(0.5)
        Window(row=0, column=1, height=2, width=2)
        """
        if not (math.isfinite(factor) and factor > 0):
            raise GeometryError(f"A window can only be scaled by a positive number, found {factor}.")
        row, column = (math.floor(start * factor + ROUNDING_SLACK) for start in (self.row, self.column))
        stop_row, stop_column = (
            math.ceil(stop * factor - ROUNDING_SLACK) for stop in (self.stop_row, self.stop_column)
        )
        # The slack may pull the far edge of an empty window one pixel before its near edge.
        return Window(row, column, max(stop_row - row, 0), max(stop_column - column, 0))


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """One window of a plan: where it stands in the grid, what it owns, and what must be read for it.

    `core` is the pixels it owns: the cores of a plan tile the scene without gap or overlap. `read` is the
    core of an inner window grown by the halo on all four sides; it may stick out of the scene, where the
    reader pads, and has the same size in every window of a plan.

    >>> last = plan_windows(Size(100, 100), window=Size(64, 64), overlap=0)[-1]
    >>> last.index, last.core, last.read
    (3, Window(row=64, column=64, height=36, width=36), Window(row=64, column=64, height=64, width=64))
    """

    index: int
    grid_row: int
    grid_column: int
    core: Window
    read: Window


@dataclass(frozen=True)
class WindowPlan:
    """A scene cut into windows row by row, each computed when it is asked for.

    `step` is the core size of an inner window, `halo` the pixels read around it on each side; both in pixels.

    >>> plan = WindowPlan(scene=Size(10, 10), step=Size(4, 4), halo=1)
    >>> len(plan), plan[4].core
    (9, Window(row=4, column=4, height=4, width=4))
    """

    scene: Size
    step: Size
    halo: int

    def __post_init__(self) -> None:
        if self.scene.area == 0 or self.step.area == 0 or self.halo < 0:
            raise GeometryError(
                "A window plan needs a scene and a step with pixels and a halo that is not negative, "
                f"found scene {self.scene}, step {self.step}, halo {self.halo}."
            )

    @property
    def rows(self) -> int:
        """Number of window rows.

        >>> WindowPlan(Size(10, 4), step=Size(4, 4), halo=1).rows
        3
        """
        return -(-self.scene.height // self.step.height)

    @property
    def columns(self) -> int:
        """Number of window columns.

        >>> WindowPlan(Size(10, 4), step=Size(4, 4), halo=1).columns
        1
        """
        return -(-self.scene.width // self.step.width)

    @property
    def read_size(self) -> Size:
        """Size of every `read` window.

        >>> WindowPlan(Size(10, 4), step=Size(4, 4), halo=1).read_size
        Size(height=6, width=6)
        """
        return Size(self.step.height + 2 * self.halo, self.step.width + 2 * self.halo)

    def __len__(self) -> int:
        return self.rows * self.columns

    def __getitem__(self, position: int) -> PlannedWindow:
        number = index(position)
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"A plan of {len(self)} windows has no window {position}.")
        grid_row, grid_column = divmod(number, self.columns)
        inner = Window(grid_row * self.step.height, grid_column * self.step.width, self.step.height, self.step.width)
        return PlannedWindow(
            index=number,
            grid_row=grid_row,
            grid_column=grid_column,
            core=inner.clipped(self.scene),
            read=inner.expanded(self.halo),
        )

    def __iter__(self) -> Iterator[PlannedWindow]:
        return (self[number] for number in range(len(self)))

    def row(self, grid_row: int) -> list[PlannedWindow]:
        """The windows of one grid row, left to right; `IndexError` outside `0 ... rows - 1`.

        >>> [window.index for window in WindowPlan(Size(8, 8), step=Size(4, 4), halo=0).row(1)]
        [2, 3]
        """
        if not 0 <= grid_row < self.rows:
            raise IndexError(f"A plan of {self.rows} window rows has no row {grid_row}.")
        first = grid_row * self.columns
        return [self[number] for number in range(first, first + self.columns)]


def plan_windows(
    scene: Size, *, window: Size, overlap: int, block: Size | None = None, multiple_of: int = 1
) -> WindowPlan:
    """Plan the windows in which a scene is read, all of one size and aligned to the file's blocks.

    `window` is the read size to aim at, `overlap` the pixels that neighbouring reads share (even, less than
    half of the window), `block` the file's own block size, `multiple_of` what a network needs the read size
    to divide by. The rules, in order:

    1. A scene no larger than the window on both axes is one window with no halo, since nothing lies around
       it; the read size is the window rounded up to `multiple_of`.
    2. Otherwise the halo is `overlap / 2` and the step is the window less the overlap. An axis whose step is
       at least one block long is rounded down to whole blocks, and its read size shrinks with it.
    3. If the read size is then no multiple of `multiple_of`, the halo grows by the fewest pixels that make it
       one on both axes (fewer than `multiple_of`, so the read size may pass the window by a little).
    4. If no halo can (an odd step against an even multiple, say), block alignment is given up, the halo stays
       at `overlap / 2`, and the step shrinks so that the read size is the window rounded down to
       `multiple_of`.

    Raises `GeometryError` for a scene or block without pixels, a window smaller than `multiple_of`, and an
    overlap that is odd, negative or half the window or more.

    >>> plan = plan_windows(Size(10980, 10980), window=Size(1152, 1152), overlap=128, block=Size(512, 512))
    >>> plan.step, plan.halo, plan.read_size, len(plan)
    (Size(height=1024, width=1024), 64, Size(height=1152, width=1152), 121)
    """
    _check_plan(scene, window, overlap, block, multiple_of)
    if scene.height <= window.height and scene.width <= window.width:
        step = Size(_round_up(window.height, multiple_of), _round_up(window.width, multiple_of))
        return WindowPlan(scene=scene, step=step, halo=0)
    halo = overlap // 2
    step = Size(
        _whole_blocks(window.height - overlap, block.height if block else 1),
        _whole_blocks(window.width - overlap, block.width if block else 1),
    )
    for grown in range(halo, halo + multiple_of):
        if (step.height + 2 * grown) % multiple_of == 0 and (step.width + 2 * grown) % multiple_of == 0:
            return WindowPlan(scene=scene, step=step, halo=grown)
    step = Size(
        window.height // multiple_of * multiple_of - overlap,
        window.width // multiple_of * multiple_of - overlap,
    )
    return WindowPlan(scene=scene, step=step, halo=halo)


def _check_plan(scene: Size, window: Size, overlap: int, block: Size | None, multiple_of: int) -> None:
    shorter = min(window.height, window.width)
    if scene.area == 0:
        raise GeometryError(f"A scene of {scene.height} x {scene.width} pixels holds nothing to plan windows for.")
    if block is not None and block.area == 0:
        raise GeometryError(f"A block of {block.height} x {block.width} pixels is empty; leave `block` out instead.")
    if multiple_of < 1 or shorter < multiple_of:
        raise GeometryError(
            f"A window of {window.height} x {window.width} pixels cannot be made a multiple of {multiple_of};"
            f" ask for a window of at least {max(multiple_of, 1)} pixels and a multiple of at least 1."
        )
    if overlap < 0 or overlap % 2 or 2 * overlap >= shorter:
        raise GeometryError(
            f"The overlap must be even, not negative and less than half the window ({shorter} pixels), found {overlap}."
        )


def _whole_blocks(step: int, block: int) -> int:
    return step // block * block if step >= block else step


def _round_up(length: int, multiple_of: int) -> int:
    return -(-length // multiple_of) * multiple_of
