"""What the colours, values or bits of a mask mean: rules from stored numbers to the classes of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from swath.datasets.formats.images import read_mask
from swath.errors import DataError
from swath.geometry.windows import Size
from swath.samples.rasters import ClassMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.datasets.records import ImageSource

UNKNOWN = 255
"""The label of pixels that count neither in training nor in measuring."""

Colour: TypeAlias = tuple[int, int, int]


class LabelRule(ABC):
    """Turns a mask as it is stored into the numbers of the data set's classes, or `UNKNOWN`."""

    colours: ClassVar[bool] = True
    """Whether the mask is to be read as RGB, or else by its stored values."""

    @abstractmethod
    def labels(
        self, mask: NDArray[Any], classes: tuple[str, ...] = (), where: object = "The mask"
    ) -> NDArray[np.uint8]:
        """Return the labels (H, W) of a mask (C, H, W); raise `DataError` for what is no class.

        `where` names the mask in messages.
        """

    def read(self, source: ImageSource, classes: tuple[str, ...], size: Size) -> ClassMap:
        """Read a mask of an image of this size; raise `DataError` where it has another size."""
        labels = self.labels(read_mask(source, colours=self.colours), classes, source)
        found = Size(*labels.shape)
        if found != size:
            raise DataError(
                f"{source} is {found.height} x {found.width} pixels and its image {size.height} x {size.width}; "
                "get both files again."
            )
        return ClassMap(size=size, labels=labels, classes=classes, ignore=UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class AnyChannelAbove(LabelRule):
    """A pixel is class 1 where one of the mask's colours exceeds a threshold, and class 0 elsewhere.

    So red, white and any other bright colour on black mean the same, and so do the near-whites of a JPEG.

    >>> AnyChannelAbove(threshold=127).labels(np.array([[[255, 0]], [[0, 0]], [[0, 0]]], np.uint8)).tolist()
    [[1, 0]]
    """

    threshold: int

    def labels(
        self,
        mask: NDArray[Any],
        classes: tuple[str, ...] = (),  # noqa: ARG002 (one signature)
        where: object = "The mask",  # noqa: ARG002
    ) -> NDArray[np.uint8]:
        """Return the labels (H, W) of a mask (C, H, W)."""
        labels: NDArray[np.uint8] = np.asarray((mask > self.threshold).any(axis=0), dtype=np.uint8)
        return labels


@dataclass(frozen=True, kw_only=True)
class ValueClasses(LabelRule):
    """Each class, by name, has one or more values of a one-channel mask; those of `ignore` are unknown.

    A mask with three equal channels counts as one of one channel.

    >>> rule = ValueClasses(values={"unchanged": (0,), "changed": (1, 255)})
    >>> rule.labels(np.array([[[0, 255]]], np.uint8), ("unchanged", "changed")).tolist()
    [[0, 1]]
    """

    colours: ClassVar[bool] = False
    values: Mapping[str, tuple[int, ...]]
    ignore: tuple[int, ...] = ()

    def labels(
        self, mask: NDArray[Any], classes: tuple[str, ...] = (), where: object = "The mask"
    ) -> NDArray[np.uint8]:
        """Return the labels (H, W) of a mask (C, H, W); raise `DataError` for a value of no class."""
        return _by_number(_one_channel(mask, where), self.values, self.ignore, classes, where, "value", str)


@dataclass(frozen=True, kw_only=True)
class ColourClasses(LabelRule):
    """Each class, by name, has one or more colours (red, green, blue); those of `ignore` are unknown.

    >>> rule = ColourClasses(table={"land": ((0, 0, 0),), "water": ((0, 0, 255),)})
    >>> rule.labels(np.array([[[0, 0]], [[0, 0]], [[0, 255]]], np.uint8), ("land", "water")).tolist()
    [[0, 1]]
    """

    table: Mapping[str, tuple[Colour, ...]]
    ignore: tuple[Colour, ...] = ()

    def labels(
        self, mask: NDArray[Any], classes: tuple[str, ...] = (), where: object = "The mask"
    ) -> NDArray[np.uint8]:
        """Return the labels (H, W) of a mask (3, H, W); raise `DataError` for a colour of no class."""
        if len(mask) != 3:
            raise DataError(f"{where} has {len(mask)} channels where colours of 3 are expected; get the file again.")
        red, green, blue = mask.astype(np.int32)
        table = {name: tuple(map(_code, colours)) for name, colours in self.table.items()}
        ignore = tuple(map(_code, self.ignore))
        return _by_number(red << 16 | green << 8 | blue, table, ignore, classes, where, "colour", _colour)


@dataclass(frozen=True, kw_only=True)
class BitClasses(LabelRule):
    """Bits of a quality mask (bit 0 is the lowest): a pixel is the first class whose bit is set, else `otherwise`.

    >>> rule = BitClasses(bits={"cloud": 10, "cirrus": 11}, otherwise="clear")
    >>> rule.labels(np.array([[[0, 1024, 2048, 3072]]], np.uint16), ("clear", "cloud", "cirrus")).tolist()
    [[0, 1, 2, 1]]
    """

    colours: ClassVar[bool] = False
    bits: Mapping[str, int]
    otherwise: str
    ignore: Mapping[str, int] = field(default_factory=dict)
    """Flags whose pixels are unknown, such as fill, with their bits."""

    def labels(
        self, mask: NDArray[Any], classes: tuple[str, ...] = (), where: object = "The mask"
    ) -> NDArray[np.uint8]:
        """Return the labels (H, W) of a mask (1, H, W); raise `DataError` for one that holds no whole numbers."""
        values = _one_channel(mask, where)
        labels = np.full(values.shape, _position(self.otherwise, classes, where), np.uint8)
        for name, bit in reversed(list(self.bits.items())):
            labels[(values >> bit & 1).astype(bool)] = _position(name, classes, where)
        for bit in self.ignore.values():
            labels[(values >> bit & 1).astype(bool)] = UNKNOWN
        return labels


def binary(unchanged: str, changed: str) -> ValueClasses:
    """Return the rule of masks that are 0 and 255, or 0 and 1, for two classes.

    >>> binary("land", "water").values["water"]
    (1, 255)
    """
    return ValueClasses(values={unchanged: (0,), changed: (1, 255)})


def _one_channel(mask: NDArray[Any], where: object) -> NDArray[Any]:
    if not (np.issubdtype(mask.dtype, np.integer) or mask.dtype == np.bool_):
        if not (mask == np.rint(mask)).all():
            raise DataError(f"{where} holds fractions where the numbers of classes are expected; get the file again.")
        mask = mask.astype(np.int64)
    if len(mask) > 1 and (mask != mask[:1]).any():
        raise DataError(f"{where} has colours where one value a pixel is expected; get the file again.")
    values: NDArray[Any] = mask[0].astype(np.int64)
    return values


def _by_number(
    numbers: NDArray[Any],
    table: Mapping[str, tuple[int, ...]],
    ignore: tuple[int, ...],
    classes: tuple[str, ...],
    where: object,
    what: str,
    shown: Callable[[int], str],
) -> NDArray[np.uint8]:
    labels = np.zeros(numbers.shape, np.uint8)
    left = np.ones(numbers.shape, np.bool_)
    meanings = [(number, _position(name, classes, where)) for name, all_ in table.items() for number in all_]
    for number, label in [*meanings, *((number, UNKNOWN) for number in ignore)]:
        here = numbers == number
        labels[here] = label
        left &= ~here
    if left.any():
        known = ", ".join(shown(number) for number in (*(number for number, _ in meanings), *ignore))
        raise DataError(
            f"{where} holds the {what} {shown(int(numbers[left][0]))} at {int(left.sum())} pixels; this data set "
            f"knows {known}. Get the file again."
        )
    return labels


def _position(name: str, classes: tuple[str, ...], where: object) -> int:
    if name not in classes:
        raise DataError(f"{where} can hold '{name}', which is none of the classes {', '.join(classes)}.")
    return classes.index(name)


def _code(colour: Colour) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _colour(code: int) -> str:
    return f"({code >> 16}, {code >> 8 & 255}, {code & 255})"
