"""Binary masks as run lengths, in COCO's two encodings, with areas and overlaps computed without decoding.

Runs go down the columns, first column first, and alternate between background and foreground, background
first; so `counts` are COCO's uncompressed counts, and `to_coco_string` gives its compressed ones.

>>> mask = RunLengthMask.encode(np.array([[False, True], [False, True]]))
>>> mask.counts, mask.area, mask.to_coco_string()
(array([2, 2]), 2, '22')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swath.errors import GeometryError
from swath.geometry._compile import compiled
from swath.geometry.windows import Size, Window

# One character of a compressed count: 48 + five bits of the number, and a sixth bit that says that more
# follow.
FIRST_CHARACTER = 48
MORE = 0x20
SIGN = 0x10
LAST_CHARACTER = FIRST_CHARACTER + 0x3F


@dataclass(frozen=True, slots=True, eq=False)
class RunLengthMask:
    """A binary mask as the lengths of its runs, column by column, background first.

    `counts` is an int64 array that sums to the number of pixels; runs of no pixels are allowed, as in COCO's
    files. Raises `GeometryError` if it is not one-dimensional, not of integers, negative somewhere or sums to
    another number.

    >>> RunLengthMask(Size(2, 2), np.array([1, 3])).decode()
    array([[False,  True],
           [ True,  True]])
    """

    size: Size
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.ndim != 1 or (counts.dtype.kind not in "iu" and counts.size):
            raise GeometryError(f"Run lengths are a list of integers, found {counts.dtype} of shape {counts.shape}.")
        if counts.min(initial=0) < 0 or int(counts.sum()) != self.size.area:
            raise GeometryError(
                f"Run lengths of a {self.size.height} x {self.size.width} mask are not negative and sum to "
                f"{self.size.area}, found a sum of {int(counts.sum())} and a smallest run of "
                f"{int(counts.min(initial=0))}."
            )
        object.__setattr__(self, "counts", np.ascontiguousarray(counts, dtype=np.int64))

    @classmethod
    def encode(cls, mask: NDArray[Any]) -> RunLengthMask:
        """Encode an (H, W) array, where anything but zero is foreground; `GeometryError` for other shapes.

        >>> RunLengthMask.encode(np.array([[1, 0], [1, 0]])).counts
        array([0, 2, 2])
        """
        if mask.ndim != 2:
            raise GeometryError(f"A mask to encode has shape (H, W), found {mask.shape}.")
        size = Size(*mask.shape)
        pixels = mask.astype(bool, copy=False).ravel(order="F")
        changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        leading = [0] if pixels.size and pixels[0] else []
        edges = np.concatenate([[0], leading, changes, [size.area]]).astype(np.int64)
        return cls(size, np.diff(edges) if size.area else np.zeros(0, dtype=np.int64))

    @classmethod
    def from_coco_string(cls, size: Size, text: str) -> RunLengthMask:
        """Read COCO's compressed counts; `GeometryError` for characters or counts that cannot be.

        >>> RunLengthMask.from_coco_string(Size(2, 2), "22").counts
        array([2, 2])
        """
        codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
        if codes.size and (codes.min() < FIRST_CHARACTER or codes.max() > LAST_CHARACTER):
            raise GeometryError(
                f"Compressed run lengths use the characters '{chr(FIRST_CHARACTER)}' to "
                f"'{chr(LAST_CHARACTER)}', found {text[:40]!r}."
            )
        if codes.size and (codes[-1] - FIRST_CHARACTER) & MORE:
            raise GeometryError(f"Compressed run lengths break off in the middle of a number: {text[-40:]!r}.")
        return cls(size, _decompress(codes))

    def to_coco_string(self) -> str:
        """COCO's compressed counts.

        >>> RunLengthMask(Size(10, 10), np.array([33, 67])).to_coco_string()
        'Q1S2'
        """
        return _compress(self.counts).tobytes().decode("ascii")

    def decode(self) -> NDArray[np.bool_]:
        """The mask as an (H, W) array of booleans.

        >>> RunLengthMask(Size(1, 3), np.array([1, 1, 1])).decode()
        array([[False,  True, False]])
        """
        foreground = np.arange(len(self.counts)) % 2 == 1
        pixels = np.repeat(foreground, self.counts)
        return pixels.reshape((self.size.height, self.size.width), order="F")

    @property
    def area(self) -> int:
        """Number of foreground pixels.

        >>> RunLengthMask(Size(1, 3), np.array([1, 1, 1])).area
        1
        """
        return int(self.counts[1::2].sum())

    @property
    def box(self) -> NDArray[np.float64]:
        """Smallest box (4,) around the foreground, all zeros if there is none.

        x_min, y_min, x_max, y_max in pixels, as everywhere in `swath.geometry.boxes`.

        >>> RunLengthMask(Size(2, 3), np.array([3, 1, 2])).box
        array([1., 1., 2., 2.])
        """
        stops = np.cumsum(self.counts)[1::2]
        starts = stops - self.counts[1::2]
        filled = stops > starts
        if not filled.any():
            return np.zeros(4)
        height = self.size.height
        first, last = starts[filled], stops[filled] - 1
        # A run that goes on into the next column touches the bottom of one and the top of the other.
        wraps = bool((first // height != last // height).any())
        top, bottom = (0, height - 1) if wraps else ((first % height).min(), (last % height).max())
        return np.array([first[0] // height, top, last[-1] // height + 1, bottom + 1], dtype=np.float64)

    def intersection_area(self, other: RunLengthMask) -> int:
        """Number of pixels that are foreground in both; `GeometryError` if the sizes differ.

        >>> left = RunLengthMask.encode(np.array([[1, 1, 0]]))
        >>> right = RunLengthMask.encode(np.array([[0, 1, 1]]))
        >>> left.intersection_area(right)
        1
        """
        if self.size != other.size:
            raise GeometryError(f"Masks of {self.size} and {other.size} cannot be compared; crop or pad one first.")
        return _shared_pixels(self.counts, other.counts)

    def union_area(self, other: RunLengthMask) -> int:
        """Number of pixels that are foreground in either; `GeometryError` if the sizes differ.

        >>> left = RunLengthMask.encode(np.array([[1, 1, 0]]))
        >>> right = RunLengthMask.encode(np.array([[0, 1, 1]]))
        >>> left.union_area(right)
        3
        """
        return self.area + other.area - self.intersection_area(other)

    def iou(self, other: RunLengthMask) -> float:
        """Intersection over union in 0 ... 1, and 0 where both are empty.

        Raises `GeometryError` if the sizes differ.

        >>> RunLengthMask(Size(1, 3), np.array([1, 2])).iou(RunLengthMask(Size(1, 3), np.array([0, 3])))
        0.6666666666666666
        """
        shared = self.intersection_area(other)
        return shared / (self.area + other.area - shared) if shared else 0.0

    def cropped(self, window: Window) -> RunLengthMask:
        """The part in a window, which may stick out of the mask; outside is background, so this pads as well.

        >>> RunLengthMask(Size(1, 3), np.array([1, 2])).cropped(Window(0, 2, 1, 3)).decode()
        array([[ True, False, False]])
        """
        pixels = np.zeros((window.height, window.width), dtype=bool)
        inside = window.intersection(Window(0, 0, self.size.height, self.size.width))
        if inside is not None:
            pixels[inside.relative_to(window).slices] = self.decode()[inside.slices]
        return RunLengthMask.encode(pixels)

    def padded(self, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> RunLengthMask:
        """The mask with rows and columns of background added around it.

        >>> RunLengthMask(Size(1, 1), np.array([0, 1])).padded(left=1).decode()
        array([[False,  True]])
        """
        height, width = self.size.height + top + bottom, self.size.width + left + right
        return self.cropped(Window(-top, -left, height, width))

    def flipped(self, *, rows: bool = False, columns: bool = False) -> RunLengthMask:
        """The mask upside down (`rows`), left to right (`columns`), or both.

        >>> RunLengthMask(Size(1, 3), np.array([1, 2])).flipped(columns=True).decode()
        array([[ True,  True, False]])
        """
        return RunLengthMask.encode(self.decode()[:: -1 if rows else 1, :: -1 if columns else 1])


@compiled
def _shared_pixels(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Walk both lists of runs at once and add up where both are foreground."""
    shared = 0
    i = j = 0
    stop_a = a[0] if len(a) else 0
    stop_b = b[0] if len(b) else 0
    here = 0
    while i < len(a) and j < len(b):
        stop = min(stop_a, stop_b)
        if i % 2 == 1 and j % 2 == 1:
            shared += stop - here
        here = stop
        if stop_a == stop:
            i += 1
            stop_a += a[i] if i < len(a) else 0
        if stop_b == stop:
            j += 1
            stop_b += b[j] if j < len(b) else 0
    return shared


@compiled
def _compress(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Write counts in five-bit pieces, lowest first; the fourth and later less the one two places before."""
    codes = np.empty(13 * len(counts), dtype=np.uint8)
    length = 0
    for i in range(len(counts)):
        rest = counts[i] - counts[i - 2] if i > 2 else counts[i]
        more = True
        while more:
            piece = rest & 0x1F
            rest >>= 5
            # Done when what is left is the sign alone, and the piece's own sign bit tells it.
            more = rest != -1 if piece & SIGN else rest != 0
            codes[length] = FIRST_CHARACTER + (piece | MORE if more else piece)
            length += 1
    return codes[:length].copy()


@compiled
def _decompress(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = np.empty(len(codes), dtype=np.int64)
    length = 0
    value = 0
    shift = 0
    for code in codes:
        piece = int(code) - FIRST_CHARACTER
        value |= (piece & 0x1F) << shift
        shift += 5
        if piece & MORE:
            continue
        if piece & SIGN:
            value |= -1 << shift
        counts[length] = value + counts[length - 2] if length > 2 else value
        length += 1
        value = 0
        shift = 0
    return counts[:length].copy()
