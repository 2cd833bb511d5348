"""`swath train` with one model more, `tiny`, a very small ResNet for EuroSAT's chips.

With `WAIT_IN_EPOCH` set, the process stands still after the first step of that epoch, until it is killed.
"""

import os
import time

import torch

from swath import api
from swath.cli import main as command_line
from swath.cli.progress import TrainingLine
from swath.models.classify.resnet import ResNetClassifier, ResNetConfig
from swath.models.outputs import ClassificationOutput
from swath.models.recipe import Recipe
from swath.models.shipped import EUROSAT_INPUT, ShippedModel
from swath.samples.nomenclature import EUROSAT_CLASSES
from swath.samples.transforms import RandomFlip, RandomRotate, RandomRotate90


def tiny() -> ResNetClassifier:
    """Build a network of a few thousand weights."""
    return ResNetClassifier(
        ResNetConfig(
            input=EUROSAT_INPUT,
            output=ClassificationOutput(classes=EUROSAT_CLASSES),
            blocks=(1, 1, 1, 1),
            widths=(4, 8, 8, 16),
            stem="small",
        )
    )


def tiny_recipe() -> Recipe:
    """Return a training in which everything is random that may be, with an average and two rates."""
    return Recipe(
        epochs=4,
        batch_size=4,
        learning_rate=1e-2,
        weight_decay=0.05,
        warmup_epochs=0.5,
        layer_decay=0.8,
        head_rate=2.0,
        class_weights="balanced",
        clip_gradient_norm=1.0,
        average=0.9,
        transforms=(RandomFlip(), RandomRotate90(), RandomRotate(20.0, probability=0.5)),
        cutmix=1.0,
        mix_share=0.5,
        watch="accuracy",
        workers=1,
    )


TINY = ShippedModel(
    name="tiny",
    build=tiny,
    recipe=tiny_recipe,
    dataset="eurosat",
    protocol="eurosat/accuracy-20%",
    validation=0.5,
)


def main() -> None:
    """Run the command line."""
    torch.set_num_threads(1)
    api.SHIPPED = (*api.SHIPPED, TINY)
    awaited = int(os.environ.get("WAIT_IN_EPOCH", "0"))
    show = TrainingLine.show

    def show_and_wait(line, progress):
        show(line, progress)
        if progress.epoch == awaited and not progress.metrics:
            time.sleep(3600)

    TrainingLine.show = show_and_wait
    command_line.main()


if __name__ == "__main__":
    main()
