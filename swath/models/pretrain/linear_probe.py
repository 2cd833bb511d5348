"""A linear probe: a frozen embedder and a linear head on its features, as one model that classifies images.

The head is fitted by logistic regression (`swath.benchmarks.frozen_features.fit_linear_probe`) as in Corley et al.:
"Revisiting pre-trained remote sensing model benchmarks: resizing and normalization matters", PBVS workshop of CVPR
2024, arXiv 2305.13456. The model takes raw images; how they are resized and normalised is part of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, TypeAdapter
from torch import Tensor, nn

from swath.errors import ConfigurationError
from swath.models.base import Model, OneImageModel
from swath.models.cards import Card, Figure, Variant
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.pretrain.preparation import Preparation
from swath.samples.batch import Batch


def _frozen(value: Any) -> Any:
    """JSON has lists only; configurations use tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return value


@dataclass(frozen=True, kw_only=True)
class LinearProbeConfig:
    """Everything that defines a probe.

    `input` reads raw images (mean 0, standard deviation 1); `preparation` makes them ready for the embedder, a model
    class of Swath by `module:name` with its configuration; `features` is how many numbers it gives.
    """

    input: InputSpec
    output: ClassificationOutput
    preparation: Preparation
    embedder: str
    embedder_config: Annotated[Mapping[str, Any], BeforeValidator(_frozen)]
    features: int


class LinearProbeNetwork(nn.Module):
    """Raw images (B, C, H, W) to logits (B, K): prepared, embedded, standardised, weighed.

    The embedder stays in evaluation mode and its weights do not learn; the head does.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, config: LinearProbeConfig, embedder: Model) -> None:
        super().__init__()
        self.preparation = config.preparation
        self.embedder = embedder.requires_grad_(False).eval()
        self.register_buffer("centre", torch.zeros(config.features))
        self.register_buffer("spread", torch.ones(config.features))
        self.head = nn.Linear(config.features, config.output.channels)

    def train(self, mode: bool = True) -> LinearProbeNetwork:
        """Switch the head to training or evaluation."""
        super().train(mode)
        self.embedder.eval()
        return self

    def features(self, image_BCHW: Tensor) -> Tensor:
        """Return what the embedder says of raw images (B, D)."""
        slot = next(iter(self.embedder.inputs))
        return self.embedder.embed(Batch(images={slot: self.preparation(image_BCHW)}))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Classify raw images."""
        logits: Tensor = self.head((self.features(image_BCHW) - self.centre) / self.spread)
        return logits


class LinearProbe(OneImageModel):
    """A frozen embedder with a linear head under the contract.

    >>> from swath.models.pretrain.image_statistics import image_statistics
    >>> probe = linear_probe(image_statistics(), classes=("land", "water"), features=12)
    >>> probe.network(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 2])
    """

    Config = LinearProbeConfig
    config: LinearProbeConfig
    network: LinearProbeNetwork

    def __init__(self, config: LinearProbeConfig, embedder: Model | None = None) -> None:
        super().__init__(config)
        self.network = LinearProbeNetwork(config, embedder or _embedder(config))

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def embed(self, batch: Batch) -> Tensor:
        """Return the embedder's feature (B, D), before it is standardised."""
        self.check(batch)
        return self.network.features(batch.images["image"])


def _embedder(config: LinearProbeConfig) -> Model:
    """Build the embedder that a configuration names, with fresh weights."""
    module, _, name = config.embedder.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name) if module.startswith("swath.models.") else None
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise ConfigurationError(
            f"a linear probe is read back only where its embedder is a model of Swath; found '{config.embedder}'."
        )
    built: Model = kind.from_config(TypeAdapter(kind.Config).validate_python(config.embedder_config))
    return built


CARD = Card(
    name="linear-probe",
    title="Linear probe",
    summary="Scene classification by a linear head on the features of a frozen network or of a baseline.",
    citation=(
        "I. Corley, C. Robinson, R. Dodhia, J. M. Lavista Ferres, P. Najafirad: Revisiting pre-trained remote sensing "
        "model benchmarks: resizing and normalization matters. PBVS workshop, CVPR, 2024."
    ),
    paper="arXiv 2305.13456",
    code="github.com/isaaccorley/resize-is-all-you-need",
    code_licence="Apache-2.0",
    weights_licence="that of the embedder's weights",
    variants=(Variant(name="imagestats", parameters=130, note="a head for 12 features and 10 classes, the smallest"),),
    reported=tuple(
        Figure(metric="accuracy", value=value, data="EuroSAT RGB at 224 px", source=f"the authors, {name} ResNet-50")
        for name, value in (("ImageNet", 0.9644), ("SeCo", 0.9474))
    ),
    choices=(
        "The scaler of the features stays apart from the head, so both can be read.",
        "A probe of two classes gets two rows of weights, the first of zeros, where logistic regression has one.",
    ),
    limits=("One class an image; the features are not adapted to the task.",),
)


def linear_probe(
    embedder: Model,
    *,
    classes: tuple[str, ...],
    features: int,
    input: InputSpec | None = None,
    preparation: Preparation | None = None,
) -> LinearProbe:
    """Put a fresh linear head on an embedder, which is kept as it is, weights and all, and frozen.

    Without `input` and `preparation`, images are read and normalised as the embedder's own input says. Raises
    `ConfigurationError` for an embedder of several images.
    """
    if len(embedder.inputs) != 1:
        raise ConfigurationError(
            f"a linear probe reads one image; '{type(embedder).card().name}' takes {', '.join(embedder.inputs)}."
        )
    kind = type(embedder)
    config = LinearProbeConfig(
        input=input or next(iter(embedder.inputs.values())),
        output=ClassificationOutput(classes=classes),
        preparation=preparation or Preparation(),
        embedder=f"{kind.__module__}:{kind.__qualname__}",
        embedder_config=_frozen(TypeAdapter(kind.Config).dump_python(embedder.config, mode="json")),
        features=features,
    )
    return LinearProbe(config, embedder)
