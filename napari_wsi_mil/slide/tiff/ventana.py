"""Ventana BIF: XMP with the scan's facts, 'level=' in page descriptions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsi_mil.slide import xmltext
from napari_wsi_mil.slide.pixel_size import Claim
from napari_wsi_mil.slide.tiff.found import Found, number

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPage

XMP = 700
LEVEL = re.compile(r"level=(\d+)")


def is_ventana(pages: list[TiffPage]) -> bool:
    """Whether a page carries Ventana's XMP."""
    return any(b"iScan" in _xmp(p)[:100_000] for p in pages[:8])


def read_ventana(pages: list[TiffPage]) -> Found:
    """Return the levels in the order their descriptions give; unscanned tiles are glass."""
    numbered = {int(m[1]): p for p in pages if (m := LEVEL.search(p.description or ""))}
    levels = [[numbered[i]] for i in sorted(numbered)]
    found = Found("ventana", levels or [[max(pages, key=lambda p: p.imagelength * p.imagewidth)]], white_gaps=True)
    for page in pages:
        text = (page.description or "").lower()
        for name in ("label", "thumbnail", "macro", "probability"):
            if "level=" not in text and name in text:
                found.associated.setdefault("macro" if name == "label" and "overview" in text else name, page)
    found.openslide_better = tiles_overlap(pages)
    if found.openslide_better:
        found.properties["ventana.note"] = "tiles overlap and are shown side by side"
    scan = _scan(pages)
    if scan is not None:
        found.properties |= {f"ventana.{k}": v for k, v in scan.attrib.items()}
        found.objective = number(scan.get("Magnification"))
        um = number(scan.get("ScanRes"))
        if "ScanRes" in scan.attrib:
            found.claims.append(Claim("iScan ScanRes", (um or 0.0, um or 0.0)))
    return found


def tiles_overlap(pages: list[TiffPage]) -> bool:
    """Whether the scanner's tiles overlap or lie in several areas, so that pasting them side by side is wrong."""
    for page in pages:
        root = xmltext.parse(_xmp(page))
        if root is None:
            continue
        joints = list(root.iter("TileJointInfo"))
        if any(number(j.get(k)) for j in joints for k in ("OverlapX", "OverlapY")):
            return True
        if sum(info.get("AOIScanned", "1") != "0" for info in root.iter("ImageInfo")) > 1:
            return True
    return False


def _scan(pages: list[TiffPage]) -> Element | None:
    for page in pages:
        root = xmltext.parse(_xmp(page))
        found = None if root is None else next(root.iter("iScan"), None)
        if found is not None:
            return found
    return None


def _xmp(page: TiffPage) -> bytes:
    value = page.tags.valueof(XMP)
    return value.encode() if isinstance(value, str) else bytes(value) if isinstance(value, bytes) else b""
