"""Vectorising a mask of 4096 px against rasterio's polygoniser, which holds the whole array."""

from __future__ import annotations

import time

import numpy as np
import rasterio.features
from scipy.ndimage import gaussian_filter

from swath.geometry.vectorise import StreamingVectoriser

SIDE, STRIP = 4096, 64


def report(*, repeats: int) -> None:
    """Print the time of both, once they agree on the number of polygons and the area."""
    field = gaussian_filter(np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32), 8)
    mask = (field > 0).astype(np.uint8)
    ours = _streamed(mask)
    theirs = sum(1 for _ in rasterio.features.shapes(mask, connectivity=4))
    if ours != (theirs, mask.size):
        raise AssertionError(f"{ours} polygons and pixels, rasterio has {theirs} polygons of {mask.size} pixels")
    times = {
        "rasterio": min(_timed(lambda: list(rasterio.features.shapes(mask, connectivity=4))) for _ in range(repeats)),
        "swath": min(_timed(lambda: _streamed(mask)) for _ in range(repeats)),
    }
    print(f"\nVectorise {SIDE} x {SIDE} px into {theirs} polygons; count and area are equal")
    for name, seconds in times.items():
        print(f"  {name:8} {seconds:6.3f} s")


def _streamed(mask: np.ndarray) -> tuple[int, int]:
    vectoriser = StreamingVectoriser(mask.shape[1])
    found = area = 0
    for row in range(0, len(mask), STRIP):
        for polygon in vectoriser.push(mask[row : row + STRIP]):
            found, area = found + 1, area + polygon.pixel_area
    for polygon in vectoriser.finish():
        found, area = found + 1, area + polygon.pixel_area
    return found, area


def _timed(job: object) -> float:
    start = time.process_time()
    job()  # type: ignore[operator]
    return time.process_time() - start
