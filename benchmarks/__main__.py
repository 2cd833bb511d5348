"""`python -m benchmarks [road|scan|memory|vectors ...]`: run the named benchmarks, or the quick ones."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import memory, road, scan, vectors

QUICK = ("scan", "vectors", "road")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*QUICK, "memory", []], help="which to run (default: the quick ones)"
    )
    parser.add_argument("--pixels", type=int, help="side of the scene, for road and memory")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender; the best counts")
    parser.add_argument("--folder", type=Path, help="where scenes and results go (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swath-bench-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.names or QUICK:
            if name == "road":
                road.report(folder, pixels=arguments.pixels or 8192, repeats=arguments.repeats)
            elif name == "memory":
                memory.report(folder, pixels=arguments.pixels or 32768)
            elif name == "vectors":
                vectors.report(repeats=arguments.repeats)
            else:
                scan.report(repeats=arguments.repeats)


if __name__ == "__main__":
    main()
