"""What every embedder holds beyond the contract of all models: features, no classes, nothing to learn."""

from __future__ import annotations

import pytest
import torch
from contract import ModelContract

from swath.errors import ConfigurationError
from swath.samples.batch import Batch


class EmbedderContract(ModelContract):
    def targets(self, count, height, width):
        return None

    def test_every_parameter_learns(self):
        model = self.seeded()
        with pytest.raises(ConfigurationError, match="fit a linear probe"):
            model.loss(self.batch(model))

    def test_prediction_is_the_feature_of_each_image(self):
        model = self.seeded()
        batch = self.batch(model)
        with torch.inference_mode():
            features = model.embed(batch)
        assert features.shape[0] == 2
        assert model.classes == ()
        for feature, embedding in zip(features, model.predict(batch), strict=True):
            assert torch.equal(torch.from_numpy(embedding.vector), feature)

    def test_a_single_image_keeps_its_axis(self):
        model = self.seeded()
        pair = self.batch(model)
        with torch.inference_mode():
            both = model.embed(pair)
            alone = model.embed(Batch(images={slot: image[:1] for slot, image in pair.images.items()}))
        assert alone.shape == (1, both.shape[1])
        torch.testing.assert_close(alone[0], both[0], rtol=1e-4, atol=1e-5)
