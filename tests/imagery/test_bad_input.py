"""Input that is missing, broken or empty: the exact class, and a sentence that names it and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from swath.errors import BandMismatch, GeometryError, GridMismatch, ImageryNotFound, ImageryUnreadable
from swath.geometry.windows import Window
from swath.imagery.bands import Unit
from swath.imagery.scene import open_scene
from swath.imagery.sources import open_source

Write = Callable[..., str]
NOISE = np.random.default_rng(0).integers(1, 255, (3, 300, 300), np.uint8)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageryNotFound, match=r"nothing\.tif' is not there; check the path"):
        open_source(tmp_path / "nothing.tif")


def test_a_text_file_called_tif(tmp_path: Path) -> None:
    path = tmp_path / "text.tif"
    path.write_text("hello")
    with pytest.raises(ImageryUnreadable, match=r"text\.tif' \(5 bytes\) is not an image.*give a GeoTIFF"):
        open_source(path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.tif"
    path.touch()
    with pytest.raises(ImageryUnreadable, match=r"0 bytes"):
        open_source(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize(
    "options",
    [
        {"driver": "GTiff"},
        {"driver": "GTiff", "tiled": True, "compress": "deflate"},
        {"driver": "GTiff", "tiled": True, "compress": "jpeg", "photometric": "ycbcr"},
        {"driver": "COG"},
        {"driver": "PNG"},
        {"driver": "JPEG"},
        {"driver": "JP2OpenJPEG"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_is_cut_short_is_never_read_as_zeros(
    write_raster: Write, share: float, options: dict[str, object]
) -> None:
    path = Path(write_raster("cut.tif", NOISE, **options))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageryUnreadable, match=r"cut\.tif.*cut short"):
        open_source(path).read(Window(0, 0, 300, 300), [0, 1, 2])


def test_a_hole_met_in_a_scene_names_the_window(write_raster: Write) -> None:
    path = Path(write_raster("cut.tif", NOISE, tiled=True, blockxsize=64, blockysize=64))
    path.write_bytes(path.read_bytes()[:-70_000])
    scene = open_scene(path)
    assert scene.read(Window(0, 0, 32, 32)).valid is None
    with pytest.raises(ImageryUnreadable, match=r"32 x 32 pixels at row 260, column 260"):
        scene.read(Window(260, 260, 32, 32))


def test_a_folder_that_is_no_product(tmp_path: Path) -> None:
    with pytest.raises(ImageryUnreadable, match="holds no band files with Sentinel-2 names"):
        open_source(tmp_path)


def test_an_array_without_pixels() -> None:
    with pytest.raises(ImageryUnreadable, match=r"\(3, 0, 20\), so not a single pixel"):
        open_source(np.zeros((3, 0, 20), np.uint8))


def test_an_array_of_text() -> None:
    with pytest.raises(ImageryUnreadable, match="give whole or decimal numbers"):
        open_source(np.array([["a", "b"]]))


@pytest.mark.parametrize("where", [5, [np.zeros((1, 2, 2))], object()])
def test_things_that_are_no_imagery(where: object) -> None:
    with pytest.raises(ImageryUnreadable, match="is no imagery; give a file name"):
        open_source(where)  # type: ignore[arg-type]


def test_no_image_at_all() -> None:
    with pytest.raises(ImageryNotFound, match="at least one image"):
        open_scene()
    with pytest.raises(ImageryNotFound, match="at least one file"):
        open_scene([])


def test_bands_that_are_missing_are_all_named_with_what_is_there(data: Path) -> None:
    scene = open_scene(data / "geotiff_io" / "cogeo.tif")
    with pytest.raises(
        BandMismatch, match=r"cogeo\.tif' lacks the bands nir, swir_1: its 3 bands are red, green, blue"
    ):
        scene.read(Window(0, 0, 4, 4), bands=["red", "nir", "swir_1"])


def test_thirteen_unnamed_bands_are_not_guessed(data: Path) -> None:
    path = next((data / "s2_time_series").glob("*.tif"))
    with pytest.raises(BandMismatch, match=r"lacks the band red: its 13 bands are band1, band2.*--bands red=1"):
        open_scene(path).read(Window(0, 0, 4, 4), bands=["red"])
    named = open_scene(path, bands="sentinel-2-l1c")
    assert named.read(Window(0, 0, 4, 4), bands=["red"], unit=Unit.REFLECTANCE).values.max() < 1.5


def test_too_few_bands_for_the_sensor(data: Path) -> None:
    with pytest.raises(BandMismatch, match=r"has 3 bands and sentinel-2-l2a has 12"):
        open_scene(data / "geotiff_io" / "cogeo.tif", bands="sentinel-2-l2a")


def test_a_file_with_several_bands_cannot_stand_for_one_role(data: Path) -> None:
    with pytest.raises(BandMismatch, match=r"was named 'red' but has 3 bands"):
        open_source({"red": data / "geotiff_io" / "cogeo.tif"})


def test_a_grid_for_a_file_is_refused(data: Path) -> None:
    path = data / "geotiff_io" / "cogeo.tif"
    with pytest.raises(GridMismatch, match="only be given to an array"):
        open_source(path, grid=open_source(path).grid)


def test_a_read_of_no_pixels(data: Path) -> None:
    with pytest.raises(GeometryError, match="at least one pixel"):
        open_source(data / "geotiff_io" / "cogeo.tif").read(Window(0, 0, 0, 5), [0])
