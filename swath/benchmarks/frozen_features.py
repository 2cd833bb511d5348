"""Frozen features, judged without training: a model x size x normalisation x scaler grid on any declared data set.

Corley, Robinson, Dodhia, Lavista Ferres, Najafirad: "Revisiting pre-trained remote sensing model benchmarks: resizing
and normalization matters", PBVS workshop of CVPR 2024, arXiv 2305.13456. Both parts of a data set are embedded once a
setting; 5 nearest neighbours, or logistic regression, learn on the training part and are measured on the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from swath.benchmarks.averaged_scores import class_figures, label_figures
from swath.benchmarks.feature_readings import (
    RGB,
    NormalisationName,
    Padding,
    ReadImages,
    Reading,
    normalisation_of,
)
from swath.benchmarks.feature_sets import FeatureSet, embed_part
from swath.benchmarks.feature_table import FeatureRow, FeatureTable, RunSettings
from swath.benchmarks.linear_probing import LinearHead, fit_linear_probe
from swath.benchmarks.nearest_neighbours import NearestNeighbours, decide
from swath.benchmarks.resize_normalize_study import study_row
from swath.errors import ConfigurationError, DataError
from swath.models.pretrain.preparation import Order, Preparation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swath.benchmarks.feature_extractors import FeatureExtractor
    from swath.benchmarks.feature_sets import FeaturePart, Progress
    from swath.datasets.spec import Dataset, DatasetSpec
    from swath.models.base import Model
    from swath.models.pretrain.linear_probe import LinearProbe
    from swath.models.pretrain.random_features import Indexed
    from swath.samples.sample import Sample

Classifier = Literal["neighbours", "linear", "linear without penalty"]


@dataclass(frozen=True, kw_only=True)
class FrozenFeatureProtocol:
    """What is compared on which data set; every combination of the tuples is run.

    `bands` are roles (None: all of the data's, padded to Sentinel-2's 13 as `padding` says), but a model that is
    already built brings its own. `sizes` are sides in pixels, None for images as they are. `normalisations` and
    `scalers` are those of each extractor where they are empty. `train_shares` of the training part are drawn within
    classes. `seeds` are for extractors that depend on one. `limit` keeps so many images of each part, evenly spaced.

    >>> from swath.datasets.registry import dataset
    >>> FrozenFeatureProtocol.of_study(dataset("eurosat")).sizes
    (64, 224)
    """

    dataset: DatasetSpec
    bands: tuple[str, ...] | None = None
    padding: Padding = "correct"
    sizes: tuple[int | None, ...] = (None,)
    normalisations: tuple[NormalisationName, ...] = ()
    scalers: tuple[bool, ...] = ()
    order: Order = "resize first"
    classifiers: tuple[Classifier, ...] = ("neighbours",)
    neighbours: int = 5
    train_shares: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0, 1, 2)
    train: str = "train"
    test: str = "test"
    limit: int | None = None

    @classmethod
    def of_study(
        cls, dataset: DatasetSpec, *, bands: tuple[str, ...] | None = None, padding: Padding = "published"
    ) -> FrozenFeatureProtocol:
        """Return the study's settings for one of its data sets; raise `DataError` for another data set."""
        row = study_row(dataset.name, rgb=(bands or dataset.bands) == RGB)
        return cls(dataset=dataset, bands=bands, padding=padding, sizes=row.sizes, order=row.order, seeds=row.seeds)

    def opened(self, root: str | Path, part: str, *, cached: bool = False) -> Dataset:
        """Open one of the two parts below a folder, no more than `limit` of its images."""
        whole = self.dataset.open(root, part, cached=cached)
        if self.limit is None or self.limit >= len(whole):
            return whole
        return whole.select(np.linspace(0, len(whole) - 1, self.limit).round().astype(int).tolist())

    def reading_of(self, extractor: FeatureExtractor) -> Reading:
        """Return what is read of the data for an extractor."""
        return Reading.of(self.dataset, extractor.bands or self.bands, padding=self.padding)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenSetting:
    """A model that is ready to embed: how it came about, what it reads, and how images are prepared for it."""

    extractor: FeatureExtractor
    model: Model
    seed: int | None
    reading: Reading
    preparation: Preparation

    def embed(self, samples: Indexed[Sample], *, batch_size: int = 16, progress: Progress | None = None) -> FeaturePart:
        """Embed a part of a data set."""
        return embed_part(self.model, samples, self.reading, self.preparation, batch_size=batch_size, progress=progress)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenFeatures:
    """The features of both parts of a data set under one setting."""

    setting: FrozenSetting
    features: FeatureSet


def compare_frozen_features(
    protocol: FrozenFeatureProtocol,
    extractors: Sequence[FeatureExtractor],
    root: str | Path,
    *,
    batch_size: int = 16,
    cached: bool = False,
    keep: Callable[[FrozenFeatures], None] | None = None,
    progress: Progress | None = None,
) -> FeatureTable:
    """Run the whole grid on the data set below a folder.

    `cached` keeps the images in memory, `keep` is given the features of every setting, for example to save them, and
    `progress` is told how many images of the part at hand are embedded. Raises `DataError` for data that do not fit.
    """
    train, test = (protocol.opened(root, part, cached=cached) for part in (protocol.train, protocol.test))
    rows: list[FeatureRow] = []
    for extractor in extractors:
        for setting in settings_of(protocol, extractor, train):
            parts = [setting.embed(part, batch_size=batch_size, progress=progress) for part in (train, test)]
            made = FrozenFeatures(setting=setting, features=FeatureSet(train=parts[0], test=parts[1]))
            rows += judged(protocol, made)
            if keep is not None:
                keep(made)
    if not rows:
        raise ConfigurationError("there is nothing to compare: give at least one extractor, size and classifier.")
    headline = "accuracy" if "accuracy" in rows[0].figures else "micro mAP"
    return FeatureTable(rows=tuple(rows), headline=headline)


def settings_of(
    protocol: FrozenFeatureProtocol, extractor: FeatureExtractor, train: Indexed[Sample]
) -> Iterator[FrozenSetting]:
    """Yield an extractor under each seed, normalisation and size of a protocol."""
    for seed in protocol.seeds if extractor.seeded else (None,):
        plain = protocol.reading_of(extractor)
        model = extractor.build(plain.network_input(), ReadImages(samples=train, reading=plain), seed)
        own = next(iter(model.inputs.values()))
        for name in protocol.normalisations or (extractor.normalisation,):
            reading = plain.as_read_by(own) if name == "own" else plain
            normalisation = normalisation_of(name, reading, protocol.dataset, train, own)
            for size in protocol.sizes:
                preparation = Preparation(
                    size=size, normalisation=normalisation, order=protocol.order, zero_bands=reading.zero_bands
                )
                yield FrozenSetting(
                    extractor=extractor, model=model, seed=seed, reading=reading, preparation=preparation
                )


def judged(protocol: FrozenFeatureProtocol, made: FrozenFeatures) -> Iterator[FeatureRow]:
    """Yield a row for each share of the training part, scaler and classifier of a protocol."""
    whole, setting = made.features, made.setting
    shown, preparation = setting.reading.shown, setting.preparation
    scalers = protocol.scalers or (setting.extractor.scaler,)
    for share, scaler, classifier in product(protocol.train_shares, scalers, protocol.classifiers):
        some = replace(whole, train=whole.train.share(share, seed=setting.seed or 0))
        yield FeatureRow(
            settings=RunSettings(
                data=protocol.dataset.name,
                bands="red green blue" if shown == RGB else f"{len(shown)} bands",
                model=setting.extractor.name,
                features=whole.train.features.shape[1],
                size=preparation.size,
                normalisation=preparation.normalisation.name,
                order=preparation.order,
                scaler=scaler,
                classifier=classifier,
                train_share=share,
            ),
            seed=setting.seed,
            figures=figures_of(
                some.scaled() if scaler else some,
                classifier,
                classes=len(protocol.dataset.classes),
                neighbours=protocol.neighbours,
            ),
            published=_published(protocol, setting) if classifier == "neighbours" and share == 1 else None,
        )


def figures_of(features: FeatureSet, classifier: Classifier, *, classes: int, neighbours: int = 5) -> dict[str, float]:
    """Let a classifier learn on the training part and return its figures on the test part.

    Raises `DataError` for a linear classifier where several classes may hold.
    """
    train, test = features.train, features.test
    if classifier != "neighbours":
        said = LinearHead.fit(train, penalty=float(classifier == "linear")).predict(test.features)
        return class_figures(test.truth, said, classes)
    known = NearestNeighbours(features=train.features, truth=train.truth, classes=classes, count=neighbours)
    shares = known.shares(test.features)
    said = decide(shares, exclusive=train.exclusive)
    return class_figures(test.truth, said, classes) if train.exclusive else label_figures(test.truth, shares, said)


def linear_probe_of(
    protocol: FrozenFeatureProtocol, extractor: FeatureExtractor, train: Indexed[Sample], *, batch_size: int = 16
) -> LinearProbe:
    """Fit a linear head under the one setting of a protocol, and return it with its frozen network as one model.

    An extractor that depends on a seed takes the first; scenes are later read in windows of the training images' size.
    Raises `ConfigurationError` where more than one setting is left.
    """
    found = list(settings_of(replace(protocol, seeds=protocol.seeds[:1]), extractor, train))
    if len(found) != 1 or len(protocol.scalers) > 1:
        raise ConfigurationError(
            "a linear probe is fitted under one setting; choose one size, one normalisation and one scaler."
        )
    setting, size = found[0], train[0].size
    return fit_linear_probe(
        setting.model,
        setting.embed(train, batch_size=batch_size),
        classes=protocol.dataset.classes,
        input=replace(setting.reading.input, window=max(size.height, size.width)),
        preparation=setting.preparation,
        scaler=(protocol.scalers or (extractor.scaler,))[0],
        penalty=float("linear without penalty" not in protocol.classifiers),
    )


def _published(protocol: FrozenFeatureProtocol, setting: FrozenSetting) -> float | None:
    """Return the authors' figure for what was run; they chose the best normalisation and scaler for three data sets."""
    try:
        row = study_row(protocol.dataset.name, rgb=setting.reading.shown == RGB)
    except DataError:
        return None
    return row.figure(setting.extractor.name, setting.preparation.size)
