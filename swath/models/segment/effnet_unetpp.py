"""EfficientNet U-Net++ for building extraction: a nested, densely connected decoder on an EfficientNet.

Paper: T. B. Ovi et al., "Performance Analysis of Various EfficientNet Based U-Net++ Architecture for
Automatic Building Extraction from High Resolution Satellite Images", arXiv 2310.06847 (2023). The authors
published no code and no weights. The network is in `unetpp`, its encoder in `efficientnet`.

Reference library: segmentation_models_pytorch 0.6.0 (MIT), whose encoder follows
lukemelas/EfficientNet-PyTorch (Apache-2.0). Its checkpoints load through `remap_state_dict`; ImageNet and
AdvProp encoders are published at huggingface.co as `smp-hub/efficientnet-b0.imagenet` and its siblings.

Where we differ, and why:

- Tensor names are ours; the library's underscored ones are mapped when weights are loaded.
- Deep supervision is claimed by the paper and part of the original U-Net++, but absent from the library. Ours
  adds a 1x1 head to each top-row node; it is off by default, so that library weights load with nothing
  missing. A pruned answer (L1 to L3) runs only the blocks and nodes that it needs.
- The map can also be read as centres of things (`PointOutput`); the paper segments only.

Shape legend: B batch, C channels, K score maps, H rows, W columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor, nn

from swath.errors import ConfigurationError, WeightsMismatch
from swath.imagery.bands import Unit
from swath.models import cards
from swath.models.base import OneImageModel
from swath.models.inputs import InputSpec
from swath.models.outputs import DenseOutput, PointOutput, ScoreMap, SegmentationOutput
from swath.models.published import read_tensors
from swath.models.recipe import Recipe
from swath.models.segment.efficientnet import Variant
from swath.models.segment.unetpp import LEVELS, STRIDE, DecoderChannels, UnetPlusPlus, mean_logits
from swath.samples.annotation import Annotation
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomRotate90

Inference = Literal["accurate", "L1", "L2", "L3", "L4"]

MASSACHUSETTS_INPUT = InputSpec(
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    mean=(127.5,),
    std=(127.5,),
    window=512,
    overlap=64,
    multiple_of=STRIDE,
)
"""Red, green and blue from 0 to 255, scaled to -1 to 1 as the paper does."""

BUILDINGS = SegmentationOutput(classes=("background", "building"), binary=True)
"""The paper's answer: one map that tells buildings from the rest."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetUnetPlusPlusConfig:
    """What the model is built from; the defaults are the paper's best variant at the library's widths.

    `encoder` is the EfficientNet size, `decoder_channels` the widths of the nodes x_0_0 to x_0_4 and
    `drop_connect` the drop rate that the blocks approach with depth. `deep_supervision` adds the three
    extra heads; `inference` then chooses between the mean probability of all four nested U-Nets
    ("accurate") and one of them, L4 being the whole network.

    Raises `ConfigurationError` for a value outside its range.

    >>> EfficientNetUnetPlusPlusConfig(encoder="b0").output.classes
    ('background', 'building')
    """

    encoder: Variant = "b4"
    input: InputSpec = MASSACHUSETTS_INPUT
    output: DenseOutput = BUILDINGS
    deep_supervision: bool = False
    inference: Inference = "accurate"
    decoder_channels: DecoderChannels = (256, 128, 64, 32, 16)
    drop_connect: float = 0.2

    def __post_init__(self) -> None:
        if self.input.multiple_of % STRIDE:
            raise ConfigurationError(
                f"the network needs input sides that are multiples of {STRIDE}; found "
                f"multiple_of={self.input.multiple_of}. Set it to {STRIDE} in the input."
            )
        if min(self.decoder_channels) < 1:
            raise ConfigurationError(f"'decoder_channels' must be positive; found {self.decoder_channels}.")
        if not 0 <= self.drop_connect < 1:
            raise ConfigurationError(
                f"'drop_connect' is a probability below 1; found {self.drop_connect}. 0 turns it off."
            )
        if not self.deep_supervision and self.inference in ("L1", "L2", "L3"):
            raise ConfigurationError(
                f"the pruned network {self.inference} needs its own head; set deep_supervision=True."
            )

    @property
    def inference_levels(self) -> tuple[int, ...]:
        """The nested U-Nets that a prediction runs."""
        if self.inference == "accurate":
            return LEVELS if self.deep_supervision else LEVELS[-1:]
        return (int(self.inference[1:]),)


_DROPPED = re.compile(r"^(encoder\.)?_fc\.")
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^_(?=conv_stem|conv_head|bn0|bn1|blocks)", "encoder._"),  # an encoder stored alone
        (r"^encoder\._conv_stem\.", "encoder.stem.conv."),
        (r"^encoder\._bn0\.", "encoder.stem.norm."),
        (r"^encoder\._conv_head\.", "encoder.head.conv."),
        (r"^encoder\._bn1\.", "encoder.head.norm."),
        (r"^encoder\._blocks\.", "encoder.blocks."),
        (r"\._expand_conv\.", ".expand.conv."),
        (r"\._bn0\.", ".expand.norm."),
        (r"\._depthwise_conv\.", ".depthwise.conv."),
        (r"\._bn1\.", ".depthwise.norm."),
        (r"\._se_reduce\.", ".squeeze.reduce."),
        (r"\._se_expand\.", ".squeeze.expand."),
        (r"\._project_conv\.", ".project.conv."),
        (r"\._bn2\.", ".project.norm."),
        (r"^decoder\.blocks\.(x_\d_\d)\.conv([12])\.0\.", r"decoder.nodes.\1.conv\2.conv."),
        (r"^decoder\.blocks\.(x_\d_\d)\.conv([12])\.1\.", r"decoder.nodes.\1.conv\2.norm."),
        (r"^segmentation_head\.0\.", "head."),
    )
)


def remap_state_dict(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the library's tensors to ours, and drop the ImageNet classifier (`_fc.*`).

    Takes a whole checkpoint of segmentation_models_pytorch, or an encoder alone in the names of
    lukemelas/EfficientNet-PyTorch (then only `encoder.*` comes out). A name that no rule knows passes
    unchanged, so that whoever loads the weights sees it as left over.

    >>> list(remap_state_dict({"_blocks.3._bn2.bias": torch.zeros(1), "_fc.bias": torch.zeros(1)}))
    ['encoder.blocks.3.project.norm.bias']
    """
    remapped = {}
    for name, tensor in published.items():
        if _DROPPED.match(name):
            continue
        for pattern, replacement in _RULES:
            name = pattern.sub(replacement, name)
        remapped[name] = tensor
    return remapped


_STEM = "encoder.stem.conv.weight"


def adapt_input_bands(state: Mapping[str, Tensor], sources: Sequence[int | None]) -> dict[str, Tensor]:
    """Weights for other input bands, made from those of a three-band network (in our names).

    `sources` has one entry a band: the published channel (0 red, 1 green, 2 blue) whose kernels it takes
    over, or None for the mean of the three. All kernels are scaled by 3 / bands, which keeps the size of the
    first activations; the other tensors are passed on. Raises `WeightsMismatch` where there is no such layer
    and `ConfigurationError` for other sources.

    >>> rgb = {"encoder.stem.conv.weight": torch.ones(32, 3, 3, 3)}
    >>> adapted = adapt_input_bands(rgb, (0, 1, 2, 0))["encoder.stem.conv.weight"]
    >>> adapted.shape, adapted[0, 3, 0, 0].item()
    (torch.Size([32, 4, 3, 3]), 0.75)
    """
    kernels = state.get(_STEM)
    if kernels is None or kernels.shape[1] != 3:
        found = "none" if kernels is None else f"one for {kernels.shape[1]} bands"
        raise WeightsMismatch(f"the weights need a first layer for 3 bands ({_STEM}); found {found}.")
    if not sources or any(source not in (0, 1, 2, None) for source in sources):
        raise ConfigurationError(f"'sources' has 0, 1, 2 or None for each band; found {tuple(sources)}.")
    picked = [kernels.mean(1) if source is None else kernels[:, source] for source in sources]
    return {**state, _STEM: torch.stack(picked, 1) * (3 / len(sources))}


class EfficientNetUnetPlusPlus(OneImageModel):
    """EfficientNet U-Net++ whose map is read as classes of pixels or as centres of things.

    With deep supervision the loss is the mean over the nested U-Nets, term by term, and an "accurate"
    prediction comes from their mean probability. Source: sheet, "Deep supervision".

    >>> model = EfficientNetUnetPlusPlus(EfficientNetUnetPlusPlusConfig(encoder="b0"))
    >>> model.parameter_count(), model.classes
    (6569581, ('background', 'building'))
    """

    Config = EfficientNetUnetPlusPlusConfig
    loss_by_output = True
    config: EfficientNetUnetPlusPlusConfig
    network: UnetPlusPlus

    def __init__(self, config: EfficientNetUnetPlusPlusConfig) -> None:
        super().__init__(config)
        self.network = UnetPlusPlus(
            variant=config.encoder,
            in_channels=config.input.channels,
            out_channels=config.output.channels,
            decoder_channels=config.decoder_channels,
            drop_connect=config.drop_connect,
            deep_supervision=config.deep_supervision,
            inference_levels=config.inference_levels,
        )
        if isinstance(config.output, PointOutput):
            self._expect_few_centres()

    def _expect_few_centres(self) -> None:
        # Centres are rare: a first probability of 0.1 keeps the many empty pixels from ruling the focal loss
        # (Lin et al., "Focal Loss for Dense Object Detection", section 3.3).
        for name, parameter in self.network.named_parameters():
            if name == "head.bias" or (name.startswith("ds_heads.") and name.endswith(".bias")):
                nn.init.constant_(parameter, -math.log(9.0))

    @classmethod
    def card(cls) -> cards.Card:
        """Who published the system, its eight variants, figures and our choices."""
        return CARD

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The library's tensor names in ours; see the function of the same name."""
        return remap_state_dict(published)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The output's terms, each averaged over the nested U-Nets that ran."""
        terms = [self.config.output.loss(logits_BKHW, batch) for logits_BKHW in self._logits(batch)]
        return {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[Annotation]:
        """One `ClassMap` or `Points` an image, from the nested U-Nets that the configuration names."""
        return self.config.output.annotations(self._joint_logits(batch), batch)

    @torch.no_grad()
    def score_maps(self, batch: Batch) -> list[ScoreMap] | None:
        """Undecided scores an image where the output is a class map; None for centres."""
        output = self.config.output
        return output.score_maps(self._joint_logits(batch)) if isinstance(output, SegmentationOutput) else None

    def _joint_logits(self, batch: Batch) -> Tensor:
        exclusive = isinstance(self.config.output, SegmentationOutput) and not self.config.output.binary
        return mean_logits(self._logits(batch), exclusive=exclusive)

    def _logits(self, batch: Batch) -> tuple[Tensor, ...]:
        answer = self(batch)
        return answer if isinstance(answer, tuple) else (answer,)


def load_encoder(
    model: EfficientNetUnetPlusPlus, file: str | Path, *, band_sources: Sequence[int | None] | None = None
) -> None:
    """Start the encoder from published weights, such as ImageNet's; the decoder stays fresh.

    The file may hold an encoder alone or a whole network. `band_sources` adapts its first layer to the
    model's bands as `adapt_input_bands` does. Raises `WeightsMismatch` unless every tensor of the encoder is
    found, and leaves the model as it was.
    """
    published = remap_state_dict(read_tensors(file))
    if band_sources is not None:
        published = adapt_input_bands(published, band_sources)
    own = model.network.encoder.state_dict()
    found = {name: published.get(f"encoder.{name}") for name in own}
    fitting = {name: v for name, v in found.items() if v is not None and v.shape == own[name].shape}
    # Checkpoints from before PyTorch 0.4.1 lack the counters of batches, which nothing reads.
    unfit = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    if unfit:
        raise WeightsMismatch(
            f"{file} does not hold the encoder {model.config.encoder} for {model.config.input.channels} "
            f"bands; {len(unfit)} of {len(own)} tensors are missing or of another shape, first {unfit[0]}. "
            "Build the variant that it was made for, and give band_sources where the bands are not RGB."
        )
    model.network.encoder.load_state_dict(fitting, strict=False)


def effnet_unetpp_recipe(*, epochs: int = 100, batch_size: int = 8) -> Recipe:
    """Our recipe, since the paper states none: AdamW at 1e-4 falling on a cosine, flips and quarter turns.

    The weights kept are those with the best IoU of buildings; replace `watch` for other classes. Source:
    sheet, "Objective and training" (inferred).

    >>> effnet_unetpp_recipe().learning_rate
    0.0001
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-4,
        weight_decay=1e-4,
        channels_last=True,
        transforms=(RandomFlip(), RandomRotate90()),
        watch="IoU (class building)",
    )


_SOURCE = "arXiv 2310.06847, EfficientNet-B4"

CARD = cards.Card(
    name="effnet-unetpp",
    title="EfficientNet U-Net++",
    summary="A nested, densely connected decoder on an EfficientNet B0 to B7: a plain, strong baseline for "
    "building footprints.",
    citation="T. B. Ovi et al., Performance Analysis of Various EfficientNet Based U-Net++ Architecture for "
    "Automatic Building Extraction from High Resolution Satellite Images, 2023.",
    paper="arXiv 2310.06847",
    code="none published; reference library segmentation_models_pytorch 0.6.0",
    code_licence="MIT (library), Apache-2.0 (its EfficientNet)",
    weights_licence="none published; the library's ImageNet and AdvProp encoders are Apache-2.0",
    data_licence="Massachusetts Buildings: research use, no formal licence found",
    variants=(
        cards.Variant(name="b0", parameters=6_569_581, note="stride-16 feature after block 8, as its weights need"),
        cards.Variant(name="b1", parameters=9_075_217),
        cards.Variant(name="b2", parameters=10_401_299),
        cards.Variant(name="b3", parameters=13_624_793),
        cards.Variant(name="b4", parameters=20_813_113, note="the paper's best"),
        cards.Variant(name="b5", parameters=31_910_081),
        cards.Variant(name="b6", parameters=44_665_129),
        cards.Variant(name="b7", parameters=68_163_553),
    ),
    reported=tuple(
        cards.Figure(metric=metric, value=value, data="Massachusetts Buildings, test", source=_SOURCE)
        for metric, value in (("mean accuracy", 0.9223), ("mean IoU", 0.8832), ("mean precision", 0.932))
    ),
    choices=(
        "Widths, padding and names follow the library; the paper does not state them.",
        "Deep supervision (claimed by the paper, absent from the library) is three 1x1 heads on the top row, "
        "off by default.",
        "Loss: cross-entropy plus soft Dice; the paper states none.",
        "Recipe: AdamW, 1e-4, cosine, 100 epochs, flips and quarter turns; the paper states none.",
        "Pixels are scaled to -1 to 1 as in the paper, which suits AdvProp encoders; ImageNet encoders "
        "expect mean (123.675, 116.28, 103.53) and std (58.395, 57.12, 57.375) of 8-bit values.",
    ),
    limits=(
        "The reported figures come from whole scenes down-sampled to 256 px (5.9 m pixels) and are not "
        "comparable with tiled work.",
        "Sides must be multiples of 32. Weights made under another padding (torchvision, timm) give shifted features.",
    ),
    training="No weights were published and none are shipped. `effnet_unetpp_recipe` is our proposal; the "
    "paper starts from pre-trained encoders, as `load_encoder` does.",
)


class BuildOptions(TypedDict, total=False):
    """What the builders take besides the size: the fields of the configuration, or just `bands` by role."""

    bands: tuple[str, ...]
    input: InputSpec
    output: DenseOutput
    deep_supervision: bool
    inference: Inference
    decoder_channels: DecoderChannels
    drop_connect: float


def _build(encoder: Variant, options: BuildOptions) -> EfficientNetUnetPlusPlus:
    fields = dict(options)
    bands = options.get("bands")
    if bands is not None:
        if "input" in options:
            raise ConfigurationError("give either 'bands' or 'input', which names its own bands; found both.")
        del fields["bands"]
        fields["input"] = replace(MASSACHUSETTS_INPUT, bands=tuple(bands))
    return EfficientNetUnetPlusPlus(EfficientNetUnetPlusPlusConfig(encoder=encoder, **fields))  # type: ignore[arg-type]


def effnet_unetpp_b0(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B0 (6.6 million parameters) with fresh weights."""
    return _build("b0", options)


def effnet_unetpp_b1(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B1 (9.1 million parameters) with fresh weights."""
    return _build("b1", options)


def effnet_unetpp_b2(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B2 (10.4 million parameters) with fresh weights."""
    return _build("b2", options)


def effnet_unetpp_b3(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B3 (13.6 million parameters) with fresh weights."""
    return _build("b3", options)


def effnet_unetpp_b4(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B4 (20.8 million parameters, the paper's best) with fresh weights."""
    return _build("b4", options)


def effnet_unetpp_b5(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B5 (31.9 million parameters) with fresh weights."""
    return _build("b5", options)


def effnet_unetpp_b6(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B6 (44.7 million parameters) with fresh weights."""
    return _build("b6", options)


def effnet_unetpp_b7(**options: Unpack[BuildOptions]) -> EfficientNetUnetPlusPlus:
    """Build U-Net++ on EfficientNet-B7 (68.2 million parameters) with fresh weights."""
    return _build("b7", options)
