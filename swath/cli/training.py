"""What `swath train` does with a network, and with a linear probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.api import recipe, train, train_linear_probe
from swath.cli.progress import TrainingLine, counting
from swath.errors import ConfigurationError
from swath.training.distributed import Process
from swath.training.keeping import BEST_FOLDER

if TYPE_CHECKING:
    from rich.console import Console

LINEAR_PROBE = "linear-probe"


@dataclass(frozen=True, kw_only=True)
class Training:
    """The words and options that every `swath train` has."""

    model: str
    data: str
    folder: Path
    validation: float | None
    seed: int | None
    size: int | None
    weights: str | None
    device: str
    out: Console
    errors: Console

    @property
    def is_probe(self) -> bool:
        """Whether a head is to be fitted on frozen features."""
        return self.model.replace("_", "-") == LINEAR_PROBE

    def network(self, changes: Mapping[str, Any], *, teacher: Path | None, resume: bool, embedder: str | None) -> None:
        """Train a network by its recipe with some values changed, those that are not None."""
        if embedder is not None:
            raise ConfigurationError(
                f"--embedder is for {LINEAR_PROBE}; write swath train {LINEAR_PROBE} {self.data} --embedder {embedder}."
            )
        given = {name: value for name, value in {**changes, "seed": self.seed}.items() if value is not None}
        if "batch_size" in given:
            given["accumulate"] = 1
        with TrainingLine(self.errors) as line:
            result = train(
                self.model,
                self.data,
                folder=self.folder,
                recipe=recipe(self.model, **given),
                validation=self.validation,
                teacher=teacher,
                weights=self.weights,
                size=self.size,
                device=self.device,
                resume=resume,
                progress=line.show,
            )
        if not Process.from_environment().is_main:
            return
        best = f"{result.best_value:.4f} at epoch {result.best_epoch}" if result.best else "not measured"
        self.out.print(f"{self.folder / BEST_FOLDER} (best {best})")

    def probe(self, embedder: str | None, *, unused: Mapping[str, Any]) -> None:
        """Fit a linear head on a frozen embedder; options of a training by steps are refused."""
        if embedder is None:
            raise ConfigurationError(
                f"{LINEAR_PROBE} needs --embedder: a model by name or folder, or a builder such as dinov2_small or "
                "mosaiks_512_3."
            )
        given = [f"--{name.replace('_', '-')}" for name, value in unused.items() if value is not None]
        if given:
            raise ConfigurationError(f"{LINEAR_PROBE} is fitted at once and takes no {' or '.join(given)}.")
        with counting(self.errors, "embedding") as progress:
            found = train_linear_probe(
                embedder,
                self.data,
                folder=self.folder,
                validation=self.validation,
                seed=self.seed or 0,
                weights=self.weights,
                size=self.size,
                device=self.device,
                progress=progress,
            )
        self.out.print(f"{found.folder} ({found.chosen.accuracy:.4f} of the held-back images right)")
