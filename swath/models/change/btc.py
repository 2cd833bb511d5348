"""BTC: change detection by a plain pre-trained segmentation network on the differences of two dates.

Blaž Rolih et al.: "Be the Change You Want to See: Revisiting Remote Sensing Change Detection Practices", IEEE TGRS 63,
2025, arXiv 2507.03367. Authors' repository: github.com/blaz-r/BTC-change-detection (MIT; its UperNet part comes from
Hugging Face's transformers, Apache-2.0). Weights: huggingface.co/blaz-r/BTC-B_<data> and BTC-T_<data>, where <data> is
oscd96, levir, sysu, egybcd, clcd or gvlm; `BTC.remap_state_dict` renames their tensors, and those of the authors'
Lightning checkpoints, which bear the same names. Built from a description of the network; nothing was copied.

A Swin encoder, pre-trained for semantic segmentation, sees both dates; a UperNet head decodes the signed differences of
its four maps. The grid of the paper's study is in `btc_study`, its augmentations in `btc_transforms`.

Where we differ, and why:

- The map has the size of the images; the published head is built for one size (256 pixels), which no weight depends on.
- Pixels that are unknown, such as the corners of a turned image, count in no loss; the published code fills them.
- The encoder is the `SwinBackbone` of transformers 5, whose tensors have other names than the published ones of 4.48,
  without its norm of the last tokens, which nothing reads.

Shape legend: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError, DataError, WeightsMismatch
from swath.models.cards import Card, Figure, Variant
from swath.models.change.base import ChangeModel
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import SegmentationOutput, soft_dice
from swath.models.published import read_tensors
from swath.models.recipe import Recipe
from swath.samples.batch import Batch
from swath.samples.rasters import CHANGE_CLASSES, ClassMap
from swath.samples.transforms import RandomFlip, RandomRotate, Resize, Sometimes

Loss = Literal["dice", "cross_entropy", "focal"]
Difference = Literal["signed", "absolute"]
Four = tuple[int, int, int, int]

STRIDE = 32
BTC_INPUT = imagenet_rgb(window=256, overlap=86, multiple_of=STRIDE)
"""Two dates of red, green and blue from 0 to 255 under ImageNet's statistics."""

CHANGE = SegmentationOutput(classes=CHANGE_CLASSES, binary=True)
"""The paper's answer: one map of how likely a pixel changed."""


@dataclass(frozen=True, kw_only=True)
class BTCConfig:
    """Everything that defines BTC; the defaults are BTC-T.

    `width`, `depths`, `heads` and `window` are those of the Swin encoder, `head_width` and `pool_scales` those of the
    UperNet head, `drop_path` the drop rate of attention that the encoder's blocks approach with depth, in training.
    `losses` are added up. `difference_norm` normalises the channels of each difference (off in the published
    weights). `auxiliary_width` above 0 adds a small head on the third map, for the loss alone.

    Raises `ConfigurationError` for a value outside its range.

    >>> BTCConfig(losses=("dice", "focal")).depths
    (2, 2, 6, 2)
    """

    input: InputSpec = BTC_INPUT
    output: SegmentationOutput = CHANGE
    width: int = 96
    depths: Four = (2, 2, 6, 2)
    heads: Four = (3, 6, 12, 24)
    window: int = 7
    drop_path: float = 0.3
    head_width: int = 512
    pool_scales: tuple[int, ...] = (1, 2, 3, 6)
    difference: Difference = "signed"
    difference_norm: bool = False
    auxiliary_width: int = 0
    losses: tuple[Loss, ...] = ("dice",)

    def __post_init__(self) -> None:
        if len(self.output.classes) != 2:
            raise ConfigurationError(
                f"BTC tells two classes, what changed last; found {len(self.output.classes)}: {self.output.classes}."
            )
        unknown = [name for name in self.losses if name not in get_args(Loss)]
        if unknown or not self.losses or len(set(self.losses)) < len(self.losses):
            raise ConfigurationError(
                f"'losses' are some of {', '.join(get_args(Loss))}, each at most once; found {self.losses}."
            )
        if self.difference not in get_args(Difference):
            raise ConfigurationError(f"'difference' is 'signed' or 'absolute'; found '{self.difference}'.")
        if any(width % heads for width, heads in zip(self.widths, self.heads, strict=True)):
            raise ConfigurationError(f"'heads' must divide the widths {self.widths} of the stages; found {self.heads}.")
        if not 0 <= self.drop_path < 1:
            raise ConfigurationError(f"'drop_path' is a probability below 1; found {self.drop_path}. 0 turns it off.")

    @property
    def widths(self) -> Four:
        """The channels of the encoder's four maps."""
        return (self.width, 2 * self.width, 4 * self.width, 8 * self.width)


class SwinEncoder(nn.Module):
    """The Swin transformer: images (B, C, H, W) to maps at strides 4, 8, 16 and 32, each with a norm of its own.

    Windows keep their size on every map; maps are padded with zeros at the right and the bottom to whole windows.
    """

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        # An optional dependency, which takes seconds to import.
        from transformers.models.swin.configuration_swin import SwinConfig
        from transformers.models.swin.modeling_swin import SwinBackbone

        self.backbone = SwinBackbone(
            SwinConfig(  # type: ignore[call-arg]  # `out_features` is taken from its keyword arguments
                num_channels=config.input.channels,
                embed_dim=config.width,
                depths=config.depths,
                num_heads=config.heads,
                window_size=config.window,
                drop_path_rate=config.drop_path,
                out_features=["stage1", "stage2", "stage3", "stage4"],
            )
        )
        self.backbone.swin.layernorm = nn.Identity()  # type: ignore[assignment]

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the four maps, finest first."""
        maps: tuple[Tensor, ...] = self.backbone(images_BCHW).feature_maps
        return maps


class MapDifference(nn.Module):
    """What differs between the maps of two dates: before minus after, stage by stage."""

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.absolute = config.difference == "absolute"
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in config.widths if config.difference_norm)

    def forward(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[Tensor]:
        """Subtract, and normalise over the channels where the network does so."""
        differences = [first - second for first, second in zip(before, after, strict=True)]
        if self.absolute:
            differences = [difference.abs() for difference in differences]
        for number, norm in enumerate(self.norms):
            differences[number] = norm(differences[number].movedim(1, -1)).movedim(-1, 1)
        return differences


class ConvModule(nn.Module):
    """A convolution of an odd side without a bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False)
        self.batch_norm = nn.BatchNorm2d(outputs)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Run the three."""
        return functional.relu(self.batch_norm(self.conv(map_BCHW)))


class UperNetHead(nn.Module):
    """UperNet (Xiao et al. 2018): pyramid pooling of the coarsest map, then a feature pyramid, then one map of scores.

    Takes four maps, finest first; the scores have the finest map's size.
    """

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        *fine, coarse = config.widths
        width, scales = config.head_width, config.pool_scales
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvModule(coarse, width, 1)) for scale in scales
        )
        self.bottleneck = ConvModule(coarse + len(scales) * width, width, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(inputs, width, 1) for inputs in fine)
        self.fpn_convs = nn.ModuleList(ConvModule(width, width, 3) for _ in fine)
        self.fpn_bottleneck = ConvModule(len(config.widths) * width, width, 3)
        self.classifier = nn.Conv2d(width, config.output.channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Score every pixel of the finest map."""
        *fine, coarse = maps
        pooled = [resized_like(branch(coarse), coarse) for branch in self.psp_modules]
        levels = [self.bottleneck(torch.cat([coarse, *pooled], dim=1))]
        for lateral, map_BCHW in zip(reversed(self.lateral_convs), reversed(fine), strict=True):
            own = lateral(map_BCHW)
            levels.insert(0, own + resized_like(levels[0], own))
        levels[:-1] = [convolve(level) for convolve, level in zip(self.fpn_convs, levels[:-1], strict=True)]
        joined = torch.cat([resized_like(level, levels[0]) for level in levels], dim=1)
        scores: Tensor = self.classifier(self.fpn_bottleneck(joined))
        return scores


class BTCNetwork(nn.Module):
    """Two dates (B, C, H, W) to scores (B, 1 or 2, H, W); both go through the encoder as one batch."""

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.encoder = SwinEncoder(config)
        self.difference = MapDifference(config)
        self.decoder = UperNetHead(config)
        width = config.auxiliary_width
        self.auxiliary = (
            nn.Sequential(ConvModule(config.widths[2], width, 3), nn.Conv2d(width, config.output.channels, 1))
            if width
            else None
        )
        for head in (self.decoder, self.auxiliary):
            if head is not None:
                head.apply(_initialise)

    def forward(self, before_BCHW: Tensor, after_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Score what changed; in training also the scores of the auxiliary head, where there is one."""
        # The encoder normalises every pixel by itself, so one run of both is the same as two runs.
        pairs = [both.chunk(2) for both in self.encoder(torch.cat([before_BCHW, after_BCHW]))]
        differences = self.difference([before for before, _ in pairs], [after for _, after in pairs])
        scores = resized_like(self.decoder(differences), before_BCHW)
        if self.auxiliary is None or not self.training:
            return scores
        return scores, resized_like(self.auxiliary(differences[2]), before_BCHW)


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def resized_like(map_BCHW: Tensor, other: Tensor) -> Tensor:
    """Resize a map bilinearly to the rows and columns of another.

    >>> resized_like(torch.zeros(1, 2, 3, 4), torch.zeros(1, 1, 6, 8)).shape
    torch.Size([1, 2, 6, 8])
    """
    return functional.interpolate(map_BCHW, size=other.shape[-2:], mode="bilinear", align_corners=False)


def change_losses(
    names: Sequence[Loss], scores_BKHW: Tensor, truth_BHW: Tensor, *, ignore: int = 255
) -> dict[str, Tensor]:
    """Return the named losses of scores (B, 1 or 2, H, W) against labels (B, H, W), in 32-bit floats.

    `dice` is 1 - (2 sum pt + 1) / (sum p + sum t + 1) over the whole batch, `cross_entropy` a mean over pixels, `focal`
    the mean of (1 - q)^2 x cross-entropy with q the probability of what is true (Lin et al. 2017, eq. 4). Of two
    channels the difference counts: its sigmoid is the softmax of the second, so that `cross_entropy` is that of two
    classes. Source: sheet, "Objective and training".

    >>> scores, truth = torch.zeros(1, 1, 1, 4), torch.tensor([[[1, 0, 0, 0]]])
    >>> {name: round(float(value), 5) for name, value in change_losses(("dice", "focal"), scores, truth).items()}
    {'dice': 0.5, 'focal': 0.17329}
    """
    scores_BKHW = scores_BKHW.float()
    logits_BHW = scores_BKHW[:, -1] - scores_BKHW[:, 0] if scores_BKHW.shape[1] == 2 else scores_BKHW[:, 0]
    truth = (truth_BHW == 1).to(logits_BHW)
    weight = (truth_BHW != ignore).to(logits_BHW)
    entropy = functional.binary_cross_entropy_with_logits(logits_BHW, truth, reduction="none")
    terms: dict[str, Tensor] = {}
    for name in names:
        if name == "dice":
            terms[name] = soft_dice(torch.sigmoid(logits_BHW).unsqueeze(1), truth.unsqueeze(1), weight)
        else:
            values = entropy if name == "cross_entropy" else (1 - torch.exp(-entropy)).square() * entropy
            terms[name] = (values * weight).sum() / weight.sum().clamp(min=1)
    return terms


class BTC(ChangeModel):
    """BTC under the contract.

    >>> model = btc_tiny(width=12, head_width=8).eval()
    >>> model.network(torch.zeros(1, 3, 64, 96), torch.ones(1, 3, 64, 96)).shape
    torch.Size([1, 1, 64, 96])
    """

    Config = BTCConfig
    config: BTCConfig
    network: BTCNetwork

    def __init__(self, config: BTCConfig) -> None:
        super().__init__(config)
        self.network = BTCNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the configured losses by name, in training those of an auxiliary head beside them."""
        answer = self(batch)
        labels_BHW, ignore = _labels(batch), self.config.output.ignore
        main, *others = answer if isinstance(answer, tuple) else (answer,)
        terms = change_losses(self.config.losses, main, labels_BHW, ignore=ignore)
        for scores_BKHW in others:
            found = change_losses(self.config.losses, scores_BKHW, labels_BHW, ignore=ignore)
            terms |= {f"auxiliary {name}": value for name, value in found.items()}
        return terms

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the published names (transformers 4.48) into ours (transformers 5.24), and drop what is computed.

        >>> list(BTC.remap_state_dict({"enc.backbone.hidden_states_norms.stage1.bias": torch.zeros(1)}))
        ['encoder.backbone.hidden_states_norms.stage1.bias']
        """
        remapped = {}
        for name, tensor in published.items():
            if _DROPPED.search(name):
                continue
            for pattern, replacement in _RULES:
                name = pattern.sub(replacement, name)
            remapped[name] = tensor
        return remapped


def _labels(batch: Batch) -> Tensor:
    """Return the labels of the batch's class maps, (B, H, W)."""
    maps = [target for target in batch.targets or () if isinstance(target, ClassMap)]
    if len(maps) != len(batch):
        raise DataError(f"change detection learns from a class map a pair; the batch of {len(batch)} has {len(maps)}.")
    stacked = np.stack([map_.labels for map_ in maps]).astype(np.int64)
    return torch.from_numpy(stacked).to(batch.device)


_DROPPED = re.compile(r"\.relative_position_index$|^enc\.backbone\.embeddings\.mask_token$")
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^enc\.backbone\.(?=embeddings\.|encoder\.)", "encoder.backbone.swin."),
        (r"^enc\.backbone\.(?=hidden_states_norms\.)", "encoder.backbone."),
        (r"\.attention\.self\.query\.", ".attention.q_proj."),
        (r"\.attention\.self\.key\.", ".attention.k_proj."),
        (r"\.attention\.self\.value\.", ".attention.v_proj."),
        (r"\.attention\.self\.(?=relative_position_bias_table$)", ".attention.relative_position_bias."),
        (r"\.attention\.output\.dense\.", ".attention.o_proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"^dec\.", "decoder."),
    )
)

_SWIN_FILE = re.compile(
    r"^(?:model\.pixel_level_module\.encoder\.(?:model\.)?|enc\.backbone\.|swin\.)?"
    r"(?P<name>(?:embeddings|encoder|hidden_states_norms)\..+)$"
)


def load_encoder(model: BTC, file: str | Path) -> None:
    """Start the encoder from published Swin weights; the head stays as it is.

    The file may be that of a Mask2Former (both of its layouts), of a Swin classifier or backbone of transformers, or of
    a BTC. A classifier has no norms of the stages; those stay fresh. Raises `WeightsMismatch` unless every other tensor
    of the encoder is found in its shape, and leaves the model as it was.
    """
    found = {match["name"]: tensor for name, tensor in read_tensors(file).items() if (match := _SWIN_FILE.match(name))}
    # The older layout counts the norms of the stages from 0.
    renamed = {re.sub(r"^hidden_states_norms\.(\d)\.", _stage_norm, name): tensor for name, tensor in found.items()}
    remapped = BTC.remap_state_dict({f"enc.backbone.{name}": tensor for name, tensor in renamed.items()})
    own = {f"encoder.{name}": tensor for name, tensor in model.network.encoder.state_dict().items()}
    if not any(".hidden_states_norms." in name for name in remapped):
        own = {name: tensor for name, tensor in own.items() if ".hidden_states_norms." not in name}
    unfit = [name for name, tensor in own.items() if name not in remapped or remapped[name].shape != tensor.shape]
    if unfit:
        raise WeightsMismatch(
            f"{file} does not hold this Swin encoder: {len(unfit)} of {len(own)} tensors are missing or of another "
            f"shape, first {unfit[0]}. Build the variant that it was made for, with three bands."
        )
    model.network.load_state_dict({name: remapped[name] for name in own}, strict=False)


def _stage_norm(match: re.Match[str]) -> str:
    return f"hidden_states_norms.stage{int(match[1]) + 1}."


FLIPS_AND_TURNS = (RandomFlip(horizontal=0.3, vertical=0.3), Sometimes(RandomRotate(90.0), 0.3))
"""The paper's augmentation."""


def btc_recipe(*, epochs: int = 100, batch_size: int = 32, size: int = 256, seed: int = 42) -> Recipe:
    """Return the paper's training: AdamW 1e-4 on a cosine to a thousandth, epoch by epoch, flips and turns, 16 bits.

    The seeds of the paper are 42, 1337 and 564738. Source: sheet, "Objective and training".

    >>> btc_recipe().minimum_learning_rate
    1e-07
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-4,
        weight_decay=1e-4,
        decay_everything=True,
        schedule="cosine",
        schedule_every="epoch",
        minimum_learning_rate=1e-7,
        precision="bfloat16",
        transforms=(Resize(size), *FLIPS_AND_TURNS),
        validate_every=5,
        watch="F1 (class changed)",
        seed=seed,
        workers=1,
    )


# F1 and IoU of the change class in percent, means of three seeds, of the models trained with Dice.
_REPORTED = {
    "BTC-B": {
        "SYSU-CD": (82.37, 70.03),
        "LEVIR-CD": (91.48, 84.29),
        "EGY-BCD": (85.61, 74.84),
        "GVLM": (90.72, 83.02),
        "CLCD": (80.90, 67.93),
        "OSCD (96 px)": (54.30, 37.27),
    },
    "BTC-T": {
        "SYSU-CD": (81.59, 68.90),
        "LEVIR-CD": (91.37, 84.11),
        "EGY-BCD": (85.64, 74.89),
        "GVLM": (90.60, 82.81),
        "CLCD": (79.52, 66.01),
        "OSCD (96 px)": (54.30, 37.27),
    },
}

CARD = Card(
    name="btc",
    title="BTC",
    summary="Binary change detection by a plain Swin and UperNet on signed differences, pre-trained for segmentation.",
    citation="B. Rolih et al.: Be the Change You Want to See: Revisiting Remote Sensing Change Detection Practices. "
    "IEEE Transactions on Geoscience and Remote Sensing 63, 2025.",
    paper="arXiv 2507.03367",
    code="github.com/blaz-r/BTC-change-detection",
    code_licence="MIT; its UperNet part Apache-2.0",
    weights_licence="not stated; published at huggingface.co/blaz-r, none shipped here",
    data_licence="each data set has its own",
    variants=(
        Variant(name="tiny", parameters=58_941_627, note="BTC-T: encoder 27,520,698, head 31,420,929"),
        Variant(name="base", parameters=120_119_929, note="BTC-B: encoder 86,880,376, head 33,239,553"),
    ),
    reported=tuple(
        Figure(metric=metric, value=round(value / 100, 4), data=f"{data}, test", source=f"arXiv 2507.03367, {name}")
        for name, by_data in _REPORTED.items()
        for data, values in by_data.items()
        for metric, value in zip(("F1 (change)", "IoU (change)"), values, strict=True)
    ),
    choices=(
        "The map has the size of the images, not of a constructor's value.",
        "Unknown pixels (the corners of a turned image) count in no loss; the published code fills them by a rule of "
        "an unpinned version of albumentations.",
        "`cross_entropy` is the published `ce` with one channel and `2chce` with two; Dice and focal loss with two "
        "channels take the softmax of the second.",
        "Losses are added without weights, those of an auxiliary head too, as published.",
        "`difference_norm` is a LayerNorm over the channels after the subtraction; the description of the published, "
        "unused variant says no more than LayerNorm (inferred).",
        "`load_encoder` also takes norms of stages counted from 0, as transformers' older Mask2Former layout does "
        "(inferred).",
        "The last step of an epoch is filled up with samples of that epoch; the published code drops it.",
        "Stochastic depth drops attention, not the multilayer perceptrons, as transformers' Swin does.",
        "Bands other than red, green and blue get the mean of ImageNet's three statistics (ours).",
    ),
    limits=(
        "Trained on red, green and blue of 256 px tiles; smaller tiles (OSCD's 96 px) are enlarged to 256 first.",
        "before - after is signed: exchanging the dates changes the answer.",
        "The published figures are those of the last epoch; here the weights that validate best are kept.",
    ),
    training="No weights are shipped. `btc_recipe` is the paper's; start from a Mask2Former for Cityscapes "
    "(facebook/mask2former-swin-tiny-cityscapes-semantic, -base-IN21k-cityscapes-semantic) with `load_encoder`.",
)


class BTCOptions(TypedDict, total=False):
    """What the builders take besides the encoder's shape: fields of the configuration, or just `bands` by role."""

    bands: tuple[str, ...]
    input: InputSpec
    output: SegmentationOutput
    width: int
    drop_path: float
    head_width: int
    difference: Difference
    difference_norm: bool
    auxiliary_width: int
    losses: tuple[Loss, ...]


def _build(config: BTCConfig, options: BTCOptions) -> BTC:
    fields = dict(options)
    bands = options.get("bands")
    if bands is not None:
        if "input" in options:
            raise ConfigurationError("give either 'bands' or 'input', which names its own bands; found both.")
        del fields["bands"]
        fields["input"] = _input_of(tuple(bands))
    return BTC(replace(config, **fields))  # type: ignore[arg-type]


def _input_of(bands: tuple[str, ...]) -> InputSpec:
    places = {role: number for number, role in enumerate(BTC_INPUT.bands)}
    statistics = [
        tuple(values[places[role]] if role in places else sum(values) / len(values) for role in bands)
        for values in (BTC_INPUT.mean, BTC_INPUT.std)
    ]
    return replace(BTC_INPUT, bands=bands, mean=statistics[0], std=statistics[1])


def btc_tiny(**options: Unpack[BTCOptions]) -> BTC:
    """Build BTC-T, on Swin-T.

    >>> with torch.device("meta"):
    ...     btc_tiny().parameter_count()
    58941627
    """
    return _build(BTCConfig(), options)


def btc_small(**options: Unpack[BTCOptions]) -> BTC:
    """Build the study's network on Swin-S, of which no weights were published.

    >>> with torch.device("meta"):
    ...     round(btc_small().parameter_count() / 1e6, 2)
    80.26
    """
    return _build(BTCConfig(depths=(2, 2, 18, 2)), options)


def btc_base(**options: Unpack[BTCOptions]) -> BTC:
    """Build BTC-B, on Swin-B with windows of 12.

    >>> with torch.device("meta"):
    ...     btc_base().parameter_count()
    120119929
    """
    return _build(BTCConfig(width=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=12), options)
