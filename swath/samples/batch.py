"""Batch: prepared samples as tensors, ready for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from swath.errors import ShapeError
from swath.geometry.windows import Size

if TYPE_CHECKING:
    from swath.samples.annotation import Annotation


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Tensors of B samples by slot, with their targets when all have one.

    `images` are (B, C, H, W), normalised; `valid` are (B, H, W) bool, or None (also by leaving the slot out)
    where every pixel is valid; `keys` name the samples; `prompts` hold one text or None a sample, or nothing
    at all.

    >>> batch = Batch(images={"image": torch.zeros(2, 3, 8, 8)}, keys=("a", "b"))
    >>> len(batch), batch.size
    (2, Size(height=8, width=8))
    """

    images: dict[str, Tensor]
    valid: dict[str, Tensor | None] = field(default_factory=dict)
    targets: tuple[Annotation, ...] | None = None
    keys: tuple[str, ...] = ()
    prompts: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise ShapeError("A batch needs the images of at least one slot; found none.")
        count = len(self)
        for slot, image in self.images.items():
            if image.ndim != 4 or len(image) != count:
                raise ShapeError(
                    f"The images of slot '{slot}' need the shape ({count}, channels, height, width); "
                    f"found {tuple(image.shape)}."
                )
            mask = self.valid.get(slot)
            if mask is not None and mask.shape != (count, *image.shape[2:]):
                raise ShapeError(
                    f"The validity of slot '{slot}' needs the shape {(count, *image.shape[2:])}; "
                    f"found {tuple(mask.shape)}."
                )
        for name, entries in (
            ("targets", self.targets),
            ("keys", self.keys or None),
            ("prompts", self.prompts),
        ):
            if entries is not None and len(entries) != count:
                raise ShapeError(f"A batch of {count} needs as many {name}; found {len(entries)}.")

    def __len__(self) -> int:
        return len(next(iter(self.images.values())))

    @property
    def size(self) -> Size:
        """The frame of the first slot."""
        return Size(*next(iter(self.images.values())).shape[-2:])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.images.values())).device

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on a device; annotations stay on the host."""
        return replace(
            self,
            images={slot: image.to(device, non_blocking=non_blocking) for slot, image in self.images.items()},
            valid={
                slot: None if mask is None else mask.to(device, non_blocking=non_blocking)
                for slot, mask in self.valid.items()
            },
        )

    @staticmethod
    def stack(batches: Sequence[Batch]) -> Batch:
        """Return one batch of all samples of several with the same slots and sizes (`ShapeError` otherwise).

        Targets are kept when all have them.

        >>> one = Batch(images={"image": torch.zeros(1, 3, 8, 8)}, keys=("a",))
        >>> Batch.stack([one, one]).keys
        ('a', 'a')
        """
        if not batches:
            raise ShapeError("There is nothing to stack; give at least one batch.")
        first = batches[0]
        for other in batches[1:]:
            shapes = [{slot: tuple(image.shape[1:]) for slot, image in b.images.items()} for b in (first, other)]
            if shapes[0] != shapes[1]:
                raise ShapeError(f"Only batches of the same slots and sizes stack; found {shapes[0]} and {shapes[1]}.")
        targets = [batch.targets for batch in batches if batch.targets is not None]
        has_prompts = any(batch.prompts is not None for batch in batches)
        return Batch(
            images={slot: torch.cat([batch.images[slot] for batch in batches]) for slot in first.images},
            valid={slot: _stack_valid(batches, slot) for slot in first.images},
            targets=sum(targets, ()) if len(targets) == len(batches) else None,
            keys=sum((batch.keys for batch in batches), ()),
            prompts=sum((batch.prompts or (None,) * len(batch) for batch in batches), ()) if has_prompts else None,
        )


def _stack_valid(batches: Sequence[Batch], slot: str) -> Tensor | None:
    masks = [batch.valid.get(slot) for batch in batches]
    if all(mask is None for mask in masks):
        return None
    return torch.cat(
        [
            torch.ones_like(batch.images[slot][:, 0], dtype=torch.bool) if mask is None else mask
            for batch, mask in zip(batches, masks, strict=True)
        ]
    )
