"""Scenes of any size built from real tiles, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from rasterio.windows import Window

BLOCK = 512
BEFORE_CRS, AFTER_CRS = "EPSG:26911", "EPSG:3857"
CORNER, PIXEL = (360_000, 3_770_000), 0.6
AFTER_PIXEL = 0.9
"""Metres of the Mercator map, of which one is 0.83 m on the ground there."""
MARGIN = 16
"""Pixels of the later date around the ground of the earlier one."""


@dataclass(frozen=True)
class ScenePair:
    """Two dates of one ground, each on a grid of its own."""

    before: Path
    after: Path


def real_tile() -> np.ndarray:
    """Return a NAIP tile, (4, 256, 256) uint8: red, green, blue, near infrared."""
    with as_file(files("swath.demo").joinpath("imagery/naip_santa_monica_2018.tif")) as source:
        return rasterio.open(source).read()


def turned_quarters(tile: np.ndarray, seed: int) -> np.ndarray:
    """Return a block of twice the tile's sides, each quarter the tile turned by chance."""
    generator = np.random.default_rng(seed)
    turned = [np.rot90(tile, int(generator.integers(4)), (1, 2)) for _ in range(4)]
    return np.concatenate([np.concatenate(turned[:2], axis=2), np.concatenate(turned[2:], axis=2)], axis=1)


def build_scene(path: Path, pixels: int) -> Path:
    """Write a tiled, compressed four-band GeoTIFF of `pixels` a side from quarters of a NAIP tile, turned."""
    return _write(path, (pixels, pixels), BEFORE_CRS, from_origin(*CORNER, PIXEL, PIXEL), first_seed=0)


def build_pair(folder: Path, pixels: int) -> ScenePair:
    """Write two dates: a UTM scene of `pixels` a side, and its ground in the web Mercator projection, coarser."""
    before = build_scene(folder / f"scene-{pixels}.tif", pixels)
    east, south = CORNER[0] + pixels * PIXEL, CORNER[1] - pixels * PIXEL
    left, bottom, right, top = transform_bounds(BEFORE_CRS, AFTER_CRS, CORNER[0], south, east, CORNER[1])
    height, width = (math.ceil(length / AFTER_PIXEL) + 2 * MARGIN for length in (top - bottom, right - left))
    transform = from_origin(left - MARGIN * AFTER_PIXEL, top + MARGIN * AFTER_PIXEL, AFTER_PIXEL, AFTER_PIXEL)
    after = _write(folder / f"scene-{pixels}-after.tif", (height, width), AFTER_CRS, transform, first_seed=8)
    return ScenePair(before, after)


def _write(path: Path, shape: tuple[int, int], crs: str, transform: rasterio.Affine, *, first_seed: int) -> Path:
    if path.exists():
        return path
    tile = real_tile()
    blocks = [turned_quarters(tile, first_seed + number) for number in range(8)]
    part = path.with_suffix(".part.tif")
    profile = {
        "driver": "GTiff",
        "height": shape[0],
        "width": shape[1],
        "count": 4,
        "dtype": "uint8",
        "crs": crs,
        "transform": transform,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "zlevel": 1,
        "photometric": "RGB",
        "alpha": "NO",
        "bigtiff": "if_safer",
    }
    with rasterio.open(part, "w", **profile) as target:
        for row in range(0, shape[0], BLOCK):
            for column in range(0, shape[1], BLOCK):
                height, width = min(BLOCK, shape[0] - row), min(BLOCK, shape[1] - column)
                block = blocks[(row // BLOCK * 7 + column // BLOCK * 3) % len(blocks)]
                target.write(block[:, :height, :width], window=Window(column, row, width, height))
    part.rename(path)
    return path
