"""Data sets of change that are made, not collected: pairs of dates from the images of a single-date data set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from swath.datasets.builders.change_pairs import ChangePairs, LightSettings, PairSettings
from swath.datasets.spec import Dataset, DatasetSpec
from swath.datasets.trees import URBAN_TREES
from swath.samples.rasters import CHANGE_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from swath.samples.sample import Sample


@dataclass(frozen=True, kw_only=True)
class MadePairsSpec(DatasetSpec):
    """The declaration of pairs made from another data set, `origin`, in its folder and by its split.

    Every image of a part yields `pairs_per_image` pairs, drawn by their number and the part's name alone. Places of the
    origin stay whole, so that no ground is both learnt from and tested on.
    """

    origin: DatasetSpec
    pairs_per_image: int = 40
    settings: PairSettings

    def open(self, root: str | Path, split: str = "train", *, cached: bool = False) -> Dataset:
        """List a part; pairs are made when they are asked for, from images that `cached` keeps in memory."""
        base = self.origin.open(root, split, cached=cached)
        return MadePairs(spec=self, split=split, records=base.records, cache=base.cache, made=self)


@dataclass(frozen=True, kw_only=True, eq=False)
class MadePairs(Dataset):
    """Pairs made from the images of `records`; `chosen` are the numbers of those that are left of all.

    `cache` holds the single-date images, never the pairs, of which there are many.
    """

    made: MadePairsSpec
    chosen: tuple[int, ...] | None = field(default=None)

    @cached_property
    def pairs(self) -> ChangePairs:
        """All pairs of the part."""
        source = Dataset(spec=self.made.origin, split=self.split, records=self.records, cache=self.cache)
        seed = sum(self.split.encode())  # other pairs in each part, the same in every process
        return ChangePairs(
            source=source, pairs=self._count, seed=seed, settings=self.made.settings, places=self._places()
        )

    def _places(self) -> tuple[tuple[int, ...], ...]:
        """Return the records of every place that was imaged on several dates."""
        by_place: dict[str, list[int]] = {}
        for number, record in enumerate(self.records):
            by_place.setdefault(self.made.splits.unit(record), []).append(number)
        return tuple(tuple(numbers) for numbers in by_place.values() if len(numbers) > 1)

    @property
    def _count(self) -> int:
        return len(self.records) * self.made.pairs_per_image

    def __len__(self) -> int:
        return self._count if self.chosen is None else len(self.chosen)

    def __getitem__(self, position: int) -> Sample:
        place = range(len(self))[position]
        return self.pairs[place if self.chosen is None else self.chosen[place]]

    def select(self, positions: Iterable[int]) -> Dataset:
        """Return the pairs at these positions as a data set of its own."""
        return replace(self, chosen=tuple(range(len(self))[position] for position in positions))


URBAN_TREE_PAIRS = MadePairsSpec(
    name="urban-tree-pairs",
    title="Pairs of change made from NAIP tiles of Californian cities",
    classes=CHANGE_CLASSES,
    licence=URBAN_TREES.licence,
    citation=URBAN_TREES.citation,
    source=f"made from {URBAN_TREES.source}",
    layout=URBAN_TREES.layout,
    splits=URBAN_TREES.splits,
    bands=URBAN_TREES.bands,
    unit=URBAN_TREES.unit,
    gsd=None,
    slots=("before", "after"),
    origin=URBAN_TREES,
    settings=PairSettings(
        size=128,
        zoom=(0.5, 1.2),
        regions=6,
        # Large ones leave ground that changed out of sight of any edge.
        region_area=(0.003, 0.7),
        difference=0.05,
        registration=2.0,
        light=LightSettings(gain=0.1, band_gain=0.05, gamma=0.1, season=0.3, fields=1, field_gain=0.1),
    ),
)
"""NAIP's red, green, blue and near infrared at 0.5 to 1.2 m a pixel, 128 pixels a side."""
