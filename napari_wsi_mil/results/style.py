"""How a heatmap is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.attention import MapChoice
from napari_wsi_mil.results.colours import COLOURS

Scale = Literal["minmax", "percentile", "rank", "cohort"]
MOST_SMOOTH = 16.0


@dataclass(frozen=True)
class HeatStyle:
    """Everything about a heatmap that no model has to run for; raises BadRequest for values out of range."""

    choice: MapChoice = MapChoice()
    """Which scores."""
    normalise: Scale = "minmax"
    """What the colours span: all scores of the map, their 1st to 99th percentile, their ranks, or the range of
    held-out slides the head's card gives, the same on every slide."""
    threshold: float = 0.0
    """Share of the tiles left out, 0 to 1, lowest first; of signed maps those nearest to 0 first."""
    smooth: float = 0.0
    """Sigma of a Gaussian over neighbouring tiles, in tile sides; 0 for none."""
    colormap: str | None = None
    """One of `COLOURS`; None: inferno, and teal to orange for signed maps."""
    fade: bool = False
    """Whether low scores become see-through (of signed maps: those near 0)."""
    opacity: float = 0.5
    """0 to 1."""

    def __post_init__(self) -> None:
        wrong = []
        if self.normalise not in get_args(Scale):
            wrong.append(f"normalise one of {', '.join(get_args(Scale))}, got {self.normalise!r}")
        if self.colormap is not None and self.colormap not in COLOURS:
            wrong.append(f"colormap one of {', '.join(COLOURS)}, got {self.colormap!r}")
        for name, most in (("threshold", 1.0), ("opacity", 1.0), ("smooth", MOST_SMOOTH)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                wrong.append(f"{name} within 0..{most:g}, got {value}")
        if wrong:
            message = f"a heatmap takes {'; '.join(wrong)}."
            raise BadRequest(message)
