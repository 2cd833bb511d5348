"""Making a model ready for other data than its own: other classes, other image sizes, and weights to start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from swath.errors import ConfigurationError, SwathError, WeightsMismatch
from swath.models.classify.vit import VisionTransformer
from swath.models.classify.vit import start_from as start_transformer
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.published import load_tensors
from swath.models.store import StoredModel
from swath.samples.transforms import RandomResizedCrop, Resize
from swath.training.layers import layer_scales

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from torch import Tensor

    from swath.models.base import Model
    from swath.models.published import LoadReport
    from swath.models.recipe import Recipe

FIRST_LAYER_SHARE = 0.1
"""How fast the first layer of a network that is not fresh learns, against its last one."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What became of the weights that a training starts from; `fresh` are the tensors of the network without any."""

    report: LoadReport
    fresh: tuple[str, ...]

    def summary(self) -> str:
        """Say in one sentence what was loaded and what is fresh.

        >>> from swath.models.published import LoadReport
        >>> report = LoadReport(loaded=("stem",), renamed={}, missing=("head",), left_over=(), wrong_shape=())
        >>> WarmStart(report=report, fresh=("head",)).summary()
        '1 tensor taken over; 1 fresh (head)'
        """
        count = len(self.report.loaded)
        taken = f"{count} tensor{'' if count == 1 else 's'} taken over"
        if not self.fresh:
            return taken
        more = ", ..." if len(self.fresh) > 3 else ""
        return f"{taken}; {len(self.fresh)} fresh ({', '.join(self.fresh[:3])}{more})"


def with_classes(model: Model, classes: tuple[str, ...]) -> Model:
    """Return the same network, fresh, for other classes; the model itself where it has these, or tells none.

    >>> from swath.models.classify.resnet import resnet18
    >>> with torch.device("meta"):
    ...     with_classes(resnet18(classes=("land", "water")), ("a", "b", "c")).network.fc.out_features
    3
    """
    output = getattr(model.config, "output", None)
    if model.classes == classes or output is None:
        return model
    changes: dict[str, Any] = {"classes": classes}
    if isinstance(output, ClassificationOutput):
        changes["temperature"] = 1.0
    return type(model).from_config(replace(model.config, output=replace(output, **changes)))


def with_size(model: Model, size: int) -> Model:
    """Return the same network, fresh, for square images of so many pixels; the model itself where it is for these.

    Raises `ConfigurationError` for a model of several images, and what its configuration says of the size.
    """
    own = getattr(model.config, "input", None)
    if not isinstance(own, InputSpec):
        raise ConfigurationError(f"'{type(model).card().name}' takes no other image size; leave the size out.")
    if own.window == size:
        return model
    if size < own.minimum:
        raise ConfigurationError(
            f"'{type(model).card().name}' takes images of at least {own.minimum} pixels a side; found the size {size}."
        )
    fitted = replace(own, window=size, overlap=min(own.overlap, size // 4))
    return type(model).from_config(replace(model.config, input=fitted))


def recipe_for_size(recipe: Recipe, size: int) -> Recipe:
    """Return a recipe whose transforms that resize whole images, or crops of them, make `size` pixels of them.

    >>> from swath.models.recipe import Recipe
    >>> from swath.samples.transforms import RandomFlip
    >>> crop = Recipe(epochs=1, batch_size=1, learning_rate=1, transforms=(RandomResizedCrop(224), RandomFlip()))
    >>> recipe_for_size(crop, 96).transforms[0].size
    96
    """
    transforms = tuple(
        replace(each, size=size) if isinstance(each, (RandomResizedCrop, Resize)) else each
        for each in recipe.transforms
    )
    return replace(recipe, transforms=transforms)


def recipe_for_count(recipe: Recipe, samples: int) -> Recipe:
    """Return a recipe none of whose steps sees more samples than there are, in batches of two at least.

    >>> from swath.models.recipe import Recipe
    >>> small = recipe_for_count(Recipe(epochs=1, batch_size=32, learning_rate=1, accumulate=32), 80)
    >>> small.batch_size, small.accumulate
    (32, 3)
    """
    batch = min(recipe.batch_size, max(samples, 2))
    return replace(recipe, batch_size=batch, accumulate=min(recipe.accumulate, max(1, -(-samples // batch))))


def start_from(model: Model, source: StoredModel | Mapping[str, Tensor], *, origin: str) -> WarmStart:
    """Give a network the weights of another training of it, or published ones; a head for other classes stays fresh.

    `source` is a saved model of the same class, or the tensors of a file under our own or their published names. The
    head is what changes with the number of classes: it is taken over where the classes are the same in the same order,
    and from a file where its shape fits. Raises `WeightsMismatch` where anything else is missing or of another shape;
    the model then keeps the weights it had.
    """
    own, head = model.network.state_dict(), head_of(model)
    if isinstance(source, StoredModel):
        if type(source.model) is not type(model):
            raise WeightsMismatch(
                f"{origin} is a {type(source.model).__name__} and the model to train a {type(model).__name__}; "
                "give weights of the same network."
            )
        published: Mapping[str, Tensor] = source.model.network.state_dict()
        remapped = dict(published)
        if source.model.classes != model.classes:
            remapped = {name: value for name, value in remapped.items() if name not in head}
    else:
        published = source
        ours = own.keys() - head <= published.keys()
        if isinstance(model, VisionTransformer) and not ours:
            return _warm(start_transformer(model, published))
        remapped = dict(published) if ours else type(model).remap_state_dict(published)
    fitting = {n: v for n, v in remapped.items() if n not in head or n not in own or v.shape == own[n].shape}
    wrong = [name for name, value in fitting.items() if name in own and own[name].shape != value.shape]
    missing = [name for name in own if name not in fitting and name not in head]
    if missing or wrong:
        raise WeightsMismatch(
            f"{origin} does not hold the weights of {type(model).__name__} in this configuration: {_few(missing)} "
            f"missing, {_few(wrong)} of another shape; give weights of the same network, size and bands."
        )
    return _warm(load_tensors(model, published, fitting, strict=False, origin=origin))


def head_of(model: Model) -> frozenset[str]:
    """Return the names of the tensors whose shape depends on how many classes there are.

    >>> from swath.models.classify.resnet import resnet18
    >>> sorted(head_of(resnet18(classes=("land", "water"))))
    ['fc.bias', 'fc.weight']
    """
    with torch.device("meta"):
        try:
            twin = with_classes(model, (*model.classes, "one more"))
        except SwathError:
            # A network that tells exactly two classes by one channel has no other head.
            return frozenset()
    shapes = {name: value.shape for name, value in twin.network.state_dict().items()}
    own = model.network.state_dict()
    return frozenset(name for name, value in own.items() if shapes.get(name) != value.shape)


def recipe_from_weights(recipe: Recipe, model: Model) -> Recipe:
    """Return a recipe under which early layers, which know most already, learn slower: the first at a tenth.

    A recipe that says so itself (`layer_decay`) stays as it is.
    """
    if recipe.layer_decay != 1:
        return recipe
    # Half a rate a layer tells how many layers there are.
    slowest = min(layer_scales(model, decay=0.5).values(), default=1.0)
    if slowest == 1:
        return recipe
    steps = torch.log2(torch.tensor(1 / slowest, dtype=torch.float64)).item()
    return replace(recipe, layer_decay=FIRST_LAYER_SHARE ** (1 / steps))


def _warm(report: LoadReport) -> WarmStart:
    return WarmStart(report=report, fresh=(*report.missing, *(wrong.name for wrong in report.wrong_shape)))


def _few(names: list[str]) -> str:
    return f"{len(names)} tensors ({', '.join(names[:3])})" if names else "none"
