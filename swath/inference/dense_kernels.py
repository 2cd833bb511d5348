"""The inner loops of dense stitching, compiled once.

Scores of one window become finished pixels in one pass: the inside, which no other window sees, is decided straight
from the logits; the strips shared with neighbours are turned into probabilities, weighted, and added to what the
neighbours left there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swath.geometry._compile import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87.0)


@compiled
def exponential(x: Floats, bits: NDArray[np.int32]) -> None:
    """Replace x (at most 0) by exp(x), relative error below 3e-7, in a form that compilers turn into vector code.

    `bits` is scratch of the same length. Cephes' range reduction and polynomial; arguments below -87 give about 0.
    """
    power = bits.view(np.float32)
    for i in range(x.size):
        value = max(x[i], _LOWEST)
        whole = np.floor(value * _LOG2_E + np.float32(0.5))
        r = value - whole * _LN2_HIGH - whole * _LN2_LOW
        p = np.float32(1.9875691500e-4)
        p = p * r + np.float32(1.3981999507e-3)
        p = p * r + np.float32(8.3334519073e-3)
        p = p * r + np.float32(4.1665795894e-2)
        p = p * r + np.float32(1.6666665459e-1)
        p = p * r + np.float32(5.0000001201e-1)
        bits[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        x[i] = (p * r * r + r + np.float32(1.0)) * power[i]


@compiled
def decide(
    scores_KHW: Floats,
    top: int,
    left: int,
    logits: bool,
    labels: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
) -> None:
    """Write the best class and its probability (0 to 255) of the rectangle at (top, left) that has `labels`' shape.

    Ties go to the lower class.
    """
    classes = scores_KHW.shape[0]
    height, width = labels.shape
    best = np.empty(width, np.float32)
    total = np.empty(width, np.float32)
    term = np.empty(width, np.float32)
    bits = np.empty(width, np.int32)
    for row in range(height):
        which = labels[row]
        share = confidence[row]
        best[:] = scores_KHW[0, top + row, left : left + width]
        which[:] = 0
        for k in range(1, classes):
            line = scores_KHW[k, top + row, left : left + width]
            for i in range(width):
                higher = line[i] > best[i]
                which[i] = np.uint8(k) if higher else which[i]
                best[i] = line[i] if higher else best[i]
        if logits:
            total[:] = np.float32(0.0)
            for k in range(classes):
                line = scores_KHW[k, top + row, left : left + width]
                for i in range(width):
                    term[i] = line[i] - best[i]
                exponential(term, bits)
                for i in range(width):
                    total[i] += term[i]
            for i in range(width):
                best[i] = np.float32(1.0) / total[i]
        for i in range(width):
            held = min(max(best[i], np.float32(0.0)), np.float32(1.0))
            share[i] = np.uint8(held * np.float32(255.0) + np.float32(0.5))


@compiled
def weigh(
    scores_KHW: Floats,
    top: int,
    left: int,
    logits: bool,
    weight_rows: Floats,
    weight_columns: Floats,
    out_KHW: Floats,
) -> None:
    """Write the weighted values (probabilities where the scores are logits) of the rectangle at (top, left).

    The weight of a pixel is that of its row times that of its column.
    """
    classes, height, width = out_KHW.shape
    best = np.empty(width, np.float32)
    factor = np.empty(width, np.float32)
    bits = np.empty(width, np.int32)
    for row in range(height):
        for i in range(width):
            factor[i] = weight_rows[row] * weight_columns[i]
        for k in range(classes):
            out_KHW[k, row] = scores_KHW[k, top + row, left : left + width]
        if logits:
            best[:] = out_KHW[0, row]
            for k in range(1, classes):
                line = out_KHW[k, row]
                for i in range(width):
                    best[i] = max(best[i], line[i])
            total = np.zeros(width, np.float32)
            for k in range(classes):
                line = out_KHW[k, row]
                for i in range(width):
                    line[i] -= best[i]
                exponential(line, bits)
                for i in range(width):
                    total[i] += line[i]
            for i in range(width):
                factor[i] /= total[i]
        for k in range(classes):
            line = out_KHW[k, row]
            for i in range(width):
                line[i] *= factor[i]
