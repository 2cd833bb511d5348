"""A feature: one thing on the map, its shape and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from swath.errors import OutputFailed

FieldValue = str | int | float | bool | None
"""What a property may be; None is unknown."""


@dataclass(frozen=True)
class Feature:
    """A geometry in map coordinates (x, y in the units of the reference system) and its named properties.

    >>> from shapely import Point
    >>> Feature(Point(500_000, 4_000_000), {"class": "tree", "score": 0.9}).properties["class"]
    'tree'
    """

    geometry: BaseGeometry
    properties: Mapping[str, FieldValue]


@dataclass(frozen=True, slots=True)
class Field:
    """A property that features have: its name and Python type (str, int, float or bool).

    Raises `OutputFailed` for another type, an empty name, or a name that the formats keep for themselves.

    >>> Field("score", float).kind
    <class 'float'>
    """

    name: str
    kind: type[str] | type[int] | type[float] | type[bool]

    def __post_init__(self) -> None:
        if self.kind not in (str, int, float, bool):
            raise OutputFailed(f"The field '{self.name}' is of type {self.kind}; use str, int, float or bool.")
        if not self.name or self.name.lower() in _RESERVED:
            raise OutputFailed(
                f"A field cannot be called '{self.name}', which map formats keep for themselves; choose another name."
            )

    def accepts(self, value: FieldValue) -> bool:
        """Whether the value may stand in this field: of its type, a whole number for a float, or None.

        >>> Field("score", float).accepts(1), Field("count", int).accepts(True)
        (True, False)
        """
        if value is None:
            return True
        if isinstance(value, bool):
            return self.kind is bool
        return isinstance(value, (int, float) if self.kind is float else self.kind)


_RESERVED = frozenset({"fid", "geom", "geometry", "bbox", "ogc_fid", "rowid"})
