"""The masks of COCO's files, polygons and run lengths, as `RunLengthMask`: pixel for pixel as COCO's own tools do.

Rule of `rleFrPoly` in pycocotools (Lin et al. 2014): the outline is drawn on a grid five times as fine, and a pixel
belongs to the mask by where the outline crosses the middle of its column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.errors import DataError, GeometryError
from swath.geometry.masks import RunLengthMask
from swath.samples.mask_patches import MaskPatch, union_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.geometry.windows import Size

_FINER = 5


def coco_mask(segmentation: Any, size: Size, where: str) -> RunLengthMask:
    """Return the mask of a `segmentation`: polygons, or run lengths with `counts` as a list or as text.

    Raises `DataError` for three numbers or fewer corners than three, and for run lengths of another size.

    >>> from swath.geometry.windows import Size
    >>> coco_mask([[1, 1, 3, 1, 3, 2, 1, 2]], Size(4, 4), "annotation 7").box.tolist()
    [1.0, 1.0, 3.0, 2.0]
    """
    try:
        if isinstance(segmentation, Mapping):
            return _run_lengths(segmentation, size, where)
        polygons = [polygon_mask(points, size) for points in polygons_of(segmentation, where)]
    except GeometryError as error:
        raise DataError(f"The mask of {where} is damaged ({error}); mend the file.") from error
    if len(polygons) == 1:
        return polygons[0]
    return union_of([MaskPatch.of(polygon) for polygon in polygons]).encoded(size)


def polygons_of(segmentation: Any, where: str) -> list[NDArray[np.float64]]:
    """Return the polygons (K, 2) of a segmentation; raise `DataError` for what is none.

    >>> polygons_of([[0, 0, 2, 0, 2, 2]], "annotation 7")[0].tolist()
    [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]]
    """
    try:
        polygons = [np.array(points, dtype=np.float64) for points in segmentation]
    except (TypeError, ValueError) as error:
        raise DataError(f"The mask of {where} is neither polygons nor run lengths; mend the file.") from error
    for points in polygons:
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise DataError(
                f"A polygon of {where} holds {points.size} numbers; x and y of at least three corners are needed."
            )
    if not polygons:
        raise DataError(f"{where} has no mask; the data set asks for one of every object.")
    return [points.reshape(-1, 2) for points in polygons]


def polygon_mask(points: NDArray[np.float64], size: Size) -> RunLengthMask:
    """Fill a polygon (K, 2) as COCO does.

    >>> from swath.geometry.windows import Size
    >>> polygon_mask(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]]), Size(3, 3)).decode().astype(int).tolist()
    [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    """
    fine = (_FINER * points + 0.5).astype(np.int64)  # towards zero, as a C cast
    u, v = _outline(fine, np.roll(fine, -1, axis=0))
    step = np.flatnonzero(u[1:] != u[:-1]) + 1
    across = (np.where(u[step] < u[step - 1], u[step], u[step] - 1) + 0.5) / _FINER - 0.5
    column = np.floor(across) == across
    keep = column & (across >= 0) & (across <= size.width - 1)
    down = (np.minimum(v[step], v[step - 1]) + 0.5) / _FINER - 0.5
    rows = np.ceil(np.clip(down[keep], 0, size.height)).astype(np.int64)
    places = np.sort(across[keep].astype(np.int64) * size.height + rows)
    runs = np.diff(np.concatenate([[0], places, [size.area]]))
    return RunLengthMask(size, _without_empty_runs(runs))


def _outline(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points (x, y) of lines between corners, side by side, one a step along the longer axis."""
    us, vs = [], []
    for (x0, y0), (x1, y1) in zip(start.tolist(), stop.tolist(), strict=True):
        dx, dy = abs(x1 - x0), abs(y1 - y0)
        flat = dx >= dy
        turned = x0 > x1 if flat else y0 > y1
        if turned:
            x0, y0, x1, y1 = x1, y1, x0, y0
        steps = np.arange(max(dx, dy) + 1)
        if turned:
            steps = steps[::-1]
        slope = ((y1 - y0) / dx if flat else (x1 - x0) / dy) if max(dx, dy) else 0.0
        along = steps + (x0 if flat else y0)
        beside = ((y0 if flat else x0) + slope * steps + 0.5).astype(np.int64)
        us.append(along if flat else beside)
        vs.append(beside if flat else along)
    return np.concatenate(us), np.concatenate(vs)


def _without_empty_runs(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join the runs around one of length zero, the first aside."""
    joined = [int(runs[0])]
    position = 1
    while position < len(runs):
        if runs[position] > 0:
            joined.append(int(runs[position]))
        else:
            position += 1
            if position < len(runs):
                joined[-1] += int(runs[position])
        position += 1
    return np.array(joined, dtype=np.int64)


def _run_lengths(segmentation: Mapping[str, Any], size: Size, where: str) -> RunLengthMask:
    counts, found = segmentation.get("counts"), segmentation.get("size")
    if found != [size.height, size.width]:
        raise DataError(f"The mask of {where} is of the size {found}, its image {[size.height, size.width]}.")
    if isinstance(counts, str):
        return RunLengthMask.from_coco_string(size, counts)
    if not isinstance(counts, Sequence):
        raise DataError(f"The mask of {where} has no run lengths; mend the file.")
    return RunLengthMask(size, np.array(counts, dtype=np.int64))
