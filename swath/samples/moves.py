# ruff: noqa: ARG002 (every move has the same signatures, not every move needs every argument)
"""Moves: the geometric changes that pixels and annotations undergo together.

A move knows three things: the frame it leads to, the affine map of continuous pixel coordinates (x right, y
down, the centre of the top-left pixel at (0.5, 0.5)) that carries the old frame onto the new one, and how it
rearranges an array whose last two axes are rows and columns. Everything that can be flipped, cropped or
resized takes a move, so an image and what is known about it cannot drift apart.

>>> move = QuarterTurns(1)
>>> move.affine(Size(4, 6)).apply(np.array([5.5, 0.5])).tolist()   # the top-right pixel goes to the top left
[0.5, 0.5]
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from swath.errors import AnnotationError
from swath.geometry.windows import Size, Window
from swath.imagery.grid import Affine
from swath.samples.resampling import resize_bilinear, resize_nearest, sample_affine

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Move(ABC):
    """One geometric change of a frame.

    `loses` says whether parts of what was in the frame may lie outside afterwards, `interpolates` whether new
    pixels lie between old ones.
    """

    loses: ClassVar[bool] = False
    interpolates: ClassVar[bool] = False

    @abstractmethod
    def size_after(self, size: Size) -> Size:
        """Return the frame that a frame of this size becomes."""

    @abstractmethod
    def affine(self, size: Size) -> Affine:
        """Return the map from pixel coordinates in a frame of this size to those in the frame it becomes."""

    @abstractmethod
    def array(self, values: NDArray[Any], *, fill: float = 0, smooth: bool = False) -> NDArray[Any]:
        """Return the array (..., H, W) after the move, contiguous; what comes from outside gets `fill`.

        With `smooth`, a move that has to interpolate does so bilinearly and gives float32; otherwise it takes
        the nearest pixel and keeps the type.
        """

    def covers(self, size: Size) -> bool:
        """Return whether all of the new frame comes from inside an old one of this size."""
        return True

    def for_frame(self, reference: Size, frame: Size) -> Move:
        """Return the same move for a frame over the same ground with another pixel count."""
        return self


@dataclass(frozen=True, slots=True)
class Crop(Move):
    """Cut out a window, which may stick out of the frame.

    >>> Crop(Window(-1, 0, 2, 2)).array(np.array([[1, 2, 3], [4, 5, 6]])).tolist()
    [[0, 0], [1, 2]]
    """

    window: Window
    loses: ClassVar[bool] = True

    def size_after(self, size: Size) -> Size:
        """Return the size of the window."""
        return self.window.size

    def affine(self, size: Size) -> Affine:
        """Return the shift that puts the window's corner at the origin."""
        return Affine(1.0, 0.0, -float(self.window.column), 0.0, 1.0, -float(self.window.row))

    def array(self, values: NDArray[Any], *, fill: float = 0, smooth: bool = False) -> NDArray[Any]:
        """Return the values inside the window."""
        height, width = values.shape[-2:]
        inside = self.window.clipped(Size(height, width))
        rows, columns = inside.slices
        if inside == self.window:
            return np.ascontiguousarray(values[..., rows, columns])
        cut = np.full((*values.shape[:-2], self.window.height, self.window.width), fill, dtype=values.dtype)
        if not inside.is_empty:
            place = inside.relative_to(self.window)
            cut[(..., *place.slices)] = values[..., rows, columns]
        return cut

    def covers(self, size: Size) -> bool:
        """Return whether the window lies inside the frame."""
        return self.window.clipped(size) == self.window

    def for_frame(self, reference: Size, frame: Size) -> Crop:
        """Return the window over the same ground, which must fall on whole pixels of that frame."""
        if frame == reference:
            return self
        rows = _whole(self.window.row, self.window.height, reference.height, frame.height)
        columns = _whole(self.window.column, self.window.width, reference.width, frame.width)
        if rows is None or columns is None:
            raise AnnotationError(
                f"{self.window} of a frame of {reference} does not fall on whole pixels of one of {frame}; "
                "choose a window whose place and size are multiples of the ratio."
            )
        return Crop(Window(rows[0], columns[0], rows[1], columns[1]))


@dataclass(frozen=True, slots=True)
class Flip(Move):
    """Mirror left and right (`horizontal`) or top and bottom.

    >>> Flip(horizontal=True).array(np.array([[1, 2, 3]])).tolist()
    [[3, 2, 1]]
    """

    horizontal: bool

    def size_after(self, size: Size) -> Size:
        """Return the size unchanged."""
        return size

    def affine(self, size: Size) -> Affine:
        """Return x -> width - x, or y -> height - y."""
        if self.horizontal:
            return Affine(-1.0, 0.0, float(size.width), 0.0, 1.0, 0.0)
        return Affine(1.0, 0.0, 0.0, 0.0, -1.0, float(size.height))

    def array(self, values: NDArray[Any], *, fill: float = 0, smooth: bool = False) -> NDArray[Any]:
        """Return the mirrored values."""
        return np.ascontiguousarray(values[..., ::-1] if self.horizontal else values[..., ::-1, :])


@dataclass(frozen=True, slots=True)
class QuarterTurns(Move):
    """Turn counter-clockwise by so many quarter turns, as `numpy.rot90` does.

    >>> QuarterTurns(1).array(np.array([[1, 2, 3]])).tolist()
    [[3], [2], [1]]
    """

    count: int

    def size_after(self, size: Size) -> Size:
        """Return the size, its sides swapped for an odd count."""
        return Size(size.width, size.height) if self.count % 2 else size

    def affine(self, size: Size) -> Affine:
        """Return the turn; one quarter is (x, y) -> (y, width - x)."""
        height, width = float(size.height), float(size.width)
        return (
            Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            Affine(0.0, 1.0, 0.0, -1.0, 0.0, width),
            Affine(-1.0, 0.0, width, 0.0, -1.0, height),
            Affine(0.0, -1.0, height, 1.0, 0.0, 0.0),
        )[self.count % 4]

    def array(self, values: NDArray[Any], *, fill: float = 0, smooth: bool = False) -> NDArray[Any]:
        """Return the turned values."""
        return np.ascontiguousarray(np.rot90(values, self.count % 4, axes=(-2, -1)))


@dataclass(frozen=True, slots=True)
class Resize(Move):
    """Show the same ground with another pixel count.

    >>> Resize(Size(1, 2)).array(np.array([[1, 2, 3, 4]])).tolist()
    [[2, 4]]
    """

    size: Size
    interpolates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.size.area == 0:
            raise AnnotationError(f"Nothing can be resized to {self.size.height} x {self.size.width} pixels.")

    def size_after(self, size: Size) -> Size:
        """Return the new size."""
        return self.size

    def affine(self, size: Size) -> Affine:
        """Return the scaling of both axes."""
        return Affine(self.size.width / max(size.width, 1), 0.0, 0.0, 0.0, self.size.height / max(size.height, 1), 0.0)

    def array(self, values: NDArray[Any], *, fill: float = 0, smooth: bool = False) -> NDArray[Any]:
        """Return the resampled values: nearest pixel centre, or bilinear and antialiased where it shrinks."""
        return resize_bilinear(values, self.size) if smooth else resize_nearest(values, self.size)

    def for_frame(self, reference: Size, frame: Size) -> Resize:
        """Return the resize that keeps the ratio between the two frames, to whole pixels."""
        if frame == reference:
            return self
        height = max(1, round(self.size.height * frame.height / reference.height))
        return Resize(Size(height, max(1, round(self.size.width * frame.width / reference.width))))


@dataclass(frozen=True, slots=True)
class Rotate(Move):
    """Turn counter-clockwise as seen, by an angle in degrees, about the centre; the frame keeps its size.

    A pixel of the result takes its value from the old frame where its centre falls inside it, else `fill`.

    >>> right = np.array([4.0, 2.0])
    >>> Rotate(90.0).affine(Size(4, 4)).apply(right).round(6).tolist()
    [2.0, 0.0]
    """

    degrees: float
    loses: ClassVar[bool] = True
    interpolates: ClassVar[bool] = True

    def size_after(self, size: Size) -> Size:
        """Return the size unchanged."""
        return size

    def affine(self, size: Size) -> Affine:
        """Return the turn about (width / 2, height / 2)."""
        cosine, sine = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        x, y = size.width / 2, size.height / 2
        return Affine(cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y)

    def covers(self, size: Size) -> bool:
        """Return False: the corners come from outside."""
        return False

    def array(self, values: NDArray[Any], *, fill: float = 0, smooth: bool = False) -> NDArray[Any]:
        """Return the turned values."""
        height, width = values.shape[-2:]
        return sample_affine(values, self.affine(Size(height, width)).inverse(), fill=fill, smooth=smooth)


def _whole(start: int, length: int, reference: int, frame: int) -> tuple[int, int] | None:
    """Return start and length counted in the other frame's pixels, None where they are no whole numbers."""
    new_start, rest_of_start = divmod(start * frame, reference)
    new_length, rest_of_length = divmod(length * frame, reference)
    return None if rest_of_start or rest_of_length else (new_start, new_length)
