"""ResNet under the contract of all models, and beside the ResNet of transformers with the same weights."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import ModelContract

from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.models.classify.resnet import (
    ResNetClassifier,
    ResNetConfig,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
)
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.nn.resnet import ResNet
from swath.samples.labels import Label

THOUSAND = tuple(f"class {number}" for number in range(1000))
TWO = ("land", "water")


def norm(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": (width,) for name in names} | {f"{prefix}.num_batches_tracked": ()}


def published_names() -> dict[str, tuple[int, ...]]:
    """torchvision's resnet50: three convolutions a block, a projection in the first of each layer."""
    names: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for layer, (count, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for block in range(count):
            prefix = f"layer{layer}.{block}."
            names |= {
                prefix + "conv1.weight": (width, inputs, 1, 1),
                prefix + "conv2.weight": (width, width, 3, 3),
                prefix + "conv3.weight": (4 * width, width, 1, 1),
            }
            names |= norm(prefix + "bn1", width) | norm(prefix + "bn2", width) | norm(prefix + "bn3", 4 * width)
            if block == 0:
                names[prefix + "downsample.0.weight"] = (4 * width, inputs, 1, 1)
                names |= norm(prefix + "downsample.1", 4 * width)
            inputs = 4 * width
    return names | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


class TestContract(ModelContract):
    counts: ClassVar = {
        "resnet18": (partial(resnet18, classes=THOUSAND), 11_689_512),
        "resnet34": (partial(resnet34, classes=THOUSAND), 21_797_672),
        "resnet50": (partial(resnet50, classes=THOUSAND), 25_557_032),
        "resnet101": (partial(resnet101, classes=THOUSAND), 44_549_160),
    }
    published_names: ClassVar = published_names()
    published_builder = staticmethod(partial(resnet50, classes=THOUSAND))

    def small(self) -> ResNetClassifier:
        return small()

    def targets(self, count, height, width):
        return tuple(Label.of(TWO[number % 2], TWO, Size(height, width)) for number in range(count))


def small(*, stem="published", bottleneck=False) -> ResNetClassifier:
    return ResNetClassifier(
        ResNetConfig(
            input=InputSpec(
                bands=("red", "green", "blue"), unit=Unit.EIGHT_BIT, mean=(127.5,), std=(127.5,), window=64
            ),
            output=ClassificationOutput(classes=TWO),
            blocks=(1, 2, 1, 1),
            widths=(8, 8, 16, 16),
            stem=stem,
            bottleneck=bottleneck,
        )
    )


def transformers_name(name: str, convolutions: int) -> str:
    """The name in transformers' ResNetModel of one of torchvision's."""
    parts = name.split(".")
    if parts[0] == "conv1":
        return "embedder.embedder.convolution." + parts[1]
    if parts[0] == "bn1":
        return "embedder.embedder.normalization." + parts[1]
    stage, block = int(parts[0].removeprefix("layer")) - 1, parts[1]
    prefix = f"encoder.stages.{stage}.layers.{block}."
    if parts[2] == "downsample":
        return prefix + "shortcut." + ("convolution." if parts[3] == "0" else "normalization.") + parts[4]
    number = int(parts[2][-1]) - 1
    assert number < convolutions
    kind = "convolution" if parts[2].startswith("conv") else "normalization"
    return f"{prefix}layer.{number}.{kind}.{parts[3]}"


@pytest.mark.parametrize("bottleneck", [False, True])
def test_features_equal_those_of_transformers(bottleneck):
    """An independent ResNet with the same weights gives the same four maps."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = ResNet(channels=3, blocks=(2, 1, 2, 1), widths=(8, 16, 24, 32), bottleneck=bottleneck).eval()
    for module in ours.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    expansion = 4 if bottleneck else 1
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[expansion * width for width in (8, 16, 24, 32)],
        depths=[2, 1, 2, 1],
        layer_type="bottleneck" if bottleneck else "basic",
        downsample_in_first_stage=False,
    )
    theirs = transformers.ResNetModel(config).eval()
    renamed = {transformers_name(name, 3 if bottleneck else 2): v for name, v in ours.state_dict().items()}
    theirs.load_state_dict(renamed, strict=True)
    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = theirs(image, output_hidden_states=True).hidden_states[1:]
        found = ours.features(image)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_small_stem_keeps_a_finer_map():
    images = torch.zeros(1, 3, 64, 64)
    published, fine = (small(stem=stem).eval().network.features(images) for stem in ("published", "small"))
    assert [map_.shape[-1] for map_ in published] == [16, 8, 4, 2]
    assert [map_.shape[-1] for map_ in fine] == [32, 16, 8, 4]


def test_four_stages_are_asked_for():
    with pytest.raises(ConfigurationError, match="four stages; found blocks"):
        ResNet(channels=3, blocks=(2, 2, 2))


def test_convolutions_start_as_in_the_paper():
    torch.manual_seed(0)
    weight = resnet18(classes=TWO).network.layer4[1].conv2.weight
    assert float(weight.detach().std()) == pytest.approx(np.sqrt(2 / (512 * 9)), rel=0.01)


def test_the_head_reads_the_embedding():
    model = small().eval()
    batch = TestContract().batch(model)
    with torch.inference_mode():
        feature = model.embed(batch)
        logits = model(batch)
        assert feature.shape == (2, 16)
        torch.testing.assert_close(feature @ model.network.fc.weight.T + model.network.fc.bias, logits)
