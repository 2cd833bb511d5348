"""Names of vision transformers: those that timm publishes, and what transformers calls the same tensors."""

from __future__ import annotations

import re

from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def block_names(prefix: str, layers: int, width: int) -> Shapes:
    names: Shapes = {}
    for layer in range(layers):
        start = f"{prefix}.{layer}."
        names |= norm(start + "norm1", width) | norm(start + "norm2", width)
        names |= linear(start + "attn.qkv", width, 3 * width) | linear(start + "attn.proj", width, width)
        names |= linear(start + "mlp.fc1", width, 4 * width) | linear(start + "mlp.fc2", 4 * width, width)
    return names


def encoder_names(*, width: int, layers: int, patches: int, patch_size: int) -> Shapes:
    """A timm vision transformer without norm and head."""
    return {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + patches, width),
        "patch_embed.proj.weight": (width, 3, patch_size, patch_size),
        "patch_embed.proj.bias": (width,),
        **block_names("blocks", layers, width),
    }


_TO_TRANSFORMERS = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.(\d+)\.", r"layers.\1."),
    (r"^decoder_blocks\.(\d+)\.", r"decoder.decoder_layers.\1."),
    (r"^(mask_token|decoder_\w+)", r"decoder.\1"),
)
_WITHIN_BLOCK = (
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".attn.proj.", ".attention.o_proj."),
)


def in_transformers(tensors: dict[str, Tensor], *, vit: str = "") -> dict[str, Tensor]:
    """The tensors under the names of transformers' ViT (or, with `vit`, of a model that holds one by that name)."""
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        for pattern, replacement in _TO_TRANSFORMERS:
            new, hits = re.subn(pattern, replacement, name)
            if hits:
                break
        new = new if new.startswith("decoder.") else vit + new
        for ours, theirs in _WITHIN_BLOCK:
            new = new.replace(ours, theirs)
        if ".attn.qkv." in new:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                renamed[new.replace(".attn.qkv.", f".attention.{part}_proj.")] = third
        else:
            renamed[new] = value
    return renamed
