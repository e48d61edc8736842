"""What a vendor's reading of a TIFF yields, and the parts all vendors share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_wsi_mil.slide.pixel_size import CM_UM, INCH_UM, Claim, from_resolution
from napari_wsi_mil.slide.spec import Channel, Plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tifffile import TiffFrame, TiffPage

    Pages = Sequence[TiffPage | TiffFrame]

UNIT_UM = {2: INCH_UM, 3: CM_UM}
REDUCED = 1


@dataclass
class Found:
    """The pyramid and its surroundings, as pages; filled step by step by one vendor's reader."""

    vendor: str
    levels: Sequence[Pages]
    """Per level its pages, one per plane."""
    planes: tuple[Plane, ...] = (Plane(),)
    """What the pages of each level are."""
    sizes_yx: list[tuple[int, int]] | None = None
    """True sizes where the stored pages are padded at the bottom and right."""
    downsamples_yx: list[tuple[float, float]] | None = None
    """Where they are not the ratio of sizes."""
    associated: dict[str, TiffPage] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    """Associated images that are files of their own (JPEG) inside a description."""
    claims: list[Claim] = field(default_factory=list)
    objective: float | None = None
    channels: tuple[Channel, ...] = ()
    n_z: int = 1
    n_t: int = 1
    z_step_um: float | None = None
    t_step_s: float | None = None
    origin_yx0: tuple[int, int] = (0, 0)
    """Where the pyramid's first pixel lies on the glass, where the file says so."""
    white_gaps: bool = False
    """Tiles that are not stored are glass in this format."""
    openslide_better: bool = False
    """Our way of reading is wrong here (tiles overlap) or very slow: OpenSlide should, if it opens the file."""
    properties: dict[str, str] = field(default_factory=dict)


def size_yx(page: TiffPage | TiffFrame) -> tuple[int, int]:
    """Return stored height and width."""
    return page.keyframe.imagelength, page.keyframe.imagewidth


def alike(page: TiffPage, main: TiffPage) -> bool:
    """Whether `page` can be a level or plane of `main`: same samples, type and colour, sizes in proportion."""
    same = ("samplesperpixel", "bitspersample", "photometric", "planarconfig")
    if any(getattr(page, a) != getattr(main, a) for a in same) or bool(page.dtype != main.dtype):
        return False
    return in_proportion(size_yx(page), size_yx(main))


def in_proportion(small_yx: tuple[int, int], full_yx: tuple[int, int]) -> bool:
    """Whether one ratio explains both axes, up to 2 px of rounding."""
    (h, w), (full_h, full_w) = small_yx, full_yx
    if min(h, w) < 1 or h > full_h or w > full_w:
        return False
    ratio = (full_h / h * full_w / w) ** 0.5
    return bool(abs(full_h / ratio - h) <= max(2, 0.01 * h) and abs(full_w / ratio - w) <= max(2, 0.01 * w))


def by_size(pages: Iterable[TiffPage]) -> list[list[TiffPage]]:
    """Group pages of one size, in file order, and sort the groups fine to coarse."""
    groups: dict[tuple[int, int], list[TiffPage]] = {}
    for page in pages:
        groups.setdefault(size_yx(page), []).append(page)
    return [groups[s] for s in sorted(groups, key=lambda s: s[0] * s[1], reverse=True)]


def resolution_claim(page: TiffPage, source: str = "TIFF XResolution") -> list[Claim]:
    """Return what tags 282, 283 and 296 say, unless it is a printer's default."""
    try:
        x, y = (_ratio(page.tags.valueof(code)) for code in (282, 283))
    except (TypeError, ValueError, ZeroDivisionError):
        return []
    if x is None or y is None:
        return []
    um = from_resolution((y, x), UNIT_UM.get(int(page.tags.valueof(296, 2))))
    return [Claim(source, um)] if um else []


def _ratio(value: tuple[int, int] | float | None) -> float | None:
    if isinstance(value, tuple):
        return value[0] / value[1]
    return value


def number(text: str | None) -> float | None:
    """Return a vendor's number, also with a decimal comma; None where it is none."""
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return None


def subpages(page: TiffPage) -> list[TiffPage]:
    """Return the pages in the SubIFDs of `page`."""
    return [p for p in (page.pages or []) if p is not None] if page.subifds else []
