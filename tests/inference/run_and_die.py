"""Run a prediction and kill this very process (SIGKILL) after so many windows.

run_and_die.py SCENE OUTPUT WINDOWS KIND
"""

from __future__ import annotations

import os
import signal
import sys

from small_models import bright_points, per_pixel

from swath.imagery.scene import open_scene
from swath.inference.runner import run


def main() -> None:
    scene, output, windows, kind = sys.argv[1:5]

    def die(progress) -> None:
        if progress.done >= int(windows) > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    model = per_pixel(3) if kind == "classes" else bright_points()
    run(model, open_scene(scene), output, progress=die)


if __name__ == "__main__":
    main()
