"""DINOv2: self-supervised vision transformers whose features serve without fine-tuning.

Oquab et al.: "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024, arXiv 2304.07193. Official
repository: facebookresearch/dinov2 (Apache-2.0, code and weights). The network is that of `transformers`, built from a
configuration; weights come from a local folder (either library's names) and are random otherwise.

Where we differ: position embeddings are interpolated to the exact grid of patches, as `transformers` does; the official
code adds 0.1 to the grid before it divides, which changes features slightly at sizes other than 518.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from swath.errors import ImageryNotFound
from swath.models.cards import Card, Variant
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.pretrain.embedder import Embedder
from swath.models.published import load_published

WEIGHT_FILES = ("*.safetensors", "*.pth", "*.bin")
"""Weights in a folder, in the order in which they are looked for."""


@dataclass(frozen=True, kw_only=True)
class DINOv2Config:
    """Everything that defines a DINOv2 embedder.

    `feature` is the class token or the mean of the patches, both after the last norm. `trained_size` is the side in
    pixels that the position embeddings are for. `weights` names what the weights came from, empty for random ones.
    """

    input: InputSpec
    width: int
    layers: int
    heads: int
    swiglu: bool = False
    patch: int = 14
    trained_size: int = 518
    feature: Literal["class token", "mean of patches"] = "class token"
    weights: str = ""


class DINOv2Network(nn.Module):
    """Images (B, 3, H, W) to features (B, D); sides that are no multiples of the patch are resized to the nearest."""

    def __init__(self, config: DINOv2Config) -> None:
        # Importing it takes seconds, and listing the models must not.
        from transformers import Dinov2Config, Dinov2Model

        super().__init__()
        self.feature = config.feature
        self.patch = config.patch
        self.transformer = Dinov2Model(
            Dinov2Config(
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_channels=config.input.channels,
                use_swiglu_ffn=config.swiglu,
                patch_size=config.patch,
                image_size=config.trained_size,
            )
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Describe each image."""
        tokens: Tensor = self.transformer(self.fitted(image_BCHW)).last_hidden_state
        return tokens[:, 0] if self.feature == "class token" else tokens[:, 1:].mean(1)

    def fitted(self, image_BCHW: Tensor) -> Tensor:
        """Resize bilinearly to the nearest multiples of the patch, one patch at least."""
        size = tuple(image_BCHW.shape[-2:])
        wanted = tuple(max(1, (2 * side + self.patch) // (2 * self.patch)) * self.patch for side in size)
        if wanted == size:
            return image_BCHW
        return functional.interpolate(image_BCHW, size=wanted, mode="bilinear", align_corners=False)


class DINOv2(Embedder):
    """DINOv2 under the contract.

    >>> import torch
    >>> from swath.samples.batch import Batch
    >>> config = DINOv2Config(input=IMAGENET_INPUT, width=16, layers=1, heads=2, trained_size=28)
    >>> DINOv2(config).embed(Batch(images={"image": torch.zeros(1, 3, 64, 64)})).shape
    torch.Size([1, 16])
    """

    Config = DINOv2Config
    config: DINOv2Config
    network: DINOv2Network

    def __init__(self, config: DINOv2Config) -> None:
        super().__init__(config)
        self.network = DINOv2Network(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def own_card(self) -> Card:
        """Return the card with where the weights of this very model came from, for `save_model`."""
        origin = f"from {self.config.weights}" if self.config.weights else "random: nobody trained them"
        return replace(CARD, training=f"The weights of this model are {origin}.")

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of published files, those of the official repository or those for `transformers`.

        Both join tensors that the network keeps apart: query, key and value in one case, the halves of SwiGLU in both.
        """
        renamed: dict[str, Tensor] = {}
        for name, value in published.items():
            found = name.removeprefix("dinov2.")
            for pattern, replacement in _NAMES:
                found = re.sub(pattern, replacement, found)
            whole = next((joined for joined in _JOINED if f".{joined}." in found), "")
            parts = _JOINED.get(whole, ("",))
            tensors = value.chunk(len(parts)) if whole else (value,)
            for part, tensor in zip(parts, tensors, strict=True):
                renamed["transformer." + found.replace(whole, part)] = tensor
        return renamed


_NAMES = (
    (r"^(cls_token|mask_token)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
    (r"\.mlp\.w12\.", ".mlp.weights_in."),
    (r"\.mlp\.(w3|weights_out)\.", ".mlp.down_proj."),
    (r"\.attention\.attention\.(q)uery\.", r".attention.\1_proj."),
    (r"\.attention\.attention\.(k)ey\.", r".attention.\1_proj."),
    (r"\.attention\.attention\.(v)alue\.", r".attention.\1_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
)
_JOINED = {
    "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "mlp.weights_in": ("mlp.gate_proj", "mlp.up_proj"),
}


IMAGENET_INPUT = imagenet_rgb()

CARD = Card(
    name="dinov2",
    title="DINOv2",
    summary="Features of self-supervised vision transformers, for neighbours, probes and searches.",
    citation=(
        "M. Oquab, T. Darcet, T. Moutakanni et al.: DINOv2: Learning Robust Visual Features without Supervision. "
        "Transactions on Machine Learning Research, 2024."
    ),
    paper="arXiv 2304.07193",
    code="github.com/facebookresearch/dinov2",
    code_licence="Apache-2.0",
    weights_licence="Apache-2.0",
    variants=(
        Variant(name="dinov2_small", parameters=22_056_576, note="384 numbers an image"),
        Variant(name="dinov2_base", parameters=86_580_480, note="768 numbers an image"),
        Variant(name="dinov2_large", parameters=304_368_640, note="1,024 numbers an image"),
        Variant(name="dinov2_giant", parameters=1_136_480_768, note="1,536 numbers an image, SwiGLU"),
    ),
    choices=(
        "Sides are resized to the nearest multiple of 14 rather than refused.",
        "Position embeddings are interpolated as transformers does, without the official offset of 0.1.",
    ),
    limits=(
        "No weights ship: without a folder of published weights the features are those of a random network.",
        "Trained on photographs in red, green and blue.",
    ),
)


def dinov2(
    *,
    width: int,
    layers: int,
    heads: int,
    swiglu: bool = False,
    feature: Literal["class token", "mean of patches"] = "class token",
    weights: str | Path | None = None,
    input: InputSpec | None = None,
) -> DINOv2:
    """Build DINOv2 of any size; `weights` is a file of published weights or a folder that holds one.

    Raises `ImageryNotFound` where there is none and `WeightsMismatch` for those of another size.
    """
    file = None if weights is None else _weights_file(Path(weights))
    config = DINOv2Config(
        input=input or IMAGENET_INPUT,
        width=width,
        layers=layers,
        heads=heads,
        swiglu=swiglu,
        feature=feature,
        weights="" if file is None else f"{file.parent.name}/{file.name}",
    )
    model = DINOv2(config)
    if file is not None:
        load_published(model, file)
    return model


def _weights_file(where: Path) -> Path:
    if where.is_file():
        return where
    found = [file for pattern in WEIGHT_FILES for file in sorted(where.glob(pattern))]
    if not found:
        raise ImageryNotFound(f"{where} holds no weights ({', '.join(WEIGHT_FILES)}); give the folder that does.")
    return found[0]


def dinov2_small(
    *, feature: Literal["class token", "mean of patches"] = "class token", weights: str | Path | None = None
) -> DINOv2:
    """Build DINOv2 ViT-S/14.

    >>> import torch
    >>> with torch.device("meta"):
    ...     dinov2_small().parameter_count()
    22056576
    """
    return dinov2(width=384, layers=12, heads=6, feature=feature, weights=weights)


def dinov2_base(
    *, feature: Literal["class token", "mean of patches"] = "class token", weights: str | Path | None = None
) -> DINOv2:
    """Build DINOv2 ViT-B/14.

    >>> import torch
    >>> with torch.device("meta"):
    ...     dinov2_base().parameter_count()
    86580480
    """
    return dinov2(width=768, layers=12, heads=12, feature=feature, weights=weights)


def dinov2_large(
    *, feature: Literal["class token", "mean of patches"] = "class token", weights: str | Path | None = None
) -> DINOv2:
    """Build DINOv2 ViT-L/14."""
    return dinov2(width=1024, layers=24, heads=16, feature=feature, weights=weights)


def dinov2_giant(
    *, feature: Literal["class token", "mean of patches"] = "class token", weights: str | Path | None = None
) -> DINOv2:
    """Build DINOv2 ViT-g/14."""
    return dinov2(width=1536, layers=40, heads=24, swiglu=True, feature=feature, weights=weights)
