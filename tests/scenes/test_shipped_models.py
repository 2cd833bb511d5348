"""The shipped models on real imagery: windows of other sizes tell the same, and the figures on the cards hold."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import rasterio

import swath
from swath.imagery.bands import Band, Unit
from swath.inference.options import RunOptions
from swath.metrics.points import match_points

TILE = Path(str(files("swath.demo") / "imagery" / "naip_santa_monica_2018.tif"))
LARGEST_SHARE = 0.05
"""Of the trees, at most this share may differ between two sizes of windows (3 to 4 % do).

The network's squeeze-and-excite blocks weigh channels by their mean over the window, so a score moves with what
else is in sight, and a tree at the threshold may come or go.
"""


def mosaic() -> np.ndarray:
    """Six turned copies of a real tile, 512 x 768 pixels."""
    with rasterio.open(TILE) as source:
        tile = source.read()
    rows = [np.concatenate([np.rot90(tile, 3 * row + column, (1, 2)) for column in range(3)], axis=2) for row in (0, 1)]
    return np.concatenate(rows, axis=1)


def test_trees_are_the_same_in_windows_of_two_sizes():
    bands = [Band(name=role, role=role, unit=Unit.EIGHT_BIT) for role in ("red", "green", "blue", "nir")]
    scene = swath.open(mosaic(), bands=bands, unit=Unit.EIGHT_BIT)
    trees = swath.load("trees")
    few = trees.predict(scene, options=RunOptions(window=448, overlap=64)).annotation
    many = trees.predict(scene, options=RunOptions(window=256, overlap=64)).annotation
    assert min(len(few), len(many)) > 100
    same = len(match_points(few.points, many.points, radius=1.5).predicted)
    assert 1 - same / max(len(few), len(many)) <= LARGEST_SHARE


def test_cards_of_shipped_models_say_how_good_they_are_and_how_to_measure_it():
    for name in ("trees", "landuse"):
        card = swath.load(name).card
        assert card.verified
        assert any(figure.command.startswith("swath evaluate") for figure in card.verified)
        assert card.data_licence
        assert card.training
        assert card.limits
