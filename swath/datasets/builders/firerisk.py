"""FireRisk made anew: aerial images of 270 m with the wildfire hazard of the raster cell they show.

Shen et al.: "FireRisk: A Remote Sensing Dataset for Fire Risk Assessment with Benchmarks Using Supervised and
Self-supervised Learning", DICTA 2023, arXiv 2303.07035. Sheet, "How it was built": a cell of the classified Wildfire
Hazard Potential raster gives the point, NAIP imagery (1 m) the square around it; both are public in the USA.

Chosen by us, because the paper does not say: cells are drawn by chance within each class, among those with imagery; the
parts are blocks of land, so that only along their borders a place of one part is next to one of the other. What was
drawn is written down, and how near the parts come to each other.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from swath.datasets.builders.aerial_crops import AerialStock
from swath.datasets.builders.hazard_points import (
    DrawnPoints,
    HazardPoint,
    distance_to_nearest,
    divide_by_blocks,
    draw_points,
)
from swath.datasets.firerisk import FIRERISK_CODES
from swath.errors import ConfigurationError, OutputExists, ResumeMismatch
from swath.imagery.atomic import AtomicOutput, output_errors
from swath.imagery.sources import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.imagery.naming import BandsSpec

PUBLISHED_COUNTS: Mapping[int, int] = MappingProxyType(
    {1: 30_205, 2: 13_304, 3: 10_389, 4: 7_905, 5: 4_706, 6: 23_050, 7: 2_313}
)
"""How many images of each code FireRisk has, both parts together."""

MANIFEST, SKIPPED, ABOUT, JOURNAL = "manifest.csv", "skipped.csv", "build.json", ".build.jsonl"
_PART = ".crop.swath-part.png"


@dataclass(frozen=True, kw_only=True)
class FireRiskSettings:
    """What is built: points of each code, squares of `side` metres as `pixels` a side, and how parts are divided.

    `validation` is the share of the points held back, in whole blocks of land of `block` metres a side (0: each point
    by itself). The defaults are the published counts and the published share.
    """

    quotas: Mapping[int, int] = field(default_factory=lambda: dict(PUBLISHED_COUNTS))
    side: float = 270.0
    pixels: int = 270
    validation: float = 21_541 / 91_872
    block: float = 50_000.0
    seed: int = 0

    def __post_init__(self) -> None:
        strange = sorted(set(self.quotas) - set(FIRERISK_CODES))
        if strange:
            raise ConfigurationError(f"quotas are for the codes 1 to 7; found {strange[0]}.")
        if not 0 < self.validation < 1:
            raise ConfigurationError(
                f"the share of the validation part must be within 0 to 1; found {self.validation}."
            )
        if self.side <= 0 or self.pixels < 1 or self.block < 0:
            raise ConfigurationError(
                f"sides must be positive; found {self.side} m, {self.pixels} pixels, blocks of {self.block} m."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedPoint:
    """A point without an image, and why."""

    point: HazardPoint
    reason: str


@dataclass(frozen=True, kw_only=True)
class FireRiskReport:
    """What a build gave: images by part and class, points skipped, and cells without imagery by code.

    `nearest` is the least distance in metres between an image of one part and one of the other.
    """

    folder: Path
    images: Mapping[str, Mapping[str, int]]
    skipped: tuple[SkippedPoint, ...]
    uncovered: Mapping[int, int]
    nearest: float

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {sum(counts.values())}" for part, counts in self.images.items())
        return (
            f"{parts} images in {self.folder}; {len(self.skipped)} points skipped, "
            f"{sum(self.uncovered.values())} cells without imagery; the parts are {self.nearest:.0f} m apart."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """One image to be made: its point, where it goes, and the files that show it."""

    point: HazardPoint
    part: str
    files: tuple[int, ...]

    @property
    def path(self) -> str:
        return f"{self.part}/{FIRERISK_CODES[self.point.code]}/{image_name(self.point)}"


def image_name(point: HazardPoint) -> str:
    """Return `<point>_<code>_<longitude>_<latitude>.png`, coordinates to about a tenth of a metre.

    >>> image_name(HazardPoint(number=123, code=6, row=0, column=0, longitude=-120.5, latitude=38.25))
    '123_6_-120.500000_38.250000.png'
    """
    return f"{point.number}_{point.code}_{point.longitude:.6f}_{point.latitude:.6f}.png"


def build_firerisk(
    hazard: str | Path,
    images: Sequence[str | Path],
    folder: str | Path,
    settings: FireRiskSettings | None = None,
    *,
    bands: BandsSpec | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FireRiskReport:
    """Build the data set below a folder: `train` and `val` with a folder a class, a manifest and the settings.

    `hazard` is the classified raster with the codes 1 to 7, `images` are aerial images, files or addresses, and
    `bands` says which of their bands are which where they do not say. `progress` is told how many images are done, and
    of how many. A build that died goes on where it stopped and ends with the same files; `build.json` is written last.
    Raises `OutputExists` for a folder with a finished build, `ResumeMismatch` for one of other settings or inputs, and
    what reading the inputs raises.
    """
    chosen, root = settings or FireRiskSettings(), Path(folder)
    if (root / ABOUT).exists():
        raise OutputExists(f"{root} holds a finished build; choose another folder.")
    source = open_source(hazard, bands=["hazard"])
    stock = AerialStock.of(images, source.grid, side=chosen.side, pixels=chosen.pixels, bands=bands)
    try:
        quotas = {code: chosen.quotas.get(code, 0) for code in FIRERISK_CODES}
        drawn = draw_points(source, quotas, stock.covers, seed=chosen.seed)
        held = divide_by_blocks(
            drawn.points, source.grid, share=chosen.validation, block=chosen.block, seed=chosen.seed
        )
        tasks = [
            _Task(
                point=point,
                part="val" if point.number in held else "train",
                files=stock.showing(point.row, point.column),
            )
            for point in drawn.points
        ]
        about = _described(chosen, source.fingerprint(), stock)
        done = _make(tasks, stock, root, about, progress)
    finally:
        stock.close()
        source.close()
    return _finish(root, tasks, done, drawn, about)


def _described(settings: FireRiskSettings, hazard: str, stock: AerialStock) -> dict[str, Any]:
    """Name everything that the files depend on."""
    names = "\n".join(f"{file.name} {file.grid}" for file in stock.files)
    return {
        "hazard": hazard,
        "imagery": hashlib.sha256(names.encode()).hexdigest(),
        "images": len(stock.files),
        "quotas": {str(code): count for code, count in sorted(settings.quotas.items())},
        "side": settings.side,
        "pixels": settings.pixels,
        "validation": settings.validation,
        "block": settings.block,
        "seed": settings.seed,
    }


def _make(
    tasks: Sequence[_Task],
    stock: AerialStock,
    root: Path,
    about: Mapping[str, Any],
    progress: Callable[[int, int], None] | None,
) -> dict[int, str]:
    """Make what is not made yet; return for each point the image it was cut from, or nothing where it was skipped."""
    with output_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        for task in tasks:
            (root / task.path).parent.mkdir(parents=True, exist_ok=True)
    with (root / JOURNAL).open("a+", encoding="utf-8") as journal:
        done = _resumed(journal, about, root)
        # File by file, so that each is opened once.
        left = sorted((task for task in tasks if task.point.number not in done), key=lambda task: task.files)
        for count, task in enumerate(left, start=len(done) + 1):
            origin = ""
            for file in task.files:
                crop = stock.crop(file, task.point.row, task.point.column)
                if crop is not None:
                    _save(crop, root, task.path)
                    origin = stock.files[file].name
                    break
            with output_errors(root / JOURNAL):
                journal.write(json.dumps({"point": task.point.number, "from": origin}) + "\n")
                journal.flush()
            done[task.point.number] = origin
            if progress is not None:
                progress(count, len(tasks))
    return done


def _resumed(journal: io.TextIOWrapper, about: Mapping[str, Any], root: Path) -> dict[int, str]:
    """Read what an earlier run made, or begin the journal; a last line that was cut short is dropped."""
    journal.seek(0)
    lines = journal.read().split("\n")
    if not lines[0] or len(lines) == 1:
        journal.seek(0)
        journal.truncate()
        journal.write(json.dumps(about) + "\n")
        journal.flush()
        return {}
    if json.loads(lines[0]) != about:
        raise ResumeMismatch(
            f"{root} holds an unfinished build of other settings or inputs; choose another folder, or remove it."
        )
    whole = lines[:-1]
    journal.seek(0)
    journal.truncate()
    journal.writelines(f"{line}\n" for line in whole)
    journal.flush()
    return {entry["point"]: entry["from"] for entry in map(json.loads, whole[1:])}


def _save(crop: NDArray[np.uint8], root: Path, name: str) -> None:
    # Written aside and renamed, so that no image is ever seen in part.
    part = root / _PART
    with output_errors(root / name):
        Image.fromarray(np.ascontiguousarray(crop.transpose(1, 2, 0))).save(part)
        part.replace(root / name)


def _finish(
    root: Path, tasks: Sequence[_Task], done: Mapping[int, str], drawn: DrawnPoints, about: Mapping[str, Any]
) -> FireRiskReport:
    """Write the manifest, what was skipped, and last of all what was built."""
    made = [task for task in tasks if done[task.point.number]]
    skipped = tuple(
        SkippedPoint(point=task.point, reason="the imagery has missing pixels here")
        for task in tasks
        if not done[task.point.number]
    )
    _write_table(root / MANIFEST, _MANIFEST_FIELDS, _manifest_rows(made, done))
    _write_table(root / SKIPPED, _SKIPPED_FIELDS, ((*_attributes(s.point), s.reason) for s in skipped))
    images: dict[str, dict[str, int]] = {"train": {}, "val": {}}
    for task in made:
        risk = FIRERISK_CODES[task.point.code]
        images[task.part][risk] = images[task.part].get(risk, 0) + 1
    report = FireRiskReport(
        folder=root, images=images, skipped=skipped, uncovered=drawn.uncovered, nearest=_distance_between_parts(made)
    )
    counts = {"counts": images, "skipped": len(skipped), "uncovered": {str(k): v for k, v in drawn.uncovered.items()}}
    with AtomicOutput(root / ABOUT) as part:
        part.write_text(json.dumps({**about, **counts}, indent=1) + "\n", encoding="utf-8")
    for name in (JOURNAL, _PART):
        (root / name).unlink(missing_ok=True)
    return report


_ATTRIBUTES = ("pointid", "grid_code", "class_desc", "x_coord", "y_coord")
_MANIFEST_FIELDS = ("FID", *_ATTRIBUTES, "part", "file", "imagery")
_SKIPPED_FIELDS = (*_ATTRIBUTES, "reason")


def _attributes(point: HazardPoint) -> tuple[str, ...]:
    described = FIRERISK_CODES[point.code].replace("_", " ")
    return str(point.number), str(point.code), described, f"{point.longitude:.6f}", f"{point.latitude:.6f}"


def _manifest_rows(made: Sequence[_Task], done: Mapping[int, str]) -> Iterator[tuple[str, ...]]:
    for number, task in enumerate(made):
        origin = Path(done[task.point.number]).name
        yield str(number), *_attributes(task.point), task.part, task.path, origin


def _write_table(path: Path, fields: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    with AtomicOutput(path, overwrite=True) as part, part.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(fields)
        table.writerows(rows)


def _distance_between_parts(made: Sequence[_Task]) -> float:
    places = {
        part: np.array([(t.point.longitude, t.point.latitude) for t in made if t.part == part])
        for part in ("train", "val")
    }
    if not all(len(place) for place in places.values()):
        return float("nan")
    return float(distance_to_nearest(places["val"], places["train"]).min())
