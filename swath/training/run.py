"""Training on a declared data set: open its parts, check that they fit the model, and run the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Unpack

from swath.errors import ConfigurationError
from swath.training.loop import RunOptions, TrainingResult, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from swath.datasets.spec import Dataset, DatasetSpec
    from swath.models.base import Model
    from swath.models.recipe import Recipe


class TrainingParts(NamedTuple):
    """What a model learns from, and what decides which of its weights are best."""

    learning: Dataset
    validation: Dataset


def open_parts(
    spec: DatasetSpec,
    root: str | Path,
    *,
    validation: str | float = 0.1,
    seed: int = 0,
    cached: bool = False,
) -> TrainingParts:
    """Open the part `train` of a data set, and what to validate on.

    `validation` is the name of a part of the data set, or the share of `train` to hold back, by chance and
    the seed, with places whole and shares kept within classes. `cached` keeps what was read in memory. Raises
    `DataError` for a folder that is not laid out as declared or a part it has not got.
    """
    learning = spec.open(root, "train", cached=cached)
    if isinstance(validation, str):
        return TrainingParts(learning, spec.open(root, validation, cached=cached))
    division = learning.divide(validation, seed=seed)
    return TrainingParts(division.rest, division.held)


def train_from(
    model: Model,
    spec: DatasetSpec,
    root: str | Path,
    recipe: Recipe,
    *,
    folder: str | Path,
    evaluate: Callable[[Model, Dataset], Mapping[str, float]],
    validation: str | float = 0.1,
    cached: bool = False,
    **options: Unpack[RunOptions],
) -> TrainingResult:
    """Train a model on a data set below a folder; `evaluate` measures it on the validation part.

    Parts are opened as `open_parts` says, with the recipe's seed; the options are those of `train`. Raises
    `ConfigurationError` when the data set's classes are not the model's, in order, besides all that `train`
    and `open_parts` raise.
    """
    if model.classes != spec.classes:
        raise ConfigurationError(
            f"the model tells {_told(model.classes)} and '{spec.name}' has {_told(spec.classes)}"
            f"{_first_difference(model.classes, spec.classes)}; build the model with the data set's classes, in order."
        )
    parts = open_parts(spec, root, validation=validation, seed=recipe.seed, cached=cached)
    return train(
        model,
        parts.learning,
        recipe,
        folder=folder,
        evaluate=lambda current: evaluate(current, parts.validation),
        **options,
    )


def _told(classes: tuple[str, ...]) -> str:
    listed = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"{len(classes)} class{'' if len(classes) == 1 else 'es'} ({listed})"


def _first_difference(own: tuple[str, ...], other: tuple[str, ...]) -> str:
    """Say where two lists of one length first differ, which the names shown of them may not."""
    if len(own) != len(other):
        return ""
    number = next(number for number, (one, two) in enumerate(zip(own, other, strict=True)) if one != two)
    return f", number {number + 1} being '{own[number]}' for the model and '{other[number]}' for the data set"
