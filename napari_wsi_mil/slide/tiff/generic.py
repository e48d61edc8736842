"""TIFF of no known vendor: the largest page and those in proportion to it, in any order, also in SubIFDs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsi_mil.slide.pixel_size import Claim
from napari_wsi_mil.slide.spec import Plane
from napari_wsi_mil.slide.tiff.found import REDUCED, Found, alike, by_size, number, resolution_claim, size_yx, subpages

PROPERTY = re.compile(r"<name>(openslide\.[\w.-]+)</name>\s*<value[^>]*>([^<]*)</value>")
MAX_CHARS = 2**20
PAIR = re.compile(r"\b(mpp|appmag)\s*[=:]\s*([0-9]+(?:[.,][0-9]+)?)", re.IGNORECASE)

if TYPE_CHECKING:
    from tifffile import TiffPage


def read_generic(pages: list[TiffPage]) -> Found:
    """Return the pyramid around the largest page; equal pages are z slices where every level has as many."""
    main = main_page(pages)
    levels = levels_around(main, pages)
    depth = len(levels[0])
    if any(len(g) != depth for g in levels):
        depth, levels = 1, [_one(g, main) for g in levels]
    found = Found("generic", list(levels), planes=tuple(Plane(z=z) for z in range(depth)), n_z=depth)
    _describe(found, (main.description or "")[:MAX_CHARS])
    found.claims += resolution_claim(main)
    used = {id(p) for group in levels for p in group}
    strangers = [str(i) for i, p in enumerate(pages) if id(p) not in used]
    if strangers:
        found.properties["left out.pages"] = ", ".join(strangers)
    return found


def _describe(found: Found, text: str) -> None:
    """Add pixel size and objective that converters leave in the description: libvips as XML, others as 'MPP = 0.25'."""
    facts = {k.lower(): v for k, v in PROPERTY.findall(text)} or {k.lower(): v for k, v in PAIR.findall(text)}
    y, x = (number(facts.get(f"openslide.mpp-{a}") or facts.get("mpp")) for a in "yx")
    if y and x:
        found.claims.append(Claim("ImageDescription", (y, x)))
    found.objective = number(facts.get("openslide.objective-power") or facts.get("appmag"))


def main_page(pages: list[TiffPage]) -> TiffPage:
    """Return the largest page that is not marked as reduced or as a mask; the first of equal ones."""
    whole = [p for p in pages if not int(p.subfiletype) & (REDUCED | 4)] or pages
    return max(whole, key=lambda p: size_yx(p)[0] * size_yx(p)[1])


def levels_around(main: TiffPage, pages: list[TiffPage]) -> list[list[TiffPage]]:
    """Return pages in proportion to `main` by size; a smaller page counts if marked as reduced or tiled like `main`."""
    full = [p for p in pages if size_yx(p) == size_yx(main) and alike(p, main)]
    if any(p.subifds for p in full):
        small = [s for p in full for s in subpages(p)]
    else:
        small = [p for p in pages if int(p.subfiletype) & REDUCED or (p.is_tiled and main.is_tiled)]
    small = [p for p in small if size_yx(p) != size_yx(main) and alike(p, main)]
    return by_size([*full, *small])


def _one(group: list[TiffPage], main: TiffPage) -> list[TiffPage]:
    return [main] if main in group else group[:1]
