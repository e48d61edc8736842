"""Tile coordinates of other programs (TRIDENT, CLAM) as a TileGrid of an opened slide.

Files hold (x, y) top-left corners in level-0 pixels; here they become (y, x). What a tile is comes from attributes:
TRIDENT says `patch_size_level0` and `patch_size`, CLAM `patch_size` at `patch_level` with its `downsample`. Where
neither is there, the step from tile to tile is taken for the tile's side, and a note says so.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.tiles import TileGrid

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_wsi_mil.slide import Slide

    Floats = npt.NDArray[np.float64]

OURS = "napari_wsi_mil"
"""Attribute of `coords` in which our own files keep the grid, beside a dataset `cells`: what integers cannot say."""
SIZES = (
    "patch_size", "patch_size_level0", "patch_level", "downsample", "custom_downsample", "overlap",
    "level0_magnification", "target_magnification",
)  # fmt: skip
GRID_ATTRIBUTES = (*SIZES, "level0_height", "level0_width", OURS)
"""All that is read of what a file says of its coordinates."""
NOTHING = ("", "none", "nan")


class Patch(NamedTuple):
    """What a tile is."""

    side0: float
    """Level-0 pixels along its side."""
    tile_px: int
    """Pixels along its side as the encoder saw it."""
    overlap_px: float | None
    """Of those, shared with the next tile; None where the file does not say."""


class FoundGrid(NamedTuple):
    """A grid and what its reader should know."""

    grid: TileGrid
    notes: tuple[str, ...] = ()


def grid_from(
    slide: Slide,
    coords: npt.NDArray[Any],
    attributes: Mapping[str, Any],
    *,
    name: str,
    cells: npt.NDArray[Any] | None = None,
    side0: float | None = None,
    tile_px: int | None = None,
) -> FoundGrid:
    """Return the grid of (N, 2) (x, y) corners; a leading axis of length 1 is dropped. Rows keep their order.

    `side0` (level-0 px) and `tile_px` (px as encoded) say what a tile is where the file does not, and overrule it.
    `name` is the file's, for messages. Raises BadRequest where the coordinates are no pairs of finite numbers, no
    tile size can be found, or the tiles do not lie on this slide; PixelSizeUnknown.
    """
    xy = _pairs(coords, name)
    _check_size(slide, attributes, name)
    own = _own_grid(slide, xy, attributes, cells=cells)
    if own is not None:
        return FoundGrid(own)
    step = common_step(xy)
    patch, notes = _patch(attributes, step, name=name, side0=side0, tile_px=tile_px)
    yx0 = np.ascontiguousarray(xy[:, ::-1])
    _check_inside(slide, yx0, patch, name=name)
    downsample = patch.side0 / patch.tile_px
    if patch.overlap_px is not None:
        stride = patch.tile_px - patch.overlap_px
    else:
        stride = patch.tile_px if step is None else step / downsample
    stride_px = max(round(stride), 1)
    cells32 = np.rint(yx0 / (stride_px * downsample)).astype(np.int32)
    mpp = slide.require_mpp() * downsample
    grid = TileGrid(
        mpp, patch.tile_px, stride_px, downsample, cells32, slide.shape0_yx, slide.fingerprint, corners_yx0=yx0
    )
    return FoundGrid(grid, notes)


def common_step(xy: Floats) -> float | None:
    """Return the most frequent distance between neighbours of one row or column of tiles, the smallest of equals.

    Where no two tiles share a row or column it is the smallest positive distance along an axis; None for none.
    CLAM starts its lattice anew for every piece of tissue, so distances across pieces mean nothing.
    """
    steps = []
    for along, across in ((0, 1), (1, 0)):
        order = np.lexsort((xy[:, along], xy[:, across]))
        line = np.diff(xy[order, across]) == 0
        steps.append(np.diff(xy[order, along])[line])
    found = np.concatenate(steps)
    found = found[found > 0]
    if not len(found):
        apart = np.concatenate([np.diff(np.unique(xy[:, axis])) for axis in (0, 1)])
        return float(apart.min()) if len(apart) else None
    values, counts = np.unique(found, return_counts=True)
    return float(values[np.argmax(counts)])


def number(attributes: Mapping[str, Any], key: str, name: str) -> float | None:
    """Return an attribute as a number: numpy scalars, one-element arrays and texts too; None for absent or 'None'.

    Raises BadRequest for anything else.
    """
    value = attributes.get(key)
    if isinstance(value, list | tuple | np.ndarray) and np.size(value):
        value = np.ravel(value)[0]  # a pair per axis, such as CLAM's downsample, is alike on both to rounding
    if value is None or (isinstance(value, str) and value.strip().lower() in NOTHING):
        return None
    try:
        out = float(value)
    except (TypeError, ValueError) as error:
        message = f"{name}: attribute {key} is {value!r}, expected a number; write the file again with its program."
        raise BadRequest(message) from error
    return out if math.isfinite(out) else None


def _pairs(coords: npt.NDArray[Any], name: str) -> Floats:
    if coords.ndim == 3 and coords.shape[0] == 1:
        coords = coords[0]
    if coords.size == 0:
        return np.zeros((0, 2))
    if coords.ndim != 2 or coords.shape[1] != 2 or coords.dtype.kind not in "iuf" or not np.isfinite(coords).all():
        message = (
            f"{name}: coords have shape {coords.shape} and type {coords.dtype}, expected finite (x, y) of each tile, "
            "(N, 2); take the file that features were made with."
        )
        raise BadRequest(message)
    return np.asarray(coords, np.float64)


def _patch(
    attributes: Mapping[str, Any], step: float | None, *, name: str, side0: float | None, tile_px: int | None
) -> tuple[Patch, tuple[str, ...]]:
    values = {key: number(attributes, key, name) for key in SIZES}
    notes: tuple[str, ...] = ()
    side = side0 or _stated_side(values)
    if side is None and step is not None:
        side = step
        note = (
            f"{name} does not say how large its tiles are: the step between them, {step:g} level-0 px, was taken; "
            "give another size if tiles overlapped."
        )
        notes = (note,)
    if side is None:
        message = (
            f"{name}: holds no patch_size_level0, and {'one tile' if step is None else 'its tiles'} cannot tell it; "
            "give the side of a tile in level-0 pixels."
        )
        raise BadRequest(message)
    pixels = tile_px or values["patch_size"] or side
    if not (side > 0 and pixels >= 1 and math.isfinite(side)):
        message = f"{name}: tiles of {side:g} level-0 px and {pixels:g} px cannot be; give their size."
        raise BadRequest(message)
    return Patch(float(side), max(round(pixels), 1), values["overlap"]), notes


def _stated_side(values: Mapping[str, float | None]) -> float | None:
    """Return the side of a tile in level-0 pixels as the attributes tell it, None where they do not."""
    if values["patch_size_level0"]:
        return values["patch_size_level0"]
    size = values["patch_size"]
    if size and values["level0_magnification"] and values["target_magnification"]:
        return float(size * values["level0_magnification"] // values["target_magnification"])
    if size and (values["downsample"] or values["patch_level"] == 0):
        # CLAM cuts its levels' ratios to whole numbers, and reads that many pixels.
        return size * int(values["downsample"] or 1) * (values["custom_downsample"] or 1)
    return None


def _check_size(slide: Slide, attributes: Mapping[str, Any], name: str) -> None:
    stated = number(attributes, "level0_height", name), number(attributes, "level0_width", name)
    if None not in stated and stated != slide.shape0_yx:
        message = (
            f"{name}: was made on a slide of {stated[0]:g} x {stated[1]:g} px (height x width), expected that of "
            f"{slide.name}, {slide.shape0_yx[0]} x {slide.shape0_yx[1]}; choose the slide it belongs to."
        )
        raise BadRequest(message)


def _check_inside(slide: Slide, yx0: Floats, patch: Patch, *, name: str) -> None:
    """Refuse tiles that do not touch the slide, or are larger than it on both axes."""
    shape = np.asarray(slide.shape0_yx)
    outside = ((yx0 >= shape) | (yx0 <= -patch.side0)).any(1)
    if outside.any():
        y, x = yx0[np.flatnonzero(outside)[0]]
        message = (
            f"{name}: {outside.sum()} of {len(yx0)} tiles lie outside {slide.name} ({shape[0]} x {shape[1]} px), the "
            f"first at y {y:g}, x {x:g}; choose the slide it belongs to."
        )
        raise BadRequest(message)
    if len(yx0) and patch.side0 > shape.max():
        message = (
            f"{name}: tiles of {patch.side0:g} level-0 px do not fit {slide.name} ({shape[0]} x {shape[1]} px); "
            "choose the slide it belongs to."
        )
        raise BadRequest(message)


def _own_grid(
    slide: Slide, xy: Floats, attributes: Mapping[str, Any], *, cells: npt.NDArray[Any] | None
) -> TileGrid | None:
    """Return the very grid a file of ours was written from; None for files of others, or where rows were changed."""
    text = attributes.get(OURS)
    if not isinstance(text, str) or cells is None or cells.shape != xy.shape:
        return None
    try:
        said = json.loads(text)
        grid = TileGrid(
            float(said["mpp"]), int(said["tile_px"]), int(said["stride_px"]), float(said["downsample"]),
            np.asarray(cells, np.int32), slide.shape0_yx, str(said["slide_fingerprint"]),
            np.ascontiguousarray(xy[:, ::-1]) if said["foreign"] else None,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None
    there = grid.yx0[:, ::-1] if said["foreign"] else np.rint(grid.yx0[:, ::-1])
    same = grid.slide_fingerprint == slide.fingerprint and np.array_equal(there, xy)
    return grid if same else None
