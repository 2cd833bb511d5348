"""What can be wrong with a training: each is one clear sentence and exit status 2, and nothing is left half done."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from train_and_wait import TINY

from swath import api
from swath.datasets import registry
from swath.datasets.scenes import EUROSAT_RGB
from swath.datasets.splits import ListSplit
from swath.models.classify.resnet import ResNetClassifier
from swath.models.store import load_model
from swath.training.checkpoint import load_checkpoint

CHIPS = Path(__file__).parents[1] / "data" / "eurosat_rgb"


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Let the command line know a very small network."""
    monkeypatch.setattr(api, "SHIPPED", (*api.SHIPPED, TINY))


@pytest.fixture
def chips(tmp_path) -> Path:
    """A copy of real chips that may be broken."""
    return Path(shutil.copytree(CHIPS, tmp_path / "chips"))


@pytest.fixture
def train(swath, tmp_path):
    """Train the small network for an epoch or so."""

    def call(data: object, *options: object, epochs: int = 1):
        words = ("train", "tiny", data, "-o", tmp_path / "run", "--epochs", epochs, "--device", "cpu")
        return swath(*words, *options)

    return call


def refused(done, *told: str) -> str:
    """Check that a call failed as foreseen, with these words in its one sentence."""
    assert done.status == 2
    for words in told:
        assert words in done.sentence
    assert "Traceback" not in done.err
    return done.sentence


def pairs(root: Path, parts=("train", "val", "test"), each: int = 2) -> Path:
    """Pairs of chips with a mask in the layout of LEVIR-CD."""
    chosen = sorted(CHIPS.glob("*/*.jpg"))
    number = 0
    for part in parts:
        for folder in ("A", "B", "label"):
            (root / part / folder).mkdir(parents=True)
        for _ in range(each):
            for folder, chip in (("A", chosen[number]), ("B", chosen[number + 1])):
                Image.open(chip).save(root / part / folder / f"{number}.png")
            mask = np.zeros((64, 64), np.uint8)
            mask[:20, :30] = 255
            Image.fromarray(mask).save(root / part / "label" / f"{number}.png")
            number += 1
    return root


def test_a_folder_that_is_not_there(train, tmp_path):
    refused(train(f"eurosat={tmp_path / 'nowhere'}"), "There is no folder", "nowhere", "give the folder that holds")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else(train, tmp_path):
    (tmp_path / "letters").mkdir()
    refused(train(f"eurosat={tmp_path / 'letters'}"), "holds no class folders", "give the folder whose folders")
    refused(train(tmp_path / "nowhere"), "neither NAME=FOLDER nor a folder", "eurosat")


def test_a_class_without_a_folder(train, chips):
    shutil.rmtree(chips / "River")
    refused(train(f"eurosat={chips}"), "lacks the class folder River", "exactly the 10 class folders")


def test_a_class_without_an_image(train, chips):
    for path in (chips / "River").iterdir():
        path.unlink()
    refused(train(f"eurosat={chips}"), "River holds no image", "complete the data set")


def test_classes_that_the_model_does_not_tell(swath, tmp_path):
    done = swath("train", "trees", f"eurosat={CHIPS}", "-o", tmp_path / "run", "--validation", 0.5)
    refused(done, "tells 1 class (tree)", "'eurosat' has 10 classes", "build the model with the data set's classes")


def test_a_label_outside_the_list(swath, tmp_path):
    root = pairs(tmp_path / "levir")
    for number in (0, 1):  # whichever is learnt from
        Image.fromarray(np.full((64, 64), 7, np.uint8)).save(root / "train" / "label" / f"{number}.png")
    words = ("train", "lwganet_a2net", f"levir-cd={root}", "-o", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    done = swath(*words, "--validation", 0.5)
    refused(done, "png holds the value 7 at 4096 pixels", "knows 0, 1, 255", "Get the file again")


def test_a_pair_of_different_sizes(swath, tmp_path):
    root = pairs(tmp_path / "levir")
    for number in (0, 1):
        Image.open(root / "train" / "B" / f"{number}.png").crop((0, 0, 64, 40)).save(
            root / "train" / "B" / f"{number}.png"
        )
    words = ("train", "lwganet_a2net", f"levir-cd={root}", "-o", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    done = swath(*words, "--validation", 0.5)
    refused(done, "differs in size", "is 64 x 64 pixels", "40 x 64", "get both files again")


def test_a_part_without_an_image(swath, tmp_path):
    root = pairs(tmp_path / "levir", parts=("val", "test"))
    for folder in ("A", "B", "label"):
        (root / "train" / folder).mkdir(parents=True)
    words = ("train", "lwganet_a2net", f"levir-cd={root}", "-o", tmp_path / "run", "--epochs", 1)
    told = refused(swath(*words), "The part 'train' of 'levir-cd' in")
    assert "holds no image (there are 2 in 'validation', 2 in 'test'); complete the data set" in told


def test_too_few_to_hold_any_back(train):
    done = train(f"eurosat={CHIPS}", "--validation", 0.1)
    refused(done, "A share of 0.1 of the 20 samples of 'eurosat' leaves 0 to hold back and 20 to learn from")
    done = train(f"eurosat={CHIPS}", "--validation", 1.5)
    refused(done, "The share to hold back is above 0 and below 1", "found 1.5")


def test_an_image_in_two_parts(train, chips, monkeypatch):
    by_list = ListSplit(files={"train": "train.txt", "test": "test.txt"})
    spec = replace(EUROSAT_RGB, name="eurosat-lists", splits=by_list)
    monkeypatch.setitem(registry._SPECS, spec.name, spec)
    keys = sorted(path.relative_to(chips).as_posix() for path in chips.glob("*/*.jpg"))
    (chips / "train.txt").write_text("\n".join(keys[:20]))
    (chips / "test.txt").write_text("\n".join(keys[19:]))
    told = refused(train(f"eurosat-lists={chips}"), "is in the lists of both 'train' and 'test'", "strike it from one")
    assert keys[19] in told


def test_a_loss_that_is_no_number_names_the_batch_and_leaves_the_last_good_state(train, tmp_path, monkeypatch):
    plain = ResNetClassifier.loss
    calls = iter(range(100))

    def loss(model, batch):
        bad = next(calls) == 4  # of three batches an epoch
        return {name: term * (math.nan if bad else 1.0) for name, term in plain(model, batch).items()}

    with monkeypatch.context() as patch:
        patch.setattr(ResNetClassifier, "loss", loss)
        done = train(f"eurosat={CHIPS}", epochs=2)
    told = refused(done, "no finite number in epoch 2, step 2, batch 2", "cross_entropy nan", "lower the learning rate")
    assert sum(path.name in told for path in CHIPS.glob("*/*.jpg")) == 4
    assert f"The state after epoch 1 is kept in {tmp_path / 'run' / 'last.safetensors'}." in told
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").numbers["epoch"] == 1
    assert load_model(tmp_path / "run" / "best").model.classes == EUROSAT_RGB.classes
    again = train(f"eurosat={CHIPS}", epochs=2)
    assert again.status == 0, again.err
    assert "epoch 1:" not in again.err


def test_a_rate_that_is_far_too_high_is_told_before_anything_is_kept(train, tmp_path):
    told = refused(train(f"eurosat={CHIPS}", "--learning-rate", 1e38), "no finite number in epoch 1", "learning rate")
    assert "Nothing is kept, as it had not come to an end of an epoch." in told
    assert not (tmp_path / "run" / "best").exists()


def test_a_checkpoint_of_another_recipe_says_what_differs(train, tmp_path):
    assert train(f"eurosat={CHIPS}", epochs=1).status == 0
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    told = refused(train(f"eurosat={CHIPS}", "--seed", 5, epochs=2), "last.safetensors belongs to a run with another")
    assert "(epochs was 1, is now 2; seed was 0, is now 5)" in told
    assert "give another folder, or --no-resume" in told
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before
    assert train(f"eurosat={CHIPS}", "--no-resume", "--seed", 5, epochs=1).status == 0
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").numbers["epoch"] == 1


def test_a_checkpoint_that_is_none(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_bytes(b"\x80\x04pickle")
    refused(train(f"eurosat={CHIPS}"), "last.safetensors cannot be read", "--no-resume")


def test_two_parts_that_share_an_image_are_found_by_the_check(swath, chips):
    original = min((chips / "Forest").iterdir())
    for number in range(9000, 9008):  # by the hash of their names some are tested on
        shutil.copy(original, chips / "River" / f"River_{number}.jpg")
    done = swath("data", "check", "eurosat", chips)
    assert done.status == 2
    assert f"duplicates: Forest/{original.name} (train) and River/River_" in done.out
    assert "(test)" in done.out
