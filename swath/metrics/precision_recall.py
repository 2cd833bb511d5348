"""Average precision from a ranking: the area under precision over recall, in the three forms that are in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from swath.geometry._compile import compiled
from swath.metrics.base import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

Form = Literal["COCO", "VOC07", "area"]
"""The mean over 101 recalls 0, 0.01, ..., 1; over 11 recalls 0, 0.1, ..., 1; or the whole area."""

_RECALLS: dict[Form, NDArray[np.float64]] = {
    "COCO": np.linspace(0.0, 1.0, 101),
    # Three tenths are 0.30000000000000004 here, as in the published evaluators: a recall of 3 / 10 misses it.
    "VOC07": np.arange(11, dtype=np.float64) * 0.1,
    "area": np.zeros(0),
}


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Average precision and the recall reached of K classes in A ranges of size at T thresholds, both (K, A, T).

    Both are NaN where there is no truth.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def precision_recall(
    ranking: Ranking,
    *,
    labels: NDArray[np.int64],
    states: NDArray[np.int64],
    truths: NDArray[np.int64],
    thresholds: int,
    form: Form,
) -> PrecisionRecall:
    """Rank R detections by falling score, equal ones in their given order, and average their precision.

    `labels` (R,) are classes 0 to K - 1, `states` (R, A) those of `Judged`, and `truths` (K, A) how many truths
    there are. The precision at a recall is the best at that recall or beyond.

    >>> hit, miss = np.array([[1]]), np.array([[0]])
    >>> ranking = Ranking.of(np.array([0.9, 0.8, 0.7]), np.concatenate([hit, miss, hit]))
    >>> case = {"labels": np.zeros(3, int), "states": ranking.marks, "truths": np.array([[2]]), "thresholds": 1}
    >>> [round(float(precision_recall(ranking, **case, form=form).precision[0, 0, 0]), 4) for form in ("VOC07", "area")]
    [0.8485, 0.8333]
    """
    order = np.argsort(-ranking.scores, kind="stable")
    # Labels of one or two bytes are sorted in a single pass.
    order = order[np.argsort(labels[order].astype(np.min_scalar_type(len(truths))), kind="stable")]
    ends = np.searchsorted(labels[order], np.arange(len(truths) + 1))
    averages, recall = _averages(states[order], ranking.times[order], ends, truths, thresholds, _RECALLS[form])
    return PrecisionRecall(averages, recall)


@compiled
def _averages(
    states: NDArray[np.int64],
    times: NDArray[np.int64],
    ends: NDArray[np.int64],
    truths: NDArray[np.int64],
    thresholds: int,
    wanted: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    classes, ranges = truths.shape
    averages = np.full((classes, ranges, thresholds), np.nan)
    reached = np.full((classes, ranges, thresholds), np.nan)
    recall, precision = np.empty(len(times)), np.empty(len(times))
    for k in range(classes):
        for a in range(ranges):
            if truths[k, a] == 0:
                continue
            for t in range(thresholds):
                hit, aside = 1 << t, 1 << (thresholds + t)
                found = false = steps = 0
                for row in range(ends[k], ends[k + 1]):
                    if times[row] == 0 or states[row, a] & aside:
                        continue
                    if states[row, a] & hit:
                        # Precision falls between hits, so that only hits can be the best at a recall.
                        found += times[row]
                        recall[steps], precision[steps] = found / truths[k, a], found / (found + false)
                        steps += 1
                    else:
                        false += times[row]
                reached[k, a, t] = found / truths[k, a]
                averages[k, a, t] = _average(recall[:steps], precision[:steps], wanted)
    return averages, reached


@compiled
def _average(recall: NDArray[np.float64], precision: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Average the precision at each hit (S,), made not to rise with recall, over the wanted recalls or all."""
    for step in range(len(precision) - 2, -1, -1):
        precision[step] = max(precision[step], precision[step + 1])
    total, before = 0.0, 0.0
    if len(wanted) == 0:
        for step in range(len(recall)):
            total += (recall[step] - before) * precision[step]
            before = recall[step]
        return total
    step = 0
    for least in wanted:
        while step < len(recall) and recall[step] < least:
            step += 1
        if step == len(recall):
            break
        total += precision[step]
    return total / len(wanted)
