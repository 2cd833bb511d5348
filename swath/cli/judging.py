"""What `swath evaluate` does with one model, several, or one on imagery made worse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.api import LoadedModel, evaluate, evaluate_corrupted, load
from swath.benchmarks.compare import compare
from swath.benchmarks.corruptions import CORRUPTIONS, corruption_named
from swath.benchmarks.registry import parse_protocol_argument
from swath.benchmarks.saved import load_report, save_report
from swath.cli.progress import counting
from swath.errors import ConfigurationError
from swath.imagery.atomic import AtomicOutput
from swath.inference.options import RunOptions

if TYPE_CHECKING:
    from rich.console import Console

    from swath.benchmarks.report import Report

REPORT_SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Judging:
    """The words and options of one `swath evaluate`: models (or reports of earlier runs), then the data."""

    models: tuple[str, ...]
    data: str
    output: Path | None
    page: Path | None
    device: str
    limit: int | None
    overwrite: bool
    out: Console
    errors: Console

    @classmethod
    def of(cls, words: list[str], **options: Any) -> Judging:
        """Take the last word as the data; raise `ConfigurationError` where there is no model before it."""
        if len(words) < 2:
            raise ConfigurationError(
                f"evaluate needs a model and its data, found only '{' '.join(words)}'; write for example "
                "swath evaluate landuse eurosat=FOLDER."
            )
        return cls(models=tuple(words[:-1]), data=words[-1], **options)

    def run(self) -> None:
        """Evaluate one model, or compare several."""
        if len(self.models) == 1:
            self._one()
        else:
            self._several()

    def corrupted(self, names: str, severities: str) -> None:
        """Evaluate one model on clean imagery and under corruptions (`all`, or names with commas between them)."""
        if len(self.models) > 1:
            raise ConfigurationError("--corrupt takes one model at a time; evaluate the others apart.")
        kinds = CORRUPTIONS if names == "all" else tuple(corruption_named(name.strip()) for name in names.split(","))
        model = self._loaded(self.models[0])
        with counting(self.errors, "evaluating") as progress:
            found = evaluate_corrupted(
                model,
                self.data,
                corruptions=kinds,
                severities=_whole_numbers(severities),
                limit=self.limit,
                progress=progress,
            )
        self.out.print(found.to_text(), markup=False)
        target = self.output or self._named(f"{model.stored.name}-corrupted", found.clean)
        self._write(target, json.dumps(found.to_json(), indent=2) + "\n")
        if self.page is not None:
            title = f"{model.stored.name}: {found.figure} by severity"
            self._write(self.page, f'<!doctype html><meta charset="utf-8"><title>{title}</title>{found.to_svg()}\n')

    def _one(self) -> None:
        if self.page is not None:
            raise ConfigurationError("--page holds a comparison: give two models or more, or --corrupt.")
        report = self._report(self.models[0])
        self.out.print(report.to_text())
        target = self.output or self._named(report.model, report)
        save_report(report, target, overwrite=self.overwrite or self.output is None)
        self.out.print(f"written to {target}")

    def _several(self) -> None:
        table = compare(*(self._report(model) for model in self.models))
        self.out.print(table.to_text(), markup=False)
        target = self.output or self._named("comparison", table.first)
        self._write(target, json.dumps(table.to_json(), indent=2) + "\n")
        if self.page is not None:
            self._write(self.page, table.to_html())

    def _report(self, model: str) -> Report:
        if model.endswith(REPORT_SUFFIX):
            return load_report(model, protocol=parse_protocol_argument(self.data).protocol)
        loaded = self._loaded(model)
        with counting(self.errors, f"evaluating {loaded.stored.name}") as progress:
            return evaluate(loaded, self.data, limit=self.limit, progress=progress)

    def _loaded(self, model: str) -> LoadedModel:
        loaded = load(model)
        loaded.model.to(RunOptions(device=self.device).torch_device())
        return loaded

    def _named(self, name: str, report: Report) -> Path:
        return Path(f"{name}-{report.protocol.replace('/', '-').replace('%', '')}{REPORT_SUFFIX}")

    def _write(self, path: Path, text: str) -> None:
        named = path in (self.output, self.page)
        with AtomicOutput(path, overwrite=self.overwrite or not named) as part:
            part.write_text(text, encoding="utf-8")
        self.out.print(f"written to {path}")


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"severities are whole numbers with commas between them; found '{text}'.") from error
