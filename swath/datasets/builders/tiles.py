"""Tiles of large images with boxes, cut as DOTA's tools do, and tile detections put back together.

Windows start every size less gap pixels, and the last is pulled back to the image's edge. An object goes to every
window that holds enough of its area, whole: its coordinates are shifted, never cut. One that a window cuts is
difficult there. Multi-scale tiles are windows of other sizes, to be resized to one. Source: sheet fair1m, "Tiling for
training and testing", which DOTA, LSKNet, LEGNet and PETDet share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import shapely
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from swath.datasets.formats.dota_text import dota_line
from swath.datasets.formats.images import opened, read_values
from swath.datasets.formats.object_files import layout_of, root_of
from swath.datasets.formats.stated_objects import sift
from swath.errors import ConfigurationError, DataError, OutputExists, UnitMismatch
from swath.geometry.windows import Size, Window
from swath.imagery.atomic import output_errors
from swath.samples.objects import MergeRule
from swath.samples.vectors import Boxes, OrientedBoxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.datasets.records import Record
    from swath.datasets.spec import Dataset

BoxesOrOriented = TypeVar("BoxesOrOriented", Boxes, OrientedBoxes)

CUT = 2
"""The difficulty that DOTA's tools give to an object that a tile cuts."""

_WHOLE = 1e-6  # shares this near to 1 are whole
_NAME = re.compile(r"(?P<image>.+)__(?P<size>\d+)__(?P<x>\d+)___(?P<y>\d+)")


@dataclass(frozen=True, kw_only=True)
class TileSettings:
    """How images are cut: windows of `size` pixels, `gap` of which neighbours share, at each of `rates`.

    A rate of 0.5 takes windows of twice the size and gap, whose pixels are halved when they are resized. Windows of
    which the image covers more than `image_share` are kept, or where there are none, those that it covers most; objects
    of which a window holds at least `object_share`. Beyond the image lies `padding` (red, green, blue). Raises
    `ConfigurationError` for values that make no sense.

    >>> TileSettings(gap=500, rates=(0.5, 1.0, 1.5)).windows_of(Size(3000, 3000))[0].width
    2048
    """

    size: int = 1024
    gap: int = 200
    rates: tuple[float, ...] = (1.0,)
    image_share: float = 0.6
    object_share: float = 0.7
    padding: tuple[int, int, int] = (124, 116, 104)

    def __post_init__(self) -> None:
        if not 0 <= self.gap < self.size or not self.rates or min(self.rates) <= 0:
            raise ConfigurationError(
                f"Tiles need a gap of 0 to less than their size and rates above 0; found a size of {self.size}, a gap "
                f"of {self.gap} and the rates {self.rates}."
            )
        if not (0 <= self.image_share <= 1 and 0 < self.object_share <= 1):
            raise ConfigurationError(
                f"Shares are 0 to 1; found {self.image_share} for images and {self.object_share} for objects."
            )

    def windows_of(self, size: Size) -> list[Window]:
        """Return the windows of an image of this size, rate by rate and row by row."""
        windows = []
        for rate in self.rates:
            side, step = int(self.size / rate), int(self.size / rate) - int(self.gap / rate)
            rows, columns = (_starts(length, side, step) for length in (size.height, size.width))
            windows += [Window(row, column, side, side) for row in rows for column in columns]
        shares = np.array([window.clipped(size).area / window.area for window in windows])
        kept = shares > self.image_share
        if not kept.any():
            kept = shares >= shares.max() - _WHOLE
        return [window for window, keep in zip(windows, kept, strict=True) if keep]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A window of an image, named `<image>__<size>__<x>___<y>` as DOTA's tools do.

    >>> Tile.parse("P0003__1024__824___0").window
    Window(row=0, column=824, height=1024, width=1024)
    """

    image: str
    window: Window

    @property
    def name(self) -> str:
        """The name of the tile's files, without suffix."""
        return f"{self.image}__{self.window.width}__{self.window.column}___{self.window.row}"

    @classmethod
    def parse(cls, name: str) -> Tile:
        """Read a name; raise `DataError` for one of another form."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise DataError(f"'{name}' is not the name of a tile, such as P0003__1024__824___0; rename it.")
        size, x, y = (int(found[group]) for group in ("size", "x", "y"))
        return cls(image=found["image"], window=Window(y, x, size, size))


@dataclass(frozen=True, kw_only=True)
class TileReport:
    """How many images were cut into how many tiles, how many objects these hold, and how many of those are cut.

    >>> print(TileReport(images=1, tiles=9, objects=20, cut=3))
    9 tiles of 1 images with 20 objects, 3 of them cut
    """

    images: int
    tiles: int
    objects: int
    cut: int

    def __str__(self) -> str:
        return f"{self.tiles} tiles of {self.images} images with {self.objects} objects, {self.cut} of them cut"


@dataclass(frozen=True, kw_only=True, eq=False)
class TileObjects:
    """What was found in a tile, in its own pixels; those may be fewer or more than the window's."""

    tile: Tile
    objects: Boxes | OrientedBoxes


def shares_inside(corners: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """Return the share of the area of each quadrilateral (N, 4, 2) that a window holds, (N,); 0 for one without area.

    >>> shares_inside(np.array([[[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]]]), Window(0, 1, 8, 8)).tolist()
    [0.75]
    """
    polygons = shapely.make_valid(shapely.polygons(corners))
    frame = shapely.box(window.column, window.row, window.stop_column, window.stop_row)
    whole = np.asarray(shapely.area(polygons), dtype=np.float64).reshape(len(corners))
    held = np.asarray(shapely.area(shapely.intersection(polygons, frame)), dtype=np.float64).reshape(len(corners))
    return np.divide(held, whole, out=np.zeros(len(corners)), where=whole > 0)


def cut_boxes(boxes: BoxesOrOriented, window: Window, settings: TileSettings | None = None) -> BoxesOrOriented:
    """Return the boxes of which a window holds enough, in its pixels and whole; those that it cuts are ignored.

    >>> ship = Boxes(size=Size(8, 8), boxes=[[0, 0, 4, 2]], classes=("ship",))
    >>> cut = cut_boxes(ship, Window(0, 1, 8, 8))
    >>> cut.boxes.tolist(), cut.ignored.tolist()
    ([[-1.0, 0.0, 3.0, 2.0]], [True])
    """
    if isinstance(boxes, OrientedBoxes):
        corners, shift = boxes.corners(), [window.column, window.row, 0, 0, 0]
    else:
        corners = boxes.boxes.astype(np.float64)[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
        shift = [window.column, window.row] * 2
    shares = shares_inside(corners, window)
    kept = np.flatnonzero(shares >= (settings or TileSettings()).object_share)
    there = boxes.select(kept)
    cut = there.ignored | (shares[kept] < 1 - _WHOLE)
    return replace(there, size=window.size, boxes=there.boxes - np.array(shift, dtype=np.float32), ignored=cut)


def merge_tiles(
    found: Iterable[TileObjects], sizes: Mapping[str, Size], *, iou: float = 0.1
) -> dict[str, Boxes | OrientedBoxes]:
    """Put what was found in tiles back into their images, of which `sizes` are known, each object once.

    Tiles that were resized are brought back to their window. Of objects of one class that overlap by more than `iou`
    the surest is kept. Every tile counts, also one without objects, so that every image gets an entry. Raises
    `DataError` for a tile of an unknown image, or an image without tiles.
    """
    by_image: dict[str, list[Any]] = {image: [] for image in sizes}
    for each in found:
        tile = each.tile
        if tile.image not in sizes:
            raise DataError(f"The tile {tile.name} is of the image '{tile.image}', whose size is not given; give it.")
        whole = each.objects if each.objects.size == tile.window.size else each.objects.resize(tile.window.size)
        by_image[tile.image].append(whole.shifted(tile.window.row, tile.window.column, sizes[tile.image]))
    lacking = [image for image, parts in by_image.items() if not parts]
    if lacking:
        raise DataError(f"No tile of the image '{lacking[0]}' was given; give all tiles, also those without objects.")
    return {
        image: type(parts[0]).concatenate(parts).deduplicated(MergeRule(iou=iou)) for image, parts in by_image.items()
    }


def write_tiles(dataset: Dataset, folder: str | Path, settings: TileSettings | None = None) -> TileReport:
    """Cut the images of a data set of objects into PNG tiles in `images`, with DOTA's text in `annfiles`.

    One such folder for each of `train` and `val` is a layout that the declarations of DOTA read. Images are read window
    by window, so that size does not matter; they are 8-bit, RGB or grey. Quadrilaterals stay as they are stated.
    Raises `OutputExists` for a folder that holds something, and `DataError` for two images of one name.
    """
    chosen = settings or TileSettings()
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExists(f"'{target}' already holds something; choose a new folder for the tiles.")
    names = [record.name for record in dataset.records]
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        raise DataError(f"Two images are named {min(repeated)}, so their tiles would be too; rename one.")
    with output_errors(target):
        for name in ("images", "annfiles"):
            (target / name).mkdir(parents=True, exist_ok=True)
    reports = [_write_image(dataset, record, target, chosen) for record in dataset.records]
    return TileReport(
        images=len(reports),
        tiles=sum(report.tiles for report in reports),
        objects=sum(report.objects for report in reports),
        cut=sum(report.cut for report in reports),
    )


def _write_image(dataset: Dataset, record: Record, folder: Path, settings: TileSettings) -> TileReport:
    layout = layout_of(dataset.spec, record)
    path = root_of(record) / record.key
    tiles = objects = cut = 0
    with opened(path, str(path)) as source:
        _check_picture(source, path)
        size = Size(source.height, source.width)
        kept = sift(layout.stated(record, size), size, dataset.classes, layout.rules)
        corners = np.array([each.corners() for each in kept.objects], dtype=np.float64).reshape(-1, 4, 2)
        for window in settings.windows_of(size):
            shares = shares_inside(corners, window)
            lines = []
            for place in np.flatnonzero(shares >= settings.object_share):
                halved = shares[place] < 1 - _WHOLE
                difficulty = CUT if halved else int(kept.objects[place].ignored)
                moved = corners[place] - [window.column, window.row]
                lines.append(dota_line(moved, dataset.classes[kept.labels[place]], difficulty))
                cut += int(halved)
            name = Tile(image=record.name, window=window).name
            picture = Image.fromarray(_pixels(source, path, window, settings.padding))
            with output_errors(folder):
                picture.save(folder / "images" / f"{name}.png", compress_level=1)
                (folder / "annfiles" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
            tiles, objects = tiles + 1, objects + len(lines)
    return TileReport(images=1, tiles=tiles, objects=objects, cut=cut)


def _check_picture(source: Any, path: Path) -> None:
    if set(source.dtypes) != {"uint8"}:
        raise UnitMismatch(
            f"{path} holds {source.dtypes[0]} values; tiles are cut from 8-bit images: convert it first."
        )
    if source.count not in (1, 3, 4) or source.colorinterp[0] == ColorInterp.palette:
        raise DataError(f"{path} has {source.count} bands or a colour table; tiles need RGB or grey: convert it first.")


def _pixels(source: Any, path: Path, window: Window, padding: Sequence[int]) -> NDArray[np.uint8]:
    """Return a window of an opened image as (height, width, 3), with padding beyond the image."""
    inside = window.clipped(Size(source.height, source.width))
    values = read_values(
        source,
        str(path),
        indexes=[1, 1, 1] if source.count == 1 else [1, 2, 3],
        window=RasterioWindow(inside.column, inside.row, inside.width, inside.height),
    )
    pixels = np.empty((window.height, window.width, 3), np.uint8)
    pixels[:] = np.array(padding, dtype=np.uint8)
    pixels[inside.relative_to(window).slices] = values.transpose(1, 2, 0)
    return pixels


def _starts(length: int, side: int, step: int) -> list[int]:
    """Return where windows start along an axis; the last ends with the image where that is longer than a window."""
    count = 1 if length <= side else math.ceil((length - side) / step) + 1
    return [min(number * step, max(length - side, 0)) for number in range(count)]
