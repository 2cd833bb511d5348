"""What `swath info NAME` prints."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from swath.api import builders, load, shipped_names
from swath.catalog import System, closest, load_catalog
from swath.errors import UnknownModel
from swath.models.base import Model


def describe(name: str) -> str:
    """Return the card of a model, a folder of weights, a builder or a system as Markdown.

    Raises `UnknownModel` with the nearest names.

    >>> describe("rsmamba").splitlines()[0]
    '# RSMamba'
    """
    if name in shipped_names() or Path(name).is_dir():
        loaded = load(name)
        spec = next(iter(loaded.model.inputs.values()))
        takes = f"Takes {', '.join(spec.bands)} in {spec.unit.value}; {loaded.model.parameter_count():,} parameters."
        return f"{loaded.card.to_markdown()}\n{takes}\nWeights {loaded.stored.sha256[:16]}."
    catalog = load_catalog()
    system = catalog.system(name)
    if system is not None:
        return _system_text(system)
    known = builders(catalog)
    if name in known:
        module = importlib.import_module(known[name].__module__)
        return _models_in(module.__name__)[0].card().to_markdown()
    names = [*shipped_names(), *catalog.slugs, *known]
    raise UnknownModel(f"there is no model or system '{name}'{closest(name, names)}; swath systems lists them.")


def _system_text(system: System) -> str:
    for part in system.parts:
        models = _models_in(part) if ":" not in part and part.startswith("swath.models.") else []
        if models:
            return models[0].card().to_markdown()
    parts = ", ".join(system.parts) or "none yet"
    facts = f"Family {system.family}; {system.kind}; state: {system.state}; parts: {parts}."
    return f"# {system.name}\n\n{system.paper}\n\n{facts}"


def _models_in(module_name: str) -> list[type[Model]]:
    module = importlib.import_module(module_name)
    found = inspect.getmembers(module, inspect.isclass)
    return [kind for _, kind in found if issubclass(kind, Model) and kind.__module__ == module_name]
