"""So2Sat LCZ42 made anew: polygons of local climate zones and Sentinel-1 and -2 mosaics of cities become patches.

Zhu et al.: "So2Sat LCZ42: A Benchmark Data Set for the Classification of Global Local Climate Zones", IEEE GRSM 8(3),
2020, arXiv 1912.12171. Sheet, "How it was built" 6: polygons are laid on the 10 m grid, centres are drawn in them, as
many of each class and city, and a patch of 32 x 32 pixels around each is labelled by its centre. How exactly centres
were drawn is not published; the draw here is ours and depends on the seed and the place alone. Each call builds one
part (`training.h5` and `training_geo.h5`); parts are divided by giving other cities, or other polygons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from swath.datasets.builders.zone_places import PlaceDraw, ZonePlaces, labelled_corners, read_zones
from swath.datasets.so2sat import RADAR_BANDS, SO2SAT
from swath.errors import ConfigurationError, GridMismatch, OutputFailed
from swath.geometry.windows import Window
from swath.imagery.atomic import AtomicOutput
from swath.imagery.bands import select_bands
from swath.imagery.lonlat import parse_crs
from swath.imagery.raster_writer import RasterLayout, write_raster
from swath.imagery.sources import open_source
from swath.imagery.units import convert

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.grid import Grid
    from swath.imagery.pixels import Pixels
    from swath.imagery.sources import Source, Where

PATCH = 32
METRES = 10.0
CLASSES = SO2SAT.classes
_RADAR_ROLES = tuple(band.role for band in RADAR_BANDS)
_BUFFER = 256


@dataclass(frozen=True, kw_only=True)
class City:
    """The inputs of a city: polygons numbered 1 to 17, and the two mosaics on one 10 m grid in metres.

    `radar` has the eight linear channels of So2Sat by their roles, `optical` the ten bands of Sentinel-2 as reflectance
    or as digital numbers that name their scale; give opened sources where the files do not name their bands.
    """

    name: str
    polygons: str | Path
    radar: Where
    optical: Where


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """How patches are drawn: at most `per_class` of each class a city, centres of one class `distance` metres apart.

    `attribute` is the polygons' class number.

    >>> PatchSettings(per_class=5).distance
    0.0
    """

    per_class: int
    distance: float = 0.0
    seed: int = 0
    attribute: str = "class"

    def __post_init__(self) -> None:
        if self.per_class < 1 or self.distance < 0:
            raise ConfigurationError(
                f"patches need at least 1 a class and a distance of at least 0 m; found {self.per_class} and "
                f"{self.distance}."
            )


@dataclass(frozen=True, kw_only=True)
class CityReport:
    """What a city gave: patches by class number (1 to 17), and what was passed over.

    `incomplete` counts drawn places with missing pixels, `contested` grid points in polygons of several classes.
    """

    name: str
    patches: Mapping[int, int]
    incomplete: int
    contested: int


@dataclass(frozen=True, kw_only=True)
class So2SatReport:
    """The two files that were written and what each city gave."""

    path: Path
    places: Path
    cities: tuple[CityReport, ...]

    @property
    def patches(self) -> int:
        """How many patches there are."""
        return sum(sum(city.patches.values()) for city in self.cities)


def build_so2sat(
    cities: Sequence[City],
    path: str | Path,
    settings: PatchSettings,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> So2SatReport:
    """Write patches of cities as `path` (`sen1`, `sen2`, `label`) and beside it, with `_geo`, where they lie.

    Both files appear whole or not at all. Patches of a city are written class after class in turns, so any stretch of
    the file holds all classes. `progress` is told how many cities are done, and of how many. Raises `OutputExists`,
    `GridMismatch` for mosaics that do not share a grid, `BandMismatch` and `UnitMismatch` for other bands, `DataError`
    for other polygons.
    """
    target = Path(path)
    if target.suffix != ".h5":
        raise OutputFailed(f"Cannot write '{target}': So2Sat's files end in .h5; give it that suffix.")
    places = target.with_name(f"{target.stem}_geo.h5")
    reports = []
    with (
        AtomicOutput(target, overwrite=overwrite) as part,
        AtomicOutput(places, overwrite=overwrite) as places_part,
        PatchFiles.create(part, places_part) as files,
    ):
        for number, city in enumerate(cities, start=1):
            reports.append(_add_city(city, settings, files))
            if progress is not None:
                progress(number, len(cities))
    return So2SatReport(path=target, places=places, cities=tuple(reports))


def _add_city(city: City, settings: PatchSettings, files: PatchFiles) -> CityReport:
    with ExitStack() as opened:
        radar, optical = open_source(city.radar), open_source(city.optical)
        for source, given in ((radar, city.radar), (optical, city.optical)):
            if source is not given:
                opened.callback(source.close)
        epsg = _shared_epsg(city, radar, optical)
        zones = read_zones(city.polygons, optical.grid, attribute=settings.attribute, classes=len(CLASSES))
        found = labelled_corners(zones, optical.grid, patch=PATCH)
        reader = _PatchReader(radar=radar, optical=optical)
        counts: Counter[int] = Counter()
        for number, corner, patch in _in_turns(city, settings, found, reader):
            files.add(patch, label=number - 1, epsg=epsg, grid=optical.grid.window(_window(corner)), city=city.name)
            counts[number] += 1
    return CityReport(
        name=city.name,
        patches=dict(sorted(counts.items())),
        incomplete=reader.incomplete,
        contested=found.contested,
    )


def _shared_epsg(city: City, radar: Source, optical: Source) -> int:
    """Return the code of the grid that both mosaics share; raise `GridMismatch` where they do not or it is no 10 m."""
    one, two = radar.grid, optical.grid
    if one.crs is None or two.crs is None or parse_crs(one.crs) != parse_crs(two.crs) or not _same_place(one, two):
        raise GridMismatch(
            f"the mosaics of {city.name} do not share a grid ({one.size}, {one.transform} against {two.size}, "
            f"{two.transform}); warp one onto the other."
        )
    epsg, t = parse_crs(two.crs).to_epsg(), two.transform
    if epsg is None or (t.a, t.b, t.d, t.e) != (METRES, 0, 0, -METRES):
        raise GridMismatch(
            f"the mosaics of {city.name} need a reference system with an EPSG code and upright pixels of 10 m; found "
            f"{two.crs[:40]} and {t}."
        )
    return int(epsg)


def _same_place(one: Grid, two: Grid) -> bool:
    first, second = one.transform.as_gdal_order(), two.transform.as_gdal_order()
    return one.size == two.size and bool(np.allclose(first, second, rtol=0, atol=1e-6))


def _window(corner: tuple[int, int]) -> Window:
    return Window(corner[0] - PATCH // 2, corner[1] - PATCH // 2, PATCH, PATCH)


@dataclass(eq=False)
class _PatchReader:
    """Reads a patch from both mosaics, channels last, and counts those with missing pixels."""

    radar: Source
    optical: Source
    incomplete: int = 0

    def __post_init__(self) -> None:
        self._radar_bands = select_bands(self.radar.bands, _RADAR_ROLES, where=f"'{self.radar.name}'")
        self._optical_bands = select_bands(self.optical.bands, SO2SAT.bands, where=f"'{self.optical.name}'")

    def read(self, corner: tuple[int, int]) -> NDArray[np.float64] | None:
        """Return (32, 32, 18), Sentinel-1 first; None where pixels are missing."""
        window = _window(corner)
        radar = self.radar.read(window, self._radar_bands)
        optical = convert(self.optical.read(window, self._optical_bands), SO2SAT.unit)
        if radar.valid is not None or optical.valid is not None:
            self.incomplete += 1
            return None
        both = np.concatenate([radar.values, optical.values], axis=0, dtype=np.float64)
        return np.moveaxis(both, 0, -1)


def _in_turns(
    city: City, settings: PatchSettings, found: ZonePlaces, reader: _PatchReader
) -> Iterator[tuple[int, tuple[int, int], NDArray[np.float64]]]:
    """Yield class number, corner and patch: one of each class in turn, until each has enough or no more."""
    draws = {
        number: PlaceDraw(corners, settings.distance / METRES, settings.seed, f"{city.name}/{number}")
        for number, corners in sorted(found.corners.items())
    }
    waiting = {number: iter(draw) for number, draw in draws.items()}
    for _ in range(settings.per_class):
        for number in list(waiting):
            for corner in waiting[number]:
                patch = reader.read(corner)
                if patch is not None:
                    draws[number].take(corner)
                    yield number, corner, patch
                    break
            else:
                del waiting[number]


@dataclass(eq=False)
class PatchFiles:
    """The two HDF5 files while they grow; patches are written in stretches. Made by `create`, closed by `with`."""

    patches: Any
    places: Any
    _waiting: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def create(cls, patches: Path, places: Path) -> PatchFiles:
        """Begin both files with the published arrays: 64-bit floats, channels last, one-hot labels."""
        files = cls(patches=h5py.File(patches, "w"), places=h5py.File(places, "w"))
        for name, shape in (("sen1", (PATCH, PATCH, 8)), ("sen2", (PATCH, PATCH, 10)), ("label", (len(CLASSES),))):
            _array(files.patches, name, shape, "<f8")
        _array(files.places, "epsg", (1,), "<i4")
        _array(files.places, "tfw", (6,), "<f8")
        _array(files.places, "city", (1,), h5py.string_dtype())
        return files

    def add(self, patch: NDArray[np.float64], *, label: int, epsg: int, grid: Grid, city: str) -> None:
        """Add a patch (32, 32, 18) of a class (from 0) with its place."""
        row = {
            "sen1": patch[..., :8],
            "sen2": patch[..., 8:],
            "label": np.eye(len(CLASSES))[label],
            "epsg": [epsg],
            "tfw": world_file_numbers(grid),
            "city": [city],
        }
        for name, value in row.items():
            self._waiting.setdefault(name, []).append(value)
        if len(self._waiting["label"]) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        for name, rows in self._waiting.items():
            array = (self.patches if name in self.patches else self.places)[name]
            start = len(array)
            array.resize(start + len(rows), axis=0)
            array[start:] = np.array(rows, dtype=object) if name == "city" else np.stack(rows)
        self._waiting.clear()

    def __enter__(self) -> PatchFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self.patches.close()
            self.places.close()


def _array(file: Any, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    # A patch a chunk: training reads patches in any order.
    chunk = 1 if len(shape) > 1 else 1024
    file.create_dataset(name, shape=(0, *shape), maxshape=(None, *shape), chunks=(chunk, *shape), dtype=dtype)


def world_file_numbers(grid: Grid) -> tuple[float, float, float, float, float, float]:
    """Return A, D, B, E, C, F of an upright grid, with the outer corner of the first pixel as C and F.

    That is the order of So2Sat's corrected places; a world file proper would give the first pixel's centre.

    >>> from swath.geometry.windows import Size
    >>> from swath.imagery.grid import Affine, Grid
    >>> grid = Grid(crs="EPSG:32610", transform=Affine(10, 0, 550335.858, 0, -10, 4183214.43), size=Size(32, 32))
    >>> world_file_numbers(grid)
    (10, 0, 0, -10, 550335.858, 4183214.43)
    """
    t = grid.transform
    return (t.a, t.d, t.b, t.e, t.c, t.f)


def export_patch(pixels: Pixels, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a patch that knows its place as a GeoTIFF, its bands by their names, and return the path.

    Raises `GridMismatch` for one without a place, `OutputExists`, `OutputFailed`.
    """
    if pixels.grid.crs is None:
        raise GridMismatch("this patch has no place; put the file with `_geo` in its name beside that of the patches.")
    layout = RasterLayout(
        grid=pixels.grid, dtype=pixels.values.dtype.name, names=tuple(band.name for band in pixels.bands)
    )
    return write_raster(path, pixels.values, layout, overviews="average", overwrite=overwrite)
