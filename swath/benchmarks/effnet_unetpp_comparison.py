"""Which EfficientNet serves U-Net++ best on Massachusetts Buildings: the paper's comparison, run again.

Paper: T. B. Ovi et al., arXiv 2310.06847. It trains five encoders and reports mean accuracy, mean IoU and
mean precision; one configuration is kept and only the encoder changes. Seeds, recipe and metric definitions
are ours, since the paper states none.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from swath.benchmarks.protocol import Protocol, evaluate
from swath.benchmarks.registry import MASSACHUSETTS_WHOLE
from swath.errors import ConfigurationError
from swath.models.segment.effnet_unetpp import (
    EfficientNetUnetPlusPlus,
    EfficientNetUnetPlusPlusConfig,
    effnet_unetpp_recipe,
    load_encoder,
)
from swath.samples.transforms import RandomCrop
from swath.training.loop import train

if TYPE_CHECKING:
    from swath.benchmarks.report import Report
    from swath.models.base import Model
    from swath.models.recipe import Recipe
    from swath.models.segment.efficientnet import Variant

FIGURES = ("mean accuracy", "mean IoU", "mean precision")
"""What the paper reports."""

REPORT_FILE = "report.json"


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What a comparison holds fixed and what it varies.

    Every encoder is trained once a seed. Images are prepared for training as the protocol prepares them for
    testing: resized, or cut to tiles. `encoder_files` are pre-trained encoders by variant; without one an
    encoder starts fresh, unlike the paper's.

    >>> ComparisonPlan().encoders
    ('b0', 'b1', 'b2', 'b3', 'b4')
    """

    encoders: tuple[Variant, ...] = ("b0", "b1", "b2", "b3", "b4")
    seeds: tuple[int, ...] = (0, 1, 2)
    recipe: Recipe = field(default_factory=effnet_unetpp_recipe)
    protocol: Protocol = MASSACHUSETTS_WHOLE
    deep_supervision: bool = False
    encoder_files: Mapping[Variant, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.encoders or not self.seeds:
            raise ConfigurationError(f"a comparison needs encoders and seeds; found {self.encoders} and {self.seeds}.")

    def config(self, encoder: Variant) -> EfficientNetUnetPlusPlusConfig:
        """The configuration of an encoder's models."""
        return EfficientNetUnetPlusPlusConfig(encoder=encoder, deep_supervision=self.deep_supervision)

    def build(self, encoder: Variant, seed: int) -> EfficientNetUnetPlusPlus:
        """The untrained model of an encoder and a seed; the global generator of torch is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = EfficientNetUnetPlusPlus(self.config(encoder))
        if encoder in self.encoder_files:
            load_encoder(model, self.encoder_files[encoder])
        return model

    def recipe_for(self, seed: int) -> Recipe:
        """The recipe of one run, its images prepared as the protocol prepares them."""
        tile = () if self.protocol.tile is None else (RandomCrop(self.protocol.tile),)
        return replace(self.recipe, seed=seed, transforms=(*self.protocol.transforms, *tile, *self.recipe.transforms))


@dataclass(frozen=True, kw_only=True)
class EncoderResult:
    """The test reports of one encoder, one a seed."""

    encoder: Variant
    parameters: int
    reports: tuple[Report, ...]

    def mean(self, figure: str) -> float:
        """The mean of a figure over the seeds."""
        return statistics.fmean(report.figures[figure] for report in self.reports)

    def deviation(self, figure: str) -> float:
        """The sample standard deviation of a figure over the seeds; 0 with one seed."""
        values = [report.figures[figure] for report in self.reports]
        return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The results by encoder, in the order asked for."""

    protocol: str
    results: tuple[EncoderResult, ...]

    def to_markdown(self) -> str:
        """One row an encoder: mean and deviation over the seeds in per cent; then the authors' figures."""
        rows = [
            [f"EfficientNet-{r.encoder.upper()}", f"{r.parameters:,}", *(_cell(r, name) for name in FIGURES)]
            for r in self.results
        ]
        reported = {figure.metric: figure.value for figure in EfficientNetUnetPlusPlus.card().reported}
        rows.append(["EfficientNet-B4, as reported", "", *(f"{100 * reported[name]:.2f}" for name in FIGURES)])
        header = ["encoder", "parameters", *(f"{name} (%)" for name in FIGURES)]
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(result: EncoderResult, figure: str) -> str:
    mean = f"{100 * result.mean(figure):.2f}"
    return mean if len(result.reports) == 1 else f"{mean} ± {100 * result.deviation(figure):.2f}"


def compare_encoders(
    root: str | Path,
    *,
    folder: str | Path,
    plan: ComparisonPlan | None = None,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Train every encoder of the plan once a seed on the data below `root`, and test the best weights.

    The best epoch is that with the highest `recipe.watch` on the validation part. Each run has a folder
    `<encoder>-seed<seed>` with its weights, log and `report.json`; a comparison that died goes on where it
    was. `progress` is told what begins. Raises `DataError` for a folder that is not the data set.
    """
    plan = plan or ComparisonPlan()
    results = []
    for encoder in plan.encoders:
        reports = tuple(_run(plan, encoder, seed, Path(root), Path(folder), progress or _silent) for seed in plan.seeds)
        with torch.device("meta"):
            parameters = EfficientNetUnetPlusPlus(plan.config(encoder)).parameter_count()
        results.append(EncoderResult(encoder=encoder, parameters=parameters, reports=reports))
    return Comparison(protocol=plan.protocol.name, results=tuple(results))


def _silent(_message: str) -> None:
    """Tell nobody."""


def _run(
    plan: ComparisonPlan,
    encoder: Variant,
    seed: int,
    root: Path,
    folder: Path,
    progress: Callable[[str], None],
) -> Report:
    name = f"{encoder}-seed{seed}"
    progress(f"{name}: training")
    model = plan.build(encoder, seed)
    validation = replace(plan.protocol, split="validation")

    def validate(current: Model) -> Mapping[str, float]:
        return evaluate(current, validation, root).figures

    data = plan.protocol.dataset.open(root, "train")
    train(model, data, plan.recipe_for(seed), folder=folder / name, evaluate=validate)
    progress(f"{name}: testing")
    report = evaluate(model, plan.protocol, root)
    text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
    (folder / name / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
    return report
