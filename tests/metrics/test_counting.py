"""Errors of counts against scikit-learn, and of the counts of regions against plain counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from swath.errors import AnnotationError, ConfigurationError
from swath.geometry.windows import Size
from swath.metrics.counting import CountingMetric
from swath.metrics.points import PointMetric
from swath.samples import Boxes, Label, Points, Raster

SIZE = Size(50, 70)


def trees(xy, **fields):
    return Points.of(xy, height=SIZE.height, width=SIZE.width, **({"classes": ("tree",)} | fields))


def scattered(generator):
    return trees(generator.uniform(0, 1, (int(generator.integers(0, 40)), 2)) * [SIZE.width, SIZE.height])


def by_hand(said, true, level):
    """Count both in each rectangle of a level and sum the differences."""
    across, down = SIZE.width / 2**level, SIZE.height / 2**level
    wrong = 0
    for row in range(2**level):
        for column in range(2**level):
            low, high = (column * across, row * down), ((column + 1) * across, (row + 1) * down)
            inside = [((xy >= low) & (xy < high)).all(axis=1).sum() for xy in (said.points, true.points)]
            wrong += abs(int(inside[0]) - int(inside[1]))
    return wrong


def test_counts_equal_scikit_learn_and_regions_plain_counting():
    generator = np.random.default_rng(2)
    pairs = [(scattered(generator), scattered(generator)) for _ in range(12)]
    metric = CountingMetric(levels=3)
    for said, true in pairs:
        metric.update(said, true)
    figures = metric.compute()
    said, true = ([len(side) for side in sides] for sides in zip(*pairs, strict=True))
    assert figures["count mean absolute error"] == pytest.approx(mean_absolute_error(true, said))
    assert figures["count root mean square error"] == pytest.approx(root_mean_squared_error(true, said))
    assert figures["count R2"] == pytest.approx(r2_score(true, said))
    assert figures["count bias"] == pytest.approx(np.mean(said) - np.mean(true))
    for level in (1, 2, 3):
        assert figures[f"count GAME({level})"] == pytest.approx(np.mean([by_hand(*pair, level) for pair in pairs]))
    assert [name for name in metric.headlines if name not in figures] == []
    of_points = PointMetric(radii=(3.0,))
    for pair in pairs:
        of_points.update(*pair)
    assert {name: value for name, value in of_points.compute().items() if name.startswith("count")} == pytest.approx(
        {name: value for name, value in figures.items() if "GAME" not in name}
    )


def test_the_published_example_of_three_images():
    metric = CountingMetric()
    for said, true in ((12, 10), (18, 20), (33, 30)):
        metric.update(trees([[1, 1]] * said), trees([[1, 1]] * true))
    figures = metric.compute()
    assert round(figures["count mean absolute error"], 3) == 2.333
    assert round(figures["count root mean square error"], 3) == 2.380
    assert round(figures["count R2"], 3) == 0.915
    assert figures["count GAME(3)"] == figures["count mean absolute error"]


def test_a_density_map_counts_as_the_objects_that_it_spreads():
    generator = np.random.default_rng(4)
    said, true = scattered(generator), scattered(generator)
    density = np.zeros((1, SIZE.height, SIZE.width), np.float32)
    np.add.at(density[0], tuple(np.floor(said.points[:, ::-1]).astype(int).T), 1)
    drawn = Raster(size=SIZE, values=density, names=("trees",), unit="trees a pixel")
    one, other = CountingMetric(levels=1), CountingMetric(levels=1)
    one.update(said, true)
    other.update(drawn, true)
    assert one.compute() == pytest.approx(other.compute(), nan_ok=True)
    half = CountingMetric(levels=0)
    half.update(Raster(size=SIZE, values=density / 2, names=("trees",), unit=""), trees([]))
    assert half.compute()["count bias"] == pytest.approx(len(said) / 2)
    assert math.isnan(half.compute()["count R2"]) and math.isnan(half.compute()["count mean relative error"])


def test_ignored_truths_and_other_classes_are_not_counted():
    true = trees([[1, 1], [2, 2], [3, 3]], ignored=[True, False, False])
    said = Boxes(
        size=SIZE, boxes=[[0, 0, 4, 4], [9, 9, 12, 12], [0, 0, 2, 2]], classes=("car", "Tree"), labels=[1, 1, 0]
    )
    metric = CountingMetric()
    metric.update(said, true)
    assert metric.compute()["count bias"] == 0
    assert metric.compute()["count GAME(3)"] == 2


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(AnnotationError, match="the prediction is Label"):
        CountingMetric().update(Label.of("a", ("a", "b"), SIZE), trees([]))
    with pytest.raises(AnnotationError, match="Objects annotations"):
        CountingMetric().update(trees([]), Label.of("a", ("a", "b"), SIZE))
    with pytest.raises(AnnotationError, match="the frame of its truth"):
        CountingMetric().update(trees([]).resize(Size(8, 8)), trees([]))
    with pytest.raises(ConfigurationError, match="0 to 8 levels"):
        CountingMetric(levels=9)
    with pytest.raises(AnnotationError, match="no rule for ignored truths"):
        PointMetric(radii=(1.0,)).update(trees([]), trees([[1, 1]], ignored=[True]))
