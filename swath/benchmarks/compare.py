"""Several models on one protocol in one table: figures, calibration, and differences to the first model.

The table comes as text, as JSON and as a self-contained page with reliability diagrams.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from swath.benchmarks.paired import Difference, McNemar, Resampled, comparable, mcnemar
from swath.benchmarks.plots import reliability_svg
from swath.benchmarks.report import Interval, Report, plain, reliability_to_json, shown
from swath.errors import ConfigurationError, DataError
from swath.samples.page import page_text

if TYPE_CHECKING:
    from swath.benchmarks.evidence import Evidence

CALIBRATION = ("expected calibration error", "Brier score")

NOTES = (
    "Intervals are the middle 95 % over 1,000 bootstrap resamples of whole images.",
    "Differences are to the first model, on the same resamples; p is two-sided and not corrected for looking at "
    "several figures or models.",
)
MCNEMAR_NOTE = "McNemar's exact test counts the images that only one of the two models has wholly right."


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One figure of one model: its value, 95 % interval, and difference to the first model (None for the first)."""

    value: float
    interval: Interval
    difference: Difference | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        difference = None if self.difference is None else self.difference.to_json()
        return {"value": plain(self.value), "interval": self.interval.to_json(), "difference": difference}


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """A model's report, its compared figures by name, and McNemar's test against the first model, where it applies."""

    report: Report
    figures: Mapping[str, Compared]
    mcnemar: McNemar | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        reliability = self.report.reliability
        return {
            "model": self.report.model,
            "weights": self.report.fingerprint,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "McNemar": None if self.mcnemar is None else self.mcnemar.to_json(),
            "reliability": None if reliability is None else reliability_to_json(reliability),
        }


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Models on the same images by one protocol, in the order given; the first is what the others are held against."""

    models: tuple[ComparedModel, ...]

    @property
    def first(self) -> Report:
        """The report of the first model."""
        return self.models[0].report

    @property
    def names(self) -> tuple[str, ...]:
        """What each model is called, with its place and a part of its fingerprint where two have one name."""
        names = [model.report.model for model in self.models]
        return tuple(
            f"{name} ({number}, {model.report.fingerprint[:8]})" if names.count(name) > 1 else name
            for number, (name, model) in enumerate(zip(names, self.models, strict=True), start=1)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """How to read the numbers."""
        return (*NOTES, MCNEMAR_NOTE) if any(model.mcnemar for model in self.models) else NOTES

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a figure without a meaning (NaN) is null."""
        return {
            "protocol": self.first.protocol,
            "split": self.first.split,
            "samples": self.first.samples,
            "available": self.first.available,
            "watch": self.first.watch,
            "models": [model.to_json() for model in self.models],
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """Return a table with a row for each figure of each model."""
        header = ("figure", "model", "value", "95 %", "difference to the first")
        rows = [header]
        for figure in self.models[0].figures:
            for number, (name, model) in enumerate(zip(self.names, self.models, strict=True)):
                cell = model.figures[figure]
                difference = "" if cell.difference is None else str(cell.difference)
                rows.append((figure if number == 0 else "", name, shown(cell.value), str(cell.interval), difference))
        tests = [model.mcnemar for model in self.models]
        for number, (name, test) in enumerate(zip(self.names[1:], tests[1:], strict=True)):
            if test is not None:
                rows.append(("McNemar" if number == 0 else "", name, "", "", str(test)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self._title(), *lines, "", *self.notes])

    def to_html(self) -> str:
        """Return one page that needs nothing beside it; raise `ConfigurationError` where matplotlib is missing."""
        figures = list(self.models[0].figures)
        tested = any(model.mcnemar for model in self.models)
        head = "".join(f"<th>{escape(name)}</th>" for name in ("model", *figures, *(["McNemar"] if tested else [])))
        body = "".join(self._row(name, model, tested) for name, model in zip(self.names, self.models, strict=True))
        table = f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        return page_text(title=self.first.protocol, lead=self._title(), body=table + self._diagrams(), facts=self.notes)

    def _title(self) -> str:
        first = self.first
        return (
            f"{first.protocol}: {len(self.models)} models on {first.samples} of {first.available} {first.split} samples"
        )

    def _row(self, name: str, model: ComparedModel, tested: bool) -> str:
        cells = "".join(f"<td>{_cell(figure)}</td>" for figure in model.figures.values())
        test = f"<td>{'' if model.mcnemar is None else escape(str(model.mcnemar))}</td>" if tested else ""
        weights = f"<small><code>{escape(model.report.fingerprint[:12])}</code></small>"
        return f"<tr><td>{escape(name)}{weights}</td>{cells}{test}</tr>"

    def _diagrams(self) -> str:
        reliabilities = {
            name: model.report.reliability
            for name, model in zip(self.names, self.models, strict=True)
            if model.report.reliability is not None
        }
        return f"<h2>Reliability</h2>{reliability_svg(reliabilities)}" if reliabilities else ""


def compare(*reports: Report, seed: int = 0) -> ModelComparison:
    """Hold models against the first one, by reports of one protocol on the same images.

    Compared are the protocol's headline figures and, where the metric gives them, the expected calibration error
    and the Brier score. Raises `ConfigurationError` for fewer than two reports, and `DataError` for reports of
    different protocols or images, or without their tallies.

    >>> import numpy as np
    >>> from swath.benchmarks.bootstrap import TallyTable
    >>> from swath.benchmarks.evidence import Evidence
    >>> from swath.geometry.windows import Size
    >>> from swath.metrics.classification import ClassificationMetric
    >>> from swath.samples.labels import Label
    >>> metric = ClassificationMetric(("a", "b"))
    >>> truth, wrong = (Label.of(name, metric.classes, Size(8, 8)) for name in metric.classes)
    >>> def report(name, right):
    ...     tallies = TallyTable()
    ...     for number in range(20):
    ...         tallies.add(metric.tally(truth if number < right else wrong, truth))
    ...     evidence = Evidence(metric=metric, keys=tuple(map(str, range(20))), tallies=tallies)
    ...     return Report(protocol="p", model=name, fingerprint="-", split="test", samples=20, available=20,
    ...                   watch="accuracy", figures=evidence.figures(), seconds=0.0, evidence=evidence)
    >>> second = compare(report("one", 18), report("two", 10)).models[1]
    >>> round(second.figures["accuracy"].value, 2), second.mcnemar.only_first, second.mcnemar.p
    (0.5, 8, 0.0078125)
    """
    if len(reports) < 2:
        raise ConfigurationError(f"A comparison needs the reports of two models or more; found {len(reports)}.")
    first = reports[0]
    evidences = _aligned(reports)
    names = tuple(dict.fromkeys((first.watch, *first.intervals, *(n for n in CALIBRATION if n in first.figures))))
    resampled = [Resampled.of(evidence, names, seed=seed) for evidence in evidences]
    models = [_model(first, names, resampled[0], None, None)]
    for report, evidence, drawn in zip(reports[1:], evidences[1:], resampled[1:], strict=True):
        test = _mcnemar(evidences[0], evidence)
        models.append(_model(report, names, drawn, resampled[0], test))
    return ModelComparison(models=tuple(models))


def _model(
    report: Report, names: Sequence[str], drawn: Resampled, first: Resampled | None, test: McNemar | None
) -> ComparedModel:
    figures = {
        name: Compared(
            value=report.figures[name],
            interval=drawn.interval(name),
            difference=None if first is None else drawn.less(first, name),
        )
        for name in names
    }
    return ComparedModel(report=report, figures=figures, mcnemar=test)


def _mcnemar(first: Evidence, other: Evidence) -> McNemar | None:
    one, two = first.right(), other.right()
    return None if one is None or two is None else mcnemar(one, two)


def _aligned(reports: tuple[Report, ...]) -> list[Evidence]:
    first = reports[0]
    found = []
    for report in reports:
        if (report.protocol, report.split) != (first.protocol, first.split):
            raise DataError(
                f"Models are compared by one protocol; found '{first.protocol}' on '{first.split}' and "
                f"'{report.protocol}' on '{report.split}'."
            )
        if report.evidence is None:
            raise DataError(f"The report of '{report.model}' has no tallies of its images; evaluate the model again.")
        found.append(report.evidence)
    return [comparable(found[0], evidence) for evidence in found]


def _cell(figure: Compared) -> str:
    interval = "" if math.isnan(figure.interval.low) else f"<small>{escape(str(figure.interval))}</small>"
    difference = "" if figure.difference is None else f"<small>{escape(str(figure.difference))}</small>"
    return f"{shown(figure.value)}{interval}{difference}"
