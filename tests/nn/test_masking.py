"""Masking and patches against cases worked out by hand and plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigurationError, ShapeError
from swath.nn.masking import Masking, masked_squared_error, patchify, standardise_patches


@given(st.integers(0, 1000), st.integers(1, 12), st.data())
def test_restoring_puts_kept_tokens_back_and_mask_tokens_elsewhere(seed, length, data):
    keep = data.draw(st.integers(1, length))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(2, length, generator=generator)
    tokens = torch.randn(2, length, 3, generator=generator)
    masking = Masking.from_noise(noise, keep=keep)
    restored = masking.restore(masking.keep(tokens), torch.full((1, 1, 3), 7.0))
    assert masking.hidden.sum(1).tolist() == [length - keep] * 2
    for image in range(2):
        least = set(noise[image].argsort()[:keep].tolist())
        for place in range(length):
            hidden = place not in least
            assert float(masking.hidden[image, place]) == hidden
            expected = torch.full((3,), 7.0) if hidden else tokens[image, place]
            assert torch.equal(restored[image, place], expected)


def test_keeping_none_or_too_many_is_refused():
    for keep in (0, 4):
        with pytest.raises(ConfigurationError, match=f"of 3 patches 1 to 3 can be kept; found {keep}"):
            Masking.from_noise(torch.rand(1, 3), keep=keep)


def test_patches_are_read_row_by_row_with_the_band_fastest():
    image = torch.randn(2, 3, 4, 6)
    patches = patchify(image, 2)
    assert patches.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            cut = image[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert torch.equal(patches[:, row * 3 + column], cut.movedim(1, -1).flatten(1))
    with pytest.raises(ShapeError, match="4 x 6"):
        patchify(image, 4)


def test_standardised_patches_have_mean_0_and_unbiased_variance_1():
    patches = 5 + 3 * torch.randn(2, 4, 48, dtype=torch.float64)
    standard = standardise_patches(patches)
    torch.testing.assert_close(standard.mean(-1), torch.zeros(2, 4, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(standard.var(-1), torch.ones(2, 4, dtype=torch.float64), atol=1e-5, rtol=0)
    assert bool(torch.isfinite(standardise_patches(torch.ones(1, 1, 4))).all())


def test_only_weighted_patches_count_in_the_error():
    prediction = torch.zeros(1, 3, 2)
    target = torch.tensor([[[1.0, 1.0], [2.0, 4.0], [100.0, 100.0]]])
    assert float(masked_squared_error(prediction, target, torch.tensor([[1.0, 1.0, 0.0]]))) == pytest.approx(5.5)
    assert float(masked_squared_error(prediction, target, torch.zeros(1, 3))) == 0.0
