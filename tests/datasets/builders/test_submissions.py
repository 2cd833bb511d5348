"""Archives for the servers of DOTA and FAIR1M: their files, lines and rules, and reading them back."""

import zipfile

import numpy as np
import pytest

from swath.datasets.builders.submissions import (
    check_dota_submission,
    check_fair1m_submission,
    write_dota_submission,
    write_fair1m_submission,
)
from swath.datasets.formats.fair1m_xml import fair1m_objects
from swath.datasets.formats.safe_xml import parse_xml
from swath.datasets.object_classes import FAIR1M_ORDERS
from swath.errors import DataError, OutputExists
from swath.geometry.windows import Size
from swath.samples.vectors import Boxes, OrientedBoxes

CLASSES = ("plane", "small-vehicle")
SIZE = Size(600, 800)


def turned(boxes, labels=(), scores=(), classes=CLASSES):
    return OrientedBoxes(size=SIZE, boxes=boxes, labels=labels, scores=scores, classes=classes)


@pytest.fixture
def found():
    return {
        "P0006": turned([[100, 50, 40, 20, 0], [300, 200, 20, 20, 0]], [1, 0], [0.5, 0.125]),
        "P0019": turned([[10.126, 20, 4, 2, 0]], [1], [1.0]),
        "P0020": turned([]),
    }


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_text_of_dotas_first_task(found, tmp_path):
    path = tmp_path / "Task1.zip"
    assert write_dota_submission(found, path, images=list(found), classes=CLASSES) == "Task1"
    assert members(path) == {
        "Task1_plane.txt": "P0006 0.125000 290.00 190.00 310.00 190.00 310.00 210.00 290.00 210.00\n",
        "Task1_small-vehicle.txt": (
            "P0006 0.500000 80.00 40.00 120.00 40.00 120.00 60.00 80.00 60.00\n"
            "P0019 1.000000 8.13 19.00 12.13 19.00 12.13 21.00 8.13 21.00\n"
        ),
    }
    assert check_dota_submission(path, images=list(found), classes=CLASSES) == []
    again = tmp_path / "again.zip"
    write_dota_submission(found, again, images=list(found), classes=CLASSES)
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(OutputExists):
        write_dota_submission(found, again, images=list(found), classes=CLASSES)


def test_text_of_dotas_second_task(tmp_path):
    boxes = Boxes(size=SIZE, boxes=[[1, 2, 30, 40.255]], scores=[0.25], classes=("bridge",))
    path = tmp_path / "Task2.zip"
    assert write_dota_submission({"7": boxes}, path, images=["7"], classes=("bridge",)) == "Task2"
    assert members(path)["Task2_bridge.txt"].startswith("7 0.250000 1.00 2.00 30.00 40.2")
    assert check_dota_submission(path, images=["7"], classes=("bridge",), task="Task2") == []
    assert len(check_dota_submission(path, images=["7"], classes=("bridge",))) == 2


def test_submissions_that_a_server_would_refuse_are_not_written(found, tmp_path):
    def attempt(match, images=("P0006", "P0019", "P0020"), classes=CLASSES, **changed):
        with pytest.raises(DataError, match=match):
            write_dota_submission(found | changed, tmp_path / "no.zip", images=images, classes=classes)

    attempt("'P0021' and 0 other images are missing", images=[*found, "P0021"])
    attempt("no image is asked for", images=[])
    attempt("has 'P0020' and 0 others, which are not asked for", images=["P0006", "P0019"])
    attempt("have the classes plane, small-vehicle; asked for are plane, ship", classes=("plane", "ship"))
    attempt("all of one kind; found Boxes, OrientedBoxes", P0020=Boxes(size=SIZE, boxes=[], classes=CLASSES))
    attempt("The scores in 'P0020' are 7 to 7", P0020=turned([[1, 2, 3, 4, 0]], [0], [7]))
    assert not (tmp_path / "no.zip").exists()


def test_archives_of_others_are_checked(tmp_path):
    path = tmp_path / "theirs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("results/Task1_plane.txt", "")
        archive.writestr(
            "Task1_small-vehicle.txt",
            "P0006 0.5 1 2 3 4 5 6 7\nP0006 1.5 1 2 3 4 5 6 7 8\nP9 0.5 1 2 3 4 5 6 7 8\nP0006 0.5 1 2 3 4 5 6 7 8\n",
        )
    problems = check_dota_submission(path, images=["P0006"], classes=CLASSES)
    assert [problem.partition(f"{path}")[2] for problem in problems[:2]] == [
        " lacks Task1_plane.txt.",
        " holds results/Task1_plane.txt, which the server does not take.",
    ]
    assert ["Line 1" in problems[2], "Line 2" in problems[3], "Line 3" in problems[4]] == [True] * 3
    assert len(problems) == 5
    path.write_text("no archive")
    with pytest.raises(DataError, match="cannot be read as a ZIP archive"):
        check_dota_submission(path, images=[], classes=CLASSES)


def test_fair1m_files_for_every_image_and_what_they_hold(tmp_path):
    """Checks 7 and 9 of the sheet: one file an image, also without detections; class and corners come back."""
    order = tuple(name.replace(" ", "_") for name in FAIR1M_ORDERS["lsknet"])
    label = order.index("Dry_Cargo_Ship")
    found = {"3": turned([[100.5, 60, 40, 12, 0.7]], [label], [0.875], order), "12": turned([], classes=order)}
    path = tmp_path / "fair1m.zip"
    write_fair1m_submission(found, path, images=["3", "12"])
    contents = members(path)
    assert set(contents) == {"test/3.xml", "test/12.xml"}
    assert "<name>Dry Cargo Ship</name>" in contents["test/3.xml"]
    assert "<filename>3.tif</filename>" in contents["test/3.xml"]
    (ship,) = fair1m_objects(parse_xml(contents["test/3.xml"].encode(), "3.xml"), "3.xml")
    assert np.abs(ship.shape - found["3"].corners()[0]).max() < 0.0051
    assert (ship.name, ship.score) == ("Dry Cargo Ship", 0.875)
    assert fair1m_objects(parse_xml(contents["test/12.xml"].encode(), "12.xml"), "12.xml") == []
    assert check_fair1m_submission(path, images=["3", "12"]) == []
    assert check_fair1m_submission(path, images=["3", "12", "13"]) == [f"{path} lacks test/13.xml."]


def test_fair1m_archives_of_others_are_checked(tmp_path):
    points = "<points>" + "".join(f"<point>{point}</point>" for point in ("0,0", "4,0", "4,2", "0,2")) + "</points>"
    thing = (
        f"<object><possibleresult><name>Bicycle</name><probability>2</probability></possibleresult>{points}</object>"
    )
    path = tmp_path / "theirs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test/1.xml", f"<annotation><objects>{thing}</objects></annotation>")
        archive.writestr("test/2.xml", "<annotation>")
        archive.writestr("3.xml", "<annotation/>")
    problems = check_fair1m_submission(path, images=["1", "2", "3"])
    assert [
        sum(words in problem for problem in problems)
        for words in ("lacks test/3.xml", "holds 3.xml", "'Bicycle'", "probability 2", "is no XML")
    ] == [1, 1, 1, 1, 1]
    with pytest.raises(DataError, match="FAIR1M takes OrientedBoxes; found Boxes"):
        boxes = Boxes(size=SIZE, boxes=[], classes=FAIR1M_ORDERS["petdet"])
        write_fair1m_submission({"1": boxes}, tmp_path / "no.zip", images=["1"])
    with pytest.raises(DataError, match="have the classes plane, small-vehicle"):
        write_fair1m_submission({"1": turned([])}, tmp_path / "no.zip", images=["1"])
