"""Sensor tables against the agencies' published numbers, and look-up by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from swath.errors import BandMismatch, ConfigurationError, ImageryNotFound
from swath.imagery.bands import Unit
from swath.imagery.sensors import landsat_level_1, sensor, sensor_from_toml, sensors, sentinel_2


def test_every_sensor_is_found_by_its_own_name_in_any_case() -> None:
    for known in sensors():
        assert sensor(known.name.upper().replace("-", "_")) is known


def test_band_names_and_roles_are_unique_within_a_sensor() -> None:
    for known in sensors():
        assert len({band.name for band in known.bands}) == len(known.bands)
        assert len({band.role for band in known.bands}) == len(known.bands)


def test_every_sensor_names_its_source_and_its_layouts_are_its_own_bands() -> None:
    for known in sensors():
        assert known.source
        assert all(known.band(name).name == name for layout in known.layouts for name in layout)


@pytest.mark.parametrize(
    ("role", "low", "high"),
    [
        ("coastal", 400, 460),
        ("blue", 430, 525),
        ("green", 510, 610),
        ("red", 600, 700),
        ("nir", 750, 900),
        ("swir_1", 1550, 1700),
        ("swir_2", 2050, 2350),
        ("cirrus", 1350, 1400),
        ("thermal_1", 10_000, 12_600),
    ],
)
def test_a_role_means_the_same_part_of_the_spectrum_on_every_sensor(role: str, low: float, high: float) -> None:
    found = [band for known in sensors() for band in known.bands if band.role == role and band.wavelength]
    assert found
    assert all(low < band.wavelength < high for band in found)


def test_sentinel_2_has_thirteen_bands_at_level_1c_and_no_cirrus_at_level_2a() -> None:
    assert [band.name for band in sensor("sentinel-2-l1c").bands].count("B10") == 1
    assert [band.name for band in sensor("sentinel-2-l2a").bands] == (
        ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
    )
    by_gsd = dict.fromkeys((10.0, 20.0, 60.0), 0)
    for band in sentinel_2("L1C").bands:
        by_gsd[band.gsd] += 1
    assert by_gsd == {10.0: 4, 20.0: 6, 60.0: 3}


@pytest.mark.parametrize(
    ("baseline", "offset"), [("02.14", 0.0), ("0301", 0.0), ("04.00", -0.1), ("N0400", -0.1), ("05.10", -0.1)]
)
def test_sentinel_2_offset_begins_with_baseline_four(baseline: str, offset: float) -> None:
    assert {band.offset for band in sentinel_2("L2A", baseline=baseline).bands} == {offset}


def test_an_unknown_sentinel_2_level_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="L1B"):
        sentinel_2("L1B")


@pytest.mark.parametrize(
    ("name", "dn", "role", "physical"),
    [
        # USGS: valid range 7273 to 43636 is reflectance 0.0 to 1.0; 293 K is about 42129.
        ("landsat-8", 7273, "red", 0.0000075),
        ("landsat-9", 43636, "nir", 0.99999),
        ("landsat-5", 42129, "thermal_1", 292.9978),
    ],
)
def test_landsat_collection_2_scales(name: str, dn: int, role: str, physical: float) -> None:
    band = sensor(name).band(role)
    assert dn * band.scale + band.offset == pytest.approx(physical, abs=1e-4)


def test_landsat_level_1_is_scaled_by_its_metadata_and_the_sun() -> None:
    metadata = {
        "SUN_ELEVATION": "30.0",
        "REFLECTANCE_MULT_BAND_4": "2.0000E-05",
        "REFLECTANCE_ADD_BAND_4": "-0.100000",
        "RADIANCE_MULT_BAND_10": "3.3420E-04",
        "RADIANCE_ADD_BAND_10": "0.10000",
    }
    known = landsat_level_1(8, metadata)
    red, thermal = known.band("red"), known.band("thermal_1")
    # (2e-5 * 10000 - 0.1) / sin 30 degrees
    assert 10_000 * red.scale + red.offset == pytest.approx(0.2)
    assert (thermal.physical_unit, thermal.scale) == (Unit.RADIANCE, pytest.approx(3.342e-4))
    assert known.band("green").physical_unit is None


def test_landsat_at_night_has_no_reflectance() -> None:
    with pytest.raises(ConfigurationError, match="night"):
        landsat_level_1(8, {"SUN_ELEVATION": "-12.5"})


def test_an_unknown_sensor_names_the_nearest() -> None:
    with pytest.raises(BandMismatch, match="did you mean sentinel-2"):
        sensor("sentinel2-l2a")
    with pytest.raises(BandMismatch, match="there are: sentinel-1"):
        sensor("xyzzy")


def test_a_sensor_of_ones_own_comes_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "camera.toml"
    file.write_text(
        'name = "camera"\nnodata = 7\n'
        '[[bands]]\nname = "1"\nrole = "red"\nwavelength = 668\nscale = 0.5\nphysical_unit = "reflectance"\n'
        '[[bands]]\nname = "extra"\nunit = "kelvin"\n'
    )
    camera = sensor(str(file))
    assert [(band.name, band.role, band.nodata) for band in camera.bands] == [("1", "red", 7), ("extra", "extra", 7)]
    assert camera.bands[0].physical_unit is Unit.REFLECTANCE
    assert camera.bands[1].unit is Unit.KELVIN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        ('title = "no name"', "needs a 'name'"),
        ('name = "a"\n[[bands]]\nname = "1"\ncolor = "red"', "unknown key color"),
        ('name = "a"\n[[bands]]\nrole = "red"', "lacks its 'name'"),
        ('name = "a"\n[[bands]]\nname = "1"\nunit = "furlong"', "bad value"),
    ],
)
def test_a_wrong_sensor_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        sensor_from_toml(file)


def test_a_missing_sensor_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageryNotFound, match=r"nothing\.toml"):
        sensor_from_toml(tmp_path / "nothing.toml")
