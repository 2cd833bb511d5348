"""Several processes learn what one learns with their batches together, and go on as exactly."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from run_together import GLOBAL, NOISY, STAGES, Blocks, learn
from torch import nn

from swath.errors import ConfigurationError, ResumeMismatch
from swath.models.recipe import Recipe
from swath.models.store import load_model
from swath.training.checkpoint import load_checkpoint
from swath.training.distributed import Process
from swath.training.loop import train
from swath.training.placement import average_statistics

SCRIPT = Path(__file__).with_name("run_together.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of runs that two processes made together, and what each of them said."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--master-port", str(port), str(SCRIPT), str(folder)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def tensors(folder):
    return load_checkpoint(folder / "last.safetensors").tensors


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line.get("gradient_norm", 0)) for line in lines if line["kind"] == "step"]


def assert_alike(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-5), name


@pytest.mark.parametrize(
    ("name", "stages"), [("copied", ()), ("sharded", ()), ("staged", STAGES), ("staged-sharded", STAGES)]
)
def test_two_processes_learn_what_one_learns_with_the_same_global_batch(runs, tmp_path, name, stages):
    alone = learn(tmp_path, Recipe(**{**vars(GLOBAL), "stages": stages}))
    assert_alike(tensors(tmp_path), tensors(runs / name))
    expected = [figure for line in losses(tmp_path) for figure in line]
    assert [figure for line in losses(runs / name) for figure in line] == pytest.approx(expected, rel=1e-5)
    best = load_model(runs / name / "best", model_class=Blocks).model
    with torch.inference_mode():
        assert tiny.accuracy(best)["accuracy"] == pytest.approx(alone.best_value, abs=1 / 32)


def test_all_processes_know_the_figures_and_one_tells_progress(runs):
    first, second = (json.loads((runs / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["history"] == second["history"]
    assert len(first["history"]) == 3
    assert (first["steps"], second["steps"]) == (9, 0)


@pytest.mark.parametrize("name", ["noisy", "noisy-sharded"])
def test_a_paused_run_of_two_processes_ends_with_the_same_bits(runs, name):
    whole, parts = tensors(runs / name), tensors(runs / f"{name}-parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_copies_and_shards_hold_the_same_tensors(runs):
    copied, sharded = tensors(runs / "noisy"), tensors(runs / "noisy-sharded")
    assert {name: value.shape for name, value in copied.items()} == {
        name: value.shape for name, value in sharded.items()
    }
    assert_alike(copied, sharded)


def test_a_sharded_model_is_left_plain_and_frozen_where_it_was(runs):
    for rank in (0, 1):
        left = json.loads((runs / f"rank{rank}.json").read_text())["left"]
        assert left == {"kinds": ["Parameter"], "frozen": ["network.0.bias"], "kept": True}


def test_statistics_are_averaged_but_for_frozen_norms():
    class Others:
        """Another process whose statistics are all 3."""

        def mean(self, values):
            return (values + 3) / 2

    norms = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(1), nn.BatchNorm1d(1, track_running_stats=False))
    norms[1].eval()
    average_statistics(norms, Others())
    assert norms[0].running_mean.tolist() == [1.5, 1.5]
    assert norms[0].running_var.tolist() == [2.0, 2.0]
    assert norms[1].running_mean.tolist() == [0.0]


def test_a_run_goes_on_with_as_many_processes_only(runs):
    with pytest.raises(ResumeMismatch, match="a run of 2 processes and this one has 1"):
        learn(runs / "noisy", NOISY, tiny.TinySegmenter)


def test_a_broken_batch_is_named_in_all_processes(runs):
    first, second = (json.loads((runs / f"rank{rank}.json").read_text())["message"] for rank in (0, 1))
    assert first == second
    assert "samples pond3)" in first
    assert "\n" not in first


def test_the_environment_says_which_process_this_is():
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert Process.from_environment(told) == Process(rank=5, world=8, local_rank=1)
    assert str(Process.from_environment(told).device("cuda")) == "cuda:1"
    assert str(Process().device("cuda")) == "cuda"
    for wrong in ({"RANK": "8"}, {"RANK": "-1"}, {"WORLD_SIZE": "many"}, {"LOCAL_RANK": "-2"}):
        with pytest.raises(ConfigurationError, match="names no process of a group"):
            Process.from_environment({**told, **wrong})


def test_processes_that_cannot_meet_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigurationError, match="process 0 of 2 cannot join the others") as caught:
        train(tiny.fresh(tiny.TinyClassifier), tiny.Ponds(4), NOISY, folder=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)
