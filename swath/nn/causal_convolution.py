"""The causal depthwise convolution with SiLU in front of every Mamba scan.

On the CPU one pass reads the input where it lies (also a half of a wider projection), convolves, applies SiLU and
writes. For 4096 tokens of 384 channels on one core that takes 1 ms, by conv1d with its transpositions 9 ms, by four
shifted multiply-adds 6 ms; with the way back 9, 38 and 24 ms.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from swath.errors import ShapeError
from swath.geometry._compile import compiled
from swath.nn.kernels import (
    AHEAD,
    LANES,
    Array,
    Lanes,
    flat,
    load,
    multiply,
    multiply_add,
    prefetch,
    runs_kernels,
    share_out,
    sigmoid,
    splat,
    store,
)

# Sixteen-channel groups a task takes through time together: 8 of them are a contiguous half kilobyte per token.
_GROUPS = 8


class _Shape(NamedTuple):
    batch: int
    length: int
    width: int
    taps: int
    # floats from one token of the input to the next
    stride: int


class _Layer(NamedTuple):
    x: Array
    weight: Array
    bias: Array


class _Gradients(NamedTuple):
    x: Array
    weight: Array
    bias: Array


@compiled
def _preactivation(layer: _Layer, shape: _Shape, sequence: int, t: int, channel: int) -> Lanes:
    total = load(layer.bias, channel)
    for tap in range(max(shape.taps - 1 - t, 0), shape.taps):
        source = (sequence * shape.length + t - shape.taps + 1 + tap) * shape.stride + channel
        total = multiply_add(load(layer.x, source), load(layer.weight, tap * shape.width + channel), total)
    return total


@compiled
def _convolve(start: int, stop: int, layer: _Layer, y: Array, shape: _Shape) -> None:
    step = _GROUPS * LANES
    blocks = (shape.width + step - 1) // step
    for task in range(start, stop):
        sequence, first = task // blocks, task % blocks * step
        for t in range(shape.length):
            for channel in range(first, min(first + step, shape.width), LANES):
                token = sequence * shape.length + t
                prefetch(layer.x, (token + AHEAD) * shape.stride + channel)
                prefetch(y, (token + AHEAD) * shape.width + channel)
                value = _preactivation(layer, shape, sequence, t, channel)
                store(y, token * shape.width + channel, multiply(value, sigmoid(value)))


@compiled
def _slope(layer: _Layer, shape: _Shape, sequence: int, t: int, channel: int) -> Lanes:
    """SiLU' = s + x s (1 - s), with x before SiLU and s = sigmoid(x)."""
    value = _preactivation(layer, shape, sequence, t, channel)
    gate = sigmoid(value)
    silu = multiply(value, gate)
    return multiply_add(multiply(silu, splat(-1.0)), gate, multiply_add(silu, splat(1.0), gate))


@compiled
def _task_back(task: int, layer: _Layer, g_y: Array, gradients: _Gradients, recent: Array, shape: _Shape) -> None:
    """Take one block back through time; `recent` holds the gradients before SiLU of the last taps, by t % taps."""
    length, width, taps = shape.length, shape.width, shape.taps
    step = _GROUPS * LANES
    blocks = (width + step - 1) // step
    sequence, first = task // blocks, task % blocks * step
    for t in range(length - 1, -1, -1):
        token = sequence * length + t
        for channel in range(first, min(first + step, width), LANES):
            at = token * width + channel
            prefetch(layer.x, (token - taps + 1 - AHEAD) * shape.stride + channel)
            prefetch(g_y, at - AHEAD * width)
            prefetch(gradients.x, at - AHEAD * width)
            g_value = multiply(load(g_y, at), _slope(layer, shape, sequence, t, channel))
            store(recent, (t % taps) * width + channel, g_value)
            place = sequence * width + channel
            store(gradients.bias, place, multiply_add(g_value, splat(1.0), load(gradients.bias, place)))
            for tap in range(max(taps - 1 - t, 0), taps):
                place = (sequence * taps + tap) * width + channel
                x = load(layer.x, (token - taps + 1 + tap) * shape.stride + channel)
                store(gradients.weight, place, multiply_add(g_value, x, load(gradients.weight, place)))
            g_x = splat(0.0)
            for tap in range(max(taps - length + t, 0), taps):
                weight = load(layer.weight, tap * width + channel)
                later = load(recent, ((t + taps - 1 - tap) % taps) * width + channel)
                g_x = multiply_add(later, weight, g_x)
            store(gradients.x, at, g_x)


@compiled
def _convolve_back(start: int, stop: int, layer: _Layer, g_y: Array, gradients: _Gradients, shape: _Shape) -> None:
    recent = np.empty(shape.taps * shape.width, np.float32)
    for task in range(start, stop):
        _task_back(task, layer, g_y, gradients, recent, shape)


def _rows(x_BLE: Tensor) -> tuple[Tensor, int]:
    """Return a flat view of evenly spaced tokens and their spacing; copies only what is not so laid out."""
    batch, length, width = x_BLE.shape
    stride = x_BLE.stride(1)
    if x_BLE.stride() != (length * stride, stride, 1) or stride < width:
        x_BLE, stride = x_BLE.contiguous(), width
    return x_BLE.as_strided((max((batch * length - 1) * stride + width, 0),), (1,)), stride


class _CausalConvolution(Function):
    @staticmethod
    def forward(ctx: Any, x_BLE: Tensor, weight_EK: Tensor, bias_E: Tensor) -> Tensor:
        y_BLE = x_BLE.new_empty(x_BLE.shape)
        layer, shape = _CausalConvolution._layer(x_BLE, weight_EK, bias_E)
        share_out(_convolve, _tasks(shape), layer, flat(y_BLE), shape)
        ctx.save_for_backward(x_BLE, weight_EK, bias_E)
        return y_BLE

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BLE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_BLE, weight_EK, bias_E = ctx.saved_tensors
        layer, shape = _CausalConvolution._layer(x_BLE, weight_EK, bias_E)
        g_x = x_BLE.new_empty(x_BLE.shape)
        g_weight = x_BLE.new_zeros(shape.batch, shape.taps, shape.width)
        g_bias = x_BLE.new_zeros(shape.batch, shape.width)
        gradients = _Gradients(flat(g_x), flat(g_weight), flat(g_bias))
        share_out(_convolve_back, _tasks(shape), layer, flat(g_BLE.contiguous()), gradients, shape)
        return g_x, g_weight.sum(0).T, g_bias.sum(0)

    @staticmethod
    def _layer(x_BLE: Tensor, weight_EK: Tensor, bias_E: Tensor) -> tuple[_Layer, _Shape]:
        rows, stride = _rows(x_BLE)
        layer = _Layer(flat(rows), flat(weight_EK.T.contiguous()), flat(bias_E.contiguous()))
        batch, length, width = x_BLE.shape
        return layer, _Shape(batch, length, width, weight_EK.shape[1], stride)


def _tasks(shape: _Shape) -> int:
    return shape.batch * math.ceil(shape.width / (_GROUPS * LANES))


def causal_convolution(x_BLE: Tensor, weight_EK: Tensor, bias_E: Tensor) -> Tensor:
    """Return SiLU of each channel's causal convolution: token t sees tokens t - K + 1 to t, zeros before the first.

    x (B, L, E), weight (E, K) with the newest token's factor last, bias (E) give (B, L, E), differentiable once in
    all three. Compiled kernels serve float32 on the CPU when E is a multiple of 16, `torch.nn.functional.conv1d`
    everything else. Raises `ShapeError` when the shapes disagree. Source: the conv1d of Mamba (arXiv 2312.00752).

    >>> import torch
    >>> weight_EK = torch.tensor([[0.0, 1.0]]).repeat(16, 1)
    >>> x_BLE = torch.full((1, 3, 16), 2.0)
    >>> bool(torch.allclose(causal_convolution(x_BLE, weight_EK, torch.zeros(16)), F.silu(x_BLE)))
    True
    """
    if x_BLE.ndim != 3 or weight_EK.ndim != 2 or not x_BLE.shape[2] == len(weight_EK) == bias_E.numel():
        raise ShapeError(
            "causal_convolution needs x (B, L, E), weight (E, K) and bias (E), "
            f"but got {tuple(x_BLE.shape)}, {tuple(weight_EK.shape)} and {tuple(bias_E.shape)}."
        )
    if runs_kernels(x_BLE, weight_EK, bias_E) and x_BLE.shape[2] % LANES == 0:
        convolved: Tensor = _CausalConvolution.apply(x_BLE, weight_EK, bias_E)  # type: ignore[no-untyped-call]
        return convolved
    taps, width = weight_EK.shape[1], len(weight_EK)
    x_BEL = F.pad(x_BLE.transpose(1, 2), (taps - 1, 0))
    return F.silu(F.conv1d(x_BEL, weight_EK[:, None], bias_E, groups=width)).transpose(1, 2)
