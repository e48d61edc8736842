"""Slide + grid + encoder -> one feature row per tile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_wsi_mil.errors import ContractMismatch, ModelError
from napari_wsi_mil.models.device import DeviceChoice, pick_device
from napari_wsi_mil.models.registry import load_model
from napari_wsi_mil.results import FeatureBag, ModelRef
from napari_wsi_mil.runs.store import FeatureStore, cache_folder
from napari_wsi_mil.runs.tiles import read_tiles
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles import TileGrid

    Floats = npt.NDArray[np.float32]

StoreChoice = Path | Literal["user"] | None
"""Where features are kept: a folder, the user's cache folder, or nowhere."""


def embed(
    slide: Slide,
    grid: TileGrid,
    card: ModelCard,
    *,
    model: nn.Module | None = None,
    device: DeviceChoice | str = "auto",
    store: StoreChoice = "user",
    batch: int = 64,
    tick: Tick = no_tick,
) -> FeatureBag:
    """Encode every tile of `grid` into one feature row.

    Tiles are read as (tile_px, tile_px, 3) uint8 RGB at `grid.mpp` um/px, padded white beyond the slide, and normalised
    by the encoder's `card`; rows keep grid order. Tiles already in `store` are not computed again; what is computed is
    stored batch by batch, so a run that is killed or cancelled goes on where it was. `model` is the card's network
    where the caller has it loaded. `tick` counts tiles, stored ones included.
    Raises ContractMismatch if grid and card differ in tile size or um/px, SlideReadError naming the tile, StoreError,
    ModelError on features that are not finite or a device too small for one tile, Cancelled.
    """
    check_grid(slide, grid, card)
    choice = pick_device(device) if isinstance(device, str) else device
    encoder = ModelRef(card.name, card.sha256)
    kept = open_store(store, grid, encoder, n_features=card.n_features)
    out = np.full((len(grid), card.n_features), np.nan, np.float32)
    have = np.zeros(len(grid), bool)
    if kept is not None:
        out, have = kept.load(grid)
    total, done = len(grid), int(have.sum())
    tick(done, total)
    if done < total:
        forward = Forward(model or load_model(card, choice), card, choice.name)
        reading = read_tiles(slide, grid, np.flatnonzero(~have), batch=batch)
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


def open_store(store: StoreChoice, grid: TileGrid, encoder: ModelRef, *, n_features: int) -> FeatureStore | None:
    """Return the feature store for a slide's lattice and an encoder, None where nothing is to be kept."""
    if store is None:
        return None
    root = cache_folder() if store == "user" else Path(store)
    return FeatureStore(root, grid, encoder, n_features=n_features)


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


class Forward:
    """uint8 tiles -> features, in halves of a batch that turned out too large for the device."""

    def __init__(self, model: nn.Module, card: ModelCard, device: str) -> None:
        if card.mean is None or card.std is None:
            message = f"model {card.name!r} is no encoder; expected a card of kind 'encoder', choose another model."
            raise ContractMismatch(message)
        self._model, self._card, self._device = model, card, torch.device(device)
        mean, std = torch.tensor(card.mean), torch.tensor(card.std)
        self._gain = (1 / (255 * std)).view(1, 3, 1, 1).to(self._device)
        self._bias = (-mean / std).view(1, 3, 1, 1).to(self._device)
        self.largest: int | None = None
        """Tiles that fit at once, once more did not."""

    def __call__(self, tiles: npt.NDArray[np.uint8]) -> Floats:
        """Map (n, h, w, 3) uint8 RGB to (n, D) float32."""
        parts = []
        at = 0
        while at < len(tiles):
            n = min(self.largest or len(tiles), len(tiles) - at)
            try:
                parts.append(self._run(tiles[at : at + n]))
            except torch.OutOfMemoryError as error:
                if n == 1:
                    message = (
                        f"encoder {self._card.name!r}: {self._device} has too little memory for one tile; "
                        "choose the cpu."
                    )
                    raise ModelError(message) from error
                self.largest = n // 2
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            at += n
        return np.concatenate(parts)

    @torch.inference_mode()
    def _run(self, tiles: npt.NDArray[np.uint8]) -> Floats:
        # (n, h, w, 3) in memory is what torch calls channels_last, the layout convolutions like best.
        pixels = torch.from_numpy(tiles).to(self._device).permute(0, 3, 1, 2)
        features = self._model(torch.addcmul(self._bias, pixels, self._gain))
        out: Floats = features.float().cpu().numpy()
        if out.shape != (len(tiles), self._card.n_features):
            message = (
                f"encoder {self._card.name!r} gave features of shape {out.shape}, expected ({len(tiles)}, "
                f"{self._card.n_features}); use the weights that belong to the card."
            )
            raise ContractMismatch(message)
        return out


def _check_finite(features: Floats, card: ModelCard, slide: Slide) -> None:
    if not np.isfinite(features).all():
        message = (
            f"{slide.name}: encoder {card.name!r} gave features that are not finite; nothing of this batch was kept, "
            "use other weights."
        )
        raise ModelError(message)
