"""Instances and mask patches against unpacked masks, and the joining of what a seam has cut."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from annotation_strategies import exact_moves, few, instances, sizes, windows
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swath.errors import AnnotationError
from swath.geometry.masks import RunLengthMask
from swath.geometry.windows import Size, Window, plan_windows
from swath.samples import Instances, MergeRule
from swath.samples.mask_patches import MaskPatch, move_mask, union_of
from swath.samples.moves import Crop, Move, Resize, Rotate

masks = sizes.flatmap(lambda size: arrays(np.bool_, (size.height, size.width)))


@few
@given(masks)
def test_a_patch_holds_the_bounding_box_and_packs_back_the_same(mask: np.ndarray) -> None:
    packed = RunLengthMask.encode(mask)
    patch = MaskPatch.of(packed)
    assert patch.bits.sum() == mask.sum()
    unpacked = np.zeros_like(mask)
    unpacked[patch.window.slices] = patch.bits
    np.testing.assert_array_equal(unpacked, mask)
    again = patch.encoded(packed.size)
    np.testing.assert_array_equal(again.counts, packed.counts)


@few
@given(masks, exact_moves | st.builds(Rotate, st.floats(-180, 180)) | st.builds(Resize, sizes))
def test_moving_a_mask_equals_moving_its_pixels(mask: np.ndarray, move: Move) -> None:
    moved = move_mask(RunLengthMask.encode(mask), move)
    expected = RunLengthMask.encode(move.array(mask))
    assert moved.size == expected.size
    np.testing.assert_array_equal(moved.counts, expected.counts)


@few
@given(st.lists(arrays(np.bool_, (6, 7)), min_size=1, max_size=4), windows)
def test_areas_and_unions_of_patches(parts: list[np.ndarray], window: Window) -> None:
    patches = [MaskPatch.of(RunLengthMask.encode(part)) for part in parts]
    np.testing.assert_array_equal(union_of(patches).encoded(Size(6, 7)).decode(), np.any(parts, axis=0))
    assert patches[0].shared_area(patches[-1]) == (parts[0] & parts[-1]).sum()
    assert patches[0].area_in(window) == Crop(window).array(parts[0]).sum()


def test_a_mask_of_a_huge_frame_moves_without_unpacking_it() -> None:
    size = Size(1_000_000, 1_000_000)
    patch = MaskPatch(window=Window(999_990, 500_000, 3, 4), bits=np.ones((3, 4), dtype=bool))
    found = Instances(size=size, masks=(patch.encoded(size),), classes=("roof",))
    assert found.boxes.tolist() == [[500_000, 999_990, 500_004, 999_993]]
    assert found.flip_vertical().boxes.tolist() == [[500_000, 7, 500_004, 10]]
    cut = found.crop(Window(999_991, 499_999, 8, 8))
    assert cut.masks[0].box.tolist() == [1, 0, 5, 2]
    assert cut.shifted(999_991, 499_999, size).masks[0].area == 8


def test_instances_left_by_a_crop_keep_boxes_labels_and_scores() -> None:
    full = np.zeros((8, 8), dtype=bool)
    one, two = full.copy(), full.copy()
    one[:2, :2], two[4:7, 3:8] = True, True
    found = Instances(
        size=Size(8, 8),
        masks=[one, two],
        classes=("a", "b"),
        labels=[1, 0],
        scores=[0.5, 0.25],
        boxes=[[0, 0, 3, 3], [2, 4, 8, 8]],
    )
    cut = found.crop(Window(4, 4, 4, 4))
    assert cut.boxes.tolist() == [[0, 0, 4, 4]] and cut.scores.tolist() == [0.25] and cut.labels.tolist() == [0]
    np.testing.assert_array_equal(cut.masks[0].decode(), two[4:, 4:])


def test_boxes_after_a_free_rotation_are_those_of_the_masks() -> None:
    disc = np.hypot(*(np.mgrid[:41, :41] - 20)) < 10
    found = Instances(size=Size(41, 41), masks=[disc], classes=("pond",)).rotate(45.0)
    np.testing.assert_allclose(found.boxes[0], [11, 11, 30, 30], atol=1)


@few
@given(instances(Size(3, 3)), st.floats(0.1, 0.9))
def test_merging_equals_the_textbook_loop_over_unpacked_masks(found: Instances, threshold: float) -> None:
    arrays_ = [mask.decode() for mask in found.masks]
    kept: list[int] = []
    for candidate in np.argsort(-found.scores, kind="stable").tolist():
        overlaps = [
            (arrays_[candidate] & arrays_[k]).sum() / max((arrays_[candidate] | arrays_[k]).sum(), 1)
            for k in kept
            if found.labels[k] == found.labels[candidate]
        ]
        if all(overlap <= threshold for overlap in overlaps):
            kept.append(candidate)
    assert found.merge_overlaps(MergeRule(iou=threshold)).tolist() == kept


def test_outlines_of_rings_and_of_parts() -> None:
    ring = np.ones((5, 5), dtype=bool)
    ring[2, 2] = False
    apart = np.zeros((5, 5), dtype=bool)
    apart[0, 0] = apart[3:, 3:] = True
    found = Instances(size=Size(5, 5), masks=[ring, apart, np.zeros((5, 5))], classes=("a",))
    hollow, pieces, nothing = found.outlines()
    assert hollow.equals(shapely.difference(shapely.box(0, 0, 5, 5), shapely.box(2, 2, 3, 3)))
    assert pieces.equals(shapely.union_all([shapely.box(0, 0, 1, 1), shapely.box(3, 3, 5, 5)]))
    assert nothing.is_empty


def seen_through_windows(truth: np.ndarray, size: Size) -> tuple[list[Instances], list[Window]]:
    """Give each window of a plan the objects of a numbered map that show in it, as a model would find them."""
    plan = plan_windows(size, window=Size(40, 40), overlap=16)
    parts, reads = [], []
    for planned in plan:
        shown = Crop(planned.read).array(truth)
        found = [shown == number for number in np.unique(shown) if number]
        part = Instances(size=planned.read.size, masks=found, classes=("roof",), scores=[0.5] * len(found))
        parts.append(part.shifted(planned.read.row, planned.read.column, size))
        reads.append(planned.read)
    return parts, reads


def test_objects_cut_by_seams_come_back_whole() -> None:
    size = Size(100, 130)
    truth = np.zeros((100, 130), dtype=int)
    truth[5:90, 10:20], truth[40:60, 30:125], truth[2:12, 50:60], truth[70:72, 70:72] = 1, 2, 3, 4
    parts, reads = seen_through_windows(truth, size)
    assert sum(len(part) for part in parts) > 8
    joined = Instances.join_touching(parts, reads)
    found = sorted((mask.decode() for mask in joined.masks), key=lambda mask: mask.argmax())
    expected = sorted((truth == number for number in (1, 2, 3, 4)), key=lambda mask: mask.argmax())
    assert len(found) == 4
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(joined.boxes, [mask.box for mask in joined.masks])


def test_neighbours_that_disagree_in_the_strip_stay_apart() -> None:
    size = Size(4, 12)
    left, right = Window(0, 0, 4, 8), Window(0, 4, 4, 8)
    one, other, short = (np.zeros((4, 12), dtype=bool) for _ in range(3))
    one[0:2, 2:8], other[1:4, 4:10], short[0:2, 4:10] = True, True, True

    def part(mask: np.ndarray, label: int = 0) -> Instances:
        return Instances(size=size, masks=[mask], classes=("a", "b"), labels=[label])

    # In the strip, columns 4 to 7: one fills rows 0-1, other rows 1-3; 4 of 16 pixels are shared.
    assert len(Instances.join_touching([part(one), part(other)], [left, right], iou=0.5)) == 2
    assert len(Instances.join_touching([part(one), part(other)], [left, right], iou=0.25)) == 1
    assert len(Instances.join_touching([part(one), part(short)], [left, right])) == 1
    assert len(Instances.join_touching([part(one), part(short, label=1)], [left, right])) == 2
    both = Instances.concatenate([part(one), part(short)])
    assert len(Instances.join_touching([both], [left])) == 2  # one window: never joined


def test_what_is_joined_is_ignored_when_a_part_of_it_is() -> None:
    mask = np.zeros((4, 12), dtype=bool)
    mask[0:2, 2:10] = True
    part = Instances(size=Size(4, 12), masks=[mask], classes=("a",))
    crowd = Instances(size=Size(4, 12), masks=[mask], classes=("a",), ignored=[True])
    windows = [Window(0, 0, 4, 8), Window(0, 4, 4, 8)]
    assert Instances.join_touching([part, crowd], windows).ignored.tolist() == [True]
    assert Instances.join_touching([part, part], windows).ignored.tolist() == [False]
    assert crowd.flip_vertical().ignored.tolist() == [True]


def test_joining_nothing_gives_nothing() -> None:
    empty = Instances(size=Size(4, 4), masks=[], classes=("a",))
    assert len(Instances.join_touching([empty, empty], [Window(0, 0, 4, 4)] * 2)) == 0
    assert len(empty.deduplicated(MergeRule())) == 0 and len(empty.rotate90().crop(Window(0, 0, 2, 2))) == 0
    with pytest.raises(AnnotationError, match="2 parts and 1 windows"):
        Instances.join_touching([empty, empty], [Window(0, 0, 4, 4)])


def test_masks_of_another_frame_are_refused() -> None:
    with pytest.raises(AnnotationError, match="Every mask needs the frame"):
        Instances(size=Size(4, 4), masks=[np.zeros((4, 5))], classes=("a",))
