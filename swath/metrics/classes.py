"""Classes matched by name, because data sets and models order and spell the same classes differently."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fold_class_name(name: str) -> str:
    """Return a class name without case, spaces, hyphens and underscores, for comparison only.

    >>> fold_class_name("Sea_Lake") == fold_class_name("sea lake") == "sealake"
    True
    """
    return name.casefold().translate({ord(mark): None for mark in " -_"})


@lru_cache(maxsize=256)
def class_positions(have: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.int64]:
    """Return for each class of `have` its position in `wanted`, or `len(wanted)` where it is none of them.

    The array (len(have),) is shared between calls and read-only.

    >>> class_positions(("Forest", "River", "Road"), ("river", "forest")).tolist()
    [1, 0, 2]
    """
    places = {fold_class_name(name): position for position, name in enumerate(wanted)}
    positions = np.array([places.get(fold_class_name(name), len(wanted)) for name in have], dtype=np.int64)
    positions.flags.writeable = False
    return positions
