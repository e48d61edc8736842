"""An encoded window and its prompts -> outlines: the network asked in batches, its masks read."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
import torch
from shapely import MultiPolygon, Polygon, affinity

from napari_wsi_mil.errors import ModelError
from napari_wsi_mil.runs.forward import memory_is_full
from napari_wsi_mil.runs.segment_asked import meant_cells, network_prompt
from napari_wsi_mil.tiles.contour import meant_part, smooth_outline, smoothed, touched

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.models.prompted import Masks, Prompt
    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.runs.segment_model import SegmentModel
    from napari_wsi_mil.runs.segment_views import Count, Seen
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles.windows import Window

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]

BATCH = 64
"""Prompts whose masks are in memory at one time."""
FINENESS = 256
"""Logits are rounded to parts of 1 in so many: sums in another order, as batches make them, then rarely matter."""
EDGE = 64
"""An object is cut off where it lies along one part in so many of a window's edge."""
STAGES = 8
"""Clicks up to which each is a stage of its own, where a network corrects its answers."""
STAGES_KEPT = 64
ON_GLASS = 0.95
"""Share of a box that is glass, from which on it lies on glass."""


@dataclass(frozen=True, eq=False)
class Found:
    """One object seen in one window."""

    outline: Polygon | MultiPolygon
    """(y, x) level-0 pixels."""
    score: float
    stability: float
    cut: bool
    """Whether it goes on beyond the window."""
    glass: float
    """Share of it that is glass."""
    window: Window


class Decoder:
    """Asks a network and reads its answers; halves the batch where the device's memory does not suffice."""

    def __init__(self, model: SegmentModel, slide: Slide, count: Count) -> None:
        self._model, self._slide, self._count = model, slide, count
        self._most = BATCH
        self._corrected: OrderedDict[tuple[Window, SlidePrompt], Floats] = OrderedDict()

    def answers(
        self, seen: Seen, window: Window, prompts: Sequence[SlidePrompt], *, proposals: bool = False
    ) -> Iterator[list[Found]]:
        """Yield what each prompt points at, best first; nothing where its mask is empty or not meant.

        Raises ModelError for numbers that are not finite and a device too small for one prompt.
        """
        at = 0
        while at < len(prompts):
            some = prompts[at : at + self._most]
            masks = self._masks(seen, window, some, proposals=proposals)
            if masks is None:
                self._most = len(some) // 2
                continue
            at += len(some)
            self._count.decoded += len(some)
            if self._model.corrects and len(some) == 1 and not proposals:
                self._remember((window, some[0]), masks)
            raw = np.rint(masks.raw.float().cpu().numpy() * FINENESS) / np.float32(FINENESS)
            scores = masks.iou.float().cpu().numpy()
            if not (np.isfinite(raw).all() and np.isfinite(scores).all()):
                message = f"prompt model {self._model.name!r} gave numbers that are not finite; use other weights."
                raise ModelError(message)
            for k, prompt in enumerate(some):
                found = [
                    one
                    for logits, score in zip(raw[k], scores[k], strict=True)
                    if (one := self._found(seen, window, prompt, logits=logits, score=float(score))) is not None
                ]
                yield sorted(found, key=lambda one: -one.score)

    def _asked(self, seen: Seen, window: Window, prompt: SlidePrompt) -> Prompt:
        """Return a prompt for the network, with its answer to the one before the last click where it corrects that."""
        network = self._model.network
        asked = network_prompt(prompt, window, side_px=network.side_px, mask_px=network.mask_px)
        before = earlier(prompt) if self._model.corrects else None
        return asked if before is None else replace(asked, mask=self._before(seen, window, before))

    def _before(self, seen: Seen, window: Window, prompt: SlidePrompt) -> Floats:
        """Return the logits that answered an earlier stage of a prompt; kept, as every click asks for the last's."""
        key = (window, prompt)
        kept = self._corrected.get(key)
        if kept is None:
            asked = self._asked(seen, window, prompt)
            masks = self._model.network.decode(seen.high, [asked], low=seen.low)
            kept = self._remember(key, masks)
            self._count.decoded += 1
        return kept

    def _remember(self, key: tuple[Window, SlidePrompt], masks: Masks) -> Floats:
        """Keep the logits that answer one prompt for the next click, and return them."""
        raw: Floats = masks.raw[0, int(masks.best()[0])].float().cpu().numpy()
        self._corrected[key] = raw
        while len(self._corrected) > STAGES_KEPT:
            self._corrected.popitem(last=False)
        return raw

    def _masks(self, seen: Seen, window: Window, prompts: Sequence[SlidePrompt], *, proposals: bool) -> Masks | None:
        """Return the network's answer, None if it did not fit into memory but fewer might."""
        try:
            asked = [self._asked(seen, window, prompt) for prompt in prompts]
            return self._model.network.decode(seen.high, asked, low=seen.low, proposals=proposals)
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
            if len(prompts) == 1:
                message = (
                    f"prompt model {self._model.name!r}: the device has too little memory for one prompt; choose the "
                    "cpu."
                )
                raise ModelError(message) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _found(self, seen: Seen, window: Window, prompt: SlidePrompt, *, logits: Floats, score: float) -> Found | None:
        cells, logits = len(logits), smoothed(logits, self._model.smooth_cells)
        part = meant_part(logits > 0, meant_cells(prompt, window, cells))
        if not part.any():
            return None
        outline = self._on_slide(smooth_outline(logits, part), window, cells)
        if outline.is_empty:
            return None
        return Found(
            outline,
            min(max(score, 0.0), 1.0),
            _stability(logits, part),
            self._cut(part, window),
            _share(part, seen.glass),
            window,
        )

    def _on_slide(self, outline: Polygon | MultiPolygon, window: Window, cells: int) -> Polygon | MultiPolygon:
        """Return an outline of cells in level-0 pixels, without what lies beyond the slide."""
        factor, (y0, x0) = window.side_px0 / cells, window.extent_yx0[:2]
        placed = affinity.affine_transform(outline, [factor, 0, 0, factor, y0, x0])
        h, w = self._slide.shape0_yx
        low_y, low_x, high_y, high_x = placed.bounds
        if low_y >= 0 and low_x >= 0 and high_y <= h and high_x <= w:
            return placed
        inside = shapely.intersection(placed, shapely.box(0, 0, h, w))
        parts = [p for p in getattr(inside, "geoms", [inside]) if isinstance(p, Polygon) and p.area > 0]
        return parts[0] if len(parts) == 1 else MultiPolygon(parts)

    def _cut(self, part: Bools, window: Window) -> bool:
        """Whether an object lies along an edge of the window beyond which the slide goes on."""
        (y0, x0, y1, x1), (h, w) = window.extent_yx0, self._slide.shape0_yx
        goes_on = (y0 > 0.5, x0 > 0.5, y1 < h - 0.5, x1 < w - 0.5)
        at = touched(part, least=max(len(part) // EDGE, 2))
        return any(a and b for a, b in zip(goes_on, at, strict=True))

    def on_glass(self, seen: Seen, window: Window, prompt: SlidePrompt) -> bool:
        """Whether all a prompt points at is glass."""
        meant = meant_cells(prompt, window, len(seen.glass))
        places = np.clip(np.floor(meant.positive), 0, len(seen.glass) - 1).astype(int)
        glass = bool(seen.glass[places[:, 0], places[:, 1]].all())
        return glass and (meant.region is None or _share(meant.region, seen.glass) >= ON_GLASS)


def earlier(prompt: SlidePrompt) -> SlidePrompt | None:
    """Return the prompt whose answer the last click, or the last of many, corrects; None where it is the first.

    Box, lasso and the points up to the first on the object come first; then each click is a stage of its own, several
    together where there are more than `STAGES`.
    """
    drawn = prompt.box_yx0 is not None or prompt.lasso_yx0 is not None
    first = 0 if drawn else prompt.labels.index(1) + 1 if 1 in prompt.labels else len(prompt.labels)
    together = max(math.ceil((len(prompt.labels) - first) / (STAGES - 1)), 1)
    fewer = first + (len(prompt.labels) - first - 1) // together * together
    if len(prompt.labels) <= first:
        return None
    return replace(prompt, points_yx0=prompt.points_yx0[:fewer], labels=prompt.labels[:fewer])


def _stability(logits: Floats, part: Bools) -> float:
    """Return how many of a part's cells are above 1 over how many are above -1 in its bounds."""
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    cut = (slice(max(rows[0] - 2, 0), rows[-1] + 3), slice(max(columns[0] - 2, 0), columns[-1] + 3))
    sure = int((part[cut] & (logits[cut] > 1)).sum())
    return sure / int((part[cut] | (logits[cut] > -1)).sum())


def _share(part: Bools, glass: Bools) -> float:
    """Return the share of the cells in `part` (m, m) that lie in cells of `glass` (g, g)."""
    ys, xs = np.nonzero(part)
    if not len(ys):
        return 0.0
    g, m = len(glass), len(part)
    return float(glass[ys * g // m, xs * g // m].mean())
