"""Square views of a slide at any size, read straight from the file's stored levels."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest, SlideReadError
from napari_wsi_mil.slide import Box
from napari_wsi_mil.slide.blocks import cores, decode_pool
from napari_wsi_mil.slide.regions import as_rgb
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.coarse import Cells, CoarsePictures
from napari_wsi_mil.tiles.frame import RootFrame, choose_level, paper_level
from napari_wsi_mil.tiles.shrink import Axis, gathered
from napari_wsi_mil.tiles.stain import extremes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from concurrent.futures import Future

    import numpy.typing as npt

    from napari_wsi_mil.slide import Level, Slide, Stored
    from napari_wsi_mil.slide.blocks import BlockCache
    from napari_wsi_mil.ticks import Tick

    Pixels = npt.NDArray[Any]
    Parts = list[tuple[int, int, int, npt.NDArray[np.float32]]]
    """(view, first row, first column, what one piece of the file gives to its cells)"""

__all__ = ["Readings", "RootFrame", "Tally", "black_out", "choose_level", "paper_level", "read_views"]

UNIT_PX = 256
"""Smaller tiles, such as strips of a few rows, are read several at once."""
_KEPT = "views"
WAITING_BYTES = 2**27
"""Pixels on their way from the file at one time, where tiles are no larger than that."""


@dataclass
class Tally:
    """What was read so far; pass one to several readings to sum up."""

    pixels: int = 0
    """Pixels of the views inside the slide, at their own size."""
    file_pixels: int = 0
    """Pixels decoded from stored levels."""
    file_tiles: int = 0
    """Tiles that hold them, each counted whenever it is decoded: once per batch of views."""
    file_bytes: int | None = 0
    """Their length as stored; None where the backend does not tell."""

    def add(self, box: Box, stored: Stored) -> None:
        """Count the pixels of one box read from the file."""
        self.file_pixels += box.h * box.w
        self.file_tiles += stored.tiles
        known = self.file_bytes is not None and stored.bytes is not None
        self.file_bytes = self.file_bytes + stored.bytes if known else None  # type: ignore[operator]


class Readings(NamedTuple):
    """Views of one size."""

    rgb: npt.NDArray[np.uint8]
    """(K, px, px, 3) uint8 RGB; black outside the slide and where there is glass."""
    levels: tuple[int, ...]
    """The stored level each was read from."""


class _View(NamedTuple):
    name: str
    place: str
    level: int
    rows: Axis
    cols: Axis

    @property
    def lie(self) -> Cells:
        """Its pixels as cells of the level."""
        return Cells(self.level, self.rows, self.cols)

    @property
    def span(self) -> Box:
        """The pixels of the level that it needs."""
        (top, bottom), (left, right) = self.rows.span, self.cols.span
        empty = top == bottom or left == right
        return Box(0, 0, 0, 0) if empty else Box(top, left, bottom - top, right - left)

    @property
    def cells(self) -> int:
        """How many of its pixels lie in the slide."""
        (top, bottom), (left, right) = self.rows.shown, self.cols.shown
        return (bottom - top) * (right - left)


class _Job(NamedTuple):
    """One piece of a level, whole tiles, and the views that need of it."""

    level: int
    box: Box
    views: tuple[int, ...]


def read_views(
    slide: Slide,
    centre_yx0: npt.ArrayLike,
    side_px0: npt.ArrayLike,
    px: int,
    *,
    grey: int = 15,
    names: Sequence[str] = (),
    count: Tally | None = None,
    kept: BlockCache | None = None,
    coarse: CoarsePictures | None = None,
    tick: Tick = no_tick,
) -> Readings:
    """Read squares parallel to the axes, each from the stored level that suits it, decoding only the tiles under them.

    `centre_yx0` (K, 2) and `side_px0` (K,) are level-0 pixels; every view has `px` x `px` pixels: area means of the
    level's pixels, interpolated where level 0 has too few. What lies outside the slide is black, and so are pixels
    whose R, G and B differ by less than `grey` after that (glass; 0 keeps them). Tiles under several views are decoded
    once, on all cores; memory stays small however much has to be read. Pieces `kept` by earlier calls are taken from
    there and not counted again; it belongs to one slide, and so does `coarse`: once a large level was read, views that
    show little of its detail are drawn from there, see `CoarsePictures`. `tick` counts pieces of the file.
    Raises BadRequest on fluorescence and on squares that are none, SlideReadError with the view (of `names`) and its
    place if any tile cannot be read, Cancelled.
    """
    centres, sides = np.asarray(centre_yx0, float).reshape(-1, 2), np.asarray(side_px0, float).reshape(-1)
    _check(slide, centres, sides, px)
    views = [
        _placed(slide, centre, side, px=px, name=names[k] if names else f"number {k + 1}")
        for k, (centre, side) in enumerate(zip(centres.tolist(), sides.tolist(), strict=True))
    ]
    sums = np.zeros((len(views), px, px, 3), np.float32)
    left = [k for k, view in enumerate(views) if coarse is None or not coarse.draw(view.lie, into=sums[k])]
    made = [] if coarse is None else coarse.wanted([views[k].lie for k in left])
    means = [np.zeros((lie.rows.cells, lie.cols.cells, 3), np.float32) for lie in made]
    targets = [*(views[k] for k in left), *(_View("", "", lie.level, lie.rows, lie.cols) for lie in made)]
    count = Tally() if count is None else count
    _gather(slide, targets, [*(sums[k] for k in left), *means], count=count, kept=kept, tick=tick)
    if coarse is not None:
        coarse.keep(made, means)
    count.pixels += sum(view.cells for view in views)
    rgb = np.rint(sums).astype(np.uint8)
    black_out(rgb, grey=grey)
    return Readings(rgb, tuple(view.level for view in views))


def _gather(
    slide: Slide,
    views: list[_View],
    sums: list[npt.NDArray[np.float32]],
    *,
    count: Tally,
    kept: BlockCache | None,
    tick: Tick,
) -> None:
    """Read what the views need and add it to the cells of each."""
    jobs = list(_jobs(slide, views))
    with contextlib.closing(_done(slide, views, jobs=jobs, kept=kept)) as done:
        for i, (job, (pixels, stored, parts)) in enumerate(zip(jobs, done, strict=True)):
            for k, row, col, part in parts:
                sums[k][row : row + part.shape[0], col : col + part.shape[1]] += part
            if stored is not None:
                count.add(job.box, stored)
                if kept is not None:
                    kept.get(_KEPT, job[:2], partial(np.asarray, pixels))
            tick(i + 1, len(jobs))


def black_out(rgb: npt.NDArray[np.uint8], *, grey: int) -> None:
    """Make pixels of (..., 3) uint8 whose R, G and B differ by less than `grey` black, in place."""
    low, high = extremes(rgb)
    rgb[high - low < grey] = 0


def _check(slide: Slide, centres: npt.NDArray[np.float64], sides: npt.NDArray[np.float64], px: int) -> None:
    if slide.meta.channels:
        message = (
            f"{slide.name}: models for stained tissue need a colour slide, got {len(slide.meta.channels)} "
            "fluorescence channels; choose a slide in bright light."
        )
        raise BadRequest(message)
    if len(centres) != len(sides) or px < 1 or not (np.isfinite(centres).all() and (sides > 0).all()):
        message = (
            f"{slide.name}: views need finite centres, as many sides above 0, and a size of 1 px or more, "
            f"got {len(centres)} centres, sides {sides.tolist()} and {px} px."
        )
        raise BadRequest(message)


def _placed(slide: Slide, centre: list[float], side: float, *, px: int, name: str) -> _View:
    index = choose_level(slide.levels, side, px)
    level = slide.levels[index]
    rows, cols = (
        Axis((c - side / 2) / d, side / d / px, px, n)
        for c, d, n in zip(centre, level.downsample_yx, level.shape_yx, strict=True)
    )
    place = f"{side:.0f} px around row {centre[0]:.0f}, column {centre[1]:.0f} of level 0"
    return _View(name, place, index, rows, cols)


def _jobs(slide: Slide, views: list[_View]) -> Iterator[_Job]:
    """Yield the pieces to read, level by level, row by row."""
    for index in sorted({view.level for view in views}):
        level = slide.levels[index]
        unit = [tile * max(round(UNIT_PX / tile), 1) for tile in level.tile_yx]
        under: dict[tuple[int, int], list[int]] = {}
        for k, view in enumerate(views):
            if view.level == index:
                y, x, h, w = view.span
                for row in range(y // unit[0], -(-(y + h) // unit[0])):
                    for col in range(x // unit[1], -(-(x + w) // unit[1])):
                        under.setdefault((row, col), []).append(k)
        for row, col in sorted(under):
            whole = Box(row * unit[0], col * unit[1], unit[0], unit[1])
            spans = [views[k].span for k in under[row, col]]
            yield _Job(index, _tiles_under(whole, spans, level), tuple(under[row, col]))


def _tiles_under(whole: Box, spans: list[Box], level: Level) -> Box:
    """Return the smallest box of whole tiles in `whole` that holds what the spans need of it."""
    th, tw = level.tile_yx
    top = max(min(s.y for s in spans), whole.y) // th * th
    left = max(min(s.x for s in spans), whole.x) // tw * tw
    bottom = min(-(-max(s.y + s.h for s in spans) // th) * th, whole.y + whole.h)
    right = min(-(-max(s.x + s.w for s in spans) // tw) * tw, whole.x + whole.w)
    return Box(top, left, bottom - top, right - left).clipped(level.shape_yx)


def _done(
    slide: Slide, views: list[_View], *, jobs: list[_Job], kept: BlockCache | None
) -> Generator[tuple[Pixels, Stored | None, Parts]]:
    """Yield what the jobs give in their order, so that sums come out alike; several are read at once."""
    waiting: deque[Future[tuple[Pixels, Stored | None, Parts]]] = deque()
    try:
        for job in jobs:
            pixels = None if kept is None else kept.peek(_KEPT, job[:2])
            waiting.append(decode_pool().submit(_read, slide, views, job=job, pixels=pixels))
            if len(waiting) > max(min(4 * cores(), WAITING_BYTES // (job.box.h * job.box.w * 8)), 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _read(slide: Slide, views: list[_View], *, job: _Job, pixels: Pixels | None) -> tuple[Pixels, Stored | None, Parts]:
    """Decode one piece, unless it is given, and reduce it to what it gives to each view."""
    stored = None
    if pixels is None:
        try:
            pixels, stored = slide.read_stored(job.level, job.box)
        except SlideReadError as error:
            first = views[job.views[0]]
            message = f"{slide.name}: region {first.name} ({first.place}) cannot be read: {error}"
            raise SlideReadError(message) from error
    rgb, parts = as_rgb(pixels, name=slide.name), []
    for k in job.views:
        y0, y1 = _shared(views[k].rows.span, job.box.y, job.box.h)
        x0, x1 = _shared(views[k].cols.span, job.box.x, job.box.w)
        for top in range(y0, y1, UNIT_PX):  # as floats, a huge tile would be too large
            bottom = min(top + UNIT_PX, y1)
            row, down = views[k].rows.weights(top, bottom)
            col, across = views[k].cols.weights(x0, x1)
            part = rgb[top - job.box.y : bottom - job.box.y, x0 - job.box.x : x1 - job.box.x]
            parts.append((k, row, col, gathered(part, down, across)))
    return pixels, stored, parts


def _shared(span: tuple[int, int], start: int, length: int) -> tuple[int, int]:
    """Return the part of a span inside a piece; empty spans where they do not meet."""
    low = max(span[0], start)
    return low, max(min(span[1], start + length), low)
