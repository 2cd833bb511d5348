"""Paired tests, comparisons and saved reports, against plain resampling, hand cases and scipy's definitions."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from made_data import Answering, MadeSpec

from swath.benchmarks.bootstrap import RESAMPLES
from swath.benchmarks.compare import compare
from swath.benchmarks.evidence import Evidence
from swath.benchmarks.kinds import scene_protocol, segmentation_protocol
from swath.benchmarks.paired import mcnemar, paired_differences
from swath.benchmarks.protocol import evaluate
from swath.benchmarks.report import Report
from swath.benchmarks.saved import load_report, save_report, tallies_path
from swath.errors import ConfigurationError, DataError, OutputExists
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.metrics.calibration import Reliability
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap
from swath.samples.sample import Sample

CLASSES = ("a", "b")
COUNT = 60
BLOCK = Pixels.from_array(np.zeros((1, 2, 2), np.uint8), [Band(name="g", role="green")], Unit.EIGHT_BIT)


def shares(seed, skill):
    """The score of the true class of each image: above 1/2 for about `skill` of them."""
    generator = np.random.default_rng(seed)
    sure = 0.5 + 0.5 * generator.random(COUNT)
    return np.where(generator.random(COUNT) < skill, sure, 1 - sure)


def truths():
    return [CLASSES[number % 2] for number in range(COUNT)]


def protocol():
    samples = tuple(
        Sample(key=f"{number:02}", images={"image": BLOCK}, target=Label.of(name, CLASSES, BLOCK.size))
        for number, name in enumerate(truths())
    )
    return scene_protocol(MadeSpec("made", CLASSES, samples), "accuracy")


def model(name, scores):
    def answer(sample):
        share, true = scores[int(sample.key)], truths()[int(sample.key)]
        both = [share, 1 - share] if true == "a" else [1 - share, share]
        return Label(size=sample.size, scores=both, classes=CLASSES)

    return Answering(name, CLASSES, answer, fingerprint=f"{name}-0123456789")


def judged(name, scores) -> Report:
    return evaluate(model(name, scores), protocol(), ".")


@pytest.fixture(scope="module")
def reports():
    one = shares(1, 0.6)
    better = np.where(np.random.default_rng(9).random(COUNT) < 0.6, np.maximum(one, 1 - one), one)
    return judged("one", one), judged("better", better), judged("other", shares(2, 0.6))


def test_evidence_holds_every_image_by_its_key(reports):
    evidence = reports[0].evidence
    assert evidence.keys == tuple(f"{number:02}" for number in range(COUNT))
    assert (evidence.right() == (shares(1, 0.6) > 0.5)).all()
    assert evidence.figures() == pytest.approx(reports[0].figures)


def test_differences_equal_plain_resampling_of_pairs(reports):
    first, other = (report.evidence.right().astype(float) for report in reports[:2])
    found = paired_differences(reports[0].evidence, reports[1].evidence, ["accuracy"], seed=3)["accuracy"]
    generator = np.random.default_rng(3)
    drawn = [generator.integers(COUNT, size=COUNT) for _ in range(RESAMPLES)]
    differences = np.array([(other[places] - first[places]).mean() for places in drawn])
    assert found.value == pytest.approx((other - first).mean())
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))
    tail = min((differences <= 1e-12).sum(), (differences >= -1e-12).sum())
    assert found.p == pytest.approx(min(1, 2 * (tail + 1) / (RESAMPLES + 1)))


def test_pairing_is_sharper_than_two_separate_intervals(reports):
    found = paired_differences(reports[0].evidence, reports[1].evidence, ["accuracy"])["accuracy"]
    alone = [report.intervals["accuracy"] for report in reports[:2]]
    assert found.interval.low > 0
    assert found.p < 0.05
    assert found.interval.high - found.interval.low < max(one.high - one.low for one in alone)


def test_a_model_does_not_differ_from_itself(reports):
    found = paired_differences(reports[0].evidence, reports[0].evidence, ["accuracy", "Brier score"])
    for difference in found.values():
        assert (difference.value, difference.interval.low, difference.interval.high, difference.p) == (0, 0, 0, 1)


def test_images_are_paired_by_key_whatever_their_order(reports):
    first, other = reports[0].evidence, reports[2].evidence
    places = list(reversed(range(COUNT)))
    turned = Evidence(metric=other.metric, keys=tuple(reversed(other.keys)), tallies=other.tallies.ordered(places))
    assert (turned.right() == other.right()[::-1]).all()
    plain = paired_differences(first, other, ["accuracy"])
    assert paired_differences(first, turned, ["accuracy"]) == plain
    fewer = Evidence(metric=other.metric, keys=other.keys[1:], tallies=other.tallies.ordered(range(1, COUNT)))
    with pytest.raises(DataError, match="'00' is missing"):
        paired_differences(first, fewer, ["accuracy"])
    with pytest.raises(DataError, match="60 instead of 59"):
        paired_differences(fewer, other, ["accuracy"])
    with pytest.raises(DataError, match="same metric"):
        paired_differences(first, replace(other, metric=replace(other.metric, top_k=(1,))), ["accuracy"])


@pytest.mark.parametrize(("only_first", "only_other"), [(6, 16), (0, 5), (7, 7), (1, 0), (0, 0), (30, 12)])
def test_mcnemar_is_the_sum_of_its_binomial_tails(only_first, only_other):
    first = np.array([True] * only_first + [False] * only_other + [True, False])
    other = np.array([False] * only_first + [True] * only_other + [True, False])
    found = mcnemar(first, other)
    differing = only_first + only_other
    tail = sum(math.comb(differing, k) for k in range(min(only_first, only_other) + 1)) / 2**differing
    assert (found.only_first, found.only_other) == (only_first, only_other)
    assert found.p == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_of_the_textbook_table():
    # 6 against 16 discordant pairs: exact two-sided p 0.0525.
    first, other = np.array([True] * 6 + [False] * 16), np.array([False] * 6 + [True] * 16)
    assert round(mcnemar(first, other).p, 4) == 0.0525


def test_a_comparison_is_one_table(reports):
    found = compare(*reports)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [model["model"] for model in document["models"]] == ["one", "better", "other"]
    first, second, _ = document["models"]
    assert first["figures"]["accuracy"]["difference"] is None
    assert first["McNemar"] is None
    assert list(first["figures"]) == ["accuracy", "macro F1", "expected calibration error", "Brier score"]
    cell = second["figures"]["accuracy"]
    assert cell["value"] == reports[1].figures["accuracy"]
    assert cell["interval"] == reports[1].to_json()["intervals"]["accuracy"]
    assert cell["difference"]["value"] == pytest.approx(reports[1].figures["accuracy"] - reports[0].figures["accuracy"])
    rights = [report.evidence.right() for report in reports]
    assert second["McNemar"]["only this right"] == (rights[1] & ~rights[0]).sum()
    lines = found.to_text().splitlines()
    assert lines[0] == "made/accuracy: 3 models on 60 of 60 test samples"
    row = next(line for line in lines if line.startswith("accuracy"))
    assert row.split()[:3] == ["accuracy", "one", f"{reports[0].figures['accuracy']:.4f}"]
    assert sum(" better " in line for line in lines) == 5
    assert compare(*reports).to_json() == found.to_json()


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_stands_alone_and_shows_every_model(reports):
    odd = replace(reports[1], model="<b>better</b>")
    text = compare(reports[0], odd).to_html()
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert not [value for name, value in page.attributes if name in ("src", "href", "xlink:href") and "//" in value]
    assert not re.search(r"url\((?!#)", text)
    assert "<b>better</b>" in page.texts
    assert "b" not in page.tags
    assert page.tags.count("svg") == 1
    drawn = " ".join(page.texts)
    for report in reports[:2]:
        assert f"expected calibration error {report.figures['expected calibration error']:.4f}" in drawn
    assert page.tags.count("tr") == 3
    assert compare(reports[0], odd).to_html() == text


def test_models_of_one_name_are_told_apart(reports):
    twin = replace(reports[1], model="one")
    assert compare(reports[0], twin).names == ("one (1, one-0123)", "one (2, better-0)")


def test_what_cannot_be_compared_is_refused(reports):
    with pytest.raises(ConfigurationError, match="found 1"):
        compare(reports[0])
    with pytest.raises(DataError, match="one protocol"):
        compare(reports[0], replace(reports[1], protocol="made/other"))
    with pytest.raises(DataError, match="'better' has no tallies"):
        compare(reports[0], replace(reports[1], evidence=None))


def test_saved_reports_are_read_back_and_compare_the_same(reports, tmp_path):
    read = []
    for report in reports:
        path = save_report(report, tmp_path / f"{report.model}.json")
        read.append(load_report(path, protocol=protocol()))
    assert read[0] == replace(reports[0], seconds=round(reports[0].seconds, 3))
    assert read[0].reliability.diagram() == pytest.approx(reports[0].reliability.diagram(), nan_ok=True)
    assert compare(*read).to_json() == compare(*reports).to_json()
    assert tallies_path(tmp_path / "one.json").stat().st_size < 20_000
    with pytest.raises(OutputExists):
        save_report(reports[0], tmp_path / "one.json")
    save_report(reports[0], tmp_path / "one.json", overwrite=True)


def test_figures_without_meaning_survive_saving(tmp_path):
    report = Report(
        protocol="p", model="m", fingerprint="f", split="test", samples=1, available=1, watch="x",
        figures={"x": math.nan, "y": 0.5}, seconds=0.0,
    )  # fmt: skip
    read = load_report(save_report(report, tmp_path / "report.json"))
    assert math.isnan(read.figures["x"])
    assert (read.figures["y"], read.evidence) == (0.5, None)


def test_broken_and_foreign_files_are_told(reports, tmp_path):
    path = save_report(reports[0], tmp_path / "one.json")
    with pytest.raises(DataError, match="has no name here"):
        load_report(path)
    other = save_report(reports[1], tmp_path / "better.json")
    tallies_path(path).write_bytes(tallies_path(other).read_bytes())
    with pytest.raises(DataError, match="another model"):
        load_report(path, protocol=protocol())
    tallies_path(path).write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="cannot be read"):
        load_report(path, protocol=protocol())
    path.write_text("[1]")
    with pytest.raises(DataError, match="no report"):
        load_report(path)
    with pytest.raises(DataError, match="no report to read"):
        load_report(tmp_path / "none.json")


def test_class_maps_are_compared_without_mcnemar_and_without_confidences_without_diagrams():
    generator = np.random.default_rng(0)
    size = Size(2, 2)
    maps = [ClassMap(size=size, labels=generator.integers(0, 2, (2, 2)), classes=CLASSES) for _ in range(8)]
    samples = tuple(Sample(key=str(n), images={"image": BLOCK}, target=drawn) for n, drawn in enumerate(maps))
    made = segmentation_protocol(MadeSpec("maps", CLASSES, samples))
    perfect = Answering("perfect", CLASSES, lambda sample: maps[int(sample.key)])
    upside = Answering("upside down", CLASSES, lambda sample: maps[int(sample.key)].flip_vertical())
    found = compare(*(evaluate(each, made, ".") for each in (perfect, upside)))
    assert found.models[1].mcnemar is None
    assert found.models[1].figures["mean IoU"].difference.value < 0
    assert "McNemar" not in found.to_text()
    assert "<svg" not in found.to_html()
    assert "expected calibration error" not in found.models[0].figures


def test_the_reliability_of_a_report_is_that_of_its_images(reports):
    scores = shares(1, 0.6)
    confidence = np.maximum(scores, 1 - scores).astype(np.float32)
    expected = Reliability.of(confidence, scores > 0.5)
    assert reports[0].reliability.seen.tolist() == expected.seen.tolist()
    assert reports[0].reliability.right.tolist() == expected.right.tolist()
    assert reports[0].reliability.confidence == pytest.approx(expected.confidence, abs=1e-6)
