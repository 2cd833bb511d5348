"""Which detections of an image are hits, by the two rules that published evaluators use.

Under both, detections come by falling score (equal scores in their given order), and a truth set aside, ignored
or out of the range of sizes, makes what is matched to it count neither way. The COCO evaluator gives a detection
the best truth that is still free, and prefers one that counts; those of Pascal VOC and DOTA give it the truth it
overlaps best, free or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import ConfigurationError
from swath.geometry._compile import compiled
from swath.geometry.boxes import rank_by_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.metrics.overlaps import Meetings

MOST_THRESHOLDS = 31
"""Whether a detection is a hit, or does not count, takes two bits a threshold of an int64."""

IOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""0.5 to 0.95 in steps of 0.05, with the very roundings of the COCO evaluator."""


def check_thresholds(thresholds: tuple[float, ...]) -> None:
    """Raise `ConfigurationError` unless these are thresholds of overlap that can be judged together.

    >>> check_thresholds(IOU_THRESHOLDS)
    """
    if not 0 < len(thresholds) <= MOST_THRESHOLDS or not all(0 < threshold <= 1 for threshold in thresholds):
        raise ConfigurationError(
            f"Detections are judged at 1 to {MOST_THRESHOLDS} thresholds of overlap above 0 and at most 1; "
            f"found {thresholds}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """The D detections and M truths of an image, and what sets some of them aside in each of A ranges of size.

    `regions` (M,) bool may be matched by many detections; `aside` (A, M) bool are truths that do not count;
    `outside` (A, D) bool are detections that do not count unless they match one that does.
    """

    scores: NDArray[np.floating]
    meetings: Meetings
    regions: NDArray[np.bool_]
    aside: NDArray[np.bool_]
    outside: NDArray[np.bool_]

    def by_free_truth(self, thresholds: tuple[float, ...]) -> NDArray[np.int64]:
        """Return the states (D, A) by the rule of COCO: bit t for a hit at threshold t, bit T + t for not counting."""
        return _states_by_free_truth(*self._in_order(), self.regions, self.aside, self.outside, np.array(thresholds))

    def by_best_truth(self, thresholds: tuple[float, ...], *, strict: bool) -> NDArray[np.int64]:
        """Return the states (D, A) by the rule of VOC and DOTA; `strict` overlap must exceed the threshold."""
        return _states_by_best_truth(*self._in_order(), self.aside, self.outside, np.array(thresholds), strict)

    def partners(self, threshold: float) -> NDArray[np.int64]:
        """Return the position of each detection's truth by the rule of COCO in the first range, (D,), or -1."""
        return _partners(*self._in_order(), self.regions, self.aside[0], threshold)

    def _in_order(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        count = len(self.scores)
        return (
            rank_by_score(self.scores, count),
            self.meetings.starts(count),
            self.meetings.true,
            self.meetings.overlap,
        )


def ranks_in_class(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many detections of the same class come before each, (D,), by falling score.

    >>> ranks_in_class(np.array([0.5, 0.9, 0.5, 0.1]), np.array([0, 0, 0, 1])).tolist()
    [1, 0, 2, 0]
    """
    order = np.lexsort((-scores.astype(np.float64), labels))
    _, firsts, members = np.unique(labels[order], return_index=True, return_counts=True)
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[order] = np.arange(len(scores)) - np.repeat(firsts, members)
    return ranks


@compiled
def _free_partner(
    first: int,
    last: int,
    truths: NDArray[np.int64],
    overlaps: NDArray[np.float64],
    regions: NDArray[np.bool_],
    aside: NDArray[np.bool_],
    taken: NDArray[np.bool_],
    bar: float,
) -> int:
    """Return the truth of one detection, -1 for none; of equal overlaps the last one, as the published loop has it."""
    for wanted_aside in (False, True):
        best, overlap = -1, bar
        for pair in range(first, last):
            truth = truths[pair]
            if aside[truth] != wanted_aside or (taken[truth] and not regions[truth]):
                continue
            if overlaps[pair] >= overlap:
                best, overlap = truth, overlaps[pair]
        if best >= 0:
            return best
    return -1


@compiled
def _partners(
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    truths: NDArray[np.int64],
    overlaps: NDArray[np.float64],
    regions: NDArray[np.bool_],
    aside: NDArray[np.bool_],
    threshold: float,
) -> NDArray[np.int64]:
    partners = np.full(len(order), -1, dtype=np.int64)
    taken = np.zeros(len(regions), dtype=np.bool_)
    # The published evaluator lets rounding pass at a threshold of 1.
    bar = min(threshold, 1 - 1e-10)
    for i in order:
        partner = _free_partner(starts[i], starts[i + 1], truths, overlaps, regions, aside, taken, bar)
        partners[i] = partner
        if partner >= 0:
            taken[partner] = True
    return partners


@compiled
def _states_by_free_truth(
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    truths: NDArray[np.int64],
    overlaps: NDArray[np.float64],
    regions: NDArray[np.bool_],
    aside: NDArray[np.bool_],
    outside: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
) -> NDArray[np.int64]:
    states = np.zeros((len(order), len(aside)), dtype=np.int64)
    for a in range(len(aside)):
        for t in range(len(thresholds)):
            partners = _partners(order, starts, truths, overlaps, regions, aside[a], thresholds[t])
            for i in range(len(order)):
                partner = partners[i]
                if partner >= 0 and not aside[a, partner]:
                    states[i, a] |= 1 << t
                elif partner >= 0 or outside[a, i]:
                    states[i, a] |= 1 << (len(thresholds) + t)
    return states


@compiled
def _states_by_best_truth(
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    truths: NDArray[np.int64],
    overlaps: NDArray[np.float64],
    aside: NDArray[np.bool_],
    outside: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    strict: bool,
) -> NDArray[np.int64]:
    states = np.zeros((len(order), len(aside)), dtype=np.int64)
    taken = np.zeros((len(aside), len(thresholds), aside.shape[1]), dtype=np.bool_)
    for i in order:
        best, overlap = -1, 0.0
        for pair in range(starts[i], starts[i + 1]):
            if overlaps[pair] > overlap:
                best, overlap = truths[pair], overlaps[pair]
        for a in range(len(aside)):
            for t in range(len(thresholds)):
                reached = overlap > thresholds[t] if strict else overlap >= thresholds[t]
                if (reached and aside[a, best]) or (not reached and outside[a, i]):
                    states[i, a] |= 1 << (len(thresholds) + t)
                elif reached and not taken[a, t, best]:
                    taken[a, t, best] = True
                    states[i, a] |= 1 << t
    return states
