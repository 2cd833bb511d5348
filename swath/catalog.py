"""The catalogue of the 76 systems: what each is, the parts that implement it, and how far it is."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

State = Literal["complete", "partial", "planned"]


@dataclass(frozen=True, kw_only=True)
class System:
    """One published system.

    `parts` name what implements it: a module, or `module:name` for a thing in one. `kind` says what was published
    (model, dataset, benchmark, builder, workflow).
    """

    slug: str
    name: str
    family: str
    kind: str
    paper: str
    state: State
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All systems, in the order of the plan.

    >>> len(load_catalog().systems)
    76
    """

    systems: tuple[System, ...]

    @property
    def slugs(self) -> tuple[str, ...]:
        """The systems' short names."""
        return tuple(system.slug for system in self.systems)

    def system(self, slug: str) -> System | None:
        """Return the system with this slug, or None."""
        return next((system for system in self.systems if system.slug == slug), None)

    def model_modules(self) -> tuple[str, ...]:
        """Return the modules below `swath.models` that the systems name, each once."""
        modules = (part.partition(":")[0] for system in self.systems for part in system.parts)
        return tuple(dict.fromkeys(name for name in modules if name.startswith("swath.models.")))


@cache
def load_catalog() -> Catalog:
    """Read `catalog.toml`.

    >>> load_catalog().system("rsmamba").family
    'classify'
    """
    document = tomllib.loads(files("swath").joinpath("catalog.toml").read_text(encoding="utf-8"))
    systems = [System(**{**entry, "parts": tuple(entry.get("parts", ()))}) for entry in document["system"]]
    return Catalog(systems=tuple(systems))


def closest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?`-style words for the nearest known names, or nothing where none is near.

    >>> closest("tree", ["trees", "landuse"])
    ' (did you mean trees?)'
    """
    near = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
