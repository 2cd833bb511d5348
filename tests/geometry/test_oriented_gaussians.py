"""Boxes as Gaussians against matrices, and against integrals over the plane."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from oriented_cases import random_boxes

from swath.errors import GeometryError
from swath.geometry.oriented_gaussians import kullback_leibler_divergence, probabilistic_iou

Array = NDArray[np.float64]


def covariances(boxes: Array, share: float) -> Array:
    cosine, sine = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    rotation = np.moveaxis(np.array([[cosine, -sine], [sine, cosine]]), -1, 0)
    spread = share * boxes[:, 2:4] ** 2
    return rotation * spread[:, None, :] @ np.moveaxis(rotation, 1, 2)


def near_pairs(count: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(0)
    one, other = random_boxes(count, generator, scene=60), random_boxes(count, generator, scene=60)
    return one, other


def test_probabilistic_iou_equals_the_formula_in_matrices() -> None:
    one, other = near_pairs(300)
    first, second = covariances(one, 1 / 12), covariances(other, 1 / 12)
    mean = (first + second) / 2
    apart = (one - other)[:, :2, None]
    spread = (np.moveaxis(apart, 1, 2) @ np.linalg.inv(mean) @ apart)[:, 0, 0]
    determinants = np.linalg.det(first) * np.linalg.det(second)
    distance = spread / 8 + np.log(np.linalg.det(mean) / np.sqrt(determinants)) / 2
    np.testing.assert_allclose(probabilistic_iou(one, other), 1 - np.sqrt(1 - np.exp(-distance)), atol=1e-9)


def test_divergence_equals_the_formula_in_matrices() -> None:
    one, other = near_pairs(300)
    first, second = covariances(one, 1 / 4), covariances(other, 1 / 4)
    inverse = np.linalg.inv(second)
    apart = (one - other)[:, :2, None]
    spread = (np.moveaxis(apart, 1, 2) @ inverse @ apart)[:, 0, 0]
    trace = np.trace(inverse @ first, axis1=1, axis2=2)
    expected = (spread + trace + np.log(np.linalg.det(second) / np.linalg.det(first))) / 2 - 1
    np.testing.assert_allclose(kullback_leibler_divergence(one, other), expected, rtol=1e-9)


def test_both_equal_integrals_over_the_plane() -> None:
    one, other = np.array([[1.0, -2.0, 9.0, 4.0, 0.6]]), np.array([[-1.0, 1.0, 6.0, 5.0, -0.4]])
    x, y = np.meshgrid(np.arange(-40, 40, 0.1), np.arange(-40, 40, 0.1))
    cell = 0.1**2

    def density(box: Array, share: float) -> tuple[Array, Array]:
        covariance = covariances(box, share)[0]
        local = np.stack([x - box[0, 0], y - box[0, 1]], axis=-1)
        logarithm = -np.einsum("...i,ij,...j", local, np.linalg.inv(covariance), local) / 2
        logarithm -= np.log(2 * np.pi * np.sqrt(np.linalg.det(covariance)))
        return np.exp(logarithm), logarithm

    (first, _), (second, _) = density(one, 1 / 12), density(other, 1 / 12)
    coefficient = np.sqrt(first * second).sum() * cell
    assert probabilistic_iou(one, other)[0] == pytest.approx(1 - np.sqrt(1 - coefficient), abs=1e-6)
    (first, log_first), (_, log_second) = density(one, 1 / 4), density(other, 1 / 4)
    divergence = (first * (log_first - log_second)).sum() * cell
    assert kullback_leibler_divergence(one, other)[0] == pytest.approx(divergence, abs=1e-6)


def test_alike_and_far_apart() -> None:
    ship = [5, 5, 10, 10, 0.3]
    assert probabilistic_iou(ship, ship) > 0.999
    assert probabilistic_iou(ship, [105, 5, 10, 10, 0.3]) < 1e-3
    assert kullback_leibler_divergence(ship, ship) == pytest.approx(0, abs=1e-12)
    # The divergence is not symmetric, and names of the same box make no difference.
    thin = [5, 5, 20, 2, 0]
    assert kullback_leibler_divergence(ship, thin) > 2 * kullback_leibler_divergence(thin, ship)
    assert probabilistic_iou(thin, [5, 5, 2, 20, np.pi / 2]) == pytest.approx(1, abs=1e-6)


def test_all_pairs_by_broadcasting() -> None:
    one, other = near_pairs(4)
    matrix = probabilistic_iou(one[:, None], other[:3])
    assert matrix.shape == (4, 3)
    np.testing.assert_allclose(np.diag(matrix), probabilistic_iou(one[:3], other[:3]))


def test_wrong_input_is_refused() -> None:
    box = [[5, 5, 4, 2, 0]]
    for wrong, message in (
        ([[5, 5, 0, 2, 0]], "sides above 0"),
        ([[5, 5, 4, 2, 90]], "radians"),
        ([[5, 5, 4]], r"\(..., 5\)"),
        (np.ones((3, 1, 5)).repeat(2, axis=1), None),
    ):
        if message is None:
            with pytest.raises(GeometryError, match="do not broadcast"):
                probabilistic_iou(np.ones((3, 5)), wrong)
        else:
            with pytest.raises(GeometryError, match=message):
                kullback_leibler_divergence(wrong, box)
