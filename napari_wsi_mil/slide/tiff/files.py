"""Bytes of a local file, readable from many threads at once."""

from __future__ import annotations

import os
from typing import Protocol


class ByteReader(Protocol):
    """Returns `count` bytes at `offset`."""

    def __call__(self, offset: int, count: int) -> bytes:
        """Read; shorter only at the end of the file."""


class LocalBytes:
    """`os.pread` on one descriptor: no shared position, so no lock."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def __call__(self, offset: int, count: int) -> bytes:
        return os.pread(self._fd, count, offset)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
