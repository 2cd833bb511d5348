"""Transforms of the BTC study: colour and blur, the same for both dates.

Blaz Rolih et al., "Be the Change You Want to See", IEEE TGRS 63, 2025, uses those of albumentations (MIT) with one draw
for both images. Its version was not pinned; where versions differ, what is done here is said below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import correlate1d

from swath.errors import ConfigurationError, UnitMismatch
from swath.imagery.bands import Unit, select_bands
from swath.samples.pixel_ops import as_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels
    from swath.samples.sample import Sample

RGB = ("red", "green", "blue")
GREY = (0.299, 0.587, 0.114)
"""What red, green and blue add to the brightness of a pixel (ITU-R BT.601)."""


@dataclass(frozen=True)
class SharedColourJitter:
    """Change brightness, contrast and saturation by 1 ± their strength and turn the hue by ± `hue` of the circle.

    One draw serves all slots, so that two dates stay comparable. The four are applied in a random order to the red,
    green and blue of 8-bit imagery (`UnitMismatch` otherwise, `BandMismatch` where one is missing); values are cut at
    0 and 255 after each and rounded once. Contrast is about the mean grey of the image.

    >>> SharedColourJitter(brightness=0.3, hue=0.05).contrast
    0.0
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigurationError(f"The strength of {name} must be 0 to {most:g}; found {getattr(self, name)}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Change the colours by chance."""
        draws = generator.uniform(-1, 1, 4) * (self.brightness, self.contrast, self.saturation, self.hue)
        order = generator.permutation(4).tolist()
        images = {slot: _recoloured(pixels, draws.tolist(), order) for slot, pixels in sample.images.items()}
        return replace(sample, images=images)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur all slots with one Gaussian kernel, its odd side drawn from `smallest` to `largest` pixels.

    A kernel of k pixels has the deviation 0.3 ((k - 1) / 2 - 1) + 0.8, OpenCV's rule, which albumentations follows
    where no deviation is given; borders are mirrored about their last pixel.

    >>> GaussianBlur().largest
    9
    """

    smallest: int = 3
    largest: int = 9

    def __post_init__(self) -> None:
        if not (1 <= self.smallest <= self.largest and self.smallest % 2 == self.largest % 2 == 1):
            raise ConfigurationError(
                f"The sides of a blur are odd and rise from 1; found {self.smallest} to {self.largest}."
            )

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Blur by chance."""
        side = self.smallest + 2 * int(generator.integers((self.largest - self.smallest) // 2 + 1))
        kernel = gaussian_kernel(side)
        images = {slot: _blurred(pixels, kernel) for slot, pixels in sample.images.items()}
        return replace(sample, images=images)


def gaussian_kernel(side: int) -> NDArray[np.float64]:
    """Return the weights of a Gaussian of `side` pixels under OpenCV's rule; they add up to 1.

    >>> gaussian_kernel(3).round(3).tolist()
    [0.239, 0.522, 0.239]
    """
    deviation = 0.3 * ((side - 1) / 2 - 1) + 0.8
    offsets = np.arange(side) - (side - 1) / 2
    weights: NDArray[np.float64] = np.exp(-(offsets**2) / (2 * deviation**2))
    weights /= weights.sum()
    return weights


def turn_hue(rgb_3HW: NDArray[np.float32], turn: float) -> NDArray[np.float32]:
    """Turn the hue of red, green and blue (3, H, W), 0 to 1, by a share of the circle; grey stays grey.

    >>> turn_hue(np.array([1.0, 0.0, 0.0], np.float32).reshape(3, 1, 1), 1 / 3).ravel().round(6).tolist()
    [0.0, 1.0, 0.0]
    """
    red, green, blue = rgb_3HW
    value = rgb_3HW.max(0)
    chroma = value - rgb_3HW.min(0)
    safe = np.where(chroma > 0, chroma, 1)
    sixth = np.select(
        [value == red, value == green],
        [(green - blue) / safe, 2 + (blue - red) / safe],
        4 + (red - green) / safe,
    )
    # Each colour falls from the value by the chroma, along a trapezium over the six parts of the circle.
    places = (np.array([5, 3, 1]).reshape(3, 1, 1) + sixth + 6 * turn) % 6
    turned: NDArray[np.float32] = value - chroma * np.clip(np.minimum(places, 4 - places), 0, 1)
    return turned.astype(np.float32)


def _recoloured(pixels: Pixels, draws: list[float], order: list[int]) -> Pixels:
    if pixels.unit != Unit.EIGHT_BIT:
        raise UnitMismatch(
            f"colours are jittered in 8-bit values and the imagery is in {pixels.unit.value}; make an 8-bit version of "
            "it, or take SharedColourJitter out of the transforms."
        )
    positions = list(select_bands(pixels.bands, RGB, where="the imagery"))
    colours: NDArray[np.float32] = pixels.values[positions].astype(np.float32) / np.float32(255)
    brightness, contrast, saturation, hue = draws
    changes: list[Callable[[NDArray[np.float32]], NDArray[np.float32]]] = [
        lambda rgb: rgb * np.float32(1 + brightness),
        lambda rgb: _from(_grey(rgb).mean(), rgb, 1 + contrast),
        lambda rgb: _from(_grey(rgb), rgb, 1 + saturation),
        lambda rgb: turn_hue(rgb, hue),
    ]
    for number in order:
        colours = changes[number](colours).clip(0, 1)
    values = pixels.values.copy()
    values[positions] = as_type(colours * np.float32(255), values.dtype)
    return replace(pixels, values=values)


def _grey(rgb_3HW: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.tensordot(np.array(GREY, np.float32), rgb_3HW, axes=1)


def _from(centre: Any, values: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return values whose distance from a centre is multiplied by a factor."""
    moved: NDArray[np.float32] = centre + (values - centre) * np.float32(factor)
    return moved


def _blurred(pixels: Pixels, kernel: NDArray[np.float64]) -> Pixels:
    values = pixels.values.astype(np.float32)
    for axis in (1, 2):
        values = correlate1d(values, kernel, axis=axis, mode="mirror")
    return replace(pixels, values=as_type(values, pixels.values.dtype))
