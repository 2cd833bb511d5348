"""Drawings of evaluations as SVG, to be put into a page: reliability diagrams and curves over severities.

They are drawn by matplotlib, which is imported only when a drawing is asked for.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from swath.errors import ConfigurationError
from swath.metrics.calibration import BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swath.metrics.calibration import Reliability

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"


def reliability_svg(panels: Mapping[str, Reliability]) -> str:
    """Return reliability diagrams side by side, one a name: accuracy over confidence, and how many predictions.

    A bar below the diagonal is overconfident. Raises `ConfigurationError` where matplotlib is missing, and for no
    panel.

    >>> import numpy as np
    >>> from swath.metrics.calibration import Reliability
    >>> reliability_svg({"m": Reliability.of(np.array([0.9]), np.array([True]))})[:4]
    '<svg'
    """
    if not panels:
        raise ConfigurationError("A reliability diagram needs predictions with confidences; found none.")
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = _figure(3.6 * columns, 4.4 * rows)
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=(3, 1) * rows)
    for number, (name, reliability) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        upper = figure.add_subplot(grid[2 * row, column])
        lower = figure.add_subplot(grid[2 * row + 1, column], sharex=upper)
        _draw_reliability(upper, lower, name, reliability)
    figure.legend(*upper.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    return _as_svg(figure)


def severity_svg(curves: Mapping[str, Mapping[int, float]], *, clean: float, figure_name: str) -> str:
    """Return one small chart a corruption: the figure over severities from clean (0) on.

    `curves` are figures by corruption and severity. Raises `ConfigurationError` where matplotlib is missing.

    >>> severity_svg({"haze": {1: 0.9, 5: 0.4}}, clean=0.95, figure_name="accuracy")[:4]
    '<svg'
    """
    columns = min(4, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = _figure(2.6 * columns, 2.1 * rows)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number >= len(curves):
            axis.set_axis_off()
    for axis, (name, values) in zip(axes.flat, curves.items(), strict=False):
        axis.axhline(clean, color=_GREY, linewidth=1, linestyle="--")
        axis.plot([0, *values], [clean, *values.values()], color=_BLUE, marker="o", markersize=3.5)
        axis.set_title(name, fontsize=9)
        axis.set_xticks(range(6))
        axis.tick_params(labelsize=8)
        axis.grid(color="#e3e3e3")
    figure.supxlabel("severity", fontsize=9)
    figure.supylabel(figure_name, fontsize=9)
    return _as_svg(figure)


def _draw_reliability(upper: Axes, lower: Axes, name: str, reliability: Reliability) -> None:
    bars = reliability.diagram()
    middles = [(bar.low + bar.high) / 2 for bar in bars]
    upper.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="confidence keeps its word")
    upper.bar(
        middles,
        [0.0 if math.isnan(bar.accuracy) else bar.accuracy for bar in bars],
        width=0.92 / BINS,
        color=_BLUE,
        alpha=0.75,
        label="accuracy",
    )
    full = [bar for bar in bars if bar.count]
    upper.plot(
        [bar.confidence for bar in full],
        [bar.accuracy for bar in full],
        color=_ORANGE,
        marker="o",
        markersize=4,
        linewidth=1,
        label="at the mean confidence",
    )
    upper.set_title(f"{name}\nexpected calibration error {reliability.expected_calibration_error():.4f}", fontsize=9)
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share right")
    lower.bar(middles, [bar.count for bar in bars], width=0.92 / BINS, color=_GREY)
    lower.set(xlabel="confidence", ylabel="count")
    for axis in (upper, lower):
        axis.tick_params(labelsize=8)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError("Drawings need matplotlib; install it with pip install matplotlib.") from error
    return Figure(figsize=(width, height), layout="constrained")


def _as_svg(figure: Figure) -> str:
    """Return the drawing as an SVG element, the same bytes for the same drawing."""
    import matplotlib

    stream = io.StringIO()
    # Names of parts are hashes of their content under a fixed salt, so that several drawings may share a page.
    with matplotlib.rc_context({"svg.hashsalt": "swath", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL).strip()
