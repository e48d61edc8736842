"""What the head of a compressed tile says of its size, read before the decoder believes it."""

from __future__ import annotations

import struct

OLD_JPEG = 6
JPEG = frozenset({6, 7, 34892, 33007})
JPEG_2000 = frozenset({33003, 33004, 33005, 34712})
PNG = frozenset({34933})
WEBP = frozenset({34927, 50001})
_START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
TAIL_BYTES = 1024


def coded_size(compression: int, coded: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the tile's own header; None where it has none we can read."""
    if compression in JPEG:
        frame = jpeg_frame(coded)
        return None if frame is None else frame[1:]
    if compression in JPEG_2000:
        return _jpeg_2000(coded)
    if compression in PNG and len(coded) >= 24:
        w, h = struct.unpack(">II", coded[16:24])
        return h, w
    if compression in WEBP:
        return _webp(coded)
    return None


def jpeg_is_cut(coded: bytes, *, anywhere: bool = False) -> bool:
    """Whether the end-of-image marker is missing: decoders fill what is lost with grey and say nothing.

    `anywhere` also accepts one far from the end, as old writers count the bytes up to the next directory.
    """
    return coded.rfind(b"\xff\xd9", 0 if anywhere else max(len(coded) - TAIL_BYTES, 0)) < 0


def jpeg_frame(coded: bytes) -> tuple[int, int, int] | None:
    """Return (bits per sample, height, width) of a JPEG's frame; None where it comes after the pixels or not at all."""
    at = 2
    while at + 9 <= len(coded):
        if coded[at] != 0xFF:
            return None
        marker = coded[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME:
            bits, h, w = struct.unpack(">BHH", coded[at + 4 : at + 9])
            return bits, h, w
        if marker == 0xDA:
            return None
        at += 2 + int.from_bytes(coded[at + 2 : at + 4])
    return None


def _jpeg_2000(coded: bytes) -> tuple[int, int] | None:
    at = coded.find(b"\xff\x4f\xff\x51", 0, 65536)
    if at < 0 or at + 24 > len(coded):
        return None
    right, bottom, left, top = struct.unpack(">IIII", coded[at + 8 : at + 24])
    return bottom - top, right - left


def _webp(coded: bytes) -> tuple[int, int] | None:
    kind = coded[12:16]
    if kind == b"VP8 " and len(coded) >= 30:
        w, h = struct.unpack("<HH", coded[26:30])
        return h & 0x3FFF, w & 0x3FFF
    if kind == b"VP8L" and len(coded) >= 25:
        bits = int.from_bytes(coded[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X" and len(coded) >= 30:
        return int.from_bytes(coded[27:30], "little") + 1, int.from_bytes(coded[24:27], "little") + 1
    return None
