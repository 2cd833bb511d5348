"""All that has tensors and changes as a model learns: weights, optimiser and average, in however many processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch

from swath.errors import TrainingError
from swath.training.average import WeightAverage
from swath.training.draws import network_seed
from swath.training.layers import layer_scales
from swath.training.optimiser import (
    build_optimiser,
    decay_groups,
    load_optimiser_tensors,
    optimiser_tensors,
    set_learning_rate,
)
from swath.training.placement import place
from swath.training.stages import Freezer
from swath.training.teaching import Teaching

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from swath.models.base import Model
    from swath.models.recipe import Recipe, Stage
    from swath.models.store import StoredModel
    from swath.samples.batch import Batch
    from swath.training.checkpoint import Checkpoint
    from swath.training.distributed import Processes


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """What one step learnt from: the mean of each loss term, and the norm of the gradient before clipping."""

    losses: dict[str, float]
    norm: float

    @property
    def is_finite(self) -> bool:
        """Whether all of these are numbers."""
        return all(math.isfinite(value) for value in (*self.losses.values(), self.norm))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One batch of a step: its number in the epoch, from 1, its samples, and whether its loss was a number."""

    number: int
    keys: tuple[str, ...]
    is_finite: bool


class Learner:
    """A model with its optimiser and the average of its weights, placed in one process or divided among several.

    Every method is called by all processes of the run, in the same order.
    """

    def __init__(self, model: Model, recipe: Recipe, processes: Processes, teacher: StoredModel | None) -> None:
        self.model = model
        self.recipe = recipe
        self.processes = processes
        self.device = model.device
        self.placement = place(model, recipe, processes)
        # From here on the parameters are where the placement has put them.
        self._freezer = Freezer(model, recipe)
        self._groups = decay_groups(model, decay_everything=recipe.decay_everything)
        uneven = (recipe.layer_decay, recipe.head_rate) != (1, 1)
        scales = layer_scales(model, decay=recipe.layer_decay, head_rate=recipe.head_rate) if uneven else None
        self._optimiser = build_optimiser(self._groups, recipe, scales)
        self._names = self._groups.names_in(self._optimiser)
        self._trained = list(self._groups.parameters.values())
        self._teaching = Teaching.of(teacher, model, recipe.teacher_share) if teacher else None
        self.average = WeightAverage(model, decay=recipe.average) if recipe.average else None

    def enter(self, stage: Stage) -> None:
        """Freeze what a stage freezes, and go into training mode."""
        self._freezer.enter(stage)
        self.placement.begin_stage()
        self._freezer.train()

    def step(self, batches: Sequence[Batch], *, rate: float, epoch: int, number: int) -> Gradient:
        """Take step `number` of an epoch, on the mean of these batches over all processes, at a learning rate.

        Raises `TrainingError` for a loss or a gradient that is not finite; no weight has changed then.
        """
        set_learning_rate(self._optimiser, rate)
        gradient = self._gradient(batches, epoch=epoch, number=number)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.placement.finish_step()
        if self.average:
            self.average.update()
        return gradient

    def judged(self) -> AbstractContextManager[Model]:
        """Give a plain model in evaluation mode with the (averaged) weights of now, to validate and to save."""
        self.model.eval()
        return self.placement.judged(self.average)

    def go_on(self) -> None:
        """Go back into training mode."""
        self._freezer.train()

    def end(self) -> None:
        """Leave a plain model with everything thawed."""
        self._freezer.thaw()
        self.placement.end()

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name; all processes take part."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimiser": optimiser_tensors(self._optimiser, self._names),
            "average": self.average.tensors if self.average else {},
        }
        whole = self.placement.whole
        return {f"{part}/{name}": whole(value) for part, named in parts.items() for name, value in named.items()}

    def load(self, checkpoint: Checkpoint, *, averaged: int) -> None:
        """Go on from what `tensors` returned, after so many updates of the average."""
        self.model.load_state_dict(self._placed(checkpoint.part("model"), self.model.state_dict()))
        kept = checkpoint.part("optimiser")
        moments = {name: self._groups.parameters[name.partition("/")[2]] for name in kept if name[:5] != "step/"}
        load_optimiser_tensors(self._optimiser, self._names, kept | self._placed(kept, moments))
        if self.average:
            self.average.load(self._placed(checkpoint.part("average"), self.average.tensors), averaged)

    def _placed(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.placement.placed(tensors[name], place) for name, place in like.items()}

    def _gradient(self, batches: Sequence[Batch], *, epoch: int, number: int) -> Gradient:
        """Leave the clipped mean gradient of the batches of all processes in place and return what it came from."""
        own = self.processes.own
        parts: list[dict[str, Tensor]] = []
        for part, batch in enumerate(batches):
            turn = number * len(batches) + part
            torch.manual_seed(network_seed(self.recipe.seed, epoch, turn * own.world + own.rank))
            with self.placement.gradients(last=part == len(batches) - 1):
                parts.append(self._backward(batch, share=1 / len(batches)))
        terms = dict(parts[0])
        for found in parts[1:]:
            for name, value in found.items():
                terms[name] = terms[name] + value if name in terms else value
        norm = torch.nn.utils.get_total_norm([value.grad for value in self._trained if value.grad is not None])
        means = self.processes.mean(torch.stack(list(terms.values())))
        *losses, whole_norm = torch.cat([means, self.placement.whole(norm).float().reshape(1)]).tolist()
        gradient = Gradient(losses=dict(zip(terms, losses, strict=True)), norm=whole_norm)
        if not gradient.is_finite:
            seen = [
                Seen(
                    number=number * len(batches) + part + 1,
                    keys=batch.keys,
                    is_finite=all(math.isfinite(value.item()) for value in found.values()),
                )
                for part, (batch, found) in enumerate(zip(batches, parts, strict=True))
            ]
            everywhere = list(chain.from_iterable(self.processes.gathered(seen)))
            raise TrainingError(_complaint(gradient, everywhere, epoch=epoch, number=number))
        if self.recipe.clip_gradient_norm:
            torch.nn.utils.clip_grads_with_norm_(self._trained, self.recipe.clip_gradient_norm, norm)
        return gradient

    def _backward(self, batch: Batch, *, share: float) -> dict[str, Tensor]:
        low = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            on_device = batch.to(self.device)
            terms = self.placement.loss(self._teaching(on_device) if self._teaching else on_device)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        torch.autograd.backward(total * share)
        return {name: term.detach().float() * share for name, term in terms.items()}


def _complaint(found: Gradient, seen: Sequence[Seen], *, epoch: int, number: int) -> str:
    """Name the batches whose loss is not finite; all of them where only the gradient is not."""
    suspects = [batch for batch in seen if not batch.is_finite] or seen
    keys = [key for batch in suspects for key in batch.keys]
    shown = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
    numbers = " and ".join(str(turn) for turn in sorted({batch.number for batch in suspects}))
    told = ", ".join(f"{name} {value:.4g}" for name, value in found.losses.items())
    return (
        f"the loss or its gradient is no finite number in epoch {epoch + 1}, step {number + 1}, batch {numbers} "
        f"({told}; gradient norm {found.norm:.4g}; samples {shown}); look at these samples, lower the learning "
        "rate, or set clip_gradient_norm."
    )
