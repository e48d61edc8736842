"""TIFF and OME-Zarr by URL, from a server on this machine and from fsspec's memory."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

from napari_wsi_mil.errors import SlideClosed, SlideNotFound, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide import Box, open_slide
from napari_wsi_mil.slide.remote import RemoteBytes

from . import good_files
from .made import assert_levels, pyramid

if TYPE_CHECKING:
    from collections.abc import Iterator


class Handler(SimpleHTTPRequestHandler):
    """Serves files of a folder, parts too unless told not to."""

    ranges = True

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, asked = path.read_bytes(), self.headers.get("Range") if self.ranges else None
        start, end = 0, len(data)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[start:end])

    do_HEAD = do_GET

    def log_message(self, *parts: Any) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="http needs the extra 'remote'")
    kind = type("Local", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: kind(*a, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.kind = kind  # type: ignore[attr-defined]
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def test_tiff_over_http(address: str, tmp_path: Path) -> None:
    levels = pyramid(tmp_path / "a b.tif", [(300, 400), (150, 200)])
    with open_slide(f"{address}/a%20b.tif") as slide, open_slide(tmp_path / "a b.tif") as local:
        assert_levels(slide, levels)
        assert slide.fingerprint == local.fingerprint


@pytest.mark.parametrize("version", ["zarr04", "zarr05"])
def test_zarr_over_http(address: str, tmp_path: Path, version: str) -> None:
    write, name = good_files.WRITERS[version]
    write(tmp_path / name)
    with open_slide(f"{address}/{name}") as slide, open_slide(tmp_path / name) as local:
        assert_levels(slide, good_files.levels_of(version, tmp_path / name))
        assert slide.fingerprint == local.fingerprint


def test_tiff_and_zarr_in_memory(memory: Any, tmp_path: Path) -> None:
    levels = pyramid(tmp_path / "a.tif", [(300, 400), (150, 200)], samples=1, dtype="uint16")
    memory.pipe("/a.tif", (tmp_path / "a.tif").read_bytes())
    with open_slide("memory://a.tif") as slide:
        assert_levels(slide, levels)
    write, name = good_files.WRITERS["zarr05"]
    write(tmp_path / name)
    memory.put(str(tmp_path / name), "/b.zarr", recursive=True)
    with open_slide("memory://b.zarr") as slide:
        assert_levels(slide, good_files.levels_of("zarr05", tmp_path / name))


def test_nobody_there(address: str) -> None:
    with pytest.raises(SlideNotFound, match="cannot be reached"):
        open_slide(f"{address}/none.svs")
    with pytest.raises(SlideNotFound, match="check the address and your connection"):
        open_slide("http://127.0.0.1:9/none.svs")


def test_server_without_parts(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid(tmp_path / "a.tif", [(300, 400)])
    monkeypatch.setattr(Handler, "ranges", False)
    with pytest.raises(UnsupportedSlide, match="does not serve parts of files; download"):
        open_slide(f"{address}/a.tif")


def test_formats_that_need_files(address: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(UnsupportedSlide, match="only TIFF and OME-Zarr are read by URL, got MRXS; download it"):
        open_slide(f"{address}/a.mrxs")
    with pytest.raises(UnsupportedSlide, match="only TIFF and OME-Zarr are read by URL, got png"):
        open_slide(f"{address}/a.png")


def test_a_protocol_nothing_reads() -> None:
    with pytest.raises(UnsupportedSlide, match=r'pip install "napari-wsi-mil\[remote\]"'):
        open_slide("nosuchthing://bucket/a.svs")


class Counting:
    """A file system that counts requests and can lose the connection."""

    protocol = "counting"

    def __init__(self, data: bytes) -> None:
        self.data, self.asked, self.broken, self.lock = data, Counter[tuple[int, int]](), False, threading.Lock()

    def info(self, path: str) -> dict[str, Any]:
        return {"size": len(self.data)}

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        with self.lock:
            self.asked[start, end] += 1
        if self.broken:
            raise ConnectionResetError("lost")
        return self.data[start:end]


def test_blocks_are_fetched_once_by_many_threads() -> None:
    data = np.random.default_rng(0).bytes(3_000_000)
    fs = Counting(data)
    remote = RemoteBytes(fs, "x", "made://x")
    spots = [(i * 79_999 % 2_900_000, 40_000) for i in range(400)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda s: remote(*s), spots))
    assert got == [data[at : at + n] for at, n in spots]
    assert set(fs.asked.values()) == {1}
    assert len(fs.asked) == 12
    assert remote(2_999_990, 100) == data[-10:]
    assert remote(4_000_000, 10) == b""
    remote.close()
    with pytest.raises(SlideClosed):
        remote(0, 1)


def test_lost_connection_is_not_remembered() -> None:
    fs = Counting(bytes(1000))
    remote = RemoteBytes(fs, "x", "made://x")
    fs.broken = True
    with pytest.raises(SlideReadError, match=r"made://x: bytes 0 to 1000 could not be fetched \(lost\)"):
        remote(0, 10)
    fs.broken = False
    assert remote(0, 10) == bytes(10)


def test_an_unforeseen_failure_reaches_all_who_wait() -> None:
    class Odd(Counting):
        def cat_file(self, path: str, start: int, end: int) -> bytes:
            asked.set()
            assert waiting.wait(5)
            raise LookupError("a library's own error")

    asked, waiting = threading.Event(), threading.Event()
    remote = RemoteBytes(Odd(bytes(1000)), "x", "made://x")
    remote._failures = (OSError,)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(remote, 0, 10)
        assert asked.wait(5)
        second = pool.submit(remote, 0, 10)
        waiting.set()
        for one in (first, second):
            assert isinstance(one.exception(timeout=5), LookupError)


def test_lost_connection_while_looking(address: str, tmp_path: Path) -> None:
    pyramid(tmp_path / "a.tif", [(900, 900)], compression=None)
    with open_slide(f"{address}/a.tif") as slide:
        slide.read_level(0, Box(0, 0, 5, 5))
        (tmp_path / "a.tif").unlink()
        with pytest.raises(SlideReadError, match="could not be fetched"):
            slide.read_level(0, Box(600, 600, 5, 5))
