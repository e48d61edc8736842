"""Where a model's regions lie in a slide, and which stored level suits them."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.slide.scale import level_for_downsample

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.slide import Level, Slide


@dataclass(frozen=True)
class RootFrame:
    """The square that regions are placed in: (-1, -1) is its top-left corner, (1, 1) its bottom-right."""

    centre_yx0: tuple[float, float]
    side_px0: float

    @classmethod
    def of(cls, slide: Slide, region: Sequence[Polygon | MultiPolygon] | None = None) -> RootFrame:
        """Return the square around the slide, or around `region` ((y, x) level-0 polygons), its side the longer one.

        Raises BadRequest for a region without extent.
        """
        low, high = np.zeros(2), np.array(slide.shape0_yx, float)
        if region is not None:
            bounds = np.array([part.bounds for part in region if part.area > 0]).reshape(-1, 4)
            if not len(bounds):
                message = f"{slide.name}: the region is empty, expected a polygon with an area; draw it anew."
                raise BadRequest(message)
            low, high = bounds[:, :2].min(0), bounds[:, 2:].max(0)
        y, x = (low + high) / 2
        return cls((float(y), float(x)), float((high - low).max()))

    def to_level0(
        self, centre: npt.NDArray[Any], scale: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return centres (K, 2) (y, x) and sides (K,) in level-0 pixels of regions of this frame.

        `centre` (K, 2) is (y, x) in -1..1, `scale` (K,) a region's side over the frame's. The paper's grids put -1 and
        1 on the centres of the outermost pixels, here they are the edges: at 112 px that moves nothing by 1 %.
        """
        centres = np.asarray(self.centre_yx0) + np.asarray(centre, float) * (self.side_px0 / 2)
        return centres, np.asarray(scale, float) * self.side_px0


def choose_level(levels: Sequence[Level], side_px0: float, px: int) -> int:
    """Return the coarsest stored level that has `px` pixels or more over a side; level 0 where none has.

    A level that lacks up to 1 % counts: vendor pyramids have 4.0001 where 4 is meant.
    """
    return level_for_downsample(levels, side_px0 / px)


def paper_level(roi_hw: tuple[int, int], slide_hw: tuple[int, int], *, m_max: int = 8) -> tuple[int, int, int, int]:
    """Return (R_h, R_w, R, m) of the paper's formula (section 3.4 of the specification) for its own pyramid.

    R_x = floor(log2(slide / ROI)) per axis, R the larger, m = max(m_max - R, 0); level m_max shows the whole slide,
    each level below doubles the resolution, 0 is the finest. `choose_level` is the same rule for pyramids as they are.
    """
    r_h, r_w = (floor(log2(whole / part)) for whole, part in zip(slide_hw, roi_hw, strict=True))
    r = max(r_h, r_w)
    return r_h, r_w, r, max(m_max - r, 0)
