"""Means that change how a network computes but not what: recomputing blocks, and compiling."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from swath.errors import ConfigurationError
from swath.training.layers import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from swath.models.recipe import Recipe


@contextmanager
def switched(network: nn.Module, recipe: Recipe) -> Iterator[None]:
    """Let a network recompute its blocks or be compiled for a while, as the recipe says.

    Raises `ConfigurationError` for recomputing where there are no blocks.
    """
    with ExitStack() as stack:
        if recipe.gradient_checkpointing:
            blocks = blocks_of(network)
            if not blocks:
                raise ConfigurationError(
                    f"recipe: 'gradient_checkpointing' computes blocks anew, and {type(network).__name__} is not made "
                    "of blocks; set it to False."
                )
            for block in blocks:
                stack.enter_context(_replaced(block, recomputed(block)))
        if recipe.compile:
            stack.enter_context(_replaced(network, torch.compile(network.forward)))
        yield


def recomputed(block: nn.Module) -> Callable[..., Any]:
    """Return a module's computation such that it forgets what lies on the way and finds it again for the gradient.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". Dropout repeats its draws, and batch norms count
    a batch once.
    """
    forward = block.forward
    norms = [part for part in block.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]

    def with_recomputing(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        return checkpoint(
            forward,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _statistics_kept(norms)),
            **options,
        )

    return with_recomputing


@contextmanager
def _statistics_kept(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Lend norms copies of their statistics, so that the second look at a batch leaves no trace."""
    kept: list[tuple[nn.Module, str, Tensor]] = [
        (norm, name, value) for norm in norms for name, value in norm.named_buffers(recurse=False)
    ]
    for norm, name, value in kept:
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, name, value in kept:
            setattr(norm, name, value)


@contextmanager
def _replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module compute by another function; names of tensors and hooks stay what they are."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
