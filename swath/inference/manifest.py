"""A run's manifest: what is being made of what, and how far it has come, in a folder beside the output.

The folder `.NAME.swath-run` holds the manifest and the unfinished result. A run that starts again with the same inputs,
model and options goes on from the last finished row of windows; with others it refuses.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swath.errors import OutputFailed, ResumeMismatch

_FILE = "manifest.json"


def work_folder(output: Path) -> Path:
    """Return the folder of an unfinished run for this output.

    >>> work_folder(Path("maps/trees.gpkg")).as_posix()
    'maps/.trees.gpkg.swath-run'
    """
    return output.with_name(f".{output.name}.swath-run")


def unfinished(output: Path) -> Mapping[str, Any] | None:
    """Return the identity of a run for this output that has finished rows and can be continued, or None."""
    path = work_folder(output) / _FILE
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    identity: Mapping[str, Any] | None = found["identity"] if found["rows_done"] else None
    return identity


@dataclass
class Manifest:
    """Which rows of windows are finished, and the identity of the run: inputs, model, options, plan."""

    folder: Path
    identity: Mapping[str, Any]
    rows_done: int = 0
    state: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, output: Path, identity: Mapping[str, Any], *, resume: bool) -> Manifest:
        """Open the run of an output: go on with an unfinished one of the same identity, or start.

        Raises `ResumeMismatch` where the unfinished one differs; without `resume` it is thrown away.
        """
        folder = work_folder(output)
        plain = json.loads(json.dumps(identity))
        if folder.exists() and not resume:
            shutil.rmtree(folder)
        path = folder / _FILE
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["identity"] != plain:
                changed = sorted(k for k in plain | found["identity"] if plain.get(k) != found["identity"].get(k))
                raise ResumeMismatch(
                    f"an unfinished run for {output.name} was made with another {', '.join(changed)}; repeat its "
                    f"options to go on, or say --no-resume to start again."
                )
            return cls(folder=folder, identity=plain, rows_done=found["rows_done"], state=found["state"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputFailed(
                f"cannot write beside {output}: {error.strerror}; choose another place for -o."
            ) from error
        manifest = cls(folder=folder, identity=plain)
        manifest.save()
        return manifest

    def finish_row(self, row: int, state: Mapping[str, Any]) -> None:
        """Record that a row of windows is finished, with what the store needs to go on from there."""
        self.rows_done = row + 1
        self.state = dict(state)
        self.save()

    def save(self) -> None:
        """Write the manifest so that a crash leaves either the old one or the new one."""
        document = {"identity": self.identity, "rows_done": self.rows_done, "state": self.state}
        fresh = self.folder / f"{_FILE}.new"
        fresh.write_text(json.dumps(document), encoding="utf-8")
        fresh.replace(self.folder / _FILE)

    def discard(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
