"""The road from scene to map against a bare rasterio loop that blends nothing, and against peers that are installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import rasterio

from benchmarks.measure import best_of
from benchmarks.scenes import build_scene

PEERS = ("sahi",)
"""Peers that the benchmark runs where they are installed; others are only looked for."""
OTHERS = ("torchgeo", "rastervision")


def report(folder: Path, *, pixels: int, repeats: int) -> None:
    """Print CPU time, wall time and memory of each contender, once their maps are equal."""
    scene = build_scene(folder / f"scene-{pixels}.tif", pixels)
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    jobs = {name: folder / f"{name}-{pixels}.tif" for name in ("bare", "swath", *peers)}
    costs = {name: best_of(repeats, "benchmarks.job", name, scene, output) for name, output in jobs.items()}
    for name, output in jobs.items():
        if name != "bare":
            check_equal(jobs["bare"], output)
    print(f"\nSegment {pixels} x {pixels} px, 4 bands, 5 classes, one thread (best of {repeats}); class maps are equal")
    for name, cost in costs.items():
        ratio = cost.cpu / costs["bare"].cpu
        memory = f"{cost.peak:6.0f} MiB peak, {cost.above_imports:5.0f} above imports"
        print(f"  {name:8} {cost.cpu:7.2f} s CPU ({ratio:4.2f}x) {cost.wall:7.2f} s wall  {memory}")
    for name in (*PEERS, *OTHERS):
        if importlib.util.find_spec(name) is None:
            print(f"  {name:8} not installed here")


def check_equal(one: Path, other: Path) -> None:
    """Raise unless two class maps are the same at every pixel, read a strip at a time."""
    with rasterio.open(one) as a, rasterio.open(other) as b:
        for row in range(0, a.height, 512):
            window = rasterio.windows.Window(0, row, a.width, min(512, a.height - row))
            differing = int((a.read(1, window=window) != b.read(1, window=window)).sum())
            # A tie between two classes may fall either way where blended weights round.
            if differing > 1e-5 * window.width * window.height:
                raise AssertionError(f"{differing} pixels differ in rows {row} and below")
