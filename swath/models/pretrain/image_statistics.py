"""Image statistics: mean, standard deviation, maximum and minimum of every channel, as a feature vector.

Corley, Robinson, Dodhia, Lavista Ferres, Najafirad: "Revisiting pre-trained remote sensing model benchmarks: resizing
and normalization matters", PBVS workshop of CVPR 2024, arXiv 2305.13456 (its baseline `imagestats`). Code of the
authors: isaaccorley/resize-is-all-you-need, Apache-2.0; there are no weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swath.imagery.bands import Unit
from swath.models.cards import Card, Figure, Variant
from swath.models.inputs import InputSpec
from swath.models.pretrain.embedder import Embedder


@dataclass(frozen=True, kw_only=True)
class ImageStatisticsConfig:
    """What the statistics are taken of; published on raw values, so mean 0 and standard deviation 1."""

    input: InputSpec


class ImageStatisticsNetwork(nn.Module):
    """Images (B, C, H, W) to (B, 4 C): all means, then standard deviations (n - 1), maxima and minima.

    >>> ImageStatisticsNetwork()(torch.full((1, 2, 4, 4), 3.0)).tolist()
    [[3.0, 3.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0]]
    """

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Describe each image."""
        pixels = image_BCHW.flatten(2)
        return torch.cat([pixels.mean(2), pixels.std(2, correction=1), pixels.amax(2), pixels.amin(2)], dim=1)


class ImageStatistics(Embedder):
    """Image statistics under the contract; images of a single pixel have no spread and are refused.

    >>> from swath.samples.batch import Batch
    >>> image_statistics().embed(Batch(images={"image": torch.zeros(1, 3, 8, 8)})).shape
    torch.Size([1, 12])
    """

    Config = ImageStatisticsConfig
    config: ImageStatisticsConfig
    network: ImageStatisticsNetwork
    smallest = 2

    def __init__(self, config: ImageStatisticsConfig) -> None:
        super().__init__(config)
        self.network = ImageStatisticsNetwork()

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD


_SOURCE = "the authors, 5 nearest neighbours at native size"

CARD = Card(
    name="image-statistics",
    title="Image statistics",
    summary="Mean, standard deviation, maximum and minimum of every channel: the plainest description of an image.",
    citation=(
        "I. Corley, C. Robinson, R. Dodhia, J. M. Lavista Ferres, P. Najafirad: Revisiting pre-trained remote sensing "
        "model benchmarks: resizing and normalization matters. PBVS workshop, CVPR, 2024."
    ),
    paper="arXiv 2305.13456",
    code="github.com/isaaccorley/resize-is-all-you-need",
    code_licence="Apache-2.0",
    weights_licence="none: there are no weights",
    variants=(Variant(name="imagestats", parameters=0, note="4 numbers a channel"),),
    reported=(
        Figure(metric="accuracy", value=0.8956, data="EuroSAT, 13 bands", source=_SOURCE),
        Figure(metric="accuracy", value=0.7694, data="EuroSAT, RGB", source=_SOURCE),
        Figure(metric="accuracy", value=0.9109, data="So2Sat random, 10 bands", source=_SOURCE),
        Figure(metric="micro mAP", value=0.7129, data="BigEarthNet, 12 bands", source=_SOURCE),
        Figure(metric="accuracy", value=0.9960, data="SAT-6, RGB", source=_SOURCE),
    ),
    choices=("The values are raw, neither divided nor normalised; a scaler on the features makes up for units.",),
    limits=("Says nothing of shape or texture.", "Pixels without data count as 0."),
)


def image_statistics(*, input: InputSpec | None = None) -> ImageStatistics:
    """Build the statistics of an input; without one, of raw 8-bit red, green and blue.

    >>> image_statistics().parameter_count()
    0
    """
    plain = InputSpec(bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, window=64, overlap=0)
    return ImageStatistics(ImageStatisticsConfig(input=input or plain))
