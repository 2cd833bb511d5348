"""What scores mean: the class of an image, the classes of its pixels, or the centres of things.

A network that gives a (B, K, H, W) map is the same network whether its map is read as land cover or as tree centres;
these frozen dataclasses carry the difference: how many channels there are, which loss fits, and how scores become
annotations. They are part of a model's configuration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from swath.errors import ConfigurationError, DataError
from swath.samples.labels import Label
from swath.samples.objects import MergeRule
from swath.samples.rasters import ClassMap
from swath.samples.vectors import Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.annotation import Annotation
    from swath.samples.batch import Batch


_LEAST = 1e-12
"""What a sum of weights is at least, so that a batch of which nothing counts has the loss 0."""


@dataclass(frozen=True, kw_only=True)
class ScoreMap:
    """Undecided class scores of an image, (K, H, W) float32: what dense stitching blends.

    >>> ScoreMap(scores=np.zeros((2, 1, 1), np.float32), classes=("land", "water")).decided().labels.tolist()
    [[0]]
    """

    scores: NDArray[np.float32]
    classes: tuple[str, ...]
    scores_are: Literal["logit", "probability"] = "logit"

    def decided(self, ignore: int = 255) -> ClassMap:
        """Return the map of the best class with its confidence."""
        return ClassMap.from_scores(self.scores, self.classes, scores_are=self.scores_are, ignore=ignore)


@dataclass(frozen=True, kw_only=True)
class ClassOutput:
    """What all outputs share: the classes in order, and how much each counts in the loss.

    `class_weights` are one number a class, or none, which counts all alike. They belong to a training and are not saved
    with a model. A subclass with a loss of its own weighs no classes unless it says so by `weighs_classes`.

    >>> ClassificationOutput(classes=("land", "water")).weighing((1.0, 3.0)).class_weights
    (1.0, 3.0)
    """

    classes: tuple[str, ...]
    class_weights: Annotated[tuple[float, ...], Field(exclude=True)] = ()
    weighs_classes: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "loss" in vars(cls):
            cls.weighs_classes = bool(vars(cls).get("weighs_classes", False))

    def weighing(self, weights: tuple[float, ...]) -> Self:
        """Return this output with other weights of the classes."""
        return replace(self, class_weights=weights)

    def weights_like(self, values: Tensor) -> Tensor:
        """Return the weights (K,) as a tensor of the kind and place of another."""
        return values.new_tensor(self.class_weights)


@dataclass(frozen=True, kw_only=True)
class ClassificationOutput(ClassOutput):
    """The whole image has one class.

    The loss is cross-entropy against the scores of the label (soft when images were mixed), smoothed as
    target (1 - e) + e / K ("original" smoothing of Szegedy et al. 2016). With `class_weights` w it is the weighted mean
    sum w t log p / sum w y over images and classes, with t the smoothed and y the plain target, as PyTorch's is.
    `temperature` divides the logits when probabilities are told, not in the loss (Guo et al. 2017); training on a
    declared data set chooses it.

    >>> ClassificationOutput(classes=("land", "water")).channels
    2
    """

    label_smoothing: float = 0.0
    temperature: float = 1.0
    kind: Literal["classification"] = "classification"
    weighs_classes: ClassVar[bool] = True
    task: ClassVar[str] = "scene-classification"

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ConfigurationError(f"a temperature is above 0; found {self.temperature}.")

    @property
    def channels(self) -> int:
        """How many scores the network gives: one a class."""
        return len(self.classes)

    def loss(self, logits_BK: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy` against the labels of the batch."""
        labels = [target for target in batch.targets or () if isinstance(target, Label)]
        if len(labels) != len(logits_BK):
            raise DataError(
                f"this output learns from a label an image; the batch of {len(logits_BK)} has {len(labels)}."
            )
        truth = torch.from_numpy(np.stack([label.scores for label in labels])).to(logits_BK)
        smoothed = truth * (1 - self.label_smoothing) + self.label_smoothing / self.channels
        terms_BK = -smoothed * logits_BK.log_softmax(1)
        if not self.class_weights:
            return {"cross_entropy": terms_BK.sum(1).mean()}
        weights_K = self.weights_like(truth)
        return {"cross_entropy": (terms_BK * weights_K).sum() / (truth * weights_K).sum().clamp(min=_LEAST)}

    def annotations(self, logits_BK: Tensor, batch: Batch) -> list[Annotation]:
        """Return one `Label` an image, with the probability of every class."""
        return self.labels(self.probabilities(logits_BK), batch)

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        """Return the probability of every class (B, K), in 32-bit floats."""
        return (logits_BK.float() / self.temperature).softmax(1)

    def labels(self, shares_BK: Tensor, batch: Batch) -> list[Annotation]:
        """Return one `Label` an image from probabilities."""
        shares = shares_BK.detach().to("cpu", torch.float32).numpy()
        return [Label(size=batch.size, scores=share, classes=self.classes) for share in shares]


@dataclass(frozen=True, kw_only=True)
class SegmentationOutput(ClassOutput):
    """Every pixel has one class; two classes may be told by one channel (a sigmoid) as binary networks do.

    The loss is cross-entropy plus soft Dice, as `cross_entropy` and `dice`; pixels labelled `ignore` count in
    neither. Dice is 1 - (2 sum pt + 1) / (sum p + sum t + 1) over the batch, averaged over the classes (over the
    foreground alone with one channel). `class_weights` make the cross-entropy a mean weighted by the class of each
    pixel; Dice, in which all classes count alike, is as without.

    >>> SegmentationOutput(classes=("background", "building"), binary=True).channels
    1
    """

    binary: bool = False
    ignore: int = 255
    dice: float = 1.0
    kind: Literal["segmentation"] = "segmentation"
    weighs_classes: ClassVar[bool] = True
    task: ClassVar[str] = "semantic-segmentation"

    def __post_init__(self) -> None:
        if self.binary and len(self.classes) != 2:
            raise ConfigurationError(
                f"a binary output has two classes, background first; found {len(self.classes)}: {self.classes}."
            )

    @property
    def channels(self) -> int:
        """How many score maps the network gives."""
        return 1 if self.binary else len(self.classes)

    def loss(self, logits_BKHW: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy` and `dice` against the class maps of the batch, in 32-bit floats."""
        logits_BKHW = logits_BKHW.float()
        target_BHW = self.targets(logits_BKHW, batch)
        known = target_BHW != self.ignore
        safe = torch.where(known, target_BHW, 0)
        if self.binary:
            truth = (target_BHW == 1).to(logits_BKHW.dtype)
            entropy = functional.binary_cross_entropy_with_logits(logits_BKHW[:, 0], truth, reduction="none")
            share = torch.sigmoid(logits_BKHW[:, 0]).unsqueeze(1)
            truth_BKHW = truth.unsqueeze(1)
        else:
            entropy = functional.cross_entropy(logits_BKHW, target_BHW, ignore_index=self.ignore, reduction="none")
            share = logits_BKHW.softmax(1)
            truth_BKHW = functional.one_hot(safe, self.channels).movedim(-1, 1).to(share.dtype)
        weight = known.to(share.dtype)
        counted = weight * self.weights_like(share)[safe] if self.class_weights else weight
        cross_entropy = (entropy * counted).sum() / counted.sum().clamp(min=_LEAST)
        return {"cross_entropy": cross_entropy, "dice": self.dice * soft_dice(share, truth_BKHW, weight)}

    def annotations(self, logits_BKHW: Tensor, batch: Batch) -> list[Annotation]:
        """Return one `ClassMap` an image whose scores are logits (classes, height, width)."""
        del batch
        return [scores.decided(self.ignore) for scores in self.score_maps(logits_BKHW)]

    def score_maps(self, logits_BKHW: Tensor) -> list[ScoreMap]:
        """Return the logits of every class (one channel becomes two, 0 and its logit) without deciding any pixel."""
        logits = logits_BKHW.detach().to("cpu", torch.float32)
        if self.binary:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return [ScoreMap(scores=scores.numpy(), classes=self.classes) for scores in logits]

    def targets(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the labels of the batch's class maps (B, H, W); raise `DataError` unless each image has one."""
        maps = [target for target in batch.targets or () if isinstance(target, ClassMap)]
        if len(maps) != len(logits):
            raise DataError(
                f"segmentation learns from a class map an image; the batch of {len(logits)} has {len(maps)}."
            )
        stacked = np.stack([m.labels for m in maps]).astype(np.int64)
        return torch.from_numpy(stacked).to(logits.device)


def soft_dice(share_BKHW: Tensor, truth_BKHW: Tensor, weight_BHW: Tensor) -> Tensor:
    """Return 1 - (2 sum pt + 1) / (sum p + sum t + 1), sums over batch and pixels, mean over the channels.

    >>> one = torch.ones(1, 1, 2, 2)
    >>> round(float(soft_dice(one, one, one[:, 0])), 6)
    0.0
    """
    weight = weight_BHW.unsqueeze(1)
    both = (share_BKHW * truth_BKHW * weight).sum((0, 2, 3))
    total = ((share_BKHW + truth_BKHW) * weight).sum((0, 2, 3))
    return (1 - (2 * both + 1) / (total + 1)).mean()


@dataclass(frozen=True, kw_only=True)
class PointOutput(ClassOutput):
    """Each class has a map of how likely a centre is; its local maxima are the points.

    Truth is a Gaussian bump of `sigma` pixels at each centre (the largest where bumps meet). The loss is the
    penalty-reduced focal loss of CornerNet (Law and Deng 2018, eq. 1) as CenterNet uses it, with exponents 2 and 4,
    divided by the number of centres; `class_weights` multiply the map and the centres of each class. A point is a pixel
    that no pixel within `minimum_distance` exceeds and that reaches `threshold`; its place is refined by a parabola
    through its neighbours.

    >>> PointOutput(classes=("tree",), sigma=2.0, minimum_distance=4.0, threshold=0.3).channels
    1
    """

    sigma: float
    minimum_distance: float
    threshold: float
    kind: Literal["points"] = "points"
    weighs_classes: ClassVar[bool] = True
    task: ClassVar[str] = "object-detection"

    @property
    def channels(self) -> int:
        """How many score maps the network gives: one a class."""
        return len(self.classes)

    @property
    def merge_rule(self) -> MergeRule:
        """Points of overlapping windows nearer than the minimum distance are one."""
        return MergeRule(radius=self.minimum_distance)

    def loss(self, logits_BKHW: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return `focal` against the points of the batch, in 32-bit floats; invalid pixels do not count."""
        logits_BKHW = logits_BKHW.float()
        truth = torch.stack([self._bumps(target, logits_BKHW) for target in self._targets(logits_BKHW, batch)])
        log_p = functional.logsigmoid(logits_BKHW)
        log_not_p = functional.logsigmoid(-logits_BKHW)
        p = torch.sigmoid(logits_BKHW)
        centre = truth >= 1.0
        positive = torch.where(centre, (1 - p).square() * log_p, 0.0)
        negative = torch.where(centre, 0.0, (1 - truth).pow(4) * p.square() * log_not_p)
        terms = positive + negative
        for mask in batch.valid.values():
            if mask is not None:
                terms = terms * mask.unsqueeze(1)
                centre = centre & mask.unsqueeze(1)
        if not self.class_weights:
            return {"focal": -terms.sum() / centre.sum().clamp(min=1)}
        weights_K11 = self.weights_like(terms)[:, None, None]
        count = (centre * weights_K11).sum()
        return {"focal": -(terms * weights_K11).sum() / torch.where(count > 0, count, 1.0)}

    def annotations(self, logits_BKHW: Tensor, batch: Batch) -> list[Annotation]:
        """Return `Points` an image, best first."""
        scores = torch.sigmoid(logits_BKHW.detach().to("cpu", torch.float32))
        for mask in batch.valid.values():
            if mask is not None:
                scores = scores * mask.cpu().unsqueeze(1)
        reach = max(1, round(self.minimum_distance))
        peaks = functional.max_pool2d(scores, 2 * reach + 1, stride=1, padding=reach)
        chosen = (scores >= peaks) & (scores >= self.threshold)
        found = [self._points(image, hits) for image, hits in zip(scores.numpy(), chosen.numpy(), strict=True)]
        # Neighbours of one height are all peaks: of those too close together one stays.
        return [points.deduplicated(self.merge_rule) for points in found]

    def _points(self, scores_KHW: np.ndarray, hits_KHW: np.ndarray) -> Points:
        label, row, column = np.nonzero(hits_KHW)
        score = scores_KHW[label, row, column]
        order = np.argsort(-score, kind="stable")
        label, row, column, score = label[order], row[order], column[order], score[order]
        x = column + 0.5 + _vertex(scores_KHW, label, row, column, axis=2)
        y = row + 0.5 + _vertex(scores_KHW, label, row, column, axis=1)
        height, width = scores_KHW.shape[1:]
        return Points.of(
            np.stack([x, y], axis=1),
            labels=label,
            scores=score,
            classes=self.classes,
            height=height,
            width=width,
        )

    def _targets(self, logits: Tensor, batch: Batch) -> list[Points]:
        points = [target for target in batch.targets or () if isinstance(target, Points)]
        if len(points) != len(logits):
            raise DataError(f"this output learns from points; the batch of {len(logits)} has {len(points)} of them.")
        return points

    def _bumps(self, points: Points, logits: Tensor) -> Tensor:
        height, width = logits.shape[-2:]
        truth = np.zeros((self.channels, height, width), dtype=np.float32)
        reach = math.ceil(3 * self.sigma)
        for (x, y), label in zip(points.points, points.labels, strict=True):
            column, row = int(x), int(y)
            if not (0 <= column < width and 0 <= row < height):
                continue
            rows = np.arange(max(0, row - reach), min(height, row + reach + 1))
            columns = np.arange(max(0, column - reach), min(width, column + reach + 1))
            squared = (rows[:, None] - row) ** 2 + (columns[None, :] - column) ** 2
            bump = np.exp(-squared / (2 * self.sigma**2)).astype(np.float32)
            place = truth[label, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            np.maximum(place, bump, out=place)
        return torch.from_numpy(truth).to(logits.device)


def _vertex(scores_KHW: np.ndarray, label: np.ndarray, row: np.ndarray, column: np.ndarray, *, axis: int) -> np.ndarray:
    """Return the offset (-0.5 to 0.5) of the top of the parabola through a peak and its two neighbours."""
    last = scores_KHW.shape[axis] - 1
    where = row if axis == 1 else column
    before, after = np.maximum(where - 1, 0), np.minimum(where + 1, last)
    if axis == 1:
        low, high = scores_KHW[label, before, column], scores_KHW[label, after, column]
    else:
        low, high = scores_KHW[label, row, before], scores_KHW[label, row, after]
    curve = 2 * scores_KHW[label, row, column] - low - high
    inside = (where > 0) & (where < last) & (curve > 1e-12)
    return np.where(inside, np.clip((high - low) / (2 * np.where(inside, curve, 1.0)), -0.5, 0.5), 0.0)


DenseOutput = SegmentationOutput | PointOutput
"""Either meaning of a dense map of scores."""
