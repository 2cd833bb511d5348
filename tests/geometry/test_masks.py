"""Run-length masks against decoded arrays and COCO's published encodings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from swath.errors import GeometryError
from swath.geometry.boxes import box_of_mask
from swath.geometry.masks import RunLengthMask
from swath.geometry.windows import Size, Window

# The first call compiles, which takes longer than the usual deadline.
unhurried = settings(deadline=None)

masks = arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8)))
short_runs = st.lists(st.integers(0, 3), min_size=1, max_size=12)
Mask = NDArray[np.bool_]


@unhurried
@given(masks)
def test_encoding_round_trips_and_alternates(mask: Mask) -> None:
    encoded = RunLengthMask.encode(mask)
    np.testing.assert_array_equal(encoded.decode(), mask)
    assert (encoded.counts[1:] > 0).all()
    assert encoded.area == mask.sum()
    np.testing.assert_array_equal(encoded.box, box_of_mask(mask))


def test_counts_run_down_the_columns() -> None:
    mask = np.array([[0, 1, 1], [0, 1, 0]], dtype=np.uint8)
    assert RunLengthMask.encode(mask).counts.tolist() == [2, 3, 1]
    assert RunLengthMask.encode(1 - mask).counts.tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        # Published examples of the format.
        ([6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"),
        ([245, 5, 35, 5, 35, 5, 35, 5, 35, 5, 1190], "e75S10000000ST1"),
        # Worked by hand: 5 bits a character, lowest first, 48 added, 32 more where another follows.
        ([0, 15], "0?"),
        ([0, 16], "0`0"),  # 16 has the sign bit of its piece set, so a zero piece must follow
        ([1023, 1], "oo01"),
        ([3, 5, 2, 1, 1], "352LO"),  # 1 - 5 = -4 and 1 - 2 = -1 as five-bit complements: 28 and 31
    ],
)
def test_compressed_counts_equal_hand_computed_strings(counts: list[int], text: str) -> None:
    mask = RunLengthMask(Size(1, sum(counts)), np.array(counts))
    assert mask.to_coco_string() == text
    assert RunLengthMask.from_coco_string(mask.size, text).counts.tolist() == counts


@unhurried
@given(st.lists(st.integers(0, 2**33), max_size=9))
def test_compressed_counts_round_trip(counts: list[int]) -> None:
    mask = RunLengthMask(Size(1, sum(counts)), np.array(counts, dtype=np.int64))
    assert RunLengthMask.from_coco_string(mask.size, mask.to_coco_string()).counts.tolist() == counts


@unhurried
@given(masks, st.data())
def test_overlaps_equal_those_of_decoded_masks(one: Mask, data: st.DataObject) -> None:
    other = data.draw(arrays(np.bool_, one.shape))
    a, b = RunLengthMask.encode(one), RunLengthMask.encode(other)
    assert a.intersection_area(b) == (one & other).sum()
    assert a.union_area(b) == (one | other).sum()
    union = (one | other).sum()
    assert a.iou(b) == pytest.approx((one & other).sum() / union if union else 0.0)


@unhurried
@given(short_runs, short_runs)
def test_runs_of_no_pixels_are_harmless(one: list[int], other: list[int]) -> None:
    total = max(sum(one), sum(other))
    size = Size(2, total)
    a, b = (RunLengthMask(size, np.array([*counts, 2 * total - sum(counts)])) for counts in (one, other))
    assert a.intersection_area(b) == (a.decode() & b.decode()).sum()
    np.testing.assert_array_equal(a.box, box_of_mask(a.decode()))


@unhurried
@given(masks, st.integers(-5, 9), st.integers(-5, 9), st.integers(0, 9), st.integers(0, 9))
def test_cropping_pads_with_background(mask: Mask, row: int, column: int, height: int, width: int) -> None:
    surrounded = np.zeros((30, 30), dtype=bool)
    surrounded[8 : 8 + mask.shape[0], 8 : 8 + mask.shape[1]] = mask
    cropped = RunLengthMask.encode(mask).cropped(Window(row, column, height, width))
    expected = surrounded[8 + row : 8 + row + height, 8 + column : 8 + column + width]
    np.testing.assert_array_equal(cropped.decode(), expected)


@unhurried
@given(masks)
def test_padding_and_flipping_equal_numpy(mask: Mask) -> None:
    encoded = RunLengthMask.encode(mask)
    padded = encoded.padded(top=1, bottom=2, left=3, right=4)
    np.testing.assert_array_equal(padded.decode(), np.pad(mask, ((1, 2), (3, 4))))
    np.testing.assert_array_equal(encoded.flipped(rows=True).decode(), np.flipud(mask))
    np.testing.assert_array_equal(encoded.flipped(columns=True).decode(), np.fliplr(mask))
    np.testing.assert_array_equal(encoded.flipped(rows=True, columns=True).decode(), mask[::-1, ::-1])


def test_wrong_input_is_refused() -> None:
    square = RunLengthMask(Size(2, 2), np.array([4]))
    for wrong in (
        lambda: RunLengthMask(Size(2, 2), np.array([3])),
        lambda: RunLengthMask(Size(2, 2), np.array([-1, 5])),
        lambda: RunLengthMask(Size(2, 2), np.array([4.0])),
        lambda: RunLengthMask.encode(np.zeros(4)),
        lambda: RunLengthMask.from_coco_string(Size(2, 2), "4 "),
        lambda: RunLengthMask.from_coco_string(Size(2, 2), "é"),
        lambda: RunLengthMask.from_coco_string(Size(2, 2), "0T"),
        lambda: square.iou(RunLengthMask(Size(1, 4), np.array([4]))),
    ):
        with pytest.raises(GeometryError):
            wrong()
