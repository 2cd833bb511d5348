"""Annotations with a value at every pixel: class maps, transitions between two, continuous rasters, flow.

>>> before = ClassMap(size=Size(1, 2), labels=[[0, 1]], classes=("land", "water"))
>>> before.flip_horizontal().labels.tolist()
[[1, 0]]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
from rasterio.features import rasterize

from swath.errors import AnnotationError
from swath.geometry._compile import compiled
from swath.geometry.vectorise import vectorise
from swath.geometry.windows import Size
from swath.imagery.features import Feature, FieldValue
from swath.samples.annotation import (
    Annotation,
    StitchRule,
    as_array,
    check_classes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from swath.samples.drawing import Canvas
    from swath.samples.moves import Move

ScoreKind = Literal["probability", "logit"]

CHANGE_CLASSES = ("unchanged", "changed")
"""The classes of a binary map of change, in the order of every data set and model here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMap(Annotation):
    """The class of every pixel, and how sure that is.

    `labels` (H, W) index `classes`, or are `ignore` where nothing is known; they are kept as uint8, or as
    uint16 where there are more values. `confidence` (H, W) float32 is 0 to 1. `scores` (K, H, W) float32 are
    probabilities or logits, as `scores_are` says. Moves take the nearest label and interpolate confidence and
    scores; what comes from outside the frame is `ignore` (0 where `ignore` is None) with confidence and
    scores 0.

    >>> ClassMap(size=Size(1, 2), labels=[[0, 1]], classes=("land", "water")).pad(right=1).labels.tolist()
    [[0, 1, 255]]
    """

    labels: NDArray[Any]
    classes: tuple[str, ...]
    confidence: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    scores_are: ScoreKind = "probability"
    ignore: int | None = 255
    packed_fields: ClassVar[frozenset[str]] = frozenset({"labels", "confidence", "scores"})

    def __post_init__(self) -> None:
        classes = check_classes(self.classes)
        shape = (self.size.height, self.size.width)
        if self.scores_are not in get_args(ScoreKind):
            raise AnnotationError(f"Scores are 'probability' or 'logit'; found '{self.scores_are}'.")
        confidence = self.confidence
        if confidence is not None:
            confidence = as_array(confidence, shape, np.float32, "Confidences")
            # NaN fails both comparisons, so the test is on what is allowed.
            if confidence.size and not (confidence.min() >= 0 and confidence.max() <= 1):
                raise AnnotationError("The confidence of a class map must be 0 to 1 at every pixel.")
        scores = self.scores
        if scores is not None:
            scores = as_array(scores, (len(classes), *shape), np.float32, "The scores of a class map")
        self._set(classes=classes, confidence=confidence, scores=scores, labels=self._checked_labels(len(classes)))

    @classmethod
    def from_scores(
        cls,
        scores: Any,
        classes: tuple[str, ...],
        *,
        scores_are: ScoreKind = "probability",
        ignore: int | None = 255,
    ) -> ClassMap:
        """Build the map of the best class from scores (K, H, W); the confidence is its probability.

        >>> ClassMap.from_scores([[[0.9]], [[0.1]]], ("land", "water")).labels.tolist()
        [[0]]
        """
        values = np.asarray(scores, dtype=np.float32)
        if values.ndim != 3 or len(values) == 0:
            raise AnnotationError(f"Scores need an array (classes, height, width); found the shape {values.shape}.")
        labels = np.zeros(values.shape[1:], dtype=np.uint8 if len(values) <= 1 << 8 else np.uint16)
        best = _best_class(values, labels)
        # The probability of the best class is exp(0) over the sum of exp(score - best score).
        confidence = best if scores_are == "probability" else 1 / np.exp(values - best).sum(axis=0)
        return cls(
            size=Size(*values.shape[1:]),
            labels=labels,
            classes=classes,
            confidence=np.clip(confidence, 0, 1),
            scores=values,
            scores_are=scores_are,
            ignore=ignore,
        )

    @classmethod
    def stitch_rule(cls) -> StitchRule:
        """Class maps are blended."""
        return StitchRule.BLEND

    def known(self) -> NDArray[np.bool_]:
        """Return where a class is given, (H, W)."""
        if self.ignore is None:
            return np.ones(self.labels.shape, dtype=np.bool_)
        known: NDArray[np.bool_] = self.labels != self.ignore
        return known

    def moved(self, move: Move) -> Self:
        """Return the map after a move of its frame."""
        return replace(
            self,
            size=move.size_after(self.size),
            labels=move.array(self.labels, fill=self.ignore or 0),
            confidence=None if self.confidence is None else move.array(self.confidence, smooth=True).clip(0, 1),
            scores=None if self.scores is None else move.array(self.scores, smooth=True),
        )

    def draw(self, canvas: Canvas) -> None:
        """Paint each class in its colour; unknown pixels stay as they are."""
        canvas.paint(self.labels, self.known(), self.classes)

    def features(self) -> Iterator[Feature]:
        """Yield a polygon for each connected area of one class, with `class` and any mean `confidence`."""
        ignored = () if self.ignore is None else (self.ignore,)
        for polygon, label, confidence in labelled_areas(self.labels, ignored, self.confidence):
            properties: dict[str, FieldValue] = {"class": self.classes[label]}
            if confidence is not None:
                properties["confidence"] = confidence
            yield Feature(geometry=polygon, properties=properties)

    def _checked_labels(self, count: int) -> NDArray[Any]:
        labels = np.asarray(self.labels)
        if labels.size == 0:
            labels = labels.astype(np.uint8)
        if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == np.bool_):
            raise AnnotationError(f"The labels of a class map are whole numbers; found the type {labels.dtype}.")
        if self.ignore is not None and not count <= self.ignore < 1 << 16:
            raise AnnotationError(
                f"The value of unknown pixels must be {count} to 65535 for {count} classes, so that it is "
                f"none of them; found ignore={self.ignore}."
            )
        largest = max(count - 1, self.ignore or 0)
        narrow = np.uint8 if largest < 1 << 8 else np.uint16
        labels = as_array(labels, (self.size.height, self.size.width), labels.dtype.type, "The labels of a class map")
        if labels.size and (labels.max() >= count or labels.min() < 0):
            wrong = (labels < 0) | (labels >= count)
            if self.ignore is not None:
                wrong &= labels != self.ignore
            if wrong.any():
                raise AnnotationError(
                    f"The label {labels[wrong][0]} is neither one of the {count} classes (0 to {count - 1}) "
                    f"nor the value for unknown pixels ({self.ignore})."
                )
        return labels.astype(narrow, copy=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Transition(Annotation):
    """What was there and what is there now: two class maps of one frame.

    >>> one = ClassMap(size=Size(1, 2), labels=[[0, 1]], classes=("land", "water"))
    >>> Transition(size=one.size, before=one, after=one.flip_horizontal()).changed().tolist()
    [[True, True]]
    """

    before: ClassMap
    after: ClassMap

    def __post_init__(self) -> None:
        if not self.size == self.before.size == self.after.size:
            raise AnnotationError(
                f"Both maps of a transition need its frame {self.size}; found {self.before.size} and {self.after.size}."
            )

    @classmethod
    def stitch_rule(cls) -> StitchRule:
        """Both maps are blended."""
        return StitchRule.BLEND

    def changed(self) -> NDArray[np.bool_]:
        """Return where both classes are known and their names differ, (H, W)."""
        names = {name: number for number, name in enumerate(dict.fromkeys(self.before.classes + self.after.classes))}
        known = self.before.known() & self.after.known()
        codes = [
            np.array([names[name] for name in side.classes])[np.where(known, side.labels, 0)]
            for side in (self.before, self.after)
        ]
        changed: NDArray[np.bool_] = known & (codes[0] != codes[1])
        return changed

    def moved(self, move: Move) -> Self:
        """Return both maps after a move of their frame."""
        return replace(
            self,
            size=move.size_after(self.size),
            before=self.before.moved(move),
            after=self.after.moved(move),
        )

    def draw(self, canvas: Canvas) -> None:
        """Paint the new class where something changed."""
        canvas.paint(self.after.labels, self.changed(), self.after.classes)

    def features(self) -> Iterator[Feature]:
        """Yield a polygon for each connected area of one change, with its classes `before` and `after`."""
        count = len(self.after.classes)
        codes = self.before.labels.astype(np.int32) * count + self.after.labels
        unchanged = -1
        codes[~self.changed()] = unchanged
        for polygon, code, _ in labelled_areas(codes, (unchanged,)):
            before, after = divmod(code, count)
            names = {"before": self.before.classes[before], "after": self.after.classes[after]}
            yield Feature(geometry=polygon, properties=names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Raster(Annotation):
    """Continuous values at every pixel, such as height, yield, or restored reflectance.

    `values` (C, H, W) float32, one of `names` a channel, in `unit` (free text, such as "metre"); `spread` (C,
    H, W) is the standard deviation, where known. Moves interpolate bilinearly; outside the frame there is 0.

    >>> height = Raster(size=Size(1, 2), values=[[[1, 3]]], names=("height",), unit="metre")
    >>> height.resize(Size(1, 1)).values.tolist()
    [[[2.0]]]
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    unit: str
    spread: NDArray[np.float32] | None = None
    packed_fields: ClassVar[frozenset[str]] = frozenset({"values", "spread"})

    def __post_init__(self) -> None:
        names = check_classes(self.names)
        shape = (len(names), self.size.height, self.size.width)
        spread = self.spread
        if spread is not None:
            spread = as_array(spread, shape, np.float32, "The spread of a raster")
            if (spread < 0).any():
                raise AnnotationError(f"A spread is a standard deviation, at least 0; found {spread.min()}.")
        self._set(
            names=names,
            values=as_array(self.values, shape, np.float32, "The values of a raster"),
            spread=spread,
        )

    @classmethod
    def stitch_rule(cls) -> StitchRule:
        """Rasters are blended."""
        return StitchRule.BLEND

    def moved(self, move: Move) -> Self:
        """Return the values after a move of their frame."""
        return replace(
            self,
            size=move.size_after(self.size),
            values=move.array(self.values, smooth=True),
            spread=None if self.spread is None else move.array(self.spread, smooth=True),
        )

    def draw(self, canvas: Canvas) -> None:
        """Paint the first channel from its lowest value (dark) to its highest (bright)."""
        canvas.paint_values(self.values[0])

    def features(self) -> Iterator[Feature]:
        """Raise `AnnotationError`: a continuous raster has no parts."""
        raise AnnotationError("A raster has no outlines; write it as a GeoTIFF instead of a vector file.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Flow(Annotation):
    """Where each pixel goes: `vectors` (2, H, W) float32, to the right and down, in pixels.

    Moves carry the arrows along: a flip mirrors them, a turn turns them, a resize scales them. Outside there
    is 0.

    >>> Flow(size=Size(1, 2), vectors=[[[1, 2]], [[0, 0]]]).flip_horizontal().vectors[0].tolist()
    [[-2.0, -1.0]]
    """

    vectors: NDArray[np.float32]
    packed_fields: ClassVar[frozenset[str]] = frozenset({"vectors"})

    def __post_init__(self) -> None:
        self._set(vectors=as_array(self.vectors, (2, self.size.height, self.size.width), np.float32, "Flow vectors"))

    @classmethod
    def stitch_rule(cls) -> StitchRule:
        """Flow is blended."""
        return StitchRule.BLEND

    def moved(self, move: Move) -> Self:
        """Return the arrows after a move of their frame."""
        x, y = move.array(self.vectors, smooth=True)
        map_ = move.affine(self.size)
        turned = np.stack([map_.a * x + map_.b * y, map_.d * x + map_.e * y])
        return replace(self, size=move.size_after(self.size), vectors=turned.astype(np.float32))

    def draw(self, canvas: Canvas) -> None:
        """Draw an arrow at every sixteenth pixel, true to scale."""
        step = 16
        for row in range(step // 2, self.size.height, step):
            for column in range(step // 2, self.size.width, step):
                dx, dy = self.vectors[:, row, column].tolist()
                if dx or dy:
                    canvas.arrow(column + 0.5, row + 0.5, column + 0.5 + dx, row + 0.5 + dy)

    def features(self) -> Iterator[Feature]:
        """Raise `AnnotationError`: flow has no parts."""
        raise AnnotationError("Flow has no outlines; write it as a GeoTIFF instead of a vector file.")


def labelled_areas(
    labels: NDArray[Any], ignored: tuple[int, ...], confidence: NDArray[np.float32] | None = None
) -> Iterator[tuple[Any, int, float | None]]:
    """Yield polygon, label and mean confidence (None if not given) of each connected area, in pixel coordinates.

    `labels` and `confidence` are (H, W); areas whose label is among `ignored` are left out.

    >>> [(polygon.area, label) for polygon, label, _ in labelled_areas(np.array([[1, 1, 0]]), (0,))]
    [(2.0, 1)]
    """
    areas = vectorise(labels, ignore=ignored) if labels.size else []
    if confidence is None or not areas:
        yield from ((area.polygon, area.label, None) for area in areas)
        return
    # Polygons of connected areas follow pixel edges and do not overlap, so burning their numbers is exact.
    numbers = rasterize(
        ((area.polygon, number) for number, area in enumerate(areas, start=1)),
        out_shape=labels.shape,
        dtype=np.int32,
    )
    counts = np.bincount(numbers.ravel(), minlength=len(areas) + 1)
    sums = np.bincount(numbers.ravel(), weights=confidence.ravel(), minlength=len(areas) + 1)
    for number, area in enumerate(areas, start=1):
        yield area.polygon, area.label, float(sums[number] / counts[number])


@compiled
def _best_class(scores: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the highest score of each pixel, (H, W), and add the first class that has it to `labels`, all zero."""
    count, height, width = scores.shape
    best = np.empty((height, width), dtype=np.float32)
    for row in range(height):
        for column in range(width):
            best[row, column] = scores[0, row, column]
        for label in range(1, count):
            for column in range(width):
                if scores[label, row, column] > best[row, column]:
                    best[row, column] = scores[label, row, column]
                    labels[row, column] = label
    return best
