"""What may be chosen for a run, and how the rest is chosen from the memory at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from swath.errors import ConfigurationError, GeometryError
from swath.geometry.windows import Size, WindowPlan, plan_windows
from swath.models.outputs import ClassificationOutput

if TYPE_CHECKING:
    from swath.models.base import Model
    from swath.models.inputs import InputSpec

_CPU_BUDGET = 48 * 2**20
_LARGEST_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Window and overlap in pixels, batch size, device; None means: chosen from the model and the memory at hand.

    >>> RunOptions(window=512).window
    512
    """

    window: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("window", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"--{name.replace('_', '-')} must be at least 1; found {value}.")

    def torch_device(self) -> torch.device:
        """Return the device (`auto`: the first GPU, else the CPU); `ConfigurationError` for one that is not there."""
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        try:
            device = torch.device(name)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigurationError(
                f"the device '{self.device}' is not to be had here; use --device cpu, cuda or auto."
            ) from error
        return device


def plan_for(model: Model, scene: Size, block: Size, options: RunOptions) -> WindowPlan:
    """Plan the windows of a scene for a model: its preferred window unless the options or the memory say otherwise.

    Raises `GeometryError` for a window that the model cannot take.
    """
    spec = next(iter(model.inputs.values()))
    overlap = spec.overlap if options.overlap is None else options.overlap
    window = options.window or _window_that_fits(model, spec, overlap)
    if spec.fixed_size and window != spec.window:
        raise GeometryError(f"this model reads windows of exactly {spec.window} pixels; found --window {window}.")
    if options.window and options.overlap is None:
        overlap = min(overlap, window // 4 // 2 * 2)
    if 2 * overlap >= window > overlap and overlap % 2 == 0 and _answers_labels(model):
        # Nothing is blended, so windows may share as much as they like: each answers for the middle of what it sees.
        return WindowPlan(scene=scene, step=Size(window - overlap, window - overlap), halo=overlap // 2)
    side = Size(window, window)
    if not spec.fixed_size and max(scene.height, scene.width) <= window:
        side = spec.size_around(scene)
        overlap = 0
    aligned = None if spec.fixed_size or spec.square else block
    plan = plan_windows(scene, window=side, overlap=overlap, block=aligned, multiple_of=spec.multiple_of)
    if min(plan.step.height, plan.step.width) < 2 * plan.halo:
        plan = plan_windows(scene, window=side, overlap=overlap, multiple_of=spec.multiple_of)
    return plan


def _answers_labels(model: Model) -> bool:
    return isinstance(getattr(model.config, "output", None), ClassificationOutput)


def _window_that_fits(model: Model, spec: InputSpec, overlap: int) -> int:
    """Return the model's window, halved until one fits a tenth of the free memory."""
    window = spec.window
    per_pixel = bytes_per_pixel(model)
    smallest = max(4 * overlap, spec.multiple_of, 64)
    while not spec.fixed_size and window // 2 >= smallest and per_pixel * window**2 > available_memory() / 10:
        window //= 2
    return window


def batch_for(model: Model, window: Size, options: RunOptions, device: torch.device) -> int:
    """Return how many windows to predict at once: what the options say, or what fits the budget (16 at most)."""
    if options.batch_size is not None:
        return options.batch_size
    if device.type == "cuda":
        budget = torch.cuda.mem_get_info(device)[0] // 2
    else:
        budget = min(_CPU_BUDGET, available_memory() // 4)
    return max(1, min(_LARGEST_BATCH, int(budget // (bytes_per_pixel(model) * window.area))))


def bytes_per_pixel(model: Model) -> float:
    """Estimate the memory of a prediction for each input pixel, from the sizes of all layers' outputs.

    One small window runs through the network; half of all outputs are taken to be alive at the worst moment.
    """
    spec = next(iter(model.inputs.values()))
    side = spec.window if spec.fixed_size else max(spec.multiple_of, 64)
    elements = [sum(value.channels for value in model.inputs.values()) * side * side]

    def count(_module: object, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            elements.append(output.numel())

    leaves = [module for module in model.network.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    try:
        with torch.inference_mode():
            model.network(*(torch.zeros(1, v.channels, side, side, device=model.device) for v in model.inputs.values()))
    finally:
        for handle in handles:
            handle.remove()
    return 4.0 * (elements[0] + sum(elements[1:]) / 2) / side**2


def prefers_channels_last(model: Model) -> bool:
    """Return whether a network runs better with the channels of a pixel side by side: on a CPU with several threads.

    oneDNN, which torch uses there, otherwise rearranges every image into blocks of 8 or 16 channels and back: a 1x1
    convolution of four bands then costs four times the work and a third more memory.
    """
    return model.device.type == "cpu" and torch.get_num_threads() > 1


def available_memory() -> int:
    """Return the bytes of memory that can be had without swapping, honouring a container's limit where there is one."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        free = min(free, int(text) - int(used.read_text()))
    return max(free, 64 * 2**20)
