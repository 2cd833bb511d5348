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

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import shapely

from swath.errors import GridMismatch
from swath.imagery.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swath.imagery.features import Feature
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
