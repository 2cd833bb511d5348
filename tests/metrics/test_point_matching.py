"""Point matching and counting against brute force, scikit-learn and hand cases."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from swath.errors import AnnotationError, ConfigurationError
from swath.metrics.points import PointMetric, match_points
from swath.samples.vectors import Points

few_examples = settings(deadline=None, max_examples=40)

FRAME = {"height": 100, "width": 100}


def trees(xy, **options):
    return Points.of(xy, **({"classes": ("tree",)} | FRAME | options))


def best_by_brute_force(said, true, radius):
    """Try every assignment: the most pairs, then the least distance."""
    best = (0, 0.0)
    few, many = (said, true) if len(said) <= len(true) else (true, said)
    for order in itertools.permutations(range(len(many)), len(few)):
        distances = [math.dist(few[i], many[j]) for i, j in enumerate(order)]
        near = [d for d in distances if d <= radius]
        best = max(best, (len(near), -sum(near)))
    return best[0], -best[1]


grid_points = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=6)


@few_examples
@given(grid_points, grid_points, st.sampled_from([1.0, 2.0, 3.5, 20.0]))
def test_matching_equals_brute_force(said, true, radius):
    xy = [np.array(points, dtype=np.float64).reshape(-1, 2) for points in (said, true)]
    matches = match_points(*xy, radius)
    count, distance = best_by_brute_force(said, true, radius)
    assert len(matches.distance) == count
    assert matches.distance.sum() == pytest.approx(distance)
    assert len(set(matches.predicted)) == len(set(matches.true)) == count
    actual = np.linalg.norm(xy[0][matches.predicted] - xy[1][matches.true], axis=1)
    assert np.allclose(actual, matches.distance)
    assert (actual <= radius).all()


@pytest.mark.parametrize(("side", "radius"), [(1000, 8.0), (300, 8.0), (60, 8.0)])
def test_many_points_equal_one_dense_assignment(side, radius):
    """Sparse, clustered and percolating sets, so that groups are joined, split and solved whole."""
    generator = np.random.default_rng(side)
    said, true = generator.uniform(0, side, (700, 2)), generator.uniform(0, side, (800, 2))
    matches = match_points(said, true, radius)
    distance = cdist(said, true)
    allowed = distance <= radius
    rows, columns = linear_sum_assignment(np.where(allowed, distance - 1e5, 0))
    kept = allowed[rows, columns]
    assert len(matches.distance) == kept.sum()
    assert matches.distance.sum() == pytest.approx(distance[rows, columns][kept].sum())


def test_the_most_pairs_come_before_the_nearest_pair():
    # The nearest pair (4, 3) would leave 0 and 7 without a partner in reach.
    matches = match_points(np.array([[0.0, 0], [4, 0]]), np.array([[3.0, 0], [7, 0]]), 3.0)
    assert matches.distance.tolist() == [3, 3]


def test_twenty_thousand_points_match_within_a_few_seconds():
    generator = np.random.default_rng(0)
    true = generator.uniform(0, 5000, (20_000, 2))
    said = true + generator.normal(0, 3, true.shape)
    start = time.process_time()
    matches = match_points(said, true, 10.0)
    assert time.process_time() - start < 5
    assert len(matches.distance) > 19_000


def test_radii_are_metres_and_totals_run_over_the_set():
    metric = PointMetric(radii=(6.0, 3.0), gsd=0.6)
    metric.update(trees([[10, 10], [50, 50]]), trees([[10, 19]]))  # 9 px = 5.4 m
    metric.update(trees([[10, 10]]), trees([[10, 14], [90, 90], [95, 95]]))  # 4 px = 2.4 m
    figures = metric.compute()
    assert figures["precision (6 m)"] == pytest.approx(2 / 3)
    assert figures["recall (6 m)"] == pytest.approx(2 / 4)
    assert figures["F1 (6 m)"] == pytest.approx(4 / 7)
    assert figures["precision (3 m)"] == pytest.approx(1 / 3)
    assert figures["mean distance of matches (6 m)"] == pytest.approx((5.4 + 2.4) / 2)
    assert figures["mean distance of matches (3 m)"] == pytest.approx(2.4)


@few_examples
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=2, max_size=12))
def test_count_errors_equal_scikit_learn(counts):
    metric = PointMetric(radii=(1.0,))
    for said, true in counts:
        metric.update(trees([[1, 1]] * said), trees([[1, 1]] * true))
    said, true = np.array(counts).T
    figures = metric.compute()
    assert figures["count mean absolute error"] == pytest.approx(mean_absolute_error(true, said))
    assert figures["count root mean square error"] == pytest.approx(root_mean_squared_error(true, said))
    assert figures["count bias"] == pytest.approx((said - true).mean())
    if true.any():
        relative = np.abs(said - true)[true > 0] / true[true > 0]
        assert figures["count mean relative error"] == pytest.approx(relative.mean())
    if len(set(true)) > 1:
        assert figures["count R2"] == pytest.approx(r2_score(true, said))
    else:
        assert math.isnan(figures["count R2"])
    assert figures["recall (1 px)"] == pytest.approx(np.minimum(said, true).sum() / max(true.sum(), 1))


def test_images_without_points_count_and_break_nothing():
    metric = PointMetric(radii=(2.0,))
    metric.update(trees([]), trees([]))
    figures = metric.compute()
    assert (figures["F1 (2 px)"], figures["count mean absolute error"]) == (0, 0)
    assert math.isnan(figures["mean distance of matches (2 px)"])
    assert math.isnan(figures["count mean relative error"])


def test_points_match_only_their_own_class_by_name():
    metric = PointMetric(radii=(2.0,))
    metric.update(
        trees([[5, 5], [9, 9]], classes=("shrub", "tree"), labels=[0, 1]),
        trees([[5, 5], [9, 9]], classes=("tree", "shrub"), labels=[0, 0]),
    )
    assert metric.compute()["recall (2 px)"] == 0.5


def test_settings_and_frames_that_do_not_fit_are_refused():
    for radii, gsd in (((), None), ((0.0,), None), ((1.0,), 0.0)):
        with pytest.raises(ConfigurationError, match="positive"):
            PointMetric(radii=radii, gsd=gsd)
    metric = PointMetric(radii=(1.0,))
    with pytest.raises(AnnotationError, match="frame"):
        metric.update(trees([]), trees([], height=50))
    with pytest.raises(AnnotationError, match="'tree'"):
        metric.update(trees([], classes=("car",)), trees([]))
