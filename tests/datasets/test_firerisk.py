"""FireRisk: both orders of its classes, its file names, and the shares of its training part."""

import shutil

import pytest
from real_pixels import CHIPS

from swath.datasets.firerisk import FIRERISK, FIRERISK_20, FIRERISK_CODES, parse_firerisk_name
from swath.errors import DataError

# The published confusion matrix's rows: (training, validation) images of each class, in the order of the codes.
COUNTS = {
    "Very_Low": (21_757, 8_448),
    "Low": (10_705, 2_599),
    "Moderate": (8_617, 1_772),
    "High": (6_296, 1_609),
    "Very_High": (3_268, 1_438),
    "Non-burnable": (17_959, 5_091),
    "Water": (1_729, 584),
}


def test_codes_and_folders_are_two_orders_of_the_same_classes():
    assert list(FIRERISK_CODES.values()) == list(COUNTS)
    numbers = {code: FIRERISK.classes.index(name) for code, name in FIRERISK_CODES.items()}
    assert numbers == {1: 5, 2: 1, 3: 2, 4: 0, 5: 4, 6: 3, 7: 6}
    assert list(FIRERISK.classes) == sorted(FIRERISK.classes)


def test_the_published_counts_add_up():
    assert FIRERISK.counts["train"] == sum(train for train, _ in COUNTS.values())
    assert FIRERISK.counts["validation"] == sum(validation for _, validation in COUNTS.values())
    assert sum(FIRERISK.counts.values()) == 91_872
    assert FIRERISK_20.counts == {"train": 14_066, "validation": 21_541}


@pytest.fixture
def firerisk(tmp_path):
    for part, numbers in (("train", range(5)), ("val", range(5, 7))):
        for place, (code, name) in enumerate(FIRERISK_CODES.items()):
            for number in numbers:
                path = tmp_path / part / name / f"{number * 7 + place}_{code}_-120.{number}_38.25.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHIPS[(number + place) % len(CHIPS)], path)
    return tmp_path


def test_parts_are_folders_of_class_folders(firerisk):
    assert [len(FIRERISK.open(firerisk, part)) for part in ("train", "validation")] == [35, 14]
    for record in FIRERISK.open(firerisk, "all").records:
        assert parse_firerisk_name(record.key).risk == record.label
    (firerisk / "val" / "Water").rename(firerisk / "val" / "Lake")
    with pytest.raises(DataError, match=r"val lacks the class folder Water and has Lake, which is no class"):
        FIRERISK.open(firerisk)


def test_a_share_of_the_training_part_is_always_the_same_and_validation_stays_whole(firerisk):
    first, again = (FIRERISK_20.open(firerisk, "train").records for _ in range(2))
    assert first == again
    assert len(first) == 7
    assert set(first) < set(FIRERISK.open(firerisk, "train").records)
    assert FIRERISK_20.open(firerisk, "validation").records == FIRERISK.open(firerisk, "validation").records


def test_file_names_say_point_class_and_place():
    name = parse_firerisk_name("train/Non-burnable/123_6_-120.5_38.25.png")
    assert (name.point, name.risk, name.longitude, name.latitude) == (123, "Non-burnable", -120.5, 38.25)
    for wrong in (
        "123_8_-120.5_38.25.png",
        "123_6_-120.5.png",
        "x_6_-120.5_38.25.png",
        "1_1_-190_38.png",
        "1_1_-100_98.png",
    ):
        with pytest.raises(DataError, match="not of the form POINT_CODE_LONGITUDE_LATITUDE"):
            parse_firerisk_name(wrong)
