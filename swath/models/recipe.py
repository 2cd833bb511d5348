"""A recipe: how a model is trained, as a frozen dataclass that lives beside its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swath.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from swath.samples.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Epochs, batch, optimiser, schedule, augmentation and when to stop.

    The learning rate rises linearly over `warmup_epochs` from `warmup_start` times its peak and then falls on a
    cosine to `minimum_learning_rate`. `accumulate` batches make one step. Weight decay spares norms and biases unless
    `decay_everything`. `average` is the decay of an exponential moving average of the weights (0 for none), which is
    then what is validated and kept. `watch` names the figure that decides which weights
    are kept (the first one measured when empty; less is better with a leading `-`), and `patience` counts validations
    without its improvement (0: never stop). `mix_share` of the batches are mixed
    (by `mixup` or `cutmix`, where set). With a teacher, `teacher_share` of each label is the teacher's answer.

    >>> Recipe(epochs=3, batch_size=8, learning_rate=1e-3).steps_per_epoch(samples=20)
    3
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    decay_everything: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_epochs: float = 0.0
    warmup_start: float = 1e-3
    minimum_learning_rate: float = 0.0
    accumulate: int = 1
    clip_gradient_norm: float = 0.0
    average: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    transforms: tuple[Callable[[Sample, np.random.Generator], Sample], ...] = ()
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_share: float = 1.0
    teacher_share: float = 0.0
    validate_every: int = 1
    watch: str = ""
    patience: int = 0
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"recipe: '{name}' must be at least 1; found {getattr(self, name)}.")
        for name in ("mix_share", "teacher_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"recipe: '{name}' must be 0 to 1; found {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ConfigurationError(f"recipe: 'learning_rate' must be positive; found {self.learning_rate}.")

    def steps_per_epoch(self, samples: int) -> int:
        """Return how many optimiser steps an epoch of `samples` takes."""
        return -(-samples // (self.batch_size * self.accumulate))
