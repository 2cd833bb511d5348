"""Loading weights files: what is refused, and what the report says of every tensor."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from swath.errors import ImageryNotFound, UnsafeWeights, WeightsMismatch
from swath.imagery.bands import Unit
from swath.models.classify.rsmamba import RSMamba, rsmamba
from swath.models.inputs import InputSpec
from swath.models.published import WrongShape, load_published, read_tensors


def tiny(seed: int = 0) -> RSMamba:
    torch.manual_seed(seed)
    spec = InputSpec(bands=("red",), unit=Unit.EIGHT_BIT, window=16, overlap=0, fixed_size=True)
    return rsmamba(classes=("land", "water"), layers=1, width=8, input=spec)


RENAMED = {
    "backbone.patch_embed.projection.weight": "backbone.patch_embedding.projection.weight",
    "backbone.pos_embed": "backbone.position",
    "backbone.layers.0.A_log": "backbone.layers.0.mixer.A_log",
    "backbone.layers.0.D": "backbone.layers.0.mixer.D",
    "backbone.layers.0.in_proj.weight": "backbone.layers.0.mixer.in_proj.weight",
    "backbone.layers.0.conv1d.weight": "backbone.layers.0.mixer.conv1d.weight",
    "backbone.layers.0.conv1d.bias": "backbone.layers.0.mixer.conv1d.bias",
    "backbone.layers.0.x_proj.weight": "backbone.layers.0.mixer.x_proj.weight",
    "backbone.layers.0.dt_proj.weight": "backbone.layers.0.mixer.dt_proj.weight",
    "backbone.layers.0.dt_proj.bias": "backbone.layers.0.mixer.dt_proj.bias",
    "backbone.layers.0.out_proj.weight": "backbone.layers.0.mixer.out_proj.weight",
    "backbone.gate_layers.0.0.weight": "backbone.layers.0.gate.weight",
    "backbone.ln1.weight": "backbone.token_norm.weight",
    "backbone.ln1.bias": "backbone.token_norm.bias",
    "backbone.ln2.weight": "backbone.pooled_norm.weight",
    "backbone.ln2.bias": "backbone.pooled_norm.bias",
    "head.fc.weight": "head.weight",
    "head.fc.bias": "head.bias",
}
KEPT = ("backbone.pre_norm.weight", "backbone.pre_norm.bias")


def published_tensors() -> dict[str, torch.Tensor]:
    own = tiny(1).network.state_dict()
    return {theirs: own[ours] for theirs, ours in (RENAMED | dict(zip(KEPT, KEPT, strict=True))).items()}


def state_of(model: RSMamba) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_complete_file_is_loaded_and_its_renames_reported(tmp_path, suffix):
    file = tmp_path / f"published{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": published_tensors(), "meta": {"epoch": 3}}, file)
    else:
        save_file(published_tensors(), file)
    model = tiny()
    report = load_published(model, file)
    assert report.complete
    assert report.renamed == RENAMED
    assert set(report.loaded) == {*RENAMED.values(), *KEPT}
    assert report.summary() == "20 tensors loaded, 18 of them renamed."
    assert same(state_of(model), state_of(tiny(1)))


def faulty_file(folder: Path) -> Path:
    tensors = published_tensors()
    del tensors["backbone.ln1.bias"]
    tensors["head.fc.weight"] = torch.zeros(45, 8)
    tensors["auxiliary.weight"] = torch.zeros(1)
    torch.save(tensors, folder / "faulty.pth")
    return folder / "faulty.pth"


def test_missing_left_over_and_misshapen_tensors_are_named_and_nothing_is_loaded(tmp_path):
    model = tiny()
    before = state_of(model)
    with pytest.raises(WeightsMismatch) as caught:
        load_published(model, faulty_file(tmp_path))
    message = str(caught.value)
    assert "1 missing (backbone.token_norm.bias)" in message
    assert "1 left over (auxiliary.weight)" in message
    assert "1 of another shape (head.weight is [45, 8], needed [2, 8])" in message
    assert same(state_of(model), before)


def test_what_fits_is_loaded_where_that_is_asked_for(tmp_path):
    model = tiny()
    before = state_of(model)
    report = load_published(model, faulty_file(tmp_path), strict=False)
    assert not report.complete
    assert report.missing == ("backbone.token_norm.bias",)
    assert report.left_over == ("auxiliary.weight",)
    assert report.wrong_shape == (WrongShape(name="head.weight", expected=(2, 8), found=(45, 8)),)
    assert len(report.loaded) == 18
    expected = state_of(tiny(1)) | {name: before[name] for name in ("backbone.token_norm.bias", "head.weight")}
    assert same(state_of(model), expected)


class LeavesATrace:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["weights.pth", "weights.ckpt", "weights.safetensors"])
@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_a_pickle_is_refused_and_its_code_never_runs(tmp_path, name, save):
    trace = tmp_path / "ran"
    content = {"state_dict": {"head.fc.bias": torch.zeros(2)}, "hook": LeavesATrace(trace)}
    if save == "torch":
        torch.save(content, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(UnsafeWeights, match="safetensors"):
        read_tensors(tmp_path / name)
    assert not trace.exists()
    assert pickle.loads(pickle.dumps(LeavesATrace(trace))) is None
    assert trace.exists()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-8], lambda data: data[:4], lambda data: b"", lambda data: b"{" + data]
)
def test_a_damaged_safetensors_file_is_refused(tmp_path, damage):
    file = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(16)}, file)
    assert list(read_tensors(file)) == ["weight"]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UnsafeWeights, match=r"is not a safetensors file"):
        read_tensors(file)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut"])
def test_a_file_of_anything_else_is_refused(tmp_path, content):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(UnsafeWeights, match="not a weights file"):
        read_tensors(tmp_path / "weights.pth")


def test_nested_weights_are_found_and_a_file_without_any_is_refused(tmp_path):
    weights = {"weight": torch.ones(2)}
    for content in (weights, {"model": weights, "epoch": 1}, {"model": {"state_dict": weights}}):
        torch.save(content, tmp_path / "nested.pth")
        assert torch.equal(read_tensors(tmp_path / "nested.pth")["weight"], torch.ones(2))
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(WeightsMismatch, match="no named tensors"):
        read_tensors(tmp_path / "none.pth")
    with pytest.raises(ImageryNotFound, match=r"nowhere\.pth"):
        read_tensors(tmp_path / "nowhere.pth")


def settings(**more: object) -> argparse.Namespace:
    return argparse.Namespace(model="mae_vit_base_patch16", lr=1e-3, betas=(0.9, 0.95), resume=None, **more)


@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_with_the_settings_of_their_program_are_read(tmp_path, legacy):
    """MAE's layout: weights under `model`, and beside them what argparse read."""
    before = set(torch.serialization.get_safe_globals())
    content = {"model": {"weight": torch.ones(2)}, "args": settings(), "epoch": 799, "scaler": {"scale": 65536.0}}
    torch.save(content, tmp_path / "mae.pth", _use_new_zipfile_serialization=not legacy)
    assert torch.equal(read_tensors(tmp_path / "mae.pth")["weight"], torch.ones(2))
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    ("keys", "value"),
    [(("student", "teacher"), 2.0), (("teacher",), 1.0), (("student",), 1.0), (("teacher", "state_dict"), 2.0)],
)
def test_of_a_pair_the_teacher_is_read_and_a_state_dict_before_it(tmp_path, keys, value):
    weights = {key: {"weight": torch.full((2,), 1.0 + number)} for number, key in enumerate(keys)}
    torch.save({**weights, "args": settings(), "dino_loss": {"center": torch.zeros(3)}}, tmp_path / "dino.pth")
    assert read_tensors(tmp_path / "dino.pth")["weight"].tolist() == [value, value]


class Settings(argparse.Namespace):
    """Not the class that is known to be harmless."""


class CallsNamespace:
    """Unpickling it calls argparse's class in a way that fails."""

    def __reduce__(self):
        return argparse.Namespace, ("positional",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["hook in the settings", "hook beside them", "subclass", "call"])
def test_settings_that_hide_code_are_refused_in_one_sentence(tmp_path, kind, legacy):
    trace = tmp_path / "ran"
    hidden = {
        "hook in the settings": {"args": settings(hook=LeavesATrace(trace))},
        "hook beside them": {"args": settings(), "hook": LeavesATrace(trace)},
        "subclass": {"args": Settings(lr=1.0)},
        "call": {"args": CallsNamespace()},
    }
    content = {"model": {"weight": torch.ones(2)}, **hidden[kind]}
    torch.save(content, tmp_path / "mae.pth", _use_new_zipfile_serialization=not legacy)
    told = r"mae\.pth holds more than tensors .* convert it to \.safetensors"
    with pytest.raises(UnsafeWeights, match=told) as caught:
        read_tensors(tmp_path / "mae.pth")
    assert "\n" not in str(caught.value)
    assert not trace.exists()
