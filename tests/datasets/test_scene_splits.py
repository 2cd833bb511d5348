"""The published splits of scene classification: counts, repeats, and lists."""

import shutil
from pathlib import Path

import pytest
from real_pixels import CHIPS, DATA

from swath.datasets.records import Record
from swath.datasets.registry import dataset
from swath.datasets.scenes import (
    EUROSAT_RGB_TORCHGEO,
    NWPU_RESISC45,
    NWPU_RESISC45_10,
    NWPU_RESISC45_20,
    NWPU_RESISC45_LWGANET,
    NWPU_RESISC45_SMARTIES,
    NWPU_RESISC45_TORCHGEO,
    drawn_again,
)
from swath.datasets.splits import ListSplit
from swath.errors import ConfigurationError, DataError

ROOT = Path("NWPU-RESISC45")


def resisc45_records(classes=NWPU_RESISC45.classes):
    """The 31,500 names of the archive, or those of some classes."""
    return [
        Record(key=f"{name}/{name}_{number:03d}.jpg", image=ROOT, label=name)
        for name in classes
        for number in range(1, 701)
    ]


@pytest.mark.parametrize(("spec", "each", "train"), [(NWPU_RESISC45_10, 70, 3_150), (NWPU_RESISC45_20, 140, 6_300)])
def test_the_original_protocols_draw_so_many_of_each_class(spec, each, train):
    records = resisc45_records()
    parts = spec.splits.parts(records, ROOT)
    counts = [sum(record.label == name for record in parts["train"]) for name in NWPU_RESISC45.classes]
    assert counts == [each] * 45
    assert (
        {part: len(found) for part, found in parts.items()} == {"train": train, "test": 31_500 - train} == spec.counts
    )
    assert not set(parts["train"]) & set(parts["test"])


def test_ten_seeds_are_ten_draws_and_one_seed_is_one():
    records = resisc45_records(NWPU_RESISC45.classes[:2])
    draws = [frozenset(drawn_again(NWPU_RESISC45_10, seed).splits.parts(records, ROOT)["train"]) for seed in range(10)]
    assert len(set(draws)) == 10
    assert draws[0] == frozenset(NWPU_RESISC45_10.splits.parts(records, ROOT)["train"])
    with pytest.raises(ConfigurationError, match="has one draw alone"):
        drawn_again(NWPU_RESISC45_TORCHGEO, 1)


def resisc45_tree(root, names=("railway_station", "sea_ice")):
    """All 45 class folders of one image, and ten images in two of them whose names hold underscores."""
    for place, name in enumerate(NWPU_RESISC45.classes):
        for number in range(1, 11 if name in names else 2):
            path = root / name / f"{name}_{number:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHIPS[(place + number) % len(CHIPS)], path)
    return root


def test_lists_of_bare_names_beside_the_images_or_above_them(tmp_path):
    root = resisc45_tree(tmp_path / "NWPU-RESISC45")
    for part, numbers in (("train", (1, 2, 3)), ("val", (4,)), ("test", (5,))):
        lines = [f"{name}_{number:03d}.jpg" for name in ("railway_station", "sea_ice") for number in numbers]
        (tmp_path / f"resisc45-{part}.txt").write_text("\n".join(lines) + "\n")
    sizes = {part: len(NWPU_RESISC45_TORCHGEO.open(root, part)) for part in ("train", "validation", "test")}
    assert sizes == {"train": 6, "validation": 2, "test": 2}
    labels = {sample.target.best.name for sample in NWPU_RESISC45_TORCHGEO.open(root, "test")}
    assert labels == {"railway_station", "sea_ice"}
    (root / "resisc45-test.txt").write_text("sea_ice_001.jpg\n")  # nearer than the one above
    with pytest.raises(DataError, match=r"'sea_ice_001\.jpg' is in the lists of both 'train' and 'test'"):
        NWPU_RESISC45_TORCHGEO.open(root, "test")
    with pytest.raises(DataError, match=r"no list .*train\.txt"):
        NWPU_RESISC45_SMARTIES.open(root, "train")


def test_lists_with_the_archives_folder_in_front(tmp_path):
    root = resisc45_tree(tmp_path)
    (root / "train.txt").write_text("NWPU-RESISC45/sea_ice/sea_ice_001.jpg\nNWPU-RESISC45/sea_ice/sea_ice_002.jpg\n")
    (root / "val.txt").write_text("NWPU-RESISC45/wetland/wetland_001.jpg\n")
    assert len(NWPU_RESISC45_SMARTIES.open(root, "train")) == 2
    assert NWPU_RESISC45_SMARTIES.open(root, "test")[0].target.best.name == "wetland"
    (root / "val.txt").write_text("NWPU-RESISC45/wetland/wetland_701.jpg\n")
    with pytest.raises(DataError, match=r"names 'NWPU-RESISC45/wetland/wetland_701\.jpg', which is not in"):
        NWPU_RESISC45_SMARTIES.open(root, "test")


def test_bare_names_of_several_images_are_told(tmp_path):
    (tmp_path / "train.txt").write_text("1.jpg\n")
    rule = ListSplit(files={"train": "train.txt"}, by_name=True)
    records = [Record(key=f"{name}/1.jpg", image=ROOT, label=name) for name in ("oak", "elm")]
    with pytest.raises(DataError, match=r"names '1\.jpg', which is the name of 2 images"):
        rule.parts(records, tmp_path)


def test_parts_as_folders_of_class_folders(tmp_path):
    resisc45_tree(tmp_path / "train")
    resisc45_tree(tmp_path / "val", ())
    assert [len(NWPU_RESISC45_LWGANET.open(tmp_path, part)) for part in ("train", "test")] == [63, 45]
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(DataError, match=r"no folder .*val"):
        NWPU_RESISC45_LWGANET.open(tmp_path)


def test_lists_may_name_other_suffixes(tmp_path):
    """TorchGeo's lists say .jpg for the TIFF archive too."""
    shutil.copytree(DATA / "eurosat_rgb", tmp_path / "EuroSAT")
    for number, part in enumerate(("train", "val", "test")):
        lines = [path.with_suffix(".tif").name for path in CHIPS[number::3]]
        (tmp_path / f"eurosat-{part}.txt").write_text("\n".join(lines))
    parts = [EUROSAT_RGB_TORCHGEO.open(tmp_path / "EuroSAT", part) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [10, 10, 10]


@pytest.mark.parametrize("name", ["10", "20", "torchgeo", "smarties", "rsmamba", "lwganet"])
def test_every_split_of_resisc45_has_a_name_and_counts_that_add_up(name):
    spec = dataset(f"nwpu-resisc45-{name}")
    assert sum(spec.counts.values()) == 31_500
    assert spec.classes == NWPU_RESISC45.classes
