"""What speaks against trusting an answer, one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.errors import SlideError
from napari_wsi_mil.models.familiar import load_familiar
from napari_wsi_mil.tiles.stain import chroma, white_point

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.results import FeatureBag
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles import TileGrid

    Floats = npt.NDArray[np.float32]

FEW_TILES = 8
FLAT = 0.01
"""Raw scores are logarithms of weights: within this spread all weights are within one per cent."""
ENLARGED = 1.1
"""How much coarser than the model's tiles a slide may be before its tiles count as enlarged."""
TOP_TILES = 16
EMPTY = 0.9
"""Part of a tile that must be glass for it to count as empty."""
PROBE_PX = 28
"""Side of the small picture in which glass is looked for."""
PROBES = 8
GLASS_CHROMA, GLASS_DARKNESS = 12.0, 30.0
"""Spread of R, G, B and darkness below white up to which a pixel is glass."""


def doubts(slide: Slide, bag: FeatureBag, card: ModelCard, *, scores: Floats) -> tuple[str, ...]:
    """Return sentences on a run of `card` over `bag`, the gravest first; () where nothing is odd.

    `scores` (N,) float32 are the raw scores that speak for the answer. Reads the few tiles with the highest scores.
    Raises WeightsError if the card names a description of its training tiles that is missing or altered.
    """
    n = len(scores)
    found = [unfamiliar_tissue(bag, card) if n >= FEW_TILES else None]
    if n < FEW_TILES:
        found.append(f"Only {n} tile{'s' if n > 1 else ''} of tissue: the model was trained on many more per slide.")
    elif float(np.ptp(scores)) < FLAT:
        found.append("All tiles have nearly the same score: the map shows no preference.")
    else:
        found.append(glass_on_top(slide, bag.grid, scores))
    found += [enlarged(slide, card)]
    if slide.pixel_size.by_hand:
        found.append("The pixel size was entered by hand, not read from the file.")
    return tuple(sentence for sentence in found if sentence)


def unfamiliar_tissue(bag: FeatureBag, card: ModelCard) -> str | None:
    """Say which share of the tiles looks unlike training, if more do than in any slide of training."""
    familiar = load_familiar(card)
    if familiar is None:
        return None
    share = float(familiar.unfamiliar(bag.features).mean())
    if share <= familiar.alarm_share:
        return None
    return (
        f"{share:.0%} of the tiles look unlike those the model was trained on (at most {familiar.usual_share:.0%} did "
        "in any slide of its training): tissue, stain or scanner may be new to it, and the answer a guess."
    )


def glass_on_top(slide: Slide, grid: TileGrid, scores: Floats) -> str | None:
    """Say so if most of the tiles with the highest scores are empty glass, by their pixels and not by any mask."""
    count = min(TOP_TILES, max(1, len(scores) // 4))
    top = np.argsort(-scores, kind="stable")[:count].tolist()
    try:
        empty = sum(is_empty(slide, grid, row) for row in top)
        if empty > count / 2:  # by their own light; pale tissue without glass beside it may look so
            white = glass_colour(slide, grid)
            empty = sum(is_empty(slide, grid, row, white=white) for row in top)
    except SlideError as error:
        return f"Whether the highest scores lie on glass could not be checked: {error}"
    if empty <= count / 2:
        return None
    return f"{empty} of the {count} tiles with the highest scores are empty glass: the answer does not rest on tissue."


def is_empty(slide: Slide, grid: TileGrid, row: int, *, white: Floats | None = None) -> bool:
    """Whether a tile shows glass nearly everywhere; never on slides with fluorescence channels.

    `white` (3,) is the colour of glass; without it the tile's own brightest nearly neutral colour.
    """
    if slide.meta.channels:
        return False
    picture = _picture(slide, grid, grid.yx0[row])
    white = white_point(picture) if white is None else white
    darkness = (white - picture).max(-1)
    glass = (chroma(picture, white) <= GLASS_CHROMA) & (darkness <= GLASS_DARKNESS)
    return float(glass.mean()) >= EMPTY


def glass_colour(slide: Slide, grid: TileGrid) -> Floats:
    """Return (3,) the colour of glass, from 8 x 8 tile-sized pictures all over the slide."""
    steps = (np.arange(PROBES) + 0.5) / PROBES
    places = [np.maximum(steps * n - side / 2, 0) for n, side in zip(slide.shape0_yx, grid.side_yx0, strict=True)]
    return white_point(np.concatenate([_picture(slide, grid, (y, x)) for y in places[0] for x in places[1]]))


def _picture(slide: Slide, grid: TileGrid, yx0: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Return the tile-sized field at `yx0` as a small picture."""
    mpp = slide.require_mpp() * grid.side_yx0[0] / PROBE_PX
    return slide.read_rgb((float(yx0[0]), float(yx0[1])), (PROBE_PX, PROBE_PX), mpp=mpp)


def enlarged(slide: Slide, card: ModelCard) -> str | None:
    """Say so if the slide has fewer pixels than the model reads, so that tiles are enlarged and lack detail."""
    mpp = slide.require_mpp()
    if mpp <= ENLARGED * card.mpp:
        return None
    return (
        f"The slide has {mpp:.3g} um/px and the model reads tiles at {card.mpp:.3g} um/px: they are enlarged and lack "
        "detail it was trained on."
    )
