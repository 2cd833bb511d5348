"""Measuring a model on a part of a data set that is already open, as training does between epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swath.benchmarks.predictors import ModelPredictor
from swath.errors import DataError

if TYPE_CHECKING:
    from swath.benchmarks.protocol import Protocol
    from swath.datasets.spec import Dataset
    from swath.models.base import Model


def measure(model: Model, protocol: Protocol, part: Dataset, *, batch_size: int = 16) -> dict[str, float]:
    """Return the protocol's figures of a model on these samples, without intervals; `DataError` without truth."""
    predictor = ModelPredictor.of(model)
    metric = protocol.metric(part.classes)
    for start in range(0, len(part), batch_size):
        samples = [part[position] for position in range(start, min(start + batch_size, len(part)))]
        pieces = [piece for sample in samples for piece in protocol.pieces(sample)]
        for piece, answer in zip(pieces, predictor.predict(pieces), strict=True):
            if piece.target is None:
                raise DataError(f"'{piece.key}' has no truth to measure against.")
            metric.add(metric.tally(answer, piece.target))
    return metric.compute()
