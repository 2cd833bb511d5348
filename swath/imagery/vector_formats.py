"""The vector file formats that results are written in, each as a sink that takes batches of features.

A sink writes one hidden part file. Batches have a fixed size, so that the bytes of a file depend on its
features alone and not on how they arrived; no more than a batch is held in memory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import sqlite3
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol
from urllib.parse import quote

import numpy as np
import pyogrio
import pyogrio.errors
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyarrow import lib as pa  # where pyarrow's own names come from; its package does not export them to mypy
from pyarrow.ipc import new_stream, open_stream
from pyarrow.parquet import ParquetWriter
from shapely.geometry import MultiPolygon, Polygon

from swath.errors import SwathWarning
from swath.geometry.polygons import orient_rings
from swath.imagery.features import Field, FieldValue
from swath.imagery.lonlat import LonLat, parse_crs

_ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_DECIMALS_DEGREES = 7  # about a centimetre
_DECIMALS_PIXELS = 4
_GDAL_CONFIGURATION = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class VectorLayout:
    """What a vector file says besides its features.

    That is the layer's name, the reference system, the fields and the type of all geometries. `timestamp` is
    the date that a format puts into the file (a GeoPackage's last change).

    >>> VectorLayout(name="trees", crs="EPSG:32633", fields=(Field("class", str),), geometry="Point",
    ...              timestamp=datetime(2024, 5, 1, tzinfo=UTC)).fields[0].name
    'class'
    """

    name: str
    crs: str | None
    fields: tuple[Field, ...]
    geometry: str
    timestamp: datetime


@dataclass(frozen=True)
class FeatureBatch:
    """Geometries (N,) of shapely objects, and for each field its N values.

    >>> len(FeatureBatch(shapely.points([[0, 0], [1, 1]]), {"class": ["oak", None]}).geometries)
    2
    """

    geometries: NDArray[Any]
    columns: Mapping[str, Sequence[FieldValue]]


class VectorSink(Protocol):
    """One file being written; what is open is closed by `finish` or `abort`."""

    failures: ClassVar[tuple[type[Exception], ...]]
    """What the library behind it raises when the file cannot be written."""

    def __init__(self, part: Path, layout: VectorLayout) -> None: ...

    def write(self, batch: FeatureBatch) -> None:
        """Take a batch."""

    def finish(self) -> None:
        """Complete the file."""

    def abort(self) -> None:
        """Close an incomplete file, whatever state it is in."""


class GeoJsonSink:
    """GeoJSON as in RFC 7946: longitude and latitude, shells counter-clockwise, cut at the antimeridian.

    Without a reference system the coordinates are pixels, which the standard does not know: the collection
    then has a member `swath:coordinates` that says so, and a `SwathWarning` is given.

    >>> import tempfile
    >>> layout = VectorLayout(name="trees", crs="EPSG:4326", fields=(), geometry="Point",
    ...                       timestamp=datetime(2024, 5, 1, tzinfo=UTC))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sink = GeoJsonSink(Path(folder, "part"), layout)
    ...     sink.write(FeatureBatch(shapely.points([[7.5, 47.5]]), {}))
    ...     sink.finish()
    ...     print(Path(folder, "part").read_text(), end="")
    {"type": "FeatureCollection", "name": "trees", "features": [
    {"type": "Feature", "properties": {}, "geometry": {"type":"Point","coordinates":[7.5,47.5]}}
    ]}
    """

    failures: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, part: Path, layout: VectorLayout) -> None:
        self._lonlat = None if layout.crs is None else LonLat(layout.crs)
        self._separator = "\n"
        head: dict[str, str] = {"type": "FeatureCollection", "name": layout.name}
        if self._lonlat is None:
            # RFC 7946, section 7.1, forbids a collection the plain member "coordinates".
            head["swath:coordinates"] = "pixels"
            warnings.warn(
                f"'{layout.name}' has no reference system: its GeoJSON holds pixel coordinates (x right, "
                "y down), which map viewers will misplace.",
                SwathWarning,
                stacklevel=2,
            )
        self._stream = part.open("w", encoding="utf-8", newline="\n")
        self._stream.write(_json(head)[:-1] + ', "features": [')

    def write(self, batch: FeatureBatch) -> None:
        """Append a batch."""
        texts = shapely.to_geojson(self._placed(batch.geometries))
        names = list(batch.columns)
        for text, *values in zip(texts, *batch.columns.values(), strict=True):
            properties = _json(dict(zip(names, map(_finite, values), strict=True)))
            self._stream.write(
                f'{self._separator}{{"type": "Feature", "properties": {properties}, "geometry": {text}}}'
            )
            self._separator = ",\n"

    def finish(self) -> None:
        """Close the collection and the file."""
        self._stream.write("\n]}\n")
        self._stream.close()

    def abort(self) -> None:
        """Close the file."""
        _close(self._stream)

    def _placed(self, geometries: NDArray[Any]) -> NDArray[Any]:
        placed = geometries if self._lonlat is None else self._lonlat.geometries(geometries)
        decimals = _DECIMALS_PIXELS if self._lonlat is None else _DECIMALS_DEGREES
        rounded: NDArray[Any] = shapely.transform(placed, lambda xy: np.round(xy, decimals) + 0.0)
        for index, shape in enumerate(rounded):
            if isinstance(shape, (Polygon, MultiPolygon)):
                rounded[index] = orient_rings(shape)
        return rounded


class GeoParquetSink:
    """GeoParquet 1.1: WKB geometries, the reference system as PROJJSON, a `bbox` column for filtering.

    >>> SINKS[".parquet"] is GeoParquetSink
    True
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (pa.ArrowException,)

    def __init__(self, part: Path, layout: VectorLayout) -> None:
        self._schema = pa.schema([*_arrow_fields(layout), ("geometry", pa.binary()), ("bbox", pa.struct(list(_BBOX)))])
        self._crs = None if layout.crs is None else parse_crs(layout.crs).to_dict(projjson=True)
        self._types: set[str] = set()
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._file = pa.OSFile(str(part), "wb")
        self._writer = ParquetWriter(self._file, self._schema, compression="zstd")

    def write(self, batch: FeatureBatch) -> None:
        """Append a batch as one row group."""
        bounds = shapely.bounds(batch.geometries)
        boxes = pa.StructArray.from_arrays([pa.array(side) for side in bounds.T], fields=list(_BBOX))
        arrays = [*_arrow_columns(batch, self._schema), _wkb(batch), boxes]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._types.update(geometry.geom_type for geometry in batch.geometries)
        self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:, :2].min(axis=0))
        self._bounds[2:] = np.maximum(self._bounds[2:], bounds[:, 2:].max(axis=0))

    def finish(self) -> None:
        """Add what is known only now, the types and bounds, and close the file."""
        column = {
            "encoding": "WKB",
            "geometry_types": sorted(self._types),
            "crs": self._crs,
            "covering": {"bbox": {name: ["bbox", name] for name, _ in _BBOX_NAMES}},
        }
        if self._types:
            column["bbox"] = self._bounds.tolist()
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        self._writer.add_key_value_metadata({"geo": json.dumps(geo)})
        self._writer.close()
        self._file.close()

    def abort(self) -> None:
        """Close the file."""
        _close(self._writer, self._file)


class OgrSink:
    """A format that GDAL writes. Batches are spilled to an Arrow stream and handed over in one go at the end.

    FlatGeobuf cannot be appended to, and a GeoPackage written in one go depends on its features alone.
    """

    driver: ClassVar[str]
    suffix: ClassVar[str]
    options: ClassVar[Mapping[str, str]] = {}
    failures: ClassVar[tuple[type[Exception], ...]] = (
        pa.ArrowException,
        RuntimeError,
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.GeometryError,
        pyogrio.errors.FieldError,
    )

    def __init__(self, part: Path, layout: VectorLayout) -> None:
        if layout.crs is not None:
            parse_crs(layout.crs)
        self._part = part
        self._layout = layout
        self._schema = pa.schema([*_arrow_fields(layout), (_OGR_GEOMETRY, pa.binary())])
        self._spill = part.with_name(part.name + ".spill")
        self._file = pa.OSFile(str(self._spill), "wb")
        self._stream = new_stream(self._file, self._schema)
        self._count = 0

    def write(self, batch: FeatureBatch) -> None:
        """Spill a batch."""
        arrays = [*_arrow_columns(batch, self._schema), _wkb(batch)]
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._count += len(batch.geometries)

    def finish(self) -> None:
        """Have GDAL write the file from the spill."""
        self._stream.close()
        self._file.close()
        # GDAL's drivers look at the suffix, which the part has not got.
        made = self._part.with_name(self._part.name + self.suffix)
        with pa.OSFile(str(self._spill), "rb") as spill, _gdal_date(self._layout.timestamp):
            self._write_out(open_stream(spill), made)
        self._check_complete(made)
        made.replace(self._part)
        self._spill.unlink()

    def abort(self) -> None:
        """Close the spill."""
        _close(self._stream, self._file)

    def _write_out(self, batches: pa.RecordBatchReader, made: Path) -> None:
        with warnings.catch_warnings():
            # A layer without a reference system is what was asked for.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            pyogrio.raw.write_arrow(
                batches,
                made,
                layer=self._layout.name,
                driver=self.driver,
                geometry_name=_OGR_GEOMETRY,
                geometry_type=self._layout.geometry,
                crs=self._layout.crs,
                layer_options=dict(self.options),
            )

    def _check_complete(self, made: Path) -> None:
        """Raise an `OSError` where the driver hides that the disk did not take all it wrote."""


class GeoPackageSink(OgrSink):
    """GeoPackage 1.4, an SQLite data base with a spatial index.

    >>> SINKS[".gpkg"] is GeoPackageSink
    True
    """

    driver: ClassVar[str] = "GPKG"
    suffix: ClassVar[str] = ".gpkg"

    def _check_complete(self, made: Path) -> None:
        name = self._layout.name.replace('"', '""')
        place = f"file:{quote(str(made.absolute()))}?mode=ro&immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(place, uri=True)) as base:
                for table in (name, f"rtree_{name}_{_OGR_GEOMETRY}_rowid"):
                    (rows,) = base.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()
                    if rows != self._count:
                        raise OSError(errno.EIO, _CUT_SHORT)
        except sqlite3.Error as error:
            raise OSError(errno.EIO, _CUT_SHORT) from error


class FlatGeobufSink(OgrSink):
    """FlatGeobuf, a stream format with a packed spatial index.

    >>> SINKS[".fgb"] is FlatGeobufSink
    True
    """

    driver: ClassVar[str] = "FlatGeobuf"
    suffix: ClassVar[str] = ".fgb"

    def _check_complete(self, made: Path) -> None:
        if made.stat().st_size < _flatgeobuf_length(made, self._count):
            raise OSError(errno.EIO, _CUT_SHORT)


SINKS: Mapping[str, type[VectorSink]] = {
    ".gpkg": GeoPackageSink,
    ".geojson": GeoJsonSink,
    ".json": GeoJsonSink,
    ".parquet": GeoParquetSink,
    ".fgb": FlatGeobufSink,
}
"""The sink of each file suffix."""

_OGR_GEOMETRY = "geom"
_CUT_SHORT = "the disk did not take all of the file"
_FLATGEOBUF_NODE_ITEMS = 16
_BBOX_NAMES = tuple((name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax"))
_BBOX = tuple(pa.field(name, kind) for name, kind in _BBOX_NAMES)


def _arrow_fields(layout: VectorLayout) -> list[pa.Field]:
    return [pa.field(field.name, _ARROW_TYPES[field.kind]) for field in layout.fields]


def _arrow_columns(batch: FeatureBatch, schema: pa.Schema) -> list[pa.Array]:
    return [pa.array(values, schema.field(name).type) for name, values in batch.columns.items()]


def _wkb(batch: FeatureBatch) -> pa.Array:
    return pa.array(shapely.to_wkb(batch.geometries), pa.binary())


def _finite(value: FieldValue) -> FieldValue:
    # JSON has no NaN and no infinity.
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _json(value: Mapping[str, FieldValue]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _close(*closing: IO[Any] | pa.NativeFile) -> None:
    for each in closing:
        # What is still in the buffers cannot be written to a full disk, and is not wanted any more.
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            each.close()


def _flatgeobuf_length(path: Path, count: int) -> int:
    """Return how many bytes a FlatGeobuf of `count` features should have, by its header and index.

    The file is 8 magic bytes, the header behind its length, a packed tree of 40-byte nodes whose leaves come
    last and end with the features' offsets, and the features behind their lengths (FlatGeobuf specification,
    version 3).
    """
    nodes = level = count
    while level > 1 or nodes == 1:
        level = -(-level // _FLATGEOBUF_NODE_ITEMS)
        nodes += level
    with path.open("rb") as stream:
        stream.seek(8)
        start = 12 + int.from_bytes(stream.read(4), "little") + 40 * nodes
        if count == 0:
            return start
        stream.seek(start - 8)
        last = start + int.from_bytes(stream.read(8), "little")
        stream.seek(last)
        return last + 4 + int.from_bytes(stream.read(4), "little")


@contextlib.contextmanager
def _gdal_date(moment: datetime) -> Iterator[None]:
    """Let GDAL take `moment` for now, so that the date a GeoPackage holds is the same at every run."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    # The setting is the whole process's; writers in other threads wait.
    with _GDAL_CONFIGURATION:
        before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": text})
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
