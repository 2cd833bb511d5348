"""A half-finished run on disk: one safetensors file of tensors, with the numbers as JSON in its header.

One file cannot disagree with itself, whenever the process is killed; and nothing in it can run code.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from swath.errors import ResumeMismatch

if TYPE_CHECKING:
    from torch import Tensor

_HEADER = "swath_training"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Tensors by name and everything else as plain JSON values."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below `prefix/`, with that prefix taken off.

        >>> import torch
        >>> tensors = {"model/w": torch.ones(1), "average/w": torch.ones(1)}
        >>> list(Checkpoint(tensors=tensors, numbers={}).part("model"))
        ['w']
        """
        start = prefix + "/"
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file beside its place and move it there in one go, so that there is always a whole one."""
    unfinished = path.with_name(path.name + ".unfinished")
    # Clones, since safetensors refuses tensors that share memory, as tied weights do.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.tensors.items()}
    save_file(tensors, unfinished, metadata={_HEADER: json.dumps(checkpoint.numbers)})
    with unfinished.open("rb") as stream:
        os.fsync(stream.fileno())
    unfinished.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote, onto the CPU; raise `ResumeMismatch` for any other file."""
    try:
        with safe_open(path, framework="pt") as stream:
            header = (stream.metadata() or {}).get(_HEADER)
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise ResumeMismatch(
            f"{path} cannot be read ({str(error).splitlines()[0]}); train anew with --no-resume."
        ) from error
    if header is None:
        raise ResumeMismatch(f"{path} is no checkpoint of a training run; give another folder or --no-resume.")
    return Checkpoint(tensors=tensors, numbers=json.loads(header))
