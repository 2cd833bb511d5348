"""The confusion matrix that classification and segmentation share, and the figures read off it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import AnnotationError
from swath.metrics.base import share
from swath.metrics.classes import class_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Counts (K, K + 1) int64: rows true, columns predicted classes, the last "none of these".

    The last column takes predictions of classes that the truth does not know. Every ratio 0 / 0 is 0.

    >>> matrix = ConfusionMatrix(("a", "b"), np.array([[1, 1, 0], [0, 1, 0]]))
    >>> matrix.recall().tolist(), matrix.precision().tolist(), matrix.iou().tolist()
    ([0.5, 1.0], [1.0, 0.5], [0.5, 0.5])
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def hits(self) -> NDArray[np.int64]:
        """How often each class was rightly predicted, (K,)."""
        diagonal: NDArray[np.int64] = np.diagonal(self.counts)
        return diagonal

    @property
    def true(self) -> NDArray[np.int64]:
        """How often each class is true, (K,)."""
        sums: NDArray[np.int64] = self.counts.sum(axis=1)
        return sums

    @property
    def predicted(self) -> NDArray[np.int64]:
        """How often each class was predicted, (K,)."""
        sums: NDArray[np.int64] = self.counts[:, :-1].sum(axis=0)
        return sums

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes are true or predicted at least once, (K,)."""
        present: NDArray[np.bool_] = (self.true + self.predicted) > 0
        return present

    def recall(self) -> NDArray[np.float64]:
        """Return hits / true of each class, (K,)."""
        return _ratio(self.hits, self.true)

    def precision(self) -> NDArray[np.float64]:
        """Return hits / predicted of each class, (K,)."""
        return _ratio(self.hits, self.predicted)

    def f1(self) -> NDArray[np.float64]:
        """Return 2 hits / (true + predicted) of each class, (K,): the harmonic mean of the two above."""
        return _ratio(2 * self.hits, self.true + self.predicted)

    def iou(self) -> NDArray[np.float64]:
        """Return hits / (true or predicted) of each class, (K,)."""
        return _ratio(self.hits, self.true + self.predicted - self.hits)

    def accuracy(self) -> float:
        """Return the share of all that is right."""
        return share(self.hits.sum(), self.counts.sum())

    def kappa(self) -> float:
        """Return Cohen's kappa: (observed - expected agreement) / (1 - expected); 0 for 0 / 0."""
        total = float(self.counts.sum())
        expected = share(float(self.true.astype(np.float64) @ self.predicted), total * total)
        return share(self.accuracy() - expected, 1 - expected)


def count_pairs(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count pairs of positions into a matrix (K, K + 1); `predicted` may be K, "none of these".

    >>> count_pairs(np.array([0, 1, 1]), np.array([0, 2, 1]), classes=2).tolist()
    [[1, 0, 0], [0, 1, 1]]
    """
    width = classes + 1
    counts = np.bincount(true * width + predicted, minlength=classes * width)
    return counts.astype(np.int64, copy=False).reshape(classes, width)


@lru_cache(maxsize=256)
def true_positions(have: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.int64]:
    """Return `class_positions` for a truth; raise `AnnotationError` when a class is not among those measured."""
    positions = class_positions(have, wanted)
    unknown = [name for name, position in zip(have, positions, strict=True) if position == len(wanted)]
    if unknown:
        raise AnnotationError(
            f"The truth has the class '{unknown[0]}', which is none of the {len(wanted)} classes measured: "
            f"{', '.join(wanted)}."
        )
    return positions


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
