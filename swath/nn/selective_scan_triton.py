"""The selective scan on a GPU as two Triton kernels; importing this module without Triton is harmless.

A program takes one sequence and a block of channels through time with the states in registers, so nothing of size
L x E x N is ever stored. Going backward it computes a chunk's states again from the state kept at the chunk's start
and parks them in a small buffer of its own. Each program writes its own part of the gradients of B and C, and the
parts are added in order: no atomic additions, so a run repeats bit for bit.

>>> isinstance(is_available(), bool)
True
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

CHUNK = 32
_CHANNELS = 16
# 16 channels x 16 states are 8 values a thread of one warp: states never leave registers, reductions stay in the warp
_WARPS = 1


def is_available() -> bool:
    """Say whether Triton can be imported.

    >>> is_available() == (triton is not None)
    True
    """
    return triton is not None


def _forward(  # type: ignore[no-untyped-def]  # Triton refuses annotations that it does not know
    u,
    delta,
    A,
    B,
    C,
    D,
    y,
    checkpoints,
    length,
    width,
    state_size,
    KEEP: tl.constexpr,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
):
    sequence = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, STATES)
    inside = channel < width
    inside_n = n < state_size
    inside_2d = inside[:, None] & inside_n[None, :]
    plane = channel[:, None] * state_size + n[None, :]
    a = tl.load(A + plane, mask=inside_2d, other=0.0)
    d = tl.load(D + channel, mask=inside, other=0.0)
    state = tl.zeros([CHANNELS, STATES], dtype=tl.float32)
    chunks = (length + CHUNK - 1) // CHUNK
    for t in range(length):
        if KEEP and t % CHUNK == 0:
            base = (sequence * chunks + t // CHUNK) * width * state_size
            tl.store(checkpoints + base + plane, state, mask=inside_2d)
        token = sequence * length + t
        u_t = tl.load(u + token * width + channel, mask=inside, other=0.0)
        delta_t = tl.load(delta + token * width + channel, mask=inside, other=0.0)
        b = tl.load(B + token * state_size + n, mask=inside_n, other=0.0)
        c = tl.load(C + token * state_size + n, mask=inside_n, other=0.0)
        state = tl.exp(delta_t[:, None] * a) * state + (delta_t * u_t)[:, None] * b[None, :]
        tl.store(y + token * width + channel, tl.sum(state * c[None, :], axis=1) + d * u_t, mask=inside)


def _backward(  # type: ignore[no-untyped-def]
    u,
    delta,
    A,
    B,
    C,
    D,
    g_y,
    checkpoints,
    parked,
    g_u,
    g_delta,
    g_A,
    g_B,
    g_C,
    g_D,
    batch,
    length,
    width,
    state_size,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
):
    sequence = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    channel = block * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, STATES)
    inside = channel < width
    inside_n = n < state_size
    inside_2d = inside[:, None] & inside_n[None, :]
    plane = channel[:, None] * state_size + n[None, :]
    a = tl.load(A + plane, mask=inside_2d, other=0.0)
    d = tl.load(D + channel, mask=inside, other=0.0)
    part = block.to(tl.int64) * batch * length * state_size
    local = tl.arange(0, CHANNELS)[:, None] * STATES + n[None, :]
    park = parked + (sequence * tl.num_programs(1) + block) * CHUNK * CHANNELS * STATES + local
    chunks = (length + CHUNK - 1) // CHUNK
    g_state = tl.zeros([CHANNELS, STATES], dtype=tl.float32)
    sum_A = tl.zeros([CHANNELS, STATES], dtype=tl.float32)
    sum_D = tl.zeros([CHANNELS], dtype=tl.float32)
    for done in range(chunks):
        chunk = chunks - 1 - done
        start = chunk * CHUNK
        steps = tl.minimum(CHUNK, length - start)
        kept = checkpoints + (sequence * chunks + chunk) * width * state_size
        state = tl.load(kept + plane, mask=inside_2d, other=0.0)
        for step in range(steps):
            tl.store(park + step * CHANNELS * STATES, state)
            token = sequence * length + start + step
            u_t = tl.load(u + token * width + channel, mask=inside, other=0.0)
            delta_t = tl.load(delta + token * width + channel, mask=inside, other=0.0)
            b = tl.load(B + token * state_size + n, mask=inside_n, other=0.0)
            state = tl.exp(delta_t[:, None] * a) * state + (delta_t * u_t)[:, None] * b[None, :]
        tl.debug_barrier()
        for gone in range(steps):
            step = steps - 1 - gone
            token = sequence * length + start + step
            u_t = tl.load(u + token * width + channel, mask=inside, other=0.0)
            delta_t = tl.load(delta + token * width + channel, mask=inside, other=0.0)
            g_t = tl.load(g_y + token * width + channel, mask=inside, other=0.0)
            b = tl.load(B + token * state_size + n, mask=inside_n, other=0.0)
            c = tl.load(C + token * state_size + n, mask=inside_n, other=0.0)
            before = tl.load(park + step * CHANNELS * STATES)
            decay = tl.exp(delta_t[:, None] * a)
            after = decay * before + (delta_t * u_t)[:, None] * b[None, :]
            g_state += g_t[:, None] * c[None, :]
            g_B_t = tl.sum(g_state * (delta_t * u_t)[:, None], axis=0)
            g_C_t = tl.sum(g_t[:, None] * after, axis=0)
            g_x = tl.sum(g_state * b[None, :], axis=1)
            g_state = g_state * decay
            g_exponent = g_state * before
            g_delta_t = tl.sum(g_exponent * a, axis=1) + g_x * u_t
            sum_A += g_exponent * delta_t[:, None]
            sum_D += g_t * u_t
            tl.store(g_u + token * width + channel, g_x * delta_t + g_t * d, mask=inside)
            tl.store(g_delta + token * width + channel, g_delta_t, mask=inside)
            tl.store(g_B + part + token * state_size + n, g_B_t, mask=inside_n)
            tl.store(g_C + part + token * state_size + n, g_C_t, mask=inside_n)
        tl.debug_barrier()
    tl.store(g_A + sequence * width * state_size + plane, sum_A, mask=inside_2d)
    tl.store(g_D + sequence * width + channel, sum_D, mask=inside)


if is_available():
    _forward_kernel: Any = triton.jit(_forward)
    _backward_kernel: Any = triton.jit(_backward)


def _next_power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


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
    """Scan float32 GPU tensors; returns y (B, L, E) and the states that `scan_backward` needs (or an empty tensor).

    >>> scan_forward.__name__  # runs only where there is a GPU
    'scan_forward'
    """
    batch, length, width = u_BLE.shape
    state_size = A_EN.shape[1]
    y_BLE = torch.empty_like(u_BLE, memory_format=torch.contiguous_format)
    chunks = math.ceil(length / CHUNK) if keep_states else 0
    states = u_BLE.new_empty(batch, chunks, width, state_size)
    inputs = (tensor.contiguous() for tensor in (u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E))
    with torch.cuda.device(u_BLE.get_device()):  # Triton launches on the current device
        _forward_kernel[batch, math.ceil(width / _CHANNELS)](
            *inputs,
            y_BLE,
            states,
            length,
            width,
            state_size,
            KEEP=keep_states,
            CHUNK=CHUNK,
            CHANNELS=_CHANNELS,
            STATES=_next_power_of_two(state_size),
            num_warps=_WARPS,
        )
    return y_BLE, states


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

    >>> scan_backward.__name__  # runs only where there is a GPU
    'scan_backward'
    """
    batch, length, width = u_BLE.shape
    state_size = A_EN.shape[1]
    blocks = math.ceil(width / _CHANNELS)
    padded_states = _next_power_of_two(state_size)
    parked = u_BLE.new_empty(batch * blocks * CHUNK * _CHANNELS * padded_states)
    g_u, g_delta = u_BLE.new_empty(2, batch, length, width)
    g_A, g_D = u_BLE.new_empty(batch, width, state_size), u_BLE.new_empty(batch, width)
    g_B, g_C = u_BLE.new_empty(2, blocks, batch, length, state_size)
    inputs = (tensor.contiguous() for tensor in (u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E, g_BLE))
    with torch.cuda.device(u_BLE.get_device()):  # Triton launches on the current device
        _backward_kernel[batch, blocks](
            *inputs,
            states,
            parked,
            *(g_u, g_delta, g_A, g_B, g_C, g_D),
            batch,
            length,
            width,
            state_size,
            CHUNK=CHUNK,
            CHANNELS=_CHANNELS,
            STATES=padded_states,
            num_warps=_WARPS,
        )
    return g_u, g_delta, g_A.sum(0), g_B.sum(0), g_C.sum(0), g_D.sum(0)
