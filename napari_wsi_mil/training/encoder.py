"""Recipe: labelled tiles -> a trained tile encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_wsi_mil.models.encoder import MiniEncoder, channels_last
from napari_wsi_mil.ticks import Tick, no_tick
from napari_wsi_mil.training.augment import augment
from napari_wsi_mil.training.metrics import auroc, balanced_accuracy
from napari_wsi_mil.training.tile_sets import EBHI_CLASSES, UNKNOWN, TileSet, join

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

MEAN = (0.70, 0.55, 0.68)
STD = (0.20, 0.20, 0.20)
"""Rounded colour of stained tissue; fixed so that every training run gives a comparable encoder."""


@dataclass(frozen=True)
class EncoderRecipe:
    """Everything that decides how the encoder is trained."""

    widths: tuple[int, ...] = (24, 48, 96, 192)
    depths: tuple[int, ...] = (2, 2, 2)
    n_features: int = 512
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    smoothing: float = 0.1
    dropout: float = 0.3
    patch_share: float = 0.5
    """Share of batches in which every tile gets a rectangle of another one (CutMix)."""
    darkening: float = 0.12
    """Half of the tumour tiles are darkened by up to this share: dense tumour looks dark at low power."""
    averaging: float = 0.995
    """Decay per step of the running mean of the weights, which is what is kept."""
    bfloat16: bool = True
    """Train in mixed precision; the kept weights and all measurements are float32."""
    seed: int = 0


class TileClassifier(nn.Module):
    """The encoder with two linear heads: six tissue kinds, and tumour or not."""

    def __init__(self, recipe: EncoderRecipe) -> None:
        super().__init__()
        self.encoder = channels_last(
            MiniEncoder(widths=recipe.widths, depths=recipe.depths, n_features=recipe.n_features)
        )
        self.drop = nn.Dropout(recipe.dropout)
        self.kind = nn.Linear(recipe.n_features, len(EBHI_CLASSES))
        self.tumour = nn.Linear(recipe.n_features, 1)

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map normalised (n, 3, h, w) to kind logits (n, 6) and tumour logits (n,)."""
        features = self.drop(self.encoder(tiles))
        return self.kind(features), self.tumour(features)[:, 0]


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
        tiles = augment(as_tensor(self.tiles[rows.numpy()]), generator)
        kinds, tumour = self.kinds[rows], self.tumour[rows]
        shade = 1 - recipe.darkening * torch.rand(n, generator=generator) * (tumour == 1)
        shade = torch.where(torch.rand(n, generator=generator) < 0.5, shade, torch.ones(n))
        tiles = tiles * shade[:, None, None, None]
        n_kinds, smooth = len(EBHI_CLASSES), recipe.smoothing
        spread = functional.one_hot(kinds.clamp(min=0), n_kinds) * (1 - smooth) + smooth / n_kinds
        target = tumour.clamp(min=0) * (1 - smooth) + smooth / 2
        batch = Batch(normalise(tiles), spread * (kinds != UNKNOWN)[:, None], target, (tumour != UNKNOWN).float())
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


def patched(batch: Batch, generator: torch.Generator) -> Batch:
    """Paste a rectangle of another tile into every tile and mix the targets by area (CutMix, Yun et al. 2019)."""
    side = batch.tiles.shape[2]
    size = int(side * float(torch.rand(1, generator=generator)) ** 0.5)
    y, x = torch.randint(0, side - size + 1, (2,), generator=generator).tolist()
    other = torch.randperm(len(batch.tiles), generator=generator)
    tiles = batch.tiles.clone()
    tiles[:, :, y : y + size, x : x + size] = batch.tiles[other][:, :, y : y + size, x : x + size]
    share = 1 - size**2 / side**2
    kinds, tumour = (share * a + (1 - share) * a[other] for a in (batch.kinds, batch.tumour))
    return Batch(tiles, kinds, tumour, batch.known * batch.known[other])


def train_encoder(sets: Sequence[TileSet], recipe: EncoderRecipe, *, tick: Tick = no_tick) -> TileClassifier:
    """Train on tiles of all sets, each tile about once per epoch, those of rare labels more often.

    AdamW under a one-cycle rate, cross-entropy over kinds plus binary cross-entropy over tumour, running mean of the
    weights. Ticks once per epoch. Returns the averaged classifier in eval mode. Raises Cancelled if `tick` stops it.
    """
    feed = Feed(sets, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = TileClassifier(recipe)
        running_mean = get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
        average = AveragedModel(model, multi_avg_fn=running_mean, use_buffers=True)
        optimiser, schedule = _optimiser(model, recipe, feed.steps * recipe.epochs)
        for epoch in range(recipe.epochs):
            tick(epoch, recipe.epochs)
            model.train()
            for batch in feed.epoch():
                optimiser.zero_grad()
                torch.autograd.backward(_loss(model, batch, bfloat16=recipe.bfloat16))
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimiser.step()
                schedule.step()
                average.update_parameters(model)
    tick(recipe.epochs, recipe.epochs)
    kept = average.module
    assert isinstance(kept, TileClassifier)
    return kept.eval()


def _optimiser(
    model: nn.Module, recipe: EncoderRecipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with weight decay on matrices and kernels only, rate up over 15 % of the steps and down to zero."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.15)
    return optimiser, schedule


def _chances(tiles: TileSet) -> torch.Tensor:
    """Return (n,) chances of being drawn, adding up to n: the inverse square root of how often the labels occur."""
    _, place, count = np.unique(
        np.stack([tiles.kinds, tiles.tumour], 1), axis=0, return_inverse=True, return_counts=True
    )
    chances = 1 / np.sqrt(count[place])
    return torch.from_numpy(chances * len(tiles) / chances.sum())


def _loss(model: TileClassifier, batch: Batch, *, bfloat16: bool) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        kinds, tumour = model(batch.tiles)
    wrong_kind = -(batch.kinds * kinds.float().log_softmax(1)).sum(1)
    wrong_tumour = functional.binary_cross_entropy_with_logits(tumour.float(), batch.tumour, reduction="none")
    total: torch.Tensor = wrong_kind.mean() + (wrong_tumour * batch.known).mean()
    return total


@torch.inference_mode()
def answers(model: TileClassifier, tiles: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return kind logits (n, 6) and tumour logits (n,) of (n, h, w, 3) uint8 tiles, float32, without augmentation."""
    outs = [model.eval()(normalise(as_tensor(part))) for part in np.array_split(tiles, 1 + len(tiles) // 128)]
    return torch.cat([kinds for kinds, _ in outs]).numpy(), torch.cat([tumour for _, tumour in outs]).numpy()


def measure(model: TileClassifier, tiles: TileSet) -> dict[str, float | int]:
    """Measure what the labels allow: balanced accuracy over kinds, and AUROC of tumour against none, per tile."""
    kinds, tumour = answers(model, tiles.tiles)
    found: dict[str, float | int] = {"tiles": len(tiles)}
    named, known = tiles.kinds != UNKNOWN, tiles.tumour != UNKNOWN
    if named.any():
        found["balanced_accuracy"] = balanced_accuracy(kinds[named].argmax(1), tiles.kinds[named])
    if len(set(tiles.tumour[known].tolist())) == 2:
        found["tumour_auroc"] = auroc(tumour[known], tiles.tumour[known] == 1)
    if (tiles.tumour == 0).any():
        found["called_tumour_wrongly"] = float((tumour[tiles.tumour == 0] > 0).mean())
    return found
