"""Loading weights safely: safetensors, or `.pth` through the restricted reader; nothing missing goes unsaid."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from swath.errors import ImageryNotFound, UnsafeWeights, WeightsMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from swath.models.base import Model

_NESTED_KEYS = ("state_dict", "model", "model_state", "params", "teacher", "student")
"""Under which checkpoints keep their weights; of several the first, of a pair the teacher, which is what is used."""
_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace]
"""What a checkpoint may hold beside tensors and plain values: settings, which are attributes and nothing that runs."""


@dataclass(frozen=True, kw_only=True)
class WrongShape:
    """A tensor whose shape in the file is not the network's."""

    name: str
    expected: tuple[int, ...]
    found: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of every tensor of a weights file.

    `renamed` maps published names to ours where they differ; `missing` are ours that the file lacks; `left_over` are
    the file's that the network has no place for.
    """

    loaded: tuple[str, ...]
    renamed: Mapping[str, str]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    wrong_shape: tuple[WrongShape, ...]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the network came from the file and none was left over."""
        return not (self.missing or self.left_over or self.wrong_shape)

    def summary(self) -> str:
        """Say in one sentence what was loaded, renamed, missing and left over."""
        wrong = "; ".join(f"{w.name} is {list(w.found)}, needed {list(w.expected)}" for w in self.wrong_shape[:3])
        parts = [f"{len(self.loaded)} tensors loaded, {len(self.renamed)} of them renamed"]
        for title, names in (("missing", self.missing), ("left over", self.left_over)):
            if names:
                more = ", ..." if len(names) > 3 else ""
                parts.append(f"{len(names)} {title} ({', '.join(names[:3])}{more})")
        if wrong:
            parts.append(f"{len(self.wrong_shape)} of another shape ({wrong})")
        return "; ".join(parts) + "."


def read_tensors(file: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors`, `.pth`, `.pt` or `.ckpt` file onto the CPU, running none of its code.

    A checkpoint that nests its weights under `state_dict`, `model`, `teacher`, ... is unwrapped; the settings of the
    program that made it (`argparse.Namespace`) may lie beside them. Raises `UnsafeWeights` for a file that only
    unpickling could read, `WeightsMismatch` for one that holds no tensors.
    """
    path = Path(file)
    if not path.is_file():
        raise ImageryNotFound(f"there is no weights file at {path}; check the path.")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise UnsafeWeights(
                f"{path} is not a safetensors file ({_first_line(error)}); a pickle under that name is not opened. "
                "Give a real .safetensors file."
            ) from error
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
    ) as error:
        raise UnsafeWeights(
            f"{path} holds more than tensors or is not a weights file ({_first_line(error)}), and opening it could run "
            "code; convert it to .safetensors where you trust it."
        ) from error
    return _unwrap(content, path)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:160]


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    while isinstance(content, dict):
        inner = next((content[key] for key in _NESTED_KEYS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    tensors = (
        {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, dict)
        else {}
    )
    if not tensors:
        raise WeightsMismatch(f"{path} holds no named tensors; give a state dict or a checkpoint around one.")
    return tensors


def load_published(model: Model, file: str | Path, *, strict: bool = True) -> LoadReport:
    """Load published weights into `model.network`, renaming them by its `remap_state_dict`.

    With `strict`, anything missing, left over or of another shape raises `WeightsMismatch` and the model keeps the
    weights it had; otherwise what fits is loaded and the report tells the rest.
    """
    published = read_tensors(file)
    return load_tensors(model, published, type(model).remap_state_dict(published), strict=strict, origin=str(file))


def load_tensors(
    model: Model,
    published: Mapping[str, Tensor],
    remapped: Mapping[str, Tensor],
    *,
    strict: bool,
    origin: str,
) -> LoadReport:
    """Load `remapped` tensors (our names) into the network and report against the `published` names."""
    own = model.network.state_dict()
    wrong = tuple(
        WrongShape(name=name, expected=tuple(own[name].shape), found=tuple(value.shape))
        for name, value in remapped.items()
        if name in own and own[name].shape != value.shape
    )
    bad = {w.name for w in wrong}
    fitting = {name: value for name, value in remapped.items() if name in own and name not in bad}
    places = {id(value): name for name, value in published.items()}
    renamed = {places[id(v)]: n for n, v in remapped.items() if id(v) in places and places[id(v)] != n}
    report = LoadReport(
        loaded=tuple(fitting),
        renamed=renamed,
        missing=tuple(name for name in own if name not in fitting and name not in bad),
        left_over=tuple(name for name in remapped if name not in own),
        wrong_shape=wrong,
    )
    if strict and not report.complete:
        raise WeightsMismatch(
            f"{origin} does not hold the weights of {type(model).__name__} in this configuration: {report.summary()} "
            "Name the model and variant they were made for."
        )
    model.network.load_state_dict(fitting, strict=False)
    return report
