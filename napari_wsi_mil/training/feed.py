"""Labelled tiles -> augmented batches, endlessly repeatable from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from napari_wsi_mil.training.augment import degrade, reduced, repose
from napari_wsi_mil.training.tile_sets import EBHI_CLASSES, UNKNOWN, TileSet, join

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.training.encoder import EncoderRecipe

MEAN = (0.70, 0.55, 0.68)
STD = (0.20, 0.20, 0.20)
"""Rounded colour of stained tissue; fixed so that every training run gives a comparable encoder."""


def normalise(tiles: torch.Tensor) -> torch.Tensor:
    """Map (n, 3, h, w) float32 in 0..1 to what the encoder takes."""
    return (tiles - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def as_tensor(tiles: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Map (n, h, w, 3) uint8 to (n, 3, h, w) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 1, 2).float() / 255


class Feed:
    """Draws augmented training batches from tile sets, endlessly repeatable from the recipe's seed."""

    def __init__(self, sets: Sequence[TileSet], recipe: EncoderRecipe) -> None:
        everything = join(sets)
        self.recipe = recipe
        self.tiles, n = everything.tiles, len(everything)
        self.kinds, self.tumour = torch.from_numpy(everything.kinds), torch.from_numpy(everything.tumour)
        self.chances = torch.cat([_chances(s) for s in sets])
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.steps = max(1, n // recipe.batch)

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        drawn = torch.multinomial(
            self.chances, self.steps * self.recipe.batch, replacement=True, generator=self.generator
        )
        for rows in torch.split(drawn, self.recipe.batch):
            yield self._batch(rows)

    def _batch(self, rows: torch.Tensor) -> Batch:
        recipe, generator, n = self.recipe, self.generator, len(rows)
        tiles = repose(as_tensor(self.tiles[rows.numpy()]), generator)
        kinds, tumour = self.kinds[rows], self.tumour[rows]
        shade = 1 - recipe.darkening * torch.rand(n, generator=generator) * (tumour == 1)
        shade = torch.where(torch.rand(n, generator=generator) < 0.5, shade, torch.ones(n))
        whole = normalise(tiles * shade[:, None, None, None]) if recipe.block > 1 else None
        tiles = degrade(reduced(tiles, recipe.block), generator) * shade[:, None, None, None]
        n_kinds, smooth = len(EBHI_CLASSES), recipe.smoothing
        spread = functional.one_hot(kinds.clamp(min=0), n_kinds) * (1 - smooth) + smooth / n_kinds
        target = tumour.clamp(min=0) * (1 - smooth) + smooth / 2
        batch = Batch(
            normalise(tiles), spread * (kinds != UNKNOWN)[:, None], target, (tumour != UNKNOWN).float(), whole
        )
        chosen = float(torch.rand(1, generator=generator)) < recipe.patch_share
        return patched(batch, generator) if chosen else batch


class Batch(NamedTuple):
    """What one optimiser step sees."""

    tiles: torch.Tensor
    """(n, 3, h, w) float32, normalised."""
    kinds: torch.Tensor
    """(n, 6) target distribution, all zero where unknown."""
    tumour: torch.Tensor
    """(n,) target in 0..1."""
    known: torch.Tensor
    """(n,) 1 where the tumour target counts, else 0."""
    whole: torch.Tensor | None = None
    """(n, 3, h * block, w * block): the same tiles, sharp, before they were made smaller; None: they were not."""


def patched(batch: Batch, generator: torch.Generator) -> Batch:
    """Paste a rectangle of another tile into every tile and mix the targets by area (CutMix, Yun et al. 2019)."""
    side = batch.tiles.shape[2]
    size = int(side * float(torch.rand(1, generator=generator)) ** 0.5)
    y, x = torch.randint(0, side - size + 1, (2,), generator=generator).tolist()
    other = torch.randperm(len(batch.tiles), generator=generator)
    share = 1 - size**2 / side**2
    kinds, tumour = (share * a + (1 - share) * a[other] for a in (batch.kinds, batch.tumour))
    whole = batch.whole
    if whole is not None:
        block = whole.shape[2] // side
        whole = _pasted(whole, other, y * block, x * block, size * block)
    return Batch(_pasted(batch.tiles, other, y, x, size), kinds, tumour, batch.known * batch.known[other], whole)


def _pasted(tiles: torch.Tensor, other: torch.Tensor, y: int, x: int, size: int) -> torch.Tensor:
    out = tiles.clone()
    out[:, :, y : y + size, x : x + size] = tiles[other][:, :, y : y + size, x : x + size]
    return out


def _chances(tiles: TileSet) -> torch.Tensor:
    """Return (n,) chances of being drawn, adding up to n: the inverse square root of how often the labels occur."""
    _, place, count = np.unique(
        np.stack([tiles.kinds, tiles.tumour], 1), axis=0, return_inverse=True, return_counts=True
    )
    chances = 1 / np.sqrt(count[place])
    return torch.from_numpy(chances * len(tiles) / chances.sum())
