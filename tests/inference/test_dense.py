"""Dense stitching against a whole-scene blend done the obvious way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.geometry.windows import Size, WindowPlan
from swath.inference.dense import DenseStitcher
from swath.inference.dense_kernels import exponential


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits.astype(np.float64) - logits.max(0))
    return e / e.sum(0)


def window_scores(planned, channels: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng([seed, planned.index])
    return generator.normal(size=(channels, planned.read.height, planned.read.width)).astype(np.float32) * 3


def blend_whole_scene(plan: WindowPlan, channels: int, seed: int, probability: bool) -> np.ndarray:
    """Accumulate weight times value over the whole scene and divide by the summed weights."""
    height, width = plan.scene.height, plan.scene.width
    total = np.zeros((channels, height, width))
    weights = np.zeros((height, width))
    halo = plan.halo
    for planned in plan:
        values = window_scores(planned, channels, seed).astype(np.float64)
        values = softmax(values) if probability else values

        def ramp(number, count, length, halo=halo):
            w = np.ones(length)
            rise = (np.arange(2 * halo) + 0.5) / (2 * halo) if halo else np.ones(0)
            if number:
                w[: 2 * halo] = rise
            if number < count - 1:
                w[length - 2 * halo :] = rise[::-1]
            return w

        wy = ramp(planned.grid_row, plan.rows, planned.read.height)
        wx = ramp(planned.grid_column, plan.columns, planned.read.width)
        weight = wy[:, None] * wx[None]
        for y in range(planned.read.height):
            for x in range(planned.read.width):
                row, column = planned.read.row + y, planned.read.column + x
                if 0 <= row < height and 0 <= column < width:
                    total[:, row, column] += weight[y, x] * values[:, y, x]
                    weights[row, column] += weight[y, x]
    return total / weights


plans = st.builds(
    lambda height, width, step, halo: WindowPlan(scene=Size(height, width), step=Size(step, step + 1), halo=halo),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(6, 11),
    st.integers(0, 3),
)


@settings(max_examples=40, deadline=None)
@given(plan=plans, seed=st.integers(0, 99))
def test_class_map_equals_a_blend_over_the_whole_scene(plan, seed, tmp_path_factory):
    truth = blend_whole_scene(plan, 3, seed, probability=True)
    stitcher = DenseStitcher(plan, channels=3, folder=Path(tmp_path_factory.mktemp("carry")))
    labels = np.full((plan.scene.height, plan.scene.width), 99, np.uint8)
    confidence = np.zeros_like(labels)
    for planned in plan:
        block = stitcher.push_classes(planned, window_scores(planned, 3, seed), logits=True)
        assert (labels[block.window.slices] == 99).all(), "a pixel was finished twice"
        labels[block.window.slices] = block.labels
        confidence[block.window.slices] = block.confidence
    stitcher.close()
    top = np.sort(truth, axis=0)
    clear = top[-1] - top[-2] > 1e-5
    np.testing.assert_array_equal(labels[clear], truth.argmax(0)[clear])
    np.testing.assert_allclose(confidence / 255, truth.max(0), atol=0.5 / 255 + 1e-4)


@settings(max_examples=30, deadline=None)
@given(plan=plans, seed=st.integers(0, 99))
def test_values_equal_a_blend_over_the_whole_scene(plan, seed, tmp_path_factory):
    truth = blend_whole_scene(plan, 2, seed, probability=False)
    stitcher = DenseStitcher(plan, channels=2, folder=Path(tmp_path_factory.mktemp("carry")))
    values = np.full((2, plan.scene.height, plan.scene.width), np.nan)
    for planned in plan:
        block = stitcher.push_values(planned, window_scores(planned, 2, seed))
        values[(slice(None), *block.window.slices)] = block.values
    stitcher.close()
    np.testing.assert_allclose(values, truth, atol=1e-4)


def test_invalid_pixels_have_no_class_and_no_confidence(tmp_path):
    plan = WindowPlan(scene=Size(4, 6), step=Size(4, 6), halo=0)
    stitcher = DenseStitcher(plan, channels=2, folder=tmp_path)
    valid = np.ones((4, 6), bool)
    valid[1, 2] = False
    scores = np.stack([np.zeros((4, 6), np.float32), np.ones((4, 6), np.float32)])
    block = stitcher.push_classes(plan[0], scores, logits=True, valid=valid)
    assert block.labels[1, 2] == 255
    assert block.confidence[1, 2] == 0
    assert (np.delete(block.labels.ravel(), 8) == 1).all()
    # softmax(0, 1) = 0.7311 of 255
    assert block.confidence[0, 0] == round(255 / (1 + np.exp(-1.0)))


def test_scores_of_another_size_are_refused(tmp_path):
    plan = WindowPlan(scene=Size(8, 8), step=Size(4, 4), halo=1)
    stitcher = DenseStitcher(plan, channels=2, folder=tmp_path)
    with pytest.raises(Exception, match="shape"):
        stitcher.push_classes(plan[0], np.zeros((2, 4, 4), np.float32), logits=True)


def test_exponential_is_accurate_over_its_range():
    x = -np.geomspace(1e-6, 86, 4001).astype(np.float32)
    found = x.copy()
    exponential(found, np.empty(x.size, np.int32))
    np.testing.assert_allclose(found, np.exp(x.astype(np.float64)), rtol=4e-7)
