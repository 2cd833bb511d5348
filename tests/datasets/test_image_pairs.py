"""Pairs of dates in the folders and lists that change detection is published with, made from real NAIP pixels."""

import shutil

import numpy as np
import pytest
from PIL import Image
from real_pixels import folders, pair, save, save_pair

from swath.datasets.change_maps import (
    CDD,
    CHANGE_MAPS,
    CLCD,
    DSIFN_CD,
    GVLM,
    LEVIR_CD,
    S2LOOKING,
    SYSU_CD,
    SZTAKI_AIRCHANGE,
    WHU_CD,
)
from swath.datasets.transitions import CHANGEN_SECOND_CLASSES, SECOND, SECOND_COLOURS, with_second_classes
from swath.errors import DataError, ImageryUnreadable
from swath.samples.moves import Flip
from swath.samples.rasters import CHANGE_CLASSES, Transition


def check_sample(sample, number):
    before, after, changed = pair(number)
    assert list(sample.images) == ["before", "after"]
    assert (sample.images["before"].values == before).all()
    assert (sample.images["after"].values == after).all()
    assert (sample.target.labels == changed).all()
    assert sample.target.classes == CHANGE_CLASSES


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (LEVIR_CD, ("A", "B", "label")),
        (S2LOOKING, ("Image1", "Image2", "label")),
        (DSIFN_CD, ("t1", "t2", "mask")),
        (CLCD, ("time1", "time2", "label")),
        (CLCD, ("image1", "image2", "label")),
        (SYSU_CD, ("time1", "time2", "label")),
        (SYSU_CD, ("T1", "T2", "GT")),
        (WHU_CD, ("image1", "image2", "label")),
        (CDD, ("A", "B", "OUT")),
    ],
)
def test_folders_of_parts_give_pairs_with_their_change(tmp_path, spec, names):
    root = folders(tmp_path, names)
    for part, numbers in (("train", (0, 1, 2)), ("validation", (3,)), ("test", (4, 5))):
        dataset = spec.open(root, part)
        assert len(dataset) == len(numbers)
        for sample, number in zip(dataset, numbers, strict=True):
            check_sample(sample, number)
    assert 0.3 < spec.open(root, "all")[0].target.labels.mean() < 0.7


def test_masks_of_0_and_1_mean_the_same_as_those_of_0_and_255(tmp_path):
    check_sample(LEVIR_CD.open(folders(tmp_path, high=1), "test")[0], 4)


def flat_copy(root, lists):
    (root / "list").mkdir()
    number = 0
    for name, count in lists:
        lines = []
        for _ in range(count):
            file = f"tile_{number}.png"
            save_pair(number, root / "A" / file, root / "B" / file, root / "label" / file)
            lines.append(file)
            number += 1
        (root / "list" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_flat_folders_are_parted_by_their_lists(tmp_path):
    root = flat_copy(tmp_path, (("train", 3), ("val", 1), ("test", 1)))
    assert [len(WHU_CD.open(root, part)) for part in ("train", "validation", "test", "all")] == [3, 1, 1, 5]
    check_sample(WHU_CD.open(root, "test")[0], 4)
    (root / "list" / "val.txt").unlink()
    assert len(WHU_CD.open(root, "train")) == 3
    with pytest.raises(DataError, match=r"part 'validation' of 'whu-cd' in .* holds no image"):
        WHU_CD.open(root, "validation")
    (root / "list" / "test.txt").unlink()
    with pytest.raises(DataError, match=r"no list .*test\.txt"):
        WHU_CD.open(root, "train")


def test_lists_with_several_columns_count_by_their_first(tmp_path):
    root = flat_copy(tmp_path, (("train", 2), ("test", 1)))
    (root / "list" / "train.txt").write_text("tile_0.png 1 0.2\ntile_1.png 0 0\n")
    assert len(WHU_CD.open(root, "train")) == 2


def test_folders_decide_where_there_are_lists_too(tmp_path):
    root = folders(tmp_path)
    (root / "list").mkdir()
    (root / "list" / "train.txt").write_text("05.png\n")
    assert len(LEVIR_CD.open(root, "train")) == 3


def test_lists_of_three_paths_with_single_spaces_in_them(tmp_path):
    root = tmp_path / "SYSU CD"
    lines = {"train": [], "test": []}
    for number, part in enumerate(("train", "train", "test")):
        paths = [f"cut data/{part}/{folder}/{number}.png" for folder in ("time1", "time2", "label")]
        save_pair(number, *(root / path for path in paths))
        # as the published helper writes them: absolute, of another machine
        lines[part].append("  ".join(f"/home/another person/SYSU CD/{path}" if number else path for path in paths))
    for part, text in lines.items():
        (root / f"{part}.txt").write_text("\n".join(text) + "\n\n")
    assert len(SYSU_CD.open(root, "train")) == 2
    for number, sample in enumerate(SYSU_CD.open(root, "all")):
        check_sample(sample, number)
    assert SYSU_CD.open(root, "test").records[0].key == "cut data/test/time1/2.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png  b.png\n", "Line 2 of .*train.txt holds 2 paths; three are needed"),
        ("0_a.png  0_b.png  nowhere.png\n", "Line 2 of .*train.txt names nowhere.png, which is not there"),
    ],
)
def test_broken_lists_are_told_with_their_line(tmp_path, text, message):
    save_pair(0, tmp_path / "0_a.png", tmp_path / "0_b.png", tmp_path / "0_label.png")
    (tmp_path / "train.txt").write_text("0_a.png  0_b.png  0_label.png\n" + text)
    with pytest.raises(DataError, match=message):
        SYSU_CD.open(tmp_path, "train")


def test_a_pair_in_two_lists_is_told(tmp_path):
    save_pair(0, tmp_path / "0_a.png", tmp_path / "0_b.png", tmp_path / "0_label.png")
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text("0_a.png  0_b.png  0_label.png\n")
    with pytest.raises(DataError, match=r"'0_a\.png' is in the lists of both 'train' and 'test'"):
        SYSU_CD.open(tmp_path, "train")


def test_sites_with_numbered_folders_and_the_copy_with_numbered_names(tmp_path):
    for number in range(8):
        folder = tmp_path / "original" / "Szada" / str(number + 1)
        save_pair(number, folder / "im1.bmp", folder / "im2.bmp", folder / "gt.bmp")
        folder = tmp_path / "copy" / "Szada" / "train"
        save_pair(number, *(folder / f"{number + 1}_{name}.bmp" for name in ("im1", "im2", "gt")))
    assert [len(SZTAKI_AIRCHANGE.open(tmp_path / "original", part)) for part in ("train", "test")] == [6, 2]
    check_sample(SZTAKI_AIRCHANGE.open(tmp_path / "original", "all")[7], 7)
    check_sample(SZTAKI_AIRCHANGE.open(tmp_path / "copy", "train")[7], 7)


def test_landslide_sites_are_whole_scenes(tmp_path):
    for number in range(5):
        folder = tmp_path / f"Site{number}"
        save_pair(number, folder / "im1.png", folder / "im2.png", folder / "ref.png")
    assert [len(GVLM.open(tmp_path, part)) for part in ("train", "validation", "test")] == [3, 1, 1]
    check_sample(GVLM.open(tmp_path, "all")[4], 4)


def test_masks_saved_as_jpeg_are_black_and_white_by_a_threshold(tmp_path):
    root = folders(tmp_path, ("A", "B", "OUT"))
    for path in sorted(root.glob("*/OUT/*.png")):
        save(np.asarray(Image.open(path)), path.with_suffix(".jpg"), quality=95)
        path.unlink()
    _, _, changed = pair(0)
    stored = np.asarray(Image.open(root / "train/OUT/00.jpg"))
    assert len(np.unique(stored)) > 2
    assert (CDD.open(root, "train")[0].target.labels == changed).mean() > 0.99


def second(root, names, unchanged):
    """Both dates say a class where they differ, and white or black elsewhere."""
    colours = [SECOND_COLOURS[name][0] for name in ("tree", "building")]
    for number, part in enumerate(("train", "train", "test")):
        before, after, changed = pair(number)
        for folder, image in zip(names[:2], (before, after), strict=True):
            save(image, root / part / folder / f"{number:05d}.png")
        for folder, colour in zip(names[2:], colours, strict=True):
            mask = np.where(changed, np.array(colour)[:, None, None], unchanged).astype(np.uint8)
            save(mask, root / part / folder / f"{number:05d}.png")
    return root


@pytest.mark.parametrize(
    ("names", "unchanged"), [(("im1", "im2", "label1", "label2"), 255), (("T1", "T2", "GT_T1", "GT_T2"), 0)]
)
def test_second_gives_transitions_by_colour(tmp_path, names, unchanged):
    root = second(tmp_path, names, unchanged)
    sample = SECOND.open(root, "train")[1]
    changed = pair(1)[2]
    assert isinstance(sample.target, Transition)
    assert (sample.target.changed() == changed).all()
    for side, name in ((sample.target.before, "tree"), (sample.target.after, "building")):
        assert (side.labels == np.where(changed, SECOND.classes.index(name), 0)).all()
    assert len(SECOND.open(root, "test")) == 1
    flipped = sample.moved(Flip(horizontal=True)).target
    assert (flipped.changed() == changed[:, ::-1]).all()


def test_the_orders_of_second_are_one_table_by_name(tmp_path):
    """The class numbers of ChangeMamba's and Changen2's sheets."""
    assert [SECOND.classes.index(name) for name in ("low vegetation", "water", "playground")] == [1, 4, 6]
    assert sorted(CHANGEN_SECOND_CLASSES) == sorted(SECOND.classes)
    root = second(tmp_path, ("im1", "im2", "label1", "label2"), 255)
    sides = [
        with_second_classes(order).open(root)[0].target.after for order in (SECOND.classes, CHANGEN_SECOND_CLASSES)
    ]
    names = [np.array(side.classes)[side.labels] for side in sides]
    assert (names[0] == names[1]).all()
    assert (sides[0].labels == sides[1].labels).all()  # building is 5 in both
    assert with_second_classes(CHANGEN_SECOND_CLASSES).classes.index("tree") == 4


def test_missing_partners_are_told_and_counted(tmp_path):
    root = folders(tmp_path)
    (root / "train/B/01.png").unlink()
    with pytest.raises(DataError, match=r"train/A/01\.png has no partner train/B/01 in .*; complete the data set\.$"):
        LEVIR_CD.open(root)
    (root / "test/label/04.png").unlink()
    (root / "test/A/05.png").unlink()
    with pytest.raises(DataError, match="There are 2 more such problems"):
        LEVIR_CD.open(root)


def test_pairs_and_masks_of_different_sizes_are_told(tmp_path):
    root = folders(tmp_path)
    before, _, changed = pair(0)
    save(before[:, :20], root / "train/B/00.png")
    with pytest.raises(
        DataError, match=r"'train/A/00.png' differs in size: .* is 32 x 32 pixels and .*B/00.png 20 x 32"
    ):
        LEVIR_CD.open(root)[0]
    save(before, root / "train/B/00.png")
    save(changed[:9].astype(np.uint8), root / "train/label/00.png")
    with pytest.raises(DataError, match=r"label/00.png is 9 x 32 pixels and its image 32 x 32"):
        LEVIR_CD.open(root)[0]


def test_labels_outside_the_list_and_broken_images_are_told(tmp_path):
    root = folders(tmp_path)
    save(np.full((32, 32), 3, np.uint8), root / "train/label/00.png")
    with pytest.raises(
        DataError, match=r"label/00.png holds the value 3 at 1024 pixels; this data set knows 0, 1, 255"
    ):
        LEVIR_CD.open(root)[0]
    (root / "train/B/01.png").write_bytes((root / "train/B/01.png").read_bytes()[:200])
    with pytest.raises(ImageryUnreadable, match=r"B/01\.png"):
        LEVIR_CD.open(root)[1]


def test_wrong_and_unparted_folders_are_told(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        LEVIR_CD.open(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"none of the layouts .*\{part\}/A/\{name\} with .*train-\*\.parquet.*train\.h5"
    ):
        LEVIR_CD.open(tmp_path)
    root = folders(tmp_path)
    shutil.move(root / "val", root / "extra")
    with pytest.raises(
        DataError, match=r"'extra/A/03\.png' in .* belongs to none of the parts train, validation, test"
    ):
        LEVIR_CD.open(root)
    assert len(LEVIR_CD.open(root, "all")) == 6


def test_every_declaration_of_change_has_two_slots_and_the_classes_of_the_models():
    for spec in CHANGE_MAPS:
        assert spec.slots == ("before", "after")
        assert spec.classes == CHANGE_CLASSES
