"""Preparations of images that protocols need and training does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swath.geometry.windows import Size
from swath.samples.moves import Resize

if TYPE_CHECKING:
    import numpy as np

    from swath.samples.sample import Sample


@dataclass(frozen=True)
class ResizeShortEdge:
    """Show the same ground with a shorter side of `pixels`, keeping the aspect; the longer side is rounded.

    >>> ResizeShortEdge(256).size_of(Size(512, 768))
    Size(height=256, width=384)
    """

    pixels: int

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:  # noqa: ARG002 (one signature)
        """Resize where needed."""
        size = self.size_of(sample.size)
        return sample if size == sample.size else sample.moved(Resize(size))

    def size_of(self, size: Size) -> Size:
        """Return what a frame of this size becomes."""
        scale = self.pixels / min(size.height, size.width)
        return Size(max(1, round(size.height * scale)), max(1, round(size.width * scale)))
