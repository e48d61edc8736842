"""TIFF and OME-Zarr by URL: byte ranges through fsspec, kept in blocks, read from many threads."""

from __future__ import annotations

import importlib
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import SlideNotFound, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide.gate import Gate
from napari_wsi_mil.slide.sniff import HEAD_BYTES, OPENSLIDE_SUFFIXES, kind_of

if TYPE_CHECKING:
    from napari_wsi_mil.slide.source import PixelSource

BLOCK_BYTES = 2**18
KEPT_BLOCKS = 128
EXTRA = 'pip install "napari-wsi-mil[remote]"'
ZARR_MARKS = ("zarr.json", ".zattrs", ".zgroup")


def network_failures() -> tuple[type[BaseException], ...]:
    """Return what file systems raise when the other side fails; their libraries have trees of their own."""
    found: list[type[BaseException]] = [OSError, ValueError, RuntimeError, KeyError]
    for module, name in (("aiohttp", "ClientError"), ("botocore.exceptions", "BotoCoreError")):
        try:
            found.append(getattr(importlib.import_module(module), name))
        except ImportError:
            continue
    return tuple(found)


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system and the path in it; raises UnsupportedSlide where a package is missing."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        message = f"{url}: nothing installed reads such URLs ({error}); install it with {EXTRA}."
        raise UnsupportedSlide(message) from error
    return fs, str(path)


def open_remote(url: str) -> PixelSource:
    """Open a TIFF or OME-Zarr by URL.

    Raises SlideNotFound when nothing answers, UnsupportedSlide for formats that need local files.
    """
    plain = url.partition("?")[0].rstrip("/").lower()
    if plain.endswith((*OPENSLIDE_SUFFIXES, ".zip", ".svslide")):
        message = f"{url}: only TIFF and OME-Zarr are read by URL, got {plain.rpartition('.')[2].upper()}; download it."
        raise UnsupportedSlide(message)
    fs, path = file_system(url)
    if plain.endswith(".zarr") or (fs.protocol not in ("http", ("http", "https")) and _is_zarr(fs, path)):
        return _zarr(url)
    try:
        source = RemoteBytes(fs, path, url)
    except SlideNotFound:
        if _is_zarr(fs, path):
            return _zarr(url)
        raise
    kind = kind_of(source(0, HEAD_BYTES))
    if kind == "tiff":
        from napari_wsi_mil.slide.tiff.source import TiffSource

        return TiffSource(url.partition("?")[0], source)
    source.close()
    if _is_zarr(fs, path):
        return _zarr(url)
    message = f"{url}: only TIFF and OME-Zarr are read by URL, got {kind}; download the file and open it from disk."
    raise UnsupportedSlide(message)


def _zarr(url: str) -> PixelSource:
    from napari_wsi_mil.slide.ome_zarr import ZarrSource

    return ZarrSource(url)


def _is_zarr(fs: Any, path: str) -> bool:
    try:
        return any(fs.exists(f"{path.rstrip('/')}/{name}") for name in ZARR_MARKS)
    except network_failures():
        return False


class RemoteBytes:
    """Byte ranges of a remote file; blocks of 256 KiB are kept, so neighbouring tiles cost one request."""

    def __init__(self, fs: Any, path: str, url: str) -> None:
        """Ask for the size; raises SlideNotFound where there is no answer, UnsupportedSlide without byte ranges."""
        self._fs, self._path, self._url = fs, path, url
        self._failures = network_failures()
        self._gate, self._lock = Gate(), threading.Lock()
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        try:
            info = fs.info(path)
        except self._failures as error:
            message = (
                f"{url}: cannot be reached ({error or type(error).__name__}); check the address and your connection."
            )
            raise SlideNotFound(message) from error
        size = info.get("size")
        if size is None or not self._serves_parts(info):
            message = f"{url}: its server does not serve parts of files; download the slide and open it from disk."
            raise UnsupportedSlide(message)
        self.size = int(size)

    def _serves_parts(self, info: dict[str, Any]) -> bool:
        """Whether a web server answers with the bytes asked for; one that does not would send gigabytes per tile."""
        if info.get("partial") is False:
            return False
        if "http" not in (self._fs.protocol if not isinstance(self._fs.protocol, str) else (self._fs.protocol,)):
            return True
        try:
            with self._fs.open(self._path, "rb", cache_type="none") as file:
                file.seek(1)
                return len(file.read(1)) == 1
        except self._failures:
            return False

    def __call__(self, offset: int, count: int) -> bytes:
        with self._gate:
            end = min(offset + count, self.size)
            if offset < 0 or offset >= end:
                return b""
            first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
            if last - first + 1 > KEPT_BLOCKS // 2:
                return self._fetched(offset, end)
            data = b"".join(self._block(i) for i in range(first, last + 1))
        start = offset - first * BLOCK_BYTES
        return data[start : start + end - offset]

    def _block(self, index: int) -> bytes:
        with self._lock:
            known = self._blocks.get(index)
            if known is None:
                mine: Future[bytes] = Future()
                self._blocks[index] = mine
                while len(self._blocks) > KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
            else:
                self._blocks.move_to_end(index)
        if known is not None:
            return known.result()
        try:
            data = self._fetched(index * BLOCK_BYTES, min((index + 1) * BLOCK_BYTES, self.size))
        except BaseException as error:  # whatever it is: others may wait for this block
            with self._lock:
                self._blocks.pop(index, None)
            mine.set_exception(error)
            raise
        mine.set_result(data)
        return data

    def _fetched(self, start: int, end: int) -> bytes:
        try:
            data = self._fs.cat_file(self._path, start=start, end=end)
        except self._failures as error:
            message = (
                f"{self._url}: bytes {start} to {end} could not be fetched ({error or type(error).__name__}); "
                "check your connection and try again."
            )
            raise SlideReadError(message) from error
        if len(data) != end - start:
            message = (
                f"{self._url}: expected {end - start} bytes, got {len(data)}; its server does not serve parts rightly."
            )
            raise SlideReadError(message)
        return bytes(data)

    def close(self) -> None:
        if self._gate.close():
            with self._lock:
                self._blocks.clear()
