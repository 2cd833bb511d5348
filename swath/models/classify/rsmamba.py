"""RSMamba: scene classification by a state-space model that reads the image in three orders.

Chen, Chen, Liu, Li, Zou, Shi: "RSMamba: Remote Sensing Image Classification with State Space Model", IEEE GRSL 2024,
arXiv 2403.19654. Official repository: github KyanChen/RSMamba (Apache-2.0). Published weights: huggingface
KyanChen/RSMamba (licence as the repository's).

Where we differ, and why:

- The three orders share the input and output projections (they act on single tokens), so we run each once instead of
  three times; results are equal to rounding, the projections cost a third.
- The shuffled order is drawn afresh at every call in the published code, at inference too, so its answers vary. With
  `permutation="repeatable"` (the default) inference draws each layer's order from `permutation_seed`; training always
  draws afresh. `permutation="published"` draws afresh everywhere.
- The class tokens at head and tail together work here (the published forward tests for another spelling and raises).
- Image sizes other than the one the position table was built for are refused, as the published network cannot take
  them either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ConfigurationError
from swath.imagery.bands import Unit
from swath.models.base import OneImageModel
from swath.models.cards import Card, Figure, Variant
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.recipe import Recipe
from swath.nn.mamba import MambaMixer
from swath.samples.annotation import Annotation
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomResizedCrop

PathType = Literal[
    "forward",
    "forward_reverse_mean",
    "forward_reverse_gate",
    "forward_reverse_shuffle_mean",
    "forward_reverse_shuffle_gate",
]
ClassToken = Literal["none", "head", "tail", "head_tail", "middle"]
PermutationSource = Callable[[int, int], Tensor]
"""Gives the order of `length` tokens in a layer: called with (layer, length)."""


@dataclass(frozen=True, kw_only=True)
class RSMambaConfig:
    """Everything that defines an RSMamba classifier; the defaults are the published base size without its classes.

    `path_type`, `position` and `class_token` are the switches of the paper's ablations (Tables III to V). With 8
    `orientations`, predictions average the probabilities over the image's turns and mirror images (not in the paper).
    """

    input: InputSpec
    output: ClassificationOutput
    layers: int = 24
    width: int = 192
    state_size: int = 16
    patch_size: int = 16
    patch_stride: int = 8
    path_type: PathType = "forward_reverse_shuffle_gate"
    position: Literal["learned", "sine", "none"] = "learned"
    class_token: ClassToken = "none"
    permutation: Literal["repeatable", "published"] = "repeatable"
    permutation_seed: int = 0
    orientations: Literal[1, 8] = 1

    @property
    def tokens_per_side(self) -> int:
        """Patches along a side after the corner padding: ceil(size / stride)."""
        return math.ceil(self.input.window / self.patch_stride)


class PatchEmbedding(nn.Module):
    """Overlapping patches (B, C, S, S) to tokens (B, L, d), zeros padded at the right and bottom ("corner" padding)."""

    def __init__(self, config: RSMambaConfig) -> None:
        super().__init__()
        self.stride, self.size = config.patch_stride, config.patch_size
        self.projection = nn.Conv2d(config.input.channels, config.width, self.size, self.stride, bias=False)
        nn.init.kaiming_normal_(self.projection.weight, nonlinearity="linear")

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Embed the patches row by row."""
        pads = [max((math.ceil(n / self.stride) - 1) * self.stride + self.size - n, 0) for n in image_BCHW.shape[-2:]]
        padded = functional.pad(image_BCHW, (0, pads[1], 0, pads[0]))
        tokens: Tensor = self.projection(padded)
        return tokens.flatten(2).transpose(1, 2)


class MultiPathLayer(nn.Module):
    """One mixer run over the forward, reversed and shuffled sequence, its results gated and added.

    Sheet, "Architecture" 3. The gate sees the mean of each path's output over the tokens.
    """

    def __init__(self, config: RSMambaConfig) -> None:
        super().__init__()
        self.paths = 1 + ("reverse" in config.path_type) + ("shuffle" in config.path_type)
        self.mixer = MambaMixer(width=config.width, state_size=config.state_size)
        gated = config.path_type.endswith("gate")
        self.gate = nn.Linear(self.paths * config.width, self.paths, bias=False) if gated else None

    def forward(self, x_BLd: Tensor, order_L: Tensor | None) -> Tensor:
        """Mix normalised tokens; `order_L` is the shuffled path's permutation."""
        u_BLE, gate_BLE = self.mixer.project_in(x_BLd)
        sequences = [u_BLE]
        if self.paths > 1:
            sequences.append(u_BLE.flip(1))
        if order_L is not None:
            sequences.append(u_BLE.index_select(1, order_L))  # learns back four times faster than u[:, order]
        mixed = list(self.mixer.mix(torch.cat(sequences)).chunk(self.paths))
        if self.paths > 1:
            mixed[1] = mixed[1].flip(1)
        if order_L is not None:
            mixed[2] = mixed[2].index_select(1, torch.argsort(order_L))
        paths_PBLE = torch.stack(mixed) * gate_BLE
        # A product and a sum: einsum would run as one tiny matrix product an image, at half the speed.
        shares_PB11 = self.shares(paths_PBLE).T[:, :, None, None]
        return self.mixer.project_out((paths_PBLE * shares_PB11).sum(0))

    def shares(self, paths_PBLE: Tensor) -> Tensor:
        """Return the weight of each path for each image, (B, P): softmax of the gate, or fixed shares without one."""
        paths, batch = paths_PBLE.shape[:2]
        if self.gate is None:
            return paths_PBLE.new_full((batch, paths), 1.0 / paths)
        means_PBd = self.mixer.project_out(paths_PBLE.mean(2))
        scores_BP: Tensor = self.gate(means_PBd.transpose(0, 1).flatten(1))
        return scores_BP.softmax(1)


class Backbone(nn.Module):
    """Patches, positions, the layers under one shared norm, and the pooling that the class token asks for."""

    def __init__(self, config: RSMambaConfig) -> None:
        super().__init__()
        self.config = config
        width, side = config.width, config.tokens_per_side
        self.patch_embedding = PatchEmbedding(config)
        extra = {"none": 0, "head_tail": 2}.get(config.class_token, 1)
        if config.position == "learned":
            self.position = nn.Parameter(torch.empty(1, side * side + extra, width))
            nn.init.trunc_normal_(self.position, std=0.02)
        elif config.position == "sine":
            self.register_buffer("sine_position", sine_positions(side, width), persistent=False)
        if extra:
            self.class_tokens = nn.Parameter(torch.zeros(1, extra, width))
            nn.init.trunc_normal_(self.class_tokens, std=0.02)
        self.layers = nn.ModuleList(MultiPathLayer(config) for _ in range(config.layers))
        self.pre_norm = nn.LayerNorm(width, eps=1e-6)
        self.token_norm = nn.LayerNorm(width, eps=1e-6)
        self.pooled_norm = nn.LayerNorm(width, eps=1e-6)
        self.permutation_source: PermutationSource | None = None
        if "shuffle" in config.path_type and config.permutation == "repeatable":
            # Drawn once, so that an exported network holds these very orders instead of drawing others at every call.
            self.register_buffer("repeatable_orders", _repeatable_orders(config, side * side + extra), persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return the pooled feature (B, d)."""
        return self.pool(self.tokens(image_BCHW))

    def tokens(self, image_BCHW: Tensor) -> Tensor:
        """Return the normalised tokens after the last layer (B, L, d), class tokens in their places."""
        x = self.place(self.patch_embedding(image_BCHW))
        for number, layer in enumerate(self.layers):
            x = x + layer(self.pre_norm(x), self.order(number, x.shape[1], x.device))
        normalised: Tensor = self.token_norm(x)
        return normalised

    def place(self, patches_BLd: Tensor) -> Tensor:
        """Insert the class tokens and add the positions."""
        if self.config.position == "sine":
            patches_BLd = patches_BLd + self.get_buffer("sine_position")
        x = patches_BLd
        if self.config.class_token != "none":
            tokens = self.class_tokens.expand(len(x), -1, -1)
            pieces = {
                "head": (tokens[:, :1], x),
                "tail": (x, tokens[:, :1]),
                "head_tail": (tokens[:, :1], x, tokens[:, 1:]),
                "middle": (x[:, : x.shape[1] // 2], tokens[:, :1], x[:, x.shape[1] // 2 :]),
            }[self.config.class_token]
            x = torch.cat(pieces, dim=1)
        return x + self.position if self.config.position == "learned" else x

    def pool(self, tokens_BLd: Tensor) -> Tensor:
        """Reduce the tokens to one feature: their mean under a norm, or the class token (the mean of two)."""
        middle = (tokens_BLd.shape[1] - 1) // 2
        kind = self.config.class_token
        if kind == "none":
            pooled: Tensor = self.pooled_norm(tokens_BLd.mean(1))
            return pooled
        if kind == "head_tail":
            return (tokens_BLd[:, 0] + tokens_BLd[:, -1]) / 2
        return tokens_BLd[:, {"head": 0, "tail": -1, "middle": middle}[kind]]

    def order(self, layer: int, length: int, device: torch.device) -> Tensor | None:
        """Return the shuffled path's permutation for a layer, or None when the path is off."""
        if "shuffle" not in self.config.path_type:
            return None
        if self.permutation_source is not None:
            return self.permutation_source(layer, length).to(device)
        if self.training or self.config.permutation == "published":
            return torch.randperm(length).to(device)
        return self.get_buffer("repeatable_orders")[layer]


def _repeatable_orders(config: RSMambaConfig, length: int) -> Tensor:
    """Return the permutation of `length` tokens of every layer (layers, L), from `permutation_seed` alone."""
    orders = []
    for layer in range(config.layers):
        generator = torch.Generator("cpu").manual_seed(config.permutation_seed * 1_000_003 + layer)
        orders.append(torch.randperm(length, generator=generator, device="cpu"))
    return torch.stack(orders)


def sine_positions(side: int, width: int) -> Tensor:
    """Return the fixed 2-D sine and cosine table (1, side * side, width), half for rows and half for columns.

    >>> sine_positions(2, 8).shape
    torch.Size([1, 4, 8])
    """
    if width % 4:
        raise ConfigurationError(f"sine positions need a width that is a multiple of 4; found {width}.")
    quarter = width // 4
    frequency = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angle = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows = wave[:, None].expand(side, side, -1)
    columns = wave[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).reshape(1, side * side, width).float()


class RSMambaNetwork(nn.Module):
    """Backbone and linear head: images (B, C, S, S) to logits (B, K)."""

    def __init__(self, config: RSMambaConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config)
        self.head = nn.Linear(config.width, config.output.channels)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Classify a batch of images."""
        logits: Tensor = self.head(self.backbone(image_BCHW))
        return logits


class RSMamba(OneImageModel):
    """The RSMamba classifier under the contract.

    >>> model = rsmamba_base(classes=("land", "water"))
    >>> model.network(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 2])
    """

    Config = RSMambaConfig
    config: RSMambaConfig
    network: RSMambaNetwork

    def __init__(self, config: RSMambaConfig) -> None:
        super().__init__(config)
        if not config.input.fixed_size:
            raise ConfigurationError("RSMamba's position table fits one image size: its input needs fixed_size=True.")
        self.network = RSMambaNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def predict(self, batch: Batch) -> list[Annotation]:
        """Return one `Label` an image with every class's probability, averaged over the orientations asked for."""
        if self.config.orientations == 1:
            return super().predict(batch)
        self.check(batch)
        output = self.config.output
        shares = [output.probabilities(self.network(view)) for view in orientations(batch.images["image"])]
        return output.labels(torch.stack(shares).mean(0), batch)

    def embed(self, batch: Batch) -> Tensor:
        """Return the pooled feature (B, d) that the head reads."""
        self.check(batch)
        feature: Tensor = self.network.backbone(batch.images["image"])
        return feature

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of an MMPretrain checkpoint (`backbone.layers.3.A_log`, `head.fc.weight`, ...)."""
        return {_our_name(name): value for name, value in published.items()}


def orientations(image_BCHW: Tensor) -> list[Tensor]:
    """Return the eight turns and mirror images of square images.

    >>> len(orientations(torch.zeros(1, 1, 2, 2)))
    8
    """
    turned = [torch.rot90(image_BCHW, turns, (2, 3)) for turns in range(4)]
    return turned + [view.flip(3) for view in turned]


_RENAMES = (
    (r"^backbone\.patch_embed\.", "backbone.patch_embedding."),
    (r"^backbone\.pos_embed$", "backbone.position"),
    (r"^backbone\.cls_token$", "backbone.class_tokens"),
    (r"^backbone\.layers\.(\d+)\.", r"backbone.layers.\1.mixer."),
    (r"^backbone\.gate_layers\.(\d+)\.0\.", r"backbone.layers.\1.gate."),
    (r"^backbone\.ln1\.", "backbone.token_norm."),
    (r"^backbone\.ln2\.", "backbone.pooled_norm."),
    (r"^head\.fc\.", "head."),
)


def _our_name(name: str) -> str:
    for pattern, replacement in _RENAMES:
        renamed, hits = re.subn(pattern, replacement, name)
        if hits:
            return renamed
    return name


RESISC45_MEAN = (93.847266, 97.20128819, 87.66547902)
RESISC45_STD = (37.10216765, 34.61650149, 33.70191772)


def rsmamba_recipe(*, epochs: int = 500, batch_size: int = 1024, seed: int = 0) -> Recipe:
    """Return the published training: AdamW 5e-4, decay 0.05 on everything, 10 epochs of warm-up, cosine to 1e-5.

    Random resized crops (area 0.4 to 1), both flips, and Mixup (0.8) or CutMix (1.0) with equal chance. AutoAugment's
    colour policies are left out: they are defined for photographs in 8-bit RGB, while this recipe serves any bands.
    The published batch of 1,024 comes in pieces of 32, which one machine can hold; the network has no batch norm, so
    that a step is the same.

    >>> rsmamba_recipe().batch_size * rsmamba_recipe().accumulate
    1024
    """
    return Recipe(
        epochs=epochs,
        batch_size=min(batch_size, 32),
        accumulate=max(1, batch_size // 32),
        learning_rate=5e-4,
        weight_decay=0.05,
        decay_everything=True,
        warmup_epochs=min(10, epochs / 10),
        warmup_start=1e-3,
        minimum_learning_rate=1e-5,
        mixup=0.8,
        cutmix=1.0,
        transforms=(RandomResizedCrop(size=224, area=(0.4, 1.0)), RandomFlip()),
        watch="macro F1",
        validate_every=20,
        seed=seed,
    )


CARD = Card(
    name="rsmamba",
    title="RSMamba",
    summary="Scene classification by a Mamba backbone that reads the tokens forward, reversed and shuffled.",
    citation="K. Chen, B. Chen, C. Liu, W. Li, Z. Zou, Z. Shi: RSMamba: Remote Sensing Image Classification with "
    "State Space Model. IEEE Geoscience and Remote Sensing Letters, 2024.",
    paper="arXiv 2403.19654",
    code="github KyanChen/RSMamba",
    code_licence="Apache-2.0",
    weights_licence="Apache-2.0 (as the repository)",
    variants=(
        Variant(name="base", parameters=6_385_773, note="24 layers of width 192, 45 classes"),
        Variant(name="large", parameters=16_252_717, note="36 layers of width 256, 45 classes"),
        Variant(name="huge", parameters=33_060_845, note="48 layers of width 320, 45 classes"),
    ),
    reported=(
        Figure(metric="macro F1, base", value=0.9484, data="NWPU-RESISC45, 70/30", source="paper"),
        Figure(metric="macro F1, base", value=0.9166, data="AID, 50/50", source="paper"),
        Figure(metric="macro F1, base", value=0.9388, data="UC Merced, 70/30", source="paper"),
        Figure(metric="macro F1, large", value=0.9502, data="NWPU-RESISC45, 70/30", source="paper"),
        Figure(metric="macro F1, huge", value=0.9518, data="NWPU-RESISC45, 70/30", source="paper"),
    ),
    choices=(
        "One LayerNorm before the mixers is shared by all layers, as the published code has it (the paper writes one "
        "a block).",
        "Inference repeats itself: the shuffled order comes from a seed. The published code draws it afresh; "
        "permutation='published' does so too.",
        "Class order belongs to the weights: the published checkpoints use a shuffled folder order, kept with the data "
        "sets by name.",
        "Sine positions halve the width between rows and columns, wavelengths to 10,000 [inferred]; class tokens get "
        "none with them.",
        "AutoAugment is not part of the recipe (see `rsmamba_recipe`).",
    ),
    limits=("One image size: the position table is not interpolated.",),
)


def rsmamba(
    *,
    classes: tuple[str, ...],
    layers: int,
    width: int,
    input: InputSpec | None = None,
    path_type: PathType = "forward_reverse_shuffle_gate",
    position: Literal["learned", "sine", "none"] = "learned",
    class_token: ClassToken = "none",
    permutation: Literal["repeatable", "published"] = "repeatable",
    permutation_seed: int = 0,
) -> RSMamba:
    """Build an RSMamba of any depth and width; without `input`, for 224 px RGB under the RESISC45 statistics."""
    spec = input or InputSpec(
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        mean=RESISC45_MEAN,
        std=RESISC45_STD,
        window=224,
        overlap=0,
        fixed_size=True,
    )
    return RSMamba(
        RSMambaConfig(
            input=spec,
            output=ClassificationOutput(classes=classes, label_smoothing=0.1),
            layers=layers,
            width=width,
            path_type=path_type,
            position=position,
            class_token=class_token,
            permutation=permutation,
            permutation_seed=permutation_seed,
        )
    )


def rsmamba_base(*, classes: tuple[str, ...], permutation_seed: int = 0) -> RSMamba:
    """Build the base size: 24 layers of width 192, 6.4 million parameters.

    >>> with torch.device("meta"):
    ...     rsmamba_base(classes=tuple(f"class {i}" for i in range(45))).parameter_count()
    6385773
    """
    return rsmamba(classes=classes, layers=24, width=192, permutation_seed=permutation_seed)


def rsmamba_large(*, classes: tuple[str, ...], permutation_seed: int = 0) -> RSMamba:
    """Build the large size: 36 layers of width 256, 16.2 million parameters."""
    return rsmamba(classes=classes, layers=36, width=256, permutation_seed=permutation_seed)


def rsmamba_huge(*, classes: tuple[str, ...], permutation_seed: int = 0) -> RSMamba:
    """Build the huge size: 48 layers of width 320, 33.1 million parameters."""
    return rsmamba(classes=classes, layers=48, width=320, permutation_seed=permutation_seed)
