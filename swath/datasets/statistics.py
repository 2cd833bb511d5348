"""The mean and spread of the bands of a data set, by either of the two rules in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import NothingToSee

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from swath.samples.sample import Sample


@dataclass(frozen=True, kw_only=True)
class BandStatistics:
    """Mean and standard deviation of each band, in the data's own unit.

    >>> BandStatistics(mean=(93.8,), std=(37.1,)).mean
    (93.8,)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def band_statistics(samples: Iterable[Sample], *, slot: str = "image", pooled: bool = True) -> BandStatistics:
    """Measure the valid pixels of all samples.

    `pooled` treats all pixels alike. Otherwise both figures are means over images of each image's mean and
    standard deviation, as RSMamba's are; that standard deviation leaves out how images differ, so it is
    smaller. Raises `NothingToSee` where there is no valid pixel.
    """
    weights, means, squares, spreads = [], [], [], []
    for sample in samples:
        pixels = sample.images[slot]
        values = pixels.values.reshape(len(pixels.bands), -1)
        if pixels.valid is not None:
            values = values[:, pixels.valid.ravel()]
        if values.shape[1]:
            exact = values.astype(np.float64)
            weights.append(values.shape[1] if pooled else 1)
            means.append(exact.mean(axis=1))
            squares.append(np.square(exact).mean(axis=1))
            spreads.append(exact.std(axis=1))
    if not weights:
        raise NothingToSee("The samples hold no valid pixel to take statistics of; check what was read.")
    mean = np.average(means, axis=0, weights=weights)
    if pooled:
        std = np.sqrt(np.average(squares, axis=0, weights=weights) - np.square(mean))
    else:
        std = np.mean(spreads, axis=0)
    return BandStatistics(mean=_plain(mean), std=_plain(std))


def _plain(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
