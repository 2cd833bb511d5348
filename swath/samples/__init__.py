"""Samples: annotations, images with their targets, batches, transforms and drawing.

`Batch` needs torch and is fetched when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swath.samples.annotation import Annotation, StitchRule
from swath.samples.instances import Instances
from swath.samples.labels import Choice, Embedding, GroundedText, Label, Span, Text
from swath.samples.located import Located
from swath.samples.objects import MergeRule, Objects
from swath.samples.rasters import ClassMap, Flow, Raster, Transition
from swath.samples.sample import Sample
from swath.samples.vectors import Boxes, OrientedBoxes, Points

if TYPE_CHECKING:
    from swath.samples.batch import Batch

__all__ = [
    "Annotation",
    "Batch",
    "Boxes",
    "Choice",
    "ClassMap",
    "Embedding",
    "Flow",
    "GroundedText",
    "Instances",
    "Label",
    "Located",
    "MergeRule",
    "Objects",
    "OrientedBoxes",
    "Points",
    "Raster",
    "Sample",
    "Span",
    "StitchRule",
    "Text",
    "Transition",
]


def __getattr__(name: str) -> Any:
    """Fetch `Batch` at its first use."""
    if name == "Batch":
        from swath.samples.batch import Batch

        return Batch
    raise AttributeError(f"module 'swath.samples' has no attribute '{name}'")
