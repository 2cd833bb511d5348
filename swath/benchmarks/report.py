"""What an evaluation found, as text for people and JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.errors import DataError
from swath.metrics.calibration import Reliability

if TYPE_CHECKING:
    from swath.benchmarks.evidence import Evidence


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

    def to_json(self) -> list[float | None]:
        """Return both ends as plain JSON values."""
        return [plain(self.low), plain(self.high)]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of one model on one protocol.

    `available` is how many samples the split has, `samples` how many were evaluated. `figures` are fractions,
    counts or metres by spelled-out names; `intervals` cover the headline figures. `reliability` is what a
    reliability diagram shows, where predictions have confidences, and `evidence` holds each image's tally, which
    paired tests need; `benchmarks.saved` keeps it beside the JSON.

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
    reliability: Reliability | None = field(default=None, compare=False, repr=False)
    evidence: Evidence | None = field(default=None, compare=False, repr=False)

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
            "figures": {name: plain(value) for name, value in self.figures.items()},
            "intervals": {name: interval.to_json() for name, interval in self.intervals.items()},
            "seconds": round(self.seconds, 3),
            "reliability": None if self.reliability is None else reliability_to_json(self.reliability),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """Build the report that `to_json` wrote, without its evidence; raise `DataError` for anything else."""
        try:
            reliability = document.get("reliability")
            return cls(
                **{name: document[name] for name in ("protocol", "model", "split", "samples", "available", "watch")},
                fingerprint=document["weights"],
                figures={name: _number(value) for name, value in document["figures"].items()},
                intervals={
                    name: Interval(_number(low), _number(high)) for name, (low, high) in document["intervals"].items()
                },
                seconds=document["seconds"],
                reliability=None if reliability is None else _reliability_from_json(reliability),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"This is no report of an evaluation in JSON: {error!r}.") from error

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
            lines.append(f"  {name:<{width}}  {shown(self.figures[name])}{interval}")
        return "\n".join(lines)


def plain(value: float) -> float | None:
    """Return a number for JSON, None for NaN and infinity.

    >>> plain(0.5), plain(math.nan)
    (0.5, None)
    """
    return value if math.isfinite(value) else None


def shown(value: float) -> str:
    """Return a figure for a table, `-` where it has no meaning.

    >>> shown(0.5), shown(math.nan)
    ('0.5000', '-')
    """
    return "-" if math.isnan(value) else f"{value:.4f}"


def reliability_to_json(reliability: Reliability) -> dict[str, list[float]]:
    """Return the bins' counts of predictions and of right ones, and their summed confidences."""
    return {
        "predictions": reliability.seen.tolist(),
        "right": reliability.right.tolist(),
        "summed confidence": reliability.confidence.tolist(),
    }


def _reliability_from_json(document: Mapping[str, Any]) -> Reliability:
    return Reliability(
        seen=np.array(document["predictions"], dtype=np.int64),
        right=np.array(document["right"], dtype=np.int64),
        confidence=np.array(document["summed confidence"], dtype=np.float64),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
