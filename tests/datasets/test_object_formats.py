"""Formats of objects: files written by hand with boxes known by hand, what is left out, and what is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_pixels import NAIP_2009, save, write_tiff

from swath.datasets.formats.box_table import BoxTable, CornerText, VisDroneText
from swath.datasets.formats.coco_json import CocoFile, CocoJson
from swath.datasets.formats.coco_masks import coco_mask, polygon_mask
from swath.datasets.formats.dota_text import DotaText, dota_line, parse_dota_line
from swath.datasets.formats.fair1m_xml import Fair1mObject, Fair1mXml, fair1m_document
from swath.datasets.formats.object_files import ObjectFolder, count_left_out, size_of
from swath.datasets.formats.stated_objects import ObjectKind, ObjectRules, quadrilateral
from swath.datasets.formats.voc_xml import HrscXml, VocXml
from swath.datasets.formats.yolo_text import YoloText
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import RecordedSplit
from swath.errors import DataError, ImageryUnreadable, SwathWarning
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.samples.instances import Instances
from swath.samples.vectors import Boxes, OrientedBoxes

FOLDERS = (ObjectFolder(images="images", truths="truths"),)
ORIENTED = ObjectRules(kind=ObjectKind.ORIENTED)
CLASSES = ("ship", "golf field", "Dry Cargo Ship")


def spec_of(layout, classes=CLASSES):
    return DatasetSpec(
        name="made-up",
        title="objects of a test",
        classes=classes,
        licence="none",
        citation="none",
        source="a test",
        layout=layout,
        splits=RecordedSplit(),
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        gsd=None,
    )


def picture(path, height=60, width=100):
    return save(NAIP_2009[:3, :height, :width], path)


def opened(root, layout, text, classes=CLASSES, suffix=None):
    """A data set of one image of 60 x 100 pixels and its file."""
    picture(root / "images" / "1.png")
    path = root / "truths" / f"1{suffix or layout.suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return spec_of(layout, classes).open(root, "all")


def target_of(root, layout, text, classes=CLASSES):
    return opened(root, layout, text, classes)[0].target


def voc(*objects):
    return f"<annotation><size><width>100</width></size>{''.join(objects)}</annotation>"


def voc_object(shape, name="ship", more=""):
    return f"<object><name>{name}</name>{more}{shape}</object>"


def bndbox(*box):
    values = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    return f"<bndbox>{''.join(f'<{name}>{value}</{name}>' for name, value in values)}</bndbox>"


def test_voc_boxes_classes_and_difficult_flags(tmp_path):
    text = voc(
        voc_object(bndbox(10, 20, 30, 50), "Ship", "<difficult>0</difficult>"),
        voc_object(bndbox(1.5, 2, 99, 58.25), "golffield", "<difficult>1</difficult>"),
    )
    target = target_of(tmp_path, VocXml(folders=FOLDERS), text)
    assert isinstance(target, Boxes)
    assert target.boxes.tolist() == [[10, 20, 30, 50], [1.5, 2, 99, 58.25]]
    assert [target.class_of(0), target.class_of(1)] == ["ship", "golf field"]
    assert target.ignored.tolist() == [False, True]
    assert target.scores.tolist() == [1, 1]
    one_based = target_of(tmp_path, VocXml(folders=FOLDERS, one_based=True), text)
    assert one_based.boxes[0].tolist() == [9, 19, 30, 50]  # pixels 10 to 30 from 1, the last included


def test_corners_of_dior_r_become_the_box_of_its_sheet(tmp_path):
    """The published fixture: corners (133, 237) (684, 237) (684, 672) (133, 672), area 239,685."""
    names = ("left_top", "right_top", "right_bottom", "left_bottom")
    corners = zip(names, ((133, 237), (684, 237), (684, 672), (133, 672)), strict=True)
    fields = "".join(f"<x_{name}>{x}</x_{name}><y_{name}>{y}</y_{name}>" for name, (x, y) in corners)
    text = voc(voc_object(f"<robndbox>{fields}</robndbox><angle>77</angle>", "GolfField", "<difficult>0</difficult>"))
    picture(tmp_path / "images" / "1.png")
    (tmp_path / "truths").mkdir()
    (tmp_path / "truths" / "1.xml").write_text(text)
    size = Size(800, 800)
    for rules, expected in (
        (ORIENTED, [408.5, 454.5, 551, 435, 0]),
        (ObjectRules(), [133, 237, 684, 672]),
    ):
        layout = VocXml(folders=FOLDERS, rules=rules)
        found = layout.read(layout.records(tmp_path, CLASSES)[0], size, CLASSES).objects
        if rules is ORIENTED and abs(found.boxes[0, 4]) > 0.1:  # the same box, named by its other side
            expected = [408.5, 454.5, 435, 551, -math.pi / 2]
        assert found.boxes[0] == pytest.approx(expected, abs=1e-4)
        assert found.class_of(0) == "golf field"
    assert 551 * 435 == 239_685


def test_boxes_of_rolabelimg_turn_clockwise_by_radians(tmp_path):
    fields = {"cx": 50, "cy": 30, "w": 20, "h": 10, "angle": math.pi / 2}
    shape = f"<robndbox>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items())}</robndbox>"
    assert target_of(tmp_path, VocXml(folders=FOLDERS), voc(voc_object(shape))).boxes[0] == pytest.approx(
        [45, 20, 55, 40], abs=1e-4
    )
    slanting = shape.replace(str(math.pi / 2), str(math.pi / 6))
    box = target_of(tmp_path, VocXml(folders=FOLDERS, rules=ORIENTED), voc(voc_object(slanting)))
    # The middle of the right side lies half the width away, 30 degrees below the horizontal as seen.
    right = box.corners()[0, 1:3].mean(axis=0)
    assert right == pytest.approx([50 + 10 * math.cos(math.pi / 6), 30 + 5], abs=1e-4)
    both = voc(voc_object(bndbox(1, 1, 9, 9) + slanting))
    assert target_of(tmp_path, VocXml(folders=FOLDERS), both).boxes[0].tolist() == [1, 1, 9, 9]
    assert len(target_of(tmp_path, VocXml(folders=FOLDERS, rules=ORIENTED), both).boxes[0]) == 5


def test_hrsc_boxes_upright_and_turned(tmp_path):
    fields = {
        "Class_ID": 100000006,
        "difficult": 1,
        "box_xmin": 10,
        "box_ymin": 12,
        "box_xmax": 60,
        "box_ymax": 40,
        "mbox_cx": 35.5,
        "mbox_cy": 26.25,
        "mbox_w": 48,
        "mbox_h": 12,
        "mbox_ang": -0.3,
    }
    held = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    text = f"<HRSC_Image><HRSC_Objects><HRSC_Object>{held}</HRSC_Object></HRSC_Objects></HRSC_Image>"
    one = ObjectRules(kind=ObjectKind.ORIENTED, one_class=True)
    target = target_of(tmp_path, HrscXml(folders=FOLDERS, rules=one), text, ("ship",))
    assert target.boxes[0] == pytest.approx([35.5, 26.25, 48, 12, -0.3])
    assert target.ignored.tolist() == [True]
    named = ObjectRules(aliases={"100000006": "Enterprise"})
    upright = target_of(tmp_path, HrscXml(folders=FOLDERS, rules=named), text, ("Nimitz", "Enterprise"))
    assert upright.boxes[0].tolist() == [10, 12, 60, 40]
    assert upright.class_of(0) == "Enterprise"


DOTA = """imagesource:GoogleEarth
gsd:0.146343590398
10 10 30 10 30 20 10 20 ship 0
50.0 20.0 60.0 30.0 50.0 40.0 40.0 30.0 golf-field 1

70 5 90 5 90 15 70 15 Dry Cargo Ship 2
"""


def test_dota_text_with_header_lines_flags_and_blanks_in_classes(tmp_path):
    upright = target_of(tmp_path, DotaText(folders=FOLDERS), DOTA)
    assert upright.boxes.tolist() == [[10, 10, 30, 20], [40, 20, 60, 40], [70, 5, 90, 15]]
    assert [upright.class_of(index) for index in range(3)] == list(CLASSES)
    assert upright.ignored.tolist() == [False, True, True]
    target = target_of(tmp_path, DotaText(folders=FOLDERS, rules=ORIENTED), DOTA)
    assert isinstance(target, OrientedBoxes)
    # A square standing on its corner: sides of sqrt(200), turned by 45 degrees either way.
    x, y, width, height, angle = target.boxes[1].tolist()
    assert (x, y) == pytest.approx((50, 30), abs=1e-4)
    assert (width, height, abs(angle)) == pytest.approx((200**0.5, 200**0.5, math.pi / 4), abs=1e-4)
    without = target_of(tmp_path, DotaText(folders=FOLDERS), "10 10 30 10 30 20 10 20 ship\n")
    assert without.ignored.tolist() == [False]


coordinate = st.floats(-1e4, 3e4, allow_nan=False).map(lambda value: round(value, 2))


@given(st.lists(coordinate, min_size=8, max_size=8), st.sampled_from(["ship", "ground-track-field"]), st.integers(0, 2))
def test_lines_of_dota_round_trip(values, name, difficulty):
    corners = np.array(values).reshape(4, 2)
    found = parse_dota_line(dota_line(corners, name, difficulty), "here")
    assert np.abs(found.shape - corners).max() < 0.0051
    assert (found.name, found.ignored) == (name, difficulty > 0)


def fair1m(*objects):
    return f"<annotation><objects>{''.join(objects)}</objects></annotation>"


def fair1m_object(points, name="Dry Cargo Ship", more=""):
    held = "".join(f"<point>{point}</point>" for point in points)
    return f"<object><possibleresult><name>{name}</name>{more}</possibleresult><points>{held}</points></object>"


def test_fair1m_points_with_blanks_in_any_turn_and_bytes_that_are_no_text(tmp_path):
    clockwise = ["10, 10", "30,10", "30 , 20", "10,20", "10,10"]
    other = ["30.5, 40", "10.5, 40", "10.5, 30", "30.5, 30", "30.5, 40"]
    text = fair1m(fair1m_object(clockwise), fair1m_object(other, "ship")).encode()
    text = text.replace(b"<objects>", b"<source>\xff\xfe</source><objects>")
    target = target_of(tmp_path, Fair1mXml(folders=FOLDERS), text)
    assert target.boxes.tolist() == [[10, 10, 30, 20], [10.5, 30, 30.5, 40]]
    assert [target.class_of(0), target.class_of(1)] == ["Dry Cargo Ship", "ship"]
    turned = target_of(tmp_path, Fair1mXml(folders=FOLDERS, rules=ORIENTED), text)
    assert sorted(turned.boxes[1, 2:4].tolist()) == pytest.approx([10, 20], abs=1e-4)


def test_fair1m_documents_are_read_back_to_a_hundredth_of_a_pixel(tmp_path):
    truth = OrientedBoxes(
        size=Size(60, 100), boxes=[[40, 30, 30, 12, 0.4], [70.123, 20.456, 9, 14, -1.2]], labels=[2, 0], classes=CLASSES
    )
    written = [
        Fair1mObject(name=CLASSES[label], probability=score, corners=corners)
        for label, score, corners in zip(truth.labels, (0.875, 0.25), truth.corners(), strict=True)
    ]
    document = fair1m_document("1.tif", truth.size, written)
    found = target_of(tmp_path, Fair1mXml(folders=FOLDERS, rules=ORIENTED), document)
    assert found.labels.tolist() == [2, 0]
    assert found.scores.tolist() == [0.875, 0.25]
    for one, other in zip(found.corners(), truth.corners(), strict=True):
        # The corners may start elsewhere.
        assert min(np.abs(np.roll(one, turn, axis=0) - other).max() for turn in range(4)) < 0.02


def test_yolo_text_upright_and_oriented_in_shares_of_the_image(tmp_path):
    text = "1 0.5 0.5 0.2 0.5\n0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2\n"
    target = target_of(tmp_path, YoloText(folders=FOLDERS), text)
    assert target.boxes[0] == pytest.approx([40, 15, 60, 45])
    assert target.boxes[1] == pytest.approx([10, 6, 30, 12])
    assert target.labels.tolist() == [1, 0]
    named = target_of(tmp_path, YoloText(folders=FOLDERS, names=("Dry_Cargo_Ship", "ship")), text)
    assert named.labels.tolist() == [0, 2]
    scored = target_of(tmp_path, YoloText(folders=FOLDERS), "0 0.5 0.5 0.2 0.5 0.75\n")
    assert scored.scores.tolist() == [0.75]
    turned = target_of(tmp_path, YoloText(folders=FOLDERS, rules=ORIENTED), text)
    assert turned.boxes[0] == pytest.approx([50, 30, 20, 30, 0])
    (tmp_path / "truths" / "1.txt").unlink()
    assert len(spec_of(YoloText(folders=FOLDERS)).open(tmp_path, "all")[0].target) == 0


COCO = {
    "images": [{"id": 7, "file_name": "a/1.png", "width": 100, "height": 60}, {"id": 9, "file_name": "a/2.png"}],
    "categories": [{"id": 3, "name": "Golf_Field"}, {"id": 1, "name": "ship"}, {"id": 0, "name": "unused"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 5], "segmentation": [[10, 20, 40, 20, 40, 25]]},
        {
            "id": 2,
            "image_id": 7,
            "category_id": 3,
            "bbox": [0, 0, 2, 60],
            "iscrowd": 1,
            "segmentation": {"size": [60, 100], "counts": [0, 120, 5880]},
        },
    ],
}


def coco(root, content, kind=ObjectKind.UPRIGHT, **options):
    for name in ("1.png", "2.png"):
        picture(root / "images" / "a" / name)
    (root / "train.json").write_text(json.dumps(content))
    file = CocoFile(annotations=("train.json",), images="images", part="train")
    return spec_of(CocoJson(files=(file,), rules=ObjectRules(kind=kind), **options))


def test_coco_boxes_masks_and_crowds(tmp_path):
    dataset = coco(tmp_path, COCO).open(tmp_path, "train")
    assert [record.key for record in dataset.records] == ["images/a/1.png", "images/a/2.png"]
    target = dataset[0].target
    assert target.boxes.tolist() == [[10, 20, 40, 25], [0, 0, 2, 60]]
    assert [target.class_of(0), target.class_of(1)] == ["ship", "golf field"]
    assert target.ignored.tolist() == [False, True]
    assert len(dataset[1].target) == 0
    masks = coco(tmp_path, COCO, ObjectKind.MASKS).open(tmp_path)[0].target
    assert isinstance(masks, Instances)
    assert masks.masks[1].box.tolist() == [0, 0, 2, 60]
    assert 60 < masks.masks[0].area < 90  # half of 30 x 5 pixels
    assert masks.ignored.tolist() == [False, True]
    polygons_alone = {**COCO, "annotations": COCO["annotations"][:1]}
    turned = coco(tmp_path, polygons_alone, ObjectKind.ORIENTED).open(tmp_path)[0].target
    assert turned.boxes[0, 2] * turned.boxes[0, 3] <= 150 + 1e-3
    assert len(coco(tmp_path, COCO, filled=True).open(tmp_path)) == 1


def test_a_changed_file_of_coco_is_read_anew(tmp_path):
    assert len(coco(tmp_path, COCO).open(tmp_path)[0].target) == 2
    longer = {**COCO, "annotations": [*COCO["annotations"], {**COCO["annotations"][0], "id": 3}]}
    assert len(coco(tmp_path, longer).open(tmp_path)[0].target) == 3


def test_polygons_are_filled_by_cocos_rule():
    """By hand: a box from 1 to 3 and 1 to 2 covers two pixels; its compressed counts are those of COCO."""
    box = polygon_mask(np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 2.0], [1.0, 2.0]]), Size(4, 4))
    assert box.decode().astype(int).tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    both = coco_mask([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 3, 1, 3]], Size(4, 4), "here")
    assert both.area == 4 + 4 - 1
    assert coco_mask({"size": [10, 10], "counts": "Q1S2"}, Size(10, 10), "here").area == 67


def test_polygons_are_filled_as_pycocotools_fills_them():
    peer = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for number in range(300):
        height, width = random.integers(1, 60, 2).tolist()
        points = random.uniform(-8, 70, (random.integers(3, 9), 2)).round(int(number % 3))
        theirs = peer.frPyObjects([points.ravel().tolist()], height, width)[0]["counts"].decode()
        assert polygon_mask(points, Size(height, width)).to_coco_string() == theirs


def test_box_tables_hold_many_images_and_predictions_are_no_truth(tmp_path):
    for name in ("1.png", "2.png", "3.png"):
        picture(tmp_path / name)
    head = "image_path,xmin,ymin,xmax,ymax,label"
    (tmp_path / "crowns.csv").write_text(f"{head}\n1.png,1,2,30,40,ship\n2.png,,,,,\n1.png,5,5.5,9,9,golf field\n")
    (tmp_path / "said.csv").write_text(f"{head},score\n3.png,1,2,30,40,ship,0.5\n")
    (tmp_path / "points.csv").write_text("image_path,x,y\n3.png,1,2\n")
    dataset = spec_of(BoxTable(tables={None: ("*.csv",)})).open(tmp_path, "all")
    assert [record.key for record in dataset.records] == ["1.png", "2.png"]
    assert dataset[0].target.boxes.tolist() == [[1, 2, 30, 40], [5, 5.5, 9, 9]]
    assert dataset[0].target.labels.tolist() == [0, 1]
    assert len(dataset[1].target) == 0
    (tmp_path / "again.csv").write_text(f"{head}\n1.png,1,2,30,40,ship\n")
    with pytest.raises(DataError, match=r"both name 1\.png"):
        spec_of(BoxTable(tables={None: ("*.csv",)})).open(tmp_path, "all")
    with pytest.raises(DataError, match=r"points\.csv lacks the columns label, xmax"):
        spec_of(BoxTable(tables={"train": ("points.csv",)})).open(tmp_path)


def test_visdrone_ignored_regions_count_for_every_class(tmp_path):
    text = "10,20,30,5,1,1,0,0\n0,0,50,40,0,0,0,0\n60,10,8,8,0,2,0,1,\n70,10,8,8,1,3,0,0\n"
    layout = VisDroneText(folders=FOLDERS, names=("*", "ship", "golf field", "others"))
    layout = VisDroneText(folders=FOLDERS, names=layout.names, rules=ObjectRules(left_out=("others",)))
    with pytest.warns(SwathWarning, match="objects of the class 'others'"):
        target = target_of(tmp_path, layout, text, ("ship", "golf field"))
    assert target.boxes.tolist() == [[10, 20, 40, 25], [0, 0, 50, 40], [0, 0, 50, 40], [60, 10, 68, 18]]
    assert target.labels.tolist() == [0, 0, 1, 1]
    assert target.ignored.tolist() == [False, True, True, True]


def test_corner_text_of_nwpu_counts_classes_from_one(tmp_path):
    layout = CornerText(folders=FOLDERS, names=CLASSES)
    target = target_of(tmp_path, layout, "(10,20),(30,40),2\n( 5, 6),( 9,10),1 \n\n")
    assert target.boxes.tolist() == [[10, 20, 30, 40], [5, 6, 9, 10]]
    assert target.labels.tolist() == [1, 0]


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotation><object><name>&b;</name></object></annotation>"""
OUTSIDE_FILE = b"""<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/passwd">]><annotation>&file;</annotation>"""


@pytest.mark.parametrize("layout", [VocXml(folders=FOLDERS), Fair1mXml(folders=FOLDERS), HrscXml(folders=FOLDERS)])
@pytest.mark.parametrize("content", [BOMB, OUTSIDE_FILE, BOMB.decode().encode("utf-16")])
def test_xml_with_a_document_type_is_refused(tmp_path, layout, content):
    dataset = opened(tmp_path, layout, content)
    with pytest.raises(DataError, match=r"1\.xml declares a document type \(DOCTYPE\)"):
        dataset[0]


@pytest.mark.parametrize("content", ["", "no xml", "<annotation><object></annotation>", "<a>&undeclared;</a>"])
def test_what_is_no_xml_is_told_with_its_file(tmp_path, content):
    dataset = opened(tmp_path, VocXml(folders=FOLDERS), content)
    with pytest.raises(DataError, match=r"1\.xml is no XML"):
        dataset[0]


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        (VocXml, voc(voc_object(bndbox(1, 2, 3, 4), "car")), r"Object 1 of .*1\.xml says the class 'car'"),
        (VocXml, voc(voc_object(bndbox(30, 2, 3, 4))), r"Object 1 of .*1\.xml has a negative size, width -27"),
        (VocXml, voc(voc_object(bndbox(1, 2, "x", 4))), r"<xmax> of Object 1 of .*1\.xml holds 'x'"),
        (VocXml, voc(voc_object(bndbox(1, 2, "nan", 4))), "holds 'nan', where a number is needed"),
        (VocXml, voc(voc_object("")), "neither <bndbox> nor <robndbox>"),
        (VocXml, voc("<object><bndbox/></object>"), "has no <name>"),
        (
            VocXml,
            voc(voc_object("<robndbox><cx>9</cx><cy>9</cy><w>4</w><h>2</h><angle>45</angle></robndbox>")),
            "the angle 45, where radians are needed",
        ),
        (DotaText, "0 0 4 0 4 2 ship 0\n", r"Line 1 of .*1\.txt has 3 corners, where 4 are needed"),
        (DotaText, "0 0 4 0 4 2 0 2\n", "names no class after its 8 numbers"),
        (DotaText, "gsd:1\n0 0 4 0 4 2 0 nan ship 0\n", "Line 2 of .*holds 'nan'"),
        (DotaText, "0 0 4 0 4 2 0 2 boat 0\n", r"Line 1 of .*1\.txt says the class 'boat'"),
        (Fair1mXml, fair1m(fair1m_object(["0,0", "4,0", "4,2"])), r"Object 1 of .*1\.xml has 3 corners"),
        (Fair1mXml, fair1m(fair1m_object(["0,0", "4", "4,2", "0,2"])), "has the point '4', where x,y is needed"),
        (YoloText, "0 0.5 0.5 -0.2 0.5\n", r"Line 1 of .*1\.txt has a negative size"),
        (YoloText, "ship 0.5 0.5 0.2 0.5\n", "begins with 'ship', where the number"),
        (YoloText, "7 0.5 0.5 0.2 0.5\n", r"Line 1 of .*1\.txt says the class '7'"),
        (YoloText, "0 0.5 0.5 0.2 0.5 0.1 0.2\n", "has 3 corners"),
        (VisDroneText, "1,2,3\n", "has 3 fields, where 8 are needed"),
        (VisDroneText, "1,2,3,4,1,12,0,0\n", "has the category 12"),
        (CornerText, "(1,2),(3,4)\n", "is not of the form"),
    ],
)
def test_what_cannot_be_right_is_told_with_file_and_place(tmp_path, layout, text, message):
    dataset = opened(tmp_path, layout(folders=FOLDERS), text)
    with pytest.raises(DataError, match=message):
        dataset[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"Annotation 1 of .*train\.json has the bbox \[1, 2, 3\]"),
        ({"bbox": [1, 2, -3, 4]}, "has a negative size, width -3"),
        ({"image_id": 8}, "Annotation 1 of .* is of image 8 and category 1; one of them is missing"),
        ({"category_id": 0}, "says the class 'unused'"),
    ],
)
def test_broken_annotations_of_coco_are_told(tmp_path, change, message):
    content = {**COCO, "annotations": [COCO["annotations"][0] | change]}
    with pytest.raises(DataError, match=message):
        coco(tmp_path, content).open(tmp_path)[0]


def test_broken_masks_and_files_of_coco_are_told(tmp_path):
    size = Size(10, 10)
    with pytest.raises(DataError, match="holds 4 numbers; x and y of at least three corners"):
        coco_mask([[1, 2, 3, 4]], size, "here")
    with pytest.raises(DataError, match=r"of the size \[9, 10\], its image \[10, 10\]"):
        coco_mask({"size": [9, 10], "counts": [90]}, size, "here")
    with pytest.raises(DataError, match="here is damaged"):
        coco_mask({"size": [10, 10], "counts": [90]}, size, "here")
    with pytest.raises(DataError, match="neither polygons nor run lengths"):
        coco_mask(3, size, "here")
    with pytest.raises(DataError, match="has no mask"):
        coco_mask([], size, "here")
    with pytest.raises(DataError, match=r"train\.json is no JSON of COCO's kind"):
        coco(tmp_path, {"images": []}).open(tmp_path)
    twice = {**COCO, "images": [COCO["images"][0], {"id": 9, "file_name": "a/1.png"}]}
    with pytest.raises(DataError, match=r"more than one image named a/1\.png"):
        coco(tmp_path, twice).open(tmp_path)


def test_what_is_left_out_is_said_once_a_data_set_and_counted(tmp_path, recwarn):
    text = (
        "10 10 30 10 30 20 10 20 ship 0\n"
        "10 10 30 10 30 10 10 10 ship 0\n"  # no height
        "200 10 230 10 230 20 200 20 ship 0\n"  # right of the image
        "-30 10 -1 10 -1 20 -30 20 ship 0\n"  # left of it
        "-10 10 30 10 30 20 -10 20 ship 0\n"  # sticks out and stays
        "10 10 30 10 30 20 10 20 crane 0\n"
    )
    layout = DotaText(folders=FOLDERS, rules=ObjectRules(kind=ObjectKind.ORIENTED, left_out=("crane",)))
    opened(tmp_path, layout, text)
    picture(tmp_path / "images" / "2.png")
    (tmp_path / "truths" / "2.txt").write_text(text)
    picture(tmp_path / "images" / "3.png")
    (tmp_path / "truths" / "3.txt").write_text("\n")
    dataset = spec_of(layout).open(tmp_path, "all")
    assert [len(sample.target) for sample in dataset] == [2, 2, 0]
    assert dict(count_left_out(dataset)) == {
        "boxes without width or height": 2,
        "boxes outside their image": 4,
        "objects of the class 'crane'": 2,
        "blank files, whose images hold no object": 1,
    }
    said = [str(warning.message) for warning in recwarn if warning.category is SwathWarning]
    assert len(said) == len(set(said)) == 4
    assert all(str(tmp_path) in text and ".txt" in text for text in said)


def test_boxes_with_a_side_under_a_pixel_are_left_out_where_the_data_set_says_so(tmp_path):
    text = "10 10 30 10 30 10.5 10 10.5 ship 0\n40 10 60 10 60 12 40 12 ship 0\n"
    layout = DotaText(folders=FOLDERS, rules=ObjectRules(kind=ObjectKind.ORIENTED, smallest_side=1.0))
    with pytest.warns(SwathWarning, match="boxes with a side under 1 pixels"):
        assert len(target_of(tmp_path, layout, text)) == 1


def test_images_and_files_without_partner_are_problems(tmp_path):
    opened(tmp_path, DotaText(folders=FOLDERS), "")
    picture(tmp_path / "images" / "2.png")
    with pytest.raises(DataError, match=r"2\.png has no file 2\.txt"):
        spec_of(DotaText(folders=FOLDERS)).open(tmp_path, "all")
    assert len(spec_of(DotaText(folders=FOLDERS, lacking="empty")).open(tmp_path, "all")) == 2
    assert len(spec_of(DotaText(folders=FOLDERS, lacking="skipped")).open(tmp_path, "all")) == 1
    (tmp_path / "truths" / "classes.txt").write_text("ship\n")
    with pytest.raises(DataError, match=r"classes\.txt has no image"):
        spec_of(DotaText(folders=FOLDERS, lacking="empty")).open(tmp_path, "all")
    spec_of(DotaText(folders=FOLDERS, lacking="empty", others=("classes.txt",))).open(tmp_path, "all")
    with pytest.raises(DataError, match=r"There is no folder .*elsewhere"):
        spec_of(DotaText(folders=(ObjectFolder(images="images", truths="elsewhere"),))).open(tmp_path, "all")
    optional = ObjectFolder(images="elsewhere", truths="elsewhere", optional=True)
    with pytest.raises(DataError, match="holds no image of elsewhere"):
        spec_of(DotaText(folders=(optional,))).open(tmp_path, "all")


def test_the_size_of_an_image_comes_from_its_header(tmp_path):
    dataset = opened(tmp_path, DotaText(folders=FOLDERS), "")
    assert size_of(dataset.records[0]) == Size(60, 100)
    (tmp_path / "images" / "1.png").unlink()
    write_tiff(tmp_path / "images" / "1.tif", NAIP_2009[:3, :20, :30])
    records = DotaText(folders=FOLDERS).records(tmp_path, CLASSES)
    assert size_of(records[0]) == Size(20, 30)
    (tmp_path / "images" / "1.tif").unlink()
    (tmp_path / "images" / "1.png").write_text("no image")
    with pytest.raises(ImageryUnreadable, match=r"1\.png cannot be read"):
        size_of(dataset.records[0])


def test_a_fifth_corner_repeats_the_first_or_is_one_too_many():
    assert len(quadrilateral([0, 0, 4, 0, 4, 2, 0, 2, 0.2, 0], "here")) == 4
    with pytest.raises(DataError, match="has 5 corners"):
        quadrilateral([0, 0, 4, 0, 4, 2, 0, 2, 9, 9], "here")
    with pytest.raises(DataError, match=r"has 3\.5 corners"):
        quadrilateral([0, 0, 4, 0, 4, 2, 0], "here")
