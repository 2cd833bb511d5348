"""Swath: one toolkit for understanding Earth-observation imagery.

The names below are fetched when they are first used, so that `import swath` stays quick and free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swath.api import (
        bands,
        build,
        compare,
        compare_frozen,
        evaluate,
        evaluate_corrupted,
        load,
        open_scene,
        predict,
        recipe,
        train,
        train_linear_probe,
    )
    from swath.imagery.scene import Scene

    open = open_scene

__version__ = "0.1.0"

_LAZY = {
    "Scene": ("swath.imagery.scene", "Scene"),
    "bands": ("swath.api", "bands"),
    "build": ("swath.api", "build"),
    "compare": ("swath.api", "compare"),
    "compare_frozen": ("swath.api", "compare_frozen"),
    "evaluate": ("swath.api", "evaluate"),
    "evaluate_corrupted": ("swath.api", "evaluate_corrupted"),
    "load": ("swath.api", "load"),
    "open": ("swath.api", "open_scene"),
    "predict": ("swath.api", "predict"),
    "recipe": ("swath.api", "recipe"),
    "train": ("swath.api", "train"),
    "train_linear_probe": ("swath.api", "train_linear_probe"),
}

__all__ = [
    "Scene",
    "__version__",
    "bands",
    "build",
    "compare",
    "compare_frozen",
    "evaluate",
    "evaluate_corrupted",
    "load",
    "open",
    "predict",
    "recipe",
    "train",
    "train_linear_probe",
]


def __getattr__(name: str) -> Any:
    """Fetch a public name at its first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'swath' has no attribute '{name}'")
    module, attribute = _LAZY[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what `swath` offers, whether fetched yet or not."""
    return sorted(__all__)
