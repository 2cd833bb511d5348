"""How well things are found and counted as points.

At each radius predictions and truths are paired one to one, so that as many as possible are paired and, among
such pairings, the summed distance is least. Neither scores nor the order of the points matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from swath.errors import AnnotationError, ConfigurationError
from swath.metrics.base import Metric, Tally, expect_kind, expect_same_frame, harmonic_mean, share
from swath.metrics.classes import class_positions
from swath.metrics.confusion import true_positions
from swath.metrics.counting import CountErrors
from swath.samples.vectors import Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation

POINTS_A_SOLVE = 400
"""Groups out of each other's reach share a solve up to about this size; the solver is superlinear."""


@dataclass(frozen=True, eq=False)
class Matches:
    """A one-to-one matching: positions in the predictions and in the truths, and the distances, all (M,)."""

    predicted: NDArray[np.int64]
    true: NDArray[np.int64]
    distance: NDArray[np.float64]


def match_points(predicted: NDArray[np.floating], true: NDArray[np.floating], radius: float) -> Matches:
    """Pair points (N, 2) and (M, 2) at most `radius` apart: most pairs first, then least distance.

    Points out of each other's reach are solved apart, so that the cost grows about linearly with a scene.

    >>> said, true = np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([[3.0, 0.0], [7.0, 0.0]])
    >>> pairs = match_points(said, true, radius=3.0)
    >>> pairs.predicted.tolist(), pairs.true.tolist()
    ([0, 1], [0, 1])
    """
    if not (len(predicted) and len(true)):
        return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    said_xy, true_xy = predicted.astype(np.float64), true.astype(np.float64)
    near = KDTree(said_xy).sparse_distance_matrix(KDTree(true_xy), radius, output_type="ndarray")
    order = np.lexsort((near["j"], near["i"]))
    rows, columns, distance = near["i"][order], near["j"][order], near["v"][order]
    chunk = _chunks(rows, columns, len(said_xy), len(true_xy))
    solved = [_solve(rows[part], columns[part], distance[part], radius) for part in _runs(chunk)]
    chosen = np.concatenate([part[keep] for part, keep in zip(_runs(chunk), solved, strict=True)] or [chunk])
    return Matches(rows[chosen], columns[chosen], distance[chosen])


def _chunks(rows: NDArray[np.int64], columns: NDArray[np.int64], said: int, true: int) -> NDArray[np.int64]:
    """Return a number for each pair, shared by all pairs of a connected group and by several small groups."""
    edges = csr_array((np.ones(len(rows), np.int8), (rows, columns + said)), shape=(said + true, said + true))
    _, group = connected_components(edges, directed=False)
    filled = np.cumsum(np.bincount(group))
    chunks: NDArray[np.int64] = (filled // POINTS_A_SOLVE)[group[rows]].astype(np.int64)
    return chunks


def _runs(chunk: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Return the positions of each number in turn."""
    order = np.argsort(chunk, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(chunk[order])) + 1) if len(chunk) else []


def _solve(
    rows: NDArray[np.int64], columns: NDArray[np.int64], distance: NDArray[np.float64], radius: float
) -> NDArray[np.intp]:
    """Return which of the pairs (as edges of a bipartite graph) make the best matching.

    Each prediction may also stay alone, at a price above that of any rearrangement; a full matching of least
    weight therefore has the most pairs. One is added to all weights because sparse solvers drop edges of
    weight zero.
    """
    said, row = np.unique(rows, return_inverse=True)
    true, column = np.unique(columns, return_inverse=True)
    alone = (radius + 1.0) * (min(len(said), len(true)) + 1)
    weights = np.concatenate([distance + 1.0, np.full(len(said), alone)])
    places = (
        np.concatenate([row, np.arange(len(said))]),
        np.concatenate([column, len(true) + np.arange(len(said))]),
    )
    graph = csr_array((weights, places), shape=(len(said), len(true) + len(said)))
    matched_row, matched_column = min_weight_full_bipartite_matching(graph)
    partner = np.full(len(said), -1)
    partner[matched_row] = matched_column
    return np.flatnonzero(partner[row] == column)


@dataclass(frozen=True, eq=False)
class PointMetric(Metric):
    """Precision, recall and F1 at each radius from totals over the set, and errors of the counts an image.

    `radii` are in metres, `gsd` is the metres a pixel; without `gsd` radii and distances are in pixels.
    Points match only points of the same class, by name; with several classes the totals run over all of them.
    The count figures are those of `CountErrors`. All 0 / 0 of precision, recall and F1 are 0; other figures
    without a meaning are NaN. Points to be ignored have no rule here and are refused.

    >>> trees = {"classes": ("tree",), "height": 64, "width": 64}
    >>> metric = PointMetric(radii=(6.0, 3.0), gsd=0.6)
    >>> metric.update(Points.of([[10, 10], [40, 40]], **trees), Points.of([[10, 19]], **trees))
    >>> round(metric.compute()["F1 (6 m)"], 4), metric.compute()["F1 (3 m)"]
    (0.6667, 0.0)
    """

    radii: tuple[float, ...]
    gsd: float | None = None

    def __post_init__(self) -> None:
        if not self.radii or min(self.radii) <= 0 or (self.gsd is not None and self.gsd <= 0):
            raise ConfigurationError(
                "A point metric needs positive radii and a positive ground-sample distance; "
                f"found {self.radii} and {self.gsd}."
            )

    def tally(self, prediction: Annotation, truth: Annotation) -> Tally:
        """Match one image's points; raise `AnnotationError` unless both are `Points` on one frame, none ignored."""
        said, true = expect_kind(prediction, Points, "prediction"), expect_kind(truth, Points, "truth")
        expect_same_frame(said, true)
        if true.ignored.any():
            raise AnnotationError(
                "Matching of points has no rule for ignored truths; select those that are not ignored before measuring."
            )
        scale = self.gsd or 1.0
        true_positions(true.classes, said.classes)
        label_said = class_positions(said.classes, true.classes)[said.labels]
        pairs, distances = [], []
        for radius in self.radii:
            by_class = [
                match_points(said.points[label_said == label], true.points[true.labels == label], radius / scale)
                for label in range(len(true.classes))
            ]
            pairs.append(sum(len(matches.distance) for matches in by_class))
            distances.append(sum(float(matches.distance.sum()) for matches in by_class) * scale)
        error = len(said) - len(true)
        counts = [
            1,
            len(said),
            len(true),
            abs(error),
            error * error,
            len(true) ** 2,
            int(len(true) > 0),
            *pairs,
        ]
        relative = abs(error) / len(true) if len(true) else 0.0
        return Tally(counts=np.array(counts, dtype=np.int64), sums=np.array([relative, *distances]))

    def figures(self, total: Tally) -> dict[str, float]:
        """Read the figures off a total; fractions, counts, and distances in metres (or pixels)."""
        images, said, true, absolute, squared, true_squared, with_points, *pairs = total.counts.tolist()
        figures: dict[str, float] = {}
        for radius, found, distance in zip(self.radii, pairs, total.sums[1:].tolist(), strict=True):
            precision, recall = share(found, said), share(found, true)
            at = f"({radius:g} {'px' if self.gsd is None else 'm'})"
            figures[f"F1 {at}"] = harmonic_mean(precision, recall)
            figures[f"precision {at}"] = precision
            figures[f"recall {at}"] = recall
            figures[f"mean distance of matches {at}"] = distance / found if found else math.nan
        errors = CountErrors(
            images=images,
            with_truth=with_points,
            said=said,
            true=true,
            absolute=absolute,
            squared=squared,
            true_squared=true_squared,
            relative=float(total.sums[0]),
        )
        return figures | errors.figures()
