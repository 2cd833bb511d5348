"""Whatever can be evaluated: samples in, one annotation a sample out.

A model is wrapped so that it takes samples of any size: sides that it does not take are padded by
reflection and the answer is cut back, and a model of one fixed size sees the sample resized.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from swath.errors import ShapeError
from swath.geometry.windows import Size, Window
from swath.imagery.pixels import Pixels
from swath.models.base import Model
from swath.samples.moves import Resize

if TYPE_CHECKING:
    from swath.models.inputs import InputSpec
    from swath.samples.annotation import Annotation
    from swath.samples.sample import Sample


class Predictor(Protocol):
    """Anything with a name, a fingerprint and classes that turns samples into annotations on their frames."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of everything it has learned."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it can give."""
        ...

    def predict(self, samples: Sequence[Sample]) -> list[Annotation]:
        """Return one annotation a sample, in order, each on the frame of its sample."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPredictor:
    """A model as a predictor; `fingerprint` is the hash of its weights."""

    model: Model
    name: str
    fingerprint: str

    @classmethod
    def of(cls, model: Model, *, name: str = "", fingerprint: str = "") -> ModelPredictor:
        """Wrap a model in evaluation mode, named after its class and hashed unless said otherwise."""
        model.eval()
        return cls(model=model, name=name or type(model).__name__, fingerprint=fingerprint or weights_hash(model))

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's classes."""
        return self.model.classes

    def predict(self, samples: Sequence[Sample]) -> list[Annotation]:
        """Predict samples, those of one size after another in one batch."""
        found: list[Annotation] = []
        with torch.inference_mode():
            for _, group in groupby(samples, key=lambda sample: sample.size):
                found += self._predict_alike(list(group))
        return found

    def _predict_alike(self, samples: Sequence[Sample]) -> list[Annotation]:
        specs = self.model.inputs.values()
        size = samples[0].size
        fixed = next((Size(spec.window, spec.window) for spec in specs if spec.fixed_size), None)
        if fixed is not None and fixed != size:
            shown = [sample.moved(Resize(fixed)) for sample in samples]
        else:
            shown = [pad_to_fit(sample, *specs) for sample in samples]
        answers = self.model.predict(self.model.prepare(shown).to(self.model.device))
        if shown[0].size == size:
            return answers
        if fixed is not None:
            return [answer.resize(size) for answer in answers]
        return [answer.crop(Window(0, 0, size.height, size.width)) for answer in answers]


def pad_to_fit(sample: Sample, *specs: InputSpec) -> Sample:
    """Return a sample padded below and right, by reflection and without target, to the least size that all inputs take.

    A sample that needs no padding comes back as it is. Raises `ShapeError` where slots differ in size.
    """
    size = wanted = sample.size
    while any(spec.size_around(wanted) != wanted for spec in specs):
        for spec in specs:
            wanted = spec.size_around(wanted)
    if wanted == size:
        return sample
    if any(pixels.size != size for pixels in sample.images.values()):
        raise ShapeError(
            f"'{sample.key}' has slots of several sizes and {size.height} x {size.width} pixels, which the model does "
            f"not take; resize all to {wanted.height} x {wanted.width}."
        )
    images = {slot: _reflected(pixels, wanted) for slot, pixels in sample.images.items()}
    return replace(sample, images=images, target=None)


def _reflected(pixels: Pixels, size: Size) -> Pixels:
    more = ((0, size.height - pixels.size.height), (0, size.width - pixels.size.width))
    return replace(
        pixels,
        values=np.pad(pixels.values, ((0, 0), *more), mode="reflect"),
        valid=None if pixels.valid is None else np.pad(pixels.valid, more, mode="reflect"),
        grid=replace(pixels.grid, size=size),
    )


def weights_hash(model: Model) -> str:
    """Return the SHA-256 of a network's tensors with their names, types and shapes, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network.state_dict().items()):
        plain = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
