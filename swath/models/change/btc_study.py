"""The study behind BTC: one plain network under every pre-training, augmentation, loss, schedule and size of encoder.

Blaž Rolih et al., "Be the Change You Want to See", IEEE TGRS 63, 2025, arXiv 2507.03367, start from Swin-T with
ImageNet weights, cross-entropy, a constant learning rate and no augmentation, and change one thing at a time; their
ladder adds up what helped, to the network that `btc` builds. Every setting is trained with three seeds on six data
sets. Inferred here: that "flip" means flips and turns, and that a warm-up takes a tenth of the epochs, from a third.

>>> LADDER["BTC-T"].losses, STUDY["schedule linear"].schedule
(('dice',), 'linear')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypedDict, get_args

from swath.errors import ConfigurationError
from swath.models.change.btc import BTC, FLIPS_AND_TURNS, Loss, btc_base, btc_recipe, btc_small, btc_tiny
from swath.models.change.btc_transforms import GaussianBlur, SharedColourJitter
from swath.models.recipe import Recipe
from swath.samples.transforms import RandomResizedCrop, Resize, Sometimes, Transform

Encoder = Literal["tiny", "small", "base"]
Augmentation = Literal["flip", "crop", "colour", "blur"]
Schedule = Literal["none", "cosine", "multistep", "linear", "polynomial", "exponential"]
Pretraining = Literal[
    "none",
    "imagenet",
    "eurosat",
    "ade-semantic",
    "cityscapes-semantic",
    "cityscapes-panoptic",
    "cityscapes-instance",
    "coco-panoptic",
    "coco-instance",
]

SEEDS = (42, 1337, 564738)
"""The seeds of the paper; its figures are means of the three."""

WEIGHTS: Mapping[Pretraining, str] = MappingProxyType(
    {
        "imagenet": "microsoft/swin-tiny-patch4-window7-224",
        "eurosat": "nielsr/swin-tiny-patch4-window7-224-finetuned-eurosat",
    }
    | {name: f"facebook/mask2former-swin-tiny-{name}" for name in get_args(Pretraining)[3:]}
)
"""Where the weights of Swin-T are published (repositories at huggingface.co); `btc.load_encoder` reads their files."""


@dataclass(frozen=True, kw_only=True)
class StudySetting:
    """One cell of the study's grid; the defaults are where the study starts.

    `warmup` is the share of the epochs in which the learning rate rises, on a line, before the schedule sets in.

    Raises `ConfigurationError` for a warm-up outside 0 to 1.

    >>> StudySetting(losses=("focal",)).pretraining
    'imagenet'
    """

    encoder: Encoder = "tiny"
    pretraining: Pretraining = "imagenet"
    augmentations: tuple[Augmentation, ...] = ()
    losses: tuple[Loss, ...] = ("cross_entropy",)
    schedule: Schedule = "none"
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ConfigurationError(f"'warmup' is a share of the epochs below 1; found {self.warmup}. 0 turns it off.")

    def model(self) -> BTC:
        """Build the untrained network; the weights of its pre-training are read by `btc.load_encoder`."""
        build = {"tiny": btc_tiny, "small": btc_small, "base": btc_base}[self.encoder]
        return build(losses=self.losses)

    def transforms(self, size: int = 256) -> tuple[Transform, ...]:
        """Return what happens to a pair in training: enlarged or shrunk to `size`, then the augmentations in order."""
        steps: dict[Augmentation, tuple[Transform, ...]] = {
            "flip": FLIPS_AND_TURNS,
            "crop": (Sometimes(RandomResizedCrop(size, area=(0.3, 1.0), aspect=(1.0, 1.0)), 0.3),),
            "colour": (Sometimes(SharedColourJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05), 0.3),),
            "blur": (Sometimes(GaussianBlur(3, 9), 0.3),),
        }
        return (Resize(size), *(step for name in self.augmentations for step in steps[name]))

    def recipe(self, *, epochs: int = 100, batch_size: int = 32, size: int = 256, seed: int = SEEDS[0]) -> Recipe:
        """Return the training of this setting, whose learning rate changes once an epoch.

        >>> StudySetting(schedule="multistep").recipe().milestones
        (80, 90)
        """
        rising = round(self.warmup * epochs)
        return replace(
            btc_recipe(epochs=epochs, batch_size=batch_size, size=size, seed=seed),
            warmup_epochs=rising,
            warmup_start=1 / 3,
            transforms=self.transforms(size),
            **_fall(self.schedule, rising, epochs),
        )


class Fall(TypedDict, total=False):
    """The fields of a recipe that say how the learning rate falls."""

    schedule: Literal["cosine", "poly", "step", "constant"]
    minimum_learning_rate: float
    power: float
    milestones: tuple[float, ...]
    factor: float


def _fall(schedule: Schedule, rising: int, epochs: int) -> Fall:
    """State a schedule of the study, which sets in after so many epochs, in the words of a recipe."""
    falling = epochs - rising
    match schedule:
        case "none":
            return {"schedule": "constant"}
        case "cosine":
            return {"schedule": "cosine"}
        case "multistep":
            milestones = tuple(rising + falling * share // 10 for share in (8, 9))
            return {"schedule": "step", "milestones": milestones, "factor": 0.5, "minimum_learning_rate": 0.0}
        case "linear":
            return {"schedule": "poly", "power": 1.0}
        case "polynomial":
            return {"schedule": "poly", "power": 0.9, "minimum_learning_rate": 0.0}
        case "exponential":
            every = tuple(range(rising + 1, epochs))
            return {"schedule": "step", "milestones": every, "factor": 0.95, "minimum_learning_rate": 0.0}


def _study() -> dict[str, StudySetting]:
    start = StudySetting()
    losses: tuple[tuple[Loss, ...], ...] = (("dice",), ("focal",), ("cross_entropy", "dice"))
    single: list[tuple[Augmentation, ...]] = [(name,) for name in get_args(Augmentation)]
    settings = {"start": start}
    settings |= {f"pre-training {p}": replace(start, pretraining=p) for p in get_args(Pretraining) if p != "imagenet"}
    settings |= {f"augmentation {' + '.join(a)}": replace(start, augmentations=a) for a in (*single, ("flip", "crop"))}
    settings |= {f"loss {' + '.join(names)}": replace(start, losses=names) for names in losses}
    settings |= {f"schedule {s}": replace(start, schedule=s) for s in get_args(Schedule) if s != "none"}
    settings |= {f"schedule {s}, warm-up": replace(start, schedule=s, warmup=0.1) for s in ("cosine", "multistep")}
    settings |= {f"encoder {e}": replace(start, encoder=e) for e in get_args(Encoder) if e != "tiny"}
    return settings


def _ladder() -> dict[str, StudySetting]:
    scratch = StudySetting(pretraining="none")
    imagenet = replace(scratch, pretraining="imagenet")
    flips = replace(imagenet, augmentations=("flip",))
    cityscapes = replace(flips, pretraining="cityscapes-semantic")
    cosine = replace(cityscapes, schedule="cosine")
    tiny = replace(cosine, losses=("dice",))
    return {
        "scratch": scratch,
        "+ ImageNet": imagenet,
        "+ flips": flips,
        "+ Cityscapes": cityscapes,
        "+ cosine": cosine,
        "BTC-T": tiny,
        "BTC-B": replace(tiny, encoder="base"),
    }


STUDY: Mapping[str, StudySetting] = MappingProxyType(_study())
"""The settings that differ from the start in one thing, by name."""

LADDER: Mapping[str, StudySetting] = MappingProxyType(_ladder())
"""The settings that add up what helped, from scratch to BTC-T and BTC-B, by name."""
