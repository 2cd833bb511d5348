"""What `swath evaluate` does with one model, several, or one on imagery made worse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.api import LoadedModel, compare_frozen, evaluate, evaluate_corrupted, load
from swath.benchmarks.change_baselines import CHANGE_BASELINES, ChangeBaseline
from swath.benchmarks.compare import compare
from swath.benchmarks.corruptions import CORRUPTIONS, corruption_named
from swath.benchmarks.registry import parse_protocol_argument
from swath.benchmarks.report import Report
from swath.benchmarks.saved import load_report, save_report, tallies_path
from swath.cli.progress import counting
from swath.errors import ConfigurationError
from swath.imagery.atomic import AtomicOutput
from swath.inference.options import RunOptions
from swath.samples.page import page_text

if TYPE_CHECKING:
    from rich.console import Console

    from swath.benchmarks.compare import ModelComparison

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
            self._check_outputs()
            # All are opened before the first is measured, which takes long.
            opened = [self._opened(model) for model in self.models]
            self._tell(compare(*map(self._report, opened)))

    def frozen(self, *, size: int | None) -> None:
        """Judge one model or several by their frozen features, shown at `size` pixels or at each model's own."""
        given = [model for model in self.models if model.endswith(REPORT_SUFFIX)]
        if given:
            raise ConfigurationError(f"--frozen judges models, and '{given[0]}' is a report; give the model itself.")
        self._check_outputs()
        with counting(self.errors, "embedding") as progress:
            table = compare_frozen(
                *self.models, data=self.data, device=self.device, size=size, limit=self.limit, progress=progress
            )
        self._tell(table)

    def corrupted(self, names: str, severities: str) -> None:
        """Evaluate one model on clean imagery and under corruptions (`all`, or names with commas between them)."""
        if len(self.models) > 1:
            raise ConfigurationError("--corrupt takes one model at a time; evaluate the others apart.")
        kinds = CORRUPTIONS if names == "all" else tuple(corruption_named(name.strip()) for name in names.split(","))
        self._check_outputs()
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
            clean = found.clean
            lead = f"{clean.protocol}: {clean.samples} of {clean.available} {clean.split} samples"
            title = f"{model.stored.name}: {found.figure} by severity"
            self._write(self.page, page_text(title=title, lead=lead, body=found.to_svg()))

    def _one(self) -> None:
        if self.page is not None:
            raise ConfigurationError("--page holds a comparison: give two models or more, or --corrupt.")
        self._check_outputs()
        report = self._report(self._opened(self.models[0]))
        self.out.print(report.to_text())
        target = self.output or self._named(report.model, report)
        save_report(report, target, overwrite=self.overwrite or self.output is None)
        self.out.print(f"written to {target}")

    def _tell(self, table: ModelComparison) -> None:
        self.out.print(table.to_text(), markup=False)
        target = self.output or self._named("comparison", table.first)
        self._write(target, json.dumps(table.to_json(), indent=2) + "\n")
        if self.page is not None:
            self._write(self.page, table.to_html())

    def _opened(self, model: str) -> LoadedModel | ChangeBaseline | Report:
        if model.endswith(REPORT_SUFFIX):
            return load_report(model, protocol=parse_protocol_argument(self.data).protocol)
        return CHANGE_BASELINES.get(model) or self._loaded(model)

    def _report(self, opened: LoadedModel | ChangeBaseline | Report) -> Report:
        if isinstance(opened, Report):
            return opened
        name = opened.stored.name if isinstance(opened, LoadedModel) else opened.name
        with counting(self.errors, f"evaluating {name}") as progress:
            return evaluate(opened, self.data, limit=self.limit, progress=progress)

    def _loaded(self, model: str) -> LoadedModel:
        loaded = load(model)
        loaded.model.to(RunOptions(device=self.device).torch_device())
        return loaded

    def _check_outputs(self) -> None:
        """Refuse results that may not or cannot be written before the work, which takes long."""
        named = [path for path in (self.output, self.page) if path is not None]
        if self.output is not None and self.output == self.page:
            raise ConfigurationError(f"-o and --page both name '{self.page}'; give the page a name of its own.")
        if self.output is not None and len(self.models) == 1:
            named.append(tallies_path(self.output))
        for path in named:
            AtomicOutput(path, overwrite=self.overwrite)
        if self.page is not None and find_spec("matplotlib") is None:
            raise ConfigurationError("Pages hold drawings, which need matplotlib; install it: pip install matplotlib.")

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
