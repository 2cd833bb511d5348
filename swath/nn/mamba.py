"""The Mamba mixer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.nn.selective_scan import selective_scan


class MambaMixer(nn.Module):
    """Mamba mixer (S6), x (B, L, d) to (B, L, d)."""

    def __init__(
        self,
        *,
        width: int,
        inner_width: int | None = None,
        state_size: int = 16,
        dt_rank: int | None = None,
        kernel_size: int = 4,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.width = width
        self.inner_width = inner_width or 2 * width
        self.state_size = state_size
        self.dt_rank = dt_rank or math.ceil(width / 16)
        self.kernel_size = kernel_size
        self.backend = backend
        inner = self.inner_width
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel_size, groups=inner, padding=kernel_size - 1)
        self.x_proj = nn.Linear(inner, self.dt_rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x_BLd: Tensor) -> Tensor:
        """Mix a batch of token sequences."""
        u_BLE, gate_BLE = self.in_proj(x_BLd).chunk(2, dim=-1)
        u_BLE = F.silu(self._causal_convolution(u_BLE))
        step_BLr, B_BLN, C_BLN = self.x_proj(u_BLE).split(
            (self.dt_rank, self.state_size, self.state_size), dim=-1
        )
        delta_BLE = F.softplus(self.dt_proj(step_BLr))
        y_BLE = selective_scan(
            u_BLE, delta_BLE, -torch.exp(self.A_log), B_BLN, C_BLN, self.D, backend=self.backend
        )
        return self.out_proj(y_BLE * F.silu(gate_BLE))

    def _causal_convolution(self, u_BLE: Tensor) -> Tensor:
        padded = F.pad(u_BLE, (0, 0, self.kernel_size - 1, 0))
        length = u_BLE.shape[1]
        out = self.conv1d.bias
        for k in range(self.kernel_size):
            out = out + padded[:, k : k + length] * self.conv1d.weight[:, 0, k]
        return out
