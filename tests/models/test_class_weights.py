"""Every model heeds the weights of its classes in its loss, or refuses them in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.models.base import OneImageModel
from swath.models.change.btc import btc_tiny
from swath.models.change.lenet import LENet, LENetConfig
from swath.models.change.lwganet_a2net import lwganet_a2net
from swath.models.classify.lcz_resnext import lcz_resnext
from swath.models.classify.resnet import ResNetClassifier, ResNetConfig
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import ClassificationOutput, SegmentationOutput
from swath.models.segment.effnet_unetpp import EfficientNetUnetPlusPlus, EfficientNetUnetPlusPlusConfig
from swath.models.segment.lwganet_unetformer import lwganet_unetformer
from swath.samples.batch import Batch
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap

PAIR = ("land", "water")
SIDE = 64


def resnet():
    output = ClassificationOutput(classes=PAIR)
    return ResNetClassifier(
        ResNetConfig(input=imagenet_rgb(), output=output, blocks=(1, 1, 1, 1), widths=(4, 4, 4, 4), stem="small")
    )


def unetpp():
    return EfficientNetUnetPlusPlus(
        EfficientNetUnetPlusPlusConfig(
            encoder="b0",
            decoder_channels=(16, 8, 8, 8, 8),
            deep_supervision=True,
            input=imagenet_rgb(window=SIDE, multiple_of=32),
            output=SegmentationOutput(classes=PAIR, binary=True),
        )
    )


def lenet():
    spec = imagenet_rgb(window=SIDE, overlap=16, fixed_size=True)
    few = {"heads": (1, 2, 2, 4), "decoder_heads": (1, 2, 2, 4), "depths": (1, 1, 1, 1)}
    return LENet(LENetConfig(input=spec, width=16, window=4, pyramid_channels=16, head_channels=8, **few))


def climate_zones():
    return lcz_resnext("optical", classes=PAIR, groups=2, group_width=4, stem=8, blocks=1)


def fresh(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


def batch_for(model, *labels):
    """One image a label, with that label everywhere."""
    draw = torch.Generator().manual_seed(1)
    side = min(SIDE, *(spec.window for spec in model.inputs.values()))
    frame = Size(side, side)
    names = model.classes
    targets = [
        Label.of(names[label], names, frame)
        if isinstance(model.config.output, ClassificationOutput)
        else ClassMap(size=frame, labels=np.full((side, side), label), classes=names)
        for label in labels
    ]
    images = {
        slot: torch.randn(len(labels), spec.channels, side, side, generator=draw) for slot, spec in model.inputs.items()
    }
    return Batch(images=images, targets=tuple(targets))


def entropies(model, batch):
    """The loss of a batch without Dice, in which all classes count alike anyhow."""
    with torch.no_grad():
        return sum(term.item() for name, term in model.loss(batch).items() if name != "dice")


@pytest.mark.parametrize("build", [resnet, unetpp, lenet, climate_zones])
def test_the_loss_is_the_mean_weighted_by_class(build):
    model = fresh(build)
    both = batch_for(model, 0, 1)
    alone = [
        entropies(model, Batch(images={slot: image[[n]] for slot, image in both.images.items()}, targets=(target,)))
        for n, target in enumerate(both.targets)
    ]
    assert entropies(model, both) == pytest.approx(sum(alone) / 2, rel=1e-4)
    model.weigh_classes((1.0, 3.0))
    assert entropies(model, both) == pytest.approx((alone[0] + 3 * alone[1]) / 4, rel=1e-4)
    model.weigh_classes((0.0, 1.0))
    assert entropies(model, both) == pytest.approx(alone[1], rel=1e-4)
    model.weigh_classes(())
    assert entropies(model, both) == pytest.approx(sum(alone) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: btc_tiny(width=12, head_width=8), "BTC"),
        (lwganet_a2net, "LWGANetA2Net"),
        (lambda: lwganet_unetformer(classes=PAIR), "LWGANetUNetFormer"),
    ],
)
def test_a_model_with_a_loss_of_its_own_refuses_weights(build, name):
    with torch.device("meta"):
        model = build()
    with pytest.raises(ConfigurationError, match=f"{name} does not; set them to \\(\\), or balance the samples"):
        model.weigh_classes((1.0, 3.0))
    model.weigh_classes(())


def test_a_subclass_with_another_loss_says_whether_it_is_the_outputs():
    class Own(ResNetClassifier):
        def loss(self, batch):
            return {"nothing": torch.zeros(())}

    class Outputs(ResNetClassifier):
        loss_by_output = True

        def loss(self, batch):
            return super().loss(batch)

    class Further(Own):
        """Nothing of its own."""

    assert (OneImageModel.loss_by_output, Own.loss_by_output, Outputs.loss_by_output) == (True, False, True)
    assert not Further.loss_by_output
    spec = InputSpec(bands=("red",), unit=Unit.EIGHT_BIT)
    config = ResNetConfig(input=spec, output=ClassificationOutput(classes=PAIR), widths=(4, 4, 4, 4))
    with pytest.raises(ConfigurationError, match="Own does not"):
        Own(config).weigh_classes((1.0, 3.0))
    outputs = Outputs(config)
    outputs.weigh_classes((1.0, 3.0))
    assert outputs.config.output.class_weights == (1.0, 3.0)
