"""Hiding patches and asking for them back: what masked auto-encoders share.

He, Chen, Xie, Li, Dollár, Girshick: "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv 2111.06377.
Which patches are hidden follows from noise that is passed in, so that a run can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from swath.errors import ConfigurationError, ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class Masking:
    """Which of L patches are kept, K an image, and how their order is undone.

    `kept` (B, K) are the places of the kept patches, by rising noise; `order` (B, L) says for each place where its
    patch stands once the hidden ones follow the kept ones; `hidden` (B, L) is 1 where a patch is hidden, else 0.

    >>> masking = Masking.from_noise(torch.tensor([[0.9, 0.1, 0.5]]), keep=1)
    >>> masking.kept.tolist(), masking.order.tolist(), masking.hidden.tolist()
    ([[1]], [[2, 0, 1]], [[1.0, 0.0, 1.0]])
    """

    kept: Tensor
    order: Tensor
    hidden: Tensor

    @classmethod
    def from_noise(cls, noise_BL: Tensor, *, keep: int) -> Masking:
        """Keep the `keep` patches of the least noise; raise `ConfigurationError` unless 1 to L are kept."""
        length = noise_BL.shape[1]
        if not 1 <= keep <= length:
            raise ConfigurationError(f"of {length} patches 1 to {length} can be kept; found {keep}.")
        by_noise = torch.argsort(noise_BL, dim=1)
        order = torch.argsort(by_noise, dim=1)
        return cls(kept=by_noise[:, :keep], order=order, hidden=(order >= keep).to(noise_BL.dtype))

    def keep(self, tokens_BLD: Tensor) -> Tensor:
        """Return the kept tokens (B, K, D)."""
        return _take(tokens_BLD, self.kept)

    def restore(self, tokens_BKD: Tensor, mask_token_11D: Tensor) -> Tensor:
        """Return all tokens in their places (B, L, D), the mask token where one is hidden."""
        batch, kept, _ = tokens_BKD.shape
        hidden = mask_token_11D.expand(batch, self.order.shape[1] - kept, -1)
        return _take(torch.cat([tokens_BKD, hidden], dim=1), self.order)


def _take(tokens_BLD: Tensor, places_BK: Tensor) -> Tensor:
    return torch.gather(tokens_BLD, 1, places_BK.unsqueeze(-1).expand(-1, -1, tokens_BLD.shape[2]))


def patchify(image_BCHW: Tensor, patch_size: int) -> Tensor:
    """Return the values of each patch (B, L, size * size * C), patches row by row; the band changes fastest.

    Raises `ShapeError` where patches do not tile the image.

    >>> patchify(torch.arange(8.0).reshape(1, 2, 2, 2), 2).tolist()
    [[[0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]]]
    """
    batch, channels, height, width = image_BCHW.shape
    if height % patch_size or width % patch_size:
        raise ShapeError(f"patches of {patch_size} pixels do not tile an image of {height} x {width}.")
    rows, columns = height // patch_size, width // patch_size
    split = image_BCHW.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return split.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, patch_size * patch_size * channels)


def standardise_patches(patches_BLP: Tensor) -> Tensor:
    """Bring the values of each patch to mean 0 and (unbiased) variance 1; 1e-6 is added to the variance.

    >>> [round(value, 4) for value in standardise_patches(torch.tensor([[[1.0, 3.0]]]))[0, 0].tolist()]
    [-0.7071, 0.7071]
    """
    mean = patches_BLP.mean(dim=-1, keepdim=True)
    variance = patches_BLP.var(dim=-1, keepdim=True)
    return (patches_BLP - mean) / (variance + 1e-6).sqrt()


def masked_squared_error(prediction_BLP: Tensor, target_BLP: Tensor, weight_BL: Tensor) -> Tensor:
    """Return the mean squared error of each patch, averaged over the patches by `weight` (0 without any weight).

    >>> float(masked_squared_error(torch.zeros(1, 2, 2), torch.tensor([[[1.0, 3.0], [9.0, 9.0]]]), torch.eye(2)[:1]))
    5.0
    """
    error_BL = (prediction_BLP - target_BLP).square().mean(dim=-1)
    return (error_BL * weight_BL).sum() / weight_BL.sum().clamp(min=1)
