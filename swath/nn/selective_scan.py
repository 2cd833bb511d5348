"""Selective scan, the recurrence of Mamba."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 32
LANES = 16


def selective_scan_reference(
    u_BLE: Tensor, delta_BLE: Tensor, A_EN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_E: Tensor | None = None
) -> Tensor:
    """Run the recurrence step by step."""
    state_BEN = u_BLE.new_zeros(u_BLE.shape[0], *A_EN.shape)
    outputs = []
    for t in range(u_BLE.shape[1]):
        delta_BE1 = delta_BLE[:, t, :, None]
        decay_BEN = torch.exp(delta_BE1 * A_EN)
        state_BEN = decay_BEN * state_BEN + (delta_BE1 * u_BLE[:, t, :, None]) * B_BLN[:, t, None, :]
        outputs.append(torch.einsum("ben,bn->be", state_BEN, C_BLN[:, t]))
    y_BLE = torch.stack(outputs, dim=1)
    return y_BLE if D_E is None else y_BLE + D_E * u_BLE


def _pad(tensor: Tensor, extra: int) -> Tensor:
    return torch.nn.functional.pad(tensor, (0, extra)) if extra else tensor.contiguous()


def _flat(*tensors: Tensor):
    return tuple(tensor.detach().contiguous().view(-1).numpy() for tensor in tensors)


class _NumbaScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, keep):
        from swath.nn import selective_scan_cpu as kernels

        batch, length, width = u.shape
        n = A.shape[1]
        extra = -width % LANES
        padded = width + extra
        vectors = padded // LANES
        u, delta, D = _pad(u, extra), _pad(delta, extra), _pad(D, extra)
        A = torch.nn.functional.pad(A, (0, 0, 0, extra)).view(vectors, LANES, n).transpose(1, 2).contiguous()
        B, C = B.contiguous(), C.contiguous()
        limit = min(max(vectors * batch // 6, 2), 8)
        blocks = -(-vectors // limit)
        per_block = -(-vectors // blocks)
        y = torch.empty_like(u)
        states = u.new_empty(batch * -(-length // CHUNK) * padded * n if keep else 0)
        kernels.forward(*_flat(u, delta, A, B, C, D, y, states), batch, length, padded, n, CHUNK, per_block, keep)
        if keep:
            ctx.save_for_backward(u, delta, A, B, C, D, states)
            ctx.sizes = (batch, length, width, padded, n, per_block)
        return y[..., :width]

    @staticmethod
    @once_differentiable
    def backward(ctx, gy):
        from swath.nn import selective_scan_cpu as kernels

        u, delta, A, B, C, D, states = ctx.saved_tensors
        batch, length, width, padded, n, per_block = ctx.sizes
        vectors = padded // LANES
        blocks = -(-vectors // per_block)
        gy = _pad(gy, padded - width)
        gu, gdelta = torch.empty_like(u), torch.empty_like(u)
        gA, gD = u.new_empty(batch, vectors, n, LANES), u.new_empty(batch, padded)
        gB, gC = u.new_empty(blocks, batch, length, n), u.new_empty(blocks, batch, length, n)
        kernels.backward(
            *_flat(u, delta, A, B, C, D, gy, states, gu, gdelta, gA, gB, gC, gD),
            batch, length, padded, n, CHUNK, per_block,
        )
        gA = gA.sum(0).transpose(1, 2).reshape(padded, n)[:width]
        return gu[..., :width], gdelta[..., :width], gA, gB.sum(0), gC.sum(0), gD.sum(0)[:width], None


def selective_scan(
    u_BLE: Tensor,
    delta_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_E: Tensor | None = None,
    *,
    backend: str = "auto",
) -> Tensor:
    """Run the selective scan."""
    if D_E is None:
        D_E = u_BLE.new_zeros(u_BLE.shape[2])
    if backend == "reference" or u_BLE.dtype != torch.float32 or u_BLE.device.type != "cpu" or torch.compiler.is_compiling():
        return selective_scan_reference(u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E)
    inputs = (u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, D_E)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    return _NumbaScan.apply(*inputs, keep)
