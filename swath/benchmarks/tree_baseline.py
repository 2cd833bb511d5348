"""A classical tree detector to beat: bright, green spots in near infrared, with three numbers to choose.

It smooths a vegetation feature with a Gaussian and takes the local maxima above a threshold. Everything is
chosen by the F1 at 6 m on the training places; there is nothing else to learn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from itertools import product
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from swath.errors import DataError
from swath.metrics.base import expect_kind
from swath.metrics.points import PointMetric
from swath.samples.vectors import Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels
    from swath.samples.annotation import Annotation
    from swath.samples.sample import Sample

Feature = Literal["near infrared", "vegetation index"]
WATCH = "F1 (6 m)"


@dataclass(frozen=True, kw_only=True)
class SearchGrid:
    """What the fit tries: features, Gaussian widths and least distances in pixels, and how many thresholds.

    >>> SearchGrid().thresholds
    8
    """

    features: tuple[Feature, ...] = ("near infrared", "vegetation index")
    sigmas: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    distances: tuple[int, ...] = (4, 6, 8)
    thresholds: int = 8


@dataclass(frozen=True, kw_only=True)
class NirBrightnessTrees:
    """Local maxima of a smoothed feature: nothing within `distance` pixels is higher; `threshold` is reached.

    The near infrared is taken as 0 to 255; the vegetation index is (nir - red) / (nir + red) of the same
    8-bit values. A point's score is the feature's height there.

    >>> NirBrightnessTrees(feature="near infrared", sigma=2.0, distance=4, threshold=120.0).classes
    ('tree',)
    """

    feature: Feature
    sigma: float
    distance: int
    threshold: float
    classes: tuple[str, ...] = field(default=("tree",))
    name: ClassVar[str] = "near-infrared local maxima"

    @classmethod
    def fit(
        cls, samples: Iterable[Sample], *, gsd: float | None = None, grid: SearchGrid | None = None
    ) -> NirBrightnessTrees:
        """Choose the parameters with the best F1 at 6 m over samples with points.

        `gsd` is in metres a pixel, by default that of the imagery. Raises `DataError` without samples or `gsd`.
        """
        tried = grid or SearchGrid()
        known = [(sample.images["image"], _truth(sample)) for sample in samples]
        if not known:
            raise DataError("The tree detector needs at least one sample to choose its parameters; found none.")
        metres = gsd or known[0][0].bands[0].gsd
        if metres is None:
            raise DataError("The tree detector is fitted in metres: say how many a pixel has, with gsd=.")
        best: tuple[float, NirBrightnessTrees] | None = None
        for feature, sigma, distance in product(tried.features, tried.sigmas, tried.distances):
            base = cls(feature=feature, sigma=sigma, distance=distance, threshold=-np.inf)
            peaks = [(base.find(pixels), truth) for pixels, truth in known]
            for threshold in _thresholds([points for points, _ in peaks], tried.thresholds):
                metric = PointMetric(radii=(6.0,), gsd=metres)
                for points, truth in peaks:
                    metric.update(points.select(points.scores >= threshold), truth)
                reached = metric.compute()[WATCH]
                if best is None or reached > best[0]:
                    chosen = cls(feature=feature, sigma=sigma, distance=distance, threshold=threshold)
                    best = reached, chosen
        if best is None:
            raise DataError("No sample shows a single spot to choose parameters by; check the imagery.")
        return best[1]

    @property
    def fingerprint(self) -> str:
        """The hash of the parameters."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()

    def predict(self, samples: Sequence[Sample]) -> list[Annotation]:
        """Return the points of each sample, best first; raise `BandMismatch` without red and nir."""
        return [self.find(sample.images["image"]) for sample in samples]

    def find(self, pixels: Pixels) -> Points:
        """Return the points of one image, best first."""
        height = gaussian_filter(self._measured(pixels), self.sigma, mode="nearest")
        peaks = (height >= maximum_filter(height, 2 * self.distance + 1, mode="nearest")) & (height >= self.threshold)
        if pixels.valid is not None:
            peaks &= pixels.valid
        rows, columns = np.nonzero(peaks)
        order = np.argsort(-height[rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
        return Points.of(
            np.stack([columns + 0.5, rows + 0.5], axis=1),
            scores=height[rows, columns],
            classes=self.classes,
            height=pixels.size.height,
            width=pixels.size.width,
        )

    def _measured(self, pixels: Pixels) -> NDArray[np.float32]:
        red, nir = pixels.select(("red", "nir")).values.astype(np.float32)
        index = (nir - red) / np.maximum(nir + red, 1)
        measured: NDArray[np.float32] = nir if self.feature == "near infrared" else index
        return measured


def _truth(sample: Sample) -> Points:
    if sample.target is None:
        raise DataError(f"'{sample.key}' has no points to learn from.")
    return expect_kind(sample.target, Points, "truth")


def _thresholds(found: Sequence[Points], count: int) -> Iterator[float]:
    """Yield evenly spaced quantiles of the scores, so that features of any scale are tried alike."""
    scores = np.concatenate([points.scores for points in found])
    if len(scores):
        yield from np.quantile(scores, np.linspace(0, 0.9, count)).tolist()
