"""What several tests of imagery need: the folder of real files, and small rasters written on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

UTM = "EPSG:32633"
TEN_METRES = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


@pytest.fixture(scope="session")
def data() -> Path:
    return Path(__file__).parent.parent / "data"


@pytest.fixture
def write_raster(tmp_path: Path) -> Callable[..., str]:
    def write(
        name: str,
        values: np.ndarray,
        *,
        colours: Sequence[str] = (),
        descriptions: Sequence[str] = (),
        tags: dict[str, str] | None = None,
        units: Sequence[str] = (),
        scales: Sequence[float] = (),
        offsets: Sequence[float] = (),
        mask: np.ndarray | None = None,
        **profile: Any,
    ) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"driver": "GTiff", "crs": UTM, "transform": TEN_METRES, **profile}
        count, height, width = values.shape
        with rasterio.open(
            path, "w", count=count, height=height, width=width, dtype=values.dtype, **options
        ) as dataset:
            dataset.write(values)
            if colours:
                dataset.colorinterp = [ColorInterp[colour] for colour in colours]
            for band, text in enumerate(descriptions, start=1):
                dataset.set_band_description(band, text)
            if tags:
                dataset.update_tags(**tags)
            for attribute, value in (("units", units), ("scales", scales), ("offsets", offsets)):
                if value:
                    setattr(dataset, attribute, tuple(value))
            if mask is not None:
                dataset.write_mask(mask)
        return str(path)

    return write
