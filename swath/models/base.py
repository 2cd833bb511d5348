"""The contract of every model: `forward`, `loss`, `predict`, and what it takes.

A `Model` wraps a plain network (tensors in, tensors out; that is what is exported and whose tensors are saved) with
the knowledge of what its inputs and outputs mean. Its configuration is a frozen dataclass that holds everything
needed to build it again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from swath.errors import ConfigurationError, ShapeError
from swath.models.outputs import ClassOutput, PointOutput, SegmentationOutput
from swath.samples.batch import Batch
from swath.samples.objects import MergeRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swath.models.cards import Card
    from swath.models.inputs import InputSpec
    from swath.models.outputs import ScoreMap
    from swath.samples.annotation import Annotation
    from swath.samples.sample import Sample


class Model(nn.Module, ABC):
    """A network together with what it takes and what its answers mean.

    Subclasses set `Config`, build `self.network` in `__init__`, and say how tensors become a loss and annotations.
    `network` maps one tensor a slot, in the order of `inputs`, to a tensor or a tuple of tensors.
    """

    Config: ClassVar[type[Any]]
    loss_by_output: ClassVar[bool] = False
    """Whether `loss` is that of `config.output`; a subclass with a loss of its own says so anew."""

    network: nn.Module

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "loss" in vars(cls):
            cls.loss_by_output = bool(vars(cls).get("loss_by_output", False))

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, InputSpec]:
        """What the model takes, by slot."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the scores."""

    @classmethod
    @abstractmethod
    def card(cls) -> Card:
        """Who published the system, under which licences, with which figures and choices."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named terms of the loss; their sum is what training minimises."""

    @abstractmethod
    def predict(self, batch: Batch) -> list[Annotation]:
        """Return one annotation an image, with its confidence, in pixels of that image."""

    def weigh_classes(self, weights: tuple[float, ...]) -> None:
        """Let each class count by its weight in the loss from now on, in the order of `classes`; () counts all alike.

        The weights are not saved with the model. Raises `ConfigurationError` for a model whose loss weighs no classes.
        """
        output = getattr(self.config, "output", None)
        if self.loss_by_output and isinstance(output, ClassOutput) and output.weighs_classes:
            self.config = replace(self.config, output=output.weighing(weights))
        elif weights:
            raise ConfigurationError(
                f"recipe: 'class_weights' are for models that weigh the classes in their loss, and "
                f"{type(self).__name__} does not; set them to (), or balance the samples with balance_classes."
            )

    def score_maps(self, batch: Batch) -> list[ScoreMap] | None:
        """Return undecided class scores an image, which windows blend, where the model gives a class map; else None."""
        del batch
        return None

    def embed(self, batch: Batch) -> Tensor:
        """Return one feature vector an image (B, D), what a linear probe or a search sees.

        Raises `ConfigurationError` for a model that has none.
        """
        del batch
        raise ConfigurationError(
            f"'{type(self).card().name}' gives no embedding; choose a model that classifies images."
        )

    @property
    def merge_rule(self) -> MergeRule:
        """When two objects of overlapping windows are one."""
        return MergeRule()

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the tensor names of the published weights into those of `network`; by default they are the same."""
        return dict(published)

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Build the model with fresh weights."""
        return cls(config)

    def forward(self, batch: Batch) -> Any:
        """Run the network on the normalised images of a batch; raise `ShapeError` for sizes it cannot take."""
        self.check(batch)
        return self.network(*(batch.images[slot] for slot in self.inputs))

    def check(self, batch: Batch) -> None:
        """Raise `ShapeError` unless the batch has every slot with the right channels and a size the network takes."""
        for slot, spec in self.inputs.items():
            if slot not in batch.images:
                raise ShapeError(f"the model needs the slot '{slot}'; the batch has {', '.join(batch.images)}.")
            _, channels, height, width = batch.images[slot].shape
            if channels != spec.channels:
                raise ShapeError(
                    f"slot '{slot}' needs {spec.channels} channels ({', '.join(spec.bands)}); found {channels}."
                )
            spec.check_size(slot, height, width)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """Turn samples into a batch of normalised tensors, with their targets when all have one.

        Raises `BandMismatch` or `UnitMismatch` for imagery that does not fit.
        """
        images = {
            slot: torch.stack([spec.prepare(sample.images[slot]) for sample in samples])
            for slot, spec in self.inputs.items()
        }
        valid = {
            slot: stack_valid([sample.images[slot].valid for sample in samples], images[slot]) for slot in self.inputs
        }
        targets = tuple(sample.target for sample in samples if sample.target is not None)
        return Batch(
            images=images,
            valid=valid,
            targets=targets if len(targets) == len(samples) else None,
            keys=tuple(sample.key for sample in samples),
            prompts=tuple(sample.prompt for sample in samples),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a network without any."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    def parameter_count(self) -> int:
        """How many trainable numbers the network has (works on the meta device)."""
        return sum(parameter.numel() for parameter in self.network.parameters())


class OneImageModel(Model):
    """A model of one image whose configuration says what it takes (`input`) and what its scores mean (`output`).

    Whatever the network, the output part turns its answer into a loss and into annotations; a subclass brings the
    network, the card and the published names, and overrides what its network does otherwise.
    """

    loss_by_output: ClassVar[bool] = True

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """The one slot `image`."""
        return {"image": self.config.input}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the output."""
        classes: tuple[str, ...] = self.config.output.classes
        return classes

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the output's terms."""
        terms: dict[str, Tensor] = self.config.output.loss(self(batch), batch)
        return terms

    def predict(self, batch: Batch) -> list[Annotation]:
        """Return one annotation an image, of the output's kind."""
        found: list[Annotation] = self.config.output.annotations(self(batch), batch)
        return found

    def score_maps(self, batch: Batch) -> list[ScoreMap] | None:
        """Return undecided scores an image where the output is a class map; None otherwise."""
        output = self.config.output
        return output.score_maps(self(batch)) if isinstance(output, SegmentationOutput) else None

    @property
    def merge_rule(self) -> MergeRule:
        """The output's own rule for points, the usual one otherwise."""
        output = self.config.output
        return output.merge_rule if isinstance(output, PointOutput) else super().merge_rule


def stack_valid(masks: Sequence[Any], images: Tensor) -> Tensor | None:
    """Stack validity masks (H, W), where None stands for all valid, into (B, H, W); None when all are valid."""
    if all(mask is None for mask in masks):
        return None
    height, width = images.shape[-2:]
    full = torch.ones(height, width, dtype=torch.bool)
    return torch.stack([full if mask is None else torch.from_numpy(mask) for mask in masks])
