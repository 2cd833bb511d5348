"""The rules of the house, each held by a test."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from swath.catalog import load_catalog

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "swath").rglob("*.py"))
FLOORS = (
    "errors",
    "geometry",
    "imagery",
    "samples",
    "metrics",
    "nn",
    "models",
    "datasets",
    "training",
    "inference",
    "benchmarks",
    "catalog",
    "api",
    "demo",
    "cli",
    "__main__",
)
"""From the ground up: a floor imports from those below it alone."""

NEVER = {"torchvision", "timm", "mmcv", "segmentation_models_pytorch"}


def imported_modules(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return names


def floor_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down_and_never_to_what_cannot_load(path):
    modules = imported_modules(path)
    assert not {name.partition(".")[0] for name in modules} & NEVER
    own = path.relative_to(ROOT / "swath").with_suffix("").parts[0]
    if own == "__init__":
        return
    for name in modules:
        if name.startswith("swath."):
            other = floor_of(name)
            assert FLOORS.index(other) <= FLOORS.index(own), f"{own} must not import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_functions_too(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Long lists of typed arguments and docstrings with examples do not make a function long.
            statements = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - statements[0].lineno if statements else 0
            assert length < 60, f"{node.name} is long"


def test_importing_swath_is_quick_and_brings_no_torch():
    code = "import sys, time; t = time.perf_counter(); import swath; "
    code += "print(time.perf_counter() - t, 'torch' in sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(3)]
    seconds, torch = zip(*(run.stdout.split() for run in runs), strict=True)
    assert set(torch) == {"False"}
    assert min(map(float, seconds)) < 0.3


def test_the_command_line_answers_without_torch():
    code = "import sys, swath.cli.main; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"


def test_nothing_that_cannot_load_is_imported_by_any_module():
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES]
    wanted = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    code = f"import importlib, sys\nfor name in {wanted!r}: importlib.import_module(name)\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not {name.partition(".")[0] for name in run.stdout.split()} & NEVER


def test_the_catalogue_has_76_systems_whose_parts_resolve():
    catalog = load_catalog()
    assert len(catalog.systems) == len(set(catalog.slugs)) == 76
    for system in catalog.systems:
        assert (system.state == "planned") == (not system.parts), system.slug
        for part in system.parts:
            module, _, name = part.partition(":")
            found = importlib.import_module(module)
            assert not name or hasattr(found, name), part


def test_torch_load_is_always_the_restricted_one():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}: {ast.unparse(node)}"
