"""One deterministic run in a process of its own: `run_to_kill.py FOLDER CHECKPOINT_EVERY KILL_AT_STEP WHERE`.

WHERE is `step`, or `validation` for the validation after that step, before anything of it is stored.
"""

import os
import signal
import sys

import tiny
import torch

from swath.models.recipe import Recipe
from swath.training.loop import train

RECIPE = Recipe(
    epochs=4,
    batch_size=2,
    accumulate=2,
    learning_rate=1e-2,
    weight_decay=0.01,
    warmup_epochs=0.5,
    clip_gradient_norm=1.0,
    average=0.9,
    channels_last=True,
    transforms=(tiny.mirror,),
    workers=2,
    seed=3,
)


def main(folder: str, checkpoint_every: int, kill_at: int, where: str) -> None:
    torch.set_num_threads(1)

    def listen(progress):
        if progress.step == kill_at and bool(progress.metrics) == (where == "validation"):
            os.kill(os.getpid(), signal.SIGKILL)

    train(
        tiny.fresh(tiny.TinySegmenter),
        tiny.Ponds(18),
        RECIPE,
        folder=folder,
        evaluate=tiny.accuracy,
        checkpoint_every=checkpoint_every or None,
        progress=listen,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
