"""A recipe: how a model is trained, as a frozen dataclass that lives beside its model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from swath.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from swath.samples.sample import Sample

Optimiser = Literal["adamw", "adam", "sgd"]
"""AdamW (decoupled weight decay), Adam and SGD with momentum (weight decay as part of the gradient)."""
Schedule = Literal["cosine", "poly", "step", "constant"]
"""How the learning rate falls after the warm-up."""
Rhythm = Literal["step", "epoch"]
"""How often the learning rate changes."""
Kept = Literal["best", "last"]
"""Whether the weights that validated best are kept, or those of the last epoch."""
Precision = Literal["float32", "bfloat16"]
"""What the network computes in; weights and loss stay 32-bit floats."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a training: how many epochs, what is frozen in it, and its own peak of the learning rate.

    `frozen` names parts of the network, such as `encoder` or `backbone.layers.0`; their weights and their norms'
    statistics stay as they are. Without a `learning_rate` it is the recipe's. Every stage runs through the whole
    schedule, warm-up included.

    >>> Stage(epochs=5, frozen=("encoder",), learning_rate=1e-3).frozen
    ('encoder',)
    """

    epochs: int
    frozen: tuple[str, ...] = ()
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigurationError(f"stage: 'epochs' must be at least 1; found {self.epochs}.")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise ConfigurationError(f"stage: 'learning_rate' must be positive; found {self.learning_rate}.")
        if isinstance(self.frozen, str):
            raise ConfigurationError(f"stage: 'frozen' is a tuple of names; write ('{self.frozen}',).")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Epochs, batch, optimiser, schedule, augmentation and when to stop.

    Batch: `accumulate` batches of `batch_size` make one step, in each of the processes that `torchrun` starts.
    `sizes` are sides in pixels, of which each batch draws one, to which its samples are resized together. With
    `balance_classes` the samples of an epoch are drawn, with replacement, such that every class is as frequent as any
    other. `mix_share` of the batches are mixed (by `mixup` or `cutmix`, where set). With a teacher, `teacher_share` of
    each label is the teacher's answer.

    Optimiser: `betas` are those of Adam and AdamW, `momentum` is that of SGD. Weight decay spares norms and biases
    unless `decay_everything`. With a `layer_decay` below 1 the learning rate of each layer is so much lower than that
    of the next, and that of the last layer, the head, is multiplied by `head_rate`. `class_weights` weigh the classes
    in the loss: one number a class in order, or by name (1 for classes that are not named), or "balanced" for weights
    that make up for how often each occurs in the training part. `average` is the decay of an exponential moving average
    of the weights (0 for none), which is then what is validated and kept.

    Schedule: the learning rate rises linearly over `warmup_epochs` from `warmup_start` times its peak and then falls to
    `minimum_learning_rate`: on a cosine, as the `power` of what is left (poly), by `factor` at each of the `milestones`
    in epochs (step), or not at all (constant). It changes at every step, or once an epoch as `schedule_every` says.
    `stages` divide the epochs into parts with frozen weights.

    Means: `precision`, `channels_last`, `compile` (torch.compile) and `gradient_checkpointing` (blocks are computed
    anew for the gradient instead of being remembered) trade time and memory. `shard` divides weights, gradients and
    the optimiser's state among processes (FSDP2), which otherwise hold copies (DDP).

    Validation: `watch` names the figure that decides which weights are kept (the first one measured when empty; less is
    better with a leading `-`), `keep_best` says how many of the best, and `patience` counts validations without its
    improvement (0: never stop). With `keep` "last", the weights of the last epoch are kept whatever they measure, as
    in papers that report the last epoch.

    Raises `ConfigurationError` for values that mean nothing.

    >>> Recipe(epochs=3, batch_size=8, learning_rate=1e-3).steps_per_epoch(samples=20)
    3
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimiser: Optimiser = "adamw"
    weight_decay: float = 0.0
    decay_everything: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    layer_decay: float = 1.0
    head_rate: float = 1.0
    schedule: Schedule = "cosine"
    schedule_every: Rhythm = "step"
    warmup_epochs: float = 0.0
    warmup_start: float = 1e-3
    minimum_learning_rate: float = 0.0
    power: float = 0.9
    milestones: tuple[float, ...] = ()
    factor: float = 0.1
    stages: tuple[Stage, ...] = ()
    accumulate: int = 1
    clip_gradient_norm: float = 0.0
    average: float = 0.0
    precision: Precision = "float32"
    channels_last: bool = False
    compile: bool = False
    gradient_checkpointing: bool = False
    shard: bool = False
    transforms: tuple[Callable[[Sample, np.random.Generator], Sample], ...] = ()
    sizes: tuple[int, ...] = ()
    balance_classes: bool = False
    class_weights: tuple[float, ...] | Mapping[str, float] | Literal["balanced"] = ()
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_share: float = 1.0
    teacher_share: float = 0.0
    validate_every: int = 1
    watch: str = ""
    keep: Kept = "best"
    keep_best: int = 1
    patience: int = 0
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, kind in (
            ("optimiser", Optimiser),
            ("schedule", Schedule),
            ("schedule_every", Rhythm),
            ("precision", Precision),
            ("keep", Kept),
        ):
            if getattr(self, name) not in get_args(kind):
                raise ConfigurationError(
                    f"recipe: '{name}' must be {' or '.join(get_args(kind))}; found '{getattr(self, name)}'."
                )
        self._check_milestones()
        if self.stages and sum(stage.epochs for stage in self.stages) != self.epochs:
            raise ConfigurationError(
                f"recipe: the stages have {sum(stage.epochs for stage in self.stages)} epochs and 'epochs' is "
                f"{self.epochs}; make them equal."
            )
        self._check_class_weights()
        if self.keep == "last" and self.patience:
            raise ConfigurationError(
                f"recipe: 'patience' is {self.patience} and 'keep' is 'last'; weights of the last epoch are kept of "
                "trainings that run to their end: set patience to 0, or keep to 'best'."
            )
        if self.compile and (self.shard or self.gradient_checkpointing):
            other = "shard" if self.shard else "gradient_checkpointing"
            raise ConfigurationError(f"recipe: 'compile' and '{other}' do not go together; choose one of them.")

    def steps_per_epoch(self, samples: int) -> int:
        """Return how many optimiser steps an epoch of `samples` takes one process."""
        return -(-samples // (self.batch_size * self.accumulate))

    def _check_numbers(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "validate_every", "keep_best"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"recipe: '{name}' must be at least 1; found {getattr(self, name)}.")
        for name in ("mix_share", "teacher_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"recipe: '{name}' must be 0 to 1; found {getattr(self, name)}.")
        for name in ("momentum", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"recipe: '{name}' must be 0 to below 1; found {getattr(self, name)}.")
        for name in ("layer_decay", "factor"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigurationError(f"recipe: '{name}' must be above 0 to 1; found {getattr(self, name)}.")
        for name in ("learning_rate", "power", "head_rate"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"recipe: '{name}' must be positive; found {getattr(self, name)}.")
        if any(side < 1 for side in self.sizes):
            raise ConfigurationError(f"recipe: 'sizes' are sides of at least 1 pixel; found {self.sizes}.")

    def _check_class_weights(self) -> None:
        weights = self.class_weights
        if weights == "balanced":
            return
        numbers = weights.values() if isinstance(weights, Mapping) else weights
        if isinstance(weights, str) or any(not 0 <= weight < math.inf for weight in numbers):
            raise ConfigurationError(
                f"recipe: 'class_weights' are numbers of at least 0, or 'balanced'; found {weights!r}."
            )

    def _check_milestones(self) -> None:
        if bool(self.milestones) != (self.schedule == "step"):
            raise ConfigurationError(
                f"recipe: 'schedule' is {self.schedule} and 'milestones' are {self.milestones}; the schedule 'step' "
                "needs milestones and no other takes them."
            )
        if any(after <= before for before, after in pairwise((0.0, *self.milestones))):
            raise ConfigurationError(f"recipe: 'milestones' must rise from above 0; found {self.milestones}.")
