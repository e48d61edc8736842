"""Recipe: labelled tiles -> a trained tile encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_wsi_mil.models.encoder import MiniEncoder, channels_last
from napari_wsi_mil.ticks import Tick, no_tick
from napari_wsi_mil.training.feed import MEAN, STD, Batch, Feed, as_tensor, normalise
from napari_wsi_mil.training.metrics import auroc, balanced_accuracy
from napari_wsi_mil.training.tile_sets import EBHI_CLASSES, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.training.teacher import Teacher
    from napari_wsi_mil.training.tile_sets import TileSet

__all__ = ["MEAN", "STD", "EncoderRecipe", "TileClassifier", "answers", "measure", "train_encoder"]


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
    stem_stride: int = 2
    """Of the first convolution; 1 with a teacher at half the um/px."""
    block: int = 1
    """Tiles are made smaller by this factor after `repose`; a teacher sees them before."""
    likeness: float = 1.0
    """Weight of the distance to the teacher's features, where there is a teacher."""
    bfloat16: bool = True
    """Train in mixed precision; the kept weights and all measurements are float32."""
    seed: int = 0


class TileClassifier(nn.Module):
    """The encoder with two linear heads: six tissue kinds, and tumour or not."""

    def __init__(self, recipe: EncoderRecipe) -> None:
        super().__init__()
        self.encoder = channels_last(
            MiniEncoder(
                widths=recipe.widths, depths=recipe.depths, n_features=recipe.n_features, stem_stride=recipe.stem_stride
            )
        )
        self.drop = nn.Dropout(recipe.dropout)
        self.kind = nn.Linear(recipe.n_features, len(EBHI_CLASSES))
        self.tumour = nn.Linear(recipe.n_features, 1)

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map normalised (n, 3, h, w) to kind logits (n, 6) and tumour logits (n,)."""
        return self.judge(self.encoder(tiles))

    def judge(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map features (n, n_features) to kind logits (n, 6) and tumour logits (n,)."""
        dropped = self.drop(features)
        return self.kind(dropped), self.tumour(dropped)[:, 0]


def train_encoder(
    sets: Sequence[TileSet], recipe: EncoderRecipe, *, teacher: Teacher | None = None, tick: Tick = no_tick
) -> TileClassifier:
    """Train on tiles of all sets, each tile about once per epoch, those of rare labels more often.

    AdamW under a one-cycle rate, cross-entropy over kinds plus binary cross-entropy over tumour, running mean of the
    weights; with a teacher also the distance to its features of the same tiles, from its weights on. Ticks once per
    epoch. Returns the averaged classifier in eval mode. Raises Cancelled if `tick` stops it.
    """
    feed = Feed(sets, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = TileClassifier(recipe)
        if teacher is not None:
            model.encoder.load_state_dict(teacher.encoder.state_dict())
        running_mean = get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
        average = AveragedModel(model, multi_avg_fn=running_mean, use_buffers=True)
        optimiser, schedule = _optimiser(model, recipe, feed.steps * recipe.epochs)
        for epoch in range(recipe.epochs):
            tick(epoch, recipe.epochs)
            model.train()
            for batch in feed.epoch():
                optimiser.zero_grad()
                torch.autograd.backward(_loss(model, batch, recipe, teacher))
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


def _loss(model: TileClassifier, batch: Batch, recipe: EncoderRecipe, teacher: Teacher | None) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        features = model.encoder(batch.tiles)
        kinds, tumour = model.judge(features)
    wrong_kind = -(batch.kinds * kinds.float().log_softmax(1)).sum(1)
    wrong_tumour = functional.binary_cross_entropy_with_logits(tumour.float(), batch.tumour, reduction="none")
    total: torch.Tensor = wrong_kind.mean() + (wrong_tumour * batch.known).mean()
    if teacher is None:
        return total
    whole = batch.tiles if batch.whole is None else batch.whole
    return total + recipe.likeness * teacher.distance(features, whole, bfloat16=recipe.bfloat16)


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
