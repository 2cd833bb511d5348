"""Training a linear probe: a frozen embedder, and a head whose penalty and temperature a held-back share decides.

>>> PENALTIES[0] > PENALTIES[-1]
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.benchmarks.feature_sets import FeaturePart, Scaler
from swath.benchmarks.frozen_features import FrozenFeatureProtocol, FrozenSetting, settings_of
from swath.benchmarks.linear_probing import LinearHead, check_every_class, logistic_regression, probe_of
from swath.benchmarks.temperature import likeliest_temperature, negative_log_likelihood, tempered
from swath.models.cards import Figure
from swath.models.pretrain.linear_probe import LinearProbe
from swath.models.store import save_model
from swath.training.keeping import BEST_FOLDER
from swath.training.run import open_parts

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from swath.benchmarks.feature_extractors import FeatureExtractor
    from swath.datasets.spec import Dataset, DatasetSpec
    from swath.models.cards import Card
    from swath.training.run import TrainingParts

Progress = Callable[[int, int], None]

PENALTIES = (3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
"""L2 penalties of standardised features, strong ones first; scikit-learn's C is 1 / penalty."""
WITHOUT_GAIN = 2
"""So many penalties in a row without a gain end the search: weaker ones only take longer."""
ENOUGH_FOR_TEMPERATURE = 30
"""So many held-back images tell a temperature; of fewer, a single one would, and it stays 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenHead:
    """A head on standardised features, and what decided on it: its figures on the share that was held back.

    `loss` is the negative log-likelihood at the `temperature`. Both figures are of the head before it learnt from the
    held-back share too.
    """

    scaler: Scaler
    head: LinearHead
    penalty: float
    temperature: float
    accuracy: float
    loss: float

    def shares(self, features: NDArray[np.float32], *, classes: int) -> NDArray[np.float64]:
        """Return the probability (N, classes) of every class."""
        return tempered(self.head.shares(self.scaler(features), classes=classes), self.temperature)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedProbe:
    """A probe, the folder it was saved in, and its figures on the share that was held back."""

    model: LinearProbe
    folder: Path
    chosen: ChosenHead


def choose_head(learning: FeaturePart, held: FeaturePart, *, classes: int) -> ChosenHead:
    """Fit a head under every penalty, keep the one with the likeliest answers on `held`, and fit it on both parts.

    Each is measured at its own best temperature (Guo et al. 2017), so that what it says, not how loudly, decides; at 1
    where `held` has few images. The temperature is that of the head which learnt from `learning` alone. Raises
    `DataError` where several classes may hold, or there are fewer than two.

    >>> features = np.array([[-1.0], [-2.0], [1.0], [2.0]], np.float32)
    >>> part = FeaturePart(features=features, truth=np.array([0, 0, 1, 1], np.int16))
    >>> choose_head(part, part, classes=2).accuracy
    1.0
    """
    scaler = Scaler.fit(learning.features)
    scaled = replace(learning, features=scaler(learning.features))
    tried: list[ChosenHead] = []
    for penalty, head in zip(PENALTIES, LinearHead.path(scaled, PENALTIES), strict=False):
        tried.append(_measured(head, scaler, penalty, held, classes))
        best = min(tried, key=lambda found: found.loss)
        if len(tried) - tried.index(best) > WITHOUT_GAIN:
            break
    both = FeaturePart(
        features=np.concatenate([learning.features, held.features]), truth=np.concatenate([learning.truth, held.truth])
    )
    scaler = Scaler.fit(both.features)
    head = LinearHead.fit(replace(both, features=scaler(both.features)), penalty=best.penalty)
    return replace(best, scaler=scaler, head=head)


def _measured(head: LinearHead, scaler: Scaler, penalty: float, held: FeaturePart, classes: int) -> ChosenHead:
    shares = head.shares(scaler(held.features), classes=classes)
    temperature = likeliest_temperature(shares, held.truth) if len(held) >= ENOUGH_FOR_TEMPERATURE else 1.0
    return ChosenHead(
        scaler=scaler,
        head=head,
        penalty=penalty,
        temperature=temperature,
        accuracy=float((shares.argmax(axis=1) == held.truth).mean()),
        loss=negative_log_likelihood(shares, held.truth, temperature),
    )


def setting_for(
    extractor: FeatureExtractor,
    spec: DatasetSpec,
    train: Dataset,
    *,
    size: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
) -> FrozenSetting:
    """Return an extractor ready to embed a data set: images of its own size unless another is given.

    `train` is the part that some extractors measure or cut their filters from. Raises `BandMismatch` or
    `ConfigurationError` for data that the extractor cannot read.
    """
    protocol = FrozenFeatureProtocol(dataset=spec, sizes=(size or extractor.size,), seeds=(seed,))
    setting = next(settings_of(protocol, extractor, train))
    if device is not None:
        setting.model.to(device)
    return setting


def train_linear_probe(
    extractor: FeatureExtractor,
    spec: DatasetSpec,
    root: str | Path,
    *,
    folder: str | Path,
    validation: float | str = 0.1,
    seed: int = 0,
    size: int | None = None,
    device: torch.device | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> TrainedProbe:
    """Fit a linear probe on the training part of a data set and save it, as a model like any other, in `folder/best`.

    `validation` is the share of the training part, drawn by the seed, that chooses penalty and temperature, or a part
    by name. `size` is the side in pixels to which images are resized, by default the embedder's own. Raises `DataError`
    where several classes may hold or one has no training image, and what reading the data raises.
    """
    logistic_regression()
    parts = open_parts(spec, root, validation=validation, seed=seed)
    setting = setting_for(extractor, spec, parts.learning, size=size, seed=seed, device=device)
    learning, held = embed_parts(setting, parts, batch_size=batch_size, progress=progress)
    check_every_class(learning, spec.classes)
    chosen = choose_head(learning, held, classes=len(spec.classes))
    first = parts.learning[0].size
    probe = probe_of(
        setting.model.to("cpu"),
        chosen.head,
        chosen.scaler,
        classes=spec.classes,
        input=replace(setting.reading.input, window=max(first.height, first.width)),
        preparation=setting.preparation,
    )
    probe.config = replace(probe.config, output=replace(probe.config.output, temperature=chosen.temperature))
    target = save_model(probe, Path(folder) / BEST_FOLDER, card=_card(extractor, spec, chosen, parts=parts, seed=seed))
    return TrainedProbe(model=probe, folder=target, chosen=chosen)


def embed_parts(
    setting: FrozenSetting, parts: Sequence[Dataset], *, batch_size: int = 16, progress: Progress | None = None
) -> list[FeaturePart]:
    """Embed several parts of a data set; `progress` is told of all their images together."""
    total, found = sum(map(len, parts)), list[FeaturePart]()
    for part in parts:
        tell = None if progress is None else _after(progress, sum(map(len, found)), total)
        found.append(setting.embed(part, batch_size=batch_size, progress=tell))
    return found


def _after(progress: Progress, done: int, total: int) -> Progress:
    """Tell of a part's images as of those that follow `done` others."""
    return lambda number, _: progress(done + number, total)


def _card(
    extractor: FeatureExtractor, spec: DatasetSpec, chosen: ChosenHead, *, parts: TrainingParts, seed: int
) -> Card:
    """Say on what, and by which choices, a probe came about."""
    weights = f", whose weights are {extractor.origin}" if extractor.origin else ""
    learning, held = map(len, parts)
    training = (
        f"Logistic regression on standardised features of {extractor.name}{weights}, of {learning:,} images of "
        f"'{spec.name}'; {held:,} more, held back (seed {seed}), chose the L2 penalty {chosen.penalty:g} and the "
        f"temperature {chosen.temperature:g}, and then the head learnt from all of them."
    )
    figure = Figure(
        metric="accuracy",
        value=chosen.accuracy,
        data=f"{held:,} held-back images of {spec.name}",
        source="before the head learnt from them",
        seed=seed,
    )
    return replace(LinearProbe.card(), training=training, verified=(figure,), data_licence=spec.licence)
