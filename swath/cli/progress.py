"""Progress on the error stream: a moving line on a terminal, nothing where the output is a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.console import Console

    from swath.inference.runner import Progress as RunProgress
    from swath.training.log import Progress as TrainingProgress


class _Line:
    """One bar with a text behind it."""

    def __init__(self, console: Console, title: str) -> None:
        note = TextColumn("{task.fields[note]}")
        columns = (TextColumn("{task.description}"), BarColumn(), note, TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task: TaskID = self._bar.add_task(title, total=None, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _update(self, done: float, total: float, note: str) -> None:
        self._bar.update(self._task, completed=done, total=total, note=note)


class ProgressLine(_Line):
    """How far a prediction is, with windows a second and the time left."""

    def show(self, progress: RunProgress) -> None:
        """Show the latest state."""
        note = f"{progress.done}/{progress.total} windows, {progress.rate:.1f}/s, {clock(progress.seconds_left)} left"
        self._update(progress.done, progress.total, note)


class TrainingLine(_Line):
    """How far a training is, with its loss and the latest figures; validations are printed for good."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "training")
        self._console = console

    def show(self, progress: TrainingProgress) -> None:
        """Show the latest state."""
        losses = ", ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        self._update(progress.step, progress.steps, f"epoch {progress.epoch}/{progress.epochs}, {losses}")
        if progress.metrics:
            figures = ", ".join(f"{name} {value:.4g}" for name, value in list(progress.metrics.items())[:6])
            self._console.print(f"epoch {progress.epoch}: {figures}")


@contextmanager
def counting(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many of all are done."""
    with _Line(console, title) as line:
        yield lambda done, total: line._update(done, total, f"{done}/{total}")


def clock(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds.

    >>> clock(3725.4)
    '1:02:05'
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
