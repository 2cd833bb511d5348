"""A run's curves for TensorBoard, where that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swath.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CURVES = ("loss", "gradient_norm", "learning_rate", "samples_per_second", "memory_mib")


class TensorBoard:
    """A sink that writes loss terms, metrics and the pace of a run as scalars over its steps.

    What an earlier call of the run told after `step` is dropped, as it is told again. Raises `ConfigurationError` where
    the package is not installed.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                "TensorBoard is not installed; run pip install tensorboard, or train without it (log.jsonl tells the "
                "same)."
            ) from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, kind: str, content: Mapping[str, Any]) -> None:
        """Write the numbers of a line; what kind of run it is goes without curves."""
        if kind == "run":
            return
        curves = {name: content[name] for name in _CURVES if name in content}
        curves |= {f"{kind}/{name}": value for name, value in content["losses"].items()}
        curves |= {f"metrics/{name}": value for name, value in content.get("metrics", {}).items()}
        if kind == "validation":
            curves.pop("learning_rate")
        for name, value in curves.items():
            self._writer.add_scalar(name, value, content["step"])

    def close(self) -> None:
        """Write what is left and close the files."""
        self._writer.close()
