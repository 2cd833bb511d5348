"""A model on disk: what is written, and what is refused when it is read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from swath.errors import ConfigurationError, ImageryNotFound, UnsafeWeights, WeightsMismatch
from swath.imagery.bands import Unit
from swath.models.classify.rsmamba import RSMamba, rsmamba
from swath.models.inputs import InputSpec
from swath.models.store import load_model, save_model


def tiny() -> RSMamba:
    torch.manual_seed(3)
    spec = InputSpec(bands=("red", "nir"), unit=Unit.EIGHT_BIT, mean=(1.0, 2.0), window=16, overlap=0, fixed_size=True)
    return rsmamba(classes=("Land", "Gewässer"), layers=1, width=8, input=spec, permutation_seed=9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tiny(), tmp_path / "made" / "tiny")


def edit(folder: Path, **changes: object) -> None:
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(document | changes))


def test_a_folder_holds_plain_files_that_other_programs_read(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert document["model"] == "swath.models.classify.rsmamba:RSMamba"
    assert document["config"]["input"]["bands"] == ["red", "nir"]
    assert document["config"]["output"]["classes"] == ["Land", "Gewässer"]
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# RSMamba\n")
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert set(weights.keys()) == set(tiny().network.state_dict())


def test_a_model_comes_back_whole_and_ready_to_predict(folder):
    stored = load_model(folder)
    assert type(stored.model) is RSMamba
    assert stored.model.config == tiny().config
    assert stored.card == RSMamba.card()
    assert stored.name == "tiny"
    assert stored.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert not stored.model.training
    for name, value in tiny().network.state_dict().items():
        assert torch.equal(stored.model.network.state_dict()[name], value), name


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ImageryNotFound, match=r"no config\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "model: tiny"])
def test_a_configuration_that_is_not_json_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigurationError, match="not JSON"):
        load_model(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 2}'])
def test_another_format_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigurationError, match="format 1"):
        load_model(folder)


@pytest.mark.parametrize("name", ["os:system", "swath.modelsx:Model", "evil.swath.models.x:Y", ""])
def test_a_class_from_elsewhere_is_not_imported(folder, name):
    edit(folder, model=name)
    with pytest.raises(ConfigurationError, match="not part of Swath"):
        load_model(folder)


@pytest.mark.parametrize("name", ["swath.models.nowhere:Model", "swath.models.base:Nothing"])
def test_a_class_that_is_no_longer_there_is_named(folder, name):
    edit(folder, model=name)
    with pytest.raises(WeightsMismatch, match=name):
        load_model(folder)


@pytest.mark.parametrize("name", ["swath.models.inputs:InputSpec", "swath.models.store:load_model"])
def test_what_is_not_a_model_is_refused(folder, name):
    edit(folder, model=name)
    with pytest.raises(ConfigurationError, match="not a model"):
        load_model(folder)


class MyMamba(RSMamba):
    """A class that this package does not hold."""


def test_ones_own_class_is_loaded_when_it_is_given(tmp_path):
    folder = save_model(MyMamba(tiny().config), tmp_path / "mine")
    with pytest.raises(ConfigurationError, match="model_class"):
        load_model(folder)
    assert type(load_model(folder, model_class=MyMamba).model) is MyMamba


@pytest.mark.parametrize("config", [{}, {"layers": "many"}, None])
def test_another_configuration_is_refused(folder, config):
    edit(folder, config=config)
    with pytest.raises(ConfigurationError, match="not a configuration of RSMamba"):
        load_model(folder)


def test_weights_that_are_missing_broken_or_of_another_size_are_refused(folder):
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    edit(folder, config=document["config"] | {"layers": 2})
    with pytest.raises(WeightsMismatch, match=r"missing \(backbone\.layers\.1\."):
        load_model(folder)
    edit(folder, config=document["config"])
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UnsafeWeights, match=r"model\.safetensors"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(ImageryNotFound, match=r"model\.safetensors"):
        load_model(folder)
