"""Accuracy, precision, recall, F1 and mean average precision under the three usual averages, from arrays.

`micro` pools all pairs of image and class, `macro` is the mean over the classes, `weighted` that mean with each class
weighed by how often it is true, all as scikit-learn has them with `zero_division=0` and all classes counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swath.metrics.multilabel import average_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

AVERAGES = ("micro", "macro", "weighted")
RATIOS = tuple(f"{average} {ratio}" for ratio in ("F1", "precision", "recall") for average in AVERAGES)
CLASS_FIGURES = ("accuracy", *RATIOS)
"""What is measured where each image has one class."""
LABEL_FIGURES = (*(f"{average} mAP" for average in AVERAGES), *RATIOS)
"""What is measured where several classes may hold."""


def class_figures(truth: NDArray[np.integer], said: NDArray[np.integer], classes: int) -> dict[str, float]:
    """Return `CLASS_FIGURES` of predicted against true classes, both (N,) by number.

    >>> class_figures(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)["macro F1"]
    0.6666666666666666
    """
    every = np.eye(classes, dtype=bool)
    return {"accuracy": float((truth == said).mean()), **ratios(every[truth], every[said])}


def label_figures(
    truth: NDArray[np.integer], scores: NDArray[np.floating], said: NDArray[np.integer]
) -> dict[str, float]:
    """Return `LABEL_FIGURES` of scores and predicted labels against true ones, all (N, K).

    A class that never holds has an average precision of 0, as in scikit-learn.

    >>> truth, scores = np.array([[1, 0], [0, 1]]), np.array([[0.8, 0.6], [0.4, 0.2]])
    >>> label_figures(truth, scores, scores > 0.5)["micro mAP"]
    0.75
    """
    holds = truth > 0
    each = np.array([_average_precision(holds[:, k], scores[:, k]) for k in range(truth.shape[1])])
    averages = (_average_precision(holds.ravel(), scores.ravel()), float(each.mean()), _weighted(each, holds))
    return {
        **{f"{average} mAP": value for average, value in zip(AVERAGES, averages, strict=True)},
        **ratios(holds, said > 0),
    }


def ratios(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> dict[str, float]:
    """Return precision, recall and F1 under each average, of what is said and what is true (N, K)."""
    hits, claimed, true = (counts.sum(axis=0) for counts in (truth & said, said, truth))
    parts = {"F1": (2 * hits, claimed + true), "precision": (hits, claimed), "recall": (hits, true)}
    found: dict[str, float] = {}
    for name, (part, whole) in parts.items():
        each = _share(part, whole)
        found[f"micro {name}"] = float(_share(part.sum(keepdims=True), whole.sum(keepdims=True))[0])
        found[f"macro {name}"] = float(each.mean())
        found[f"weighted {name}"] = _weighted(each, truth)
    return found


def _average_precision(holds: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    if not holds.any():
        return 0.0
    levels, places = np.unique(scores, return_inverse=True)
    absent, present = (np.bincount(places[chosen], minlength=len(levels)) for chosen in (~holds, holds))
    return average_precision(absent, present)


def _share(part: NDArray[np.integer], whole: NDArray[np.integer]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return shares


def _weighted(each: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    support = truth.sum(axis=0)
    return float(each @ support / support.sum()) if support.any() else 0.0
