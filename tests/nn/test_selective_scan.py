import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from swath.errors import ConfigurationError, ShapeError
from swath.nn.selective_scan import selective_scan, selective_scan_chunked, selective_scan_reference

BACKENDS = ["auto", "cpu", "chunked", "reference"]
SHAPES = {
    "batch": st.integers(1, 3),
    "length": st.integers(1, 75),
    "width": st.sampled_from([1, 16, 19, 48, 200]),
    "state": st.sampled_from([1, 3, 8, 16, 17]),
    "seed": st.integers(0, 2**31),
}


def _inputs(batch, length, width, state, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    delta_BLE = F.softplus(normal(batch, length, width) - 1)
    A_EN = -torch.exp(normal(width, state))
    tokens = normal(batch, length, state), normal(batch, length, state)
    return [normal(batch, length, width), delta_BLE, A_EN, *tokens, normal(width)]


def _with_gradients(inputs, g_BLE, backend):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    y_BLE = selective_scan(*leaves, backend=backend)
    y_BLE.backward(g_BLE.to(y_BLE.dtype))
    return [y_BLE.detach(), *(leaf.grad for leaf in leaves)]


def _closed_form(u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E):
    """The recurrence solved: y_t = D u_t + sum over s <= t of C_t . exp(A sum delta_{s+1..t}) B_s delta_s u_s."""
    u, delta, A, B, C, D = (tensor.double().numpy() for tensor in (u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E))
    since = np.cumsum(delta, axis=1)
    y = D * u
    for t in range(u.shape[1]):
        for s in range(t + 1):
            decay_BEN = np.exp((since[:, t] - since[:, s])[..., None] * A)
            weight_BE = (decay_BEN * (B[:, s] * C[:, t])[:, None, :]).sum(axis=-1)
            y[:, t] += weight_BE * delta[:, s] * u[:, s]
    return torch.from_numpy(y)


def _relative(found, expected):
    expected = expected.double()
    return float((found.double() - expected).norm() / expected.norm().clamp_min(1e-30))


@pytest.mark.parametrize("backend", BACKENDS)
def test_hand_computed_case_of_the_rsmamba_sheet(backend):
    one_BLN = torch.ones(1, 2, 1)
    u_BLE, delta_BLE = torch.tensor([[[1.0], [0.0]]]), torch.full((1, 2, 1), math.log(2))
    y_BLE = selective_scan(u_BLE, delta_BLE, -torch.ones(1, 1), one_BLN, one_BLN, torch.zeros(1), backend=backend)
    torch.testing.assert_close(y_BLE.flatten(), torch.tensor([0.693147, 0.346574]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_equals_the_closed_form_of_the_recurrence(backend):
    inputs = _inputs(2, 37, 21, 5)
    assert _relative(selective_scan(*inputs, backend=backend), _closed_form(*inputs)) < 1e-6


@settings(max_examples=25, deadline=None)
@given(**SHAPES)
def test_backends_agree_on_values_and_gradients_for_any_shape(batch, length, width, state, seed):
    inputs = _inputs(batch, length, width, state, seed)
    g_BLE = torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed + 1))
    expected = _with_gradients([tensor.double() for tensor in inputs], g_BLE, "reference")
    for backend in ("cpu", "chunked"):
        for found, exact in zip(_with_gradients(inputs, g_BLE, backend), expected, strict=True):
            # a gradient that cancels to nearly nothing has no relative accuracy to ask for
            assert _relative(found, exact) < 1e-4 or float((found.double() - exact).abs().max()) < 1e-5


def test_float32_gradients_are_as_close_to_double_precision_as_those_of_the_loop():
    inputs = _inputs(2, 200, 64, 16)
    g_BLE = torch.randn(2, 200, 64, generator=torch.Generator().manual_seed(1))
    exact = _with_gradients([tensor.double() for tensor in inputs], g_BLE, "reference")
    for found, expected in zip(_with_gradients(inputs, g_BLE, "cpu"), exact, strict=True):
        assert _relative(found, expected) < 1e-6


@pytest.mark.parametrize("function", [selective_scan_reference, selective_scan_chunked])
def test_gradcheck_in_double_precision(function):
    inputs = [tensor.requires_grad_() for tensor in _inputs(1, 5, 2, 3, dtype=torch.float64)]
    assert gradcheck(function, inputs)


def test_results_repeat_bit_for_bit_on_any_number_of_threads():
    inputs = _inputs(3, 70, 208, 16)
    g_BLE = torch.randn(3, 70, 208)
    threads = torch.get_num_threads()
    runs = []
    try:
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            runs.append(_with_gradients(inputs, g_BLE, "cpu"))
    finally:
        torch.set_num_threads(threads)
    for run in runs[1:]:
        assert all(torch.equal(first, again) for first, again in zip(runs[0], run, strict=True))


def test_outputs_of_a_sequence_do_not_depend_on_the_batch_around_it():
    inputs = _inputs(4, 33, 32, 16)
    alone = [tensor[2:3] if tensor.ndim == 3 else tensor for tensor in inputs]
    assert torch.equal(selective_scan(*inputs)[2:3], selective_scan(*alone))


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_steps_of_zero_only_the_skip_path_is_left(backend):
    inputs = _inputs(1, 9, 20, 4)
    inputs[1] = torch.zeros_like(inputs[1])
    torch.testing.assert_close(selective_scan(*inputs, backend=backend), inputs[5] * inputs[0], rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_huge_steps_every_token_forgets_the_past(backend):
    inputs = _inputs(1, 50, 20, 4)
    inputs[1] = torch.full_like(inputs[1], 1e6)
    u_BLE, delta_BLE, _, B_BLN, C_BLN, D_E = inputs
    expected_BLE = delta_BLE * u_BLE * (B_BLN * C_BLN).sum(-1, keepdim=True) + D_E * u_BLE
    results = _with_gradients(inputs, torch.ones_like(u_BLE), backend)
    torch.testing.assert_close(results[0], expected_BLE, rtol=1e-5, atol=1)
    assert all(bool(result.isfinite().all()) for result in results)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_reaches_its_own_channel_from_its_own_token_on(backend):
    inputs = _inputs(1, 20, 32, 4)
    inputs[1][0, 7, 3] = math.nan
    missing_LE = selective_scan(*inputs, backend=backend)[0].isnan()
    assert bool(missing_LE[7:, 3].all())
    assert int(missing_LE.sum()) == 13


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_skip_weights_the_skip_path_is_absent(backend):
    inputs = _inputs(1, 12, 16, 4)
    expected_BLE = selective_scan(*inputs[:5], torch.zeros(16), backend=backend)
    assert torch.equal(selective_scan(*inputs[:5], backend=backend), expected_BLE)


def test_lower_precision_is_computed_in_float32_and_returned_as_it_came():
    inputs = [tensor.bfloat16() for tensor in _inputs(1, 30, 16, 8)]
    y_BLE = selective_scan(*inputs)
    assert y_BLE.dtype == torch.bfloat16
    assert torch.equal(y_BLE, selective_scan(*(tensor.float() for tensor in inputs)).bfloat16())


def test_double_precision_stays_double():
    inputs = _inputs(1, 30, 16, 8, dtype=torch.float64)
    assert _relative(selective_scan(*inputs), _closed_form(*inputs)) < 1e-12


class _Scan(torch.nn.Module):
    def forward(self, *inputs):
        return selective_scan(*inputs)


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_scan_gives_the_eager_result(strict):
    inputs = tuple(_inputs(2, 30, 16, 4))
    program = torch.export.export(_Scan(), inputs, strict=strict)
    torch.testing.assert_close(program.module()(*inputs), selective_scan(*inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrong", range(6))
def test_shapes_that_disagree_are_refused(wrong):
    inputs = _inputs(2, 6, 16, 4)
    inputs[wrong] = inputs[wrong][..., :-1]
    with pytest.raises(ShapeError, match=r"selective_scan needs u and delta \(B, L, E\)"):
        selective_scan(*inputs)


def test_an_empty_sequence_is_refused():
    inputs = _inputs(2, 1, 16, 4)
    with pytest.raises(ShapeError, match="at least 1"):
        selective_scan(*(tensor[:, :0] if tensor.ndim == 3 else tensor for tensor in inputs))


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients():
    inputs = _inputs(0, 5, 16, 4)
    results = _with_gradients(inputs, torch.zeros(0, 5, 16), "cpu")
    assert results[0].shape == (0, 5, 16)
    assert float(results[3].abs().sum()) == 0


@pytest.mark.parametrize("backend", ["triton", "cuda"])
def test_a_backend_that_cannot_run_here_is_refused(backend):
    with pytest.raises(ConfigurationError, match=f"no backend '{backend}' for tensors on 'cpu'"):
        selective_scan(*_inputs(1, 2, 16, 4), backend=backend)


INTERPRETED = """
import torch
from swath.nn import selective_scan_triton as kernels
torch.manual_seed(0)
for batch, length, width, state in ((1, 35, 17, 5), (2, 3, 16, 1)):
    inputs = [torch.randn(batch, length, width), torch.rand(batch, length, width), -torch.rand(width, state)]
    inputs += [torch.randn(batch, length, state), torch.randn(batch, length, state), torch.randn(width)]
    leaves = [tensor.double().requires_grad_() for tensor in inputs]
    g_BLE = torch.randn(batch, length, width)
    from swath.nn.selective_scan import selective_scan_reference
    expected_BLE = selective_scan_reference(*leaves)
    expected_BLE.backward(g_BLE.double())
    y_BLE, states = kernels.scan_forward(*inputs, keep_states=True)
    found = (y_BLE, *kernels.scan_backward(g_BLE, states, *inputs))
    for ours, exact in zip(found, (expected_BLE, *(leaf.grad for leaf in leaves))):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-5)
print("equal")
"""


def test_triton_kernels_equal_the_loop_in_tritons_interpreter():
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True, check=False
    )
    assert run.stdout == "equal\n", run.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("backend", ["auto", "chunked"])
def test_results_on_a_gpu_equal_those_of_the_loop(backend):
    inputs = _inputs(2, 130, 72, 16)
    g_BLE = torch.randn(2, 130, 72)
    exact = _with_gradients([tensor.double() for tensor in inputs], g_BLE, "reference")
    runs = [_with_gradients([tensor.cuda() for tensor in inputs], g_BLE.cuda(), backend) for _ in range(2)]
    for first, again, expected in zip(*runs, exact, strict=True):
        assert _relative(first.cpu(), expected) < 1e-5
        assert backend != "auto" or torch.equal(first, again)
