"""EfficientNet U-Net++ under the contract of all models."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from contract import ModelContract

from swath.geometry.windows import Size
from swath.models.segment import effnet_unetpp
from swath.models.segment.effnet_unetpp import EfficientNetUnetPlusPlus, effnet_unetpp_b0
from swath.samples.rasters import ClassMap

META = json.loads((Path(__file__).parents[1] / "parity/effnet-unetpp/meta.json").read_text())


class TestEfficientNetUnetPlusPlus(ModelContract):
    counts: ClassVar = {
        variant: (partial(getattr(effnet_unetpp, f"effnet_unetpp_{variant}")), count)
        for variant, count in {
            "b0": 6_569_581,
            "b1": 9_075_217,
            "b2": 10_401_299,
            "b3": 13_624_793,
            "b4": 20_813_113,
            "b5": 31_910_081,
            "b6": 44_665_129,
            "b7": 68_163_553,
        }.items()
    }
    published_names: ClassVar = {name: tuple(shape) for name, shape in META["tensors"]["b0"].items()}
    published_builder = staticmethod(effnet_unetpp_b0)

    def small(self) -> EfficientNetUnetPlusPlus:
        return effnet_unetpp_b0(decoder_channels=(16, 8, 8, 8, 8), drop_connect=0.0)

    def targets(self, count: int, height: int, width: int) -> tuple[ClassMap, ...]:
        labels = np.random.default_rng(0).integers(0, 2, (count, height, width), dtype=np.uint8)
        size = Size(height, width)
        return tuple(ClassMap(size=size, labels=each, classes=("background", "building")) for each in labels)

    def silent_parameters(self) -> list[str]:
        return ["encoder.head.conv.weight", "encoder.head.norm.weight", "encoder.head.norm.bias"]
