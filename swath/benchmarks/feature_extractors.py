"""The frozen networks and baselines that the resize-and-normalise study compares, by their published names.

Corley et al.: "Revisiting pre-trained remote sensing model benchmarks: resizing and normalization matters", PBVS
workshop of CVPR 2024, arXiv 2305.13456. Any other model with an embedding joins by `model_extractor`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from swath.errors import ConfigurationError, DataError, WeightsMismatch
from swath.models.base import Model
from swath.models.classify.resnet import ResNetClassifier, resnet50
from swath.models.pretrain.image_statistics import image_statistics
from swath.models.pretrain.random_features import mosaiks, mosaiks_zca_of
from swath.models.published import load_tensors, read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from swath.benchmarks.feature_readings import NormalisationName
    from swath.models.inputs import InputSpec
    from swath.models.pretrain.random_features import Indexed

Builder = Callable[["InputSpec", "Indexed[NDArray[Any]]", "int | None"], Model]
"""Makes a model from what it is shown, the raw training images and a seed."""

UNREAD_HEAD = ("placeholder",)
"""A ResNet needs a class; its head is never read here."""


@dataclass(frozen=True, kw_only=True)
class FeatureExtractor:
    """A way to make features: how its model is built, and how the study normalises for it where nothing else is asked.

    `scaler` says whether the features are standardised. `seeded` ones depend on a seed and are measured under several.
    A model that is already there brings the bands that it takes; others are built for those of the data. `size` is the
    side in pixels that the network was made for (None: any), and `origin` says where its weights come from.

    >>> extractor("imagestats").normalisation
    'raw'
    """

    name: str
    build: Builder
    normalisation: NormalisationName
    scaler: bool = False
    seeded: bool = False
    bands: tuple[str, ...] | None = None
    size: int | None = None
    origin: str = ""


def extractor(name: str) -> FeatureExtractor:
    """Return one of the study's baselines by its published name; raise `DataError` for an unknown one.

    >>> extractor("mosaiks_512_3").seeded
    True
    """
    if name not in BASELINES:
        raise DataError(f"There is no feature extractor '{name}'; there are {', '.join(BASELINES)}.")
    return BASELINES[name]


def model_extractor(
    model: Model, name: str, *, normalisation: NormalisationName = "own", scaler: bool = False, origin: str = ""
) -> FeatureExtractor:
    """Make any model of one image with an embedding an extractor, under its own normalisation unless said otherwise.

    Raises `ConfigurationError` for a model of several images, or one without an embedding.
    """
    if len(model.inputs) != 1:
        raise ConfigurationError(f"'{name}' takes {', '.join(model.inputs)}; only models of one image are compared.")
    if type(model).embed is Model.embed:
        raise ConfigurationError(
            f"'{name}' gives no embedding, so its features cannot be judged; choose a model that classifies images or "
            "one that only embeds them, such as dinov2_small or mosaiks_512_3."
        )
    own = next(iter(model.inputs.values()))
    # What nobody trained was made for no size of images.
    trained = next(model.parameters(), None) is not None
    return FeatureExtractor(
        name=name,
        build=lambda *_: model,
        normalisation=normalisation,
        scaler=scaler,
        bands=own.bands,
        size=own.window if trained or own.fixed_size else None,
        origin=origin,
    )


def pretrained_resnet50(
    weights: str | Path, name: str, *, normalisation: NormalisationName = "divide"
) -> FeatureExtractor:
    """Make a file of ResNet-50 weights under torchvision's names an extractor.

    The study uses those of ImageNet (`normalisation="standardization"`), MoCo (`"divide"`) and SeCo (`"for_seco"`).
    Weights for three channels are repeated over more of them and scaled by 3 / C, as timm does.
    """
    return FeatureExtractor(name=name, build=partial(_pretrained, Path(weights)), normalisation=normalisation)


def repeated_stem(weight: Tensor, channels: int) -> Tensor:
    """Spread the first convolution for red, green and blue over more channels, keeping the size of its answer.

    >>> repeated_stem(torch.ones(1, 3, 1, 1), 6).flatten().tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    given = weight.shape[1]
    repeats = -(-channels // given)
    return weight.repeat(1, repeats, 1, 1)[:, :channels] * (given / channels)


def _pretrained(file: Path, input: InputSpec, images: Indexed[NDArray[Any]], seed: int | None) -> ResNetClassifier:
    del images, seed
    model = resnet50(classes=UNREAD_HEAD, input=input)
    published = {name: value for name, value in read_tensors(file).items() if not name.startswith("fc.")}
    stem = published.get("conv1.weight")
    if stem is not None and stem.shape[1] == 3 != input.channels:
        published["conv1.weight"] = repeated_stem(stem, input.channels)
    report = load_tensors(model, published, published, strict=False, origin=str(file))
    if report.left_over or report.wrong_shape or set(report.missing) - {"fc.weight", "fc.bias"}:
        raise WeightsMismatch(f"{file} does not hold a ResNet-50 under torchvision's names: {report.summary()}")
    return model


def _random_resnet50(input: InputSpec, images: Indexed[NDArray[Any]], seed: int | None) -> ResNetClassifier:
    """Build ResNet-50 as timm starts it: the last norm of every branch at 0, so each block begins as a shortcut."""
    del images
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        model = resnet50(classes=UNREAD_HEAD, input=input)
    for name, parameter in model.network.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.zeros_(parameter)
    return model


BASELINES = {
    baseline.name: baseline
    for baseline in (
        FeatureExtractor(
            name="imagestats",
            build=lambda input, images, seed: image_statistics(input=input),  # noqa: ARG005 (one signature)
            normalisation="raw",
            scaler=True,
        ),
        FeatureExtractor(
            name="mosaiks_512_3",
            build=lambda input, images, seed: mosaiks(input=input, seed=seed),  # noqa: ARG005 (one signature)
            normalisation="divide",
            scaler=True,
            seeded=True,
        ),
        FeatureExtractor(
            name="mosaiks_zca_512_3",
            build=lambda input, images, seed: mosaiks_zca_of(images, input=input, seed=seed),
            normalisation="divide",
            scaler=True,
            seeded=True,
        ),
        FeatureExtractor(
            name="resnet50_randominit",
            build=_random_resnet50,
            normalisation="divide",
            scaler=True,
            seeded=True,
            size=224,
            origin="random ones that nobody trained",
        ),
    )
}
"""The study's extractors that need no weights, by name."""
