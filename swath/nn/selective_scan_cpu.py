"""The selective scan on the CPU: 16 channels at a time, memory that does not grow with the state size.

A task is one sequence and one block of channels; the states of the block stay in the first-level cache while time
runs. Going forward, the state is kept at every `CHUNK`-th step; going backward, a chunk's states are computed again
from there. Gradients of B and C are sums over channels: each block writes its own part and the parts are added in
order, so results are the same bit for bit on any number of threads.

Layouts here: channels are padded to a multiple of 16 and A is stored as (E/16, N, 16).

>>> import torch
>>> y_BLE, states = scan_forward(
...     torch.ones(1, 2, 1), torch.ones(1, 2, 1), torch.zeros(1, 1), torch.ones(1, 2, 1), torch.ones(1, 2, 1),
...     torch.zeros(1), keep_states=False,
... )
>>> y_BLE.flatten().tolist()
[1.0, 2.0]
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from swath.geometry._compile import compiled
from swath.nn.kernels import (
    AHEAD,
    LANES,
    Array,
    exponential,
    flat,
    lane_sums,
    load,
    multiply,
    multiply_add,
    prefetch,
    share_out,
    splat,
    store,
)

CHUNK = 32
# Arrays whose addresses agree modulo a page of 1024 floats delay each other's loads and stores; keep them apart.
PAGE, APART = 1024, 144


class _Operands(NamedTuple):
    """The inputs of a scan, or their gradients."""

    u: Array
    delta: Array
    A: Array
    B: Array
    C: Array
    D: Array


class _Shape(NamedTuple):
    batch: int
    length: int
    width: int
    state: int
    # a block is this many groups of 16 channels; it depends on the shape only, because it fixes the order of sums
    groups: int


class _Block(NamedTuple):
    sequence: int
    first: int
    groups: int
    number: int


class _Sums(NamedTuple):
    A: Array
    B: Array
    C: Array
    D: Array


class _Scratch(NamedTuple):
    states: Array
    decays: Array
    g_state: Array
    sums: _Sums


@compiled
def _aligned_zeros(size: int) -> Array:
    """Make a flat array that starts on a cache line: a vector that straddles two costs twice."""
    raw = np.zeros(size + LANES, np.float32)
    start = -(raw.ctypes.data // 4) % LANES
    return raw[start : start + size]


@compiled
def _block(task: int, shape: _Shape) -> _Block:
    groups = shape.width // LANES
    blocks = (groups + shape.groups - 1) // shape.groups
    number = task % blocks
    first = number * shape.groups
    return _Block(task // blocks, first, min(shape.groups, groups - first), number)


@compiled
def _checkpoint(block: _Block, shape: _Shape, chunk: int) -> int:
    chunks = (shape.length + CHUNK - 1) // CHUNK
    return ((block.sequence * chunks + chunk) * (shape.width // LANES) + block.first) * shape.state * LANES


@compiled
def _scan_block(inputs: _Operands, y: Array, checkpoints: Array, keep: bool, block: _Block, shape: _Shape) -> None:
    states = _aligned_zeros(block.groups * shape.state * LANES)
    for t in range(shape.length):
        token = block.sequence * shape.length + t
        if keep and t % CHUNK == 0:
            base = _checkpoint(block, shape, t // CHUNK)
            for i in range(0, len(states), LANES):
                store(checkpoints, base + i, load(states, i))
        for group in range(block.groups):
            channel = (block.first + group) * LANES
            at = token * shape.width + channel
            prefetch(inputs.u, at + AHEAD * shape.width)
            prefetch(inputs.delta, at + AHEAD * shape.width)
            prefetch(y, at + AHEAD * shape.width)
            u = load(inputs.u, at)
            delta = load(inputs.delta, at)
            x = multiply(u, delta)
            total = multiply(u, load(inputs.D, channel))
            for n in range(shape.state):
                place = (group * shape.state + n) * LANES
                decay = exponential(multiply(delta, load(inputs.A, channel * shape.state + n * LANES)))
                drive = multiply(x, splat(inputs.B[token * shape.state + n]))
                state = multiply_add(decay, load(states, place), drive)
                store(states, place, state)
                total = multiply_add(splat(inputs.C[token * shape.state + n]), state, total)
            store(y, at, total)


@compiled
def _scan(start: int, stop: int, inputs: _Operands, y: Array, checkpoints: Array, keep: bool, shape: _Shape) -> None:
    for task in range(start, stop):
        _scan_block(inputs, y, checkpoints, keep, _block(task, shape), shape)


@compiled
def _slot(end: int, order: int) -> int:
    """Return the first place at or after `end` that is apart from those of the other slots."""
    return end + (order * APART - end) % PAGE


@compiled
def _scratch(block: _Block, shape: _Shape) -> _Scratch:
    size = block.groups * shape.state * LANES
    wide = (shape.state + LANES - 1) // LANES * LANES * LANES
    decays = _slot((CHUNK + 1) * size, 1)
    g_state = _slot(decays + CHUNK * size, 2)
    g_A = _slot(g_state + size, 3)
    g_B = _slot(g_A + size, 4)
    g_C = _slot(g_B + wide, 5)
    g_D = _slot(g_C + wide, 6)
    room = _aligned_zeros(g_D + block.groups * LANES)
    return _Scratch(
        room[: (CHUNK + 1) * size],
        room[decays : decays + CHUNK * size],
        room[g_state : g_state + size],
        _Sums(room[g_A : g_A + size], room[g_B : g_B + wide], room[g_C : g_C + wide], room[g_D:]),
    )


@compiled
def _recompute(
    inputs: _Operands, checkpoints: Array, scratch: _Scratch, block: _Block, shape: _Shape, chunk: int
) -> None:
    """Fill the scratch states (before step 0, after step 0, ...) and decays of one chunk."""
    size = block.groups * shape.state * LANES
    base = _checkpoint(block, shape, chunk)
    for i in range(0, size, LANES):
        store(scratch.states, i, load(checkpoints, base + i))
    for step in range(min(CHUNK, shape.length - chunk * CHUNK)):
        token = block.sequence * shape.length + chunk * CHUNK + step
        for group in range(block.groups):
            channel = (block.first + group) * LANES
            at = token * shape.width + channel
            prefetch(inputs.u, at + AHEAD * shape.width)
            prefetch(inputs.delta, at + AHEAD * shape.width)
            delta = load(inputs.delta, at)
            x = multiply(load(inputs.u, at), delta)
            for n in range(shape.state):
                place = step * size + (group * shape.state + n) * LANES
                decay = exponential(multiply(delta, load(inputs.A, channel * shape.state + n * LANES)))
                drive = multiply(x, splat(inputs.B[token * shape.state + n]))
                store(scratch.decays, place, decay)
                store(scratch.states, place + size, multiply_add(decay, load(scratch.states, place), drive))


@compiled
def _step_back(
    inputs: _Operands, g_y: Array, gradients: _Operands, scratch: _Scratch, block: _Block, shape: _Shape, t: int
) -> None:
    """Take the gradient of the states from after step t to before it, and add what it gives to the inputs'."""
    size = block.groups * shape.state * LANES
    token = block.sequence * shape.length + t
    zero = splat(0.0)
    for i in range(0, shape.state * LANES, LANES):
        store(scratch.sums.B, i, zero)
        store(scratch.sums.C, i, zero)
    for group in range(block.groups):
        channel = (block.first + group) * LANES
        at = token * shape.width + channel
        prefetch(g_y, at - AHEAD * shape.width)
        prefetch(gradients.u, at - AHEAD * shape.width)
        prefetch(gradients.delta, at - AHEAD * shape.width)
        u, delta, g_out = load(inputs.u, at), load(inputs.delta, at), load(g_y, at)
        x = multiply(u, delta)
        g_x, g_delta = zero, zero
        for n in range(shape.state):
            place = (group * shape.state + n) * LANES
            before = (t % CHUNK) * size + place
            b, c = splat(inputs.B[token * shape.state + n]), splat(inputs.C[token * shape.state + n])
            g_state = multiply_add(g_out, c, load(scratch.g_state, place))
            after = load(scratch.states, before + size)
            store(scratch.sums.C, n * LANES, multiply_add(g_out, after, load(scratch.sums.C, n * LANES)))
            store(scratch.sums.B, n * LANES, multiply_add(g_state, x, load(scratch.sums.B, n * LANES)))
            g_x = multiply_add(g_state, b, g_x)
            carried = multiply(g_state, load(scratch.decays, before))
            store(scratch.g_state, place, carried)
            g_exponent = multiply(carried, load(scratch.states, before))
            g_delta = multiply_add(g_exponent, load(inputs.A, channel * shape.state + n * LANES), g_delta)
            store(scratch.sums.A, place, multiply_add(g_exponent, delta, load(scratch.sums.A, place)))
        store(gradients.delta, at, multiply_add(g_x, u, g_delta))
        store(gradients.u, at, multiply_add(g_x, delta, multiply(g_out, load(inputs.D, channel))))
        store(scratch.sums.D, group * LANES, multiply_add(g_out, u, load(scratch.sums.D, group * LANES)))
    # B and C have their states padded to a multiple of 16 here
    wide = len(scratch.sums.B) // LANES
    part = (block.number * shape.batch * shape.length + token) * wide
    for n in range(0, wide, LANES):
        store(gradients.B, part + n, lane_sums(scratch.sums.B, n * LANES))
        store(gradients.C, part + n, lane_sums(scratch.sums.C, n * LANES))


@compiled
def _scan_back(
    start: int, stop: int, inputs: _Operands, checkpoints: Array, g_y: Array, gradients: _Operands, shape: _Shape
) -> None:
    for task in range(start, stop):
        block = _block(task, shape)
        scratch = _scratch(block, shape)
        for chunk in range((shape.length - 1) // CHUNK, -1, -1):
            _recompute(inputs, checkpoints, scratch, block, shape, chunk)
            for t in range(min((chunk + 1) * CHUNK, shape.length) - 1, chunk * CHUNK - 1, -1):
                _step_back(inputs, g_y, gradients, scratch, block, shape, t)
        channel = block.sequence * shape.width + block.first * LANES
        for i in range(0, len(scratch.sums.A), LANES):
            store(gradients.A, channel * shape.state + i, load(scratch.sums.A, i))
        for i in range(0, len(scratch.sums.D), LANES):
            store(gradients.D, channel + i, load(scratch.sums.D, i))


def _plan(u_BLE: Tensor, A_EN: Tensor) -> _Shape:
    """Choose blocks of 2 to 8 groups: wide ones save sums over lanes, narrow ones feed more threads."""
    batch, length, width = u_BLE.shape
    groups = math.ceil(width / LANES)
    limit = min(max(groups * batch // 6, 2), 8)
    even = math.ceil(groups / math.ceil(groups / limit))
    return _Shape(batch, length, groups * LANES, A_EN.shape[1], even)


def _tasks(shape: _Shape) -> int:
    return shape.batch * math.ceil(shape.width // LANES / shape.groups)


def _padded(tensor: Tensor, width: int) -> Tensor:
    extra = width - tensor.shape[-1]
    return F.pad(tensor, (0, extra)) if extra else tensor.contiguous()


def _pack(
    u_BLE: Tensor, delta_BLE: Tensor, A_EN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_E: Tensor, width: int
) -> _Operands:
    A = _padded(A_EN.T, width).view(A_EN.shape[1], -1, LANES).transpose(0, 1).contiguous()
    wide = (_padded(tensor, width) for tensor in (u_BLE, delta_BLE))
    return _Operands(*map(flat, (*wide, A, B_BLN.contiguous(), C_BLN.contiguous(), _padded(D_E, width))))


def scan_forward(
    u_BLE: Tensor,
    delta_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_E: Tensor,
    *,
    keep_states: bool,
) -> tuple[Tensor, Tensor]:
    """Scan float32 CPU tensors; returns y (B, L, E) and the states that `scan_backward` needs (or an empty tensor).

    >>> import torch
    >>> one = torch.ones(1, 3, 2)
    >>> y_BLE, _ = scan_forward(one, one, -torch.ones(2, 2), one, one, torch.ones(2), keep_states=False)
    >>> y_BLE.shape
    torch.Size([1, 3, 2])
    """
    shape = _plan(u_BLE, A_EN)
    inputs = _pack(u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E, shape.width)
    y_BLE = u_BLE.new_empty(shape.batch, shape.length, shape.width)
    kept = shape.batch * math.ceil(shape.length / CHUNK) * shape.width * shape.state
    states = u_BLE.new_empty(kept if keep_states else 0)
    share_out(_scan, _tasks(shape), inputs, flat(y_BLE), flat(states), keep_states, shape)
    return y_BLE[..., : u_BLE.shape[2]], states


def scan_backward(
    g_BLE: Tensor,
    states: Tensor,
    u_BLE: Tensor,
    delta_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_E: Tensor,
) -> tuple[Tensor, ...]:
    """Return the gradients of u, delta, A, B, C and D for the gradient g (B, L, E) of y.

    >>> import torch
    >>> one = torch.ones(1, 3, 2)
    >>> inputs = (one, one, -torch.ones(2, 2), one, one, torch.ones(2))
    >>> _, states = scan_forward(*inputs, keep_states=True)
    >>> [tuple(gradient.shape) for gradient in scan_backward(one, states, *inputs)]
    [(1, 3, 2), (1, 3, 2), (2, 2), (1, 3, 2), (1, 3, 2), (2,)]
    """
    shape = _plan(u_BLE, A_EN)
    batch, length, width, state, groups = shape
    inputs = _pack(u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E, width)
    parts = math.ceil(width // LANES / groups)
    g_u, g_delta = u_BLE.new_empty(2, batch, length, width)
    g_A, g_D = u_BLE.new_empty(batch, width // LANES, state, LANES), u_BLE.new_empty(batch, width)
    g_B, g_C = u_BLE.new_empty(2, parts, batch, length, math.ceil(state / LANES) * LANES)
    gradients = _Operands(*map(flat, (g_u, g_delta, g_A, g_B, g_C, g_D)))
    g_y = flat(_padded(g_BLE, width))
    share_out(_scan_back, _tasks(shape), inputs, flat(states), g_y, gradients, shape)
    E = u_BLE.shape[2]
    g_A_EN = g_A.sum(0).transpose(1, 2).reshape(width, state)[:E]
    return g_u[..., :E], g_delta[..., :E], g_A_EN, g_B.sum(0)[..., :state], g_C.sum(0)[..., :state], g_D.sum(0)[:E]
