"""ViT classifiers: the plain vision transformer, from scratch or fine-tuned after self-supervised pre-training.

Dosovitskiy et al.: "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021, arXiv
2010.11929. The tensors bear timm's names, as weight files of MAE, DINO and FireRisk do. Shen et al.: "FireRisk",
DICTA 2023, arXiv 2303.07035, fine-tunes ViT-B/16 for 100 epochs on the risk of wildfire; its code is not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from swath.errors import ConfigurationError, WeightsMismatch
from swath.models.base import OneImageModel
from swath.models.cards import Card, Figure, Variant
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import ClassificationOutput
from swath.models.published import LoadReport, load_tensors
from swath.models.recipe import Recipe
from swath.nn.vit import PatchTransformer, Positions, TransformerShape, resize_positions, start_weights
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomResizedCrop

Pool = Literal["class", "mean"]
"""What the head reads: the class token, or the mean of the patches."""

_WRAPPERS = ("module.", "backbone.", "encoder.")


@dataclass(frozen=True, kw_only=True)
class VisionTransformerConfig:
    """Everything that defines a ViT classifier; the defaults are the published base size.

    The head reads the class token behind the norm (`pool="class"`), or the mean of the patches behind a norm of its
    own (`pool="mean"`, how masked auto-encoders are fine-tuned). `drop_path` is the share of branches left out in the
    last layer while training.
    """

    input: InputSpec
    output: ClassificationOutput
    patch_size: int = 16
    shape: TransformerShape = field(default_factory=lambda: TransformerShape(width=768, layers=12, heads=12))
    positions: Positions = "learned"
    pool: Pool = "class"
    drop_path: float = 0.0


class VisionTransformerNetwork(PatchTransformer):
    """Transformer, pooling and a linear head: images (B, C, S, S) to logits (B, K)."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__(
            channels=config.input.channels,
            size=config.input.window,
            patch_size=config.patch_size,
            shape=config.shape,
            positions=config.positions,
            drop_path=config.drop_path,
        )
        self.pool = config.pool
        # The published names differ by what the norm sees: all tokens, or the mean of the patches.
        self.add_module("norm" if config.pool == "class" else "fc_norm", nn.LayerNorm(config.shape.width, eps=1e-6))
        self.head = nn.Linear(config.shape.width, config.output.channels)
        start_weights(self, style="truncated")
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Classify a batch of images."""
        logits: Tensor = self.head(self.pooled(image_BCHW))
        return logits

    def pooled(self, image_BCHW: Tensor) -> Tensor:
        """Return the feature (B, D) that the head reads."""
        tokens = self.tokens(image_BCHW)
        if self.pool == "class":
            feature: Tensor = self.get_submodule("norm")(tokens[:, 0])
        else:
            feature = self.get_submodule("fc_norm")(tokens[:, 1:].mean(1))
        return feature


class VisionTransformer(OneImageModel):
    """A ViT classifier under the contract.

    >>> import torch
    >>> model = vit(classes=("land", "water"), shape=TransformerShape(width=16, layers=1, heads=2))
    >>> model.eval().network(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 2])
    """

    Config = VisionTransformerConfig
    config: VisionTransformerConfig
    network: VisionTransformerNetwork

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__(config)
        if not config.input.fixed_size:
            raise ConfigurationError("ViT's position table fits one image size: its input needs fixed_size=True.")
        self.network = VisionTransformerNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def embed(self, batch: Batch) -> Tensor:
        """Return the pooled feature (B, D) that the head reads."""
        self.check(batch)
        return self.network.pooled(batch.images["image"])

    def layer_groups(self) -> tuple[tuple[str, ...], ...]:
        """Return the parts of each layer for learning rates that fall with depth, as MAE's fine-tuning counts them.

        Tokens, positions and patches are the first layer; the last norm and the head are the last.
        """
        first = ("cls_token", *(("pos_embed",) if self.network.pos_embed is not None else ()), "patch_embed")
        last = ("norm" if self.config.pool == "class" else "fc_norm", "head")
        return (first, *((f"blocks.{number}",) for number in range(self.config.shape.layers)), last)

    @classmethod
    def remap_state_dict(cls, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take off what checkpoints wrap names in: `module.`, `backbone.`, `encoder.`.

        Where some names are wrapped in `backbone.` or `encoder.`, those that are not belong to a projector or a
        decoder, and are left out.
        """
        unwrapped = {name.removeprefix("module."): value for name, value in published.items()}
        for wrapper in _WRAPPERS[1:]:
            inside = {name.removeprefix(wrapper): v for name, v in unwrapped.items() if name.startswith(wrapper)}
            unwrapped = inside or unwrapped
        return unwrapped


def start_from(model: VisionTransformer, published: Mapping[str, Tensor]) -> LoadReport:
    """Give a classifier the weights of a pre-trained transformer, for fine-tuning; the head keeps its fresh ones.

    `published` are the tensors of an MAE, DINO or supervised checkpoint (`models.published.read_tensors` reads a
    file) or of a `MaskedAutoencoder`'s network. A decoder is left out, positions of another image size are
    interpolated, and the norm is taken where the checkpoint has the one that the pooling wants. Raises
    `WeightsMismatch` where anything else is missing or of another shape; the model then keeps the weights it had.
    """
    own = model.network.state_dict()
    given = {name: value for name, value in model.remap_state_dict(published).items() if name in own}
    heads = {name for name in own if name.startswith("head.")}
    given = {name: value for name, value in given.items() if name not in heads}
    if "pos_embed" in given and model.config.positions == "learned":
        given["pos_embed"] = resize_positions(given["pos_embed"], model.network.patches_per_side)
    optional = heads | {name for name in own if name.startswith(("norm.", "fc_norm."))}
    missing = [name for name in own if name not in given and name not in optional]
    wrong = [name for name, value in given.items() if value.shape != own[name].shape]
    if missing or wrong:
        raise WeightsMismatch(
            f"these weights do not fit a ViT of this configuration: {len(missing)} tensors missing "
            f"({', '.join(missing[:3]) or 'none'}), {len(wrong)} of another shape ({', '.join(wrong[:3]) or 'none'}); "
            "build the size, patches and bands they were made for."
        )
    return load_tensors(model, published, given, strict=False, origin="the pre-trained weights")


def vit_recipe(*, epochs: int = 100, batch_size: int = 32, size: int = 224, seed: int = 0) -> Recipe:
    """Return the fine-tuning of FireRisk as far as it is known: 100 epochs, 2 x 16 images, best epoch kept.

    The rest are MAE's published values for ViT-B: AdamW 5e-4 for 256 images, 0.65 of it a layer down, decay 0.05, 5
    epochs of warm-up, cosine to 1e-6, Mixup 0.8 or CutMix 1.0, random resized crops and mirror images.
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=5e-4 * batch_size / 256,
        weight_decay=0.05,
        layer_decay=0.65,
        warmup_epochs=min(5, epochs / 10),
        minimum_learning_rate=1e-6,
        mixup=0.8,
        cutmix=1.0,
        transforms=(RandomResizedCrop(size=size), RandomFlip(vertical=0.0)),
        watch="accuracy",
        seed=seed,
        workers=1,
    )


def _reported(pre_training: str, accuracy: float, macro_f1: float) -> tuple[Figure, Figure]:
    data = f"FireRisk, validation part, all training images, {pre_training}"
    source = "README of the FireRisk repository"
    return (
        Figure(metric="accuracy", value=accuracy, data=data, source=source),
        Figure(metric="macro F1", value=macro_f1, data=data, source=source),
    )


CARD = Card(
    name="vit",
    title="ViT",
    summary="Scene classification by the plain vision transformer, the benchmark network of FireRisk.",
    citation="A. Dosovitskiy et al.: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale. ICLR, "
    "2021. S. Shen et al.: FireRisk: A Remote Sensing Dataset for Fire Risk Assessment with Benchmarks Using "
    "Supervised and Self-supervised Learning. DICTA, 2023.",
    paper="arXiv 2010.11929; fine-tuning as in arXiv 2303.07035",
    code="timm (names of tensors only); github CharmonyShen/FireRisk holds no code",
    code_licence="Apache-2.0 (timm)",
    weights_licence="none shipped; FireRisk states none for its files",
    variants=(
        Variant(name="vit_base_16", parameters=86_567_656, note="1,000 classes"),
        Variant(name="vit_large_16", parameters=304_326_632, note="1,000 classes"),
        Variant(name="vit_huge_14", parameters=632_045_800, note="1,000 classes"),
    ),
    reported=(
        *_reported("MAE on ImageNet-1k", 0.6529, 0.5549),
        *_reported("MAE on UnlabelledNAIP", 0.6354, 0.5204),
        *_reported("supervised ImageNet-1k", 0.6331, 0.5218),
        *_reported("DINO on UnlabelledNAIP", 0.6344, 0.5237),
    ),
    choices=(
        "FireRisk tells epochs, batch and that the best epoch is reported; everything else of `vit_recipe` is MAE's "
        "published fine-tuning, which the sheet takes for likely.",
        "MAE's RandAugment and random erasing are left out: they are defined for photographs in 8-bit RGB.",
        "FireRisk's 224 px input follows from ViT-B/16 and is not stated.",
        "FireRisk's label smoothing is not known; `vit_*` take MAE's 0.1.",
    ),
    limits=(
        "FireRisk's labels come from simulated fire, not from the image: about 65 % accuracy is near the ceiling.",
        "FireRisk chooses its epoch on the part that it reports: there is no test part.",
    ),
)


def vit(
    *,
    classes: tuple[str, ...],
    shape: TransformerShape,
    patch_size: int = 16,
    pool: Pool = "class",
    drop_path: float = 0.0,
    input: InputSpec | None = None,
) -> VisionTransformer:
    """Build a ViT of any size; without `input`, for 224 px RGB under ImageNet's statistics."""
    spec = input or imagenet_rgb(fixed_size=True)
    return VisionTransformer(
        VisionTransformerConfig(
            input=spec,
            output=ClassificationOutput(classes=classes, label_smoothing=0.1),
            patch_size=patch_size,
            shape=shape,
            pool=pool,
            drop_path=drop_path,
        )
    )


def vit_base_16(
    *,
    classes: tuple[str, ...],
    pool: Pool = "class",
    drop_path: float = 0.0,
    input: InputSpec | None = None,
) -> VisionTransformer:
    """Build ViT-B/16; MAE is fine-tuned with `pool="mean"` and `drop_path=0.1`.

    >>> import torch
    >>> with torch.device("meta"):
    ...     vit_base_16(classes=tuple(map(str, range(1000)))).parameter_count()
    86567656
    """
    shape = TransformerShape(width=768, layers=12, heads=12)
    return vit(classes=classes, shape=shape, pool=pool, drop_path=drop_path, input=input)


def vit_large_16(
    *,
    classes: tuple[str, ...],
    pool: Pool = "class",
    drop_path: float = 0.0,
    input: InputSpec | None = None,
) -> VisionTransformer:
    """Build ViT-L/16 (1,024 channels, 24 layers, 16 heads)."""
    shape = TransformerShape(width=1024, layers=24, heads=16)
    return vit(classes=classes, shape=shape, pool=pool, drop_path=drop_path, input=input)


def vit_huge_14(
    *,
    classes: tuple[str, ...],
    pool: Pool = "class",
    drop_path: float = 0.0,
    input: InputSpec | None = None,
) -> VisionTransformer:
    """Build ViT-H/14 (1,280 channels, 32 layers, 16 heads)."""
    shape = TransformerShape(width=1280, layers=32, heads=16)
    return vit(classes=classes, shape=shape, patch_size=14, pool=pool, drop_path=drop_path, input=input)
