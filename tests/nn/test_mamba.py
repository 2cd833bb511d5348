import math

import pytest
import torch

from swath.errors import ConfigurationError
from swath.nn.mamba import MambaMixer


def _randomised(mixer, seed=0):
    """Weights away from their regular starting values, so that no two of them can be swapped unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return mixer


def test_tensor_names_and_shapes_are_the_published_ones():
    # "Published state dict" of the RSMamba sheet, base variant
    published = {
        "A_log": (384, 16),
        "D": (384,),
        "in_proj.weight": (768, 192),
        "conv1d.weight": (384, 1, 4),
        "conv1d.bias": (384,),
        "x_proj.weight": (44, 384),
        "dt_proj.weight": (384, 12),
        "dt_proj.bias": (384,),
        "out_proj.weight": (192, 384),
    }
    mixer = MambaMixer(width=192, inner_width=384)
    assert {name: tuple(tensor.shape) for name, tensor in mixer.state_dict().items()} == published


def test_starting_values_are_those_of_the_sheet():
    mixer = MambaMixer(width=64, inner_width=96, state_size=8, dt_rank=9)
    torch.testing.assert_close(mixer.A_log.exp(), torch.arange(1.0, 9.0).expand(96, 8))
    assert bool((mixer.D == 1).all())
    bound = 1 / math.sqrt(9)  # torch's default for a linear layer: uniform within 1 / sqrt(inputs)
    assert 0.8 * bound < float(mixer.dt_proj.bias.detach().abs().max()) <= bound
    assert bool((mixer.dt_proj.bias < 0).any() and (mixer.dt_proj.bias > 0).any())


def test_rank_and_inner_width_follow_the_width_unless_given():
    mixer = MambaMixer(width=200)
    assert mixer.dt_proj.weight.shape == (400, 13)


@pytest.mark.parametrize(("width", "inner_width", "state_size", "kernel_size"), [(32, 64, 16, 4), (24, 40, 5, 3)])
def test_mixer_equals_that_of_transformers(width, inner_width, state_size, kernel_size):
    pytest.importorskip("transformers")
    from transformers.models.mamba.modeling_mamba import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer as PeerMixer

    mixer = _randomised(
        MambaMixer(width=width, inner_width=inner_width, state_size=state_size, kernel_size=kernel_size)
    )
    config = MambaConfig(
        hidden_size=width,
        intermediate_size=inner_width,
        state_size=state_size,
        conv_kernel=kernel_size,
        time_step_rank=math.ceil(width / 16),
        use_mambapy=False,
    )
    config.intermediate_size = inner_width
    peer = PeerMixer(config, layer_idx=0)
    peer.load_state_dict(mixer.state_dict())
    x_BLd = torch.randn(3, 41, width, generator=torch.Generator().manual_seed(1))
    outcomes = []
    for run in (mixer, peer):
        leaf_BLd = x_BLd.clone().requires_grad_()
        y_BLd = run(leaf_BLd)
        (y_BLd * torch.arange(width)).sum().backward()
        outcomes.append((y_BLd.detach(), leaf_BLd.grad))
    torch.testing.assert_close(outcomes[0][0], outcomes[1][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outcomes[0][1], outcomes[1][1], rtol=1e-4, atol=1e-4 * width)
    for (name, ours), (_, theirs) in zip(
        sorted(mixer.named_parameters()), sorted(peer.named_parameters()), strict=True
    ):
        error = float((ours.grad - theirs.grad).norm() / theirs.grad.norm())
        assert error < 1e-4, f"{name}: {error}"


@pytest.mark.parametrize("backend", ["cpu", "chunked"])
def test_backends_agree_with_the_textbook_loop(backend):
    x_BLd = torch.randn(2, 50, 32)
    reference = _randomised(MambaMixer(width=32, backend="reference"))
    mixer = MambaMixer(width=32, backend=backend)
    mixer.load_state_dict(reference.state_dict())
    torch.testing.assert_close(mixer(x_BLd), reference(x_BLd), rtol=1e-5, atol=1e-5)


def test_a_token_changes_no_output_before_it():
    mixer = _randomised(MambaMixer(width=32))
    x_BLd = torch.randn(1, 40, 32)
    changed_BLd = x_BLd.clone()
    changed_BLd[0, 25] += 1
    before, after = mixer(x_BLd), mixer(changed_BLd)
    assert torch.equal(before[:, :25], after[:, :25])
    assert bool((before[:, 25:] != after[:, 25:]).any(dim=-1).all())


def test_an_exported_mixer_gives_the_eager_result():
    mixer = _randomised(MambaMixer(width=16, state_size=4)).eval()
    x_BLd = torch.randn(2, 20, 16)
    program = torch.export.export(mixer, (x_BLd,))
    torch.testing.assert_close(program.module()(x_BLd), mixer(x_BLd), rtol=1e-5, atol=1e-5)


def test_training_fits_a_sequence_that_needs_memory():
    # channel 1 of every token shall say what channel 1 of the first token was: only a state that lasts knows it
    torch.manual_seed(0)
    mixer = MambaMixer(width=16)
    optimiser = torch.optim.AdamW(mixer.parameters(), lr=2e-2)
    x_BLd = torch.zeros(2, 12, 16)
    x_BLd[..., 0] = 1
    x_BLd[:, 0, 1] = torch.tensor([1.0, -1.0])
    losses = []
    for _ in range(60):
        loss = (mixer(x_BLd)[..., 1] - x_BLd[:, :1, 1]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.05


def test_a_size_below_one_is_refused():
    with pytest.raises(ConfigurationError, match="state_size of at least 1, but got 0"):
        MambaMixer(width=16, state_size=0)
