"""What a prompt was answered with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.tiles.windows import Window


@dataclass(frozen=True)
class Proposal:
    """One of several things a prompt can mean."""

    outline: Polygon | MultiPolygon
    score: float
    stability: float


@dataclass(frozen=True)
class Answer:
    """What a prompt points at; `outline` is empty where nothing is, and `notes` says so."""

    outline: Polygon | MultiPolygon
    """(y, x) level-0 pixels, 0 at the first pixel's outer corner; valid, holes and several parts allowed."""
    score: float
    """Overlap with the truth that the network expects, 0..1."""
    prompt: SlidePrompt
    windows: tuple[Window, ...]
    """Those looked through, the last of them gave the answer."""
    notes: tuple[str, ...] = ()
    """Sentences on what to doubt."""
    stability: float = 0.0
    """How little the outline depends on the threshold: cells with logits above 1 over those above -1, 0..1."""
    proposals: tuple[Proposal, ...] = ()
    """Where they were asked for: all there are, best first; the first is the answer."""

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return bool(self.outline.is_empty)
