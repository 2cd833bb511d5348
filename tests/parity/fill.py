"""Weights from names: every tensor of a published network is drawn from a generator seeded by its name.

So a parity bundle need not store weights, and two implementations agree about them without exchanging a file.
The rule is written in README.md; changing it invalidates every bundle.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def generator(name: str) -> np.random.Generator:
    """The random generator that belongs to a name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(seed))


def fill(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The values of the tensor called `name`, which depend on its name and shape alone."""
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.float32)
    noise = generator(name).standard_normal(tuple(shape))
    if last == "running_var":
        values = np.exp(0.2 * noise)
    elif last == "A_log":
        values = np.log(np.arange(1, shape[-1] + 1)) + 0.1 * noise
    elif last == "D":
        values = 1 + 0.1 * noise
    elif last == "pos_embed":
        values = 0.02 * noise
    elif last == "weight" and len(shape) == 1:
        values = 1 + 0.1 * noise
    elif last == "weight":
        values = noise * math.sqrt(2 / math.prod(shape[1:]))
        if name.endswith("out_proj.weight"):
            values *= 0.02
    else:
        values = 0.1 * noise
    return values.astype(np.float32)


def fill_all(shapes: dict[str, Sequence[int]]) -> dict[str, NDArray[np.float32]]:
    """`fill` for all tensors of a network, given their shapes by name."""
    return {name: fill(name, shape) for name, shape in shapes.items()}
