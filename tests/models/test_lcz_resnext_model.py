"""The climate-zone classifier under the contract of all models, beside a transcription of ResNeXt and CBAM."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import rasterio
import torch
from contract import ModelContract
from torch.nn import functional

from swath.datasets.so2sat import RADAR_BANDS, SO2SAT
from swath.errors import ConfigurationError
from swath.geometry.windows import Size
from swath.imagery.scene import open_scene
from swath.imagery.sources import open_source
from swath.inference.runner import run
from swath.models.classify.lcz_resnext import (
    CARD,
    OPTICAL_INPUT,
    RADAR_INPUT,
    LczResNeXt,
    LczResNeXtConfig,
    LczResNeXtNetwork,
    lcz_resnext,
)
from swath.models.outputs import ClassificationOutput
from swath.models.store import StoredModel
from swath.samples.labels import Label
from swath.samples.nomenclature import LOCAL_CLIMATE_ZONES

Shapes = dict[str, tuple[int, ...]]


def convolution(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape}


def norm(name: str, width: int) -> Shapes:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{kind}": (width,) for kind in names} | {f"{name}.num_batches_tracked": ()}


def shapes(channels: int) -> Shapes:
    """ResNeXt-29, 8 x 64d: widths 512, 1024, 2048 in groups of 8; outputs 256, 512, 1024; CBAM in every block."""
    found = {**convolution("stem.0", 64, channels, 3, 3), **norm("stem.1", 64)}
    inputs = 64
    for stage, (width, outputs) in enumerate(((512, 256), (1024, 512), (2048, 1024))):
        for block in range(3):
            at = f"stages.{stage}.{block}."
            found |= convolution(at + "branch.0", width, inputs, 1, 1) | norm(at + "branch.1", width)
            found |= convolution(at + "branch.3", width, width // 8, 3, 3) | norm(at + "branch.4", width)
            found |= convolution(at + "branch.6", outputs, width, 1, 1) | norm(at + "branch.7", outputs)
            hidden = outputs // 16
            found |= {
                at + "attention.0.mlp.0.weight": (hidden, outputs),
                at + "attention.0.mlp.0.bias": (hidden,),
                at + "attention.0.mlp.2.weight": (outputs, hidden),
                at + "attention.0.mlp.2.bias": (outputs,),
                at + "attention.1.convolution.weight": (1, 2, 7, 7),
            }
            if block == 0:
                found |= convolution(at + "shortcut.0", outputs, inputs, 1, 1) | norm(at + "shortcut.1", outputs)
            inputs = outputs
    return found | {"head.weight": (17, 1024), "head.bias": (17,)}


class TestContract(ModelContract):
    counts: ClassVar = {
        "radar": (partial(lcz_resnext, "radar"), 34_959_443),
        "optical": (partial(lcz_resnext, "optical"), 34_960_595),
        "both": (partial(lcz_resnext, "both"), 34_965_203),
    }
    # No weights are published: names and shapes are those of the two papers' parts, written out apart.
    published_names: ClassVar = shapes(18)
    published_builder = staticmethod(lcz_resnext)

    def size(self):
        return 32, 32

    def small(self) -> LczResNeXt:
        return small()

    def targets(self, count, height, width):
        return tuple(
            Label.of(LOCAL_CLIMATE_ZONES[number % 17], LOCAL_CLIMATE_ZONES, Size(height, width))
            for number in range(count)
        )


def small(sensors="both", **changes) -> LczResNeXt:
    built = lcz_resnext(sensors, **{"blocks": 1, "groups": 2, "group_width": 4, "stem": 8, **changes})
    # Two hidden units for 32 channels may both be off for every image, and then learn nothing.
    return LczResNeXt(replace(built.config, reduction=2))


def test_without_attention_it_has_the_published_count_of_resnext_29():
    """34.4 million parameters for ten classes of RGB images (Xie et al. 2017, Table 7: 34.4M at 8 x 64d)."""
    rgb = replace(OPTICAL_INPUT, bands=("red", "green", "blue"), mean=(0.0,), std=(1.0,))
    with torch.device("meta"):
        network = LczResNeXtNetwork(
            LczResNeXtConfig(optical=rgb, output=ClassificationOutput(classes=tuple("abcdefghij")), attention=False)
        )
    assert sum(parameter.numel() for parameter in network.parameters()) == 34_426_698


def reference(state: dict[str, torch.Tensor], image: torch.Tensor, groups: int, blocks: int) -> torch.Tensor:
    """ResNeXt with CBAM, written line by line from the two papers over plain tensors."""

    def convolved(name, x, **options):
        return functional.conv2d(x, state[f"{name}.weight"], **options)

    def normed(name, x):
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / torch.sqrt(variance + 1e-5)
        return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]

    def squeezed(name, vector):
        hidden = torch.clamp(vector @ state[f"{name}.0.weight"].T + state[f"{name}.0.bias"], min=0)
        return hidden @ state[f"{name}.2.weight"].T + state[f"{name}.2.bias"]

    x = torch.clamp(normed("stem.1", convolved("stem.0", image, padding=1)), min=0)
    for stage in range(3):
        for block in range(blocks):
            at, stride = f"stages.{stage}.{block}.", 2 if stage and not block else 1
            y = torch.clamp(normed(at + "branch.1", convolved(at + "branch.0", x)), min=0)
            y = convolved(at + "branch.3", y, padding=1, stride=stride, groups=groups)
            y = torch.clamp(normed(at + "branch.4", y), min=0)
            y = normed(at + "branch.7", convolved(at + "branch.6", y))
            mean, most = y.flatten(2).mean(2), y.flatten(2).max(2).values
            weights = 1 / (
                1 + torch.exp(-squeezed(at + "attention.0.mlp", mean) - squeezed(at + "attention.0.mlp", most))
            )
            y = y * weights[..., None, None]
            pair = torch.stack([y.mean(1), y.max(1).values], dim=1)
            y = y / (1 + torch.exp(-convolved(at + "attention.1.convolution", pair, padding=3)))
            short = x
            if at + "shortcut.0.weight" in state:
                short = normed(at + "shortcut.1", convolved(at + "shortcut.0", x, stride=stride))
            x = torch.clamp(y + short, min=0)
    return x.flatten(2).mean(2) @ state["head.weight"].T + state["head.bias"]


def test_logits_equal_a_transcription_of_the_papers():
    torch.manual_seed(0)
    model = small(blocks=2).eval()
    for name, value in model.network.state_dict().items():
        if name.endswith("running_mean"):
            torch.nn.init.uniform_(value, -0.2, 0.2)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(value, 0.5, 1.5)
    batch = TestContract().batch(model)
    image = torch.cat([batch.images["radar"], batch.images["image"]], dim=1)
    with torch.inference_mode():
        expected = reference(model.network.state_dict(), image, groups=2, blocks=2)
        torch.testing.assert_close(model(batch), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            model.embed(batch) @ model.network.head.weight.T + model.network.head.bias, expected, rtol=1e-4, atol=1e-5
        )


def test_each_choice_of_sensors_takes_its_slots():
    assert list(small("radar").inputs) == ["radar"]
    assert list(small("optical").inputs) == ["image"]
    assert list(small().inputs) == ["radar", "image"]
    assert [small(kind).config.channels for kind in ("radar", "optical", "both")] == [8, 10, 18]
    with pytest.raises(ConfigurationError, match="radar, optical imagery or both"):
        LczResNeXtConfig(output=ClassificationOutput(classes=LOCAL_CLIMATE_ZONES))


def test_it_takes_what_the_data_set_declares():
    assert SO2SAT.classes == small().config.output.classes
    assert SO2SAT.bands == OPTICAL_INPUT.bands
    assert SO2SAT.unit == OPTICAL_INPUT.unit
    assert tuple(band.role for band in RADAR_BANDS) == RADAR_INPUT.bands
    assert {band.unit for band in RADAR_BANDS} == {RADAR_INPUT.unit}
    for slot, spec in (("image", OPTICAL_INPUT), ("radar", RADAR_INPUT)):
        assert (spec.mean, spec.std) == (SO2SAT.statistics[slot].mean, SO2SAT.statistics[slot].std)


def test_a_map_has_a_cell_every_100_m_that_sees_320_m(tmp_path):
    """Cell (i, j) is the class of the 32 pixels around the middle of rows 10 i to 10 i + 10."""
    torch.manual_seed(3)
    model = small().eval()
    generator = np.random.default_rng(0)
    profile = {"driver": "GTiff", "height": 70, "width": 70, "dtype": "float32", "crs": "EPSG:32633"}
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_800_000)
    slots = {}
    for slot, spec in model.inputs.items():
        values = np.array(spec.mean)[:, None, None] + np.array(spec.std)[:, None, None] * generator.standard_normal(
            (spec.channels, 7, 7)
        ).repeat(10, 1).repeat(10, 2)
        path = tmp_path / f"{slot}.tif"
        with rasterio.open(path, "w", **profile, count=spec.channels, transform=transform) as dataset:
            dataset.write(values.astype(np.float32))
        slots[slot] = open_source(path, bands=list(spec.bands), unit=spec.unit)
    stored = StoredModel(name="lcz", model=model, card=CARD, sha256="0" * 64)
    scene = open_scene(**slots)
    run(stored, scene, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.transform == rasterio.Affine(100, 0, 500_000, 0, -100, 5_800_000)
        found = dataset.read(1)
    assert found.shape == (7, 7)
    assert len(np.unique(found)) > 1
    with torch.inference_mode():
        for row, column in ((2, 2), (3, 4), (4, 3)):
            at = (slice(None), slice(10 * row - 11, 10 * row + 21), slice(10 * column - 11, 10 * column + 21))
            images = []
            for slot, spec in model.inputs.items():
                with rasterio.open(tmp_path / f"{slot}.tif") as dataset:
                    values = torch.from_numpy(dataset.read())[at]
                mean, std = torch.tensor(spec.mean)[:, None, None], torch.tensor(spec.std)[:, None, None]
                images.append(((values - mean) / std)[None])
            assert int(model.network(*images).argmax()) == found[row, column]
