"""The comparison of encoders: it trains, tests, tabulates, and goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swath.benchmarks.effnet_unetpp_comparison import (
    Comparison,
    ComparisonPlan,
    EncoderResult,
    compare_encoders,
)
from swath.benchmarks.registry import MASSACHUSETTS_TILES, MASSACHUSETTS_WHOLE
from swath.benchmarks.report import Report
from swath.errors import ConfigurationError
from swath.models.recipe import Recipe
from swath.samples.transforms import RandomCrop, Resize


@pytest.fixture
def buildings(tmp_path: Path) -> Path:
    """Bright squares on dark ground, in the layout of the data set's common copy."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 2), ("val", 1), ("test", 1)):
        for number in range(count):
            mask = np.zeros((64, 64), np.uint8)
            row, column = generator.integers(0, 40, 2)
            mask[row : row + 24, column : column + 24] = 255
            image = np.clip(mask[..., None] // 2 + generator.integers(0, 80, (64, 64, 3)), 0, 255)
            for folder, values in ((part, image.astype(np.uint8)), (f"{part}_labels", mask)):
                target = tmp_path / "data" / "png" / folder
                target.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(target / f"{number}.png")
    return tmp_path / "data"


def report(**figures: float) -> Report:
    named = {name.replace("_", " "): value for name, value in figures.items()}
    return Report(
        protocol="p", model="m", fingerprint="f", split="test", samples=1, available=1, watch="mean IoU",
        figures=named, seconds=0.0,
    )  # fmt: skip


def test_table_has_means_deviations_and_the_reported_figures():
    # Deviation of 0.8 and 0.9: sqrt(2 * 0.05**2 / 1) = 0.0707.
    result = EncoderResult(
        encoder="b0",
        parameters=6_569_581,
        reports=(
            report(mean_accuracy=0.8, mean_IoU=0.5, mean_precision=0.7),
            report(mean_accuracy=0.9, mean_IoU=0.5, mean_precision=0.7),
        ),
    )
    lines = Comparison(protocol="p", results=(result,)).to_markdown().splitlines()
    assert lines[2] == "| EfficientNet-B0 | 6,569,581 | 85.00 ± 7.07 | 50.00 ± 0.00 | 70.00 ± 0.00 |"
    assert lines[3] == "| EfficientNet-B4, as reported |  | 92.23 | 88.32 | 93.20 |"


def test_images_are_prepared_for_training_as_for_testing():
    assert ComparisonPlan().recipe_for(3).transforms[0] == Resize(256)
    assert ComparisonPlan().recipe_for(3).seed == 3
    assert ComparisonPlan(protocol=MASSACHUSETTS_TILES).recipe_for(0).transforms[0] == RandomCrop(256)


def test_weights_start_from_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, same, other = (ComparisonPlan().build("b0", seed).network.head.weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_empty_comparison_is_refused():
    with pytest.raises(ConfigurationError, match="seeds"):
        ComparisonPlan(seeds=())


def test_comparison_trains_tests_and_goes_on(buildings: Path, tmp_path: Path):
    plan = ComparisonPlan(
        encoders=("b0",),
        seeds=(5,),
        recipe=Recipe(epochs=1, batch_size=2, learning_rate=1e-3, watch="IoU (class building)"),
        protocol=replace(MASSACHUSETTS_WHOLE, transforms=(Resize(32),)),
    )
    told: list[str] = []
    first = compare_encoders(buildings, folder=tmp_path / "runs", plan=plan, progress=told.append)
    assert told == ["b0-seed5: training", "b0-seed5: testing"]
    assert first.results[0].parameters == 6_569_581
    (tested,) = first.results[0].reports
    run = tmp_path / "runs" / "b0-seed5"
    stored = json.loads((run / "report.json").read_text())
    assert stored["figures"]["mean IoU"] == pytest.approx(tested.figures["mean IoU"])

    log = (run / "log.jsonl").read_bytes()
    again = compare_encoders(buildings, folder=tmp_path / "runs", plan=plan)
    assert again.results[0].reports[0].fingerprint == tested.fingerprint
    assert (run / "log.jsonl").read_bytes() == log
    assert again.to_markdown() == first.to_markdown()
