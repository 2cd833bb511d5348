"""Stores: where a run keeps its unfinished result, window by window, and how it becomes the final file.

A store takes annotations in the order of the plan, keeps what is finished on disk, and can go on after a crash from the
last finished row. When all windows are in, `export` turns it into the output that the file's suffix asks for.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine

from swath.errors import OutputFailed
from swath.geometry.vectorise import LabelledPolygon, StreamingVectoriser
from swath.geometry.windows import PlannedWindow, Size, Window, WindowPlan
from swath.imagery.alignment import ground_sample_distance
from swath.imagery.atomic import AtomicOutput
from swath.imagery.features import Feature, Field
from swath.imagery.raster_writer import RasterLayout, ScratchRaster, finish_cog
from swath.imagery.vector_writer import VectorWriter
from swath.inference.dense import NO_CLASS, DenseStitcher
from swath.inference.objects import ObjectStitcher
from swath.models.outputs import ScoreMap
from swath.samples.annotation import Annotation
from swath.samples.labels import Label
from swath.samples.located import Located
from swath.samples.objects import Objects
from swath.samples.palette import UNPAINTED
from swath.samples.rasters import ClassMap, Raster
from swath.samples.vectors import Points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry import Polygon

    from swath.imagery.grid import Grid
    from swath.samples.objects import MergeRule

RASTER_SUFFIXES = (".tif", ".tiff")
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".parquet", ".fgb")
_STRIP = 64
_AREA_ROWS = 2048
"""The ground's scale is measured once for so many rows: it changes slowly down a scene."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What every store needs to know: where to work, the plan, the scene's grid and how objects merge.

    `dates` are those of the scene's slots, where there are several and they are known.
    """

    folder: Path
    plan: WindowPlan
    grid: Grid
    rule: MergeRule
    resumed: bool
    dates: Mapping[str, str] = field(default_factory=dict)

    def scratch(self, name: str, *, size: Size, bands: int, dtype: str) -> ScratchRaster:
        """Open a raster in the run's folder, with what an earlier run left in it."""
        return ScratchRaster(self.folder / name, size=size, bands=bands, dtype=dtype, resume=self.resumed)

    def vectors(self, output: Path, fields: tuple[Field, ...], geometry: str, overwrite: bool) -> VectorWriter:
        """Open a vector file in the scene's reference system."""
        return VectorWriter(output, crs=self.grid.crs, fields=fields, geometry=geometry, overwrite=overwrite)


def class_layout(grid: Grid, classes: tuple[str, ...], tags: Mapping[str, str]) -> RasterLayout:
    """Return the layout of a class map: labels, and confidence from 0 to 255 with the scale that makes it a share."""
    return RasterLayout(
        grid=grid,
        dtype="uint8",
        names=("class", "confidence"),
        nodata=NO_CLASS,
        classes=classes,
        scales=(1.0, 1.0 / 255),
        tags=tags,
    )


class Store(ABC):
    """The unfinished result of a run."""

    suffixes: tuple[str, ...]

    @abstractmethod
    def push(self, planned: PlannedWindow, found: Annotation | ScoreMap, valid: NDArray[np.bool_] | None) -> None:
        """Take what a model said about a window; `valid` (H, W) marks the known pixels of its read window."""

    @abstractmethod
    def finish_row(self, row: int) -> dict[str, Any]:
        """Make everything up to this row safe on disk; return what `restore` needs to go on after it."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on after an earlier run with what `finish_row` returned for its last finished row."""

    @abstractmethod
    def export(self, output: Path, tags: Mapping[str, str], *, overwrite: bool) -> None:
        """Write the final file; it appears under its name only when it is complete."""

    @abstractmethod
    def collect(self) -> Annotation:
        """Return the whole result in memory, in pixels of the scene."""

    def preview(self, size: Size) -> Annotation:
        """Return the result on a smaller frame, to be looked at."""
        return self.collect().resize(size)

    @abstractmethod
    def close(self) -> None:
        """Release files; the run's folder is removed by its manifest."""


class PixelStore(Store):
    """What stores of stitched pixels share: strips and pixels are on disk as soon as they are written."""

    _stitcher: DenseStitcher
    _scratch: ScratchRaster

    def finish_row(self, row: int) -> dict[str, Any]:
        """Nothing more to do: rows are on disk as soon as they are written."""
        del row
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to do: the strips and the pixels are on disk."""

    def close(self) -> None:
        """Close the scratch files."""
        self._stitcher.close()
        self._scratch.close()


class ClassMapStore(PixelStore):
    """A class map: labels and confidence as two 8-bit bands, written as a COG or as polygons."""

    suffixes = RASTER_SUFFIXES + VECTOR_SUFFIXES

    def __init__(self, context: RunContext, first: ScoreMap) -> None:
        self.context = context
        self.classes = first.classes
        size = context.grid.size
        self._stitcher = DenseStitcher(context.plan, channels=len(first.classes), folder=context.folder)
        self._scratch = context.scratch("classes", size=size, bands=2, dtype="uint8")
        self._pixel_sides: dict[int, float | None] = {}

    def push(self, planned: PlannedWindow, found: Annotation | ScoreMap, valid: NDArray[np.bool_] | None) -> None:
        """Blend the window in and keep the pixels that are finished."""
        if not isinstance(found, ScoreMap):
            raise OutputFailed(f"expected class scores, the model gave {type(found).__name__}.")
        scores = np.ascontiguousarray(found.scores, np.float32)
        block = self._stitcher.push_classes(planned, scores, logits=found.scores_are == "logit", valid=valid)
        self._scratch.write(block.window, np.stack([block.labels, block.confidence]))

    def export(self, output: Path, tags: Mapping[str, str], *, overwrite: bool) -> None:
        """Write a COG of labels and confidence, or polygons with class, confidence, area in m² and the slots' dates."""
        if output.suffix.lower() in RASTER_SUFFIXES:
            layout = class_layout(self.context.grid, self.classes, tags)
            finish_cog(self._scratch, output, layout, overviews="nearest", overwrite=overwrite)
        else:
            dates = tuple(Field(slot, str) for slot in self.context.dates)
            fields = (Field("class", str), Field("confidence", float), Field("pixels", int), Field("area", float))
            with self.context.vectors(output, fields + dates, "Polygon", overwrite) as writer:
                for features in self._polygons():
                    writer.add(features)

    def collect(self) -> Annotation:
        """Return labels with their confidence."""
        size = self.context.grid.size
        labels, confidence = self._scratch.read(Window(0, 0, size.height, size.width))
        share = confidence.astype(np.float32) / 255
        return ClassMap(size=size, labels=labels, classes=self.classes, confidence=share, ignore=NO_CLASS)

    def preview(self, size: Size) -> Annotation:
        """Return the map at the pixels nearest to the smaller frame's, read a row at a time."""
        whole = self.context.grid.size
        sides = ((size.height, whole.height), (size.width, whole.width))
        rows, columns = (((np.arange(few) + 0.5) * many / few).astype(int) for few, many in sides)
        lines = [self._scratch.read(Window(int(row), 0, 1, whole.width))[:, 0, columns] for row in rows]
        labels, confidence = np.stack(lines, axis=1)
        share = confidence.astype(np.float32) / 255
        return ClassMap(size=size, labels=labels, classes=self.classes, confidence=share, ignore=NO_CLASS)

    def _polygons(self) -> Iterator[list[Feature]]:
        size = self.context.grid.size
        hidden = tuple(number for number, name in enumerate(self.classes) if name in UNPAINTED)
        vectoriser = StreamingVectoriser(size.width, ignore=(NO_CLASS, *hidden))
        for row in range(0, size.height, _STRIP):
            window = Window(row, 0, min(_STRIP, size.height - row), size.width)
            yield [self._feature(found) for found in vectoriser.push(self._scratch.read(window)[0])]
        yield [self._feature(found) for found in vectoriser.finish()]

    def _feature(self, found: LabelledPolygon) -> Feature:
        return Feature(
            geometry=shapely.transform(found.polygon, self.context.grid.to_map),
            properties={
                "class": self.classes[found.label],
                "confidence": self._mean_confidence(found.polygon),
                "pixels": found.pixel_area,
                "area": self._ground_area(found),
                **self.context.dates,
            },
        )

    def _ground_area(self, found: LabelledPolygon) -> float | None:
        """Return the area in square metres, measured at the polygon's own latitude; None without a reference system."""
        grid = self.context.grid
        first = int(found.polygon.centroid.y) // _AREA_ROWS * _AREA_ROWS
        if first not in self._pixel_sides:
            rows = Window(first, 0, min(_AREA_ROWS, grid.size.height - first), grid.size.width)
            self._pixel_sides[first] = ground_sample_distance(grid.window(rows))
        side = self._pixel_sides[first]
        return None if side is None else round(found.pixel_area * side**2, 2)

    def _mean_confidence(self, polygon: Polygon) -> float:
        """Average the confidence over a polygon's pixels, a strip at a time so that a huge one costs no memory."""
        left, top, right, bottom = (round(value) for value in polygon.bounds)
        total = count = 0
        for row in range(top, bottom, _STRIP):
            window = Window(row, left, min(_STRIP, bottom - row), right - left)
            shift = Affine.translation(left, row)
            shape = (window.height, window.width)
            inside = rasterio.features.geometry_mask([polygon], shape, shift, invert=True)
            total += int(self._scratch.read(window)[1][inside].sum(dtype=np.int64))
            count += int(inside.sum())
        return round(total / (255 * max(count, 1)), 4)


class RasterStore(PixelStore):
    """Continuous values, written as a float32 COG with NaN where nothing is known."""

    suffixes = RASTER_SUFFIXES

    def __init__(self, context: RunContext, first: Raster) -> None:
        self.context = context
        self.names, self.unit = first.names, first.unit
        channels = len(first.values)
        self._stitcher = DenseStitcher(context.plan, channels=channels, folder=context.folder)
        size = context.grid.size
        self._scratch = context.scratch("values", size=size, bands=channels, dtype="float32")

    def push(self, planned: PlannedWindow, found: Annotation | ScoreMap, valid: NDArray[np.bool_] | None) -> None:
        """Blend the window in and keep the pixels that are finished."""
        if not isinstance(found, Raster):
            raise OutputFailed(f"expected continuous values, the model gave {type(found).__name__}.")
        block = self._stitcher.push_values(planned, np.ascontiguousarray(found.values), valid=valid)
        self._scratch.write(block.window, block.values)

    def export(self, output: Path, tags: Mapping[str, str], *, overwrite: bool) -> None:
        """Write a COG."""
        layout = RasterLayout(
            grid=self.context.grid,
            dtype="float32",
            names=self.names,
            nodata=float("nan"),
            units=(self.unit,) * len(self.names),
            tags=tags,
        )
        finish_cog(self._scratch, output, layout, overviews="average", overwrite=overwrite)

    def collect(self) -> Annotation:
        """Return the values."""
        size = self.context.grid.size
        values = self._scratch.read(Window(0, 0, size.height, size.width))
        return Raster(size=size, values=values, names=self.names, unit=self.unit)


class ObjectStore(Store):
    """Points, boxes, oriented boxes or instances, each row's settled ones in a file of its own until the end."""

    suffixes = VECTOR_SUFFIXES

    def __init__(self, context: RunContext, first: Objects) -> None:
        self.context = context
        self._none = first.select([]).shifted(0, 0, context.grid.size)
        self._geometry = "Point" if isinstance(first, Points) else "Polygon"
        self._stitcher = ObjectStitcher(context.plan, context.rule)

    def push(self, planned: PlannedWindow, found: Annotation | ScoreMap, valid: NDArray[np.bool_] | None) -> None:
        """Take the window's objects."""
        del valid
        if not isinstance(found, Objects):
            raise OutputFailed(f"expected objects, the model gave {type(found).__name__}.")
        self._stitcher.push(planned, found)

    def finish_row(self, row: int) -> dict[str, Any]:
        """Write the objects that are settled; those still open belong to the state."""
        settled = self._stitcher.finish_row(row)
        if settled is not None:
            self._spool(row).write_text(json.dumps(settled.to_json()), encoding="utf-8")
        return {} if self._stitcher.open is None else {"open": self._stitcher.open.to_json()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the open objects; spools of rows that were not finished are written over."""
        if "open" in state:
            self._stitcher.restore(Objects.from_json(state["open"]))

    def export(self, output: Path, tags: Mapping[str, str], *, overwrite: bool) -> None:
        """Write all objects to a vector file, in the order of the rows."""
        del tags
        fields = (Field("class", str), Field("score", float))
        with self.context.vectors(output, fields, self._geometry, overwrite) as writer:
            for objects in self._spooled():
                writer.add(Located(annotation=objects, grid=self.context.grid).features())

    def collect(self) -> Annotation:
        """Return all objects, in the order of the rows."""
        return type(self._none).concatenate([self._none, *self._spooled()])

    def _spooled(self) -> Iterator[Objects]:
        for row in range(self.context.plan.rows):
            if self._spool(row).is_file():
                yield Objects.from_json(json.loads(self._spool(row).read_text(encoding="utf-8")))

    def _spool(self, row: int) -> Path:
        return self.context.folder / f"objects-{row:06d}.json"

    def close(self) -> None:
        """Nothing is open between rows."""


class LabelStore(Store):
    """One label a window: a coarse class map, a square a window, or one vote for the whole scene.

    A cell of the coarse map is a window's core. The vote averages the classes' probabilities over the valid pixels.
    """

    suffixes = (*RASTER_SUFFIXES, *VECTOR_SUFFIXES, ".txt")

    def __init__(self, context: RunContext, first: Label) -> None:
        self.context = context
        self.classes = first.classes
        plan = context.plan
        self._cells = context.scratch("labels", size=Size(plan.rows, plan.columns), bands=2, dtype="uint8")
        self._votes = np.zeros(len(first.classes))

    def push(self, planned: PlannedWindow, found: Annotation | ScoreMap, valid: NDArray[np.bool_] | None) -> None:
        """Keep the window's best class and add its probabilities to the vote."""
        if not isinstance(found, Label):
            raise OutputFailed(f"expected a label, the model gave {type(found).__name__}.")
        core = planned.core.relative_to(planned.read)
        weight = planned.core.area if valid is None else int(valid[core.slices].sum())
        best = int(np.argmax(found.scores))
        cell = [best, round(255 * float(found.scores[best]))] if weight else [NO_CLASS, 0]
        place = Window(planned.grid_row, planned.grid_column, 1, 1)
        self._cells.write(place, np.array(cell, np.uint8).reshape(2, 1, 1))
        self._votes += weight * found.scores.astype(np.float64)

    def finish_row(self, row: int) -> dict[str, Any]:
        """Return the votes so far."""
        del row
        return {"votes": self._votes.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the votes."""
        self._votes = np.array(state["votes"])

    def export(self, output: Path, tags: Mapping[str, str], *, overwrite: bool) -> None:
        """Write a coarse COG (.tif), a square a window (vector formats), or the vote (.txt)."""
        if output.suffix.lower() == ".txt":
            with AtomicOutput(output, overwrite=overwrite) as part:
                part.write_text(self._vote_text(), encoding="utf-8")
        elif output.suffix.lower() in RASTER_SUFFIXES:
            layout = class_layout(self._coarse_grid(), self.classes, tags)
            finish_cog(self._cells, output, layout, overviews="nearest", overwrite=overwrite)
        else:
            fields = (Field("class", str), Field("score", float))
            with self.context.vectors(output, fields, "Polygon", overwrite) as writer:
                for row in range(self.context.plan.rows):
                    writer.add(self._squares(row))

    def collect(self) -> Annotation:
        """Return the vote."""
        shares = self._votes / max(self._votes.sum(), 1e-12)
        return Label(size=self.context.grid.size, scores=shares.astype(np.float32), classes=self.classes)

    def preview(self, size: Size) -> Annotation:
        """Return the coarse map, each cell as large as it is in the smaller frame."""
        plan, whole = self.context.plan, self.context.grid.size
        cells = Size(plan.rows, plan.columns)
        labels, confidence = self._cells.read(Window(0, 0, cells.height, cells.width))
        share = confidence.astype(np.float32) / 255
        coarse = ClassMap(size=cells, labels=labels, classes=self.classes, confidence=share, ignore=NO_CLASS)
        height = round(size.height * plan.rows * plan.step.height / whole.height)
        width = round(size.width * plan.columns * plan.step.width / whole.width)
        return coarse.resize(Size(height, width)).crop(Window(0, 0, size.height, size.width))

    def _coarse_grid(self) -> Grid:
        plan, grid = self.context.plan, self.context.grid
        transform = grid.transform.scaled(plan.step.width, plan.step.height)
        return replace(grid, transform=transform, size=Size(plan.rows, plan.columns))

    def _squares(self, row: int) -> Iterator[Feature]:
        plan = self.context.plan
        labels, confidence = self._cells.read(Window(row, 0, 1, plan.columns))[:, 0]
        for planned, label, sure in zip(plan.row(row), labels, confidence, strict=True):
            if label != NO_CLASS:
                core = planned.core
                square = shapely.box(core.column, core.row, core.stop_column, core.stop_row)
                yield Feature(
                    geometry=shapely.transform(square, self.context.grid.to_map),
                    properties={"class": self.classes[label], "score": round(int(sure) / 255, 4)},
                )

    def _vote_text(self) -> str:
        shares = self._votes / max(self._votes.sum(), 1e-12)
        order = np.argsort(-shares, kind="stable")
        return "".join(f"{self.classes[i]}\t{shares[i]:.4f}\n" for i in order)

    def close(self) -> None:
        """Close the scratch file."""
        self._cells.close()


def store_for(found: Annotation | ScoreMap, context: RunContext) -> Store:
    """Return the store for what a model gives; raise `OutputFailed` for a kind that has no map form."""
    if isinstance(found, ScoreMap):
        return ClassMapStore(context, found)
    if isinstance(found, Raster):
        return RasterStore(context, found)
    if isinstance(found, Objects):
        return ObjectStore(context, found)
    if isinstance(found, Label):
        return LabelStore(context, found)
    raise OutputFailed(f"a scene-wide result of kind {type(found).__name__} cannot be written to a file.")
