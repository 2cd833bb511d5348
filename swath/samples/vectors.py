"""Points, upright boxes and oriented boxes.

>>> trees = Points.of([[10.5, 20.5]], classes=("tree",), height=64, width=64)
>>> trees.flip_horizontal().points.tolist()
[[53.5, 20.5]]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import shapely

from swath.errors import AnnotationError
from swath.geometry import oriented
from swath.geometry.boxes import clip_boxes, non_maximum_suppression
from swath.geometry.oriented_overlap import oriented_non_maximum_suppression
from swath.geometry.points import merge_close_points
from swath.geometry.windows import Size
from swath.samples.annotation import as_array, check_finite
from swath.samples.objects import MergeRule, Objects, absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from shapely.geometry import Point, Polygon

    from swath.imagery.grid import Affine
    from swath.samples.moves import Move


@dataclass(frozen=True, kw_only=True, eq=False)
class Points(Objects):
    """Places of things, such as tree tops: `points` (N, 2) float32 as x and y.

    A crop or rotation keeps the points inside the frame, 0 <= x < width and 0 <= y < height.

    >>> Points.of([[1, 2], [3, 4]], classes=("car",), height=8, width=8).scores.tolist()
    [1.0, 1.0]
    """

    points: NDArray[np.float32]
    per_object: ClassVar[tuple[str, ...]] = ("points", *Objects.per_object)
    tagged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        points = as_array(self.points, (None, 2), np.float32, "Points")
        check_finite(points, "Points")
        self._set(points=points)
        self._check_objects(len(points))

    @classmethod
    def of(
        cls,
        points: Any,
        *,
        classes: tuple[str, ...],
        height: int,
        width: int,
        labels: Any = None,
        scores: Any = None,
        ignored: Any = None,
    ) -> Points:
        """Build points from anything array-like; class 0, score 1 and not ignored where nothing is said."""
        return cls(
            size=Size(height, width),
            points=points,
            labels=absent() if labels is None else labels,
            scores=absent() if scores is None else scores,
            ignored=absent() if ignored is None else ignored,
            classes=classes,
        )

    @property
    def places(self) -> NDArray[np.float32]:
        """The points, (N, 2)."""
        return self.points

    def centres(self) -> NDArray[np.float32]:
        """Return the points themselves."""
        return self.points

    def mapped(self, affine: Affine, size: Size) -> Self:
        """Return the points carried by an affine map into a frame of that size."""
        return replace(self, size=size, points=affine.apply(self.points.astype(np.float64)).astype(np.float32))

    def moved(self, move: Move) -> Self:
        """Return the points after a move of their frame, without those that left it."""
        there = self.mapped(move.affine(self.size), move.size_after(self.size))
        return there.select(there._inside()) if move.loses else there

    def merge_overlaps(self, rule: MergeRule) -> NDArray[np.int64]:
        """Return the points to keep so that no two lie within `rule.radius` pixels, best score first."""
        return merge_close_points(self.points, self.scores, rule.radius, labels=self._merge_labels(rule))

    def outlines(self) -> Iterator[Point]:
        """Yield shapely points."""
        yield from shapely.points(self.points.astype(np.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes(Objects):
    """Upright boxes: `boxes` (N, 4) float32 as x1, y1, x2, y2 with x1 <= x2 and y1 <= y2.

    A crop cuts them at the frame and drops those of which nothing is left. A rotation gives the upright box
    around the turned one, which is larger than what it shows; turn oriented boxes or instances where that
    matters.

    >>> box = Boxes(size=Size(10, 10), boxes=[[2, 2, 6, 4]], classes=("ship",))
    >>> box.rotate90().boxes.tolist()
    [[2.0, 4.0, 4.0, 8.0]]
    """

    boxes: NDArray[np.float32]
    per_object: ClassVar[tuple[str, ...]] = ("boxes", *Objects.per_object)

    def __post_init__(self) -> None:
        boxes = as_array(self.boxes, (None, 4), np.float32, "Boxes")
        check_boxes(boxes)
        self._set(boxes=boxes)
        self._check_objects(len(boxes))

    @property
    def places(self) -> NDArray[np.float32]:
        """The boxes, (N, 4)."""
        return self.boxes

    def centres(self) -> NDArray[np.float32]:
        """Return the middle of each box, (N, 2)."""
        return middles(self.boxes)

    def mapped(self, affine: Affine, size: Size) -> Self:
        """Return the upright boxes around the boxes carried by an affine map, in a frame of that size."""
        return replace(self, size=size, boxes=map_boxes(self.boxes, affine))

    def moved(self, move: Move) -> Self:
        """Return the boxes after a move of their frame, cut at its edges."""
        there = self.mapped(move.affine(self.size), move.size_after(self.size))
        if not move.loses:
            return there
        cut = replace(there, boxes=clip_boxes(there.boxes, there.size).astype(np.float32))
        return cut.select((cut.boxes[:, 2] > cut.boxes[:, 0]) & (cut.boxes[:, 3] > cut.boxes[:, 1]))

    def merge_overlaps(self, rule: MergeRule) -> NDArray[np.int64]:
        """Return the boxes to keep after non-maximum suppression at `rule.iou`, best score first."""
        return non_maximum_suppression(self.boxes, self.scores, rule.iou, labels=self._merge_labels(rule))

    def outlines(self) -> Iterator[Polygon]:
        """Yield shapely rectangles."""
        yield from shapely.box(*self.boxes.astype(np.float64).T)


@dataclass(frozen=True, kw_only=True, eq=False)
class OrientedBoxes(Objects):
    """Boxes at any angle: `boxes` (N, 5) float32 as centre x, centre y, width, height, angle in radians.

    The corners are (x, y) + R (±width / 2, ±height / 2) with R = [[cos, -sin], [sin, cos]] of the angle, in
    pixel coordinates with x right and y down: a positive angle turns clockwise as seen. Angles are brought
    into [-pi/2, pi/2), which names the same box; `swath.geometry.oriented_conventions` converts to and from what
    others write. A crop or rotation keeps whole the boxes whose centre is in the frame.

    >>> box = OrientedBoxes(size=Size(10, 10), boxes=[[5, 5, 4, 2, 0]], classes=("ship",))
    >>> box.corners()[0].tolist()
    [[3.0, 4.0], [7.0, 4.0], [7.0, 6.0], [3.0, 6.0]]
    """

    boxes: NDArray[np.float32]
    per_object: ClassVar[tuple[str, ...]] = ("boxes", *Objects.per_object)

    def __post_init__(self) -> None:
        boxes = as_array(self.boxes, (None, 5), np.float32, "Oriented boxes")
        check_finite(boxes, "Oriented boxes")
        if len(boxes) and boxes[:, 2:4].min() < 0:
            raise AnnotationError(
                f"Oriented boxes are (x, y, width, height, angle) with width and height of at least 0; "
                f"found {boxes[(boxes[:, 2:4] < 0).any(axis=1)][0].tolist()}."
            )
        self._set(boxes=np.column_stack([boxes[:, :4], oriented.normal_angles(boxes[:, 4])]))
        self._check_objects(len(boxes))

    @property
    def places(self) -> NDArray[np.float32]:
        """The boxes, (N, 5)."""
        return self.boxes

    def centres(self) -> NDArray[np.float32]:
        """Return the centre of each box, (N, 2)."""
        return self.boxes[:, :2]

    def half_sides(self) -> NDArray[np.float64]:
        """Return the vectors from the centre to the middle of the right and of the bottom side, (N, 2, 2)."""
        return oriented.half_sides(self.boxes)

    def corners(self) -> NDArray[np.float64]:
        """Return the corners (N, 4, 2), clockwise from what is the top left at angle 0."""
        return oriented.corners(self.boxes)

    def mapped(self, affine: Affine, size: Size) -> Self:
        """Return the boxes carried by an affine map into a frame of that size.

        Where the map stretches one axis more than the other, a slanting box becomes a parallelogram; the
        result is then the smallest box around it that shares the direction of one of its sides.
        """
        centres = affine.apply(self.boxes[:, :2].astype(np.float64))
        linear = np.array([[affine.a, affine.b], [affine.d, affine.e]])
        sides: NDArray[np.float64] = 2 * self.half_sides() @ linear.T
        return replace(self, size=size, boxes=np.column_stack([centres, _box_around(sides[:, 0], sides[:, 1])]))

    def moved(self, move: Move) -> Self:
        """Return the boxes after a move of their frame, without those whose centre left it."""
        there = self.mapped(move.affine(self.size), move.size_after(self.size))
        return there.select(there._inside()) if move.loses else there

    def merge_overlaps(self, rule: MergeRule) -> NDArray[np.int64]:
        """Return the boxes to keep after non-maximum suppression at `rule.iou`, best score first."""
        return oriented_non_maximum_suppression(self.boxes, self.scores, rule.iou, labels=self._merge_labels(rule))

    def outlines(self) -> Iterator[Polygon]:
        """Yield shapely polygons of the four corners."""
        yield from shapely.polygons(self.corners())


def check_boxes(boxes: NDArray[np.float32]) -> None:
    """Raise `AnnotationError` unless all boxes (N, 4) are finite with x1 <= x2 and y1 <= y2.

    >>> check_boxes(np.array([[0, 0, 2, 1]], np.float32))
    """
    check_finite(boxes, "Boxes")
    turned = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if turned.any():
        raise AnnotationError(
            f"Boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2; found {boxes[turned][0].tolist()}."
        )


def middles(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the middle of each box (N, 4) as x and y, (N, 2).

    >>> middles(np.array([[0, 0, 2, 1]], np.float32)).tolist()
    [[1.0, 0.5]]
    """
    return ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32)


def map_boxes(boxes: NDArray[np.float32], affine: Affine) -> NDArray[np.float32]:
    """Return the upright boxes around boxes (N, 4) carried by an affine map.

    >>> from swath.imagery.grid import Affine
    >>> map_boxes(np.array([[0, 0, 2, 1]], np.float32), Affine(-1, 0, 4, 0, 1, 0)).tolist()
    [[2.0, 0.0, 4.0, 1.0]]
    """
    corners = affine.apply(boxes.astype(np.float64)[:, [[0, 1], [2, 1], [2, 3], [0, 3]]])
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def _box_around(along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 3) width, height and angle of the smaller box on a side of each parallelogram (N, 2)."""
    length, depth = np.hypot(*along.T), np.hypot(*across.T)
    area = np.abs(along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0])
    lean = np.abs((along * across).sum(axis=1))
    # A side of length zero has no direction; the box then follows the other side.
    on_along = np.stack(
        [length + _ratio(lean, length), _ratio(area, length), np.arctan2(along[:, 1], along[:, 0])], axis=1
    )
    on_across = np.stack(
        [_ratio(area, depth), depth + _ratio(lean, depth), np.arctan2(-across[:, 0], across[:, 1])], axis=1
    )
    follow_across = (length == 0) | ((depth > 0) & (length < depth))
    return np.where(follow_across[:, None], on_across, on_along)


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
