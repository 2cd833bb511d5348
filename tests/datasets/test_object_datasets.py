"""Declared data sets of objects: each opens a tiny folder of its published layout; class orders, splits, checks."""

import json
from dataclasses import replace

import pytest
from real_pixels import NAIP_2009, save, write_tiff

from swath.datasets.check import check
from swath.datasets.formats.stated_objects import ObjectKind
from swath.datasets.object_classes import DIOR_ORDERS, DOTA_CLASSES, FAIR1M_CATEGORIES, FAIR1M_ORDERS, HRSC2016_CLASSES
from swath.datasets.objects import (
    AERIAL_CARS,
    DIOR,
    DIOR_R,
    DIOR_TRAINVAL,
    DOTA_V1_0,
    DOTA_V1_0_HBB,
    FAIR1M_V1_0,
    FAIR1M_V2_0,
    FAIR1M_V2_0_COARSE,
    HRPLANES,
    HRPLANES_AIRPORTS,
    HRSC2016_31,
    OBJECT_SETS,
    TREE_CROWNS,
    of_kind,
    with_order,
)
from swath.datasets.registry import dataset
from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size
from swath.metrics.classes import fold_class_name
from swath.samples.instances import Instances
from swath.samples.vectors import Boxes, OrientedBoxes

CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")
QUADRILATERAL = ((10, 10), (30, 10), (30, 20), (10, 20))


def picture(path, place=0):
    pixels = NAIP_2009[:3, 8 * place : 8 * place + 40, 8 * place : 8 * place + 60]
    return write_tiff(path, pixels) if path.suffix == ".tif" else save(pixels, path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def voc(name, *, oriented=False, lists=""):
    if oriented:
        fields = zip(CORNERS, QUADRILATERAL, strict=True)
        held = "".join(f"<x_{corner}>{x}</x_{corner}><y_{corner}>{y}</y_{corner}>" for corner, (x, y) in fields)
        shape = f"<robndbox>{held}</robndbox><angle>0</angle>"
    else:
        shape = "<bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
    return f"<annotation>{lists}<object><name>{name}</name><difficult>0</difficult>{shape}</object></annotation>"


def quadrilateral(name):
    return " ".join(f"{x} {y}" for x, y in QUADRILATERAL) + f" {name} 0\n"


def dior(root, *, oriented=False):
    kind = "Oriented" if oriented else "Horizontal"
    for number, name in enumerate(("trainval", "trainval", "test"), start=1):
        picture(root / f"JPEGImages-{name}" / f"0000{number}.jpg", number)
        write(
            root / "Annotations" / f"{kind} Bounding Boxes" / f"0000{number}.xml",
            voc("Expressway-Service-Area", oriented=oriented),
        )
    for name, number in (("train", 1), ("val", 2), ("test", 3)):
        write(root / "ImageSets" / "Main" / f"{name}.txt", f"0000{number}\n")


def dota(root, labels="labelTxt", name="small-vehicle"):
    for number, part in enumerate(("train", "val")):
        picture(root / part / "images" / f"P000{number}.png", number)
        header = "imagesource:GoogleEarth\ngsd:0.15\n"
        write(root / part / labels.format(part) / f"P000{number}.txt", header + quadrilateral(name))


def glh(root):
    for number, part in enumerate(("train", "val")):
        picture(root / f"{part}_image" / f"{number}.png", number)
        write(root / f"{part}_label" / f"{number}.txt", quadrilateral("bridge"))


def fair1m(root, parts=("train", "val")):
    points = "".join(f"<point>{x:.6f}, {y:.6f}</point>" for x, y in (*QUADRILATERAL, QUADRILATERAL[0]))
    for number, part in enumerate(parts):
        picture(root / part / "images" / f"{number}.tif", number)
        name = f"<possibleresult><name>Airbus A220</name></possibleresult><points>{points}</points>"
        write(
            root / part / "labelXml" / f"{number}.xml",
            f"<annotation><objects><object>{name}</object></objects></annotation>",
        )


def hrsc(root):
    box = "".join(
        f"<mbox_{name}>{value}</mbox_{name}>"
        for name, value in zip(("cx", "cy", "w", "h", "ang"), (20, 15, 20, 10, 0.1), strict=True)
    )
    for number, part in enumerate(("train", "val", "test")):
        picture(root / "FullDataSet" / "AllImages" / f"10000000{number}.bmp", number)
        held = f"<HRSC_Object><Class_ID>100000015</Class_ID>{box}</HRSC_Object>"
        text = f"<HRSC_Image><HRSC_Objects>{held}</HRSC_Objects></HRSC_Image>"
        write(root / "FullDataSet" / "Annotations" / f"10000000{number}.xml", text)
        write(root / "ImageSets" / f"{part}.txt", f"10000000{number}\n")
    picture(root / "FullDataSet" / "AllImages" / "100000009.bmp")  # not annotated, in no list


def coco(root, files, name, number=0):
    for place, (annotations, images) in enumerate(files):
        picture(root / images / f"{place}.png", place)
        polygon = [value for point in QUADRILATERAL for value in point]
        entry = {"id": 1, "image_id": 1, "category_id": number, "bbox": [10, 10, 20, 10], "segmentation": [polygon]}
        content = {"images": [{"id": 1, "file_name": f"{place}.png"}], "annotations": [entry | {"iscrowd": 0}]}
        write(root / annotations, json.dumps(content | {"categories": [{"id": number, "name": name}]}))


def isaid(root):
    coco(
        root,
        [(f"{part}/instancesonly_filtered_{part}.json", f"{part}/images") for part in ("train", "val")],
        "Large_Vehicle",
        8,
    )


def vhr(root):
    for number in range(1, 5):
        picture(root / "positive image set" / f"00{number}.jpg", number)
        write(root / "ground truth" / f"00{number}.txt", "(10,10),(30,20),3 \n")


def visdrone(root):
    for number, name in enumerate(("train", "val", "test-dev")):
        picture(root / f"VisDrone2019-DET-{name}" / "images" / f"{number}.jpg", number)
        write(root / f"VisDrone2019-DET-{name}" / "annotations" / f"{number}.txt", "10,10,20,10,1,4,0,0\n")


def hrplanes(root):
    names = ["SIN_0115_jpg.rf.19dc30", "SIN_0115_jpg.rf.4fa2b1", "292_DT8_jpg.rf.61d794", "MAD_041_jpg.rf.4dcec6"]
    for place, name in enumerate(names):
        picture(root / "train" / f"{name}.jpg", place)
    images = [{"id": place, "file_name": f"{name}.jpg"} for place, name in enumerate(names)]
    entry = {"id": 1, "category_id": 1, "bbox": [10, 10, 20, 10], "segmentation": []}
    content = {
        "images": images,
        "annotations": [entry | {"image_id": place} for place in range(4)],
        "categories": [{"id": 0, "name": "Aircrafts"}, {"id": 1, "name": "0"}],
    }
    write(root / "train" / "_annotations.coco.json", json.dumps(content))


def cars(root):
    for number, name in enumerate(("MunichStreet02-MOS75", "MunichStreet02-MOS87", "MunichStreet04-MOS10", "DJI_0012")):
        picture(root / f"{name}.png", number)
        write(root / f"{name}.txt", "0 0.3333333 0.375 0.3333333 0.25\n")
    write(root / "aerial.names", "car\ntruck\nbus\nminibus\ncyclist\n")


def crowns(root):
    for number, name in enumerate(("OSBS_029.tif", "SOAP_061.png")):
        picture(root / name, number)
        label = ("Tree", "Dead")[number]
        rows = f"image_path,xmin,ymin,xmax,ymax,label\n{name},10,10,30,20,{label}\n"
        write(root / f"{number}.csv", rows)


def annotations_of_catnet(root):
    coco(root, [(f"annotations/instances_{part}.json", "images") for part in ("train", "test")], "storage tank", 3)


FOLDERS = {
    "aerial-cars": cars,
    "dior": dior,
    "dior-r": lambda root: dior(root, oriented=True),
    "dior-r-trainval": lambda root: dior(root, oriented=True),
    "dior-trainval": dior,
    "dota-v1.0": dota,
    "dota-v1.0-hbb": dota,
    "dota-v1.5": lambda root: dota(root, "labelTxt-v1.5/DOTA-v1.5_{}", "container-crane"),
    "dota-v2.0": lambda root: dota(root, "labelTxt-v2.0/DOTA-v2.0_{}", "helipad"),
    "fair1m-v1.0": lambda root: fair1m(root, ("train",)),
    "fair1m-v2.0": fair1m,
    "fair1m-v2.0-coarse": fair1m,
    "glh-bridge": glh,
    "glh-bridge-hbb": glh,
    "hrplanes": hrplanes,
    "hrplanes-airports": hrplanes,
    "hrsc2016": hrsc,
    "hrsc2016-31": hrsc,
    "isaid": isaid,
    "nwpu-vhr-10": vhr,
    "nwpu-vhr-10-catnet": annotations_of_catnet,
    "tree-crowns": crowns,
    "visdrone-det": visdrone,
}
FIRST_CLASS = {
    "aerial-cars": "car",
    "dior": "Expressway-Service-area",
    "dota-v1.0": "small-vehicle",
    "dota-v1.5": "container-crane",
    "dota-v2.0": "helipad",
    "fair1m-v1.0": "A220",
    "fair1m-v2.0": "A220",
    "fair1m-v2.0-coarse": "Airplane",
    "glh-bridge": "bridge",
    "hrplanes": "aircraft",
    "hrsc2016": "ship",
    "hrsc2016-31": "Austen",
    "isaid": "Large_Vehicle",
    "nwpu-vhr-10": "storage tank",
    "tree-crowns": "Tree",
    "visdrone-det": "car",
}
KINDS = {"dior-r": OrientedBoxes, "dota": OrientedBoxes, "fair1m": OrientedBoxes, "glh": OrientedBoxes}
KINDS |= {"hrsc": OrientedBoxes, "isaid": Instances, "nwpu-vhr-10-catnet": Instances}


def starting(table, name):
    """The entry whose key begins the name, the longest of them."""
    keys = [key for key in table if name.startswith(key)]
    return table[max(keys, key=len)] if keys else None


@pytest.mark.parametrize("spec", OBJECT_SETS, ids=lambda spec: spec.name)
def test_every_declaration_opens_its_published_layout(spec, tmp_path):
    assert dataset(spec.name) is spec
    FOLDERS[spec.name](tmp_path)
    samples = spec.open(tmp_path, "all")
    parts = spec.splits.parts(samples.records, tmp_path)
    used = [record.key for part in parts.values() for record in part]
    assert len(used) == len(set(used))
    assert len(parts["train"]) >= 1
    kind = Boxes if spec.name.endswith("hbb") else starting(KINDS, spec.name) or Boxes
    for sample in samples:
        target = sample.target
        assert type(target) is kind
        assert sample.size == target.size == Size(40, 60)
        assert len(target) == 1
        assert target.class_of(0) == starting(FIRST_CLASS, spec.name)
        if kind is OrientedBoxes:
            assert target.centres()[0].tolist() == pytest.approx([20, 15], abs=1e-4)
            assert sorted(target.boxes[0, 2:4].tolist()) == pytest.approx([10, 20], abs=1e-4)
        else:
            assert target.boxes[0].tolist() == pytest.approx([10, 10, 30, 20], abs=1e-4)
    report = check(replace(spec, counts={}), tmp_path)
    assert not report.unreadable
    assert not report.mislabelled
    assert report.counted == "objects"


def test_the_folders_cover_every_declaration():
    assert set(FOLDERS) == {spec.name for spec in OBJECT_SETS}


def test_orders_of_dior_are_the_same_classes():
    """Check 3 of the sheet: mmrotate's class 8, dam, is C7 of the paper."""
    assert len({tuple(sorted(order)) for order in DIOR_ORDERS.values()}) == 1
    assert {len(order) for order in DIOR_ORDERS.values()} == {20}
    assert DIOR_ORDERS["paper"].index("dam") + 1 == 7
    assert DIOR_ORDERS["mmrotate"][8] == "dam"
    assert [name for name in DIOR_ORDERS["mmrotate"] if name != "dam"] == [
        name for name in DIOR_ORDERS["paper"] if name != "dam"
    ]
    moved = with_order(DIOR, DIOR_ORDERS["mmrotate"])
    assert moved.classes[8] == "dam"
    with pytest.raises(ConfigurationError, match="the same 20 classes"):
        with_order(DIOR, DIOR_ORDERS["paper"][:19])


def test_orders_and_categories_of_fair1m():
    """Checks 1 and 2 of the sheet; the category of each class along the sorted order is as the sheet lists it."""
    assert sorted(map(fold_class_name, FAIR1M_ORDERS["petdet"])) == sorted(
        map(fold_class_name, FAIR1M_ORDERS["lsknet"])
    )
    assert len(set(FAIR1M_ORDERS["petdet"])) == 37
    assert [len(names) for names in FAIR1M_CATEGORIES.values()] == [11, 9, 10, 4, 3]
    assert FAIR1M_ORDERS["lsknet"].index("Dry Cargo Ship") == 17
    assert FAIR1M_ORDERS["petdet"].index("Dry Cargo Ship") == 15
    published = "0 0 0 0 0 3 3 0 0 0 0 4 2 0 2 1 2 1 2 1 3 4 1 1 1 4 2 3 2 2 2 1 2 1 0 1 2"
    numbers = {name: number for number, names in enumerate(FAIR1M_CATEGORIES.values()) for name in names}
    assert [numbers[name] for name in FAIR1M_ORDERS["petdet"]] == [int(number) for number in published.split()]
    assert with_order(FAIR1M_V2_0, FAIR1M_ORDERS["lsknet"]).classes[0] == "Boeing737"
    assert FAIR1M_V2_0_COARSE.classes == ("Airplane", "Ship", "Vehicle", "Court", "Road")


def test_classes_of_the_other_sets():
    assert len(DOTA_CLASSES) == 18
    assert DOTA_CLASSES[14:] == ("helicopter", "container-crane", "airport", "helipad")
    assert len(HRSC2016_CLASSES) == len(set(map(fold_class_name, HRSC2016_31.classes))) == 31
    assert {len(number) for number in HRSC2016_CLASSES} == {9}
    assert dataset("visdrone-det").classes[0] == "pedestrian"
    assert len(dataset("visdrone-det").classes) == 10


def test_dior_has_both_its_splits(tmp_path):
    dior(tmp_path)
    assert [len(DIOR.open(tmp_path, part)) for part in ("train", "validation", "test")] == [1, 1, 1]
    assert [record.name for record in DIOR_TRAINVAL.open(tmp_path, "train").records] == ["00001", "00002"]
    assert [record.name for record in DIOR_TRAINVAL.open(tmp_path, "test").records] == ["00003"]
    assert DIOR_TRAINVAL.counts == {"train": 11_725, "test": 11_738}
    assert sum(DIOR.counts.values()) == 23_463


def test_other_spellings_of_the_folders_of_dior(tmp_path):
    for number in (1, 2, 3):
        picture(tmp_path / "JPEGImage" / f"0000{number}.jpg", number)
        write(tmp_path / "Annotations" / f"0000{number}.xml", voc("golffield"))
    for name, number in (("train", 1), ("val", 2), ("test", 3)):
        write(tmp_path / "ImageSets" / "Main" / f"{name}.txt", f"0000{number}\n")
    assert DIOR.open(tmp_path, "test")[0].target.boxes.tolist() == [[10, 10, 30, 20]]
    assert DIOR_R.open(tmp_path, "test")[0].target.boxes.tolist() == [[20, 15, 20, 10, 0]]


def test_dota_of_another_version_or_of_other_classes_is_told(tmp_path):
    dota(tmp_path, name="helipad")
    with pytest.raises(DataError, match=r"P0000\.txt says the class 'helipad'"):
        DOTA_V1_0.open(tmp_path, "train")[0]
    with pytest.raises(DataError, match="has none of the layouts"):
        DOTA_V1_0.open(tmp_path / "train")
    with pytest.raises(DataError, match="has no part 'test'"):
        DOTA_V1_0.open(tmp_path, "test")


def test_upright_boxes_of_dota_are_around_the_others(tmp_path):
    dota(tmp_path)
    diamond = "10 20 20 10 30 20 20 30 ship 1\n"
    write(tmp_path / "train" / "labelTxt" / "P0000.txt", diamond)
    assert DOTA_V1_0_HBB.open(tmp_path)[0].target.boxes.tolist() == [[10, 10, 30, 30]]
    turned = DOTA_V1_0.open(tmp_path)[0].target
    assert turned.boxes[0, 2:4] == pytest.approx([200**0.5] * 2, abs=1e-4)
    assert turned.ignored.tolist() == [True]


def test_masks_of_files_that_hold_boxes_are_refused(tmp_path):
    dota(tmp_path)
    with pytest.raises(ConfigurationError, match="Files of boxes hold no masks"):
        of_kind(DOTA_V1_0, ObjectKind.MASKS, "dota-masks").open(tmp_path)[0]


def test_fair1m_in_two_halves(tmp_path):
    fair1m(tmp_path, ("train/part1", "train/part2"))
    assert len(FAIR1M_V1_0.open(tmp_path, "train")) == 2


def test_copies_of_one_source_image_stay_together(tmp_path):
    hrplanes(tmp_path)
    records = HRPLANES.open(tmp_path, "all").records
    units = [HRPLANES.splits.unit(record) for record in records]
    assert units == ["SIN_0115", "SIN_0115", "292_DT8", "MAD_041"]
    assert [HRPLANES_AIRPORTS.splits.unit(record) for record in records] == ["SIN", "SIN", "DT8", "MAD"]
    for seed in range(8):
        rule = replace(HRPLANES.splits, seed=seed, shares={"train": 0.5, "test": 0.5})
        for part in rule.parts(records, tmp_path).values():
            assert sum(record.name.startswith("SIN") for record in part) in (0, 2)


@pytest.mark.parametrize("form", ["yolo", "voc"])
def test_other_exports_of_hrplanes(tmp_path, form):
    for number, part in enumerate(("train", "valid")):
        folders = (f"{part}/images", f"{part}/labels") if form == "yolo" else (part, part)
        name = f"KUA_01{number}_jpg.rf.2b970da{number}"
        picture(tmp_path / folders[0] / f"{name}.jpg", number)
        text = "0 0.3333333 0.375 0.3333333 0.25\n" if form == "yolo" else voc("Aircrafts")
        write(tmp_path / folders[1] / f"{name}.{'txt' if form == 'yolo' else 'xml'}", text)
    samples = HRPLANES.open(tmp_path, "all")
    assert [sample.target.boxes[0].round(3).tolist() for sample in samples] == [[10, 10, 30, 20]] * 2


def test_frames_of_a_sequence_stay_together(tmp_path):
    cars(tmp_path)
    units = [AERIAL_CARS.splits.unit(record) for record in AERIAL_CARS.open(tmp_path, "all").records]
    assert sorted(units) == ["DJI", "MunichStreet02", "MunichStreet02", "MunichStreet04"]


def test_tree_crowns_in_voc_files_are_the_same_boxes(tmp_path):
    crowns(tmp_path)
    tables = [sample.target.boxes.tolist() for sample in TREE_CROWNS.open(tmp_path, "all")]
    for number, name in enumerate(("OSBS_029", "SOAP_061")):
        (tmp_path / f"{number}.csv").unlink()
        write(tmp_path / f"{name}.xml", voc(("Tree", "Dead")[number]))
    picture(tmp_path / "australia.tif")  # its crowns are no boxes
    assert [sample.target.boxes.tolist() for sample in TREE_CROWNS.open(tmp_path, "all")] == tables


def test_a_data_set_of_objects_that_is_incomplete_is_told_by_the_check(tmp_path):
    dota(tmp_path)
    (tmp_path / "val" / "labelTxt" / "P0001.txt").unlink()
    write(tmp_path / "val" / "labelTxt" / "P0009.txt", "")
    (tmp_path / "train" / "labelTxt" / "P0000.txt").write_text("0 0 9 0 9 9 plane 0\n")
    report = check(DOTA_V1_0, tmp_path)
    assert any("P0001.png has no file P0001.txt" in line for line in report.missing)
    assert any("P0009.txt has no image" in line for line in report.missing)
    assert any("has 3 corners" in line for line in report.mislabelled)
    assert report.samples == {"train": 1, "validation": 0}
