"""Models whose only answer is a feature vector an image: frozen networks and baselines without any weights."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch

from swath.errors import ConfigurationError, ShapeError
from swath.models.base import Model
from swath.samples.labels import Embedding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from swath.models.inputs import InputSpec
    from swath.samples.annotation import Annotation
    from swath.samples.batch import Batch


class Embedder(Model):
    """A model of one image whose network maps images (B, C, H, W) to features (B, D); it has no classes.

    Subclasses build the network and may ask for images of at least `smallest` pixels a side (`ShapeError` otherwise).
    """

    smallest = 1

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """The one slot `image`."""
        return {"image": self.config.input}

    @property
    def classes(self) -> tuple[str, ...]:
        """None: features are not told apart here."""
        return ()

    @property
    def device(self) -> torch.device:
        """Where the weights or filters are; the CPU for a network without any."""
        return next((t.device for t in chain(self.parameters(), self.buffers())), torch.device("cpu"))

    def check(self, batch: Batch) -> None:
        """Raise `ShapeError` unless the batch has the right channels and no side is too small."""
        super().check(batch)
        if min(batch.size.height, batch.size.width) < self.smallest:
            raise ShapeError(
                f"'{type(self).card().name}' needs images of at least {self.smallest} x {self.smallest} pixels; "
                f"found {batch.size.height} x {batch.size.width}. Resize the images."
            )

    def embed(self, batch: Batch) -> Tensor:
        """Return one feature vector an image (B, D)."""
        features: Tensor = self(batch)
        return features

    def predict(self, batch: Batch) -> list[Annotation]:
        """Return one `Embedding` an image."""
        vectors = self.embed(batch).detach().to("cpu", torch.float32).numpy()
        return [Embedding(size=batch.size, vector=vector) for vector in vectors]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Raise `ConfigurationError`: there is nothing to learn here."""
        del batch
        raise ConfigurationError(
            f"'{type(self).card().name}' gives features and learns nothing; fit a linear probe on it to tell classes."
        )
