"""Hamamatsu NDPI: one huge JPEG per level, read by its restart markers; private tags from 65420 on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.slide.spec import Plane
from napari_wsi_mil.slide.tiff.coded import JPEG
from napari_wsi_mil.slide.tiff.found import Found, by_size, number, resolution_claim, size_yx

if TYPE_CHECKING:
    from tifffile import TiffPage

LENS, Z_OFFSET_NM, CHANNEL, NOTES = 65421, 65424, 65434, 65449
MACRO, MAP = -1, -2
MAX_WHOLE_PX = 2**24


def is_hamamatsu(first: TiffPage) -> bool:
    """Whether the first page has Hamamatsu's private tags."""
    return 65420 in first.tags


def read_hamamatsu(pages: list[TiffPage]) -> Found:
    """Return levels (lens > 0), z slices by their offset, and the macro."""
    lens = [number(str(p.tags.valueof(LENS, 0))) or 0.0 for p in pages]
    scanned = [p for p, power in zip(pages, lens, strict=True) if power > 0] or pages[:1]
    levels = by_size(scanned)
    depth = len(levels[0])
    for group in levels:
        group.sort(key=lambda p: int(p.tags.valueof(Z_OFFSET_NM, 0) or 0))
    if any(len(g) != depth for g in levels):
        levels, depth = [[_in_focus(g)] for g in levels], 1
    main = levels[0][0]
    found = Found("hamamatsu", list(levels), planes=tuple(Plane(z=z) for z in range(depth)), n_z=depth)
    if depth > 1:
        offsets = [int(p.tags.valueof(Z_OFFSET_NM, 0) or 0) for p in levels[0]]
        found.z_step_um = (offsets[-1] - offsets[0]) / (depth - 1) / 1000 or None
    found.objective = max(lens) if max(lens) > 0 else None
    found.claims = resolution_claim(main, "NDPI XResolution")
    found.properties = _properties(main)
    for page, power in zip(pages, lens, strict=True):
        if power in (MACRO, MAP):
            found.associated["macro" if power == MACRO else "map"] = page
    found.openslide_better = any(_one_piece(group[0]) for group in levels)
    found.properties["hamamatsu.size"] = "x".join(map(str, reversed(size_yx(main))))
    return found


def _one_piece(page: TiffPage) -> bool:
    """Whether a large JPEG has no list of restart markers, so that each read would decode all of it."""
    pixels = page.imagelength * page.imagewidth
    return page.jpegheader is None and int(page.compression) in JPEG and pixels > MAX_WHOLE_PX


def _in_focus(group: list[TiffPage]) -> TiffPage:
    return min(group, key=lambda p: abs(int(p.tags.valueof(Z_OFFSET_NM, 0) or 0)))


def _properties(main: TiffPage) -> dict[str, str]:
    notes = main.tags.valueof(NOTES)
    lines = str(notes).splitlines() if notes else []
    out = {f"hamamatsu.{k.strip()}": v.strip() for k, mark, v in (line.partition("=") for line in lines) if mark}
    channel = main.tags.valueof(CHANNEL)
    if channel:
        out["hamamatsu.channel"] = str(channel)
    return out
