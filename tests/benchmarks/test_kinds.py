"""Protocols by kind of task, each evaluated on data whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import Answering, MadeSpec

from swath.benchmarks.kinds import (
    change_protocol,
    multi_label_protocol,
    scene_protocol,
    segmentation_protocol,
    semantic_change_protocol,
)
from swath.benchmarks.protocol import evaluate
from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap, Transition
from swath.samples.sample import Sample
from swath.samples.transforms import Resize

CHANGE = ("unchanged", "changed")
SIZE = Size(20, 24)


def grey(values) -> Pixels:
    return Pixels.from_array(np.asarray(values, np.uint8)[None], [Band(name="g", role="green")], Unit.EIGHT_BIT)


def drawn(labels, classes) -> ClassMap:
    return ClassMap(size=Size(*np.shape(labels)), labels=labels, classes=classes)


@pytest.fixture
def pairs() -> MadeSpec:
    """Two pairs of noise; truly changed is what differs by more than 128, unknown what is black before."""
    generator = np.random.default_rng(0)
    samples = []
    for key in "ab":
        before, after = generator.integers(0, 256, (2, SIZE.height, SIZE.width))
        labels = np.where(before < 10, 255, np.abs(before - after) > 128)
        images = {"before": grey(before), "after": grey(after)}
        samples.append(Sample(key=key, images=images, target=drawn(labels, CHANGE)))
    return MadeSpec("pairs", CHANGE, tuple(samples))


def differs(threshold):
    def answer(sample):
        before, after = (sample.images[slot].values[0].astype(int) for slot in ("before", "after"))
        return drawn((np.abs(before - after) > threshold).astype(np.uint8), CHANGE)

    return Answering("differs", CHANGE, answer)


def test_change_is_measured_in_tiles_and_whole_alike(pairs):
    model = differs(100)
    whole, tiled = (evaluate(model, change_protocol(pairs, tile=tile), ".") for tile in (None, 8))
    assert (whole.protocol, tiled.protocol) == ("pairs/whole", "pairs/8")
    assert whole.figures == tiled.figures
    said, true = [], []
    for sample in pairs.samples:
        before, after = (sample.images[slot].values[0].astype(int) for slot in ("before", "after"))
        known = before >= 10
        said.append((np.abs(before - after) > 100)[known])
        true.append((np.abs(before - after) > 128)[known])
    said, true = np.concatenate(said), np.concatenate(true)
    assert whole.figures["recall (class changed)"] == 1
    assert whole.figures["precision (class changed)"] == pytest.approx(true.sum() / said.sum())
    assert whole.figures["overall accuracy"] == pytest.approx((said == true).mean())
    assert list(whole.intervals)[:2] == ["F1 (class changed)", "IoU (class changed)"]
    assert max(sample.size.height for sample in model.seen[2:]) == 8


def test_a_tolerance_adds_relaxed_figures_and_more_classes_are_refused(pairs):
    report = evaluate(differs(128), change_protocol(pairs, tolerance=2.0), ".")
    assert report.figures["relaxed F1 (changed, 2 px)"] == report.figures["F1 (class changed)"] == 1
    with pytest.raises(ConfigurationError, match="semantic_change_protocol"):
        change_protocol(MadeSpec("three", ("a", "b", "c"), ()))


def test_semantic_change_of_known_transitions():
    classes = ("unchanged", "water", "tree")
    before = drawn([[0, 1, 2, 1]], classes)
    after = drawn([[0, 2, 1, 2]], classes)
    truth = Transition(size=before.size, before=before, after=after)
    sample = Sample(key="a", images={slot: grey(np.zeros((1, 4))) for slot in ("before", "after")}, target=truth)
    spec = MadeSpec("from-to", classes, (sample,))
    report = evaluate(
        Answering("perfect", classes, lambda _: truth), semantic_change_protocol(spec, unchanged="unchanged"), "."
    )
    assert (report.watch, report.headline, report.figures["Fscd"]) == ("SeK", 1, 1)
    forgetful = Transition(size=before.size, before=before, after=before)
    report = evaluate(
        Answering("forgetful", classes, lambda _: forgetful), semantic_change_protocol(spec, unchanged="unchanged"), "."
    )
    # Change is found everywhere, but never rightly named.
    assert (report.figures["mean IoU"], report.figures["Fscd"], report.figures["overall accuracy"]) == (1, 0, 1 / 4)


def test_scenes_labels_and_maps_have_their_metric_and_preparation():
    sample = Sample(key="a", images={"image": grey(np.zeros((8, 8)))}, target=Label.of("a", ("a", "b"), Size(8, 8)))
    spec = MadeSpec("chips", ("a", "b"), (sample,))
    sure = Answering("sure", spec.classes, lambda s: Label(size=s.size, scores=[0.8, 0.2], classes=spec.classes))
    report = evaluate(sure, scene_protocol(spec, "accuracy", transforms=(Resize(4),), top_k=(1,)), ".")
    assert (report.protocol, report.headline, report.figures["top-1 accuracy"]) == ("chips/accuracy", 1, 1)
    assert sure.seen[0].size == Size(4, 4)

    several = Sample(key="a", images=sample.images, target=Label.of(["a"], ("a", "b"), Size(8, 8)))
    spec = MadeSpec("chips", ("a", "b"), (several,))
    both = Answering(
        "both", spec.classes, lambda s: Label(size=s.size, scores=[0.8, 0.6], classes=spec.classes, exclusive=False)
    )
    report = evaluate(both, multi_label_protocol(spec, "map"), ".")
    assert report.figures["subset accuracy"] == 0
    assert report.figures["micro F1"] == pytest.approx(2 / 3)
    assert evaluate(both, multi_label_protocol(spec, "map", threshold=0.7), ".").figures["subset accuracy"] == 1

    mapped = Sample(key="a", images=sample.images, target=drawn(np.zeros((8, 8), np.uint8), ("a", "b")))
    spec = MadeSpec("maps", ("a", "b"), (mapped,))
    right = Answering(
        "right", spec.classes, lambda s: drawn(np.zeros((s.size.height, s.size.width), int), spec.classes)
    )
    report = evaluate(right, segmentation_protocol(spec, tile=4), ".")
    assert (report.protocol, report.headline, len(right.seen)) == ("maps/4", 1, 4)
