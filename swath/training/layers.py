"""The layers of a network in order: for learning rates that fall with depth, for recomputing and for sharding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import nn

from swath.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swath.models.base import Model

_LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
_HEAD = re.compile(r"(^|_)heads?$")
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
"""Modules that normalise; those of the first kind keep statistics."""


@runtime_checkable
class HasLayerGroups(Protocol):
    """A model that says itself what its layers are."""

    def layer_groups(self) -> Sequence[Sequence[str]]:
        """Return for each layer, from the input on, the parts of the network in it by name (`encoder.blocks.0`)."""
        ...


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Return the parts of a network that come one after the other, by name: blocks, stems and heads.

    Lists of modules are opened, down to blocks; what is not a list is opened only where it holds such lists and is not
    itself an element of one.

    >>> block = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> list(layers_of(nn.Sequential(nn.Linear(2, 2), nn.ModuleList([block(), block()]))))
    ['0', '1.0', '1.1']
    """
    found: dict[str, nn.Module] = {}
    for name, child in network.named_children():
        _collect(name, child, found, opened=not isinstance(child, _LISTS) and _holds_blocks(child))
    return found or {"": network}


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Return the layers that consist of several modules, each of which is called as one."""
    return [layer for name, layer in layers_of(network).items() if name and any(True for _ in layer.children())]


def layer_scales(model: Model, decay: float = 1.0, *, head_rate: float = 1.0) -> dict[str, float]:
    """Return for each parameter of a model what its layer's learning rate is, in terms of the recipe's.

    That of the head (`head_parts`) is multiplied by `head_rate`, whatever the decay. Layer l of L has decay^(L - 1 - l)
    (Clark et al. 2020; Bao et al. 2022). Layers are those that the model declares (`layer_groups`), or those of
    `layers_of`; a norm by itself belongs to the layer before it. Parameters that are in no layer, such as tables of
    positions, belong to the first one; where the model declares its layers, to one after the last.
    """
    names = [name for name, _ in model.named_parameters()]
    groups = _layer_groups(model)
    rest = len(groups) if isinstance(model, HasLayerGroups) else 0
    depths = {name: _depth(name.removeprefix("network."), groups, rest) for name in names}
    last = max(depths.values(), default=0)
    head = head_parts(model) if head_rate != 1 else ()
    return {
        name: decay ** (last - depth) * (head_rate if is_within(name.removeprefix("network."), head) else 1.0)
        for name, depth in depths.items()
    }


def head_parts(model: Model) -> tuple[str, ...]:
    """Return the parts of a network that are its head, by name: those called so, or else its last layer.

    A head is what stands at the top of the network under a name such as `head` or `auxiliary_head`.

    >>> from swath.models.classify.resnet import resnet18
    >>> import torch
    >>> with torch.device("meta"):
    ...     head_parts(resnet18(classes=("land", "water")))
    ('fc',)
    """
    called = tuple(name for name, _ in model.network.named_children() if _HEAD.search(name))
    return called or _layer_groups(model)[-1]


def is_within(name: str, parts: Iterable[str]) -> bool:
    """Whether a dotted name is one of the parts or lies below one.

    The part without a name is the whole.

    >>> is_within("encoder.blocks.0.weight", ["encoder.blocks"]), is_within("encoder2.weight", ["encoder"])
    (True, False)
    """
    return any(not part or name == part or name.startswith(part + ".") for part in parts)


def check_names(network: nn.Module, parts: Iterable[str], setting: str) -> None:
    """Raise `ConfigurationError` for a part that the network has not got."""
    known = [name for name, _ in network.named_parameters()]
    for part in parts:
        if not any(is_within(name, [part]) for name in known):
            heads = ", ".join(dict.fromkeys(name.partition(".")[0] for name in known))
            raise ConfigurationError(
                f"recipe: '{setting}' names '{part}', and no weight of the network lies there; its parts are {heads}."
            )


def _layer_groups(model: Model) -> list[tuple[str, ...]]:
    """Return the parts of each layer as the model declares them, or as they are found."""
    if not isinstance(model, HasLayerGroups):
        return _found_groups(model.network)
    groups = [tuple(group) for group in model.layer_groups()]
    check_names(model.network, [name for group in groups for name in group], "layer_groups")
    return groups


def _found_groups(network: nn.Module) -> list[tuple[str, ...]]:
    groups: list[tuple[str, ...]] = []
    for name, layer in layers_of(network).items():
        if isinstance(layer, NORMS) and groups:
            groups[-1] = (*groups[-1], name)
        else:
            groups.append((name,))
    return groups


def _depth(name: str, groups: list[tuple[str, ...]], rest: int) -> int:
    return next((number for number, group in enumerate(groups) if is_within(name, group)), rest)


def _collect(name: str, module: nn.Module, found: dict[str, nn.Module], *, opened: bool) -> None:
    if next(module.parameters(), None) is None:
        return
    if not opened and not _is_list_of_blocks(module):
        found[name] = module
        return
    for child_name, child in module.named_children():
        inside = not isinstance(module, _LISTS) and not isinstance(child, _LISTS) and _holds_blocks(child)
        _collect(f"{name}.{child_name}", child, found, opened=inside)


def _is_list_of_blocks(module: nn.Module) -> bool:
    """Whether a module is a list of more than plain layers in a row."""
    if not isinstance(module, nn.Sequential):
        return isinstance(module, _LISTS)
    return any(True for child in module.children() for _ in child.children())


def _holds_blocks(module: nn.Module) -> bool:
    return any(_is_list_of_blocks(part) for part in module.modules())
