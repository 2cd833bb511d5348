"""Mixup and CutMix: batches whose images, and labels with them, are blends of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from swath.errors import ConfigurationError
from swath.samples.labels import Label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from torch import Tensor

    from swath.samples.annotation import Annotation
    from swath.samples.batch import Batch


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A rectangle as shares of height and width (0 to 1), which falls on images of any size."""

    top: float
    left: float
    bottom: float
    right: float

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns that it covers.

        >>> Patch(top=0.0, left=0.5, bottom=0.25, right=1.0).slices(8, 4)
        (slice(0, 2, None), slice(2, 4, None))
        """
        rows = slice(round(self.top * height), round(self.bottom * height))
        return rows, slice(round(self.left * width), round(self.right * width))


def mix_batch(batch: Batch, generator: Generator, *, mixup: float, cutmix: float) -> Batch:
    """Mix each image with another of the batch, by mixup or CutMix with equal probability when both are on.

    `mixup` and `cutmix` are the parameters alpha of their Beta(alpha, alpha); 0 turns one off. Mixup (Zhang
    et al. 2018): image and label are w own + (1 - w) other, w from the Beta. CutMix (Yun et al. 2019): a
    patch of the share 1 - w, its centre anywhere and clipped at the borders, comes from the other, and labels
    mix by the area really covered. One w, one patch and one permutation serve the whole batch. Raises
    `ConfigurationError` unless every target is a `Label`.
    """
    labels = [target for target in batch.targets or () if isinstance(target, Label)]
    if len(labels) != len(batch):
        raise ConfigurationError(
            "recipe: 'mixup' and 'cutmix' mix labels of whole images, and these targets are of another kind; "
            "set both to 0."
        )
    partners = generator.permutation(len(labels))
    cut = bool(cutmix) and (not mixup or generator.random() < 0.5)
    alpha = cutmix if cut else mixup
    weight = float(generator.beta(alpha, alpha))
    if cut:
        return cut_images(batch, labels, partners, draw_patch(1 - weight, generator))
    return blend_images(batch, labels, partners, weight)


def draw_patch(area: float, generator: Generator) -> Patch:
    """Draw a square patch of a share of the image around a point anywhere in it, clipped at the borders.

    >>> draw_patch(1.0, np.random.default_rng(0)).bottom > 0.5
    True
    """
    half = np.sqrt(area) / 2
    (top, left), (bottom, right) = np.clip(generator.random(2) + np.array([[-half], [half]]), 0.0, 1.0).tolist()
    return Patch(top=top, left=left, bottom=bottom, right=right)


def blend_images(batch: Batch, labels: Sequence[Label], partners: np.ndarray, weight: float) -> Batch:
    """Return mixup with one weight: each image counts `weight`, its partner the rest.

    Pixels are valid where both are.
    """
    order = torch.from_numpy(partners)
    images = {slot: torch.lerp(values[order], values, weight) for slot, values in batch.images.items()}
    valid = {slot: None if mask is None else mask & mask[order] for slot, mask in batch.valid.items()}
    return replace(batch, images=images, valid=valid, targets=mix_labels(labels, partners, weight))


def cut_images(batch: Batch, labels: Sequence[Label], partners: np.ndarray, patch: Patch) -> Batch:
    """Return CutMix with one patch, which comes from each image's partner."""
    order = torch.from_numpy(partners)
    images = {slot: _pasted(values, order, patch) for slot, values in batch.images.items()}
    valid = {slot: None if mask is None else _pasted(mask, order, patch) for slot, mask in batch.valid.items()}
    height, width = next(iter(images.values())).shape[-2:]
    rows, columns = patch.slices(height, width)
    covered = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return replace(batch, images=images, valid=valid, targets=mix_labels(labels, partners, 1 - covered))


def mix_labels(labels: Sequence[Label], partners: np.ndarray, weight: float) -> tuple[Annotation, ...]:
    """Return labels whose scores are `weight` of their own and the rest of their partner's."""
    return tuple(
        replace(label, scores=(weight * label.scores + (1 - weight) * labels[partner].scores).astype(np.float32))
        for label, partner in zip(labels, partners, strict=True)
    )


def _pasted(values: Tensor, order: Tensor, patch: Patch) -> Tensor:
    rows, columns = patch.slices(values.shape[-2], values.shape[-1])
    mixed = values.clone()
    mixed[..., rows, columns] = values[order][..., rows, columns]
    return mixed
