"""The models whose weights ship, `trees`, `landuse` and `change`, as they are built and trained.

Each `ShippedModel` says how to build the network anew, by which recipe it was trained, on which data set, and what its
card says; `swath train NAME DATA=FOLDER -o FOLDER` runs just that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swath.imagery.bands import Unit
from swath.imagery.units import Stretch
from swath.models.base import Model
from swath.models.change.lwganet_a2net import ExchangeDates, LWGANetA2Net, lwganet_a2net
from swath.models.classify.lwganet_backbone import SMALLEST, STRIDE
from swath.models.classify.resnet import ResNetClassifier, ResNetConfig
from swath.models.classify.rsmamba import RSMamba, RSMambaConfig
from swath.models.inputs import InputSpec, imagenet_rgb
from swath.models.outputs import ClassificationOutput, PointOutput
from swath.models.recipe import Recipe
from swath.models.segment.effnet_unetpp import EfficientNetUnetPlusPlus, EfficientNetUnetPlusPlusConfig
from swath.samples.nomenclature import EUROSAT_CLASSES
from swath.samples.transforms import ColourJitter, RandomFlip, RandomResizedCrop, RandomRotate90, Sometimes

WEIGHTS = Path(__file__).parent.parent / "weights"
"""The folder of the weights that ship, one folder a name."""


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """A model by the name under which its weights ship: builder, recipe, data set and protocol.

    `validation` is the share of the training part that is held back to choose weights or a threshold. A `teacher` is
    trained first, on the same part, where the recipe learns from one (`teacher_share`).
    """

    name: str
    build: Callable[[], Model]
    recipe: Callable[[], Recipe]
    dataset: str
    protocol: str
    validation: float
    teacher: ShippedModel | None = None


NAIP_MEAN = (114.0, 116.2, 111.7, 118.2)
NAIP_STD = (46.9, 41.7, 39.7, 44.0)


def trees() -> EfficientNetUnetPlusPlus:
    """Build the tree finder: U-Net++ on EfficientNet-B0 with a slim decoder, NAIP's four bands at 0.6 m."""
    return EfficientNetUnetPlusPlus(
        EfficientNetUnetPlusPlusConfig(
            encoder="b0",
            decoder_channels=(64, 48, 32, 24, 16),
            input=InputSpec(
                bands=("red", "green", "blue", "nir"),
                unit=Unit.EIGHT_BIT,
                mean=NAIP_MEAN,
                std=NAIP_STD,
                gsd=0.6,
                window=576,
                overlap=64,
                multiple_of=32,
            ),
            output=PointOutput(classes=("tree",), sigma=3.0, minimum_distance=4.0, threshold=0.3),
        )
    )


def trees_recipe() -> Recipe:
    """Return the training of `trees`: AdamW at 1e-3 on a cosine, flips, quarter turns and a little change of light."""
    return Recipe(
        epochs=60,
        batch_size=8,
        learning_rate=1e-3,
        weight_decay=1e-3,
        warmup_epochs=2,
        minimum_learning_rate=1e-6,
        clip_gradient_norm=5.0,
        average=0.99,
        precision="bfloat16",
        transforms=(RandomFlip(), RandomRotate90(), ColourJitter(brightness=0.2, contrast=0.2)),
        validate_every=5,
        watch="F1 (6 m)",
        workers=1,
    )


EUROSAT_MEAN = (88.0, 97.5, 104.3)
EUROSAT_STD = (51.7, 35.0, 29.9)
EUROSAT_STRETCH = Stretch(unit=Unit.REFLECTANCE, low=0.0, high=0.275)
"""How EuroSAT's 8-bit pictures were made from reflectance: 0 to 0.275 becomes 0 to 255 (2,750 digital numbers)."""


EUROSAT_INPUT = InputSpec(
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    mean=EUROSAT_MEAN,
    std=EUROSAT_STD,
    stretch=EUROSAT_STRETCH,
    gsd=10.0,
    window=64,
    overlap=0,
    fixed_size=True,
)


def landuse() -> RSMamba:
    """Build the land-use classifier: RSMamba for chips of 64 px at 10 m in red, green and blue."""
    return RSMamba(
        RSMambaConfig(
            input=EUROSAT_INPUT,
            output=ClassificationOutput(classes=EUROSAT_CLASSES),
            layers=6,
            width=96,
            patch_size=8,
            patch_stride=8,
            state_size=8,
            orientations=8,
        )
    )


def landuse_recipe() -> Recipe:
    """Return the training of `landuse`: AdamW at 2e-3 on a cosine, CutMix, labels mostly the teacher's."""
    return Recipe(
        epochs=100,
        batch_size=64,
        learning_rate=2e-3,
        weight_decay=0.05,
        warmup_epochs=3,
        minimum_learning_rate=2e-6,
        clip_gradient_norm=1.0,
        average=0.998,
        transforms=(
            RandomResizedCrop(size=64, area=(0.7, 1.0), aspect=(0.8, 1.25)),
            RandomFlip(),
            RandomRotate90(),
            ColourJitter(brightness=0.1, contrast=0.1),
        ),
        cutmix=1.0,
        mix_share=0.25,
        teacher_share=0.7,
        validate_every=5,
        watch="accuracy",
        workers=1,
    )


def landuse_teacher() -> ResNetClassifier:
    """Build the teacher of `landuse`: a small ResNet, which learns from few chips what RSMamba needs many for."""
    return ResNetClassifier(
        ResNetConfig(
            input=EUROSAT_INPUT,
            output=ClassificationOutput(classes=EUROSAT_CLASSES, label_smoothing=0.1),
            widths=(32, 64, 128, 256),
            stem="small",
        )
    )


def landuse_teacher_recipe() -> Recipe:
    """Return the training of the teacher: AdamW at 2e-3 on a cosine and CutMix on half of the batches."""
    return Recipe(
        epochs=100,
        batch_size=64,
        learning_rate=2e-3,
        weight_decay=0.05,
        warmup_epochs=3,
        minimum_learning_rate=2e-6,
        clip_gradient_norm=5.0,
        average=0.998,
        precision="bfloat16",
        channels_last=True,
        transforms=(
            RandomResizedCrop(size=64, area=(0.5, 1.0), aspect=(0.8, 1.25)),
            RandomFlip(),
            RandomRotate90(),
            ColourJitter(brightness=0.1, contrast=0.2),
        ),
        cutmix=1.0,
        mix_share=0.5,
        validate_every=5,
        watch="accuracy",
        workers=1,
    )


def change() -> LWGANetA2Net:
    """Build the change detector: LWGANet-L0 with an A2Net decoder, red, green and blue at any resolution."""
    return lwganet_a2net(input=imagenet_rgb(window=256, overlap=64, multiple_of=STRIDE, square=True, minimum=SMALLEST))


def change_recipe() -> Recipe:
    """Return the training of `change`: AdamW at 1e-3 on a cosine; the pairs themselves are new in every place."""
    return Recipe(
        epochs=3,
        batch_size=16,
        learning_rate=1e-3,
        weight_decay=1e-2,
        warmup_epochs=0.2,
        minimum_learning_rate=1e-6,
        clip_gradient_norm=1.0,
        average=0.998,
        channels_last=True,
        transforms=(Sometimes(ExchangeDates(), 0.5),),
        validate_every=1,
        watch="F1 (class changed)",
        workers=1,
    )


LANDUSE_TEACHER = ShippedModel(
    name="landuse-teacher",
    build=landuse_teacher,
    recipe=landuse_teacher_recipe,
    dataset="eurosat",
    protocol="eurosat/accuracy-20%",
    validation=0.05,
)
SHIPPED = (
    ShippedModel(
        name="trees",
        build=trees,
        recipe=trees_recipe,
        dataset="urban-trees",
        protocol="urban-trees/f1-6m",
        validation=0.1,
    ),
    ShippedModel(
        name="landuse",
        build=landuse,
        recipe=landuse_recipe,
        dataset="eurosat",
        protocol="eurosat/accuracy-20%",
        validation=0.05,
        teacher=LANDUSE_TEACHER,
    ),
    ShippedModel(
        name="change",
        build=change,
        recipe=change_recipe,
        dataset="urban-tree-pairs",
        protocol="urban-tree-pairs/whole",
        validation=0.1,
    ),
)
