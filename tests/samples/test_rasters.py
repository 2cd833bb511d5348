"""Class maps, transitions, rasters and flow."""

from __future__ import annotations

import numpy as np
import pytest
from annotation_strategies import class_maps, exact_moves, few, sizes
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from swath.errors import AnnotationError
from swath.geometry.windows import Size, Window
from swath.samples import ClassMap, Flow, Points, Raster, StitchRule, Transition
from swath.samples.moves import Move, Resize, Rotate

CLASSES = ("land", "water", "snow")


def class_map(labels: object, **fields: object) -> ClassMap:
    array = np.asarray(labels)
    return ClassMap(size=Size(*array.shape), labels=array, classes=CLASSES, **fields)  # type: ignore[arg-type]


@few
@given(st.data(), sizes, exact_moves)
def test_labels_confidence_and_scores_move_together(data: st.DataObject, size: Size, move: Move) -> None:
    before = data.draw(class_maps(size))
    after = before.moved(move)
    np.testing.assert_array_equal(after.labels, move.array(before.labels, fill=255))
    if before.confidence is not None:
        np.testing.assert_array_equal(after.confidence, move.array(before.confidence))
    if before.scores is not None:
        np.testing.assert_array_equal(after.scores, move.array(before.scores))


@few
@given(st.data(), sizes, st.tuples(*[st.integers(0, 4)] * 4))
def test_padding_then_cropping_is_nothing(data: st.DataObject, size: Size, margins: tuple[int, ...]) -> None:
    top, left, bottom, right = margins
    before = data.draw(class_maps(size))
    padded = before.pad(top=top, left=left, bottom=bottom, right=right)
    assert (padded.labels == 255).sum() == (before.labels == 255).sum() + padded.labels.size - before.labels.size
    assert padded.crop(Window(top, left, size.height, size.width)) == before


@pytest.mark.parametrize("kind", ["probability", "logit"])
def test_a_map_from_scores_knows_its_best_class_and_probability(kind: str) -> None:
    scores = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32) * 4
    if kind == "probability":
        scores = softmax(scores, axis=0)
    found = ClassMap.from_scores(scores, CLASSES, scores_are=kind)  # type: ignore[arg-type]
    probabilities = scores if kind == "probability" else softmax(scores, axis=0)
    np.testing.assert_array_equal(found.labels, probabilities.argmax(axis=0))
    np.testing.assert_allclose(found.confidence, probabilities.max(axis=0), rtol=1e-5)
    assert found.labels.dtype == np.uint8 and found.size == Size(5, 7)


def test_labels_are_kept_narrow() -> None:
    assert class_map(np.zeros((2, 2), dtype=np.int64)).labels.dtype == np.uint8
    many = tuple(f"class {number}" for number in range(300))
    wide = ClassMap(size=Size(1, 2), labels=[[299, 1000]], classes=many, ignore=1000)
    assert wide.labels.dtype == np.uint16 and wide.known().tolist() == [[True, False]]


def test_without_an_ignored_value_everything_is_known_and_outside_is_class_zero() -> None:
    found = class_map([[1, 2]], ignore=None)
    assert found.known().all()
    assert found.pad(left=1).labels.tolist() == [[0, 1, 2]]


def test_resizing_takes_the_nearest_label_and_blends_confidence() -> None:
    found = class_map([[0, 1]], confidence=[[0.2, 0.6]]).resize(Size(2, 4))
    assert found.labels.tolist() == [[0, 0, 1, 1]] * 2
    np.testing.assert_allclose(found.confidence, [[0.2, 0.3, 0.5, 0.6]] * 2, rtol=1e-6)


def test_rotation_leaves_the_corners_unknown() -> None:
    found = class_map(np.ones((21, 21), dtype=np.uint8)).rotate(45.0)
    assert found.labels[0, 0] == found.labels[-1, -1] == 255
    assert found.labels[10, 0] == found.labels[10, 10] == 1


@pytest.mark.parametrize(
    ("labels", "fields", "message"),
    [
        ([[3]], {}, "label 3 is neither one of the 3 classes"),
        ([[-1]], {}, "label -1"),
        ([[0.5]], {}, "whole numbers"),
        ([[255]], {"ignore": None}, "label 255"),
        ([[0]], {"ignore": 2}, "3 to 65535"),
        ([[0]], {"confidence": [[1.5]]}, "0 to 1"),
        ([[0]], {"confidence": [[np.nan]]}, "0 to 1"),
        ([[0]], {"confidence": [[0.5, 0.5]]}, r"shape \(1, 1\); found \(1, 2\)"),
        ([[0]], {"scores": np.zeros((2, 1, 1))}, r"shape \(3, 1, 1\)"),
        ([[0]], {"scores_are": "percent"}, "'probability' or 'logit'"),
    ],
)
def test_class_maps_that_make_no_sense_are_refused(labels: object, fields: dict[str, object], message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        class_map(labels, **fields)


def test_areas_of_a_class_carry_their_mean_confidence() -> None:
    found = class_map(
        [[0, 0, 1], [255, 2, 1], [0, 2, 2]],
        confidence=[[0.2, 0.4, 0.5], [0.9, 0.6, 0.7], [0.1, 0.8, 1.0]],
    )
    areas = {
        (feature.properties["class"], feature.geometry.area): feature.properties["confidence"]
        for feature in found.features()
    }
    expected = {("land", 2.0): 0.3, ("land", 1.0): 0.1, ("water", 2.0): 0.6, ("snow", 3.0): 0.8}
    assert areas == pytest.approx(expected)
    assert "confidence" not in next(class_map([[0]]).features()).properties


def test_an_unknown_map_has_no_areas() -> None:
    assert list(class_map([[255, 255]], confidence=[[0.0, 0.0]]).features()) == []
    assert list(ClassMap(size=Size(0, 0), labels=np.zeros((0, 0)), classes=CLASSES).features()) == []


def test_a_transition_changes_where_both_classes_are_known_and_differ() -> None:
    before = class_map([[0, 0, 1, 255]])
    after = ClassMap(size=before.size, labels=[[1, 0, 0, 0]], classes=("land", "town"))
    change = Transition(size=before.size, before=before, after=after)
    assert change.changed().tolist() == [[True, False, True, False]]
    found = [(f.properties["before"], f.properties["after"], f.geometry.bounds) for f in change.features()]
    assert sorted(found) == [("land", "town", (0, 0, 1, 1)), ("water", "land", (2, 0, 3, 1))]
    assert change.flip_horizontal().changed().tolist() == [[False, True, False, True]]
    with pytest.raises(AnnotationError, match="Both maps"):
        Transition(size=Size(2, 2), before=before, after=after)


@few
@given(sizes, exact_moves | st.builds(Rotate, st.floats(-180, 180)) | st.builds(Resize, sizes), st.floats(-3, 3))
def test_a_constant_flow_moves_its_arrowheads_as_points(size: Size, move: Move, along: float) -> None:
    arrow = np.array([along, 1.0], dtype=np.float32)
    flow = Flow(size=size, vectors=np.broadcast_to(arrow[:, None, None], (2, size.height, size.width)))
    affine = move.affine(size)
    tails = np.array([[1.5, 0.5]])
    expected = (affine.apply(tails + arrow) - affine.apply(tails))[0]
    moved = flow.moved(move)
    from_inside = move.array(np.ones((size.height, size.width)), smooth=True) > 0
    np.testing.assert_allclose(
        moved.vectors[:, from_inside], np.broadcast_to(expected[:, None], (2, from_inside.sum())), atol=1e-4
    )
    assert not moved.vectors[:, ~from_inside].any()


def test_flow_is_true_after_a_flip_where_it_differs_from_pixel_to_pixel() -> None:
    size = Size(6, 8)
    vectors = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
    tails = np.argwhere(np.ones((6, 8)))[:, ::-1] + 0.5
    heads = tails + vectors.reshape(2, -1).T
    moved = Flow(size=size, vectors=vectors).rotate90().flip_vertical()
    new_tails, new_heads = (
        Points(size=size, points=xy, classes=("a",)).rotate90().flip_vertical().points for xy in (tails, heads)
    )
    columns, rows = np.floor(new_tails).astype(int).T
    np.testing.assert_allclose(moved.vectors[:, rows, columns].T, new_heads - new_tails, atol=1e-5)


def test_rasters_blend_and_check_their_spread() -> None:
    raster = Raster(
        size=Size(1, 2), values=[[[1, 3]], [[4, 8]]], names=("low", "high"), unit="metre", spread=np.ones((2, 1, 2))
    )
    assert raster.resize(Size(1, 1)).values.tolist() == [[[2]], [[6]]]
    assert raster.pad(right=1).spread[:, 0].tolist() == [[1, 1, 0], [1, 1, 0]]
    with pytest.raises(AnnotationError, match="standard deviation"):
        Raster(size=Size(1, 1), values=[[[1]]], names=("low",), unit="metre", spread=[[[-1]]])
    with pytest.raises(AnnotationError, match="GeoTIFF"):
        next(raster.features())


def test_maps_are_blended_across_windows() -> None:
    assert {kind.stitch_rule() for kind in (ClassMap, Transition, Raster, Flow)} == {StitchRule.BLEND}
