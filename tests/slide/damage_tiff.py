"""Spoilt TIFF files: truncated, with lying tags, looping directories, broken tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .damage import add, add_tiff, cut, on_bytes, on_tiff
from .tiff_edit import (
    BITS,
    COMPRESSION,
    JPEG_TABLES,
    LENGTH,
    PHOTOMETRIC,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    SUB_IFDS,
    TEXT,
    TILE_COUNTS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    X_RESOLUTION,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .tiff_edit import TiffEdit

# -- truncations --------------------------------------------------------------------------------
for _base in ("svs", "ome", "big", "strip", "jp2k"):
    add(_base, "refused", cut_to_nothing=cut(0), cut_to_3_bytes=cut(0, 3), cut_to_header=cut(0, 16))
    add(_base, "refused", cut_in_directory=cut(0, 40), cut_half=cut(0.5))
add("svs", "refused", cut_quarter=cut(0.25), cut_90=cut(0.9), cut_100_bytes=cut(1, -100))
add("strip", "refused", cut_last_byte=cut(1, -1))
add("svs", "safe", cut_last_byte=cut(1, -1))
add("svs", "safe", zeroed_second_half=on_bytes(lambda b: b[: len(b) // 2] + bytes(len(b) // 2)))

# -- directories --------------------------------------------------------------------------------
add_tiff(
    "svs", "safe",
    loop_to_itself=lambda t: t.follow(0, t.ifd(0)),
    loop_to_first=lambda t: t.follow(3, t.ifd(0)),
    next_beyond_end=lambda t: t.follow(1, 2**31),
    next_odd=lambda t: t.follow(1, t.ifd(1) + 3),
    next_in_pixels=lambda t: t.follow(1, t.tile(3)[0] + 9),
)  # fmt: skip
add_tiff(
    "svs", "refused",
    first_beyond_end=lambda t: t.put(4, b"\xf0\xff\xff\x7f"),
    first_is_zero=lambda t: t.put(4, bytes(4)),
    first_in_header=lambda t: t.put(4, b"\x01\x00\x00\x00"),
    no_tags=lambda t: t.put(t.ifd(), bytes(2)),
    endless_tags=lambda t: t.put(t.ifd(), b"\xff\xff"),
    other_magic=lambda t: t.put(2, b"\x99"),
    says_big_endian=lambda t: t.put(0, b"MM\x00\x2a"),
)  # fmt: skip
add_tiff(
    "ome", "safe", subifd_loop=lambda t: t.set(SUB_IFDS, t.ifd()), subifd_beyond_end=lambda t: t.set(SUB_IFDS, 2**30, 1)
)
add_tiff(
    "ome",
    "safe",
    subifd_endless=lambda t: t.count(SUB_IFDS, 2**28),
    subifd_twice=lambda t: t.set(SUB_IFDS, t.value(SUB_IFDS, 1)),
)
add_tiff(
    "big", "refused", offset_size_4=lambda t: t.put(4, b"\x04"), first_2_to_63=lambda t: t.put(8, b"\xff" * 7 + b"\x7f")
)
add_tiff("big", "safe", loop=lambda t: t.follow(2, t.ifd(1)), next_2_to_63=lambda t: t.follow(0, 2**63 + 5))

# -- sizes and counts ---------------------------------------------------------------------------
add_tiff(
    "svs", "refused",
    width_zero=lambda t: t.set(WIDTH, 0),
    length_zero=lambda t: t.set(LENGTH, 0),
    width_2_to_31=lambda t: t.set(WIDTH, 2**31 - 1),
    length_2_to_32=lambda t: t.set(LENGTH, 2**32 - 1),
    both_2_to_32=lambda t: t.set(LENGTH, 2**32 - 1).set(WIDTH, 2**32 - 1),
    both_1e6=lambda t: t.set(LENGTH, 10**6).set(WIDTH, 10**6),
    width_380=lambda t: t.set(WIDTH, 380),
    length_250=lambda t: t.set(LENGTH, 250),
    tile_width_zero=lambda t: t.set(TILE_WIDTH, 0),
    tile_length_zero=lambda t: t.set(TILE_LENGTH, 0),
    tile_width_2_to_30=lambda t: t.set(TILE_WIDTH, 2**30),
    tile_sides_65536=lambda t: t.set(TILE_WIDTH, 65536).set(TILE_LENGTH, 65536),
    tile_width_61=lambda t: t.set(TILE_WIDTH, 61),
    tile_width_128=lambda t: t.set(TILE_WIDTH, 128),
    samples_zero=lambda t: t.set(SAMPLES, 0),
    samples_1=lambda t: t.set(SAMPLES, 1),
    samples_7=lambda t: t.set(SAMPLES, 7),
    samples_65535=lambda t: t.set(SAMPLES, 65535),
    bits_16=lambda t: t.set_all(BITS, 16),
    bits_mixed=lambda t: t.set(BITS, 5, 1),
)  # fmt: skip
add_tiff("svs", "safe", bits_3=lambda t: t.set_all(BITS, 3))  # the JPEG knows better
add_tiff(
    "ome",
    "refused",
    tile_sides_65536=lambda t: t.set(TILE_WIDTH, 65536).set(TILE_LENGTH, 65536),
    samples_7=lambda t: t.set(SAMPLES, 7),
)
add_tiff("strip", "safe", rows_7=lambda t: t.set(ROWS_PER_STRIP, 7))  # the strips follow each other, so nothing is lost
add_tiff(
    "strip", "refused",
    rows_zero=lambda t: t.set(ROWS_PER_STRIP, 0),
    length_2_to_31=lambda t: t.set(LENGTH, 2**31 - 1).set(ROWS_PER_STRIP, 2**31 - 1),
    bits_13=lambda t: t.set(BITS, 13),
    bits_4096=lambda t: t.set(BITS, 4096),
    counts_halved=lambda t: t.set_all(STRIP_COUNTS, t.value(STRIP_COUNTS) // 2),
    offsets_short=lambda t: t.count(STRIP_OFFSETS, 4),
)  # fmt: skip

# -- tile lists ---------------------------------------------------------------------------------
add_tiff(
    "svs", "refused",
    offset_beyond_end=lambda t: t.set(TILE_OFFSETS, 2**31, 5),
    offset_in_header=lambda t: t.set(TILE_OFFSETS, 2, 5),
    offsets_overlap=lambda t: t.set(TILE_OFFSETS, t.tile(4)[0] + 40, 5),
    bytes_huge=lambda t: t.set(TILE_COUNTS, 2**31 - 1, 5),
    bytes_negative=lambda t: t.set(TILE_COUNTS, 2**32 - 16, 5),
    bytes_all_huge=lambda t: t.set_all(TILE_COUNTS, 2**32 - 1),
    bytes_halved=lambda t: t.set(TILE_COUNTS, t.tile(5)[1] // 2, 5),
    bytes_one=lambda t: t.set(TILE_COUNTS, 1, 5),
    offsets_none=lambda t: t.rename(TILE_OFFSETS, 60000),
    offsets_half=lambda t: t.count(TILE_OFFSETS, 17),
    offsets_endless=lambda t: t.count(TILE_OFFSETS, 2**32 - 1),
    bytes_endless=lambda t: t.count(TILE_COUNTS, 2**31),
)  # fmt: skip
add_tiff(
    "svs", "safe", bytes_none=lambda t: t.rename(TILE_COUNTS, 60000), bytes_half=lambda t: t.count(TILE_COUNTS, 17)
)
for _base in ("svs", "ome", "jp2k", "big"):
    _change = on_tiff(lambda t: t.set(TILE_COUNTS, 0, 5).set(TILE_OFFSETS, 0, 5))
    add(_base, "safe", blank=True, tile_missing=_change, bytes_zero=on_tiff(lambda t: t.set(TILE_COUNTS, 0, 5)))
    add(
        _base,
        "safe",
        blank=True,
        all_tiles_missing=on_tiff(lambda t: t.set_all(TILE_COUNTS, 0).set_all(TILE_OFFSETS, 0)),
    )

# -- how pixels are coded -----------------------------------------------------------------------
add_tiff(
    "svs", "refused",
    compression_lzw=lambda t: t.set(COMPRESSION, 5),
    compression_none=lambda t: t.set(COMPRESSION, 1),
    compression_unknown=lambda t: t.set(COMPRESSION, 47913),
    photometric_cfa=lambda t: t.set(PHOTOMETRIC, 32803),
    photometric_unknown=lambda t: t.set(PHOTOMETRIC, 9999),
    planar_separate=lambda t: t.set(PLANAR, 2),
    width_missing=lambda t: t.rename(WIDTH, 60000),
)  # fmt: skip
add_tiff("svs", "safe", planar_9=lambda t: t.set(PLANAR, 9), photometric_missing=lambda t: t.rename(PHOTOMETRIC, 60000))
add_tiff(
    "ome",
    "refused",
    compression_jpeg=lambda t: t.set(COMPRESSION, 7),
    compression_jp2k=lambda t: t.set(COMPRESSION, 34712),
)
add_tiff("jp2k", "refused", compression_jpeg=lambda t: t.set(COMPRESSION, 7), samples_1=lambda t: t.set(SAMPLES, 1))


def at_tile(change: Callable[[bytes], bytes], index: int = 8) -> Callable[[TiffEdit], Any]:
    """Return an edit of one coded tile, whose length must stay."""

    def edit(t: TiffEdit) -> None:
        offset, size = t.tile(index)
        piece = change(bytes(t.data[offset : offset + size]))
        assert len(piece) == size
        t.put(offset, piece)

    return edit


def frame(change: Callable[[bytearray, int], None]) -> Callable[[TiffEdit], Any]:
    """Return an edit of a JPEG tile's frame header; `change` gets the tile and where SOF0 starts."""

    def spoil(coded: bytes) -> bytes:
        piece = bytearray(coded)
        change(piece, piece.index(b"\xff\xc0"))
        return bytes(piece)

    return at_tile(spoil)


def frame_size(h: int, w: int) -> Callable[[TiffEdit], Any]:
    """Return an edit that makes a JPEG tile's header say (h, w)."""
    return frame(lambda b, at: b.__setitem__(slice(at + 5, at + 9), h.to_bytes(2) + w.to_bytes(2)))


def _tables(change: Callable[[bytes], bytes]) -> Callable[[TiffEdit], Any]:
    def edit(t: TiffEdit) -> None:
        e = t.entry(JPEG_TABLES)
        t.put(e.value_at, change(bytes(t.data[e.value_at : e.value_at + e.count])))

    return edit


def middle(piece: bytes) -> Callable[[bytes], bytes]:
    """Return a change that overwrites the middle of a coded tile."""
    return lambda b: b[: len(b) // 2] + piece + b[len(b) // 2 + len(piece) :]


add_tiff(
    "svs", "refused",
    jpeg_says_60000=frame_size(60000, 60000),
    jpeg_says_65500_by_64=frame_size(65500, 64),
    jpeg_says_32=frame_size(32, 32),
    jpeg_says_128=frame_size(128, 128),
    jpeg_says_zero=frame_size(0, 0),
    jpeg_grey=frame(lambda b, at: b.__setitem__(at + 9, 1)),
    jpeg_12_bit=frame(lambda b, at: b.__setitem__(at + 4, 12)),
    jpeg_sampling_9=frame(lambda b, at: b.__setitem__(at + 11, 0x99)),
    jpeg_lossless_frame=frame(lambda b, at: b.__setitem__(at + 1, 0xC3)),
    jpeg_no_start=at_tile(lambda b: b"\x00\x00" + b[2:]),
    jpeg_ends_early=at_tile(lambda b: b[: len(b) // 2] + b"\xff\xd9" + bytes(len(b) - len(b) // 2 - 2)),
    jpeg_end_missing=at_tile(lambda b: b[: len(b) // 2] + b"\xff" * (len(b) - len(b) // 2)),
    jpeg_hole_of_zeros=at_tile(middle(bytes(64))),
    jpeg_stray_marker=at_tile(middle(b"\xff\x01" * 8)),
    jpeg_stray_restart=at_tile(middle(b"\xff\xd3")),
    jpeg_is_text=at_tile(lambda b: (b"not a tile " * len(b))[: len(b)]),
    jpeg_zeros=at_tile(lambda b: bytes(len(b))),
    tables_missing=lambda t: t.rename(JPEG_TABLES, 60000),
    tables_zeros=_tables(lambda b: bytes(len(b))),
    tables_short=lambda t: t.count(JPEG_TABLES, 40),
)  # fmt: skip
add_tiff(  # a decoder may put the standard table in the place of the one that is gone
    "svs", "safe", tables_classes_swapped=_tables(lambda b: b.replace(b"\xff\xc4\x00\x1f\x00", b"\xff\xc4\x00\x1f\x10"))
)
add_tiff(
    "jp2k",
    "refused",
    half_of_tile_is_zeros=at_tile(lambda b: b[: len(b) // 2] + bytes(len(b) - len(b) // 2)),
    tile_is_zeros=at_tile(lambda b: bytes(len(b))),
    tile_ends_early=at_tile(lambda b: b[:60] + bytes(len(b) - 60)),
)
add_tiff("jp2k", "refused", jp2k_says_60000=at_tile(lambda b: b[:8] + (60000).to_bytes(4) * 2 + b[16:]))
add_tiff(
    "ome",
    "refused",
    deflate_broken=at_tile(middle(b"\xa5" * 40)),
    deflate_is_text=at_tile(lambda b: (b"no tile " * len(b))[: len(b)]),
)
add_tiff(
    "big",
    "refused",
    lzw_broken=at_tile(lambda b: b"\xff" * len(b)),
    lzw_short=lambda t: t.set(TILE_COUNTS, t.tile(3)[1] // 3, 3),
)

# -- what is said about the slide ---------------------------------------------------------------
_MPP = b"MPP = 0.4990"
for _name, _text, _mpp in (
    ("mpp_nan", b"MPP = nan", "flagged"), ("mpp_negative", b"MPP = -0.5", "flagged"), ("mpp_zero", b"MPP = 0.0", "flagged"),
    ("mpp_absurd", b"MPP = 1000.", "flagged"), ("mpp_words", b"MPP = a few", "flagged"), ("mpp_infinite", b"MPP = 1e999", "flagged"),
    ("mpp_comma", b"MPP = 0,4990", 0.499),
):  # fmt: skip
    add(
        "svs",
        "right",
        mpp=_mpp,
        **{_name: on_tiff(lambda t, text=_text: t.text(_MPP, text).rename(X_RESOLUTION, 60000))},
    )  # type: ignore[arg-type]
add("svs", "right", mpp=0.499, good=on_bytes(bytes))
add(
    "big",
    "right",
    mpp="flagged",
    resolution_by_zero=on_tiff(lambda t: t.put(t.entry(X_RESOLUTION).value_at + 4, bytes(4))),
)
add("big", "right", mpp="flagged", resolution_zero=on_tiff(lambda t: t.put(t.entry(X_RESOLUTION).value_at, bytes(4))))
add_tiff(
    "svs", "right",
    power_words=lambda t: t.text(b"AppMag = 20", b"AppMag = ??"),
    text_not_utf8=lambda t: t.text(b"Filename = made", b"Filename\xff\xfe\x80= \xc3"),
)  # fmt: skip
add_tiff(
    "svs",
    "safe",
    text_endless=lambda t: t.count(TEXT, 2**31),
    text_no_ascii_type=lambda t: t.put(t.entry(TEXT).at + 2, b"\x0c\x00"),
)
add_tiff(
    "ome",
    "safe",
    xml_broken=lambda t: t.text(b"<Image", b"<Imag<"),
    xml_lies=lambda t: t.text(b'SizeX="400"', b'SizeX="999"'),
)
add_tiff(
    "ome",
    "safe",
    xml_size_zero=lambda t: t.text(b'SizeX="400"', b'SizeX="0"'),
    xml_nul=lambda t: t.text(b"<Pixels", b"<\0\0xels"),
)
add_tiff("ome", "safe", xml_endless_planes=lambda t: t.text(b'SizeT="1"', b'SizeT="9"'))
