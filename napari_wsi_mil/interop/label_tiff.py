"""Objects as a label picture: an OME-TIFF whose pixels hold the number of the object they lie in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
import tifffile
from shapely import affinity

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.tiles.outline import filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.results.objects import MaskObject, SlideRef

    Labels = npt.NDArray[np.uint32]

SIDE = 512
"""Pixels of a tile."""
MOST_PX = 2**31


def write_labels(path: Path | str, objects: Iterable[MaskObject], slide: SlideRef, *, mpp: float | None = None) -> Path:
    """Write the smallest picture, uint32, around all objects: 0 beside them, else the object's number.

    A pixel belongs to the object its centre lies in, where several overlap to the one with the highest number. `mpp` is
    um per pixel (None: as level 0). Pixels begin at whole multiples of their size from the slide's corner; the file
    says where (PositionX, PositionY). Tiles are made one by one, so memory stays small.
    Raises BadRequest without objects, for a pixel size on a slide without, and for more than 2^31 pixels, StoreError.
    """
    rows = sorted(objects, key=lambda one: one.number)
    step = _step(slide, mpp)
    if not rows:
        message = f"{path}: no objects, expected some for a label picture; outline some first."
        raise BadRequest(message)
    bounds = shapely.total_bounds([one.outline for one in rows]).reshape(2, 2)
    first = np.floor(bounds[0] / step).astype(int)
    h, w = (np.maximum(np.ceil(bounds[1] / step).astype(int) - first, 1)).tolist()
    if h * w > MOST_PX:
        message = f"{path}: {h} x {w} px are more than a label picture may have ({MOST_PX}); give a larger um/px."
        raise BadRequest(message)
    moved = [affinity.translate(one.outline, *(-first * step)) for one in rows]
    about = _about(slide, first * step, step)
    with written(path) as partial:
        tifffile.imwrite(
            partial, _tiles(moved, [one.number for one in rows], (h, w), step), shape=(h, w), dtype=np.uint32, ome=True,
            tile=(SIDE, SIDE), compression="zlib", predictor=True, bigtiff=True, metadata=about,
        )  # fmt: skip
    return Path(path)


def _step(slide: SlideRef, mpp: float | None) -> npt.NDArray[np.float64]:
    """Return level-0 pixels (y, x) per pixel of the picture."""
    if mpp is None:
        return np.ones(2)
    if slide.mpp_yx is None:
        message = f"{slide.name}: no pixel size, so no label picture of {mpp} um/px; enter it, or leave um/px out."
        raise BadRequest(message)
    if not (math.isfinite(mpp) and mpp > 0):
        message = f"a label picture has um/px above 0, got {mpp}."
        raise BadRequest(message)
    return mpp / np.asarray(slide.mpp_yx)


def _about(slide: SlideRef, corner_yx0: npt.NDArray[np.float64], step: npt.NDArray[np.float64]) -> dict[str, object]:
    """Return what OME-XML says: sizes and place in um, or in level-0 pixels."""
    mpp, unit = (slide.mpp_yx, "µm") if slide.mpp_yx else ((1.0, 1.0), "pixel")
    (y, x), (size_y, size_x) = (corner_yx0 * mpp).tolist(), (step * mpp).tolist()
    return {
        "axes": "YX", "Name": f"objects of {slide.name}",
        "PhysicalSizeX": size_x, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size_y, "PhysicalSizeYUnit": unit,
        "Plane": {"PositionX": [x], "PositionXUnit": [unit], "PositionY": [y], "PositionYUnit": [unit]},
    }  # fmt: skip


def _tiles(
    outlines: Sequence[shapely.Polygon | shapely.MultiPolygon], numbers: Sequence[int], shape: tuple[int, int],
    step: npt.NDArray[np.float64],
) -> Iterator[Labels]:  # fmt: skip
    tree = shapely.STRtree(list(outlines))
    for top in range(0, shape[0], SIDE):
        for left in range(0, shape[1], SIDE):
            corner = np.array((top, left)) * step
            out = np.zeros((SIDE, SIDE), np.uint32)
            for i in np.sort(tree.query(shapely.box(*corner, *(corner + SIDE * step)))):
                part = affinity.translate(outlines[i], *(-corner))
                out[filled([part], out.shape, unit_yx=(step[0], step[1]))] = numbers[i]
            yield out
