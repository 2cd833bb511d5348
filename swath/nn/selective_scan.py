"""The selective scan, Mamba's recurrence, with compiled kernels on the CPU and the GPU.

For every channel e a state of N numbers runs through the tokens:

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t          y_t = C_t . h_t + D u_t          h before the first = 0

Shapes: B batch, L tokens, E channels, N state size. Tokens come before channels, as linear layers leave them, so a
mixer transposes nothing. Source: Mamba (arXiv 2312.00752), equations 2 and 4 with its discretisation of B.

| backend | runs on | what it is |
|---|---|---|
| `cpu` | float32 (lower precision is raised to it) in main memory | `selective_scan_cpu`: explicit SIMD, threads |
| `triton` | CUDA with Triton installed | `selective_scan_triton`: states in registers |
| `chunked` | anything, float64, `torch.export` | torch operations, about 3 sqrt(L) steps instead of L |
| `reference` | anything, float64 | the textbook loop |
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from swath.errors import ConfigurationError, ShapeError
from swath.nn.kernels import is_traced, runs_kernels

Backend = Literal["auto", "cpu", "triton", "chunked", "reference"]


def _states(state: Tensor, A_EN: Tensor, tokens: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Iterator[Tensor]:
    """Yield the state (..., E, N) after each token (u, delta (..., E) and B (..., N)), from the given state on."""
    for u, delta, B in tokens:
        state = torch.exp(delta[..., None] * A_EN) * state + (delta * u)[..., None] * B[..., None, :]
        yield state


def _read_out(state: Tensor, C: Tensor) -> Tensor:
    return (state @ C[..., None])[..., 0]


def selective_scan_reference(
    u_BLE: Tensor, delta_BLE: Tensor, A_EN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_E: Tensor
) -> Tensor:
    """Run the recurrence token by token: the definition that every other backend is tested against.

    u, delta (B, L, E), A (E, N), B, C (B, L, N), D (E) give y (B, L, E), in any floating type on any device.

    >>> u_BLE, delta_BLE = torch.tensor([[[1.0], [0.0]]]), torch.full((1, 2, 1), math.log(2))
    >>> one_BLN = torch.ones(1, 2, 1)
    >>> y_BLE = selective_scan_reference(u_BLE, delta_BLE, -torch.ones(1, 1), one_BLN, one_BLN, torch.zeros(1))
    >>> [round(y, 6) for y in y_BLE.flatten().tolist()]
    [0.693147, 0.346574]
    """
    tokens = zip(*(tensor.unbind(dim=1) for tensor in (u_BLE, delta_BLE, B_BLN)), strict=True)
    states = _states(u_BLE.new_zeros(len(u_BLE), *A_EN.shape), A_EN, tokens)
    outputs_BE = [_read_out(state_BEN, C_BN) for state_BEN, C_BN in zip(states, C_BLN.unbind(dim=1), strict=True)]
    return torch.stack(outputs_BE, dim=1) + D_E * u_BLE


def selective_scan_chunked(
    u_BLE: Tensor, delta_BLE: Tensor, A_EN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_E: Tensor
) -> Tensor:
    """Run the scan as torch operations in about 3 sqrt(L) steps; shapes as in `selective_scan_reference`.

    Tokens are cut into chunks of about sqrt(L) (K chunks of T tokens). All chunks scan at once from a zero state,
    which gives what each adds to the state at its end; those states at the chunks' borders follow one another; then
    all chunks scan at once again, each from its true first state. What a state decays to over a chunk is
    exp(A * sum of delta), never a quotient or a logarithm, so long sequences and strong decays underflow to zero as
    they should.

    >>> torch.manual_seed(0).initial_seed()
    0
    >>> u_BLE, delta_BLE, B_BLN, C_BLN = torch.rand(4, 1, 10, 3)
    >>> inputs = (u_BLE, delta_BLE, -torch.rand(3, 3), B_BLN, C_BLN, torch.ones(3))
    >>> bool(torch.allclose(selective_scan_chunked(*inputs), selective_scan_reference(*inputs)))
    True
    """
    batch, length, width = u_BLE.shape
    steps = math.isqrt(length - 1) + 1
    chunks = math.ceil(length / steps)
    extra = (0, 0, 0, steps * chunks - length)
    u_BKTE, delta_BKTE, B_BKTN, C_BKTN = (
        F.pad(tensor, extra).view(batch, chunks, steps, tensor.shape[2]) for tensor in (u_BLE, delta_BLE, B_BLN, C_BLN)
    )
    tokens = list(zip(*(tensor.unbind(dim=2) for tensor in (u_BKTE, delta_BKTE, B_BKTN)), strict=True))
    zero_BKEN = u_BLE.new_zeros(batch, chunks, *A_EN.shape)
    *_, added_BKEN = _states(zero_BKEN, A_EN, tokens)
    decay_BKEN = torch.exp(delta_BKTE.sum(dim=2)[..., None] * A_EN)
    borders_BEN = [zero_BKEN[:, 0]]
    for chunk in range(chunks - 1):
        borders_BEN.append(decay_BKEN[:, chunk] * borders_BEN[-1] + added_BKEN[:, chunk])
    states = _states(torch.stack(borders_BEN, dim=1), A_EN, tokens)
    outputs_BKE = [_read_out(state, C_BKN) for state, C_BKN in zip(states, C_BKTN.unbind(dim=2), strict=True)]
    y_BKTE = torch.stack(outputs_BKE, dim=2)
    return y_BKTE.reshape(batch, steps * chunks, width)[:, :length] + D_E * u_BLE


class _KernelScan(Function):
    """Ties the `scan_forward` and `scan_backward` of a kernel module into automatic differentiation."""

    @staticmethod
    def forward(ctx: Any, kernels: ModuleType, keep_states: bool, *inputs: Tensor) -> Tensor:
        y_BLE, states = kernels.scan_forward(*inputs, keep_states=keep_states)
        ctx.kernels = kernels
        if keep_states:
            ctx.save_for_backward(states, *inputs)
        result: Tensor = y_BLE
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BLE: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.kernels.scan_backward(g_BLE, *ctx.saved_tensors)


def _check(u_BLE: Tensor, delta_BLE: Tensor, A_EN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_E: Tensor) -> None:
    fits = u_BLE.ndim == 3 and A_EN.ndim == 2 and u_BLE.shape[1] > 0
    if fits:
        batch, length, width = u_BLE.shape
        fits = (
            delta_BLE.shape == u_BLE.shape
            and A_EN.shape[0] == width
            and B_BLN.shape == C_BLN.shape == (batch, length, A_EN.shape[1])
            and D_E.shape == (width,)
        )
    if not fits:
        found = ", ".join(str(tuple(tensor.shape)) for tensor in (u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E))
        raise ShapeError(
            "selective_scan needs u and delta (B, L, E) with L of at least 1, A (E, N), B and C (B, L, N) and D (E), "
            f"but got {found}."
        )


def _chosen(backend: Backend, u_BLE: Tensor) -> Backend:
    if backend != "auto":
        return backend
    if is_traced():
        return "chunked"
    if u_BLE.dtype == torch.float64:
        return "reference" if u_BLE.device.type == "cpu" else "chunked"
    if u_BLE.is_cuda:
        from swath.nn import selective_scan_triton

        return "triton" if selective_scan_triton.is_available() else "chunked"
    return "cpu" if u_BLE.device.type == "cpu" else "chunked"


def _kernels(backend: Backend, u_BLE: Tensor) -> ModuleType:
    if backend == "cpu" and runs_kernels(u_BLE):
        from swath.nn import selective_scan_cpu

        return selective_scan_cpu
    if backend == "triton" and u_BLE.is_cuda:
        from swath.nn import selective_scan_triton

        if selective_scan_triton.is_available():
            return selective_scan_triton
    raise ConfigurationError(
        f"The selective scan has no backend {backend!r} for tensors on {u_BLE.device.type!r} here; use backend='auto'."
    )


def selective_scan(
    u_BLE: Tensor,
    delta_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_E: Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> Tensor:
    """Run the selective scan on the fastest backend for the tensors' device and type.

    u and the steps delta >= 0 (B, L, E), A <= 0 (E, N), B and C (B, L, N), D (E) or none give y (B, L, E) of u's
    type. Differentiable once in all inputs (`chunked` and `reference`: any number of times). Results of `cpu` and
    `triton` repeat bit for bit, whatever the number of threads; the kernels compute in float32.
    Raises `ShapeError` when shapes disagree and `ConfigurationError` when the backend asked for cannot run here.

    >>> u_BLE, delta_BLE = torch.tensor([[[1.0], [0.0]]]), torch.full((1, 2, 1), math.log(2))
    >>> one_BLN = torch.ones(1, 2, 1)
    >>> y_BLE = selective_scan(u_BLE, delta_BLE, -torch.ones(1, 1), one_BLN, one_BLN)
    >>> [round(y, 6) for y in y_BLE.flatten().tolist()]
    [0.693147, 0.346574]
    """
    D_E = u_BLE.new_zeros(u_BLE.shape[-1]) if D_E is None else D_E
    inputs = (u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E)
    _check(*inputs)
    backend = _chosen(backend, u_BLE)
    if backend == "reference":
        return selective_scan_reference(*inputs)
    if backend == "chunked":
        return selective_scan_chunked(*inputs)
    floats = [tensor.float() for tensor in inputs]
    keep_states = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in floats)
    kernels = _kernels(backend, floats[0])
    y_BLE: Tensor = _KernelScan.apply(kernels, keep_states, *floats)  # type: ignore[no-untyped-call]
    return y_BLE.to(u_BLE.dtype)
