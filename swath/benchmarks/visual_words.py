"""Bags of visual words: local descriptors, a dictionary learned from them, and how often each word occurs where.

The unsupervised half of NWPU-RESISC45's benchmark (Cheng, Han, Lu, Proc. IEEE 2017, arXiv 1703.00121): dense SIFT
(Lowe, IJCV 2004) of 16 x 16 pixels every 8, k-means, and counts over the image (bag of words), over a spatial pyramid
(Lazebnik, Schmid, Ponce, CVPR 2006), or locality-constrained linear codes (Wang et al., CVPR 2010) pooled by their
maximum. Sheet, "Architecture" 2; exact settings are not known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import KMeans

from swath.benchmarks.handcrafted import colours, grey
from swath.errors import ConfigurationError, DataError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.sample import Sample
    from swath.training.feeding import SampleSource

Coding = Literal["count", "locality"]
"""Each descriptor counts for its nearest word, or is written as a mixture of its five nearest words."""

CELL, CELLS, DIRECTIONS = 4, 4, 8  # a patch is 4 x 4 cells of 4 x 4 pixels
STRIDE_CELLS = 2
LARGEST_ENTRY = 0.2
NEAREST, RIDGE = 5, 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalDescriptors:
    """Descriptors (N, 128) float32 and the centres of their patches as shares of height and width (N, 2)."""

    vectors: NDArray[np.float32]
    places: NDArray[np.float64]


def dense_sift(brightness_HW: NDArray[np.float64]) -> LocalDescriptors:
    """Describe patches of 16 x 16 pixels every 8 pixels by the directions of their gradients.

    Cells do not share pixels with their neighbours; directions share with the two nearest. Cells count less towards the
    patch's edge (a Gaussian of 8 pixels). A vector has length 1, no entry above 0.2 before it is brought to length 1
    again; a patch without gradients is 0. Raises `ShapeError` for images smaller than a patch.

    >>> dense_sift(np.eye(32)).vectors.shape
    (9, 128)
    """
    height, width = (side // CELL for side in brightness_HW.shape)
    if min(height, width) < CELLS:
        raise ShapeError(f"descriptors need images of at least 16 x 16 pixels; found {brightness_HW.shape}.")
    down, right = np.gradient(brightness_HW.astype(np.float64))
    strength = np.hypot(down, right)
    turn = (np.arctan2(down, right) % (2 * np.pi)) * DIRECTIONS / (2 * np.pi)
    low = np.floor(turn).astype(int) % DIRECTIONS
    share = turn - np.floor(turn)
    maps = np.zeros((DIRECTIONS, height, width))
    for direction in range(DIRECTIONS):
        part = strength * ((low == direction) * (1 - share) + ((low + 1) % DIRECTIONS == direction) * share)
        cut = part[: height * CELL, : width * CELL].reshape(height, CELL, width, CELL)
        maps[direction] = cut.sum(axis=(1, 3))
    patches = sliding_window_view(maps, (CELLS, CELLS), axis=(1, 2))[:, ::STRIDE_CELLS, ::STRIDE_CELLS]
    vectors = (patches * _cell_weights()).transpose(1, 2, 3, 4, 0).reshape(-1, CELLS * CELLS * DIRECTIONS)
    rows, columns = np.indices(patches.shape[1:3]).reshape(2, -1)
    middle = np.stack([rows, columns], axis=1) * STRIDE_CELLS * CELL + CELL * CELLS / 2
    return LocalDescriptors(
        vectors=_unit(np.minimum(_unit(vectors), LARGEST_ENTRY)).astype(np.float32),
        places=middle / np.array(brightness_HW.shape),
    )


def _cell_weights() -> NDArray[np.float64]:
    offset = (np.arange(CELLS) + 0.5) * CELL - CELL * CELLS / 2
    weights: NDArray[np.float64] = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 8.0**2))
    return weights


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: NDArray[np.float64] = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=units, where=lengths > 1e-12)
    return units


@dataclass(frozen=True, kw_only=True, eq=False)
class BagOfWords:
    """A dictionary and how an image is written with it; `fitted` learns the dictionary from the training part.

    With `levels` above 0 the image is also divided into 2 x 2, 4 x 4, ... cells, each with a histogram of its own,
    weighted as Lazebnik et al. do. At most `descriptors` of them, drawn by chance, make the dictionary.

    >>> BagOfWords(size=200, levels=2).dimensions
    4200
    """

    size: int = 1000
    levels: int = 0
    coding: Coding = "count"
    descriptors: int = 100_000
    seed: int = 0
    words: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.levels < 0 or self.descriptors < self.size:
            raise ConfigurationError(
                f"a dictionary needs at least 1 word, 0 levels and as many descriptors as words; found {self.size}, "
                f"{self.levels} and {self.descriptors}."
            )

    @property
    def cells(self) -> int:
        """How many histograms an image has: 1, 5, 21, ..."""
        return sum(4**level for level in range(self.levels + 1))

    @property
    def dimensions(self) -> int:
        """How many numbers an image has."""
        return self.size * self.cells

    @property
    def name(self) -> str:
        """What reports call it."""
        kind = "bag of visual words" if self.coding == "count" else "locality-constrained linear coding"
        pyramid = f", spatial pyramid of {self.levels + 1} levels" if self.levels else ""
        return f"{kind}, {self.size} words{pyramid}"

    @property
    def fingerprint(self) -> str:
        """A hash of the settings and the dictionary."""
        digest = hashlib.sha256(f"{self.name} {self.seed}".encode())
        digest.update(b"" if self.words is None else self.words.tobytes())
        return digest.hexdigest()

    def fitted(self, samples: SampleSource) -> BagOfWords:
        """Learn the words from the descriptors of samples by k-means; raise `DataError` where there are too few."""
        generator = np.random.default_rng(self.seed)
        share = max(1, self.descriptors // max(len(samples), 1))
        parts = []
        for position in range(len(samples)):
            vectors = dense_sift(grey(colours(samples[position]))).vectors
            parts.append(vectors[generator.permutation(len(vectors))[:share]])
        gathered = np.concatenate(parts) if parts else np.zeros((0, 128), np.float32)
        if len(gathered) < self.size:
            raise DataError(
                f"{self.size} words need as many descriptors; the {len(samples)} images gave {len(gathered)}."
            )
        clusters = KMeans(self.size, n_init=1, max_iter=50, random_state=self.seed).fit(gathered)
        return replace(self, words=clusters.cluster_centers_.astype(np.float32))

    def extract(self, samples: Sequence[Sample]) -> NDArray[np.float32]:
        """Return one vector a sample (N, D); raise `ConfigurationError` before a dictionary is learned."""
        return np.stack([self.describe(dense_sift(grey(colours(sample)))) for sample in samples])

    def describe(self, found: LocalDescriptors) -> NDArray[np.float32]:
        """Return the vector (D,) of the descriptors of one image, of sum 1 (counts) or of length 1 (codes)."""
        codes = self._counted(found.vectors) if self.coding == "count" else self._mixed(found.vectors)
        pools = [
            weight * self._pooled(codes[inside])
            for level, weight in enumerate(self._level_weights())
            for inside in _cells(found.places, 2**level)
        ]
        whole = np.concatenate(pools)
        if self.coding == "count":
            whole = whole / max(len(codes), 1)
        else:
            whole = whole / max(float(np.linalg.norm(whole)), 1e-12)
        return whole.astype(np.float32)

    def _level_weights(self) -> list[float]:
        """Return the weight of each level: of counts, 1/4, 1/4, 1/2 for three levels (Lazebnik et al., eq. 3)."""
        if self.coding == "locality":
            return [1.0] * (self.levels + 1)
        return [2.0 ** -min(self.levels, self.levels - level + 1) for level in range(self.levels + 1)]

    def _pooled(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(codes):
            return np.zeros(self.size)
        pooled: NDArray[np.float64] = codes.sum(axis=0) if self.coding == "count" else codes.max(axis=0)
        return pooled

    def _counted(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        counted: NDArray[np.float64] = np.eye(self.size)[self._distances(vectors).argmin(axis=1)]
        return counted

    def _mixed(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Write each descriptor as a sum of its nearest words whose shares sum to 1 (Wang et al., section 3)."""
        nearest = min(NEAREST, self.size)
        places = np.argsort(self._distances(vectors), axis=1, kind="stable")[:, :nearest]
        shifted = self._learned[places] - vectors[:, None].astype(np.float64)
        gram = shifted @ shifted.transpose(0, 2, 1)
        trace = np.trace(gram, axis1=1, axis2=2)[:, None, None]
        gram = gram + np.eye(nearest) * (RIDGE * trace + 1e-12)
        shares = np.linalg.solve(gram, np.ones((len(vectors), nearest, 1)))[..., 0]
        shares /= shares.sum(axis=1, keepdims=True)
        codes = np.zeros((len(vectors), self.size))
        np.put_along_axis(codes, places, shares, axis=1)
        return codes

    def _distances(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        words, points = self._learned, vectors.astype(np.float64)
        distances: NDArray[np.float64] = (words**2).sum(1) - 2 * points @ words.T + (points**2).sum(1)[:, None]
        return distances

    @property
    def _learned(self) -> NDArray[np.float64]:
        if self.words is None:
            raise ConfigurationError("this dictionary has no words yet; learn them with fitted(samples).")
        return self.words.astype(np.float64)


def _cells(places: NDArray[np.float64], side: int) -> list[NDArray[np.bool_]]:
    """Return which places lie in each of side x side cells, row by row."""
    rows, columns = np.minimum((places * side).astype(int), side - 1).T
    return [(rows == row) & (columns == column) for row in range(side) for column in range(side)]
