"""A result as a page to look at: the imagery, what was found on it, how much of it, how sure.

Scenes of two dates get a line between them that a slider moves. The page is of a fixed size however large the scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from swath.samples.drawing import display_image, draw
from swath.samples.labels import Label
from swath.samples.objects import Objects
from swath.samples.page import Bar, Picture, Section, Swipe, write_page
from swath.samples.palette import UNPAINTED, class_colours, css
from swath.samples.rasters import ClassMap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swath.imagery.scene import Scene
    from swath.inference.stores import Store
    from swath.models.store import StoredModel
    from swath.samples.annotation import Annotation

LONGEST = 1200
"""Pixels along the longer side of the page's pictures."""


def write_report(path: Path, *, stored: StoredModel, scene: Scene, store: Store, overwrite: bool) -> Path:
    """Write the page of a finished run, whole or not at all."""
    views = [scene.overview(LONGEST, slot=slot, bands=spec.bands) for slot, spec in stored.model.inputs.items()]
    found = store.preview(views[-1].size)
    # The picture's bands are those for the eye; where the model has no red, green and blue, its first one.
    pictures = [Image.fromarray(display_image(view)) for view in views]
    drawn = draw(views[-1], found)
    days = [
        f" ({day.date().isoformat()})" if (day := scene.slots[slot].acquired) else "" for slot in stored.model.inputs
    ]
    swipe = None
    plain: list[Picture] = []
    if len(pictures) == 2:
        one, other = (f"{slot}{day}" for slot, day in zip(stored.model.inputs, days, strict=True))
        swipe = Swipe(
            before=pictures[0], after=pictures[1], found=drawn, caption=f"Left of the line {one}, right {other}."
        )
    else:
        plain = [Picture(image=drawn, caption=f"What '{stored.name}' found{days[-1]}.")]
    section = Section(
        title=stored.card.title,
        lead=headline(found),
        text=stored.card.summary,
        pictures=plain,
        bars=bars(found),
        files=[scene.slots[slot].name for slot in stored.model.inputs],
        card=f"Model '{stored.name}', weights {stored.sha256[:12]}, {stored.model.parameter_count():,} parameters.",
        swipe=swipe,
    )
    size = scene.grid.size
    place = f"{size.width:,} x {size.height:,} pixels" + (f" of {scene.gsd:.3g} m" if scene.gsd else "")
    title = "What changed" if swipe else "What is here"
    return write_page(path, title=title, lead=place, sections=(section,), facts=place, overwrite=overwrite)


def headline(found: Annotation) -> str:
    """Say in a line what a result amounts to."""
    if isinstance(found, ClassMap):
        shares = [(share, name) for name, share in zip(found.classes, _shares(found), strict=True)]
        named = [(share, name) for share, name in shares if name not in UNPAINTED]
        share, name = max(named, default=(0.0, "nothing"))
        return f"{share:.1%} of the known ground is '{name}'."
    if isinstance(found, Objects):
        counts = [(name, int((found.labels == number).sum())) for number, name in enumerate(found.classes)]
        return ", ".join(f"{count:,} x {name}" for name, count in counts) + "."
    if isinstance(found, Label):
        return f"Mostly {found.best.name}, {found.best.score:.0%}."
    return ""


def bars(found: Annotation) -> Sequence[Bar]:
    """Return shares of area a class, with the mean confidence; or the spread of the objects' scores."""
    if isinstance(found, ClassMap):
        colours = class_colours(found.classes)
        known = [found.labels == number for number in range(len(found.classes))]
        sure = [
            float(found.confidence[mask].mean()) if found.confidence is not None and mask.any() else None
            for mask in known
        ]
        return [
            Bar(
                name=name if level is None else f"{name} (sure {level:.2f})",
                share=share,
                note=f"{share:.1%}",
                colour=css(colour),
            )
            for name, share, level, colour in zip(found.classes, _shares(found), sure, colours, strict=True)
            if share > 0
        ]
    if isinstance(found, Objects) and len(found):
        return score_bars(found.scores)
    return []


def score_bars(scores: np.ndarray) -> tuple[Bar, ...]:
    """Return the share of scores in each tenth that has any.

    >>> [bar.note for bar in score_bars(np.array([0.95, 0.91, 0.25, 0.35]))]
    ['25%', '25%', '50%']
    """
    counts, edges = np.histogram(scores, bins=10, range=(0, 1))
    total = max(int(counts.sum()), 1)
    return tuple(
        Bar(name=f"score {low:.1f} to {high:.1f}", share=count / total, note=f"{count / total:.0%}")
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
        if count
    )


def _shares(found: ClassMap) -> list[float]:
    """Return each class's share of the pixels whose class is known."""
    counts = np.bincount(found.labels.ravel(), minlength=len(found.classes))[: len(found.classes)]
    shares: list[float] = (counts / max(int(counts.sum()), 1)).tolist()
    return shares
