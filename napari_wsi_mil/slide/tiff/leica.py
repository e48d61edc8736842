"""Leica SCN: XML names the images, their levels, channels and z slices by directory number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.errors import SlideDamaged
from napari_wsi_mil.slide import xmltext
from napari_wsi_mil.slide.pixel_size import Claim
from napari_wsi_mil.slide.spec import Channel, Plane
from napari_wsi_mil.slide.tiff.found import Found, number

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPage

NM_PER_UM = 1000.0


def is_leica(first: TiffPage) -> bool:
    """Whether the first page carries Leica's XML."""
    return "http://www.leica-microsystems.com/scn/" in (first.description or "")[:2000]


def read_leica(pages: list[TiffPage], name: str) -> Found:
    """Return the largest scanned image; the one that covers the whole glass is the macro, others become properties."""
    root = xmltext.parse(pages[0].description)
    collection = None if root is None else root.find("collection")
    images = [] if collection is None else collection.findall("image")
    if collection is None or not any(_dimensions(i) for i in images):
        message = (
            f"{name}: expected Leica's description of its images, got XML that cannot be read; copy the file again."
        )
        raise SlideDamaged(message)
    glass = (collection.get("sizeX"), collection.get("sizeY"))
    scanned = [i for i in images if _view(i, "size") != glass] or images
    main = max(scanned, key=_area)
    found = _pyramid(main, pages, name)
    for image in images:
        if image not in scanned and _dimensions(image):
            found.associated["macro"] = pages[_ifd(max(_dimensions(image), key=_pixels), pages, name)]
    found.properties["leica.images"] = str(len(scanned))
    if len(scanned) > 1:
        found.properties["leica.shown"] = f"the largest of {len(scanned)} scanned areas, {main.get('name', '')}"
    return found


def _pyramid(image: Element, pages: list[TiffPage], name: str) -> Found:
    dimensions = _dimensions(image)
    n_z = 1 + max(int(d.get("z", 0)) for d in dimensions)
    n_c = 1 + max(int(d.get("c", 0)) for d in dimensions)
    if n_z * n_c > len(dimensions):  # each is named once per level; more would be planes that nobody stored
        message = (
            f"{name}: its description counts {n_z} z slices of {n_c} channels but names only {len(dimensions)} images; "
            "copy it again from its source."
        )
        raise SlideDamaged(message)
    planes = tuple(Plane(z=z, c=c) for z in range(n_z) for c in range(n_c))
    levels: dict[tuple[int, int], dict[Plane, TiffPage]] = {}
    for d in dimensions:
        plane = Plane(z=int(d.get("z", 0)), c=int(d.get("c", 0)))
        size = int(d.get("sizeY", 0)), int(d.get("sizeX", 0))
        levels.setdefault(size, {})[plane] = pages[_ifd(d, pages, name)]
    full = [levels[s] for s in sorted(levels, key=lambda s: s[0] * s[1], reverse=True)]
    found = Found("leica", [[by[p] for p in planes] for by in full if set(by) == set(planes)], planes=planes, n_z=n_z)
    if n_c > 1:
        found.channels = _channels(image, n_c)
    found.objective = number(image.findtext("scanSettings/objectiveSettings/objective"))
    best = max(dimensions, key=_pixels)
    view = [number(v) for v in _view(image, "size")]
    size = int(best.get("sizeX", 0)), int(best.get("sizeY", 0))
    if all(view) and all(size):
        x_um, y_um = ((v or 0) / NM_PER_UM / s for v, s in zip(view, size, strict=True))
        found.claims.append(Claim("SCN view size", (y_um, x_um)))
        x_nm, y_nm = (number(v) or 0.0 for v in _view(image, "offset"))
        found.origin_yx0 = round(y_nm / NM_PER_UM / y_um), round(x_nm / NM_PER_UM / x_um)
    return found


def _channels(image: Element, n_c: int) -> tuple[Channel, ...]:
    settings = {int(c.get("index", 0)): c for c in image.iter("channel")}
    out = []
    for c in range(n_c):
        node = settings.get(c)
        colour = (node.get("rgb", "") if node is not None else "").lstrip("#")
        rgb = tuple(int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)) if len(colour) == 6 else None
        label = (node.get("name", "") if node is not None else "") or f"channel {c}"
        out.append(Channel(label, rgb))  # type: ignore[arg-type]
    return tuple(out)


def _dimensions(image: Element) -> list[Element]:
    return image.findall("pixels/dimension")


def _view(image: Element, key: str) -> tuple[str | None, str | None]:
    node = image.find("view")
    return (None, None) if node is None else (node.get(f"{key}X"), node.get(f"{key}Y"))


def _pixels(dimension: Element) -> int:
    return int(dimension.get("sizeX", 0)) * int(dimension.get("sizeY", 0))


def _area(image: Element) -> int:
    return max((_pixels(d) for d in _dimensions(image)), default=0)


def _ifd(dimension: Element, pages: list[TiffPage], name: str) -> int:
    index = int(dimension.get("ifd", -1))
    if not 0 <= index < len(pages):
        message = (
            f"{name}: its description names image {index}, the file holds {len(pages)}; copy it again from its source."
        )
        raise SlideDamaged(message)
    return index
