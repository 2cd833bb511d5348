"""Objects: what points, boxes, oriented boxes and instances have in common.

Each object has a class and a score. Across windows objects are merged: `shifted` puts the objects of a window
into the scene's frame, `concatenate` puts them together and `deduplicated` keeps one of those seen twice.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import shapely

from swath.errors import AnnotationError
from swath.geometry.windows import Size, Window
from swath.imagery.features import Feature, FieldValue
from swath.samples.annotation import (
    Annotation,
    StitchRule,
    as_array,
    check_classes,
    check_finite,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from swath.samples.drawing import Canvas

_ABSENT: NDArray[Any] = np.zeros(0)


def absent() -> NDArray[Any]:
    """Return the mark of a field that was left out, told apart by identity."""
    return _ABSENT


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeRule:
    """When two objects of overlapping windows are one: points by distance in pixels, others by IoU.

    The better score is kept. With `class_aware`, objects of different classes never merge.

    >>> MergeRule(radius=3.0).iou
    0.5
    """

    radius: float = 1.0
    iou: float = 0.5
    class_aware: bool = True

    def __post_init__(self) -> None:
        if self.radius <= 0 or not 0 <= self.iou <= 1:
            raise AnnotationError(
                f"A merge rule needs a radius above 0 and an IoU from 0 to 1; found {self.radius} and {self.iou}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects(Annotation):
    """A number of objects, each with a class and a score.

    `labels` (N,) int32 index `classes` (all 0 when left out); `scores` (N,) float32 are larger for what is
    surer (all 1 when left out, as in truth). `ignored` (N,) bool marks what a truth shows but does not ask for,
    such as crowds, difficult objects and regions that nobody labelled (none when left out): measuring counts
    neither its absence nor what is found there.
    """

    labels: NDArray[np.int32] = field(default_factory=absent)
    scores: NDArray[np.float32] = field(default_factory=absent)
    ignored: NDArray[np.bool_] = field(default_factory=absent)
    classes: tuple[str, ...]

    per_object: ClassVar[tuple[str, ...]] = ("labels", "scores", "ignored")
    """The fields that hold one entry an object."""
    filled: ClassVar[bool] = False
    """Whether a drawing fills the outlines."""
    tagged: ClassVar[bool] = True
    """Whether a drawing names each object."""

    @property
    @abstractmethod
    def places(self) -> NDArray[np.float32]:
        """The array (N, ...) of coordinates."""

    @abstractmethod
    def centres(self) -> NDArray[np.float32]:
        """Return the centre of each object, (N, 2), as x and y."""

    @abstractmethod
    def merge_overlaps(self, rule: MergeRule) -> NDArray[np.int64]:
        """Return which objects to keep so that no two of them are one by the rule, best score first."""

    @abstractmethod
    def outlines(self) -> Iterator[BaseGeometry]:
        """Yield each object as a shapely geometry in pixel coordinates."""

    @classmethod
    def stitch_rule(cls) -> StitchRule:
        """Objects are merged across windows."""
        return StitchRule.MERGE

    def __len__(self) -> int:
        return len(self.places)

    def select(self, indices: NDArray[Any] | Sequence[int]) -> Self:
        """Return the objects at these positions, or where a boolean mask (N,) is true."""
        chosen = np.asarray(indices)
        if chosen.dtype == np.bool_:
            if chosen.shape != (len(self),):
                raise AnnotationError(f"A mask over {len(self)} objects needs that length; found {chosen.shape}.")
            chosen = np.flatnonzero(chosen)
        positions = chosen.astype(np.int64).reshape(-1)
        return replace(self, **{name: _taken(getattr(self, name), positions) for name in self.per_object})

    def above(self, score: float) -> Self:
        """Return the objects whose score is at least this."""
        return self.select(self.scores >= score)

    def shifted(self, rows: int, columns: int, size: Size) -> Self:
        """Return the objects moved down and right into a frame, such as a window's into its scene.

        What falls outside the new frame is cut or dropped, as a crop does.
        """
        return self.crop(Window(-rows, -columns, size.height, size.width))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Put together objects of one frame with the same classes (else `AnnotationError`)."""
        if not parts:
            raise AnnotationError("There is nothing to concatenate; give at least one annotation, empty if need be.")
        first = parts[0]
        for part in parts:
            if part.size != first.size or part.classes != first.classes:
                raise AnnotationError(
                    "Only objects of one frame and the same classes can be concatenated; found "
                    f"{first.size} with {first.classes} and {part.size} with {part.classes}."
                )
        if len(parts) == 1:
            return first
        return replace(first, **{name: _joined([getattr(p, name) for p in parts]) for name in first.per_object})

    def deduplicated(self, rule: MergeRule) -> Self:
        """Return the objects that `merge_overlaps` keeps, in their present order."""
        return self.select(np.sort(self.merge_overlaps(rule)))

    def class_of(self, index: int) -> str:
        """Return the class name of one object."""
        return self.classes[int(self.labels[index])]

    def draw(self, canvas: Canvas) -> None:
        """Draw each object that reaches the canvas's least score, with its class and score."""
        for index, outline in enumerate(self.outlines()):
            score, label = float(self.scores[index]), int(self.labels[index])
            colour = canvas.colour(self.classes, label)
            if score < canvas.minimum_score or colour is None or outline.is_empty:
                continue
            canvas.geometry(outline, colour, filled=self.filled)
            if self.tagged:
                x, y, _, _ = outline.bounds
                canvas.tag(x, y, f"{self.classes[label]} {score:.2f}")

    def features(self) -> Iterator[Feature]:
        """Yield each object with its `class` and `score`."""
        for index, outline in enumerate(self.outlines()):
            properties: dict[str, FieldValue] = {
                "class": self.class_of(index),
                "score": float(self.scores[index]),
            }
            yield Feature(geometry=outline, properties=properties)

    def _inside(self) -> NDArray[np.bool_]:
        """Return which centres lie in the frame, (N,)."""
        x, y = self.centres().T
        inside: NDArray[np.bool_] = (x >= 0) & (x < self.size.width) & (y >= 0) & (y < self.size.height)
        return inside

    def _merge_labels(self, rule: MergeRule) -> NDArray[np.int32] | None:
        return self.labels if rule.class_aware else None

    def _check_objects(self, count: int) -> None:
        what = type(self).__name__
        classes = check_classes(self.classes)
        labels = np.zeros(count) if self.labels is _ABSENT else self.labels
        scores = np.ones(count) if self.scores is _ABSENT else self.scores
        ignored = np.zeros(count) if self.ignored is _ABSENT else self.ignored
        labels = as_array(labels, (count,), np.int32, f"The labels of {count} {what}")
        scores = as_array(scores, (count,), np.float32, f"The scores of {count} {what}")
        ignored = as_array(ignored, (count,), np.bool_, f"The marks of ignored {what}")
        check_finite(scores, f"The scores of {what}")
        if count and not 0 <= labels.min() <= labels.max() < len(classes):
            raise AnnotationError(
                f"The labels of {what} must be 0 to {len(classes) - 1} for {len(classes)} classes; "
                f"found {labels.min()} to {labels.max()}."
            )
        self._set(classes=classes, labels=labels, scores=scores, ignored=ignored)


def _taken(values: Any, positions: NDArray[np.int64]) -> Any:
    return tuple(values[i] for i in positions) if isinstance(values, tuple) else values[positions]


def _joined(values: list[Any]) -> Any:
    return sum(values, ()) if isinstance(values[0], tuple) else np.concatenate(values)


def suppress(
    scores: NDArray[np.float32],
    labels: NDArray[np.int32] | None,
    extents: NDArray[Any],
    iou: Callable[[int, int], float],
    threshold: float,
) -> NDArray[np.int64]:
    """Return which objects to keep, best score first, so that no two have an IoU above the threshold.

    `extents` are shapely geometries around the objects: only where they meet is `iou` asked. With `labels`,
    objects of different classes do not suppress each other.

    >>> extents = shapely.box([0, 0, 5], 0, [2, 2, 6], 1)
    >>> suppress(np.array([0.5, 0.9, 0.7]), None, extents, lambda one, other: 1.0, 0.5).tolist()
    [1, 2]
    """
    tree: Any = shapely.STRtree(extents)
    alive = np.ones(len(scores), dtype=np.bool_)
    kept: list[int] = []
    for best in np.argsort(-scores, kind="stable").tolist():
        if not alive[best]:
            continue
        kept.append(best)
        for other in tree.query(extents[best]).tolist():
            rivals = alive[other] and (labels is None or labels[other] == labels[best])
            if rivals and iou(best, other) > threshold:
                alive[other] = False
    return np.array(kept, dtype=np.int64)
