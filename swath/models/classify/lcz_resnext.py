"""Local climate zones from 320 m patches: ResNeXt-29 with attention, on Sentinel-1, Sentinel-2 or both.

Zhu et al.: "So2Sat LCZ42: A Benchmark Data Set for the Classification of Global Local Climate Zones", IEEE GRSM 8(3),
2020, arXiv 1912.12171. Official repository: github zhu-xlab/So2Sat-LCZ42 (no licence file, holds no network). After the
description of: that the benchmark network is ResNeXt-29 with CBAM is recalled, its settings are not known and are those
of the two papers it is made of:

- Xie, Girshick, Dollár, Tu, He: "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017, arXiv
  1611.05431: ResNeXt-29, 8 x 64d, for images of 32 pixels;
- Woo, Park, Lee, Kweon: "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv 1807.06521: attention over
  channels, then over pixels, on the branch of every block.

A map of zones is made of overlapping windows: each sees 32 pixels and tells the zone of the 10 x 10 pixels (100 m) in
its middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from swath.errors import ConfigurationError
from swath.imagery.bands import Unit
from swath.models.base import Model
from swath.models.cards import Card, Figure, Variant
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.recipe import Recipe
from swath.samples.annotation import Annotation
from swath.samples.batch import Batch
from swath.samples.nomenclature import LOCAL_CLIMATE_ZONES
from swath.samples.transforms import RandomFlip, RandomRotate90

Sensors = Literal["radar", "optical", "both"]
"""Sentinel-1 (8 channels), Sentinel-2 (10), or both (18, Sentinel-1 first)."""

RADAR_INPUT = InputSpec(
    bands=(
        *("vh_real", "vh_imaginary", "vv_real", "vv_imaginary"),
        *("vh", "vv", "covariance_real", "covariance_imaginary"),
    ),
    unit=Unit.LINEAR_POWER,
    mean=(-3.591e-5, -7.66e-6, 5.937e-5, 2.517e-5, 0.0442011, 0.2576103, 7.557e-4, 1.3503e-3),
    std=(0.17555201, 0.17556463, 0.45998793, 0.45598876, 2.85599092, 8.32480061, 2.44987574, 1.46473530),
    gsd=10.0,
    window=32,
    overlap=22,
    fixed_size=True,
)
"""Sentinel-1 as So2Sat has it, linear, under its statistics (version 2)."""

OPTICAL_INPUT = InputSpec(
    bands=(
        *("blue", "green", "red", "red_edge_1", "red_edge_2"),
        *("red_edge_3", "nir", "nir_narrow", "swir_1", "swir_2"),
    ),
    unit=Unit.REFLECTANCE,
    mean=(
        *(0.12375696, 0.10927746, 0.10108552, 0.11423986, 0.15926567),
        *(0.18147236, 0.17457403, 0.19501607, 0.15428469, 0.10905051),
    ),
    std=(
        *(0.03958795, 0.04777826, 0.06636616, 0.06358874, 0.07744387),
        *(0.09101635, 0.09218466, 0.10164581, 0.09991773, 0.08780632),
    ),
    gsd=10.0,
    window=32,
    overlap=22,
    fixed_size=True,
)
"""Sentinel-2 bands B2 to B8A, B11 and B12 as reflectance, under So2Sat's statistics (version 2)."""


@dataclass(frozen=True, kw_only=True)
class LczResNeXtConfig:
    """Everything that defines an attention ResNeXt; the defaults are ResNeXt-29, 8 x 64d, with CBAM.

    `radar` and `optical` say what is taken in the slots `radar` and `image`; either may be None. `blocks` a stage of
    three stages; `groups` of `group_width` channels in the first one. `attention` shrinks channels by `reduction` and
    looks at pixels through `attention_kernel`; without it the network is plain ResNeXt.
    """

    output: ClassificationOutput
    radar: InputSpec | None = None
    optical: InputSpec | None = None
    blocks: int = 3
    groups: int = 8
    group_width: int = 64
    stem: int = 64
    attention: bool = True
    reduction: int = 16
    attention_kernel: int = 7

    def __post_init__(self) -> None:
        if self.radar is None and self.optical is None:
            raise ConfigurationError("a classifier of climate zones needs radar, optical imagery or both.")

    @property
    def slots(self) -> dict[str, InputSpec]:
        """What is taken, by slot, in the order of the channels."""
        taken = {"radar": self.radar, "image": self.optical}
        return {slot: spec for slot, spec in taken.items() if spec is not None}

    @property
    def channels(self) -> int:
        """How many channels the network sees."""
        return sum(spec.channels for spec in self.slots.values())


class ChannelAttention(nn.Module):
    """Weigh each channel by what its mean and its maximum say to one small network (CBAM, eq. 2).

    >>> ChannelAttention(8, reduction=4)(torch.ones(1, 8, 2, 2)).shape
    torch.Size([1, 8, 2, 2])
    """

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the weighed map."""
        scores_BC = self.mlp(x_BCHW.mean((2, 3))) + self.mlp(x_BCHW.amax((2, 3)))
        return x_BCHW * torch.sigmoid(scores_BC)[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weigh each pixel by a convolution over the mean and the maximum of its channels (CBAM, eq. 3).

    >>> SpatialAttention(7)(torch.ones(1, 8, 2, 2)).shape
    torch.Size([1, 8, 2, 2])
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the weighed map."""
        both = torch.cat([x_BCHW.mean(1, keepdim=True), x_BCHW.amax(1, keepdim=True)], dim=1)
        return x_BCHW * torch.sigmoid(self.convolution(both))


class ResNeXtBlock(nn.Module):
    """A 1x1, a grouped 3x3 and a 1x1 convolution, attention on the branch, and the shortcut."""

    def __init__(self, config: LczResNeXtConfig, inputs: int, outputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, groups=config.groups, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.attention: nn.Module = nn.Identity()
        if config.attention:
            self.attention = nn.Sequential(
                ChannelAttention(outputs, reduction=config.reduction), SpatialAttention(config.attention_kernel)
            )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Transform a map."""
        return torch.relu(self.attention(self.branch(x_BCHW)) + self.shortcut(x_BCHW))


class LczResNeXtNetwork(nn.Module):
    """A 3x3 stem, three stages of strides 1, 2 and 2, the mean, and a linear head: patches to logits (B, K)."""

    def __init__(self, config: LczResNeXtConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(config.channels, config.stem, 3, 1, 1, bias=False), nn.BatchNorm2d(config.stem), nn.ReLU()
        )
        inputs, stages = config.stem, []
        for stage in range(3):
            outputs, width = 4 * config.stem << stage, config.groups * config.group_width << stage
            layers = []
            for place in range(config.blocks):
                layers.append(ResNeXtBlock(config, inputs, outputs, width, 2 if stage and not place else 1))
                inputs = outputs
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, config.output.channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, first_BCHW: Tensor, second_BCHW: Tensor | None = None) -> Tensor:
        """Classify patches; with two sensors the first is Sentinel-1."""
        logits: Tensor = self.head(self.pooled(first_BCHW, second_BCHW))
        return logits

    def pooled(self, first_BCHW: Tensor, second_BCHW: Tensor | None = None) -> Tensor:
        """Return the mean over the last map (B, D)."""
        image = first_BCHW if second_BCHW is None else torch.cat([first_BCHW, second_BCHW], dim=1)
        feature: Tensor = self.stages(self.stem(image)).mean((2, 3))
        return feature


class LczResNeXt(Model):
    """A classifier of local climate zones under the contract; slots `radar`, `image`, or both.

    >>> model = lcz_resnext("optical", groups=2, group_width=4, stem=8, blocks=1)
    >>> model.eval().network(torch.zeros(1, 10, 32, 32)).shape
    torch.Size([1, 17])
    """

    Config = LczResNeXtConfig
    loss_by_output = True
    config: LczResNeXtConfig
    network: LczResNeXtNetwork

    def __init__(self, config: LczResNeXtConfig) -> None:
        super().__init__(config)
        self.network = LczResNeXtNetwork(config)

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """The slots that the configuration names."""
        return self.config.slots

    @property
    def classes(self) -> tuple[str, ...]:
        """The zones."""
        return self.config.output.classes

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return `cross_entropy`."""
        return self.config.output.loss(self(batch), batch)

    def predict(self, batch: Batch) -> list[Annotation]:
        """Return one `Label` a patch, with the probability of every zone."""
        return self.config.output.annotations(self(batch), batch)

    def embed(self, batch: Batch) -> Tensor:
        """Return the pooled feature (B, D) that the head reads."""
        self.check(batch)
        return self.network.pooled(*(batch.images[slot] for slot in self.inputs))


def lcz_resnext_recipe(*, epochs: int = 50, batch_size: int = 128, seed: int = 0) -> Recipe:
    """Return a training of ours (the paper's is not known): AdamW 1e-3 on a cosine, mirror images and quarter turns."""
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        weight_decay=0.05,
        warmup_epochs=min(2, epochs / 10),
        minimum_learning_rate=1e-6,
        clip_gradient_norm=5.0,
        channels_last=True,
        transforms=(RandomFlip(), RandomRotate90()),
        watch="accuracy",
        seed=seed,
        workers=1,
    )


CARD = Card(
    name="lcz-resnext",
    title="LCZ ResNeXt",
    summary="Local climate zones of cities from patches of 320 m of Sentinel-1, Sentinel-2 or both.",
    citation="X. X. Zhu et al.: So2Sat LCZ42: A Benchmark Data Set for the Classification of Global Local Climate "
    "Zones. IEEE Geoscience and Remote Sensing Magazine 8(3), 2020.",
    paper="arXiv 1912.12171; ResNeXt arXiv 1611.05431; CBAM arXiv 1807.06521",
    code="github zhu-xlab/So2Sat-LCZ42 (data only; after the description of)",
    code_licence="none stated",
    weights_licence="none published",
    data_licence="CC BY 4.0 (So2Sat LCZ42)",
    variants=(
        Variant(name="radar", parameters=34_959_443, note="8 channels"),
        Variant(name="optical", parameters=34_960_595, note="10 channels"),
        Variant(name="both", parameters=34_965_203, note="18 channels"),
    ),
    reported=(
        Figure(
            metric="accuracy",
            value=0.61,
            data="So2Sat LCZ42 version 2, test part, Sentinel-1 and Sentinel-2",
            source="recalled from the paper, about",
        ),
    ),
    choices=(
        "That the benchmark network is ResNeXt-29 with CBAM is recalled; 8 groups of 64 channels, reduction 16 and the "
        "7x7 kernel are the two papers' own defaults, chosen by us.",
        "CBAM's spatial attention is the paper's equation: a convolution without bias or norm over mean and maximum.",
        "The training is ours; the paper tells cross-entropy and nothing else.",
        "The 100 m grid of zones by windows of 32 pixels every 10 is common practice; the paper publishes no map.",
        "Every zone is the data set's index: 1 to 10, then A to G.",
    ),
    limits=(
        "Cities of other cultures than those trained on are told much worse: random parts give above 90 %, held-out "
        "cities 50 to 65 %.",
        "Radar must be So2Sat's eight linear channels, not decibel; optical reflectance, not digital numbers.",
    ),
)


def lcz_resnext(
    sensors: Sensors = "both",
    *,
    classes: tuple[str, ...] = LOCAL_CLIMATE_ZONES,
    blocks: int = 3,
    groups: int = 8,
    group_width: int = 64,
    stem: int = 64,
    attention: bool = True,
) -> LczResNeXt:
    """Build the classifier for Sentinel-1, Sentinel-2 or both.

    >>> with torch.device("meta"):
    ...     lcz_resnext("both").parameter_count()
    34965203
    """
    return LczResNeXt(
        LczResNeXtConfig(
            radar=RADAR_INPUT if sensors != "optical" else None,
            optical=OPTICAL_INPUT if sensors != "radar" else None,
            output=ClassificationOutput(classes=classes),
            blocks=blocks,
            groups=groups,
            group_width=group_width,
            stem=stem,
            attention=attention,
        )
    )
