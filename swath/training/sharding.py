"""A model whose weights, gradients and optimiser state are divided among processes (FSDP2)."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from swath.training.layers import blocks_of
from swath.training.placement import Placement, average_statistics, share_start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

    from swath.models.base import Model
    from swath.training.average import WeightAverage
    from swath.training.distributed import Processes


class Sharded(Placement):
    """Every process holds a part of each weight; a block's weights are gathered while it computes (Zhao et al. 2023).

    The network's blocks must be called as modules. What is validated and saved is a plain twin of the model that the
    main process fills, so its memory must hold the weights once more.
    """

    def __init__(self, model: Model, processes: Processes) -> None:
        super().__init__(model)
        self._processes = processes
        share_start(model, processes)
        # FSDP divides plain weights only; with channels_last, the images alone have that layout.
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._device = model.device
        mesh = init_device_mesh(self._device.type, (processes.own.world,))
        for block in blocks_of(model.network):
            fully_shard(block, mesh=mesh)
        self._network = fully_shard(model.network, mesh=mesh)

    def gradients(self, *, last: bool) -> AbstractContextManager[None]:
        """Exchange gradients after the last pass of a step only."""
        self._network.set_requires_gradient_sync(last)
        return nullcontext()

    def finish_step(self) -> None:
        """Average the running statistics of the norms."""
        average_statistics(self.model, self._processes)

    def whole(self, value: Tensor) -> Tensor:
        """Gather a tensor from all processes."""
        return value.full_tensor().detach() if isinstance(value, DTensor) else value

    def placed(self, value: Tensor, like: Tensor) -> Tensor:
        """Return this process's part of a whole tensor."""
        if not isinstance(like, DTensor):
            return value
        return distribute_tensor(value.detach().to(like.device), like.device_mesh, like.placements)

    @contextmanager
    def judged(self, average: WeightAverage | None) -> Iterator[Model]:
        """Fill the main process's twin; the others, which do not judge, get the model as it is."""
        averaged = average.tensors if average else {}
        gathered = {
            name: self.whole(averaged.get(f"network.{name}", value))
            for name, value in self.model.network.state_dict().items()
        }
        if not self._processes.own.is_main:
            yield self.model
            return
        self._twin.network.load_state_dict(gathered)
        self._twin.eval()
        yield self._twin

    def end(self) -> None:
        """Give the model a plain network again, frozen where it was."""
        learns = {name: value.requires_grad for name, value in self.model.network.named_parameters()}
        for name, value in self._twin.network.named_parameters():
            value.requires_grad_(learns[name])
        self.model.network = self._twin.network

    @cached_property
    def _twin(self) -> Model:
        return type(self.model).from_config(self.model.config).to(self._device)
