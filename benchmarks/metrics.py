"""Accumulating the figures of segmentation, change and classification against scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score

from benchmarks.measure import best_seconds
from swath.geometry.windows import Size
from swath.metrics.base import Metric
from swath.metrics.change import ChangeMetric
from swath.metrics.classification import ClassificationMetric
from swath.metrics.segmentation import SegmentationMetric
from swath.samples.annotation import Annotation
from swath.samples.labels import Label
from swath.samples.rasters import CHANGE_CLASSES, ClassMap

UNKNOWN = 255
UNKNOWN_SHARE, WRONG_SHARE = 0.05, 0.2
SCENES = 5000


@dataclass(frozen=True)
class Pair:
    """What was said and what is true."""

    said: Annotation
    true: Annotation


@dataclass(frozen=True)
class Comparison:
    """A metric with its pairs, and the same as class numbers, said and true, a tile at a time or all at once."""

    what: str
    metric: Metric
    pairs: Sequence[Pair]
    numbers: Callable[[], Sequence[tuple[np.ndarray, np.ndarray]]]
    classes: int

    def ours(self) -> Mapping[str, float]:
        self.metric.reset()
        for pair in self.pairs:
            self.metric.update(pair.said, pair.true)
        return self.metric.compute()

    def theirs(self) -> Mapping[str, float]:
        """Add up a confusion matrix a tile, and read the figures off its cells, weighed by their counts."""
        total = np.zeros((self.classes, self.classes), np.int64)
        for said, true in self.numbers():
            known = true != UNKNOWN
            total += confusion_matrix(true[known], said[known], labels=range(self.classes))
        true, said = (places.ravel() for places in np.indices(total.shape))
        weights = total.ravel()
        f1 = f1_score(true, said, labels=range(self.classes), average=None, sample_weight=weights, zero_division=0)
        return {
            "accuracy": float(np.trace(total) / total.sum()),
            "F1": float(f1.mean()),
            "F1 of the last": float(f1[-1]),
            "Cohen's kappa": float(cohen_kappa_score(true, said, sample_weight=weights)),
        }


def report(*, tiles: int, pixels: int, repeats: int) -> None:
    """Print the time of both for each kind, once their figures are equal."""
    comparisons = (
        segmentation(2, tiles, pixels),
        segmentation(16, tiles, pixels),
        change(tiles, pixels),
        classification(16, SCENES),
    )
    for comparison in comparisons:
        check_equal(comparison)
    print(f"\nFigures over whole sets (best of {repeats}, CPU time); figures are equal")
    for comparison in comparisons:
        ours = best_seconds(comparison.ours, repeats)
        theirs = best_seconds(comparison.theirs, repeats)
        print(f"  {comparison.what:54} swath {ours:7.3f} s  scikit-learn {theirs:7.3f} s ({theirs / ours:.1f}x)")


def check_equal(comparison: Comparison) -> None:
    """Raise unless accuracy, F1 and Cohen's kappa are the same, of those that the metric gives."""
    ours, theirs, last = comparison.ours(), comparison.theirs(), f"F1 (class {_names(comparison.classes)[-1]})"
    ways = {
        "overall accuracy": "accuracy",
        "accuracy": "accuracy",
        "mean F1": "F1",
        "macro F1": "F1",
        "F1 (class changed)": "F1 of the last",
        last: "F1 of the last",
        "Cohen's kappa": "Cohen's kappa",
    }
    compared = {name: (ours[name], theirs[other]) for name, other in ways.items() if name in ours}
    for name, (one, other) in compared.items():
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12):
            raise AssertionError(f"{comparison.what}: {name} is {one}, scikit-learn has {other}")
    if len(compared) < 3:
        raise AssertionError(f"{comparison.what}: only {', '.join(compared)} could be compared")


def segmentation(classes: int, tiles: int, pixels: int) -> Comparison:
    names = _names(classes)
    return _of_maps(
        f"segmentation, {tiles} tiles of {pixels} px, {classes} classes",
        SegmentationMetric(names),
        names,
        tiles,
        pixels,
    )


def change(tiles: int, pixels: int) -> Comparison:
    metric = ChangeMetric(CHANGE_CLASSES)
    return _of_maps(f"change, {tiles} tiles of {pixels} px", metric, CHANGE_CLASSES, tiles, pixels)


def classification(classes: int, images: int) -> Comparison:
    """Scores of every class and one true class an image; scikit-learn gets all best classes at once."""
    names, generator = _names(classes), np.random.default_rng(0)
    truth = generator.integers(classes, size=images)
    scores = generator.random((images, classes), dtype=np.float32)
    scores[np.arange(images), truth] += 0.8
    scores /= scores.sum(axis=1, keepdims=True)
    size = Size(64, 64)
    pairs = [
        Pair(Label(size=size, scores=row, classes=names), Label.of(names[place], names, size))
        for row, place in zip(scores, truth, strict=True)
    ]

    def numbers() -> Sequence[tuple[np.ndarray, np.ndarray]]:
        return [(np.array([pair.said.scores.argmax() for pair in pairs]), truth)]

    return Comparison(
        f"classification, {images} images, {classes} classes", ClassificationMetric(names), pairs, numbers, classes
    )


def _of_maps(what: str, metric: Metric, names: tuple[str, ...], tiles: int, pixels: int) -> Comparison:
    """Maps of areas as land cover has them, a fifth of the pixels wrong and a twentieth unknown."""
    generator = np.random.default_rng(0)
    field = gaussian_filter(generator.standard_normal((pixels, pixels)), max(pixels / 32, 1))
    ranks = field.ravel().argsort().argsort().reshape(field.shape)
    areas = (ranks * len(names) // field.size).astype(np.uint8)
    size, pairs = Size(pixels, pixels), []
    for _ in range(tiles):
        draw = generator.random((pixels, pixels), dtype=np.float32)
        true = np.roll(areas, tuple(generator.integers(pixels, size=2)), (0, 1))
        other = generator.integers(len(names), size=true.shape, dtype=np.uint8)
        said = np.where(draw < WRONG_SHARE, other, true)
        true = np.where(draw > 1 - UNKNOWN_SHARE, np.uint8(UNKNOWN), true)
        said, true = (ClassMap(size=size, labels=labels, classes=names) for labels in (said, true))
        pairs.append(Pair(said, true))

    def numbers() -> Sequence[tuple[np.ndarray, np.ndarray]]:
        return [(pair.said.labels, pair.true.labels) for pair in pairs]

    return Comparison(what, metric, pairs, numbers, len(names))


def _names(classes: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(classes))
