"""Choosing how sure a classifier says it is, on data that it neither learned from nor is judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from swath.benchmarks.predictors import ModelPredictor
from swath.errors import ConfigurationError, DataError
from swath.models.outputs import ClassificationOutput
from swath.samples.labels import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.datasets.spec import Dataset
    from swath.models.base import Model

CANDIDATES = tuple(round(float(value), 3) for value in np.geomspace(0.25, 4.0, 81))
"""From a quarter to four, each 3.5 % above the one before."""


def choose_temperature(model: Model, part: Dataset, *, batch_size: int = 32) -> float:
    """Set the temperature of a classifier to the candidate with the least negative log-likelihood, and return it.

    Temperature scaling (Guo et al. 2017) changes no decision of one view. For models that average several views the
    averaged probabilities stand for those of one. Raises `ConfigurationError` for a model that gives no classes and
    `DataError` for samples without a class.
    """
    output = model.config.output
    if not isinstance(output, ClassificationOutput):
        raise ConfigurationError(f"{type(model).__name__} tells no classes, so there is no temperature to choose.")
    model.config = replace(model.config, output=replace(output, temperature=1.0))
    best = likeliest_temperature(*_answers(model, part, batch_size))
    model.config = replace(model.config, output=replace(output, temperature=best))
    return best


def likeliest_temperature(shares: NDArray[np.float64], truth: NDArray[np.integer]) -> float:
    """Return the candidate under which probabilities (N, K) have the least negative log-likelihood.

    >>> likeliest_temperature(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])) > 1
    True
    """
    losses = [negative_log_likelihood(shares, truth, temperature) for temperature in CANDIDATES]
    return CANDIDATES[int(np.argmin(losses))]


def negative_log_likelihood(shares: NDArray[np.float64], truth: NDArray[np.integer], temperature: float) -> float:
    """Return the mean of -log p of the true class when probabilities (N, K) are told at another temperature.

    >>> round(negative_log_likelihood(np.array([[0.8, 0.2]]), np.array([0]), 1.0), 4)
    0.2231
    """
    told = tempered(shares, temperature)
    return float(-np.log(np.maximum(told[np.arange(len(truth)), truth], 1e-300)).mean())


def tempered(shares: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return probabilities (N, K) told at another temperature: the softmax of their logarithms divided by it.

    >>> tempered(np.array([[0.8, 0.2]]), 0.5).round(4).tolist()
    [[0.9412, 0.0588]]
    """
    logits = np.log(np.maximum(shares, 1e-12)) / temperature
    told: NDArray[np.float64] = np.exp(logits - logits.max(1, keepdims=True))
    told /= told.sum(1, keepdims=True)
    return told


def _answers(model: Model, part: Dataset, batch_size: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the probabilities (N, K) that a model gives for the samples of a part, and their true classes (N,)."""
    shares: list[NDArray[np.float32]] = []
    truth: list[int] = []
    # Samples of any size, as an evaluation sees them; nobody asks for the hash of the weights.
    predictor = ModelPredictor.of(model, fingerprint="-")
    for start in range(0, len(part), batch_size):
        samples = [part[position] for position in range(start, min(start + batch_size, len(part)))]
        shares += [found.scores for found in predictor.predict(samples) if isinstance(found, Label)]
        for sample in samples:
            if not isinstance(sample.target, Label) or not sample.target.exclusive:
                raise DataError(f"'{sample.key}' has no one class to choose a temperature by.")
            truth.append(int(sample.target.scores.argmax()))
    return np.stack(shares).astype(np.float64), np.array(truth)
