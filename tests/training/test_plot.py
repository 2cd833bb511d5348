"""The page of charts is well-formed, tells what the log tells, and has round ticks."""

import json
import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import DataError
from swath.training.plot import log_ticks, plot_log, round_ticks

SVG = "{http://www.w3.org/2000/svg}"


def write_log(path, epochs=12, tail=""):
    lines = []
    for step in range(1, 4 * epochs + 1):
        entropy = 2.0 * math.exp(-step / 20)
        lines.append(
            {
                "kind": "step",
                "epoch": 1 + (step - 1) // 4,
                "epochs_done": step / 4,
                "step": step,
                "learning_rate": 1e-3,
                "loss": entropy + 0.5,
                "losses": {"cross_entropy": entropy, "dice <soft>": 0.5},
                "gradient_norm": None if step == 3 else 1.0 / step,
            }
        )
        if step % 4 == 0:
            metrics = {"miou": 1 - math.exp(-step / 20), "counting_error": 40.0 / step}
            lines.append({"kind": "validation", "epochs_done": step / 4, "metrics": metrics, "best": step == 20})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return path


def drawings(page):
    return ElementTree.parse(page).getroot().findall(f".//{SVG}svg")


def points(polyline):
    return [tuple(map(float, point.split(","))) for point in polyline.get("points").split()]


def test_the_page_is_xml_with_a_chart_for_each_kind_of_number(tmp_path):
    page = plot_log(write_log(tmp_path / "log.jsonl", tail='{"kind": "st'))
    assert page == tmp_path / "log.html"
    charts = drawings(page)
    titles = [chart.find(f"{SVG}text[@class='title']").text for chart in charts]
    assert titles == [
        "Training loss",
        "Validation",
        "Validation: counting_error",
        "Learning rate",
        "Gradient norm",
    ]
    texts = [[text.text for text in chart.findall(f"{SVG}text")] for chart in charts]
    assert {"cross_entropy 0.1814", "dice <soft> 0.5", "sum 0.6814", "epoch"} <= set(texts[0])
    assert "best" in texts[1]
    assert {"0", "2", "4", "6", "8", "10", "12"} <= set(texts[1])
    assert "http" not in page.read_text().replace("http://www.w3.org", "")


def test_lines_go_where_the_numbers_say(tmp_path):
    charts = drawings(plot_log(write_log(tmp_path / "log.jsonl")))
    (line,) = charts[1].findall(f"{SVG}polyline")
    places = points(line)
    assert len(places) == 12
    ticks = {
        text.text: float(text.get("y")) - 4
        for text in charts[1].findall(f"{SVG}text")
        if text.get("text-anchor") == "end"
    }
    # Read the values back off the drawn axis, as an eye would.
    scale = (float("0.8") - float("0.2")) / (ticks["0.8"] - ticks["0.2"])
    read = [0.2 + (y - ticks["0.2"]) * scale for _, y in places]
    assert read == pytest.approx([1 - math.exp(-epoch / 5) for epoch in range(1, 13)], abs=0.003)
    assert all(right[0] > left[0] for left, right in pairwise(places))
    assert len(points(charts[4].find(f"{SVG}polyline"))) == 47  # the one that is no number is left out


def test_everything_lies_within_its_chart(tmp_path):
    for chart in drawings(plot_log(write_log(tmp_path / "log.jsonl", epochs=200), tmp_path / "other.html")):
        _, _, width, height = map(float, chart.get("viewBox").split())
        for polyline in chart.findall(f"{SVG}polyline"):
            assert len(points(polyline)) <= 400
            assert all(0 <= x <= width and 0 <= y <= height for x, y in points(polyline))


def test_a_log_without_steps_is_told(tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(DataError, match="tells of no training step"):
        plot_log(tmp_path / "log.jsonl")
    with pytest.raises(DataError, match="there is no log"):
        plot_log(tmp_path / "nothing.jsonl")


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
@settings(max_examples=100, deadline=None)
def test_ticks_are_few_even_and_inside(low, span):
    ticks = round_ticks(low, low + span)
    assert 2 <= len(ticks) <= 7
    gaps = [right - left for left, right in pairwise(ticks)]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-6, abs=1e-9)
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_log_ticks_thin_out_over_many_powers():
    assert log_ticks(1e-6, 20.0) == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]
