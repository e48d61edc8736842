"""What would the model say without these tiles? Only the head runs again, on features there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest, ContractMismatch, NoTissue
from napari_wsi_mil.models.card import check_contract
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.registry import find_card
from napari_wsi_mil.results import FeatureBag
from napari_wsi_mil.runs.classify import classify
from napari_wsi_mil.runs.embed import embed
from napari_wsi_mil.runs.watch import Say, Stage, Watch, say_nothing
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.runs.store import StoreChoice
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TileGrid

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class WhatIf:
    """An answer, and the answer of the same head to a part of the tiles."""

    before: Attention
    result: Attention
    """What the head says of the tiles kept."""
    keep: Bools
    """(N,) bool over the tiles of `before`."""

    @property
    def kept(self) -> int:
        """Number of tiles kept."""
        return int(self.keep.sum())

    @property
    def dropped(self) -> int:
        """Number of tiles left out."""
        return int((~self.keep).sum())

    @property
    def change(self) -> Floats:
        """(C,) float32 probabilities after less before; (1,) the change of the value where one is predicted."""
        if self.before.target == "value":
            return np.asarray([self.result.value - self.before.value], np.float32)
        return self.result.probabilities - self.before.probabilities


def tiles_inside(grid: TileGrid, region: Sequence[Polygon | MultiPolygon]) -> Bools:
    """Return (N,) bool: tiles whose centre lies in `region` ((y, x) level-0 polygons), or that hold a whole piece."""
    side = np.asarray(grid.side_yx0)
    y, x = (grid.yx0 + side / 2).T
    inside = np.zeros(len(grid), bool)
    for part in (p for shape in region for p in getattr(shape, "geoms", [shape]) if not p.is_empty):
        shapely.prepare(part)
        hit = shapely.contains_xy(part, y, x)
        if not hit.any():
            # smaller than a tile: the tile under it is meant
            point = part.representative_point()
            offset = np.asarray((point.x, point.y)) - grid.yx0
            hit = ((offset >= 0) & (offset < side)).all(1)
        inside |= hit
    return inside


def what_if(
    slide: Slide,
    result: Attention,
    keep: Bools,
    *,
    head: ModelCard | None = None,
    encoder: ModelCard | None = None,
    features: FeatureBag | None = None,
    device: DeviceChoice | str = "auto",
    store: StoreChoice = "user",
    tick: Tick = no_tick,
    say: Say = say_nothing,
) -> WhatIf:
    """Run the head of `result` again on the tiles where `keep` (N,) bool is true, and set both answers side by side.

    `features` are those of all tiles of `result`, where they are at hand; else they come from `store`, and what is not
    stored is encoded again, which a note of the result then says. `head` and `encoder` are found by name unless given.
    Raises BadRequest if `keep` fits not or changes nothing, NoTissue if no tile would be left, UnknownModel or
    ContractMismatch if the weights that made the result are not there, and what encoding and classifying raise.
    """
    keep = np.asarray(keep)
    _check(result, keep)
    card = _head(result, head)
    choice = pick_device(device) if isinstance(device, str) else device
    watch = Watch(tick, say)
    again = 0
    if features is not None and features.grid.id == result.grid.id:
        bag = FeatureBag(features.features[keep], features.grid.take(keep), features.encoder)
    else:
        encoder = encoder or find_card(card.encoder or "")
        check_contract(card, encoder)
        counter = _Missing(tick)
        with watch.stage(Stage.ENCODING):
            bag = embed(slide, result.grid.take(keep), encoder, device=choice, store=store, tick=counter)
        again = counter.missing
    rest = classify(slide, bag, card, device=choice, watch=watch)
    notes: tuple[str, ...] = (
        f"Without {len(keep) - len(bag.grid):,} of {len(keep):,} tiles: not the answer for the whole slide.",
    )
    if again:
        notes += (f"No features were kept for {again:,} tiles; they were encoded again.",)
    return WhatIf(result, replace(rest, notes=(*notes, *rest.notes)), keep)


class _Missing:
    """Passes ticks of `embed` on; the first says how many tiles it found stored."""

    def __init__(self, tick: Tick) -> None:
        self._tick = tick
        self._first: tuple[int, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        self._first = self._first or (done, total)
        self._tick(done, total)

    @property
    def missing(self) -> int:
        done, total = self._first or (0, 0)
        return total - done


def _check(result: Attention, keep: Bools) -> None:
    n = len(result.grid)
    if keep.shape != (n,) or keep.dtype != bool:
        message = f"expected one yes or no for each of {n:,} tiles, got {keep.dtype} of shape {keep.shape}."
        raise BadRequest(message)
    if not keep.any():
        message = f"None of the {n:,} tiles would be left to classify; keep at least one."
        raise NoTissue(message)
    if keep.all():
        message = f"All {n:,} tiles would stay, so the answer would not change; draw over some of the tiles."
        raise BadRequest(message)


def _head(result: Attention, head: ModelCard | None) -> ModelCard:
    card = head or find_card(result.head.name)
    if card.sha256 != result.head.sha256:
        message = (
            f"{result.title}: the result was made by weights {result.head.sha256[:8]}…, expected the same, got "
            f"{card.sha256[:8]}…; run the model anew."
        )
        raise ContractMismatch(message)
    return card
