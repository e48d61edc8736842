"""Uncompressed strips that lie one after the other: any rows can be read, however the file cut them into strips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage

UNCOMPRESSED = 1
READ_BYTES = 2**20
MAX_ROWS = 1024


def plain_rows(page: TiffPage | TiffFrame) -> int | None:
    """Return how many rows to read at once, about 1 MiB; None where the pixels need decoding strip by strip."""
    key = page.keyframe
    if key.is_tiled or int(key.compression) != UNCOMPRESSED or key.imagedepth > 1 or key.dtype is None:
        return None
    whole_samples = isinstance(key.bitspersample, int) and key.bitspersample == 8 * key.dtype.itemsize
    if not whole_samples or int(key.predictor) != 1 or int(key.fillorder) != 1 or int(key.photometric) == 6:
        return None
    offsets, counts = page.dataoffsets, page.databytecounts
    needed = key.imagelength * row_bytes(key) * (key.samplesperpixel if int(key.planarconfig) == 2 else 1)
    if not needed or len(offsets) != len(counts) or sum(counts) != needed:
        return None
    if any(a + n != b for a, n, b in zip(offsets, counts, offsets[1:], strict=False)):
        return None
    return int(max(min(READ_BYTES // row_bytes(key), MAX_ROWS, key.imagelength), 1))


def row_bytes(key: TiffPage) -> int:
    """Return the bytes of one stored row of all interleaved samples."""
    samples = 1 if int(key.planarconfig) == 2 else key.samplesperpixel
    return int(key.imagewidth * samples * key.dtype.itemsize)


def unpacked(raw: bytes, key: TiffPage) -> np.ndarray[Any, Any]:
    """Return rows of raw bytes as (rows, width, samples) in native byte order."""
    stored = np.frombuffer(raw, key.dtype.newbyteorder(key.parent.byteorder))
    samples = 1 if int(key.planarconfig) == 2 else key.samplesperpixel
    return stored.reshape(-1, key.imagewidth, samples).astype(key.dtype.newbyteorder("="))
