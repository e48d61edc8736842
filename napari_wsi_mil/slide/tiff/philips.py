"""Philips TIFF: levels padded to whole tiles, their true scale in DICOM-like XML; unscanned tiles are not stored."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import TYPE_CHECKING

from napari_wsi_mil.slide import xmltext
from napari_wsi_mil.slide.pixel_size import Claim
from napari_wsi_mil.slide.tiff.found import Found, number, size_yx

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPage

QUOTED = re.compile(r'"?([0-9.eE+-]+)"?')
MM_UM = 1000.0
IN_XML = {"LABELIMAGE": "label", "MACROIMAGE": "macro"}


def is_philips(first: TiffPage) -> bool:
    """Whether the first page carries Philips' XML."""
    return str(first.software or "").startswith("Philips DP") and "<DataObject" in (first.description or "")


def read_philips(pages: list[TiffPage]) -> Found:
    """Return levels cut to the part level 0 covers: level n is level 0 over the ratio of their pixel spacings."""
    main = pages[0]
    named = {t[:5]: p for p in pages if (t := (p.description or "").strip().lower())[:5] in ("label", "macro")}
    levels = [p for p in pages if p is main or (p.is_tiled and p not in named.values())]
    levels.sort(key=lambda p: size_yx(p)[0] * size_yx(p)[1], reverse=True)
    root = xmltext.parse(main.description)
    spacings = [] if root is None else _spacings(root)
    found = Found("philips", [[p] for p in levels], white_gaps=True, associated=dict(named))
    if len(spacings) >= len(levels) and spacings[0][0] > 0:
        ratios = [(s[0] / spacings[0][0], s[1] / spacings[0][1]) for s in spacings[: len(levels)]]
    else:
        ratios = [(2.0**i, 2.0**i) for i in range(len(levels))]
    ratios = [(float(round(y)), float(round(x))) for y, x in ratios]  # spacings are printed with few digits
    h, w = size_yx(main)
    wanted = [(round(h / y), round(w / x)) for y, x in ratios]
    found.sizes_yx = [(min(a[0], s[0]), min(a[1], s[1])) for a, s in zip(wanted, map(size_yx, levels), strict=True)]
    found.downsamples_yx = ratios
    if spacings:
        found.claims.append(Claim("DICOM_PIXEL_SPACING", (spacings[0][0] * MM_UM, spacings[0][1] * MM_UM)))
    if root is not None:
        found.pictures = _pictures(root, taken=set(named))
        texts = ((n.get("Name"), (n.text or "").strip()) for n in root.findall("Attribute"))
        found.properties = {f"philips.{key}": text for key, text in texts if text}
    return found


def _pictures(root: Element, taken: set[str]) -> dict[str, bytes]:
    """Return the label and macro that are JPEGs in the XML rather than pages."""
    out = {}
    for node in root.iter("DataObject"):
        facts = {a.get("Name"): a.text or "" for a in node.findall("Attribute")}
        name = IN_XML.get(facts.get("PIM_DP_IMAGE_TYPE", "").strip())
        coded = facts.get("PIM_DP_IMAGE_DATA", "")
        if name and coded and name not in taken:
            with contextlib.suppress(ValueError):
                out[name] = base64.b64decode(coded)
    return out


def _spacings(root: Element) -> list[tuple[float, float]]:
    """Return (y, x) mm per pixel of each level of the whole-slide image, finest first."""
    out = []
    for node in root.iter("DataObject"):
        if node.get("ObjectType") != "PixelDataRepresentation":
            continue
        for attribute in node.findall("Attribute"):
            values = [number(v) for v in QUOTED.findall(attribute.text or "")]
            if attribute.get("Name") == "DICOM_PIXEL_SPACING" and len(values) == 2 and all(values):
                out.append((values[0] or 0.0, values[1] or 0.0))
    return sorted(out)
