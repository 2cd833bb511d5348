import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from swath.errors import ShapeError
from swath.nn.causal_convolution import causal_convolution


def _by_conv1d(x_BLE, weight_EK, bias_E):
    """The composition that mixers are written with: padded on both sides, cut to the first L outputs."""
    taps, length = weight_EK.shape[1], x_BLE.shape[1]
    y_BEL = F.conv1d(x_BLE.transpose(1, 2), weight_EK[:, None], bias_E, padding=taps - 1, groups=len(weight_EK))
    return F.silu(y_BEL[..., :length]).transpose(1, 2)


def _gradients(function, tensors, g_BLE):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = function(*leaves)
    result.backward(g_BLE.to(result.dtype))
    return [result.detach(), *(leaf.grad for leaf in leaves)]


@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 40),
    width=st.sampled_from([5, 16, 48, 144]),
    taps=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
def test_values_and_gradients_equal_those_of_conv1d_in_double_precision(batch, length, width, taps, seed):
    torch.manual_seed(seed)
    tensors = torch.randn(batch, length, width), torch.randn(width, taps), torch.randn(width)
    g_BLE = torch.randn(batch, length, width)
    expected = _gradients(_by_conv1d, [tensor.double() for tensor in tensors], g_BLE)
    for ours, theirs in zip(_gradients(causal_convolution, tensors, g_BLE), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=2e-5)


def test_half_of_a_wider_projection_is_read_where_it_lies():
    torch.manual_seed(0)
    both_BLF = torch.randn(2, 9, 64, requires_grad=True)
    weight_EK, bias_E = torch.randn(32, 4), torch.randn(32)
    for half_BLE in both_BLF.chunk(2, dim=-1):
        expected_BLE = _by_conv1d(half_BLE.double(), weight_EK.double(), bias_E.double())
        torch.testing.assert_close(
            causal_convolution(half_BLE, weight_EK, bias_E).double(), expected_BLE, rtol=1e-5, atol=1e-5
        )
    swapped_BLE = torch.randn(9, 2, 32).transpose(0, 1)
    expected_BLE = _by_conv1d(swapped_BLE.double(), weight_EK.double(), bias_E.double())
    found_BLE = causal_convolution(swapped_BLE, weight_EK, bias_E).double()
    torch.testing.assert_close(found_BLE, expected_BLE, rtol=1e-5, atol=1e-5)


def test_gradcheck_in_double_precision():
    torch.manual_seed(0)
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((1, 4, 3), (3, 3), (3,))]
    assert gradcheck(causal_convolution, tensors)


def test_widths_that_disagree_are_refused():
    with pytest.raises(ShapeError, match=r"weight \(E, K\)"):
        causal_convolution(torch.zeros(1, 4, 16), torch.zeros(8, 4), torch.zeros(16))
