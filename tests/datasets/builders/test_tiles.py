"""Tiles as DOTA's tools cut them, by the acceptance checks of the sheets fair1m and glh-bridge; merging back."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shapely.geometry import Polygon, box

from swath.datasets.builders.tiles import (
    Tile,
    TileObjects,
    TileSettings,
    cut_boxes,
    merge_tiles,
    shares_inside,
    write_tiles,
)
from swath.datasets.objects import DOTA_V1_0
from swath.errors import ConfigurationError, DataError, OutputExists, UnitMismatch
from swath.geometry.windows import Size, Window
from swath.samples.vectors import Boxes, OrientedBoxes

PADDING = (124, 116, 104)


def test_windows_of_the_sheets():
    wide = TileSettings().windows_of(Size(1000, 2500))
    assert [(window.row, window.column) for window in wide] == [(0, 0), (0, 824), (0, 1476)]
    small = TileSettings().windows_of(Size(500, 600))
    assert small == [Window(0, 0, 1024, 1024)]  # kept although the image covers 0.286 of it
    square = TileSettings().windows_of(Size(2048, 2048))
    assert len(square) == 9
    assert sorted({window.column for window in square}) == [0, 824, 1024]
    assert len(TileSettings().windows_of(Size(1500, 3000))) == 8
    assert TileSettings().windows_of(Size(1024, 1024)) == [Window(0, 0, 1024, 1024)]


def test_windows_at_several_scales():
    settings = TileSettings(gap=500, rates=(0.5, 1.0, 1.5))
    sides = {window.width for window in settings.windows_of(Size(4000, 4000))}
    assert sides == {2048, 1024, 682}
    # Of a small image no more than the windows that it covers most are left.
    assert {window.width for window in settings.windows_of(Size(400, 400))} == {682}


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([(1024, 200), (600, 100), (512, 0)]))
def test_windows_cover_the_image_and_start_inside_it(height, width, form):
    size, gap = form
    windows = TileSettings(size=size, gap=gap, image_share=0.0).windows_of(Size(height, width))
    for length, spans in (
        (height, sorted({(window.row, window.stop_row) for window in windows})),
        (width, sorted({(window.column, window.stop_column) for window in windows})),
    ):
        assert spans[0][0] == 0
        assert spans[-1][1] >= length
        assert all(start + gap <= stop for (_, stop), (start, _) in pairwise(spans))
        assert spans[-1][1] == max(length, size)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigurationError, match="a gap of 0 to less than their size"):
        TileSettings(gap=1024)
    with pytest.raises(ConfigurationError, match="rates above 0"):
        TileSettings(rates=(0.0,))
    with pytest.raises(ConfigurationError, match="Shares are 0 to 1"):
        TileSettings(object_share=1.5)


@given(
    st.lists(st.tuples(*[st.floats(5, 95)] * 2, *[st.floats(1, 40)] * 2, st.floats(-1.5, 1.5)), min_size=1, max_size=6)
)
def test_shares_are_those_of_the_polygons(boxes):
    corners = OrientedBoxes(size=Size(100, 100), boxes=np.array(boxes), classes=("ship",)).corners()
    shares = shares_inside(corners, Window(10, 20, 50, 60))
    frame = box(20, 10, 80, 60)
    expected = [Polygon(each).intersection(frame).area / Polygon(each).area for each in corners]
    assert shares == pytest.approx(expected, abs=1e-6)


def test_objects_are_kept_by_their_share_and_cut_ones_are_ignored():
    """Check 5 of the sheet: 65 % is dropped, 70 % kept and difficult, 100 % kept."""
    boxes = [[-35, 10, 65, 20], [-30, 30, 70, 40], [0, 50, 100, 60]]
    ships = Boxes(size=Size(100, 200), boxes=boxes, classes=("ship",), scores=[0.1, 0.2, 0.3])
    cut = cut_boxes(ships, Window(0, 0, 100, 150))
    assert cut.size == Size(100, 150)
    assert cut.boxes.tolist() == boxes[1:]
    assert cut.ignored.tolist() == [True, False]
    assert cut.scores.tolist() == pytest.approx([0.2, 0.3])
    moved = cut_boxes(ships, Window(0, -50, 100, 150))
    assert moved.boxes.tolist() == [[15, 10, 115, 20], [20, 30, 120, 40], [50, 50, 150, 60]]
    assert not moved.ignored.any()
    turned = OrientedBoxes(size=Size(100, 200), boxes=[[50, 50, 20, 10, 0.3]], classes=("ship",), ignored=[True])
    there = cut_boxes(turned, Window(30, 20, 60, 60))
    assert there.boxes[0] == pytest.approx([30, 20, 20, 10, 0.3])
    assert there.ignored.tolist() == [True]


def test_names_of_tiles_say_their_window():
    tile = Tile(image="P0003__old", window=Window(824, 1648, 682, 682))
    assert tile.name == "P0003__old__682__1648___824"
    assert Tile.parse(tile.name) == tile
    with pytest.raises(DataError, match="'P0003' is not the name of a tile"):
        Tile.parse("P0003")


def found_in(tile, boxes, scores, size=None):
    classes = ("ship", "plane")
    return TileObjects(
        tile=Tile.parse(tile),
        objects=OrientedBoxes(size=size or Size(1024, 1024), boxes=boxes, scores=scores, classes=classes),
    )


def test_one_box_of_two_tiles_is_one_with_the_better_score():
    """Check 6 of the sheet."""
    merged = merge_tiles(
        [
            found_in("7__1024__0___0", [[900, 500, 60, 20, 0.5]], [0.8]),
            found_in("7__1024__824___0", [[76, 500, 60, 20, 0.5]], [0.9]),
            found_in("8__1024__0___0", [], []),
        ],
        {"7": Size(1024, 1848), "8": Size(600, 600)},
    )
    assert merged["7"].boxes.tolist() == [pytest.approx([900, 500, 60, 20, 0.5])]
    assert merged["7"].scores.tolist() == pytest.approx([0.9])
    assert merged["7"].size == Size(1024, 1848)
    assert len(merged["8"]) == 0


def test_boxes_of_resized_tiles_come_back_in_the_images_pixels():
    resized = found_in("7__2048__100___200", [[512, 256, 40, 20, 0.25]], [0.9])
    assert merge_tiles([resized], {"7": Size(3000, 3000)})["7"].boxes[0] == pytest.approx([1124, 712, 80, 40, 0.25])


def test_tiles_and_images_that_do_not_belong_together_are_told():
    with pytest.raises(DataError, match="is of the image '9', whose size is not given"):
        merge_tiles([found_in("9__1024__0___0", [], [])], {"7": Size(10, 10)})
    with pytest.raises(DataError, match="No tile of the image '7'"):
        merge_tiles([], {"7": Size(10, 10)})


LABELS = """imagesource:GoogleEarth
gsd:0.15
10 10 30 10 32 20 10 20 ship 0
60 40 80 40 80 50 60 50 plane 1
66 70 96 70 96 80 66 80 ship 0
"""


@pytest.fixture
def whole(tmp_path):
    """One image of 90 x 150 pixels with three objects, in DOTA's layout."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8)
    for part in ("train", "val"):
        (tmp_path / "whole" / part / "images").mkdir(parents=True)
        (tmp_path / "whole" / part / "labelTxt").mkdir()
        Image.fromarray(pixels).save(tmp_path / "whole" / part / "images" / "P1.png")
        (tmp_path / "whole" / part / "labelTxt" / "P1.txt").write_text(LABELS)
    return tmp_path / "whole"


def test_written_tiles_are_read_by_the_declaration_and_show_the_image(whole, tmp_path):
    settings = TileSettings(size=96, gap=24)
    for part, name in (("train", "train"), ("validation", "val")):
        report = write_tiles(DOTA_V1_0.open(whole, part), tmp_path / "tiles" / name, settings)
    assert (report.images, report.tiles, report.objects, report.cut) == (1, 2, 5, 0)
    tiles = DOTA_V1_0.open(tmp_path / "tiles", "train")
    assert [record.name for record in tiles.records] == ["P1__96__0___0", "P1__96__54___0"]
    picture = np.asarray(Image.open(whole / "train" / "images" / "P1.png"))
    first, second = (sample.images["image"].values.transpose(1, 2, 0) for sample in tiles)
    assert (first[:90] == picture[:, :96]).all()
    assert (first[90:] == PADDING).all()
    assert (second[:90] == picture[:, 54:150]).all()
    labels = (tmp_path / "tiles" / "train" / "annfiles" / "P1__96__0___0.txt").read_text().splitlines()
    assert labels == [
        "10.00 10.00 30.00 10.00 32.00 20.00 10.00 20.00 ship 0",  # no rectangle, and left as it is
        "60.00 40.00 80.00 40.00 80.00 50.00 60.00 50.00 plane 1",
        "66.00 70.00 96.00 70.00 96.00 80.00 66.00 80.00 ship 0",
    ]
    back = merge_tiles(
        [TileObjects(tile=Tile.parse(tiles.records[n].name), objects=tiles[n].target) for n in range(2)],
        {"P1": Size(90, 150)},
    )
    truth = DOTA_V1_0.open(whole, "train")[0].target
    assert len(back["P1"]) == len(truth) == 3
    order = np.argsort(back["P1"].boxes[:, 1])
    assert back["P1"].boxes[order, :2] == pytest.approx(truth.boxes[:, :2], abs=0.02)


def test_objects_that_a_tile_cuts_are_difficult_there(whole, tmp_path):
    text = "40 10 60 10 60 20 40 20 ship 0\n"
    (whole / "train" / "labelTxt" / "P1.txt").write_text(text)
    report = write_tiles(DOTA_V1_0.open(whole, "train"), tmp_path / "tiles", TileSettings(size=96, gap=50))
    names = {path.stem: path.read_text() for path in (tmp_path / "tiles" / "annfiles").iterdir()}
    assert report.cut == 1
    assert names["P1__96__46___0"] == "-6.00 10.00 14.00 10.00 14.00 20.00 -6.00 20.00 ship 2\n"
    assert names["P1__96__54___0"] == ""


def test_grey_images_and_other_pixels(whole, tmp_path):
    grey = np.arange(90 * 150, dtype=np.uint32).reshape(90, 150)
    path = whole / "train" / "images" / "P1.png"
    Image.fromarray((grey % 251).astype(np.uint8)).save(path)
    write_tiles(DOTA_V1_0.open(whole, "train"), tmp_path / "grey", TileSettings(size=96, gap=24))
    tile = np.asarray(Image.open(tmp_path / "grey" / "images" / "P1__96__0___0.png"))
    assert (tile[:90] == (grey[:, :96] % 251)[..., None]).all()
    Image.fromarray(grey.astype(np.uint16)).save(path)
    with pytest.raises(UnitMismatch, match=r"P1\.png holds uint16 values"):
        write_tiles(DOTA_V1_0.open(whole, "train"), tmp_path / "deep")
    Image.fromarray((grey % 251).astype(np.uint8)).convert("P", palette=Image.Palette.ADAPTIVE).save(path)
    with pytest.raises(DataError, match="a colour table"):
        write_tiles(DOTA_V1_0.open(whole, "train"), tmp_path / "palette")


def test_tiles_do_not_mix_with_others(whole, tmp_path):
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "old.png").touch()
    with pytest.raises(OutputExists, match="already holds something"):
        write_tiles(DOTA_V1_0.open(whole, "train"), tmp_path / "tiles")
    with pytest.raises(DataError, match="Two images are named P1"):
        write_tiles(DOTA_V1_0.open(whole, "all"), tmp_path / "new")
