"""Linear support vector machines on features of whole images, over repeated draws of the training part.

Cheng, Han, Lu: "Remote Sensing Image Scene Classification: Benchmark and State of the Art", Proc. IEEE 105(10), 2017,
arXiv 1703.00121 (NWPU-RESISC45): features of an image, by hand or by a network, then a one-against-rest linear SVM with
C = 1, trained on 10 % or 20 % of each class and tested on all the rest; the draw is repeated and accuracy given as mean
and standard deviation. Sheet, "Architecture"; the settings of the features and the ten repeats are recalled.

What turns an image into a vector is a `FeatureExtractor`: `benchmarks.handcrafted`, `benchmarks.visual_words`, or
`ModelFeatures` around any model that embeds images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from sklearn.svm import LinearSVC

from swath.benchmarks.predictors import weights_hash
from swath.benchmarks.protocol import Protocol as EvaluationProtocol
from swath.benchmarks.protocol import evaluate
from swath.datasets.scenes import drawn_again
from swath.errors import ConfigurationError, DataError
from swath.metrics.classification import ClassificationMetric
from swath.models.recipe import Recipe
from swath.samples.labels import Label
from swath.samples.transforms import RandomFlip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.benchmarks.report import Report
    from swath.datasets.spec import DatasetSpec
    from swath.metrics.confusion import ConfusionMatrix
    from swath.models.base import Model
    from swath.samples.annotation import Annotation
    from swath.samples.sample import Sample
    from swath.training.feeding import SampleSource

PENALTY = 1.0
_BATCH = 32


class FeatureExtractor(Protocol):
    """Anything that turns samples into feature vectors; some learn a dictionary from the training part first."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the features depend on."""
        ...

    def fitted(self, samples: SampleSource) -> FeatureExtractor:
        """Return what has learned from the training part, itself where there is nothing to learn."""
        ...

    def extract(self, samples: Sequence[Sample]) -> NDArray[np.float32]:
        """Return one vector a sample (N, D)."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelFeatures:
    """What a model's `embed` says of an image, as features; images must have a size that the model takes."""

    model: Model
    name: str
    fingerprint: str

    @classmethod
    def of(cls, model: Model, *, name: str = "") -> ModelFeatures:
        """Wrap a model in evaluation mode."""
        model.eval()
        return cls(model=model, name=name or type(model).__name__, fingerprint=weights_hash(model))

    def fitted(self, samples: SampleSource) -> ModelFeatures:
        """Return itself: the network is frozen."""
        del samples
        return self

    def extract(self, samples: Sequence[Sample]) -> NDArray[np.float32]:
        """Return the embeddings (N, D)."""
        with torch.inference_mode():
            vectors = self.model.embed(self.model.prepare(samples).to(self.model.device))
        found: NDArray[np.float32] = vectors.to("cpu", torch.float32).numpy()
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class SvmProbe:
    """A feature extractor and a linear SVM over its features; made by `fit`, evaluated like any model.

    `weights` (K, D) and `biases` (K,) give the margin of each class; the largest decides. Scores are the softmax of the
    margins: in the right order, but no calibrated probabilities.
    """

    extractor: FeatureExtractor
    classes: tuple[str, ...]
    weights: NDArray[np.float64]
    biases: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        extractor: FeatureExtractor,
        samples: SampleSource,
        classes: tuple[str, ...],
        *,
        penalty: float = PENALTY,
        seed: int = 0,
    ) -> SvmProbe:
        """Fit one SVM a class against the rest (scikit-learn's `LinearSVC`, squared hinge) on labelled samples.

        Raises `DataError` where a sample has no label or fewer than two classes have one.
        """
        learned = extractor.fitted(samples)
        parts: list[NDArray[np.float32]] = []
        numbers: list[int] = []
        for batch in _batches(samples):
            numbers += [_class_of(sample, classes) for sample in batch]
            parts.append(learned.extract(batch))
        present = np.unique(np.array(numbers, np.int64))
        if len(present) < 2:
            raise DataError(f"a classifier needs samples of at least 2 classes; found {len(present)}.")
        machine = LinearSVC(C=penalty, random_state=seed, max_iter=10_000)
        machine.fit(np.concatenate(parts), numbers)
        weights = np.zeros((len(classes), parts[0].shape[1]))
        # A class without samples is never chosen.
        biases = np.full(len(classes), -np.inf)
        if len(present) == 2:
            weights[present], biases[present] = (
                [-machine.coef_[0], machine.coef_[0]],
                np.array([-1, 1]) * machine.intercept_,
            )
        else:
            weights[present], biases[present] = machine.coef_, machine.intercept_
        return cls(extractor=learned, classes=classes, weights=weights, biases=biases)

    @property
    def name(self) -> str:
        """The extractor's, with what reads it."""
        return f"{self.extractor.name} + linear SVM"

    @property
    def fingerprint(self) -> str:
        """A hash of the extractor and the weights."""
        digest = hashlib.sha256(self.extractor.fingerprint.encode())
        digest.update(self.weights.tobytes() + self.biases.tobytes())
        return digest.hexdigest()

    def predict(self, samples: Sequence[Sample]) -> list[Annotation]:
        """Return one `Label` a sample."""
        features = self.extractor.extract(samples).astype(np.float64)
        margins = features @ self.weights.T + self.biases
        raised = np.exp(margins - margins.max(axis=1, keepdims=True))
        shares = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
        return [
            Label(size=sample.size, scores=share, classes=self.classes)
            for sample, share in zip(samples, shares, strict=True)
        ]


def extract_all(extractor: FeatureExtractor, samples: SampleSource) -> NDArray[np.float32]:
    """Return the features of many samples (N, D), a batch of samples of one size at a time."""
    parts = [extractor.extract(batch) for batch in _batches(samples)]
    if not parts:
        raise DataError("there is no sample to take features of.")
    return np.concatenate(parts)


def _batches(samples: SampleSource) -> Iterator[list[Sample]]:
    """Yield samples in order, neighbours of one size together; each is read once and not kept."""
    waiting: list[Sample] = []
    for position in range(len(samples)):
        sample = samples[position]
        if waiting and (len(waiting) == _BATCH or sample.size != waiting[0].size):
            yield waiting
            waiting = []
        waiting.append(sample)
    if waiting:
        yield waiting


def _class_of(sample: Sample, classes: tuple[str, ...]) -> int:
    if not isinstance(sample.target, Label):
        raise DataError(f"'{sample.key}' has no label to learn from.")
    return classes.index(sample.target.best.name)


@dataclass(frozen=True, kw_only=True)
class RepeatedAccuracy:
    """Accuracies over draws of the training part (shares); the deviation is that of a sample (n - 1).

    >>> print(RepeatedAccuracy(protocol="nwpu-resisc45-10", method="LBP", seeds=(0, 1), accuracies=(0.80, 0.90)))
    nwpu-resisc45-10, LBP: 85.00 ± 7.07 (2 draws)
    """

    protocol: str
    method: str
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    confusion: tuple[ConfusionMatrix, ...] = field(default=(), compare=False)

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """The standard deviation over the draws, NaN for a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else float("nan")

    def __str__(self) -> str:
        draws = f"{len(self.accuracies)} draw{'s' if len(self.accuracies) != 1 else ''}"
        return f"{self.protocol}, {self.method}: {100 * self.mean:.2f} ± {100 * self.deviation:.2f} ({draws})"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Remembered:
    """An extractor that describes each image once, by its key: the draws of one data set share their images."""

    extractor: FeatureExtractor
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.extractor.name

    @property
    def fingerprint(self) -> str:
        return self.extractor.fingerprint

    def fitted(self, samples: SampleSource) -> FeatureExtractor:
        learned = self.extractor.fitted(samples)
        return self if learned is self.extractor else learned

    def extract(self, samples: Sequence[Sample]) -> NDArray[np.float32]:
        new = [sample for sample in samples if sample.key not in self.vectors]
        if new:
            self.vectors.update(zip((sample.key for sample in new), self.extractor.extract(new), strict=True))
        return np.stack([self.vectors[sample.key] for sample in samples])


def row_shares(matrix: ConfusionMatrix) -> NDArray[np.float64]:
    """Return a confusion matrix with each row divided by its sum (K, K + 1); its diagonal is each class's accuracy.

    >>> from swath.metrics.confusion import ConfusionMatrix
    >>> row_shares(ConfusionMatrix(("a", "b"), np.array([[1, 1, 0], [0, 1, 0]]))).tolist()
    [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]
    """
    true = matrix.true[:, None]
    return np.divide(matrix.counts, true, out=np.zeros(matrix.counts.shape), where=true > 0)


def probe_repeatedly(
    extractor: FeatureExtractor,
    spec: DatasetSpec,
    root: str | Path,
    *,
    seeds: Sequence[int] = tuple(range(10)),
    train: str = "train",
    test: str = "test",
    penalty: float = PENALTY,
    progress: Callable[[int, int], None] | None = None,
) -> RepeatedAccuracy:
    """Fit and test a probe on each draw of a data set whose split is by chance, such as `nwpu-resisc45-10`.

    A data set with fixed lists has one draw: give one seed. Images are described once for all draws where the extractor
    learns nothing. `progress` is told how many draws are done, and of how
    many. Raises `ConfigurationError` for several draws of fixed lists, or the same draw twice.
    """
    if len(set(seeds)) != len(seeds) or not seeds:
        raise ConfigurationError(f"draws need at least one seed, and each another; found {tuple(seeds)}.")
    remembered = _Remembered(extractor=extractor)
    accuracies, matrices = [], []
    for count, seed in enumerate(seeds, start=1):
        drawn = spec if len(seeds) == 1 else drawn_again(spec, seed)
        probe = SvmProbe.fit(remembered, drawn.open(root, train), spec.classes, penalty=penalty, seed=seed)
        metric = ClassificationMetric(spec.classes)
        report = _tested(probe, drawn, root, test, metric)
        accuracies.append(report.figures["accuracy"])
        matrices.append(metric.confusion())
        if progress is not None:
            progress(count, len(seeds))
    return RepeatedAccuracy(
        protocol=spec.name,
        method=f"{extractor.name} + linear SVM",
        seeds=tuple(seeds),
        accuracies=tuple(accuracies),
        confusion=tuple(matrices),
    )


def _tested(probe: SvmProbe, spec: DatasetSpec, root: str | Path, part: str, metric: ClassificationMetric) -> Report:
    protocol = EvaluationProtocol(
        name=f"{spec.name}/svm",
        title="Accuracy of a linear SVM on features",
        dataset=spec,
        split=part,
        metric=lambda classes: metric,  # noqa: ARG005 (the same classes; its confusion matrix is wanted afterwards)
        headlines=("accuracy",),
    )
    return evaluate(probe, protocol, root, batch_size=_BATCH)


def finetune_recipe(*, images: int = 6_300, iterations: int = 15_000, batch_size: int = 50, seed: int = 0) -> Recipe:
    """Return the benchmark's fine-tuning (recalled): SGD at 0.001 and tenfold for the last layer, 15,000 batches of 50.

    `images` is the size of the training part, 6,300 at 20 %. There is no warm-up, and no augmentation but mirror
    images: the paper tells none. Source: sheet, "Architecture", item 4.

    >>> finetune_recipe().epochs, finetune_recipe().head_rate
    (120, 10.0)
    """
    steps = -(-images // batch_size)
    return Recipe(
        epochs=max(1, -(-iterations // steps)),
        batch_size=batch_size,
        learning_rate=1e-3,
        optimiser="sgd",
        momentum=0.9,
        weight_decay=5e-4,
        head_rate=10.0,
        schedule="constant",
        transforms=(RandomFlip(vertical=0.0),),
        watch="accuracy",
        seed=seed,
        workers=1,
    )
