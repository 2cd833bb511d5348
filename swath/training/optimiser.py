"""The optimiser with its groups: which weights decay, which are spared, and how fast each learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from swath.errors import TrainingError
from swath.training.layers import NORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from swath.models.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class DecayGroups:
    """The trainable parameters by name: those that weight decay shrinks, and those it spares."""

    decayed: dict[str, Tensor]
    spared: dict[str, Tensor]

    @property
    def parameters(self) -> dict[str, Tensor]:
        """All of them by name."""
        return self.decayed | self.spared

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the decayed ones first."""
        return tuple(self.parameters)

    def names_in(self, optimiser: torch.optim.Optimizer) -> tuple[str, ...]:
        """All names, in the order in which an optimiser numbers its parameters."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        return tuple(names[id(parameter)] for group in optimiser.param_groups for parameter in group["params"])


def decay_groups(module: nn.Module, *, decay_everything: bool = False) -> DecayGroups:
    """Sort the trainable parameters of a module; norms, biases and other vectors are spared from decay.

    >>> groups = decay_groups(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))
    >>> list(groups.decayed), list(groups.spared)
    (['0.weight'], ['0.bias', '1.weight', '1.bias'])
    """
    of_norms = {
        id(parameter) for part in module.modules() if isinstance(part, NORMS) for parameter in part.parameters()
    }
    decayed: dict[str, Tensor] = {}
    spared: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim > 1 and id(parameter) not in of_norms and not name.endswith("bias")
        (decayed if plain or decay_everything else spared)[name] = parameter
    return DecayGroups(decayed=decayed, spared=spared)


def build_optimiser(
    groups: DecayGroups, recipe: Recipe, scales: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over the groups: AdamW (decoupled weight decay; Loshchilov and Hutter 2019),
    Adam, or SGD with momentum.

    `scales` are factors of the learning rate by parameter name, as `layer_scales` gives them. Raises `TrainingError`
    when nothing is trainable.

    >>> from swath.models.recipe import Recipe
    >>> recipe = Recipe(epochs=1, batch_size=1, learning_rate=0.1, weight_decay=0.05)
    >>> [g["weight_decay"] for g in build_optimiser(decay_groups(nn.Linear(2, 2)), recipe).param_groups]
    [0.05, 0.0]
    """
    if not groups.names:
        raise TrainingError("the model has no trainable weights: all of them are frozen; set requires_grad on some.")
    alike: dict[tuple[float, float], list[Tensor]] = {}
    for part, decay in ((groups.decayed, recipe.weight_decay), (groups.spared, 0.0)):
        for name, parameter in part.items():
            alike.setdefault((decay, scales[name] if scales else 1.0), []).append(parameter)
    parts = [
        {"params": parameters, "weight_decay": decay, "scale": scale} for (decay, scale), parameters in alike.items()
    ]
    rate = recipe.learning_rate
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parts, lr=rate, momentum=recipe.momentum, fused=True)
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(parts, lr=rate, betas=recipe.betas, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Give every group the learning rate, times its own scale."""
    for group in optimiser.param_groups:
        group["lr"] = value * group["scale"]


def optimiser_tensors(optimiser: torch.optim.Optimizer, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the optimiser's state as `quantity/parameter name` -> tensor; `names` are in its own order."""
    state = optimiser.state_dict()["state"]
    return {f"{quantity}/{names[number]}": value for number, kept in state.items() for quantity, value in kept.items()}


def load_optimiser_tensors(
    optimiser: torch.optim.Optimizer, names: tuple[str, ...], tensors: dict[str, Tensor]
) -> None:
    """Put back what `optimiser_tensors` returned, in the memory layout of each parameter."""
    places = {name: number for number, name in enumerate(names)}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        quantity, _, name = key.partition("/")
        parameter = parameters[places[name]]
        if value.shape == parameter.shape and quantity != "step":
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(places[name], {})[quantity] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
