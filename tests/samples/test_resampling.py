"""Resampling against torch and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from swath.errors import AnnotationError
from swath.geometry.windows import Size
from swath.samples.moves import Rotate
from swath.samples.resampling import resize_bilinear, resize_nearest, sample_affine

SIZES = [Size(7, 5), Size(16, 24), Size(33, 50), Size(5, 64), Size(1, 1), Size(12, 20)]


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 12, 20)).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_bilinear_equals_antialiased_torch(values: np.ndarray, size: Size) -> None:
    expected = functional.interpolate(
        torch.from_numpy(values)[None], size=(size.height, size.width), mode="bilinear", antialias=True
    )[0]
    np.testing.assert_allclose(resize_bilinear(values, size), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_nearest_equals_exact_torch(values: np.ndarray, size: Size) -> None:
    expected = functional.interpolate(
        torch.from_numpy(values)[None], size=(size.height, size.width), mode="nearest-exact"
    )[0]
    np.testing.assert_array_equal(resize_nearest(values, size), expected.numpy())


@pytest.mark.parametrize("degrees", [-170.0, -35.0, 10.0, 45.0, 123.0])
def test_rotation_equals_scipy_inside_the_frame(values: np.ndarray, degrees: float) -> None:
    back = Rotate(degrees).affine(Size(12, 20)).inverse()
    matrix = np.array([[back.e, back.d], [back.b, back.a]])  # rows and columns, centres at whole numbers
    offset = np.array([back.f, back.c]) + matrix @ [0.5, 0.5] - 0.5
    for plane, turned in zip(values, sample_affine(values, back, smooth=True, fill=-99), strict=True):
        expected = ndimage.affine_transform(plane, matrix, offset, order=1, mode="nearest")
        inside = turned != -99
        assert inside.any()
        np.testing.assert_allclose(turned[inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize("degrees", [20.0, 90.0, -75.0])
def test_nearest_rotation_takes_the_pixel_that_the_centre_falls_in(degrees: float) -> None:
    values = np.arange(1, 55).reshape(6, 9)
    move = Rotate(degrees)
    turned = move.array(values)
    back = move.affine(Size(6, 9)).inverse()
    for row in range(6):
        for column in range(9):
            x, y = back.apply(np.array([column + 0.5, row + 0.5]))
            inside = 0 <= x < 9 and 0 <= y < 6
            assert turned[row, column] == (values[int(y), int(x)] if inside else 0)


def test_integer_types_and_masks_are_averaged_as_numbers() -> None:
    mask = np.array([[True, True, False, False]])
    np.testing.assert_array_equal(resize_bilinear(mask, Size(1, 2)) > 0.5, [[True, False]])
    np.testing.assert_allclose(resize_bilinear(np.array([[10, 20]], np.uint8), Size(1, 1)), [[15]])


def test_an_empty_array_cannot_be_resized() -> None:
    with pytest.raises(AnnotationError, match="0 x 4"):
        resize_nearest(np.zeros((0, 4)), Size(2, 2))
    with pytest.raises(AnnotationError, match="0 x 4"):
        resize_bilinear(np.zeros((0, 4)), Size(2, 2))
