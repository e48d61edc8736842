"""Prefetching: loads the neighbourhood while idle, yields to demands, leaves errors to the reader, stops."""

from __future__ import annotations

import threading
import time

import numpy as np

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.slide.blocks import BlockCache
from napari_wsi_mil.slide.prefetch import Prefetcher
from napari_wsi_mil.slide.pyramid import BlockReader, plan_steps
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.slide.spec import Box, Level, Plane, SourceMeta


class GreySource(PixelSource):
    """A 16,384 px slide that holds its own block numbers; fails on one column when told."""

    def __init__(self) -> None:
        levels = tuple(Level((16384 >> k, 16384 >> k), (float(1 << k),) * 2, (256, 256)) for k in (0, 1))
        self.meta = SourceMeta(backend="t", vendor="t", levels=levels, dtype="uint8", samples=1, fingerprint="")
        self.boxes: list[tuple[int, Box]] = []
        self.broken = False

    def read(self, level: int, box: Box, plane: Plane) -> np.ndarray:
        self.boxes.append((level, box))
        if self.broken:
            message = "t: broken; copy it again."
            raise SlideReadError(message)
        return np.full((box.h, box.w), (box.y + box.x) // 256 % 251, np.uint8)

    def close(self) -> None:
        """Nothing to release."""


def wait_for(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def make(budget: int = 2**26):
    source = GreySource()
    reader = BlockReader(source, plan_steps(source), BlockCache(budget), owner=1)
    return source, reader, Prefetcher(reader)


def test_the_ring_and_the_coarser_view_are_loaded():
    source, reader, prefetcher = make()
    box = Box(4096, 4096, 1024, 1024)
    prefetcher.seen(0, box, Plane())
    chunk = reader.steps[0].chunk_yx[0]
    corner = (4096 - chunk) // 256
    assert wait_for(lambda: reader.holds(1, 2048 // 256, 2048 // 256) and reader.holds(0, corner, corner))
    prefetcher.close()
    assert not reader.holds(0, corner - 1, corner)
    assert {level for level, _ in source.boxes} == {0, 1}


def test_chunks_that_come_together_are_one_view():
    _, reader, prefetcher = make()
    prefetcher.seen(0, Box(4096, 4096, 512, 512), Plane())
    prefetcher.seen(0, Box(4096, 8192, 512, 512), Plane())
    assert prefetcher._view[1] == Box(4096, 4096, 512, 4608)
    prefetcher.close()


def test_an_error_is_left_for_the_read_that_needs_the_block():
    source, reader, prefetcher = make()
    source.broken = True
    prefetcher.seen(0, Box(4096, 4096, 512, 512), Plane())
    assert wait_for(lambda: len(source.boxes) > 0)
    time.sleep(0.1)
    source.broken = False
    assert reader.read(0, Box(4096, 4096, 4, 4))[0, 0] == 32
    prefetcher.close()


def test_closing_stops_the_thread_and_a_small_budget_is_kept():
    source, reader, prefetcher = make(budget=40 * 65536)
    prefetcher.seen(0, Box(4096, 4096, 1024, 1024), Plane())
    assert wait_for(lambda: len(source.boxes) >= 18)
    time.sleep(0.2)
    assert len(source.boxes) <= 24
    assert reader.cache.bytes <= 40 * 65536
    prefetcher.close()
    assert not any(t.name == "wsi-prefetch" for t in threading.enumerate())
