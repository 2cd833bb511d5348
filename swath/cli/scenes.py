"""From the words of the command line to scenes and outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swath.errors import ConfigurationError, UnitMismatch
from swath.imagery.bands import Unit
from swath.imagery.scene import Scene, open_scene
from swath.models.outputs import PointOutput

if TYPE_CHECKING:
    from swath.models.base import Model

_SLOT = re.compile(r"^([a-z][a-z0-9_]*)=(.+)$")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One scene to predict: a plain image, or files by slot, and where the result goes.

    `output` is a file, or a folder in which the result is named after the image.
    """

    image: str | None
    slots: Mapping[str, str]
    output: Path
    into_folder: bool

    @property
    def title(self) -> str:
        """What to call the scene while it is worked on."""
        return Path(self.image or next(iter(self.slots.values()))).name

    def output_for(self, model: Model) -> Path:
        """Return the result's path; in a folder, objects become GeoPackages and maps become GeoTIFFs."""
        if not self.into_folder:
            return self.output
        suffix = ".gpkg" if isinstance(getattr(model.config, "output", None), PointOutput) else ".tif"
        return self.output / f"{Path(self.title).stem}{suffix}"


def jobs(scenes: Sequence[str], output: Path) -> list[Job]:
    """Read `a.tif`, `before=a.tif after=b.tif`, or several plain scenes; raise `ConfigurationError` for a mixture.

    >>> [job.slots for job in jobs(["before=a.tif", "after=b.tif"], Path("change.tif"))]
    [{'before': 'a.tif', 'after': 'b.tif'}]
    """
    matches = [None if Path(text).exists() else _SLOT.match(text) for text in scenes]
    slots = {match.group(1): match.group(2) for match in matches if match}
    plain = [text for text, match in zip(scenes, matches, strict=True) if match is None]
    if slots and plain:
        raise ConfigurationError(
            f"either name every slot or none; '{plain[0]}' has no name while {next(iter(slots))}= has."
        )
    if slots:
        if len(slots) < len(scenes):
            raise ConfigurationError("a slot is named twice; give every slot once.")
        return [Job(image=None, slots=slots, output=output, into_folder=False)]
    into_folder = output.is_dir() or len(plain) > 1
    if len(plain) > 1 and output.suffix:
        raise ConfigurationError(f"{len(plain)} scenes need a folder for -o; '{output}' is the name of one file.")
    return [Job(image=text, slots={}, output=output, into_folder=into_folder) for text in plain]


def open_job(job: Job, *, bands: str | None, unit: str | None) -> Scene:
    """Open a job's scene with the bands and unit that the user named."""
    return open_scene(job.image, bands=bands, unit=parse_unit(unit), **job.slots)


def parse_unit(text: str | None) -> Unit | None:
    """Return the unit of this name; raise `UnitMismatch` that lists the units otherwise.

    >>> parse_unit("reflectance").name
    'REFLECTANCE'
    """
    if text is None:
        return None
    try:
        return Unit(text.lower())
    except ValueError:
        raise UnitMismatch(f"'{text}' is no unit; use one of {', '.join(unit.value for unit in Unit)}.") from None
