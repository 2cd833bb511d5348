"""Points, boxes and oriented boxes: moves against shapely and rasterised copies, merging against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from annotation_strategies import boxes, exact_moves, few, oriented_boxes, points, sizes
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import AnnotationError
from swath.geometry.windows import Size, Window
from swath.samples import Boxes, MergeRule, OrientedBoxes, Points
from swath.samples.moves import Crop, Flip, Move, QuarterTurns, Resize, Rotate

FRAME = Size(32, 48)


def some_points(xy: object, **fields: object) -> Points:
    return Points(size=FRAME, points=xy, classes=("tree", "car"), **fields)  # type: ignore[arg-type]


def rasterised(found: Points) -> np.ndarray:
    counts = np.zeros((found.size.height, found.size.width), dtype=int)
    for x, y in found.points:
        counts[int(y), int(x)] += 1
    return counts


@few
@given(st.data(), sizes, exact_moves)
def test_drawing_points_then_moving_equals_moving_points_then_drawing(
    data: st.DataObject, size: Size, move: Move
) -> None:
    # Pixel centres stay pixel centres, so nothing depends on rounding at the borders.
    count = data.draw(st.integers(0, 5))
    xy = [
        (data.draw(st.integers(0, size.width - 1)) + 0.5, data.draw(st.integers(0, size.height - 1)) + 0.5)
        for _ in range(count)
    ]
    before = Points(size=size, points=xy, classes=("tree",))
    np.testing.assert_array_equal(rasterised(before.moved(move)), move.array(rasterised(before)))


def test_hand_computed_moves_of_a_point() -> None:
    point = some_points([[10.0, 4.0]])
    assert point.flip_horizontal().points.tolist() == [[38.0, 4.0]]
    assert point.flip_vertical().points.tolist() == [[10.0, 28.0]]
    assert point.rotate90().points.tolist() == [[4.0, 38.0]]
    assert point.rotate90().size == Size(48, 32)
    assert point.rotate90(-1).points.tolist() == [[28.0, 10.0]]
    assert point.resize(Size(64, 24)).points.tolist() == [[5.0, 8.0]]
    assert point.crop(Window(2, 3, 8, 8)).points.tolist() == [[7.0, 2.0]]
    assert point.pad(top=1, left=2, bottom=3, right=4).points.tolist() == [[12.0, 5.0]]
    assert point.pad(top=1, left=2, bottom=3, right=4).size == Size(36, 54)
    np.testing.assert_allclose(point.rotate(90).points, [[24 - 12, 16 + 14]], atol=1e-5)


def test_neighbouring_crops_share_no_point() -> None:
    edge = some_points([[8.0, 8.0]])
    holders = [edge.crop(Window(row, column, 8, 8)) for row in (0, 8) for column in (0, 8)]
    assert [len(part) for part in holders] == [0, 0, 0, 1]


@few
@given(st.data(), sizes, st.tuples(*[st.integers(0, 4)] * 4))
def test_padding_then_cropping_is_nothing(data: st.DataObject, size: Size, margins: tuple[int, ...]) -> None:
    top, left, bottom, right = margins
    for kind in (points, boxes, oriented_boxes):
        before = data.draw(kind(size))
        padded = before.pad(top=top, left=left, bottom=bottom, right=right)
        back = padded.crop(Window(top, left, size.height, size.width))
        inside = before.crop(Window(0, 0, size.height, size.width))
        assert len(padded) == len(inside)
        assert back.size == size and back.classes == before.classes
        np.testing.assert_allclose(back.places, inside.places, atol=1e-5)
        np.testing.assert_array_equal(back.scores, inside.scores)


@few
@given(st.data(), sizes)
def test_moves_that_undo_each_other(data: st.DataObject, size: Size) -> None:
    for kind in (points, boxes):
        before = data.draw(kind(size))
        for back in (
            before.flip_horizontal().flip_horizontal(),
            before.flip_vertical().flip_vertical(),
            before.rotate90(1).rotate90(3),
            before.rotate90(2).flip_horizontal().flip_vertical(),
            before.resize(Size(size.height * 2, size.width * 4)).resize(size),
        ):
            assert back.size == size
            np.testing.assert_allclose(back.places, before.places, atol=1e-5)


def as_shapely(found: Boxes | OrientedBoxes, move: Move) -> list[shapely.Polygon]:
    """Carry the outlines by the affine map alone."""
    affine = move.affine(found.size)
    return [shapely.transform(outline, affine.apply) for outline in found.outlines()]


@few
@given(st.data(), sizes, exact_moves)
def test_boxes_move_as_their_outlines_do(data: st.DataObject, size: Size, move: Move) -> None:
    before = data.draw(boxes(size))
    frame = shapely.box(0, 0, move.size_after(size).width, move.size_after(size).height)
    clipped = [shapely.intersection(outline, frame) for outline in as_shapely(before, move)]
    kept = [part.bounds for part in clipped if part.area > 1e-4]
    found = before.moved(move).boxes.tolist()
    found = [b for b in found if (b[2] - b[0]) * (b[3] - b[1]) > 1e-4]
    np.testing.assert_allclose(np.reshape(found, (-1, 4)), np.reshape(kept, (-1, 4)), atol=1e-4)


def test_a_rotated_box_is_the_upright_box_around_it() -> None:
    before = Boxes(size=Size(40, 40), boxes=[[10, 15, 30, 25]], classes=("ship",))
    outline = as_shapely(before, Rotate(30.0))[0]
    np.testing.assert_allclose(before.rotate(30.0).boxes[0], outline.bounds, atol=1e-4)


def test_a_box_cut_to_nothing_is_dropped_with_its_label_and_score() -> None:
    before = Boxes(
        size=FRAME,
        boxes=[[0, 0, 8, 8], [20, 20, 24, 30]],
        classes=("ship", "plane"),
        labels=[0, 1],
        scores=[0.25, 0.75],
    )
    after = before.crop(Window(8, 8, 16, 16))
    assert after.boxes.tolist() == [[12, 12, 16, 16]]
    assert after.labels.tolist() == [1] and after.scores.tolist() == [0.75]


@few
@given(st.data(), sizes, exact_moves | st.builds(Rotate, st.floats(-180, 180)))
def test_oriented_boxes_move_as_their_outlines_do(data: st.DataObject, size: Size, move: Move) -> None:
    before = data.draw(oriented_boxes(size))
    if move.loses:  # keep clear of the border, where rounding decides
        width, height = move.size_after(size).width, move.size_after(size).height
        x, y = move.affine(size).apply(before.centres().astype(np.float64)).T
        clear = (np.minimum(abs(x), abs(x - width)) > 1e-3) & (np.minimum(abs(y), abs(y - height)) > 1e-3)
        before = before.select(clear)
        x, y = x[clear], y[clear]
        inside = (x > 0) & (x < width) & (y > 0) & (y < height)
    else:
        inside = np.ones(len(before), dtype=bool)
    expected = [outline for outline, keep in zip(as_shapely(before, move), inside, strict=True) if keep]
    found = list(before.moved(move).outlines())
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert shapely.symmetric_difference(one, other).area < 1e-3 * (1 + other.area)


def test_the_angle_turns_clockwise_as_seen() -> None:
    box = OrientedBoxes(size=FRAME, boxes=[[10, 10, 8, 2, np.pi / 4]], classes=("ship",))
    reach = np.sqrt(0.5)
    # The middle of the right side lies right of and below the centre.
    np.testing.assert_allclose(box.half_sides()[0, 0], [4 * reach, 4 * reach], atol=1e-6)
    expected = [10 + reach * (-4 + 1), 10 + reach * (-4 - 1)]
    np.testing.assert_allclose(box.corners()[0, 0], expected, atol=1e-5)


@few
@given(st.floats(-50, 50, width=32))
def test_angles_come_into_half_a_turn_and_name_the_same_box(angle: float) -> None:
    box = OrientedBoxes(size=FRAME, boxes=[[10, 10, 8, 2, angle]], classes=("ship",))
    kept = box.boxes[0, 4]
    assert -np.float32(np.pi / 2) <= kept < np.float32(np.pi / 2)
    turned = (float(kept) - angle) / np.pi
    assert abs(turned - round(turned)) < 1e-5


def test_stretching_a_slanting_box_gives_the_smallest_box_on_one_of_its_sides() -> None:
    box = OrientedBoxes(size=Size(20, 20), boxes=[[10, 10, 8, 2, 0.5]], classes=("ship",))
    stretched = box.resize(Size(20, 60))
    (around,) = stretched.outlines()
    (parallelogram,) = as_shapely(box, Resize(Size(20, 60)))
    assert shapely.difference(parallelogram, around).area < 1e-3
    smallest = shapely.oriented_envelope(parallelogram)  # the smallest of all boxes around it
    assert around.area == pytest.approx(smallest.area, rel=1e-4)


def test_resizing_both_axes_alike_keeps_a_box_a_box() -> None:
    box = OrientedBoxes(size=Size(20, 20), boxes=[[10, 5, 8, 2, 0.5]], classes=("ship",))
    np.testing.assert_allclose(box.resize(Size(40, 40)).boxes, [[20, 10, 16, 4, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(box.flip_horizontal().boxes, [[10, 5, 8, 2, -0.5]], rtol=1e-6)


def test_empty_annotations_go_through_everything() -> None:
    for empty in (
        some_points([]),
        Boxes(size=FRAME, boxes=[], classes=("tree", "car")),
        OrientedBoxes(size=FRAME, boxes=[], classes=("tree", "car")),
    ):
        for move in (Crop(Window(1, 1, 4, 4)), Flip(horizontal=True), QuarterTurns(1), Resize(FRAME), Rotate(5.0)):
            assert len(empty.moved(move)) == 0
        assert len(empty.deduplicated(MergeRule())) == 0
        assert len(type(empty).concatenate([empty, empty])) == 0
        assert empty.centres().shape == (0, 2)
        assert list(empty.features()) == []
        assert empty.scores.dtype == np.float32 and empty.labels.dtype == np.int32


def test_selecting_by_mask_by_number_and_by_score() -> None:
    found = some_points([[1, 1], [2, 2], [3, 3]], scores=[0.1, 0.5, 0.9], labels=[0, 1, 0])
    assert found.select(np.array([True, False, True])).points.tolist() == [[1, 1], [3, 3]]
    assert found.select([2, 0]).scores.tolist() == pytest.approx([0.9, 0.1])
    assert found.above(0.5).labels.tolist() == [1, 0]
    assert found.class_of(1) == "car"
    with pytest.raises(AnnotationError, match="3 objects"):
        found.select(np.array([True]))


def test_shifting_a_window_into_its_scene() -> None:
    found = some_points([[1.5, 2.5]]).shifted(rows=100, columns=-1, size=Size(200, 200))
    assert found.points.tolist() == [[0.5, 102.5]] and found.size == Size(200, 200)
    box = Boxes(size=FRAME, boxes=[[0, 0, 10, 10]], classes=("car",)).shifted(rows=0, columns=-4, size=FRAME)
    assert box.boxes.tolist() == [[0, 0, 6, 10]]


def test_concatenating_needs_one_frame_and_the_same_classes() -> None:
    one, other = some_points([[1, 1]], scores=[0.5]), some_points([[2, 2], [3, 3]], labels=[1, 0])
    both = Points.concatenate([one, other])
    assert both.points.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert both.scores.tolist() == [0.5, 1, 1] and both.labels.tolist() == [0, 1, 0]
    with pytest.raises(AnnotationError, match="one frame"):
        Points.concatenate([one, other.resize(Size(8, 8))])
    with pytest.raises(AnnotationError, match="nothing to concatenate"):
        Points.concatenate([])


def test_what_is_to_be_ignored_goes_along_with_its_object() -> None:
    found = some_points([[1, 1], [14, 2], [3, 3]], ignored=[True, False, True], labels=[0, 1, 0])
    assert some_points([[1, 1]]).ignored.tolist() == [False] and found.ignored.dtype == np.bool_
    assert found.select([1, 2]).ignored.tolist() == [False, True]
    assert found.crop(Window(0, 2, 8, 20)).ignored.tolist() == [False, True]
    assert Points.concatenate([found, found.select([1])]).ignored.tolist() == [True, False, True, False]
    written = found.to_json()
    assert written["ignored"] == [True, False, True] and Points.from_json(written) == found
    assert Points.from_json(written | {"ignored": [False] * 3}) != found
    del written["ignored"]  # as annotations were written before there was such a mark
    assert Points.from_json(written).ignored.tolist() == [False] * 3
    for kind, fields in ((Boxes, {"boxes": [[1, 1, 3, 3]]}), (OrientedBoxes, {"boxes": [[2, 2, 2, 1, 0.5]]})):
        one = kind(size=FRAME, classes=("tree",), ignored=[True], **fields)
        assert one.rotate90().ignored.tolist() == one.resize(Size(40, 40)).ignored.tolist() == [True]
    with pytest.raises(AnnotationError, match="marks of ignored Points"):
        some_points([[1, 1]], ignored=[True, False])


def greedy(overlaps: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """The textbook loop over the whole matrix."""
    kept: list[int] = []
    for candidate in np.argsort(-scores, kind="stable"):
        if all(overlaps[candidate, other] <= threshold for other in kept):
            kept.append(int(candidate))
    return kept


@few
@given(st.data(), st.booleans(), st.floats(0.125, 0.875))
def test_merging_boxes_equals_the_textbook_loop(data: st.DataObject, class_aware: bool, threshold: float) -> None:
    for kind in (boxes, oriented_boxes):
        found = data.draw(kind(Size(4, 4)))
        outlines = list(found.outlines())
        overlaps = np.array(
            [
                [
                    shapely.intersection(a, b).area / max(shapely.union(a, b).area, 1e-9)
                    if not class_aware or found.labels[i] == found.labels[j]
                    else 0.0
                    for j, b in enumerate(outlines)
                ]
                for i, a in enumerate(outlines)
            ]
        ).reshape(len(found), len(found))
        if (np.abs(overlaps - threshold) < 1e-6).any():
            continue  # rounding would decide
        kept = found.merge_overlaps(MergeRule(iou=threshold, class_aware=class_aware))
        assert kept.tolist() == greedy(overlaps, found.scores, threshold)


def test_close_points_become_the_surest_one_of_each_class() -> None:
    found = some_points([[10, 10], [11, 10], [30, 10], [10, 11]], scores=[0.3, 0.9, 0.5, 0.4], labels=[0, 0, 0, 1])
    assert found.deduplicated(MergeRule(radius=2)).scores.tolist() == pytest.approx([0.9, 0.5, 0.4])
    alone = found.deduplicated(MergeRule(radius=2, class_aware=False))
    assert alone.points.tolist() == [[11, 10], [30, 10]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"xy": [[1, 2, 3]]}, "shape"),
        ({"xy": [[1, np.nan]]}, "finite"),
        ({"xy": [[1, 2]], "scores": [0.5, 0.5]}, "scores of 1 Points"),
        ({"xy": [[1, 2]], "scores": [np.nan]}, "finite"),
        ({"xy": [[1, 2]], "labels": [2]}, "0 to 1 for 2 classes"),
        ({"xy": [[1, 2]], "labels": [-1]}, "found -1"),
    ],
)
def test_points_that_make_no_sense_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        some_points(**fields)


def test_boxes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(AnnotationError, match=r"x1 <= x2.*\[5.0, 0.0, 4.0, 1.0\]"):
        Boxes(size=FRAME, boxes=[[5, 0, 4, 1]], classes=("a",))
    with pytest.raises(AnnotationError, match="width and height of at least 0"):
        OrientedBoxes(size=FRAME, boxes=[[5, 0, -4, 1, 0]], classes=("a",))
    with pytest.raises(AnnotationError, match="single text 'tree'"):
        Points(size=FRAME, points=[], classes="tree")  # type: ignore[arg-type]
    with pytest.raises(AnnotationError, match="more than once"):
        Points(size=FRAME, points=[], classes=("a", "b", "a"))
    with pytest.raises(AnnotationError, match="at least one class"):
        Points(size=FRAME, points=[], classes=())
    with pytest.raises(AnnotationError, match="radius above 0"):
        MergeRule(radius=0)
