"""One measured job in this process: `python -m benchmarks.job NAME SCENE [AFTER] OUTPUT`."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from benchmarks.per_pixel import per_pixel, per_pixel_change
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


def with_pair(before: Path, after: Path, output: Path) -> None:
    """The road with two dates, the later one warped onto the grid of the earlier one as it is read."""
    with open_scene(before=str(before), after=str(after), bands="naip") as opened:
        run(per_pixel_change(), opened, output, resume=False, overwrite=True)


def bare(scene: Path, output: Path) -> None:
    """The least there is: read a window, run the network, write its best class; nothing blended, no confidence."""
    network = per_pixel().model.network
    with (
        torch.inference_mode(),
        rasterio.open(scene) as source,
        rasterio.open(output, "w", **_class_map(source)) as target,
    ):
        for window in _steps(source):
            target.write(_best(network(_normalised(source, window))), window=window)


def bare_pair(before: Path, after: Path, output: Path) -> None:
    """The same least for two dates, through rasterio's virtual warped file, whose alpha nobody looks at."""
    network = per_pixel_change().model.network
    with rasterio.open(before) as first, rasterio.open(after) as second, torch.inference_mode():
        grid = {name: getattr(first, name) for name in ("crs", "transform", "height", "width")}
        with (
            # Without alpha GDAL takes a coarser way to a pixel's place, which changes one value in twenty-five.
            WarpedVRT(second, resampling=Resampling.bilinear, add_alpha=True, **grid) as warped,
            rasterio.open(output, "w", **_class_map(first)) as target,
        ):
            for window in _steps(first):
                scores = network(_normalised(first, window), _normalised(warped, window))
                target.write(_best(scores), window=window)


def with_sahi(scene: Path, output: Path) -> None:
    """SAHI's slicer over the whole image in memory, with the road's overlap; the last slice wins a shared pixel."""
    from sahi.slicing import slice_image

    network = per_pixel().model.network
    with rasterio.open(scene) as source, torch.inference_mode():
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
        with rasterio.open(output, "w", **_class_map(source)) as target:
            target.write(labels, 1)


def _class_map(source: rasterio.DatasetReader) -> dict[str, object]:
    return {**source.profile, "count": 1, "photometric": "MINISBLACK", "nodata": 255}


def _steps(source: rasterio.DatasetReader) -> Iterator[Window]:
    for row in range(0, source.height, STEP):
        for column in range(0, source.width, STEP):
            yield Window(column, row, min(STEP, source.width - column), min(STEP, source.height - row))


def _normalised(source: rasterio.DatasetReader, window: Window) -> torch.Tensor:
    return torch.from_numpy(source.read([1, 2, 3, 4], window=window)).float().sub_(127.5).div_(127.5)[None]


def _best(scores: torch.Tensor) -> np.ndarray:
    return scores[0].argmax(0).to(torch.uint8).numpy()[np.newaxis]


JOBS: dict[str, Callable[..., None]] = {
    "swath": with_swath,
    "trees": with_trees,
    "pair": with_pair,
    "bare": bare,
    "bare-pair": bare_pair,
    "sahi": with_sahi,
}


def main() -> None:
    name, *paths = sys.argv[1:]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    imported = _peak()
    wall, cpu = time.perf_counter(), time.process_time()
    JOBS[name](*map(Path, paths))
    cost = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "imported": imported,
        "peak": _peak(),
    }
    print(json.dumps(cost))


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage tells there may be the peak of the process that started this one.
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
