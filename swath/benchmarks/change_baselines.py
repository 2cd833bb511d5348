"""Change maps without learning, to measure change detectors against: image difference, IR-MAD, and chance.

Each takes samples with the slots `before` and `after`, of the same bands, and gives a `ClassMap` of
`CHANGE_CLASSES` whose confidence is the share that its own statistic lends to the answer.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import eigh
from scipy.stats import chi2

from swath.errors import DataError
from swath.samples.rasters import CHANGE_CLASSES, ClassMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation
    from swath.samples.sample import Sample

    Bands = NDArray[np.float64]  # (C, H, W)
    Plane = NDArray[np.float64]  # (H, W)

OTSU_BINS = 256


class ChangeBaseline(ABC):
    """A predictor of change maps that looks at one pair at a time."""

    name: ClassVar[str]
    classes: tuple[str, ...] = CHANGE_CLASSES

    @property
    def fingerprint(self) -> str:
        """The hash of the name and the parameters."""
        return hashlib.sha256(f"{self.name} {self}".encode()).hexdigest()

    @abstractmethod
    def decide(self, sample: Sample) -> ClassMap:
        """Return the change map of one pair."""

    def predict(self, samples: Sequence[Sample]) -> list[Annotation]:
        """Return a change map a sample; raise `DataError` for one without both dates."""
        return [self.decide(sample) for sample in samples]


@dataclass(frozen=True, kw_only=True)
class DifferenceOtsu(ChangeBaseline):
    """The length of the difference vector, its bands brought to one mean and spread first, cut at Otsu's threshold.

    Otsu, "A threshold selection method from gray-level histograms" (1979).
    """

    name: ClassVar[str] = "difference-otsu"

    def decide(self, sample: Sample) -> ClassMap:
        """Return the change map of one pair."""
        before, after = (standardised(bands) for bands in both_dates(sample))
        return _cut(sample, np.sqrt(np.square(after - before).sum(0)))


@dataclass(frozen=True, kw_only=True)
class IterativelyReweightedMad(ChangeBaseline):
    """Iteratively reweighted multivariate alteration detection: what does not fit the common relation has changed.

    Nielsen, "The regularized iteratively reweighted MAD method" (IEEE TIP 2007). Canonical correlation of the two
    dates under weights; the sum of the squared, standardised canonical differences is chi-squared with C degrees of
    freedom where nothing changed; its tail probability is the next weight, until the correlations settle. The square
    root of that sum is cut at Otsu's threshold (a fixed significance marks far too much, as the reweighted variances
    are those of the best-fitting pixels alone).
    """

    iterations: int = 50
    tolerance: float = 1e-4
    name: ClassVar[str] = "ir-mad"

    def decide(self, sample: Sample) -> ClassMap:
        """Return the change map of one pair."""
        return _cut(sample, np.sqrt(self.statistic(*both_dates(sample))))

    def statistic(self, before: Bands, after: Bands) -> Plane:
        """Return the sum of squared, standardised canonical differences at every pixel (H, W)."""
        bands, height, width = before.shape
        one, other = before.reshape(bands, -1), after.reshape(bands, -1)
        sums = np.zeros(height * width)
        known = np.full(bands, np.inf)
        for _ in range(self.iterations):
            differences, correlations = canonical_differences(one, other, chi2.sf(sums, bands))
            variances = np.maximum(2 * (1 - correlations), 1e-9)
            sums = (np.square(differences) / variances[:, None]).sum(0)
            if np.abs(correlations - known).max() < self.tolerance:
                break
            known = correlations
        return sums.reshape(height, width)


@dataclass(frozen=True, kw_only=True)
class RandomChange(ChangeBaseline):
    """Chance: every pixel has changed with probability `share`, by the seed and the sample's key alone."""

    share: float = 0.5
    seed: int = 0
    name: ClassVar[str] = "random-change"

    def decide(self, sample: Sample) -> ClassMap:
        """Return the change map of one pair."""
        number = int.from_bytes(hashlib.sha256(f"{self.seed} {sample.key}".encode()).digest()[:8], "little")
        drawn = np.random.default_rng(number).random((sample.size.height, sample.size.width))
        changed = drawn < self.share
        return _map(sample, changed, np.where(changed, self.share, 1 - self.share))


def both_dates(sample: Sample) -> tuple[Bands, Bands]:
    """Return the values (C, H, W) of both dates; raise `DataError` when a slot is missing or the bands differ."""
    missing = [slot for slot in ("before", "after") if slot not in sample.images]
    if missing:
        raise DataError(f"'{sample.key}' has no image {' and '.join(missing)}; a pair needs both dates.")
    before, after = sample.images["before"], sample.images["after"]
    if before.values.shape != after.values.shape:
        raise DataError(
            f"the dates of '{sample.key}' differ in shape: {before.values.shape} before, {after.values.shape} after; "
            "bring them to the same bands and grid."
        )
    return before.values.astype(np.float64), after.values.astype(np.float64)


def standardised(bands: Bands) -> Bands:
    """Return bands with mean 0 and spread 1, flat ones 0."""
    spread = bands.std((1, 2), keepdims=True)
    centred: Bands = (bands - bands.mean((1, 2), keepdims=True)) / np.where(spread > 0, spread, 1)
    return centred


def otsu(values: NDArray[np.float64]) -> float:
    """Return the threshold of 256 bins that leaves the largest spread between the two sides.

    >>> 0.2 <= otsu(np.array([0.0, 0.1, 0.2, 9.8, 9.9, 10.0])) < 9.8
    True
    """
    counts, edges = np.histogram(values, OTSU_BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(apart)])


def canonical_differences(one: Bands, other: Bands, weights: NDArray[np.float64]) -> tuple[Bands, NDArray[np.float64]]:
    """Return the weighted canonical differences (C, N) of two sets of bands (C, N), and their correlations (C,).

    The pairs are ordered from the least to the most correlated; each variate has the weighted variance 1, and the
    signs are such that the correlations are positive.
    """
    bands, total = len(one), weights.sum()
    joint = np.concatenate([one, other])
    joint = joint - (joint @ weights / total)[:, None]
    covariance = (joint * weights) @ joint.T / total
    ridge = 1e-9 * np.trace(covariance) / (2 * bands)
    first, second = (covariance[part, part] + ridge * np.eye(bands) for part in (slice(bands), slice(bands, None)))
    cross = covariance[:bands, bands:]
    squares, a = eigh(cross @ np.linalg.solve(second, cross.T), first)
    correlations = np.sqrt(np.clip(squares, 0, 1))
    b = np.linalg.solve(second, cross.T @ a)
    b = b / np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", b, second, b), 1e-30))
    return a.T @ joint[:bands] - b.T @ joint[bands:], correlations


def _cut(sample: Sample, height: Plane) -> ClassMap:
    """Return where a statistic exceeds Otsu's threshold; the confidence rises from half there to 1 at its extremes."""
    threshold = otsu(height)
    changed = height > threshold
    room = np.where(changed, height.max() - threshold, threshold - height.min())
    return _map(sample, changed, 0.5 + 0.5 * np.abs(height - threshold) / np.maximum(room, 1e-12))


def _map(sample: Sample, changed: NDArray[np.bool_], confidence: Plane) -> ClassMap:
    return ClassMap(
        size=sample.size,
        labels=changed.astype(np.uint8),
        classes=CHANGE_CLASSES,
        confidence=np.clip(confidence, 0, 1).astype(np.float32),
    )


CHANGE_BASELINES: dict[str, ChangeBaseline] = {
    baseline.name: baseline for baseline in (DifferenceOtsu(), IterativelyReweightedMad(), RandomChange())
}
"""The baselines by the name under which `swath evaluate` takes them."""
