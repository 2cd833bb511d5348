"""MAE under the contract of all models, and beside the ViTMAE of transformers with the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract import ModelContract
from vit_names import block_names, encoder_names, in_transformers, linear, norm

from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.models.inputs import InputSpec
from swath.models.pretrain.mae import (
    EmbeddingOutput,
    MaskedAutoencoder,
    MaskedAutoencoderConfig,
    mae_recipe,
    mae_vit_base,
    mae_vit_huge,
    mae_vit_large,
)
from swath.nn.masking import Masking
from swath.nn.vit import TransformerShape
from swath.samples.batch import Batch
from swath.samples.labels import Embedding
from swath.samples.sample import Sample
from swath.training.loop import train


def published_names() -> dict[str, tuple[int, ...]]:
    """mae_vit_base_patch16 as its authors publish it, with the decoder of 8 layers and 512 channels."""
    return {
        **encoder_names(width=768, layers=12, patches=196, patch_size=16),
        **norm("norm", 768),
        **linear("decoder_embed", 768, 512),
        "mask_token": (1, 1, 512),
        "decoder_pos_embed": (1, 197, 512),
        **block_names("decoder_blocks", 8, 512),
        **norm("decoder_norm", 512),
        **linear("decoder_pred", 512, 768),
    }


class TestContract(ModelContract):
    counts: ClassVar = {
        "mae_vit_base": (mae_vit_base, 111_907_840),
        "mae_vit_large": (mae_vit_large, 329_541_888),
        "mae_vit_huge": (mae_vit_huge, 657_074_508),
    }
    published_names: ClassVar = published_names()
    published_builder = staticmethod(mae_vit_base)

    def size(self):
        return 32, 32

    def small(self) -> MaskedAutoencoder:
        return small()

    def targets(self, count, height, width):
        return tuple(Embedding(size=Size(height, width), vector=[1.0]) for _ in range(count))

    def silent_parameters(self) -> list[str]:
        """Fixed positions are stored and not trained."""
        return ["pos_embed", "decoder_pos_embed"]


def small(**changes) -> MaskedAutoencoder:
    return MaskedAutoencoder(
        MaskedAutoencoderConfig(
            **{
                "input": InputSpec(
                    bands=("red", "green", "blue"),
                    unit=Unit.EIGHT_BIT,
                    mean=(127.5,),
                    std=(60.0,),
                    window=32,
                    overlap=0,
                    fixed_size=True,
                ),
                "patch_size": 8,
                "encoder": TransformerShape(width=16, layers=2, heads=2),
                "decoder": TransformerShape(width=12, layers=1, heads=3),
                **changes,
            }
        )
    )


@pytest.mark.parametrize("standardise", [True, False])
def test_prediction_and_loss_equal_those_of_transformers(standardise):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = small(standardise_patches=standardise).eval()
    for parameter in ours.parameters():
        if parameter.requires_grad and parameter.ndim < 3:
            torch.nn.init.normal_(parameter, std=0.3)
    config = transformers.ViTMAEConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        decoder_hidden_size=12,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=3,
        decoder_intermediate_size=48,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
        norm_pix_loss=standardise,
    )
    theirs = transformers.ViTMAEForPreTraining(config).eval()
    tensors = {name: value.detach() for name, value in ours.network.state_dict().items()}
    theirs.load_state_dict(in_transformers(tensors, vit="vit."), strict=True)
    image, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 16)
    with torch.inference_mode():
        expected = theirs(image, noise=noise)
        found = ours.network(image, noise)
        loss = ours.loss(Batch(images={"image": image}), noise)["reconstruction"]
    assert torch.equal(Masking.from_noise(noise, keep=4).hidden, expected.mask)
    torch.testing.assert_close(found, expected.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, expected.loss, rtol=1e-5, atol=1e-6)


def test_loss_of_the_right_answer_is_0_and_of_none_nearly_1():
    """A standardised patch of n values has mean square (n - 1) / n around zero."""
    model = small().eval()
    batch = TestContract().batch(model)
    with torch.no_grad():
        model.network.decoder_pred.weight.zero_()
        model.network.decoder_pred.bias.zero_()
    n = 8 * 8 * 3
    assert float(model.loss(batch)["reconstruction"].detach()) == pytest.approx((n - 1) / n, rel=1e-4)


def test_hidden_patches_do_not_reach_the_encoder():
    """What lies under the mask may change without changing the prediction; what is visible may not."""
    model = small().eval()
    image = TestContract().batch(model).images["image"][:1]
    noise = torch.arange(16.0)[None]  # keeps the four patches of the first row
    other = image.clone()
    other[:, :, 8:] = 0
    with torch.inference_mode():
        assert torch.equal(model.network(image, noise), model.network(other, noise))
        other[:, :, :8] = 0
        assert not torch.equal(model.network(image, noise), model.network(other, noise))


def test_patches_with_invalid_pixels_do_not_count():
    model = small(mask_ratio=0.5).eval()
    batch = TestContract().batch(model)
    noise = torch.arange(16.0).flip(0).expand(2, -1)
    spoilt = {"image": batch.images["image"].clone()}
    spoilt["image"][:, :, 0, 0] = 500.0
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    valid[:, 0, 0] = False
    with torch.inference_mode():
        whole = model.loss(batch, noise)["reconstruction"]
        masked = model.loss(Batch(images=spoilt, valid={"image": valid}), noise)["reconstruction"]
        counted = model.loss(Batch(images=spoilt), noise)["reconstruction"]
        # The first patch is hidden, so only its part of the mean is lost.
        errors = [model.loss(Batch(images=batch.images, valid={"image": only(patch)}), noise) for patch in range(8)]
    each = [float(term["reconstruction"]) for term in errors]
    assert float(whole) == pytest.approx(np.mean(each), rel=1e-5)
    assert float(masked) == pytest.approx(np.mean(each[1:]), rel=1e-5)
    assert float(counted) != pytest.approx(float(whole), rel=1e-3)


def only(patch: int) -> torch.Tensor:
    """Validity of two images of 32 pixels in which one patch of 8 is valid."""
    valid = torch.zeros(2, 32, 32, dtype=torch.bool)
    row, column = 8 * (patch // 4), 8 * (patch % 4)
    valid[:, row : row + 8, column : column + 8] = True
    return valid


def test_training_hides_other_patches_at_every_call_and_evaluation_the_same():
    model = small()
    image = TestContract().batch(model).images["image"]
    assert not torch.equal(model.network.draw_noise(image), model.network.draw_noise(image))
    model.eval()
    assert torch.equal(model.network.draw_noise(image), model.network.draw_noise(image))
    other = small(mask_seed=1).eval()
    assert not torch.equal(model.network.draw_noise(image), other.network.draw_noise(image))


def test_three_quarters_are_hidden():
    assert mae_config().patches == 196
    assert mae_config().kept == 49
    with pytest.raises(ConfigurationError, match="found 1"):
        replace(small().config, mask_ratio=1.0)


def mae_config() -> MaskedAutoencoderConfig:
    with torch.device("meta"):
        return mae_vit_base().config


def test_an_embedding_sees_the_whole_image():
    for pool in ("mean", "class"):
        torch.manual_seed(0)
        model = small(output=EmbeddingOutput(pool=pool)).eval()
        batch = TestContract().batch(model)
        with torch.inference_mode():
            found = model.predict(batch)
            tokens = model.network.norm(model.network.tokens(batch.images["image"]))
        assert isinstance(found[0], Embedding)
        expected = tokens[0, 0] if pool == "class" else tokens[0, 1:].mean(0)
        np.testing.assert_allclose(found[0].vector, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_recipe_is_the_published_one_at_its_batch():
    recipe = mae_recipe()
    assert recipe.learning_rate == pytest.approx(2.4e-3)
    assert (recipe.epochs, recipe.warmup_epochs, recipe.betas, recipe.weight_decay) == (800, 40, (0.9, 0.95), 0.05)


def test_it_learns_from_images_without_labels(tmp_path):
    """A constant of each image is learnt in a few steps when patches are not standardised."""
    bands = tuple(Band(name=role, role=role) for role in ("red", "green", "blue"))
    samples = [
        Sample(
            key=str(level),
            images={"image": Pixels.from_array(np.full((3, 32, 32), level, np.uint8), bands, Unit.EIGHT_BIT)},
        )
        for level in range(40, 220, 12)
    ]
    torch.manual_seed(0)
    model = small(standardise_patches=False)
    batch = model.prepare(samples)
    before = float(model.eval().loss(batch)["reconstruction"].detach())
    recipe = replace(mae_recipe(epochs=25, batch_size=5), learning_rate=3e-3, transforms=(), warmup_epochs=0, workers=0)
    train(model, samples, recipe, folder=tmp_path)
    assert float(model.loss(batch)["reconstruction"].detach()) < 0.2 * before


def test_another_image_size_needs_another_model():
    with pytest.raises(ConfigurationError, match="fixed_size=True"):
        small(input=replace(small().config.input, fixed_size=False))
