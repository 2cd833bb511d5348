"""Moves: what they do to coordinates, arrays and grids must be one and the same thing."""

from __future__ import annotations

import numpy as np
import pytest
from annotation_strategies import exact_moves, few, sizes, windows
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import AnnotationError
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Band, Unit
from swath.imagery.grid import Affine, Grid
from swath.imagery.pixels import Pixels
from swath.samples.moves import Crop, Flip, Move, QuarterTurns, Resize, Rotate
from swath.samples.pixel_ops import jitter_pixels, move_grid, move_pixels

RED = Band(name="red", role="red")
UTM = Affine(10.0, 0.5, 500_000.0, -0.25, -10.0, 4_000_000.0)


def numbered(size: Size, dtype: type = np.int32) -> np.ndarray:
    """Give every pixel its own number from 1, so that 0 is outside."""
    return np.arange(1, size.area + 1, dtype=dtype).reshape(size.height, size.width)


def centres(size: Size) -> np.ndarray:
    rows, columns = np.mgrid[: size.height, : size.width]
    return np.stack([columns + 0.5, rows + 0.5], axis=-1).astype(np.float64)


@few
@given(sizes, exact_moves)
def test_a_pixel_goes_where_its_centre_goes(size: Size, move: Move) -> None:
    before, after = numbered(size), move.array(numbered(size))
    new_size = move.size_after(size)
    assert after.shape == (new_size.height, new_size.width)
    places = np.floor(move.affine(size).apply(centres(size))).astype(int)
    expected = np.zeros_like(after)
    for value, (x, y) in zip(before.ravel(), places.reshape(-1, 2), strict=True):
        if 0 <= x < new_size.width and 0 <= y < new_size.height:
            expected[y, x] = value
    np.testing.assert_array_equal(after, expected)


@few
@given(sizes, st.integers(-5, 5))
def test_quarter_turns_are_those_of_numpy(size: Size, count: int) -> None:
    values = numbered(size)
    np.testing.assert_array_equal(QuarterTurns(count).array(values), np.rot90(values, count))


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
@pytest.mark.parametrize("smooth", [False, True])
def test_rotation_by_right_angles_equals_quarter_turns(quarter: int, smooth: bool) -> None:
    values = numbered(Size(7, 7), np.float32)
    turned = Rotate(90.0 * quarter).array(values, smooth=smooth)
    np.testing.assert_allclose(turned, np.rot90(values, quarter), atol=1e-4)


def test_rotation_is_counter_clockwise_as_seen() -> None:
    values = np.zeros((101, 101))
    values[50, 90] = 1  # right of the centre
    row, column = np.argwhere(Rotate(30.0).array(values))[0]
    assert row < 50 and column > 50
    np.testing.assert_allclose([row, column], [50 - 40 * 0.5, 50 + 40 * np.sqrt(3) / 2], atol=0.8)


@few
@given(sizes, exact_moves, st.booleans())
def test_every_pixel_keeps_its_place_on_the_map(size: Size, move: Move, masked: bool) -> None:
    grid = Grid(crs="EPSG:32633", transform=UTM, size=size)
    valid = numbered(size) % 3 > 0 if masked else None
    pixels = Pixels(values=numbered(size)[None], bands=(RED,), unit=Unit.DN, valid=valid, grid=grid)
    moved = move_pixels(pixels, move)
    places = dict(zip(numbered(size).ravel(), grid.to_map(centres(size)).reshape(-1, 2), strict=True))
    assert moved.grid.size == moved.size and moved.grid.crs == grid.crs
    for value, place in zip(moved.values.ravel(), moved.grid.to_map(centres(moved.size)).reshape(-1, 2), strict=True):
        if value:
            np.testing.assert_allclose(place, places[value], atol=1e-6)
    if moved.valid is None:
        assert not masked and (moved.values > 0).all()
    else:
        expected = (moved.values[0] % 3 > 0) if masked else moved.values[0] > 0
        np.testing.assert_array_equal(moved.valid, expected & (moved.values[0] > 0))


@few
@given(sizes, sizes)
def test_resizing_keeps_the_bounds_on_the_map(size: Size, new: Size) -> None:
    grid = Grid(crs=None, transform=UTM, size=size)
    np.testing.assert_allclose(move_grid(grid, Resize(new)).corners(), grid.corners(), atol=1e-6)
    assert move_grid(grid, Resize(new)).size == new


@few
@given(sizes, windows)
def test_grid_of_a_crop_is_the_grid_of_the_window(size: Size, window: Window) -> None:
    grid = Grid(crs="EPSG:32633", transform=UTM, size=size)
    moved, expected = move_grid(grid, Crop(window)), grid.window(window)
    assert moved.size == expected.size
    np.testing.assert_allclose(moved.corners(), expected.corners(), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_interpolation_ignores_invalid_pixels_and_keeps_the_type(dtype: type) -> None:
    values = np.full((1, 8, 8), 100, dtype=dtype)
    values[0, :, 4:] = 3
    valid = np.ones((8, 8), dtype=bool)
    valid[:, 4:] = False
    grid = Grid(crs=None, transform=UTM, size=Size(8, 8))
    pixels = Pixels(values=values, bands=(RED,), unit=Unit.DN, valid=valid, grid=grid)
    half = move_pixels(pixels, Resize(Size(4, 4)))
    assert half.values.dtype == dtype
    np.testing.assert_array_equal(half.valid, [[True, True, False, False]] * 4)
    np.testing.assert_array_equal(half.values[0, :, :2], 100)


def test_not_a_number_in_an_invalid_pixel_does_not_spread() -> None:
    values = np.ones((1, 4, 4), dtype=np.float32)
    values[0, 0, 0] = np.nan
    pixels = Pixels(
        values=values,
        bands=(RED,),
        unit=Unit.REFLECTANCE,
        valid=np.isfinite(values[0]),
        grid=Grid(crs=None, transform=UTM, size=Size(4, 4)),
    )
    for move in (Resize(Size(3, 3)), Rotate(20.0)):
        moved = move_pixels(pixels, move)
        assert np.isfinite(moved.values).all()
        np.testing.assert_allclose(moved.values[0][moved.valid], 1, atol=1e-6)


def test_moved_values_are_contiguous_so_that_torch_takes_them() -> None:
    values = np.zeros((3, 4, 6), dtype=np.uint8)
    for move in (Crop(Window(1, 1, 2, 3)), Flip(horizontal=True), Flip(horizontal=False), QuarterTurns(1)):
        moved = move.array(values)
        assert moved.flags.c_contiguous and moved.dtype == np.uint8


def test_a_crop_of_a_finer_slot_covers_the_same_ground() -> None:
    assert Crop(Window(1, 2, 3, 4)).for_frame(Size(8, 8), Size(16, 16)) == Crop(Window(2, 4, 6, 8))
    assert Crop(Window(-2, 2, 4, 4)).for_frame(Size(8, 8), Size(4, 4)) == Crop(Window(-1, 1, 2, 2))
    with pytest.raises(AnnotationError, match="whole pixels"):
        Crop(Window(1, 2, 3, 4)).for_frame(Size(8, 8), Size(4, 4))
    assert Resize(Size(4, 4)).for_frame(Size(8, 8), Size(16, 32)) == Resize(Size(8, 16))


def test_resizing_to_nothing_is_refused() -> None:
    with pytest.raises(AnnotationError, match="0 x 4"):
        Resize(Size(0, 4))


def test_jitter_scales_values_about_the_mean_of_each_band() -> None:
    values = np.array([[[0.1, 0.3]], [[0.2, 0.6]]], dtype=np.float32)
    pixels = Pixels.from_array(values, [RED, Band(name="nir", role="nir")], Unit.REFLECTANCE)
    changed = jitter_pixels(pixels, brightness=1.5, contrast=0.5)
    # mean 0.2: 0.15 and 0.25; mean 0.4: 0.3 and 0.5; then times 1.5
    np.testing.assert_allclose(changed.values, [[[0.225, 0.375]], [[0.45, 0.75]]], rtol=1e-6)
    assert changed.values.dtype == np.float32


def test_jitter_of_eight_bits_equals_the_arithmetic_rounded_and_cut() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 256, (2, 9, 9), dtype=np.uint8)
    valid = generator.random((9, 9)) > 0.3
    pixels = Pixels(
        values=values,
        bands=(RED, RED),
        unit=Unit.EIGHT_BIT,
        valid=valid,
        grid=Grid(crs=None, transform=UTM, size=Size(9, 9)),
    )
    changed = jitter_pixels(pixels, brightness=1.4, contrast=0.8).values
    means = np.array([band[valid].mean() for band in values])[:, None, None]
    expected = np.clip(np.round(1.4 * (means + 0.8 * (values - means))), 0, 255)
    assert changed.dtype == np.uint8
    assert np.abs(changed - expected).max() <= 1  # a half may round either way
    assert (changed == expected).mean() > 0.98


@pytest.mark.parametrize("unit", [Unit.DECIBEL, Unit.KELVIN, Unit.METRE, Unit.UNITLESS])
def test_jitter_leaves_units_without_brightness_alone(unit: Unit) -> None:
    pixels = Pixels.from_array(np.full((1, 2, 2), -12.5, dtype=np.float32), [RED], unit)
    assert jitter_pixels(pixels, brightness=2.0, contrast=0.5) is pixels
