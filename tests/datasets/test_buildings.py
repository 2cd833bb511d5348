"""Massachusetts Buildings in both of its layouts, made from real building pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swath.datasets.buildings import MASSACHUSETTS_BUILDINGS
from swath.errors import DataError

DATA = Path(__file__).parents[1] / "data" / "buildings_inria"
IMAGE = np.asarray(Image.open(DATA / "images" / "austin1_1.png"))
MASK = np.asarray(Image.open(DATA / "gt" / "austin1_1.png"))
RED = np.stack([MASK, np.zeros_like(MASK), np.zeros_like(MASK)], axis=2)
WHITE = np.stack([MASK] * 3, axis=2)
PARTS = (("train", 2), ("valid", 1), ("test", 1))


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def original_layout(root, image=IMAGE, mask=RED):
    for part, count in PARTS:
        for number in range(count):
            save(image, root / part / "sat" / f"{number}.tiff")
            save(mask, root / part / "map" / f"{number}.tif")
    return root


def copied_layout(root):
    for part, count in PARTS:
        name = "val" if part == "valid" else part
        for number in range(count):
            save(IMAGE, root / "png" / name / f"{number}.png")
            save(WHITE, root / "png" / f"{name}_labels" / f"{number}.png")
    (root / "label_class_dict.csv").write_text("name,r,g,b\n")
    return root


@pytest.mark.parametrize("layout", [original_layout, copied_layout])
def test_both_layouts_give_the_same_samples(tmp_path, layout):
    root = layout(tmp_path)
    for part, count in (("train", 2), ("validation", 1), ("test", 1)):
        dataset = MASSACHUSETTS_BUILDINGS.open(root, part)
        assert len(dataset) == count
        sample = dataset[0]
        assert (sample.images["image"].values == IMAGE.transpose(2, 0, 1)).all()
        assert (sample.target.labels == (MASK > 127)).all()
        assert 0.1 < sample.target.labels.mean() < 0.9
        assert sample.target.classes == ("background", "building")


def test_the_folder_inside_the_copy_is_found_too(tmp_path):
    copied_layout(tmp_path)
    assert len(MASSACHUSETTS_BUILDINGS.open(tmp_path / "png", "train")) == 2


@pytest.mark.parametrize(
    ("colour", "label"), [((255, 0, 0), 1), ((255, 255, 255), 1), ((0, 0, 0), 0), ((127, 127, 127), 0)]
)
def test_red_and_white_are_buildings_and_black_is_not(tmp_path, colour, label):
    mask = np.broadcast_to(np.array(colour, np.uint8), (4, 4, 3))
    sample = MASSACHUSETTS_BUILDINGS.open(original_layout(tmp_path, IMAGE[:4, :4], mask), "test")[0]
    assert (sample.target.labels == label).all()


def test_alpha_and_one_bit_masks_are_read_by_their_colour(tmp_path):
    opaque = np.dstack([WHITE, np.full_like(MASK, 255)])
    for number, mask in enumerate((opaque, MASK > 127)):
        sample = MASSACHUSETTS_BUILDINGS.open(original_layout(tmp_path / str(number)), "test")
        path = sample.records[0].truth.with_suffix(".png")
        sample.records[0].truth.unlink()
        save(mask, path)
        target = MASSACHUSETTS_BUILDINGS.open(tmp_path / str(number), "test")[0].target
        assert (target.labels == (MASK > 127)).all()


def test_white_areas_without_data_are_masked_only_on_request(tmp_path):
    image, mask = IMAGE.copy(), RED.copy()
    image[:5, :7] = 255
    mask[:5, :7] = 0
    image[10, 10], mask[10, 10] = 255, (255, 0, 0)  # a white roof stays a building
    root = original_layout(tmp_path, image, mask)
    careful = replace(MASSACHUSETTS_BUILDINGS, layout=replace(MASSACHUSETTS_BUILDINGS.layout, ignore_white=True))
    assert MASSACHUSETTS_BUILDINGS.open(root, "test")[0].target.known().all()
    target = careful.open(root, "test")[0].target
    white = (image == 255).all(axis=2) & (mask[:, :, 0] == 0)
    assert ((~target.known()) == white).all()
    assert target.labels[10, 10] == 1


def test_images_without_masks_and_other_folders_are_told(tmp_path):
    root = original_layout(tmp_path)
    with pytest.raises(DataError, match="none of the folder pairs"):
        MASSACHUSETTS_BUILDINGS.open(root / "train", "train")
    (root / "train" / "map" / "1.tif").unlink()
    with pytest.raises(DataError, match=r"'1' in .*sat has no partner in .*map"):
        MASSACHUSETTS_BUILDINGS.open(root, "test")
    (root / "train" / "sat" / "1.tiff").unlink()
    save(RED[:9], root / "test" / "map" / "0.tif")
    with pytest.raises(DataError, match="is 9 x 64 pixels and its image 64 x 64"):
        MASSACHUSETTS_BUILDINGS.open(root, "test")[0]
