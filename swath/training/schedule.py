"""The learning rate of every step: a linear rise, then the way down; and the stages that a training may have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swath.models.recipe import Stage

if TYPE_CHECKING:
    from swath.models.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class StageSpan:
    """A stage and the epoch, from 0, in which it begins."""

    stage: Stage
    first_epoch: int


def stage_at(recipe: Recipe, epoch: int) -> StageSpan:
    """Return the stage of an epoch, counted from 0; without stages the whole training is one, with nothing frozen.

    >>> from swath.models.recipe import Recipe
    >>> stages = (Stage(epochs=2, frozen=("encoder",)), Stage(epochs=3))
    >>> stage_at(Recipe(epochs=5, batch_size=1, learning_rate=1.0, stages=stages), 2).first_epoch
    2
    """
    first = 0
    for stage in recipe.stages:
        if epoch < first + stage.epochs:
            return StageSpan(stage=stage, first_epoch=first)
        first += stage.epochs
    if recipe.stages:
        return StageSpan(stage=recipe.stages[-1], first_epoch=first - recipe.stages[-1].epochs)
    return StageSpan(stage=Stage(epochs=recipe.epochs), first_epoch=0)


def learning_rate_at(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of optimiser step `step`, counted from 0 over the whole run.

    Over W = round(`warmup_epochs` x `steps_per_epoch`) steps it rises from `warmup_start` x peak, reaching
    the peak at step W; what it does from there on would reach `minimum_learning_rate` at the step after the last.
    With t from 0 to 1 over that time: half a cosine (Loshchilov and Hutter 2017, eq. 5, without restarts), or
    (1 - t)^`power` ("poly"; Chen et al. 2018). "step" multiplies the peak by `factor` at each of the `milestones`,
    in epochs of the stage. Changed once an epoch, each epoch has the rate of its first step.

    >>> from swath.models.recipe import Recipe
    >>> recipe = Recipe(epochs=4, batch_size=1, learning_rate=1.0, warmup_epochs=2, warmup_start=0.5)
    >>> [round(learning_rate_at(recipe, step, 1), 3) for step in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """
    span = stage_at(recipe, step // steps_per_epoch)
    step -= span.first_epoch * steps_per_epoch
    if recipe.schedule_every == "epoch":
        step -= step % steps_per_epoch
    peak = span.stage.learning_rate or recipe.learning_rate
    rising = round(recipe.warmup_epochs * steps_per_epoch)
    if step < rising:
        return peak * (recipe.warmup_start + (1 - recipe.warmup_start) * step / rising)
    if recipe.schedule == "step":
        # Compared in epochs of whole steps, so that a milestone of 3 is the first step of the fourth epoch.
        passed = sum(step >= round(milestone * steps_per_epoch) for milestone in recipe.milestones)
        return max(recipe.minimum_learning_rate, peak * recipe.factor**passed)
    falling = max(1, span.stage.epochs * steps_per_epoch - rising)
    share = min(1.0, (step - rising) / falling)
    return recipe.minimum_learning_rate + (peak - recipe.minimum_learning_rate) * _height(recipe, share)


def _height(recipe: Recipe, share: float) -> float:
    """Return how far above its floor the rate is, 1 to 0, when so much of the way down is gone."""
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    return (1 - share) ** recipe.power if recipe.schedule == "poly" else 1.0
