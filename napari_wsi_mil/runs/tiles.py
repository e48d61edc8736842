"""Reads the tiles of a grid ahead of whoever computes on them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_wsi_mil.errors import SlideError, SlideReadError
from napari_wsi_mil.slide.blocks import cores
from napari_wsi_mil.slide.scale import level_for_downsample

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Future

    import numpy.typing as npt

    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles import TileGrid

    Pixels = npt.NDArray[np.uint8]
    Rows = npt.NDArray[np.intp]

BLOCK_OUT_PX = 512
"""Side, in tile pixels, of the square of tiles read at once: one read of 4 x 4 tiles costs less than 16 reads."""
BLOCK_IN_PX = 4096
"""The same in pixels of the level read from, which bounds memory where only a much finer level exists."""
READERS = max(2, min(cores() // 2, 8))
AHEAD = 3 * READERS
"""Squares read or being read before they are needed."""


class Batch(NamedTuple):
    """Some tiles with their place in the grid."""

    rows: Rows
    """(n,) indices into the grid."""
    tiles: Pixels
    """(n, tile_px, tile_px, 3) uint8 RGB."""


def blocks(slide: Slide, grid: TileGrid, rows: Rows) -> list[Rows]:
    """Return `rows` in groups that lie in one square of the lattice each, squares in row order.

    The squares belong to the lattice, not to the rows, so a tile is read alike whatever else is wanted.
    """
    level = slide.levels[level_for_downsample(slide.levels, grid.downsample)]
    side = min(BLOCK_OUT_PX, int(BLOCK_IN_PX * max(level.downsample_yx) / grid.downsample))
    across = max(side // grid.stride_px, 1) if grid.stride_px <= grid.tile_px else 1
    square = grid.cells[rows] // across
    # Corners laid by other programs may lie between the pixels of their neighbours: such tiles are read apart.
    between = (
        np.rint(grid.yx0[rows] % grid.downsample * 16) if grid.corners_yx0 is not None else np.zeros((len(rows), 2))
    )
    keys = np.concatenate([between[:, ::-1], square[:, ::-1]], 1)
    order = np.lexsort(keys.T)
    cuts = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(1)) + 1
    return [group for group in np.split(rows[order], cuts) if len(group)]


def read_block(slide: Slide, grid: TileGrid, rows: Rows) -> Batch:
    """Read neighbouring tiles in one piece and cut it; raises SlideReadError naming the tile that cannot be read."""
    if grid.corners_yx0 is None:
        cells = grid.cells[rows]
        corner = cells.min(0) * np.asarray(grid.stride_yx0)
        offsets = (cells - cells.min(0)) * grid.stride_px
    else:
        corner = grid.yx0[rows].min(0)
        offsets = np.rint((grid.yx0[rows] - corner) / grid.downsample).astype(int)
    size = offsets.max(0) + grid.tile_px
    mpp = grid.downsample * slide.require_mpp()
    try:
        piece = slide.read_rgb((float(corner[0]), float(corner[1])), (int(size[0]), int(size[1])), mpp=mpp)
    except SlideError as error:
        raise _located(slide, grid, rows, error) from error
    n = grid.tile_px
    return Batch(rows, np.stack([piece[y : y + n, x : x + n] for y, x in offsets]))


def _located(slide: Slide, grid: TileGrid, rows: Rows, error: SlideError) -> SlideError:
    """Return an error that names the first tile of the piece that cannot be read on its own."""
    n, mpp = grid.tile_px, grid.downsample * slide.require_mpp()
    for row in rows:
        y, x = (float(v) for v in grid.yx0[row])
        try:
            slide.read_rgb((y, x), (n, n), mpp=mpp)
        except SlideReadError as reason:
            message = f"{slide.name}: the tile at level-0 pixel (y {y:.0f}, x {x:.0f}) could not be read: {reason}"
            return SlideReadError(message)
    return error


def read_tiles(slide: Slide, grid: TileGrid, rows: Rows, *, batch: int) -> Generator[Batch]:
    """Yield the tiles of `rows` in batches of `batch` (the last one smaller), read ahead by threads of its own.

    Close the generator to stop reading early; it waits for the reads at hand. Raises SlideReadError.
    """
    pool = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="wsi-tiles")
    ahead: deque[Future[Batch]] = deque()
    try:
        waiting: list[Batch] = []
        todo = iter(blocks(slide, grid, rows))
        while True:
            while len(ahead) < AHEAD and (block := next(todo, None)) is not None:
                ahead.append(pool.submit(read_block, slide, grid, block))
            if not ahead:
                break
            waiting.append(ahead.popleft().result())
            while sum(len(b.rows) for b in waiting) >= batch:
                whole = _joined(waiting)
                yield Batch(whole.rows[:batch], whole.tiles[:batch])
                waiting = [Batch(whole.rows[batch:], whole.tiles[batch:])]
        rest = _joined(waiting) if waiting else None
        if rest is not None and len(rest.rows):
            yield rest
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _joined(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return Batch(np.concatenate([p.rows for p in parts]), np.concatenate([p.tiles for p in parts]))
