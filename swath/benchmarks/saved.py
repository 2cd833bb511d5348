"""Reports on disk: a JSON file for people and programs, and beside it the tallies that paired tests need."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from swath.benchmarks.evidence import Evidence
from swath.benchmarks.registry import protocols
from swath.benchmarks.report import Report
from swath.errors import DataError
from swath.imagery.atomic import AtomicOutput

if TYPE_CHECKING:
    from swath.benchmarks.protocol import Protocol


def tallies_path(report: str | Path) -> Path:
    """Return where the tallies of a report lie.

    >>> tallies_path("runs/landuse.json").name
    'landuse.tallies.npz'
    """
    return Path(report).with_name(f"{Path(report).stem}.tallies.npz")


def save_report(report: Report, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a report as JSON, and its evidence, if it has any, beside it; return the path.

    Both appear whole or not at all, the tallies first. Raises `OutputExists` and `OutputFailed`.
    """
    with AtomicOutput(path, overwrite=overwrite) as part:
        text = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")
        if report.evidence is not None:
            with AtomicOutput(tallies_path(path), overwrite=overwrite) as tallies:
                report.evidence.write(tallies, fingerprint=report.fingerprint)
    return Path(path)


def load_report(path: str | Path, *, protocol: Protocol | None = None) -> Report:
    """Read a report, with its evidence where the tallies lie beside it.

    The tallies are of the metric of its `protocol`, which is looked up by name; say it for protocols that have no
    name of their own, such as those of folders. Raises `DataError` for files that are not there, broken, or of
    another model, and for a protocol that is not known.
    """
    try:
        report = Report.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"There is no report to read at {path} ({error}).") from error
    if not tallies_path(path).is_file():
        return report
    judged = protocol or next((known for known in protocols() if known.name == report.protocol), None)
    if judged is None or judged.name != report.protocol:
        raise DataError(
            f"The report {path} is by the protocol '{report.protocol}', which has no name here; give it as protocol=."
        )
    metric = judged.metric(judged.dataset.classes)
    evidence = Evidence.read(tallies_path(path), metric, fingerprint=report.fingerprint)
    return replace(report, evidence=evidence)
