"""What an evaluation keeps so that two of them can be compared: the tally of every image, by its key."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.benchmarks.bootstrap import SparseRows, TallyTable
from swath.errors import DataError
from swath.metrics.base import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swath.metrics.base import Metric


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The tally of every image that was evaluated, the images' keys in the same order, and the metric they are of.

    >>> from swath.metrics.points import PointMetric
    >>> from swath.samples.vectors import Points
    >>> metric, table = PointMetric(radii=(3.0,)), TallyTable()
    >>> tree = Points.of([[1, 1]], classes=("tree",), height=4, width=4)
    >>> table.add(metric.tally(tree, tree))
    >>> Evidence(metric=metric, keys=("a.tif",), tallies=table).figures()["F1 (3 px)"]
    1.0
    """

    metric: Metric
    keys: tuple[str, ...]
    tallies: TallyTable

    def figures(self) -> dict[str, float]:
        """Return the figures over all images."""
        return self.metric.figures(self.tallies.total())

    def right(self) -> NDArray[np.bool_] | None:
        """Return which images were wholly right, (N,), None for metrics of which an image is neither right nor
        wrong."""
        answers = [self.metric.right(tally) for tally in self.tallies.rows()]
        return None if None in answers else np.array(answers, dtype=np.bool_)

    def in_order_of(self, keys: Sequence[str]) -> Evidence:
        """Return the same images in the order of these keys; raise `DataError` unless they are the same images."""
        if self.keys == tuple(keys):
            return self
        places = {key: place for place, key in enumerate(self.keys)}
        missing = [key for key in keys if key not in places]
        if missing or len(keys) != len(self.keys):
            found = f"'{missing[0]}' is missing" if missing else f"there are {len(self.keys)} instead of {len(keys)}"
            raise DataError(f"Models are compared on the same images, but {found}; evaluate both on the same part.")
        return replace(self, keys=tuple(keys), tallies=self.tallies.ordered([places[key] for key in keys]))

    def write(self, path: str | Path, *, fingerprint: str) -> None:
        """Write keys and tallies as a compressed archive of arrays (.npz), marked with the model's fingerprint."""
        rows = {"counts": self.tallies.counts, "sums": self.tallies.sums}
        arrays: dict[str, Any] = {"keys": np.array(self.keys), "fingerprint": np.array(fingerprint)}
        for kind, table in rows.items():
            matrix = table.matrix()
            arrays |= {
                f"{kind}_values": matrix.data,
                f"{kind}_columns": matrix.indices,
                f"{kind}_ends": matrix.indptr,
                f"{kind}_width": np.array(table.width),
            }
        if self.tallies.ranked:
            whole = Ranking.joined(self.tallies.ranked)
            ends = np.cumsum([len(part) for part in self.tallies.ranked])
            arrays |= {"ranked_scores": whole.scores, "ranked_marks": whole.marks, "ranked_ends": ends}
        # Through a stream, because numpy appends .npz to names that lack it.
        with Path(path).open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def read(cls, path: str | Path, metric: Metric, *, fingerprint: str) -> Evidence:
        """Read what `write` wrote; raise `DataError` for a broken file or one of another model."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = str(arrays["fingerprint"])
                keys = tuple(arrays["keys"].tolist())
                tallies = TallyTable(_rows(arrays, "counts"), _rows(arrays, "sums"), _ranked(arrays))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"The tallies in {path} cannot be read ({error}); evaluate the model again.") from error
        if found != fingerprint:
            raise DataError(f"The tallies in {path} are those of another model; evaluate the model again.")
        return cls(metric=metric, keys=keys, tallies=tallies)


def _rows(arrays: Mapping[str, NDArray[Any]], kind: str) -> SparseRows:
    cuts = arrays[f"{kind}_ends"][1:-1]
    return SparseRows(
        values=np.split(arrays[f"{kind}_values"], cuts),
        columns=np.split(arrays[f"{kind}_columns"], cuts),
        width=int(arrays[f"{kind}_width"]),
    )


def _ranked(arrays: Mapping[str, NDArray[Any]]) -> list[Ranking]:
    """Return what is ranked of each image, nothing for metrics that rank nothing."""
    if "ranked_ends" not in arrays:
        return []
    cuts = arrays["ranked_ends"][:-1]
    parts = zip(np.split(arrays["ranked_scores"], cuts), np.split(arrays["ranked_marks"], cuts), strict=True)
    return [Ranking.of(scores, marks) for scores, marks in parts]
