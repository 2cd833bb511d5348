"""A protocol: a named evaluation with every switch stated, and the one function that runs them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.benchmarks.bootstrap import TallyTable, bootstrap_intervals
from swath.benchmarks.evidence import Evidence
from swath.benchmarks.predictors import ModelPredictor, Predictor
from swath.benchmarks.report import Report
from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size, plan_windows
from swath.metrics.classes import class_positions
from swath.models.base import Model
from swath.models.store import StoredModel
from swath.samples.moves import Crop

if TYPE_CHECKING:
    from swath.datasets.spec import Dataset, DatasetSpec
    from swath.metrics.base import Metric, Tally
    from swath.samples.sample import Sample
    from swath.samples.transforms import Transform

Progress = Callable[[int, int], None]
"""Told after every image how many are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which part of which data set, how images are prepared, what is measured, and which figure it is about.

    `metric` builds the metric from the data set's classes. `transforms` are applied to image and truth before
    predicting and must leave nothing to chance. With `tile`, each image is cut into tiles of that many pixels
    a side, the last ones smaller, which are predicted apart and tallied together. `headlines` get intervals;
    `watch` is the first of them.
    """

    name: str
    title: str
    dataset: DatasetSpec
    split: str
    metric: Callable[[tuple[str, ...]], Metric]
    headlines: tuple[str, ...]
    transforms: tuple[Transform, ...] = ()
    tile: int | None = None

    def __post_init__(self) -> None:
        if not self.headlines:
            raise ConfigurationError(f"The protocol '{self.name}' needs at least one headline figure.")

    @property
    def watch(self) -> str:
        """The figure that the protocol is about; larger is better."""
        return self.headlines[0]

    def pieces(self, sample: Sample) -> list[Sample]:
        """Return a sample as it is predicted: transformed, and in tiles where the protocol says so."""
        unused = np.random.default_rng(0)
        for transform in self.transforms:
            sample = transform(sample, unused)
        if self.tile is None:
            return [sample]
        plan = plan_windows(sample.size, window=Size(self.tile, self.tile), overlap=0)
        return [sample.moved(Crop(planned.core)) for planned in plan]


@dataclass(frozen=True)
class _Piece:
    image: int
    sample: Sample


@dataclass(frozen=True)
class _Measured:
    image: int
    key: str
    tally: Tally


def evaluate(
    model: Model | StoredModel | Predictor,
    protocol: Protocol,
    root: str | Path,
    *,
    batch_size: int = 16,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Evaluate a model on the protocol's part of the data set below a folder.

    `limit` evaluates so many samples, evenly spaced through the part. Classes are matched by name. Intervals
    are 95 % bootstrap intervals over whole images; the report keeps every image's tally. Raises `DataError` for
    data that does not fit, or classes the model lacks.
    """
    predictor = as_predictor(model)
    _check_classes(predictor, protocol.dataset.classes)
    whole = protocol.dataset.open(root, protocol.split)
    chosen = _limited(whole, limit)
    metric = protocol.metric(chosen.classes)
    table, keys = TallyTable(), []
    start = time.perf_counter()
    for image in _measured(predictor, protocol, chosen, metric, batch_size):
        metric.add(image.tally)
        table.add(image.tally)
        keys.append(image.key)
        if progress is not None:
            progress(len(table), len(chosen))
    seconds = time.perf_counter() - start
    return Report(
        protocol=protocol.name,
        model=predictor.name,
        fingerprint=predictor.fingerprint,
        split=protocol.split,
        samples=len(chosen),
        available=len(whole),
        watch=protocol.watch,
        figures=metric.compute(),
        intervals=bootstrap_intervals(metric, table, protocol.headlines),
        seconds=seconds,
        reliability=metric.reliability(metric.total),
        evidence=Evidence(metric=metric, keys=tuple(keys), tallies=table),
    )


def as_predictor(model: Model | StoredModel | Predictor) -> Predictor:
    """Return anything that can be evaluated as a predictor."""
    if isinstance(model, Model):
        return ModelPredictor.of(model)
    if isinstance(model, StoredModel):
        return ModelPredictor.of(model.model, name=model.name, fingerprint=model.sha256)
    return model


def _measured(
    predictor: Predictor, protocol: Protocol, dataset: Dataset, metric: Metric, batch_size: int
) -> Iterator[_Measured]:
    """Yield each image's tally, the sum over its pieces, in order; no more than a batch is held at a time."""
    measured: _Measured | None = None
    for batch in _batches(protocol, dataset, batch_size):
        answers = predictor.predict([piece.sample for piece in batch])
        for piece, answer in zip(batch, answers, strict=True):
            if piece.sample.target is None:
                raise DataError(f"'{piece.sample.key}' has no truth to measure against.")
            tally = metric.tally(answer, piece.sample.target)
            if measured is not None and piece.image == measured.image:
                measured = replace(measured, tally=measured.tally + tally)
                continue
            if measured is not None:
                yield measured
            measured = _Measured(piece.image, piece.sample.key, tally)
    if measured is not None:
        yield measured


def _batches(protocol: Protocol, dataset: Dataset, batch_size: int) -> Iterator[list[_Piece]]:
    waiting: list[_Piece] = []
    for image, sample in enumerate(dataset):
        for piece in protocol.pieces(sample):
            waiting.append(_Piece(image, piece))
            if len(waiting) == batch_size:
                yield waiting
                waiting = []
    if waiting:
        yield waiting


def _limited(dataset: Dataset, limit: int | None) -> Dataset:
    if limit is None or limit >= len(dataset):
        return dataset
    if limit < 1:
        raise ConfigurationError(f"At least 1 sample is needed to evaluate; found limit={limit}.")
    return dataset.select(np.linspace(0, len(dataset) - 1, limit).round().astype(int).tolist())


def _check_classes(predictor: Predictor, classes: tuple[str, ...]) -> None:
    positions = class_positions(classes, predictor.classes)
    missing = [name for name, at in zip(classes, positions, strict=True) if at == len(predictor.classes)]
    if missing:
        raise DataError(
            f"The model '{predictor.name}' does not know the class {', '.join(missing)} of this data set; "
            f"its classes are {', '.join(predictor.classes)}."
        )
