"""Intervals over images: the totals of resampled test sets, from tallies that add up.

A resample of n images is n draws with replacement; its total is a weighted sum of the images' tallies, so a
thousand resamples cost one sparse product (Efron 1979; percentile intervals). What is ranked rather than summed
counts as often as its image was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from swath.benchmarks.report import Interval
from swath.errors import DataError
from swath.metrics.base import Metric, Ranking, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

RESAMPLES = 1000
RESAMPLES_A_PRODUCT = 100


@dataclass(eq=False)
class TallyTable:
    """The tallies of all images, kept sparsely: the confusion matrix of one chip has a single entry."""

    counts: SparseRows = field(default_factory=lambda: SparseRows())
    sums: SparseRows = field(default_factory=lambda: SparseRows())
    ranked: list[Ranking] = field(default_factory=list)
    """What is ranked of each image; empty for metrics that rank nothing."""

    def add(self, tally: Tally) -> None:
        """Append one image."""
        self.counts.add(tally.counts)
        self.sums.add(tally.sums)
        if tally.ranked:
            self.ranked.append(Ranking.joined(tally.ranked))

    def __len__(self) -> int:
        return len(self.counts.values)

    def rows(self) -> Iterator[Tally]:
        """Yield the tally of each image, in order."""
        counts, sums = self.counts.matrix(), self.sums.matrix()
        for place in range(len(self)):
            yield Tally(counts[[place]].toarray()[0], sums[[place]].toarray()[0], tuple(self.ranked[place : place + 1]))

    def total(self) -> Tally:
        """Return the sum over all images."""
        ones = np.ones(len(self), dtype=np.int64)
        return Tally(ones @ self.counts.matrix(), ones @ self.sums.matrix(), self._draws()(ones))

    def _draws(self) -> Callable[[NDArray[np.int64]], tuple[Ranking, ...]]:
        """Return what tells the ranking of all images from how often each was drawn, joined and sorted only once."""
        if not self.ranked:
            return lambda drawn: ()  # noqa: ARG005 (one signature)
        whole = Ranking.joined(self.ranked)
        image = np.repeat(np.arange(len(self.ranked)), [len(part) for part in self.ranked])
        order = np.argsort(-whole.scores, kind="stable")
        image, whole = image[order], Ranking(whole.scores[order], whole.marks[order], whole.times[order])
        return lambda drawn: (replace(whole, times=whole.times * drawn[image]),)

    def ordered(self, places: Sequence[int]) -> TallyTable:
        """Return the images at these places, in their order."""
        ranked = [self.ranked[at] for at in places] if self.ranked else []
        return TallyTable(self.counts.ordered(places), self.sums.ordered(places), ranked)

    def resampled(self, seed: int) -> Iterator[Tally]:
        """Yield the totals of `RESAMPLES` resampled sets."""
        generator = np.random.default_rng(seed)
        counts, sums, ranked = self.counts.matrix(), self.sums.matrix(), self._draws()
        for _ in range(RESAMPLES // RESAMPLES_A_PRODUCT):
            drawn = [
                np.bincount(generator.integers(len(self), size=len(self)), minlength=len(self))
                for _ in range(RESAMPLES_A_PRODUCT)
            ]
            weights = np.stack(drawn).astype(np.int64)
            yield from map(Tally, weights @ counts, weights @ sums, map(ranked, weights))


@dataclass(eq=False)
class SparseRows:
    """Rows of equal width of which only the entries that are not 0 are kept."""

    values: list[NDArray[np.generic]] = field(default_factory=list)
    columns: list[NDArray[np.intp]] = field(default_factory=list)
    width: int = 0

    def add(self, row: NDArray[np.generic]) -> None:
        """Append a row."""
        places = np.flatnonzero(row)
        self.columns.append(places)
        self.values.append(row[places])
        self.width = len(row)

    def ordered(self, places: Sequence[int]) -> SparseRows:
        """Return the rows at these places, in their order."""
        return SparseRows([self.values[at] for at in places], [self.columns[at] for at in places], self.width)

    def matrix(self) -> csr_array:
        """Return all rows as a sparse matrix."""
        ends = np.cumsum([0, *map(len, self.columns)])
        return csr_array(
            (np.concatenate(self.values), np.concatenate(self.columns), ends),
            shape=(len(self.values), self.width),
        )


def bootstrap_intervals(
    metric: Metric, tallies: TallyTable, names: Sequence[str], *, seed: int = 0
) -> dict[str, Interval]:
    """Return the 95 % percentile interval of each named figure, leaving out resamples in which it is NaN.

    Raises `DataError` for a figure that the metric does not give.
    """
    return {name: middle(values) for name, values in resampled_figures(metric, tallies, names, seed=seed).items()}


def resampled_figures(
    metric: Metric, tallies: TallyTable, names: Sequence[str], *, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Return each named figure in each resampled set, (RESAMPLES,); tables of one length draw the same images.

    Raises `DataError` for a figure that the metric does not give.
    """
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for total in tallies.resampled(seed):
        figures = metric.figures(total)
        for name in names:
            if name not in figures:
                raise DataError(f"The metric gives no figure '{name}'; it gives {', '.join(figures)}.")
            drawn[name].append(figures[name])
    return {name: np.array(values) for name, values in drawn.items()}


def middle(values: NDArray[np.float64]) -> Interval:
    """Return the interval that holds the middle 95 % of the values that are not NaN.

    >>> middle(np.arange(101.0))
    Interval(low=2.5, high=97.5)
    """
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return Interval(float(low), float(high))
