"""Choosing the score from which a point counts, on data that the model neither learned from nor is judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from swath.errors import ConfigurationError, DataError
from swath.models.outputs import PointOutput
from swath.samples.vectors import Points

if TYPE_CHECKING:
    from swath.benchmarks.protocol import Protocol
    from swath.datasets.spec import Dataset
    from swath.models.base import Model

CANDIDATES = tuple(round(0.05 + 0.01 * step, 2) for step in range(46))
"""0.05, 0.06, ... 0.50."""


def choose_threshold(model: Model, part: Dataset, protocol: Protocol) -> float:
    """Set the threshold of a model of points to the candidate with the best headline figure, and return it.

    Ties go to the lower threshold. Raises `ConfigurationError` for a model that gives no points.
    """
    output = model.config.output
    if not isinstance(output, PointOutput):
        raise ConfigurationError(f"{type(model).__name__} gives no points, so there is no threshold to choose.")
    lowest = replace(output, threshold=CANDIDATES[0])
    metrics = {threshold: protocol.metric(part.classes) for threshold in CANDIDATES}
    with torch.inference_mode():
        for sample in part:
            batch = model.prepare([sample])
            found = lowest.annotations(model(batch.to(model.device)), batch)[0]
            if not isinstance(found, Points) or sample.target is None:
                raise DataError(f"'{sample.key}' has no points to choose a threshold by.")
            for threshold, metric in metrics.items():
                metric.add(metric.tally(found.above(threshold), sample.target))
    best = max(CANDIDATES, key=lambda threshold: (metrics[threshold].compute()[protocol.watch], -threshold))
    model.config = replace(model.config, output=replace(output, threshold=best))
    return best
