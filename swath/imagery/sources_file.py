"""A raster file of any GDAL driver, on disk or behind HTTP, read window by window from any number of threads.

Each thread has a dataset handle of its own, because GDAL's are not shareable. Windows that stick out are
padded here: GDAL's own boundless reads build a virtual file for every call.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakSet

import numpy as np
import rasterio
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from swath.errors import ImageryNotFound, ImageryUnreadable, SwathWarning
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Band, Unit
from swath.imagery.grid import Affine, Grid
from swath.imagery.naming import BandsSpec, StoredBand, name_bands, offers_near_infrared
from swath.imagery.pixels import Pixels
from swath.imagery.products import acquired_from_name, band_file, parse_date, product_of
from swath.imagery.sensors import NAIP
from swath.imagery.sources_base import (
    BandedSource,
    ReadPlan,
    Selection,
    missing_pixels,
    output_grid,
    plan_read,
    validity,
)

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

CACHE_MEGABYTES = 64
_HTTP_OPTIONS = (
    "max_retry=3&retry_delay=0.5&connecttimeout=10&low_speed_time=30&low_speed_limit=1000&list_dir=no&empty_dir=yes"
)
_DATE_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "TIFFTAG_DATETIME",
)
_SAMPLE_BYTES = 64 * 1024
_SAMPLES = 16
_SAMPLE_PIXELS = 64
_OPAQUE = 255
_PNG_END = b"IEND"


class FileSource(BandedSource):
    """One raster file as a `Source`; made by `open_source`.

    Raises `ImageryNotFound` for a missing file, `ImageryUnreadable` for one that is not imagery or is cut
    short (at opening, or at the first read that meets the hole), `BandMismatch` where `bands` do not fit.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "grey.tif"
    >>> profile = dict(driver="GTiff", width=2, height=1, count=1, dtype="uint8", crs="EPSG:32633")
    >>> with rasterio.open(path, "w", **profile, transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as dataset:
    ...     dataset.write(np.array([[[3, 4]]], np.uint8))
    >>> FileSource(str(path), bands="red").read(Window(0, 0, 1, 3), [0]).values.tolist()
    [[[3, 4, 0]]]
    """

    def __init__(self, where: str, *, bands: BandsSpec | None = None, unit: Unit | None = None) -> None:
        self.name = where
        self.opaque = 0
        self._told = bands
        self._unit = unit
        self._handles = Handles(self.open_dataset, where)
        self._twins: dict[str, FileSource] = {}
        dataset = self._handles.get()
        self.grid = grid_of(dataset, where)
        self.stored = _describe_bands(dataset, where)
        self.acquired = _acquired(dataset, where)
        self.block = Size(*dataset.block_shapes[0])
        self.dtype = np.result_type(*dataset.dtypes)
        self._flags = tuple(dataset.mask_flag_enums[0])
        self._name_bands(bands)

    def open_dataset(self) -> Any:
        """Open one more handle of the file, for the calling thread."""
        return open_dataset(self.name)

    def _name_bands(self, bands: BandsSpec | None) -> None:
        self._selections: dict[tuple[int, ...], Selection] = {}
        described = band_file(self.name)
        product = described.product if described else product_of(self.name)
        named = name_bands(self.stored, where=f"'{self.name}'", bands=bands, unit=self._unit, product=product)
        self.bands = tuple(item.band for item in named)
        self.numbers = tuple(item.number for item in named)
        self.mask_number = self._mask_number()

    def _mask_number(self) -> int | None:
        """The band that says what is valid: an alpha band that is not imagery, 0 for a mask beside the bands."""
        alpha = [band.number for band in self.stored if band.colour == "alpha"]
        if alpha:
            return None if alpha[0] in self.numbers else alpha[0]
        plain = MaskFlags.all_valid in self._flags or MaskFlags.nodata in self._flags
        return None if plain else 0

    def read(
        self, window: Window, bands: Sequence[int], *, size: Size | None = None, resampling: str = "bilinear"
    ) -> Pixels:
        """Return the bands at these positions in a window, in the type they are stored in; see `Source.read`."""
        plan = plan_read(window, self.grid.size, size)
        chosen = self._select(tuple(bands))
        shape = (len(chosen.bands), plan.size.height, plan.size.width)
        values = np.empty(shape, self.dtype) if plan.fills else np.zeros(shape, self.dtype)
        missing = None
        if not plan.target.is_empty:
            rows, columns = plan.target.slices
            numbers = [self.numbers[position] for position in bands]
            missing = self._fill(values[:, rows, columns], plan, numbers, chosen.nodata, resampling)
        return Pixels(
            values=values,
            bands=chosen.bands,
            unit=chosen.unit,
            valid=validity(plan, missing),
            grid=output_grid(self.grid, window, plan.size),
        )

    def _select(self, positions: tuple[int, ...]) -> Selection:
        chosen = self._selections.get(positions)
        if chosen is None:
            chosen = self._selections[positions] = Selection.of(self.bands, positions)
        return chosen

    def _fill(
        self,
        out: NDArray[Any],
        plan: ReadPlan,
        numbers: list[int],
        nodata: Sequence[float | None],
        resampling: str,
    ) -> NDArray[np.bool_] | None:
        """Read into `out` (C, H, W) and return what is missing in it."""
        area = RasterioWindow(plan.column, plan.row, plan.width, plan.height)
        try:
            dataset = self._handles.get()
            method = Resampling[resampling] if plan.is_resampled else Resampling.nearest
            dataset.read(numbers, window=area, out=out, resampling=method)
            if self.mask_number is None:
                return missing_pixels(out, nodata)
            read = dataset.read if self.mask_number else dataset.read_masks
            mask = read(self.mask_number or 1, window=area, out_shape=out.shape[1:], resampling=method)
        except RasterioError as error:
            raise ImageryUnreadable(
                f"reading '{self.name}' failed in the window of {plan.height:g} x {plan.width:g} pixels at row "
                f"{plan.row:g}, column {plan.column:g} ({error.__cause__ or error}); the file is cut short or damaged, "
                "or its address stopped answering: fetch it again."
            ) from error
        # A mask that was interpolated is a mixture: a pixel counts where at least half of it does.
        opaque = self.opaque or (_OPAQUE if plan.is_resampled else 0)
        transparent = mask < opaque / 2 if opaque else mask == 0
        missing = missing_pixels(out, nodata)
        if missing is not None:
            transparent |= missing
        return transparent if transparent.any() else None

    def expecting(self, wanted: Sequence[str]) -> FileSource:
        """Return the file as NAIP imagery where `nir` is wanted and GDAL labelled the fourth 8-bit band
        alpha.

        The alpha band is then near infrared and no mask; a `SwathWarning` says so, once a file.
        """
        if self._told is not None or not offers_near_infrared(self.stored, wanted):
            return self
        if NAIP.name not in self._twins:
            warnings.warn(
                f"'{self.name}' labels its fourth 8-bit band {self.stored[3].colour}; because nir was asked for, it "
                "is taken for near infrared, as in NAIP imagery (say --bands naip to confirm, or --bands rgb).",
                SwathWarning,
                stacklevel=2,
            )
            twin = self._copy()
            twin._name_bands(NAIP.name)
            self._twins[NAIP.name] = twin
        return self._twins[NAIP.name]

    def only(self, positions: Sequence[int]) -> FileSource:
        """Return the same file, through the same handles, with only the bands at these positions."""
        twin = self._copy()
        twin.bands = tuple(self.bands[position] for position in positions)
        twin.numbers = tuple(self.numbers[position] for position in positions)
        return twin

    def with_bands(self, bands: Sequence[Band]) -> FileSource:
        """Return the same file, through the same handles, with these descriptions of its bands."""
        twin = self._copy()
        twin.bands = tuple(bands)
        return twin

    def _copy(self) -> FileSource:
        twin = object.__new__(FileSource)
        twin.__dict__.update(self.__dict__, _twins={}, _selections={})
        return twin

    def fingerprint(self) -> str:
        """Return a hash of the file's size and sampled bytes, or of sampled pixels for a file that is not on disk."""
        path = Path(self.name)
        if path.is_file():
            return _hash_of_file(path)
        digest = hashlib.sha256(repr((self.grid, self.stored)).encode())
        size = self.grid.size
        steps = [sorted({0, length // 2, max(length - _SAMPLE_PIXELS, 0)}) for length in (size.height, size.width)]
        for row, column in itertools.product(*steps):
            window = Window(row, column, _SAMPLE_PIXELS, _SAMPLE_PIXELS)
            digest.update(self.read(window, range(len(self.bands))).values.tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the handles of all threads."""
        self._handles.close()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_handles", "_twins")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _twins={}, _handles=Handles(self.open_dataset, state["name"]))


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A dataset handle and the process that opened it: after a fork, file positions would be shared."""

    dataset: Any
    process: int


class Handles:
    """One dataset handle for each thread that asks, closed together.

    >>> import io
    >>> handles = Handles(io.BytesIO, "bytes")
    >>> handles.get() is handles.get()
    True
    """

    def __init__(self, opener: Callable[[], Any], name: str) -> None:
        self._opener = opener
        self._name = name
        self._local = threading.local()
        self._lock = threading.Lock()
        # Weak, so that the handle of a thread that has ended is closed with it.
        self._opened: WeakSet[Any] = WeakSet()
        self._closed = False

    def get(self) -> Any:
        """Return the calling thread's handle, opened at its first call; raise `ImageryUnreadable` once closed."""
        opened: _Opened | None = getattr(self._local, "opened", None)
        if opened is None or opened.process != os.getpid() or self._closed:
            if self._closed:
                raise ImageryUnreadable(f"'{self._name}' has been closed; open it again to read from it.")
            opened = _Opened(dataset=self._opener(), process=os.getpid())
            self._local.opened = opened
            with self._lock:
                self._opened.add(opened.dataset)
        return opened.dataset

    def close(self) -> None:
        """Close every handle."""
        with self._lock:
            self._closed = True
            datasets = list(self._opened)
        for dataset in datasets:
            dataset.close()


def gdal_address(where: str) -> str:
    """Return how GDAL names a file: web addresses go through its range-reading driver, with retries and time
    limits.

    >>> gdal_address("scene.tif"), gdal_address("https://host/a b.tif").split("&")[-1]
    ('scene.tif', 'url=https%3A%2F%2Fhost%2Fa%20b.tif')
    """
    if where.startswith(("http://", "https://")):
        return f"/vsicurl?{_HTTP_OPTIONS}&url={quote(where, safe='%')}"
    return where


def open_dataset(where: str) -> Any:
    """Open a rasterio dataset, with the block cache held to 64 MB unless the environment says otherwise.

    Raises `ImageryNotFound` or `ImageryUnreadable`.
    """
    # GDAL looks at this once, at the first block it caches, and would else take a twentieth of the machine's memory.
    os.environ.setdefault("GDAL_CACHEMAX", str(CACHE_MEGABYTES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(gdal_address(where))
    except RasterioError as error:
        raise _open_error(where, error) from error
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:3]) or "none"
        raise ImageryUnreadable(f"'{where}' is a container without bands of its own; open one of its parts: {parts}.")
    # libpng fills what is cut off with whatever lies in memory and reports success.
    if dataset.driver == "PNG" and Path(where).is_file() and _PNG_END not in _tail(Path(where)):
        raise ImageryUnreadable(f"'{where}' is a PNG file that is cut short; fetch it again.")
    return dataset


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 1024, 0))
        return file.read()


def _open_error(where: str, error: RasterioError) -> ImageryNotFound | ImageryUnreadable:
    message = str(error).rstrip(".")
    if where.startswith(("http://", "https://")):
        if "404" in message or "410" in message:
            return ImageryNotFound(f"'{where}' is not there (the server answers: {message}); check the address.")
        return ImageryUnreadable(f"'{where}' could not be read ({message}); check the address and the connection.")
    if where.startswith("/vsi"):
        return ImageryUnreadable(f"'{where}' could not be read ({message}); check the path.")
    path = Path(where)
    if not path.exists():
        return ImageryNotFound(f"'{where}' is not there; check the path.")
    length = path.stat().st_size if path.is_file() else 0
    return ImageryUnreadable(
        f"'{where}' ({length} bytes) is not an image that can be read, or is cut short ({message}); give a GeoTIFF, "
        "JPEG 2000, PNG, JPEG or another raster file."
    )


def grid_of(dataset: Any, where: str) -> Grid:
    """Return the grid of a rasterio dataset; warn where it has no reference system."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        transform = dataset.transform
    if dataset.crs is None:
        why = "only ground control points, so warp it first" if dataset.gcps[0] else "no coordinate reference system"
        warnings.warn(f"'{where}' has {why}; results will be in its own coordinates.", SwathWarning, stacklevel=4)
    return Grid(
        crs=crs_text(dataset.crs),
        transform=Affine(*tuple(transform)[:6]),
        size=Size(dataset.height, dataset.width),
    )


def crs_text(crs: Any) -> str | None:
    """Return a reference system as an authority code where it has one, else as WKT; None for none.

    >>> crs_text(rasterio.crs.CRS.from_epsg(32633))
    'EPSG:32633'
    """
    if not crs:
        return None
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def _describe_bands(dataset: Any, where: str) -> tuple[StoredBand, ...]:
    described = band_file(where) if dataset.count == 1 else None
    columns = zip(
        dataset.indexes,
        dataset.dtypes,
        dataset.descriptions,
        dataset.colorinterp,
        dataset.scales,
        dataset.offsets,
        dataset.units,
        dataset.nodatavals,
        strict=True,
    )
    return tuple(
        StoredBand(
            number=number,
            dtype=dtype,
            description=described.band.name if described else description or "",
            colour=colour.name,
            scale=scale,
            offset=offset,
            unit=unit or "",
            nodata=nodata,
        )
        for number, dtype, description, colour, scale, offset, unit, nodata in columns
    )


def _acquired(dataset: Any, where: str) -> datetime | None:
    named = acquired_from_name(where)
    if named is not None:
        return named
    tags = {**dataset.tags(), **dataset.tags(ns="IMAGERY")}
    dates = (parse_date(tags[key]) for key in _DATE_TAGS if key in tags)
    return next((date for date in dates if date is not None), None)


def _hash_of_file(path: Path) -> str:
    length = path.stat().st_size
    digest = hashlib.sha256(str(length).encode())
    starts = sorted({int(start) for start in np.linspace(0, max(length - _SAMPLE_BYTES, 0), _SAMPLES)})
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
