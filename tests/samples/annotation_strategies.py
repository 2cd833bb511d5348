"""Hypothesis strategies for moves and annotations of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swath.geometry.windows import Size, Window
from swath.samples import (
    Annotation,
    Boxes,
    ClassMap,
    Embedding,
    Flow,
    GroundedText,
    Instances,
    Label,
    OrientedBoxes,
    Points,
    Raster,
    Span,
    Text,
    Transition,
)
from swath.samples.moves import Crop, Flip, Move, QuarterTurns

CLASSES = ("tree", "car", "ship")

few = settings(max_examples=30, deadline=None)
"""Enough examples for these small frames; compiling at the first call takes longer than the usual deadline."""

sizes = st.builds(Size, st.integers(1, 6), st.integers(1, 6))
windows = st.builds(Window, st.integers(-4, 8), st.integers(-4, 8), st.integers(1, 9), st.integers(1, 9))
exact_moves: st.SearchStrategy[Move] = st.one_of(
    st.builds(Crop, windows), st.builds(Flip, horizontal=st.booleans()), st.builds(QuarterTurns, st.integers(-4, 5))
)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


def filled(shape: tuple[int, ...], low: float = 0, high: float = 1) -> st.SearchStrategy[Any]:
    return arrays(np.float32, shape, elements=floats(low, high))


def _objects(draw: st.DrawFn, count: int) -> dict[str, Any]:
    labels = draw(arrays(np.int32, count, elements=st.integers(0, len(CLASSES) - 1)))
    ignored = draw(arrays(np.bool_, count))
    return {"labels": labels, "scores": draw(filled((count,))), "ignored": ignored, "classes": CLASSES}


@st.composite
def points(draw: st.DrawFn, size: Size) -> Points:
    count = draw(st.integers(0, 5))
    xy = draw(filled((count, 2), 0, 0.984375)) * np.array([size.width, size.height])
    return Points(size=size, points=xy, **_objects(draw, count))


@st.composite
def boxes(draw: st.DrawFn, size: Size) -> Boxes:
    count = draw(st.integers(0, 5))
    start, extent = draw(filled((count, 2), 0, 0.75)), draw(filled((count, 2), 0.125, 0.25))
    scale = np.array([size.width, size.height])
    corners = np.concatenate([start * scale, (start + extent) * scale], axis=1)
    return Boxes(size=size, boxes=corners, **_objects(draw, count))


@st.composite
def oriented_boxes(draw: st.DrawFn, size: Size) -> OrientedBoxes:
    count = draw(st.integers(0, 5))
    centre = draw(filled((count, 2), 0, 0.984375)) * np.array([size.width, size.height])
    rest = np.concatenate([draw(filled((count, 2), 0.125, 4)), draw(filled((count, 1), -7, 7))], axis=1)
    values = np.concatenate([centre, rest], axis=1)
    return OrientedBoxes(size=size, boxes=values, **_objects(draw, count))


@st.composite
def instances(draw: st.DrawFn, size: Size) -> Instances:
    count = draw(st.integers(0, 3))
    masks = [draw(arrays(np.bool_, (size.height, size.width))) for _ in range(count)]
    return Instances(size=size, masks=masks, **_objects(draw, count))


@st.composite
def class_maps(draw: st.DrawFn, size: Size) -> ClassMap:
    shape = (size.height, size.width)
    labels = draw(arrays(np.int64, shape, elements=st.sampled_from([0, 1, 2, 255])))
    return ClassMap(
        size=size,
        labels=labels,
        classes=CLASSES,
        confidence=draw(st.none() | filled(shape)),
        scores=draw(st.none() | filled((3, *shape), -5, 5)),
        scores_are=draw(st.sampled_from(["probability", "logit"])),
    )


@st.composite
def labels(draw: st.DrawFn, size: Size) -> Label:
    scores = draw(filled((3,), 0.125, 1))
    return Label(size=size, scores=scores / scores.sum(), classes=CLASSES)


@st.composite
def grounded_texts(draw: st.DrawFn, size: Size) -> GroundedText:
    evidence = draw(draw(st.sampled_from([points, boxes, instances]))(size))
    return GroundedText(size=size, text="two trees", spans=(Span(start=4, stop=9, evidence=evidence),))


@st.composite
def transitions(draw: st.DrawFn, size: Size) -> Transition:
    return Transition(size=size, before=draw(class_maps(size)), after=draw(class_maps(size)))


@st.composite
def rasters(draw: st.DrawFn, size: Size) -> Raster:
    shape = (2, size.height, size.width)
    spread = draw(st.none() | filled(shape))
    return Raster(size=size, values=draw(filled(shape, -9, 9)), names=("height", "depth"), unit="metre", spread=spread)


@st.composite
def flows(draw: st.DrawFn, size: Size) -> Flow:
    return Flow(size=size, vectors=draw(filled((2, size.height, size.width), -9, 9)))


@st.composite
def texts(draw: st.DrawFn, size: Size) -> Text:
    return Text(size=size, text=draw(st.text(max_size=9)), score=draw(floats(0, 1)))


@st.composite
def embeddings(draw: st.DrawFn, size: Size) -> Embedding:
    return Embedding(size=size, vector=draw(filled((4,), -9, 9)))


KINDS = (
    points,
    boxes,
    oriented_boxes,
    instances,
    class_maps,
    transitions,
    rasters,
    flows,
    labels,
    texts,
    grounded_texts,
    embeddings,
)


@st.composite
def annotations(draw: st.DrawFn) -> Annotation:
    """One annotation of any kind, sometimes without any parts."""
    return draw(draw(st.sampled_from(KINDS))(draw(sizes)))
