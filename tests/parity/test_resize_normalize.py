"""The resize-and-normalise benchmark against numpy transcriptions of its features and scikit-learn's neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundles import ParityBundle

from swath.benchmarks.averaged_scores import class_figures, label_figures
from swath.benchmarks.nearest_neighbours import NearestNeighbours, decide
from swath.imagery.bands import Unit
from swath.models.inputs import InputSpec
from swath.models.pretrain.embedder import Embedder
from swath.models.pretrain.image_statistics import image_statistics
from swath.models.pretrain.preparation import Normalisation, Order, Preparation
from swath.models.pretrain.random_features import RandomFeatures, mosaiks, mosaiks_zca_of
from swath.samples.batch import Batch

TOLERANCE = 1e-4
INPUT = InputSpec(bands=("red", "green", "blue"), unit=Unit.DN)


@pytest.fixture(scope="module")
def bundle() -> ParityBundle:
    return ParityBundle.load("resize-normalize-benchmark")


def features(model: Embedder, bundle: ParityBundle, preparation: Preparation) -> np.ndarray:
    raw = torch.from_numpy(bundle.arrays["images"].astype(np.float32))
    return model.embed(Batch(images={"image": preparation(raw)})).numpy()


def divided(size: int | None = None, order: Order = "resize first") -> Preparation:
    return Preparation(size=size, normalisation=Normalisation(name="divide", scale=(10_000.0,)), order=order)


def test_image_statistics(bundle):
    found = features(image_statistics(input=INPUT), bundle, divided())
    assert bundle.compare("image_statistics", found) <= TOLERANCE


@pytest.mark.parametrize("filters", ["gaussian", "zca"])
def test_filters(bundle, filters):
    assert bundle.compare(f"{filters}_filters", filtered(bundle, filters).network.weights.numpy()) <= TOLERANCE


@pytest.mark.parametrize("filters", ["gaussian", "zca"])
def test_features_at_native_size_and_at_224(bundle, filters):
    model = filtered(bundle, filters)
    # 32-bit whitening leaves noise along the mean, which bright images amplify; so the stored filters are used.
    model.network.weights.copy_(torch.from_numpy(bundle.arrays[f"{filters}_filters"]))
    assert bundle.compare(f"{filters}_features", features(model, bundle, divided())) <= TOLERANCE
    for order in ("resize first", "normalise first"):
        assert bundle.compare(f"{filters}_features_224", features(model, bundle, divided(224, order))) <= TOLERANCE


def filtered(bundle: ParityBundle, filters: str) -> RandomFeatures:
    seed = bundle.meta["seed"]
    if filters == "gaussian":
        return mosaiks(input=INPUT, seed=seed)
    return mosaiks_zca_of(list(bundle.arrays["images"]), input=INPUT, seed=seed)


def neighbours(bundle: ParityBundle, truth: str) -> np.ndarray:
    arrays = bundle.arrays
    known = NearestNeighbours(features=arrays["train"], truth=arrays[truth], classes=int(arrays["classes"].max()) + 1)
    return known.shares(arrays["test"])


def test_votes_equal_those_of_scikit_learn(bundle):
    arrays = bundle.arrays
    shares = neighbours(bundle, "classes")
    np.testing.assert_allclose(shares, arrays["class_shares"], atol=1e-6)
    said = decide(shares, exclusive=True)
    assert np.array_equal(said, arrays["predicted_classes"])
    ties = (np.sort(shares, 1)[:, -1] == np.sort(shares, 1)[:, -2]).sum()
    assert ties > 10, "the bundle must hold ties, or the rule for them is not tested"
    assert class_figures(arrays["truth"], said, 7)["accuracy"] == bundle.meta["figures"]["accuracy"]


def test_labels_and_averages_equal_those_of_scikit_learn(bundle):
    arrays = bundle.arrays
    shares = neighbours(bundle, "labels")
    assert set(np.unique(shares).round(9)) == {0, 0.2, 0.4, 0.6, 0.8, 1}
    np.testing.assert_allclose(shares, arrays["label_shares"], atol=1e-6)
    said = decide(shares, exclusive=False)
    assert np.array_equal(said, arrays["predicted_labels"])
    figures = label_figures(arrays["true_labels"], shares, said)
    expected = {name: value for name, value in bundle.meta["figures"].items() if name != "accuracy"}
    assert len(expected) == 6
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-12), name


def test_comparison_notices_another_seed(bundle):
    other = mosaiks(input=INPUT, seed=bundle.meta["seed"] + 1)
    assert bundle.compare("gaussian_features", features(other, bundle, divided())) > 100 * TOLERANCE
