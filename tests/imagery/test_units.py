"""Conversions of units against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigurationError, ShapeError, UnitMismatch
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.imagery.sensors import LANDSAT_8, SENTINEL_2_L2A, sentinel_2
from swath.imagery.units import Stretch, convert


def pixels(values: object, bands: tuple[Band, ...], unit: Unit, dtype: type = np.float32) -> Pixels:
    return Pixels.from_array(np.asarray(values, dtype).reshape(len(bands), 1, -1), bands, unit)


def test_dn_of_baseline_four_lose_a_thousand() -> None:
    red = (sentinel_2("L2A", baseline="04.00").band("red"),)
    found = convert(pixels([1000, 1452, 11000], red, Unit.DN, np.uint16), Unit.REFLECTANCE)
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values.ravel(), [0.0, 0.0452, 1.0], atol=1e-7)
    assert found.unit is Unit.REFLECTANCE
    assert (found.bands[0].scale, found.bands[0].offset) == (1.0, 0.0)


def test_bands_with_different_scales_are_each_scaled_by_their_own() -> None:
    one = Band(name="1", role="red", scale=0.5, offset=1.0, physical_unit=Unit.REFLECTANCE)
    two = Band(name="2", role="nir", scale=2.0, offset=0.0, physical_unit=Unit.REFLECTANCE)
    found = convert(pixels([[4, 6], [4, 6]], (one, two), Unit.DN, np.int16), Unit.REFLECTANCE)
    assert found.values.tolist() == [[[3.0, 4.0]], [[8.0, 12.0]]]


def test_the_same_unit_comes_back_untouched() -> None:
    stored = pixels([1, 2], (Band(name="1", role="red"),), Unit.DN, np.uint8)
    assert convert(stored, Unit.DN) is stored


def test_reflectance_becomes_dn_by_the_scale_of_a_named_product() -> None:
    band = (SENTINEL_2_L2A.band("red").in_unit(Unit.REFLECTANCE),)
    found = convert(pixels([0.0, 0.2], band, Unit.REFLECTANCE), Unit.DN, like=sentinel_2("L2A", "04.00").bands)
    assert found.values.ravel().tolist() == [1000.0, 3000.0]
    assert found.bands[0].offset == -0.1
    with pytest.raises(UnitMismatch, match="scale and offset"):
        convert(pixels([0.0], band, Unit.REFLECTANCE), Unit.DN)
    with pytest.raises(UnitMismatch, match="kelvin"):
        thermal = (LANDSAT_8.band("thermal_1"),)
        convert(pixels([0.0], (Band(name="B10", role="thermal_1"),), Unit.REFLECTANCE), Unit.DN, like=thermal)


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=20))
def test_dn_to_reflectance_and_back_is_the_identity(numbers: list[int]) -> None:
    bands = (LANDSAT_8.band("red"),)
    there = convert(pixels(numbers, bands, Unit.DN, np.uint16), Unit.REFLECTANCE)
    assert convert(there, Unit.DN, like=LANDSAT_8.bands).values.ravel().tolist() == numbers


def test_decibel_and_linear_power() -> None:
    vv = (Band(name="VV", role="vv", unit=Unit.LINEAR_POWER),)
    decibel = convert(pixels([1.0, 0.1, 100.0], vv, Unit.LINEAR_POWER), Unit.DECIBEL)
    np.testing.assert_allclose(decibel.values.ravel(), [0.0, -10.0, 20.0], atol=1e-5)
    assert decibel.valid is None
    back = convert(decibel, Unit.LINEAR_POWER)
    np.testing.assert_allclose(back.values.ravel(), [1.0, 0.1, 100.0], rtol=1e-6)


def test_power_of_zero_or_less_has_no_decibel_value_and_becomes_invalid() -> None:
    vv = (Band(name="VV", role="vv"), Band(name="VH", role="vh"))
    found = convert(pixels([[1.0, 0.0, 1.0], [1.0, 1.0, -3.0]], vv, Unit.LINEAR_POWER), Unit.DECIBEL)
    assert found.valid is not None
    assert found.valid.tolist() == [[True, False, False]]
    assert np.isfinite(found.values).all()


def test_dn_of_a_radar_product_reach_decibel_through_power() -> None:
    vv = (Band(name="VV", role="vv", scale=1e-4, physical_unit=Unit.LINEAR_POWER),)
    found = convert(pixels([1000], vv, Unit.DN, np.uint16), Unit.DECIBEL)
    np.testing.assert_allclose(found.values.ravel(), [-10.0], atol=1e-5)


def test_surface_temperature_in_kelvin() -> None:
    thermal = (LANDSAT_8.band("thermal_1"),)
    found = convert(pixels([44177], thermal, Unit.DN, np.uint16), Unit.KELVIN)
    assert float(found.values[0, 0, 0]) == pytest.approx(44177 * 0.00341802 + 149.0, abs=1e-3)


@pytest.mark.parametrize(
    ("unit", "wanted", "message"),
    [
        (Unit.DN, Unit.REFLECTANCE, r"is in dn without a known scale.*--unit reflectance"),
        (Unit.DN, Unit.EIGHT_BIT, r"stretch it"),
        (Unit.EIGHT_BIT, Unit.REFLECTANCE, r"is in 8-bit, and reflectance was asked for"),
        (Unit.KELVIN, Unit.DECIBEL, r"is in kelvin"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_remedy(unit: Unit, wanted: Unit, message: str) -> None:
    with pytest.raises(UnitMismatch, match=message):
        convert(pixels([1], (Band(name="1", role="red", unit=unit),), unit), wanted)


def test_bands_of_different_quantities_are_not_converted_together() -> None:
    both = (LANDSAT_8.band("red"), LANDSAT_8.band("thermal_1"))
    with pytest.raises(UnitMismatch, match="kelvin and reflectance"):
        convert(pixels([[1], [1]], both, Unit.DN), Unit.REFLECTANCE)


def test_a_stretch_rounds_and_clips_and_goes_back() -> None:
    red = (Band(name="red", role="red", unit=Unit.REFLECTANCE),)
    stretch = Stretch(unit=Unit.REFLECTANCE, low=0.1, high=0.6)
    found = stretch.apply(pixels([0.0, 0.1, 0.35, 0.6, 2.0], red, Unit.REFLECTANCE))
    # (0.35 - 0.1) / 0.5 * 255 = 127.5, which float32 carries as 127.5 or a hair beside it
    assert found.values.dtype == np.uint8
    assert found.values.ravel()[[0, 1, 3, 4]].tolist() == [0, 0, 255, 255]
    assert found.values.ravel()[2] in (127, 128)
    back = stretch.invert(found)
    np.testing.assert_allclose(back.values.ravel(), [0.1, 0.1, 0.35, 0.6, 0.6], atol=0.5 / 255)
    assert back.unit is Unit.REFLECTANCE


def test_a_stretch_with_limits_a_band() -> None:
    bands = tuple(Band(name=role, role=role) for role in ("red", "nir"))
    stretch = Stretch(unit=Unit.REFLECTANCE, low=(0.0, 0.5), high=(1.0, 1.0))
    found = stretch.apply(pixels([[0.5], [0.75]], bands, Unit.REFLECTANCE))
    assert found.values.ravel().tolist() == [128, 128]
    with pytest.raises(ShapeError, match="2 bands"):
        stretch.apply(pixels([0.5], bands[:1], Unit.REFLECTANCE))


def test_a_stretch_refuses_other_units_and_inverted_limits() -> None:
    red = (Band(name="red", role="red"),)
    with pytest.raises(UnitMismatch, match="reflectance"):
        Stretch(unit=Unit.REFLECTANCE, high=1.0).apply(pixels([1], red, Unit.DN))
    with pytest.raises(UnitMismatch, match="8-bit"):
        Stretch(unit=Unit.REFLECTANCE, high=1.0).invert(pixels([1], red, Unit.DN))
    with pytest.raises(ConfigurationError, match="above"):
        Stretch(unit=Unit.REFLECTANCE, low=1.0, high=1.0)
