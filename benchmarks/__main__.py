"""`python -m benchmarks [NAME ...]`: run the named benchmarks, or the quick ones."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import corruption, detection, loading, memory, metrics, oriented, pair, road, scan, vectors

Report = Callable[[argparse.Namespace, Path], None]

QUICK: Mapping[str, Report] = {
    "scan": lambda asked, _: scan.report(repeats=asked.repeats),
    "vectors": lambda asked, _: vectors.report(repeats=asked.repeats),
    "oriented": lambda asked, _: oriented.report(repeats=asked.repeats),
    "metrics": lambda asked, _: metrics.report(tiles=40, pixels=asked.pixels or 512, repeats=asked.repeats),
    "corruption": lambda asked, _: corruption.report(pixels=asked.pixels or 512, repeats=asked.repeats),
    "loading": lambda asked, folder: loading.report(
        folder, data=asked.data, images=asked.images, repeats=asked.repeats
    ),
    "road": lambda asked, folder: road.report(folder, pixels=asked.pixels or 8192, repeats=asked.repeats),
}
LONG: Mapping[str, Report] = {
    "detection": lambda asked, _: detection.report(repeats=asked.repeats),
    "memory": lambda asked, folder: memory.report(folder, pixels=asked.pixels or 32768),
    "pair": lambda asked, folder: pair.report(folder, pixels=asked.pixels or 16384, repeats=asked.repeats),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*QUICK, *LONG, []], help=f"which to run (default: {', '.join(QUICK)})"
    )
    parser.add_argument(
        "--pixels", type=int, help="side of the scene, of a tile (metrics) or of the image (corruption)"
    )
    parser.add_argument("--data", help="what loading reads: NAME=FOLDER, or a folder of class folders (default: made)")
    parser.add_argument("--images", type=int, default=640, help="how many images loading reads")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender; the best counts")
    parser.add_argument("--folder", type=Path, help="where scenes and results go (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swath-bench-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.names or QUICK:
            {**QUICK, **LONG}[name](arguments, folder)


if __name__ == "__main__":
    main()
