"""Oriented boxes as Gaussians: ProbIoU and the Kullback-Leibler divergence, which have a slope where IoU has none.

A box is the normal distribution with its centre as mean and R diag(s width², s height²) Rᵀ as covariance:
s = 1/12 for ProbIoU, which is that of the uniform distribution over the box, and 1/4 for the divergence.

>>> ship = np.array([5.0, 5.0, 4.0, 2.0, 0.0])
>>> float(probabilistic_iou(ship, ship)), float(kullback_leibler_divergence(ship, ship))
(1.0, 0.0)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swath.errors import GeometryError
from swath.geometry.oriented import as_oriented_boxes


def probabilistic_iou(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """ProbIoU of boxes (..., 5) with boxes (..., 5) that broadcast, in 0 ... 1: `one[:, None]`, `other` for all pairs.

    1 - sqrt(1 - exp(-B)) with the Bhattacharyya distance of the two Gaussians, of means m and covariances C,

        B = dᵀ C⁻¹ d / 8 + ln(det C / sqrt(det C1 det C2)) / 2,   d = m1 - m2,   C = (C1 + C2) / 2.

    It does not tell the angle of a square. Source: Llerena et al. 2021, arXiv 2106.06072.

    Raises `GeometryError` as `as_oriented_boxes` does, for sides of 0 and shapes that do not broadcast.

    >>> probabilistic_iou([5, 5, 4, 2, 0], [[5, 5, 4, 2, 0], [6, 5, 4, 2, 0], [500, 5, 4, 2, 0]]).round(4).tolist()
    [1.0, 0.7009, 0.0]
    """
    pair = _side_by_side(one, other, 1 / 12)
    # Twice the mean covariance, C1 + C2, in the frame of the second box.
    sum_xx, sum_yy = pair.xx + pair.own_xx, pair.yy + pair.own_yy
    determinant = pair.own_xx * pair.own_yy + pair.determinant + pair.own_xx * pair.yy + pair.own_yy * pair.xx
    spread = sum_yy * pair.x**2 + sum_xx * pair.y**2 - 2 * pair.xy * pair.x * pair.y
    scale = 4 * np.sqrt(pair.determinant * pair.own_xx * pair.own_yy)
    distance = spread / determinant / 4 + np.log(determinant / scale) / 2
    overlap: NDArray[np.float64] = 1 - np.sqrt(-np.expm1(-np.maximum(distance, 0.0)))
    return overlap


def kullback_leibler_divergence(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Divergence of the Gaussians of boxes (..., 5) from those of boxes (..., 5) that broadcast; at least 0.

    D(1 || 2) = (dᵀ C2⁻¹ d + trace(C2⁻¹ C1) + ln(det C2 / det C1)) / 2 - 1 with d = m1 - m2. It is not
    symmetric: as a loss, `one` are predictions and `other` truths. Source: Yang et al. 2021, arXiv 2106.01883.

    Raises `GeometryError` as `as_oriented_boxes` does, for sides of 0 and shapes that do not broadcast.

    >>> kullback_leibler_divergence([[5, 5, 4, 2, 0], [6, 5, 4, 2, 0]], [5, 5, 4, 2, 0]).tolist()
    [0.0, 0.125]
    """
    pair = _side_by_side(one, other, 1 / 4)
    spread = pair.x**2 / pair.own_xx + pair.y**2 / pair.own_yy
    trace = pair.xx / pair.own_xx + pair.yy / pair.own_yy
    logarithm = np.log(pair.own_xx * pair.own_yy / pair.determinant)
    return np.maximum((spread + trace + logarithm) / 2 - 1, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """The Gaussian of a first box in the frame of a second one, whose own covariance is diagonal there."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    xy: NDArray[np.float64]
    yy: NDArray[np.float64]
    determinant: NDArray[np.float64]
    own_xx: NDArray[np.float64]
    own_yy: NDArray[np.float64]


def _side_by_side(one: ArrayLike, other: ArrayLike, share: float) -> _Pair:
    """Put boxes into the frames of others, `share` being the variance along a side over its square."""
    first, second = _with_area(one), _with_area(other)
    try:
        first, second = np.broadcast_arrays(first, second)
    except ValueError as error:
        raise GeometryError(f"Boxes of shapes {first.shape} and {second.shape} do not broadcast.") from error
    cosine, sine = np.cos(second[..., 4]), np.sin(second[..., 4])
    offset_x, offset_y = first[..., 0] - second[..., 0], first[..., 1] - second[..., 1]
    turned = first[..., 4] - second[..., 4]
    turned_cosine, turned_sine = np.cos(turned), np.sin(turned)
    along, across = share * first[..., 2] ** 2, share * first[..., 3] ** 2
    return _Pair(
        x=cosine * offset_x + sine * offset_y,
        y=cosine * offset_y - sine * offset_x,
        xx=along * turned_cosine**2 + across * turned_sine**2,
        xy=(along - across) * turned_cosine * turned_sine,
        yy=along * turned_sine**2 + across * turned_cosine**2,
        determinant=along * across,
        own_xx=share * second[..., 2] ** 2,
        own_yy=share * second[..., 3] ** 2,
    )


def _with_area(boxes: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(boxes, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] != 5:
        raise GeometryError(f"Oriented boxes have shape (..., 5); found shape {values.shape}.")
    checked = as_oriented_boxes(values.reshape(-1, 5))
    flat = (checked[:, 2:4] == 0).any(axis=1)
    if flat.any():
        first = int(np.flatnonzero(flat)[0])
        raise GeometryError(f"The Gaussian of a box needs sides above 0; number {first} is {checked[first].tolist()}.")
    return checked.reshape(values.shape)
