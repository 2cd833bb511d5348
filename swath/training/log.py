"""What a run tells while it goes: JSON lines for groups of steps and for validations, and a listener."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


STEPS_A_LINE = 10
_NORM = "gradient_norm"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is, after one step (`metrics` empty) or after a validation.

    `epoch` counts from 1; `step` is the steps done in the whole run and `steps` all that there will be.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    learning_rate: float
    losses: Mapping[str, float]
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def epochs_done(self) -> float:
        """How many epochs are behind, with the finished part of this one."""
        return round(self.step / self.steps * self.epochs, 4)

    def to_json(self) -> dict[str, Any]:
        """Return what every line of the log begins with."""
        return {
            "epoch": self.epoch,
            "epochs_done": self.epochs_done,
            "step": self.step,
            "learning_rate": self.learning_rate,
        }


@dataclass(frozen=True, kw_only=True)
class Validation:
    """One entry of a run's history: the mean loss terms since the last one, and the metrics."""

    epoch: int
    step: int
    losses: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(kw_only=True)
class Means:
    """Running means of named numbers.

    >>> means = Means()
    >>> means.add({"dice": 1.0}); means.add({"dice": 0.5})
    >>> means.values()
    {'dice': 0.75}
    """

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, numbers: Mapping[str, float]) -> None:
        """Take in one step's numbers."""
        self.count += 1
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def values(self) -> dict[str, float]:
        """Return the means so far."""
        return {name: value / self.count for name, value in self.sums.items()}


class Sink(Protocol):
    """Anything that takes in the lines of a run's log."""

    def write(self, kind: str, content: Mapping[str, Any]) -> None:
        """Take in one line; `kind` is `run`, `step` or `validation`."""
        ...


class TrainingLog:
    """A file of JSON lines; `kind` says what a line is (`step` or `validation`). Numbers that are none are
    null.

    `start` is the length in bytes from which a continued run goes on: what was written after its checkpoint
    is cut off, so that no step is told twice.
    """

    def __init__(self, path: Path, *, start: int = 0) -> None:
        self.path = path
        self._stream = path.open("ab")
        self._stream.truncate(start)

    @property
    def length(self) -> int:
        """How many bytes have been written."""
        return self._stream.seek(0, 2)

    def write(self, kind: str, content: Mapping[str, Any]) -> None:
        """Append one line, at once visible to readers."""
        line = json.dumps(_finite({"kind": kind, **content}), ensure_ascii=False, allow_nan=False)
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def described_in(path: Path) -> dict[str, Any]:
    """Return what run a log is of, as its first line tells; nothing for a log that does not, or that is not there."""
    try:
        with path.open(encoding="utf-8") as stream:
            line = json.loads(stream.readline())
    except (OSError, ValueError):
        return {}
    if not isinstance(line, dict) or line.get("kind") != "run":
        return {}
    return {name: value for name, value in line.items() if name != "kind"}


class Reporter:
    """Tells sinks and a listener what happens; a sink gets one line for up to `STEPS_A_LINE` steps."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        samples_a_step: int,
        device: torch.device,
        listener: Callable[[Progress], None] | None,
    ) -> None:
        self._sinks = tuple(sinks)
        self._samples_a_step = samples_a_step
        self._device = device
        self._listener = listener
        self._means = Means()
        self._latest: Progress | None = None
        self._started = time.monotonic()

    def run(self, described: Mapping[str, Any]) -> None:
        """Tell what run begins."""
        self._write("run", described)

    def step(self, progress: Progress, gradient_norm: float) -> None:
        """Tell of one step."""
        self._means.add({**progress.losses, _NORM: gradient_norm})
        self._latest = progress
        if self._listener is not None:
            self._listener(progress)
        if self._means.count == STEPS_A_LINE:
            self.flush()

    def flush(self) -> None:
        """Write the line of the steps since the last one, if there were any."""
        if self._latest is None or not self._means.count:
            return
        seconds = time.monotonic() - self._started
        losses = self._means.values()
        norm = losses.pop(_NORM)
        content = {
            **self._latest.to_json(),
            "loss": sum(losses.values()),
            "losses": losses,
            _NORM: norm,
            "seconds": round(seconds, 4),
            "samples_per_second": round(self._means.count * self._samples_a_step / max(seconds, 1e-9), 3),
            "memory_mib": round(peak_memory(self._device), 1),
        }
        self._write("step", content)
        self._means = Means()
        self._started = time.monotonic()

    def validation(self, progress: Progress, *, best: bool, seconds: float) -> None:
        """Tell of a validation that took so many seconds."""
        content = {**progress.to_json(), "losses": progress.losses, "metrics": progress.metrics, "best": best}
        self._write("validation", {**content, "seconds": round(seconds, 4)})
        if self._listener is not None:
            self._listener(progress)
        self._started = time.monotonic()

    def _write(self, kind: str, content: Mapping[str, Any]) -> None:
        for sink in self._sinks:
            sink.write(kind, content)


def peak_memory(device: torch.device) -> float:
    """Return the most memory used so far in MiB: of the GPU, or of this process; NaN where that cannot be
    known.

    >>> peak_memory(torch.device("cpu")) > 10
    True
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
