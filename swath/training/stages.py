"""What is frozen in which stage of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from swath.errors import ConfigurationError
from swath.training.layers import check_names, is_within

if TYPE_CHECKING:
    from swath.models.base import Model
    from swath.models.recipe import Recipe, Stage


class Freezer:
    """Freezes and thaws the weights of a model from stage to stage; weights that were frozen before stay so.

    Raises `ConfigurationError` for a stage that freezes what is not there, or everything.

    >>> from swath.models.shipped import landuse
    >>> from swath.models.recipe import Recipe, Stage
    >>> model = landuse()
    >>> stage = Stage(epochs=1, frozen=("backbone",))
    >>> Freezer(model, Recipe(epochs=1, batch_size=1, learning_rate=0.1, stages=(stage,))).enter(stage)
    >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    ['network.head.weight', 'network.head.bias']
    """

    def __init__(self, model: Model, recipe: Recipe) -> None:
        self.model = model
        self._trainable = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
        self._frozen: tuple[str, ...] = ()
        for stage in recipe.stages:
            check_names(model.network, stage.frozen, "stages")
            if all(is_within(name, stage.frozen) for name in self._trainable):
                raise ConfigurationError(
                    f"recipe: a stage freezes all trainable weights ({', '.join(stage.frozen)}); leave some to learn."
                )

    def enter(self, stage: Stage) -> None:
        """Freeze what the stage names and thaw the rest."""
        self._frozen = stage.frozen
        for name, parameter in self._trainable.items():
            parameter.requires_grad_(not is_within(name, stage.frozen))

    def thaw(self) -> None:
        """Leave all weights as they were found."""
        self._frozen = ()
        for parameter in self._trainable.values():
            parameter.requires_grad_(True)

    def train(self) -> None:
        """Put the model into training mode, but for frozen norms, whose statistics stay."""
        self.model.train()
        for name, module in self.model.network.named_modules():
            if isinstance(module, nn.modules.batchnorm._NormBase) and is_within(name, self._frozen):
                module.eval()
