"""Decodes what the user will probably look at next, while nothing else is asked for."""

from __future__ import annotations

import threading
import time
from itertools import islice
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import SlideError
from napari_wsi_mil.slide.blocks import cores, decode_pool
from napari_wsi_mil.slide.spec import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_wsi_mil.slide.pyramid import BlockReader

QUIET_S = 0.04
RING_SHARE = 0.5
"""Part of the cache that prefetched blocks may take, so that what is on screen stays."""


class Prefetcher:
    """One thread that loads the ring of blocks around the last view, then the next coarser view, then sleeps.

    A new demand interrupts it after the block at hand. Read errors are left for the read that needs the block.
    """

    def __init__(self, reader: BlockReader) -> None:
        self._reader = reader
        self._wake = threading.Condition()
        self._view: tuple[int, Box, Plane] | None = None
        self._last_s = 0.0
        self._stamp = 0
        self._stop = False
        self._thread: threading.Thread | None = None

    def seen(self, step: int, box: Box, plane: Plane) -> None:
        """Note a demand; boxes that follow within 50 ms on one level count as one view."""
        now = time.monotonic()
        with self._wake:
            old = self._view
            if old and old[0] == step and old[2] == plane and now - self._last_s < 0.05:
                box = _union(old[1], box)
            self._view, self._last_s = (step, box, plane), now
            self._stamp += 1
            if self._thread is None and not self._stop:
                self._thread = threading.Thread(target=self._run, name="wsi-prefetch", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """Stop the thread and wait for the block it is at."""
        with self._wake:
            self._stop = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        handled = 0
        while True:
            with self._wake:
                while not self._stop and self._stamp == handled:
                    self._wake.wait()
                while not self._stop and (pause := self._last_s + QUIET_S - time.monotonic()) > 0:
                    self._wake.wait(pause)
                if self._stop or self._view is None:
                    return
                handled, view = self._stamp, self._view
            self._load(view, handled)

    def _load(self, view: tuple[int, Box, Plane], stamp: int) -> None:
        """Load block by block on all cores; a new demand leaves at most one block per core under way."""
        reader, budget = self._reader, self._reader.cache.budget_bytes * RING_SHARE
        wanted = (spot for spot in self._wanted(view) if not reader.holds(*spot, view[2]))
        while not self._stop and self._stamp == stamp and budget > 0:
            try:
                batch = [decode_pool().submit(reader.block, *spot, view[2]) for spot in islice(wanted, cores())]
            except RuntimeError:  # the interpreter is going down and took its thread pools with it
                return
            if not batch:
                return
            try:
                budget -= sum(done.result().nbytes for done in batch)
            except (SlideError, MemoryError):
                return

    def _wanted(self, view: tuple[int, Box, Plane]) -> Iterator[tuple[int, int, int]]:
        """Yield blocks nearest first: a quarter chunk around the view, its middle one level finer (for zooming in),
        a whole chunk around it, and twice its width one level coarser.
        """
        step, box, _ = view
        (ch, cw), (bh, bw) = self._reader.steps[step].chunk_yx, self._reader.steps[step].block_yx
        yield from self._over(step, _grown(box, max(ch // 4, bh), max(cw // 4, bw)))
        yield from self._over(step - 1, self._moved(_grown(box, -box.h // 4, -box.w // 4), step, step - 1))
        yield from self._over(step, _grown(box, ch, cw))
        yield from self._over(step + 1, self._moved(_grown(box, box.h // 2, box.w // 2), step, step + 1))

    def _over(self, step: int, box: Box | None) -> Iterator[tuple[int, int, int]]:
        if box is not None:
            inside = box.clipped(self._reader.steps[step].shape_yx)
            yield from ((step, *spot) for spot in self._reader.blocks_over(step, inside))

    def _moved(self, box: Box, here: int, there: int) -> Box | None:
        """Return a box of one level in pixels of another, None where there is no such level."""
        steps = self._reader.steps
        if not 0 <= there < len(steps):
            return None
        y, x = (a / b for a, b in zip(steps[here].downsample_yx, steps[there].downsample_yx, strict=True))
        return Box(int(box.y * y), int(box.x * x), int(box.h * y), int(box.w * x))


def _grown(box: Box, dy: int, dx: int) -> Box:
    return Box(box.y - dy, box.x - dx, box.h + 2 * dy, box.w + 2 * dx)


def _union(a: Box, b: Box) -> Box:
    y0, x0 = min(a.y, b.y), min(a.x, b.x)
    y1, x1 = max(a.y + a.h, b.y + b.h), max(a.x + a.w, b.x + b.w)
    return Box(y0, x0, y1 - y0, x1 - x0)
