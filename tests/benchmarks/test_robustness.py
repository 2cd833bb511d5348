"""From clean to corrupt: the sheet's worked example, exact invariants, and every number from `evaluate` itself."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from made_data import Answering, MadeSpec

from swath.benchmarks.corruptions import CORRUPTIONS, GaussianNoise, Haze, Rotation, Scale, Translation
from swath.benchmarks.kinds import segmentation_protocol
from swath.benchmarks.protocol import evaluate
from swath.benchmarks.report import Report
from swath.benchmarks.robustness import CorruptedResult, Robustness, evaluate_corrupted
from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.samples.rasters import ClassMap
from swath.samples.sample import Sample
from swath.samples.transforms import Resize

CLASSES = ("ground", "roof")


def report(value, severity=0) -> Report:
    return Report(
        protocol="vqa", model="VHM", fingerprint="-", split="test", samples=1, available=1, watch="accuracy",
        figures={"accuracy": value}, seconds=0.0,
    )  # fmt: skip


def test_worked_example_of_the_sheet():
    # VHM on questions: clean 60.21 and nine corruptions.
    scores = (59.26, 59.73, 57.93, 59.64, 59.21, 58.27, 59.63, 59.17, 57.27)
    found = Robustness(
        clean=report(60.21),
        results=tuple(
            CorruptedResult(corruption=str(number), reports={3: report(score)}) for number, score in enumerate(scores)
        ),
    )
    assert round(found.average(), 2) == 58.90
    assert round(found.drop(), 2) == 1.31
    assert found.relative() == pytest.approx(found.average() / 60.21)


def test_a_score_is_the_mean_over_severities():
    result = CorruptedResult(
        corruption="haze", reports={s: report(v) for s, v in enumerate((1, 0.9, 0.8, 0.7, 0.6), start=1)}
    )
    found = Robustness(clean=report(0.95), results=(result,))
    assert result.score("accuracy") == pytest.approx(0.80)
    assert found.drop(result) == pytest.approx(0.15)
    lines = found.to_text().splitlines()
    assert lines[1].split() == ["accuracy", "drop", "relative", *(f"severity {n}" for n in range(1, 6))][:3] + [
        word for n in range(1, 6) for word in ("severity", str(n))
    ]
    assert lines[3].split() == ["haze", "0.8000", "+0.1500", "0.8421", "1.0000", "0.9000", "0.8000", "0.7000", "0.6000"]
    assert lines[4].split() == ["average", "0.8000", "+0.1500", "0.8421"]
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["corruptions"][0]["severities"]["4"]["accuracy"] == 0.7
    assert document["relative robustness"] == pytest.approx(0.8 / 0.95)
    assert replace(found, clean=report(0.0)).to_json()["relative robustness"] is None


@pytest.fixture
def roofs() -> MadeSpec:
    """Noise in which a pixel brighter than 127 is roof; no pixel is near that value or black."""
    generator = np.random.default_rng(0)
    samples = []
    for key in "abc":
        bright = generator.random((24, 30)) < 0.4
        values = np.where(bright, generator.integers(180, 230, bright.shape), generator.integers(30, 80, bright.shape))
        block = Pixels.from_array(values.astype(np.uint8)[None], [Band(name="g", role="green")], Unit.EIGHT_BIT)
        target = ClassMap(size=Size(24, 30), labels=bright.astype(np.uint8), classes=CLASSES)
        samples.append(Sample(key=key, images={"image": block}, target=target))
    return MadeSpec("roofs", CLASSES, tuple(samples))


def brightness() -> Answering:
    def answer(sample):
        labels = (sample.images["image"].values[0] > 127).astype(np.uint8)
        return ClassMap(size=sample.size, labels=labels, classes=CLASSES)

    return Answering("brightness", CLASSES, answer)


def test_a_model_of_pixels_does_not_mind_a_shift_but_noise(roofs):
    found = evaluate_corrupted(
        brightness(), segmentation_protocol(roofs), ".", corruptions=(GaussianNoise, Translation), severities=(3, 5)
    )
    noise, shift = found.results
    assert found.clean.headline == 1
    # Labels move exactly with the pixels, and what comes from outside does not count.
    assert shift.values("mean IoU") == {3: 1.0, 5: 1.0}
    assert found.drop(shift) == 0
    values = noise.values("mean IoU")
    assert 1 > values[3] > values[5]
    assert found.relative(noise) == pytest.approx((values[3] + values[5]) / 2)


def test_every_number_is_that_of_evaluate_with_the_corruption_first(roofs):
    protocol = replace(segmentation_protocol(roofs, tile=16), transforms=(Resize(20),))
    found = evaluate_corrupted(
        brightness(), protocol, ".", corruptions=(Haze, Rotation, Scale), severities=(2, 4), seed=7, limit=2
    )
    assert found.clean == replace(evaluate(brightness(), protocol, ".", limit=2), seconds=found.clean.seconds)
    for kind, result in zip((Haze, Rotation, Scale), found.results, strict=True):
        assert result.corruption == kind.name
        for severity, judged in result.reports.items():
            changed = replace(protocol, transforms=(kind(severity, seed=7), Resize(20)))
            expected = evaluate(brightness(), changed, ".", limit=2)
            assert judged.figures == expected.figures
            assert judged.samples == 2


def test_progress_is_told_and_wrong_requests_are_refused(roofs):
    told = []
    protocol = segmentation_protocol(roofs)
    evaluate_corrupted(
        brightness(), protocol, ".", corruptions=(Haze,), severities=(1, 2), progress=lambda *n: told.append(n)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(ConfigurationError, match="at least one corruption"):
        evaluate_corrupted(brightness(), protocol, ".", corruptions=())
    untouched = brightness()
    with pytest.raises(ConfigurationError, match="found 9"):
        evaluate_corrupted(untouched, protocol, ".", severities=(9,))
    assert untouched.seen == []


def test_the_plot_is_svg_with_a_chart_for_each_corruption():
    results = tuple(
        CorruptedResult(corruption=kind.name, reports={s: report(1 - s / 10) for s in range(1, 6)})
        for kind in CORRUPTIONS
    )
    text = Robustness(clean=report(0.95), results=results).to_svg()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    written = {"".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {kind.name for kind in CORRUPTIONS} | {"severity", "accuracy"} <= written
    assert Robustness(clean=report(0.95), results=results).to_svg() == text
