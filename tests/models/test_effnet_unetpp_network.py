"""The EfficientNet encoder and the U-Net++ network: padding, shapes, nesting, gradients, dropping."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import ShapeError
from swath.models.segment.efficientnet import (
    EfficientNetEncoder,
    InvertedResidual,
    drop_connect,
    plan_encoder,
    same_padding,
)
from swath.models.segment.unetpp import UnetPlusPlus, convolve_doubled, mean_logits, plan_decoder

# Paddings of the strided depth-wise layers by block index, and the tapped blocks, in the reference library.
PADDINGS = {
    "b0": {1: (0, 1), 3: (1, 2), 5: (0, 1), 11: (1, 2)},
    "b1": {2: (0, 1), 5: (1, 2), 8: (0, 1), 16: (2, 2)},
    "b2": {2: (0, 1), 5: (2, 2), 8: (1, 1), 16: (2, 2)},
    "b3": {2: (0, 1), 5: (2, 2), 8: (0, 1), 18: (2, 2)},
    "b4": {2: (0, 1), 6: (2, 2), 10: (0, 1), 22: (1, 2)},
    "b5": {3: (0, 1), 8: (1, 2), 13: (1, 1), 27: (2, 2)},
    "b6": {3: (0, 1), 9: (1, 2), 15: (0, 1), 31: (2, 2)},
    "b7": {4: (0, 1), 11: (1, 2), 18: (1, 1), 38: (1, 2)},
}
TAPS = {
    "b0": (2, 4, 8, 15),
    "b1": (4, 7, 15, 22),
    "b2": (4, 7, 15, 22),
    "b3": (4, 7, 17, 25),
    "b4": (5, 9, 21, 31),
    "b5": (7, 12, 26, 38),
    "b6": (8, 14, 30, 44),
    "b7": (10, 17, 37, 54),
}


def small_network(**options: object) -> UnetPlusPlus:
    torch.manual_seed(0)
    return UnetPlusPlus(variant="b0", **options)


@pytest.mark.parametrize("variant", PADDINGS)
def test_paddings_and_taps_are_the_published_ones(variant):
    plan = plan_encoder(variant)
    strided = {index: block.padding for index, block in enumerate(plan.blocks) if block.stride == 2}
    assert strided == PADDINGS[variant]
    assert plan.stem_padding == (0, 1)
    assert plan.taps == TAPS[variant]
    assert all(block.padding == (block.kernel // 2,) * 2 for block in plan.blocks if block.stride == 1)


@given(st.integers(1, 600), st.sampled_from([1, 3, 5, 7]), st.integers(1, 3))
def test_same_padding_gives_the_rounded_up_size(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert 0 <= after - before <= 1
    if before or after:
        assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


def test_padding_does_not_depend_on_the_size_of_the_input():
    # With padding by the real size, block 6 of B4 (kernel 5, nominal 95 px) would pad (1, 2), not (2, 2).
    torch.manual_seed(0)
    encoder = EfficientNetEncoder(variant="b4", in_channels=3).eval()
    block = encoder.blocks[6]
    x = torch.rand(1, 32, 32, 32)
    with torch.no_grad():
        layer = block.depthwise
        expanded = F.silu(block.expand(x))
        by_hand = F.conv2d(F.pad(expanded, (2, 2, 2, 2)), layer.conv.weight, stride=2, groups=expanded.shape[1])
        torch.testing.assert_close(layer.conv(F.pad(expanded, layer.extra)), by_hand)
    assert by_hand.shape[-1] == 16


def test_padding_of_the_stem_is_at_the_right_and_bottom():
    encoder = EfficientNetEncoder(variant="b0", in_channels=1)
    image = torch.zeros(1, 1, 32, 32)
    image[..., 0, 0] = 1.0
    answer = encoder.stem.conv(F.pad(image, encoder.stem.extra)).detach()
    torch.testing.assert_close(answer[0, :, 0, 0], encoder.stem.conv.weight[:, 0, 0, 0])
    assert answer.abs().sum() == pytest.approx(answer[0, :, 0, 0].abs().sum().item())


def test_squeeze_of_b4_block_2_has_six_channels():
    with torch.device("meta"):
        encoder = EfficientNetEncoder(variant="b4", in_channels=3)
    assert encoder.plan.blocks[2].in_channels == 24
    assert encoder.blocks[2].squeeze.reduce.out_channels == 6


@pytest.mark.parametrize("size", [(64, 32), (32, 96)])
@torch.no_grad()
def test_logits_have_the_size_of_the_image(size):
    network = small_network(in_channels=4, out_channels=3).eval()
    assert network(torch.zeros(2, 4, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("shape", [(1, 3, 48, 64), (1, 3, 64, 31), (1, 3, 0, 32), (1, 4, 32, 32), (3, 32, 32)])
def test_other_shapes_are_refused_with_what_was_found(shape):
    with torch.device("meta"):
        network = UnetPlusPlus(variant="b0")
        with pytest.raises(ShapeError, match=str(shape[2]) if len(shape) == 4 and shape[1] == 3 else "shape"):
            network(torch.zeros(shape))


def test_decoder_plan_of_b4_is_the_published_table():
    plan = plan_decoder((48, 32, 56, 160, 448), (256, 128, 64, 32, 16))
    assert [(node.name, node.left, node.skips, node.out_channels) for node in plan] == [
        ("x_0_0", "f5", ("f4",), 256),
        ("x_1_1", "f4", ("f3",), 56),
        ("x_2_2", "f3", ("f2",), 32),
        ("x_3_3", "f2", ("f1",), 48),
        ("x_0_1", "x_0_0", ("x_1_1", "f3"), 128),
        ("x_1_2", "x_1_1", ("x_2_2", "f2"), 32),
        ("x_2_3", "x_2_2", ("x_3_3", "f1"), 48),
        ("x_0_2", "x_0_1", ("x_1_2", "x_2_2", "f2"), 64),
        ("x_1_3", "x_1_2", ("x_2_3", "x_3_3", "f1"), 48),
        ("x_0_3", "x_0_2", ("x_1_3", "x_2_3", "x_3_3", "f1"), 32),
        ("x_0_4", "x_0_3", (), 16),
    ]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31))
def test_convolution_of_the_doubled_map_needs_no_doubled_map(channels, out_channels, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(out_channels, channels, 3, 3, generator=generator, dtype=torch.float64)
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(convolve_doubled(x, weight), F.conv2d(doubled, weight, padding=1))


def test_drop_connect_is_the_identity_in_evaluation():
    spec = plan_encoder("b0").blocks[2]
    never, often = InvertedResidual(spec, drop_rate=0.0), InvertedResidual(spec, drop_rate=0.9)
    often.load_state_dict(never.state_dict())
    x = torch.rand(4, spec.in_channels, 8, 8)
    assert torch.equal(never.eval()(x), often.eval()(x))


def test_drop_rates_grow_linearly_with_depth():
    with torch.device("meta"):
        encoder = EfficientNetEncoder(variant="b4", in_channels=3)
    rates = [block.drop_rate for block in encoder.blocks]
    assert rates == pytest.approx([0.2 * index / 32 for index in range(32)])


def test_dropped_samples_keep_their_input_and_the_others_are_scaled():
    torch.manual_seed(0)
    kept = drop_connect(torch.ones(20_000, 1, 1, 1), 0.15).flatten()
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.85])
    assert (kept > 0).float().mean().item() == pytest.approx(0.85, abs=0.01)  # four standard deviations


def test_every_trainable_tensor_has_a_gradient():
    network = small_network(deep_supervision=True).train()
    sum(logits.square().mean() for logits in network(torch.randn(2, 3, 32, 32))).backward()
    without = [name for name, tensor in network.named_parameters() if tensor.requires_grad and tensor.grad is None]
    frozen = [name for name, tensor in network.named_parameters() if not tensor.requires_grad]
    assert without == []
    assert frozen == ["encoder.head.conv.weight", "encoder.head.norm.weight", "encoder.head.norm.bias"]


def test_a_few_steps_fit_one_image():
    network = small_network(drop_connect=0.0, decoder_channels=(32, 16, 16, 16, 16)).train()
    image = torch.randn(2, 3, 32, 32)
    truth = (F.avg_pool2d(image[:, :1], 5, 1, 2) > 0).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        loss = F.binary_cross_entropy_with_logits(network(image), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


@torch.no_grad()
def test_deep_supervision_adds_heads_and_changes_no_other_weight():
    plain, deep = small_network(), small_network(deep_supervision=True)
    extra = {name for name in deep.state_dict() if name not in plain.state_dict()}
    assert extra == {f"ds_heads.{node}.{part}" for node in ("x_3_3", "x_2_3", "x_1_3") for part in ("weight", "bias")}
    assert set(plain.state_dict()) <= set(deep.state_dict())
    assert all(torch.equal(tensor, deep.state_dict()[name]) for name, tensor in plain.state_dict().items())
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(plain.eval()(image), deep.eval()(image))
    answers = deep.train()(image)
    assert [answer.shape for answer in answers] == [(1, 1, 64, 64)] * 4


@torch.no_grad()
def test_pruned_networks_give_the_same_logits_and_run_less():
    network = small_network(deep_supervision=True).eval()
    image = torch.randn(1, 3, 64, 64)
    ran: list[str] = []
    for name, module in network.named_modules():
        if name.count(".") == 2 and name.split(".")[1] in ("blocks", "nodes"):
            module.register_forward_hook(lambda module, args, output, name=name: ran.append(name))
    together = network.forward_levels(image, (1, 2, 3, 4))
    # Blocks up to the tap of the deepest feature, and the nodes of the nested U-Net (Zhou 2018, figure 1).
    expected = {
        1: (3, {"x_3_3"}),
        2: (5, {"x_3_3", "x_2_2", "x_2_3"}),
        3: (9, {"x_3_3", "x_2_2", "x_2_3", "x_1_1", "x_1_2", "x_1_3"}),
        4: (16, {node.name for node in network.decoder.plan}),
    }
    for level, (blocks, nodes) in expected.items():
        ran.clear()
        (alone,) = network.forward_levels(image, (level,))
        torch.testing.assert_close(alone, together[level - 1])
        assert sum(name.startswith("encoder.") for name in ran) == blocks
        assert {name.rpartition(".")[2] for name in ran if name.startswith("decoder.")} == nodes


@pytest.mark.parametrize("exclusive", [True, False])
def test_mean_of_answers_is_the_mean_of_their_probabilities(exclusive):
    torch.manual_seed(0)
    answers = [torch.randn(2, 3, 4, 5, dtype=torch.float64) for _ in range(4)]
    probability = (lambda x: x.softmax(1)) if exclusive else torch.sigmoid
    expected = sum(probability(answer) for answer in answers) / 4
    torch.testing.assert_close(probability(mean_logits(answers, exclusive=exclusive)), expected)
