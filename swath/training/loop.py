"""The training loop: any model, any data, one recipe; it may be killed at any moment and goes on exactly."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import torch

from swath.errors import ConfigurationError, ResumeMismatch, TrainingError
from swath.models.published import load_tensors, read_tensors
from swath.models.store import WEIGHTS_FILE, save_model
from swath.training.average import WeightAverage
from swath.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from swath.training.draws import network_seed
from swath.training.feeding import BatchMaker, plan_epoch, prefetch
from swath.training.log import Means, Progress, Reporter, TrainingLog, Validation
from swath.training.optimiser import (
    build_optimiser,
    decay_groups,
    load_optimiser_tensors,
    optimiser_tensors,
    set_learning_rate,
)
from swath.training.schedule import learning_rate_at
from swath.training.state import RunState, Watch, describe_run, fingerprint
from swath.training.teaching import Teaching

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from swath.models.base import Model
    from swath.models.recipe import Recipe
    from swath.models.store import StoredModel
    from swath.samples.batch import Batch
    from swath.training.feeding import BatchPlan, SampleSource

    Evaluate = Callable[[Model], Mapping[str, float]]

LAST_FILE = "last.safetensors"
LOG_FILE = "log.jsonl"
BEST_FOLDER = "best"


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a run ended; the best weights are a saved model in `folder / "best"`.

    `best` is None without an evaluation. `reason` says why it ended: `epochs` done, `patience` or `time` used
    up.
    """

    folder: Path
    best: Validation | None
    best_value: float
    history: tuple[Validation, ...]
    reason: str

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, of the best weights; without an evaluation that of the last."""
        chosen = self.best or (self.history[-1] if self.history else None)
        return chosen.epoch if chosen else 0


class RunOptions(TypedDict, total=False):
    """The arguments of `train` that stay the same whatever it trains."""

    teacher: StoredModel | None
    resume: bool
    device: str
    checkpoint_every: int | None
    progress: Callable[[Progress], None] | None
    time_limit: float | None


def train(
    model: Model,
    data: SampleSource,
    recipe: Recipe,
    *,
    folder: str | Path,
    evaluate: Evaluate | None = None,
    teacher: StoredModel | None = None,
    resume: bool = True,
    device: str = "auto",
    checkpoint_every: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    time_limit: float | None = None,
) -> TrainingResult:
    """Train a model by a recipe, and leave it in evaluation mode with the best weights.

    `evaluate` gets the model (averaged weights in place, evaluation mode, no gradients) every
    `recipe.validate_every` epochs and after the last one, and returns metrics by name; `recipe.watch` names
    the one that decides, and with a leading `-` less of it is better. Into `folder` go `best/` (a saved
    model), `log.jsonl` and `last.safetensors`, the state of the run after every epoch, or every
    `checkpoint_every` steps; with `resume` a run that died continues from there and ends with the same
    weights, bit for bit on a CPU. Without it the run starts anew and replaces what is there. `time_limit` is
    in seconds of this call (one step at least); then the weights are evaluated, and a later call goes on.

    A `teacher` is a trained model whose answers make up `recipe.teacher_share` of the labels.

    All randomness comes from `recipe.seed`; the global generators of torch are left as they were found.

    Raises `ResumeMismatch` for a folder of another run, `TrainingError` for a loss that is not a finite
    number, `DataError` for no data, and whatever the data set raises.
    """
    where = torch.device(_device_name(device))
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        run = _Run(
            model=model.to(where),
            data=data,
            recipe=recipe,
            folder=Path(folder),
            evaluate=evaluate,
            teacher=teacher,
            checkpoint_every=checkpoint_every,
            progress=progress,
            deadline=math.inf if time_limit is None else time.monotonic() + time_limit,
        )
        run.start(resume=resume)
        return run.go()


def _device_name(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """What one step learnt from: the mean of each loss term, and the norm of the gradient before clipping."""

    losses: dict[str, float]
    norm: float


@dataclass(kw_only=True)
class _Run:
    """One call of `train`; `state` and the tensors are what a checkpoint holds."""

    model: Model
    data: SampleSource
    recipe: Recipe
    folder: Path
    evaluate: Evaluate | None
    teacher: StoredModel | None
    checkpoint_every: int | None
    progress: Callable[[Progress], None] | None
    deadline: float

    def __post_init__(self) -> None:
        if self.recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = self.model.device
        self.groups = decay_groups(self.model, decay_everything=self.recipe.decay_everything)
        self.trained = [*self.groups.decayed.values(), *self.groups.spared.values()]
        self.optimiser = build_optimiser(self.groups, self.recipe)
        self.average = WeightAverage(self.model, decay=self.recipe.average) if self.recipe.average else None
        if bool(self.teacher) != bool(self.recipe.teacher_share):
            raise ConfigurationError(
                f"recipe: 'teacher_share' is {self.recipe.teacher_share} and there is "
                f"{'a' if self.teacher else 'no'} teacher; give both or neither."
            )
        self.teaching = Teaching.of(self.teacher, self.model, self.recipe.teacher_share) if self.teacher else None
        self.described = describe_run(self.model, self.recipe, len(self.data), self.teacher)
        self.state = RunState(fingerprint=fingerprint(self.described))
        self.steps_per_epoch = plan_epoch(len(self.data), self.recipe, 0).steps

    def start(self, *, resume: bool) -> None:
        """Take up the run in the folder, or begin one there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        last = self.folder / LAST_FILE
        if resume and last.is_file():
            self._take_up(load_checkpoint(last), last)
        else:
            last.unlink(missing_ok=True)
            shutil.rmtree(self.folder / BEST_FOLDER, ignore_errors=True)

    def go(self) -> TrainingResult:
        """Run the epochs that are left."""
        with closing(TrainingLog(self.folder / LOG_FILE, start=self.state.log_length)) as log:
            self.reporter = Reporter(
                log,
                samples_a_step=self.recipe.batch_size * self.recipe.accumulate,
                device=self.device,
                listener=self.progress,
            )
            if not self.state.log_length:
                log.write("run", self.described)
            reason = self._epochs()
        weights = read_tensors(self.folder / BEST_FOLDER / WEIGHTS_FILE)
        load_tensors(self.model, weights, weights, strict=True, origin=str(self.folder / BEST_FOLDER))
        self.model.eval()
        best = self.state.best
        watched = Watch.of(self.recipe.watch, best.metrics).name if best else ""
        return TrainingResult(
            folder=self.folder,
            best=best,
            best_value=best.metrics[watched] if best else math.nan,
            history=tuple(self.state.history),
            reason=reason,
        )

    def _take_up(self, checkpoint: Checkpoint, path: Path) -> None:
        state = RunState.from_json(checkpoint.numbers)
        if state.fingerprint != self.state.fingerprint:
            raise ResumeMismatch(
                f"{path} belongs to a run with another model, recipe or number of samples; "
                "give another folder, or --no-resume to replace it."
            )
        self.state = state
        self.model.load_state_dict(checkpoint.part("model"))
        load_optimiser_tensors(self.optimiser, self.groups.names, checkpoint.part("optimiser"))
        if self.average:
            self.average.load(checkpoint.part("average"), state.averaged)

    def _save(self) -> None:
        self.reporter.flush()
        self.state.log_length = self.reporter.log.length
        self.state.averaged = self.average.updates if self.average else 0
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimiser": optimiser_tensors(self.optimiser, self.groups.names),
            "average": self.average.tensors if self.average else {},
        }
        tensors = {f"{part}/{name}": value for part, named in parts.items() for name, value in named.items()}
        save_checkpoint(Checkpoint(tensors=tensors, numbers=self.state.to_json()), self.folder / LAST_FILE)

    @property
    def _steps_done(self) -> int:
        return self.state.epoch * self.steps_per_epoch + self.state.step

    @property
    def _checkpoint_due(self) -> bool:
        return bool(self.checkpoint_every) and self._steps_done % (self.checkpoint_every or 1) == 0

    def _plans(self) -> Iterator[BatchPlan]:
        first = self.state.step
        for epoch in range(self.state.epoch, self.recipe.epochs):
            yield from plan_epoch(len(self.data), self.recipe, epoch).batches(first)
            first = 0

    def _epochs(self) -> str:
        if self.state.stopped_early:
            return "patience"
        make = BatchMaker(model=self.model, data=self.data, recipe=self.recipe)
        self.model.train()
        with closing(prefetch(make, self._plans(), workers=self.recipe.workers)) as batches:
            while self.state.epoch < self.recipe.epochs:
                self._step([next(batches) for _ in range(self.recipe.accumulate)])
                if self.state.step == self.steps_per_epoch:
                    self._finish_epoch()
                if self.state.stopped_early:
                    return "patience"
                # After a step, so that every call gets somewhere however short its time.
                if time.monotonic() > self.deadline and self.state.epoch < self.recipe.epochs:
                    self._pause()
                    return "time"
        return "epochs"

    def _step(self, batches: list[Batch]) -> None:
        rate = learning_rate_at(self.recipe, self._steps_done, self.steps_per_epoch)
        set_learning_rate(self.optimiser, rate)
        gradient = self._gradients(batches)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.average:
            self.average.update()
        self.state.step += 1
        self.state.means.add(gradient.losses)
        self.reporter.step(self._progress(gradient.losses), gradient.norm)
        # An epoch's last step is not finished before its validation, after which `_finish_epoch` saves.
        if self._checkpoint_due and self.state.step < self.steps_per_epoch:
            self._save()

    def _gradients(self, batches: list[Batch]) -> Gradient:
        """Leave the clipped mean gradient of the batches in place and return what it came from."""
        terms: dict[str, Tensor] = {}
        for part, batch in enumerate(batches):
            number = self.state.step * len(batches) + part
            torch.manual_seed(network_seed(self.recipe.seed, self.state.epoch, number))
            for name, value in self._backward(batch, share=1 / len(batches)).items():
                terms[name] = terms[name] + value if name in terms else value
        gradients = [parameter.grad for parameter in self.trained if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        *losses, norm_now = torch.stack([*terms.values(), norm.float()]).tolist()
        found = Gradient(losses=dict(zip(terms, losses, strict=True)), norm=norm_now)
        if not all(math.isfinite(value) for value in (*losses, norm_now)):
            raise TrainingError(self._complaint(found, batches))
        if self.recipe.clip_gradient_norm:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.recipe.clip_gradient_norm, norm)
        return found

    def _backward(self, batch: Batch, *, share: float) -> dict[str, Tensor]:
        low = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            on_device = batch.to(self.device)
            terms = self.model.loss(self.teaching(on_device) if self.teaching else on_device)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        torch.autograd.backward(total * share)
        return {name: term.detach().float() * share for name, term in terms.items()}

    def _complaint(self, found: Gradient, batches: list[Batch]) -> str:
        keys = [key for batch in batches for key in batch.keys]
        told = ", ".join(f"{name} {value:.4g}" for name, value in found.losses.items())
        shown = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
        return (
            f"the loss or its gradient is no finite number in epoch {self.state.epoch + 1}, step "
            f"{self.state.step + 1} ({told}; gradient norm {found.norm:.4g}; samples {shown}); look at these "
            "samples, lower the learning rate, or set clip_gradient_norm."
        )

    def _finish_epoch(self) -> None:
        self.state.epoch += 1
        self.state.step = 0
        due = self.state.epoch % self.recipe.validate_every == 0 or self.state.epoch == self.recipe.epochs
        if due:
            self._validate(scheduled=True)
        if due or self._checkpoint_due or not self.checkpoint_every:
            self._save()

    def _pause(self) -> None:
        if self.state.means.count:
            self._validate(scheduled=False)
        self._save()

    def _validate(self, *, scheduled: bool) -> None:
        """Evaluate the (averaged) weights and keep the best; one out of turn wears out no patience."""
        self.reporter.flush()
        started = time.monotonic()
        self.model.eval()
        with self.average.in_place() if self.average else nullcontext():
            metrics: dict[str, float] = {}
            if self.evaluate is not None:
                with torch.inference_mode():
                    metrics = {name: float(value) for name, value in self.evaluate(self.model).items()}
            progress = self._progress(self.state.means.values(), metrics)
            entry = Validation(
                epoch=progress.epoch, step=progress.step, losses=progress.losses, metrics=progress.metrics
            )
            better = self._is_best(entry)
            if better:
                self._keep_best()
        self.model.train()
        self._remember(entry, better=better, scheduled=scheduled)
        self.reporter.validation(progress, best=better, seconds=time.monotonic() - started)

    def _progress(self, losses: Mapping[str, float], metrics: Mapping[str, float] | None = None) -> Progress:
        return Progress(
            epoch=-(-self._steps_done // self.steps_per_epoch),
            epochs=self.recipe.epochs,
            step=self._steps_done,
            steps=self.recipe.epochs * self.steps_per_epoch,
            learning_rate=self.optimiser.param_groups[0]["lr"],
            losses=losses,
            metrics=metrics or {},
        )

    def _is_best(self, entry: Validation) -> bool:
        if self.evaluate is None:
            return True
        best = self.state.best.metrics if self.state.best else None
        return Watch.of(self.recipe.watch, entry.metrics).improves(entry.metrics, best)

    def _remember(self, entry: Validation, *, better: bool, scheduled: bool) -> None:
        self.state.history.append(entry)
        self.state.means = Means()
        if better:
            self.state.best = entry if self.evaluate is not None else None
            self.state.waited = 0
        elif scheduled:
            self.state.waited += 1
            self.state.stopped_early = 0 < self.recipe.patience <= self.state.waited

    def _keep_best(self) -> None:
        """Replace the best model file by file, so that a whole one is there at any time."""
        best = self.folder / BEST_FOLDER
        beside = save_model(self.model, best.with_name(BEST_FOLDER + ".unfinished"))
        best.mkdir(exist_ok=True)
        for file in sorted(beside.iterdir()):
            file.replace(best / file.name)
        beside.rmdir()
