"""What an evaluation found, as text for people and JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of a figure over bootstrap resamples of the images.

    >>> str(Interval(0.5, 0.75))
    '0.5000 to 0.7500'
    """

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4f} to {self.high:.4f}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of one model on one protocol.

    `available` is how many samples the split has, `samples` how many were evaluated. `figures` are fractions,
    counts or metres by spelled-out names; `intervals` cover the headline figures.

    >>> report = Report(protocol="eurosat/accuracy-20%", model="m", fingerprint="ab", split="test", samples=2,
    ...                 available=2, watch="accuracy", figures={"accuracy": 0.5}, seconds=1.0)
    >>> print(report.to_text())
    eurosat/accuracy-20%: m (weights ab)
    2 of 2 test samples in 1.0 s
      accuracy  0.5000
    """

    protocol: str
    model: str
    fingerprint: str
    split: str
    samples: int
    available: int
    watch: str
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    seconds: float

    @property
    def headline(self) -> float:
        """The figure that the protocol is about."""
        return self.figures[self.watch]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a figure without a meaning (NaN) is null."""
        return {
            "protocol": self.protocol,
            "model": self.model,
            "weights": self.fingerprint,
            "split": self.split,
            "samples": self.samples,
            "available": self.available,
            "watch": self.watch,
            "figures": {name: _plain(value) for name, value in self.figures.items()},
            "intervals": {
                name: [_plain(interval.low), _plain(interval.high)] for name, interval in self.intervals.items()
            },
            "seconds": round(self.seconds, 3),
        }

    def to_text(self) -> str:
        """Return a table of the figures with their intervals, the watched one first."""
        names = [self.watch, *(name for name in self.figures if name != self.watch)]
        width = max(map(len, names))
        lines = [
            f"{self.protocol}: {self.model} (weights {self.fingerprint[:12]})",
            f"{self.samples} of {self.available} {self.split} samples in {self.seconds:.1f} s",
        ]
        for name in names:
            interval = f"  (95 %: {self.intervals[name]})" if name in self.intervals else ""
            lines.append(f"  {name:<{width}}  {_shown(self.figures[name])}{interval}")
        return "\n".join(lines)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
