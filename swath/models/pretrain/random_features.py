"""Random convolutional features (MOSAIKS): filters that nobody trained, drawn from a normal law or from images.

Rolf et al.: "A generalizable and accessible approach to machine learning with global satellite imagery" (MOSAIKS),
Nature Communications 12, 2021; here as the baselines `mosaiks_512_3` and `mosaiks_zca_512_3` of Corley et al.:
"Revisiting pre-trained remote sensing model benchmarks: resizing and normalization matters", PBVS workshop of CVPR
2024, arXiv 2305.13456. Code of the authors: isaaccorley/resize-is-all-you-need, Apache-2.0; there are no weights.

The published code takes seed 0 for "no seed"; here seed 0 is a seed like any other, and None draws unseeded filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError, DataError
from swath.imagery.bands import Unit
from swath.models.cards import Card, Figure, Variant
from swath.models.inputs import InputSpec
from swath.models.pretrain.embedder import Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.samples.batch import Batch
    from swath.samples.sample import Sample

EIGHT_BIT_DIVIDED = InputSpec(
    bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, mean=(0.0,), std=(255.0,), window=64, overlap=0
)
"""Red, green and blue from 0 to 255, divided by 255: what the published baselines see of 8-bit images."""

Item = TypeVar("Item", covariant=True)

NUMBERS_A_PIECE = 1 << 20
NORM_FLOOR = 1e-8
REGULARISATION = 1e-3


class Indexed(Protocol[Item]):
    """Things by position, such as a list, or the samples of a data set that are read on demand."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, position: int, /) -> Item:
        """Read one."""
        ...


@dataclass(frozen=True, kw_only=True)
class RandomFeaturesConfig:
    """Everything that defines the features; half of `features` is the number of filters.

    `gaussian` filters are standard normal draws of torch's generator with `seed`. `zca` filters are whitened patches of
    images: such a model is made by `mosaiks_zca`, or loaded; built from its configuration alone its filters are NaN.
    """

    input: InputSpec
    filters: Literal["gaussian", "zca"] = "gaussian"
    features: int = 512
    kernel: int = 3
    bias: float = -1.0
    seed: int | None = 0

    def __post_init__(self) -> None:
        if self.features < 2 or self.features % 2 or self.kernel < 1:
            raise ConfigurationError(
                "random features need an even number of features and a kernel of at least 1 pixel; "
                f"found {self.features} features and a kernel of {self.kernel}."
            )


class RandomFeaturesNetwork(nn.Module):
    """Images (B, C, H, W) to features (B, D): the means of the positive, then of the negative part of each answer.

    The answer is a valid convolution of stride 1 plus the bias. The filters are buffers: saved, never trained.
    """

    weights: Tensor
    biases: Tensor

    def __init__(self, config: RandomFeaturesConfig) -> None:
        super().__init__()
        filters = config.features // 2
        if config.filters == "gaussian":
            drawn = gaussian_filters(filters, config.input.channels, config.kernel, seed=config.seed)
        else:
            drawn = torch.full((filters, config.input.channels, config.kernel, config.kernel), torch.nan)
        self.register_buffer("weights", drawn.to(torch.get_default_device()))
        self.register_buffer("biases", torch.full((filters,), config.bias))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Describe each image."""
        # A few filters at a time: answers that stay in the cache take a fifth of the time.
        pieces = -(-len(self.weights) * image_BCHW.shape[-2] * image_BCHW.shape[-1] // NUMBERS_A_PIECE)
        above, below = [], []
        for weights, biases in zip(self.weights.chunk(pieces), self.biases.chunk(pieces), strict=True):
            answer = functional.conv2d(image_BCHW, weights, biases)
            above.append(functional.relu(answer).mean((2, 3)))
            below.append(functional.relu(-answer).mean((2, 3)))
        return torch.cat(above + below, dim=1)


class RandomFeatures(Embedder):
    """Random convolutional features under the contract.

    >>> from swath.samples.batch import Batch
    >>> zeros = Batch(images={"image": torch.zeros(1, 3, 8, 8)})
    >>> mosaiks(features=4).embed(zeros).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """

    Config = RandomFeaturesConfig
    config: RandomFeaturesConfig
    network: RandomFeaturesNetwork

    def __init__(self, config: RandomFeaturesConfig) -> None:
        super().__init__(config)
        self.network = RandomFeaturesNetwork(config)
        self.smallest = config.kernel

    def embed(self, batch: Batch) -> Tensor:
        """Return one feature vector an image (B, D); on a CPU images go one by one, which is several times faster."""
        self.check(batch)
        images = batch.images["image"]
        pieces = (images,) if images.is_cuda else images.chunk(len(images))
        return torch.cat([self.network(piece) for piece in pieces])

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD


def gaussian_filters(count: int, channels: int, kernel: int, *, seed: int | None) -> Tensor:
    """Draw standard normal filters (count, C, k, k) on the CPU; with None, from torch's own running generator.

    >>> torch.equal(gaussian_filters(2, 3, 3, seed=0), gaussian_filters(2, 3, 3, seed=0))
    True
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, kernel, kernel, generator=generator, device="cpu")


def draw_patches(images: Indexed[NDArray[Any]], count: int, kernel: int, *, seed: int | None) -> NDArray[np.float32]:
    """Cut `count` patches (count, C, k, k) out of images at places drawn by numpy's default generator.

    Each patch draws its image, its row and its column in this order; as published, the last row and column at which a
    patch would fit are never drawn. Raises `DataError` for no image, or one that is not larger than a patch.
    """
    if not len(images):
        raise DataError("Filters are cut out of images, and there is none; give the training part of a data set.")
    generator = np.random.default_rng(seed)
    patches = []
    for _ in range(count):
        position = int(generator.integers(0, len(images)))
        image = images[position]
        height, width = image.shape[1:]
        if min(height, width) <= kernel:
            raise DataError(
                f"Patches of {kernel} x {kernel} pixels need larger images; image {position} is {height} x {width}."
            )
        row = int(generator.integers(0, height - kernel))
        column = int(generator.integers(0, width - kernel))
        patches.append(image[:, row : row + kernel, column : column + kernel].astype(np.float32))
    return np.stack(patches)


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitening:
    """Patches as rows (P, D), each of mean 0 and length 1, and the matrix (D, D) that makes their covariance 1.

    The covariance is PᵀP / n, its eigenvalues raised by 0.001, so that directions without variance stay small.
    """

    patches: NDArray[np.float64]
    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, patches: NDArray[np.floating]) -> Whitening:
        """Normalise patches (P, C, k, k) and find their whitening.

        >>> whitening = Whitening.of(np.random.default_rng(0).normal(size=(500, 1, 2, 2)))
        >>> float(np.linalg.norm(whitening.patches, axis=1).max().round(6))
        1.0
        """
        rows = patches.reshape(len(patches), -1).astype(np.float64)
        rows -= rows.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(norms < NORM_FLOOR, 1.0, norms)
        eigenvalues, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        return cls(patches=rows, matrix=vectors * (eigenvalues + REGULARISATION) ** -0.5 @ vectors.T)

    def filters(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the patches whitened twice, as published, in the shape of filters."""
        return (self.patches @ self.matrix @ self.matrix.T).astype(np.float32).reshape(shape)


def zca_filters(images: Indexed[NDArray[Any]], count: int, kernel: int, *, seed: int | None) -> Tensor:
    """Return whitened patches of images as filters (count, C, k, k); see `draw_patches` and `Whitening`."""
    patches = draw_patches(images, count, kernel, seed=seed)
    return torch.from_numpy(Whitening.of(patches).filters(patches.shape))


CARD = Card(
    name="mosaiks",
    title="Random convolutional features (MOSAIKS)",
    summary="Filters that nobody trained, drawn from a normal law or cut out of images: a baseline for embeddings.",
    citation=(
        "I. Corley, C. Robinson, R. Dodhia, J. M. Lavista Ferres, P. Najafirad: Revisiting pre-trained remote sensing "
        "model benchmarks: resizing and normalization matters. PBVS workshop, CVPR, 2024. After E. Rolf et al.: A "
        "generalizable and accessible approach to machine learning with global satellite imagery. Nature "
        "Communications 12, 2021."
    ),
    paper="arXiv 2305.13456",
    code="github.com/isaaccorley/resize-is-all-you-need",
    code_licence="Apache-2.0",
    weights_licence="none: there are no weights",
    variants=(
        Variant(name="mosaiks_512_3", parameters=0, note="256 filters of 3 x 3 from a normal law"),
        Variant(name="mosaiks_zca_512_3", parameters=0, note="256 whitened patches of 3 x 3 of training images"),
    ),
    reported=tuple(
        Figure(metric=metric, value=value, data=data, source=f"the authors, {name}, 5 nearest neighbours, native size")
        for name, data, metric, value in (
            ("mosaiks_512_3", "EuroSAT, 13 bands", "accuracy", 0.8756),
            ("mosaiks_512_3", "EuroSAT, RGB", "accuracy", 0.7885),
            ("mosaiks_512_3", "BigEarthNet, 12 bands", "micro mAP", 0.7201),
            ("mosaiks_zca_512_3", "EuroSAT, 13 bands", "accuracy", 0.9110),
            ("mosaiks_zca_512_3", "EuroSAT, RGB", "accuracy", 0.8147),
            ("mosaiks_zca_512_3", "BigEarthNet, 12 bands", "micro mAP", 0.7618),
        )
    ),
    choices=(
        "Seed 0 is a seed; the published library draws unseeded filters for it.",
        "ZCA filters have the bias -1 of the normal ones (the description names one bias for both).",
        "ZCA filters come from raw training images, neither resized nor divided, and see resized, divided ones.",
        "The covariance is decomposed by the symmetric routine in 64 bits; the published one is general, in 32 bits.",
        "An image by itself gives (1, D); the published layer drops that axis.",
    ),
    limits=("No filter is larger than a few pixels, so layout is not described.", "Pixels without data count as 0."),
)


def mosaiks(*, input: InputSpec | None = None, features: int = 512, seed: int | None = 0) -> RandomFeatures:
    """Build `mosaiks_512_3`: standard normal filters; without `input`, for 8-bit red, green and blue / 255.

    >>> mosaiks().network.weights.shape
    torch.Size([256, 3, 3, 3])
    """
    return RandomFeatures(RandomFeaturesConfig(input=input or EIGHT_BIT_DIVIDED, features=features, seed=seed))


def mosaiks_zca(
    *, train: Indexed[Sample], input: InputSpec | None = None, features: int = 512, seed: int | None = 0
) -> RandomFeatures:
    """Build `mosaiks_zca_512_3` from the samples of a training part, read in the bands and unit of `input`."""
    spec = input or EIGHT_BIT_DIVIDED
    return mosaiks_zca_of(RawImages(samples=train, input=spec), input=spec, features=features, seed=seed)


def mosaiks_zca_of(
    images: Indexed[NDArray[Any]], *, input: InputSpec, features: int = 512, seed: int | None = 0
) -> RandomFeatures:
    """Build `mosaiks_zca_512_3` from raw images (C, H, W) that have the channels of `input`.

    >>> images = list(np.random.default_rng(0).integers(0, 255, (4, 3, 8, 8)))
    >>> mosaiks_zca_of(images, input=EIGHT_BIT_DIVIDED, features=8).network.weights.shape
    torch.Size([4, 3, 3, 3])
    """
    config = RandomFeaturesConfig(input=input, filters="zca", features=features, seed=seed)
    model = RandomFeatures(config)
    model.network.weights.copy_(zca_filters(images, features // 2, config.kernel, seed=seed))
    return model


@dataclass(frozen=True, kw_only=True, eq=False)
class RawImages:
    """The images of samples by position, in the bands and unit of an input but not normalised."""

    samples: Indexed[Sample]
    input: InputSpec

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> NDArray[Any]:
        return self.input.in_unit(self.samples[position].images["image"]).values
