"""An exponential moving average of the weights, which generalises better than the last step's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn


class WeightAverage:
    """Average a <- d a + (1 - d) w after every step, with d = min(decay, (1 + t) / (10 + t)) at update t from
    1.

    The ramp keeps the first, random weights from weighing on a short run. Running statistics (buffers of
    floats) are averaged alike; whole-number buffers are copied. Frozen weights are left alone.

    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(layer, decay=0.9)
    >>> with torch.no_grad():
    ...     start = layer.weight.item()
    ...     _ = layer.weight.add_(1.0)
    >>> average.update()
    >>> round(average.tensors["weight"].item() - start, 4)  # d = 2/11
    0.8182
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live: dict[str, Tensor] = {
            name: value for name, value in module.named_parameters() if value.requires_grad
        }
        self._live.update(module.named_buffers())
        self.tensors = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of now."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in self._live.items():
            if value.is_floating_point():
                self.tensors[name].lerp_(value.detach(), weight)
            else:
                self.tensors[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the module have the averaged weights for a while; no number is copied."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Go on from averages that were stored after so many updates."""
        self.updates = updates
        for name, value in tensors.items():
            self.tensors[name].copy_(value)

    def _exchange(self) -> None:
        for name, value in self._live.items():
            value.data, self.tensors[name] = self.tensors[name], value.data
