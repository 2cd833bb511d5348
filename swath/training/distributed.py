"""The processes of one run, as `torchrun` starts them: who this one is, and what they tell each other.

Averages of gradients and losses travel by NCCL between GPUs and by gloo between CPUs; plain values, such as what a
validation found, always by gloo, where nobody loses patience while the first process is at work.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from swath.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor
    from torch.distributed import ProcessGroup

Value = TypeVar("Value")

_PATIENCE = timedelta(days=1)
"""How long processes wait for one that validates or reads; one that died is noticed at once."""
_starts = 0
"""How often this process has joined others; each time they meet under new names."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """One of `world` processes: `rank` among all of them, `local_rank` among those of its machine.

    >>> Process.from_environment({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"})
    Process(rank=3, world=4, local_rank=1)
    >>> Process.from_environment({}).is_main
    True
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Process:
        """Read what torchrun tells each process; without it there is one process.

        Raises `ConfigurationError` for values that are no whole numbers or do not fit each other.
        """
        told = os.environ if environment is None else environment
        if "RANK" not in told or "WORLD_SIZE" not in told:
            return cls()
        try:
            found = cls(
                rank=int(told["RANK"]), world=int(told["WORLD_SIZE"]), local_rank=int(told.get("LOCAL_RANK", "0"))
            )
        except ValueError:
            found = cls(rank=-1)
        if not 0 <= found.rank < found.world or found.local_rank < 0:
            shown = ", ".join(f"{name}={told.get(name, '')}" for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
            raise ConfigurationError(f"the environment names no process of a group ({shown}); start with torchrun.")
        return found

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and validates."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Return the device of this process; `auto` is a GPU where there are any, `cuda` the one of its number.

        >>> Process().device("cpu")
        device(type='cpu')
        """
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device("cuda", self.local_rank) if name == "cuda" and self.world > 1 else torch.device(name)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those of its run; every method is called by all of them, in the same order.

    With one process each method gives back what it got.

    >>> alone = Processes(own=Process())
    >>> alone.mean(torch.ones(2)).tolist(), alone.from_main("x"), alone.gathered(3)
    ([1.0, 1.0], 'x', [3])
    """

    own: Process
    control: ProcessGroup | None = None
    """The group by which plain values travel; None for one process."""

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes, the same bits in all of them."""
        if self.own.world == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.own.world

    def from_main(self, value: Value) -> Value:
        """Return the value of the main process; all wait for it."""
        if self.own.world == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def gathered(self, value: Value) -> list[Value]:
        """Return the values of all processes by rank."""
        if self.own.world == 1:
            return [value]
        values: list[Value] = [value] * self.own.world
        distributed.all_gather_object(values, value, group=self.control)
        return values

    def wait(self) -> None:
        """Wait until all are here."""
        self.from_main(None)

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Fill tensors with those of the main process."""
        if self.own.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor.detach(), src=0)


@contextmanager
def joined(process: Process, device: torch.device) -> Iterator[Processes]:
    """Join the processes of a run for a while; a group that was there before stays when this ends."""
    if process.world == 1:
        yield Processes(own=process)
        return
    own_group = not distributed.is_initialized()
    if own_group:
        _start(process, device)
    control = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    try:
        yield Processes(own=process, control=control)
    finally:
        distributed.destroy_process_group(None if own_group else control)


def _start(process: Process, device: torch.device) -> None:
    global _starts
    _starts += 1
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        # torchrun's store outlives a group: without names of their own, a second one would find the first one's.
        store, _, _ = next(rendezvous("env://"))
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore(f"swath/{_starts}", store),
            rank=process.rank,
            world_size=process.world,
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"process {process.rank} of {process.world} cannot join the others ({str(error).splitlines()[0]}); "
            "start all of them with torchrun."
        ) from error
