"""Hypothesis strategies for moves and annotations of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
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

sizes = st.builds(Size, st.integers(1, 9), st.integers(1, 9))
windows = st.builds(Window, st.integers(-4, 8), st.integers(-4, 8), st.integers(1, 9), st.integers(1, 9))
exact_moves: st.SearchStrategy[Move] = st.one_of(
    st.builds(Crop, windows), st.builds(Flip, horizontal=st.booleans()), st.builds(QuarterTurns, st.integers(-4, 5))
)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


def filled(shape: tuple[int, ...], low: float = 0, high: float = 1) -> st.SearchStrategy[Any]:
    return arrays(np.float32, shape, elements=floats(low, high))


def _objects(count: int) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "labels": arrays(np.int32, count, elements=st.integers(0, len(CLASSES) - 1)),
        "scores": filled((count,)),
        "classes": st.just(CLASSES),
    }


@st.composite
def points(draw: st.DrawFn, size: Size) -> Points:
    count = draw(st.integers(0, 5))
    xy = draw(filled((count, 2), 0, 0.984375)) * np.array([size.width, size.height])
    return draw(st.builds(Points, size=st.just(size), points=st.just(xy), **_objects(count)))


@st.composite
def boxes(draw: st.DrawFn, size: Size) -> Boxes:
    count = draw(st.integers(0, 5))
    start, extent = draw(filled((count, 2), 0, 0.75)), draw(filled((count, 2), 0.125, 0.25))
    scale = np.array([size.width, size.height])
    corners = np.concatenate([start * scale, (start + extent) * scale], axis=1)
    return draw(st.builds(Boxes, size=st.just(size), boxes=st.just(corners), **_objects(count)))


@st.composite
def oriented_boxes(draw: st.DrawFn, size: Size) -> OrientedBoxes:
    count = draw(st.integers(0, 5))
    centre = draw(filled((count, 2), 0, 0.984375)) * np.array([size.width, size.height])
    rest = np.concatenate([draw(filled((count, 2), 0.125, 4)), draw(filled((count, 1), -7, 7))], axis=1)
    values = np.concatenate([centre, rest], axis=1)
    return draw(st.builds(OrientedBoxes, size=st.just(size), boxes=st.just(values), **_objects(count)))


@st.composite
def instances(draw: st.DrawFn, size: Size) -> Instances:
    count = draw(st.integers(0, 3))
    masks = [draw(arrays(np.bool_, (size.height, size.width))) for _ in range(count)]
    return draw(st.builds(Instances, size=st.just(size), masks=st.just(masks), **_objects(count)))


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
def annotations(draw: st.DrawFn) -> Annotation:
    """One annotation of any kind, sometimes without any parts."""
    size = draw(sizes)
    shape = (size.height, size.width)
    frame = st.just(size)
    evidence = draw(st.one_of(points(size), boxes(size), instances(size)))
    label = draw(filled((3,), 0.125, 1))
    return draw(
        st.one_of(
            points(size),
            boxes(size),
            oriented_boxes(size),
            instances(size),
            class_maps(size),
            st.builds(Transition, size=frame, before=class_maps(size), after=class_maps(size)),
            st.builds(Label, size=frame, scores=st.just(label / label.sum()), classes=st.just(CLASSES)),
            st.builds(Text, size=frame, text=st.text(), score=floats(0, 1)),
            st.builds(
                GroundedText,
                size=frame,
                text=st.just("two trees"),
                spans=st.just((Span(start=4, stop=9, evidence=evidence),)),
            ),
            st.builds(Embedding, size=frame, vector=filled((4,), -9, 9)),
            st.builds(Flow, size=frame, vectors=filled((2, *shape), -9, 9)),
            st.builds(
                Raster,
                size=frame,
                values=filled((2, *shape), -9, 9),
                names=st.just(("height", "depth")),
                unit=st.just("metre"),
                spread=st.none() | filled((2, *shape)),
            ),
        )
    )
