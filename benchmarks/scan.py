"""The selective scan against the textbook loop."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from swath.nn.selective_scan import selective_scan, selective_scan_reference

LENGTH, WIDTH, STATE = 4096, 384, 16


def report(*, repeats: int) -> None:
    """Print the time of both for L 4096, D 384, N 16, once their results are equal."""
    generator = torch.Generator().manual_seed(0)
    u, delta = torch.randn(2, 1, LENGTH, WIDTH, generator=generator)
    delta = torch.nn.functional.softplus(delta - 2)
    A = -torch.rand(WIDTH, STATE, generator=generator) * 8
    B, C = torch.randn(2, 1, LENGTH, STATE, generator=generator)
    inputs = (u, delta, A, B, C, torch.ones(WIDTH))
    torch.testing.assert_close(selective_scan(*inputs), selective_scan_reference(*inputs), rtol=1e-4, atol=1e-4)
    textbook = _best(lambda: selective_scan_reference(*inputs), repeats)
    ours = _best(lambda: selective_scan(*inputs), 5 * repeats)
    print(f"\nSelective scan, L {LENGTH} D {WIDTH} N {STATE}; results are equal")
    print(f"  textbook loop {1000 * textbook:7.1f} ms\n  swath         {1000 * ours:7.1f} ms ({textbook / ours:.1f}x)")


def _best(job: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
