"""Colours for classes that most people can tell apart, also with the common colour-vision deficiencies.

The first seven are Okabe and Ito's (2008). Further ones are chosen one by one from a grid of colours, always
the one whose nearest neighbour among those chosen is farthest, where the distance of two colours is the least
of their CIELAB distances in normal, protanopic and deuteranopic sight (simulated after Machado et al. 2009).
Colours too dark or too light to show on imagery are left out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import ImageColor

from swath.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Colour(NamedTuple):
    """Red, green and blue, 0 to 255.

    >>> Colour(230, 159, 0).red
    230
    """

    red: int
    green: int
    blue: int


OKABE_ITO = (
    Colour(230, 159, 0),
    Colour(86, 180, 233),
    Colour(0, 158, 115),
    Colour(240, 228, 66),
    Colour(0, 114, 178),
    Colour(213, 94, 0),
    Colour(204, 121, 167),
)

UNPAINTED = frozenset({"background", "unchanged"})
"""Classes that are the absence of something: not painted unless a palette names them, and left out of vector files."""

# Dark blue over teal to yellow, rising in lightness all the way so that it also reads in grey.
_RAMP_STOPS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float64)
RAMP: NDArray[np.uint8] = np.stack(
    [np.interp(np.linspace(0, 4, 256), np.arange(5), stops) for stops in _RAMP_STOPS.T], axis=1
).astype(np.uint8)
"""256 colours (256, 3) for continuous values, from low to high."""

_SIGHTS = np.array(
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ]
)


def class_colours(
    classes: tuple[str, ...], palette: Mapping[str, str | None] | None = None
) -> tuple[Colour | None, ...]:
    """Return the colour of each class, None for those that are not painted.

    `palette` gives colours by class name; a class keeps its colour whatever the palette says about others.
    Raises `AnnotationError` for a colour that Pillow does not know.

    >>> class_colours(("background", "tree"), {"tree": "#ff0000"})
    (None, Colour(red=255, green=0, blue=0))
    """
    named = palette or {}
    distinct = iter(distinct_colours(len(classes)))
    colours: list[Colour | None] = []
    for name in classes:
        default = None if name in UNPAINTED else next(distinct)
        colours.append(_parsed(named[name]) if name in named else default)
    return tuple(colours)


def css(colour: Colour | None) -> str:
    """Return a colour for a style sheet; grey for what is not painted.

    >>> css(Colour(230, 159, 0))
    '#e69f00'
    """
    return "#888888" if colour is None else f"#{colour.red:02x}{colour.green:02x}{colour.blue:02x}"


@lru_cache(maxsize=64)
def distinct_colours(count: int) -> tuple[Colour, ...]:
    """Return so many colours; a larger count begins with the colours of a smaller one.

    >>> distinct_colours(9)[:7] == OKABE_ITO
    True
    """
    steps = np.linspace(25, 255, 9).round()
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = [np.array(colour, dtype=np.float64) for colour in OKABE_ITO]
    lightness = _lab_in_all_sights(candidates)[0, :, 0]
    candidates = candidates[(lightness > 35) & (lightness < 95)]
    seen = _lab_in_all_sights(candidates)
    nearest = np.full(len(candidates), np.inf)
    for colour in chosen:
        nearest = np.minimum(nearest, _distance(seen, colour))
    while len(chosen) < count:
        chosen.append(candidates[int(nearest.argmax())])
        nearest = np.minimum(nearest, _distance(seen, chosen[-1]))
    return tuple(Colour(*(int(part) for part in colour)) for colour in chosen[:count])


def _distance(seen: NDArray[np.float64], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least distance over the sights of one colour to many seen ones (sights, N, 3)."""
    difference = seen - _lab_in_all_sights(colour[None])
    least: NDArray[np.float64] = np.sqrt((difference**2).sum(axis=2)).min(axis=0)
    return least


def _lab_in_all_sights(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIELAB (sights, N, 3) of sRGB colours (N, 3) under D65."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.einsum("sij,nj->sni", _SIGHTS, linear), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = seen @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _parsed(text: str | None) -> Colour | None:
    if text is None:
        return None
    try:
        return Colour(*ImageColor.getrgb(text)[:3])
    except ValueError as error:
        raise AnnotationError(f"'{text}' is not a colour; write it as #rrggbb or by a common name.") from error
