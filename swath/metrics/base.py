"""The contract of every metric: a tally an image, tallies that add up, and figures read off their total.

Because tallies are additive, the totals over a test set are exact, parts of a set may be counted apart and
joined, and an interval over images costs a reweighted sum rather than a second evaluation. Detections, which
only their order by score over the whole set can judge, are kept one by one beside the sums (`Ranking`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from swath.errors import AnnotationError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swath.metrics.calibration import Reliability
    from swath.samples.annotation import Annotation

Kind = TypeVar("Kind", bound="Annotation")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scored things that cannot be summed but only ranked together, one a row, in the order of the images.

    `scores` (R,) float64, `marks` (R, C) int64 what else a metric has to know of each, and `times` (R,) int64 how
    often each counts: once, or in a resampled set as often as its image was drawn.

    >>> one = Ranking.of(np.array([0.5]), np.array([[3]]))
    >>> Ranking.joined([one, one]).marks.tolist()
    [[3], [3]]
    """

    scores: NDArray[np.float64]
    marks: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, scores: NDArray[np.floating], marks: NDArray[np.int64]) -> Ranking:
        """Return things that count once each."""
        return cls(scores.astype(np.float64), marks, np.ones(len(scores), dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Ranking]) -> Ranking:
        """Return all rows of one part or more, in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "marks", "times")))

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Tally:
    """What one image, or many, add to a metric: `counts` (int64, exact) and `sums` (float64), both 1-D.

    `ranked` holds what is ranked instead, in one part or a few; metrics without a ranking leave it empty.

    >>> one = Tally(np.array([1, 2]), np.array([0.5]))
    >>> (one + one).counts.tolist(), (one + one).sums.tolist()
    ([2, 4], [1.0])
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    ranked: tuple[Ranking, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        ranked = self.ranked + other.ranked
        # Joining only parts of like length copies each row no more often than their number has binary digits.
        while len(ranked) > 1 and 2 * len(ranked[-1]) >= len(ranked[-2]):
            ranked = (*ranked[:-2], Ranking.joined(ranked[-2:]))
        return Tally(self.counts + other.counts, self.sums + other.sums, ranked)


@dataclass
class RunningTotal:
    """The mutable part of a metric: what has been tallied so far, None before the first image."""

    tally: Tally | None = None


@dataclass(frozen=True, eq=False)
class Metric(ABC):
    """Frozen settings and a running total; subclasses tally an image and read figures off a total.

    Figures carry spelled-out names (`"macro F1"`, `"F1 (class Forest)"`) and are fractions, never per cent.
    """

    running: RunningTotal = field(default_factory=RunningTotal, init=False, repr=False)

    @abstractmethod
    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Compare one image's prediction with its truth; raise `AnnotationError` for wrong kinds."""

    @abstractmethod
    def figures(self, total: Tally) -> dict[str, float]:
        """Read every figure off a total; a figure that has no meaning for it is NaN."""

    def reliability(self, total: Tally) -> Reliability | None:  # noqa: ARG002 (one signature)
        """Return how far confidences keep their word over a total, None for kinds and totals without them."""
        return None

    def right(self, tally: Tally) -> bool | None:  # noqa: ARG002 (one signature)
        """Return whether one image was wholly right, None for kinds of which an image is neither right nor wrong."""
        return None

    def update(self, prediction: Annotation, truth: Annotation) -> None:
        """Add one image to the running total."""
        self.add(self.tally(prediction, truth))

    def add(self, tally: Tally) -> None:
        """Add a tally to the running total."""
        self.running.tally = tally if self.running.tally is None else self.running.tally + tally

    @property
    def total(self) -> Tally:
        """The running total; raise `DataError` when nothing was added yet."""
        if self.running.tally is None:
            raise DataError(f"The {type(self).__name__} has seen no image yet; update it before asking for figures.")
        return self.running.tally

    def compute(self) -> dict[str, float]:
        """Return every figure over all images added so far; raise `DataError` when there is none."""
        return self.figures(self.total)

    def reset(self) -> None:
        """Forget all images."""
        self.running.tally = None


def expect_kind(annotation: Annotation, kind: type[Kind], what: str) -> Kind:
    """Return the annotation when it is of this kind; raise `AnnotationError` saying what was found."""
    if not isinstance(annotation, kind):
        raise AnnotationError(
            f"This metric compares {kind.__name__} annotations; the {what} is a {type(annotation).__name__}."
        )
    return annotation


def expect_same_frame(prediction: Annotation, truth: Annotation) -> None:
    """Raise `AnnotationError` unless both refer to a frame of the same size."""
    if prediction.size != truth.size:
        raise AnnotationError(
            f"A prediction must be on the frame of its truth; found {prediction.size} against {truth.size}. "
            "Resize or crop one of them."
        )


def share(part: float, whole: float) -> float:
    """Return part / whole, and 0 for 0 / 0.

    >>> share(1, 4), share(0, 0)
    (0.25, 0.0)
    """
    return float(part / whole) if whole else 0.0


def harmonic_mean(precision: float, recall: float) -> float:
    """Return F1 from precision and recall; 0 when both are 0.

    >>> harmonic_mean(1.0, 0.5)
    0.6666666666666666
    """
    return share(2 * precision * recall, precision + recall)
