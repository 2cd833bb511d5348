"""What the loop is fed: the order of the samples, and batches made by threads while the network works."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch

from swath.errors import DataError, ShapeError
from swath.samples.transforms import Resize
from swath.training.draws import Purpose, generator_for
from swath.training.mixing import mix_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from swath.models.base import Model
    from swath.models.recipe import Recipe
    from swath.samples.batch import Batch
    from swath.samples.sample import Sample

Job = TypeVar("Job")
Made = TypeVar("Made")


class SampleSource(Protocol):
    """Anything with a length that gives the sample of a number; it is read from several threads."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """The sample of one number."""
        ...


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Which samples make one batch, and how often each was used in this epoch before (`rounds`).

    `number` is that of the batch among all processes' in the epoch; `turn` is what it has in common with theirs.
    """

    epoch: int
    number: int
    turn: int
    indices: tuple[int, ...]
    rounds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """All batches of one epoch for one process: `indices` and `rounds` are (steps, accumulate, batch)."""

    epoch: int
    indices: NDArray[np.int64]
    rounds: NDArray[np.int64]
    rank: int = 0
    world: int = 1

    @property
    def steps(self) -> int:
        """How many optimiser steps the epoch has."""
        return len(self.indices)

    def batches(self, first_step: int = 0) -> Iterator[BatchPlan]:
        """Yield the batches in order, from a step onwards."""
        accumulate = self.indices.shape[1]
        for step in range(first_step, self.steps):
            for part in range(accumulate):
                turn = step * accumulate + part
                yield BatchPlan(
                    epoch=self.epoch,
                    number=turn * self.world + self.rank,
                    turn=turn,
                    indices=tuple(self.indices[step, part].tolist()),
                    rounds=tuple(self.rounds[step, part].tolist()),
                )


def plan_epoch(
    samples: int,
    recipe: Recipe,
    epoch: int,
    *,
    rank: int = 0,
    world: int = 1,
    shares: NDArray[np.float64] | None = None,
) -> EpochPlan:
    """Shuffle the samples of an epoch and cut them into batches; the same arguments always give the same
    plan.

    All batches are full: the last step is filled up from the start of the shuffled order, which batch norm,
    which cannot learn from one sample, needs. With `shares` (N,), which sum to 1, as many samples are drawn with
    these probabilities instead, with replacement. Of `world` processes each takes its share of every step. Raises
    `DataError` when there are no samples.

    >>> from swath.models.recipe import Recipe
    >>> plan = plan_epoch(5, Recipe(epochs=1, batch_size=2, learning_rate=1.0, accumulate=2), epoch=0)
    >>> plan.indices.shape, sorted(set(plan.indices.ravel().tolist())), plan.rounds.ravel().tolist()
    ((2, 2, 2), [0, 1, 2, 3, 4], [0, 0, 0, 0, 0, 1, 1, 1])
    """
    if samples < 1:
        raise DataError("there is nothing to learn from: the data set has no samples; look at its folder and split.")
    generator = generator_for(Purpose.ORDER, recipe.seed, epoch)
    a_step = recipe.batch_size * recipe.accumulate * world
    steps = -(-samples // a_step)
    if shares is None:
        chosen = np.resize(generator.permutation(samples), steps * a_step)
    else:
        chosen = generator.choice(samples, size=steps * a_step, p=shares)
    shape = (steps, world, recipe.accumulate, recipe.batch_size)
    return EpochPlan(
        epoch=epoch,
        indices=chosen.reshape(shape)[:, rank],
        rounds=_times_before(chosen).reshape(shape)[:, rank],
        rank=rank,
        world=world,
    )


def _times_before(chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each place how often its number stands at places before it."""
    places = np.argsort(chosen, kind="stable")
    sorted_numbers = chosen[places]
    times = np.empty_like(chosen)
    times[places] = np.arange(len(chosen)) - np.searchsorted(sorted_numbers, sorted_numbers, side="left")
    return times


@dataclass(frozen=True, kw_only=True)
class BatchMaker:
    """Reads, transforms, prepares and mixes the samples of a planned batch, on the CPU."""

    model: Model
    data: SampleSource
    recipe: Recipe

    def __call__(self, plan: BatchPlan) -> Batch:
        """Make the batch; what is random in it depends on the plan and the recipe's seed alone."""
        samples = [self._sample(plan.epoch, *which) for which in zip(plan.indices, plan.rounds, strict=True)]
        if self.recipe.sizes:
            # Drawn by what the processes have in common: none waits for one with larger images.
            generator = generator_for(Purpose.SIZE, self.recipe.seed, plan.epoch, plan.turn)
            resize = Resize(int(generator.choice(self.recipe.sizes)))
            samples = [resize(sample, generator) for sample in samples]
        _check_sizes(samples)
        batch = self.model.prepare(samples)
        if self.recipe.mixup or self.recipe.cutmix:
            generator = generator_for(Purpose.MIXING, self.recipe.seed, plan.epoch, plan.number)
            # no draw where every batch is mixed: runs of before `mix_share` go on as they were
            if self.recipe.mix_share == 1 or generator.random() < self.recipe.mix_share:
                batch = mix_batch(batch, generator, mixup=self.recipe.mixup, cutmix=self.recipe.cutmix)
        if self.recipe.channels_last:
            images = {slot: v.contiguous(memory_format=torch.channels_last) for slot, v in batch.images.items()}
            batch = replace(batch, images=images)
        return batch

    def _sample(self, epoch: int, index: int, turn: int) -> Sample:
        sample = self.data[index]
        if not self.recipe.transforms:
            return sample
        generator = generator_for(Purpose.SAMPLE, self.recipe.seed, epoch, index, turn)
        for transform in self.recipe.transforms:
            sample = transform(sample, generator)
        return sample


def _check_sizes(samples: list[Sample]) -> None:
    first = samples[0]
    for sample in samples[1:]:
        for slot, pixels in sample.images.items():
            expected = first.images[slot].size
            if pixels.size != expected:
                raise ShapeError(
                    f"one batch cannot hold images of different sizes: '{slot}' is {expected.height} x "
                    f"{expected.width} in {first.key} and {pixels.size.height} x {pixels.size.width} in "
                    f"{sample.key}; add RandomCrop or Resize to the recipe's transforms."
                )


def prefetch(make: Callable[[Job], Made], jobs: Iterable[Job], *, workers: int) -> Generator[Made]:
    """Yield `make(job)` for each job in order, with `workers` threads working ahead (0: none, made when asked
    for).

    At most `workers` + 1 results wait or are being made. An error comes up where its result would have.
    Closing the iterator ends the threads.

    >>> list(prefetch(str.upper, "abc", workers=2))
    ['A', 'B', 'C']
    """
    if workers < 1:
        yield from map(make, jobs)
        return
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="swath-feeding")
    try:
        for job in jobs:
            waiting.append(pool.submit(make, job))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
