"""What every raster source offers, and the arithmetic of reads that stick out of it or are made smaller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from swath.errors import GeometryError
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Band, Unit
from swath.imagery.grid import Grid
from swath.imagery.pixels import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLACK = 1e-6  # pixels; an output edge this near a whole input pixel counts as lying on it


@runtime_checkable
class Source(Protocol):
    """One raster: a file, a file over HTTP, an array, or single-band files side by side.

    `name` is the path or address it came from, `block` the size of its storage blocks, `acquired` when it was
    taken (UTC). `bands[i].nodata` is the value that stands for "missing" in band i.
    """

    name: str
    grid: Grid
    bands: tuple[Band, ...]
    dtype: np.dtype[Any]
    block: Size
    acquired: datetime | None

    @property
    def unit(self) -> Unit:
        """The unit of all bands, `UNITLESS` where they differ."""

    @property
    def nodata(self) -> float | None:
        """The missing value of all bands, None where they have none or differ."""

    def read(
        self, window: Window, bands: Sequence[int], *, size: Size | None = None, resampling: str = "bilinear"
    ) -> Pixels:
        """Return the bands at these positions (from 0) in a window, which may stick out: outside is invalid.

        `size` asks for another number of pixels over the same ground (fewer are read through overviews).
        Raises `ImageryUnreadable` when the storage fails.
        """

    def expecting(self, wanted: Sequence[str]) -> Source:
        """Return the source as it is read by one who wants these bands: itself, unless its names leave a choice."""

    def fingerprint(self) -> str:
        """Return a cheap hash that changes with the content."""

    def close(self) -> None:
        """Let go of every file handle; a later read raises `ImageryUnreadable`."""


class BandedSource:
    """What follows from a source's bands alone; the kinds of source derive from it."""

    bands: tuple[Band, ...]

    @property
    def unit(self) -> Unit:
        """The unit of all bands, `UNITLESS` where they differ."""
        return common_unit(self.bands)

    @property
    def nodata(self) -> float | None:
        """The missing value of all bands, None where they have none or differ."""
        values = {band.nodata for band in self.bands}
        return values.pop() if len(values) == 1 else None


def common_unit(bands: Sequence[Band]) -> Unit:
    """Return the unit of all these bands, or `UNITLESS` where they differ.

    >>> common_unit([Band(name="red", role="red", unit=Unit.EIGHT_BIT)]).value
    '8-bit'
    """
    units = {band.unit for band in bands}
    return units.pop() if len(units) == 1 else Unit.UNITLESS


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The bands that a read asks for: their descriptions, common unit and missing values, worked out once."""

    bands: tuple[Band, ...]
    unit: Unit
    nodata: tuple[float | None, ...]

    @classmethod
    def of(cls, bands: Sequence[Band], positions: Sequence[int]) -> Selection:
        """Select the bands at these positions (from 0).

        >>> Selection.of([Band(name="red", role="red", nodata=0.0)], [0]).nodata
        (0.0,)
        """
        chosen = tuple(bands[position] for position in positions)
        return cls(bands=chosen, unit=common_unit(chosen), nodata=tuple(band.nodata for band in chosen))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPlan:
    """How a window becomes an array: the part that lies inside the scene, and where that goes.

    `row`, `column`, `height`, `width` are the inside part in scene pixels (fractional where the read is
    resampled); `target` is its place in the output of `size`.
    """

    row: float
    column: float
    height: float
    width: float
    target: Window
    size: Size

    @property
    def is_resampled(self) -> bool:
        """Whether the output has another pixel size than the scene."""
        return self.height != self.target.height or self.width != self.target.width

    @property
    def fills(self) -> bool:
        """Whether the inside part is the whole output."""
        return self.target.height == self.size.height and self.target.width == self.size.width


def plan_read(window: Window, scene: Size, size: Size | None) -> ReadPlan:
    """Plan the read of a window of a scene into `size` pixels (the window's own where None).

    In a resampled read, output pixels that the scene's edge cuts count as outside.

    >>> plan = plan_read(Window(-2, 0, 4, 4), Size(10, 10), None)
    >>> plan.target, plan.row, plan.fills
    (Window(row=2, column=0, height=2, width=4), 0, False)
    """
    native = window.size
    size = size or native
    if size.area == 0 or native.area == 0:
        raise GeometryError(f"a read needs at least one pixel; found the window {window} into {size}.")
    if size == native:
        inside = window if _lies_inside(window, scene) else window.clipped(scene)
        return ReadPlan(
            row=inside.row,
            column=inside.column,
            height=inside.height,
            width=inside.width,
            target=Window(inside.row - window.row, inside.column - window.column, inside.height, inside.width),
            size=size,
        )
    row, height, target_row, target_height = _resampled_side(window.row, window.height, scene.height, size.height)
    column, width, target_column, target_width = _resampled_side(window.column, window.width, scene.width, size.width)
    return ReadPlan(
        row=row,
        column=column,
        height=height,
        width=width,
        target=Window(target_row, target_column, target_height, target_width),
        size=size,
    )


def _lies_inside(window: Window, scene: Size) -> bool:
    return (
        window.row >= 0
        and window.column >= 0
        and window.row + window.height <= scene.height
        and window.column + window.width <= scene.width
    )


def _resampled_side(start: int, length: int, scene: int, pixels: int) -> tuple[float, float, int, int]:
    """Source start and length, output start and count, of the whole output pixels that lie inside, along one side."""
    step = length / pixels
    first = min(max(math.ceil((0 - start) / step - SLACK), 0), pixels)
    stop = min(max(math.floor((scene - start) / step + SLACK), first), pixels)
    low = max(start + first * step, 0.0)
    return low, min(start + stop * step, float(scene)) - low, first, stop - first


def missing_pixels(values: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_] | None:
    """Return where an array (C, H, W) holds nothing, (H, W), or None where it is whole.

    A pixel is missing where any band is NaN, infinite or its nodata value. In 8-bit imagery black is a
    colour, so there all bands must be the nodata value at once.

    >>> missing_pixels(np.array([[[1.0, np.nan]]]), [None]).tolist()
    [[False, True]]
    >>> missing_pixels(np.array([[[0]], [[7]]], np.uint8), [0, 0]) is None
    True
    """
    missing: NDArray[np.bool_] | None = None
    if values.dtype.kind not in "fc":
        if all(value is None for value in nodata):
            return None
    else:
        missing = ~np.logical_and.reduce(np.isfinite(values), axis=0)
    all_at_once = values.dtype == np.uint8
    if all_at_once and any(value is None for value in nodata):
        return None
    for band, value in zip(values, nodata, strict=True):
        if value is None or math.isnan(value):
            continue
        if not _representable(value, values.dtype):
            if all_at_once:
                return None
            continue
        hits = band == values.dtype.type(value)
        join = np.logical_and if all_at_once else np.logical_or
        missing = hits if missing is None else join(missing, hits, out=missing)
        if all_at_once and not missing.any():
            return None
    return missing if missing is not None and missing.any() else None


def _representable(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def validity(plan: ReadPlan, missing: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Return the validity (H, W) of a planned read, None where everything is valid.

    `missing` (of the size of the plan's target) marks what is missing inside the scene.
    """
    if plan.fills:
        return None if missing is None else ~missing
    valid = np.zeros((plan.size.height, plan.size.width), dtype=np.bool_)
    if not plan.target.is_empty:
        rows, columns = plan.target.slices
        valid[rows, columns] = True if missing is None else ~missing
    return valid


def output_grid(grid: Grid, window: Window, size: Size) -> Grid:
    """Return the grid of a window of a grid read into `size` pixels.

    >>> from swath.imagery.grid import PIXELS
    >>> output_grid(Grid(crs=None, transform=PIXELS, size=Size(8, 8)), Window(0, 4, 4, 4), Size(2, 2)).transform.a
    2.0
    """
    part = grid.window(window)
    return part if part.size == size else part.resized(size)
