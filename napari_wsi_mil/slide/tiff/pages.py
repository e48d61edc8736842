"""Pixels of one TIFF page, decoded tile by tile; callers spread tiles over threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import SlideReadError

if TYPE_CHECKING:
    import numpy.typing as npt
    from tifffile import TiffFrame, TiffPage

    from napari_wsi_mil.slide.spec import Box
    from napari_wsi_mil.slide.tiff.files import ByteReader


class TiledPage:
    """One page's tiles (or strips) as (h, w[, samples]) pixels of its own dtype."""

    def __init__(self, page: TiffPage | TiffFrame, reader: ByteReader, *, name: str) -> None:
        self.page, self._bytes, self._name = page, reader, name
        key = page.keyframe
        self.shape_yx = (key.imagelength, key.imagewidth)
        self.samples = key.samplesperpixel
        self.tile_yx = (
            (key.tilelength, key.tilewidth)
            if key.is_tiled
            else (min(key.rowsperstrip, key.imagelength), key.imagewidth)
        )
        self._across = -(-self.shape_yx[1] // self.tile_yx[1])
        self._tables = key.jpegtables
        self._header = key.jpegheader

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the pixels of `box`, inside the page; raises SlideReadError naming the tile that fails."""
        tail = (self.samples,) if self.samples > 1 else ()
        out = np.empty((box.h, box.w, *tail), self.page.keyframe.dtype)
        th, tw = self.tile_yx
        spots = [
            (row, col)
            for row in range(box.y // th, -(-(box.y + box.h) // th))
            for col in range(box.x // tw, -(-(box.x + box.w) // tw))
        ]
        for spot in spots:
            self._into(out, box, spot)
        return out

    def _into(self, out: npt.NDArray[Any], box: Box, spot: tuple[int, int]) -> None:
        th, tw = self.tile_yx
        y, x = spot[0] * th - box.y, spot[1] * tw - box.x
        tile = self._tile(*spot)
        y0, x0 = max(y, 0), max(x, 0)
        y1, x1 = min(y + tile.shape[0], box.h), min(x + tile.shape[1], box.w)
        out[y0:y1, x0:x1] = tile[y0 - y : y1 - y, x0 - x : x1 - x].reshape(y1 - y0, x1 - x0, *out.shape[2:])

    def _tile(self, row: int, col: int) -> npt.NDArray[Any]:
        index = row * self._across + col
        where = f"{self._name}: tile at row {row}, column {col}"
        try:
            offset, count = self.page.dataoffsets[index], self.page.databytecounts[index]
        except IndexError:
            message = f"{where} is not listed in the file; the file is incomplete, copy it again from its source."
            raise SlideReadError(message) from None
        coded = self._bytes(offset, count)
        decoded = self.page.decode(coded, index, jpegtables=self._tables, jpegheader=self._header)[0]
        if decoded is None:
            message = f"{where} is empty; the file is incomplete, copy it again from its source."
            raise SlideReadError(message)
        return np.asarray(decoded)[0]
