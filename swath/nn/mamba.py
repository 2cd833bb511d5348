"""The Mamba mixer (S6): projection, causal convolution, selective scan, gate.

Source: Mamba (arXiv 2312.00752), figure 3; tensor names are those of published `mamba_ssm` checkpoints. The starting
values are the ones that RSMamba trains from: A = -1 ... -N in every channel, D = 1, every layer at torch's default
(`mamba_ssm` itself starts the bias of `dt_proj` at steps between 0.001 and 0.1; RSMamba does not).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.errors import ConfigurationError
from swath.nn.causal_convolution import causal_convolution
from swath.nn.selective_scan import Backend, selective_scan


class MambaMixer(nn.Module):
    """Mix a sequence causally: x (B, L, d) to (B, L, d), where token t depends on tokens 0 to t.

    `width` d, `inner_width` E (2 d unless given), `state_size` N, `dt_rank` (ceil(d / 16) unless given),
    `kernel_size` of the causal convolution; `backend` as in `selective_scan`.
    Raises `ConfigurationError` for a size below 1. Source: the mixer section of RSMamba (arXiv 2403.19654).

    >>> mixer = MambaMixer(width=192)
    >>> mixer(torch.zeros(2, 5, 192)).shape
    torch.Size([2, 5, 192])
    >>> [name for name, _ in mixer.named_parameters()][:4]
    ['A_log', 'D', 'in_proj.weight', 'conv1d.weight']
    """

    def __init__(
        self,
        *,
        width: int,
        inner_width: int | None = None,
        state_size: int = 16,
        dt_rank: int | None = None,
        kernel_size: int = 4,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        inner_width = 2 * width if inner_width is None else inner_width
        dt_rank = math.ceil(width / 16) if dt_rank is None else dt_rank
        sizes = {
            "width": width,
            "inner_width": inner_width,
            "state_size": state_size,
            "dt_rank": dt_rank,
            "kernel_size": kernel_size,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ConfigurationError(f"A Mamba mixer needs a {name} of at least 1, but got {size}.")
        self.backend: Backend = backend
        self.splits = (dt_rank, state_size, state_size)
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(inner_width, 1))
        self.D = nn.Parameter(torch.ones(inner_width))
        self.in_proj = nn.Linear(width, 2 * inner_width, bias=False)
        # only holds weight and bias under their published names; `causal_convolution` does the work
        self.conv1d = nn.Conv1d(inner_width, inner_width, kernel_size, groups=inner_width)
        self.x_proj = nn.Linear(inner_width, sum(self.splits), bias=False)
        self.dt_proj = nn.Linear(dt_rank, inner_width)
        self.out_proj = nn.Linear(inner_width, width, bias=False)

    def forward(self, x_BLd: Tensor) -> Tensor:
        """Mix tokens x (B, L, d); returns (B, L, d).

        >>> mixer = MambaMixer(width=16, state_size=4)
        >>> x_BLd = torch.randn(1, 6, 16)
        >>> bool(torch.allclose(mixer(x_BLd)[:, :3], mixer(x_BLd[:, :3]), atol=1e-6))
        True
        """
        u_BLE, gate_BLE = self.project_in(x_BLd)
        return self.project_out(self.mix(u_BLE) * gate_BLE)

    def project_in(self, x_BLd: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is mixed and the gate after its activation, both (B, L, E); tokens do not meet here.

        Whoever mixes one sequence in several orders projects and gates it once, and only reorders what `mix` takes.
        """
        u_BLE, gate_BLE = self.in_proj(x_BLd).chunk(2, dim=-1)
        return u_BLE, F.silu(gate_BLE)

    def mix(self, u_BLE: Tensor) -> Tensor:
        """Run the causal convolution and the scan over u (B, L, E), the only steps where tokens meet."""
        assert self.conv1d.bias is not None  # for the type checker: Conv1d's bias may be absent, this one's is not
        u_BLE = causal_convolution(u_BLE, self.conv1d.weight[:, 0], self.conv1d.bias)
        step_BLr, B_BLN, C_BLN = self.x_proj(u_BLE).split(self.splits, dim=-1)
        delta_BLE = F.softplus(self.dt_proj(step_BLr))
        A_EN = -torch.exp(self.A_log)
        return selective_scan(u_BLE, delta_BLE, A_EN, B_BLN, C_BLN, self.D, backend=self.backend)

    def project_out(self, y_BLE: Tensor) -> Tensor:
        """Return gated results (..., E) to the width of the tokens (..., d)."""
        mixed: Tensor = self.out_proj(y_BLE)
        return mixed
