"""MAE: a vision transformer learns from unlabelled imagery by filling in the three quarters of it that are hidden.

He, Chen, Xie, Li, Dollár, Girshick: "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv 2111.06377.
Official repository: github facebookresearch/mae (CC BY-NC 4.0; not consulted, the tensors bear its published names).
FireRisk (arXiv 2303.07035) pre-trains it on unlabelled NAIP imagery before fine-tuning `models.classify.vit`.

Where we differ, and why:

- Outside training the hidden patches are the same at every call, from `mask_seed`, so that a validation loss and an
  exported network are repeatable; `noise` can be passed in to say which patches are hidden.
- Patches with invalid pixels (no-data) do not count in the loss; without any the loss is the published one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from swath.errors import ConfigurationError
from swath.models.cards import Card, Variant
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.pretrain.embedder import Embedder
from swath.models.recipe import Recipe
from swath.nn.masking import Masking, masked_squared_error, patchify, standardise_patches
from swath.nn.vit import PatchTransformer, TransformerShape, blocks, position_table, start_weights
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomResizedCrop


@dataclass(frozen=True, kw_only=True)
class EmbeddingOutput:
    """An image becomes a vector: the mean of its patches, or the class token, after the last norm.

    >>> EmbeddingOutput().pool
    'mean'
    """

    pool: Literal["mean", "class"] = "mean"
    kind: Literal["embedding"] = "embedding"
    task: ClassVar[str] = "similarity-search"


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencoderConfig:
    """Everything that defines a masked auto-encoder; the defaults are the published base size.

    `mask_ratio` of the patches are hidden. With `standardise_patches` the decoder learns the values of each patch at
    mean 0 and variance 1 (`norm_pix_loss` of the published runs), else the normalised pixels themselves.
    """

    input: InputSpec
    output: EmbeddingOutput = EmbeddingOutput()
    patch_size: int = 16
    encoder: TransformerShape = field(default_factory=lambda: TransformerShape(width=768, layers=12, heads=12))
    decoder: TransformerShape = field(default_factory=lambda: TransformerShape(width=512, layers=8, heads=16))
    mask_ratio: float = 0.75
    standardise_patches: bool = True
    mask_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.mask_ratio < 1:
            raise ConfigurationError(f"the share of hidden patches must be 0 to below 1; found {self.mask_ratio}.")

    @property
    def patches(self) -> int:
        """How many patches an image has."""
        return (self.input.window // self.patch_size) ** 2

    @property
    def kept(self) -> int:
        """How many patches the encoder sees: the whole part of their share."""
        return int(self.patches * (1 - self.mask_ratio))


class MaskedAutoencoderNetwork(PatchTransformer):
    """Images (B, C, S, S) to predicted patches (B, L, size * size * C), from those the noise leaves.

    Encoder names are timm's, so that a classifier takes its weights as they are.
    """

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__(
            channels=config.input.channels,
            size=config.input.window,
            patch_size=config.patch_size,
            shape=config.encoder,
            positions="sincos",
        )
        width = config.decoder.width
        self.pool, self.kept = config.output.pool, config.kept
        self.norm = nn.LayerNorm(config.encoder.width, eps=1e-6)
        self.decoder_embed = nn.Linear(config.encoder.width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed = position_table("sincos", self.patches_per_side, width)
        self.decoder_blocks = blocks(config.decoder)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, config.patch_size**2 * config.input.channels)
        drawn = torch.rand(config.patches, generator=torch.Generator("cpu").manual_seed(config.mask_seed), device="cpu")
        self.register_buffer("repeatable_noise", drawn, persistent=False)
        start_weights(self, style="xavier")
        for token in (self.cls_token, self.mask_token):
            nn.init.normal_(token, std=0.02)

    def forward(self, image_BCHW: Tensor, noise_BL: Tensor | None = None) -> Tensor:
        """Hide patches by the noise (by `draw_noise` without any) and predict all of them."""
        noise = self.draw_noise(image_BCHW) if noise_BL is None else noise_BL
        masking = Masking.from_noise(noise, keep=self.kept)
        latent = self.norm(self.encode(masking.keep(self.embed(image_BCHW))))
        return self.decode(latent, masking)

    def decode(self, latent_BKD: Tensor, masking: Masking) -> Tensor:
        """Predict the values of every patch from the class token and the kept patches."""
        narrow = self.decoder_embed(latent_BKD)
        x_BLd = torch.cat([narrow[:, :1], masking.restore(narrow[:, 1:], self.mask_token)], dim=1)
        if self.decoder_pos_embed is not None:
            x_BLd = x_BLd + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x_BLd = block(x_BLd)
        predicted: Tensor = self.decoder_pred(self.decoder_norm(x_BLd))
        return predicted[:, 1:]

    def draw_noise(self, image_BCHW: Tensor) -> Tensor:
        """Return the noise (B, L) that says which patches are hidden: fresh in training, else the repeatable one."""
        if self.training:
            return torch.rand(len(image_BCHW), len(self.get_buffer("repeatable_noise")), device=image_BCHW.device)
        return self.get_buffer("repeatable_noise").expand(len(image_BCHW), -1)

    def pooled(self, image_BCHW: Tensor) -> Tensor:
        """Return one feature an image (B, D), with nothing hidden."""
        tokens: Tensor = self.norm(self.tokens(image_BCHW))
        return tokens[:, 0] if self.pool == "class" else tokens[:, 1:].mean(1)


class MaskedAutoencoder(Embedder):
    """The masked auto-encoder under the contract: it learns without labels and answers with embeddings.

    >>> model = mae_vit(
    ...     encoder=TransformerShape(width=16, layers=1, heads=2), decoder=TransformerShape(width=16, layers=1, heads=2)
    ... )
    >>> model.eval().network(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 196, 768])
    """

    Config = MaskedAutoencoderConfig
    config: MaskedAutoencoderConfig
    network: MaskedAutoencoderNetwork

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__(config)
        if not config.input.fixed_size:
            raise ConfigurationError("MAE's position table fits one image size: its input needs fixed_size=True.")
        self.network = MaskedAutoencoderNetwork(config)

    @classmethod
    def card(cls) -> Card:
        """Return the system's card."""
        return CARD

    def loss(self, batch: Batch, noise_BL: Tensor | None = None) -> dict[str, Tensor]:
        """Return `reconstruction`: the mean squared error over the hidden patches without invalid pixels.

        `noise_BL` says which are hidden (see `Masking`); by default as in `forward`.
        """
        self.check(batch)
        image = batch.images["image"]
        noise = self.network.draw_noise(image) if noise_BL is None else noise_BL
        prediction = self.network(image, noise).float()
        target = patchify(image, self.config.patch_size)
        if self.config.standardise_patches:
            target = standardise_patches(target)
        weight = Masking.from_noise(noise, keep=self.config.kept).hidden
        valid = batch.valid.get("image")
        if valid is not None:
            weight = weight * patchify(valid.unsqueeze(1), self.config.patch_size).all(dim=-1)
        return {"reconstruction": masked_squared_error(prediction, target, weight)}

    def embed(self, batch: Batch) -> Tensor:
        """Return one feature vector an image (B, D), with nothing hidden."""
        self.check(batch)
        return self.network.pooled(batch.images["image"])


def mae_recipe(*, epochs: int = 800, batch_size: int = 4096, seed: int = 0) -> Recipe:
    """Return the published pre-training: AdamW (0.9, 0.95), 1.5e-4 for 256 images, decay 0.05, 40 epochs of warm-up.

    Random resized crops (area 0.2 to 1) and mirror images, nothing else. FireRisk trains 80 epochs on unlabelled NAIP
    imagery (its README); its batch is not known.
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1.5e-4 * batch_size / 256,
        weight_decay=0.05,
        betas=(0.9, 0.95),
        warmup_epochs=min(40, epochs / 10),
        transforms=(RandomResizedCrop(size=224, area=(0.2, 1.0)), RandomFlip(vertical=0.0)),
        watch="-reconstruction",
        seed=seed,
        workers=1,
    )


CARD = Card(
    name="mae",
    title="MAE",
    summary="Self-supervised pre-training of a vision transformer: the decoder fills in hidden patches.",
    citation="K. He, X. Chen, S. Xie, Y. Li, P. Dollár, R. Girshick: Masked Autoencoders Are Scalable Vision "
    "Learners. CVPR, 2022.",
    paper="arXiv 2111.06377; pre-training of FireRisk's benchmark, arXiv 2303.07035",
    code="github facebookresearch/mae (names of tensors only)",
    code_licence="CC BY-NC 4.0",
    weights_licence="none shipped; the authors' are CC BY-NC 4.0, FireRisk states none",
    variants=(
        Variant(name="mae_vit_base", parameters=111_907_840, note="patch 16, positions included"),
        Variant(name="mae_vit_large", parameters=329_541_888, note="patch 16, positions included"),
        Variant(name="mae_vit_huge", parameters=657_074_508, note="patch 14, positions included"),
    ),
    choices=(
        "The embedding is the mean of the patches after the last norm; the class token by `pool='class'`.",
        "Warm-up is a tenth of shorter trainings than 400 epochs; at 800 it is the published 40 epochs.",
        "FireRisk's DINO runs are not part of this module.",
    ),
    limits=("One image size: 224 pixels unless built for another.",),
)


def mae_vit(
    *,
    encoder: TransformerShape,
    decoder: TransformerShape | None = None,
    patch_size: int = 16,
    input: InputSpec | None = None,
) -> MaskedAutoencoder:
    """Build a masked auto-encoder of any size; without `input`, for 224 px RGB under ImageNet's statistics."""
    spec = input or imagenet_rgb(fixed_size=True)
    narrow = decoder or TransformerShape(width=512, layers=8, heads=16)
    return MaskedAutoencoder(
        MaskedAutoencoderConfig(input=spec, encoder=encoder, decoder=narrow, patch_size=patch_size)
    )


def mae_vit_base(*, input: InputSpec | None = None) -> MaskedAutoencoder:
    """Build MAE around ViT-B/16.

    >>> with torch.device("meta"):
    ...     mae_vit_base().parameter_count()
    111907840
    """
    return mae_vit(encoder=TransformerShape(width=768, layers=12, heads=12), input=input)


def mae_vit_large(*, input: InputSpec | None = None) -> MaskedAutoencoder:
    """Build MAE around ViT-L/16.

    >>> with torch.device("meta"):
    ...     mae_vit_large().parameter_count()
    329541888
    """
    return mae_vit(encoder=TransformerShape(width=1024, layers=24, heads=16), input=input)


def mae_vit_huge(*, input: InputSpec | None = None) -> MaskedAutoencoder:
    """Build MAE around ViT-H/14.

    >>> with torch.device("meta"):
    ...     mae_vit_huge().parameter_count()
    657074508
    """
    return mae_vit(encoder=TransformerShape(width=1280, layers=32, heads=16), patch_size=14, input=input)
