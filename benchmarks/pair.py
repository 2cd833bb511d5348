"""Two dates in different reference systems: the road must be right, and its memory must not grow with the scene."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Cost, best_of, cost_of
from benchmarks.road import check_equal
from benchmarks.scenes import ScenePair, build_pair

SMALL = 4096
MOST_GROWTH = 0.1


def report(folder: Path, *, pixels: int, repeats: int) -> None:
    """Print the time of the road and of a bare loop, once their maps are equal, then peak memory on both scenes.

    Raises `AssertionError` where the maps differ or the large scene takes over a tenth more memory than the small one.
    """
    report_time(folder, build_pair(folder, min(SMALL, pixels)), repeats)
    costs = {side: road_cost(folder, side) for side in (min(SMALL, pixels), pixels)}
    small, large = costs[min(SMALL, pixels)], costs[pixels]
    growth = large.peak / small.peak - 1
    print("\nPeak memory of the change map of a UTM and a Mercator scene")
    for side, cost in costs.items():
        print(
            f"  {side:6} px: {cost.peak:6.0f} MiB, {cost.above_imports:5.0f} above imports; "
            f"{cost.wall:7.1f} s wall, {cost.cpu:7.1f} s CPU"
        )
    print(f"  growth {growth:+.1%}")
    if growth > MOST_GROWTH:
        raise AssertionError(f"memory grew by {growth:.1%} with the scene")


def report_time(folder: Path, scenes: ScenePair, repeats: int) -> None:
    """Print the time of the road and of the bare loop, once their maps are equal."""
    outputs = {name: folder / f"{name}.tif" for name in ("bare-pair", "pair")}
    costs = {
        name: best_of(repeats, "benchmarks.job", name, scenes.before, scenes.after, output)
        for name, output in outputs.items()
    }
    check_equal(*outputs.values())
    print(f"\nChange between {scenes.before.name} (UTM) and {scenes.after.name} (Mercator), one thread; maps are equal")
    for name, cost in costs.items():
        ratio = cost.cpu / costs["bare-pair"].cpu
        print(f"  {name:9} {cost.cpu:7.2f} s CPU ({ratio:4.2f}x) {cost.wall:7.2f} s wall {cost.peak:6.0f} MiB peak")


def road_cost(folder: Path, side: int) -> Cost:
    """Return what the road costs for two dates of so many pixels a side, with two threads."""
    scenes = build_pair(folder, side)
    output = folder / f"pair-{side}.tif"
    cost = cost_of("benchmarks.job", "pair", scenes.before, scenes.after, output, threads=2)
    output.unlink()
    return cost
