"""Votes on labels: what most experts say of a thing, and how sure that is.

So2Sat LCZ42 (arXiv 1912.12171) had ten experts vote on the polygons of ten European cities; what they agreed on became
the label, and how often they did is its confidence, 85 % overall. The arithmetic here follows the sheet of that data
set; how ties were settled is not known, so a tie has no winner and is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class VoteReport:
    """What the votes say.

    `majority` is the winner of each thing, None for a tie; `agreement` (N,) the share of its votes that the leading
    class has. `counts` (K, K) are votes by winner (rows) and by what was said (columns), things without a winner left
    out. `overall` is the share of all votes that agree with the leading class.
    """

    classes: tuple[str, ...]
    majority: tuple[str | None, ...]
    agreement: NDArray[np.float64]
    counts: NDArray[np.int64]
    overall: float

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The share of the votes for each class (columns) where each class won (rows), (K, K); 0 where none did."""
        totals = self.counts.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = np.zeros(self.counts.shape)
        np.divide(self.counts, totals, out=shares, where=totals > 0)
        return shares

    @property
    def ties(self) -> tuple[int, ...]:
        """The positions of the things without a winner, which want another look."""
        return tuple(position for position, winner in enumerate(self.majority) if winner is None)


def tally_votes(votes: Sequence[Sequence[str]], classes: Sequence[str]) -> VoteReport:
    """Count the votes on each thing, one or more, not necessarily from as many experts.

    Raises `DataError` for a thing without votes or a vote for an unknown class.

    >>> report = tally_votes([["A", "A", "B"], ["B", "B", "B"]], classes=("A", "B"))
    >>> report.majority, round(report.overall, 4), report.counts.tolist()
    (('A', 'B'), 0.8333, [[2, 1], [0, 3]])
    """
    places = {name: place for place, name in enumerate(classes)}
    majority: list[str | None] = []
    leading: list[int] = []
    counts = np.zeros((len(places), len(places)), np.int64)
    for position, cast in enumerate(votes):
        unknown = sorted(set(cast) - places.keys())
        if unknown or not cast:
            found = f"a vote for '{unknown[0]}'" if unknown else "no vote"
            raise DataError(f"thing {position} has {found}; each needs votes for {', '.join(places)}.")
        ranked = Counter(cast).most_common()
        tied = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
        majority.append(None if tied else ranked[0][0])
        leading.append(ranked[0][1])
        if not tied:
            for name, count in ranked:
                counts[places[ranked[0][0]], places[name]] += count
    sizes = [len(cast) for cast in votes]
    return VoteReport(
        classes=tuple(places),
        majority=tuple(majority),
        agreement=np.array(leading) / np.array(sizes) if sizes else np.zeros(0),
        counts=counts,
        overall=sum(leading) / sum(sizes) if sizes else 0.0,
    )
