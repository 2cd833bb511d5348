"""One measured job in this process: `python -m benchmarks.job swath|bare|sahi|trees SCENE OUTPUT`."""

from __future__ import annotations

import json
import os
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

STEP, OVERLAP = 1024, 32


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


def with_sahi(scene: Path, output: Path) -> None:
    """SAHI's slicer over the whole image in memory, with the road's overlap; the last slice wins a shared pixel."""
    from sahi.slicing import slice_image

    network = per_pixel().model.network
    with rasterio.open(scene) as source, torch.inference_mode():
        profile = {**source.profile, "count": 1, "photometric": "MINISBLACK", "nodata": 255}
        image = np.ascontiguousarray(source.read().transpose(1, 2, 0))
        overlap = 32 / (STEP + 32)
        slices = slice_image(
            image,
            slice_height=STEP + 32,
            slice_width=STEP + 32,
            overlap_height_ratio=overlap,
            overlap_width_ratio=overlap,
        )
        labels = np.empty(image.shape[:2], np.uint8)
        for piece in slices:
            column, row = piece["starting_pixel"]
            part = torch.from_numpy(np.ascontiguousarray(piece["image"]).transpose(2, 0, 1).copy())
            best = network(part.float().sub_(127.5).div_(127.5)[None])[0].argmax(0).to(torch.uint8).numpy()
            labels[row : row + best.shape[0], column : column + best.shape[1]] = best
        with rasterio.open(output, "w", **profile) as target:
            target.write(labels, 1)


JOBS = {"swath": with_swath, "trees": with_trees, "bare": bare, "sahi": with_sahi}


def main() -> None:
    name, scene, output = sys.argv[1:4]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    imported = _peak()
    wall, cpu = time.perf_counter(), time.process_time()
    JOBS[name](Path(scene), Path(output))
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
