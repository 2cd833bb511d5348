"""Reading a class as files write it: by name, in whatever spelling, or by number."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from swath.errors import DataError
from swath.metrics.classes import fold_class_name
from swath.samples.labels import Label

if TYPE_CHECKING:
    from swath.datasets.records import Record
    from swath.geometry.windows import Size


def class_named(text: str, classes: tuple[str, ...], where: object) -> str:
    """Return the class of a name, without regard to case and marks, or of a number counted from 0.

    A name wins over a number. Raises `DataError` for what is neither; `where` names the file in messages.

    >>> class_named("very low", ("Low", "Very_Low"), "x.csv"), class_named("0", ("Low", "Very_Low"), "x.csv")
    ('Very_Low', 'Low')
    """
    known = _folded(classes)
    name = known.get(fold_class_name(text.strip()))
    if name is not None:
        return name
    number = text.strip().removesuffix(".0")
    if number.isdigit() and int(number) < len(classes):
        return classes[int(number)]
    shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    raise DataError(
        f"{where} says the class '{text}', which is neither one of the {len(classes)} classes ({shown}) nor "
        f"their number, 0 to {len(classes) - 1}; mend it."
    )


def label_of(record: Record, classes: tuple[str, ...], size: Size) -> Label:
    """Return the class or the classes of a record; raise `DataError` where it has none."""
    if record.labels is not None:
        return Label.of(list(record.labels), classes, size)
    if record.label is None:
        raise DataError(f"'{record.key}' has no class; complete the data set.")
    return _one(record.label, classes, size)


@lru_cache(maxsize=4096)
def _one(name: str, classes: tuple[str, ...], size: Size) -> Label:
    return Label.of(name, classes, size)


@lru_cache(maxsize=64)
def _folded(classes: tuple[str, ...]) -> dict[str, str]:
    return {fold_class_name(name): name for name in classes}
