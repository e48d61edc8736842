"""Slide + grid + encoder -> one feature row per tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.errors import ContractMismatch, ModelError
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.registry import load_model
from napari_wsi_mil.results import FeatureBag, ModelRef
from napari_wsi_mil.runs.forward import Forward, Precision, batch_for, precision_of
from napari_wsi_mil.runs.store import FULL, FeatureStore, store_root
from napari_wsi_mil.runs.tiles import read_tiles
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.runs.store import StoreChoice
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TileGrid

    Floats = npt.NDArray[np.float32]
    Bools = npt.NDArray[np.bool_]


def embed(
    slide: Slide,
    grid: TileGrid,
    card: ModelCard,
    *,
    model: nn.Module | None = None,
    device: DeviceChoice | str = "auto",
    store: StoreChoice = "user",
    batch: int | None = None,
    precision: Precision = "auto",
    tick: Tick = no_tick,
) -> FeatureBag:
    """Encode every tile of `grid` into one feature row.

    Tiles are read as (tile_px, tile_px, 3) uint8 RGB at `grid.mpp` um/px, padded white beyond the slide, and normalised
    by the encoder's `card`; rows keep grid order. Tiles already in `store` are not computed again; what is computed is
    stored batch by batch, so a run that is killed or cancelled goes on where it was. `model` is the card's network
    where the caller has it loaded. `batch` None suits it to device and tile; `precision` as in forward.precision_of:
    rows of two precisions are never mixed, but float32 rows serve any run that finds all of them. `tick` counts tiles,
    stored ones included.
    Raises ContractMismatch if grid and card differ in tile size or um/px, SlideReadError naming the tile, StoreError,
    ModelError on features that are not finite or a device too small for one tile, Cancelled.
    """
    check_grid(slide, grid, card)
    choice = pick_device(device) if isinstance(device, str) else device
    encoder = ModelRef(card.name, card.sha256)
    dtype = precision_of(choice.name, precision)
    name = str(dtype).removeprefix("torch.")
    kept, out, have = _stored(store, grid, encoder, n_features=card.n_features, precision=name)
    total, done = len(grid), int(have.sum())
    tick(done, total)
    if done < total:
        forward = Forward(model or load_model(card, choice), card, choice.name, precision=precision)
        together = batch_for(choice.name, card.tile_px) if batch is None else batch
        reading = read_tiles(slide, grid, np.flatnonzero(~have), batch=together)
        try:
            for rows, tiles in reading:
                features = forward(tiles)
                _check_finite(features, card, slide)
                out[rows] = features
                if kept is not None:
                    kept.append(grid, rows, features)
                done += len(rows)
                tick(done, total)
        finally:
            reading.close()
            if kept is not None:
                kept.flush()
    return FeatureBag(out, grid, encoder)


def _stored(
    store: StoreChoice, grid: TileGrid, encoder: ModelRef, *, n_features: int, precision: str
) -> tuple[FeatureStore | None, Floats, Bools]:
    """Return where to keep features (None: nowhere), (N, D) those already there and (N,) which these are."""
    if store is None:
        return None, np.full((len(grid), n_features), np.nan, np.float32), np.zeros(len(grid), bool)
    root = store_root(store)
    if precision != FULL:
        exact = FeatureStore(root, grid, encoder, n_features=n_features)
        out, have = exact.load(grid)
        if have.all():
            return exact, out, have
    kept = FeatureStore(root, grid, encoder, n_features=n_features, precision=precision)
    return kept, *kept.load(grid)


def check_grid(slide: Slide, grid: TileGrid, card: ModelCard) -> None:
    """Raise ContractMismatch unless the grid lies on this slide and has the tiles the card's model was trained on."""
    pairs = (
        ("slide fingerprint", slide.fingerprint, grid.slide_fingerprint),
        ("slide size", slide.shape0_yx, grid.slide_shape_yx),
        ("tile side in px", card.tile_px, grid.tile_px),
        ("um/px", f"{card.mpp:.6g}", f"{grid.nominal_mpp(card.mpp):.6g}"),
        ("um/px of level 0", f"{slide.require_mpp():.6g}", f"{grid.mpp / grid.downsample:.6g}"),
    )
    for what, expected, got in pairs:
        if expected != got:
            message = (
                f"{slide.name}, model {card.name!r}: expected a grid with {what} {expected}, got {got}; "
                "make a new grid."
            )
            raise ContractMismatch(message)


def _check_finite(features: Floats, card: ModelCard, slide: Slide) -> None:
    if not np.isfinite(features).all():
        message = (
            f"{slide.name}: encoder {card.name!r} gave features that are not finite; nothing of this batch was kept, "
            "use other weights."
        )
        raise ModelError(message)
