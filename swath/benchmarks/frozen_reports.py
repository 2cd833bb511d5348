"""Judging models by their frozen features: what nearest neighbours and a linear probe make of them, as reports.

Both learn from the training part and are measured on the protocol's own part, so that several models stand in one
table with intervals, calibration and paired tests (`benchmarks.compare`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from swath.benchmarks.bootstrap import TallyTable, bootstrap_intervals
from swath.benchmarks.evidence import Evidence
from swath.benchmarks.feature_sets import FeaturePart, FeatureSet, truth_of
from swath.benchmarks.frozen_features import FrozenFeatureProtocol
from swath.benchmarks.linear_probing import logistic_regression
from swath.benchmarks.nearest_neighbours import NearestNeighbours
from swath.benchmarks.predictors import weights_hash
from swath.benchmarks.probe_training import choose_head, embed_parts, setting_for
from swath.benchmarks.report import Report
from swath.datasets.spec import ALL
from swath.errors import DataError
from swath.geometry.windows import Size
from swath.samples.labels import Label

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from swath.benchmarks.feature_extractors import FeatureExtractor
    from swath.benchmarks.probe_training import Progress
    from swath.benchmarks.protocol import Protocol
    from swath.datasets.spec import Dataset

MEASURE = "frozen-features"
NEIGHBOURS = 5
_POINT = Size(1, 1)
"""Labels are of whole images; their size is not measured."""


def frozen_reports(
    extractor: FeatureExtractor,
    protocol: Protocol,
    root: str | Path,
    *,
    validation: float = 0.1,
    seed: int = 0,
    size: int | None = None,
    limit: int | None = None,
    device: torch.device | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> tuple[Report, Report]:
    """Report 5 nearest neighbours and a linear probe on frozen features, by the metric and the part of a protocol.

    Neighbours are sought among the whole training part. The linear probe is that of `train_linear_probe`: the share
    `validation` of the training part chooses its penalty and temperature. Where the protocol measures a whole data set,
    its part `test` is measured. `limit` keeps so many images of each part, evenly spaced. Raises `DataError` for images
    of which several classes may hold.
    """
    logistic_regression()
    spec, tested = protocol.dataset, "test" if protocol.split == ALL else protocol.split
    asked = FrozenFeatureProtocol(dataset=spec, limit=limit)
    whole, test = asked.opened(root, "train"), asked.opened(root, tested)
    if isinstance(truth_of(test[0]), list):
        raise DataError(f"frozen features are judged on images of one class each; those of '{spec.name}' have several.")
    division = whole.divide(validation, seed=seed)
    start = time.perf_counter()
    setting = setting_for(extractor, spec, division.rest, size=size, seed=seed, device=device)
    parts = (division.rest, division.held, test)
    learning, held, features = embed_parts(setting, parts, batch_size=batch_size, progress=progress)
    judged = _Judged(
        protocol=replace(protocol, name=f"{spec.name}/{MEASURE}", split=tested),
        test=test,
        available=len(spec.open(root, tested)),
        truth=features.truth,
        fingerprint=weights_hash(setting.model),
        seconds=time.perf_counter() - start,
    )
    known = FeaturePart(
        features=np.concatenate([learning.features, held.features]), truth=np.concatenate([learning.truth, held.truth])
    )
    head = choose_head(learning, held, classes=len(spec.classes))
    return (
        judged.report(f"{extractor.name}, {NEIGHBOURS} nearest neighbours", _votes(extractor, known, features, judged)),
        judged.report(f"{extractor.name}, linear probe", head.shares(features.features, classes=len(spec.classes))),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """The images that are measured, and what all reports on them have in common."""

    protocol: Protocol
    test: Dataset
    available: int
    truth: NDArray[np.int16]
    fingerprint: str
    seconds: float

    @property
    def classes(self) -> tuple[str, ...]:
        """The data set's classes."""
        return self.protocol.dataset.classes

    def report(self, name: str, shares: NDArray[np.float64]) -> Report:
        """Measure the probability of every class (N, K)."""
        protocol, metric, table = self.protocol, self.protocol.metric(self.classes), TallyTable()
        for share, true in zip(shares.astype(np.float32), self.truth, strict=True):
            said = Label(size=_POINT, scores=share, classes=self.classes)
            tally = metric.tally(said, Label.of(self.classes[true], self.classes, _POINT))
            metric.add(tally)
            table.add(tally)
        return Report(
            protocol=protocol.name,
            model=name,
            fingerprint=self.fingerprint,
            split=protocol.split,
            samples=len(self.test),
            available=self.available,
            watch=protocol.watch,
            figures=metric.compute(),
            intervals=bootstrap_intervals(metric, table, protocol.headlines),
            seconds=self.seconds,
            reliability=metric.reliability(metric.total),
            evidence=Evidence(metric=metric, keys=tuple(record.key for record in self.test.records), tallies=table),
        )


def _votes(
    extractor: FeatureExtractor, known: FeaturePart, features: FeaturePart, judged: _Judged
) -> NDArray[np.float64]:
    both = FeatureSet(train=known, test=features)
    if extractor.scaler:
        both = both.scaled()
    neighbours = NearestNeighbours(
        features=both.train.features,
        truth=both.train.truth,
        classes=len(judged.classes),
        count=min(NEIGHBOURS, len(known)),
    )
    return neighbours.shares(both.test.features)
