"""RSMamba against a literal transcription around the mixer of transformers, under weights derived from names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import ParityBundle
from fill import fill_all

from swath.models.classify.rsmamba import PathType, RSMamba, RSMambaNetwork, rsmamba_base

TOLERANCE = 1e-4
LAYERS = (0, 11, 23)


@pytest.fixture(scope="module")
def bundle() -> ParityBundle:
    return ParityBundle.load("rsmamba")


def network_with_derived_weights(bundle: ParityBundle, path_type: PathType, orders: np.ndarray) -> RSMambaNetwork:
    published = {name: torch.from_numpy(values) for name, values in fill_all(bundle.meta["tensors"][path_type]).items()}
    base = rsmamba_base(classes=tuple(f"class {number}" for number in range(45))).config
    network = RSMamba(replace(base, path_type=path_type)).network
    network.load_state_dict(RSMamba.remap_state_dict(published), strict=True)
    network.backbone.permutation_source = lambda layer, length: torch.from_numpy(orders[layer].astype(np.int64))
    return network.eval()


@torch.no_grad()
def errors_of(bundle: ParityBundle, path_type: PathType, orders: np.ndarray) -> dict[str, float]:
    network = network_with_derived_weights(bundle, path_type, orders)
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, module: torch.nn.Module) -> None:
        module.register_forward_hook(lambda module, inputs, output: seen.update({name: output.numpy()}))

    keep("patch_embed", network.backbone.patch_embedding)
    for number in LAYERS:
        keep(f"{path_type}/mixer{number}", network.backbone.layers[number])
    keep(f"{path_type}/logits", network)
    network(torch.from_numpy(bundle.arrays["input"]).float() / 127.5 - 1)
    return {name: bundle.compare(name, output) for name, output in seen.items()}


@pytest.mark.parametrize(
    "path_type", ["forward", "forward_reverse_mean", "forward_reverse_gate", "forward_reverse_shuffle_gate"]
)
def test_patches_mixers_and_logits_equal_the_bundle(bundle: ParityBundle, path_type: PathType) -> None:
    errors = errors_of(bundle, path_type, bundle.arrays["permutations"])
    assert list(errors) == ["patch_embed", *bundle.names(f"{path_type}/")]
    assert len(errors) == 5
    assert max(errors.values()) <= TOLERANCE, errors


def test_comparison_notices_two_layers_orders_exchanged(bundle: ParityBundle) -> None:
    orders = bundle.arrays["permutations"].copy()
    orders[[11, 12]] = orders[[12, 11]]
    errors = errors_of(bundle, "forward_reverse_shuffle_gate", orders)
    assert errors["forward_reverse_shuffle_gate/mixer0"] <= TOLERANCE
    assert errors["forward_reverse_shuffle_gate/mixer11"] > 100 * TOLERANCE
    assert errors["forward_reverse_shuffle_gate/logits"] > 100 * TOLERANCE
