"""LENet against timm's blocks and a literal transcription of the rest, under weights derived from names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from bundles import ParityBundle
from fill import fill_all

from swath.models.change.lenet import LENet, LENetConfig, LENetNetwork
from swath.models.change.lenet_decoder import Pair
from swath.models.inputs import IMAGENET_MEAN, IMAGENET_STD, imagenet_rgb

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def bundle() -> ParityBundle:
    return ParityBundle.load("lenet")


def network_with_derived_weights(bundle: ParityBundle, **options: object) -> LENetNetwork:
    config = LENetConfig(
        input=imagenet_rgb(window=128, overlap=0, fixed_size=True),
        width=32,
        depths=(2, 2, 4, 2),
        heads=(1, 2, 4, 8),
        pyramid_channels=32,
        decoder_heads=(1, 2, 4, 8),
        head_channels=32,
        **options,
    )
    published = {name: torch.from_numpy(values) for name, values in fill_all(bundle.meta["tensors"]).items()}
    network = LENet(config).network
    network.load_state_dict(LENet.remap_state_dict(published), strict=True)
    return network.eval()


def normalised(bundle: ParityBundle) -> tuple[torch.Tensor, torch.Tensor]:
    pair = torch.from_numpy(bundle.arrays["input"]).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pair[:, :3] - mean) / std, (pair[:, 3:] - mean) / std


@torch.no_grad()
def outputs(network: LENetNetwork, before: torch.Tensor, after: torch.Tensor) -> Mapping[str, torch.Tensor]:
    """What the bundle holds, by its names."""
    _, _, third, fourth = network.encoder(before)
    tokens = [network.encoder.patch_embed(image).permute(0, 3, 1, 2) for image in (before, after)]
    weighted = network.encoder_weighting[0](Pair(before=tokens[0], after=tokens[1]))
    levels = network.exchanged_pyramids(network.encode(before, after))
    maps = network.change_maps(before, after)
    found = network.all_logits(before, after)
    return {
        "encoder/2": third,
        "encoder/3": fourth,
        "weighted": weighted.before,
        "pyramid/2": levels[2].joined(),
        "pyramid/3": levels[3].joined(),
        "change/0": maps[0],
        "change/2": maps[2],
        "logits": found.answer,
        "auxiliary/0": found.auxiliary[0],
        "auxiliary/1": found.auxiliary[1],
        "swapped": network.all_logits(after, before).answer,
    }


def errors_of(bundle: ParityBundle, found: Mapping[str, torch.Tensor]) -> dict[str, float]:
    return {name: bundle.compare(name, np.ascontiguousarray(value.numpy())) for name, value in found.items()}


def test_encoder_weighting_pyramids_maps_and_logits_equal_the_bundle(bundle: ParityBundle) -> None:
    network = network_with_derived_weights(bundle)
    before, after = normalised(bundle)
    errors = errors_of(bundle, outputs(network, before, after))
    assert sorted(errors) == sorted(bundle.names())
    assert max(errors.values()) <= TOLERANCE, errors


def test_comparison_notices_other_levels_exchanged_and_dates_swapped(bundle: ParityBundle) -> None:
    before, after = normalised(bundle)
    other = outputs(network_with_derived_weights(bundle, exchange_levels=(1, 3)), before, after)
    errors = errors_of(bundle, other)
    assert errors["encoder/3"] <= TOLERANCE
    assert min(errors[name] for name in ("pyramid/2", "change/0", "logits", "auxiliary/1")) > 100 * TOLERANCE
    swapped = errors_of(bundle, {"logits": other["swapped"], "swapped": other["logits"]})
    assert min(swapped.values()) > 100 * TOLERANCE
