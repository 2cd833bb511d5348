"""Where a run is: the numbers that, with the tensors, are all it needs to go on exactly as it would have."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from swath.errors import ConfigurationError
from swath.training.log import Means, Validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swath.models.base import Model
    from swath.models.recipe import Recipe
    from swath.models.store import StoredModel

_ALWAYS_TOLD = frozenset(
    {
        "epochs",
        "batch_size",
        "learning_rate",
        "weight_decay",
        "decay_everything",
        "betas",
        "warmup_epochs",
        "warmup_start",
        "minimum_learning_rate",
        "accumulate",
        "clip_gradient_norm",
        "average",
        "precision",
        "channels_last",
        "transforms",
        "mixup",
        "cutmix",
        "mix_share",
        "teacher_share",
        "validate_every",
        "watch",
        "patience",
        "seed",
    }
)
"""Settings of the first version; later ones are told where they are set, so that runs from before them go on."""
_UNSET = object()
_SHOWN = 60
_LATER_CONFIGURATION = {"square": False, "minimum": 1}
"""Settings of a model's input that came later, as they were before: told where they say anything else."""


@dataclass(kw_only=True)
class RunState:
    """Progress of a run; `epoch` and `step` count what is finished, `step` within the epoch.

    `waited` validations have passed without improvement; `means` are of the loss terms since the last
    validation; `processes` is how many take part.
    """

    fingerprint: str
    epoch: int = 0
    step: int = 0
    stopped_early: bool = False
    best: Validation | None = None
    waited: int = 0
    history: list[Validation] = field(default_factory=list)
    means: Means = field(default_factory=Means)
    averaged: int = 0
    log_length: int = 0
    processes: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunState:
        """Read what `to_json` returned.

        >>> state = RunState(fingerprint="", means=Means(count=1, sums={"dice": 0.1}))
        >>> RunState.from_json(state.to_json()) == state
        True
        """
        best = values["best"]
        return cls(
            **{
                **values,
                "best": best and Validation(**best),
                "history": [Validation(**entry) for entry in values["history"]],
                "means": Means(**values["means"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The metric that decides which weights are best; a leading `-` in a recipe's `watch` means less is
    better.

    >>> Watch.of("-mae", {"mae": 2.0}).improves({"mae": 1.5}, {"mae": 2.0})
    True
    """

    name: str
    sign: float

    @classmethod
    def of(cls, watch: str, metrics: Mapping[str, float]) -> Watch:
        """Find the watched metric, by default the first; raise `ConfigurationError` for an unknown one."""
        name = watch.removeprefix("-") or next(iter(metrics), "")
        if name not in metrics:
            raise ConfigurationError(
                f"recipe: 'watch' is '{watch}', but the evaluation gives {', '.join(metrics) or 'nothing'}; "
                "name one of them."
            )
        return cls(name=name, sign=-1.0 if watch.startswith("-") else 1.0)

    def improves(self, metrics: Mapping[str, float], best: Mapping[str, float] | None) -> bool:
        """Whether these metrics beat the best so far; any number beats NaN, and a tie is no improvement."""
        if best is None:
            return True
        new, old = self.sign * metrics[self.name], self.sign * best[self.name]
        return not math.isnan(new) and (math.isnan(old) or new > old)

    def ranked(self, history: Sequence[Validation]) -> list[Validation]:
        """Return validations by this metric, best first; of equals the earlier one, and NaN last.

        >>> history = [Validation(epoch=e, step=e, losses={}, metrics={"f1": v}) for e, v in ((1, 0.5), (2, 0.7))]
        >>> [entry.epoch for entry in Watch(name="f1", sign=1.0).ranked(history)]
        [2, 1]
        """
        values = [self.sign * entry.metrics[self.name] for entry in history]
        # NaN is in no order with anything and goes to the end; sorting keeps equals in their order.
        order = sorted(range(len(values)), key=lambda n: math.inf if math.isnan(values[n]) else -values[n])
        return [history[number] for number in order]


def describe_run(
    model: Model, recipe: Recipe, samples: int, teacher: StoredModel | None = None, *, processes: int = 1
) -> dict[str, Any]:
    """Return as JSON values what must stay the same for a run to go on: model, recipe, number of samples, teacher, and
    how many samples all processes together take a step.

    How many threads feed the loop changes nothing and is left out.
    """
    kind = type(model)
    settings = {
        entry.name: getattr(recipe, entry.name)
        for entry in fields(recipe)
        if entry.name in _ALWAYS_TOLD or (entry.name != "workers" and getattr(recipe, entry.name) != entry.default)
    }
    if recipe.stages:
        settings["stages"] = [asdict(stage) for stage in recipe.stages]
    # A plain function shows its address, which is another in every process.
    if isinstance(recipe.class_weights, Mapping):
        settings["class_weights"] = dict(recipe.class_weights)
    settings["transforms"] = [re.sub(r" at 0x[0-9a-f]+", "", repr(transform)) for transform in recipe.transforms]
    return {
        "model": f"{kind.__module__}:{kind.__qualname__}",
        "config": _as_before(TypeAdapter(kind.Config).dump_python(model.config, mode="json")),
        "recipe": settings,
        "samples": samples,
        **({"teacher": teacher.sha256} if teacher else {}),
        **({"global_batch": recipe.batch_size * recipe.accumulate * processes} if processes > 1 else {}),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any], *, shown: int = 3) -> str:
    """Name the settings in which two descriptions differ, the first few with their values; "" for no description.

    >>> differences({"samples": 3, "recipe": {"seed": 0}}, {"samples": 3, "recipe": {"seed": 1, "clip": 5.0}})
    'clip was not set, is now 5.0; seed was 0, is now 1'
    """
    if not before:
        return ""
    # What the log has read lost the difference between tuples and lists.
    one, other = (_leaves(json.loads(json.dumps(told))) for told in (before, now))
    names = sorted(name for name in one.keys() | other.keys() if one.get(name, _UNSET) != other.get(name, _UNSET))
    told = [f"{name} was {_short(one, name)}, is now {_short(other, name)}" for name in names[:shown]]
    return "; ".join(told) + (f"; and {len(names) - shown} more" if len(names) > shown else "")


def _leaves(told: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a description as values by dotted name; those of the recipe, which users know, by their own."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, dict):
            found |= _leaves(value, "" if (prefix, name) == ("", "recipe") else f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _short(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "not set"
    text = json.dumps(values[name]).strip('"')
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _as_before(told: Any) -> Any:
    """Leave out settings that came later where they say what was always so, at any depth of a configuration."""
    if isinstance(told, list):
        return [_as_before(value) for value in told]
    if isinstance(told, dict):
        return {
            name: _as_before(value)
            for name, value in told.items()
            if name not in _LATER_CONFIGURATION or value != _LATER_CONFIGURATION[name]
        }
    return told


def fingerprint(described: Mapping[str, Any]) -> str:
    """Return a hash of a description.

    >>> fingerprint({"samples": 3, "model": "a"}) == fingerprint({"model": "a", "samples": 3})
    True
    """
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
