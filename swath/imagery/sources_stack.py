"""Sources side by side as one: the single-band files of a product, or any rasters on one grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from swath.geometry.windows import Size, Window
from swath.imagery.pixels import Pixels
from swath.imagery.sources_base import BandedSource, Source, common_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StackSource(BandedSource):
    """The bands of several sources, which must share one grid, in the order given; itself a `Source`.

    >>> from swath.imagery.sources import open_source
    >>> one, two = (open_source(np.full((1, 2, 2), v, np.uint8), bands=b) for v, b in ((1, "red"), (2, "nir")))
    >>> StackSource([one, two], name="pair").read(Window(0, 0, 1, 1), [1, 0]).values.ravel().tolist()
    [2, 1]
    """

    def __init__(self, parts: Sequence[Source], *, name: str) -> None:
        self.parts = tuple(parts)
        self.name = name
        self.grid = self.parts[0].grid
        self.bands = tuple(band for part in self.parts for band in part.bands)
        self.dtype = np.result_type(*(part.dtype for part in self.parts))
        self.acquired = next((part.acquired for part in self.parts if part.acquired is not None), None)
        native = [part.block for part in self.parts]
        self.block = Size(max(block.height for block in native), max(block.width for block in native))
        self._places = [(part, position) for part in self.parts for position in range(len(part.bands))]

    def read(
        self, window: Window, bands: Sequence[int], *, size: Size | None = None, resampling: str = "bilinear"
    ) -> Pixels:
        """Return the bands at these positions in a window; see `Source.read`."""
        pieces = [
            part.read(window, [position], size=size, resampling=resampling)
            for part, position in (self._places[band] for band in bands)
        ]
        chosen = tuple(self.bands[band] for band in bands)
        return replace(
            pieces[0],
            values=np.concatenate([piece.values.astype(self.dtype, copy=False) for piece in pieces]),
            bands=chosen,
            unit=common_unit(chosen),
            valid=self._joint_validity([piece.valid for piece in pieces]),
        )

    def _joint_validity(self, valid: Sequence[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
        """A pixel counts where all bands do; in 8-bit imagery, where black is a colour, where any does."""
        known = [mask for mask in valid if mask is not None]
        if not known or (self.dtype == np.uint8 and len(known) < len(valid)):
            return None
        join = np.logical_or if self.dtype == np.uint8 else np.logical_and
        joint: NDArray[np.bool_] = join.reduce(known)
        return None if joint.all() else joint

    def expecting(self, wanted: Sequence[str]) -> StackSource:
        """Return the stack of the parts as they are read by one who wants these bands."""
        parts = [part.expecting(wanted) for part in self.parts]
        unchanged = all(part is own for part, own in zip(parts, self.parts, strict=True))
        return self if unchanged else StackSource(parts, name=self.name)

    def fingerprint(self) -> str:
        """Return a hash over those of the parts."""
        return hashlib.sha256("".join(part.fingerprint() for part in self.parts).encode()).hexdigest()

    def close(self) -> None:
        """Close every part."""
        for part in self.parts:
            part.close()
