"""A run's log as a page of line charts: loss terms, validation metrics and learning rate over the epochs.

The page is one self-contained file of HTML with drawings in SVG; it needs no network, no script and no other
library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from swath.errors import DataError

_WIDTH, _HEIGHT = 900, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 230, 40, 45
_LEGEND_LETTERS = 22
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f4fc9", "#666666")
_MOST_POINTS = 400
_LOGARITHMIC_FROM = 30.0
_STYLE = (
    "body{font:14px system-ui,sans-serif;color:#222;background:#fff;margin:24px auto;max-width:940px}"
    "h1{font-size:20px}svg{display:block;width:100%;margin-bottom:12px}"
    "text{font:12px system-ui,sans-serif;fill:#222}"
    "text.title{font-size:14px;font-weight:600}.grid{stroke:#e3e3e3}.axis{stroke:#888}"
    ".best{stroke:#888;stroke-dasharray:4 3}polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}"
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One named line: places on the axis of epochs and finite values."""

    name: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart; `marked` series show every point, `best` is where the kept weights are from."""

    title: str
    series: tuple[Series, ...]
    marked: bool = False
    best: float | None = None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A scale from values to pixels, linear or logarithmic.

    >>> Axis(low=0.0, high=10.0, start=0.0, stop=100.0).place(2.5)
    25.0
    """

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False
    about: int = 5

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, at = (math.log10(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Return round values within the range: `about` so many, or 1, 2 and 5 times powers of ten."""
        if self.logarithmic:
            return log_ticks(self.low, self.high)
        return round_ticks(self.low, self.high, about=self.about)


def round_ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten within a range.

    >>> round_ticks(0.13, 0.95)
    [0.2, 0.4, 0.6, 0.8]
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [
        round(number * step, 12) for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten within a range, or the powers alone where those are many.

    >>> log_ticks(0.03, 1.5)
    [0.05, 0.1, 0.2, 0.5, 1.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    candidates = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [tick for tick in candidates if low <= tick <= high]


def plot_log(log: str | Path, page: str | Path | None = None) -> Path:
    """Draw a run's `log.jsonl` and return the page, by default the file beside it that ends in `.html`.

    A last line that a killed run left unfinished is passed over. Raises `DataError` for a log without a step.
    """
    source = Path(log)
    target = Path(page) if page is not None else source.with_suffix(".html")
    panels = panels_of(_read_lines(source))
    if not panels:
        raise DataError(f"{source} tells of no training step; give the log.jsonl of a training folder.")
    title = escape(f"Training of {source.resolve().parent.name}")
    drawings = "\n".join(draw_panel(panel) for panel in panels)
    target.write_text(
        '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n{drawings}\n</body></html>\n",
        encoding="utf-8",
    )
    return target


def panels_of(lines: Sequence[dict[str, Any]]) -> list[Panel]:
    """Sort the numbers of a log into charts; metrics from 0 to 1 share one, others have their own."""
    steps = [line for line in lines if line["kind"] == "step"]
    validations = [line for line in lines if line["kind"] == "validation"]
    best = next((line["epochs_done"] for line in reversed(validations) if line["best"]), None)
    terms = _series(steps, "losses")
    if len(terms) > 1:
        terms.append(_line("sum", steps, [line["loss"] for line in steps]))
    metrics = _series(validations, "metrics")
    shares = [one for one in metrics if one.values and min(one.values) >= 0 and max(one.values) <= 1]
    panels = [Panel(title="Training loss", series=tuple(terms))]
    for start in range(0, len(shares), len(_COLOURS)):
        some = tuple(shares[start : start + len(_COLOURS)])
        panels.append(Panel(title="Validation", series=some, marked=True, best=best))
    panels += [
        Panel(title=f"Validation: {one.name}", series=(one,), marked=True, best=best)
        for one in metrics
        if one not in shares
    ]
    for title, key in (("Learning rate", "learning_rate"), ("Gradient norm", "gradient_norm")):
        panels.append(Panel(title=title, series=(_line(title.lower(), steps, [line[key] for line in steps]),)))
    return [panel for panel in panels if any(one.values for one in panel.series)]


def draw_panel(panel: Panel) -> str:
    """Return one chart as an SVG element with axes, ticks, and a legend that gives the last values."""
    across, up = _axes(panel)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f'<text class="title" x="{_LEFT}" y="22">{escape(panel.title)}</text>',
        *_grid(across, up),
    ]
    if panel.best is not None:
        x = across.place(panel.best)
        parts.append(f'<line class="best" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_TOP - 5}" text-anchor="middle">best</text>')
    for number, one in enumerate(panel.series):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(across.place(x), up.place(y)) for x, y in zip(one.epochs, one.values, strict=True)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline stroke="{colour}" points="{joined}"/>')
        if panel.marked or len(places) == 1:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in places]
        parts += _legend_entry(one, colour, row=number)
    return "\n".join([*parts, "</svg>"])


def _axes(panel: Panel) -> tuple[Axis, Axis]:
    epochs = [x for one in panel.series for x in one.epochs]
    values = [y for one in panel.series for y in one.values]
    low, high = min(values), max(values)
    logarithmic = panel.title == "Training loss" and low > 0 and high / low > _LOGARITHMIC_FROM
    room = 0.0 if logarithmic else 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    # Nothing measured here is negative unless its values say so, and zero is a good place to stand on.
    bottom = 0.0 if 0 <= low < 0.5 * high and not logarithmic else low - room
    across = Axis(low=0.0, high=max(epochs), start=_LEFT, stop=_WIDTH - _RIGHT, about=8)
    up = Axis(low=bottom, high=high + room, start=_HEIGHT - _BOTTOM, stop=_TOP, logarithmic=logarithmic)
    return across, up


def _grid(across: Axis, up: Axis) -> list[str]:
    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    for tick in across.ticks():
        x = across.place(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 19}" text-anchor="middle">{tick:.6g}</text>')
    parts.append(f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{floor}H{right}"/>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">epoch</text>')
    return parts


def _legend_entry(one: Series, colour: str, *, row: int) -> list[str]:
    x, y = _WIDTH - _RIGHT + 16, _TOP + 8 + 20 * row
    last = f"{one.values[-1]:.4g}" if one.values else "-"
    name = one.name if len(one.name) <= _LEGEND_LETTERS else one.name[: _LEGEND_LETTERS - 1] + "…"
    return [
        f'<line x1="{x}" x2="{x + 18}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>',
        f'<text x="{x + 24}" y="{y + 4}">{escape(name)} {last}</text>',
    ]


def _series(lines: Sequence[dict[str, Any]], key: str) -> list[Series]:
    names = list(dict.fromkeys(name for line in lines for name in line[key]))
    return [_line(name, lines, [line[key].get(name) for line in lines]) for name in names]


def _line(name: str, lines: Sequence[dict[str, Any]], values: Sequence[float | None]) -> Series:
    """Drop what is no number, and thin long runs out to means of neighbours."""
    points = [(line["epochs_done"], value) for line, value in zip(lines, values, strict=True) if value is not None]
    width = -(-len(points) // _MOST_POINTS) or 1
    bins = [points[start : start + width] for start in range(0, len(points), width)]
    return Series(
        name=name,
        epochs=tuple(sum(x for x, _ in some) / len(some) for some in bins),
        values=tuple(sum(y for _, y in some) / len(some) for some in bins),
    )


def _read_lines(source: Path) -> list[dict[str, Any]]:
    if not source.is_file():
        raise DataError(f"there is no log at {source}; give the log.jsonl of a training folder.")
    lines = []
    for text in source.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
