"""An array in memory as imagery; windows inside it are views, nothing is copied."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine as RasterioAffine
from rasterio.enums import Resampling
from rasterio.warp import reproject

from swath.errors import GridMismatch, ImageryUnreadable, ShapeError
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Unit
from swath.imagery.grid import PIXELS, Grid
from swath.imagery.naming import BandsSpec, StoredBand, name_bands
from swath.imagery.pixels import Pixels
from swath.imagery.sources_base import (
    BandedSource,
    ReadPlan,
    common_unit,
    missing_pixels,
    output_grid,
    plan_read,
    validity,
)

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

_BLOCK = 512
_CHANNELS_LAST = (1, 2, 3, 4)
_PLANE = "EPSG:3857"  # any projected system will do: both grids of a resampling are in it


class ArraySource(BandedSource):
    """An array (bands, height, width) or (height, width) as a `Source`; made by `open_source`.

    A masked array's mask marks missing pixels. Raises `ImageryUnreadable` for an array without pixels,
    `ShapeError` for other dimensions or channels last, `GridMismatch` for a grid of another size,
    `BandMismatch` where `bands` do not fit.

    >>> source = ArraySource(np.arange(6, dtype=np.uint8).reshape(1, 2, 3), bands="red")
    >>> pixels = source.read(Window(0, 2, 1, 2), [0])
    >>> pixels.values.tolist(), pixels.valid.tolist()
    ([[[2, 0]]], [[True, False]])
    """

    def __init__(
        self,
        array: NDArray[Any],
        *,
        bands: BandsSpec | None = None,
        unit: Unit | None = None,
        grid: Grid | None = None,
        name: str = "array",
        acquired: datetime | None = None,
    ) -> None:
        values = _bands_first(array)
        size = Size(values.shape[1], values.shape[2])
        self.name = name
        self.grid = grid or Grid(crs=None, transform=PIXELS, size=size)
        if self.grid.size != size:
            raise GridMismatch(f"the array has {size} and its grid {self.grid.size}; give the grid of this array.")
        stored = [StoredBand(number=number, dtype=values.dtype.name) for number in range(1, len(values) + 1)]
        named = name_bands(stored, where="the array", bands=bands, unit=unit)
        self.bands = tuple(item.band for item in named)
        self._positions = [item.number - 1 for item in named]
        self._masked: NDArray[np.bool_] | None = None
        if isinstance(values, np.ma.MaskedArray) and values.mask is not np.ma.nomask:
            self._masked = np.logical_or.reduce(np.ma.getmaskarray(values), axis=0)
        self._values: NDArray[Any] = np.ma.getdata(values)
        self.dtype = self._values.dtype
        self.block = Size(min(_BLOCK, size.height), min(_BLOCK, size.width))
        self.acquired = acquired

    def read(
        self, window: Window, bands: Sequence[int], *, size: Size | None = None, resampling: str = "bilinear"
    ) -> Pixels:
        """Return the bands at these positions in a window: a view where it lies inside; see `Source.read`."""
        plan = plan_read(window, self.grid.size, size)
        chosen = tuple(self.bands[position] for position in bands)
        planes = [self._positions[position] for position in bands]
        resized = plan.size != window.size
        whole = Window(0, 0, self.grid.size.height, self.grid.size.width)
        area = whole if resized else window.clipped(self.grid.size)
        rows, columns = area.slices
        inside = self._planes(planes)[:, rows, columns]
        missing = missing_pixels(inside, [band.nodata for band in chosen])
        if self._masked is not None:
            masked = self._masked[rows, columns]
            missing = masked if missing is None else missing | masked
        if resized:
            inside, missing = _resample(inside, missing, plan, Resampling[resampling])
        if plan.fills:
            values = inside
        else:
            values = np.zeros((len(chosen), plan.size.height, plan.size.width), self.dtype)
            if not plan.target.is_empty:
                rows, columns = plan.target.slices
                values[:, rows, columns] = inside
        return Pixels(
            values=values,
            bands=chosen,
            unit=common_unit(chosen),
            valid=validity(plan, missing),
            grid=output_grid(self.grid, window, plan.size),
        )

    def _planes(self, planes: list[int]) -> NDArray[Any]:
        """The chosen planes, as a view where they stand side by side."""
        first = planes[0] if planes else 0
        if planes == list(range(first, first + len(planes))):
            return self._values[first : first + len(planes)]
        return self._values[planes]

    def expecting(self, wanted: Sequence[str]) -> ArraySource:  # noqa: ARG002
        """Return the source itself: an array has no labels that leave a choice."""
        return self

    def fingerprint(self) -> str:
        """Return a hash of the array's type, shape and bytes."""
        digest = hashlib.sha256(repr((self._values.dtype.str, self._values.shape)).encode())
        for plane in self._values:
            digest.update(np.ascontiguousarray(plane).data)
        if self._masked is not None:
            digest.update(np.ascontiguousarray(self._masked).data)
        return digest.hexdigest()

    def close(self) -> None:
        """Do nothing: the array stays as long as someone holds it."""


def _bands_first(array: NDArray[Any]) -> NDArray[Any]:
    values = array[None] if array.ndim == 2 else array
    if values.ndim != 3:
        raise ShapeError(f"an array of imagery is (bands, height, width) or (height, width); found {array.shape}.")
    if values.size == 0:
        raise ImageryUnreadable(f"the array has the shape {array.shape}, so not a single pixel; give one that has.")
    if values.dtype.kind not in "buifc":
        raise ImageryUnreadable(f"the array holds {values.dtype} values; give whole or decimal numbers.")
    if values.shape[2] in _CHANNELS_LAST and values.shape[0] > 8 * values.shape[2] and values.shape[1] > 8:
        raise ShapeError(
            f"the array has the shape {array.shape}, with its bands last; put them first with "
            "numpy.moveaxis(array, -1, 0)."
        )
    return values


def _resample(
    values: NDArray[Any], missing: NDArray[np.bool_] | None, plan: ReadPlan, resampling: Resampling
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Resample whole planes (C, H, W) into the plan's target, keeping what is missing out of the sums."""
    shape = (plan.target.height, plan.target.width)
    values_out = np.zeros((len(values), *shape), values.dtype)
    if 0 in shape:
        return values_out, None
    step_x, step_y = plan.width / shape[1], plan.height / shape[0]
    target = RasterioAffine(step_x, 0.0, plan.column, 0.0, step_y, plan.row)
    where: dict[str, Any] = {
        "src_transform": RasterioAffine.identity(),
        "dst_transform": target,
        "src_crs": _PLANE,
        "dst_crs": _PLANE,
        "resampling": resampling,
    }
    # A masked array tells GDAL what to leave out of the sums.
    source = values if missing is None else np.ma.array(values, mask=np.broadcast_to(missing, values.shape))
    for plane_in, plane_out in zip(source, values_out, strict=True):
        reproject(plane_in, plane_out, **where)
    if missing is None:
        return values_out, None
    opaque = np.zeros(shape, np.float32)
    reproject((~missing).astype(np.float32), opaque, **where)
    return values_out, opaque < 0.5
