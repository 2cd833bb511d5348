"""Where a model's weights are while it learns: in one process, copied to several, or divided among them."""

from __future__ import annotations

import inspect
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

    from swath.models.base import Model
    from swath.models.recipe import Recipe
    from swath.samples.batch import Batch
    from swath.training.average import WeightAverage
    from swath.training.distributed import Processes

# Torch 2.13 gave this switch another name.
_NO_BUFFERS: dict[str, Any] = {
    next(
        name
        for name in ("forward_sync_buffers", "broadcast_buffers")
        if name in inspect.signature(DistributedDataParallel).parameters
    ): False
}


class Placement:
    """One process that holds the whole model; what several processes do otherwise, subclasses say."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def begin_stage(self) -> None:
        """Take note of which weights are frozen from now on; called before the first loss."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on this process's batch."""
        return self.model.loss(batch)

    def gradients(self, *, last: bool) -> AbstractContextManager[None]:
        """Surround one forward and backward pass; gradients are exchanged after the last of a step only."""
        del last
        return nullcontext()

    def finish_step(self) -> None:
        """Let all processes have the same statistics after a step."""

    def whole(self, value: Tensor) -> Tensor:
        """Return a tensor of which this process may hold a part as a whole."""
        return value

    def placed(self, value: Tensor, like: Tensor) -> Tensor:
        """Return this process's part of a whole tensor, on the device of `like` and divided as it is."""
        del like
        return value

    @contextmanager
    def judged(self, average: WeightAverage | None) -> Iterator[Model]:
        """Give a plain model with the averaged weights, or those of now, to validate and to save."""
        with average.in_place() if average else nullcontext():
            yield self.model

    def end(self) -> None:
        """Leave a plain model, whose weights may be any."""


class Copied(Placement):
    """Every process holds the whole model, and gradients are averaged as they arise (DDP; Li et al. 2020).

    On GPUs, batch norms become SyncBatchNorm and see the batches of all processes; on CPUs, for which torch has none,
    each process normalises by its own batch. Running statistics are averaged after every step.
    """

    def __init__(self, model: Model, processes: Processes) -> None:
        super().__init__(model)
        self._processes = processes
        share_start(model, processes)

    def begin_stage(self) -> None:
        """Wrap the model anew, since which weights have gradients is settled when it is wrapped."""
        # All have the same weights already. Published networks hold weights that no loss reaches, hence the search.
        self._copies = DistributedDataParallel(
            _Loss(self.model), init_sync=False, find_unused_parameters=True, **_NO_BUFFERS
        )

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on this process's batch."""
        terms: dict[str, Tensor] = self._copies(batch)
        return terms

    def gradients(self, *, last: bool) -> AbstractContextManager[None]:
        """Surround one forward and backward pass; gradients are exchanged after the last of a step only."""
        return nullcontext() if last else self._copies.no_sync()

    def finish_step(self) -> None:
        """Average the running statistics of the norms."""
        average_statistics(self.model, self._processes)


class _Loss(nn.Module):
    """The loss of a model as a module's forward pass, which is where DDP looks."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss."""
        return self.model.loss(batch)


def place(model: Model, recipe: Recipe, processes: Processes) -> Placement:
    """Place a model as the recipe and the number of processes ask for."""
    if processes.own.world == 1:
        return Placement(model)
    if recipe.shard:
        # Only here, since it takes a second to import.
        from swath.training.sharding import Sharded

        return Sharded(model, processes)
    return Copied(model, processes)


def share_start(model: Model, processes: Processes) -> None:
    """Start all processes from the weights of the main one, with norms over all their batches on GPUs."""
    processes.copy_from_main([*model.parameters(), *model.buffers()])
    if model.device.type == "cuda":
        model.network = nn.SyncBatchNorm.convert_sync_batchnorm(model.network)  # type: ignore[no-untyped-call]


def average_statistics(model: Model, processes: Processes) -> None:
    """Average the running means and variances of batch norms over the processes."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._NormBase) and part.training]
    values = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
    if values:
        means = processes.mean(torch.cat(values))
        for value, mean in zip(values, torch.split(means, [len(value) for value in values]), strict=True):
            value.copy_(mean)
