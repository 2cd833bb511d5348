"""Whether one model is better than another on the same images: paired bootstrap and McNemar's exact test.

Both models are judged on the same draws of images, so that what makes an image hard for both drops out of the
difference (Efron and Tibshirani 1993, chapters 13 and 16; McNemar 1947).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from swath.benchmarks.bootstrap import middle, resampled_figures
from swath.benchmarks.report import Interval, plain
from swath.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.benchmarks.evidence import Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A figure of one model less that of the first, its 95 % interval, and how likely chance alone gives as much.

    `p` is two-sided and not corrected for looking at several figures or models.

    >>> print(Difference(value=0.02, interval=Interval(0.01, 0.03), p=0.002))
    +0.0200 (+0.0100 to +0.0300), p = 0.002
    """

    value: float
    interval: Interval
    p: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.interval.low:+.4f} to {self.interval.high:+.4f}), p = {self.p:.2g}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"value": plain(self.value), "interval": self.interval.to_json(), "p": plain(self.p)}


@dataclass(frozen=True, kw_only=True, slots=True)
class McNemar:
    """How many images only the first and only the other model has right, and the exact two-sided p.

    If both were equally good, each image on which they differ would favour either one with probability 1/2.

    >>> mcnemar(np.array([True] * 6), np.array([False] * 6)).p
    0.03125
    """

    only_first: int
    only_other: int
    p: float

    def __str__(self) -> str:
        return f"{self.only_other} right here alone, {self.only_first} in the first alone, p = {self.p:.2g}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"only first right": self.only_first, "only this right": self.only_other, "p": self.p}


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """The figures of a model over all images, and over each resample of them (the same for all models)."""

    figures: Mapping[str, float]
    draws: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, evidence: Evidence, names: Sequence[str], *, seed: int = 0) -> Resampled:
        """Resample a model's images; raise `DataError` for a figure that its metric does not give."""
        draws = resampled_figures(evidence.metric, evidence.tallies, names, seed=seed)
        return cls(figures=evidence.figures(), draws=draws)

    def interval(self, name: str) -> Interval:
        """Return the 95 % interval of a figure."""
        return middle(self.draws[name])

    def less(self, first: Resampled, name: str) -> Difference:
        """Return the difference of a figure to that of the first model.

        The two-sided p is twice the share of resamples in which the difference is 0 or has the other sign, each
        counted with one more, and at most 1. Resamples in which a figure is NaN are left out.
        """
        differences = self.draws[name] - first.draws[name]
        known = differences[~np.isnan(differences)]
        tail = min((known <= 0).sum(), (known >= 0).sum())
        return Difference(
            value=self.figures[name] - first.figures[name],
            interval=middle(differences),
            p=min(1.0, 2 * (float(tail) + 1) / (len(known) + 1)) if len(known) else math.nan,
        )


def paired_differences(
    first: Evidence, other: Evidence, names: Sequence[str], *, seed: int = 0
) -> dict[str, Difference]:
    """Return for each figure the other model's less the first's, by a paired bootstrap over whole images.

    Raises `DataError` unless both saw the same images and were measured alike.
    """
    aligned = comparable(first, other)
    one, two = (Resampled.of(evidence, names, seed=seed) for evidence in (first, aligned))
    return {name: two.less(one, name) for name in names}


def comparable(first: Evidence, other: Evidence) -> Evidence:
    """Return the other evidence in the first's order of images.

    Raises `DataError` unless both saw the same images and were measured alike.
    """
    # A metric's repr is its settings.
    if repr(first.metric) != repr(other.metric):
        raise DataError(f"Models are compared by the same metric; found {first.metric} and {other.metric}.")
    return other.in_order_of(first.keys)


def mcnemar(first: NDArray[np.bool_], other: NDArray[np.bool_]) -> McNemar:
    """Return McNemar's exact test between two models, from which images (N,) each has right.

    >>> first, other = np.array([True, True, False, True]), np.array([True, False, False, True])
    >>> mcnemar(first, other)
    McNemar(only_first=1, only_other=0, p=1.0)
    """
    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    differing = only_first + only_other
    p = float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(only_first=only_first, only_other=only_other, p=p)
