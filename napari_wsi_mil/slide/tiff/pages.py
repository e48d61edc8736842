"""Pixels of one TIFF page, decoded tile by tile; callers spread tiles over threads."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from tifffile import TiffFileError

from napari_wsi_mil.errors import SlideDamaged, SlideReadError
from napari_wsi_mil.slide.brief import in_short
from napari_wsi_mil.slide.jpeg_check import is_whole, looks_odd
from napari_wsi_mil.slide.spec import Box, Stored
from napari_wsi_mil.slide.tiff.coded import JPEG, JPEG_2000, OLD_JPEG, coded_size, jpeg_frame, jpeg_is_cut
from napari_wsi_mil.slide.tiff.looks import look_of
from napari_wsi_mil.slide.tiff.orientation import stored_box, turned_yx, upright
from napari_wsi_mil.slide.tiff.plain import UNCOMPRESSED, plain_rows, row_bytes, unpacked

if TYPE_CHECKING:
    import numpy.typing as npt
    from tifffile import TiffFrame, TiffPage

    from napari_wsi_mil.slide.tiff.files import ByteReader

    Array = npt.NDArray[Any]

MAX_TILE_BYTES = 2**30
MAX_PIXELS = 2**40
PLAIN_BITS = (1, 8, 16, 32, 64)
SLACK_BYTES = 2**20
ORIENTATION = 274
DECODER_FAILURES = (  # imagecodecs raises RuntimeError, tifffile and the stdlib the rest
    TiffFileError, RuntimeError, ValueError, TypeError, KeyError, IndexError, OSError, struct.error, OverflowError,
    MemoryError, AttributeError, AssertionError, ArithmeticError, EOFError,
)  # fmt: skip


class PageImage:
    """One page as upright pixels: (h, w) grey or one channel, (h, w, 3|4) colour."""

    def __init__(self, page: TiffPage | TiffFrame, read: ByteReader, *, name: str, white_gaps: bool = False) -> None:
        """Check and remember where the tiles are; `white_gaps`: unstored tiles are glass.

        Raises SlideDamaged for sizes that cannot be, UnsupportedSlide for samples we cannot show.
        """
        key = page.keyframe
        self._page, self._key, self._read, self.name = page, key, read, name
        self._rows = plain_rows(page)
        self._stored_yx, self._tile_yx = _checked_sizes(page, name, self._rows)
        self._white_gaps = white_gaps
        if int(key.compression) in JPEG_2000:
            key.subsampling = (1, 1)  # the codec returns full planes; tifffile would refuse
        self._coding = int(key.compression)
        self.look = look_of(key, name)
        self._turn = _orientation(key)
        self.shape_yx = turned_yx(self._stored_yx, self._turn)
        self.tile_yx = turned_yx(self._tile_yx, self._turn)
        self._across = -(-self._stored_yx[1] // self._tile_yx[1])
        self._per_plane = self._across * -(-self._stored_yx[0] // self._tile_yx[0])
        self._planar = int(key.planarconfig) == 2 and key.samplesperpixel > 1
        self._kept = 1 if self._planar else key.samplesperpixel
        self._tables, self._header = _jpeg_parts(page, name)
        try:
            key.init_decode()
        except DECODER_FAILURES as error:
            message = (
                f"{name}: its tiles cannot be decoded ({in_short(error)}); export the slide as plain JPEG or LZW TIFF."
            )
            raise SlideDamaged(message) from error

    def read(self, box: Box, channel: int = 0) -> Array:
        """Return the upright pixels of `box`, inside the page; raises SlideReadError naming the tile that fails."""
        inner = stored_box(box, self._turn, self._stored_yx)
        several = self.look.channels > 1
        if self._planar:
            wanted = [channel] if several else range(self._key.samplesperpixel)
            stored = np.concatenate([self._plane(inner, first=i * self._per_plane) for i in wanted], -1)
        else:
            stored = self._plane(inner, first=0)
            if several:
                stored = stored[..., channel : channel + 1]
        shown = self.look.convert(stored) if self.look.convert else stored
        if self.look.samples == 1 and shown.ndim == 3:
            shown = shown[..., 0]
        shown = upright(shown, self._turn)
        return shown if shown.flags.c_contiguous else np.ascontiguousarray(shown)

    def stored(self, box: Box, channel: int = 0) -> Stored:
        """Return the tiles and bytes that `read` reads for an upright `box`; gaps that are filled in are none."""
        inner, (th, tw) = stored_box(box, self._turn, self._stored_yx), self._tile_yx
        rows = range(inner.y // th, -(-(inner.y + inner.h) // th))
        cols = range(inner.x // tw, -(-(inner.x + inner.w) // tw))
        planes = self._key.samplesperpixel if self._planar and self.look.channels <= 1 else 1
        if self._rows is not None:
            height = sum(self._inside(row, 0)[0] for row in rows)
            return Stored(len(rows), height * row_bytes(self._key) * planes)
        first = channel if self._planar and planes == 1 else 0
        counts = [
            [self._count((first + plane) * self._per_plane + row * self._across + col) for plane in range(planes)]
            for row in rows
            for col in cols
        ]
        return Stored(sum(any(place) for place in counts), sum(map(sum, counts)))

    @property
    def turned(self) -> bool:
        """Whether rows are stored as columns."""
        return self._turn >= 5

    def all(self) -> Array:
        """Return the whole page; for associated images."""
        return self.read(Box(0, 0, *self.shape_yx))

    def some_offsets(self) -> tuple[int, ...]:
        """Return where the first, middle and last tile lie in the file."""
        offsets = self._page.dataoffsets
        return (offsets[0], offsets[len(offsets) // 2], offsets[-1]) if len(offsets) else ()

    def _plane(self, box: Box, *, first: int) -> Array:
        th, tw = self._tile_yx
        row, col = box.y // th, box.x // tw
        if (box.y + box.h - 1) // th == row and (box.x + box.w - 1) // tw == col:  # the usual case: nothing to join
            y, x = box.y - row * th, box.x - col * tw
            return self._tile(row, col, first)[y : y + box.h, x : x + box.w]
        out = np.empty((box.h, box.w, self._kept), self._key.dtype)
        for row in range(box.y // th, -(-(box.y + box.h) // th)):
            for col in range(box.x // tw, -(-(box.x + box.w) // tw)):
                tile = self._tile(row, col, first)
                y, x = row * th - box.y, col * tw - box.x
                y0, x0 = max(y, 0), max(x, 0)
                y1, x1 = min(y + th, box.h), min(x + tw, box.w)
                out[y0:y1, x0:x1] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return out

    def _tile(self, row: int, col: int, first: int) -> Array:
        """Return one tile, at least as large as what of it lies inside the page."""
        if self._rows is not None:
            return self._some_rows(row, first // self._per_plane)
        index = first + row * self._across + col
        offset, count = self._place(index, row, col)
        if count == 0:
            return self._gap(row, col)
        inside = self._inside(row, col)
        count = self._plausible(count, row, col, inside[0])
        coded = self._read(offset, count)
        if len(coded) < count:
            self._fail(row, col, f"expected {count} bytes at byte {offset}, got {len(coded)}")
        self._check_header(coded, row, col, inside)
        try:
            decoded = self._key.decode(coded, index, jpegtables=self._tables, jpegheader=self._header)[0]
        except DECODER_FAILURES as error:
            message = f"{self._where(row, col)} cannot be decoded ({in_short(error)}); {_COPY}"
            raise SlideReadError(message) from error
        tile: Array = decoded[0]
        if tile.shape[0] < inside[0] or tile.shape[1] < inside[1] or tile.shape[2] != self._kept:
            self._fail(row, col, f"expected {inside[0]}x{inside[1]} px of {self._kept} samples, got {tile.shape}")
        odd = self._coding in JPEG and self._coding != OLD_JPEG and looks_odd(coded, tile)
        if odd and not is_whole(coded, tile, tables=self._tables, header=self._header):
            self._fail(row, col, "its JPEG data are broken, pixels are missing")
        return tile

    def _some_rows(self, row: int, plane: int) -> Array:
        """Return stored rows of an uncompressed page, as many as one tile counts here."""
        each, rows = row_bytes(self._key), self._inside(row, 0)[0]
        offset = int(self._page.dataoffsets[0]) + (plane * self._stored_yx[0] + row * self._tile_yx[0]) * each
        raw = self._read(offset, rows * each)
        if len(raw) < rows * each:
            self._fail(row, 0, f"expected {rows * each} bytes at byte {offset}, got {len(raw)}")
        return unpacked(raw, self._key)

    def _plausible(self, count: int, row: int, col: int, rows: int) -> int:
        """Return how many bytes to read for a tile that is said to have `count`."""
        (th, tw), bits = self._tile_yx, int(np.max(self._key.bitspersample))
        whole = -(-tw * self._kept * bits // 8) * (th if self._key.is_tiled else rows)
        if self._coding != UNCOMPRESSED:
            if count > 2 * whole + SLACK_BYTES:
                self._fail(row, col, f"its {count} bytes would be more than twice its pixels")
            return count
        if count < whole or (count > whole and bits not in PLAIN_BITS):
            self._fail(row, col, f"expected {whole} bytes of {bits}-bit pixels, got {count}")
        return whole

    def _place(self, index: int, row: int, col: int) -> tuple[int, int]:
        offsets, counts = self._page.dataoffsets, self._page.databytecounts
        if index >= len(offsets) or index >= len(counts):
            self._fail(row, col, f"the file lists only {min(len(offsets), len(counts))} tiles")
        return int(offsets[index]), int(counts[index])

    def _count(self, index: int) -> int:
        counts = self._page.databytecounts
        return int(counts[index]) if index < len(counts) else 0

    def _inside(self, row: int, col: int) -> tuple[int, int]:
        (th, tw), (h, w) = self._tile_yx, self._stored_yx
        return min(th, h - row * th), min(tw, w - col * tw)

    def _gap(self, row: int, col: int) -> Array:
        if not self._white_gaps:
            self._fail(row, col, "it is empty (0 bytes)")
        top = np.iinfo(self._key.dtype).max if self._key.dtype.kind in "ui" else 1
        return np.full((*self._inside(row, col), self._kept), top, self._key.dtype)

    def _check_header(self, coded: bytes, row: int, col: int, inside: tuple[int, int]) -> None:
        """Refuse a tile whose own header names another size: it is a bomb, or pixels would land elsewhere."""
        compression = self._coding
        frame = jpeg_frame(coded) if compression in JPEG and not self._header else None
        if frame and frame[0] > 8 * self._key.dtype.itemsize:
            self._fail(row, col, f"expected {self._key.bitspersample}-bit samples, its own header says {frame[0]}")
        jpeg = compression in JPEG or compression in JPEG_2000  # both end with the same marker
        if jpeg and not self._header and jpeg_is_cut(coded, anywhere=compression == OLD_JPEG):
            self._fail(row, col, "its JPEG data ends too early")
        size = frame[1:] if frame else None if self._header else coded_size(compression, coded)
        if size is None or 0 in size:
            return
        th, tw = self._tile_yx
        high_enough = size[0] in (th, inside[0]) if self._key.is_tiled else inside[0] <= size[0] <= max(th, inside[0])
        if not high_enough or size[1] not in (tw, inside[1]):
            self._fail(row, col, f"expected {th}x{tw} px, its own header says {size[0]}x{size[1]}")

    def _where(self, row: int, col: int) -> str:
        return f"{self.name}: {'tile' if self._key.is_tiled else 'strip'} at row {row}, column {col}"

    def _fail(self, row: int, col: int, what: str) -> NoReturn:
        message = f"{self._where(row, col)} cannot be read: {what}; {_COPY}"
        raise SlideReadError(message)


_COPY = "the file is damaged there, copy it again from its source."


def _checked_sizes(page: TiffPage | TiffFrame, name: str, rows: int | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (stored size, tile size) in pixels after holding both against reason."""
    key = page.keyframe
    h, w = key.imagelength, key.imagewidth
    tile = (key.tilelength, key.tilewidth) if key.is_tiled else (rows or min(key.rowsperstrip, h), w)
    need = _tiles_needed(key, (h, w), tile) if key.is_tiled and min(tile) > 0 else 0
    what = ""
    if h < 1 or w < 1 or h * w > MAX_PIXELS:
        what = f"an image of {h}x{w} px"
    elif min(tile) < 1 or tile[0] * tile[1] * key.samplesperpixel * _sample_bytes(key) > MAX_TILE_BYTES:
        what = f"tiles of {tile[0]}x{tile[1]} px with {key.samplesperpixel} samples"
    elif not 1 <= key.samplesperpixel <= 1024:
        what = f"{key.samplesperpixel} samples per pixel"
    elif key.imagedepth > 1 or (key.is_tiled and key.tiledepth > 1):
        what = f"{key.imagedepth} images in one page"
    elif not len(page.dataoffsets) or not len(page.databytecounts):
        what = "no tiles"
    elif key.is_tiled and not need / 2 <= len(page.dataoffsets) <= need:  # a few may be missing at the end
        what = f"{len(page.dataoffsets)} tiles where {h}x{w} px need {need}"
    elif rows is None and _plain_cut_short(page, tile):
        what = f"uncompressed tiles in {page.databytecounts[0]} bytes where {_plain_bytes(key, tile)} are needed"
    if what:
        message = f"{name}: the TIFF structure is broken: it claims {what}; copy the file again from its source."
        raise SlideDamaged(message)
    return (h, w), (int(tile[0]), int(tile[1]))


def _plain_cut_short(page: TiffPage | TiffFrame, tile: tuple[int, int]) -> bool:
    plain = int(page.keyframe.compression) == UNCOMPRESSED
    return plain and 0 < 2 * page.databytecounts[0] < _plain_bytes(page.keyframe, tile)


def _tiles_needed(key: TiffPage, shape_yx: tuple[int, int], tile_yx: tuple[int, int]) -> int:
    planes = key.samplesperpixel if int(key.planarconfig) == 2 else 1
    return -(-shape_yx[0] // tile_yx[0]) * -(-shape_yx[1] // tile_yx[1]) * planes


def _plain_bytes(key: TiffPage, tile_yx: tuple[int, int]) -> int:
    kept = 1 if int(key.planarconfig) == 2 else key.samplesperpixel
    return -(-tile_yx[1] * kept * int(np.max(key.bitspersample)) // 8) * tile_yx[0]


def _sample_bytes(key: TiffPage) -> int:
    return max(key.dtype.itemsize if key.dtype is not None else 1, 1)


def _orientation(key: TiffPage) -> int:
    value = key.tags.valueof(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def _jpeg_parts(page: TiffPage | TiffFrame, name: str) -> tuple[bytes | None, bytes | None]:
    """Return (shared tables, NDPI's shared header); both read lazily by the parser, so fetched before threads start."""
    try:
        return page.jpegtables, page.keyframe.jpegheader
    except DECODER_FAILURES as error:
        message = (
            f"{name}: the shared JPEG tables cannot be read ({in_short(error)}); copy the file again from its source."
        )
        raise SlideDamaged(message) from error
