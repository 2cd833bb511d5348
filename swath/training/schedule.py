"""The learning rate of every step: a linear rise, then half a cosine down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swath.models.recipe import Recipe


def learning_rate_at(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of optimiser step `step`, counted from 0 over the whole run.

    Over W = round(`warmup_epochs` x `steps_per_epoch`) steps it rises from `warmup_start` x peak, reaching
    the peak at step W; from there on it follows half a cosine (Loshchilov and Hutter 2017, eq. 5, without
    restarts) that would reach `minimum_learning_rate` at the step after the last.

    >>> from swath.models.recipe import Recipe
    >>> recipe = Recipe(epochs=4, batch_size=1, learning_rate=1.0, warmup_epochs=2, warmup_start=0.5)
    >>> [round(learning_rate_at(recipe, step, 1), 3) for step in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """
    peak, floor = recipe.learning_rate, recipe.minimum_learning_rate
    rising = round(recipe.warmup_epochs * steps_per_epoch)
    if step < rising:
        return peak * (recipe.warmup_start + (1 - recipe.warmup_start) * step / rising)
    falling = max(1, recipe.epochs * steps_per_epoch - rising)
    share = min(1.0, (step - rising) / falling)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * share))
