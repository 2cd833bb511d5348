"""What every model must hold: one class that each model's test inherits and fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from swath.errors import ShapeError, UnsafeWeights, WeightsMismatch
from swath.models.base import Model
from swath.models.published import load_published
from swath.models.store import load_model, save_model
from swath.samples.annotation import Annotation
from swath.samples.batch import Batch


class ModelContract:
    """Inherit this and name the builders; every test below then runs on the model.

    `counts` maps a name to a builder and its published parameter count (built on the meta device). `published_names`
    are the names and shapes of the published state dict that `published_builder` (a `staticmethod`) answers to.
    `small` builds a small model of the same kind that the other tests run. `targets` makes truths for a batch of so
    many images.
    """

    counts: ClassVar[Mapping[str, tuple[Callable[[], Model], int]]]
    published_names: ClassVar[Mapping[str, tuple[int, ...]]]
    published_builder: ClassVar[Callable[[], Model]]

    def small(self) -> Model:
        """Return a small model with fresh weights."""
        raise NotImplementedError

    def targets(self, count: int, height: int, width: int) -> tuple[Annotation, ...]:
        """Return truths for images of this size."""
        raise NotImplementedError

    def size(self) -> tuple[int, int]:
        """Height and width that the small model takes."""
        return 64, 64

    def batch(self, model: Model, count: int = 2, *, seed: int = 0) -> Batch:
        height, width = self.size()
        generator = torch.Generator().manual_seed(seed)
        images = {
            slot: torch.randn(count, spec.channels, height, width, generator=generator)
            for slot, spec in model.inputs.items()
        }
        targets = self.targets(count, height, width)
        return Batch(images=images, targets=targets, keys=tuple(str(i) for i in range(count)))

    def seeded(self) -> Model:
        torch.manual_seed(0)
        return self.small().eval()

    def test_parameter_counts_are_the_published_ones(self):
        assert self.counts
        for name, (build, count) in self.counts.items():
            with torch.device("meta"):
                found = build().parameter_count()
            assert found == count, name

    def test_published_names_and_shapes_are_all_there(self):
        """Tensors of the published state dict, renamed, are those of our network, one for one and shape by shape."""
        with torch.device("meta"):
            model = self.published_builder()
            stand_ins = {name: torch.empty(shape) for name, shape in self.published_names.items()}
        own = {name: tuple(value.shape) for name, value in model.network.state_dict().items()}
        renamed = {name: tuple(value.shape) for name, value in type(model).remap_state_dict(stand_ins).items()}
        missing = sorted(own.keys() - renamed.keys() - set(self.unpublished_tensors()))
        left_over = sorted(renamed.keys() - own.keys())
        assert (missing, left_over) == ([], [])
        for name, shape in renamed.items():
            assert own[name] == shape, name

    def unpublished_tensors(self) -> list[str]:
        """Names of our tensors that the published weights do not hold."""
        return []

    def test_prediction_is_one_annotation_an_image_of_its_size(self):
        model = self.seeded()
        found = model.predict(self.batch(model))
        assert len(found) == 2
        for annotation in found:
            assert (annotation.size.height, annotation.size.width) == self.size()

    def test_prediction_of_an_image_does_not_depend_on_its_batch(self):
        model = self.seeded()
        pair = self.batch(model)
        alone = Batch(images={slot: image[:1] for slot, image in pair.images.items()}, keys=("0",))
        with torch.inference_mode():
            together, single = maps_of(model(pair)), maps_of(model(alone))
        assert not any(torch.equal(answer[0], answer[1]) for answer in together), "the answer ignores the image"
        torch.testing.assert_close([answer[:1] for answer in together], single, rtol=1e-4, atol=1e-5)

    def test_other_channels_and_missing_slots_are_refused(self):
        model = self.seeded()
        height, width = self.size()
        slot, spec = next(iter(model.inputs.items()))
        with pytest.raises(ShapeError, match="channels"):
            model(Batch(images={slot: torch.zeros(1, spec.channels + 1, height, width)}, keys=("a",)))
        with pytest.raises(ShapeError, match=f"needs the slot '{slot}'"):
            model(Batch(images={"another": torch.zeros(1, spec.channels, height, width)}, keys=("a",)))

    def test_odd_sizes_are_refused_with_what_was_found(self):
        model = self.seeded()
        height, width = self.size()
        slot, spec = next(iter(model.inputs.items()))
        if spec.multiple_of == 1 and not spec.fixed_size:
            pytest.skip("takes every size")
        with pytest.raises(ShapeError, match=f"{height + 1} x {width}"):
            model(Batch(images={slot: torch.zeros(1, spec.channels, height + 1, width)}, keys=("a",)))

    def test_every_parameter_learns(self):
        model = self.seeded().train()
        terms = model.loss(self.batch(model))
        assert all(bool(torch.isfinite(term)) for term in terms.values())
        sum(terms.values()).backward()
        parameters = list(model.network.named_parameters())
        silent = [name for name, p in parameters if p.grad is None or not bool(p.grad.any())]
        assert silent == self.silent_parameters()
        assert all(bool(torch.isfinite(p.grad).all()) for _, p in parameters if p.grad is not None)

    def silent_parameters(self) -> list[str]:
        """Names of stored tensors that nothing trains: the published network freezes them or never runs them."""
        return []

    def test_saved_and_loaded_it_predicts_the_same(self, tmp_path):
        model = self.seeded()
        loaded = load_model(save_model(model, tmp_path / "model"), model_class=type(model))
        assert loaded.model.config == model.config
        batch = self.batch(model)
        with torch.inference_mode():
            torch.testing.assert_close(maps_of(loaded.model(batch)), maps_of(model(batch)), rtol=0, atol=0)
        for before, after in zip(model.predict(batch), loaded.model.predict(batch), strict=True):
            assert before == after

    def test_configuration_survives_json(self):
        model = self.seeded()
        adapter = TypeAdapter(type(model).Config)
        assert adapter.validate_json(adapter.dump_json(model.config)) == model.config

    def test_exported_network_answers_the_same(self):
        model = self.seeded()
        images = tuple(self.batch(model).images[slot] for slot in model.inputs)
        program = torch.export.export(model.network, images).module()
        others = self.batch(model, seed=1).images
        for _ in range(2):
            answer, exported = model.network(*others.values()), program(*others.values())
            torch.testing.assert_close(exported, answer, rtol=1e-4, atol=1e-5)

    def test_weights_of_another_model_are_refused(self, tmp_path):
        model = self.seeded()
        before = {name: value.clone() for name, value in model.network.state_dict().items()}
        torch.save({"state_dict": {"layer.weight": torch.zeros(3)}}, tmp_path / "other.pth")
        with pytest.raises(WeightsMismatch, match="missing"):
            load_published(model, tmp_path / "other.pth")
        for name, value in model.network.state_dict().items():
            assert torch.equal(value, before[name])

    def test_a_pickle_in_place_of_weights_is_not_opened(self, tmp_path):
        model = self.seeded()
        torch.save({"weights": np.random.default_rng}, tmp_path / "code.pth")
        with pytest.raises(UnsafeWeights, match="run code"):
            load_published(model, tmp_path / "code.pth")

    def test_card_names_paper_licences_and_variants(self):
        card = type(self.seeded()).card()
        assert card.paper
        assert card.citation
        assert card.code_licence
        assert card.weights_licence
        assert card.choices
        assert {count for _, count in self.counts.values()} <= {variant.parameters for variant in card.variants}


def maps_of(answer: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """What a network answers, as a list: one tensor or several."""
    return [answer] if isinstance(answer, torch.Tensor) else list(answer)
