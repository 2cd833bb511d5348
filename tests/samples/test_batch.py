"""Batches: what fits together, and what stacking keeps."""

from __future__ import annotations

import pytest
import torch

import swath.samples
from swath.errors import ShapeError
from swath.geometry.windows import Size
from swath.samples import Label
from swath.samples.batch import Batch

SIZE = Size(4, 6)


def batch(count: int, **fields: object) -> Batch:
    images = {"image": torch.rand(count, 3, 4, 6)}
    return Batch(images=images, keys=tuple("abcdef"[:count]), **fields)  # type: ignore[arg-type]


def test_size_length_and_device() -> None:
    found = batch(2)
    assert len(found) == 2 and found.size == SIZE and found.device == torch.device("cpu")
    assert swath.samples.Batch is Batch


def test_moving_to_a_device_moves_every_tensor_and_keeps_the_rest() -> None:
    label = Label.of("a", ("a", "b"), SIZE)
    found = batch(1, valid={"image": torch.ones(1, 4, 6, dtype=torch.bool)}, targets=(label,), prompts=("count",))
    moved = found.to("meta")
    mask = moved.valid["image"]
    assert moved.images["image"].device.type == "meta" and mask is not None and mask.device.type == "meta"
    assert moved.targets == (label,) and moved.prompts == ("count",) and moved.keys == ("a",)
    assert found.device.type == "cpu"
    assert batch(1, valid={"image": None}).to("meta").valid == {"image": None}


def test_stacking_keeps_order_targets_prompts_and_validity() -> None:
    label = Label.of("a", ("a", "b"), SIZE)
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    one, other = batch(1, targets=(label,), prompts=("why",)), batch(2, targets=(label, label), valid={"image": None})
    third = batch(1, targets=(label,), valid={"image": mask})
    stacked = Batch.stack([one, other, third])
    assert len(stacked) == 4 and stacked.keys == ("a", "a", "b", "a")
    torch.testing.assert_close(stacked.images["image"][1:3], other.images["image"])
    assert stacked.prompts == ("why", None, None, None)
    assert stacked.targets is not None and len(stacked.targets) == 4
    valid = stacked.valid["image"]
    assert valid is not None and valid[:3].all() and not valid[3].any()
    assert Batch.stack([one, batch(1)]).targets is None
    assert Batch.stack([one, one]).valid["image"] is None


def test_batches_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least one slot"):
        Batch(images={})
    with pytest.raises(ShapeError, match=r"slot 'image' need the shape \(2, "):
        Batch(images={"image": torch.zeros(2, 4, 6)})
    with pytest.raises(ShapeError, match="slot 'after'"):
        Batch(images={"before": torch.zeros(2, 1, 4, 6), "after": torch.zeros(1, 1, 4, 6)})
    with pytest.raises(ShapeError, match="validity of slot 'image'"):
        batch(1, valid={"image": torch.ones(1, 4, 5, dtype=torch.bool)})
    with pytest.raises(ShapeError, match="2 needs as many keys"):
        Batch(images={"image": torch.zeros(2, 1, 4, 6)}, keys=("a",))
    with pytest.raises(ShapeError, match="as many targets"):
        batch(2, targets=(Label.of("a", ("a",), SIZE),))
    with pytest.raises(ShapeError, match="as many prompts"):
        batch(2, prompts=("why",))
    with pytest.raises(ShapeError, match="same slots and sizes"):
        Batch.stack([batch(1), Batch(images={"image": torch.zeros(1, 3, 4, 4)}, keys=("b",))])
    with pytest.raises(ShapeError, match="nothing to stack"):
        Batch.stack([])
