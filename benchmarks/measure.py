"""Run a job in a process of its own and say what it cost, or time one in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU and wall seconds of the job, and peak memory before it (after imports) and at its end, in MiB."""

    cpu: float
    wall: float
    imported: float
    peak: float

    @property
    def above_imports(self) -> float:
        """Memory that the job itself needed, in MiB."""
        return self.peak - self.imported


def cost_of(module: str, *arguments: object, threads: int = 1) -> Cost:
    """Run `python -m MODULE ARGUMENTS`, which prints a Cost as JSON in its last line."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout.strip().splitlines()[-1]))


def best_of(repeats: int, module: str, *arguments: object) -> Cost:
    """Return the run with the least CPU time."""
    return min((cost_of(module, *arguments) for _ in range(repeats)), key=lambda cost: cost.cpu)


def best_seconds(job: Callable[[], object], repeats: int, *, clock: Callable[[], float] = time.process_time) -> float:
    """Return the least time that a job took in this process: CPU seconds of all threads, or those of another clock."""
    seconds = []
    for _ in range(repeats):
        start = clock()
        job()
        seconds.append(clock() - start)
    return min(seconds)
