"""Which band of a file is which."""

from __future__ import annotations

import pytest

from swath.errors import BandMismatch
from swath.imagery.bands import Band, Unit
from swath.imagery.naming import StoredBand, name_bands, offers_near_infrared
from swath.imagery.sensors import sentinel_2


def file(
    *names: str, dtype: str = "uint16", colours: tuple[str, ...] = (), count: int = 0, **fields: object
) -> list[StoredBand]:
    count = count or len(names) or len(colours)
    return [
        StoredBand(
            number=i + 1,
            dtype=dtype,
            description=names[i] if names else "",
            colour=colours[i] if colours else "undefined",
            **fields,  # type: ignore[arg-type]
        )
        for i in range(count)
    ]


def roles(stored: list[StoredBand], **options: object) -> list[tuple[int, str]]:
    named = name_bands(stored, where="x.tif", **options)  # type: ignore[arg-type]
    return [(item.number, item.band.role) for item in named]


def test_numbers_pick_and_order_the_bands() -> None:
    assert roles(file(count=4), bands="nir=4,red=1") == [(4, "nir"), (1, "red")]
    assert roles(file(count=4), bands={"vv": 2}) == [(2, "vv")]


def test_roles_in_file_order_and_band_objects() -> None:
    assert roles(file(count=2), bands="red,nir") == [(1, "red"), (2, "nir")]
    assert roles(file(count=1), bands="red") == [(1, "red")]
    own = Band(name="x", role="red", scale=3.0, physical_unit=Unit.REFLECTANCE)
    assert name_bands(file(count=1), where="x.tif", bands=[own])[0].band == own


def test_a_sensor_names_all_its_bands_or_those_listed() -> None:
    assert roles(file(count=13), bands="sentinel-2-l1c")[8] == (9, "nir_narrow")
    assert roles(file(count=4), bands="sentinel-2-l2a:B02,B03,B04,B8A") == [
        (1, "blue"),
        (2, "green"),
        (3, "red"),
        (4, "nir_narrow"),
    ]
    assert roles(file(count=13), bands="sentinel-2-l1c:red=4") == [(4, "red")]


def test_smaller_files_of_a_product_follow_its_layouts() -> None:
    assert roles(file(count=2), bands="sentinel-1") == [(1, "vv"), (2, "vh")]
    assert roles(file(count=1), bands="worldview-3") == [(1, "pan")]
    assert len(roles(file(count=8), bands="worldview-2")) == 8


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("sentinel-2-l2a", r"x.tif has 5 bands and sentinel-2-l2a has 12"),
        ("red,green", r"has 5 bands and 2 bands were named"),
        ("red=6", r"band 6 was named 'red', but x.tif has the bands 1 to 5"),
        ("sentinel-2-l2a:B99,B1,B2,B3,B4", r"has no band 'B99'"),
        ("red=zero", r"not of the form ROLE=NUMBER"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_what_was_found(bands: str, message: str) -> None:
    with pytest.raises(BandMismatch, match=message):
        name_bands(file(count=5), where="x.tif", bands=bands)


def test_colours_name_bands_and_alpha_is_left_out() -> None:
    stored = file(colours=("blue", "green", "red", "alpha"), dtype="uint8")
    assert roles(stored) == [(1, "blue"), (2, "green"), (3, "red")]
    assert roles(stored, bands="naip") == [(1, "red"), (2, "green"), (3, "blue"), (4, "nir")]
    assert roles(stored, bands="rgb") == [(1, "red"), (2, "green"), (3, "blue")]


def test_unnamed_bands_are_numbered() -> None:
    assert roles(file(count=3)) == [(1, "band1"), (2, "band2"), (3, "band3")]


def test_descriptions_that_are_roles_name_the_bands() -> None:
    assert roles(file("Red", "NIR", "cloud mask")) == [(1, "red"), (2, "nir"), (3, "cloud mask")]


def test_sentinel_2_descriptions_give_wavelengths_but_not_the_unknown_offset() -> None:
    band = name_bands(file("B04", "B8A"), where="x.tif")[1].band
    assert (band.role, band.wavelength, band.physical_unit) == ("nir_narrow", 864.7, None)
    known = name_bands(file("B04", "B8A"), where="x.tif", product=sentinel_2("L2A", "04.00"))[0].band
    assert (known.scale, known.offset) == (1e-4, -0.1)


def test_short_band_numbers_mean_nothing_without_a_product() -> None:
    # B4 is red on Landsat 8 and near infrared on Landsat 5.
    assert roles(file("B4", "B5")) == [(1, "B4"), (2, "B5")]


def unit_of(**fields: object) -> tuple[Unit, float, Unit | None, float | None]:
    options = {key: fields.pop(key) for key in ("bands", "unit") if key in fields}
    stored = StoredBand(number=1, unit=str(fields.pop("tag", "")), **fields)  # type: ignore[arg-type]
    band = name_bands([stored], where="x.tif", **options)[0].band  # type: ignore[arg-type]
    return band.unit, band.scale, band.physical_unit, band.nodata


def test_the_unit_follows_storage_sensor_and_tags() -> None:
    assert unit_of(dtype="uint8")[0] is Unit.EIGHT_BIT
    assert unit_of(dtype="uint16")[0] is Unit.DN
    assert unit_of(dtype="float32")[0] is Unit.DN
    assert unit_of(dtype="float32", tag="dB")[0] is Unit.DECIBEL
    assert unit_of(dtype="float32", tag="m", nodata=-9999.0) == (Unit.METRE, 1.0, Unit.METRE, -9999.0)
    assert unit_of(dtype="float32", bands="sentinel-1")[0] is Unit.LINEAR_POWER
    assert unit_of(dtype="float32", bands="sentinel-1", unit=Unit.DECIBEL)[0] is Unit.DECIBEL


def test_a_sensor_scales_whole_numbers_and_not_decimal_ones_of_unknown_meaning() -> None:
    bands = "sentinel-2-l2a:B04"
    assert unit_of(dtype="uint16", bands=bands) == (Unit.DN, 1e-4, Unit.REFLECTANCE, 0.0)
    assert unit_of(dtype="float32", bands=bands) == (Unit.DN, 1.0, None, None)
    assert unit_of(dtype="float32", bands=bands, unit=Unit.DN)[1:3] == (1e-4, Unit.REFLECTANCE)
    assert unit_of(dtype="float32", bands=bands, unit=Unit.REFLECTANCE)[:2] == (Unit.REFLECTANCE, 1.0)
    assert unit_of(dtype="uint8", bands=bands)[0] is Unit.EIGHT_BIT


def test_the_scale_of_the_file_counts_where_the_sensor_gives_none() -> None:
    assert unit_of(dtype="uint16", scale=0.5, tag="m") == (Unit.DN, 0.5, Unit.METRE, None)
    assert unit_of(dtype="int16", scale=0.5) == (Unit.DN, 0.5, Unit.UNITLESS, None)
    assert unit_of(dtype="uint16", scale=0.5, bands="sentinel-2-l2a:B04")[1] == 1e-4


def test_the_files_missing_value_wins_over_the_sensors() -> None:
    assert unit_of(dtype="uint16", nodata=65535.0, bands="landsat-8:B4")[3] == 65535.0


@pytest.mark.parametrize(
    ("colours", "dtype", "offered"),
    [
        (("red", "green", "blue", "alpha"), "uint8", True),
        (("red", "green", "blue", "undefined"), "uint8", True),
        (("red", "green", "blue", "alpha"), "uint16", False),
        (("gray", "undefined", "undefined", "undefined"), "uint8", False),
        (("red", "green", "blue"), "uint8", False),
    ],
)
def test_when_alpha_may_be_near_infrared(colours: tuple[str, ...], dtype: str, offered: bool) -> None:
    assert offers_near_infrared(file(colours=colours, dtype=dtype), ["NIR"]) is offered
    assert not offers_near_infrared(file(colours=colours, dtype=dtype), ["red"])
