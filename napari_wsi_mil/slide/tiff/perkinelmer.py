"""PerkinElmer/Akoya QPTIFF: one XML description per page; grey pages are fluorescence channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.slide import xmltext
from napari_wsi_mil.slide.spec import Channel, Plane
from napari_wsi_mil.slide.tiff.found import Found, by_size, number, resolution_claim
from napari_wsi_mil.slide.tiff.generic import read_generic

if TYPE_CHECKING:
    from tifffile import TiffPage

ASSOCIATED = {"Thumbnail": "thumbnail", "Label": "label", "Overview": "macro"}
MARK = "PerkinElmer-QPI-ImageDescription"


def is_perkinelmer(first: TiffPage) -> bool:
    """Whether the first page carries PerkinElmer's XML."""
    return MARK in (first.description or "")[:2000]


def read_perkinelmer(pages: list[TiffPage]) -> Found:
    """Return levels of the full and reduced resolution pages; names and colours from the full resolution ones."""
    facts = [xmltext.parse(p.description) for p in pages]
    kinds = ["" if f is None else (f.findtext("ImageType") or "") for f in facts]
    wanted = [p for p, k in zip(pages, kinds, strict=True) if k in ("FullResolution", "ReducedResolution")]
    if not wanted:
        return read_generic(pages)
    groups = by_size(wanted)
    n_c = len(groups[0])
    levels = [g for g in groups if len(g) == n_c]
    found = Found("perkinelmer", list(levels), planes=tuple(Plane(c=c) for c in range(n_c)))
    main = levels[0][0]
    if main.samplesperpixel == 1:
        full = [facts[pages.index(p)] for p in levels[0]]
        found.channels = tuple(_channel(f, i) for i, f in enumerate(full))
    first = facts[pages.index(main)]
    if first is not None:
        found.objective = number(
            (first.findtext("Objective") or next((n.text for n in first.iter("Objective")), "") or "").rstrip("xX")
        )
        found.properties = {f"perkinelmer.{n.tag}": n.text.strip() for n in first if n.text and n.text.strip()}
    found.claims = resolution_claim(main, "QPTIFF XResolution")
    for page, kind in zip(pages, kinds, strict=True):
        if kind in ASSOCIATED:
            found.associated.setdefault(ASSOCIATED[kind], page)
    return found


def _channel(facts: object, index: int) -> Channel:
    find = getattr(facts, "findtext", lambda _: None)
    parts = (find("Color") or "").split(",")
    rgb = None
    if len(parts) == 3 and all(p.strip().isdigit() for p in parts):
        rgb = (int(parts[0]) / 255, int(parts[1]) / 255, int(parts[2]) / 255)
    return Channel((find("Name") or "").strip() or f"channel {index}", rgb)
