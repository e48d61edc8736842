"""Which part of a slide is tissue: colour against glass, without weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_wsi_mil.errors import NoTissue
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.outline import filled, outlines
from napari_wsi_mil.tiles.overview import read_overview
from napari_wsi_mil.tiles.stain import ink, is_dark_field, is_grey, tissue_score, white_point

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

    Bools = npt.NDArray[np.bool_]

COLOUR, DARK_FIELD = "colour over glass", "brightness over dark field"

ASSUMED_UM = 8.0
"""Side of a mask pixel of a slide without pixel size, for the sizes below; its true size is not known."""


@dataclass(frozen=True, slots=True)
class TissueOptions:
    """What `tissue_mask` may be told; lengths and areas on the slide."""

    exclude_ink: bool = True
    """Leave out pen marks by their colour; switch off for blue and green special stains such as Masson's trichrome."""
    min_object_um2: float = 10_000.0
    max_hole_um2: float = 500_000.0
    """Holes up to this size count as tissue: lumina, fat, tears."""
    bridge_um: float = 40.0
    """Gaps up to this width, such as fat cells between thin membranes, are closed."""
    min_width_um: float = 32.0
    """Objects nowhere wider than this are dropped: edges of coverslips, hairs."""


@dataclass(frozen=True)
class TissueMask:
    """Where tissue is. Pixel (i, j) of `mask` covers level-0 pixels [i*dy, (i+1)*dy) x [j*dx, (j+1)*dx)."""

    mask: Bools
    """(h, w) bool."""
    downsample_yx: tuple[float, float]
    """(dy, dx): level-0 pixels per mask pixel."""
    slide_shape_yx: tuple[int, int]
    method: str
    """'colour over glass', 'brightness over dark field' or 'drawn'."""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether no tissue was found."""
        return not self.mask.any()

    @property
    def share(self) -> float:
        """Part of the slide that is tissue, 0 to 1."""
        return float(self.mask.mean()) if self.mask.size else 0.0

    def require(self, name: str = "the slide") -> TissueMask:
        """Return the mask itself; raises NoTissue if it is empty."""
        if self.is_empty:
            message = (
                f"{name}: no tissue was found, expected some; draw it as a polygon in a Shapes layer and run again."
            )
            raise NoTissue(message)
        return self

    def polygons(self, *, simplify_px: float = 0.5) -> list[Polygon]:
        """Return one polygon per piece of tissue, with holes, largest first; vertices (y, x) in level-0 pixels.

        `simplify_px` mask pixels is how far an outline may deviate; 0 comes back from `from_polygons` unchanged.
        """
        unit = self.downsample_yx[0]
        return outlines(self.mask, unit=unit, simplify_px=simplify_px)

    @classmethod
    def from_polygons(
        cls,
        polygons: Iterable[Polygon | MultiPolygon],
        slide_shape_yx: tuple[int, int],
        *,
        downsample: float = 16.0,
        method: str = "drawn",
    ) -> TissueMask:
        """Return the mask of polygons with (y, x) level-0 vertices, `downsample` level-0 pixels per mask pixel."""
        shape = (math.ceil(slide_shape_yx[0] / downsample - 1e-6), math.ceil(slide_shape_yx[1] / downsample - 1e-6))
        unit = (float(downsample), float(downsample))
        return cls(filled(polygons, shape, unit_yx=unit), unit, slide_shape_yx, method)


def tissue_mask(
    slide: Slide, *, mpp: float = 8.0, options: TissueOptions | None = None, tick: Tick = no_tick
) -> TissueMask:
    """Find tissue at `mpp` um/px (longest side 2048 px where the pixel size is unknown); may be empty, see `require`.

    Tissue is what has more colour than glass, shadow and dust have, and is no pen mark. Raises BadRequest on
    multichannel fluorescence, SlideReadError, Cancelled.
    """
    options = options or TissueOptions()
    rgb, downsample = read_overview(slide, mpp=mpp, tick=tick)
    pixel_um = ASSUMED_UM if slide.mpp is None else downsample * slide.mpp
    dark = is_dark_field(rgb)
    white = white_point(rgb)
    score, threshold = tissue_score(rgb, dark=dark, white=white)
    pen = np.zeros(score.shape, bool)
    if options.exclude_ink and not dark and not is_grey(rgb):
        pen = ink(rgb, white=white)
    mask = tidy((score > threshold) & ~pen, pixel_um=pixel_um, options=options) & ~pen
    mask = ndimage.binary_opening(mask) if pen.any() else mask
    parameters = {**asdict(options), "pixel_um": pixel_um, "threshold": threshold, "white": white.tolist()}
    method = DARK_FIELD if dark else COLOUR
    return TissueMask(mask, (downsample, downsample), slide.shape0_yx, method, parameters)


def tidy(mask: Bools, *, pixel_um: float, options: TissueOptions) -> Bools:
    """Close gaps, fill holes and drop specks and lines, all by their size on the slide."""
    radius = min(round(options.bridge_um / 2 / pixel_um), 8)
    if radius:
        # Without the padding the erosion half of the closing would eat tissue along the picture's edge.
        padded = np.pad(mask, radius + 1)
        mask = ndimage.binary_closing(padded, _disk(radius))[radius + 1 : -radius - 1, radius + 1 : -radius - 1] | mask
    mask = _without(~mask, lambda areas, _: areas * pixel_um**2 > options.max_hole_um2, keep_border=True)
    mask = ~mask
    return _without(
        mask,
        lambda areas, widths: (
            (areas * pixel_um**2 >= options.min_object_um2)
            & (widths * pixel_um >= min(options.min_width_um, 4 * pixel_um))
        ),
    )


def _disk(radius: int) -> Bools:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk: Bools = y * y + x * x <= radius * (radius + 0.5)
    return disk


def _without(mask: Bools, worth: Any, *, keep_border: bool = False) -> Bools:
    """Return the 8-connected objects of `mask` for which `worth(area_px, width_px)` holds."""
    names, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    areas = np.bincount(names.ravel(), minlength=count + 1)[1:]
    # Twice the largest distance to the outside; the picture's edge is no outside.
    reach = ndimage.distance_transform_edt(mask) if not mask.all() else np.full(mask.shape, np.inf)
    widest = np.zeros(count + 1)
    np.maximum.at(widest, names.ravel(), reach.ravel())
    kept = np.concatenate([[False], worth(areas, 2 * widest[1:] - 1)])
    if keep_border:
        edge = np.concatenate([names[0], names[-1], names[:, 0], names[:, -1]])
        kept[edge[edge > 0]] = True
    return np.asarray(kept[names])
