"""A scene of any size built from real tiles, block by block."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

BLOCK = 512


def build_scene(path: Path, pixels: int) -> Path:
    """Write a tiled, compressed four-band GeoTIFF of `pixels` a side from quarters of a NAIP tile, turned."""
    if path.exists():
        return path
    with as_file(files("swath.demo").joinpath("imagery/naip_santa_monica_2018.tif")) as source:
        tile = rasterio.open(source).read()
    blocks = [_block(tile, seed) for seed in range(8)]
    part = path.with_suffix(".part.tif")
    profile = {
        "driver": "GTiff",
        "width": pixels,
        "height": pixels,
        "count": 4,
        "dtype": "uint8",
        "crs": "EPSG:26911",
        "transform": rasterio.Affine(0.6, 0, 360_000, 0, -0.6, 3_770_000),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "zlevel": 1,
        "photometric": "RGB",
        "bigtiff": "if_safer",
    }
    with rasterio.open(part, "w", **profile) as target:
        for row in range(0, pixels, BLOCK):
            for column in range(0, pixels, BLOCK):
                height, width = min(BLOCK, pixels - row), min(BLOCK, pixels - column)
                block = blocks[(row // BLOCK * 7 + column // BLOCK * 3) % len(blocks)]
                target.write(block[:, :height, :width], window=Window(column, row, width, height))
    part.rename(path)
    return path


def _block(tile: np.ndarray, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    turned = [np.rot90(tile, int(generator.integers(4)), (1, 2)) for _ in range(4)]
    return np.concatenate([np.concatenate(turned[:2], axis=2), np.concatenate(turned[2:], axis=2)], axis=1)
