"""Annotations of the image as a whole: a class, a text, a text with evidence, an embedding.

>>> Label.of("Forest", ("Forest", "River"), Size(64, 64)).best
Choice(name='Forest', score=1.0)
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely

from swath.errors import AnnotationError
from swath.geometry.windows import Size
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

    from swath.samples.drawing import Canvas
    from swath.samples.moves import Move

SUM_TOLERANCE = 1e-3  # float16 networks give sums this far from 1


@dataclass(frozen=True, slots=True)
class Choice:
    """A class name with its score.

    >>> Choice("Forest", 0.9).name
    'Forest'
    """

    name: str
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeImage(Annotation):
    """What is said of the image as a whole stays true under every move; only the frame changes.

    >>> Text(size=Size(4, 6), text="a quay").rotate90().size
    Size(height=6, width=4)
    """

    @classmethod
    def stitch_rule(cls) -> StitchRule:
        """Each window keeps what is said of it."""
        return StitchRule.COLLECT

    @property
    @abstractmethod
    def properties(self) -> dict[str, FieldValue]:
        """What a vector file says about the footprint."""

    def moved(self, move: Move) -> Self:
        """Return the annotation for the new frame."""
        return replace(self, size=move.size_after(self.size))

    def features(self) -> Iterator[Feature]:
        """Yield the outline of the frame with the properties."""
        yield Feature(geometry=shapely.box(0, 0, self.size.width, self.size.height), properties=self.properties)


@dataclass(frozen=True, kw_only=True, eq=False)
class Label(WholeImage):
    """The class of an image: `scores` (K,) float32, one a class.

    With `exclusive` classes the scores are probabilities that sum to 1 (truth is one-hot, or soft where
    images were mixed). Otherwise several classes may hold at once and each score is 0 to 1 by itself.

    >>> Label(size=Size(8, 8), scores=[0.2, 0.8], classes=("land", "water")).best.name
    'water'
    """

    scores: NDArray[np.float32]
    classes: tuple[str, ...]
    exclusive: bool = True

    def __post_init__(self) -> None:
        classes = check_classes(self.classes)
        scores = as_array(self.scores, (len(classes),), np.float32, f"The scores of {len(classes)} classes")
        check_finite(scores, "The scores of a label")
        if scores.min() < 0 or scores.max() > 1 + SUM_TOLERANCE:
            raise AnnotationError(f"The scores of a label must be 0 to 1; found {scores.min()} to {scores.max()}.")
        if self.exclusive and abs(float(scores.sum()) - 1) > SUM_TOLERANCE:
            raise AnnotationError(
                f"The scores of exclusive classes must sum to 1; found {scores.sum():.4f}. Apply a softmax, "
                "or say exclusive=False where several classes may hold at once."
            )
        self._set(classes=classes, scores=scores)

    @classmethod
    def of(cls, names: str | Sequence[str], classes: Sequence[str], size: Size) -> Label:
        """Build the truth: one class by name, or a list of all those that hold (then not exclusive).

        >>> Label.of(["a", "c"], ("a", "b", "c"), Size(8, 8)).scores.tolist()
        [1.0, 0.0, 1.0]
        """
        known = check_classes(classes)
        chosen = (names,) if isinstance(names, str) else tuple(names)
        for name in chosen:
            if name not in known:
                raise AnnotationError(f"There is no class '{name}'; the classes are {', '.join(known)}.")
        scores = np.array([name in chosen for name in known], dtype=np.float32)
        return cls(size=size, scores=scores, classes=known, exclusive=isinstance(names, str))

    @property
    def best(self) -> Choice:
        """The class with the highest score."""
        return self.top(1)[0]

    def top(self, count: int) -> tuple[Choice, ...]:
        """Return the classes with the highest scores, best first."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return tuple(Choice(self.classes[i], float(self.scores[i])) for i in order)

    @property
    def properties(self) -> dict[str, FieldValue]:
        """The best class and its score."""
        return {"class": self.best.name, "score": self.best.score}

    def draw(self, canvas: Canvas) -> None:
        """Write the best class and its score."""
        canvas.caption(f"{self.best.name} {self.best.score:.2f}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Text(WholeImage):
    """What is said about an image in words, with how sure that is, 0 to 1.

    >>> Text(size=Size(8, 8), text="A harbour with two ships.").score
    1.0
    """

    text: str
    score: float = 1.0

    def __post_init__(self) -> None:
        _check_score(self.score)

    @property
    def properties(self) -> dict[str, FieldValue]:
        """The text and its score."""
        return {"text": self.text, "score": self.score}

    def draw(self, canvas: Canvas) -> None:
        """Write the text."""
        canvas.caption(self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A piece of a text, characters `start` to `stop` (half-open), and what it points at in the image.

    >>> from swath.samples.vectors import Points
    >>> tree = Points.of([[1, 1]], classes=("tree",), height=4, width=4)
    >>> len(Span(start=0, stop=4, evidence=tree).evidence)
    1
    """

    start: int
    stop: int
    evidence: Annotation


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundedText(Annotation):
    """A text whose spans point at boxes, masks or points of the image.

    >>> from swath.samples.vectors import Boxes
    >>> ship = Boxes(size=Size(8, 8), boxes=[[1, 1, 3, 2]], classes=("ship",))
    >>> said = GroundedText(size=Size(8, 8), text="A ship.", spans=(Span(start=2, stop=6, evidence=ship),))
    >>> said.flip_horizontal().spans[0].evidence.boxes.tolist()
    [[5.0, 1.0, 7.0, 2.0]]
    """

    text: str
    spans: tuple[Span, ...] = ()
    score: float = 1.0

    def __post_init__(self) -> None:
        _check_score(self.score)
        for span in self.spans:
            if not 0 <= span.start <= span.stop <= len(self.text):
                raise AnnotationError(
                    f"A span must lie within the {len(self.text)} characters of its text; "
                    f"found {span.start} to {span.stop}."
                )
            if span.evidence.size != self.size:
                raise AnnotationError(
                    f"The evidence of a span needs the frame of its text, {self.size}; found {span.evidence.size}."
                )
        self._set(spans=tuple(self.spans))

    @classmethod
    def stitch_rule(cls) -> StitchRule:
        """Each window keeps what is said of it."""
        return StitchRule.COLLECT

    def phrase(self, span: Span) -> str:
        """Return the characters of a span."""
        return self.text[span.start : span.stop]

    def moved(self, move: Move) -> Self:
        """Return the text with its evidence after a move of the frame; evidence that left it is empty."""
        spans = tuple(replace(span, evidence=span.evidence.moved(move)) for span in self.spans)
        return replace(self, size=move.size_after(self.size), spans=spans)

    def draw(self, canvas: Canvas) -> None:
        """Draw the evidence and write the text."""
        for span in self.spans:
            span.evidence.draw(canvas)
        canvas.caption(self.text)

    def features(self) -> Iterator[Feature]:
        """Yield the evidence of each span with its own properties, its `phrase` and the whole `text`."""
        for span in self.spans:
            for feature in span.evidence.features():
                properties = {**feature.properties, "phrase": self.phrase(span), "text": self.text}
                yield Feature(geometry=feature.geometry, properties=properties)

    @classmethod
    def _encoded(cls, name: str, value: Any) -> Any:
        if name == "spans":
            return [{"start": s.start, "stop": s.stop, "evidence": s.evidence.to_json()} for s in value]
        return super()._encoded(name, value)

    @classmethod
    def _decoded(cls, name: str, value: Any) -> Any:
        if name == "spans":
            return tuple(
                Span(start=item["start"], stop=item["stop"], evidence=Annotation.from_json(item["evidence"]))
                for item in value
            )
        return super()._decoded(name, value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding(WholeImage):
    """A vector (D,) float32 that stands for the image.

    >>> Embedding(size=Size(8, 8), vector=[3.0, 4.0]).normalised().vector.tolist()
    [0.6000000238418579, 0.800000011920929]
    """

    vector: NDArray[np.float32]

    def __post_init__(self) -> None:
        vector = as_array(self.vector, (None,), np.float32, "Embeddings")
        check_finite(vector, "Embeddings")
        self._set(vector=vector)

    def normalised(self) -> Embedding:
        """Return the embedding at length 1; raise `AnnotationError` for a zero vector."""
        length = float(np.linalg.norm(self.vector))
        if length == 0:
            raise AnnotationError("An embedding of length 0 has no direction and cannot be normalised.")
        return replace(self, vector=self.vector / np.float32(length))

    @property
    def properties(self) -> dict[str, FieldValue]:
        """The vector, its numbers written out as a JSON list."""
        return {"embedding": json.dumps(self.vector.tolist())}

    def draw(self, canvas: Canvas) -> None:
        """Write the length of the vector; it has no place in the image."""
        canvas.caption(f"embedding of {len(self.vector)} numbers")


def _check_score(score: float) -> None:
    if not 0 <= score <= 1:
        raise AnnotationError(f"The score of a text must be 0 to 1; found {score}.")
