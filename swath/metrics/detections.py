"""What every measure of detection does first: read both sides, match classes by name, and judge at every size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from swath.errors import AnnotationError
from swath.metrics.base import Ranking, Tally, expect_same_frame
from swath.metrics.classes import class_positions
from swath.metrics.confusion import true_positions
from swath.metrics.matching import Judged
from swath.metrics.overlaps import meetings
from swath.samples.objects import Objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.metrics.overlaps import Meetings, Shape
    from swath.metrics.sizes import SizeRanges
    from swath.samples.annotation import Annotation


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """An image's detections of the classes measured, its truths, and the class of each, (D,) and (M,)."""

    said: Objects
    true: Objects
    shape: Shape
    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64]

    @classmethod
    def of(cls, prediction: Annotation, truth: Annotation, classes: tuple[str, ...], shape: Shape) -> Detections:
        """Read both sides; predictions of classes that are none of `classes` are left out.

        Raises `AnnotationError` for other kinds, frames of different size, and a truth of a class not measured.
        """
        said, true = expect_objects(prediction, "prediction"), expect_objects(truth, "truth")
        expect_same_frame(said, true)
        true_labels = true_positions(true.classes, classes)[true.labels]
        labels = class_positions(said.classes, classes)[said.labels]
        measured = labels < len(classes)
        if not measured.all():
            said, labels = said.select(measured), labels[measured]
        return cls(said=said, true=true, shape=shape, labels=labels, true_labels=true_labels)

    def select(self, chosen: NDArray[np.bool_]) -> Detections:
        """Return the same image with the detections (D,) chosen."""
        return self if chosen.all() else replace(self, said=self.said.select(chosen), labels=self.labels[chosen])

    def meetings(self, *, regions: bool) -> Meetings:
        """Return which detections meet which truths; with `regions`, ignored truths may be covered in part."""
        return meetings(self.said, self.true, self.shape, regions=self.true.ignored if regions else None)

    def judged(
        self, pairs: Meetings, sizes: SizeRanges | None, labels: NDArray[np.int64], true_labels: NDArray[np.int64]
    ) -> Judged:
        """Return the image ready to be judged, where detections match truths of the same label, (D,) and (M,)."""
        ignored = self.true.ignored[None]
        outside = np.zeros((1, len(self.said)), dtype=np.bool_)
        aside = ignored
        if sizes is not None:
            outside = sizes.outside(self.said, self.shape, truth=False)
            aside = ignored | sizes.outside(self.true, self.shape, truth=True)
        return Judged(
            scores=self.said.scores,
            meetings=pairs.where(labels[pairs.said] == true_labels[pairs.true]),
            regions=self.true.ignored,
            aside=aside,
            outside=outside,
        )

    def truths(self, judged: Judged, classes: int) -> NDArray[np.int64]:
        """Count the truths that are asked for of each class in each range of size, (classes, A)."""
        counts = [np.bincount(self.true_labels[~aside], minlength=classes) for aside in judged.aside]
        return np.stack(counts, axis=1).astype(np.int64)


def expect_objects(annotation: Annotation, what: str) -> Objects:
    """Return the annotation when it is one of objects; raise `AnnotationError` saying what was found."""
    if not isinstance(annotation, Objects):
        raise AnnotationError(f"This metric compares Objects annotations; the {what} is a {type(annotation).__name__}.")
    return annotation


def ranked_tally(detections: Detections, marks: list[NDArray[np.int64]], counts: list[NDArray[np.int64]]) -> Tally:
    """Return the tally of an image: its detections with their class and further marks (D,) or (D, C), and counts."""
    columns = np.column_stack([detections.labels, *marks]).astype(np.int64)
    return Tally(
        counts=np.concatenate([count.ravel() for count in counts]).astype(np.int64),
        sums=np.zeros(0),
        ranked=(Ranking.of(detections.said.scores, columns),),
    )


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are not NaN, NaN where there are none.

    >>> mean_of_known(np.array([0.5, np.nan]))
    0.5
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def told_threshold(threshold: float) -> str:
    """Return a threshold for the name of a figure, without the noise of its rounding.

    >>> told_threshold(0.6000000000000001)
    '0.6'
    """
    return f"{threshold:.6g}"
