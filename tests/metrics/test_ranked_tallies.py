"""Tallies of detections add up, cross processes and files, and resample as those of other metrics do."""

from __future__ import annotations

import pickle
from functools import reduce
from operator import add

import numpy as np
import pytest
from detection_cases import CLASSES, boxes, image

from swath.benchmarks.bootstrap import TallyTable, bootstrap_intervals
from swath.benchmarks.evidence import Evidence
from swath.metrics.average_precision import CocoMetric
from swath.metrics.base import Ranking, Tally
from swath.metrics.fine_grained import FineGrainedMetric
from swath.metrics.voc_precision import VocMetric

METRICS = (
    CocoMetric(CLASSES),
    VocMetric(CLASSES, form="area"),
    FineGrainedMetric(CLASSES, ("moves", "moves", "stays"), shape="boxes"),
)


@pytest.fixture(scope="module")
def pairs():
    """Images whose scores all differ, because the order of ties depends on the order of images."""
    generator = np.random.default_rng(31)
    drawn = [image(generator) for _ in range(14)] + [(boxes([], classes=CLASSES), boxes([], classes=CLASSES))]
    scores = generator.permutation(sum(len(said) for said, _ in drawn)) / 1000
    ends = np.cumsum([len(said) for said, _ in drawn])
    parts = np.split(scores, ends[:-1])
    return [(_with_scores(said, part), true) for (said, true), part in zip(drawn, parts, strict=True)]


def _with_scores(said, scores):
    return boxes(said.boxes, labels=said.labels, scores=scores, classes=CLASSES)


def tallied(metric, pairs):
    table = TallyTable()
    for pair in pairs:
        table.add(metric.tally(*pair))
    return table


def same(one, other):
    return one == pytest.approx(other, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_parts_of_a_set_add_up_to_the_whole_in_any_grouping(metric, pairs):
    tallies = [metric.tally(*pair) for pair in pairs]
    whole = metric.figures(reduce(add, tallies))
    assert same(metric.figures(reduce(add, tallies[:5]) + reduce(add, tallies[5:])), whole)
    assert same(metric.figures(tallies[0] + reduce(add, pickle.loads(pickle.dumps(tallies[1:])))), whole)
    assert same(metric.figures(tallied(metric, pairs).total()), whole)
    assert same(metric.figures(reduce(add, tallied(metric, pairs).rows())), whole)
    assert 0.1 < whole[metric.headlines[0]] < 0.9


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_resampled_totals_equal_the_images_measured_again(metric, pairs):
    table, generator = tallied(metric, pairs), np.random.default_rng(3)
    totals = table.resampled(seed=3)
    for _ in range(4):
        drawn = generator.integers(len(pairs), size=len(pairs))
        again = reduce(add, [metric.tally(*pairs[place]) for place in drawn])
        assert same(metric.figures(next(totals)), metric.figures(again))


def test_intervals_hold_the_figure(pairs):
    metric = VocMetric(CLASSES)
    interval = bootstrap_intervals(metric, tallied(metric, pairs), metric.headlines)[metric.headlines[0]]
    assert interval.low < metric.figures(tallied(metric, pairs).total())[metric.headlines[0]] < interval.high


def test_evidence_reads_back_the_same_and_in_another_order(tmp_path, pairs):
    metric = CocoMetric(CLASSES)
    keys = tuple(f"{number}.tif" for number in range(len(pairs)))
    evidence = Evidence(metric=metric, keys=keys, tallies=tallied(metric, pairs))
    evidence.write(tmp_path / "a.npz", fingerprint="ab")
    again = Evidence.read(tmp_path / "a.npz", metric, fingerprint="ab")
    assert same(again.figures(), evidence.figures())
    turned = again.in_order_of(keys[::-1])
    for one, other in zip(turned.tallies.rows(), list(evidence.tallies.rows())[::-1], strict=True):
        np.testing.assert_array_equal(one.ranked[0].scores, other.ranked[0].scores)
        np.testing.assert_array_equal(one.ranked[0].marks, other.ranked[0].marks)
        np.testing.assert_array_equal(one.counts, other.counts)
    assert same(turned.figures(), evidence.figures())


def test_a_running_total_of_many_images_stays_in_few_parts_and_in_order():
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 9, 500).tolist()
    total = Tally(np.zeros(1, np.int64), np.zeros(0))
    rows = np.arange(sum(lengths))
    for part in np.split(rows, np.cumsum(lengths)[:-1]):
        ranking = Ranking.of(part / len(rows), part[:, None])
        total = total + Tally(np.array([len(part)]), np.zeros(0), (ranking,))
    assert len(total.ranked) <= 12
    joined = Ranking.joined(total.ranked)
    assert joined.marks[:, 0].tolist() == rows.tolist() and total.counts.tolist() == [len(rows)]
