"""Imagery behind HTTP, against a server of this process that serves ranges and counts what it sends."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from swath.errors import ImageryNotFound, ImageryUnreadable
from swath.geometry.windows import Window
from swath.imagery.scene import open_scene
from swath.imagery.sources import open_source


@dataclass
class Server:
    address: str
    folder: Path
    requests: list[str] = field(default_factory=list)
    sent: int = 0
    unranged: int = 0
    failing: bool = False


@pytest.fixture
def server(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    state = Server(address="", folder=data / "geotiff_io")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET(body=False)

        def do_GET(self, body: bool = True) -> None:
            state.requests.append(self.path)
            path = state.folder / self.path.lstrip("/")
            if state.failing or not path.is_file():
                self.send_response(403 if state.failing else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = path.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked is None and body:
                state.unranged += 1
            start = int(asked[1]) if asked else 0
            stop = min(int(asked[2]) + 1 if asked and asked[2] else len(content), len(content))
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Accept-Ranges", "bytes")
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            self.end_headers()
            if body:
                self.wfile.write(content[start:stop])
                state.sent += stop - start

        def log_message(self, *words: object) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{service.server_port}"
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    yield state
    service.shutdown()
    service.server_close()


def test_a_window_of_a_remote_file_fetches_ranges_and_not_the_file(server: Server) -> None:
    name = "cog_scale_epsg4326.tif"
    length = (server.folder / name).stat().st_size
    remote, local = (open_source(place) for place in (f"{server.address}/{name}", server.folder / name))
    window = Window(-3, 5, 40, 40)
    found, expected = (source.read(window, [1]) for source in (remote, local))
    assert np.array_equal(found.values, expected.values)
    assert np.array_equal(found.valid, expected.valid)
    assert remote.grid == local.grid
    assert server.unranged == 0
    assert server.sent < 0.7 * length
    assert len(server.requests) <= 5
    # Neither a folder listing nor side files are asked for.
    assert set(server.requests) == {f"/{name}"}


def test_an_overview_of_a_remote_file_costs_a_fraction_of_it(server: Server) -> None:
    scene = open_scene(f"{server.address}/cog_dateline.tif")
    assert scene.overview(128).values.shape == (1, 128, 126)
    assert server.unranged == 0
    assert server.sent < 0.25 * (server.folder / "cog_dateline.tif").stat().st_size


def test_a_missing_remote_file(server: Server) -> None:
    with pytest.raises(ImageryNotFound, match=r"nothing\.tif' is not there .*404.*check the address"):
        open_source(f"{server.address}/nothing.tif")


def test_a_server_that_refuses(server: Server) -> None:
    server.failing = True
    with pytest.raises(ImageryUnreadable, match=r"could not be read .*check the address and the connection"):
        open_source(f"{server.address}/cogeo.tif")


def test_a_server_that_stops_answering_between_reads(server: Server) -> None:
    source = open_source(f"{server.address}/cogeo.tif")
    server.failing = True
    with pytest.raises(ImageryUnreadable, match="stopped answering"):
        source.read(Window(0, 0, 1024, 1024), [0, 1, 2])


def test_the_fingerprint_of_a_remote_file_is_stable_and_its_own(server: Server) -> None:
    first, again, other = (
        open_source(f"{server.address}/{name}").fingerprint() for name in ("cogeo.tif", "cogeo.tif", "goes.tif")
    )
    assert first == again != other
