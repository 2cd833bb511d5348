"""A frozen embedder with a linear head under the contract of all models."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from contract import ModelContract

from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.models.change.base import ChangeModel
from swath.models.classify.resnet import ResNetClassifier, ResNetConfig
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.models.pretrain.image_statistics import image_statistics
from swath.models.pretrain.linear_probe import LinearProbe, linear_probe
from swath.models.pretrain.preparation import Normalisation, Preparation
from swath.models.pretrain.random_features import EIGHT_BIT_DIVIDED, mosaiks_zca_of
from swath.models.store import load_model, save_model
from swath.samples.batch import Batch
from swath.samples.labels import Label

TWO = ("land", "water")
RAW = InputSpec(bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT)
PREPARATION = Preparation(
    size=40, normalisation=Normalisation(name="standardization", shift=(1.0, 2.0, 3.0), scale=(2.0, 2.0, 4.0))
)


def residual() -> ResNetClassifier:
    return ResNetClassifier(
        ResNetConfig(
            input=RAW, output=ClassificationOutput(classes=("unread",)), blocks=(1, 1, 1, 1), widths=(8, 8, 16, 16)
        )
    )


def statistics_probe() -> LinearProbe:
    return linear_probe(image_statistics(), classes=tuple("abcdefghij"), features=12)


class TestContract(ModelContract):
    counts: ClassVar = {"imagestats": (statistics_probe, 130)}
    published_names: ClassVar = {"centre": (12,), "spread": (12,), "head.weight": (10, 12), "head.bias": (10,)}
    published_builder = staticmethod(statistics_probe)

    def small(self) -> LinearProbe:
        return linear_probe(residual(), classes=TWO, features=16, input=RAW, preparation=PREPARATION)

    def targets(self, count, height, width):
        return tuple(Label.of(TWO[number % 2], TWO, Size(height, width)) for number in range(count))

    def silent_parameters(self):
        return [f"embedder.{name}" for name, _ in residual().named_parameters()]


def test_logits_are_those_of_the_prepared_standardised_feature():
    torch.manual_seed(0)
    embedder = residual().eval()
    probe = linear_probe(embedder, classes=TWO, features=16, input=RAW, preparation=PREPARATION).eval()
    probe.network.centre.uniform_()
    probe.network.spread.uniform_(0.5, 2)
    image = torch.rand(2, 3, 24, 30) * 255
    shown = torch.nn.functional.interpolate(image, (40, 40), mode="bilinear")
    shown = (shown - torch.tensor([1.0, 2, 3])[:, None, None]) / torch.tensor([2.0, 2, 4])[:, None, None]
    with torch.inference_mode():
        feature = embedder.network.pooled(shown)
        expected = probe.network.head((feature - probe.network.centre) / probe.network.spread)
        batch = Batch(images={"image": image})
        torch.testing.assert_close(probe(batch), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(probe.embed(batch), feature, rtol=1e-4, atol=1e-5)
    assert probe.predict(batch)[0].size == Size(24, 30)


def test_training_leaves_the_embedder_as_it_is():
    probe = linear_probe(residual(), classes=TWO, features=16).train()
    before = {name: value.clone() for name, value in probe.network.embedder.state_dict().items()}
    probe.network(torch.rand(4, 3, 32, 32))
    assert probe.network.head.training
    assert not probe.network.embedder.network.bn1.training
    for name, value in probe.network.embedder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_filters_cut_from_images_are_saved_with_the_probe(tmp_path):
    images = [torch.randint(0, 255, (3, 9, 9)).numpy() for _ in range(3)]
    embedder = mosaiks_zca_of(images, input=EIGHT_BIT_DIVIDED, features=8)
    probe = linear_probe(embedder, classes=TWO, features=8)
    loaded = load_model(save_model(probe, tmp_path / "probe"))
    assert isinstance(loaded.model, LinearProbe)
    assert torch.equal(loaded.model.network.embedder.network.weights, embedder.network.weights)
    assert loaded.model.config == probe.config


def test_an_embedder_that_is_no_model_of_swath_is_not_built_by_name():
    config = statistics_probe().config
    for name in ("os:system", "swath.models.pretrain.linear_probe:nothing", "swath.models.base:stack_valid"):
        object.__setattr__(config, "embedder", name)
        with pytest.raises(ConfigurationError, match="a model of Swath; found"):
            LinearProbe(config)


def test_models_of_two_dates_are_refused():
    class Pair(ChangeModel):
        def __init__(self):
            torch.nn.Module.__init__(self)

        @property
        def inputs(self):
            return {"before": RAW, "after": RAW}

        @classmethod
        def card(cls):
            return LinearProbe.card()

    with pytest.raises(ConfigurationError, match="reads one image"):
        linear_probe(Pair(), classes=TWO, features=1)
