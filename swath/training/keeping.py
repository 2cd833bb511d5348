"""The best weights on disk: a whole model at any time, whenever the process is killed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swath.models.store import save_model
from swath.training.state import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from swath.models.base import Model
    from swath.models.cards import Card
    from swath.models.recipe import Kept
    from swath.training.log import Validation

BEST_FOLDER = "best"
KEPT_FOLDER = "kept"


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Keeps the best model of a run in `folder/best`, and with a `count` above 1 each of so many in
    `folder/kept/step-N`.

    `watch` names the figure that decides; where nothing is `measured`, or where the "last" is `kept`, the latest model
    counts as the best.
    """

    folder: Path
    watch: str
    count: int
    measured: bool
    kept: Kept = "best"

    def is_better(self, entry: Validation, best: Validation | None) -> bool:
        """Whether a validation beats the best one so far; raise `ConfigurationError` for an unknown figure."""
        if not self.measured:
            return True
        watch = Watch.of(self.watch, entry.metrics)
        return self.kept == "last" or watch.improves(entry.metrics, best.metrics if best else None)

    def keep(self, model: Model, entry: Validation, history: Sequence[Validation], *, better: bool) -> None:
        """Store the model of a validation as far as it is among the best; `history` are the validations before."""
        if better:
            replace_model(model, self.folder / BEST_FOLDER)
        if self.count > 1:
            entries = [*history, entry]
            ranked = Watch.of(self.watch, entry.metrics).ranked(entries) if self.measured else entries[::-1]
            best = [one.step for one in ranked[: self.count]]
            keep_among(model, self.folder / KEPT_FOLDER, step=entry.step, best=best)

    def clear(self) -> None:
        """Remove what another run left."""
        for name in (BEST_FOLDER, KEPT_FOLDER):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def replace_model(model: Model, folder: Path, *, card: Card | None = None) -> None:
    """Replace the model in a folder file by file, so that a whole one is there at any time."""
    beside = save_model(model, folder.with_name(folder.name + ".unfinished"), card=card)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(beside.iterdir()):
        file.replace(folder / file.name)
    beside.rmdir()


def keep_among(model: Model, folder: Path, *, step: int, best: Iterable[int]) -> None:
    """Store a model as `step-N` in a folder if its step is among the best ones, and drop what is not among them."""
    kept = {f"step-{number}" for number in best}
    folder.mkdir(exist_ok=True)
    if f"step-{step}" in kept:
        replace_model(model, folder / f"step-{step}")
    for place in folder.iterdir():
        if place.name not in kept:
            shutil.rmtree(place)
