"""What a slot takes: bands by name, one unit, known statistics, the right pixel size."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from swath.errors import BandMismatch, ConfigurationError, ShapeError, SwathWarning, UnitMismatch
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.imagery.units import Stretch
from swath.models.inputs import InputSpec


def pixels_of(values: dict[str, object], unit: Unit, *, dtype: type = np.float32, **band: object) -> Pixels:
    """One row of pixels a band."""
    array = np.array(list(values.values()), dtype)[:, None, :]
    bands = [Band(name=f"own {role}", role=role, unit=unit, **band) for role in values]
    return Pixels.from_array(array, bands, unit)


RGB = InputSpec(
    bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0), gsd=0.5
)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bands_are_taken_by_role_in_the_models_order(dtype):
    pixels = pixels_of(
        {"blue": [34, 30], "nir": [99, 99], "red": [11, 10], "green": [24, 20]}, Unit.EIGHT_BIT, dtype=dtype
    )
    tensor = RGB.prepare(pixels)
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor, torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]], [[1.0, 0.0]]]), rtol=0, atol=1e-5)


def test_bands_may_be_named_by_the_files_own_names():
    spec = replace(RGB, bands=("own blue", "own red"), mean=(0.0,), std=(1.0,))
    tensor = spec.prepare(pixels_of({"red": [1], "blue": [2]}, Unit.EIGHT_BIT))
    assert tensor.flatten().tolist() == [2, 1]


def test_a_missing_band_is_named():
    with pytest.raises(BandMismatch, match="green"):
        RGB.prepare(pixels_of({"red": [1], "blue": [2]}, Unit.EIGHT_BIT))


def test_preparing_leaves_the_pixels_as_they_are():
    pixels = pixels_of({"red": [1, 2], "green": [3, 4], "blue": [5, 6]}, Unit.EIGHT_BIT)
    before = pixels.values.copy()
    first, second = RGB.prepare(pixels), RGB.prepare(pixels)
    assert np.array_equal(pixels.values, before)
    assert torch.equal(first, second)


@pytest.mark.parametrize("unit", [Unit.REFLECTANCE, Unit.DN])
def test_another_unit_is_refused_with_the_remedy(unit):
    with pytest.raises(UnitMismatch, match=f"imagery is in {unit.value}.* --unit 8-bit"):
        RGB.prepare(pixels_of({"red": [1], "green": [2], "blue": [3]}, unit))


def test_digital_numbers_become_reflectance_by_the_bands_scale():
    spec = InputSpec(bands=("red",), unit=Unit.REFLECTANCE)
    stored = pixels_of({"red": [3000]}, Unit.DN, scale=1e-4, offset=-0.1, physical_unit=Unit.REFLECTANCE)
    assert spec.prepare(stored).item() == pytest.approx(0.2, abs=1e-6)
    with pytest.raises(UnitMismatch, match="reflectance"):
        spec.prepare(pixels_of({"red": [3000]}, Unit.DN))


@pytest.mark.parametrize("unit", [Unit.REFLECTANCE, Unit.DN])
def test_a_stretch_makes_the_8_bit_values_that_the_model_knows(unit):
    """0.05 of 0 to 0.2 is a quarter of 255, rounded to 64; 0.9 is clipped to 255."""
    spec = replace(RGB, bands=("red",), mean=(4.0,), std=(10.0,), stretch=Stretch(unit=Unit.REFLECTANCE, high=0.2))
    values = [0.0, 0.05, 0.9] if unit == Unit.REFLECTANCE else [0, 500, 9000]
    pixels = pixels_of({"red": values}, unit, scale=1e-4, physical_unit=Unit.REFLECTANCE)
    assert spec.prepare(pixels).flatten().tolist() == pytest.approx([-0.4, 6.0, 25.1], abs=1e-5)
    already = pixels_of({"red": [0, 64, 255]}, Unit.EIGHT_BIT)
    assert spec.prepare(already).flatten().tolist() == pytest.approx([-0.4, 6.0, 25.1], abs=1e-5)


def test_invalid_pixels_become_zero_whatever_they_hold():
    pixels = pixels_of({"red": [11, np.nan, 12], "green": [24, 0, 22], "blue": [34, 0, 38]}, Unit.EIGHT_BIT)
    pixels = replace(pixels, valid=np.array([[True, False, True]]))
    assert RGB.prepare(pixels)[:, 0].tolist() == [[1, 0, 2], [2, 0, 1], [1, 0, 2]]


@pytest.mark.parametrize("gsd", [0.5, 0.8, 0.3125, None])
def test_a_fitting_pixel_size_passes_silently(gsd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RGB.check_gsd(gsd)
        replace(RGB, gsd=None).check_gsd(10.0)


@pytest.mark.parametrize("gsd", [0.81, 0.31, 10.0])
def test_much_finer_or_coarser_pixels_earn_a_warning(gsd):
    with pytest.warns(SwathWarning, match=rf"0\.5 m and these are {gsd:g} m; resample"):
        RGB.check_gsd(gsd)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"mean": (1.0, 2.0)}, "'mean'.*found 2"), ({"std": (1.0, 2.0)}, "'std'.*found 2"), ({"std": (0.0,)}, "positive")],
)
def test_statistics_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        replace(RGB, **fields)


@pytest.mark.parametrize(
    ("fields", "size", "message"),
    [
        ({"fixed_size": True, "window": 64}, (64, 32), "slot 'image' takes exactly 64 x 64 pixels; found 64 x 32"),
        ({"square": True}, (96, 64), "slot 'image' takes square images alone; found 96 x 64. Cut squares"),
        ({"minimum": 32}, (96, 31), "slot 'image' needs sides of at least 32 pixels; found 96 x 31. Pad"),
        ({"multiple_of": 32}, (96, 48), "slot 'image' needs sides that are multiples of 32; found 96 x 48"),
    ],
)
def test_sizes_that_a_network_cannot_take_are_one_sentence(fields, size, message):
    with pytest.raises(ShapeError, match=message):
        replace(RGB, **fields).check_size("image", *size)
    replace(RGB, **fields).check_size("image", 64, 64)


@pytest.mark.parametrize("minimum", [0, 513])
def test_a_shortest_side_lies_within_the_window(minimum):
    with pytest.raises(ConfigurationError, match=rf"'minimum' .* 1 to its 'window' of 512 pixels; found {minimum}"):
        replace(RGB, minimum=minimum)
