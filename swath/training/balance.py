"""Classes that are rare: how often each occurs, and what that means for the loss and for the draw of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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

    Weights of an earlier training are forgotten. Raises `ConfigurationError` for a model that cannot weigh classes, for
    another number of weights, for weights of classes that the model does not tell, and for weights that are all 0.
    """
    counted = recipe.balance_classes or recipe.class_weights == "balanced"
    counts = count_classes(data, model.classes) if counted else np.empty((0, len(model.classes)))
    weights = _weights(recipe, counts, model.classes)
    if weights or model.loss_by_output:
        model.weigh_classes(weights)
    return sampling_shares(counts) if recipe.balance_classes else None


def _weights(recipe: Recipe, counts: NDArray[np.float64], classes: tuple[str, ...]) -> tuple[float, ...]:
    """Return the weight of each class in order, or nothing where the recipe has none."""
    if not recipe.class_weights:
        return ()
    if recipe.class_weights == "balanced":
        return balanced_weights(counts)
    if isinstance(recipe.class_weights, Mapping):
        unknown = [name for name in recipe.class_weights if name not in classes]
        if unknown:
            raise ConfigurationError(
                f"recipe: 'class_weights' name {', '.join(unknown)}, and the model tells {', '.join(classes)}; "
                "name some of these."
            )
        weights = tuple(float(recipe.class_weights.get(name, 1.0)) for name in classes)
    else:
        weights = recipe.class_weights
    if len(weights) != len(classes):
        raise ConfigurationError(
            f"recipe: 'class_weights' are {len(weights)} numbers and the model tells {len(classes)} classes; "
            "give one a class."
        )
    if not any(weights):
        raise ConfigurationError("recipe: 'class_weights' are all 0, which leaves nothing to learn; raise one of them.")
    return weights


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
