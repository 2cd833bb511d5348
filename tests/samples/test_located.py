"""Annotations on the map, against coordinates that others published."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely

from swath.errors import AnnotationError, GridMismatch
from swath.geometry.windows import Size, Window
from swath.imagery.grid import Affine, Grid
from swath.samples import (
    Boxes,
    ClassMap,
    Embedding,
    Flow,
    Instances,
    Label,
    Located,
    OrientedBoxes,
    Points,
    Text,
)
from swath.samples.moves import Crop, Flip, QuarterTurns
from swath.samples.pixel_ops import move_grid

GRID = Grid(crs="EPSG:26910", transform=Affine(0.6, 0.0, 596823.6, 0.0, -0.6, 4399953.0), size=Size(256, 256))
"""The grid of NAIP image chico_2018_10 of the urban tree detection data (Ventura et al., CC BY 4.0)."""

PIXELS = [(5, 13), (28, 17), (41, 40), (53, 68), (39, 71)]
"""Its first trees as the data set's CSV has them: whole pixels, from the top left."""

UTM = [
    (596826.7737, 4399945.025),
    (596840.4587, 4399942.417),
    (596848.4959, 4399928.951),
    (596855.8815, 4399911.791),
    (596847.1926, 4399909.836),
]
"""The same trees as its GeoJSON has them, in metres."""


def test_trees_lie_where_the_data_set_says() -> None:
    trees = Points.of(np.array(PIXELS) + 0.5, classes=("tree",), height=256, width=256)
    located = Located(annotation=trees, grid=GRID)
    found = [(feature.geometry.x, feature.geometry.y) for feature in located.features()]
    # The CSV names the pixel that a tree stands in, so half a pixel is as near as it can be.
    np.testing.assert_allclose(found, UTM, atol=0.3 + 1e-3)
    assert located.crs == "EPSG:26910"


@pytest.mark.parametrize("move", [Flip(horizontal=True), Flip(horizontal=False), QuarterTurns(1), QuarterTurns(2)])
def test_moving_annotation_and_grid_together_changes_nothing_on_the_map(move: Flip | QuarterTurns) -> None:
    size = Size(6, 8)
    grid = Grid(crs="EPSG:32633", transform=Affine(10.0, 1.0, 5e5, -2.0, -10.0, 4e6), size=size)
    labels = np.random.default_rng(0).integers(0, 2, (6, 8))
    for before in (
        Points(size=size, points=[[1.25, 2.5], [7, 3]], classes=("a",)),
        OrientedBoxes(size=size, boxes=[[4, 3, 4, 2, 0.5]], classes=("a",)),
        Instances(size=size, masks=[labels], classes=("a",)),
        ClassMap(size=size, labels=labels, classes=("a", "b")),
        Label.of("a", ("a", "b"), size),
    ):
        one = list(Located(annotation=before, grid=grid).features())
        other = list(Located(annotation=before.moved(move), grid=move_grid(grid, move)).features())
        assert len(one) == len(other)
        left = shapely.union_all([feature.geometry for feature in one if feature.properties["class"] == "a"])
        right = shapely.union_all([feature.geometry for feature in other if feature.properties["class"] == "a"])
        assert left.hausdorff_distance(right) < 1e-3


def test_features_of_each_kind_say_what_is_known() -> None:
    size = Size(4, 4)
    grid = Grid(crs=None, transform=Affine(1.0, 0.0, 100.0, 0.0, 1.0, 200.0), size=size)
    boxes = Boxes(size=size, boxes=[[0, 1, 2, 3]], classes=("a", "b"), labels=[1], scores=[0.5])
    (box,) = Located(annotation=boxes, grid=grid).features()
    assert box.geometry.equals(shapely.box(100, 201, 102, 203))
    assert box.properties == {"class": "b", "score": 0.5}
    (label,) = Located(annotation=Label.of("a", ("a", "b"), size), grid=grid).features()
    assert label.geometry.equals(shapely.box(100, 200, 104, 204)) and label.properties == {"class": "a", "score": 1.0}
    (text,) = Located(annotation=Text(size=size, text="a quay", score=0.5), grid=grid).features()
    assert text.properties == {"text": "a quay", "score": 0.5}
    (vector,) = Located(annotation=Embedding(size=size, vector=[1.5, 2.0]), grid=grid).features()
    assert json.loads(str(vector.properties["embedding"])) == [1.5, 2.0]
    with pytest.raises(AnnotationError, match="GeoTIFF"):
        list(Located(annotation=Flow(size=size, vectors=np.zeros((2, 4, 4))), grid=grid).features())


def test_the_grid_must_be_that_of_the_annotation() -> None:
    trees = Points.of([], classes=("tree",), height=256, width=256)
    with pytest.raises(GridMismatch, match="use the grid of its image"):
        Located(annotation=trees, grid=move_grid(GRID, Crop(Window(0, 0, 8, 8))))
