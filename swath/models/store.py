"""A model on disk: a folder of `config.json` and `model.safetensors` that anyone can read and nothing can run."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file

from swath.errors import ConfigurationError, ImageryNotFound, WeightsMismatch
from swath.models.base import Model
from swath.models.cards import Card
from swath.models.published import load_tensors, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model read from a folder, with its card and the hash of its weights.

    `sha256` is the hash of the weights file, or empty for a model that was never saved.
    """

    name: str
    model: Model
    card: Card
    sha256: str


def save_model(model: Model, folder: str | Path, *, card: Card | None = None, half: bool = False) -> Path:
    """Write `config.json`, `model.safetensors` and `README.md` (the card) into a folder, made if needed.

    With `half`, kernels and matrices are stored as 16-bit floats (read back as 32-bit ones), which halves the file;
    biases, norms and statistics stay whole.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    own = card or type(model).card()
    kind = type(model)
    document = {
        "format": _FORMAT,
        "model": f"{kind.__module__}:{kind.__qualname__}",
        "config": TypeAdapter(kind.Config).dump_python(model.config, mode="json"),
        "card": TypeAdapter(Card).dump_python(own, mode="json"),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (target / CONFIG_FILE).write_text(text, encoding="utf-8")
    tensors = {name: _plain(value, half=half) for name, value in model.network.state_dict().items()}
    save_file(tensors, target / WEIGHTS_FILE)
    # safetensors makes files that only their owner can read; a model is to be shared like any other file.
    (target / WEIGHTS_FILE).chmod((target / CONFIG_FILE).stat().st_mode)
    (target / "README.md").write_text(own.to_markdown(), encoding="utf-8")
    return target


def load_model(folder: str | Path, *, model_class: type[Model] | None = None) -> StoredModel:
    """Read a model that `save_model` wrote, in evaluation mode.

    Only classes of this package are built by name; give `model_class` for a class of your own. Raises
    `ImageryNotFound`, `ConfigurationError` or `WeightsMismatch`.
    """
    source = Path(folder)
    document = _read_document(source)
    kind = model_class or _model_class(str(document.get("model", "")), source)
    try:
        config = TypeAdapter(kind.Config).validate_python(_tuples(document["config"]))
        card = TypeAdapter(Card).validate_python(_tuples(document["card"]))
    except (ValidationError, KeyError) as error:
        first = str(error).splitlines()[0] if not isinstance(error, KeyError) else f"no {error}"
        raise ConfigurationError(
            f"{source / CONFIG_FILE} is not a configuration of {kind.__name__} ({first}); save the model again."
        ) from error
    model = kind.from_config(config)
    weights = source / WEIGHTS_FILE
    tensors = read_tensors(weights)
    load_tensors(model, tensors, tensors, strict=True, origin=str(weights))
    model.eval()
    return StoredModel(name=source.name, model=model, card=card, sha256=file_sha256(weights))


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in pieces."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: Tensor, *, half: bool) -> Tensor:
    plain = value.detach().to("cpu").contiguous().clone()
    return plain.half() if half and plain.is_floating_point() and plain.ndim >= 2 else plain


def _read_document(source: Path) -> dict[str, Any]:
    path = source / CONFIG_FILE
    if not path.is_file():
        raise ImageryNotFound(f"{source} is not a saved model: it has no {CONFIG_FILE}.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON ({error}); save the model again.") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ConfigurationError(f"{path} is not a model of format {_FORMAT}; save it again with this version.")
    return document


def _model_class(name: str, source: Path) -> type[Model]:
    module, _, attribute = name.partition(":")
    if not module.startswith("swath.models."):
        raise ConfigurationError(
            f"{source / CONFIG_FILE} names the class '{name}', which is not part of Swath; "
            "load it with load_model(folder, model_class=...)."
        )
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise WeightsMismatch(f"{source} needs '{name}', which this version of Swath has not got.") from error
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise ConfigurationError(f"{source / CONFIG_FILE} names '{name}', which is not a model.")
    return kind


def _tuples(value: Any) -> Any:
    """JSON has lists only; the configurations use tuples."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
