"""Results that appear whole or not at all.

A result is written under a hidden name in its own folder and renamed when it is complete, so that a reader,
or a run that died half-way, never meets half a file under the final name.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from swath.errors import OutputExists, OutputFailed, SwathError

PART_SUFFIX = ".swath-part"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FULL_WORDS = ("no space left", "disk is full", "disk full", "quota exceeded")
_PROBE_BLOCK, _PROBE_BYTES = 1 << 20, 8 << 20  # more than a library writes at a time
_MAXIMUM_NAME = 255 - len("." + PART_SUFFIX + ".geojson")  # bytes that common file systems allow a name


def part_path(path: str | os.PathLike[str]) -> Path:
    """Return the hidden sibling under which the result `path` is written; the same name at every run.

    >>> part_path("maps/trees.tif").name
    '.trees.tif.swath-part'
    """
    final = Path(path)
    return final.with_name(f".{final.name}{PART_SUFFIX}")


class AtomicOutput:
    """The right to write one result: a hidden part while it grows, the final name once it is complete.

    Use it as a context manager that gives the part's path: leaving it well renames the part, leaving it by an
    exception removes it. `commit` and `discard` do the same by hand. Every file whose name begins with the
    part's (a format's journals and spills) goes with it. Missing folders are made.

    `overwrite` allows an earlier result to be replaced. `resume` keeps the part when writing fails and leaves
    one that it finds, for a run that can go on.

    Raises `OutputExists`, or `OutputFailed` for a folder that cannot be made or written to and for a full
    disk.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with AtomicOutput(Path(folder, "answer.txt")) as part:
    ...         _ = part.write_text("42")
    ...     Path(folder, "answer.txt").read_text()
    '42'
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = Path(path)
        self.part = part_path(self.path)
        self.overwrite = overwrite
        self.resume = resume
        self._check_free()
        _make_folder(self.path)
        if not resume:
            self._remove_parts()

    def _check_free(self) -> None:
        if not self.path.name or len(os.fsencode(self.path.name)) > _MAXIMUM_NAME:
            raise OutputFailed(f"'{self.path}' is no file name that a result can be written to; choose another.")
        if self.path.is_dir():
            raise OutputFailed(f"Cannot write '{self.path}': it is a folder; give the name of a file in it.")
        if self.path.exists() and not self.overwrite:
            raise OutputExists(f"'{self.path}' already exists; choose another name, or --overwrite to replace it.")

    def commit(self) -> Path:
        """Give the part its final name, once its bytes have reached the disk, and return that name."""
        with output_errors(self.path):
            _synchronise(self.part)
            self._check_free()
            self.part.replace(self.path)
            _synchronise(self.path.parent)
        self._remove_parts()
        return self.path

    def discard(self) -> None:
        """Remove the part and everything that was written beside it."""
        self._remove_parts()

    def _remove_parts(self) -> None:
        # Listed, not globbed: a result's name may hold characters that mean something in a pattern.
        with os.scandir(self.path.parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(self.part.name)]
        for name in names:
            self.path.with_name(name).unlink(missing_ok=True)

    def __enter__(self) -> Path:
        return self.part

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self.commit()
            except BaseException:
                self._give_up()
                raise
            return
        # The free space is looked up before the part is removed: afterwards the disk is not full any more.
        told = isinstance(error, SwathError)
        failure = None if told or not is_disk_full(error) else output_failure(self.path, error)
        self._give_up()
        if failure is not None:
            raise failure from error

    def _give_up(self) -> None:
        if not self.resume:
            self.discard()


@contextmanager
def output_errors(
    path: str | os.PathLike[str], *failures: type[Exception], probe: Path | None = None
) -> Iterator[None]:
    """Turn an `OSError`, or one of the named `failures`, into an `OutputFailed` about the result `path`.

    Wrap only what writes: a file that cannot be read is another matter. Libraries seldom tell why the system
    refused a write; `probe` is the file they wrote, which must be of no more use: some bytes are added to it
    to find out.

    >>> with output_errors("map.tif"):  # doctest: +ELLIPSIS
    ...     raise OSError(errno.EACCES, "Permission denied")
    Traceback (most recent call last):
    swath.errors.OutputFailed: Cannot write 'map.tif': Permission denied (... free in '.').
    """
    kinds: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        yield
    except kinds as error:
        refusal = None if probe is None else _refusal(probe)
        raise output_failure(path, refusal or error) from error


def output_failure(path: str | os.PathLike[str], error: BaseException) -> OutputFailed:
    """Say in one sentence why `path` could not be written, with the free space where the disk is full.

    >>> str(output_failure("nowhere/map.tif", OSError(errno.EROFS, "Read-only file system")))[:55]
    "Cannot write 'nowhere/map.tif': Read-only file system ("
    """
    free = free_space(Path(path).parent)
    if is_disk_full(error):
        return OutputFailed(
            f"Cannot write '{path}': the disk is full ({readable_bytes(free)} free in "
            f"'{Path(path).parent}'). Free some space or choose another folder."
        )
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return OutputFailed(
            f"Cannot write '{path}': it grew beyond the largest file allowed here; raise the limit on file "
            "sizes (ulimit -f) or choose another file system."
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OutputFailed(
        f"Cannot write '{path}': {_one_line(reason) or type(error).__name__} "
        f"({readable_bytes(free)} free in '{Path(path).parent}')."
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that the disk or the quota is full.

    >>> is_disk_full(OSError(errno.ENOSPC, "No space left on device")), is_disk_full(ValueError("no"))
    (True, False)
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if any(words in str(seen).lower() for words in _FULL_WORDS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def free_space(folder: str | os.PathLike[str]) -> int:
    """Return how many bytes can still be written in `folder` (or its nearest parent that is there yet).

    >>> free_space(Path.cwd()) > 0
    True
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def readable_bytes(count: int) -> str:
    """Write a number of bytes for people, in decimal units.

    >>> readable_bytes(950), readable_bytes(12_345_678)
    ('950 bytes', '12.3 MB')
    """
    if count < 1000:
        return f"{count} bytes"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 1000:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at a byte of an open file, or raise the `OSError` that says why not all was taken.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     write_all(file.fileno(), b"abc", 2)
    ...     file.read()
    b'\\x00\\x00abc'
    """
    # At a full disk the first attempt ends early without an error; the next one tells why.
    left = memoryview(data).cast("B")
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def _refusal(probe: Path) -> OSError | None:
    try:
        with probe.open("r+b" if probe.exists() else "wb", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            for start in range(end, end + _PROBE_BYTES, _PROBE_BLOCK):
                write_all(stream.fileno(), bytes(_PROBE_BLOCK), start)
            os.fsync(stream.fileno())
    except OSError as error:
        return error
    return None


def _make_folder(path: Path) -> None:
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file of that name stands in the way" if _file_in_the_way(folder) else error.strerror
        raise OutputFailed(f"Cannot make the folder '{folder}' for '{path.name}': {reason}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputFailed(f"Cannot write '{path.name}' into the folder '{folder}': permission denied.")


def _file_in_the_way(folder: Path) -> bool:
    return any(place.is_file() for place in (folder, *folder.parents))


def _synchronise(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
