"""TIFF slides through tifffile: it parses, we schedule the decoding."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import tifffile

from napari_wsi_mil.slide.scale import downsamples
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.slide.spec import Level, PixelSize, SourceMeta
from napari_wsi_mil.slide.tiff.files import LocalBytes
from napari_wsi_mil.slide.tiff.pages import TiledPage

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.slide.spec import Box, Plane


class TiffSource(PixelSource):
    """A pyramid in a TIFF file."""

    def __init__(self, path: str) -> None:
        self._tif = tifffile.TiffFile(path)
        self._bytes = LocalBytes(path)
        series = self._tif.series[0]
        name = path.rsplit("/", 1)[-1]
        self._pages = [TiledPage(level.pages[0], self._bytes, name=name) for level in series.levels]
        ratios = downsamples([p.shape_yx for p in self._pages])
        levels = tuple(Level(p.shape_yx, r, p.tile_yx) for p, r in zip(self._pages, ratios, strict=True))
        text = self._tif.pages[0].description or ""
        mpp = re.search(r"MPP = ([0-9.]+)", text)
        power = re.search(r"AppMag = ([0-9.]+)", text)
        first = self._pages[0].page.keyframe
        size = (
            PixelSize((float(mpp[1]),) * 2, "Aperio MPP") if mpp else PixelSize(problem="the file holds no pixel size")
        )
        self.meta = SourceMeta(
            backend="tifffile", vendor="aperio" if self._tif.is_svs else "generic", levels=levels, dtype=str(first.dtype),
            samples=first.samplesperpixel, fingerprint=hashlib.blake2b(path.encode(), digest_size=16).hexdigest(),
            pixel_size=size, objective=float(power[1]) if power else None,
        )  # fmt: skip

    def read(self, level: int, box: Box, plane: Plane) -> npt.NDArray[Any]:
        return self._pages[level].read(box)

    def close(self) -> None:
        self._bytes.close()
        self._tif.close()
