"""Choosing how sure a classifier says it is, on data that it neither learned from nor is judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

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
    shares, truth = _answers(model, part, batch_size)
    losses = [negative_log_likelihood(shares, truth, temperature) for temperature in CANDIDATES]
    best = CANDIDATES[int(np.argmin(losses))]
    model.config = replace(model.config, output=replace(output, temperature=best))
    return best


def negative_log_likelihood(shares: NDArray[np.float64], truth: NDArray[np.int64], temperature: float) -> float:
    """Return the mean of -log p of the true class when probabilities (N, K) are told at another temperature.

    >>> round(negative_log_likelihood(np.array([[0.8, 0.2]]), np.array([0]), 1.0), 4)
    0.2231
    """
    logits = np.log(np.maximum(shares, 1e-12)) / temperature
    logits -= logits.max(1, keepdims=True)
    told = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(-told[np.arange(len(truth)), truth].mean())


def _answers(model: Model, part: Dataset, batch_size: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the probabilities (N, K) that a model gives for the samples of a part, and their true classes (N,)."""
    shares: list[NDArray[np.float32]] = []
    truth: list[int] = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(part), batch_size):
            samples = [part[position] for position in range(start, min(start + batch_size, len(part)))]
            for found in model.predict(model.prepare(samples).to(model.device)):
                if isinstance(found, Label):
                    shares.append(found.scores)
            for sample in samples:
                if not isinstance(sample.target, Label) or not sample.target.exclusive:
                    raise DataError(f"'{sample.key}' has no one class to choose a temperature by.")
                truth.append(int(sample.target.scores.argmax()))
    return np.stack(shares).astype(np.float64), np.array(truth)
