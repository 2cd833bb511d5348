"""How raw images are made ready for a frozen network: missing bands, resizing, normalising, and in which order.

Corley et al., arXiv 2305.13456, found that the first two decide more than the choice of network; so all is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from swath.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

Order = Literal["resize first", "normalise first"]
"""Whether images are resized before or after they are normalised; only clipping makes a difference."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """(value - shift) / scale, one number for all channels or one a channel, then clipped to `low` and `high`.

    >>> half = Normalisation(name="half", scale=(2.0,), high=1.0)
    >>> half(torch.tensor([[[[1.0, 4.0]]]])).tolist()
    [[[[0.5, 1.0]]]]
    """

    name: str
    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if any(value <= 0 for value in self.scale):
            raise ConfigurationError(f"the normalisation '{self.name}' needs positive scales; found {self.scale}.")

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """Normalise a batch."""
        shift, scale = (image_BCHW.new_tensor(values)[:, None, None] for values in (self.shift, self.scale))
        normalised = (image_BCHW - shift) / scale
        if self.low is None and self.high is None:
            return normalised
        return normalised.clamp(self.low, self.high)


AS_THEY_ARE = Normalisation(name="raw")
"""Values as they are stored."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What happens to raw images (B, C, H, W) before a network sees them.

    `zero_bands` are the places, in the result, of channels of zeros for bands that the data lack; they are added first,
    so they are normalised like the others. `size` is the side in pixels to which images are resized bilinearly, without
    antialiasing (None: as they are).

    >>> preparation = Preparation(size=4, zero_bands=(0,))
    >>> preparation(torch.ones(1, 2, 2, 2)).mean((2, 3)).tolist()
    [[0.0, 1.0, 1.0]]
    """

    size: int | None = None
    normalisation: Normalisation = AS_THEY_ARE
    order: Order = "resize first"
    zero_bands: tuple[int, ...] = ()

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """Prepare a batch."""
        image = with_zero_bands(image_BCHW, self.zero_bands)
        if self.order == "normalise first":
            return resized(self.normalisation(image), self.size)
        return self.normalisation(resized(image, self.size))


def resized(image_BCHW: Tensor, size: int | None) -> Tensor:
    """Resize images to a square of `size` pixels, bilinearly, pixel centres at half-integers, no antialiasing."""
    if size is None or tuple(image_BCHW.shape[-2:]) == (size, size):
        return image_BCHW
    return functional.interpolate(image_BCHW, size=(size, size), mode="bilinear", align_corners=False)


def with_zero_bands(image_BCHW: Tensor, places: tuple[int, ...]) -> Tensor:
    """Insert channels of zeros so that they lie at these places of the result.

    Raises `ConfigurationError` for places that the result has not got.

    >>> with_zero_bands(torch.ones(1, 2, 1, 1), (1,)).flatten().tolist()
    [1.0, 0.0, 1.0]
    """
    count = image_BCHW.shape[1] + len(places)
    if not set(places) <= set(range(count)) or len(set(places)) < len(places):
        raise ConfigurationError(
            f"bands of zeros at {places} cannot be added to images of {image_BCHW.shape[1]} channels; "
            f"give different places from 0 to {count - 1}."
        )
    if not places:
        return image_BCHW
    given = iter(image_BCHW.chunk(image_BCHW.shape[1], dim=1))
    zeros = torch.zeros_like(image_BCHW[:, :1])
    return torch.cat([zeros if place in places else next(given) for place in range(count)], dim=1)
