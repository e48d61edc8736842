"""Aperio SVS: '|'-separated description, tiled levels, stripped thumbnail, label and macro."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.slide.pixel_size import Claim
from napari_wsi_mil.slide.spec import Plane
from napari_wsi_mil.slide.tiff.found import Found, alike, by_size, number, resolution_claim

if TYPE_CHECKING:
    from tifffile import TiffPage


def is_aperio(first: TiffPage) -> bool:
    """Whether the first page is Aperio's."""
    return (first.description or "").startswith("Aperio")


def read_aperio(pages: list[TiffPage]) -> Found:
    """Return levels, z slices and associated images of an SVS.

    Missing tiles are an error here: Aperio's encoder has left out tiles over tissue.
    """
    main = pages[0]
    levels, planes, rest = _pyramid(pages)
    fields = _fields(main.description)
    found = Found("aperio", levels, planes=planes, n_z=len(planes))
    found.properties = {f"aperio.{k}": v for k, v in fields.items()}
    found.objective = number(fields.get("AppMag"))
    mpp = number(fields.get("MPP"))
    if "MPP" in fields:
        found.claims.append(Claim("Aperio MPP", (mpp or 0.0, mpp or 0.0)))
    found.claims += resolution_claim(main)
    for page in rest:
        name = _name(page)
        if name not in found.associated:
            found.associated[name] = page
    return found


def _pyramid(pages: list[TiffPage]) -> tuple[list[list[TiffPage]], tuple[Plane, ...], list[TiffPage]]:
    main = pages[0]
    tiled = [p for p in pages if p.is_tiled == main.is_tiled and alike(p, main) and not _named(p)]
    if not main.is_tiled:
        tiled = [main]
    groups = by_size(tiled)
    depth = len(groups[0])
    if any(len(g) != depth for g in groups):
        depth, groups = 1, [g[:1] for g in groups]
    used = {id(p) for g in groups for p in g}
    return groups, tuple(Plane(z=z) for z in range(depth)), [p for p in pages if id(p) not in used]


def _fields(description: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in description.split("|")[1:])
    return {key.strip(): value.strip() for key, mark, value in pairs if mark}


def _named(page: TiffPage) -> bool:
    lines = (page.description or "").lower().splitlines()
    return len(lines) > 1 and lines[1].lstrip().startswith(("label", "macro"))


def _name(page: TiffPage) -> str:
    second = (page.description or "").lower().splitlines()[1:2]
    for name in ("label", "macro"):
        if second and second[0].lstrip().startswith(name):
            return name
    if int(page.subfiletype) == 9:
        return "macro"
    return "label" if int(page.subfiletype) == 1 else "thumbnail"
