"""EfficientNet U-Net++ against segmentation_models_pytorch 0.6.0 under weights derived from names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundles import ParityBundle
from fill import fill_all

from swath.models.segment.efficientnet import Variant
from swath.models.segment.effnet_unetpp import EfficientNetUnetPlusPlus, remap_state_dict
from swath.models.segment.unetpp import UnetPlusPlus

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def bundle() -> ParityBundle:
    return ParityBundle.load("effnet-unetpp")


def network_with_derived_weights(bundle: ParityBundle, variant: Variant) -> UnetPlusPlus:
    published = {name: torch.from_numpy(values) for name, values in fill_all(bundle.meta["tensors"][variant]).items()}
    network = UnetPlusPlus(variant=variant)
    network.load_state_dict(remap_state_dict(published), strict=True)
    return network.eval()


@pytest.mark.parametrize("variant", ["b0", "b4"])
@torch.no_grad()
def test_features_nodes_and_logits_equal_the_librarys(bundle: ParityBundle, variant: Variant) -> None:
    network = network_with_derived_weights(bundle, variant)
    images = torch.from_numpy(bundle.arrays["input"]).float() / 127.5 - 1
    features = network.encoder(images)
    nodes = [name.partition("/")[2] for name in bundle.names(f"{variant}/x_")]
    outputs = {f"enc{number}": feature for number, feature in enumerate(features, 1)}
    outputs |= dict(zip(nodes, network.decoder(features, nodes), strict=True))
    outputs["logits"] = network(images)

    errors = {name: bundle.compare(f"{variant}/{name}", output.numpy()) for name, output in outputs.items()}

    assert [f"{variant}/{name}" for name in outputs] == bundle.names(f"{variant}/")
    assert len(outputs) == 12
    assert max(errors.values()) <= TOLERANCE, errors


def test_parameter_counts_of_the_card_are_the_librarys(bundle: ParityBundle) -> None:
    variants = EfficientNetUnetPlusPlus.card().variants
    library = {variant: counts["total"] for variant, counts in bundle.meta["parameters"].items()}
    assert {variant.name: variant.parameters for variant in variants} == library


def test_comparison_notices_a_change_between_the_stored_pixels(bundle: ParityBundle) -> None:
    about = bundle.meta["outputs"]["b0/logits"]
    assert about["stride"] % 2 == 1
    stored = bundle.arrays["b0/logits"]
    whole = np.full(about["shape"], about["mean"])
    whole[..., :: about["stride"], :: about["stride"]] = stored
    assert np.abs(bundle.compare("b0/logits", whole)) > TOLERANCE
