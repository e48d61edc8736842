"""A bounded walk over a TIFF's directories before any parser trusts them.

A hostile or damaged header can ask a parser for terabytes or for ever. Here only offsets and counts are read, each held
against the length of the file, so that what follows may allocate what the tags say.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from napari_wsi_mil.errors import SlideDamaged

if TYPE_CHECKING:
    from napari_wsi_mil.slide.tiff.files import ByteReader

MAX_DIRECTORIES = 100_000
MAX_ENTRIES = 4096
MAX_TEXT_BYTES = 2**28
MAX_NUMBERS = 2**24
NDPI_FORMAT = 65420
SUB_IFDS = 330
LAYOUT = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 322, 323, 324, 325})
NEEDED = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 322, 323, 324, 325, SUB_IFDS, 339, 347})
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class _Kind:
    """How numbers are laid out in this flavour of TIFF."""

    order: str
    big: bool
    ndpi: bool = False

    @property
    def count_bytes(self) -> int:
        return 8 if self.big else 2

    @property
    def entry_bytes(self) -> int:
        return 20 if self.big else 12

    @property
    def next_bytes(self) -> int:
        return 8 if self.big or self.ndpi else 4


def check_directories(read: ByteReader, size: int, name: str) -> bool:
    """Walk every directory; return whether this is NDPI, a TIFF with offsets of 64 bits in places of its own.

    Raises SlideDamaged for directories that loop, lie outside the file or list more than the file can hold.
    """
    kind, offset = _header(read, name)
    wide = _number(read(4, 8), kind.order)
    if not kind.big and wide + 2 <= size and NDPI_FORMAT in _codes(read, kind, wide):
        kind, offset = _Kind(kind.order, big=False, ndpi=True), wide
    chain, below = set[int](), list[int]()
    while offset:
        if offset in chain:
            _fail(name, f"its directory at byte {offset} is reached twice, so the list of images never ends")
        chain.add(offset)
        offset, subs = _step(read, kind, offset, size=size, name=name, seen=len(chain))
        below += subs
    seen = set(chain)
    while below:  # SubIFDs may also be chained to each other, so only the way back up is a loop
        offset = below.pop()
        if offset in chain:
            _fail(name, f"its directory at byte {offset} is its own SubIFD")
        if offset and offset not in seen:
            seen.add(offset)
            following, subs = _step(read, kind, offset, size=size, name=name, seen=len(seen))
            below += [following, *subs]
    if not seen:
        _fail(name, "it lists no image")
    return kind.ndpi


def _step(read: ByteReader, kind: _Kind, offset: int, *, size: int, name: str, seen: int) -> tuple[int, list[int]]:
    """Check one directory; return (the next one or 0, its SubIFDs)."""
    if seen > MAX_DIRECTORIES:
        _fail(name, f"it lists more than {MAX_DIRECTORIES} images")
    following, *subs = _directory(read, kind, offset, size, name)
    return following, subs


def _header(read: ByteReader, name: str) -> tuple[_Kind, int]:
    head = read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 8 else 0
    if order is None or version not in (42, 43) or (version == 43 and len(head) < 16):
        _fail(name, f"expected a TIFF header, got {head[:8]!r}")
    kind = _Kind(str(order), big=version == 43)
    return kind, _number(head[8:16] if kind.big else head[4:8], kind.order)


def _codes(read: ByteReader, kind: _Kind, offset: int) -> set[int]:
    count = min(_number(read(offset, kind.count_bytes), kind.order), MAX_ENTRIES)
    table = read(offset + kind.count_bytes, count * kind.entry_bytes)
    step = kind.entry_bytes
    return {_number(table[i : i + 2], kind.order) for i in range(0, len(table) - step + 1, step)}


def _directory(read: ByteReader, kind: _Kind, offset: int, size: int, name: str) -> list[int]:
    """Check one directory; return the offset of the next one (0: none), then those of its SubIFDs."""
    where = f"the directory at byte {offset}"
    if offset + kind.count_bytes > size:
        _fail(name, f"{where} lies outside the file of {size} bytes")
    count = _number(read(offset, kind.count_bytes), kind.order)
    if not 0 < count <= MAX_ENTRIES:
        _fail(name, f"{where} has {count} entries")
    start = offset + kind.count_bytes
    length = count * kind.entry_bytes
    tail = kind.next_bytes + (4 * count if kind.ndpi else 0)
    table = read(start, length + tail)
    if len(table) < length:
        _fail(name, f"{where} is cut off by the end of the file at byte {size}")
    following = table[length : length + kind.next_bytes]
    pointers = [_number(following, kind.order) if len(following) == kind.next_bytes else 0]
    if kind.ndpi and size < 2**32:
        pointers = [p & 0xFFFFFFFF for p in pointers]
    _check_twins(table[:length], kind, name, where)
    high = table[length + kind.next_bytes :]
    for i in range(count):
        entry = table[i * kind.entry_bytes : (i + 1) * kind.entry_bytes]
        upper = _number(high[4 * i : 4 * i + 4], kind.order) if kind.ndpi and size >= 2**32 else 0
        pointers += _entry(read, kind, entry, upper, size, name)
    return pointers


def _check_twins(table: bytes, kind: _Kind, name: str, where: str) -> None:
    """Refuse two different values of a tag that decides how pixels are laid out; parsers pick either."""
    seen: dict[int, bytes] = {}
    for i in range(0, len(table), kind.entry_bytes):
        entry = table[i : i + kind.entry_bytes]
        code = _number(entry[:2], kind.order)
        if code in LAYOUT and seen.setdefault(code, entry) != entry:
            _fail(name, f"{where} holds tag {code} twice with different values")


def _entry(read: ByteReader, kind: _Kind, entry: bytes, upper: int, size: int, name: str) -> list[int]:
    """Check one tag; return the offsets it holds if it is the list of SubIFDs."""
    code, type_ = struct.unpack(f"{kind.order}HH", entry[:4])
    wide = 8 if kind.big else 4
    count = _number(entry[4 : 4 + wide], kind.order)
    each = TYPE_BYTES.get(type_)
    if each is None:
        return []  # an unknown type is skipped by every reader
    total = count * each
    if total <= wide:
        value = entry[4 + wide : 4 + wide + total]
    else:
        offset = _number(entry[4 + wide :], kind.order) + (upper << 32)
        if offset + total > size:
            if code not in NEEDED:
                return []  # readers skip a private tag that leads nowhere
            _fail(name, f"tag {code} claims {total} bytes at byte {offset}, beyond the end of the file at byte {size}")
        if total > MAX_TEXT_BYTES or (each > 1 and count > MAX_NUMBERS):
            _fail(name, f"tag {code} claims {count} values")
        value = read(offset, total) if code == SUB_IFDS else b""
    if code != SUB_IFDS or type_ not in (4, 13, 16, 18):
        return []
    return [_number(value[i : i + each], kind.order) for i in range(0, len(value), each)]


def _number(data: bytes, order: str) -> int:
    return int.from_bytes(data, "little" if order == "<" else "big")


def _fail(name: str, what: str) -> NoReturn:
    message = f"{name}: the TIFF structure is broken: {what}; copy the file again from its source."
    raise SlideDamaged(message)
