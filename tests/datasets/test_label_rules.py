"""What the numbers, colours and bits of mask files mean, as they come from real encoders."""

import numpy as np
import pytest
from PIL import Image
from real_pixels import save

from swath.datasets.formats.label_rules import BitClasses, ColourClasses, ValueClasses, binary
from swath.errors import DataError
from swath.geometry.windows import Size

CLASSES = ("land", "water", "wood")
VALUES = ValueClasses(values={"land": (0,), "water": (7, 9), "wood": (200,)}, ignore=(255,))
COLOURS = ColourClasses(table={"land": ((255, 255, 255), (0, 0, 0)), "water": ((0, 0, 255),), "wood": ((0, 128, 0),)})
STORED = np.array([[0, 7, 9], [200, 255, 0]], np.uint8)
EXPECTED = [[0, 1, 1], [2, 255, 0]]


def read(rule, path, classes=CLASSES):
    height, width = STORED.shape
    return rule.read(path, classes, Size(height, width)).labels.tolist()


def test_values_are_the_same_from_grey_palette_rgb_alpha_and_tiff_files(tmp_path):
    palette = Image.fromarray(STORED).convert("P")
    palette.putdata(STORED.ravel().tolist())
    palette.putpalette([200, 10, 30] * 256)
    palette.save(tmp_path / "palette.png")
    save(STORED, tmp_path / "grey.png")
    save(STORED, tmp_path / "grey.tif")
    save(STORED, tmp_path / "grey.bmp")
    save(np.stack([STORED] * 3), tmp_path / "rgb.png")
    save(np.stack([*[STORED] * 3, np.full_like(STORED, 255)]), tmp_path / "rgba.png")
    for name in ("palette.png", "grey.png", "grey.tif", "grey.bmp", "rgb.png", "rgba.png"):
        assert read(VALUES, tmp_path / name) == EXPECTED, name


def test_labels_follow_the_order_of_the_classes_by_name(tmp_path):
    path = save(STORED, tmp_path / "grey.png")
    assert read(VALUES, path, ("wood", "land", "water")) == [[1, 2, 2], [0, 255, 1]]


@pytest.mark.parametrize("high", [1, 255])
def test_binary_masks_are_0_and_1_or_0_and_255(tmp_path, high):
    changed = np.array([[False, True, True], [True, False, False]])
    path = save(changed.astype(np.uint8) * np.uint8(high), tmp_path / "mask.png")
    assert read(binary("unchanged", "changed"), path, ("unchanged", "changed")) == changed.astype(int).tolist()
    one_bit = save(changed, tmp_path / "bits.png")
    assert Image.open(one_bit).mode == "1"
    assert read(binary("unchanged", "changed"), one_bit, ("unchanged", "changed")) == changed.astype(int).tolist()


def test_colours_are_read_from_rgb_and_palette_files(tmp_path):
    rgb = np.zeros((3, 2, 3), np.uint8)
    rgb[:, 0, 1], rgb[:, 0, 2], rgb[:, 1, 0] = (0, 0, 255), (0, 128, 0), (255, 255, 255)
    save(rgb, tmp_path / "rgb.png")
    Image.open(tmp_path / "rgb.png").quantize(8).save(tmp_path / "palette.png")
    for name in ("rgb.png", "palette.png"):
        assert read(COLOURS, tmp_path / name) == [[0, 1, 2], [0, 0, 0]]


def test_bits_of_sixteen_bit_masks_the_first_class_winning(tmp_path):
    rule = BitClasses(bits={"water": 10, "wood": 11}, otherwise="land", ignore={"fill": 0})
    stored = np.array([[0, 1 << 10, 1 << 11], [3 << 10, 1 | 1 << 10, 1 << 9]], np.uint16)
    save(stored, tmp_path / "flags.png")
    save(stored, tmp_path / "flags.tif")
    for name in ("flags.png", "flags.tif"):
        assert read(rule, tmp_path / name) == [[0, 1, 2], [1, 255, 0]]


@pytest.mark.parametrize(
    ("rule", "mask", "message"),
    [
        (VALUES, np.array([[[0, 3], [3, 7]]], np.uint8), r"holds the value 3 at 2 pixels; .* knows 0, 7, 9, 200, 255"),
        (VALUES, np.array([[[0]], [[1]], [[0]]], np.uint8), "has colours where one value"),
        (VALUES, np.array([[[0.5]]], np.float32), "holds fractions"),
        (COLOURS, np.array([[[9]], [[8]], [[7]]], np.uint8), r"holds the colour \(9, 8, 7\) at 1 pixels"),
        (COLOURS, np.array([[[0]]], np.uint8), "has 1 channels where colours"),
        (ValueClasses(values={"sea": (0,)}), np.array([[[0]]], np.uint8), "'sea', which is none of the classes land"),
    ],
)
def test_what_is_no_class_is_told_with_the_name_of_the_file(rule, mask, message):
    with pytest.raises(DataError, match=rf"tiles/7\.png {message}|tiles/7\.png can hold {message}"):
        rule.labels(mask, CLASSES, "tiles/7.png")


def test_whole_numbers_stored_as_floats_are_numbers():
    assert VALUES.labels(np.array([[[7.0]]], np.float32), CLASSES).tolist() == [[1]]
