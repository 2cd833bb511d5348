"""A grid: where the pixels of an image lie on the Earth.

An affine transform maps continuous pixel coordinates (x right, y down, pixel centres at .5) to map
coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from swath.geometry.windows import Size, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Affine:
    """A 2-D affine map: `x' = a x + b y + c`, `y' = d x + e y + f`.

    >>> Affine(10, 0, 500_000, 0, -10, 4_000_000).apply(np.array([[1.0, 2.0]])).tolist()
    [[500010.0, 3999980.0]]
    """

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    def apply(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map an array of shape (..., 2)."""
        x, y = xy[..., 0], xy[..., 1]
        return np.stack([self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f], axis=-1)

    def inverse(self) -> Affine:
        """Return the map that undoes this one.

        >>> Affine(2, 0, 1, 0, 2, 1).inverse().apply(np.array([[3.0, 5.0]])).tolist()
        [[1.0, 2.0]]
        """
        determinant = self.a * self.e - self.b * self.d
        a, b = self.e / determinant, -self.b / determinant
        d, e = -self.d / determinant, self.a / determinant
        return Affine(a, b, -a * self.c - b * self.f, d, e, -d * self.c - e * self.f)

    def shifted(self, x: float, y: float) -> Affine:
        """Return the map of an image whose origin lies at pixel (x, y) of this one."""
        east, north = self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f
        return Affine(self.a, self.b, east, self.d, self.e, north)

    def scaled(self, x: float, y: float) -> Affine:
        """Return the map of an image whose pixels are x by y of these."""
        return replace(self, a=self.a * x, b=self.b * y, d=self.d * x, e=self.e * y)

    def as_gdal_order(self) -> tuple[float, float, float, float, float, float]:
        """Return (c, a, b, f, d, e), the order of GDAL's geotransform."""
        return (self.c, self.a, self.b, self.f, self.d, self.e)


PIXELS = Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The map of an image without georeference: map coordinates are pixel coordinates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The reference system, transform and size of an image.

    `crs` is what PROJ understands (an authority code such as `"EPSG:32633"`, or WKT), or None for pixel
    coordinates.

    >>> grid = Grid(crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 100), size=Size(10, 20))
    >>> grid.bounds
    (0.0, 0.0, 200.0, 100.0)
    """

    crs: str | None
    transform: Affine
    size: Size

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The smallest upright map rectangle around the image: west, south, east, north."""
        corners = self.corners()
        west, south = corners.min(axis=0)
        east, north = corners.max(axis=0)
        return float(west), float(south), float(east), float(north)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Length of a pixel's two sides (along x, along y) in map units."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    def corners(self) -> NDArray[np.float64]:
        """Return the four corners in map coordinates, (4, 2), clockwise from the top left."""
        height, width = self.size.height, self.size.width
        return self.transform.apply(np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64))

    def window(self, window: Window) -> Grid:
        """Return the grid of a window of this one (which may stick out).

        >>> Grid(crs=None, transform=PIXELS, size=Size(4, 4)).window(Window(1, 2, 2, 2)).transform.c
        2.0
        """
        transform = self.transform.shifted(window.column, window.row)
        return Grid(crs=self.crs, transform=transform, size=window.size)

    def resized(self, size: Size) -> Grid:
        """Return a grid of another pixel count over the same ground."""
        return replace(
            self,
            transform=self.transform.scaled(self.size.width / size.width, self.size.height / size.height),
            size=size,
        )

    def to_map(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn pixel coordinates (..., 2) into map coordinates."""
        return self.transform.apply(xy)

    def to_pixels(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn map coordinates (..., 2) into pixel coordinates."""
        return self.transform.inverse().apply(xy)
