"""Tells a JPEG that ends too early or has holes from a whole one.

libjpeg fills what is missing with mid-grey and only warns, and our decoders pass no warnings on: lost tissue would look
like glass. Decoding each tile twice is too dear, so only what looks odd is read again by a strict parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs

if TYPE_CHECKING:
    import numpy.typing as npt

FILLING = 128
CORNER_PX = 4
STRICT_PIXELS = 4_000_000
"""The strict parser takes 60 bytes a pixel."""
HOLE = bytes(24)
"""Coded pixels have no such run of zeros, blocks that were lost on a disk or in a download have."""
END = b"\xff\xd9"
RESTARTS = range(0xD0, 0xD8)


def looks_odd(coded: bytes, pixels: npt.NDArray[Any]) -> bool:
    """Whether (h, w, samples) `pixels` end in the grey that stands for missing data, or the data have a hole."""
    return bool((pixels[-CORNER_PX:, -CORNER_PX:] == FILLING).all()) or HOLE in coded


def is_whole(
    coded: bytes, pixels: npt.NDArray[Any], *, tables: bytes | None = None, header: bytes | None = None
) -> bool:
    """Whether a strict parser reads a JPEG, whose (h, w, samples) `pixels` look odd, to its end.

    `tables` is a stream of shared tables as in TIFF, `header` the start of the stream that NDPI keeps apart. Where
    imagecodecs was built without that parser, or it would need too much memory, a last row all grey means no.
    """
    if not imagecodecs.JPEGXL.available or pixels.shape[0] * pixels.shape[1] > STRICT_PIXELS:
        return not (pixels[-1] == FILLING).all()
    if header:
        at = len(coded) - 2
        restart = at >= 0 and coded[at] == 0xFF and coded[at + 1] in RESTARTS
        coded = header + (coded[:at] if restart else coded.removesuffix(END)) + END
    elif tables:
        coded = tables[: tables.rfind(END)] + coded[2:]
    try:
        imagecodecs.jpegxl_encode_jpeg(coded)
    except imagecodecs.JpegxlError:
        return False
    return True
