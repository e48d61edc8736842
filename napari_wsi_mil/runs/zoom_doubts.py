"""What a reader of a zoom result should know, one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsi_mil.results import ZoomNode
    from napari_wsi_mil.slide import Slide

DARK = "The background is dark, as in fluorescence: models for stained tissue in bright light do not know such slides."
REGION = "Only the square around a drawn region was looked at: this is no answer for the whole slide."
LITTLE = 0.005
"""Part of the first view that must show tissue for the model to have a choice."""
EMPTY = 0.95
"""Part of a view that must be glass for it to count as empty."""
ENLARGED = 1.1
"""How much finer than level 0 a view may be before it counts as enlarged."""
LARGE_PX = 4096
"""Longest side of a coarsest level that is no burden to read whole."""


def doubts(
    slide: Slide,
    nodes: Sequence[ZoomNode],
    views: Sequence[npt.NDArray[np.uint8]],
    *,
    region: bool,
    dark: bool,
) -> tuple[str, ...]:
    """Return sentences on a zoom, the gravest first; `views` are what the model saw at each node, glass black."""
    found = [DARK] * dark + [REGION] * region
    shown = float(views[0].any(-1).mean())
    if shown < LITTLE:
        found.append(f"Little tissue: {shown:.2%} of the first view; where the model looks there is much up to chance.")
    finals = [i for i, node in enumerate(nodes) if node.depth == nodes[-1].depth]
    empty = sum(float(views[i].any(-1).mean()) < 1 - EMPTY for i in finals)
    if 2 * empty > len(finals):
        found.append(f"{empty} of the {len(finals)} final views show nothing but glass.")
    fine = sum(nodes[i].downsample * ENLARGED < 1 for i in finals)
    if fine:
        found.append(
            f"{fine} of the {len(finals)} final views are finer than the slide's own pixels: they are enlarged."
        )
    coarsest = slide.levels[-1]
    if max(coarsest.shape_yx) > LARGE_PX:
        which = "stores one level only" if len(slide.levels) == 1 else "has no small level"
        size = "{} x {}".format(*coarsest.shape_yx)
        found.append(f"The file {which}: of its coarsest {size} px all had to be read that lie in the first view.")
    if slide.mpp_yx is None:
        found.append("The slide has no pixel size: magnifications are told relative to the first view.")
    return tuple(found)
