"""FireRisk's evaluation, with how many levels of hazard an answer is off.

Shen et al.: "FireRisk", DICTA 2023, arXiv 2303.07035: accuracy and macro precision, recall and F1 over seven classes.
There is no test part: the part that chooses the epoch is the one that is reported. The mean absolute level error is our
addition: five of the classes are levels in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.benchmarks.protocol import Protocol
from swath.datasets.firerisk import FIRERISK, FIRERISK_CODES
from swath.metrics.base import share
from swath.metrics.classes import class_positions
from swath.metrics.classification import ClassificationMetric

if TYPE_CHECKING:
    from swath.metrics.base import Tally
    from swath.metrics.confusion import ConfusionMatrix

LEVELS = tuple(FIRERISK_CODES[code] for code in range(1, 6))
"""The levels of hazard from very low to very high; water and what cannot burn have none."""


@dataclass(frozen=True, eq=False)
class HazardLevelMetric(ClassificationMetric):
    """A classification metric with the figure `mean absolute level error` over the classes that are `levels`.

    >>> HazardLevelMetric(FIRERISK.classes).levels[0]
    'Very_Low'
    """

    levels: tuple[str, ...] = LEVELS

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all but the level error are fractions."""
        error = mean_absolute_level_error(self.confusion(total), self.levels)
        return {**super().figures(total), "mean absolute level error": error}


def mean_absolute_level_error(matrix: ConfusionMatrix, levels: tuple[str, ...]) -> float:
    """Return by how many levels answers are off on average, over what has a level and was told one.

    >>> from swath.metrics.confusion import ConfusionMatrix
    >>> levels = ("low", "middle", "high")
    >>> counts = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    >>> round(mean_absolute_level_error(ConfusionMatrix(levels, counts), levels), 4)
    0.6667
    """
    places = class_positions(levels, matrix.classes)
    counts = matrix.counts[np.ix_(places, places)]
    rank = np.arange(len(levels))
    return share(float((np.abs(rank[:, None] - rank[None, :]) * counts).sum()), float(counts.sum()))


FIRERISK_VALIDATION = Protocol(
    name="firerisk/validation",
    title="Accuracy and macro figures on the validation part, which also chooses the epoch: there is no test part",
    dataset=FIRERISK,
    split="validation",
    metric=HazardLevelMetric,
    headlines=("accuracy", "macro F1", "macro precision", "macro recall", "mean absolute level error"),
)
