"""What a model takes in one slot: bands by role, unit, ground-sample distance, statistics, window."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from swath.errors import ConfigurationError, ShapeError, SwathWarning, UnitMismatch
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.imagery.units import Stretch, convert

if TYPE_CHECKING:
    from torch import Tensor

    from swath.imagery.pixels import Pixels


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Statistics of ImageNet's red, green and blue, 0 to 255, under which most published RGB networks were trained."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The imagery that one slot of a model takes; anything else is refused with the remedy.

    `bands` are roles in the order of the network's channels. `mean` and `std` are in `unit`, one a band or one for
    all. `stretch` says how reflectance (or another physical unit) becomes the 8-bit values a model was trained on.
    `window` is the read size in pixels that suits the model, `overlap` what neighbours share, `multiple_of` what
    the network's strides demand; with `fixed_size` the network takes exactly `window` x `window`, with `square` squares
    alone, and no side below `minimum` pixels. `gsd` is in metres; imagery more than `gsd_tolerance` times finer or
    coarser earns a warning.

    >>> spec = InputSpec(bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, mean=(127.5,), std=(127.5,))
    >>> spec.channels
    3
    """

    bands: tuple[str, ...]
    unit: Unit
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    stretch: Stretch | None = None
    gsd: float | None = None
    gsd_tolerance: float = 1.6
    window: int = 512
    overlap: int = 64
    multiple_of: int = 1
    fixed_size: bool = False
    square: bool = False
    minimum: int = 1

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, len(self.bands)):
                raise ConfigurationError(
                    f"'{name}' needs one value or one a band ({len(self.bands)}); found {len(values)}."
                )
        if any(value <= 0 for value in self.std):
            raise ConfigurationError(f"'std' must be positive; found {self.std}.")
        if not 1 <= self.minimum <= self.window:
            raise ConfigurationError(
                f"'minimum' is the shortest side that a network takes, 1 to its 'window' of {self.window} pixels; "
                f"found {self.minimum}."
            )

    def check_size(self, slot: str, height: int, width: int) -> None:
        """Raise `ShapeError` for an image of a size, in pixels, that the network of this slot cannot take."""
        if self.fixed_size and (height, width) != (self.window, self.window):
            raise ShapeError(
                f"slot '{slot}' takes exactly {self.window} x {self.window} pixels; found {height} x {width}. "
                "Resize the image, or build the model for this size."
            )
        if self.square and height != width:
            raise ShapeError(
                f"slot '{slot}' takes square images alone; found {height} x {width}. "
                "Cut squares out of the image, or pad it to one."
            )
        if min(height, width) < self.minimum:
            raise ShapeError(
                f"slot '{slot}' needs sides of at least {self.minimum} pixels; found {height} x {width}. "
                "Pad the image, or resize it."
            )
        if height % self.multiple_of or width % self.multiple_of:
            raise ShapeError(
                f"slot '{slot}' needs sides that are multiples of {self.multiple_of}; found {height} x {width}. "
                "Pad the image or choose another --window."
            )

    def size_around(self, size: Size) -> Size:
        """Return the smallest size that the network takes and that an image of a size fits into.

        >>> spec = InputSpec(bands=("red",), unit=Unit.EIGHT_BIT, mean=(0,), std=(1,), multiple_of=32, square=True)
        >>> spec.size_around(Size(height=60, width=130))
        Size(height=160, width=160)
        """
        if self.fixed_size:
            return Size(self.window, self.window)
        sides = [
            -(-max(side, self.minimum) // self.multiple_of) * self.multiple_of for side in (size.height, size.width)
        ]
        return Size(max(sides), max(sides)) if self.square else Size(*sides)

    @property
    def channels(self) -> int:
        """How many channels the network sees."""
        return len(self.bands)

    def in_unit(self, pixels: Pixels) -> Pixels:
        """Return the model's bands in the model's unit.

        Raises `BandMismatch` for missing bands and `UnitMismatch` for values that cannot be turned into the unit.
        """
        chosen = pixels.select(self.bands)
        if chosen.unit == self.unit:
            return chosen
        if self.stretch is not None:
            return self.stretch.apply(convert(chosen, self.stretch.unit))
        if self.unit == Unit.EIGHT_BIT:
            raise UnitMismatch(
                f"the model takes 8-bit values and the imagery is in {chosen.unit.value}; "
                "make an 8-bit version of it, or say --unit 8-bit if its values are 0 to 255 already."
            )
        return convert(chosen, self.unit)

    def check_gsd(self, gsd: float | None) -> None:
        """Warn when pixels of `gsd` metres are much finer or coarser than those the model was trained on."""
        if self.gsd is None or gsd is None:
            return
        ratio = max(gsd / self.gsd, self.gsd / gsd)
        if ratio > self.gsd_tolerance:
            warnings.warn(
                f"the model was trained on pixels of {self.gsd:g} m and these are {gsd:.3g} m; "
                "resample the imagery to trust the answer.",
                SwathWarning,
                stacklevel=2,
            )

    def normalise(self, pixels: Pixels) -> Tensor:
        """Turn pixels of the model's bands and unit into a float32 tensor (C, H, W); invalid pixels become 0.

        Zero is the mean of the training data after normalisation, so it says the least.
        """
        # A copy in any case: the pixels may be a view of the user's own array.
        values = torch.from_numpy(np.ascontiguousarray(pixels.values)).to(torch.float32, copy=True)
        scale = torch.tensor([1.0 / value for value in self.std], dtype=torch.float32)[:, None, None]
        shift = torch.tensor([-m / s for m, s in zip(self._spread(self.mean), self._spread(self.std), strict=True)])
        values = values.mul_(scale).add_(shift[:, None, None])
        if pixels.valid is not None:
            values.masked_fill_(torch.from_numpy(~pixels.valid), 0.0)
        return values

    def prepare(self, pixels: Pixels) -> Tensor:
        """Select, convert and normalise in one step."""
        return self.normalise(self.in_unit(pixels))

    def _spread(self, values: tuple[float, ...]) -> tuple[float, ...]:
        return values * self.channels if len(values) == 1 else values


def imagenet_rgb(
    *,
    window: int = 224,
    overlap: int = 0,
    multiple_of: int = 1,
    fixed_size: bool = False,
    square: bool = False,
    minimum: int = 1,
) -> InputSpec:
    """Return what most published RGB networks take: 8-bit red, green and blue under ImageNet's statistics.

    >>> imagenet_rgb(window=256, overlap=86).bands
    ('red', 'green', 'blue')
    """
    return InputSpec(
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        window=window,
        overlap=overlap,
        multiple_of=multiple_of,
        fixed_size=fixed_size,
        square=square,
        minimum=minimum,
    )
