"""OME-TIFF and ImageJ stacks: z, t and channel axes, levels in SubIFDs, facts in OME-XML."""

from __future__ import annotations

import itertools
import math
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import SlideDamaged, UnsupportedSlide
from napari_wsi_mil.slide import xmltext
from napari_wsi_mil.slide.pixel_size import Claim
from napari_wsi_mil.slide.spec import Channel, Plane
from napari_wsi_mil.slide.tiff.found import Found, in_proportion, number, resolution_claim, size_yx
from napari_wsi_mil.slide.tiff.guard import MAX_DIRECTORIES

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffFile, TiffPageSeries

UNIT_UM = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "μm": 1.0, "micron": 1.0, "micrometer": 1.0,
    "micrometre": 1.0, "nm": 1e-3, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "inch": 25400.0,
}  # fmt: skip
ASSOCIATED = ("label", "macro", "thumbnail", "overview")


def read_ome(tif: TiffFile, name: str) -> Found:
    """Return the largest image of an OME-TIFF; those called label, macro or thumbnail are associated images."""
    root = xmltext.parse(tif.ome_metadata)
    if root is not None:
        _check_counts(root, name)
        _check_places(root, name)
    series = list(tif.series)
    named = {s: n for s in series for n in ASSOCIATED if n in (s.name or "").lower()}
    main = max((s for s in series if s not in named), key=_pixels, default=None) or max(series, key=_pixels)
    found = read_series(main, "ome", name)
    for other, label in named.items():
        if other is not main and other.pages and other.pages[0] is not None:
            found.associated.setdefault("macro" if label == "overview" else label, other.pages[0])
    images = [] if root is None else root.findall("Image")
    index = series.index(main)
    if index < len(images) and (pixels := images[index].find("Pixels")) is not None:
        _describe(found, images[index], pixels, root)
    found.claims += resolution_claim(main.keyframe)
    return found


def read_imagej(tif: TiffFile, name: str) -> Found:
    """Return an ImageJ hyperstack; its resolution is in pixels per the unit of its description."""
    series = tif.series[0]
    found = read_series(series, "imagej", name)
    facts = tif.imagej_metadata or {}
    unit = UNIT_UM.get(str(facts.get("unit", "")).strip())
    x, y = (series.keyframe.tags.valueof(code) for code in (282, 283))
    if unit and x and y and x[0] and y[0]:
        found.claims.append(Claim("ImageJ unit", (unit * y[1] / y[0], unit * x[1] / x[0])))
    step = number(str(facts.get("spacing")))
    found.z_step_um = step * unit if unit and step else None
    return found


def read_series(series: TiffPageSeries, vendor: str, name: str) -> Found:
    """Return a parsed series as levels and planes; axes other than t, z and c must have length 1."""
    key = series.keyframe
    axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    lead = axes[: axes.index("Y")].replace("S", "")
    sizes = dict(zip(axes, shape, strict=True))
    strange = [a for a in lead if a not in "TZC" and sizes[a] > 1]
    if strange:
        message = f"{name}: expected axes t, z, c, y and x, got {axes} of {shape}; export one of the images alone."
        raise UnsupportedSlide(message)
    ranges = [range(sizes[a]) for a in lead]
    planes = tuple(
        Plane(**{a.lower(): i for a, i in zip(lead, spot, strict=True) if a in "TZC"})
        for spot in itertools.product(*ranges)
    )
    in_page = key.samplesperpixel if "C" in lead and sizes["C"] == key.samplesperpixel > 1 else 1
    if len(series.pages) * in_page == len(planes) and in_page > 1:
        planes = tuple(p for p in planes if p.c == 0)
    levels = []
    for level in series.levels:
        pages = list(level.pages)
        if any(p is None for p in pages) or len(pages) != len(planes):
            there = sum(p is not None for p in pages)
            message = f"{name}: expected {len(planes)} images, got {there}; get the missing files of the set."
            raise SlideDamaged(message)
        if in_proportion(size_yx(pages[0]), size_yx(key)):
            levels.append(pages)
    levels.sort(key=lambda pages: math.prod(size_yx(pages[0])), reverse=True)
    found = Found(vendor, levels, planes=planes, n_z=sizes.get("Z", 1), n_t=sizes.get("T", 1))
    n_c = 1 + max(p.c for p in planes)
    if n_c > 1:
        found.channels = tuple(Channel(f"channel {i}") for i in range(n_c))
    return found


def _check_counts(root: Element, name: str) -> None:
    """Refuse descriptions of more planes than a file can hold directories: the parser makes room for each at once."""
    for planes in (count for node in root.iter() for count in _planes(node)):
        if not planes <= MAX_DIRECTORIES:
            message = f"{name}: its OME-XML claims {planes:g} planes of one image; copy the file again from its source."
            raise SlideDamaged(message)


def _planes(node: Element) -> list[float]:
    """Return how many planes or steps a node of OME-XML speaks of, by each of its statements."""
    if node.tag == "Pixels":
        return [math.prod(number(node.get(f"Size{a}")) or 1.0 for a in "ZCT")]
    if node.tag == "TiffData":
        keys = ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")
        return [number(node.get(key)) or 0.0 for key in keys]
    if str(node.tag).startswith("ModuloAlong"):
        start, end, step = (number(node.get(key)) or 0.0 for key in ("Start", "End", "Step"))
        return [abs((end - start) / (step or 1.0))]
    return []


def _check_places(root: Element, name: str) -> None:
    """Refuse sets with files outside the folder of this one: a slide must not show whatever its XML points at."""
    for node in root.iter("UUID"):
        other = node.get("FileName", "")
        outside = PureWindowsPath(other).anchor or ".." in PureWindowsPath(other).parts  # knows both kinds of slashes
        if outside and node.text != root.get("UUID"):
            message = (
                f"{name}: its OME-XML names {other!r}, which is not in its folder; keep all files of a set together."
            )
            raise SlideDamaged(message)


def _pixels(series: TiffPageSeries) -> int:
    return math.prod(size_yx(series.keyframe))


def _describe(found: Found, image: Element, pixels: Element, root: Any) -> None:
    """Add what OME-XML says of pixel size, channels, steps and objective."""
    um = [_length(pixels, f"PhysicalSize{a}") for a in "YXZ"]
    if um[0] is not None and um[1] is not None:
        found.claims.append(Claim("OME PhysicalSize", (um[0], um[1])))
    found.z_step_um = um[2]
    step = number(pixels.get("TimeIncrement"))
    found.t_step_s = (
        step * {"ms": 1e-3, "min": 60.0, "h": 3600.0}.get(pixels.get("TimeIncrementUnit", "s"), 1.0) if step else None
    )
    nodes = pixels.findall("Channel")
    in_page = found.levels[0][0].keyframe.samplesperpixel
    apart = in_page > 1 and len(nodes) == in_page and all(n.get("SamplesPerPixel", "1") == "1" for n in nodes)
    if found.channels or apart:  # as many as are stored, however many the description names
        stored = found.channels or tuple(Channel(f"channel {i}") for i in range(in_page))
        found.channels = tuple(_channel(nodes[i], i) if i < len(nodes) else c for i, c in enumerate(stored))
    settings = image.find("ObjectiveSettings")
    lenses = {o.get("ID"): o for o in root.iter("Objective")}
    lens = lenses.get(settings.get("ID")) if settings is not None else next(iter(lenses.values()), None)
    if lens is not None:
        found.objective = number(lens.get("NominalMagnification"))
    if image.get("Name"):
        found.properties["ome.name"] = str(image.get("Name"))


def _length(pixels: Element, key: str) -> float | None:
    value, unit = number(pixels.get(key)), UNIT_UM.get(pixels.get(f"{key}Unit", "µm"))
    return None if value is None or unit is None else value * unit


def _channel(node: Element, index: int) -> Channel:
    name = node.get("Name") or node.get("Fluor") or f"channel {index}"
    packed = node.get("Color")
    if packed is None or not packed.lstrip("-").isdigit():
        return Channel(name)
    rgba = int(packed) & 0xFFFFFFFF  # OME: signed 32 bits, red first, alpha last
    return Channel(name, ((rgba >> 24) / 255, (rgba >> 16 & 255) / 255, (rgba >> 8 & 255) / 255))
