"""Whether confidence keeps its word: the expected calibration error and the reliability diagram.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.geometry._compile import compiled
from swath.metrics.base import share

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
"""Equal-width bins of confidence, (0, 1/15], (1/15, 2/15], ...; a confidence of 0 counts in the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """One bar of a reliability diagram: confidences above `low` up to `high`, and what came of them.

    `confidence` and `accuracy` are the means over the `count` predictions, NaN where there is none.

    >>> ReliabilityBin(low=0.8, high=1.0, count=4, confidence=0.9, accuracy=0.75).count
    4
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Reliability:
    """Per bin (BINS,): predictions and right ones (int64), and the sum of the confidences.

    >>> two = Reliability.of(np.array([0.95, 0.95]), np.array([True, False]))
    >>> round(two.expected_calibration_error(), 6)
    0.45
    """

    seen: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: NDArray[np.float64]

    @classmethod
    def of(cls, confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> Reliability:
        """Sort predictions (N,) with confidences 0 to 1 into the bins."""
        found = cls.empty()
        _sort(confidence.astype(np.float64), right, found.seen, found.right, found.confidence)
        return found

    @classmethod
    def empty(cls) -> Reliability:
        """Return the reliability of no predictions."""
        return cls(np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64), np.zeros(BINS))

    def expected_calibration_error(self) -> float:
        """Return the gap between confidence and accuracy, averaged over the predictions bin by bin."""
        return share(float(np.abs(self.confidence - self.right).sum()), float(self.seen.sum()))

    def diagram(self) -> tuple[ReliabilityBin, ...]:
        """Return the bars of a reliability diagram, from the least to the most confident predictions.

        >>> three = Reliability.of(np.array([0.95, 0.95, 0.5]), np.array([True, False, True])).diagram()
        >>> len(three), three[-1].count, three[-1].accuracy
        (15, 2, 0.5)
        """
        return tuple(
            ReliabilityBin(
                low=number / BINS,
                high=(number + 1) / BINS,
                count=int(seen),
                confidence=float(confidence / seen) if seen else math.nan,
                accuracy=float(right / seen) if seen else math.nan,
            )
            for number, (seen, right, confidence) in enumerate(zip(self.seen, self.right, self.confidence, strict=True))
        )


@compiled
def bin_of(confidence: float) -> int:
    """Return the number of the bin that a confidence falls in.

    >>> bin_of(0.0), bin_of(0.5), bin_of(1.0)
    (0, 7, 14)
    """
    return min(max(math.ceil(confidence * BINS) - 1, 0), BINS - 1)


@compiled
def _sort(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    seen: NDArray[np.int64],
    hits: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add predictions (N,) to the bins."""
    for place in range(len(confidence)):
        number = bin_of(confidence[place])
        seen[number] += 1
        hits[number] += right[place]
        sums[number] += confidence[place]
