"""Transforms for training: each takes a sample and a random generator, and moves all images and the target
together.

They are frozen dataclasses, so that a recipe can hold, print and compare them. All randomness comes from the
generator that is passed in. A `size` is a `Size`, or a whole number for a square, and refers to the sample's
first slot; slots over the same ground with another pixel count follow in proportion.

>>> augment = Compose((RandomFlip(), RandomRotate90(), ColourJitter(brightness=0.2, contrast=0.2)))
>>> augment.transforms[0]
RandomFlip(horizontal=0.5, vertical=0.5)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from swath.errors import ConfigurationError
from swath.geometry.windows import Size, Window
from swath.samples import moves
from swath.samples.moves import Crop, Flip, QuarterTurns, Rotate
from swath.samples.pixel_ops import jitter_pixels

if TYPE_CHECKING:
    import numpy as np

    from swath.samples.sample import Sample

CROP_ATTEMPTS = 10  # draws of area and shape before a random crop falls back to the largest one that fits


class Transform(Protocol):
    """Anything that turns a sample and a generator into a sample."""

    def __call__(self, sample: Sample, generator: np.random.Generator, /) -> Sample:
        """Return the changed sample."""


@dataclass(frozen=True)
class Compose:
    """One transform after another.

    >>> Compose((Resize(8), CentreCrop(4))).transforms[1]
    CentreCrop(size=4)
    """

    transforms: tuple[Transform, ...]

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Apply all of them in order."""
        for transform in self.transforms:
            sample = transform(sample, generator)
        return sample


@dataclass(frozen=True)
class Sometimes:
    """Apply a transform with a probability.

    >>> Sometimes(RandomRotate90(), 0.3).probability
    0.3
    """

    transform: Transform
    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ConfigurationError(f"The probability of a transform must be 0 to 1; found {self.probability}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Transform by chance."""
        return self.transform(sample, generator) if generator.random() < self.probability else sample


@dataclass(frozen=True)
class RandomFlip:
    """Mirror left and right, and top and bottom, each with its own probability.

    >>> RandomFlip(vertical=0.0)
    RandomFlip(horizontal=0.5, vertical=0.0)
    """

    horizontal: float = 0.5
    vertical: float = 0.5

    def __post_init__(self) -> None:
        for probability in (self.horizontal, self.vertical):
            if not 0 <= probability <= 1:
                raise ConfigurationError(f"The probability of a flip must be 0 to 1; found {probability}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Flip by chance."""
        horizontal, vertical = generator.random(2) < (self.horizontal, self.vertical)
        if horizontal and vertical:
            return sample.moved(QuarterTurns(2))
        return sample.moved(Flip(horizontal=bool(horizontal))) if horizontal or vertical else sample


@dataclass(frozen=True)
class RandomRotate90:
    """Turn by 0, 1, 2 or 3 quarter turns, all equally likely.

    >>> RandomRotate90()
    RandomRotate90()
    """

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Turn by chance."""
        turns = int(generator.integers(4))
        return sample.moved(QuarterTurns(turns)) if turns else sample


@dataclass(frozen=True)
class RandomRotate:
    """Turn with a `probability` about the centre by an angle from -`degrees` to `degrees`; the corners become invalid.

    >>> RandomRotate(15.0), RandomRotate(15.0, probability=0.3)
    (RandomRotate(degrees=15.0), RandomRotate(degrees=15.0, probability=0.3))
    """

    degrees: float
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ConfigurationError(f"The probability of a turn must be 0 to 1; found {self.probability}.")

    def __repr__(self) -> str:
        # The text tells runs apart: those from before there was a probability must read as they did.
        told = f", probability={self.probability}" if self.probability < 1 else ""
        return f"RandomRotate(degrees={self.degrees}{told})"

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Turn by chance."""
        # No draw where it is certain, so that the angles of runs from before stay the same.
        if self.probability < 1 and generator.random() >= self.probability:
            return sample
        return sample.moved(Rotate(float(generator.uniform(-self.degrees, self.degrees))))


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a window of a fixed size at a random place; smaller samples are padded with invalid pixels.

    >>> RandomCrop(256).size
    256
    """

    size: Size | int

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Crop by chance."""
        size = as_size(self.size)
        row = _random_start(sample.size.height, size.height, generator)
        column = _random_start(sample.size.width, size.width, generator)
        return sample.moved(Crop(Window(row, column, size.height, size.width)))


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut out a random share of the `area` in a random `aspect` (width over height), and resize it to `size`.

    The logarithm of the aspect is drawn evenly. Where ten draws do not fit the frame, the largest centred
    window of an allowed aspect is taken (Szegedy et al. 2015 describe the method, the fallback is the
    field's).

    >>> RandomResizedCrop(224, area=(0.4, 1.0)).aspect
    (0.75, 1.3333333333333333)
    """

    size: Size | int
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ConfigurationError(f"The share of the area must rise within 0 to 1; found {self.area}.")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ConfigurationError(f"The aspect must rise from above 0; found {self.aspect}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Crop by chance, then resize."""
        return sample.moved(Crop(self.window(sample.size, generator))).moved(moves.Resize(as_size(self.size)))

    def window(self, frame: Size, generator: np.random.Generator) -> Window:
        """Draw the window in a frame of this size."""
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        for _ in range(CROP_ATTEMPTS):
            area = frame.area * generator.uniform(*self.area)
            aspect = math.exp(generator.uniform(low, high))
            height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
            if 0 < height <= frame.height and 0 < width <= frame.width:
                row = _random_start(frame.height, height, generator)
                return Window(row, _random_start(frame.width, width, generator), height, width)
        aspect = min(max(frame.width / frame.height, self.aspect[0]), self.aspect[1])
        size = Size(
            min(frame.height, max(1, round(frame.width / aspect))),
            min(frame.width, max(1, round(frame.height * aspect))),
        )
        return _centred(frame, size)


@dataclass(frozen=True)
class CentreCrop:
    """Cut out a window of a fixed size in the middle; smaller samples are padded with invalid pixels.

    >>> CentreCrop(224).size
    224
    """

    size: Size | int

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:  # noqa: ARG002 (one signature)
        """Crop."""
        return sample.moved(Crop(_centred(sample.size, as_size(self.size))))


@dataclass(frozen=True)
class Pad:
    """Widen the frame at the bottom and right to at least `size`, and to a `multiple_of` on both sides.

    >>> Pad(multiple_of=32)
    Pad(size=0, multiple_of=32)
    """

    size: Size | int = 0
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if self.multiple_of < 1:
            raise ConfigurationError(f"A frame can be padded to a multiple of 1 or more; found {self.multiple_of}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:  # noqa: ARG002 (one signature)
        """Pad where needed."""
        least = as_size(self.size)
        height, width = (
            -(-max(have, want) // self.multiple_of) * self.multiple_of
            for have, want in ((sample.size.height, least.height), (sample.size.width, least.width))
        )
        return sample if sample.size == Size(height, width) else sample.moved(Crop(Window(0, 0, height, width)))


@dataclass(frozen=True)
class Resize:
    """Show the same ground with another pixel count.

    >>> Resize(Size(128, 256)).size.width
    256
    """

    size: Size | int

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:  # noqa: ARG002 (one signature)
        """Resize where needed."""
        size = as_size(self.size)
        return sample if sample.size == size else sample.moved(moves.Resize(size))


@dataclass(frozen=True)
class ColourJitter:
    """Multiply the brightness by 1 ± `brightness` and the contrast about each band's mean by 1 ± `contrast`.

    Drawn anew for every slot, as two dates differ in light. Only slots in radiometric units change (8-bit,
    digital numbers, reflectance, radiance, linear radar power); decibel, kelvin and metre stay.

    >>> ColourJitter(brightness=0.1).contrast
    0.0
    """

    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        for name, strength in (("brightness", self.brightness), ("contrast", self.contrast)):
            if not 0 <= strength <= 1:
                raise ConfigurationError(f"The strength of {name} jitter must be 0 to 1; found {strength}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Change the light by chance."""
        images = {}
        for slot, pixels in sample.images.items():
            brightness, contrast = 1 + generator.uniform(-1, 1, 2) * (self.brightness, self.contrast)
            images[slot] = jitter_pixels(pixels, float(brightness), float(contrast))
        return replace(sample, images=images)


def as_size(size: Size | int) -> Size:
    """Return a size, a whole number standing for a square.

    >>> as_size(4)
    Size(height=4, width=4)
    """
    return Size(size, size) if isinstance(size, int) else size


def _random_start(have: int, want: int, generator: np.random.Generator) -> int:
    slack = have - want
    return int(generator.integers(min(slack, 0), max(slack, 0), endpoint=True))


def _centred(frame: Size, size: Size) -> Window:
    return Window((frame.height - size.height) // 2, (frame.width - size.width) // 2, size.height, size.width)
