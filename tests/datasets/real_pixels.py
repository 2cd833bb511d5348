"""Real pixels for fixtures in the layouts of published data sets: two NAIP dates, a Sentinel-2 patch, EuroSAT chips."""

from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

DATA = Path(__file__).parents[1] / "data"
CHIPS = sorted((DATA / "eurosat_rgb").glob("*/*.jpg"))


def _read(path):
    with rasterio.open(path) as file:
        return file.read()


NAIP_2009, NAIP_2014 = (_read(path) for path in sorted((DATA / "naip_series").glob("*.tif")))
SENTINEL = _read(next((DATA / "s2_time_series").glob("*.tif")))
"""(13, 96, 96) uint16, B01 to B12 with B8A ninth."""


def pair(number, size=32):
    """One of several places at two dates, (3, H, W) each, and where they differ much, (H, W) bool."""
    row, column = size * (number // 5), size * (number % 5)
    before, after = (naip[:3, row : row + size, column : column + size] for naip in (NAIP_2009, NAIP_2014))
    difference = np.abs(before.astype(int) - after).mean(axis=0)
    return before, after, difference > np.median(difference)


def save(array, path, **options):
    """Save (C, H, W) or (H, W) in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = array.transpose(1, 2, 0) if array.ndim == 3 else array
    Image.fromarray(np.ascontiguousarray(picture)).save(path, **options)
    return path


def save_pair(number, before, after, label, *, high=255, size=32):
    """Save a pair and its mask of 0 and `high` to three paths."""
    one, two, changed = pair(number, size)
    save(one, before)
    save(two, after)
    save(changed.astype(np.uint8) * np.uint8(high), label)


def folders(root, names=("A", "B", "label"), parts=(("train", 3), ("val", 1), ("test", 2)), suffix=".png", **options):
    """Pairs in `<root>/<part>/{A,B,label}`, numbered through."""
    number = 0
    for part, count in parts:
        for _ in range(count):
            save_pair(number, *(root / part / name / f"{number:02d}{suffix}" for name in names), **options)
            number += 1
    return root


def write_tiff(path, values, **profile):
    """Write (C, H, W) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, count=count, height=height, width=width, **profile
    ) as file:
        file.write(values)
    return path
