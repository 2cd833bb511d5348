"""Count the trees of a NAIP tile, map land use over a Sentinel-2 patch, and tell of it in one HTML page."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

from swath.api import LoadedModel, load
from swath.datasets.formats.point_tables import read_points
from swath.geometry.windows import Size, Window
from swath.imagery.bands import Unit
from swath.imagery.scene import Scene, open_scene
from swath.inference.report import score_bars
from swath.inference.runner import RunResult
from swath.metrics.points import Matches, match_points
from swath.samples.drawing import display_image, draw
from swath.samples.labels import Label
from swath.samples.page import Bar, Picture, Section, write_page
from swath.samples.palette import class_colours, css
from swath.samples.rasters import ClassMap
from swath.samples.vectors import Points

NAIP = "naip_santa_monica_2018"
SENTINEL = "sentinel2_italy_2018-08-09"
MATCH_METRES = 6.0
SMALLEST_SHARE = 0.01
NAIP_GSD = 0.6


def run_demo(folder: Path, *, say: Callable[[str], None]) -> Path:
    """Run the demo into a folder (its own earlier results are replaced) and return the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with as_file(files("swath.demo").joinpath("imagery")) as imagery:
        say("counting trees ...")
        trees = count_trees(imagery, folder)
        say("mapping land use ...")
        landuse = map_landuse(imagery, folder)
        shutil.copy(imagery / "SOURCES.md", folder / "SOURCES.md")
    seconds = time.perf_counter() - started
    facts = (
        f"{seconds:.1f} s in all, {peak_memory_mib():.0f} MiB at most, Python {platform.python_version()} "
        f"on {platform.machine()}, no network. Imagery: SOURCES.md beside this page."
    )
    return write_page(
        folder / "report.html",
        title="Imagery in, map out",
        lead="What two small models that ship with Swath see on imagery that ships with it.",
        sections=(trees, landuse),
        facts=facts,
    )


def peak_memory_mib() -> float:
    """Return the most memory this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


VERDICTS = {"matched": "#2fae66", "missed": "#f0a202", "no marked tree": "#d7263d"}


def judged(found: Points, truth: Points, matches: Matches) -> Points:
    """Return the found and the missed trees as points of three classes, by what became of them."""
    spurious = np.delete(found.points, matches.predicted, axis=0)
    missed = np.delete(truth.points, matches.true, axis=0)
    parts = (found.points[matches.predicted], missed, spurious)
    return Points.of(
        np.concatenate(parts),
        classes=tuple(VERDICTS),
        labels=np.repeat([0, 1, 2], [len(part) for part in parts]),
        height=found.size.height,
        width=found.size.width,
    )


def tallies(verdicts: Points) -> tuple[Bar, ...]:
    """Count the trees of each verdict."""
    counts = np.bincount(verdicts.labels, minlength=len(VERDICTS))
    return tuple(
        Bar(name=name, share=count / max(int(counts.sum()), 1), note=str(count), colour=colour)
        for (name, colour), count in zip(VERDICTS.items(), counts, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class TreeCount:
    """Trees found and marked, and how they match one to one within a distance."""

    found: Points
    truth: Points
    matched: int

    @property
    def precision(self) -> float:
        """Share of the found trees that are trees."""
        return self.matched / max(len(self.found), 1)

    @property
    def recall(self) -> float:
        """Share of the trees that were found."""
        return self.matched / max(len(self.truth), 1)


def count_trees(imagery: Path, folder: Path) -> Section:
    """Find the trees of the NAIP tile, write them as GeoJSON and GeoPackage, and compare with those marked by hand."""
    model = load("trees")
    with open_scene(str(imagery / f"{NAIP}.tif"), bands="naip") as scene:
        results = [
            model.predict_to(scene, folder / f"trees{suffix}", overwrite=True, resume=False)
            for suffix in (".geojson", ".gpkg")
        ]
        found = model.predict(scene).annotation
        if not isinstance(found, Points):
            raise TypeError(f"'trees' gave {type(found).__name__}")
        pixels = scene.read(Window(0, 0, scene.grid.size.height, scene.grid.size.width))
        truth = Points.of(
            read_points(imagery / f"{NAIP}.csv"),
            classes=("tree",),
            height=scene.grid.size.height,
            width=scene.grid.size.width,
        )
        matches = match_points(found.points, truth.points, MATCH_METRES / NAIP_GSD)
        count = TreeCount(found=found, truth=truth, matched=len(matches.predicted))
        verdicts = judged(found, truth, matches)
        pictures = (
            Picture(image=draw(pixels, found, scale=3), caption="What the model found."),
            Picture(
                image=draw(pixels, verdicts, scale=3, palette=VERDICTS),
                caption="Against what people marked: green matches, orange was missed, red is no marked tree.",
            ),
        )
    return Section(
        title="Trees",
        lead=f"{len(found)} trees found, {len(truth)} marked by hand.",
        text=(
            f"A tile of {scene.grid.size.width * NAIP_GSD:.0f} m a side in Santa Monica (NAIP 2018, red, green, blue "
            f"and near infrared at {NAIP_GSD} m), a place the model never saw. {count.matched} trees match one to one "
            f"within {MATCH_METRES:.0f} m: precision {count.precision:.2f}, recall {count.recall:.2f}. The scores say "
            f"how sure each one is: half of them are above {np.median(found.scores) if len(found) else 0:.2f}."
        ),
        pictures=pictures,
        bars=(*tallies(verdicts), *score_bars(found.scores)),
        files=outputs(results),
        card=card_line(model),
    )


def map_landuse(imagery: Path, folder: Path) -> Section:
    """Map land use over the Sentinel-2 patch from reflectance, bands taken by name, and write a raster and vectors."""
    model = load("landuse")
    with open_scene(str(imagery / f"{SENTINEL}.tif"), bands="sentinel-2-l1c") as scene:
        results = [
            model.predict_to(scene, folder / f"landuse{suffix}", overwrite=True, resume=False)
            for suffix in (".tif", ".gpkg")
        ]
        vote = model.predict(scene).annotation
        if not isinstance(vote, Label):
            raise TypeError(f"'landuse' gave {type(vote).__name__}")
        pictures = landuse_pictures(scene, results[0].output, vote.classes)
    order = np.argsort(-vote.scores)
    colours = class_colours(vote.classes)
    shares = tuple(
        Bar(name=vote.classes[i], share=float(vote.scores[i]), note=f"{vote.scores[i]:.0%}", colour=css(colours[i]))
        for i in order
        if vote.scores[i] >= SMALLEST_SHARE
    )
    return Section(
        title="Land use",
        lead=f"Mostly {vote.best.name}, {vote.best.score:.0%} of the vote.",
        text=(
            "A Sentinel-2 patch of 2.6 km in central Italy, 13 bands of top-of-atmosphere reflectance. The model takes "
            "red, green and blue by name and stretches reflectance 0 to 0.275 to the 8-bit values it was trained on. "
            "Each square of 640 m has one class; the paler it is, the less sure the model is."
        ),
        pictures=pictures,
        bars=shares,
        files=outputs(results),
        card=card_line(model),
    )


def landuse_pictures(scene: Scene, raster: Path, classes: tuple[str, ...]) -> tuple[Picture, ...]:
    """Show the patch as the eye sees it, and the classes over it."""
    size = scene.grid.size
    pixels = scene.read(Window(0, 0, size.height, size.width), bands=("red", "green", "blue"), unit=Unit.REFLECTANCE)
    with open_scene(str(raster)) as found:
        coarse = found.read(Window(0, 0, found.grid.size.height, found.grid.size.width))
    labels = enlarged(coarse.values[0], size)
    confidence = (enlarged(coarse.values[1], size) / 255).astype(np.float32)
    overlay = ClassMap(size=size, labels=labels, classes=classes, confidence=confidence)
    return (
        Picture(image=picture(display_image(pixels), 3), caption="Natural colours, stretched for the eye."),
        Picture(image=draw(pixels, overlay, scale=3, opacity=0.5), caption="The class of each square of 640 m."),
    )


def enlarged(values: np.ndarray, size: Size) -> np.ndarray:
    """Repeat coarse cells so that they cover a raster of this size."""
    rows = np.arange(size.height) * values.shape[0] // size.height
    columns = np.arange(size.width) * values.shape[1] // size.width
    return values[np.ix_(rows, columns)]


def picture(image: np.ndarray, scale: int) -> Image.Image:
    """Return an enlarged picture of an array (H, W, 3)."""
    shown = Image.fromarray(image)
    return shown.resize((shown.width * scale, shown.height * scale), Image.Resampling.NEAREST)


def outputs(results: list[RunResult]) -> tuple[str, ...]:
    """Name the files of runs, with what each took."""
    made = [f"{result.output.name}: {counted(result.windows)}, {result.seconds:.1f} s" for result in results]
    return (*made, f"{results[-1].item.name}: the STAC item that says which model, weights and input made it")


def counted(windows: int) -> str:
    """Name a number of windows."""
    return f"{windows} window{'' if windows == 1 else 's'}"


def card_line(model: LoadedModel) -> str:
    """Say which weights were used and how good they are where they were measured."""
    best = "; ".join(f"{figure.metric} {figure.value:.3g} ({figure.data})" for figure in model.card.verified[:4])
    return f"Model '{model.stored.name}', weights {model.stored.sha256[:12]}. Measured: {best or 'not yet'}."
