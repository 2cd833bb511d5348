"""Parity bundles: what a published network answers under derived weights, stored as samples of its maps.

A bundle is a folder with `arrays.npz` and `meta.json`; README.md describes both, and the comparison.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_STORED = 16_384
"""Maps with more values are thinned out to about this many."""


@dataclass(frozen=True, kw_only=True)
class ParityBundle:
    """The stored arrays of one system and what is known about them."""

    slug: str
    arrays: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]

    @classmethod
    def load(cls, slug: str) -> ParityBundle:
        """Read the bundle of a system from `$SWATH_PARITY_DIR/<slug>`, or from beside this file."""
        folder = Path(os.environ.get("SWATH_PARITY_DIR") or Path(__file__).parent) / slug
        with np.load(folder / "arrays.npz") as stored:
            arrays = dict(stored)
        return cls(slug=slug, arrays=arrays, meta=json.loads((folder / "meta.json").read_text()))

    def names(self, prefix: str = "") -> list[str]:
        """Names of the stored outputs that start with `prefix`, in the order of computation."""
        return [name for name in self.meta["outputs"] if name.startswith(prefix)]

    def compare(self, name: str, array: NDArray[Any]) -> float:
        """Relative error max|a - b| / max|b| of an output, at the stored pixels and in the map's moments.

        Raises AssertionError where the shape is another.
        """
        about = self.meta["outputs"][name]
        assert list(array.shape) == about["shape"], f"{name}: shape {array.shape}, published {about['shape']}"
        stored = self.arrays[name]
        differences = [
            np.abs(thin(array, about["stride"]).astype(np.float64) - stored).max(),
            abs(array.mean(dtype=np.float64) - about["mean"]),
            abs(array.std(dtype=np.float64) - about["std"]),
        ]
        return float(max(differences) / np.abs(stored).max())


def thin(array: NDArray[Any], stride: int) -> NDArray[Any]:
    """Every `stride`-th pixel along the last two axes."""
    return array[..., ::stride, ::stride] if stride > 1 else array


@dataclass(frozen=True, kw_only=True)
class BundleWriter:
    """Gathers outputs of a published network and writes them as a bundle."""

    slug: str
    arrays: dict[str, NDArray[Any]]
    outputs: dict[str, dict[str, Any]]

    @classmethod
    def start(cls, slug: str) -> BundleWriter:
        """An empty bundle."""
        return cls(slug=slug, arrays={}, outputs={})

    def add_input(self, name: str, array: NDArray[Any]) -> None:
        """Store an input whole."""
        self.arrays[name] = array

    def add_output(self, name: str, array: NDArray[Any]) -> None:
        """Store an output; a large one is thinned by an odd stride, so that every pixel phase is sampled."""
        stride = 1
        while array.ndim >= 2 and thin(array, stride).size > LARGEST_STORED:
            stride += 2
        self.arrays[name] = thin(array, stride).astype(np.float32)
        self.outputs[name] = {
            "shape": list(array.shape),
            "stride": stride,
            "mean": float(array.mean(dtype=np.float64)),
            "std": float(array.std(dtype=np.float64)),
        }

    def write(self, about: Mapping[str, Any]) -> Path:
        """Write the bundle beside this file; `about` joins the description of the outputs in `meta.json`."""
        folder = Path(__file__).parent / self.slug
        folder.mkdir(exist_ok=True)
        np.savez_compressed(folder / "arrays.npz", **self.arrays)
        meta = {"slug": self.slug, **about, "outputs": self.outputs}
        (folder / "meta.json").write_text(json.dumps(meta, separators=(",", ":")) + "\n")
        return folder
