"""Ranges of size by which detection is measured apart: small, medium and large objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from swath.errors import ConfigurationError
from swath.metrics.overlaps import areas_of, lengths_of
from swath.samples.instances import Instances

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.metrics.overlaps import Shape
    from swath.samples.objects import Objects


@dataclass(frozen=True, kw_only=True)
class SizeRanges:
    """Named ranges between rising limits, of the side of a square of an object's area or of its longer side.

    By default those of COCO: small to 32 pixels, medium to 96, large beyond; the last limit may be infinite. With
    `gsd`, the metres a pixel, limits are in metres. An object on a limit belongs to both ranges as in COCO, or with
    `half_open` to the upper one.

    >>> SizeRanges().told(0), SizeRanges(limits=(0, 5, 20), names=("car", "lorry"), gsd=0.3).told(1)
    ('small', 'lorry, 5 to 20 m')
    """

    limits: tuple[float, ...] = (0.0, 32.0, 96.0, np.inf)
    names: tuple[str, ...] = ("small", "medium", "large")
    of: Literal["area", "length"] = "area"
    gsd: float | None = None
    half_open: bool = False

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.limits[:-1], self.limits[1:], strict=True))
        if not rising or len(self.limits) != len(self.names) + 1 or self.limits[0] < 0:
            raise ConfigurationError(
                f"{len(self.names)} ranges of size lie between as many rising limits and one more; found {self.limits}."
            )
        if self.gsd is not None and not self.gsd > 0:
            raise ConfigurationError(f"The metres a pixel must be above 0; found {self.gsd}.")

    def told(self, place: int) -> str:
        """Return the name of a range for a figure, with its limits unless they are those of COCO."""
        if self == COCO_SIZES:
            return self.names[place]
        unit = "px" if self.gsd is None else "m"
        low, high = self.limits[place], self.limits[place + 1]
        between = f"from {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"
        return f"{self.names[place]}, {between} {unit}" + (" long" if self.of == "length" else "")

    def outside(self, objects: Objects, shape: Shape, *, truth: bool) -> NDArray[np.bool_]:
        """Return which objects are outside of each range, (1 + ranges, N); the first row is of all sizes.

        As in COCO, the area of a truth that has a mask is that of the mask, even where boxes are compared.
        """
        scale = 1.0 if self.gsd is None else self.gsd
        if self.of == "length":
            sizes, limits = lengths_of(objects, shape) * scale, np.array(self.limits)
        else:
            drawn: Shape = "masks" if truth and isinstance(objects, Instances) else shape
            sizes, limits = areas_of(objects, drawn) * scale**2, np.array(self.limits) ** 2
        low, high = limits[:-1, None], limits[1:, None]
        above = sizes >= high if self.half_open else sizes > high
        everything = np.zeros((1, len(objects)), dtype=np.bool_)
        return np.concatenate([everything, (sizes < low) | above])


COCO_SIZES = SizeRanges()
