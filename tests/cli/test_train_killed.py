"""`swath train` that is killed, and run again, leaves to the byte what an undisturbed run leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swath.training.checkpoint import load_checkpoint

SCRIPT = Path(__file__).with_name("train_and_wait.py")
CHIPS = Path(__file__).parents[1] / "data" / "eurosat_rgb"
PATIENCE = 600.0
"""Seconds; what is waited for takes about five, on a machine that has nothing else to do."""


@pytest.fixture
def start():
    """Start `swath train` on 20 real chips, ten of which it validates on; what is left of it at the end is killed."""
    started = []
    yield lambda folder, **options: started.append(_start(folder, **options)) or started[-1]
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def _start(folder, wait_in_epoch=0):
    command = [sys.executable, str(SCRIPT), "train", "tiny", f"eurosat={CHIPS}", "-o", str(folder), "--device", "cpu"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(SCRIPT.parents[2]),
        "OMP_NUM_THREADS": "1",
        "WAIT_IN_EPOCH": str(wait_in_epoch),
    }
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def log_of(folder):
    path = folder / "log.jsonl"
    # A line may be half written.
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait_for(process, folder, epoch):
    """Wait until the log tells that an epoch has been validated and the next has begun to be learnt."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        done = any(line["kind"] == "validation" and line["epoch"] == epoch for line in log_of(folder))
        if done and load_checkpoint(folder / "last.safetensors").numbers["epoch"] == epoch:
            return
        time.sleep(0.02)
    raise AssertionError(f"epoch {epoch} was never told in {folder}")


def test_a_training_killed_in_its_third_epoch_ends_as_if_it_had_not_been(start, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    whole = start(undisturbed)
    process = start(killed, wait_in_epoch=3)
    wait_for(process, killed, epoch=2)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert [line["epoch"] for line in log_of(killed) if line["kind"] == "validation"] == [1, 2]
    told = finish(start(killed)).replace("\n", "")
    assert "epoch 3" in told
    assert "epoch 2:" not in told  # it is not learnt again
    finish(whole)
    for name in ("best/model.safetensors", "best/config.json"):
        assert (undisturbed / name).read_bytes() == (killed / name).read_bytes(), name
    one, other = (load_checkpoint(folder / "last.safetensors") for folder in (undisturbed, killed))
    assert one.tensors.keys() == other.tensors.keys()
    assert len([name for name in one.tensors if name.startswith("optimiser/exp_avg/")]) > 10
    for name, value in one.tensors.items():
        assert value.numpy().tobytes() == other.tensors[name].numpy().tobytes(), name
    # The log holds times, so its length is the one number that may differ.
    assert {**one.numbers, "log_length": 0} == {**other.numbers, "log_length": 0}
    assert len(one.numbers["history"]) == 4
