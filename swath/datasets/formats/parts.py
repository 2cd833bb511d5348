"""The parts of a data set by the names that folders and files give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS_OF_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train", "training"),
        "validation": ("valid", "val", "validation"),
        "test": ("test", "testing"),
    }
)
"""How published data sets write the parts, in lower case."""

_PART_OF = {name: part for part, names in FOLDERS_OF_PARTS.items() for name in names}


class PartFile(NamedTuple):
    """A file that holds many images, and the part that they belong to."""

    part: str
    path: Path


def part_named(text: str) -> str | None:
    """Return the part that a word means, or None.

    >>> part_named("Val"), part_named("A")
    ('validation', None)
    """
    return _PART_OF.get(text.casefold())


def part_files(root: Path, patterns: Mapping[str, tuple[str, ...]]) -> Iterator[PartFile]:
    """Yield the files of each part, whose patterns are globs below a folder, by part and name, each once."""
    for part, globs in patterns.items():
        for path in sorted({path for pattern in globs for path in root.glob(pattern) if path.is_file()}):
            yield PartFile(part, path)


def described_files(patterns: Mapping[str, tuple[str, ...]]) -> str:
    """Say which files are looked for.

    >>> described_files({"train": ("train.h5", "training.h5")})
    'train.h5 or training.h5'
    """
    return ", ".join(" or ".join(globs) for globs in patterns.values())
