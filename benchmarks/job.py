"""One measured job in this process: `python -m benchmarks.job swath|bare|trees SCENE OUTPUT`."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from benchmarks.per_pixel import per_pixel
from swath.api import load
from swath.imagery.scene import open_scene
from swath.inference.runner import run

STEP = 1024


def with_swath(scene: Path, output: Path) -> None:
    """The road: blended windows, confidence, Cloud-Optimised GeoTIFF with overviews, STAC item."""
    with open_scene(str(scene), bands="naip") as opened:
        run(per_pixel(), opened, output, resume=False, overwrite=True)


def with_trees(scene: Path, output: Path) -> None:
    """The road with the tree finder."""
    with open_scene(str(scene), bands="naip") as opened:
        run(load("trees").stored, opened, output, resume=False, overwrite=True)


def bare(scene: Path, output: Path) -> None:
    """The least there is: read a window, run the network, write its best class; nothing blended, no confidence."""
    network = per_pixel().model.network
    with rasterio.open(scene) as source, torch.inference_mode():
        profile = {**source.profile, "count": 1, "photometric": "MINISBLACK", "nodata": 255}
        with rasterio.open(output, "w", **profile) as target:
            for row in range(0, source.height, STEP):
                for column in range(0, source.width, STEP):
                    size = min(STEP, source.width - column), min(STEP, source.height - row)
                    window = Window(column, row, *size)
                    image = torch.from_numpy(source.read(window=window)).float().sub_(127.5).div_(127.5)
                    best = network(image[None])[0].argmax(0).to(torch.uint8)
                    target.write(best.numpy()[np.newaxis], window=window)


def main() -> None:
    name, scene, output = sys.argv[1:4]
    torch.set_num_threads(1)
    imported = _peak()
    wall, cpu = time.perf_counter(), time.process_time()
    {"swath": with_swath, "trees": with_trees, "bare": bare}[name](Path(scene), Path(output))
    cost = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "imported": imported,
        "peak": _peak(),
    }
    print(json.dumps(cost))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
