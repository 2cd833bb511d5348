"""Chance that depends on a seed and a number alone: the same draw on every machine, in any order of reading."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def chance(numbers: NDArray[np.int64], seed: int, name: str = "") -> NDArray[np.uint64]:
    """Return a rank in a random order for each number; different numbers never share one.

    The finaliser of splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014),
    started by a hash of the seed and of the `name` of what the numbers count.

    >>> order = chance(np.arange(4), seed=0)
    >>> bool((order == chance(np.arange(4), seed=0)).all()), bool((order == chance(np.arange(4), seed=1)).all())
    (True, False)
    """
    start = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")
    mixed = numbers.astype(np.uint64) + np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    ranks: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return ranks
