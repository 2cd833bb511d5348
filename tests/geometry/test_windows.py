"""Windows and window plans against brute-force painting and set arithmetic."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import GeometryError
from swath.geometry.windows import Size, Window, WindowPlan, plan_windows

offsets = st.integers(-12, 12)
lengths = st.integers(0, 10)
windows = st.builds(Window, offsets, offsets, lengths, lengths)


def pixels_of(window: Window) -> set[tuple[int, int]]:
    return {
        (row, column)
        for row in range(window.row, window.stop_row)
        for column in range(window.column, window.stop_column)
    }


@given(windows, windows)
def test_intersection_and_containment_agree_with_pixel_sets(one: Window, other: Window) -> None:
    shared = pixels_of(one) & pixels_of(other)
    found = one.intersection(other)
    assert (pixels_of(found) if found else set()) == shared
    assert one.contains(other) == (pixels_of(other) <= pixels_of(one))


@given(windows, st.builds(Size, lengths, lengths))
def test_clipping_keeps_the_pixels_inside_the_image(window: Window, size: Size) -> None:
    clipped = window.clipped(size)
    assert pixels_of(clipped) == pixels_of(window) & pixels_of(Window(0, 0, size.height, size.width))
    assert 0 <= clipped.row <= size.height and 0 <= clipped.column <= size.width


@given(windows, windows)
def test_relative_windows_shift_back(window: Window, origin: Window) -> None:
    assert window.relative_to(origin).shifted(origin.row, origin.column) == window


@given(st.builds(Window, st.integers(0, 9), st.integers(0, 9), lengths, lengths))
def test_slices_cut_out_the_pixels_of_the_window(window: Window) -> None:
    painted = np.zeros((20, 20), dtype=bool)
    painted[window.slices] = True
    assert {(int(row), int(column)) for row, column in np.argwhere(painted)} == pixels_of(window)


def test_slices_refuse_negative_starts() -> None:
    with pytest.raises(GeometryError, match="clip it"):
        _ = Window(-1, 0, 4, 4).slices


@given(windows, st.integers(1, 8), st.integers(1, 8))
def test_scaling_rounds_outward_to_the_smallest_cover(window: Window, up: int, down: int) -> None:
    scaled = window.scaled(up / down)
    # In exact arithmetic: floor(a * up / down) and ceil(b * up / down).
    assert scaled.row == window.row * up // down
    assert scaled.column == window.column * up // down
    assert scaled.stop_row == -(-window.stop_row * up // down)
    assert scaled.stop_column == -(-window.stop_column * up // down)


def test_negative_sizes_and_bad_factors_are_refused() -> None:
    for wrong in (
        lambda: Size(-1, 2),
        lambda: Window(0, 0, 2, -1),
        lambda: Window(0, 0, 2, 2).expanded(-2),
        lambda: Window(0, 0, 2, 2).scaled(0.0),
        lambda: Window(0, 0, 2, 2).scaled(float("nan")),
    ):
        with pytest.raises(GeometryError):
            wrong()


@st.composite
def plan_requests(draw: st.DrawFn) -> tuple[Size, Size, int, Size | None, int]:
    scene = Size(draw(st.integers(1, 90)), draw(st.integers(1, 90)))
    multiple_of = draw(st.sampled_from([1, 2, 3, 4, 7, 8]))
    window = Size(draw(st.integers(multiple_of, 40)), draw(st.integers(multiple_of, 40)))
    most = (min(window.height, window.width) - 1) // 2
    overlap = 2 * draw(st.integers(0, most // 2))
    block = draw(st.none() | st.builds(Size, st.integers(1, 16), st.integers(1, 16)))
    return scene, window, overlap, block, multiple_of


@settings(deadline=None)  # a plan may have thousands of windows
@given(plan_requests())
def test_plans_tile_the_scene_and_read_one_size(request_: tuple[Size, Size, int, Size | None, int]) -> None:
    scene, window, overlap, block, multiple_of = request_
    plan = plan_windows(scene, window=window, overlap=overlap, block=block, multiple_of=multiple_of)
    owners = np.zeros((scene.height, scene.width), dtype=int)
    for index, planned in enumerate(plan):
        owners[planned.core.slices] += 1
        assert planned.index == index == planned.grid_row * plan.columns + planned.grid_column
        assert not planned.core.is_empty
        assert planned.read.size == plan.read_size
        inner = Window(planned.core.row, planned.core.column, plan.step.height, plan.step.width)
        assert planned.read == inner.expanded(plan.halo)
        assert planned.read.contains(planned.core)
        assert planned == plan[index]
    assert (owners == 1).all()
    assert len(plan) == plan.rows * plan.columns
    assert plan.read_size.height % multiple_of == 0 and plan.read_size.width % multiple_of == 0


@settings(deadline=None)  # a plan may have thousands of windows
@given(plan_requests())
def test_plans_keep_the_halo_asked_for_and_stay_near_the_window(
    request_: tuple[Size, Size, int, Size | None, int],
) -> None:
    scene, window, overlap, block, multiple_of = request_
    plan = plan_windows(scene, window=window, overlap=overlap, block=block, multiple_of=multiple_of)
    if scene.height <= window.height and scene.width <= window.width:
        assert len(plan) == 1
        return
    assert overlap // 2 <= plan.halo < overlap // 2 + multiple_of
    for read, asked in (
        (plan.read_size.height, window.height),
        (plan.read_size.width, window.width),
    ):
        assert read < asked + 2 * multiple_of


@pytest.mark.parametrize(
    ("window", "overlap", "block", "multiple_of", "step", "halo"),
    [
        (1152, 128, 512, 1, 1024, 64),  # the window fits two blocks and its halo exactly
        (1200, 128, 512, 1, 1024, 64),  # rounded down to two blocks
        (512, 64, 512, 1, 448, 32),  # smaller than one block: left as it is
        (640, 64, 256, 32, 512, 32),  # 512 + 64 is a multiple of 32 already
        (640, 64, 256, 14, 512, 38),  # 512 + 2 * 38 = 588 = 42 * 14
        (513, 64, None, 32, 448, 32),  # 449 is odd, no halo helps: the step shrinks
    ],
)
def test_step_and_halo_follow_the_documented_rules(
    window: int, overlap: int, block: int | None, multiple_of: int, step: int, halo: int
) -> None:
    plan = plan_windows(
        Size(5000, 5000),
        window=Size(window, window),
        overlap=overlap,
        block=Size(block, block) if block else None,
        multiple_of=multiple_of,
    )
    assert (plan.step, plan.halo) == (Size(step, step), halo)


def test_a_scene_of_the_windows_size_is_read_as_it_is() -> None:
    plan = plan_windows(Size(512, 512), window=Size(512, 512), overlap=64, block=Size(256, 256))
    assert [planned.read for planned in plan] == [Window(0, 0, 512, 512)]


def test_a_plan_of_a_huge_scene_costs_no_list() -> None:
    started = time.perf_counter()
    plan = plan_windows(Size(1_000_000, 1_000_000), window=Size(256, 256), overlap=32)
    last = plan[-1]
    assert time.perf_counter() - started < 0.05
    assert len(plan) == 4465**2  # ceil(1e6 / 224)
    assert (last.core.stop_row, last.core.stop_column) == (1_000_000, 1_000_000)
    assert [planned.index for planned in plan.row(1)][:2] == [4465, 4466]


def test_positions_outside_a_plan_raise_index_errors() -> None:
    plan = WindowPlan(Size(8, 8), step=Size(4, 4), halo=0)
    for wrong in (lambda: plan[4], lambda: plan[-5], lambda: plan.row(2), lambda: plan.row(-1)):
        with pytest.raises(IndexError):
            wrong()


@pytest.mark.parametrize(
    ("scene", "window", "overlap", "block", "multiple_of"),
    [
        (Size(0, 9), Size(8, 8), 0, None, 1),
        (Size(9, 9), Size(8, 8), 3, None, 1),
        (Size(9, 9), Size(8, 8), -2, None, 1),
        (Size(9, 9), Size(8, 8), 4, None, 1),
        (Size(9, 9), Size(8, 8), 2, Size(0, 4), 1),
        (Size(9, 9), Size(8, 8), 2, None, 16),
        (Size(9, 9), Size(8, 8), 2, None, 0),
    ],
)
def test_impossible_plans_are_refused(
    scene: Size, window: Size, overlap: int, block: Size | None, multiple_of: int
) -> None:
    with pytest.raises(GeometryError):
        plan_windows(scene, window=window, overlap=overlap, block=block, multiple_of=multiple_of)
