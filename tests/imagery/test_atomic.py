"""Results appear whole or not at all, and a failure is told in a sentence."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swath.errors import BandMismatch, OutputExists, OutputFailed
from swath.imagery.atomic import AtomicOutput, free_space, is_disk_full, part_path, readable_bytes, write_all

SMALL = 64 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB; skips where this user may not make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only the superuser can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_final_name_appears_only_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    with AtomicOutput(path) as part:
        part.write_text("half")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_text() == "half"
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.txt"]


def test_the_part_has_the_same_name_in_every_run(tmp_path: Path) -> None:
    assert (
        AtomicOutput(tmp_path / "map.tif").part == part_path(tmp_path / "map.tif") == tmp_path / ".map.tif.swath-part"
    )


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), AtomicOutput(tmp_path / "map.txt") as part:
        part.write_text("half")
        part.with_name(part.name + "-journal").write_text("a library's own file")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_another_exception_is_passed_on_as_it_is(tmp_path: Path) -> None:
    error = BandMismatch("the scene lacks the band red")
    with pytest.raises(BandMismatch) as raised, AtomicOutput(tmp_path / "map.txt"):
        raise error
    assert raised.value is error


def test_what_resumes_keeps_its_part_and_finds_it_again(tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    with pytest.raises(KeyboardInterrupt), AtomicOutput(path, resume=True) as part:
        part.write_text("first half, ")
        raise KeyboardInterrupt
    assert not path.exists()
    with AtomicOutput(path, resume=True) as part, part.open("a") as stream:
        stream.write("second half")
    assert path.read_text() == "first half, second half"


def test_a_fresh_run_removes_the_part_of_a_dead_one(tmp_path: Path) -> None:
    part_path(tmp_path / "map.txt").write_text("stale")
    assert not AtomicOutput(tmp_path / "map.txt").part.exists()


def test_an_existing_result_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    path.write_text("old")
    with pytest.raises(OutputExists, match=r"map\.txt' already exists.*--overwrite"):
        AtomicOutput(path)
    with AtomicOutput(path, overwrite=True) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_result_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    with pytest.raises(OutputExists), AtomicOutput(path) as part:
        part.write_text("mine")
        path.write_text("another's")
    assert path.read_text() == "another's"
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.txt"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with AtomicOutput(tmp_path / "2024" / "may" / "map.txt") as part:
        part.write_text("x")
    assert (tmp_path / "2024" / "may" / "map.txt").exists()


def test_a_folder_or_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputFailed, match="it is a folder"):
        AtomicOutput(tmp_path)
    with pytest.raises(OutputFailed, match=r"Cannot make the folder .*a file of that name stands in the way"):
        AtomicOutput(tmp_path / "file" / "map.txt")
    with pytest.raises(OutputFailed, match="no file name"):
        AtomicOutput(tmp_path / ("x" * 250))


def test_an_error_of_the_system_that_means_a_full_disk_is_told_with_the_free_space(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputFailed, match=r"map\.txt': the disk is full \(.* free in"),
        AtomicOutput(tmp_path / "map.txt"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_known_by_its_cause_too() -> None:
    wrapped = RuntimeError("the library gave up")
    wrapped.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert is_disk_full(wrapped)
    assert is_disk_full(RuntimeError("sqlite3: database or disk is full"))
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))


def test_a_really_full_disk(small_disk: Path) -> None:
    output = AtomicOutput(small_disk / "map.bin")
    refused = pytest.raises(OutputFailed, match=r"the disk is full \(0 bytes free")
    with refused as raised, output as part, part.open("wb") as stream:
        stream.write(bytes(free_space(small_disk) + 1))
    assert str(small_disk) in str(raised.value)
    assert list(small_disk.iterdir()) == []


def test_writing_at_a_place_goes_on_until_all_is_written_or_the_system_refuses(tmp_path: Path) -> None:
    # In a process of its own, because a limit on file sizes is the whole process's.
    script = f"""
import os, resource
from swath.imagery.atomic import write_all
with open({str(tmp_path / "file")!r}, "wb", buffering=0) as stream:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        write_all(stream.fileno(), bytes(1500), 0)
    except OSError as error:
        print(os.strerror(error.errno), os.fstat(stream.fileno()).st_size)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{os.strerror(errno.EFBIG)} 1000"


def test_bytes_are_written_at_their_offset(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as stream:
        write_all(stream.fileno(), memoryview(b"world"), 6)
        write_all(stream.fileno(), b"hello ", 0)
        assert stream.read() == b"hello world"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2_500_000_000, "2.5 GB"), (3e15, "3000.0 TB")],
)
def test_numbers_of_bytes_are_readable(count: int, text: str) -> None:
    assert readable_bytes(int(count)) == text


WRITE_ONE = """
import sys
import numpy as np, shapely
from pathlib import Path
from swath.errors import OutputFailed
from swath.geometry.windows import Size, Window
from swath.imagery import raster_writer
from swath.imagery.features import Feature, Field
from swath.imagery.grid import Affine, Grid
from swath.imagery.raster_writer import RasterLayout, ScratchRaster, finish_cog
from swath.imagery.vector_writer import VectorWriter

values = np.random.default_rng(0).integers(0, 40, (2, 1100, 1100)).astype(np.uint8)
grid = Grid(crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5e6), size=Size(1100, 1100))
layout = RasterLayout(grid=grid, dtype="uint8", names=("class", "confidence"))
features = [Feature(shapely.Point(i, i % 97).buffer(3), {"name": f"number {i}"}) for i in range(3000)]

def write(path, scratch):
    if path.suffix == ".tif":
        finish_cog(scratch, path, layout, overwrite=True)
        return
    with VectorWriter(path, crs="EPSG:32633", fields=[Field("name", str)], geometry="Polygon") as writer:
        writer.add(features)

def make_scratch(folder):
    scratch = ScratchRaster(folder / "scratch", size=grid.size, bands=2, dtype="uint8")
    scratch.write(Window(0, 0, 1100, 1100), values)
    return scratch
"""
SUFFIXES = [".tif", ".gpkg", ".geojson", ".parquet", ".fgb"]


def test_a_file_that_may_not_grow_is_told_and_removed_in_every_format(tmp_path: Path) -> None:
    # The limit is set just below the full length too: libraries are known to hide that the last bytes were lost.
    script = (
        WRITE_ONE
        + f"""
import resource
folder = Path({str(tmp_path)!r})
scratch = make_scratch(folder)
write(folder / "full.tif", scratch)
raster_writer._build_overviews = lambda *_: None  # made above; the scratch is longer than the limits below
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for suffix in {SUFFIXES!r}:
    path = folder / f"result{{suffix}}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    write(path, scratch)
    length = path.stat().st_size
    path.unlink()
    for limit in (1000, length // 3, length * 9 // 10, length - 2):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            write(path, scratch)
        except OutputFailed as error:
            print(suffix, "beyond the largest file" in str(error), sorted(p.name for p in folder.iterdir()))
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    expected = [f"{suffix} True ['full.tif', 'scratch']" for suffix in SUFFIXES for _ in range(4)]
    assert done.stdout.splitlines() == expected, done.stdout + done.stderr


def test_a_full_disk_is_told_for_every_format_and_leaves_it_empty(small_disk: Path, tmp_path: Path) -> None:
    script = (
        WRITE_ONE
        + f"""
scratch = make_scratch(Path({str(tmp_path)!r}))
for suffix in {SUFFIXES!r}:
    folder = Path({str(small_disk)!r})
    try:
        write(folder / f"result{{suffix}}", scratch)
    except OutputFailed as error:
        print(suffix, "the disk is full (0 bytes free" in str(error), [p.name for p in folder.iterdir()])
try:
    make_scratch(folder)
except OutputFailed as error:
    print("needs" in str(error), [p.name for p in folder.iterdir()])
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    expected = [f"{suffix} True []" for suffix in SUFFIXES] + ["True []"]
    assert done.stdout.splitlines() == expected, done.stdout + done.stderr
