"""Exact nearest neighbours: who they are, and what they vote for.

Equal to scikit-learn's `KNeighborsClassifier` with Euclidean distances and uniform votes: where votes tie, the smallest
class wins. Where distances tie exactly, the earlier training image is the nearer one (scikit-learn leaves that to its
search tree).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from swath.errors import ConfigurationError, DataError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

NUMBERS_A_STEP = 1 << 24
"""How many distances, or differences, are held at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NearestNeighbours:
    """Training features (N, D) with their truth: classes (N,) by number, or labels (N, K) of 0 and 1.

    `classes` is K. Raises `ShapeError` for features that are no matrix or do not fit the truth, `DataError` for numbers
    that are not finite, and `ConfigurationError` unless there are at least `count` images.

    >>> train = NearestNeighbours(
    ...     features=np.array([[0.0], [1.0], [9.0]]), truth=np.array([1, 1, 0]), classes=2, count=2
    ... )
    >>> train.shares(np.array([[0.4], [9.0]])).tolist()
    [[0.0, 1.0], [0.5, 0.5]]
    """

    features: NDArray[np.floating]
    truth: NDArray[np.integer]
    classes: int
    count: int = 5

    def __post_init__(self) -> None:
        check_features(self.features)
        if len(self.truth) != len(self.features):
            raise ShapeError(f"{len(self.features)} feature vectors need as many truths; found {len(self.truth)}.")
        if not 1 <= self.count <= len(self.features):
            raise ConfigurationError(
                f"{self.count} nearest neighbours need at least as many training images; found {len(self.features)}."
            )

    def indices(self, queries: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the places (M, count) of the nearest training images of each query (M, D), nearest first."""
        check_features(queries)
        if queries.shape[1] != self.features.shape[1]:
            raise ShapeError(f"queries need {self.features.shape[1]} features; found {queries.shape[1]}.")
        train = torch.from_numpy(self.features)
        centre = train.double().mean(0)
        centred = train.to(torch.float64, copy=True).sub_(centre)
        rows = max(1, NUMBERS_A_STEP // len(train))
        found = []
        for block in torch.split(torch.from_numpy(queries).double(), rows):
            candidates = _candidates(block - centre, centred, self.count, scale=float(train.abs().max()))
            found.append(_nearest(block, train, candidates, self.count))
        nearest: NDArray[np.int64] = torch.cat(found).numpy()
        return nearest

    def shares(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the share (M, K) of the neighbours of each query that have each class, or each label."""
        voters = self.truth[self.indices(queries)]
        votes = voters if voters.ndim == 3 else np.eye(self.classes, dtype=np.int64)[voters]
        shares: NDArray[np.float64] = votes.sum(axis=1) / self.count
        return shares


def decide(shares: NDArray[np.floating], *, exclusive: bool) -> NDArray[np.int64]:
    """Return the class (M,) with most votes, the smallest where they tie, or the labels (M, K) that a majority has.

    >>> decide(np.array([[0.4, 0.2, 0.4]]), exclusive=True), decide(np.array([[0.4, 0.6]]), exclusive=False)
    (array([0]), array([[0, 1]]))
    """
    if exclusive:
        return np.asarray(shares.argmax(axis=1), dtype=np.int64)
    return (shares > 0.5).astype(np.int64)


def check_features(features: NDArray[np.floating]) -> None:
    """Raise `ShapeError` unless features are a matrix, and `DataError` unless all its numbers are finite."""
    if features.ndim != 2 or not features.size:
        raise ShapeError(f"features must be a matrix (images, numbers); found the shape {features.shape}.")
    if not np.isfinite(features).all():
        raise DataError("the features hold numbers that are not finite; check the images and the embedder's weights.")


def _candidates(queries: Tensor, train: Tensor, count: int, *, scale: float) -> Tensor:
    """Return the places (M, m) of all rows of `train` that may be among the nearest, by a product of matrices.

    Both are centred, and `scale` is the largest number before that. What rounding may have made of a distance is
    allowed for on both sides.
    """
    own, squares = torch.linalg.vecdot(queries, queries), torch.linalg.vecdot(train, train)
    rough = squares + own[:, None] - 2 * queries @ train.T
    largest, width = squares.max() + own, queries.shape[1]
    unit = torch.finfo(torch.float64).eps
    step = unit * (scale + largest.sqrt())
    rounding = 8 * width * unit * largest + 8 * (width * largest).sqrt() * step + 8 * width * step.square()
    limit = rough.kthvalue(count, dim=1).values + 2 * rounding
    most = int((rough <= limit[:, None]).sum(1).max())
    candidates: Tensor = rough.topk(most, dim=1, largest=False).indices.sort(dim=1).values
    return candidates


def _nearest(queries: Tensor, train: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Return the nearest of each query's candidates, by distances that are taken number by number."""
    rows = max(1, NUMBERS_A_STEP // (candidates.shape[1] * queries.shape[1]))
    distances = torch.cat(
        [
            (train[some].double() - query[:, None]).square_().sum(2)
            for some, query in zip(torch.split(candidates, rows), torch.split(queries, rows), strict=True)
        ]
    )
    order = distances.argsort(dim=1, stable=True)[:, :count]
    return candidates.gather(1, order)
