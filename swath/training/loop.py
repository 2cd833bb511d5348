"""The training loop: any model, any data, one recipe; it may be killed at any moment and goes on exactly."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import torch

from swath.errors import ConfigurationError, ResumeMismatch, TrainingError
from swath.models.published import load_tensors, read_tensors
from swath.models.store import WEIGHTS_FILE
from swath.training.balance import balance
from swath.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from swath.training.distributed import Process, Processes, joined
from swath.training.feeding import BatchMaker, plan_epoch, prefetch
from swath.training.keeping import BEST_FOLDER, Keeper
from swath.training.learning import Learner
from swath.training.log import Means, Progress, Reporter, Sink, TrainingLog, Validation, described_in
from swath.training.schedule import StageSpan, learning_rate_at, stage_at
from swath.training.state import RunState, Watch, describe_run, differences, fingerprint
from swath.training.switches import switched
from swath.training.tensorboard import TensorBoard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from swath.models.base import Model
    from swath.models.recipe import Recipe
    from swath.models.store import StoredModel
    from swath.samples.batch import Batch
    from swath.training.feeding import BatchPlan, EpochPlan, SampleSource

    Evaluate = Callable[[Model], Mapping[str, float]]

LAST_FILE = "last.safetensors"
LOG_FILE = "log.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


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
    tensorboard: bool


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
    tensorboard: bool = False,
) -> TrainingResult:
    """Train a model by a recipe, and leave it in evaluation mode with the best weights.

    `evaluate` gets the model (averaged weights in place, evaluation mode, no gradients) every
    `recipe.validate_every` epochs and after the last one, and returns metrics by name; `recipe.watch` names
    the one that decides, and with a leading `-` less of it is better. Into `folder` go `best/` (a saved
    model), `log.jsonl` and `last.safetensors`, the state of the run after every epoch, or every
    `checkpoint_every` steps; with `resume` a run that died continues from there and ends with the same
    weights, bit for bit on a CPU. Without it the run starts anew and replaces what is there. `time_limit` is
    in seconds of this call (one step at least); then the weights are evaluated, and a later call goes on.

    With a recipe that keeps the last, `best/` holds the weights of the latest epoch, and the result tells their
    figures. With one that keeps several of the best, each of them is in `kept/step-N` as well. `tensorboard` also
    writes curves into `folder/tensorboard`.

    Under `torchrun` each process calls this alike. All of them learn from their share of every step, by the recipe's
    batch size each; the first one alone evaluates, writes and tells `progress`, in a folder that all can read. A run
    goes on with as many processes as it began with.

    A `teacher` is a trained model whose answers make up `recipe.teacher_share` of the labels.

    All randomness comes from `recipe.seed`; the global generators of torch are left as they were found.

    Raises `ConfigurationError` for a recipe that does not fit the model, `ResumeMismatch` for a folder of
    another run, `TrainingError` for a loss that is not a finite number, `DataError` for no data, and whatever
    the data set raises.
    """
    process = Process.from_environment()
    where = process.device(device)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[where] if where.type == "cuda" else []))
        run = _Run(
            model=model.to(where),
            data=data,
            recipe=recipe,
            folder=Path(folder),
            processes=stack.enter_context(joined(process, where)),
            evaluate=evaluate,
            teacher=teacher,
            checkpoint_every=checkpoint_every,
            progress=progress,
            deadline=math.inf if time_limit is None else time.monotonic() + time_limit,
            tensorboard=tensorboard,
        )
        run.start(resume=resume)
        return run.go()


@dataclass(kw_only=True)
class _Run:
    """One call of `train`; `state` and the tensors are what a checkpoint holds, the last one that of step `saved`."""

    model: Model
    data: SampleSource
    recipe: Recipe
    folder: Path
    processes: Processes
    evaluate: Evaluate | None
    teacher: StoredModel | None
    checkpoint_every: int | None
    progress: Callable[[Progress], None] | None
    deadline: float
    tensorboard: bool

    def __post_init__(self) -> None:
        own, recipe = self.processes.own, self.recipe
        if bool(self.teacher) != bool(recipe.teacher_share):
            raise ConfigurationError(
                f"recipe: 'teacher_share' is {recipe.teacher_share} and there is "
                f"{'a' if self.teacher else 'no'} teacher; give both or neither."
            )
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.shares: NDArray[np.float64] | None = None
        self.steps_per_epoch = self._plan(0).steps
        self.shares = balance(self.model, self.data, recipe)
        self.described = describe_run(self.model, recipe, len(self.data), self.teacher, processes=own.world)
        self.state = RunState(fingerprint=fingerprint(self.described), processes=own.world)
        self.keeper = Keeper(
            folder=self.folder,
            watch=recipe.watch,
            count=recipe.keep_best,
            measured=self.evaluate is not None,
            kept=recipe.keep,
        )
        self.learner = Learner(self.model, recipe, self.processes, self.teacher)
        self.saved: int | None = None
        self.span: StageSpan | None = None
        self.log: TrainingLog | None = None

    def start(self, *, resume: bool) -> None:
        """Take up the run in the folder, or begin one there."""
        last = self.folder / LAST_FILE
        # One decides for all, as the others may look when it has begun to write.
        if self.processes.from_main(resume and last.is_file()):
            self._take_up(load_checkpoint(last), last)
        elif self.processes.own.is_main:
            self.folder.mkdir(parents=True, exist_ok=True)
            last.unlink(missing_ok=True)
            self.keeper.clear()
            shutil.rmtree(self.folder / TENSORBOARD_FOLDER, ignore_errors=True)

    def go(self) -> TrainingResult:
        """Run the epochs that are left."""
        with ExitStack() as stack:
            stack.callback(self.learner.end)
            self.reporter = self._open_reporter(stack)
            stack.enter_context(switched(self.model.network, self.recipe))
            if not self.state.log_length:
                self.reporter.run(self.described)
            reason = self._epochs()
        # No process reads the best weights before they are stored.
        self.processes.wait()
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

    def _open_reporter(self, stack: ExitStack) -> Reporter:
        """Open the log and what else is told of the run; processes but the main one keep silent."""
        sinks: list[Sink] = []
        if self.processes.own.is_main:
            if self.tensorboard:
                sinks.append(
                    stack.enter_context(closing(TensorBoard(self.folder / TENSORBOARD_FOLDER, step=self._steps_done)))
                )
            self.log = stack.enter_context(closing(TrainingLog(self.folder / LOG_FILE, start=self.state.log_length)))
            sinks.append(self.log)
        return Reporter(
            sinks,
            samples_a_step=self.recipe.batch_size * self.recipe.accumulate * self.processes.own.world,
            device=self.learner.device,
            listener=self.progress if self.processes.own.is_main else None,
        )

    def _take_up(self, checkpoint: Checkpoint, path: Path) -> None:
        state = RunState.from_json(checkpoint.numbers)
        if state.processes != self.state.processes:
            raise ResumeMismatch(
                f"{path} belongs to a run of {state.processes} processes and this one has {self.state.processes}; "
                "start as many, or give another folder, or --no-resume to replace it."
            )
        if state.fingerprint != self.state.fingerprint:
            found = differences(described_in(self.folder / LOG_FILE), self.described)
            raise ResumeMismatch(
                f"{path} belongs to a run with another model, recipe or number of samples"
                f"{f' ({found})' if found else ''}; give another folder, or --no-resume to replace it."
            )
        self.state = state
        self.saved = self._steps_done
        self.learner.load(checkpoint, averaged=state.averaged)

    def _save(self) -> None:
        self.reporter.flush()
        self.state.log_length = self.log.length if self.log else 0
        self.state.averaged = self.learner.average.updates if self.learner.average else 0
        self.saved = self._steps_done
        tensors = self.learner.tensors()
        if self.processes.own.is_main:
            save_checkpoint(Checkpoint(tensors=tensors, numbers=self.state.to_json()), self.folder / LAST_FILE)

    def _what_is_kept(self) -> str:
        """Say to which state a run that broke can go back."""
        if self.saved is None:
            return "Nothing is kept, as it had not come to an end of an epoch."
        epochs, steps = divmod(self.saved, self.steps_per_epoch)
        place = f"epoch {epochs}" if not steps else f"step {steps} of epoch {epochs + 1}"
        return f"The state after {place} is kept in {self.folder / LAST_FILE}."

    @property
    def _steps_done(self) -> int:
        return self.state.epoch * self.steps_per_epoch + self.state.step

    @property
    def _checkpoint_due(self) -> bool:
        return bool(self.checkpoint_every) and self._steps_done % (self.checkpoint_every or 1) == 0

    @property
    def _time_is_up(self) -> bool:
        # The main process looks at its clock for all; without a limit nobody asks.
        return self.deadline < math.inf and self.processes.from_main(time.monotonic() > self.deadline)

    def _plan(self, epoch: int) -> EpochPlan:
        own = self.processes.own
        return plan_epoch(len(self.data), self.recipe, epoch, rank=own.rank, world=own.world, shares=self.shares)

    def _plans(self) -> Iterator[BatchPlan]:
        first = self.state.step
        for epoch in range(self.state.epoch, self.recipe.epochs):
            yield from self._plan(epoch).batches(first)
            first = 0

    def _epochs(self) -> str:
        if self.state.stopped_early:
            return "patience"
        make = BatchMaker(model=self.model, data=self.data, recipe=self.recipe)
        with closing(prefetch(make, self._plans(), workers=self.recipe.workers)) as batches:
            while self.state.epoch < self.recipe.epochs:
                self._enter_stage()
                self._step([next(batches) for _ in range(self.recipe.accumulate)])
                if self.state.step == self.steps_per_epoch:
                    self._finish_epoch()
                if self.state.stopped_early:
                    return "patience"
                # After a step, so that every call gets somewhere however short its time.
                if self.state.epoch < self.recipe.epochs and self._time_is_up:
                    self._pause()
                    return "time"
        return "epochs"

    def _enter_stage(self) -> None:
        span = stage_at(self.recipe, self.state.epoch)
        if span != self.span:
            self.span = span
            self.learner.enter(span.stage)

    def _step(self, batches: list[Batch]) -> None:
        rate = learning_rate_at(self.recipe, self._steps_done, self.steps_per_epoch)
        try:
            gradient = self.learner.step(batches, rate=rate, epoch=self.state.epoch, number=self.state.step)
        except TrainingError as error:
            raise TrainingError(f"{error} {self._what_is_kept()}") from error
        self.state.step += 1
        self.state.means.add(gradient.losses)
        self.reporter.step(self._progress(gradient.losses), gradient.norm)
        # An epoch's last step is not finished before its validation, after which `_finish_epoch` saves.
        if self._checkpoint_due and self.state.step < self.steps_per_epoch:
            self._save()

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
        with self.learner.judged() as judged:
            metrics = self.processes.from_main(self._metrics(judged))
            progress = self._progress(self.state.means.values(), metrics)
            entry = Validation(
                epoch=progress.epoch, step=progress.step, losses=progress.losses, metrics=progress.metrics
            )
            better = self.keeper.is_better(entry, self.state.best)
            if self.processes.own.is_main:
                self.keeper.keep(judged, entry, self.state.history, better=better)
        self.learner.go_on()
        self._remember(entry, better=better, scheduled=scheduled)
        self.reporter.validation(progress, best=better, seconds=time.monotonic() - started)

    def _metrics(self, judged: Model) -> dict[str, float]:
        if self.evaluate is None or not self.processes.own.is_main:
            return {}
        with torch.inference_mode():
            return {name: float(value) for name, value in self.evaluate(judged).items()}

    def _progress(self, losses: Mapping[str, float], metrics: Mapping[str, float] | None = None) -> Progress:
        return Progress(
            epoch=-(-self._steps_done // self.steps_per_epoch),
            epochs=self.recipe.epochs,
            step=self._steps_done,
            steps=self.recipe.epochs * self.steps_per_epoch,
            learning_rate=learning_rate_at(self.recipe, self._steps_done - 1, self.steps_per_epoch),
            losses=losses,
            metrics=metrics or {},
        )

    def _remember(self, entry: Validation, *, better: bool, scheduled: bool) -> None:
        self.state.history.append(entry)
        self.state.means = Means()
        if better:
            self.state.best = entry if self.evaluate is not None else None
            self.state.waited = 0
        elif scheduled:
            self.state.waited += 1
            self.state.stopped_early = 0 < self.recipe.patience <= self.state.waited
