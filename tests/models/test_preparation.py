"""What happens to raw images before a frozen network sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import ConfigurationError
from swath.models.pretrain.preparation import Normalisation, Preparation, resized, with_zero_bands

AFFINE = Normalisation(name="standardization", shift=(10.0, 20.0), scale=(3.0, 4.0))
CLIPPED = Normalisation(name="for_seco", scale=(2750.0,), low=0.0, high=1.0)


def raw(seed=0, side=9) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 6000, (2, 2, side, side)).astype(np.float32))


@given(seed=st.integers(0, 100), size=st.integers(2, 40))
@settings(max_examples=20, deadline=None)
def test_the_order_does_not_matter_for_what_is_affine(seed, size):
    one, two = (
        Preparation(size=size, normalisation=AFFINE, order=order)(raw(seed))
        for order in ("resize first", "normalise first")
    )
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-3)


def test_the_order_matters_where_values_are_clipped():
    one, two = (
        Preparation(size=20, normalisation=CLIPPED, order=order)(raw()) for order in ("resize first", "normalise first")
    )
    assert (one - two).abs().max() > 0.01
    assert one.min() >= 0
    assert one.max() <= 1


def test_clipping_by_hand():
    values = torch.tensor([[[[-5.0, 0.0, 1375.0, 2750.0, 9000.0]]]])
    assert CLIPPED(values).flatten().tolist() == [0, 0, 0.5, 1, 1]


def test_doubling_an_edge_interpolates_between_pixel_centres():
    image = torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]])
    assert resized(image, 4)[0, 0, 0].tolist() == [0, 1, 3, 4]
    assert resized(image, 2) is image
    assert resized(image, None) is image


def test_shrinking_does_not_smooth():
    """Without antialiasing two pixels out of eight lie between the 2nd and 3rd and the 6th and 7th; no other counts."""
    image = torch.tensor([[[[9.0, 8.0, 4.0, 9.0, 9.0, 2.0, 0.0, 9.0]]]]).expand(1, 1, 8, 8)
    assert resized(image, 2)[0, 0, 0].tolist() == [6, 1]


def test_ten_bands_of_so2sat_become_thirteen_with_zeros_at_0_9_and_10():
    found = with_zero_bands(torch.arange(1.0, 11.0).reshape(1, 10, 1, 1), (0, 9, 10))
    assert found.flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 9, 10]


def test_zeros_are_normalised_like_other_channels():
    normalisation = Normalisation(name="x", shift=(0.0, 2.0, 0.0), scale=(1.0, 4.0, 1.0))
    found = Preparation(normalisation=normalisation, zero_bands=(1,))(torch.ones(1, 2, 1, 1))
    assert found.flatten().tolist() == [1, -0.5, 1]


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="different places from 0 to 2"):
        with_zero_bands(torch.ones(1, 2, 1, 1), (3,))
    with pytest.raises(ConfigurationError, match="positive scales"):
        Normalisation(name="x", scale=(1.0, 0.0))
