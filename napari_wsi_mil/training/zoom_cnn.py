"""The CNN of a MagNet before any slide: labelled tiles in made-up views of all scales -> an encoder that knows tissue.

Ours, not in the paper, which starts from ImageNet weights. The tile labels serve the CNN only; where to zoom and what a
slide holds is learned from slide labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.registry import build
from napari_wsi_mil.ticks import Tick, no_tick
from napari_wsi_mil.training.metrics import auroc
from napari_wsi_mil.training.tile_sets import EBHI_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsi_mil.training.tile_sets import TileSet

MEAN = (0.70, 0.55, 0.68)
STD = (0.20, 0.20, 0.20)
"""Rounded colour of stained tissue, as of the tile encoders."""
SMALL: Mapping[str, Any] = {"widths": (16, 32, 64, 128), "depths": (1, 1, 2), "n_features": 256, "pooling": "max"}
"""Options of `mini-encoder` that fit 18 views of 224 px on a CPU; the greatest value keeps a small lesion in a view."""
BOARD = 4
"""Tiles along the side of the board that views are cut from."""
GREY = 15 / 255


@dataclass(frozen=True)
class CnnRecipe:
    """Everything that decides how the CNN is trained on tiles."""

    options: Mapping[str, Any] = field(default_factory=lambda: dict(SMALL))
    """Of `mini-encoder`."""
    steps: int = 1500
    batch: int = 48
    view_px: int = 112
    """Side of training views; half of a final view, for as many pixels per tile."""
    zoom: tuple[float, float] = (40.0, 170.0)
    """Least and greatest side of a tile in a view, px."""
    details: tuple[int, ...] = (14, 16, 28, 32, 56, 56, 112)
    """Pixels along a tile that the reading held before it was enlarged, one drawn per batch; divisors of the tiles."""
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    smoothing: float = 0.05
    dropout: float = 0.3
    bfloat16: bool = True
    seed: int = 0


class Views(NamedTuple):
    """A batch of made-up views."""

    rgb: torch.Tensor
    """(n, 3, px, px) float32 in 0..1, grey made black."""
    tumour: torch.Tensor
    """(n,) 1 where a good part of a tumour tile is in the view, 0 where none is; NaN between."""
    kinds: torch.Tensor
    """(n, 6) share of the view under each kind of tissue; the rest is glass."""


class ViewClassifier(nn.Module):
    """The CNN with two linear heads: which kinds of tissue, and tumour or not."""

    def __init__(self, recipe: CnnRecipe) -> None:
        super().__init__()
        self.encoder = build("mini-encoder", **recipe.options)
        self.drop = nn.Dropout(recipe.dropout)
        n_features = int(self.encoder.n_features)  # type: ignore[arg-type]
        self.kind = nn.Linear(n_features, len(EBHI_CLASSES))
        self.tumour = nn.Linear(n_features, 1)

    def forward(self, rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (n, 3, h, w) in 0..1 to logits (n, 6) and (n,)."""
        mean, std = rgb.new_tensor(MEAN)[:, None, None], rgb.new_tensor(STD)[:, None, None]
        features = self.drop(self.encoder((rgb - mean) / std))
        return self.kind(features), self.tumour(features)[:, 0]


class ViewMaker:
    """Lays tiles out on boards and looks at them as a zoom does: reading, grey filter, enlargement."""

    def __init__(self, tiles: TileSet, recipe: CnnRecipe) -> None:
        self.recipe = recipe
        whole = torch.from_numpy(tiles.tiles).permute(0, 3, 1, 2)
        side = whole.shape[2]
        self.tiles = {d: functional.avg_pool2d(whole.float(), side // d).div_(255).half() for d in recipe.details}
        self.kinds = torch.from_numpy(tiles.kinds)
        tumour = torch.from_numpy(tiles.tumour)
        self.with_tumour, self.without = (tumour == 1).nonzero()[:, 0], (tumour == 0).nonzero()[:, 0]
        self.colour = self.tiles[min(recipe.details)].float().mean((2, 3))
        self.generator = torch.Generator().manual_seed(recipe.seed)

    def views(self, n: int, *, detail: int | None = None) -> Views:
        """Draw `n` views of tiles read at one of the recipe's details."""
        if detail is None:
            rows = torch.randint(len(self.recipe.details), (1,), generator=self.generator)
            detail = self.recipe.details[int(rows)]
        boards, cells = self._boards(n, self.tiles[detail])
        glass = boards.amax(1, keepdim=True) - boards.amin(1, keepdim=True) < GREY
        return self._cut(boards.masked_fill(glass, 0), cells)

    def _boards(self, n: int, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boards (n, 3, side, side) and the number of the tile on each cell (n, BOARD, BOARD), -1 for glass."""
        draw = self.generator
        plain = self.without[torch.randint(len(self.without), (n, BOARD, BOARD), generator=draw)]
        bad = self.with_tumour[torch.randint(len(self.with_tumour), (n, BOARD, BOARD), generator=draw)]
        # From a single tumour tile to a lesion that fills the board, on two thirds of the boards.
        share = torch.rand(n, generator=draw) ** 2 * (torch.rand(n, generator=draw) < 0.67)
        ill = torch.rand(n, BOARD, BOARD, generator=draw) < share[:, None, None]
        empty = torch.rand(n, BOARD, BOARD, generator=draw) < (0.5 * torch.rand(n, generator=draw) ** 2)[:, None, None]
        which = torch.where(ill, bad, plain)
        rgb = tiles[which.flatten()].float()
        stain = self.colour[self.without[torch.randint(len(self.without), (n, 24), generator=draw)]].mean(1)
        stain = stain.repeat_interleave(BOARD**2, 0)
        rgb = rgb + 0.7 * (stain - self.colour[which.flatten()])[:, :, None, None]
        dark = 1 - ill.flatten() * 0.12 * torch.rand(n * BOARD**2, generator=draw)
        rgb = _turned(rgb, draw) * dark[:, None, None, None]
        rgb[empty.flatten()] = 0.95
        side = tiles.shape[2]
        boards = rgb.view(n, BOARD, BOARD, 3, side, side).permute(0, 3, 1, 4, 2, 5).reshape(n, 3, BOARD * side, -1)
        gain = 1 + 0.08 * torch.randn(n, 3, generator=draw)
        bias = 0.025 * torch.randn(n, 3, generator=draw)
        boards = (boards * gain[:, :, None, None] + bias[:, :, None, None]).clamp(0, 1)
        return boards, torch.where(empty, -1, which)

    def _cut(self, coarse: torch.Tensor, cells: torch.Tensor) -> Views:
        n, px = len(coarse), self.recipe.view_px
        low, high = self.recipe.zoom
        per_tile = low * (high / low) ** torch.rand(n, generator=self.generator)
        scale = px / per_tile / BOARD
        centre = (2 * torch.rand(n, 2, generator=self.generator) - 1) * (1 - scale).clamp(min=0)[:, None]
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = scale
        theta[:, :, 2] = centre.flip(1)  # x before y, as the grid wants it
        grid = functional.affine_grid(theta, [n, 3, px, px], align_corners=True)
        rgb = functional.grid_sample(coarse, grid, mode="bilinear", align_corners=True)
        kinds = functional.one_hot(self.kinds[cells.flatten()].view(cells.shape), len(EBHI_CLASSES))
        kinds = (kinds * (cells >= 0)[..., None]).permute(0, 3, 1, 2).float()
        fine = functional.affine_grid(theta, [n, 6, 24, 24], align_corners=False)
        seen = functional.grid_sample(kinds, fine, mode="nearest", align_corners=False)
        share = seen.mean((2, 3))
        # In tiles, not in shares of the view: a quarter of a tile shows tumour at any scale.
        tiles = share[:, EBHI_CLASSES.index("Adenocarcinoma")] * (px / per_tile) ** 2
        tumour = torch.where(tiles > 0.25, 1.0, torch.where(tiles > 0.02, torch.nan, 0.0))
        return Views(rgb, tumour, share)


def _turned(tiles: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Flip and turn every tile by its own multiple of 90 degrees."""
    moves = torch.randint(8, (len(tiles),), generator=draw)
    for k in range(8):
        rows = moves == k
        part = torch.rot90(tiles[rows], k % 4, (2, 3))
        tiles[rows] = part.flip(3) if k >= 4 else part
    return tiles


def train_cnn(
    tiles: TileSet,
    recipe: CnnRecipe,
    *,
    start: Mapping[str, torch.Tensor] | None = None,
    tick: Tick = no_tick,
) -> ViewClassifier:
    """Train on views made of tiles; ticks once per 50 steps, returns the classifier in eval mode.

    `start` are weights of an encoder with the same options to begin with, save for its pooling.
    AdamW under a one-cycle rate; cross-entropy to the kinds' shares plus binary cross-entropy of tumour or not. Tiles
    of unknown tumour label are left out. Raises Cancelled if `tick` stops it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model, maker = ViewClassifier(recipe), ViewMaker(tiles, recipe)
        if start is not None:
            model.encoder.load_state_dict(start)
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.15
        )
        model.train()
        for step in range(recipe.steps):
            if step % 50 == 0:
                tick(step, recipe.steps)
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                loss = view_loss(model, maker.views(recipe.batch), recipe.smoothing)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
    tick(recipe.steps, recipe.steps)
    return model.eval()


def view_loss(model: ViewClassifier, views: Views, smoothing: float) -> torch.Tensor:
    """Return the mean loss over views; those of unsure tumour label count for their kinds only."""
    kinds, tumour = (logits.float() for logits in model(views.rgb))
    known = ~views.tumour.isnan()
    target = views.tumour[known] * (1 - smoothing) + smoothing / 2
    wrong = functional.binary_cross_entropy_with_logits(tumour[known], target)
    total: torch.Tensor = wrong - (views.kinds * kinds.log_softmax(1)).sum(1).mean()
    return total


@torch.inference_mode()
def measure_cnn(model: ViewClassifier, tiles: TileSet, *, detail: int, zoom: float, n: int = 400) -> float:
    """Return the AUROC of tumour in `n` views made of other tiles, read at `detail` and shown at `zoom` px per tile."""
    recipe = CnnRecipe(zoom=(zoom, zoom), details=(detail,), seed=1)
    maker = ViewMaker(tiles, recipe)
    said, truth = [], []
    for _ in range(0, n, 50):
        views = maker.views(50, detail=detail)
        known = ~views.tumour.isnan()
        said.append(model.eval()(views.rgb)[1][known].numpy())
        truth.append(views.tumour[known].numpy() == 1)
    return auroc(np.concatenate(said), np.concatenate(truth))
