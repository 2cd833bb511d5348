"""Telling whether two images are the same, exactly or nearly: digests and a small perceptual hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels

_CELLS = 9
_FLAT = 0.02  # of the brightest cell; what differs less is noise, and noise is alike by chance
_BLOCK = 1 << 22  # comparisons at a time, 32 MB


@dataclass(frozen=True, slots=True)
class Print:
    """The digest of an image's values and its perceptual hash, two numbers a slot, or None for a flat image."""

    digest: bytes
    hashes: tuple[int, ...] | None


def print_of(images: Mapping[str, Pixels]) -> Print:
    """Return the print of the images of a sample; two samples have the same digest where all values are equal.

    >>> from swath.imagery.bands import Band, Unit
    >>> from swath.imagery.pixels import Pixels
    >>> ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    >>> one = Pixels.from_array(ramp, [Band(name="grey", role="grey")], Unit.EIGHT_BIT)
    >>> [f"{number:016x}" for number in print_of({"image": one}).hashes]
    ['ffffffffffffffff', 'ffffffffffffffff']
    """
    digest = hashlib.sha256()
    hashes: list[int] = []
    for pixels in images.values():
        values = np.ascontiguousarray(pixels.values)
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.data)
        hashes += perceptual_hash(values)
    return Print(digest.digest(), tuple(hashes) if len(hashes) == 2 * len(images) else None)


def perceptual_hash(values: NDArray[Any]) -> tuple[int, ...]:
    """Return 64 bits for the steps to the right and 64 for those down between 9 x 9 mean brightnesses of (C, H, W).

    A bit is set where the next cell is brighter. Another compression or scale changes few of them. A flat
    image has no hash and gives nothing.
    """
    grey = np.nan_to_num(values.mean(axis=0, dtype=np.float32))
    cells = np.asarray(Image.fromarray(grey).resize((_CELLS, _CELLS), Image.Resampling.BOX))
    if np.ptp(cells) <= _FLAT * np.abs(cells).max():
        return ()
    steps = (cells[:-1, 1:] > cells[:-1, :-1], cells[1:, :-1] > cells[:-1, :-1])
    return tuple(int.from_bytes(np.packbits(step).tobytes(), "big") for step in steps)


def near(
    ones: Sequence[tuple[int, ...]], others: Sequence[tuple[int, ...]], distance: int
) -> Iterator[tuple[int, int, int]]:
    """Yield the positions in both lists of hashes that differ in `distance` bits at most, and in how many.

    >>> list(near([(0b1100, 0)], [(0b1101, 0), (0b0011, 0)], distance=2))
    [(0, 0, 1)]
    """
    if not (ones and others):
        return
    left, right = (np.array(hashes, dtype=np.uint64) for hashes in (ones, others))
    rows = max(1, _BLOCK // len(right))
    for start in range(0, len(left), rows):
        apart = np.zeros((min(rows, len(left) - start), len(right)), dtype=np.uint16)
        for word in range(left.shape[1]):
            apart += np.bitwise_count(left[start : start + rows, word, None] ^ right[None, :, word])
        for row, column in np.argwhere(apart <= distance):
            yield start + int(row), int(column), int(apart[row, column])
