"""The run: plan, read ahead, predict in batches, stitch, write; resumable, and flat in memory.

>>> RunResult(output=Path("a.tif"), item=Path("a.stac.json"), windows=4, pixels=100, seconds=1.0, resumed_rows=0).rate
100.0
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from swath import __version__
from swath.errors import NothingToSee, OutputExists, OutputFailed, SwathError
from swath.geometry.windows import Window
from swath.imagery.stac import ModelProvenance, SceneProvenance, result_item, write_item
from swath.inference.allocator import fix_mapping_threshold
from swath.inference.manifest import Manifest, unfinished
from swath.inference.options import RunOptions, batch_for, plan_for, prefers_channels_last
from swath.inference.reading import ReadBatch, read_batches
from swath.inference.report import write_report
from swath.inference.stores import RunContext, Store, store_for
from swath.samples.batch import Batch
from swath.samples.located import Located
from swath.samples.objects import Objects

if TYPE_CHECKING:
    from swath.geometry.windows import WindowPlan
    from swath.imagery.scene import Scene
    from swath.models.base import Model
    from swath.models.outputs import ScoreMap
    from swath.models.store import StoredModel
    from swath.samples.annotation import Annotation

    Found = Annotation | ScoreMap


PAGE_SUFFIX = ".html"
"""A result of any kind can be a page to look at."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is: windows done of all, windows a second, seconds left."""

    done: int
    total: int
    rate: float
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Where the result and its STAC item are, and what the run took."""

    output: Path
    item: Path
    windows: int
    pixels: int
    seconds: float
    resumed_rows: int

    @property
    def rate(self) -> float:
        """Scene pixels a second."""
        return self.pixels / max(self.seconds, 1e-9)


def run(
    stored: StoredModel,
    scene: Scene,
    output: str | Path,
    *,
    options: RunOptions | None = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Predict a whole scene into a file whose suffix says the format, and write a STAC item beside it.

    An unfinished run of the same inputs, model and options is continued. Raises `OutputExists`, `BandMismatch`,
    `UnitMismatch`, `NothingToSee`, `ResumeMismatch`, `OutputFailed` and what reading raises; the final name appears
    only when the result is complete.
    """
    started = time.perf_counter()
    target = Path(output)
    if target.exists() and not overwrite:
        raise OutputExists(f"{target} is already there; choose another name, or say --overwrite to replace it.")
    chosen = _as_before(options or RunOptions(), unfinished(target) if resume else None)
    job = _Job.prepare(stored, scene, chosen)
    manifest = Manifest.begin(target, job.identity(target), resume=resume)
    resumed = manifest.rows_done
    store: Store | None = None
    try:
        store = job.store(manifest)
        if target.suffix.lower() not in (*store.suffixes, PAGE_SUFFIX):
            raise OutputFailed(
                f"'{stored.name}' gives {type(job.blank).__name__} and cannot be written as '{target.name}'; end the "
                f"name with one of {', '.join((*store.suffixes, PAGE_SUFFIX))}."
            )
        job.work(store, manifest, progress)
        item = _write(job, store, target, overwrite)
    except SwathError as error:
        # What is finished stays for the next try, unless there is nothing in it.
        if not manifest.rows_done or isinstance(error, NothingToSee):
            manifest.discard()
        raise
    finally:
        if store is not None:
            store.close()
    manifest.discard()
    return RunResult(
        output=target,
        item=item,
        windows=len(job.plan),
        pixels=scene.grid.size.area,
        seconds=time.perf_counter() - started,
        resumed_rows=resumed,
    )


def _as_before(options: RunOptions, identity: Mapping[str, Any] | None) -> RunOptions:
    """Take from an unfinished run what was left to the memory of then, which may be another now."""
    if identity is None:
        return options
    return replace(
        options,
        window=options.window or identity["window"],
        overlap=identity["overlap"] if options.overlap is None else options.overlap,
        batch_size=options.batch_size or identity["batch size"],
    )


def predict_scene(
    stored: StoredModel,
    scene: Scene,
    *,
    options: RunOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Located:
    """Predict a whole scene and return the result in memory; the same road as `run`, for scenes that fit."""
    job = _Job.prepare(stored, scene, options or RunOptions())
    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        manifest = Manifest.begin(Path(folder) / "result", job.identity(Path("result")), resume=False)
        store = job.store(manifest)
        try:
            job.work(store, manifest, progress)
            return Located(annotation=store.collect(), grid=scene.grid)
        finally:
            store.close()


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What to do: a model, a scene, the plan of windows, how many at a time, and what nothing looks like."""

    stored: StoredModel
    scene: Scene
    plan: WindowPlan
    batch_size: int
    blank: Found

    @classmethod
    def prepare(cls, stored: StoredModel, scene: Scene, options: RunOptions) -> _Job:
        """Place the model, check that the scene has what it takes, and plan."""
        fix_mapping_threshold()
        model = stored.model.to(options.torch_device()).eval()
        if prefers_channels_last(model):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for slot, spec in model.inputs.items():
            spec.in_unit(scene.read(Window(0, 0, 1, 1), slot=slot, bands=spec.bands))
            spec.check_gsd(scene.gsd)
        plan = plan_for(model, scene.grid.size, scene.block(), options)
        batch_size = batch_for(model, plan.read_size, options, model.device)
        found = _predict(model, _blank_batch(model, plan))[0]
        blank = found.select(np.zeros(len(found), bool)) if isinstance(found, Objects) else found
        return cls(stored=stored, scene=scene, plan=plan, batch_size=batch_size, blank=blank)

    def identity(self, target: Path) -> dict[str, Any]:
        """Name everything that the bytes of the result depend on."""
        return {
            "version": __version__,
            "inputs": self.scene.fingerprint(),
            "model": f"{self.stored.name} {self.stored.sha256}",
            "window": self.plan.read_size.height,
            "step": [self.plan.step.height, self.plan.step.width],
            "overlap": 2 * self.plan.halo,
            "batch size": self.batch_size,
            "output": target.suffix.lower(),
        }

    def dates(self) -> dict[str, str]:
        """Return the day of each slot that the model reads, where there are several and the day is known."""
        known = {slot: self.scene.slots[slot].acquired for slot in self.stored.model.inputs}
        return {slot: day.date().isoformat() for slot, day in known.items() if day is not None and len(known) > 1}

    def store(self, manifest: Manifest) -> Store:
        """Open the place where the unfinished result is kept."""
        context = RunContext(
            folder=manifest.folder,
            plan=self.plan,
            grid=self.scene.grid,
            rule=self.stored.model.merge_rule,
            resumed=manifest.rows_done > 0,
            dates=self.dates(),
        )
        store = store_for(self.blank, context)
        if manifest.rows_done:
            store.restore(manifest.state["store"])
        return store

    def work(self, store: Store, manifest: Manifest, progress: Callable[[Progress], None] | None) -> None:
        """Go through the rows of windows that are not finished; raise `NothingToSee` where no pixel is valid."""
        seen = bool(manifest.state.get("seen", False))
        row = manifest.rows_done
        done = row * self.plan.columns
        began, before = time.perf_counter(), done
        model = self.stored.model
        for piece in read_batches(self.scene, model, self.plan, batch_size=self.batch_size, first_row=row):
            seen = self._stitch(piece, store) or seen
            done += len(piece.windows)
            if piece.ends_row:
                manifest.finish_row(row, {"seen": seen, "store": store.finish_row(row)})
                row += 1
            if progress is not None:
                rate = (done - before) / max(time.perf_counter() - began, 1e-9)
                left = (len(self.plan) - done) / rate
                progress(Progress(done=done, total=len(self.plan), rate=rate, seconds_left=left))
        if not seen:
            raise NothingToSee("the imagery has not one valid pixel (all are no-data or NaN): there is nothing to map.")

    def _stitch(self, piece: ReadBatch, store: Store) -> bool:
        """Hand a batch's results to the store; tell whether any of it had something to see."""
        found = iter(() if piece.batch is None else _predict(self.stored.model, piece.batch))
        for position, window in enumerate(piece.windows):
            if not piece.sees(position):
                nothing = np.zeros((window.planned.read.height, window.planned.read.width), bool)
                store.push(window.planned, self.blank, nothing)
            else:
                store.push(window.planned, next(found), window.valid)
        return piece.batch is not None


def _predict(model: Model, batch: Batch) -> list[Found]:
    with torch.inference_mode():
        placed = batch.to(model.device)
        if prefers_channels_last(model):
            images = {slot: v.contiguous(memory_format=torch.channels_last) for slot, v in placed.images.items()}
            placed = replace(placed, images=images)
        scores = model.score_maps(placed)
        return list(model.predict(placed) if scores is None else scores)


def _blank_batch(model: Model, plan: WindowPlan) -> Batch:
    """A batch of one image of nothing: what the model gives for it tells the kind and the channels of its results."""
    height, width = plan.read_size.height, plan.read_size.width
    images = {slot: torch.zeros(1, spec.channels, height, width) for slot, spec in model.inputs.items()}
    return Batch(images=images, keys=("blank",))


def _write(job: _Job, store: Store, target: Path, overwrite: bool) -> Path:
    stored, scene = job.stored, job.scene
    tags = {"SWATH_VERSION": __version__, "SWATH_MODEL": stored.name, "SWATH_WEIGHTS_SHA256": stored.sha256}
    if target.suffix.lower() == PAGE_SUFFIX:
        write_report(target, stored=stored, scene=scene, store=store, overwrite=overwrite)
    else:
        store.export(target, tags, overwrite=overwrite)
    item = result_item(
        [target],
        grid=scene.grid,
        acquired=scene.acquired,
        model=model_provenance(stored),
        inputs=scene_provenance(scene, stored.model),
        options={"window": job.plan.read_size.height, "overlap": 2 * job.plan.halo},
    )
    path = target.with_name(f"{target.name}.stac.json")
    write_item(path, item, overwrite=True)
    return path


def model_provenance(stored: StoredModel) -> ModelProvenance:
    """Say which model and weights made a result."""
    model = stored.model
    return ModelProvenance(
        name=stored.name,
        version=__version__,
        weights_sha256=stored.sha256,
        architecture=type(model).__name__,
        tasks=(model.config.output.task,),
        bands=next(iter(model.inputs.values())).bands,
        classes=model.classes,
        parameters=model.parameter_count(),
    )


def scene_provenance(scene: Scene, model: Model) -> list[SceneProvenance]:
    """Say what was read: each slot's name, bands and fingerprint."""
    return [
        SceneProvenance(name=slot, href=scene.slots[slot].name, bands=spec.bands, fingerprint=scene.fingerprint())
        for slot, spec in model.inputs.items()
    ]
