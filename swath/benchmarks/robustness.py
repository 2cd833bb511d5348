"""How much of a model's quality is left on corrupted images: a table from clean to corrupt.

The score of a corruption is the mean of the figure over the severities; the drop is clean less that score, and
relative robustness is the score as a share of the clean figure (sheet reobench, "Evaluation").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from swath.benchmarks.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from swath.benchmarks.plots import severity_svg
from swath.benchmarks.predictors import Predictor
from swath.benchmarks.protocol import Protocol, as_predictor, evaluate
from swath.benchmarks.report import Report, plain, shown
from swath.errors import ConfigurationError
from swath.models.base import Model
from swath.models.store import StoredModel

if TYPE_CHECKING:
    from swath.samples.transforms import Transform

Progress = Callable[[int, int], None]
"""Told after every evaluation how many are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class CorruptedResult:
    """The figures of a model under one corruption, by severity."""

    corruption: str
    reports: Mapping[int, Report]

    def values(self, figure: str) -> dict[int, float]:
        """Return a figure by severity."""
        return {severity: report.figures[figure] for severity, report in self.reports.items()}

    def score(self, figure: str) -> float:
        """Return the mean of a figure over the severities."""
        return fmean(self.values(figure).values())


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """A model's figures on clean images and under each corruption, by one protocol.

    >>> def report(value):
    ...     return Report(protocol="p", model="m", fingerprint="-", split="test", samples=1, available=1,
    ...                   watch="accuracy", figures={"accuracy": value}, seconds=0.0)
    >>> by_severity = {number: report(value) for number, value in enumerate((1, 0.9, 0.8, 0.7, 0.6), start=1)}
    >>> found = Robustness(clean=report(0.95), results=(CorruptedResult(corruption="haze", reports=by_severity),))
    >>> round(found.average(), 6), round(found.drop(), 6)
    (0.8, 0.15)
    """

    clean: Report
    results: tuple[CorruptedResult, ...]

    @property
    def figure(self) -> str:
        """The figure that the protocol is about."""
        return self.clean.watch

    def average(self) -> float:
        """Return the mean of the scores over the corruptions."""
        return fmean(result.score(self.figure) for result in self.results)

    def drop(self, result: CorruptedResult | None = None) -> float:
        """Return clean less the score of a corruption, or less the average over all."""
        return self.clean.headline - self._score(result)

    def relative(self, result: CorruptedResult | None = None) -> float:
        """Return the score of a corruption, or the average, as a share of the clean figure; NaN where that is 0."""
        return self._score(result) / self.clean.headline if self.clean.headline else math.nan

    def _score(self, result: CorruptedResult | None) -> float:
        return self.average() if result is None else result.score(self.figure)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a figure without a meaning (NaN) is null."""
        return {
            "figure": self.figure,
            "clean": self.clean.to_json(),
            "corruptions": [
                {
                    "corruption": result.corruption,
                    "score": plain(result.score(self.figure)),
                    "drop": plain(self.drop(result)),
                    "relative robustness": plain(self.relative(result)),
                    "severities": {
                        str(severity): {name: plain(value) for name, value in report.figures.items()}
                        for severity, report in result.reports.items()
                    },
                }
                for result in self.results
            ],
            "average": plain(self.average()),
            "drop": plain(self.drop()),
            "relative robustness": plain(self.relative()),
        }

    def to_text(self) -> str:
        """Return a table with a row for each corruption: score, drop, relative robustness, and each severity."""
        severities = list(dict.fromkeys(number for result in self.results for number in result.reports))
        rows = [("", self.figure, "drop", "relative", *(f"severity {number}" for number in severities))]
        rows.append(("clean", shown(self.clean.headline), "", "", *("" for _ in severities)))
        for result in self.results:
            values = result.values(self.figure)
            cells = (shown(values[number]) if number in values else "" for number in severities)
            rows.append((result.corruption, *self._summary(result), *cells))
        rows.append(("average", *self._summary(None), *("" for _ in severities)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            ).rstrip()
            for row in rows
        ]
        clean = self.clean
        title = (
            f"{clean.protocol}: {clean.model} (weights {clean.fingerprint[:12]}), {clean.samples} of {clean.available}"
        )
        return "\n".join([f"{title} {clean.split} samples", *lines])

    def _summary(self, result: CorruptedResult | None) -> tuple[str, str, str]:
        return shown(self._score(result)), f"{self.drop(result):+.4f}", shown(self.relative(result))

    def to_svg(self) -> str:
        """Return a chart for each corruption, the figure over severities; needs matplotlib."""
        curves = {result.corruption: result.values(self.figure) for result in self.results}
        return severity_svg(curves, clean=self.clean.headline, figure_name=self.figure)


def evaluate_corrupted(
    model: Model | StoredModel | Predictor,
    protocol: Protocol,
    root: str | Path,
    *,
    corruptions: Sequence[type[Corruption]] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 16,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Robustness:
    """Evaluate a model by a protocol on clean images and under each corruption at each severity.

    Images are corrupted as they are stored, before the protocol prepares them; targets move with geometric
    corruptions. Nothing is trained or adapted. `limit` is that of `evaluate`. Raises `ConfigurationError` for no
    corruptions or severities, and what `evaluate` raises.
    """
    if not corruptions or not severities:
        raise ConfigurationError("Robustness needs at least one corruption and one severity.")
    predictor = as_predictor(model)
    # Made before anything is evaluated, so that a severity that does not exist is told at once.
    planned = {kind.name: [kind(severity, seed=seed) for severity in severities] for kind in corruptions}
    number, total = count(1), 1 + len(corruptions) * len(severities)

    def judged(*before: Transform) -> Report:
        changed = replace(protocol, transforms=(*before, *protocol.transforms))
        report = evaluate(predictor, changed, root, batch_size=batch_size, limit=limit)
        if progress is not None:
            progress(next(number), total)
        return report

    clean = judged()
    results = [
        CorruptedResult(
            corruption=name,
            # What each image added is for paired tests, and there are many reports.
            reports={corruption.severity: replace(judged(corruption), evidence=None) for corruption in chosen},
        )
        for name, chosen in planned.items()
    ]
    return Robustness(clean=clean, results=tuple(results))
