"""Objects as files state them, and how they become `Boxes` or `OrientedBoxes`: the one place that all formats share.

What cannot be an object of its image (no size, outside, a class that the data set does not use) is left out and
counted by its reason. What cannot be right (an unknown class, a negative size) is a `DataError`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.datasets.formats.class_names import class_named
from swath.errors import ConfigurationError, DataError
from swath.geometry.oriented import FULL_TURN, corners
from swath.geometry.oriented_rectangles import minimum_area_rectangles
from swath.metrics.classes import fold_class_name
from swath.samples.vectors import Boxes, OrientedBoxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.geometry.windows import Size
    from swath.samples.objects import Objects

_CLOSED = 0.5  # pixels between the ends of a closed outline

OUTSIDE = "boxes outside their image"
EVERY_CLASS = "*"
"""The name of a region that is marked for all classes at once, such as one in which nothing is labelled."""


class ObjectKind(Enum):
    """What the objects of a data set become: `Boxes`, `OrientedBoxes` or `Instances`.

    >>> ObjectKind("oriented") is ObjectKind.ORIENTED
    True
    """

    UPRIGHT = "upright"
    ORIENTED = "oriented"
    MASKS = "masks"


@dataclass(frozen=True, kw_only=True)
class ObjectRules:
    """How the objects of files are taken.

    `aliases` are further names of classes (case, spaces, hyphens and underscores never matter). Objects of the
    classes `left_out` are not read. With `one_class` every object is of the data set's first class, whatever its
    file says. Boxes with a side of no size, or under `smallest_side` pixels, are left out.

    >>> ObjectRules(aliases={"Airbus A220": "A220"}).class_of("airbus_a220", ("A220", "A321"), "a.xml")
    'A220'
    """

    kind: ObjectKind = ObjectKind.UPRIGHT
    aliases: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    one_class: bool = False
    smallest_side: float = 0.0

    def class_of(self, name: str, classes: tuple[str, ...], where: str) -> str | None:
        """Return the class that a name means, None for one that is left out; raise `DataError` for an unknown one."""
        if self.one_class:
            return classes[0]
        meant = self._meanings.get(fold_class_name(name.strip()), name)
        return None if meant is None else class_named(meant, classes, where)

    @cached_property
    def _meanings(self) -> dict[str, str | None]:
        aliases = {fold_class_name(alias): name for alias, name in self.aliases.items()}
        return aliases | dict.fromkeys(map(fold_class_name, self.left_out))

    @property
    def too_small(self) -> str:
        """Say which boxes are too small to be kept."""
        if self.smallest_side:
            return f"boxes with a side under {self.smallest_side:g} pixels"
        return "boxes without width or height"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StatedObject:
    """An object as a file states it.

    `shape` is (4,) x1, y1, x2, y2; or (5,) centre x, centre y, width, height, angle as in `OrientedBoxes`; or the
    corners (4, 2). `ignored` objects (difficult ones, crowds) do not count in measuring. `where` names the place in
    the file for messages.

    >>> boat = StatedObject(name="boat", shape=np.array([1.0, 1.0, 5.0, 3.0]), where="line 1 of a.txt")
    >>> boat.corners()[2].tolist()
    [5.0, 3.0]
    """

    name: str
    shape: NDArray[np.float64]
    where: str
    ignored: bool = False
    score: float = 1.0

    def corners(self) -> NDArray[np.float64]:
        """Return the four corners, (4, 2)."""
        if self.shape.ndim == 2:
            return self.shape
        if len(self.shape) == 4:
            return self.shape[[[0, 1], [2, 1], [2, 3], [0, 3]]]
        turned: NDArray[np.float64] = corners(self.shape[None])[0]
        return turned

    def check(self) -> None:
        """Raise `DataError` for numbers that are not finite, angles in degrees, and a negative size."""
        if not np.isfinite(self.shape).all():
            raise DataError(f"{self.where} holds {self.shape.ravel().tolist()}, where finite numbers are needed.")
        if len(self.shape) == 5 and abs(self.shape[4]) > FULL_TURN:
            raise DataError(f"{self.where} has the angle {self.shape[4]:g}, where radians are needed; mend the file.")
        if self.shape.ndim == 1:
            width, height = self.shape[2:4] - self.shape[:2] if len(self.shape) == 4 else self.shape[2:4]
            if width < 0 or height < 0:
                raise DataError(
                    f"{self.where} has a negative size, width {width:g} and height {height:g}; mend the file."
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Sifted:
    """The stated objects that can be objects of their image, and how many were left out by reason.

    `labels` are by object; `boxes` are (N, 4), or (N, 5) for oriented ones.
    """

    objects: tuple[StatedObject, ...]
    labels: NDArray[np.int32]
    boxes: NDArray[np.float32]
    left_out: Counter[str]

    def common(self, size: Size, classes: tuple[str, ...]) -> dict[str, Any]:
        """Return what every kind of annotation is built with, but the places."""
        scores = np.array([each.score for each in self.objects], dtype=np.float32)
        ignored = np.array([each.ignored for each in self.objects], dtype=np.bool_)
        return {"size": size, "classes": classes, "labels": self.labels, "scores": scores, "ignored": ignored}


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectsRead:
    """The objects of an image, and how many were left out for each reason."""

    objects: Objects
    left_out: Counter[str]


def sift(stated: Sequence[StatedObject], size: Size, classes: tuple[str, ...], rules: ObjectRules) -> Sifted:
    """Keep what can be an object of a frame of this size; raise `DataError` for what cannot be right.

    Quadrilaterals become the smallest rectangle around them, or the upright box around them. Boxes that stick out of
    the frame keep their size.
    """
    left_out: Counter[str] = Counter()
    used: list[StatedObject] = []
    labels: list[int] = []
    for each in stated:
        each.check()
        names = classes if each.name == EVERY_CLASS else (rules.class_of(each.name, classes, each.where),)
        found = [classes.index(name) for name in names if name is not None]
        left_out[f"objects of the class '{each.name}'"] += not found
        used += [each] * len(found)
        labels += found
    around = np.array([each.corners() for each in used], dtype=np.float64).reshape(-1, 4, 2)
    hulls = np.concatenate([around.min(axis=1), around.max(axis=1)], axis=1)
    oriented = rules.kind is ObjectKind.ORIENTED
    boxes = _oriented(used, around) if oriented else hulls
    sides = (boxes[:, 2:4] if oriented else boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=math.inf)
    small = (sides <= 0) | (sides < rules.smallest_side)
    outside = (hulls[:, 2:] <= 0).any(axis=1) | (hulls[:, :2] >= [size.width, size.height]).any(axis=1)
    left_out.update({rules.too_small: int(small.sum()), OUTSIDE: int((outside & ~small).sum())})
    kept = np.flatnonzero(~(small | outside))
    return Sifted(
        objects=tuple(used[position] for position in kept),
        labels=np.array(labels, dtype=np.int32)[kept],
        boxes=boxes[kept].astype(np.float32),
        left_out=+left_out,
    )


def objects_from(
    stated: Sequence[StatedObject], size: Size, classes: tuple[str, ...], rules: ObjectRules
) -> ObjectsRead:
    """Turn stated objects into `Boxes` or `OrientedBoxes` of a frame, and count what is left out, as `sift` does.

    Raises `ConfigurationError` where the data set declares masks, which files of boxes do not hold.

    >>> from swath.geometry.windows import Size
    >>> boat = StatedObject(name="boat", shape=np.array([1.0, 1.0, 5.0, 3.0]), where="line 1 of a.txt")
    >>> objects_from([boat], Size(8, 8), ("boat",), ObjectRules()).objects.boxes.tolist()
    [[1.0, 1.0, 5.0, 3.0]]
    """
    if rules.kind is ObjectKind.MASKS:
        raise ConfigurationError("Files of boxes hold no masks; declare upright or oriented boxes, or COCO's JSON.")
    kept = sift(stated, size, classes, rules)
    kind: type[Boxes] | type[OrientedBoxes] = OrientedBoxes if rules.kind is ObjectKind.ORIENTED else Boxes
    return ObjectsRead(objects=kind(boxes=kept.boxes, **kept.common(size, classes)), left_out=kept.left_out)


def quadrilateral(values: Sequence[float], where: str) -> NDArray[np.float64]:
    """Return the corners (4, 2) of x1, y1, ... y4; raise `DataError` for another number of corners.

    A fifth corner that repeats the first, to half a pixel, is dropped.

    >>> quadrilateral([0, 0, 4, 0, 4, 2, 0, 2, 0, 0], "line 1 of a.txt").tolist()
    [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]]
    """
    points = np.array(values[: len(values) // 2 * 2], dtype=np.float64).reshape(-1, 2)
    if len(points) == 5 and np.abs(points[4] - points[0]).max() <= _CLOSED:
        points = points[:4]
    if len(points) != 4 or len(values) % 2:
        raise DataError(f"{where} has {len(values) / 2:g} corners, where 4 are needed; mend the file.")
    return points


def number(text: str | None, where: str) -> float:
    """Return a finite number; raise `DataError` for anything else.

    >>> number(" 12.5", "a.txt")
    12.5
    """
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} holds '{text or ''}', where a number is needed; mend the file.")
    return value


def _oriented(stated: Sequence[StatedObject], around: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the oriented boxes (N, 5): those stated as such, and the smallest rectangles around quadrilaterals."""
    boxes = np.zeros((len(stated), 5))
    drawn = np.array([each.shape.ndim == 2 for each in stated], dtype=np.bool_)
    if drawn.any():
        boxes[drawn] = minimum_area_rectangles(around[drawn])
    for position in np.flatnonzero(~drawn).tolist():
        shape = stated[position].shape
        upright = len(shape) == 4
        boxes[position] = [*(shape[:2] + shape[2:]) / 2, *(shape[2:] - shape[:2]), 0] if upright else shape
    return boxes
