"""Features written to a vector file as they come, in batches, and visible only when the file is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np
import shapely
from shapely.geometry import MultiLineString, MultiPoint, MultiPolygon
from shapely.geometry.base import BaseGeometry

from swath.errors import OutputFailed
from swath.imagery.atomic import AtomicOutput, output_errors
from swath.imagery.features import Feature, Field, FieldValue
from swath.imagery.vector_formats import SINKS, FeatureBatch, VectorLayout, VectorSink

BATCH_FEATURES = 16_384
BATCH_POINTS = 1 << 19
"""A batch is written when it holds this many features or vertices: some 20 MB."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_COLLECTIONS: Mapping[str, Callable[[list[BaseGeometry]], BaseGeometry]] = {
    "Point": MultiPoint,
    "LineString": MultiLineString,
    "Polygon": MultiPolygon,
}
_GEOMETRIES = (*_COLLECTIONS, *(f"Multi{name}" for name in _COLLECTIONS))


class VectorWriter:
    """A vector file that takes features as they come; use it as a context manager.

    The suffix of `path` chooses the format: .gpkg, .geojson or .json, .parquet, .fgb. `crs` is what PROJ
    understands, or None for pixel coordinates. `fields` are the properties, in order; a feature may lack
    some, and has no others. `geometry` is the one type of all features; with a `Multi...` type single ones
    are taken too. `timestamp` is the date written into formats that hold one. numpy's numbers count as
    Python's. Equal features give equal bytes. Memory holds one batch.

    Leaving the block by an exception leaves no file. Raises `OutputExists`, and `OutputFailed` for an unknown
    suffix or geometry type, doubled fields, a full disk and the like; `GridMismatch` for a reference system
    that is none.

    >>> import tempfile
    >>> from shapely import Point
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "trees.geojson")
    ...     fields = [Field("score", float)]
    ...     with VectorWriter(path, crs="EPSG:4326", fields=fields, geometry="Point") as writer:
    ...         writer.add([Feature(Point(7.5, 47.5), {"score": 0.9})])
    ...     print(path.read_text().splitlines()[1])
    {"type": "Feature", "properties": {"score": 0.9}, "geometry": {"type":"Point","coordinates":[7.5,47.5]}}
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        crs: str | None,
        fields: Sequence[Field],
        geometry: str,
        timestamp: datetime = EPOCH,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.fields = tuple(fields)
        self.geometry = geometry
        self._check()
        self._failures = SINKS[self.path.suffix.lower()].failures
        self._geometries: list[BaseGeometry] = []
        self._rows: list[list[FieldValue]] = []
        self._points = 0
        self._layout = VectorLayout(
            name=self.path.stem, crs=crs, fields=self.fields, geometry=geometry, timestamp=timestamp
        )
        self._output = AtomicOutput(path, overwrite=overwrite)
        self._sink: VectorSink

    def add(self, features: Iterable[Feature]) -> None:
        """Write features, taken one at a time.

        Raises `OutputFailed` for a geometry of another type or without a point, a property that is no field,
        or a value of another type than its field's.
        """
        for feature in features:
            self._geometries.append(self._checked_geometry(feature.geometry))
            self._rows.append(self._row(feature))
            self._points += int(shapely.get_num_coordinates(feature.geometry))
            if len(self._rows) >= BATCH_FEATURES or self._points >= BATCH_POINTS:
                self._write_batch()

    def __enter__(self) -> VectorWriter:
        try:
            with self._writing():
                self._sink = SINKS[self.path.suffix.lower()](self._output.part, self._layout)
        except BaseException:
            self._output.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._sink.abort()
            self._output.__exit__(kind, error, trace)
            return
        with self._output:
            try:
                self._write_batch()
                with self._writing():
                    self._sink.finish()
            except BaseException:
                self._sink.abort()
                raise

    def _writing(self) -> AbstractContextManager[None]:
        return output_errors(self.path, *self._failures, probe=self._output.part)

    def _check(self) -> None:
        suffix = self.path.suffix.lower()
        if suffix not in SINKS:
            raise OutputFailed(
                f"Cannot write '{self.path}': '{suffix}' is no suffix of a format for features; use one of "
                f"{', '.join(SINKS)}."
            )
        if self.geometry not in _GEOMETRIES:
            raise OutputFailed(f"'{self.geometry}' is no geometry type; use one of {', '.join(_GEOMETRIES)}.")
        names = [field.name.lower() for field in self.fields]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise OutputFailed(
                f"Two fields are called '{doubled[0]}' (capitals do not count); give them different names."
            )

    def _checked_geometry(self, geometry: BaseGeometry) -> BaseGeometry:
        if geometry.is_empty:
            raise OutputFailed(f"A feature for '{self.path}' has a {geometry.geom_type} without a point; leave it out.")
        found = geometry.geom_type
        flat: BaseGeometry = shapely.force_2d(geometry)
        if found == self.geometry:
            return flat
        if f"Multi{found}" == self.geometry:
            return _COLLECTIONS[found]([flat])
        raise OutputFailed(f"A feature for '{self.path}' is a {found}, but the file was announced as {self.geometry}.")

    def _row(self, feature: Feature) -> list[FieldValue]:
        row = [_plain(feature.properties.get(field.name)) for field in self.fields]
        for field, value in zip(self.fields, row, strict=True):
            if not field.accepts(value):
                raise OutputFailed(
                    f"The field '{field.name}' of '{self.path}' holds {field.kind.__name__} values, found {value!r}."
                )
        known = {field.name for field in self.fields}
        strange = [name for name in feature.properties if name not in known]
        if strange:
            raise OutputFailed(
                f"A feature for '{self.path}' has the property '{strange[0]}', which is none of its fields "
                f"({', '.join(known) or 'none'})."
            )
        return row

    def _write_batch(self) -> None:
        if not self._rows:
            return
        geometries = np.empty(len(self._geometries), dtype=object)
        geometries[:] = self._geometries
        columns = {field.name: [row[index] for row in self._rows] for index, field in enumerate(self.fields)}
        with self._writing():
            self._sink.write(FeatureBatch(geometries, columns))
        self._geometries, self._rows, self._points = [], [], 0


def _plain(value: FieldValue | np.generic) -> FieldValue:
    return value.item() if isinstance(value, np.generic) else value
