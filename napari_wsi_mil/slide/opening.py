"""Path or URL -> Slide. The content decides which backend, not the suffix."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest, SlideDamaged, SlideError, SlideNotFound, UnsupportedSlide
from napari_wsi_mil.slide.remembered import recall
from napari_wsi_mil.slide.slide import Slide
from napari_wsi_mil.slide.sniff import HEAD_BYTES, OPENSLIDE_SUFFIXES, is_url, is_zarr_folder, kind_of
from napari_wsi_mil.slide.spec import RECALLED

if TYPE_CHECKING:
    from napari_wsi_mil.slide.source import PixelSource

KNOWN = "SVS, NDPI, SCN, BIF, QPTIFF, TIFF, OME-TIFF, OME-Zarr, MRXS, VMS, DICOM, CZI, PNG or JPEG"


def open_slide(path: str | os.PathLike[str], *, mpp: float | None = None) -> Slide:
    """Open a slide from a path, a folder (DICOM, OME-Zarr) or a URL (TIFF, OME-Zarr).

    `mpp` (um/px) overrides what the user once entered for this slide, which overrides what the file says.
    Raises SlideNotFound, UnsupportedSlide, SlideDamaged or SlideReadError.
    """
    text = os.fspath(path)
    if text.startswith("file://"):
        text = _local(text)
    source = _remote(text) if is_url(text) else _by_content(text)
    slide = Slide(source, path=text)
    if mpp is not None:
        try:
            slide.set_mpp((mpp, mpp))
        except BadRequest:
            slide.close()
            raise
    elif (kept := recall(slide.fingerprint)) is not None:
        slide.set_mpp(kept, source=RECALLED)
    return slide


def _local(url: str) -> str:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(url).path)


def _remote(url: str) -> PixelSource:
    from napari_wsi_mil.slide.remote import open_remote

    return open_remote(url)


def _by_content(text: str) -> PixelSource:
    place = Path(text)
    try:
        if place.is_dir():
            return _folder(place)
        if not stat.S_ISREG(place.stat().st_mode):  # opening a pipe would wait for ever
            message = f"{place.name}: expected a file, got a pipe, socket or device; save the slide to a file first."
            raise UnsupportedSlide(message)
        with place.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{text}: no such file or folder; check the path."
        raise SlideNotFound(message) from error
    except OSError as error:
        message = f"{text}: cannot be read ({error.strerror or error}); check that you may open it."
        raise SlideNotFound(message) from error
    return _file(place, kind_of(head))


def _file(place: Path, kind: str) -> PixelSource:
    if kind == "empty":
        message = f"{place.name}: the file is empty (0 bytes); copy it again from its source."
        raise SlideDamaged(message)
    if kind == "lfs":
        message = (
            f"{place.name}: expected a slide, got a git-lfs pointer of a few bytes; run `git lfs pull` to fetch it."
        )
        raise UnsupportedSlide(message)
    if kind == "tiff":
        return _tiff(place)
    if kind in ("png", "jpeg", "bmp", "webp") and place.suffix.lower() != ".mrxs":  # that starts with a thumbnail
        from napari_wsi_mil.slide.picture import PictureSource

        return PictureSource(str(place))
    if kind == "zip":
        from napari_wsi_mil.slide.ome_zarr import ZarrSource

        return ZarrSource(str(place))
    return _with_openslide(place, kind)


def _with_openslide(place: Path, kind: str) -> PixelSource:
    """Let OpenSlide decide; it reads vendors' index files of all kinds."""
    from openslide import OpenSlide

    from napari_wsi_mil.slide.vendor import OpenSlideSource

    if kind == "dicom" or place.suffix.lower() in OPENSLIDE_SUFFIXES or OpenSlide.detect_format(str(place)):
        return OpenSlideSource(str(place))
    message = (
        f"{place.name}: expected a slide ({KNOWN}), got a file that starts like none of them; export it as OME-TIFF."
    )
    raise UnsupportedSlide(message)


def _tiff(place: Path) -> PixelSource:
    """Open a TIFF ourselves; where that fails or tiles overlap, let OpenSlide try if it knows the vendor."""
    from napari_wsi_mil.slide.tiff.source import TiffSource

    if place.suffix.lower() == ".svslide":
        return _with_openslide(place, "tiff")
    try:
        source = TiffSource(str(place))
    except UnsupportedSlide as error:
        return _openslide_instead(place, error)
    if not source.openslide_better:
        return source
    try:
        joined = _openslide_instead(place, None)
    except SlideError:
        return source  # its properties say that tiles overlap
    source.close()
    return joined


def _openslide_instead(place: Path, error: SlideError | None) -> PixelSource:
    from openslide import OpenSlide

    from napari_wsi_mil.slide.vendor import OpenSlideSource

    if error is not None and OpenSlide.detect_format(str(place)) in (None, "generic-tiff"):
        raise error
    return OpenSlideSource(str(place))


def _folder(place: Path) -> PixelSource:
    if is_zarr_folder(place):
        from napari_wsi_mil.slide.ome_zarr import ZarrSource

        return ZarrSource(str(place))
    for file in sorted(p for p in place.iterdir() if p.is_file()):
        with file.open("rb") as opened:
            if kind_of(opened.read(HEAD_BYTES)) == "dicom":
                return _with_openslide(file, "dicom")
    message = f"{place}: expected a slide, got a folder that is neither OME-Zarr nor DICOM; choose the file inside it."
    raise UnsupportedSlide(message)
