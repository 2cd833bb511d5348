"""What saves memory or time changes no result; batches of several sizes; the best few; TensorBoard; bad batches."""

import functools
import json
import math
import sys
import types

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from swath.errors import ConfigurationError, TrainingError
from swath.models.recipe import Recipe
from swath.models.store import load_model
from swath.training.checkpoint import load_checkpoint
from swath.training.feeding import BatchMaker, plan_epoch
from swath.training.loop import train


def recipe(**changes):
    return Recipe(**{"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, **changes})


class Block(nn.Module):
    calls = 0

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout2d(0.3)

    def forward(self, x):
        type(self).calls += 1
        return x + self.dropout(torch.relu(self.norm(self.conv(x))))


class Listed(tiny.TinySegmenter):
    """Blocks in a list, as most networks have them."""

    def __init__(self, config):
        super().__init__(config)
        self.network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(Block(), Block()), nn.Conv2d(4, 2, 1))


def test_recomputed_blocks_give_the_same_bits_and_run_twice(tmp_path):
    finals, calls = [], []
    for switched in (False, True):
        Block.calls = 0
        model = tiny.fresh(Listed)
        settings = recipe(gradient_checkpointing=switched, average=0.5)
        train(model, tiny.Ponds(8), settings, folder=tmp_path / str(switched))
        finals.append(load_checkpoint(tmp_path / str(switched) / "last.safetensors").tensors)
        calls.append(Block.calls)
        assert "forward" not in vars(model.network[1][0])  # as it was
    assert all(torch.equal(value, finals[1][name]) for name, value in finals[0].items())
    assert calls == [2 * 4, 2 * 2 * 4]  # blocks and steps


def test_a_network_without_blocks_cannot_recompute_them(tmp_path):
    with pytest.raises(ConfigurationError, match="'gradient_checkpointing' computes blocks anew, and Sequential is"):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), recipe(gradient_checkpointing=True), folder=tmp_path)


def test_a_compiled_network_learns_the_same(tmp_path, monkeypatch):
    # The graph is captured for real; generating C++ for it would take longer than all other tests.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    finals = []
    for switched in (False, True):
        torch._dynamo.utils.counters.clear()
        model = tiny.fresh(tiny.TinySegmenter, dropout=0.0)
        train(model, tiny.Ponds(8), recipe(compile=switched), folder=tmp_path / str(switched))
        finals.append(model.network.state_dict())
        assert bool(torch._dynamo.utils.counters["stats"]["unique_graphs"]) == switched
        assert "forward" not in vars(model.network)
    assert all(torch.allclose(value, finals[1][name], atol=1e-6) for name, value in finals[0].items())


def test_each_batch_draws_one_of_the_sizes(tmp_path):
    settings = recipe(sizes=(8, 16, 24), batch_size=2)
    make = BatchMaker(model=tiny.fresh(tiny.TinySegmenter), data=tiny.Ponds(40), recipe=settings)
    plans = [list(plan_epoch(40, settings, 0, rank=rank, world=2).batches()) for rank in (0, 1)]
    sizes = [[make(plan).size.height for plan in part] for part in plans]
    assert sizes[0] == sizes[1]  # processes draw alike
    assert set(sizes[0]) == {8, 16, 24}
    batch = make(plans[0][0])
    assert batch.size == batch.targets[0].size
    result = train(
        tiny.fresh(tiny.TinySegmenter),
        tiny.Ponds(40),
        recipe(sizes=(16, 24), epochs=4, learning_rate=2e-2),
        folder=tmp_path,
        evaluate=tiny.accuracy,
    )
    assert result.best_value > 0.85


def test_numbers_of_batches_differ_between_processes():
    plans = [plan_epoch(24, recipe(accumulate=2), 0, rank=rank, world=3) for rank in range(3)]
    assert sorted(batch.number for plan in plans for batch in plan.batches()) == list(range(6))


# -- the best few


def test_the_best_few_are_kept_and_the_rest_dropped(tmp_path):
    told = iter([0.5, 0.9, math.nan, 0.7, 0.9, 0.8])
    seen = []

    def evaluate(model):
        seen.append({name: value.clone() for name, value in model.network.state_dict().items()})
        return {"score": next(told)}

    settings = recipe(epochs=6, keep_best=3)
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(4), settings, folder=tmp_path, evaluate=evaluate)
    # One step an epoch; of the two equal ones the earlier is the best.
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"step-2", "step-5", "step-6"}
    for folder, epoch in (("best", 2), ("kept/step-2", 2), ("kept/step-5", 5), ("kept/step-6", 6)):
        stored = load_model(tmp_path / folder, model_class=tiny.TinySegmenter).model.network.state_dict()
        assert all(torch.equal(value, stored[name]) for name, value in seen[epoch - 1].items())


def test_one_best_is_one_folder_and_another_run_clears_them_all(tmp_path):
    arguments = {"folder": tmp_path, "resume": False}
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(4), recipe(keep_best=2), **arguments)
    # Without figures the latest count as the best.
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"step-1", "step-2"}
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(4), recipe(), **arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last.safetensors", "log.jsonl"]


# -- sinks


def test_tensorboard_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigurationError, match="TensorBoard is not installed; run pip install tensorboard"):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(4), recipe(), folder=tmp_path, tensorboard=True)


def test_tensorboard_gets_the_numbers_of_the_log(tmp_path, monkeypatch):
    told, opened = {}, []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            opened.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            told[name, step] = value

        def close(self):
            opened.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    for limit in (0.0, None):
        model = tiny.fresh(tiny.TinySegmenter)
        arguments = {"folder": tmp_path, "evaluate": tiny.accuracy, "tensorboard": True, "time_limit": limit}
        train(model, tiny.Ponds(8), recipe(), **arguments)
    board = str(tmp_path / "tensorboard")
    assert opened == [(board, 1), "closed", (board, 2), "closed"]
    for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()):
        if line["kind"] == "step":
            assert told["loss", line["step"]] == pytest.approx(line["loss"])
            assert told["step/dice", line["step"]] == line["losses"]["dice"]
        elif line["kind"] == "validation":
            assert told["metrics/accuracy", line["step"]] == line["metrics"]["accuracy"]
    assert {name for name, _ in told} >= {"learning_rate", "gradient_norm", "samples_per_second", "validation/dice"}


# -- bad batches


def test_a_bad_batch_is_named_and_the_last_checkpoint_goes_on(tmp_path):
    class Broken(tiny.TinySegmenter):
        broken = True

        def loss(self, batch):
            self.seen = getattr(self, "seen", 0) + 1
            bad = self.broken and self.seen == 6
            return {name: term * (math.nan if bad else 1.0) for name, term in super().loss(batch).items()}

    settings = recipe(batch_size=2, accumulate=2)  # two steps of two batches an epoch
    told = r"epoch 2, step 1, batch 2 \(.*The state after epoch 1 is kept in .*last"
    with pytest.raises(TrainingError, match=told) as caught:
        train(tiny.fresh(Broken), tiny.Ponds(8), settings, folder=tmp_path / "broken")
    plan = list(plan_epoch(8, settings, 1).batches())[1]
    assert f"samples {', '.join(f'pond{index}' for index in plan.indices)})" in str(caught.value)
    assert load_checkpoint(tmp_path / "broken" / "last.safetensors").numbers["epoch"] == 1
    mended = tiny.fresh(Broken)
    mended.broken = False
    train(mended, tiny.Ponds(8), settings, folder=tmp_path / "broken")
    whole = tiny.fresh(Broken)
    whole.broken = False
    train(whole, tiny.Ponds(8), settings, folder=tmp_path / "whole")
    for name, value in whole.state_dict().items():
        assert np.array_equal(value.numpy(), mended.state_dict()[name].numpy())
