"""Memory must not grow with the scene: the same jobs on a small scene and on a very large one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Cost, cost_of
from benchmarks.scenes import build_scene

SMALL = 8192


def report(folder: Path, *, pixels: int) -> None:
    """Print peak memory of the per-pixel model and of `trees` on both scenes."""
    for name, suffix in (("swath", ".tif"), ("trees", ".gpkg")):
        costs = {side: _cost(folder, name, suffix, side) for side in (SMALL, pixels)}
        growth = costs[pixels].peak / costs[SMALL].peak - 1
        print(f"\nPeak memory of '{name}'")
        for side, cost in costs.items():
            print(
                f"  {side:6} px: {cost.peak:6.0f} MiB, {cost.above_imports:5.0f} above imports; "
                f"{cost.wall:7.1f} s wall, {cost.cpu:7.1f} s CPU"
            )
        print(f"  growth {growth:+.1%}")


def _cost(folder: Path, name: str, suffix: str, side: int) -> Cost:
    scene = build_scene(folder / f"scene-{side}.tif", side)
    output = folder / f"{name}-{side}{suffix}"
    cost = cost_of("benchmarks.job", name, scene, output, threads=2)
    output.unlink()
    return cost
