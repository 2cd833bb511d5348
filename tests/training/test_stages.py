"""Layers are found in order, stages freeze what they name and nothing else, and runs with stages go on exactly."""

import pytest
import tiny
import torch
from torch import nn

from swath.errors import ConfigurationError
from swath.models.recipe import Recipe, Stage
from swath.training.checkpoint import load_checkpoint
from swath.training.layers import blocks_of, head_parts, layer_scales, layers_of
from swath.training.loop import train

STAGED = Recipe(
    epochs=3,
    batch_size=4,
    learning_rate=1e-2,
    stages=(Stage(epochs=1, frozen=("0", "1")), Stage(epochs=2)),
)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.shortcut = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(2))
        self.stem = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(2)
        self.stages = nn.ModuleList([nn.Sequential(Block(), Block()), nn.Sequential(Block())])


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.pool = nn.ReLU()
        self.head = nn.Sequential(nn.Linear(2, 2), nn.ReLU())


class Layered(tiny.TinyClassifier):
    def __init__(self, config):
        super().__init__(config)
        self.network = Network()


class Declared(Layered):
    def layer_groups(self):
        return [("encoder.stem", "encoder.norm"), ("encoder.stages.0", "encoder.stages.1")]


def test_layers_are_blocks_in_order():
    names = [
        *("encoder.stem", "encoder.norm", "encoder.stages.0.0", "encoder.stages.0.1", "encoder.stages.1.0"),
        "head",
    ]
    assert list(layers_of(Network())) == names
    assert [type(block).__name__ for block in blocks_of(Network())] == ["Block", "Block", "Block", "Sequential"]


def test_rates_fall_by_layer_and_norms_go_with_what_is_before_them():
    scales = layer_scales(tiny.fresh(Layered), 0.5)
    assert {name.removeprefix("network."): scale for name, scale in scales.items() if "weight" in name} == {
        "encoder.stem.weight": 0.5**4,
        "encoder.norm.weight": 0.5**4,
        **{
            f"encoder.stages.{place}.{part}.weight": scale
            for place, scale in (("0.0", 0.5**3), ("0.1", 0.5**2), ("1.0", 0.5))
            for part in ("linear", "shortcut.0", "shortcut.1")
        },
        "head.0.weight": 1.0,
    }
    assert scales["network.encoder.position"] == 0.5**4


def test_declared_layers_are_taken_and_the_rest_comes_after_them():
    scales = layer_scales(tiny.fresh(Declared), 0.5)
    assert scales["network.encoder.norm.bias"] == 0.25
    assert scales["network.encoder.stages.1.0.linear.weight"] == 0.5
    assert scales["network.head.0.weight"] == scales["network.encoder.position"] == 1.0

    class Wrong(Layered):
        def layer_groups(self):
            return [("encoder.steam",)]

    with pytest.raises(ConfigurationError, match=r"'layer_groups' names 'encoder.steam'.*its parts are encoder, head"):
        layer_scales(tiny.fresh(Wrong), 0.5)


def test_the_head_is_what_is_called_so_or_else_the_last_layer():
    assert head_parts(tiny.fresh(Layered)) == head_parts(tiny.fresh(Declared)) == ("head",)
    assert head_parts(tiny.fresh(tiny.TinyClassifier)) == ("4",)
    several = tiny.fresh(Layered)
    several.network.auxiliary_heads = nn.ModuleList([nn.Linear(2, 2)])
    several.network.header = nn.Linear(2, 2)
    assert head_parts(several) == ("head", "auxiliary_heads")
    alone = tiny.fresh(tiny.TinyClassifier)
    alone.network = nn.Linear(2, 2)
    assert layer_scales(alone, head_rate=3.0) == {"network.weight": 3.0, "network.bias": 3.0}
    scales = layer_scales(tiny.fresh(Layered), 0.5, head_rate=10.0)
    assert scales["network.head.0.weight"] == 10.0
    assert scales["network.encoder.stages.1.0.linear.weight"] == 0.5


def test_a_stage_keeps_what_it_freezes_statistics_included(tmp_path):
    model = tiny.fresh(tiny.TinySegmenter)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    after = []

    def listen(progress):
        if not progress.metrics:
            after.append({name: value.clone() for name, value in model.network.state_dict().items()})

    train(model, tiny.Ponds(8), STAGED, folder=tmp_path, evaluate=tiny.accuracy, progress=listen)
    assert len(after) == 6
    for name, value in before.items():
        frozen = name.startswith(("0.", "1."))
        assert torch.equal(value, after[1][name]) == frozen, name  # after the two steps of the first stage
        assert not torch.equal(after[1][name], after[5][name]), name
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_weights_frozen_by_the_user_stay_frozen_in_every_stage(tmp_path):
    model = tiny.fresh(tiny.TinySegmenter)
    model.network[0].bias.requires_grad_(False)
    before = model.network[0].bias.clone()
    train(model, tiny.Ponds(8), STAGED, folder=tmp_path)
    assert torch.equal(model.network[0].bias, before)
    assert not model.network[0].bias.requires_grad


def test_a_run_with_stages_goes_on_exactly(tmp_path):
    for name, calls, limit in (("whole", 1, None), ("parts", 6, 0.0)):
        for _ in range(calls):
            model = tiny.fresh(tiny.TinySegmenter)
            train(model, tiny.Ponds(8), STAGED, folder=tmp_path / name, time_limit=limit)
    one, other = (load_checkpoint(tmp_path / name / "last.safetensors").tensors for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        (("backbone",), "'stages' names 'backbone', and no weight of the network lies there; its parts are 0, 1, 4"),
        (("0", "1", "4"), "a stage freezes all trainable weights"),
    ],
)
def test_stages_that_do_not_fit_the_network_are_told_before_anything_is_learnt(tmp_path, frozen, message):
    settings = Recipe(epochs=1, batch_size=4, learning_rate=1e-2, stages=(Stage(epochs=1, frozen=frozen),))
    with pytest.raises(ConfigurationError, match=message):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), settings, folder=tmp_path)
