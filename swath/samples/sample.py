"""Sample: images by slot, what is asked about them, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swath.errors import ShapeError
from swath.geometry.windows import Size
from swath.samples.pixel_ops import move_grid, move_pixels

if TYPE_CHECKING:
    from swath.imagery.grid import Grid
    from swath.imagery.pixels import Pixels
    from swath.samples.annotation import Annotation
    from swath.samples.moves import Move


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One example: `images` by slot, the known `target`, a `prompt`, and the ground that it covers.

    All slots show the same ground. They and the target may differ in pixel count (20 m bands beside 10 m
    ones, a sharp target of a coarse image); the first slot sets the sample's `size`. `key` names the sample
    within its data set.

    >>> import numpy as np
    >>> from swath.imagery.bands import Band, Unit
    >>> from swath.imagery.pixels import Pixels
    >>> red = Band(name="red", role="red")
    >>> block = Pixels.from_array(np.zeros((1, 4, 6), np.uint8), [red], Unit.EIGHT_BIT)
    >>> Sample(key="a", images={"image": block}).size
    Size(height=4, width=6)
    """

    key: str
    images: Mapping[str, Pixels]
    target: Annotation | None = None
    prompt: str | None = None
    footprint: Grid | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise ShapeError(f"The sample '{self.key}' has no image; give at least one slot.")

    @property
    def size(self) -> Size:
        """The frame of the first slot."""
        return next(iter(self.images.values())).size

    def moved(self, move: Move) -> Sample:
        """Return the sample after a geometric move of all images, the target and the footprint.

        `move` is meant for `size`; slots with another pixel count get the same move on their own frame.
        Raises `AnnotationError` where a crop would not fall on their whole pixels.
        """
        size = self.size
        images = {slot: move_pixels(pixels, move.for_frame(size, pixels.size)) for slot, pixels in self.images.items()}
        target, footprint = self.target, self.footprint
        return replace(
            self,
            images=images,
            target=None if target is None else target.moved(move.for_frame(size, target.size)),
            footprint=None if footprint is None else move_grid(footprint, move.for_frame(size, footprint.size)),
        )
