"""What frozen networks are shown of a data set: which bands, with zeros for those that lack, under which normalisation.

Corley et al.: "Revisiting pre-trained remote sensing model benchmarks: resizing and normalization matters", PBVS
workshop of CVPR 2024, arXiv 2305.13456, names the normalisations and pads Sentinel-2 data to 13 bands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from swath.benchmarks.resize_normalize_study import statistics_of
from swath.datasets.statistics import band_statistics
from swath.errors import BandMismatch, ConfigurationError, NothingToSee
from swath.imagery.bands import Unit
from swath.imagery.sensors import SENTINEL_2_L1C
from swath.models.inputs import InputSpec
from swath.models.pretrain.preparation import Normalisation, with_zero_bands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from swath.datasets.spec import DatasetSpec
    from swath.models.pretrain.random_features import Indexed
    from swath.samples.sample import Sample

NormalisationName = Literal["raw", "divide", "standardization", "minmax", "for_seco", "own"]
"""`raw`: as stored. `divide`: to about 0 to 1, by 255 or 10,000. `standardization`: by the data set's mean and standard
deviation. `minmax`: its least value to 0, its greatest to 1. `for_seco`: reflectance of 0.275 to 1, clipped to 0 to 1.
`own`: as the network's input says."""
Padding = Literal["none", "correct", "published"]
"""Whether Sentinel-2 data are padded to 13 bands by zeros: not, each in its place, or as the published code does it."""

SENTINEL_2_ROLES = tuple(band.role for band in SENTINEL_2_L1C.bands)
RGB = ("red", "green", "blue")
MAY_LACK = frozenset({"coastal", "water_vapour", "cirrus"})
"""The bands of 60 m, which several products leave out."""
PUBLISHED_PLACE_OF_CIRRUS = 8
"""The published code puts the zeros of BigEarthNet's and TreeSatAI's band B10 before B8A."""

_DIVISORS = {Unit.EIGHT_BIT: 255.0, Unit.DN: 10_000.0, Unit.REFLECTANCE: 1.0}
SECO_SHARE = 0.275


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """The least and the greatest value of each band, in the data's own unit.

    >>> Extremes(minimum=(0.0,), maximum=(255.0,)).maximum
    (255.0,)
    """

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]


EUROSAT_EXTREMES = Extremes(
    minimum=(816, 0, 0, 0, 174, 153, 128, 0, 40, 1, 5, 1, 91),
    maximum=(17720, 28000, 28000, 28000, 23381, 27791, 28001, 28002, 15384, 183, 24704, 22210, 28000),
)
"""Of EuroSAT's 13 bands in the order of its files, as published; digital numbers."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How raw images come from samples, and which channels a network then sees.

    `input` reads bands that the data have, without normalising. `shown` are the channels of the network by role; those
    of `zero_bands`, by place, are zeros. Under the published padding zeros may lie in another place than that of the
    band that lacks, whose neighbours then sit in one another's places; `shown`, and with it statistics, stay in order.

    >>> from swath.datasets.registry import dataset
    >>> reading = Reading.of(dataset("so2sat"), padding="correct")
    >>> reading.input.channels, len(reading.shown), reading.zero_bands
    (10, 13, (0, 9, 10))
    """

    input: InputSpec
    shown: tuple[str, ...]
    zero_bands: tuple[int, ...] = ()

    @classmethod
    def of(cls, spec: DatasetSpec, bands: tuple[str, ...] | None = None, *, padding: Padding = "none") -> Reading:
        """Read bands of a data set by role, or all of them in the order of its files.

        With `padding`, all bands of Sentinel-2 become its 13 in their order. Raises `BandMismatch` for a band that the
        data lack and that may not be zeros.
        """
        shown = bands or (SENTINEL_2_ROLES if padding != "none" and _is_sentinel_2(spec) else spec.bands)
        lacking = tuple(role for role in shown if role not in spec.bands)
        if lacking and (padding == "none" or not set(lacking) <= MAY_LACK):
            raise BandMismatch(
                f"'{spec.name}' lacks the band{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}; its bands are "
                f"{', '.join(spec.bands)}. Choose among them, or pad what Sentinel-2 has at 60 m with zeros."
            )
        places = tuple(place for place, role in enumerate(shown) if role in lacking)
        if padding == "published" and shown == SENTINEL_2_ROLES and lacking == ("cirrus",):
            places = (PUBLISHED_PLACE_OF_CIRRUS,)
        kept = tuple(role for role in shown if role not in lacking)
        raw = InputSpec(bands=kept, unit=spec.unit, gsd=spec.gsd, window=64, overlap=0)
        return cls(input=raw, shown=shown, zero_bands=places)

    def as_read_by(self, own: InputSpec) -> Reading:
        """Return the same bands in the unit of a network's own input."""
        return replace(self, input=replace(self.input, unit=own.unit, stretch=own.stretch))

    def array(self, sample: Sample) -> NDArray[np.float32]:
        """Return the raw image (C, H, W) of a sample with its channels of zeros; invalid pixels are 0."""
        image = self.input.prepare(sample.images["image"])
        padded: NDArray[np.float32] = with_zero_bands(image[None], self.zero_bands)[0].numpy()
        return padded

    def network_input(self) -> InputSpec:
        """Return what a network that is built for these channels takes."""
        return replace(self.input, bands=self.shown)


def _is_sentinel_2(spec: DatasetSpec) -> bool:
    lacking = set(SENTINEL_2_ROLES) - set(spec.bands)
    return bool(lacking) and lacking <= MAY_LACK and set(spec.bands) <= set(SENTINEL_2_ROLES)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadImages:
    """The raw images of samples by position, with their channels of zeros, read when they are asked for."""

    samples: Indexed[Sample]
    reading: Reading

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> NDArray[np.float32]:
        return self.reading.array(self.samples[position])


def normalisation_of(
    name: NormalisationName, reading: Reading, spec: DatasetSpec, train: Indexed[Sample], own: InputSpec
) -> Normalisation:
    """Return a normalisation by name for what is read of a data set.

    Statistics are those published with the data set, or measured on `train` where there are none; channels of zeros
    have the mean 0 and the divisor as their spread, as published. `own` is the network's input. Raises
    `ConfigurationError` where a normalisation has no meaning for the data's unit.
    """
    if name == "raw":
        return Normalisation(name=name)
    if name == "own":
        return Normalisation(name=name, shift=own.mean, scale=own.std)
    divisor = _divisor(spec, name)
    if name == "divide":
        return Normalisation(name=name, scale=(divisor,))
    if name == "for_seco":
        return Normalisation(name=name, scale=(SECO_SHARE * divisor,), low=0.0, high=1.0)
    if name == "minmax":
        extremes = extremes_of(spec, train)
        shift = _by_channel(reading, spec, extremes.minimum, otherwise=0.0)
        highest = _by_channel(reading, spec, extremes.maximum, otherwise=divisor)
        # A band of one value has no span to divide by.
        scale = tuple(high - low or divisor for low, high in zip(shift, highest, strict=True))
        return Normalisation(name=name, shift=shift, scale=scale)
    statistics = statistics_of(spec) or band_statistics(each(train))
    spread = _by_channel(reading, spec, statistics.std, otherwise=divisor)
    return Normalisation(
        name=name,
        shift=_by_channel(reading, spec, statistics.mean, otherwise=0.0),
        scale=tuple(value or divisor for value in spread),
    )


def extremes_of(spec: DatasetSpec, train: Indexed[Sample]) -> Extremes:
    """Return the published extremes of EuroSAT's 13 bands, or those of the valid pixels of `train`."""
    if spec.name.startswith("eurosat-msi"):
        return EUROSAT_EXTREMES
    lows, highs = [], []
    for sample in each(train):
        pixels = sample.images["image"]
        values = pixels.values.reshape(len(pixels.bands), -1)
        if pixels.valid is not None:
            values = values[:, pixels.valid.ravel()]
        if values.shape[1]:
            lows.append(values.min(axis=1))
            highs.append(values.max(axis=1))
    if not lows:
        raise NothingToSee("the training part holds no valid pixel to take the least and greatest values of.")
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return Extremes(minimum=tuple(map(float, low)), maximum=tuple(map(float, high)))


def each(samples: Indexed[Sample]) -> Iterator[Sample]:
    """Read samples one after another."""
    return (samples[position] for position in range(len(samples)))


def _divisor(spec: DatasetSpec, name: NormalisationName) -> float:
    if spec.unit not in _DIVISORS or (name == "for_seco" and spec.unit == Unit.EIGHT_BIT):
        raise ConfigurationError(
            f"the normalisation '{name}' has no meaning for '{spec.name}', whose values are in {spec.unit.value}; "
            "choose another, such as standardization."
        )
    return _DIVISORS[spec.unit]


def _by_channel(
    reading: Reading, spec: DatasetSpec, values: tuple[float, ...], *, otherwise: float
) -> tuple[float, ...]:
    known = dict(zip(spec.bands, values, strict=True))
    return tuple(known.get(role, otherwise) for role in reading.shown)
