"""Randomness without a state: every draw has its own generator, seeded by what it is for and where in the run
it is.

A run that was cut off therefore goes on exactly as it would have, with nothing but the epoch and the step to
remember.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.random import Generator


class Purpose(IntEnum):
    """What a random number is for; draws for different purposes are independent."""

    ORDER = 1
    """The order of the samples in an epoch."""
    SAMPLE = 2
    """The transforms of one sample."""
    MIXING = 3
    """How the samples of one batch are mixed."""
    NETWORK = 4
    """Dropout and whatever else the network draws during one batch."""
    SIZE = 5
    """The size of the images of one batch."""


def generator_for(purpose: Purpose, seed: int, *place: int) -> Generator:
    """Return the generator of one purpose at one place of a run (epoch, then sample or batch).

    Raises `ConfigurationError` for a negative seed.

    >>> first = generator_for(Purpose.SAMPLE, 0, 3, 7).random()
    >>> first == generator_for(Purpose.SAMPLE, 0, 3, 7).random()
    True
    >>> first == generator_for(Purpose.ORDER, 0, 3, 7).random()
    False
    """
    if seed < 0:
        raise ConfigurationError(f"recipe: 'seed' must not be negative; found {seed}.")
    # The purpose leads and the length follows: numpy takes trailing zeros of a seed for nothing.
    return np.random.default_rng([int(purpose), len(place), seed, *place])


def network_seed(seed: int, *place: int) -> int:
    """Return the number that seeds torch before the network sees one batch.

    >>> network_seed(0, 1, 2) == network_seed(0, 1, 2) != network_seed(0, 2, 1)
    True
    """
    return int(generator_for(Purpose.NETWORK, seed, *place).integers(2**62))
