"""How well things are counted: errors of the counts of images, and of the parts of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import AnnotationError, ConfigurationError
from swath.metrics.base import Metric, Tally, expect_same_frame
from swath.metrics.classes import class_positions
from swath.metrics.detections import expect_objects
from swath.samples.objects import Objects
from swath.samples.rasters import Raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation

MOST_LEVELS = 8
"""256 parts a side are as fine as counting by region goes."""


@dataclass(frozen=True, kw_only=True)
class CountErrors:
    """Sums over images of predicted and true counts and of their errors, e: predicted less true.

    `absolute` sums |e|, `squared` e squared, and `relative` |e| / true over the `with_truth` images that have
    something to count.

    >>> errors = CountErrors(images=3, with_truth=3, said=63, true=60, absolute=7, squared=17, true_squared=1400,
    ...                      relative=0.4)
    >>> [round(value, 3) for value in errors.figures().values()]
    [2.333, 2.38, 1.0, 0.133, 0.915]
    """

    images: int
    with_truth: int
    said: float
    true: float
    absolute: float
    squared: float
    true_squared: float
    relative: float

    def figures(self) -> dict[str, float]:
        """Return the errors' means and R2 = 1 - sum e^2 / sum (true - mean)^2; what has no meaning is NaN."""
        spread = self.true_squared - self.true * self.true / self.images
        return {
            "count mean absolute error": self.absolute / self.images,
            "count root mean square error": math.sqrt(self.squared / self.images),
            "count bias": (self.said - self.true) / self.images,
            "count mean relative error": self.relative / self.with_truth if self.with_truth else math.nan,
            "count R2": 1 - self.squared / spread if spread > 0 else math.nan,
        }


@dataclass(frozen=True, eq=False)
class CountingMetric(Metric):
    """Errors of the counts of images (mean absolute, root mean square, bias, relative, R2) and of their parts.

    The truth is objects, of which those `ignored` are not counted. The prediction is objects of the truth's classes,
    or a density map, whose values sum to the count. At level L an image is cut into 2^L by 2^L parts, and "GAME(L)"
    is the mean over images of the summed |e| of the parts (grid average mean error, Guerrero-Gómez-Olmedo et al.
    2015); GAME(0) is the mean absolute error. An object belongs to the part of its centre, a pixel to that of its own.

    >>> from swath.geometry.windows import Size
    >>> from swath.samples.vectors import Points
    >>> trees = Points.of([[1, 1], [6, 6]], classes=("tree",), height=8, width=8)
    >>> metric = CountingMetric(levels=1)
    >>> metric.update(Points.of([[1, 1], [6, 1]], classes=("tree",), height=8, width=8), trees)
    >>> metric.compute()["count mean absolute error"], metric.compute()["count GAME(1)"]
    (0.0, 2.0)
    """

    levels: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.levels <= MOST_LEVELS:
            raise ConfigurationError(f"Counting by region has 0 to {MOST_LEVELS} levels; found {self.levels}.")

    @property
    def headlines(self) -> tuple[str, ...]:
        """R2, which is better the larger it is, then the errors."""
        by_region = [f"count GAME({level})" for level in range(1, self.levels + 1)]
        return ("count R2", "count mean absolute error", "count root mean square error", *by_region)

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Compare one image's counts; raise `AnnotationError` for other kinds or frames of different size."""
        true = expect_objects(truth, "truth")
        expect_same_frame(prediction, true)
        parts = 2**self.levels
        found = _counts(prediction, true.classes, parts)
        wanted = _objects_by_part(true.select(~true.ignored), parts)
        said, asked = float(found.sum()), float(wanted.sum())
        error = said - asked
        relative = abs(error) / asked if asked else 0.0
        errors = found - wanted
        by_region = [
            np.abs(errors.reshape(2**level, parts >> level, 2**level, parts >> level).sum(axis=(1, 3))).sum()
            for level in range(1, self.levels + 1)
        ]
        sums = [said, asked, abs(error), error * error, asked * asked, relative, *by_region]
        return Tally(counts=np.array([1, asked > 0], dtype=np.int64), sums=np.array(sums, dtype=np.float64))

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are counts but R2 and the relative error."""
        images, with_truth = total.counts.tolist()
        said, true, absolute, squared, true_squared, relative, *by_region = total.sums.tolist()
        errors = CountErrors(
            images=images,
            with_truth=with_truth,
            said=said,
            true=true,
            absolute=absolute,
            squared=squared,
            true_squared=true_squared,
            relative=relative,
        )
        return errors.figures() | {
            f"count GAME({level})": summed / images for level, summed in enumerate(by_region, start=1)
        }


def _counts(prediction: Annotation, classes: tuple[str, ...], parts: int) -> NDArray[np.float64]:
    """Return how much is predicted in each part of the image, (parts, parts)."""
    if isinstance(prediction, Objects):
        known = class_positions(prediction.classes, classes)[prediction.labels] < len(classes)
        return _objects_by_part(prediction.select(known), parts)
    if isinstance(prediction, Raster):
        density = prediction.values.sum(axis=0, dtype=np.float64)
        rows, columns = (_part(np.arange(length) + 0.5, length, parts) for length in density.shape)
        counts = np.zeros((parts, parts))
        np.add.at(counts, (rows[:, None], columns[None, :]), density)
        return counts
    raise AnnotationError(f"Counts are of objects or of a density map; the prediction is {type(prediction).__name__}.")


def _objects_by_part(objects: Objects, parts: int) -> NDArray[np.float64]:
    x, y = objects.centres().astype(np.float64).T
    counts = np.zeros((parts, parts))
    np.add.at(counts, (_part(y, objects.size.height, parts), _part(x, objects.size.width, parts)), 1.0)
    return counts


def _part(places: NDArray[np.float64], length: int, parts: int) -> NDArray[np.int64]:
    """Return the part along one side in which each place lies; what is beyond the frame belongs to its last part."""
    return np.clip(places * parts // length, 0, parts - 1).astype(np.int64)
