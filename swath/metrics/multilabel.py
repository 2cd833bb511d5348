"""How well whole images are classified where several classes may hold at once.

A class is said to hold from a score of `threshold` on. "micro" figures pool all pairs of image and class,
"macro" figures are means over the classes. Ratios 0 / 0 are 0, as scikit-learn's `zero_division=0`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import AnnotationError, ConfigurationError
from swath.metrics.base import Metric, Tally, expect_kind, harmonic_mean, share
from swath.metrics.calibration import BINS, Reliability
from swath.metrics.classes import class_positions
from swath.metrics.confusion import true_positions
from swath.samples.labels import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation

LARGEST_LOG_ODDS = 16
STEPS_A_UNIT = 32
LEVELS = 2 * LARGEST_LOG_ODDS * STEPS_A_UNIT + 1
"""Scores are ranked in steps of 1/32 of log-odds from -16 to 16; scores of one level tie."""


def score_levels(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the level of each score 0 to 1, from 0 to `LEVELS` - 1.

    >>> score_levels(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 512, 1024]
    """
    exact = np.clip(scores.astype(np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        log_odds = np.log(exact) - np.log1p(-exact)
    bounded = np.clip(log_odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    levels: NDArray[np.int64] = np.rint((bounded + LARGEST_LOG_ODDS) * STEPS_A_UNIT).astype(np.int64)
    return levels


def average_precision(absent: NDArray[np.int64], present: NDArray[np.int64]) -> float:
    """Return the average precision from how many negatives and positives have each level, lowest first.

    It is the sum over the levels, from the highest, of precision times the gain in recall, without
    interpolation (scikit-learn's `average_precision_score`); NaN without a positive.

    >>> average_precision(np.array([0, 1, 0]), np.array([1, 0, 1]))
    0.8333333333333333
    """
    hits = np.cumsum(present[::-1])
    seen = hits + np.cumsum(absent[::-1])
    if hits[-1] == 0:
        return math.nan
    precision = np.divide(hits, seen, out=np.zeros(len(hits)), where=seen > 0)
    return float(precision @ present[::-1] / hits[-1])


@dataclass(frozen=True, eq=False)
class MultiLabelMetric(Metric):
    """Subset accuracy, mAP, precision, recall and F1 (micro, macro), AP and F1 of each class, and calibration.

    Subset accuracy is the share of images of which every class is right. So that tallies add up, average
    precision ranks scores by their levels (`score_levels`), which moves it by less than a thousandth on sets
    large enough to report; classes that never hold are left out of the macro mAP. Classes are matched by name;
    predicted classes that are none of `classes` do not count. The expected calibration error takes each score
    as the probability that its class holds, in 15 equal bins.

    >>> from swath.geometry.windows import Size
    >>> metric = MultiLabelMetric(("land", "water"))
    >>> truth = Label.of(["land", "water"], metric.classes, Size(8, 8))
    >>> metric.update(Label(size=truth.size, scores=[0.9, 0.2], classes=metric.classes, exclusive=False), truth)
    >>> metric.compute()["subset accuracy"], round(metric.compute()["micro F1"], 4)
    (0.0, 0.6667)
    """

    classes: tuple[str, ...]
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigurationError(
                f"The score from which a class holds is above 0 and at most 1; found {self.threshold}."
            )

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Count one image; raise `AnnotationError` unless both are `Label`s that are not exclusive."""
        said, true = expect_kind(prediction, Label, "prediction"), expect_kind(truth, Label, "truth")
        if said.exclusive or true.exclusive or not np.isin(true.scores, (0, 1)).all():
            raise AnnotationError(
                "This metric compares labels of which several may hold (exclusive=False), and each truth is 0 or 1."
            )
        holds = self._in_order(true, true_positions(true.classes, self.classes)) > 0
        scores = self._in_order(said, class_positions(said.classes, self.classes))
        chosen = scores >= self.threshold
        ranks = np.zeros((2, len(self.classes), LEVELS), dtype=np.int64)
        ranks[holds.astype(np.int64), np.arange(len(self.classes)), score_levels(scores)] = 1
        reliability = Reliability.of(np.clip(scores, 0, 1), holds)
        right = bool((chosen == holds).all())
        return Tally(
            counts=np.concatenate(
                [[1, right], chosen & holds, chosen, holds, ranks.ravel(), reliability.seen, reliability.right]
            ).astype(np.int64),
            sums=reliability.confidence,
        )

    def _in_order(self, label: Label, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a label's scores in the order of `classes`; raise `AnnotationError` where one has none."""
        missing = [name for place, name in enumerate(self.classes) if place not in positions]
        if missing:
            raise AnnotationError(
                f"A label says nothing of the class '{missing[0]}'; it knows {', '.join(label.classes)}."
            )
        scores = np.zeros(len(self.classes) + 1, dtype=np.float32)
        scores[positions] = label.scores
        return scores[:-1]

    def reliability(self, total: Tally) -> Reliability:
        """Return the reliability of each score as the probability that its class holds."""
        return Reliability(total.counts[-2 * BINS : -BINS], total.counts[-BINS:], total.sums)

    def right(self, tally: Tally) -> bool:
        """Return whether every class of one image was right."""
        return bool(tally.counts[1])

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; all are fractions."""
        count = len(self.classes)
        hits, said, true = total.counts[2 : 2 + 3 * count].reshape(3, count)
        absent, present = total.counts[2 + 3 * count : -2 * BINS].reshape(2, count, LEVELS)
        by_class = [average_precision(*pair) for pair in zip(absent, present, strict=True)]
        known = [value for value in by_class if not math.isnan(value)]
        precision, recall = _shares(hits, said), _shares(hits, true)
        f1 = _shares(2 * hits, said + true)
        micro = share(hits.sum(), said.sum()), share(hits.sum(), true.sum())
        return {
            "subset accuracy": share(total.counts[1], total.counts[0]),
            "macro mAP": float(np.mean(known)) if known else math.nan,
            "micro mAP": average_precision(absent.sum(axis=0), present.sum(axis=0)),
            "macro precision": float(precision.mean()),
            "macro recall": float(recall.mean()),
            "macro F1": float(f1.mean()),
            "micro precision": micro[0],
            "micro recall": micro[1],
            "micro F1": harmonic_mean(*micro),
            "expected calibration error": self.reliability(total).expected_calibration_error(),
            **{f"AP (class {name})": value for name, value in zip(self.classes, by_class, strict=True)},
            **{f"F1 (class {name})": float(value) for name, value in zip(self.classes, f1, strict=True)},
        }


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array([share(one, of) for one, of in zip(part.tolist(), whole.tolist(), strict=True)])
