"""Image statistics under the contract, and against numpy."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from embedder_contract import EmbedderContract

from swath.errors import ShapeError, WeightsMismatch
from swath.imagery.bands import Unit
from swath.models.inputs import InputSpec
from swath.models.pretrain.image_statistics import ImageStatistics, image_statistics
from swath.models.published import load_published
from swath.samples.batch import Batch


def thirteen_bands() -> ImageStatistics:
    return image_statistics(input=InputSpec(bands=tuple(f"band {n}" for n in range(13)), unit=Unit.DN, window=64))


class TestContract(EmbedderContract):
    counts: ClassVar = {"imagestats": (image_statistics, 0)}
    published_names: ClassVar = {}
    published_builder = staticmethod(partial(image_statistics))

    def small(self) -> ImageStatistics:
        return image_statistics()

    def test_weights_of_another_model_are_refused(self, tmp_path):
        torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
        with pytest.raises(WeightsMismatch, match="left over"):
            load_published(self.seeded(), tmp_path / "other.pth")


def test_thirteen_bands_give_52_numbers_in_the_published_order():
    images = np.random.default_rng(0).integers(0, 28_000, (3, 13, 20, 24)).astype(np.float32)
    found = thirteen_bands().embed(Batch(images={"image": torch.from_numpy(images)})).numpy()
    flat = images.reshape(3, 13, -1).astype(np.float64)
    expected = np.concatenate([flat.mean(2), flat.std(2, ddof=1), flat.max(2), flat.min(2)], axis=1)
    assert found.shape == (3, 52)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_constant_image_is_c_0_c_c():
    found = thirteen_bands().embed(Batch(images={"image": torch.full((1, 13, 8, 8), 7.0)}))
    assert found[0].reshape(4, 13).tolist() == [[7.0] * 13, [0.0] * 13, [7.0] * 13, [7.0] * 13]


def test_a_single_pixel_has_no_spread_and_is_refused():
    with pytest.raises(ShapeError, match="at least 2 x 2 pixels; found 1 x 1"):
        image_statistics().embed(Batch(images={"image": torch.zeros(1, 3, 1, 1)}))
