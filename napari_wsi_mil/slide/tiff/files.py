"""Bytes of a local or remote file, readable from many threads at once."""

from __future__ import annotations

import io
import os
import threading
from typing import Protocol

from napari_wsi_mil.slide.gate import Gate


class ByteReader(Protocol):
    """Returns `count` bytes at `offset`."""

    def __call__(self, offset: int, count: int) -> bytes:
        """Read; shorter only at the end of the file."""


class ByteSource(ByteReader, Protocol):
    """A file that can be read at any place; closed once."""

    size: int
    """Length in bytes."""

    def close(self) -> None:
        """Release the file; may be called twice."""


class LocalBytes:
    """`os.pread` on one descriptor: no shared position, so no lock while reading, except on Windows, which has none."""

    def __init__(self, path: str) -> None:
        self._gate = Gate()
        self._seeking = threading.Lock()
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.size = os.fstat(self._fd).st_size

    def __call__(self, offset: int, count: int) -> bytes:
        with self._gate:
            if offset < 0 or offset >= self.size:
                return b""
            count = min(count, self.size - offset)
            if hasattr(os, "pread"):
                return os.pread(self._fd, count, offset)
            with self._seeking:
                os.lseek(self._fd, offset, os.SEEK_SET)
                return os.read(self._fd, count)

    def close(self) -> None:
        if self._gate.close():
            os.close(self._fd)


class SeekableBytes(io.RawIOBase):
    """A ByteSource as a file object, for parsers that want one; each has a position of its own."""

    def __init__(self, source: ByteSource, name: str) -> None:
        super().__init__()
        self._source, self.name = source, name
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
