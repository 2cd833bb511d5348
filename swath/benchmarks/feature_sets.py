"""Features of the training and the test part of a data set with their truth, made by a frozen model and kept in a file.

The file is that of Corley et al., arXiv 2305.13456: `.npz` with `x_train`, `y_train`, `x_test` and `y_test`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from swath.benchmarks.feature_readings import Reading, each
from swath.datasets.formats.images import read_image
from swath.datasets.records import image_files
from swath.errors import DataError, ImageryNotFound
from swath.imagery.bands import Band
from swath.models.pretrain.preparation import Normalisation, Preparation
from swath.samples.batch import Batch
from swath.samples.labels import Label
from swath.samples.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from swath.models.base import Model
    from swath.models.inputs import InputSpec
    from swath.models.pretrain.random_features import Indexed

Progress = Callable[[int, int], None]
"""Told after every batch how many images are done, and of how many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FeaturePart:
    """Features (N, D) float32 with their truth: class numbers (N,), or labels (N, K) of 0 and 1; int16.

    >>> part = FeaturePart(features=np.zeros((2, 3), np.float32), truth=np.array([0, 1], np.int16))
    >>> len(part), part.exclusive
    (2, True)
    """

    features: NDArray[np.float32]
    truth: NDArray[np.int16]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.truth):
            raise DataError(f"{len(self.features)} feature vectors need as many truths; found {len(self.truth)}.")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def exclusive(self) -> bool:
        """Whether each image has one class."""
        return self.truth.ndim == 1

    def share(self, share: float, *, seed: int = 0) -> FeaturePart:
        """Return a random share of the images, kept within each class and at least one of each."""
        if share >= 1:
            return self
        draws = np.random.default_rng(seed)
        strata = self.truth if self.exclusive else np.zeros(len(self), np.int16)
        chosen = []
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            chosen.append(draws.permutation(members)[: max(1, round(share * len(members)))])
        places = np.sort(np.concatenate(chosen))
        return FeaturePart(features=self.features[places], truth=self.truth[places])


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaler:
    """The mean and the spread of each feature over a training part; features without spread are only centred.

    >>> scaler = Scaler.fit(np.array([[0.0, 1.0], [2.0, 1.0]], np.float32))
    >>> scaler(np.array([[3.0, 1.0]], np.float32)).tolist()
    [[2.0, 0.0]]
    """

    centre: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def fit(cls, features: NDArray[np.floating]) -> Scaler:
        """Measure features (N, D), in 64 bits."""
        exact = features.astype(np.float64)
        centre, spread = exact.mean(axis=0), exact.std(axis=0)
        # Rounding gives constant features a spread, as large as the mean is inexact.
        spread[spread <= 10 * np.finfo(np.float32).eps * np.abs(centre)] = 1.0
        spread[spread == 0] = 1.0
        return cls(centre=centre.astype(np.float32), spread=spread.astype(np.float32))

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise features."""
        scaled: NDArray[np.float32] = (features - self.centre) / self.spread
        return scaled


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """The features of both parts of a data set."""

    train: FeaturePart
    test: FeaturePart

    def scaled(self) -> FeatureSet:
        """Return both parts standardised by what the training part alone measures."""
        scaler = Scaler.fit(self.train.features)
        train, test = (replace(part, features=scaler(part.features)) for part in (self.train, self.test))
        return FeatureSet(train=train, test=test)

    def save(self, file: str | Path) -> Path:
        """Write the published kind of file; the suffix `.npz` is added where it lacks."""
        target = Path(file).with_suffix(".npz")
        np.savez_compressed(
            target,
            x_train=self.train.features,
            y_train=self.train.truth,
            x_test=self.test.features,
            y_test=self.test.truth,
        )
        return target

    @classmethod
    def load(cls, file: str | Path) -> FeatureSet:
        """Read a published feature file; raise `ImageryNotFound` or, for another file, `DataError`."""
        path = Path(file)
        if not path.is_file():
            raise ImageryNotFound(f"there is no feature file at {path}; check the path.")
        try:
            with np.load(path, allow_pickle=False) as stored:
                parts = [
                    FeaturePart(
                        features=stored[f"x_{part}"].astype(np.float32), truth=stored[f"y_{part}"].astype(np.int16)
                    )
                    for part in ("train", "test")
                ]
        except (KeyError, ValueError, OSError) as error:
            raise DataError(f"{path} is not a feature file with x_train, y_train, x_test and y_test.") from error
        return cls(train=parts[0], test=parts[1])


def embed_part(
    model: Model,
    samples: Indexed[Sample],
    reading: Reading,
    preparation: Preparation,
    *,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> FeaturePart:
    """Embed samples with a truth by a frozen model of one image, in evaluation mode.

    Raises `DataError` for no sample, or one without a label.
    """
    features, truths = [], []
    for piece in _embedded(model, samples, reading, preparation, batch_size):
        features.append(piece.features)
        truths += [truth_of(sample) for sample in piece.samples]
        if progress is not None:
            progress(len(truths), len(samples))
    if not features:
        raise DataError("there is no image to embed; give a part of a data set that holds some.")
    return FeaturePart(features=np.concatenate(features), truth=np.array(truths, dtype=np.int16))


def embed_folder(
    model: Model, name: str, folder: str | Path, output: str | Path, *, size: int | None = None, batch_size: int = 16
) -> Path:
    """Embed the images of a folder, by file name, into `<name>_features.npy` (N, D) in the folder `output`.

    The files hold the model's bands in its unit; they are resized to `size` and normalised as the model's input says.
    Raises `DataError` for a folder without images.
    """
    own = next(iter(model.inputs.values()))
    samples = _ImageFiles(files=tuple(image_files(Path(folder))), input=own)
    if not len(samples):
        raise DataError(f"{folder} holds no image; give the folder that does.")
    reading = Reading(input=replace(own, mean=(0.0,), std=(1.0,)), shown=own.bands)
    normalisation = Normalisation(name="own", shift=own.mean, scale=own.std)
    preparation = Preparation(size=size, normalisation=normalisation)
    pieces = [piece.features for piece in _embedded(model, samples, reading, preparation, batch_size)]
    target = Path(output) / f"{name}_features.npy"
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, np.concatenate(pieces))
    return target


@dataclass(frozen=True, kw_only=True, eq=False)
class _ImageFiles:
    """Files as samples that are read on demand, in the bands and the unit of an input."""

    files: tuple[Path, ...]
    input: InputSpec

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> Sample:
        bands = tuple(Band(name=role, role=role, unit=self.input.unit) for role in self.input.bands)
        file = self.files[position]
        return Sample(key=file.name, images={"image": read_image(file, bands, self.input.unit)})


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    samples: list[Sample]
    features: NDArray[np.float32]


def _embedded(
    model: Model, samples: Indexed[Sample], reading: Reading, preparation: Preparation, batch_size: int
) -> Iterator[_Piece]:
    model.eval()
    slot = next(iter(model.inputs))
    with torch.inference_mode():
        for some in _alike(samples, batch_size):
            raw = torch.from_numpy(np.stack([reading.array(sample) for sample in some]))
            shown = Batch(images={slot: preparation(raw.to(model.device))})
            yield _Piece(samples=some, features=model.embed(shown).to("cpu", torch.float32).numpy())


def truth_of(sample: Sample) -> int | list[int]:
    """Return the number of a sample's class, or 0 and 1 for every class where several may hold."""
    label = sample.target
    if not isinstance(label, Label):
        raise DataError(f"'{sample.key}' has no label to judge features by; choose a data set of labelled images.")
    if label.exclusive:
        return int(label.scores.argmax())
    return [int(score > 0.5) for score in label.scores]


def _alike(samples: Indexed[Sample], count: int) -> Iterator[list[Sample]]:
    """Yield runs of up to `count` samples of one size, in order."""
    for _, group in groupby(each(samples), key=lambda sample: sample.size):
        while piece := list(islice(group, count)):
            yield piece
