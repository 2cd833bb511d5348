"""Random convolutional features under the contract: by hand, by draws written out, and by what whitening promises."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from embedder_contract import EmbedderContract
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import AnnotationError, ConfigurationError, DataError, ShapeError
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.models.inputs import InputSpec
from swath.models.pretrain.random_features import (
    EIGHT_BIT_DIVIDED,
    RandomFeatures,
    RandomFeaturesConfig,
    Whitening,
    draw_patches,
    gaussian_filters,
    mosaiks,
    mosaiks_zca,
    mosaiks_zca_of,
)
from swath.models.store import load_model, save_model
from swath.samples.batch import Batch
from swath.samples.sample import Sample


class TestContract(EmbedderContract):
    counts: ClassVar = {"mosaiks_512_3": (mosaiks, 0)}
    published_names: ClassVar = {"weights": (256, 3, 3, 3), "biases": (256,)}
    published_builder = staticmethod(mosaiks)

    def small(self) -> RandomFeatures:
        return mosaiks(features=16)


def images(count=5, channels=3, height=12, width=10, seed=0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 255, (count, channels, height, width), dtype=np.uint8))


def test_zeros_give_0_and_1_for_every_filter():
    found = mosaiks().embed(Batch(images={"image": torch.zeros(1, 3, 16, 16)}))
    assert found.shape == (1, 512)
    assert found[0, :256].eq(0).all()
    assert found[0, 256:].eq(1).all()


def test_a_pixel_by_hand():
    """One filter of one pixel, weight 2 and bias -1: 0 gives -1 and 1 gives +1."""
    config = RandomFeaturesConfig(input=InputSpec(bands=("red",), unit=Unit.EIGHT_BIT), features=2, kernel=1, bias=-1.0)
    model = RandomFeatures(config)
    model.network.weights.fill_(2.0)
    image = torch.tensor([[[[0.0, 1.0], [1.0, 3.0]]]])
    # Answers -1, 1, 1, 5: their positive parts have the mean 7/4, their negative ones 1/4.
    assert model.embed(Batch(images={"image": image})).tolist() == [[1.75, 0.25]]


@pytest.mark.parametrize("size", [(9, 11), (70, 66)])
def test_filters_taken_a_few_at_a_time_give_the_whole(size):
    model = mosaiks(seed=3)
    image = torch.rand(2, 3, *size)
    answer = torch.nn.functional.conv2d(image, model.network.weights, model.network.biases)
    expected = torch.cat([answer.clamp(min=0).mean((2, 3)), (-answer).clamp(min=0).mean((2, 3))], 1)
    torch.testing.assert_close(model.network(image), expected, rtol=1e-5, atol=1e-6)


def test_a_seed_gives_the_same_filters_and_another_seed_others():
    expected = torch.randn(256, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mosaiks(seed=0).network.weights, expected)
    assert not torch.equal(mosaiks(seed=1).network.weights, expected)
    assert not torch.equal(mosaiks(seed=None).network.weights, mosaiks(seed=None).network.weights)


def test_unseeded_filters_come_from_the_running_generator():
    torch.manual_seed(5)
    expected = torch.randn(2, 3, 3, 3)
    torch.manual_seed(5)
    assert torch.equal(gaussian_filters(2, 3, 3, seed=None), expected)


def test_patches_are_drawn_image_row_column_one_after_another():
    known = images()
    draws = np.random.default_rng(42)
    expected = []
    for _ in range(6):
        which, y, x = draws.integers(0, 5), draws.integers(0, 9), draws.integers(0, 7)
        expected.append(known[which][:, y : y + 3, x : x + 3])
    found = draw_patches(known, 6, 3, seed=42)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack(expected))


def test_the_same_seed_on_the_same_images_gives_the_same_zca_filters():
    one, two, other = (mosaiks_zca_of(images(), input=EIGHT_BIT_DIVIDED, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(one.network.weights, two.network.weights)
    assert not torch.equal(one.network.weights, other.network.weights)
    assert one.config.filters == "zca"


@given(seed=st.integers(0, 1000), channels=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_whitened_patches_have_covariance_1_where_there_is_variance(seed, channels):
    patches = draw_patches(images(count=8, channels=channels, height=24, width=24, seed=seed), 400, 3, seed=seed)
    whitening = Whitening.of(patches)
    rows = whitening.patches
    np.testing.assert_allclose(rows.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-9)
    spectrum = np.linalg.eigvalsh(rows.T @ rows / len(rows))
    white = rows @ whitening.matrix
    found = np.linalg.eigvalsh(white.T @ white / len(white))
    # e becomes e / (e + 0.001): 1 where variance is large beside 0.001, and 0 along the mean, which was taken out.
    np.testing.assert_allclose(found, np.sort(spectrum / (spectrum + 1e-3)), atol=1e-9)
    assert (found[1:] > 0.9).all()
    assert found[0] == pytest.approx(0, abs=1e-9)


def test_flat_patches_stay_zero():
    whitening = Whitening.of(np.full((4, 1, 3, 3), 9.0))
    assert not whitening.filters((4, 1, 3, 3)).any()


def test_zca_filters_are_read_from_samples_in_the_models_bands_and_kept_in_its_file(tmp_path):
    bands = tuple(Band(name=role, role=role) for role in ("blue", "green", "red"))
    samples = [
        Sample(key=str(n), images={"image": Pixels.from_array(image, bands, Unit.EIGHT_BIT)})
        for n, image in enumerate(images())
    ]
    model = mosaiks_zca(train=samples, features=8, seed=1)
    turned = mosaiks_zca_of([image[::-1] for image in images()], input=EIGHT_BIT_DIVIDED, features=8, seed=1)
    assert torch.equal(model.network.weights, turned.network.weights)
    loaded = load_model(save_model(model, tmp_path / "zca")).model
    assert torch.equal(loaded.network.weights, model.network.weights)
    assert loaded.config == model.config


def test_unfitted_zca_filters_never_pass_for_features():
    model = RandomFeatures(RandomFeaturesConfig(input=EIGHT_BIT_DIVIDED, filters="zca", features=4))
    with pytest.raises(AnnotationError, match="finite"):
        model.predict(Batch(images={"image": torch.zeros(1, 3, 8, 8)}))


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="even number of features"):
        mosaiks(features=5)
    with pytest.raises(DataError, match="there is none"):
        draw_patches([], 4, 3, seed=0)
    with pytest.raises(DataError, match="image 0 is 3 x 9"):
        draw_patches(images(count=1, height=3, width=9), 4, 3, seed=0)
    with pytest.raises(ShapeError, match="at least 3 x 3 pixels; found 2 x 8"):
        mosaiks(features=4).embed(Batch(images={"image": torch.zeros(1, 3, 2, 8)}))
