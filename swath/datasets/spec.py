"""A data set as a declaration, and the one loader that reads them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from swath.datasets.formats.images import read_image
from swath.errors import ConfigurationError, DataError
from swath.imagery.bands import Band, Sensor, Unit
from swath.samples.sample import Sample

if TYPE_CHECKING:
    from swath.datasets.layout import Layout
    from swath.datasets.records import Record
    from swath.datasets.splits import SplitRule
    from swath.datasets.statistics import BandStatistics
    from swath.imagery.pixels import Pixels

ALL = "all"
"""The name of the whole data set, whatever its parts."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What a data set is: classes in order, licence, layout on disk, bands, unit, ground-sample distance and
    split.

    `bands` are roles in the order of the files' bands; `gsd` is in metres, None where images differ. `source`
    says where the data come from, in words. With `sensor`, the bands are that sensor's, with its names,
    wavelengths, sample distances and scale. Every one of `slots` has these bands; `companions` are further
    slots with bands of their own, whose unit they name. `statistics`, by slot, and `counts`, the images of
    each part, are as published.

    >>> from swath.datasets.scenes import EUROSAT_RGB
    >>> EUROSAT_RGB.classes[:2], EUROSAT_RGB.gsd
    (('AnnualCrop', 'Forest'), 10.0)
    """

    name: str
    title: str
    classes: tuple[str, ...]
    licence: str
    citation: str
    source: str
    layout: Layout
    splits: SplitRule
    bands: tuple[str, ...]
    unit: Unit
    gsd: float | None
    sensor: Sensor | None = None
    slots: tuple[str, ...] = ("image",)
    companions: Mapping[str, tuple[Band, ...]] = field(default_factory=dict)
    statistics: Mapping[str, BandStatistics] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def file_bands(self) -> tuple[Band, ...]:
        """The bands of each file, the sensor's where there is one, otherwise named by their roles."""
        if self.sensor is not None:
            found = tuple(self.sensor.band(role) for role in self.bands)
            return found if self.unit == Unit.DN else tuple(band.in_unit(self.unit) for band in found)
        return tuple(Band(name=role, role=role, gsd=self.gsd, unit=self.unit) for role in self.bands)

    def open(self, root: str | Path, split: str = "train", *, cached: bool = False) -> Dataset:
        """List a part of the data set below a folder; images are read when they are asked for.

        `split` is one of the rule's parts or `"all"`; `cached` keeps what was read in memory. Raises
        `DataError` for a folder that is not laid out as declared, an unknown part, or one without images.
        """
        folder = Path(root)
        records = self.layout.records(folder, self.classes)
        parts = self.splits.parts(records, folder) if split != ALL else {ALL: records}
        if split not in parts:
            raise DataError(
                f"The data set '{self.name}' has no part '{split}'; it has {', '.join(parts)}, {ALL}: name one of them."
            )
        records = parts[split]
        if not records:
            held = ", ".join(f"{len(found)} in '{part}'" for part, found in parts.items() if found) or "none at all"
            raise DataError(
                f"The part '{split}' of '{self.name}' in {folder} holds no image (there are {held}); complete the data "
                "set, or name another part."
            )
        return Dataset(spec=self, split=split, records=tuple(records), cache={} if cached else None)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How many samples a part of a data set has, and how many of each class (or each group of places).

    >>> print(Summary(name="eurosat", split="test", samples=3, groups={"Forest": 2, "River": 1}))
    eurosat, test: 3 samples (Forest 2, River 1)
    """

    name: str
    split: str
    samples: int
    groups: Mapping[str, int]

    def __str__(self) -> str:
        groups = ", ".join(f"{group} {count}" for group, count in self.groups.items())
        return f"{self.name}, {self.split}: {self.samples} samples" + (f" ({groups})" if groups else "")


@dataclass(frozen=True, kw_only=True)
class Division:
    """Two parts of a data set that share no unit (image or place)."""

    rest: Dataset
    held: Dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """The samples of a part of a data set, read when they are asked for; a sequence.

    With a `cache` (a dictionary by position), what was read is kept; samples are never changed in place.
    """

    spec: DatasetSpec
    split: str
    records: tuple[Record, ...]
    cache: dict[int, Sample] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> Sample:
        if self.cache is None:
            return self._read(self.records[position])
        place = range(len(self.records))[position]
        if place not in self.cache:
            self.cache[place] = self._read(self.records[place])
        return self.cache[place]

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the data set's order."""
        return self.spec.classes

    def select(self, positions: Iterable[int]) -> Dataset:
        """Return the samples at these positions as a data set of its own."""
        records = tuple(self.records[position] for position in positions)
        return replace(self, records=records, cache=None if self.cache is None else {})

    def divide(self, share: float, *, seed: int = 0) -> Division:
        """Hold back a share, such as for validation, by the same rule as the data set's own split.

        Places stay whole, and shares are kept within classes. Raises `ConfigurationError` for a share outside 0 to 1
        and `DataError` where a part would be empty.
        """
        if not 0 < share < 1:
            raise ConfigurationError(f"The share to hold back is above 0 and below 1, such as 0.1; found {share}.")
        shares = {"held": share, "rest": 1 - share}
        parts = self.spec.splits.divide(self.records, shares, seed)
        held, rest = (
            replace(self, records=tuple(parts[part]), cache=None if self.cache is None else {}) for part in shares
        )
        if not (len(held) and len(rest)):
            raise DataError(
                f"A share of {share} of the {len(self)} samples of '{self.spec.name}' leaves {len(held)} to hold back "
                f"and {len(rest)} to learn from; neither may be empty: take a share nearer one half, or more samples."
            )
        return Division(rest=rest, held=held)

    def describe(self) -> Summary:
        """Count the samples, and those of each class or group of places, without reading an image."""
        counts = Counter(self.spec.splits.stratum(record) for record in self.records)
        groups = {group: counts[group] for group in sorted(counts) if group}
        return Summary(name=self.spec.name, split=self.split, samples=len(self), groups=groups)

    def read_images(self, record: Record) -> dict[str, Pixels]:
        """Read the images of a record, by slot; raise `DataError` where those of like bands differ in size."""
        spec = self.spec
        sources = (record.image, *record.others)
        images: dict[str, Pixels] = {}
        for slot, source in zip(spec.slots, sources[: len(spec.slots)], strict=True):
            images[slot] = read_image(source, spec.file_bands, spec.unit)
            first, size = images[spec.slots[0]].size, images[slot].size
            if size != first:
                raise DataError(
                    f"The pair '{record.key}' differs in size: {record.image} is {first.height} x {first.width} "
                    f"pixels and {source} {size.height} x {size.width}; get both files again."
                )
        for (slot, bands), source in zip(spec.companions.items(), sources[len(spec.slots) :], strict=True):
            images[slot] = read_image(source, bands, bands[0].unit)
        return images

    def _read(self, record: Record) -> Sample:
        images = self.read_images(record)
        pixels = images[self.spec.slots[0]]
        target = self.spec.layout.target(record, pixels, self.spec.classes)
        return Sample(key=record.key, images=images, target=target, footprint=pixels.grid)
