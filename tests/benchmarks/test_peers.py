"""The benchmarks against peers, at small sizes: what they time is equal, and they notice what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio

from benchmarks import corruption, loading, metrics, pair
from benchmarks.job import bare_pair, with_pair
from benchmarks.measure import Cost, best_seconds
from benchmarks.road import check_equal
from benchmarks.scenes import build_pair
from swath.benchmarks.corruptions import CORRUPTIONS
from swath.datasets.spec import ALL
from swath.geometry.windows import Window
from swath.imagery.scene import open_scene
from swath.samples.rasters import ClassMap


@pytest.mark.parametrize("kind", corruption.PEERS, ids=lambda kind: kind.__name__)
def test_a_corruption_equals_its_peer_and_no_other_severity_does(kind):
    given = corruption.made_sample(96)
    corruption.check_equal(kind(corruption.SEVERITY), corruption.PEERS[kind], given)
    with pytest.raises(AssertionError, match=kind.name):
        corruption.check_equal(kind(corruption.SEVERITY + 1), corruption.PEERS[kind], given)


def test_all_corruptions_are_timed(capsys):
    corruption.report(pixels=64, repeats=1)
    printed = capsys.readouterr().out
    assert all(kind.name in printed for kind in CORRUPTIONS)
    assert printed.count("Mpx/s") == len(CORRUPTIONS) + len(corruption.PEERS)


COMPARISONS = {
    "two classes": lambda: metrics.segmentation(2, tiles=3, pixels=40),
    "sixteen classes": lambda: metrics.segmentation(16, tiles=3, pixels=40),
    "change": lambda: metrics.change(tiles=3, pixels=40),
    "scenes": lambda: metrics.classification(5, images=60),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_figures_equal_those_of_scikit_learn_and_others_are_noticed(name):
    comparison = COMPARISONS[name]()
    metrics.check_equal(comparison)
    with pytest.raises(AssertionError, match="scikit-learn has"):
        metrics.check_equal(replace(comparison, pairs=comparison.pairs[1:]))


def test_the_maps_compared_have_unknown_pixels_and_errors():
    said, true = (getattr(metrics.segmentation(2, tiles=1, pixels=64).pairs[0], name) for name in ("said", "true"))
    assert isinstance(true, ClassMap)
    assert (true.labels == 255).mean() == pytest.approx(metrics.UNKNOWN_SHARE, abs=0.02)
    assert (said.labels != true.labels)[true.known()].mean() == pytest.approx(metrics.WRONG_SHARE / 2, abs=0.02)


@pytest.mark.parametrize("transforms", [False, True])
def test_batches_equal_those_of_a_data_loader(tmp_path, monkeypatch, transforms):
    data = loading.made_chips(tmp_path, 64, 20).open(ALL)
    assert len(data) == 20
    feeding = loading.Feeding.of(data, transforms=transforms)
    loading.check_equal(feeding)
    others = replace(feeding, data=data.select(range(19, -1, -1))).theirs
    monkeypatch.setattr(loading.Feeding, "theirs", lambda _, *arguments: others(*arguments))
    with pytest.raises(AssertionError, match="batches differ"):
        loading.check_equal(feeding)


def test_images_are_read_from_a_folder_of_ones_own(tmp_path, capsys):
    folder = loading.made_chips(tmp_path, 64, 20).root
    loading.report(tmp_path, data=str(folder), images=10, repeats=1)
    printed = capsys.readouterr().out
    assert "Feed 10 images" in printed
    assert printed.count("images/s  DataLoader") == 2 * len(loading.WORKERS)


def test_a_pair_in_two_reference_systems_gives_the_map_of_a_bare_loop(tmp_path):
    scenes = build_pair(tmp_path, 300)
    with rasterio.open(scenes.before) as before, rasterio.open(scenes.after) as after:
        assert before.crs != after.crs
        assert before.res != after.res
    with open_scene(before=str(scenes.before), after=str(scenes.after), bands="naip") as scene:
        assert scene.read(Window(0, 0, 300, 300), slot="after").valid is None
    ours, theirs = tmp_path / "ours.tif", tmp_path / "theirs.tif"
    with_pair(scenes.before, scenes.after, ours)
    bare_pair(scenes.before, scenes.after, theirs)
    check_equal(ours, theirs)
    with rasterio.open(ours) as written:
        assert set(np.unique(written.read(1))) == {0, 1}


@pytest.mark.parametrize(("peak", "grows"), [(549.0, False), (551.0, True)])
def test_memory_that_grows_by_more_than_a_tenth_is_an_error(tmp_path, monkeypatch, peak, grows):
    def cost(folder, side):
        return Cost(cpu=1.0, wall=1.0, imported=100.0, peak=500.0 if side == pair.SMALL else peak)

    monkeypatch.setattr(pair, "road_cost", cost)
    monkeypatch.setattr(pair, "report_time", lambda *_: None)
    monkeypatch.setattr(pair, "build_pair", lambda *_: None)
    if grows:
        with pytest.raises(AssertionError, match="memory grew"):
            pair.report(tmp_path, pixels=2 * pair.SMALL, repeats=1)
    else:
        pair.report(tmp_path, pixels=2 * pair.SMALL, repeats=1)


def test_the_least_of_all_runs_counts():
    times = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    assert best_seconds(lambda: None, 3, clock=lambda: next(times)) == 2.0
