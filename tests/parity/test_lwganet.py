"""LWGANet, its UNetFormer and its A2Net against a literal transcription, under weights derived from names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundles import ParityBundle
from fill import fill
from torch import nn

from swath.models.change.lwganet_a2net import LWGANetA2Net, lwganet_a2net
from swath.models.classify.lwganet import LWGANet, lwganet
from swath.models.classify.lwganet_backbone import L0, Backbone, VariantName, remap_backbone
from swath.models.segment.lwganet_unetformer import LWGANetUNetFormer, lwganet_unetformer

TOLERANCE = 1e-4
MEAN, STD = (torch.tensor(v).reshape(3, 1, 1) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))


@pytest.fixture(scope="module")
def bundle() -> ParityBundle:
    return ParityBundle.load("lwganet")


def weights(bundle: ParityBundle, *parts: str, prefix: str = "") -> dict[str, torch.Tensor]:
    """The published tensors of some parts of a network, filled from their names, times the bundle's factors."""
    shapes = {prefix + name: shape for part in parts for name, shape in bundle.meta["tensors"][part].items()}
    factors = bundle.meta["factors"]
    return {
        name: torch.from_numpy(fill(name, shape)) * next((f for end, f in factors.items() if name.endswith(end)), 1.0)
        for name, shape in shapes.items()
    }


def images(bundle: ParityBundle, side: int) -> torch.Tensor:
    return ((torch.from_numpy(bundle.arrays["input"]).float() - MEAN) / STD)[:, :, :side, :side]


def classifier(bundle: ParityBundle, variant: VariantName) -> nn.Module:
    network = lwganet(classes=tuple(f"class {number}" for number in range(45)), variant=variant).network
    published = weights(bundle, f"backbone-{variant.lower()}", f"head-{variant.lower()}")
    network.load_state_dict(LWGANet.remap_state_dict(published), strict=True)
    return network.eval()


def dense_backbone(bundle: ParityBundle) -> Backbone:
    backbone = Backbone(L0, channels=3, dense=True)
    backbone.load_state_dict(remap_backbone(weights(bundle, "backbone-l0", "norms-l0")), strict=True)
    return backbone.eval()


@pytest.mark.parametrize("variant", ["L0", "L1", "L2"])
@torch.no_grad()
def test_logits_of_classifiers_equal_the_bundles(bundle: ParityBundle, variant: VariantName) -> None:
    logits = classifier(bundle, variant)(images(bundle, 96))
    assert bundle.compare(f"{variant.lower()}/logits", logits.numpy()) <= TOLERANCE


@torch.no_grad()
def test_dense_maps_equal_the_bundles(bundle: ParityBundle) -> None:
    maps = dense_backbone(bundle)(images(bundle, 96))
    errors = {name: bundle.compare(name, maps[int(name[-1])].numpy()) for name in bundle.names("l0-dense/")}
    assert len(errors) == 3
    assert max(errors.values()) <= TOLERANCE, errors


@torch.no_grad()
def test_both_heads_of_the_unetformer_equal_the_bundles(bundle: ParityBundle) -> None:
    network = lwganet_unetformer(classes=tuple(f"class {number}" for number in range(7)), window=160).network.eval()
    published = weights(bundle, "backbone-l2", "norms-l2", prefix="backbone.") | weights(bundle, "unetformer-l2")
    network.load_state_dict(LWGANetUNetFormer.remap_state_dict(published), strict=True)
    image = images(bundle, 160)
    logits = network.supervised(image)
    torch.testing.assert_close(network(image), logits.main)
    assert bundle.compare("unetformer-l2/logits", logits.main.numpy()) <= TOLERANCE
    assert bundle.compare("unetformer-l2/auxiliary", logits.auxiliary.numpy()) <= TOLERANCE


@torch.no_grad()
def test_the_four_masks_of_the_a2net_equal_the_bundles(bundle: ParityBundle) -> None:
    network = lwganet_a2net(window=160).network.eval()
    published = weights(bundle, "backbone-l0", "norms-l0", prefix="backbone.") | weights(bundle, "a2net-l0")
    network.load_state_dict(LWGANetA2Net.remap_state_dict(published), strict=True)
    before = images(bundle, 160)
    masks = network.masks(before, before.flip(3))
    errors = {name: bundle.compare(name, masks[int(name[-1]) - 2].numpy()) for name in bundle.names("a2net-l0/")}
    assert len(errors) == 4
    assert max(errors.values()) <= TOLERANCE, errors
    torch.testing.assert_close(network(before, before.flip(3)), masks[0])


@torch.no_grad()
def test_comparison_notices_two_strips_exchanged(bundle: ParityBundle) -> None:
    backbone = dense_backbone(bundle)
    state = backbone.state_dict()
    one, other = (f"stages.0.0.strips.{name}.weight" for name in ("tall", "tall_sheared"))
    state[one], state[other] = state[other].clone(), state[one].clone()
    backbone.load_state_dict(state)
    error = bundle.compare("l0-dense/map0", backbone(images(bundle, 96))[0].numpy())
    assert np.isfinite(error)
    assert error > 100 * TOLERANCE
