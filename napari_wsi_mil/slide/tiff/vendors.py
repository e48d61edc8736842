"""Which vendor wrote a TIFF, and the reader that knows its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tifffile import TiffPage

from napari_wsi_mil.errors import UnsupportedSlide
from napari_wsi_mil.slide.tiff.aperio import is_aperio, read_aperio
from napari_wsi_mil.slide.tiff.generic import read_generic
from napari_wsi_mil.slide.tiff.hamamatsu import is_hamamatsu, read_hamamatsu
from napari_wsi_mil.slide.tiff.leica import is_leica, read_leica
from napari_wsi_mil.slide.tiff.ome import read_imagej, read_ome
from napari_wsi_mil.slide.tiff.perkinelmer import is_perkinelmer, read_perkinelmer
from napari_wsi_mil.slide.tiff.philips import is_philips, read_philips
from napari_wsi_mil.slide.tiff.ventana import is_ventana, read_ventana

if TYPE_CHECKING:
    from tifffile import TiffFile

    from napari_wsi_mil.slide.tiff.found import Found

TRESTLE = "MedScan"


def find_pyramid(tif: TiffFile, name: str) -> Found:
    """Return the pyramid as the vendor means it; raises UnsupportedSlide or SlideDamaged."""
    first = tif.pages.first
    if tif.is_ome:
        return read_ome(tif, name)
    if tif.is_imagej:
        return read_imagej(tif, name)
    pages = all_pages(tif)
    _refuse_vsi(pages, name)
    if is_aperio(first):
        return read_aperio(pages)
    if is_hamamatsu(first):
        return read_hamamatsu(pages)
    if is_leica(first):
        return read_leica(pages, name)
    if is_philips(first):
        return read_philips(pages)
    if is_perkinelmer(first):
        return read_perkinelmer(pages)
    if is_ventana(pages):
        return read_ventana(pages)
    found = read_generic(pages)
    if str(first.software or "").startswith(TRESTLE):  # its tiles overlap, by amounts OpenSlide knows how to read
        found.vendor, found.openslide_better = "trestle", True
        found.properties["trestle.note"] = "tiles overlap and are shown side by side"
    return found


def all_pages(tif: TiffFile) -> list[TiffPage]:
    """Return every page of the chain, each with all of its tags."""
    tif.pages.useframes = False
    tif.pages.cache = True
    return [cast(TiffPage, p) for p in tif.pages]


def _refuse_vsi(pages: list[TiffPage], name: str) -> None:
    """A VSI file's own pages are small pictures; the slide lies in .ets files of a folder beside it."""
    if name.lower().endswith(".vsi"):
        message = (
            f"{name}: expected a slide, got Olympus VSI, whose pixels lie in .ets files that no backend here reads; "
            "export it as OME-TIFF from the scanner's software or QuPath."
        )
        raise UnsupportedSlide(message)
