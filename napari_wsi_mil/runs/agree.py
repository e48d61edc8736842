"""How far two maps of one slide agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results import MapChoice

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.tiles import TileGrid

FEWEST = 3


class Agreement(NamedTuple):
    """Rank correlation of two maps."""

    rho: float | None
    """Spearman's rho, -1 to 1; None with fewer than 3 common tiles or where a map is flat over them."""
    common: int
    """Tiles that have a score in both maps."""


def agreement(
    a: Attention, b: Attention, *, choices: tuple[MapChoice, MapChoice] = (MapChoice(), MapChoice())
) -> Agreement:
    """Return the rank correlation of two results' scores over the tiles they share.

    A tile is shared if its centre lies in a tile of the other map; of maps with tiles of two sizes, each of the smaller
    ones counts once. Raises BadRequest for results of two slides, or a map that is not there.
    """
    if a.grid.slide_fingerprint != b.grid.slide_fingerprint:
        message = f"{a.title} and {b.title} were run on two slides; compare results of one slide."
        raise BadRequest(message)
    first, second = a.map_scores(choices[0]), b.map_scores(choices[1])
    if a.grid.side_yx0 > b.grid.side_yx0:
        mine, theirs = _common(b.grid, a.grid)
        first, second = first[theirs], second[mine]
    else:
        mine, theirs = _common(a.grid, b.grid)
        first, second = first[mine], second[theirs]
    return Agreement(_spearman(first, second), len(first))


def _common(fine: TileGrid, coarse: TileGrid) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows of `fine` whose centre lies in a tile of `coarse`, and the rows of those (the nearest of several)."""
    side = coarse.side_yx0[0]
    tree = cKDTree(coarse.yx0 + side / 2)
    gap, row = tree.query(fine.yx0 + np.asarray(fine.side_yx0) / 2, p=np.inf)
    inside = np.flatnonzero(gap <= side / 2)
    return inside, row[inside]


def _spearman(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float | None:
    if len(a) < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
