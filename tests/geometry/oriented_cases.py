"""Pairs of oriented boxes, easy and hard, and what shapely says of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import shapely
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


def random_boxes(count: int, generator: np.random.Generator, *, scene: float = 1024.0, longest: float = 80.0) -> Boxes:
    """Boxes spread evenly over a square scene, sides from 5 pixels on."""
    sides = generator.uniform(5, longest, (count, 2))
    centres = generator.uniform(0, scene, (count, 2))
    return np.column_stack([centres, sides, generator.uniform(-np.pi / 2, np.pi / 2, count)])


def hard_pairs(count: int, generator: np.random.Generator) -> tuple[Boxes, Boxes]:
    """Return pairs that meet, among them every kind of coincidence: each kind in turn."""
    sides = 10 ** generator.uniform(-1, 3, (count, 2))
    angles = np.where(generator.random(count) < 0.2, 0.0, generator.uniform(-np.pi / 2, np.pi / 2, count))
    one = np.column_stack([generator.uniform(-50, 50, (count, 2)), sides, angles])
    other = np.array([pair_of(box, kind % len(KINDS), generator) for kind, box in enumerate(one)])
    # Far from the origin as in a large scene, both by the same whole number.
    away = np.where(generator.random(count) < 0.3, generator.integers(0, 100_000, count), 0)
    one[:, :2] += away[:, None]
    other[:, :2] += away[:, None]
    return one, other


def at(box: Boxes, along: float, across: float) -> Boxes:
    """Return the box moved by shares of its width and height in its own directions."""
    cosine, sine = np.cos(box[4]), np.sin(box[4])
    x, y = along * box[2], across * box[3]
    return np.array([box[0] + cosine * x - sine * y, box[1] + sine * x + cosine * y, *box[2:]])


def a_little(generator: np.random.Generator) -> float:
    return float(generator.choice([-1, 1]) * 10 ** generator.uniform(-15, -2))


def free(box: Boxes, generator: np.random.Generator) -> Boxes:
    moved = at(box, *generator.uniform(-1, 1, 2))
    return np.array([*moved[:2], *(10 ** generator.uniform(-1, 3, 2)), generator.uniform(-np.pi / 2, np.pi / 2)])


def alike(box: Boxes, generator: np.random.Generator) -> Boxes:
    return box.copy()


def renamed(box: Boxes, generator: np.random.Generator) -> Boxes:
    return np.array([box[0], box[1], box[3], box[2], box[4] + np.pi / 2])


def inside(box: Boxes, generator: np.random.Generator) -> Boxes:
    share = generator.uniform(0.01, 1, 2)
    moved = at(box, *(generator.uniform(-1, 1, 2) * (1 - share) / 2))
    return np.array([*moved[:2], *(box[2:4] * share), box[4]])


def touching(box: Boxes, generator: np.random.Generator) -> Boxes:
    return at(box, 1, float(generator.choice([0, 0.5, 1, 1.5])))


def sharing_a_side(box: Boxes, generator: np.random.Generator) -> Boxes:
    share = generator.uniform(0.1, 1)
    moved = at(box, (1 - share) / 2, generator.uniform(-0.5, 0.5))
    return np.array([*moved[:2], box[2] * share, *box[3:]])


def nearly_parallel(box: Boxes, generator: np.random.Generator) -> Boxes:
    moved = at(box, *generator.uniform(-1, 1, 2))
    return np.array([*moved[:4], box[4] + a_little(generator)])


def nearly_alike(box: Boxes, generator: np.random.Generator) -> Boxes:
    return box * (1 + np.array([a_little(generator) for _ in range(5)]))


def thin(box: Boxes, generator: np.random.Generator) -> Boxes:
    moved = at(box, *generator.uniform(-0.5, 0.5, 2))
    return np.array([*moved[:3], 10 ** generator.uniform(-6, -2), generator.uniform(-np.pi / 2, np.pi / 2)])


def flat(box: Boxes, generator: np.random.Generator) -> Boxes:
    return np.array([*box[:3], 0.0, box[4]])


def crosswise(box: Boxes, generator: np.random.Generator) -> Boxes:
    return np.array([*box[:4], box[4] + np.pi / 2 + generator.choice([0, a_little(generator)])])


KINDS = (
    free,
    alike,
    renamed,
    inside,
    touching,
    sharing_a_side,
    nearly_parallel,
    nearly_alike,
    thin,
    flat,
    crosswise,
)


def pair_of(box: Boxes, kind: int, generator: np.random.Generator) -> Boxes:
    return KINDS[kind](box, generator)


def polygons(boxes: Boxes, origin: Boxes | float = 0.0) -> NDArray[np.object_]:
    """Return shapely polygons by the stated formula, written out anew, relative to an origin (N, 2)."""
    x, y = (boxes[:, :2] - origin).T
    width, height, angle = boxes[:, 2:].T
    rings = [
        [
            x + sx * width / 2 * np.cos(angle) - sy * height / 2 * np.sin(angle),
            y + sx * width / 2 * np.sin(angle) + sy * height / 2 * np.cos(angle),
        ]
        for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    return np.asarray(shapely.polygons(np.moveaxis(np.array(rings), -1, 0)))


def shapely_iou(one: Boxes, other: Boxes) -> NDArray[np.float64]:
    """Intersection over union (N,) of boxes one by one, by shapely, about the centre of each first box."""
    first, second = polygons(one, one[:, :2]), polygons(other, one[:, :2])
    shared = shapely.area(shapely.intersection(first, second))
    union = one[:, 2] * one[:, 3] + other[:, 2] * other[:, 3] - shared
    return np.divide(shared, union, out=np.zeros(len(one)), where=union > 0)


def exact_iou(one: Boxes, other: Boxes) -> float:
    """Intersection over union of two boxes (5,), clipping one by the other's sides in rational numbers."""
    first, second = (corners_of(polygon) for polygon in polygons(np.stack([one, other]), one[:2]))
    shared = first
    for start, stop in zip(second, second[1:] + second[:1], strict=True):
        shared = clipped(shared, start, stop)
    common = exact_area(shared)
    union = exact_area(first) + exact_area(second) - common
    return float(common / union) if union > 0 else 0.0


def corners_of(polygon: shapely.Polygon) -> list[tuple[Fraction, Fraction]]:
    return [(Fraction(x), Fraction(y)) for x, y in shapely.get_coordinates(polygon)[:4].tolist()]


def clipped(
    ring: list[tuple[Fraction, Fraction]], start: tuple[Fraction, Fraction], stop: tuple[Fraction, Fraction]
) -> list[tuple[Fraction, Fraction]]:
    """Return what lies on the inner side of the line from start to stop (Sutherland and Hodgman 1974)."""

    def depth(point: tuple[Fraction, Fraction]) -> Fraction:
        return (stop[0] - start[0]) * (point[1] - start[1]) - (stop[1] - start[1]) * (point[0] - start[0])

    kept = []
    for point, following in zip(ring, ring[1:] + ring[:1], strict=True):
        here, there = depth(point), depth(following)
        if here >= 0:
            kept.append(point)
        if here * there < 0:
            share = here / (here - there)
            kept.append((point[0] + share * (following[0] - point[0]), point[1] + share * (following[1] - point[1])))
    return kept


def exact_area(ring: list[tuple[Fraction, Fraction]]) -> Fraction:
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    return abs(sum((a[0] * b[1] - a[1] * b[0] for a, b in pairs), Fraction(0))) / 2
