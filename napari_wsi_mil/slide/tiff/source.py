"""TIFF slides: tifffile parses, the vendors' readers find the pyramid, PageImage decodes."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_wsi_mil.errors import SlideDamaged, SlideError, UnsupportedSlide
from napari_wsi_mil.slide.brief import in_short
from napari_wsi_mil.slide.fingerprint import file_parts, fingerprint, level_parts
from napari_wsi_mil.slide.pixel_size import Claim, judge
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.slide.spec import Box, Channel, Level, Plane, SourceMeta, Stored
from napari_wsi_mil.slide.tiff.files import LocalBytes, SeekableBytes
from napari_wsi_mil.slide.tiff.guard import check_directories
from napari_wsi_mil.slide.tiff.looks import PALETTE, RGB, YCBCR
from napari_wsi_mil.slide.tiff.pages import DECODER_FAILURES, PageImage
from napari_wsi_mil.slide.tiff.quiet import quiet_parser
from napari_wsi_mil.slide.tiff.vendors import find_pyramid

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.slide.tiff.files import ByteSource
    from napari_wsi_mil.slide.tiff.found import Found

ICC_PROFILE = 34675
MAX_ASSOCIATED_PX = 100_000_000


class TiffSource(PixelSource):
    """A pyramid in a TIFF file, local or read through any ByteSource."""

    def __init__(self, path: str, source: ByteSource | None = None) -> None:
        """Open and check; raises SlideDamaged or UnsupportedSlide."""
        self.name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        self._bytes: ByteSource = source or LocalBytes(path)
        self._files: list[Any] = []
        self._parsing = threading.Lock()
        try:
            with quiet_parser():
                self._open(path, local=source is None)
        except DECODER_FAILURES as error:  # a tag of an unforeseen type or count may trip the parser or us
            self.close()
            message = (
                f"{self.name}: the TIFF structure is broken ({in_short(error)}); copy the file again from its source."
            )
            raise SlideDamaged(message) from error
        except BaseException:
            self.close()
            raise

    def _open(self, path: str, *, local: bool) -> None:
        muttering = logging.getLogger("tifffile")
        if not muttering.handlers:  # else it prints what our errors say better
            muttering.addHandler(logging.NullHandler())
        ndpi = check_directories(self._bytes, self._bytes.size, self.name)
        tif = tifffile.TiffFile(path if local else SeekableBytes(self._bytes, self.name), is_ndpi=ndpi or None)
        self._files.append(tif)
        found = find_pyramid(tif, self.name)
        self._found = found
        self.openslide_better = found.openslide_better
        self._images = self._level_images(found)
        first = next(iter(self._images[0].values()))
        levels = self._levels(found)
        if first.turned:
            found.claims = [Claim(c.source, (c.yx_um[1], c.yx_um[0])) for c in found.claims]
        channels = found.channels or tuple(
            Channel(f"channel {i}") for i in range(first.look.channels) if first.look.channels > 1
        )
        self.meta = SourceMeta(
            backend="tifffile", vendor=found.vendor, levels=levels, dtype=first.look.dtype, samples=first.look.samples,
            fingerprint=self._identity(levels), channels=channels, n_z=found.n_z, n_t=found.n_t,
            z_step_um=found.z_step_um, t_step_s=found.t_step_s, pixel_size=judge(found.claims, found.objective),
            objective=found.objective, associated=(*found.associated, *found.pictures), icc_profile=_icc(found),
            origin_yx0=found.origin_yx0, properties=found.properties,
        )  # fmt: skip

    def _level_images(self, found: Found) -> list[dict[Plane, PageImage]]:
        """Return the readable levels; a coarser one that is broken or of another kind is left out and noted."""
        out: list[dict[Plane, PageImage]] = []
        kept = []
        for i, pages in enumerate(found.levels):
            try:
                images = [self._image(p, found) for p in pages]
            except SlideError as error:
                if not i:
                    raise
                found.properties[f"left out.level[{i}]"] = str(error)
                continue
            first = next(iter(out[0].values())).look if out else images[0].look
            if any(
                (im.look.samples, im.look.dtype, im.look.channels) != (first.samples, first.dtype, first.channels)
                for im in images
            ):
                found.properties[f"left out.level[{i}]"] = "its pixels are of another kind than those of level 0"
                continue
            kept.append(i)
            out.append(dict(zip(found.planes, images, strict=True)))
        if found.sizes_yx is not None:
            found.sizes_yx = [found.sizes_yx[i] for i in kept]
        if found.downsamples_yx is not None:
            found.downsamples_yx = [found.downsamples_yx[i] for i in kept]
        return out

    def _image(self, page: Any, found: Found) -> PageImage:
        return PageImage(page, self._reader_of(page), name=self.name, white_gaps=found.white_gaps)

    def _reader_of(self, page: Any) -> ByteSource:
        """Return the bytes of the file a page lies in; OME-TIFF sets spread over several files."""
        handle = page.parent.filehandle
        if page.parent is self._files[0] or not handle.path:
            return self._bytes
        for known in self._files[1:]:
            if known[0] == handle.path:
                return known[1]  # type: ignore[no-any-return]
        other = LocalBytes(handle.path)
        self._files.append((handle.path, other))
        return other

    def _levels(self, found: Found) -> tuple[Level, ...]:
        firsts = [next(iter(by.values())) for by in self._images]
        sizes = found.sizes_yx or [f.shape_yx for f in firsts]
        h0, w0 = sizes[0]
        ratios = found.downsamples_yx or [(h0 / h, w0 / w) for h, w in sizes]
        return tuple(Level(s, r, f.tile_yx) for s, r, f in zip(sizes, ratios, firsts, strict=True))

    def _identity(self, levels: tuple[Level, ...]) -> str:
        offsets = [str(o) for by in self._images for o in next(iter(by.values())).some_offsets()]
        return fingerprint([*file_parts(self._bytes), *level_parts(levels), *offsets])

    def read(self, level: int, box: Box, plane: Plane) -> npt.NDArray[Any]:
        by_plane = self._images[level]
        image = by_plane.get(plane)
        if image is not None:
            return image.read(box)
        return by_plane[plane._replace(c=0)].read(box, plane.c)

    def stored(self, level: int, box: Box, plane: Plane) -> Stored:
        by_plane = self._images[level]
        image = by_plane.get(plane)
        return by_plane[plane._replace(c=0)].stored(box, plane.c) if image is None else image.stored(box)

    def read_associated(self, name: str) -> npt.NDArray[np.uint8]:
        from napari_wsi_mil.slide.picture import decoded_rgb
        from napari_wsi_mil.slide.regions import as_rgb

        title = f"{self.name} {name}"
        if name in self._found.pictures:
            return decoded_rgb(self._found.pictures[name], title)
        page = self._found.associated[name]
        with self._parsing:  # tags are read from the file when first looked at
            image = PageImage(page, self._reader_of(page), name=title)
        if image.shape_yx[0] * image.shape_yx[1] > MAX_ASSOCIATED_PX:
            message = (
                f"{title}: expected a small picture, got {image.shape_yx[0]}x{image.shape_yx[1]} px; it is not shown."
            )
            raise UnsupportedSlide(message)
        return as_rgb(image.all(), name=title)

    def close(self) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):
                (file[1] if isinstance(file, tuple) else file).close()
        self._bytes.close()


def _icc(found: Found) -> bytes | None:
    """Return the profile of the pixels we show; one for CMYK or CIELab says nothing of the RGB made of them."""
    first = found.levels[0][0].keyframe
    profile = first.tags.valueof(ICC_PROFILE)
    ours = int(first.photometric) in (RGB, PALETTE, YCBCR)
    return bytes(profile) if ours and isinstance(profile, bytes | bytearray) else None
