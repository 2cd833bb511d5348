"""The figures of frozen features: one row a run, means and spreads over seeds, as text and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swath.benchmarks.averaged_scores import CLASS_FIGURES, LABEL_FIGURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from swath.models.pretrain.preparation import Order

FIGURES = tuple(dict.fromkeys((*CLASS_FIGURES[:1], *LABEL_FIGURES)))
"""Every figure that a run may have: the columns of the CSV after the settings."""
SETTINGS = (
    "data",
    "bands",
    "model",
    "features",
    "size",
    "normalisation",
    "order",
    "scaler",
    "classifier",
    "train share",
)
TEXT_SETTINGS = tuple(name for name in SETTINGS if name not in ("bands", "features"))


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What was done: which features, how images were shown, what read the features, and from how much of the data.

    `size` is the side in pixels to which images were resized, None for none. `train_share` is the share of the training
    part that the classifier saw.
    """

    data: str
    bands: str
    model: str
    features: int
    size: int | None
    normalisation: str
    order: Order
    scaler: bool
    classifier: str
    train_share: float = 1.0

    def cells(self) -> dict[str, str]:
        """Return the settings as cells of a table, by column."""
        values = (
            self.data,
            self.bands,
            self.model,
            str(self.features),
            "native" if self.size is None else str(self.size),
            self.normalisation,
            self.order,
            "yes" if self.scaler else "no",
            self.classifier,
            f"{self.train_share:g}",
        )
        return dict(zip(SETTINGS, values, strict=True))


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """One run: its settings, its seed (None where nothing is left to chance), and its figures as fractions.

    `published` is the authors' headline figure under this size, where they give one.
    """

    settings: RunSettings
    seed: int | None
    figures: Mapping[str, float]
    published: float | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over seeds: its mean, and the standard deviation with n and with n - 1 (NaN for a single run).

    >>> spread = Spread.of([0.5, 0.7])
    >>> round(spread.mean, 3), round(spread.population, 3), round(spread.sample, 3), spread.runs
    (0.6, 0.1, 0.141, 2)
    """

    mean: float
    population: float
    sample: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise the values of several runs."""
        sample = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        return cls(mean=float(np.mean(values)), population=float(np.std(values)), sample=sample, runs=len(values))

    def __str__(self) -> str:
        """In per cent, with the sample standard deviation over seeds."""
        return f"{100 * self.mean:.2f}" + (f" ± {100 * self.sample:.2f}" if self.runs > 1 else "")


@dataclass(frozen=True, kw_only=True)
class FeatureGroup:
    """The runs of one setting under all its seeds."""

    settings: RunSettings
    rows: tuple[FeatureRow, ...]

    def spread(self, figure: str) -> Spread:
        """Return a figure over the seeds."""
        return Spread.of([row.figures[figure] for row in self.rows])


@dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """All runs of a comparison; `headline` is the figure that it is about."""

    rows: tuple[FeatureRow, ...]
    headline: str

    def groups(self) -> tuple[FeatureGroup, ...]:
        """Return the runs by setting, in the order of the first of each."""
        by_settings: dict[RunSettings, list[FeatureRow]] = {}
        for row in self.rows:
            by_settings.setdefault(row.settings, []).append(row)
        return tuple(FeatureGroup(settings=key, rows=tuple(rows)) for key, rows in by_settings.items())

    def best(self) -> FeatureTable:
        """Keep, for each model, size, classifier and share, the normalisation, order and scaler with the best mean.

        The study quotes its figures for EuroSAT, RESISC45 and UC Merced so; the best is chosen on the test part.
        """
        best: dict[tuple[object, ...], FeatureGroup] = {}
        for group in self.groups():
            s = group.settings
            key = (s.data, s.bands, s.model, s.size, s.classifier, s.train_share)
            if key not in best or group.spread(self.headline).mean > best[key].spread(self.headline).mean:
                best[key] = group
        return FeatureTable(rows=tuple(row for group in best.values() for row in group.rows), headline=self.headline)

    def to_text(self) -> str:
        """Return a table of the headline figure in per cent, with its spread over seeds and the authors' figure."""
        lines = [[*TEXT_SETTINGS, self.headline, "seeds", "published"]]
        for group in self.groups():
            cells, spread, published = group.settings.cells(), group.spread(self.headline), group.rows[0].published
            told = "-" if published is None else f"{100 * published:.2f}"
            lines.append([*(cells[name] for name in TEXT_SETTINGS), str(spread), str(spread.runs), told])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        note = "in per cent; ± is the sample standard deviation (n - 1) over the seeds"
        return "\n".join([*(line.rstrip() for line in padded), note])

    def to_csv(self) -> str:
        """Return one line a run and, where there are several seeds, the mean and both standard deviations over them."""
        stream = io.StringIO()
        columns = [*SETTINGS, "seed", *FIGURES, "published"]
        writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="")
        writer.writeheader()
        for group in self.groups():
            writer.writerows(_csv_lines(group))
        return stream.getvalue()


def _csv_lines(group: FeatureGroup) -> Iterator[dict[str, str]]:
    cells = group.settings.cells()
    for row in group.rows:
        seed = "" if row.seed is None else str(row.seed)
        published = "" if row.published is None else f"{row.published:.4f}"
        yield cells | {"seed": seed, "published": published} | _numbers(row.figures)
    if len(group.rows) > 1:
        spreads = {name: group.spread(name) for name in group.rows[0].figures}
        yield cells | {"seed": "mean"} | _numbers({name: spread.mean for name, spread in spreads.items()})
        yield cells | {"seed": "population std"} | _numbers({n: spread.population for n, spread in spreads.items()})
        yield cells | {"seed": "sample std"} | _numbers({name: spread.sample for name, spread in spreads.items()})


def _numbers(figures: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.6f}" for name, value in figures.items()}
