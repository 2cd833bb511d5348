"""Classes that are rare: how often each occurs, and what that means for the loss and for the draw of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from swath.datasets.spec import Dataset
from swath.errors import ConfigurationError
from swath.samples.labels import Label
from swath.samples.objects import Objects
from swath.samples.rasters import ClassMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.models.base import Model
    from swath.models.recipe import Recipe
    from swath.samples.annotation import Annotation
    from swath.training.feeding import SampleSource


@runtime_checkable
class WeighsClasses(Protocol):
    """A model whose loss can weigh its classes."""

    def weigh_classes(self, weights: tuple[float, ...]) -> None:
        """Let each class count by its weight, in the order of the model's classes, from the next loss on."""
        ...


def count_classes(data: SampleSource, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Return how much of each class is in each sample, (N, K): its label's scores, pixels, or objects.

    No image is read where the data set's layout tells the class of each. Raises `ConfigurationError` for truth that
    is of no class, or of other classes.
    """
    if isinstance(data, Dataset):
        labels = [record.label for record in data.records]
        if set(labels) <= set(classes):
            return np.array([[label == name for name in classes] for label in labels], dtype=np.float64)
    counts = np.zeros((len(data), len(classes)))
    for index in range(len(data)):
        sample = data[index]
        counts[index] = _amounts(sample.target, classes, sample.key)
    return counts


def sampling_shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return with which probability (N,) to draw each sample, so that all classes are drawn alike.

    Each class that occurs has the same share, which its samples divide by how much of it they have. Samples with
    nothing in them are a class of their own.

    >>> sampling_shares(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).tolist()
    [0.25, 0.25, 0.5]
    """
    nothing = counts.sum(axis=1, keepdims=True) == 0
    amounts = np.concatenate([counts, nothing], axis=1)
    amounts = amounts[:, amounts.any(axis=0)]
    shares: NDArray[np.float64] = (amounts / amounts.sum(axis=0)).mean(axis=1)
    return shares


def balanced_weights(counts: NDArray[np.float64]) -> tuple[float, ...]:
    """Return a weight for each class: all there is, divided by the number of classes and by what there is of it.

    A class that does not occur weighs 1.

    >>> balanced_weights(np.array([[3.0, 1.0]]))
    (0.6666666666666666, 2.0)
    """
    amounts = counts.sum(axis=0)
    present = amounts > 0
    mean = amounts.sum() / max(present.sum(), 1)
    return tuple(float(mean / amount) if amount else 1.0 for amount in amounts)


def balance(model: Model, data: SampleSource, recipe: Recipe) -> NDArray[np.float64] | None:
    """Weigh the classes of the model's loss as the recipe says, and return the shares of sampling, if it has them.

    Raises `ConfigurationError` for a model that cannot weigh classes and for another number of weights.
    """
    counted = recipe.balance_classes or recipe.class_weights == "balanced"
    counts = count_classes(data, model.classes) if counted else np.empty((0, len(model.classes)))
    if recipe.class_weights:
        _weigh(model, balanced_weights(counts) if recipe.class_weights == "balanced" else recipe.class_weights)
    return sampling_shares(counts) if recipe.balance_classes else None


def _weigh(model: Model, weights: tuple[float, ...]) -> None:
    if not isinstance(model, WeighsClasses):
        raise ConfigurationError(
            f"recipe: 'class_weights' are for models that weigh the classes in their loss, and {type(model).__name__} "
            "does not; set them to (), or balance the samples with balance_classes."
        )
    if len(weights) != len(model.classes):
        raise ConfigurationError(
            f"recipe: 'class_weights' are {len(weights)} numbers and the model tells {len(model.classes)} classes; "
            "give one a class."
        )
    model.weigh_classes(weights)


def _amounts(target: Annotation | None, classes: tuple[str, ...], key: str) -> NDArray[np.float64]:
    if not isinstance(target, (Label, ClassMap, Objects)):
        raise ConfigurationError(
            f"recipe: 'balance_classes' and balanced 'class_weights' count classes, and the truth of {key} is "
            f"{'missing' if target is None else 'a ' + type(target).__name__}; turn them off."
        )
    if target.classes != classes:
        raise ConfigurationError(
            f"the truth of {key} has the classes {', '.join(target.classes)} and the model tells "
            f"{', '.join(classes)}; build the model with the data set's classes, in order."
        )
    if isinstance(target, Label):
        return target.scores.astype(np.float64)
    labels = target.labels[target.known()] if isinstance(target, ClassMap) else target.labels
    return np.bincount(labels.ravel(), minlength=len(classes)).astype(np.float64)
