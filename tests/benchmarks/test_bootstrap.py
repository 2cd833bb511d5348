"""Bootstrap intervals against resampling done the plain way."""

import numpy as np
import pytest

from swath.benchmarks.bootstrap import RESAMPLES, TallyTable, bootstrap_intervals
from swath.errors import DataError
from swath.metrics.points import PointMetric
from swath.samples.vectors import Points


def counted(count):
    return Points.of([[1 + 5 * number, 1] for number in range(count)], classes=("tree",), height=9, width=99)


@pytest.fixture
def measured():
    generator = np.random.default_rng(5)
    metric, table = PointMetric(radii=(1.0,)), TallyTable()
    pairs = [(int(a), int(b)) for a, b in generator.integers(0, 9, (25, 2))]
    for said, true in pairs:
        tally = metric.tally(counted(said), counted(true))
        metric.add(tally)
        table.add(tally)
    return metric, table, np.array(pairs)


def test_resampled_totals_equal_repeated_updates(measured):
    metric, table, pairs = measured
    generator = np.random.default_rng(11)
    totals = table.resampled(seed=11)
    for _ in range(5):
        drawn = generator.integers(len(pairs), size=len(pairs))
        plain = PointMetric(radii=(1.0,))
        for position in drawn:
            plain.update(counted(pairs[position, 0]), counted(pairs[position, 1]))
        assert metric.figures(next(totals)) == pytest.approx(plain.compute())


def test_intervals_hold_the_figure_and_match_the_standard_error(measured):
    metric, table, pairs = measured
    error = np.abs(pairs[:, 0] - pairs[:, 1])
    name = "count mean absolute error"
    interval = bootstrap_intervals(metric, table, [name, "F1 (1 px)"])[name]
    assert interval.low < error.mean() < interval.high
    standard = error.std() / np.sqrt(len(error))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard, rel=0.15)


def test_intervals_are_seeded(measured):
    metric, table, _ = measured
    first, again, other = (bootstrap_intervals(metric, table, ["F1 (1 px)"], seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(list(table.resampled(0))) == RESAMPLES


def test_figures_without_meaning_in_a_resample_are_left_out():
    metric, table = PointMetric(radii=(1.0,)), TallyTable()
    for said, true in ((1, 0), (1, 2)):
        table.add(metric.tally(counted(said), counted(true)))
    interval = bootstrap_intervals(metric, table, ["count mean relative error"])["count mean relative error"]
    assert (interval.low, interval.high) == (0.5, 0.5)
    with pytest.raises(DataError, match="no figure 'mAP'"):
        bootstrap_intervals(metric, table, ["mAP"])
