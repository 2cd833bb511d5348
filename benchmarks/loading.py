"""Feeding a training from a folder of class folders against a torch `DataLoader` with Pillow and NumPy."""

from __future__ import annotations

import io
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from swath.datasets.registry import DataArgument, parse_data_argument
from swath.datasets.scenes import EUROSAT_RGB
from swath.datasets.spec import ALL, Dataset
from swath.geometry.windows import Size, Window
from swath.models.base import Model
from swath.models.classify.resnet import resnet18, resnet_recipe
from swath.models.inputs import IMAGENET_MEAN, IMAGENET_STD
from swath.models.recipe import Recipe
from swath.samples.batch import Batch
from swath.samples.transforms import RandomFlip, RandomResizedCrop
from swath.training.draws import Purpose, generator_for
from swath.training.feeding import BatchMaker, plan_epoch, prefetch

BATCH = 64
SIDES = (64, 256)
"""Sides of the images that are made, as EuroSAT and UC Merced have them."""
LARGEST_SIDE = 224
WORKERS = (0, 2)


@dataclass(frozen=True)
class Draw:
    """What is cut out of an image (row, column, height, width), and how it is turned."""

    window: Window
    horizontal: bool
    vertical: bool


Drawing = Callable[[int, Size], Draw]
"""Draws for the image of a number, of this size."""


class PlainImages(TorchDataset[tuple[torch.Tensor, int]]):
    """Images as a training script reads them: Pillow decodes, crops and resizes, NumPy flips, torch normalises."""

    def __init__(self, data: Dataset, side: int, drawing: Drawing | None) -> None:
        self.paths = [str(record.image) for record in data.records]
        self.labels = [data.classes.index(record.label or "") for record in data.records]
        self.side, self.drawing = side, drawing
        self.mean, self.std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[index]) as file:
            picture = file.convert("RGB")
        if self.drawing is None:
            values = np.asarray(picture)
        else:
            draw = self.drawing(index, Size(picture.height, picture.width))
            window = draw.window
            corners = (window.column, window.row, window.stop_column, window.stop_row)
            picture = picture.crop(corners).resize((self.side, self.side), Image.Resampling.BILINEAR)
            values = np.asarray(picture)[:: -1 if draw.vertical else 1, :: -1 if draw.horizontal else 1]
        image = torch.from_numpy(values.transpose(2, 0, 1).copy()).float()
        return image.sub_(self.mean).div_(self.std), self.labels[index]


@dataclass(frozen=True)
class Feeding:
    """One way to train on a data set: the whole images, or crops and flips as in the recipe of a ResNet."""

    data: Dataset
    model: Model
    recipe: Recipe
    side: int

    @classmethod
    def of(cls, data: Dataset, *, transforms: bool) -> Feeding:
        side = min(data[0].images["image"].size.height, LARGEST_SIDE)
        recipe = replace(resnet_recipe(epochs=1, batch_size=BATCH, size=side), cutmix=0.0, channels_last=False)
        if not transforms:
            recipe = replace(recipe, transforms=())
        return cls(data, resnet18(classes=data.classes), recipe, side)

    def ours(self, workers: int, epoch: int = 0) -> Iterator[Batch]:
        plan = plan_epoch(len(self.data), self.recipe, epoch)
        maker = BatchMaker(model=self.model, data=self.data, recipe=self.recipe)
        return prefetch(maker, plan.batches(), workers=workers)

    def theirs(self, workers: int, drawing: Drawing, order: Sequence[int] | None = None) -> DataLoader:
        images = PlainImages(self.data, self.side, drawing if self.recipe.transforms else None)
        if order is not None:
            return DataLoader(images, batch_size=BATCH, sampler=order)
        return DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)

    def same_draws(self) -> Drawing:
        """Return what draws as the transforms of the recipe do in the first epoch, image by image in its order."""
        crop, flip = self.recipe.transforms or (None, None)
        before: Counter[int] = Counter()

        def draw(index: int, size: Size) -> Draw:
            generator = generator_for(Purpose.SAMPLE, self.recipe.seed, 0, index, before[index])
            before[index] += 1
            if not isinstance(crop, RandomResizedCrop) or not isinstance(flip, RandomFlip):
                raise AssertionError(f"the peer knows no {crop} or {flip}")
            window = crop.window(size, generator)
            horizontal, vertical = generator.random(2) < (flip.horizontal, flip.vertical)
            return Draw(window, bool(horizontal), bool(vertical))

        return draw


def own_draw(index: int, size: Size) -> Draw:
    """Draw as training scripts do, with the generator of the standard library."""
    del index
    for _ in range(10):
        area = size.area * random.uniform(0.4, 1.0)
        aspect = 2 ** random.uniform(-0.415, 0.415)
        height, width = round((area / aspect) ** 0.5), round((area * aspect) ** 0.5)
        if height <= size.height and width <= size.width:
            row, column = random.randint(0, size.height - height), random.randint(0, size.width - width)
            return Draw(Window(row, column, height, width), random.random() < 0.5, random.random() < 0.5)
    return Draw(Window(0, 0, size.height, size.width), random.random() < 0.5, random.random() < 0.5)


def report(folder: Path, *, data: str | None, images: int, repeats: int) -> None:
    """Print images a second of both with each number of workers, once their first batches are equal."""
    given = [parse_data_argument(data)] if data else [made_chips(folder, side, images) for side in SIDES]
    for argument in given:
        chips = argument.open(ALL)
        chips = chips.select(range(0, len(chips), max(1, len(chips) // images)))
        feedings = {
            "whole images": Feeding.of(chips, transforms=False),
            "crops, flips": Feeding.of(chips, transforms=True),
        }
        for feeding in feedings.values():
            check_equal(feeding)
        side = feedings["crops, flips"].side
        print(
            f"\nFeed {len(chips)} images of '{argument.spec.name}' to a network of {side} px in batches of {BATCH} "
            f"(best of {repeats}, wall time); batches are equal"
        )
        for name, feeding in feedings.items():
            for workers in WORKERS:
                ours, theirs = images_a_second(feeding, workers, repeats)
                print(
                    f"  {name}, {workers} workers  swath {ours:7.0f} images/s  DataLoader {theirs:7.0f} images/s "
                    f"({ours / theirs:.2f}x)"
                )


def images_a_second(feeding: Feeding, workers: int, repeats: int) -> tuple[float, float]:
    """Return the rate of ours and of theirs; workers have started before the clock does."""
    loader = feeding.theirs(workers, own_draw)
    ways: tuple[Callable[[], object], ...] = (lambda: feeding.ours(workers), lambda: loader)
    rates = [0.0, 0.0]
    for turn in range(repeats + 1):
        for number, way in enumerate(ways):
            start = time.perf_counter()
            seen = sum(_length(batch) for batch in way())  # type: ignore[attr-defined]
            if turn:
                rates[number] = max(rates[number], seen / (time.perf_counter() - start))
    return rates[0], rates[1]


def check_equal(feeding: Feeding) -> None:
    """Raise unless the first batches hold the same images and classes: within a grey level where they are resized."""
    plan = next(plan_epoch(len(feeding.data), feeding.recipe, 0).batches())
    ours = next(feeding.ours(0))
    images, labels = next(iter(feeding.theirs(0, feeding.same_draws(), plan.indices)))
    classes = [target.scores.argmax() for target in ours.targets or ()]
    difference = (ours.images["image"] - images).abs()
    # Pillow rounds after each of its two passes.
    levels = 1.01 if feeding.recipe.transforms else 0.01
    if classes != labels.tolist() or difference.max() > levels / min(IMAGENET_STD):
        raise AssertionError(f"batches differ by up to {difference.max():.3f}")


def made_chips(folder: Path, side: int, images: int) -> DataArgument:
    """Make class folders of JPEG chips from pieces of the real ones of the tests, in EuroSAT's classes."""
    root = folder / f"chips-{side}-{images}"
    real = Path(__file__).parent.parent / "tests" / "data" / "eurosat_rgb"
    generator = np.random.default_rng(0)
    for name in EUROSAT_RGB.classes:
        pieces = [np.asarray(Image.open(path)) for path in sorted((real / name).iterdir())]
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(-(-images // len(EUROSAT_RGB.classes))):
            path = root / name / f"{name}_{number}.jpg"
            if not path.exists():
                path.write_bytes(_chip(pieces, side, generator))
    return DataArgument(EUROSAT_RGB, root)


def _chip(pieces: Sequence[np.ndarray], side: int, generator: np.random.Generator) -> bytes:
    count = side // len(pieces[0])
    rows = [
        np.concatenate([np.rot90(pieces[generator.integers(len(pieces))], generator.integers(4)) for _ in range(count)])
        for _ in range(count)
    ]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(rows, axis=1)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _length(batch: object) -> int:
    return len(batch.keys) if isinstance(batch, Batch) else len(batch[1])  # type: ignore[index]
