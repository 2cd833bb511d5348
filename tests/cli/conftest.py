"""Run the command line in this process and say what it printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from swath.cli import main as command_line

DATA = Path(__file__).parent.parent / "data"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Exit status and what went to either stream."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What was said of the failure."""
        lines = [line for line in self.err.splitlines() if line.startswith("swath: ")]
        assert len(lines) == 1, f"expected one sentence, found: {self.err}"
        return lines[0]


@pytest.fixture
def swath(monkeypatch, capsys) -> Callable[..., Outcome]:
    """Call the command line with these words."""

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["swath", *map(str, words)])
        # The consoles were made when the streams were others.
        monkeypatch.setattr(command_line.errors, "file", sys.stderr)
        monkeypatch.setattr(command_line.out, "file", sys.stdout)
        try:
            command_line.main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(status=status, out=captured.out, err=captured.err)

    return call


@pytest.fixture
def tile() -> Path:
    """A small NAIP tile: four bands, the fourth of which GDAL calls alpha."""
    return next(iter(sorted((DATA / "urban_trees" / "images").glob("*.tif"))))
