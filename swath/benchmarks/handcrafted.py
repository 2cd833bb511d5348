"""Features of an image worked out by hand: colours, textures and the layout of edges.

The handcrafted half of NWPU-RESISC45's benchmark (Cheng, Han, Lu, Proc. IEEE 2017, arXiv 1703.00121): colour histogram,
local binary patterns (Ojala, Pietikäinen, Mäenpää, TPAMI 2002) and GIST (Oliva, Torralba, IJCV 2001). The settings of
the paper are not known; those here are the usual ones. Features take 8-bit red, green and blue.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import fft

from swath.errors import UnitMismatch
from swath.imagery.bands import Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.sample import Sample
    from swath.training.feeding import SampleSource

RGB = ("red", "green", "blue")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # once round the pixel


@dataclass(frozen=True)
class Handcrafted(ABC):
    """What features without anything to learn share: a subclass says what one image gives."""

    @property
    def name(self) -> str:
        """The class and its settings."""
        return repr(self)

    @property
    def fingerprint(self) -> str:
        """A hash of the settings."""
        return hashlib.sha256(f"{type(self).__name__} {astuple(self)}".encode()).hexdigest()

    def fitted(self, samples: SampleSource) -> Self:
        """Return itself: there is nothing to learn."""
        del samples
        return self

    def extract(self, samples: Sequence[Sample]) -> NDArray[np.float32]:
        """Return one vector a sample (N, D)."""
        return np.stack([self.describe(colours(sample)) for sample in samples]).astype(np.float32)

    @abstractmethod
    def describe(self, image_HWC: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the vector of one image of red, green and blue, 0 to 255."""


def colours(sample: Sample) -> NDArray[np.uint8]:
    """Return a sample's red, green and blue (H, W, 3); raise `UnitMismatch` unless they are 8-bit values."""
    pixels = sample.images["image"].select(RGB)
    if pixels.unit != Unit.EIGHT_BIT or pixels.values.dtype != np.uint8:
        raise UnitMismatch(
            f"handcrafted features take 8-bit values; '{sample.key}' is in {pixels.unit.value}, {pixels.values.dtype}."
        )
    return np.moveaxis(pixels.values, 0, -1)


def grey(image_HWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the brightness (H, W), 0 to 255."""
    brightness: NDArray[np.float64] = image_HWC @ np.array(LUMA)
    return brightness


@dataclass(frozen=True)
class ColourHistogram(Handcrafted):
    """The share of the pixels in each of `bins` equal ranges of red, then green, then blue: 3 x `bins` numbers.

    >>> ColourHistogram(4).describe(np.array([[[0, 255, 64]]], np.uint8)).tolist()
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    """

    bins: int = 32

    def describe(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the three histograms one after the other."""
        places = image_HWC.reshape(-1, 3).astype(np.int64) * self.bins // 256
        counts = np.bincount((places + self.bins * np.arange(3)).ravel(), minlength=3 * self.bins)
        return counts / len(places)


@dataclass(frozen=True)
class LocalBinaryPatterns(Handcrafted):
    """The share of the pixels with each uniform pattern of their eight neighbours, the rest together: 59 numbers.

    A neighbour counts where it is at least as bright. Uniform patterns change at most twice on the way round; they are
    ordered by their code, whose bits run clockwise from the top left. The image's outermost pixels have no pattern.

    >>> int(LocalBinaryPatterns().describe(np.full((3, 3, 3), 7, np.uint8)).argmax())
    57
    """

    def describe(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the histogram of patterns."""
        brightness = grey(image_HWC)
        middle = brightness[1:-1, 1:-1]
        codes = np.zeros(middle.shape, np.int64)
        height, width = brightness.shape
        for bit, (down, right) in enumerate(_NEIGHBOURS):
            neighbour = brightness[1 + down : height - 1 + down, 1 + right : width - 1 + right]
            codes |= (neighbour >= middle).astype(np.int64) << bit
        return np.bincount(_uniform_places()[codes].ravel(), minlength=59) / codes.size


@lru_cache(maxsize=1)
def _uniform_places() -> NDArray[np.int64]:
    """The bin of each of the 256 codes: 0 to 57 for uniform ones by code, 58 for the others."""
    codes = np.arange(256)
    turned = (codes >> 1) | ((codes & 1) << 7)
    changes = np.array([int(code).bit_count() for code in codes ^ turned])
    uniform = changes <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, 58)


@dataclass(frozen=True)
class Gist(Handcrafted):
    """How strong edges of each size and direction are in each cell of a grid: scales x directions x cells² numbers.

    The image is brought to `side` pixels, its contrast evened out, and filtered by Gabor functions from fine to coarse
    (centred at 0.3 cycles a pixel and 1.85 times lower a scale); a number is the mean of one filter's magnitude over a
    cell. By filter first, then cell row by row.

    >>> Gist(side=32).describe(np.zeros((8, 8, 3), np.uint8)).shape
    (512,)
    """

    scales: int = 4
    directions: int = 8
    cells: int = 4
    side: int = 128

    def describe(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the mean magnitudes."""
        even = _even_contrast(np.log1p(_resized(grey(image_HWC), self.side)))
        pad = self.side // 4
        spectrum = fft.fft2(np.pad(even, pad, mode="symmetric").astype(np.float32))
        energies = np.abs(fft.ifft2(spectrum[None] * _gabor(self.scales, self.directions, self.side + 2 * pad)))
        inside = energies[:, pad : pad + self.side, pad : pad + self.side]
        edges = np.linspace(0, self.side, self.cells + 1).round().astype(int)
        rows = np.add.reduceat(inside, edges[:-1], axis=1)
        sums = np.add.reduceat(rows, edges[:-1], axis=2)
        areas = np.diff(edges)[:, None] * np.diff(edges)[None, :]
        means: NDArray[np.float64] = (sums / areas).ravel()
        return means


def _resized(brightness: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Bring to a square by interpolating between pixel centres."""
    for axis, length in enumerate(brightness.shape):
        at = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        high = np.minimum(low + 1, length - 1)
        brightness = np.take(brightness, low, axis) * (1 - share) + np.take(brightness, high, axis) * share
    return brightness


def _even_contrast(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take away what is smooth over 4 cycles an image, and divide by how much is left around each pixel."""
    pad = 5
    padded = np.pad(image, pad, mode="symmetric")
    y, x = (fft.fftfreq(length) * length for length in padded.shape)
    smooth = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) * np.log(2) / 4**2)
    rest = padded - fft.ifft2(fft.fft2(padded) * smooth).real
    spread = np.sqrt(np.abs(fft.ifft2(fft.fft2(rest**2) * smooth).real))
    even: NDArray[np.float64] = (rest / (0.2 + spread))[pad:-pad, pad:-pad]
    return even


@lru_cache(maxsize=4)
def _gabor(scales: int, directions: int, side: int) -> NDArray[np.float32]:
    """Gaussians in the logarithm-like radius and in the angle of the frequency plane, (scales * directions, S, S)."""
    frequency = fft.fftfreq(side)
    radius = np.hypot(frequency[None, :], frequency[:, None])
    angle = np.arctan2(frequency[:, None], frequency[None, :])
    bank = []
    for scale in range(scales):
        centre = 0.3 / 1.85**scale
        for direction in range(directions):
            turned = (angle + np.pi * direction / directions + np.pi) % (2 * np.pi) - np.pi
            width = 16 * directions**2 / 32**2
            bank.append(np.exp(-3.5 * (radius / centre - 1) ** 2 - 2 * np.pi * width * turned**2))
    return np.stack(bank).astype(np.float32)
