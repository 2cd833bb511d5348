"""Annotation: what is known or claimed about an image.

A data set's truth and a model's prediction are the same types, so that one piece of code moves, draws,
compares, stitches and writes both. Every kind is a frozen dataclass with keyword arguments that holds numpy
arrays and the `size` of the frame it refers to. Coordinates are continuous pixels: x right, y down, the
centre of the top-left pixel at (0.5, 0.5).
"""

from __future__ import annotations

import base64
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from inspect import isabstract
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from swath.errors import AnnotationError
from swath.geometry.masks import RunLengthMask
from swath.geometry.windows import Size, Window
from swath.samples.moves import Crop, Flip, Move, QuarterTurns, Resize, Rotate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from swath.imagery.features import Feature
    from swath.samples.drawing import Canvas


class StitchRule(Enum):
    """How the annotations of overlapping windows become one for the scene.

    >>> from swath.samples.vectors import Points
    >>> Points.stitch_rule() is StitchRule.MERGE
    True
    """

    BLEND = "blend"
    """Maps are averaged where windows overlap."""
    MERGE = "merge"
    """Objects are put together, and those seen twice are counted once."""
    COLLECT = "collect"
    """Each window keeps its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotation(ABC):
    """What every kind has: a frame, the geometric moves, JSON, drawing and features.

    Two annotations are equal when they are of one kind and all their fields are equal.

    >>> from swath.samples.labels import Text
    >>> said = Text(size=Size(4, 4), text="a quay")
    >>> Annotation.from_json(said.to_json()) == said
    True
    """

    size: Size

    kinds: ClassVar[dict[str, type[Annotation]]] = {}
    packed_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that JSON holds as compressed bytes rather than as lists."""

    def __init_subclass__(cls) -> None:
        """Make the kind known to `from_json`."""
        super().__init_subclass__()
        Annotation.kinds[cls.__name__] = cls

    @classmethod
    @abstractmethod
    def stitch_rule(cls) -> StitchRule:
        """Return how annotations of this kind are put together across windows."""

    @abstractmethod
    def moved(self, move: Move) -> Self:
        """Return the annotation after a geometric move of its frame."""

    @abstractmethod
    def draw(self, canvas: Canvas) -> None:
        """Paint the annotation onto a canvas of the same frame."""

    @abstractmethod
    def features(self) -> Iterator[Feature]:
        """Yield the parts in pixel coordinates; raise `AnnotationError` where a kind has none."""

    def crop(self, window: Window) -> Self:
        """Cut out a window, even one that sticks out; what lies outside is unknown (`ignore`, or 0)."""
        return self.moved(Crop(window))

    def pad(self, *, top: int = 0, left: int = 0, bottom: int = 0, right: int = 0) -> Self:
        """Widen the frame by so many pixels on each side."""
        height, width = self.size.height + top + bottom, self.size.width + left + right
        return self.crop(Window(-top, -left, height, width))

    def flip_horizontal(self) -> Self:
        """Mirror left and right: x becomes width - x."""
        return self.moved(Flip(horizontal=True))

    def flip_vertical(self) -> Self:
        """Mirror top and bottom: y becomes height - y."""
        return self.moved(Flip(horizontal=False))

    def rotate90(self, quarter_turns: int = 1) -> Self:
        """Turn counter-clockwise by quarter turns, as `numpy.rot90` does with an array (H, W)."""
        return self.moved(QuarterTurns(quarter_turns))

    def resize(self, size: Size) -> Self:
        """Show the same ground with another pixel count."""
        return self.moved(Resize(size))

    def rotate(self, degrees: float) -> Self:
        """Turn counter-clockwise about the centre of the frame, which keeps its size."""
        return self.moved(Rotate(degrees))

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values, tagged with `type`, that `from_json` reads back equal."""
        values = {item.name: self._encoded(item.name, getattr(self, item.name)) for item in fields(self)}
        return {"type": type(self).__name__, **values}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Build the annotation that `to_json` wrote; called on `Annotation` it reads every kind.

        Raises `AnnotationError` for a missing or unknown type, one that is not of this class, or wrong
        fields.
        """
        name = value.get("type")
        kind = Annotation.kinds.get(str(name))
        if kind is None or isabstract(kind):
            names = sorted(name for name, kind in Annotation.kinds.items() if not isabstract(kind))
            raise AnnotationError(f"There is no kind of annotation '{name}'; there are {', '.join(names)}.")
        if not issubclass(kind, cls):
            raise AnnotationError(f"Expected a {cls.__name__}, found a {name}.")
        known = {item.name for item in fields(kind)}
        unknown = set(value) - known - {"type"}
        if unknown:
            raise AnnotationError(f"A {name} has no field '{min(unknown)}'; its fields are {', '.join(sorted(known))}.")
        try:
            return kind(**{key: kind._decoded(key, item) for key, item in value.items() if key != "type"})
        except (TypeError, KeyError, ValueError, zlib.error) as error:
            raise AnnotationError(f"This is not a complete {name} in JSON: {error}.") from error

    @classmethod
    def _encoded(cls, name: str, value: Any) -> Any:
        """Return a field's value for JSON."""
        if isinstance(value, Size):
            return [value.height, value.width]
        if isinstance(value, np.ndarray):
            return pack_array(value) if name in cls.packed_fields else value.tolist()
        if isinstance(value, Annotation):
            return value.to_json()
        return list(value) if isinstance(value, tuple) else value

    @classmethod
    def _decoded(cls, name: str, value: Any) -> Any:
        """Return a field's value from JSON; the constructors turn lists into arrays of their types."""
        if name == "size":
            height, width = value
            return Size(height, width)
        if isinstance(value, Mapping):
            return Annotation.from_json(value) if "type" in value else unpack_array(value)
        return value

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(getattr(self, item.name), getattr(other, item.name)) for item in fields(self))

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def _set(self, **values: Any) -> None:
        """Replace fields by their checked form while the frozen dataclass is being made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


def pack_array(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as JSON values: type, shape, and its little-endian bytes compressed (zlib) in base 64.

    >>> unpack_array(pack_array(np.arange(3, dtype=np.uint8))).tolist()
    [0, 1, 2]
    """
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(zlib.compress(plain.tobytes(), level=6)).decode("ascii")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "zlib": data}


def unpack_array(value: Mapping[str, Any]) -> NDArray[Any]:
    """Read back what `pack_array` wrote.

    >>> unpack_array(pack_array(np.ones((1, 2), np.float32))).shape
    (1, 2)
    """
    dtype = np.dtype(str(value["dtype"]))
    data = zlib.decompress(base64.b64decode(value["zlib"]))
    return np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(value["shape"])


def as_array(values: Any, shape: tuple[int | None, ...], dtype: type[np.generic], what: str) -> NDArray[Any]:
    """Return values as an array; raise `AnnotationError` unless the shape fits (None: any length).

    An empty list fits every shape that has a free or zero axis.

    >>> as_array([], (None, 2), np.float32, "points").shape
    (0, 2)
    """
    array = np.asarray(values, dtype=dtype)
    if array.size == 0 and array.ndim == 1 and (None in shape or 0 in shape):
        array = array.reshape([length or 0 for length in shape])
    if array.ndim != len(shape) or any(
        length is not None and length != found for length, found in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise AnnotationError(f"{what} need an array of shape ({wanted}); found {array.shape}.")
    return array


def check_finite(array: NDArray[Any], what: str) -> None:
    """Raise `AnnotationError` when a value is NaN or infinite.

    >>> check_finite(np.array([0.5]), "Scores")
    """
    if not np.isfinite(array).all():
        raise AnnotationError(f"{what} must be finite numbers; found {array[~np.isfinite(array)].flat[0]}.")


def check_classes(classes: Any) -> tuple[str, ...]:
    """Return class names as a tuple; raise `AnnotationError` for a bare string, none, or a repeated name.

    >>> check_classes(["tree", "road"])
    ('tree', 'road')
    """
    if isinstance(classes, str):
        raise AnnotationError(f"Classes are a sequence of names; found the single text '{classes}'.")
    names = tuple(str(name) for name in classes)
    if not names:
        raise AnnotationError("An annotation with classes needs at least one class name; found none.")
    repeated = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if repeated:
        raise AnnotationError(f"Class names must differ; '{repeated[0]}' is there more than once.")
    return names


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        floating = np.issubdtype(one.dtype, np.floating)
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=bool(floating))
    if isinstance(one, RunLengthMask) and isinstance(other, RunLengthMask):
        return one.size == other.size and np.array_equal(one.counts, other.counts)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
