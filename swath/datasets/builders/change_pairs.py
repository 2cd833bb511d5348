"""Pairs of dates with known changes, made from single-date imagery: change detection without change labels.

Our own recipe. One image becomes both dates. In one of them pieces of ground are replaced by other ground (a field, a
clearing, a new quarter: *regions*), and known things (trees, buildings, whatever the imagery's own labels mark) are
taken away (*objects*); swapping the dates turns vanishing into appearing. Then each date gets a light and a season of
its own, single fields another colour besides, and the second is shifted by up to two pixels. What was replaced is the
truth: no change label is needed.

Where the imagery shows some ground on several real dates, pairs start from two of them: other shadows, seasons, cameras
and positions are then real. What changed there between the dates by itself stays marked as unchanged: between a few
years, little did.

A pair is drawn anew by its number and the seed alone, so a data set of any length costs nothing and repeats itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import ndimage

from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size, Window
from swath.samples.instances import Instances
from swath.samples.moves import Crop, Flip, QuarterTurns, Resize
from swath.samples.rasters import CHANGE_CLASSES, ClassMap
from swath.samples.sample import Sample
from swath.samples.vectors import Boxes, Points

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation

    Image = NDArray[np.float32]  # (C, H, W), the unit's own values
    Mask = NDArray[np.bool_]  # (H, W)


class SampleList(Protocol):
    """Samples by number: a list of them, or a data set."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, position: int, /) -> Sample:
        """The sample of one number."""
        ...


@dataclass(frozen=True, kw_only=True)
class LightSettings:
    """How much two dates differ where nothing changed; each is the spread of a normal draw a date.

    `gain` and `band_gain` multiply all bands, and each of them, by exp(draw); `gamma` bends the curve by exp(draw);
    `offset` adds haze, as a share of the range; `season` moves what is greener than grey towards brown or back;
    `blur` is the largest spread in pixels, `noise` that of the sensor, as a share of the range. Up to `fields` pieces
    of one date take another colour, the spread of a band's factor there being `field_gain`: crops ripen, soil dries.
    """

    gain: float = 0.15
    band_gain: float = 0.12
    gamma: float = 0.15
    offset: float = 0.03
    season: float = 0.5
    blur: float = 0.8
    noise: float = 0.01
    fields: int = 0
    field_gain: float = 0.2


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How pairs are drawn: sizes in pixels, shares and probabilities 0 to 1.

    `zoom` is the range of scales at which imagery is shown. A share `unchanged` of the pairs holds no change; others
    have up to `regions` replaced pieces, each of a share of the frame between the two of `region_area`, and with
    probability `vanish` lose some of their objects. A piece counts only where the new ground looks different: its
    mean and spread must differ from the old by `difference` of the range. `registration` is the largest shift. A share
    `two_dates` of the pairs starts from two real dates of one place, where the imagery holds such places.

    >>> PairSettings(size=128).registration
    2.0
    """

    size: int = 256
    zoom: tuple[float, float] = (0.6, 1.4)
    unchanged: float = 0.15
    regions: int = 4
    region_area: tuple[float, float] = (0.003, 0.15)
    difference: float = 0.08
    vanish: float = 0.5
    object_radius: float = 6.0
    registration: float = 2.0
    two_dates: float = 0.5
    light: LightSettings = LightSettings()

    def __post_init__(self) -> None:
        for name in ("unchanged", "vanish", "two_dates"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"pairs: '{name}' must be 0 to 1; found {getattr(self, name)}.")
        if self.size < 16 or not 0 <= self.registration <= self.size / 8:
            raise ConfigurationError(
                f"pairs: 'size' is at least 16 pixels and 'registration' at most an eighth of it; found {self.size} "
                f"and {self.registration}."
            )
        for name in ("zoom", "region_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigurationError(f"pairs: '{name}' must rise from above 0; found {(low, high)}.")

    @property
    def margin(self) -> int:
        """Pixels around a pair that the shift of the second date may uncover."""
        return math.ceil(self.registration) + 1


@dataclass(frozen=True, kw_only=True)
class ChangePairs:
    """So many pairs `before` and `after` made from single-date samples; the truth is a `ClassMap` of change.

    `source` gives samples with an `image` of at least a few hundred pixels a side, and whatever is known of them:
    `ClassMap` (everything but the first class is an object), `Boxes`, `Instances`, `Points`, or nothing. The bands
    must be the same in all. `places` lists, for each place seen on several dates, the numbers of its samples. Raises
    `DataError` for an empty source.
    """

    source: SampleList
    pairs: int
    seed: int = 0
    settings: PairSettings = PairSettings()
    places: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not len(self.source):
            raise DataError("pairs cannot be made of no imagery; give a data set with at least one sample.")

    def __len__(self) -> int:
        return self.pairs

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.pairs:
            raise IndexError(index)
        draw = np.random.default_rng((self.seed, index))
        base, later = self._base(draw)
        scene = _Scene.of(base, later, self.settings)
        if draw.random() >= self.settings.unchanged:
            if draw.random() < self.settings.vanish:
                scene.vanish_objects(draw)
            for _ in range(int(draw.integers(self.settings.regions + 1))):
                scene.replace_region(_values(self._frame(draw)), draw)
        return self._dated(base, scene, draw, key=f"pair{index}")

    def _base(self, draw: Generator) -> tuple[Sample, Sample]:
        """Return the ground of a pair on two dates of one place, or twice on the one date that there is."""
        if self.places and draw.random() < self.settings.two_dates:
            place = self.places[int(draw.integers(len(self.places)))]
            early, late = (self.source[int(number)] for number in draw.choice(place, 2, replace=False))
            if early.size == late.size:
                seed = int(draw.integers(2**62))  # both dates are cut alike
                return self._cut(early, np.random.default_rng(seed)), self._cut(late, np.random.default_rng(seed))
        base = self._frame(draw)
        return base, base

    def _frame(self, draw: Generator) -> Sample:
        """Cut a random piece out of a random sample."""
        return self._cut(self.source[int(draw.integers(len(self.source)))], draw)

    def _cut(self, sample: Sample, draw: Generator) -> Sample:
        """Cut a random piece out of a sample, at a random scale and orientation, with the margin around it."""
        side = self.settings.size + 2 * self.settings.margin
        zoom = float(draw.uniform(*self.settings.zoom))
        zoom = max(zoom, side / min(sample.size.height, sample.size.width))
        wanted = Size(math.ceil(sample.size.height * zoom), math.ceil(sample.size.width * zoom))
        sample = sample.moved(Resize(wanted))
        row, column = (int(draw.integers(length - side + 1)) for length in (wanted.height, wanted.width))
        sample = sample.moved(Crop(Window(row, column, side, side))).moved(QuarterTurns(int(draw.integers(4))))
        return sample.moved(Flip(horizontal=True)) if draw.random() < 0.5 else sample

    def _dated(self, base: Sample, scene: _Scene, draw: Generator, *, key: str) -> Sample:
        """Give each date its light, shift the second, cut the margin away, and say what changed."""
        pixels = base.images["image"]
        highest = _range_of(pixels.values)
        light = self.settings.light
        recolour(scene.new, light, draw)
        early, late = (relight(image, light, draw, highest) for image in (scene.old, scene.new))
        late = shift(late, draw.uniform(-self.settings.registration, self.settings.registration, 2))
        changed = scene.changed
        if draw.random() < 0.5:
            early, late = late, early
        inner = Crop(Window(self.settings.margin, self.settings.margin, self.settings.size, self.settings.size))
        images = {
            slot: replace(pixels, values=_stored(image, pixels.values.dtype), valid=None)
            for slot, image in (("before", early), ("after", late))
        }
        target = ClassMap(
            size=Size(*changed.shape), labels=changed.astype(np.uint8), classes=CHANGE_CLASSES, ignore=255
        )
        return Sample(key=key, images=images, target=target).moved(inner)


@dataclass(kw_only=True)
class _Scene:
    """A pair while it is made: the old ground, the new one, and where they differ."""

    old: Image
    new: Image
    changed: Mask
    objects: list[Mask]
    settings: PairSettings
    highest: float

    @classmethod
    def of(cls, early: Sample, late: Sample, settings: PairSettings) -> _Scene:
        size = early.size
        return cls(
            old=_values(early),
            new=_values(late),
            changed=np.zeros((size.height, size.width), dtype=np.bool_),
            objects=object_masks(late.target, radius=settings.object_radius),
            settings=settings,
            highest=_range_of(early.images["image"].values),
        )

    def replace_region(self, donor: Image, draw: Generator) -> None:
        """Lay a piece of the donor over the new date, where it looks different from what was there."""
        area = math.exp(draw.uniform(*np.log(self.settings.region_area)))
        region = random_region(self.changed.shape, area, draw) & ~ndimage.binary_dilation(self.changed, iterations=3)
        if region.sum() < 20 or looks_alike(self.old, donor, region, self.settings.difference * self.highest):
            return
        self.new = blend(self.new, donor, region)
        self.changed |= region

    def vanish_objects(self, draw: Generator) -> None:
        """Take some objects away: the ground beside them is laid over each."""
        taken = np.zeros_like(self.changed)
        every = np.logical_or.reduce([taken, *self.objects])
        share = draw.uniform(0.1, 0.6)
        for mask in self.objects:
            if draw.random() > share:
                continue
            grown = ndimage.binary_dilation(mask, iterations=2)
            filled = fill_from_beside(self.new, grown, every, draw)
            if filled is None or looks_alike(self.old, filled, mask, self.settings.difference * self.highest):
                continue
            self.new = blend(self.new, filled, grown)
            self.changed |= mask


def object_masks(target: Annotation | None, *, radius: float) -> list[NDArray[np.bool_]]:
    """Return one mask (H, W) for each thing that an annotation marks; points become discs of `radius` pixels.

    >>> from swath.samples.vectors import Points
    >>> points = Points(size=Size(9, 9), points=[[4.5, 4.5]], labels=[0], classes=("tree",))
    >>> int(object_masks(points, radius=1.0)[0].sum())
    5
    """
    if target is None:
        return []
    if isinstance(target, ClassMap):
        things, count = ndimage.label(target.known() & (target.labels > 0))
        return [things == number for number in range(1, count + 1)]
    rows, columns = np.mgrid[: target.size.height, : target.size.width] + 0.5
    if isinstance(target, Points):
        return [(columns - x) ** 2 + (rows - y) ** 2 <= radius**2 for x, y in target.points]
    if isinstance(target, Boxes):
        return [(columns > a) & (columns < c) & (rows > b) & (rows < d) for a, b, c, d in target.boxes]
    if isinstance(target, Instances):
        return [mask.decode() for mask in target.masks]
    raise DataError(
        f"pairs are made from class maps, points, boxes, instances or plain imagery; found {type(target).__name__}."
    )


def random_region(shape: tuple[int, int], area: float, draw: Generator) -> NDArray[np.bool_]:
    """Return a piece of about a share `area` of a frame: a turned rectangle, as fields are, or a smooth blob.

    >>> region = random_region((64, 64), 0.1, np.random.default_rng(0))
    >>> bool(0.01 < region.mean() < 0.2)
    True
    """
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    middle_row, middle_column = draw.uniform(0, height), draw.uniform(0, width)
    angle, aspect = draw.uniform(0, math.pi), math.exp(draw.uniform(-1.2, 1.2))
    across = (columns - middle_column) * math.cos(angle) + (rows - middle_row) * math.sin(angle)
    along = (rows - middle_row) * math.cos(angle) - (columns - middle_column) * math.sin(angle)
    side = math.sqrt(area * height * width)
    if draw.random() < 0.5:
        box: NDArray[np.bool_] = (np.abs(across) <= side * aspect / 2) & (np.abs(along) <= side / aspect / 2)
        return box
    wobble = ndimage.gaussian_filter(draw.standard_normal(shape), max(side / 5, 1.0))
    distance = np.hypot(across / aspect, along * aspect) / (side / math.sqrt(math.pi))
    blob: NDArray[np.bool_] = distance + 0.5 * wobble / max(float(wobble.std()), 1e-6) < 1
    return blob


def looks_alike(old: Image, new: Image, region: Mask, threshold: float) -> bool:
    """Return whether the mean and spread of a region, averaged over the bands, differ by less than a threshold.

    >>> flat = np.zeros((1, 4, 4), np.float32)
    >>> looks_alike(flat, flat + 10, np.ones((4, 4), bool), 5.0)
    False
    """
    one, other = old[:, region], new[:, region]
    moved = np.abs(one.mean(1) - other.mean(1)) + np.abs(one.std(1) - other.std(1))
    return bool(moved.mean() < threshold)


def blend(under: Image, over: Image, region: Mask) -> Image:
    """Lay `over` on `under` inside a region, its edge a pixel soft.

    >>> blend(np.zeros((1, 1, 9), np.float32), np.ones((1, 1, 9), np.float32), np.arange(9)[None] > 3)[0, 0, [0, 8]]
    array([0., 1.], dtype=float32)
    """
    alpha = ndimage.gaussian_filter(region.astype(np.float32), 0.7)
    mixed: Image = under + alpha * (over - under)
    return mixed


def fill_from_beside(image: Image, hole: Mask, objects: Mask, draw: Generator, *, tries: int = 12) -> Image | None:
    """Return the image moved so that free ground beside a hole comes to lie over it; None where none was found.

    Of so many random moves the one is taken whose ground fits the ring around the hole best.
    """
    rows, columns = np.nonzero(hole)
    reach = 2.5 * max(int(np.ptp(rows)), int(np.ptp(columns)), 4)
    ring = ndimage.binary_dilation(hole, iterations=3) & ~hole & ~objects
    best: tuple[float, Image] | None = None
    for _ in range(tries):
        down, right = (round(float(step)) for step in draw.uniform(-reach, reach, 2))
        moved_hole = _rolled(hole, -down, -right)
        if moved_hole.sum() < hole.sum() or (moved_hole & (objects | hole)).any():
            continue
        candidate = np.roll(image, (down, right), axis=(1, 2))
        misfit = float(np.abs(candidate - image)[:, ring].mean()) if ring.any() else 0.0
        if best is None or misfit < best[0]:
            best = (misfit, candidate)
    return None if best is None else best[1]


def recolour(image: Image, light: LightSettings, draw: Generator) -> None:
    """Give up to `light.fields` pieces of an image (C, H, W) another colour each, in place; their texture stays.

    >>> image = np.full((3, 32, 32), 100, np.float32)
    >>> recolour(image, LightSettings(fields=0), np.random.default_rng(0))
    >>> float(np.ptp(image))
    0.0
    """
    for _ in range(int(draw.integers(light.fields + 1))):
        region = random_region(image.shape[1:], math.exp(draw.uniform(*np.log((0.02, 0.3)))), draw)
        gains = np.exp(light.field_gain * draw.standard_normal((len(image), 1, 1))).astype(np.float32)
        image[:] = blend(image, image * gains, region)


def relight(image: Image, light: LightSettings, draw: Generator, highest: float) -> Image:
    """Return an image (C, H, W) with values 0 to `highest` in another light and season.

    The season acts on three bands or more, the first three being red, green and blue.

    >>> still = LightSettings(gain=0, band_gain=0, gamma=0, offset=0, season=0, blur=0, noise=0)
    >>> image = np.full((3, 4, 4), 100, np.float32)
    >>> bool(np.allclose(relight(image, still, np.random.default_rng(0), 255.0), image))
    True
    """
    shares = np.clip(image / highest, 0, 1)
    if len(shares) >= 3:
        green = np.clip((2 * shares[1] - shares[0] - shares[2]) * 4, 0, 1)
        amount = light.season * draw.standard_normal()
        # Drying grass gains red and loses blue; the other sign is a greener date.
        turn = np.array([0.12, -0.02, -0.03], np.float32) * amount
        shares = shares.copy()
        shares[:3] += turn[:, None, None] * green
    gain = math.exp(light.gain * draw.standard_normal())
    bands = np.exp(light.band_gain * draw.standard_normal(len(shares))) * gain
    gamma = math.exp(light.gamma * draw.standard_normal())
    shares = np.clip(shares, 0, 1) ** gamma * bands[:, None, None] + light.offset * draw.standard_normal()
    spread = draw.uniform(0, light.blur)
    if spread > 0.3:
        shares = ndimage.gaussian_filter(shares, (0, spread, spread))
    noisy = shares + light.noise * draw.standard_normal(shares.shape)
    relit: Image = (np.clip(noisy, 0, 1) * highest).astype(np.float32)
    return relit


def shift(image: Image, by: NDArray[np.float64]) -> Image:
    """Return an image (C, H, W) moved by (rows, columns), fractions interpolated, its edge repeated.

    >>> shift(np.arange(4, dtype=np.float32)[None, None], np.array([0.0, 1.0]))[0, 0].tolist()
    [0.0, 0.0, 1.0, 2.0]
    """
    moved: Image = ndimage.shift(image, (0, *by), order=1, mode="nearest")
    return moved


def _rolled(mask: Mask, down: int, right: int) -> Mask:
    """Move a mask; what leaves the frame is lost."""
    return Crop(Window(-down, -right, *mask.shape)).array(mask)


def _values(sample: Sample) -> Image:
    return sample.images["image"].values.astype(np.float32)


def _range_of(values: NDArray[Any]) -> float:
    """Return the highest value that the type (whole numbers) or the image (fractions) holds."""
    if np.issubdtype(values.dtype, np.integer):
        return float(np.iinfo(values.dtype).max)
    return max(float(np.nanmax(values)), 1e-6)


def _stored(image: Image, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.rint(image).astype(dtype) if np.issubdtype(dtype, np.integer) else image.astype(dtype)
