"""The classical tree detector: it finds what is bright, learns its threshold, and beats chance on real windows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from swath.benchmarks.protocol import evaluate
from swath.benchmarks.registry import protocol
from swath.benchmarks.tree_baseline import NirBrightnessTrees, SearchGrid
from swath.datasets.trees import URBAN_TREES
from swath.errors import BandMismatch, DataError
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.metrics.points import PointMetric
from swath.samples.sample import Sample
from swath.samples.vectors import Points

TREES = Path(__file__).parents[1] / "data" / "urban_trees"
FEW = SearchGrid(sigmas=(2.0,), distances=(4,), thresholds=6)


def crowns(xy, height=60, width=80):
    """Red is dark everywhere; near infrared has a bump of 200 at each place."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    nir = np.full((height, width), 20.0)
    for x, y in xy:
        nir = np.maximum(nir, 200 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18))
    values = np.stack([np.full_like(nir, 15), nir]).astype(np.uint8)
    pixels = Pixels.from_array(values, [Band(name=n, role=n) for n in ("red", "nir")], Unit.EIGHT_BIT)
    target = Points.of(xy, classes=("tree",), height=height, width=width)
    return Sample(key="made", images={"image": pixels}, target=target)


@pytest.mark.parametrize("feature", ["near infrared", "vegetation index"])
def test_bumps_are_found_where_they_are_and_the_brightest_comes_first(feature):
    places = np.array([[20.5, 30.5], [50.5, 10.5]])
    detector = NirBrightnessTrees(
        feature=feature, sigma=1.0, distance=4, threshold=0.5 if feature == "vegetation index" else 60
    )
    found = detector.predict([crowns(places)])[0]
    assert sorted(found.points.tolist()) == sorted(places.tolist())
    assert (np.diff(found.scores) <= 0).all()


def test_the_fit_finds_every_crown_of_a_clean_scene():
    generator = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(8, 80, 16), np.arange(8, 60, 16)), -1).reshape(-1, 2) + 0.5
    sample = crowns(places + generator.integers(-2, 3, places.shape))
    detector = NirBrightnessTrees.fit([sample], gsd=0.6, grid=FEW)
    metric = PointMetric(radii=(1.0,), gsd=0.6)
    metric.update(detector.predict([sample])[0], sample.target)
    assert metric.compute()["F1 (1 m)"] == 1


def test_it_learns_on_real_windows_and_is_evaluated_by_the_protocol():
    samples = list(URBAN_TREES.open(TREES, "all"))
    detector = NirBrightnessTrees.fit(samples, grid=FEW)
    assert detector == NirBrightnessTrees.fit(samples, gsd=0.6, grid=FEW)
    report = evaluate(detector, replace(protocol("urban-trees/f1-6m"), split="all"), TREES)
    assert report.model == "near-infrared local maxima"
    assert report.fingerprint == detector.fingerprint
    assert report.headline > 0.3
    assert report.figures["F1 (3 m)"] <= report.headline


def test_a_larger_search_is_never_worse_on_its_own_samples():
    samples = list(URBAN_TREES.open(TREES, "all"))

    def reached(grid):
        detector = NirBrightnessTrees.fit(samples, gsd=0.6, grid=grid)
        metric = PointMetric(radii=(6.0,), gsd=0.6)
        for sample, found in zip(samples, detector.predict(samples), strict=True):
            metric.update(found, sample.target)
        return metric.compute()["F1 (6 m)"]

    assert reached(SearchGrid(sigmas=(2.0, 3.0), distances=(4, 6), thresholds=6)) >= reached(FEW)


def test_invalid_pixels_hold_no_tree_and_missing_bands_are_told():
    sample = crowns([[20.5, 30.5]])
    pixels = sample.images["image"]
    hidden = Pixels(
        values=pixels.values, bands=pixels.bands, unit=pixels.unit, grid=pixels.grid, valid=np.zeros((60, 80), bool)
    )
    detector = NirBrightnessTrees(feature="near infrared", sigma=1.0, distance=4, threshold=60)
    assert len(detector.find(hidden)) == 0
    with pytest.raises(BandMismatch, match="nir"):
        detector.find(pixels.select(["red"]))
    with pytest.raises(DataError, match="at least one sample"):
        NirBrightnessTrees.fit([], gsd=0.6)
    with pytest.raises(DataError, match="gsd="):
        NirBrightnessTrees.fit([sample])
    with pytest.raises(DataError, match="no points to learn from"):
        NirBrightnessTrees.fit([Sample(key="bare", images=sample.images)], gsd=0.6)
