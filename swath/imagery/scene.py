"""A scene: georeferenced imagery in named slots (`image`, `before` and `after`, `radar`, ...), all on one
grid.

>>> import numpy as np
>>> scene = open_scene(np.arange(12, dtype=np.uint8).reshape(3, 2, 2), bands="red,green,blue")
>>> scene.read(Window(0, 0, 1, 2), bands=["blue", "red"]).values.tolist()
[[[8, 9]], [[0, 1]]]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from swath.errors import BandMismatch, ConfigurationError, ImageryNotFound
from swath.geometry.windows import Size, Window
from swath.imagery.alignment import align, ground_sample_distance
from swath.imagery.bands import Band, Unit, select_bands
from swath.imagery.grid import Grid
from swath.imagery.naming import BandsSpec
from swath.imagery.pixels import Pixels
from swath.imagery.sources import Where, open_source
from swath.imagery.sources_base import Source
from swath.imagery.units import convert

if TYPE_CHECKING:
    from datetime import datetime

IMAGE = "image"
SERIES = "series"


class Scene:
    """Imagery in named slots on the grid of the first; made by `open_scene`, closed by `close` or `with`.

    `slots` maps names to sources in the order given; `grid` and `acquired` are those of the first slot. Reads
    are safe from any number of threads at once, and a scene can be sent to another process.
    """

    def __init__(self, slots: Mapping[str, Source]) -> None:
        if not slots:
            raise ImageryNotFound("a scene needs at least one image; give a file, an address or an array.")
        first, *others = slots.items()
        self.grid: Grid = first[1].grid
        aligned = {first[0]: first[1]}
        for slot, source in others:
            aligned[slot] = align(source, self.grid, reference=f"'{first[1].name}' (slot '{first[0]}')")
        self._slots = aligned
        self._located: dict[tuple[str, tuple[str, ...] | None], tuple[Source, tuple[int, ...]]] = {}
        self.acquired: datetime | None = first[1].acquired

    @property
    def slots(self) -> Mapping[str, Source]:
        """The sources by slot, read-only."""
        return MappingProxyType(self._slots)

    @property
    def gsd(self) -> float | None:
        """Side of a pixel on the ground in metres at the scene's centre; None without a reference system."""
        return ground_sample_distance(self.grid)

    def read(
        self,
        window: Window,
        *,
        slot: str = IMAGE,
        bands: Sequence[str] | None = None,
        unit: Unit | None = None,
        size: Size | None = None,
        resampling: str = "bilinear",
    ) -> Pixels:
        """Return a window of a slot: these bands (names or roles, in this order), in this unit, in `size`
        pixels.

        The window may stick out of the scene; outside it pixels are invalid. Raises `BandMismatch` for bands
        that the slot lacks, `UnitMismatch` for a unit that its values cannot be turned into,
        `ImageryUnreadable` for storage that fails.
        """
        source, positions = self._locate(slot, None if bands is None else tuple(bands))
        pixels = source.read(window, positions, size=size, resampling=resampling)
        return pixels if unit is None else convert(pixels, unit)

    def _locate(self, slot: str, bands: tuple[str, ...] | None) -> tuple[Source, tuple[int, ...]]:
        """Find who reads these bands of a slot, and where they stand there; remembered, as every window asks."""
        found = self._located.get((slot, bands))
        if found is None:
            source = self._source(slot, bands)
            where = f"'{source.name}'"
            positions = range(len(source.bands)) if bands is None else select_bands(source.bands, bands, where=where)
            found = self._located[slot, bands] = (source, tuple(positions))
        return found

    def overview(self, longest: int = 1024, *, slot: str = IMAGE, bands: Sequence[str] | None = None) -> Pixels:
        """Return the whole slot with its longer side at most `longest` pixels, read through overviews where
        it has them.

        >>> import numpy as np
        >>> open_scene(np.zeros((1, 40, 20), np.uint8)).overview(10).size
        Size(height=10, width=5)
        """
        if longest < 1:
            raise ConfigurationError(f"an overview needs at least one pixel a side; found {longest}.")
        height, width = self.grid.size.height, self.grid.size.width
        shrink = min(1.0, longest / max(height, width))
        size = Size(max(1, round(height * shrink)), max(1, round(width * shrink)))
        return self.read(Window(0, 0, height, width), slot=slot, bands=bands, size=size)

    def block(self, slot: str | None = None) -> Size:
        """Return the size of the storage blocks of a slot (of the first where None)."""
        return self._slot(slot or next(iter(self._slots))).block

    def slot_bands(self, slot: str = IMAGE, expects: Sequence[str] = ()) -> tuple[Band, ...]:
        """Return the bands of a slot, as they are read by one who expects these (see `Source.expecting`)."""
        return self._source(slot, expects).bands

    def fingerprint(self) -> str:
        """Return a hash of every slot's content and of how its bands are named, for the manifest of a run."""
        digest = hashlib.sha256()
        for slot, source in self._slots.items():
            digest.update(repr((slot, source.bands, source.fingerprint())).encode())
        return digest.hexdigest()

    def _slot(self, slot: str) -> Source:
        # A scene of one image answers to whatever a model calls its only slot.
        if slot == IMAGE and len(self._slots) == 1:
            return next(iter(self._slots.values()))
        if slot not in self._slots:
            raise BandMismatch(
                f"the scene has no slot '{slot}'; it has: {', '.join(self._slots)}. Give it as {slot}=FILE."
            )
        return self._slots[slot]

    def _source(self, slot: str, wanted: Sequence[str] | None) -> Source:
        source = self._slot(slot)
        return source.expecting(wanted) if wanted else source

    def close(self) -> None:
        """Let go of every file."""
        for source in self._slots.values():
            source.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        inside = ", ".join(f"{slot}={source.name!r}" for slot, source in self._slots.items())
        return f"Scene({inside}, {self.grid.size.height} x {self.grid.size.width} pixels)"


def open_scene(
    image: Where | None = None,
    /,
    *,
    bands: BandsSpec | Mapping[str, BandsSpec] | None = None,
    unit: Unit | Mapping[str, Unit] | None = None,
    **slots: Where | Sequence[Where],
) -> Scene:
    """Open imagery as a `Scene`: `open_scene("scene.tif")` or `open_scene(before="2009.tif",
    after="2020.tif")`.

    Each slot takes what `open_source` takes, or a source that is open already (and keeps its names). The slot
    `series` takes a list, one item a date, and becomes the slots `series_1`, `series_2`, ... `bands` and `unit` hold
    for every slot, or are mappings from slot to its own.

    >>> import numpy as np
    >>> pair = open_scene(before=np.zeros((1, 4, 4), np.uint8), after=np.ones((1, 4, 4), np.uint8), bands="red")
    >>> list(pair.slots), int(pair.read(Window(0, 0, 1, 1), slot="after").values.max())
    (['before', 'after'], 1)
    """
    given: dict[str, Any] = {} if image is None else {IMAGE: image}
    for slot, where in slots.items():
        if slot == SERIES and isinstance(where, Sequence) and not isinstance(where, str):
            given |= {f"{SERIES}_{number}": date for number, date in enumerate(where, start=1)}
        else:
            given[slot] = where
    opened: dict[str, Source] = {}
    try:
        for slot, where in given.items():
            opened[slot] = open_source(where, bands=_of_slot(bands, slot, given), unit=_of_slot(unit, slot, given))
        return Scene(opened)
    except BaseException:
        for slot, source in opened.items():
            if source is not given[slot]:
                source.close()
        raise


def _of_slot(option: Any, slot: str, slots: Mapping[str, Any]) -> Any:
    """Take a slot's own option where the option is a mapping by slot (a mapping of roles to numbers is not)."""
    by_slot = isinstance(option, Mapping) and bool(option) and all(key in slots or key == SERIES for key in option)
    if not by_slot:
        return option
    return option.get(slot, option.get(SERIES) if slot.startswith(f"{SERIES}_") else None)
