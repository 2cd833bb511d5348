"""What all kinds share: JSON, equality, moves of everything, and the annotations of whole images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from annotation_strategies import KINDS, annotations, exact_moves, few, sizes
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import AnnotationError
from swath.geometry.windows import Size, Window
from swath.samples import (
    Annotation,
    Boxes,
    ClassMap,
    Embedding,
    GroundedText,
    Instances,
    Label,
    OrientedBoxes,
    Points,
    Span,
    StitchRule,
    Text,
)
from swath.samples.annotation import as_array
from swath.samples.moves import Move, Resize, Rotate

FRAME = Size(8, 10)


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_every_kind_reads_back_equal_from_json_text(data: st.DataObject) -> None:
    for kind in KINDS:
        before = data.draw(kind(Size(2, 3)))
        text = json.dumps(before.to_json(), allow_nan=False)
        after = Annotation.from_json(json.loads(text))
        assert type(after) is type(before)
        assert after == before
        assert type(before).from_json(json.loads(text)) == before


@few
@given(annotations(), exact_moves | st.builds(Resize, sizes) | st.builds(Rotate, st.floats(-180, 180)))
def test_every_kind_moves_to_the_frame_that_the_move_names(before: Annotation, move: Move) -> None:
    after = before.moved(move)
    assert type(after) is type(before)
    assert after.size == move.size_after(before.size)


@few
@given(annotations())
def test_the_verbs_are_moves(before: Annotation) -> None:
    height, width = before.size.height, before.size.width
    assert before.rotate90(4) == before.rotate90(0)
    assert before.rotate90(1).size == Size(width, height)
    assert before.pad(top=1, right=2).size == Size(height + 1, width + 2)
    assert before.crop(Window(0, 0, 2, 3)).size == Size(2, 3)
    assert before.resize(Size(3, 4)).size == Size(3, 4)
    assert before.rotate(10).size == before.size
    assert before.flip_horizontal().size == before.flip_vertical().size == before.size


def test_annotations_differ_by_kind_by_value_and_by_type_of_number() -> None:
    one = Points.of([[1, 2]], classes=("a",), height=4, width=4)
    assert one == Points.of([[1, 2]], classes=("a",), height=4, width=4)
    assert one != Points.of([[1, 3]], classes=("a",), height=4, width=4)
    assert one != Points.of([[1, 2]], classes=("b",), height=4, width=4)
    assert one != Boxes(size=Size(4, 4), boxes=[], classes=("a",))
    assert one != "a point"
    mask = np.eye(4, dtype=bool)
    assert Instances(size=Size(4, 4), masks=[mask], classes=("a",)) != Instances(
        size=Size(4, 4), masks=[~mask], boxes=[[0, 0, 4, 4]], classes=("a",)
    )
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_masks_are_written_as_coco_does() -> None:
    corner = np.zeros((2, 2), dtype=bool)
    corner[:, 1] = True
    written = Instances(size=Size(2, 2), masks=[corner], classes=("a",)).to_json()
    assert written["masks"] == [{"size": [2, 2], "counts": "22"}]
    assert written["type"] == "Instances" and written["size"] == [2, 2] and written["classes"] == ["a"]


def test_class_maps_are_written_compactly() -> None:
    size = Size(512, 512)
    written = ClassMap(size=size, labels=np.zeros((512, 512), dtype=np.uint8), classes=("land",)).to_json()
    assert len(json.dumps(written)) < 1000
    assert written["labels"]["dtype"] == "uint8" and written["labels"]["shape"] == [512, 512]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "no kind of annotation 'None'; there are Boxes, ClassMap, "),
        ({"type": "Polygon"}, "no kind of annotation 'Polygon'"),
        ({"type": "Objects"}, "no kind of annotation 'Objects'"),
        ({"type": "Points", "size": [4, 4], "points": [], "classes": ["a"], "colour": 1}, "no field 'colour'"),
        ({"type": "Points", "size": [4, 4], "classes": ["a"]}, "not a complete Points"),
        ({"type": "Points", "size": [4], "points": [], "classes": ["a"]}, "not a complete Points"),
        ({"type": "Points", "size": [4, 4], "points": [["x", "y"]], "classes": ["a"]}, "not a complete Points"),
        ({"type": "Flow", "size": [1, 1], "vectors": {"dtype": "float32"}}, "not a complete Flow"),
        (
            {"type": "Flow", "size": [1, 1], "vectors": {"dtype": "float32", "shape": [2, 1, 1], "zlib": "AAAA"}},
            "not a complete Flow",
        ),
        (
            {"type": "Instances", "size": [2, 2], "classes": ["a"], "masks": [{"size": [2, 2]}]},
            "not a complete Instances",
        ),
        (
            {"type": "Instances", "size": [2, 2], "classes": ["a"], "masks": ["22"]},
            "not a complete Instances",
        ),
        ({"type": "GroundedText", "size": [2, 2], "text": "a", "spans": [3]}, "not a complete GroundedText"),
    ],
)
def test_json_that_is_no_annotation_is_refused(value: dict[str, object], message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        Annotation.from_json(value)


def test_json_of_another_kind_is_refused() -> None:
    written = Text(size=FRAME, text="a").to_json()
    with pytest.raises(AnnotationError, match="Expected a Points, found a Text"):
        Points.from_json(written)


def test_an_empty_list_fits_only_where_there_may_be_nothing() -> None:
    assert as_array([], (0, 4), np.float32, "Boxes").shape == (0, 4)
    with pytest.raises(AnnotationError, match="shape"):
        as_array([], (2, 4), np.float32, "Boxes")


def test_what_is_said_of_the_whole_image_stays_true_under_every_move() -> None:
    label = Label.of("b", ("a", "b"), FRAME)
    text, vector = Text(size=FRAME, text="a quay", score=0.5), Embedding(size=FRAME, vector=[3.0, 4.0])
    assert label.rotate90().scores.tolist() == [0, 1]
    assert text.crop(Window(1, 1, 2, 2)) == Text(size=Size(2, 2), text="a quay", score=0.5)
    assert vector.rotate(30.0) == vector
    assert np.linalg.norm(vector.normalised().vector) == pytest.approx(1)


def test_a_label_knows_its_best_classes() -> None:
    label = Label(size=FRAME, scores=[0.2, 0.5, 0.3], classes=("a", "b", "c"))
    assert label.best.name == "b" and label.best.score == pytest.approx(0.5)
    assert [choice.name for choice in label.top(2)] == ["b", "c"]
    several = Label.of(["c", "a"], ("a", "b", "c"), FRAME)
    assert several.scores.tolist() == [1, 0, 1] and not several.exclusive
    nothing = Label.of([], ("a", "b"), FRAME)
    assert nothing.scores.tolist() == [0, 0]


def test_grounded_text_carries_its_evidence_along() -> None:
    ships = Boxes(size=FRAME, boxes=[[1, 1, 3, 2]], classes=("ship",))
    said = GroundedText(size=FRAME, text="One ship lies here.", spans=(Span(start=4, stop=8, evidence=ships),))
    assert said.phrase(said.spans[0]) == "ship"
    turned = said.rotate90(3)
    assert turned.spans[0].evidence == ships.rotate90(3) and turned.text == said.text
    gone = said.crop(Window(4, 4, 2, 2))
    assert len(gone.spans) == 1 and gone.spans[0].evidence == ships.crop(Window(4, 4, 2, 2))
    (feature,) = said.features()
    assert feature.properties == {"class": "ship", "score": 1.0, "phrase": "ship", "text": said.text}


def test_whole_image_annotations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(AnnotationError, match=r"sum to 1; found 1.2000. Apply a softmax"):
        Label(size=FRAME, scores=[0.6, 0.6], classes=("a", "b"))
    assert Label(size=FRAME, scores=[0.6, 0.6], classes=("a", "b"), exclusive=False).best.name == "a"
    with pytest.raises(AnnotationError, match="0 to 1"):
        Label(size=FRAME, scores=[-0.5, 1.5], classes=("a", "b"))
    with pytest.raises(AnnotationError, match="no class 'c'; the classes are a, b"):
        Label.of("c", ("a", "b"), FRAME)
    with pytest.raises(AnnotationError, match="0 to 1; found 2"):
        Text(size=FRAME, text="a", score=2)
    with pytest.raises(AnnotationError, match="finite"):
        Embedding(size=FRAME, vector=[np.inf])
    with pytest.raises(AnnotationError, match="length 0"):
        Embedding(size=FRAME, vector=[0.0]).normalised()
    evidence = Points(size=FRAME, points=[], classes=("a",))
    with pytest.raises(AnnotationError, match="within the 3 characters"):
        GroundedText(size=FRAME, text="abc", spans=(Span(start=1, stop=4, evidence=evidence),))
    with pytest.raises(AnnotationError, match="frame of its text"):
        GroundedText(size=Size(2, 2), text="abc", spans=(Span(start=0, stop=1, evidence=evidence),))


def test_how_each_kind_crosses_windows() -> None:
    assert {kind.stitch_rule() for kind in (Points, Boxes, OrientedBoxes, Instances)} == {StitchRule.MERGE}
    assert {kind.stitch_rule() for kind in (Label, Text, GroundedText, Embedding)} == {StitchRule.COLLECT}
