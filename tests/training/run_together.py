"""Runs for several processes, started by torchrun: `run_together.py FOLDER`; the tests run the same ones alone."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import tiny
import torch
from torch import nn

from swath.errors import TrainingError
from swath.models.recipe import Recipe, Stage
from swath.training.distributed import Process
from swath.training.loop import train

GLOBAL = Recipe(
    epochs=3,
    batch_size=8,
    learning_rate=2e-2,
    weight_decay=0.05,
    clip_gradient_norm=0.2,
    average=0.5,
    transforms=(tiny.mirror,),
)
"""What one process does with batches of eight, two do with two batches of two each."""
SHARE = replace(GLOBAL, batch_size=2, accumulate=2)
STAGES = (Stage(epochs=1, frozen=("0",)), Stage(epochs=2, learning_rate=1e-2))
NOISY = Recipe(epochs=2, batch_size=2, learning_rate=1e-2, accumulate=2, average=0.5)
"""With dropout and batch norm, which depend on how many processes there are."""


class Blocks(tiny.TinyClassifier):
    """A classifier with a block, of which FSDP makes a unit of its own, and a weight that no loss reaches."""

    def __init__(self, config):
        super().__init__(config)
        first, *rest, last = self.network
        block = nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()))
        self.network = nn.Sequential(first, block, *rest, last)
        self.network.register_parameter("unused", nn.Parameter(torch.ones(2)))


class Broken(tiny.TinyClassifier):
    """Its loss is no number when it sees the third pond."""

    def loss(self, batch):
        terms = super().loss(batch)
        return {name: term * (math.nan if "pond3" in batch.keys else 1.0) for name, term in terms.items()}


def learn(folder, recipe, kind=Blocks, **options):
    model = tiny.fresh(kind, seed=Process.from_environment().rank)  # all take the first one's weights
    data = tiny.Ponds(20, whole_image=issubclass(kind, tiny.TinyClassifier))
    return train(model, data, recipe, folder=folder, evaluate=tiny.accuracy, **options)


def left_by_sharding(folder):
    """Train with a frozen weight and say what is left in the caller's model: how plain, how frozen."""
    model = tiny.fresh(Blocks)
    model.network[0].bias.requires_grad_(False)
    before = model.network[0].bias.clone()
    settings = replace(SHARE, epochs=1, shard=True, gradient_checkpointing=True)
    train(model, tiny.Ponds(8, whole_image=True), settings, folder=folder)
    kinds = {type(parameter).__name__ for parameter in model.parameters()}
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return {"kinds": sorted(kinds), "frozen": frozen, "kept": torch.equal(before, model.network[0].bias)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank = Process.from_environment().rank
    told = []
    result = learn(folder / "copied", SHARE, progress=told.append)
    learn(folder / "sharded", replace(SHARE, shard=True))
    learn(folder / "staged", replace(SHARE, stages=STAGES))
    learn(folder / "staged-sharded", replace(SHARE, stages=STAGES, shard=True))
    for name, recipe in (("noisy", NOISY), ("noisy-sharded", replace(NOISY, shard=True))):
        learn(folder / name, recipe, tiny.TinySegmenter)
        # With no time at all, a call takes one step; the data make three an epoch.
        reasons = [learn(folder / f"{name}-parts", recipe, tiny.TinySegmenter, time_limit=0.0).reason for _ in range(6)]
        assert reasons == ["time"] * 5 + ["epochs"], reasons
    message = ""
    try:
        learn(folder / "broken", replace(SHARE, batch_size=1), Broken)
    except TrainingError as error:
        message = str(error)
    found = {
        "steps": sum(not progress.metrics for progress in told),
        "history": [dict(entry.metrics) for entry in result.history],
        "message": message,
        "left": left_by_sharding(folder / "left"),
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
