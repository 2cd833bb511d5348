"""A recipe's settings against torch's own schedules and optimisers, and its mistakes in one sentence."""

import json
import math
from dataclasses import replace

import pytest
import tiny
import torch

from swath.errors import ConfigurationError
from swath.models.classify.resnet import resnet18
from swath.models.inputs import imagenet_rgb
from swath.models.recipe import Recipe, Stage
from swath.training.checkpoint import load_checkpoint
from swath.training.loop import train
from swath.training.schedule import learning_rate_at
from swath.training.state import describe_run, differences

PLAIN = Recipe(epochs=6, batch_size=4, learning_rate=0.4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimiser": "lion"}, "'optimiser' must be adamw or adam or sgd; found 'lion'"),
        ({"schedule": "linear"}, "'schedule' must be cosine or poly or step or constant; found 'linear'"),
        ({"schedule_every": "batch"}, "'schedule_every' must be step or epoch"),
        ({"precision": "float16"}, "'precision' must be float32 or bfloat16"),
        ({"momentum": 1.0}, r"'momentum' must be 0 to below 1; found 1.0"),
        ({"layer_decay": 0.0}, r"'layer_decay' must be above 0 to 1; found 0.0"),
        ({"power": 0.0}, "'power' must be positive"),
        ({"schedule": "step"}, "the schedule 'step' needs milestones"),
        ({"milestones": (2.0,)}, "no other takes them"),
        ({"schedule": "step", "milestones": (3.0, 2.0)}, "'milestones' must rise from above 0"),
        ({"stages": (Stage(epochs=2),)}, "the stages have 2 epochs and 'epochs' is 6"),
        ({"class_weights": (1.0, -1.0)}, "'class_weights' are numbers of at least 0, or 'balanced'"),
        ({"class_weights": "even"}, "'class_weights' are numbers of at least 0, or 'balanced'; found 'even'"),
        ({"class_weights": {"water": math.nan}}, "'class_weights' are numbers of at least 0, or 'balanced'"),
        ({"head_rate": 0.0}, "'head_rate' must be positive; found 0.0"),
        ({"keep": "first"}, "'keep' must be best or last; found 'first'"),
        ({"keep": "last", "patience": 3}, "'patience' is 3 and 'keep' is 'last'"),
        ({"sizes": (64, 0)}, "'sizes' are sides of at least 1 pixel"),
        ({"keep_best": 0}, "'keep_best' must be at least 1"),
        ({"compile": True, "shard": True}, "'compile' and 'shard' do not go together"),
        ({"compile": True, "gradient_checkpointing": True}, "'compile' and 'gradient_checkpointing' do not"),
    ],
)
def test_what_means_nothing_is_one_sentence(changes, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        replace(PLAIN, **changes)
    assert "\n" not in str(caught.value)


def test_stages_that_mean_nothing_are_told():
    with pytest.raises(ConfigurationError, match="'epochs' must be at least 1"):
        Stage(epochs=0)
    with pytest.raises(ConfigurationError, match="'learning_rate' must be positive"):
        Stage(epochs=1, learning_rate=0.0)
    with pytest.raises(ConfigurationError, match=r"write \('encoder',\)"):
        Stage(epochs=1, frozen="encoder")


# -- schedules


def torch_rates(make, count, rate=0.4):
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=rate)
    peer = make(optimiser)
    rates = []
    for _ in range(count):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        peer.step()
    return rates


@pytest.mark.parametrize(
    ("changes", "peer"),
    [
        (
            {"schedule": "poly", "power": 0.9},
            lambda optimiser: torch.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=18, power=0.9),
        ),
        (
            {"schedule": "step", "milestones": (2.0, 5.0), "factor": 0.3},
            lambda optimiser: torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[6, 15], gamma=0.3),
        ),
        ({"schedule": "constant"}, lambda optimiser: torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)),
    ],
)
def test_rates_are_torchs(changes, peer):
    own = [learning_rate_at(replace(PLAIN, **changes), step, 3) for step in range(18)]
    assert own == pytest.approx(torch_rates(peer, 18))


def test_a_rate_that_changes_once_an_epoch_is_torchs_stepped_once_an_epoch():
    once = replace(PLAIN, schedule_every="epoch", minimum_learning_rate=0.01)
    peer = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=6, eta_min=0.01), 6)
    assert [learning_rate_at(once, step, 3) for step in range(18)] == pytest.approx(
        [rate for rate in peer for _ in range(3)]
    )


def test_every_stage_runs_through_the_schedule_from_its_own_peak():
    staged = replace(PLAIN, warmup_epochs=1.0, stages=(Stage(epochs=2), Stage(epochs=4, learning_rate=0.1)))
    rates = [learning_rate_at(staged, step, 3) for step in range(18)]
    for first, epochs, peak in ((0, 2, 0.4), (6, 4, 0.1)):
        alone = replace(PLAIN, epochs=epochs, learning_rate=peak, warmup_epochs=1.0)
        assert rates[first : first + 3 * epochs] == [learning_rate_at(alone, step, 3) for step in range(3 * epochs)]


# -- optimisers


def two_steps(tmp_path, **changes):
    """Train for two steps on one batch, and return weights and gradients of before, between and after."""
    model = tiny.fresh(tiny.TinyClassifier)
    data = tiny.Ponds(4, whole_image=True)
    settings = Recipe(epochs=2, batch_size=4, learning_rate=0.1, schedule="constant", weight_decay=0.5, **changes)
    seen = []

    class Watched(tiny.TinyClassifier):
        def loss(self, batch):
            seen.append({name: value.detach().clone() for name, value in self.named_parameters()})
            return super().loss(batch)

    watched = tiny.fresh(Watched)
    train(watched, data, settings, folder=tmp_path)
    seen.append(load_checkpoint(tmp_path / "last.safetensors").part("model"))
    gradients = []
    for weights in seen[:2]:
        model.load_state_dict(weights)
        model.zero_grad()
        samples = [data[index] for index in range(4)]
        sum(model.loss(model.prepare(samples)).values()).backward()
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters()})
    return seen, gradients


def test_two_steps_are_sgd_with_momentum_by_hand(tmp_path):
    seen, gradients = two_steps(tmp_path, optimiser="sgd", momentum=0.8)
    for name, start in seen[0].items():
        decay = 0.0 if name.endswith("bias") else 0.5
        first = gradients[0][name] + decay * start
        assert torch.allclose(seen[1][name], start - 0.1 * first, atol=1e-6)
        second = 0.8 * first + gradients[1][name] + decay * seen[1][name]
        assert torch.allclose(seen[2][name], seen[1][name] - 0.1 * second, atol=1e-6)


def test_a_step_of_adam_takes_weight_decay_for_part_of_the_gradient(tmp_path):
    seen, gradients = two_steps(tmp_path, optimiser="adam")
    for name, start in seen[0].items():
        decay = 0.0 if name.endswith("bias") else 0.5
        whole = gradients[0][name] + decay * start
        assert torch.allclose(seen[1][name], start - 0.1 * whole / (whole.abs() + 1e-8), atol=1e-5)


def test_layers_learn_the_slower_the_nearer_they_are_to_the_input(tmp_path):
    model = tiny.fresh(tiny.TinyClassifier)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = Recipe(epochs=1, batch_size=4, learning_rate=0.1, layer_decay=0.3)
    train(model, tiny.Ponds(4, whole_image=True), settings, folder=tmp_path)
    # Adam's first step is the learning rate for every weight with a gradient.
    for name, value in model.named_parameters():
        moved = (value - before[name]).abs().max().item()
        assert moved == pytest.approx(0.1 if name.startswith("network.4") else 0.03, rel=1e-3)


@pytest.mark.parametrize("layer_decay", [1.0, 0.3])
def test_the_head_learns_so_many_times_as_fast(tmp_path, layer_decay):
    model = tiny.fresh(tiny.TinyClassifier)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = Recipe(epochs=1, batch_size=4, learning_rate=0.01, layer_decay=layer_decay, head_rate=10.0)
    train(model, tiny.Ponds(4, whole_image=True), settings, folder=tmp_path)
    for name, value in model.named_parameters():
        moved = (value - before[name]).abs().max().item()
        assert moved == pytest.approx(0.1 if name.startswith("network.4") else 0.01 * layer_decay, rel=1e-3)


# -- runs of before


def test_settings_that_came_later_are_told_only_where_they_are_set():
    model = tiny.fresh(tiny.TinyClassifier)
    described = describe_run(model, PLAIN, 10)
    assert set(described) == {"model", "config", "recipe", "samples"}
    # What the first version told of every recipe, so that its runs go on.
    assert set(described["recipe"]) == {
        *("epochs", "batch_size", "learning_rate", "weight_decay", "decay_everything", "betas", "warmup_epochs"),
        *("warmup_start", "minimum_learning_rate", "accumulate", "clip_gradient_norm", "average", "precision"),
        *("channels_last", "transforms", "mixup", "cutmix", "mix_share", "teacher_share", "validate_every", "watch"),
        *("patience", "seed"),
    }
    set_now = replace(PLAIN, optimiser="sgd", stages=(Stage(epochs=6, frozen=("0",)),), workers=3)
    more = describe_run(model, set_now, 10, processes=2)
    assert set(more["recipe"]) - set(described["recipe"]) == {"optimiser", "stages"}
    assert more["recipe"]["stages"] == [{"epochs": 6, "frozen": ("0",), "learning_rate": None}]
    assert more["global_batch"] == 8
    by_name = describe_run(model, replace(PLAIN, class_weights={"water": 2.0}), 10)
    assert by_name["recipe"]["class_weights"] == {"water": 2.0}


def test_settings_of_the_input_that_came_later_are_told_only_where_they_are_set():
    def told(**changes):
        with torch.device("meta"):
            model = resnet18(classes=("land", "water"), input=imagenet_rgb(**changes))
        return describe_run(model, PLAIN, 10)["config"]["input"]

    assert not {"square", "minimum"} & set(told())
    assert told(square=True, minimum=64) == {**told(), "square": True, "minimum": 64}


def test_two_descriptions_are_compared_setting_by_setting():
    model = tiny.fresh(tiny.TinyClassifier)
    one = describe_run(model, PLAIN, 10)
    assert differences(one, one) == ""
    assert differences({}, one) == ""
    other = describe_run(model, replace(PLAIN, epochs=7, seed=2, clip_gradient_norm=1.0, transforms=(tiny.mirror,)), 12)
    assert differences(json.loads(json.dumps(one)), other) == (
        "clip_gradient_norm was 0.0, is now 1.0; epochs was 6, is now 7; samples was 10, is now 12; and 2 more"
    )
