"""BTC-T against Swin, UperNet and focal loss of transformers and torchvision under weights derived from names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundles import ParityBundle
from fill import fill_all

from swath.models.change.btc import BTC, BTC_INPUT, BTCNetwork, btc_tiny, change_losses

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def bundle() -> ParityBundle:
    return ParityBundle.load("btc")


@pytest.fixture(scope="module")
def network(bundle: ParityBundle) -> BTCNetwork:
    published = {name: torch.from_numpy(values) for name, values in fill_all(bundle.meta["tensors"]).items()}
    network = btc_tiny().network
    network.load_state_dict(BTC.remap_state_dict(published), strict=True)
    return network.eval()


@pytest.fixture(scope="module")
def outputs(bundle: ParityBundle, network: BTCNetwork) -> dict[str, np.ndarray]:
    """What our network answers to the bundle's images."""
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (BTC_INPUT.mean, BTC_INPUT.std))
    before, after = ((torch.from_numpy(bundle.arrays[name]).float() - mean) / std for name in "AB")
    with torch.no_grad():
        maps = network.encoder(before)
        logits = network(before, after)
        losses = change_losses(
            ("dice", "cross_entropy", "focal"), logits, torch.from_numpy(bundle.arrays["label"][:, 0])
        )
        found = {
            "stage1": maps[0],
            "stage4": maps[3],
            "logits": logits,
            "swapped_logits": network(after, before),
            **losses,
        }
    return {name: value.numpy() for name, value in found.items()}


def test_features_logits_and_losses_equal_the_librarys(bundle: ParityBundle, outputs: dict[str, np.ndarray]) -> None:
    errors = {name: bundle.compare(name, output) for name, output in outputs.items()}
    assert list(errors) == bundle.names()
    assert len(errors) == 7
    assert max(errors.values()) <= TOLERANCE, errors


def test_parameter_counts_are_the_librarys(bundle: ParityBundle, network: BTCNetwork) -> None:
    counts = {
        name: sum(parameter.numel() for parameter in getattr(network, name).parameters())
        for name in ("encoder", "decoder")
    }
    assert counts == bundle.meta["parameters"]


def test_comparison_notices_exchanged_dates(bundle: ParityBundle, outputs: dict[str, np.ndarray]) -> None:
    assert bundle.compare("logits", outputs["swapped_logits"]) > 100 * TOLERANCE
