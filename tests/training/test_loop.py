"""The loop learns, accumulates, stops, keeps the best weights, and says what goes wrong."""

import json
import math

import numpy as np
import pytest
import tiny
import torch

from swath.errors import ConfigurationError, DataError, TrainingError
from swath.models.recipe import Recipe
from swath.models.store import load_model
from swath.training.checkpoint import load_checkpoint
from swath.training.loop import train


def recipe(**changes):
    return Recipe(**{"epochs": 5, "batch_size": 8, "learning_rate": 2e-2, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "average": 0.9,
            "workers": 2,
            "transforms": (tiny.mirror,),
            "warmup_epochs": 1.0,
            "clip_gradient_norm": 1.0,
        },
        {"precision": "bfloat16", "channels_last": True},
    ],
)
def test_segmentation_is_learnt_and_holds_on_unseen_data(tmp_path, changes):
    model = tiny.fresh(tiny.TinySegmenter)
    result = train(model, tiny.Ponds(48), recipe(**changes), folder=tmp_path, evaluate=tiny.accuracy)
    losses = [sum(entry.losses.values()) for entry in result.history]
    assert losses[-1] < 0.5 * losses[0]
    assert result.best_value > 0.93  # three in four pixels are land
    assert result.reason == "epochs"
    assert not model.training


def test_classes_of_images_are_learnt_with_mixed_batches(tmp_path):
    data = tiny.Ponds(48, whole_image=True)
    model = tiny.fresh(tiny.TinyClassifier)
    result = train(model, data, recipe(mixup=0.8, cutmix=1.0), folder=tmp_path, evaluate=tiny.accuracy)
    assert result.best_value > 0.95


def test_mixing_refuses_maps(tmp_path):
    with pytest.raises(ConfigurationError, match="mix labels of whole images"):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), recipe(mixup=0.8), folder=tmp_path)


def test_two_batches_of_four_make_the_step_of_one_of_eight(tmp_path):
    weights, losses, norms = [], [], []
    for name, split in (("one", {"batch_size": 8}), ("two", {"batch_size": 4, "accumulate": 2})):
        # Each image of this classifier counts alike, so that the mean of two means is the mean of all.
        model = tiny.fresh(tiny.TinyClassifier)
        told = []
        settings = recipe(**split, clip_gradient_norm=0.1)
        folder = tmp_path / name
        train(model, tiny.Ponds(16, whole_image=True), settings, folder=folder, progress=told.append)
        weights.append(load_checkpoint(folder / "last.safetensors").part("model"))
        losses.append([progress.losses["cross_entropy"] for progress in told if progress.losses])
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        norms.append([line["gradient_norm"] for line in lines if line["kind"] == "step"])
    assert all(torch.allclose(value, weights[1][name], atol=1e-6) for name, value in weights[0].items())
    # Adam forgives a gradient of the wrong size; its norm and the loss do not.
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_one_step_is_adamw_by_hand(tmp_path):
    model = tiny.fresh(tiny.TinyClassifier)
    data = tiny.Ponds(4, whole_image=True)
    twin = tiny.fresh(tiny.TinyClassifier)
    samples = [data[index] for index in range(4)]
    sum(twin.loss(twin.prepare(samples)).values()).backward()
    train(model, data, recipe(epochs=1, batch_size=4, learning_rate=0.1, weight_decay=0.5), folder=tmp_path)
    for (name, new), old in zip(model.named_parameters(), twin.parameters(), strict=True):
        decay = 0.0 if name.endswith("bias") else 0.5
        # Adam begins with a step of the learning rate: m / sqrt(v) is the sign of the gradient, but for eps.
        expected = old * (1 - 0.1 * decay) - 0.1 * old.grad / (old.grad.abs() + 1e-8)
        assert torch.allclose(new, expected, atol=1e-5)


def test_the_gradient_is_clipped_to_its_norm(tmp_path):
    settings = recipe(epochs=1, clip_gradient_norm=0.05)
    train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), settings, folder=tmp_path)
    (step,) = [line for line in map(json.loads, (tmp_path / "log.jsonl").open()) if line["kind"] == "step"]
    assert step["gradient_norm"] > 0.05
    state = load_checkpoint(tmp_path / "last.safetensors").part("optimiser/exp_avg")
    # After one step Adam's mean of the gradient is a tenth of it.
    assert torch.nn.utils.get_total_norm(state.values()).item() == pytest.approx(0.1 * 0.05, rel=1e-4)


def test_the_best_weights_are_kept_and_left_in_the_model(tmp_path):
    told = iter([0.2, 0.9, 0.4, math.nan, 0.9])
    seen = []

    def evaluate(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append({name: value.clone() for name, value in model.network.state_dict().items()})
        return {"loss": 1.0, "score": next(told)}

    model = tiny.fresh(tiny.TinySegmenter)
    result = train(model, tiny.Ponds(8), recipe(watch="score", average=0.5), folder=tmp_path, evaluate=evaluate)
    assert (result.best_epoch, result.best_value) == (2, 0.9)
    stored = load_model(tmp_path / "best", model_class=tiny.TinySegmenter).model
    for name, value in seen[1].items():
        assert torch.equal(value, stored.network.state_dict()[name])
        assert torch.equal(value, model.network.state_dict()[name])


def test_the_last_weights_are_kept_where_the_recipe_says_so(tmp_path):
    told = iter([0.2, 0.9, math.nan, 0.4])
    seen = []

    def evaluate(model):
        seen.append({name: value.clone() for name, value in model.network.state_dict().items()})
        return {"score": next(told)}

    model = tiny.fresh(tiny.TinySegmenter)
    settings = recipe(epochs=4, keep="last", keep_best=2)
    result = train(model, tiny.Ponds(8), settings, folder=tmp_path, evaluate=evaluate)
    assert (result.best_epoch, result.best_value, len(result.history)) == (4, 0.4, 4)
    stored = load_model(tmp_path / "best", model_class=tiny.TinySegmenter).model
    for name, value in seen[3].items():
        assert torch.equal(value, stored.network.state_dict()[name])
        assert torch.equal(value, model.network.state_dict()[name])
    steps = result.history[1].step, result.history[3].step
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {f"step-{step}" for step in steps}
    with pytest.raises(ConfigurationError, match="'watch' is 'shine'"):
        wrong = recipe(keep="last", watch="shine")
        train(model, tiny.Ponds(8), wrong, folder=tmp_path / "wrong", evaluate=lambda _: {"score": 1.0})


def test_less_is_better_with_a_minus(tmp_path):
    told = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    result = train(
        tiny.fresh(tiny.TinySegmenter),
        tiny.Ponds(8),
        recipe(watch="-error"),
        folder=tmp_path,
        evaluate=lambda _: {"error": next(told)},
    )
    assert (result.best_epoch, result.best_value) == (2, 1.0)


def test_patience_counts_validations_without_a_better_value(tmp_path):
    told = iter([0.5, 0.6, 0.6, 0.1, 0.9])
    arguments = {
        "folder": tmp_path,
        "evaluate": lambda _: {"score": next(told)},
    }
    settings = recipe(epochs=20, patience=2, validate_every=2)
    result = train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), settings, **arguments)
    assert (result.reason, result.best_epoch, len(result.history)) == ("patience", 4, 4)
    assert next(told) == 0.9
    again = train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), settings, **arguments)
    assert again == result


def test_the_last_epoch_is_validated_whatever_the_rhythm(tmp_path):
    result = train(
        tiny.fresh(tiny.TinySegmenter),
        tiny.Ponds(8),
        recipe(validate_every=3),
        folder=tmp_path,
        evaluate=tiny.accuracy,
    )
    assert [entry.epoch for entry in result.history] == [3, 5]


def test_an_unknown_metric_to_watch_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="'watch' is 'iou', but the evaluation gives accuracy"):
        train(
            tiny.fresh(tiny.TinySegmenter),
            tiny.Ponds(8),
            recipe(watch="iou"),
            folder=tmp_path,
            evaluate=tiny.accuracy,
        )


def test_an_evaluation_that_measures_nothing_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="the evaluation gives nothing"):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(8), recipe(), folder=tmp_path, evaluate=lambda _: {})
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loss_that_is_no_number_is_one_sentence_with_the_samples(tmp_path, workers):
    class Broken(tiny.TinySegmenter):
        def loss(self, batch):
            terms = super().loss(batch)
            return {**terms, "extra": terms["dice"] * (math.nan if "pond3" in batch.keys else 1.0)}

    with pytest.raises(TrainingError) as caught:
        train(tiny.fresh(Broken), tiny.Ponds(8), recipe(batch_size=1, workers=workers), folder=tmp_path)
    message = str(caught.value)
    assert "extra nan" in message
    assert "samples pond3)" in message
    assert "epoch 1" in message
    assert "\n" not in message


def test_frozen_weights_stay_and_frozen_models_are_refused(tmp_path):
    model = tiny.fresh(tiny.TinySegmenter)
    model.network[0].weight.requires_grad_(False)
    before = model.network[0].weight.clone()
    train(model, tiny.Ponds(8), recipe(epochs=1, average=0.9), folder=tmp_path)
    assert torch.equal(model.network[0].weight, before)
    with pytest.raises(TrainingError, match="no trainable weights"):
        train(model.requires_grad_(False), tiny.Ponds(8), recipe(epochs=1), folder=tmp_path / "other")


def test_no_data_and_broken_data_are_told(tmp_path):
    class Gone(tiny.Ponds):
        def __getitem__(self, index):
            raise DataError(f"sample {index} is gone.")

    with pytest.raises(DataError, match="nothing to learn from"):
        train(tiny.fresh(tiny.TinySegmenter), tiny.Ponds(0), recipe(), folder=tmp_path)
    with pytest.raises(DataError, match=r"sample \d+ is gone"):
        train(tiny.fresh(tiny.TinySegmenter), Gone(8), recipe(workers=2), folder=tmp_path)


def test_global_randomness_is_neither_used_nor_touched(tmp_path):
    finals = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002 (the point of the test)
        state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        model = tiny.fresh(tiny.TinySegmenter)
        train(model, tiny.Ponds(8), recipe(transforms=(tiny.mirror,)), folder=tmp_path / str(noise))
        assert torch.equal(state, torch.get_rng_state())
        assert (numpy_state == np.random.get_state()[1]).all()  # noqa: NPY002
        finals.append(model.network.state_dict())
    assert all(torch.equal(value, finals[1][name]) for name, value in finals[0].items())


def test_how_many_threads_feed_changes_nothing(tmp_path):
    finals = []
    for workers in (0, 1, 3):
        model = tiny.fresh(tiny.TinySegmenter)
        settings = recipe(workers=workers, transforms=(tiny.mirror,), batch_size=3)
        train(model, tiny.Ponds(10), settings, folder=tmp_path / str(workers))
        finals.append(model.network.state_dict())
    for other in finals[1:]:
        assert all(torch.equal(value, other[name]) for name, value in finals[0].items())


def test_the_log_and_the_listener_tell_every_step(tmp_path):
    told = []
    settings = recipe(epochs=3, batch_size=2, accumulate=2, warmup_epochs=1, warmup_start=0.5)
    result = train(
        tiny.fresh(tiny.TinySegmenter),
        tiny.Ponds(46),
        settings,
        folder=tmp_path,
        evaluate=tiny.accuracy,
        progress=told.append,
    )
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    # 46 samples at 4 a step are 12 steps an epoch: a line at ten, and one at the end of the epoch.
    assert [line["step"] for line in steps] == [10, 12, 22, 24, 34, 36]
    assert [line["epochs_done"] for line in steps] == [0.8333, 1.0, 1.8333, 2.0, 2.8333, 3.0]
    assert steps[0]["learning_rate"] == pytest.approx(2e-2 * (0.5 + 0.5 * 9 / 12))
    assert set(steps[0]["losses"]) == {"cross_entropy", "dice"}
    assert steps[0]["loss"] == pytest.approx(sum(steps[0]["losses"].values()))
    assert steps[0]["memory_mib"] > 50
    assert steps[0]["samples_per_second"] == pytest.approx(40 / steps[0]["seconds"], rel=0.01)
    checks = [line for line in lines if line["kind"] == "validation"]
    assert [line["metrics"]["accuracy"] for line in checks] == [e.metrics["accuracy"] for e in result.history]
    # The mean of an epoch is the mean of its lines, weighed by their steps.
    means = [(10 * a["loss"] + 2 * b["loss"]) / 12 for a, b in zip(steps[::2], steps[1::2], strict=True)]
    assert means == pytest.approx([sum(entry.losses.values()) for entry in result.history])
    plain = [progress for progress in told if not progress.metrics]
    assert [(progress.epoch, progress.step) for progress in plain] == [(1 + n // 12, 1 + n) for n in range(36)]
    assert len(told) == 39
