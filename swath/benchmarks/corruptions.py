"""The twelve corruptions of REOBench at severities 1 to 5, for imagery of any bands and any unit.

The benchmark published corrupted images but neither the generator nor its parameters; these are ours, in the
order of its lists (sheet reobench, "Corruption specification we propose"). Strengths are given for 8-bit values.
Imagery in another unit is shown as 8-bit values first, by what black and white are in its unit
(`benchmarks.value_ranges`), and brought back afterwards; nothing leaves the range of values. Reflectance of 0.3,
for example, is white, so noise of 10 grey levels has a standard deviation of 0.012.

A corruption leaves nothing to chance: all that is random depends on its `seed`, its name and the sample's key
alone. Over the severities of one sample the draw stays the same, so that a higher severity is the same distortion,
stronger. Severity 0 changes nothing. Rotation, scale and translation move target and image together; what comes
from outside is black (and counts as seen, as in an ordinary image file) and unknown in the target. Objects of
which less than 30 % stays in the frame are dropped.

>>> [kind.name for kind in CORRUPTIONS[:3]]
['Gaussian noise', 'salt and pepper noise', 'Gaussian blur']
>>> CORRUPTIONS[0](5).sigma
70.0
"""

from __future__ import annotations

import hashlib
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import shapely
from PIL import Image
from scipy.ndimage import gaussian_filter

from swath.benchmarks.patterns import GapShape, fractal_pattern, line_kernel, rectangle, stripe
from swath.benchmarks.value_ranges import EightBitScale, ValueRange
from swath.errors import ConfigurationError
from swath.geometry._compile import compiled
from swath.geometry.windows import Size, Window
from swath.samples.moves import Crop, Move, Resize, Rotate
from swath.samples.objects import Objects
from swath.samples.pixel_ops import as_type, move_grid, move_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.pixels import Pixels
    from swath.samples.sample import Sample

    Shown: TypeAlias = NDArray[Any]

SEVERITIES = (1, 2, 3, 4, 5)
GAP_DRAWS = 20
LEAST_LEFT = 0.3
"""Objects of which less than this share of their area stays in the frame are dropped."""


@dataclass(frozen=True)
class Corruption(ABC):
    """One way in which an image may be worse than those a model learned from, with its severity 0 to 5.

    It is a transform: a protocol may hold it, and calls it with a generator that it does not use. `value_range`
    says which values are black and white where the unit's own are not meant.
    """

    severity: int
    seed: int = 0
    value_range: ValueRange | None = None
    name: ClassVar[str]
    geometric: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.severity not in (0, *SEVERITIES):
            raise ConfigurationError(f"The severity of a corruption is 0 (none) to 5; found {self.severity}.")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:  # noqa: ARG002 (one signature)
        """Return the corrupted sample."""
        return self.applied(sample) if self.severity else sample

    @abstractmethod
    def applied(self, sample: Sample) -> Sample:
        """Return the corrupted sample; the severity is above 0."""

    def of_severity(self, values: Sequence[float]) -> float:
        """Return the value of this severity, of five values."""
        return float(values[max(self.severity, 1) - 1])

    def chance(self, sample: Sample, slot: str = "") -> np.random.Generator:
        """Return the generator of what is random about a sample, whatever the severity."""
        text = f"{self.seed}/{self.name}/{slot}/{sample.key}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


class Appearance(Corruption):
    """Corruptions of how an image looks; target and frame stay. Every slot is corrupted by itself."""

    def applied(self, sample: Sample) -> Sample:
        """Return the sample with every slot corrupted."""
        images = {}
        for slot, pixels in sample.images.items():
            scale, chance = EightBitScale.of(pixels, self.value_range), self.chance(sample, slot)
            if _is_shown_as_stored(scale):
                changed = _as_bytes(self.changed(_black_where_invalid(pixels), pixels.valid, chance))
                values = changed if pixels.valid is None else np.where(pixels.valid, changed, pixels.values)
            else:
                values = scale.back(self.changed(scale.forth(), pixels.valid, chance))
            images[slot] = replace(pixels, values=values)
        return replace(sample, images=images)

    @abstractmethod
    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Return the corrupted values (C, H, W), 0 black and 255 white; `valid` (H, W) is None where all are.

        They come as bytes from an image that is stored so, otherwise as float64, and may be returned as either.
        """


class GaussianNoise(Appearance):
    """Independent normal noise on every pixel of every band."""

    name: ClassVar[str] = "Gaussian noise"

    @property
    def sigma(self) -> float:
        """The standard deviation in grey levels."""
        return self.of_severity((10, 20, 35, 50, 70))

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Add the noise."""
        del valid
        return values + self.sigma * chance.standard_normal(values.shape)


class SaltAndPepperNoise(Appearance):
    """Single pixels turned white or black in all bands, half of them each."""

    name: ClassVar[str] = "salt and pepper noise"

    @property
    def fraction(self) -> float:
        """The share of the pixels."""
        return self.of_severity((0.01, 0.03, 0.06, 0.10, 0.15))

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Set the pixels."""
        del valid
        draw, changed = chance.random(values.shape[1:]), values.copy()
        changed[:, draw < self.fraction / 2] = 255
        changed[:, draw > 1 - self.fraction / 2] = 0
        return changed


class GaussianBlur(Appearance):
    """A blur by a Gaussian; invalid pixels count for nothing, and edges are repeated."""

    name: ClassVar[str] = "Gaussian blur"

    @property
    def sigma(self) -> float:
        """The standard deviation in pixels."""
        return self.of_severity((1, 2, 3, 4, 6))

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Blur each band."""
        del chance
        return _mean_of_valid(values, valid, lambda plane: gaussian_filter(plane, self.sigma, mode="nearest"))


class MotionBlur(Appearance):
    """The mean along a line of some direction; invalid pixels count for nothing, and edges are repeated."""

    name: ClassVar[str] = "motion blur"

    @property
    def length(self) -> int:
        """The length of the line in pixels."""
        return int(self.of_severity((5, 9, 13, 17, 25)))

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Blur each band along a line drawn by chance."""
        kernel = line_kernel(self.length, chance.uniform(0, math.pi))
        return _mean_of_valid(values, valid, lambda plane: _correlated(plane, kernel))


class BrightnessContrast(Appearance):
    """Less contrast about each band's mean, and a lighter or darker image, by chance."""

    name: ClassVar[str] = "brightness/contrast"

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Take a tenth of the contrast and shift by 15 grey levels, times the severity."""
        seen = values.reshape(len(values), -1) if valid is None else values[:, valid]
        means = seen.mean(axis=1)[:, None, None] if seen.shape[1] else np.zeros((len(values), 1, 1))
        sign = 1 if chance.random() < 0.5 else -1
        changed: Shown = (values - means) * (1 - 0.1 * self.severity) + means + sign * 15 * self.severity
        return changed


class Clouds(Appearance):
    """White clouds with soft edges, of a fractal pattern, in all bands alike."""

    name: ClassVar[str] = "clouds"

    @property
    def cover(self) -> float:
        """The share of the pixels that a cloud touches."""
        return self.of_severity((0.15, 0.25, 0.35, 0.45, 0.60))

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Blend in white where the pattern is highest."""
        del valid
        pattern = fractal_pattern(Size(*values.shape[1:]), chance, roughness=1.8)
        above = pattern - np.quantile(pattern, 1 - self.cover)
        # Half a standard deviation above its edge a cloud is dense.
        opacity = np.clip(above / 0.5, 0, 1)
        return values * (1 - opacity) + 255 * opacity


class Haze(Appearance):
    """Light scattered by the air: what lies below shines through, a little unevenly.

    The image becomes I t + A (1 - t) with airlight A = 0.9 * 255 (the model of Koschmieder 1924).
    """

    name: ClassVar[str] = "haze"

    @property
    def transmission(self) -> float:
        """The mean share t of the light that comes through."""
        return self.of_severity((0.8, 0.7, 0.6, 0.5, 0.4))

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Mix the image with the airlight."""
        del valid
        pattern = fractal_pattern(Size(*values.shape[1:]), chance, roughness=3.0)
        share = self.transmission * (1 + 0.1 * np.clip(pattern / 2, -1, 1))
        return values * share + 0.9 * 255 * (1 - share)


class DataGaps(Appearance):
    """Rectangles and stripes across the image without data: black in all bands, two more at each severity."""

    name: ClassVar[str] = "data gaps"
    shares: ClassVar[tuple[float, ...]] = (0.02, 0.05, 0.10, 0.15, 0.20)

    @property
    def share(self) -> float:
        """The share of the image that all gaps take, up to whole rows."""
        return self.of_severity(self.shares)

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Blacken the gaps."""
        del valid
        changed = values.copy()
        changed[:, self.gaps(Size(*values.shape[1:]), chance)] = 0
        return changed

    def gaps(self, size: Size, chance: np.random.Generator) -> NDArray[np.bool_]:
        """Return where the gaps are, (H, W): at each severity a rectangle and then a stripe more."""
        gaps = np.zeros((size.height, size.width), dtype=np.bool_)
        for share in self.shares[: self.severity]:
            for shape, part in ((rectangle, 0.5), (stripe, 1.0)):
                _add_gap(gaps, shape, part * (share * size.area - float(gaps.sum())), chance)
        return gaps


class CompressionArtefacts(Appearance):
    """What JPEG leaves of an image: three bands as one colour image, otherwise each band by itself.

    What lies beyond black and white is no part of the JPEG and is added to it again.
    """

    name: ClassVar[str] = "compression artefacts"

    @property
    def quality(self) -> int:
        """The quality that Pillow compresses with."""
        return int(self.of_severity((50, 30, 20, 12, 7)))

    def changed(self, values: Shown, valid: NDArray[np.bool_] | None, chance: np.random.Generator) -> Shown:
        """Compress and read again."""
        del valid, chance
        shown = _as_bytes(values)
        if len(shown) == 3:
            read = np.ascontiguousarray(self._compressed(shown.transpose(1, 2, 0)).transpose(2, 0, 1))
        else:
            read = np.stack([self._compressed(plane) for plane in shown])
        return read if shown is values else values + read.astype(np.float64) - shown

    def _compressed(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(plane)).save(stream, "JPEG", quality=self.quality)
        return np.asarray(Image.open(stream))


class Geometric(Corruption):
    """Corruptions of where things are: the target moves with the image."""

    geometric: ClassVar[bool] = True

    @abstractmethod
    def moves(self, size: Size, chance: np.random.Generator) -> tuple[Move, ...]:
        """Return the moves of a frame, in order; together they keep its size."""

    def applied(self, sample: Sample) -> Sample:
        """Return the sample with images, target and footprint moved."""
        for move in self.moves(sample.size, self.chance(sample)):
            sample = self._moved(sample, move)
        return sample

    def _moved(self, sample: Sample, move: Move) -> Sample:
        size, target, footprint = sample.size, sample.target, sample.footprint
        if isinstance(target, Objects) and move.loses:
            target = target.select(mostly_inside(target, move.for_frame(size, target.size)))
        return replace(
            sample,
            images={slot: self._moved_pixels(p, move.for_frame(size, p.size)) for slot, p in sample.images.items()},
            target=None if target is None else target.moved(move.for_frame(size, target.size)),
            footprint=None if footprint is None else move_grid(footprint, move.for_frame(size, footprint.size)),
        )

    def _moved_pixels(self, pixels: Pixels, move: Move) -> Pixels:
        """Return moved pixels in which what came from outside is black and valid."""
        black = EightBitScale.of(pixels, self.value_range).black()
        if pixels.valid is None and (black == black[0]).all():
            values = move.array(pixels.values, fill=black.flat[0], smooth=move.interpolates)
            values = as_type(values, pixels.values.dtype)
            return replace(pixels, values=values, grid=move_grid(pixels.grid, move))
        moved = move_pixels(pixels, move)
        if move.covers(pixels.size):
            return moved
        outside = ~move.array(np.ones((pixels.size.height, pixels.size.width), dtype=np.bool_))
        valid = None if pixels.valid is None or moved.valid is None else moved.valid | outside
        return replace(moved, values=np.where(outside, black, moved.values), valid=valid)


class Rotation(Geometric):
    """A turn about the centre, to the left or right by chance."""

    name: ClassVar[str] = "rotation"

    @property
    def degrees(self) -> float:
        """The angle."""
        return self.of_severity((5, 10, 20, 30, 45))

    def moves(self, size: Size, chance: np.random.Generator) -> tuple[Move, ...]:
        """Return the turn."""
        del size
        return (Rotate(self.degrees if chance.random() < 0.5 else -self.degrees),)


class Scale(Geometric):
    """The same scene smaller in the middle of the frame, or its middle larger, by chance."""

    name: ClassVar[str] = "scale"

    @property
    def factor(self) -> float:
        """The size of what is smaller, as a share of the frame."""
        return self.of_severity((0.9, 0.8, 0.7, 0.6, 0.5))

    def moves(self, size: Size, chance: np.random.Generator) -> tuple[Move, ...]:
        """Return a resize and a crop that sticks out, or a crop and a resize."""
        small = Size(max(1, round(size.height * self.factor)), max(1, round(size.width * self.factor)))
        row, column = (size.height - small.height) // 2, (size.width - small.width) // 2
        if chance.random() < 0.5:
            return Resize(small), Crop(Window(-row, -column, size.height, size.width))
        return Crop(Window(row, column, small.height, small.width)), Resize(size)


class Translation(Geometric):
    """A shift by whole pixels along both axes, each in either direction by chance."""

    name: ClassVar[str] = "translation"

    @property
    def share(self) -> float:
        """The shift as a share of each side."""
        return self.of_severity((0.05, 0.10, 0.15, 0.20, 0.25))

    def moves(self, size: Size, chance: np.random.Generator) -> tuple[Move, ...]:
        """Return the crop that shifts."""
        down, right = np.where(chance.random(2) < 0.5, 1, -1)
        row, column = round(self.share * size.height) * int(down), round(self.share * size.width) * int(right)
        return (Crop(Window(-row, -column, size.height, size.width)),)


CORRUPTIONS: tuple[type[Corruption], ...] = (
    GaussianNoise,
    SaltAndPepperNoise,
    GaussianBlur,
    MotionBlur,
    BrightnessContrast,
    Clouds,
    Haze,
    DataGaps,
    CompressionArtefacts,
    Rotation,
    Scale,
    Translation,
)
"""The twelve in REOBench's order: nine of appearance, three geometric."""


def corruption_named(name: str) -> type[Corruption]:
    """Return a kind of corruption by its name in any case; raise `ConfigurationError` for an unknown one.

    >>> corruption_named("haze")(3).transmission
    0.6
    """
    for kind in CORRUPTIONS:
        if kind.name.casefold() == name.casefold():
            return kind
    raise ConfigurationError(
        f"There is no corruption '{name}'; there are {', '.join(kind.name for kind in CORRUPTIONS)}."
    )


def mostly_inside(objects: Objects, move: Move) -> NDArray[np.bool_]:
    """Return which objects (N,) keep at least `LEAST_LEFT` of their area in the frame after a move.

    What has no area, such as points, is left to the move.

    >>> from swath.samples.vectors import Boxes
    >>> boxes = Boxes(size=Size(8, 8), boxes=[[0, 0, 4, 4], [4, 0, 8, 4]], classes=("ship",))
    >>> mostly_inside(boxes, Crop(Window(0, 3, 8, 8))).tolist()
    [False, True]
    """
    affine, size = move.affine(objects.size), move.size_after(objects.size)
    outlines = shapely.transform(np.array(list(objects.outlines()), dtype=object), affine.apply)
    areas = shapely.area(outlines)
    inside = shapely.area(shapely.intersection(outlines, shapely.box(0, 0, size.width, size.height)))
    kept: NDArray[np.bool_] = (inside >= LEAST_LEFT * areas) | (areas == 0)
    return kept


def _is_shown_as_stored(scale: EightBitScale) -> bool:
    return scale.pixels.values.dtype == np.uint8 and bool((scale.low == 0).all() and (scale.span == 255).all())


def _black_where_invalid(pixels: Pixels) -> Shown:
    return pixels.values if pixels.valid is None else np.where(pixels.valid, pixels.values, np.uint8(0))


def _as_bytes(values: Shown) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    rounded = np.rint(values)
    return np.clip(rounded, 0, 255, out=rounded).astype(np.uint8)


def _mean_of_valid(
    values: Shown, valid: NDArray[np.bool_] | None, smooth: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Smooth each band of (C, H, W) so that invalid pixels count for nothing."""
    exact = values.astype(np.float64, copy=False)
    if valid is None:
        return np.stack([smooth(plane) for plane in exact])
    weight = np.maximum(smooth(valid.astype(np.float64)), 1e-6)
    return np.stack([smooth(np.where(valid, plane, 0.0)) / weight for plane in exact])


def _correlated(plane: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a plane (H, W) averaged with the weights (K, K) of a kernel that is mostly 0; edges are repeated."""
    mixed = np.zeros_like(plane)
    _add_weighted(np.pad(plane, len(kernel) // 2, mode="edge"), np.argwhere(kernel > 0), kernel, mixed)
    return mixed


@compiled
def _add_weighted(
    padded: NDArray[np.float64], taps: NDArray[np.int64], kernel: NDArray[np.float64], mixed: NDArray[np.float64]
) -> None:
    height, width = mixed.shape
    for row in range(height):
        sums = mixed[row]
        for tap in range(len(taps)):
            down, along = taps[tap]
            weight = kernel[down, along]
            # Whole stretches, which the compiler can take several columns at a time.
            stretch = padded[row + down, along : along + width]
            for column in range(width):
                sums[column] += weight * stretch[column]


def _add_gap(gaps: NDArray[np.bool_], shape: GapShape, area: float, chance: np.random.Generator) -> None:
    """Mark one more gap of about this area in `gaps` (H, W), where none is yet if twenty draws find such a place."""
    if area <= 0:
        return
    size = Size(*gaps.shape)
    for _ in range(GAP_DRAWS):
        window = shape(size, area, chance)
        if not gaps[window.slices].any():
            break
    gaps[window.slices] = True
