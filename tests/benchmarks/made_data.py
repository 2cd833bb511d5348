"""Data sets in memory and predictors of known answers, for the tests of evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from swath.samples.sample import Sample


@dataclass(frozen=True)
class MadeSpec:
    """What a protocol needs of a data set's declaration."""

    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def open(self, root: Any, split: str) -> MadePart:
        return MadePart(self.classes, self.samples)


@dataclass(frozen=True)
class MadePart:
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self):
        return iter(self.samples)

    def select(self, positions: list[int]) -> MadePart:
        return MadePart(self.classes, tuple(self.samples[position] for position in positions))


@dataclass
class Answering:
    """A predictor that answers by a function of the sample."""

    name: str
    classes: tuple[str, ...]
    answer: Any
    fingerprint: str = "0123456789abcdef"
    seen: list[Sample] = field(default_factory=list)

    def predict(self, samples):
        self.seen += samples
        return [self.answer(sample) for sample in samples]
