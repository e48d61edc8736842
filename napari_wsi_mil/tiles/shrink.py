"""Area means of a region, gathered tile by tile, so that no region is too large for the memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

FUZZ_PX = 1e-6
"""Overlaps smaller than this are rounding errors."""
HALF = 0.5 - 1e-9
"""Cells with this much inside the slide show it, others are outside."""


@dataclass(frozen=True)
class Axis:
    """How the output cells along one axis take from the pixels of a level."""

    corner: float
    """Where the first cell begins, level pixels."""
    step: float
    """Level pixels per cell: from 1 on cells are area means, below they are interpolated."""
    cells: int
    size: int
    """Pixels the level has along this axis."""

    @functools.cached_property
    def shown(self) -> tuple[int, int]:
        """First and one past the last cell that lies in the slide by half or more; equal where none does."""
        begin = self.corner + np.arange(self.cells) * self.step
        covered = np.minimum(begin + self.step, self.size) - np.maximum(begin, 0)
        found = np.flatnonzero(covered >= HALF * self.step)
        return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)

    @functools.cached_property
    def _ends(self) -> tuple[Doubles, Doubles]:
        """Where the shown cells begin and end, cut at the slide's edge; both the centre where they are interpolated.

        Centres are in a frame where pixel j is the point j, and stay between the first and the last pixel.
        """
        cells = np.arange(*self.shown)
        if self.step < 1:
            points = np.clip(self.corner + (cells + 0.5) * self.step - 0.5, 0, self.size - 1)
            return points, points
        begin = self.corner + cells * self.step
        return np.maximum(begin, 0), np.minimum(begin + self.step, self.size)

    @functools.cached_property
    def span(self) -> tuple[int, int]:
        """First and one past the last pixel that the shown cells need."""
        begin, end = self._ends
        if not len(begin):
            return 0, 0
        last = np.ceil(end[-1] - FUZZ_PX) if self.step >= 1 else min(np.floor(end[-1]) + 2, self.size)
        return int(np.floor(begin[0] + FUZZ_PX)), int(last)

    def weights(self, low: int, high: int) -> tuple[int, Any]:
        """Return what pixels low..high give to the cells: the first cell and a sparse (cells, pixels) float32 array.

        Over the whole axis the weights of every shown cell sum to 1.
        """
        begin, end = self._ends
        mean = self.step >= 1
        first = int(np.searchsorted(end, low if mean else low - 1, "right"))
        last = max(int(np.searchsorted(begin, high, "left")), first)
        a, b = begin[first:last, None], end[first:last, None]
        taps = min(int(np.ceil(self.step)) + 1, high - low)
        pixels = np.maximum(np.floor(a).astype(np.int32), low) + np.arange(taps, dtype=np.int32)
        if mean:
            shares = np.maximum(np.minimum(pixels + 1, b) - np.maximum(pixels, a), 0) / (b - a)
        else:
            shares = np.maximum(1 - np.abs(pixels - a), 0)
        here = pixels < high
        columns = np.where(here, pixels - low, 0).ravel()
        starts = np.arange(0, columns.size + 1, taps)
        values = np.where(here, shares, 0).astype(np.float32).ravel()
        return self.shown[0] + first, csr_array((values, columns, starts), shape=(last - first, high - low))


def gathered(rgb: npt.NDArray[Any], down: Any, across: Any) -> Floats:
    """Return the (rows, columns, 3) float32 that (h, w, 3) uint8 or float32 pixels give to cells with these weights.

    Sparse on purpose: dense products start threads, which wait for one another when other work is at hand.
    """
    h, w = rgb.shape[:2]
    rows: Floats = down @ rgb.reshape(h, w * 3).astype(np.float32, copy=False)
    sideways = np.ascontiguousarray(rows.reshape(-1, w, 3).transpose(1, 0, 2)).reshape(w, -1)
    columns: Floats = across @ sideways
    return columns.reshape(-1, down.shape[0], 3).transpose(1, 0, 2)
