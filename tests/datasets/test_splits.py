"""Split rules: published counts, disjointness, and independence of everything but seed and name."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.datasets.records import Record
from swath.datasets.splits import (
    FolderSplit,
    ListSplit,
    PerClassFractionSplit,
    PlaceSplit,
    SeededSplit,
    by_chance,
)
from swath.errors import ConfigurationError, DataError

ROOT = Path("data")


def records_of(counts: dict[str, int], suffix: str = ".jpg") -> list[Record]:
    return [
        Record(key=f"{name}/{name}_{number}{suffix}", image=ROOT, label=name)
        for name, count in counts.items()
        for number in range(count)
    ]


def stems(records) -> set[str]:
    return {record.stem for record in records}


@pytest.mark.parametrize(
    ("classes", "images", "fraction", "train", "test"),
    [(45, 700, 0.7, 22_005, 9_495), (21, 100, 0.7, 1_470, 630)],
)
def test_per_class_fraction_gives_the_published_counts(classes, images, fraction, train, test):
    records = records_of({f"class{number}": images for number in range(classes)})
    parts = PerClassFractionSplit(fraction=fraction).parts(records, ROOT)
    assert (len(parts["train"]), len(parts["test"])) == (train, test)
    assert stems(parts["train"]) | stems(parts["test"]) == stems(records)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1),
    st.integers(0, 5),
    st.floats(0.05, 0.95),
)
def test_seeded_split_is_complete_disjoint_and_stratified(counts, seed, share):
    records = records_of(counts)
    rule = SeededSplit(shares={"train": share, "test": 1 - share}, seed=seed)
    parts = rule.parts(records, ROOT)
    assert len(parts["train"]) + len(parts["test"]) == len(records)
    assert stems(parts["train"]) | stems(parts["test"]) == stems(records)
    for name, count in counts.items():
        of_class = [record for record in parts["train"] if record.label == name]
        assert abs(len(of_class) - count * share) <= 0.5 + 1e-6


def test_seeded_split_depends_only_on_seed_and_names():
    rule = SeededSplit(shares={"train": 0.5, "test": 0.5}, seed=3)
    records = records_of({"a": 20, "b": 20})
    train = stems(rule.parts(records, ROOT)["train"])
    assert stems(rule.parts(records[::-1], ROOT)["train"]) == train
    assert stems(rule.parts(records_of({"a": 20, "b": 20}, ".tif"), ROOT)["train"]) == train
    only_a = stems(rule.parts(records_of({"a": 20}), ROOT)["train"])
    assert only_a == {stem for stem in train if stem.startswith("a/")}
    other_seed = SeededSplit(shares={"train": 0.5, "test": 0.5}, seed=4)
    assert stems(other_seed.parts(records, ROOT)["train"]) != train


def test_the_random_order_never_changes():
    """The command sha256sum gives d3.. for "0/a", 7d.. for "0/b", 28.. for "0/c" and 9d.. for "0/d"."""
    assert by_chance(["a", "b", "c", "d"], seed=0) == ["c", "b", "d", "a"]


def test_shares_below_one_leave_images_out():
    parts = SeededSplit(shares={"train": 0.25, "test": 0.25}).parts(records_of({"a": 100}), ROOT)
    assert {name: len(part) for name, part in parts.items()} == {"train": 25, "test": 25}
    assert not stems(parts["train"]) & stems(parts["test"])


@pytest.mark.parametrize("shares", [{}, {"train": 0.0}, {"train": 0.8, "test": 0.3}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ConfigurationError, match="sum to 1"):
        SeededSplit(shares=shares)


TREES = PlaceSplit(place=r"^(?P<city>.+)_\d{4}_(?P<number>\d+)$", shares={"test": 0.2, "train": 0.8}, balance="city")


def tree_records() -> list[Record]:
    return [
        Record(key=f"images/{city}_{year}_{number}.tif", image=ROOT)
        for city in ("long_beach", "chico")
        for number in range(25)
        for year in (2016, 2018, 2020)
        if (number + year) % 4
    ]


def test_place_split_never_parts_the_years_of_a_place():
    records = tree_records()
    parts = TREES.parts(records, ROOT)
    places = [{TREES.unit(record) for record in part} for part in parts.values()]
    assert not places[0] & places[1]
    assert sum(map(len, parts.values())) == len(records)
    for city in ("long_beach", "chico"):
        assert len({place for place in places[0] if place.startswith(city)}) == 5


def test_place_split_needs_names_that_say_the_place():
    with pytest.raises(DataError, match=r"'images/tile7\.tif' does not say its place"):
        TREES.parts([Record(key="images/tile7.tif", image=ROOT)], ROOT)


def test_folder_split_knows_the_usual_names_and_refuses_others():
    keys = ["train/sat/1.tif", "png/val/2.png", "Valid/sat/3.tif", "test/4.png"]
    parts = FolderSplit().parts([Record(key=key, image=ROOT) for key in keys], ROOT)
    assert [len(part) for part in parts.values()] == [1, 2, 1]
    with pytest.raises(DataError, match=r"'extra/test\.png'"):
        FolderSplit().parts([Record(key="extra/test.png", image=ROOT)], ROOT)


def test_list_split_reads_published_lists(tmp_path):
    (tmp_path / "train.txt").write_text("a/a_0.jpg\nb\\b_1.jpg\n\n")
    (tmp_path / "val.txt").write_text("a/a_1.jpg\n")
    rule = ListSplit(files={"train": "train.txt", "test": "val.txt"})
    parts = rule.parts(records_of({"a": 3, "b": 2}, ".tif"), tmp_path)
    assert stems(parts["train"]) == {"a/a_0", "b/b_1"}
    assert stems(parts["test"]) == {"a/a_1"}


def test_list_split_names_what_is_wrong(tmp_path):
    rule = ListSplit(files={"train": "train.txt", "test": "val.txt"})
    records = records_of({"a": 2})
    with pytest.raises(DataError, match=r"no list .*train\.txt"):
        rule.parts(records, tmp_path)
    (tmp_path / "train.txt").write_text("a/a_0.jpg\n")
    (tmp_path / "val.txt").write_text("a/a_7.jpg\n")
    with pytest.raises(DataError, match=r"names 'a/a_7\.jpg'"):
        rule.parts(records, tmp_path)
    (tmp_path / "val.txt").write_text("a/a_0.jpg\n")
    with pytest.raises(DataError, match="both 'train' and 'test'"):
        rule.parts(records, tmp_path)
