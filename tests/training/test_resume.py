"""A run that dies goes on exactly: weights, best model, averages and log are the same to the bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from run_to_kill import main as run

from swath.errors import ResumeMismatch
from swath.models.recipe import Recipe
from swath.training.checkpoint import load_checkpoint, save_checkpoint
from swath.training.loop import train

SCRIPT = Path(__file__).with_name("run_to_kill.py")
NEVER = (-1, "step")


def run_and_kill(folder, checkpoint_every, kill_at, where):
    command = [sys.executable, str(SCRIPT), str(folder), str(checkpoint_every), str(kill_at), where]
    environment = {"PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, env=environment).returncode


def timeless(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "samples_per_second", "memory_mib")} for line in lines
    ]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("checkpoint_every", "kill_at", "where", "left"),
    [(3, 13, "step", (2, 2)), (0, 8, "step", (1, 0)), (5, 10, "validation", (1, 0))],
)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, checkpoint_every, kill_at, where, left):
    run(str(tmp_path / "whole"), checkpoint_every, *NEVER)
    assert run_and_kill(tmp_path / "killed", checkpoint_every, kill_at, where) == -signal.SIGKILL
    numbers = load_checkpoint(tmp_path / "killed" / "last.safetensors").numbers
    assert (numbers["epoch"], numbers["step"]) == left  # five steps are an epoch
    with (tmp_path / "killed" / "log.jsonl").open("a") as log:
        log.write('{"kind": "step", "step": 9999, "lo')  # what was told after the checkpoint is told again
    run(str(tmp_path / "killed"), checkpoint_every, *NEVER)
    whole, killed = (load_checkpoint(tmp_path / name / "last.safetensors") for name in ("whole", "killed"))
    assert whole.tensors.keys() == killed.tensors.keys()
    assert all(torch.equal(value, killed.tensors[name]) for name, value in whole.tensors.items())
    assert whole.numbers["history"] == killed.numbers["history"]
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "whole/best" / name).read_bytes() == (tmp_path / "killed/best" / name).read_bytes()
    assert timeless(tmp_path / "whole/log.jsonl") == timeless(tmp_path / "killed/log.jsonl")


def quick(**changes):
    return Recipe(**{"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, **changes})


def test_a_finished_run_is_not_run_again(tmp_path):
    first = train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), quick(), folder=tmp_path, evaluate=tiny.accuracy)
    steps = []
    again = train(
        tiny.fresh(tiny.TinySegmenter, seed=9),
        tiny.Ponds(8),
        quick(workers=2),
        folder=tmp_path,
        evaluate=tiny.accuracy,
        progress=steps.append,
    )
    assert again == first
    assert steps == []


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"transforms": (tiny.mirror,)}, {"seed": 1}])
def test_another_recipe_is_refused_and_may_replace(tmp_path, change):
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), quick(), folder=tmp_path)
    told = rf"another model, recipe or number of samples \({next(iter(change))} was .*, is now .*\); give another"
    with pytest.raises(ResumeMismatch, match=told):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), quick(**change), folder=tmp_path)
    result = train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), quick(**change), folder=tmp_path, resume=False)
    assert [line["step"] for line in timeless(tmp_path / "log.jsonl") if line["kind"] == "validation"] == [
        2,
        4,
    ]
    assert result.best is None
    assert result.best_epoch == 2


def run_step_by_step(folder, calls, recipe, evaluate):
    """Call `train` with no time at all, which is one step a call, and return why each call ended."""
    reasons = []
    for _ in range(calls):
        model = tiny.fresh(tiny.TinySegmenter)
        result = train(model, tiny.Ponds(8), recipe, folder=folder, evaluate=evaluate, time_limit=0.0)
        assert (folder / "best/model.safetensors").is_file()
        reasons.append(result.reason)
    return reasons


def test_a_time_limit_pauses_and_the_rest_is_as_if_it_had_not(tmp_path):
    recipe = quick(epochs=3)  # of two steps
    assert run_step_by_step(tmp_path / "parts", 6, recipe, tiny.accuracy) == ["time"] * 5 + ["epochs"]
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), recipe, folder=tmp_path / "whole", evaluate=tiny.accuracy)
    one, other = (load_checkpoint(tmp_path / name / "last.safetensors").part("model") for name in ("parts", "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_validations_out_of_turn_wear_out_no_patience(tmp_path):
    recipe = quick(epochs=4, patience=1, validate_every=2)
    reasons = run_step_by_step(tmp_path, 5, recipe, lambda _: {"score": 1.0})
    # Those after steps 2 and 3 find nothing better and are forgiven; the one due after epoch 2 is not.
    assert reasons == ["time", "time", "time", "patience", "patience"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(4), quick(), folder=tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(load_checkpoint(path), path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ResumeMismatch, match=r"last\.safetensors cannot be read"):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(4), quick(), folder=tmp_path)
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(4), quick(), folder=tmp_path, resume=False)
    with pytest.raises(ResumeMismatch, match="is no checkpoint"):
        load_checkpoint(tmp_path / "best" / "model.safetensors")
