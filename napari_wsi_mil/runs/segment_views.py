"""Windows of a slide as a prompt model sees them: read, encoded, kept."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_wsi_mil.errors import ModelError
from napari_wsi_mil.models.prompted import Embedding
from napari_wsi_mil.runs.encodings import Encoding, Memory, View
from napari_wsi_mil.runs.forward import memory_is_full, precision_of
from napari_wsi_mil.slide.blocks import BlockCache
from napari_wsi_mil.tiles.stain import extremes
from napari_wsi_mil.tiles.views import Tally
from napari_wsi_mil.tiles.windows import Window, read_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_wsi_mil.models.device import DeviceChoice
    from napari_wsi_mil.runs.encodings import Disk
    from napari_wsi_mil.runs.segment_model import SegmentModel
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

TILES_BYTES = 2**25
"""Decoded tiles kept for the next window, which often lies beside the last."""
GLASS_LEAST, GLASS_SPREAD = 200, 14
"""A cell is glass if its R, G, B are at least the one and differ by at most the other."""
GLASS_CELLS = (32, 16, 8, 4, 2, 1)
WAIT_S = 0.1
LATEST = 3
"""Windows kept as the network decodes them: an object that leaves its window is asked for in several."""


@dataclass
class Count:
    """What was done for the answers so far."""

    encoded: int = 0
    """Views read and encoded; a window has one, or two for a model of two views."""
    from_memory: int = 0
    from_disk: int = 0
    decoded: int = 0
    """Prompts that the network answered: one may be asked in several windows."""
    reading: Tally = field(default_factory=Tally)
    """Pixels, and tiles of the file, that were read for them."""


class Seen(NamedTuple):
    """A window as the network decodes it."""

    high: Embedding
    low: Embedding | None
    glass: npt.NDArray[np.bool_]
    """(g, g) cells of the high view that show glass."""


class Views:
    """Encodes the windows of one slide with one model, each view once; several threads may ask."""

    def __init__(
        self, slide: Slide, model: SegmentModel, choice: DeviceChoice, *, disk: Disk | None, memory_bytes: int
    ) -> None:
        self.slide, self.model, self.disk = slide, model, disk
        self.count, self.memory = Count(), Memory(memory_bytes)
        self._device, self._dtype = torch.device(choice.name), precision_of(choice.name)
        self._tiles, self._lock = BlockCache(TILES_BYTES), threading.Lock()
        self._latest: tuple[tuple[Window, Seen], ...] = ()

    def ready(self, window: Window) -> bool:
        """Whether all of a window's views are encoded, in memory or on disk."""
        on_disk = self.disk.has if self.disk is not None else lambda view: False
        return all(self.memory.get(view) is not None or on_disk(view) for view in map(View.of, self.views(window)))

    def views(self, window: Window) -> tuple[Window, ...]:
        """Return the squares a model looks at for a window."""
        return (window, window.low) if self.model.network.two_views else (window,)

    def see(self, window: Window, tick: Tick) -> Seen:
        """Return a window encoded; `tick` counts reading and encoding.

        Raises SlideReadError naming the window's place, ModelError where the device is too small, Cancelled.
        """
        latest = self._latest  # replaced, never changed: other threads may look
        for kept_window, seen in latest:
            if kept_window == window:
                self.count.from_memory += len(self.views(window))
                return seen
        with self._alone(tick):
            kept = self._encodings(self.views(window), tick)
        size = (self.model.network.side_px,) * 2
        full = [Embedding({name: part.float() for name, part in one.parts.items()}, size) for one in kept]
        seen = Seen(full[0], full[1] if len(full) > 1 else None, kept[0].glass.numpy())
        self._latest = ((window, seen), *latest[: LATEST - 1])
        return seen

    @contextlib.contextmanager
    def _alone(self, tick: Tick) -> Iterator[None]:
        """Wait until no other thread encodes, perhaps the same window; a wait can be cancelled."""
        while not self._lock.acquire(timeout=WAIT_S):
            tick(0, 1)
        try:
            yield
        finally:
            self._lock.release()

    def _encodings(self, windows: tuple[Window, ...], tick: Tick) -> list[Encoding]:
        found = {window: self._kept(View.of(window)) for window in windows}
        missing = [window for window, encoding in found.items() if encoding is None]
        if missing:
            steps = 2 * len(missing)

            def reading(done: int, total: int) -> None:
                tick(int(len(missing) * 100 * done / total), 100 * steps)

            pictures = read_windows(
                self.slide, missing, self.model.network.side_px, count=self.count.reading, kept=self._tiles,
                tick=reading,
            )  # fmt: skip
            for i, (window, picture) in enumerate(zip(missing, pictures, strict=True)):
                tick(100 * (len(missing) + i), 100 * steps)
                found[window] = self._encoded(picture)
                self._keep(View.of(window), found[window])
        return [encoding for encoding in found.values() if encoding is not None]

    def _kept(self, view: View) -> Encoding | None:
        encoding = self.memory.get(view)
        if encoding is not None:
            self.count.from_memory += 1
            return encoding
        encoding = self.disk.get(view) if self.disk is not None else None
        if encoding is not None:
            self.count.from_disk += 1
            self.memory.put(view, encoding)
        return encoding

    def _keep(self, view: View, encoding: Encoding | None) -> None:
        assert encoding is not None
        self.count.encoded += 1
        self.memory.put(view, encoding)
        if self.disk is not None:
            self.disk.put(view, encoding)

    def _encoded(self, picture: npt.NDArray[np.uint8]) -> Encoding:
        less = self._dtype != torch.float32
        computing = torch.autocast(self._device.type, self._dtype) if less else contextlib.nullcontext()
        try:
            with computing:
                parts = self.model.network.encode(picture).parts
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
            message = (
                f"prompt model {self.model.name!r}: {self._device} has too little memory for one view of "
                f"{len(picture)} px; choose the cpu."
            )
            raise ModelError(message) from error
        if not all(bool(torch.isfinite(part.abs().max())) for part in parts.values()):  # NaN is the largest
            message = f"prompt model {self.model.name!r} gave numbers that are not finite; use other weights."
            raise ModelError(message)
        return Encoding.of(parts, torch.from_numpy(glass_cells(picture)))

    def close(self) -> None:
        """Let go of what is in memory, once it is on disk."""
        self._latest = ()
        self.memory.clear()
        if self.disk is not None:
            self.disk.close()


def glass_cells(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return (g, g) bool which cells of a square picture show glass, or white beyond the slide; g is 32 or less."""
    side = len(picture)
    g = next(n for n in GLASS_CELLS if side % n == 0)
    # Sums of whole rows first: numpy is many times slower at both axes together.
    rows = picture.reshape(g, side // g, side * 3).sum(1, dtype=np.uint32)
    sums = rows.reshape(g, g, side // g, 3).sum(2, dtype=np.uint32)
    means = sums.astype(np.float32) / np.float32((side // g) ** 2)
    low, high = extremes(means)
    return np.asarray((low >= GLASS_LEAST) & (high - low <= GLASS_SPREAD))
