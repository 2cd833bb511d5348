"""Located: an annotation together with the grid that says where it lies on the Earth.

>>> from swath.geometry.windows import Size
>>> from swath.imagery.grid import Affine
>>> from swath.samples.vectors import Points
>>> grid = Grid(crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 4_000_000), size=Size(64, 64))
>>> trees = Points.of([[1.5, 2.0]], classes=("tree",), height=64, width=64)
>>> [feature.geometry.wkt for feature in Located(annotation=trees, grid=grid).features()]
['POINT (500015 3999980)']
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from swath.errors import GridMismatch, OutputFailed
from swath.geometry.windows import Window
from swath.imagery.features import Field
from swath.imagery.grid import Grid
from swath.imagery.raster_writer import RasterLayout, write_raster
from swath.imagery.scene import Scene
from swath.imagery.vector_writer import VectorWriter
from swath.samples.drawing import draw
from swath.samples.objects import Objects
from swath.samples.rasters import ClassMap, Raster
from swath.samples.vectors import Points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

    from swath.imagery.features import Feature
    from swath.imagery.pixels import Pixels
    from swath.samples.annotation import Annotation


FEATURES_AT_ONCE = 1024  # turned into map coordinates together, which is several times faster than one by one


@dataclass(frozen=True, kw_only=True, eq=False)
class Located:
    """An annotation and the grid of its frame; raises `GridMismatch` when their sizes differ.

    >>> from swath.geometry.windows import Size
    >>> from swath.imagery.grid import PIXELS
    >>> from swath.samples.labels import Text
    >>> place = Grid(crs=None, transform=PIXELS, size=Size(4, 4))
    >>> Located(annotation=Text(size=Size(4, 4), text="a quay"), grid=place).crs is None
    True
    """

    annotation: Annotation
    grid: Grid

    def __post_init__(self) -> None:
        if self.annotation.size != self.grid.size:
            raise GridMismatch(
                f"The annotation is about a frame of {self.annotation.size} and the grid has "
                f"{self.grid.size}; use the grid of its image."
            )

    @property
    def crs(self) -> str | None:
        """The reference system of the features, None for pixel coordinates."""
        return self.grid.crs

    def features(self) -> Iterator[Feature]:
        """Yield the parts of the annotation in map coordinates.

        Points, boxes, oriented boxes and instances carry `class` and `score`; areas of a class map `class`
        and mean `confidence` where it is known; areas of a transition `before` and `after`; a label, text or
        embedding is the footprint of the image; the evidence of a grounded text carries its `phrase`. Raises
        `AnnotationError` for rasters and flow, which have no outlines.
        """
        features = self.annotation.features()
        while some := list(islice(features, FEATURES_AT_ONCE)):
            shapes = np.array([feature.geometry for feature in some], dtype=object)
            for feature, shape in zip(some, shapely.transform(shapes, self.grid.to_map), strict=True):
                yield replace(feature, geometry=shape)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the annotation to a map file, and return its path.

        Rasters and class maps become a Cloud-Optimised GeoTIFF (.tif), everything with outlines a vector file
        (.gpkg, .geojson, .parquet, .fgb). Raises `OutputExists`, `OutputFailed` for a format that does not fit,
        and `AnnotationError` for outlines of what has none.

        >>> import tempfile
        >>> from swath.geometry.windows import Size
        >>> from swath.imagery.grid import PIXELS
        >>> from swath.samples.vectors import Points
        >>> grid = Grid(crs="EPSG:32633", transform=PIXELS, size=Size(8, 8))
        >>> trees = Points.of([[1.5, 2.0]], classes=("tree",), height=8, width=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Located(annotation=trees, grid=grid).save(Path(folder) / "trees.gpkg").name
        'trees.gpkg'
        """
        target = Path(path)
        if target.suffix.lower() in (".tif", ".tiff"):
            self._save_raster(target, overwrite)
        else:
            self._save_vectors(target, overwrite)
        return target

    def draw(self, scene: Pixels | Scene, **options: Any) -> Image:
        """Return a picture of the annotation on imagery of its own grid; the options are those of `drawing.draw`.

        A scene is read whole, so this is for scenes that fit in memory.
        """
        if isinstance(scene, Scene):
            scene = scene.read(Window(0, 0, scene.grid.size.height, scene.grid.size.width))
        return draw(scene, self.annotation, **options)

    def _save_raster(self, path: Path, overwrite: bool) -> None:
        annotation = self.annotation
        if isinstance(annotation, Raster):
            units = (annotation.unit,) * len(annotation.names)
            layout = RasterLayout(grid=self.grid, dtype="float32", names=annotation.names, nodata=math.nan, units=units)
            write_raster(path, annotation.values, layout, overviews="average", overwrite=overwrite)
        elif isinstance(annotation, ClassMap):
            layout = RasterLayout(
                grid=self.grid,
                dtype=annotation.labels.dtype.name,
                names=("class",),
                nodata=annotation.ignore,
                classes=annotation.classes,
            )
            write_raster(path, annotation.labels[np.newaxis], layout, overwrite=overwrite)
        else:
            raise OutputFailed(
                f"{type(annotation).__name__} are no raster and cannot be written as '{path.name}'; use .gpkg, "
                ".geojson, .parquet or .fgb."
            )

    def _save_vectors(self, path: Path, overwrite: bool) -> None:
        features = list(self.features())
        kinds: dict[str, type] = {"class": str, "score": float} if isinstance(self.annotation, Objects) else {}
        for feature in features:
            kinds |= {name: type(value) for name, value in feature.properties.items() if value is not None}
        shapes = {feature.geometry.geom_type for feature in features} or {self._shape_of_none()}
        geometry = next((name for name in shapes if name.startswith("Multi")), min(shapes))
        fields = [Field(name, kind) for name, kind in kinds.items()]
        with VectorWriter(path, crs=self.crs, fields=fields, geometry=geometry, overwrite=overwrite) as writer:
            writer.add(features)

    def _shape_of_none(self) -> str:
        return "Point" if isinstance(self.annotation, Points) else "Polygon"
