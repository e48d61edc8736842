"""Changes tags, directories and tile lists of little-endian TIFF and BigTIFF bytes in place, without a TIFF library."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 11: 4, 12: 8, 13: 4, 16: 8, 18: 8}
CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, TEXT = 256, 257, 258, 259, 262, 270
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, X_RESOLUTION, PLANAR = 273, 277, 278, 279, 282, 284
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, SUB_IFDS, JPEG_TABLES = 322, 323, 324, 325, 330, 347


@dataclass(frozen=True)
class Entry:
    """One tag of a directory."""

    at: int
    type: int
    count: int
    value_at: int


class TiffEdit:
    """Bytes of a TIFF file that can be spoiled; `page` counts along the chain of directories."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.big = data[2] == 43
        self._word, self._step, self._head = ("Q", 20, 8) if self.big else ("I", 12, 2)

    def _get(self, code: str, at: int) -> int:
        return int(struct.unpack_from("<" + code, self.data, at)[0])

    def ifd(self, page: int = 0) -> int:
        """Return the offset of a directory."""
        at = self._get(self._word, 8 if self.big else 4)
        for _ in range(page):
            at = self._get(self._word, self.next_at(at))
        return at

    def next_at(self, ifd: int) -> int:
        """Return where the offset of the following directory is stored."""
        return ifd + self._head + self._step * self._get("Q" if self.big else "H", ifd)

    def entry(self, tag: int, page: int = 0, *, ifd: int | None = None) -> Entry:
        """Return a tag's entry; KeyError where there is none."""
        ifd = self.ifd(page) if ifd is None else ifd
        room = 8 if self.big else 4
        for at in range(ifd + self._head, self.next_at(ifd), self._step):
            if self._get("H", at) == tag:
                kind, count = self._get("H", at + 2), self._get(self._word, at + 4)
                value_at = at + 4 + room
                return Entry(
                    at, kind, count, value_at if SIZES[kind] * count <= room else self._get(self._word, value_at)
                )
        raise KeyError(tag)

    def value(self, tag: int, index: int = 0, page: int = 0) -> int:
        """Return one number of a tag."""
        e = self.entry(tag, page)
        return self._get(CODES[e.type], e.value_at + index * SIZES[e.type])

    def set(self, tag: int, value: int, index: int = 0, *, page: int = 0) -> TiffEdit:
        """Change one number of a tag; a SHORT that is too small for it becomes a LONG."""
        e = self.entry(tag, page)
        if e.type == 3 and value > 0xFFFF:
            struct.pack_into("<H", self.data, e.at + 2, 4)
            e = self.entry(tag, page)
        struct.pack_into("<" + CODES[e.type], self.data, e.value_at + index * SIZES[e.type], value)
        return self

    def set_all(self, tag: int, value: int, *, page: int = 0) -> TiffEdit:
        """Change every number of a tag."""
        for index in range(self.entry(tag, page).count):
            self.set(tag, value, index, page=page)
        return self

    def count(self, tag: int, value: int, *, page: int = 0) -> TiffEdit:
        """Change how many values a tag says it has."""
        struct.pack_into("<" + self._word, self.data, self.entry(tag, page).at + 4, value)
        return self

    def rename(self, tag: int, to: int, *, page: int = 0) -> TiffEdit:
        """Turn a tag into another one, or into one nobody knows."""
        struct.pack_into("<H", self.data, self.entry(tag, page).at, to)
        return self

    def follow(self, page: int, to: int) -> TiffEdit:
        """Change the offset of the directory after `page`."""
        struct.pack_into("<" + self._word, self.data, self.next_at(self.ifd(page)), to)
        return self

    def put(self, at: int, piece: bytes) -> TiffEdit:
        """Overwrite bytes."""
        self.data[at : at + len(piece)] = piece
        return self

    def tile(self, index: int, page: int = 0) -> tuple[int, int]:
        """Return (offset, byte count) of a tile."""
        return self.value(TILE_OFFSETS, index, page), self.value(TILE_COUNTS, index, page)

    def text(self, old: bytes, new: bytes) -> TiffEdit:
        """Overwrite `old`, wherever it first stands, by `new`, padded with spaces."""
        at = self.data.index(old)
        return self.put(at, new.ljust(len(old)))
