"""Looking through data sets: everything that is wrong is found at once, and nothing that is right."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from real_pixels import CHIPS, DATA, folders, pair, save

from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
from swath.datasets.change_maps import LEVIR_CD
from swath.datasets.check import NEAR, Twins, check, class_counts
from swath.datasets.formats.class_folders import ClassFolders
from swath.datasets.likeness import near, perceptual_hash
from swath.datasets.scenes import EUROSAT_RGB
from swath.datasets.splits import RecordedSplit
from swath.datasets.trees import URBAN_TREES
from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.samples.labels import Text
from swath.samples.rasters import ClassMap, Transition

PAIRS = replace(LEVIR_CD, counts={})
PARTED = replace(
    EUROSAT_RGB,
    layout=ClassFolders(parts={"train": "train", "test": "test"}),
    splits=RecordedSplit(names=("train", "test")),
)


@pytest.fixture
def parted(tmp_path):
    """Real chips, two of each class to train and one to test."""
    for number, path in enumerate(CHIPS):
        target = tmp_path / ("test" if number % 3 == 2 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_nothing_is_wrong_with_real_data():
    report = check(EUROSAT_RGB, DATA / "eurosat_rgb")
    assert report.ok, str(report)
    assert not report.near_duplicates
    assert report.counted == "images"
    assert report.counts == {
        "train": dict.fromkeys(EUROSAT_RGB.classes, 2),
        "test": dict.fromkeys(EUROSAT_RGB.classes, 1),
    }


def test_objects_are_counted_and_an_empty_part_is_found():
    report = check(URBAN_TREES, DATA / "urban_trees")
    assert report.counted == "objects"
    assert report.counts["train"] == {"tree": 17 + 20 + 14}
    assert report.missing == ("The part 'test' holds no image; complete the data set.",)


def test_pixels_of_each_class_are_counted_by_part(tmp_path):
    report = check(PAIRS, folders(tmp_path))
    assert report.ok
    assert report.samples == {"train": 3, "validation": 1, "test": 2}
    changed = sum(int(pair(number)[2].sum()) for number in (4, 5))
    assert report.counts["test"] == {"unchanged": 2 * 32 * 32 - changed, "changed": changed}
    assert report.counted == "pixels"


def test_everything_wrong_is_reported_at_once(tmp_path):
    root = folders(tmp_path, parts=(("train", 5), ("val", 1), ("test", 1)))
    (root / "train/B/00.png").unlink()
    (root / "train/label/01.png").unlink()
    (root / "train/A/02.png").write_bytes(b"no picture")
    save(np.full((32, 32), 7, np.uint8), root / "train/label/03.png")
    save(pair(4)[1][:, :30], root / "train/B/04.png")
    report = check(PAIRS, root)
    assert not report.ok
    assert ["B/00 in" in report.missing[0], "label/01 in" in report.missing[1]] == [True, True]
    assert len(report.missing) == 2
    assert [message for message in report.unreadable if "A/02.png" in message]
    assert len(report.unreadable) == 1
    assert "holds the value 7 at 1024 pixels" in report.mislabelled[0]
    assert "differs in size" in report.mislabelled[1]
    assert len(report.mislabelled) == 2
    text = str(report)
    assert "2 missing, 1 unreadable, 2 mislabelled" in text
    assert "train: 3 samples" in text
    assert report.to_json()["ok"] is False


def test_a_folder_of_another_kind_is_one_finding(tmp_path):
    report = check(PAIRS, tmp_path)
    assert "none of the layouts" in report.missing[0]
    assert not report.ok
    assert report.samples == {}
    assert "no folder" in check(EUROSAT_RGB, tmp_path / "nowhere").missing[0]


def test_missing_classes_parts_and_images_are_found(parted):
    shutil.rmtree(parted / "test" / "River")
    for path in (parted / "train" / "Forest").iterdir():
        path.unlink()
    report = check(replace(PARTED, counts={"train": 20, "test": 9}), parted)
    expected = (
        "test lacks the class folder River",
        "Forest holds no image",
        "The part 'train' holds 18 images; as published it has 20: complete the data set.",
        "The part 'train' has no images of the class Forest; complete the data set.",
        "The part 'test' has no images of the class River; complete the data set.",
    )
    assert len(report.missing) == len(expected)
    for message in expected:
        assert any(message in found for found in report.missing), message


def test_lists_that_overlap_are_found_and_everything_is_still_looked_at(tmp_path):
    root = folders(tmp_path, parts=((".", 3),))
    (root / "list").mkdir()
    (root / "list/train.txt").write_text("00.png\n01.png\n")
    (root / "list/test.txt").write_text("01.png\n02.png\n")
    report = check(PAIRS, root)
    assert report.missing == (
        f"'01.png' is in the lists of both 'train' and 'test' in {root}; a model must not be tested on what it has "
        "learnt from: strike it from one of them.",
    )
    assert report.samples == {"all": 3}
    (root / "list/test.txt").write_text("02.png\n")
    (root / "list/train.txt").write_text("00.png\n")
    report = check(PAIRS, root)
    assert (report.ok, report.unused) == (True, 1)
    assert "1 images are in no part" in str(report)


def test_the_same_image_in_two_parts_is_found_whatever_its_name_and_format(parted):
    original = CHIPS[0]
    shutil.copy(original, parted / "test" / "AnnualCrop" / "another_name.jpg")
    lossless = parted / "test" / "Forest" / "lossless.png"
    Image.open(original).save(lossless)
    report = check(PARTED, parted)
    key = f"train/AnnualCrop/{original.name}"
    assert sorted(report.duplicates, key=lambda twins: twins.other_key) == [
        Twins("train", key, "test", "test/AnnualCrop/another_name.jpg", 0),
        Twins("train", key, "test", "test/Forest/lossless.png", 0),
    ]
    assert not report.ok
    assert not report.near_duplicates


def test_a_copy_within_one_part_is_no_leak(parted):
    shutil.copy(CHIPS[0], parted / "train" / "AnnualCrop" / "copy.jpg")
    assert not check(PARTED, parted).duplicates


@pytest.mark.parametrize("change", ["quality", "scale", "brightness"])
def test_near_copies_in_two_parts_are_candidates(parted, change):
    picture = Image.open(CHIPS[9])
    altered = {
        "quality": picture,
        "scale": picture.resize((96, 96), Image.Resampling.BILINEAR),
        "brightness": picture.point(lambda value: min(255, value + 6)),
    }[change]
    altered.save(parted / "test" / "Industrial" / "near.jpg", quality=60 if change == "quality" else 95)
    report = check(PARTED, parted)
    assert report.ok
    pairs = [(twins.key, twins.other_key) for twins in report.near_duplicates]
    assert pairs == [(f"train/{CHIPS[9].parent.name}/{CHIPS[9].name}", "test/Industrial/near.jpg")]
    assert 0 <= report.near_duplicates[0].apart <= NEAR
    assert "1 near-duplicates" in str(report)


def test_other_chips_are_far_apart():
    """Fair bits would be 64 apart; no two of the real chips come near what a copy may differ in."""
    hashes = [perceptual_hash(np.asarray(Image.open(path)).transpose(2, 0, 1)) for path in CHIPS]
    hashes = [each for each in hashes if each]
    apart = [
        sum(bin(a ^ b).count("1") for a, b in zip(one, other, strict=True))
        for number, one in enumerate(hashes)
        for other in hashes[:number]
    ]
    assert min(apart) > 2 * NEAR
    found = {(one, other) for one, other, _ in near(hashes, hashes, 0)}
    assert found == {(number, number) for number in range(len(hashes))}


def test_flat_images_have_no_hash():
    assert perceptual_hash(np.full((3, 64, 64), 40, np.uint8)) == ()
    assert perceptual_hash(np.zeros((3, 64, 64), np.uint8)) == ()
    assert len(perceptual_hash(np.arange(4096, dtype=np.uint16).reshape(1, 64, 64))) == 2


def test_changes_are_counted_by_both_names_and_texts_not_at_all():
    before = ClassMap(size=Size(1, 4), labels=[[0, 1, 1, 255]], classes=("land", "water"))
    after = ClassMap(size=Size(1, 4), labels=[[0, 0, 0, 1]], classes=("land", "water"))
    assert class_counts(Transition(size=before.size, before=before, after=after)) == ("pixels", {"water to land": 2})
    assert class_counts(Text(size=Size(1, 1), text="a quay")) == ("", {})


def test_progress_counts_samples_and_a_distance_is_not_negative(tmp_path):
    root = folders(tmp_path)
    told = []
    check(PAIRS, root, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]
    with pytest.raises(ConfigurationError, match="0 or more; found -1"):
        check(PAIRS, root, distance=-1)


def test_images_without_masks_are_all_listed(tmp_path):
    image, _, changed = pair(0)
    for number in range(3):
        save(image, tmp_path / "train" / "sat" / f"{number}.tiff")
    save(changed.astype(np.uint8) * np.uint8(255), tmp_path / "train" / "map" / "0.tif")
    report = check(MASSACHUSETTS_BUILDINGS, tmp_path)
    assert len([message for message in report.missing if "has no partner" in message]) == 2
    assert report.samples["train"] == 1
