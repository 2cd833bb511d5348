"""Make the top-level `benchmarks` importable, which compares the product with its peers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
