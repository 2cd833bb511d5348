"""Exact outlines of the regions of a label raster, strip by strip, holding the open regions only.

Regions are 4-connected: pixels of one label that meet at a corner alone belong to two polygons, unless they
are joined elsewhere. Coordinates are pixels (x right, y down, the raster covers [0, width] x [0, height]);
outlines keep only the corners where they turn. The result does not depend on how the raster was cut into
strips.

>>> import numpy as np
>>> ring = np.array([[7, 7, 7], [7, 0, 7], [7, 7, 7]], dtype=np.uint8)
>>> [found] = vectorise(ring, ignore=[0])
>>> found.label, found.pixel_area, len(found.polygon.interiors)
(7, 8, 1)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from swath.errors import GeometryError
from swath.geometry._outlines import State, mark_closed, new_state, sweep, with_room, write_closed

ROWS_AT_ONCE = 256  # rows that `vectorise` converts at a time


@dataclass(frozen=True, slots=True)
class LabelledPolygon:
    """One region: its label, its outline with holes in pixel coordinates, and its exact number of pixels.

    >>> import numpy as np
    >>> vectorise(np.ones((2, 3), dtype=np.uint8))[0].polygon.wkt
    'POLYGON ((0 0, 0 2, 3 2, 3 0, 0 0))'
    """

    label: int
    polygon: Polygon
    pixel_area: int


def vectorise(labels: NDArray[Any], *, ignore: Collection[int] = ()) -> list[LabelledPolygon]:
    """Outline every 4-connected region of equal labels in an (H, W) raster.

    `labels` holds booleans or integers that fit in 32 signed bits; pixels whose label is in `ignore`
    (background, nodata) get no polygon. Regions come in the order of their last row. Raises `GeometryError`
    for arrays of another shape or type.

    >>> import numpy as np
    >>> [(found.label, found.pixel_area) for found in vectorise(np.array([[1, 1, 2], [1, 2, 2]]))]
    [(1, 3), (2, 3)]
    """
    if labels.ndim != 2:
        raise GeometryError(f"Vectorising takes one (H, W) raster of labels, found shape {labels.shape}.")
    vectoriser = StreamingVectoriser(labels.shape[1], ignore)
    found: list[LabelledPolygon] = []
    for row in range(0, labels.shape[0], ROWS_AT_ONCE):
        found += vectoriser.push(labels[row : row + ROWS_AT_ONCE])
    return found + vectoriser.finish()


class StreamingVectoriser:
    """Outline the regions of a raster that arrives as full-width strips from top to bottom.

    Gives exactly the polygons of `vectorise` on the whole raster, each as soon as its last row has been seen.
    Memory is proportional to the width and to the vertices of regions still open.

    >>> import numpy as np
    >>> vectoriser = StreamingVectoriser(width=3, ignore=[0])
    >>> len(vectoriser.push(np.array([[1, 0, 2]])))
    0
    >>> [found.label for found in vectoriser.push(np.array([[1, 0, 0]]))]
    [2]
    >>> [found.pixel_area for found in vectoriser.finish()]
    [2]
    """

    def __init__(self, width: int, ignore: Collection[int] = ()) -> None:
        if width < 1:
            raise GeometryError(f"A raster to vectorise must be at least one pixel wide, found {width}.")
        self.width = width
        self._finished = False
        self._state = new_state(width, np.array(sorted(ignore), dtype=np.int64))

    @property
    def open_vertices(self) -> int:
        """Number of outline vertices held for regions that are still open.

        >>> StreamingVectoriser(width=3).open_vertices
        0
        """
        return len(self._state.vertices) - 1 - int(self._state.progress["free_vertices"][0])

    def push(self, rows: NDArray[Any]) -> list[LabelledPolygon]:
        """Take the next strip, (H, width) of booleans or integers, and return the regions that have closed.

        Raises `GeometryError` for another width or type, for labels beyond 32 signed bits, and after
        `finish`.

        >>> import numpy as np
        >>> StreamingVectoriser(width=2).push(np.zeros((5, 2), dtype=np.uint8))
        []
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise GeometryError(
                f"Strips for this vectoriser have shape (rows, {self.width}), found {tuple(rows.shape)}."
            )
        return self._take(_as_int32(rows))

    def finish(self) -> list[LabelledPolygon]:
        """Close the raster below its last row and return the regions that were still open.

        >>> StreamingVectoriser(width=2).finish()
        []
        """
        found = self._take(np.empty((1, 0), dtype=np.int32))
        self._finished = True
        return found

    def _take(self, rows: NDArray[np.int32]) -> list[LabelledPolygon]:
        if self._finished:
            raise GeometryError("This vectoriser has finished its raster; make a new one for another raster.")
        found: list[LabelledPolygon] = []
        done = 0
        while done < len(rows):
            done = sweep(rows, done, self._state)
            found += _collect(self._state)
            self._state = with_room(self._state)
        return found


def _as_int32(rows: NDArray[Any]) -> NDArray[np.int32]:
    if rows.dtype.kind not in "bui":
        raise GeometryError(f"Labels to vectorise must be integers or booleans, found {rows.dtype}.")
    if not np.can_cast(rows.dtype, np.int32) and rows.size:
        limits = np.iinfo(np.int32)
        if rows.min() < limits.min or rows.max() > limits.max:
            raise GeometryError(f"Labels to vectorise must fit in 32 signed bits, found {rows.min()} to {rows.max()}.")
    return np.ascontiguousarray(rows, dtype=np.int32)


def _collect(state: State) -> list[LabelledPolygon]:
    """Turn the regions that closed into polygons and free their vertices."""
    count = int(state.progress["closed"][0])
    if count == 0:
        return []
    vertex_count, opening_count = mark_closed(state)
    # A hole or shell repeats its first vertex; each starts at an opening, so there are no more rings than
    # those.
    corners = np.empty((vertex_count + opening_count, 2), dtype=np.float64)
    ring_offsets = np.zeros(opening_count + 1, dtype=np.int64)
    polygon_offsets = np.zeros(count + 1, dtype=np.int64)
    areas = np.zeros(count, dtype=np.int64)
    rings = write_closed(state, corners, ring_offsets, polygon_offsets, areas)
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        corners[: ring_offsets[rings]],
        (ring_offsets[: rings + 1], polygon_offsets),
    )
    labels = state.closed["label"][:count].tolist()
    return [LabelledPolygon(*found) for found in zip(labels, polygons, areas.tolist(), strict=True)]
