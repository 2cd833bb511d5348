"""RSICD in its published layout and with an index, and UC Merced with TIFF and with JPEG files."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from PIL import Image

from swath.benchmarks.registry import protocol_of
from swath.datasets.check import check
from swath.datasets.rsicd import RSICD
from swath.datasets.scenes import UC_MERCED, UC_MERCED_70
from swath.errors import DataError


def picture(path, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(zlib.crc32(f"{path.parent.name}/{path.name}".encode())).integers(
        0, 256, (size, size, 3), np.uint8
    )
    Image.fromarray(values).save(path)


@pytest.fixture
def published(tmp_path):
    """Five images a class, as the archives RSICD_images and txtclasses_rsicd hold them."""
    root = tmp_path / "RSICD"
    for number, name in enumerate(RSICD.classes):
        names = [f"{name}_{count}.jpg" for count in range(1, 5)] + [f"{number:05}.jpg"]
        for file in names:
            picture(root / "RSICD_images" / file)
        (root / "txtclasses_rsicd").mkdir(exist_ok=True)
        (root / "txtclasses_rsicd" / f"{name}.txt").write_text("\n".join(names) + "\n")
    return root


def test_the_published_lists_say_the_classes(published):
    train, test = RSICD.open(published, "train"), RSICD.open(published, "test")
    assert (len(train), len(test)) == (120, 30)
    assert dict(test.describe().groups) == dict.fromkeys(RSICD.classes, 1)
    sample = RSICD.open(published, "all")[4]
    assert (sample.key, sample.target.best.name) == ("RSICD_images/00000.jpg", "airport")
    assert check(RSICD, published).ok


def test_an_index_of_lines_says_them_too(tmp_path):
    lines = []
    for number, name in enumerate(RSICD.classes * 5):
        picture(tmp_path / "images" / f"{number}.jpg")
        lines.append(json.dumps({"file": f"images/{number}.jpg", "scene": name, "captions": ["a scene ."]}))
    (tmp_path / "index.jsonl").write_text("\n".join(lines))
    assert (len(RSICD.open(tmp_path, "train")), len(RSICD.open(tmp_path, "test"))) == (120, 30)
    assert RSICD.open(tmp_path, "all")[31].target.best.name == "bareland"
    (tmp_path / "index.jsonl").write_text(lines[0] + '\n{"file": "images/1.jpg"}\n')
    with pytest.raises(DataError, match=r"Line 2 of .* is no JSON object with the fields 'file' and 'scene'"):
        RSICD.open(tmp_path)
    (tmp_path / "index.jsonl").write_text(json.dumps({"file": "images/1.jpg", "scene": "ocean"}))
    with pytest.raises(DataError, match="says the class 'ocean'"):
        RSICD.open(tmp_path)
    (tmp_path / "index.jsonl").unlink()
    with pytest.raises(DataError, match=r"none of the layouts .*txtclasses_rsicd/<class>.txt; index.jsonl"):
        RSICD.open(tmp_path)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_uc_merced_opens_as_tiff_and_as_jpeg_with_a_fifth_of_each_class_to_test(tmp_path, suffix):
    for name in UC_MERCED.classes:
        for number in range(5):
            picture(tmp_path / name / f"{name}{number:02}.{suffix}")
    train, test = UC_MERCED.open(tmp_path, "train"), UC_MERCED.open(tmp_path, "test")
    assert (len(train), len(test)) == (84, 21)
    assert dict(test.describe().groups) == dict.fromkeys(UC_MERCED.classes, 1)
    assert list(UC_MERCED.classes) == sorted(UC_MERCED.classes)
    assert check(UC_MERCED, tmp_path).ok
    assert len(UC_MERCED_70.open(tmp_path, "train")) == 63


def test_both_are_measured_on_the_fifth_by_accuracy():
    assert protocol_of(RSICD).name == "rsicd/accuracy-20%"
    assert protocol_of(UC_MERCED).name == "uc-merced/accuracy-20%"
    assert protocol_of(UC_MERCED_70).name == "uc-merced-70/rsmamba-30%"
    assert {protocol_of(spec).watch for spec in (RSICD, UC_MERCED)} == {"accuracy"}
