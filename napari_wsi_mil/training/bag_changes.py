"""Random changes of a bag in training: features (N, D) float32 and top-left corners (N, 2) float32 in tile units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from napari_wsi_mil.training.recipe import HeadRecipe

GRID_SHIFT = 3
"""Greatest shift in cells of the grid moves."""
GRID_MOVES = ("identity", "flip y", "flip x", "turn 90", "turn 180", "turn 270", "up", "down", "left", "right")


def changed(
    features: torch.Tensor, yx: torch.Tensor, generator: torch.Generator, recipe: HeadRecipe
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change a bag as the recipe says."""
    if recipe.augment == "bag":
        return vary(features, yx, generator, keep=recipe.keep, noise=recipe.noise)
    if recipe.augment == "grid":
        return move_grid(features, yx, generator)
    return features, yx


def vary(
    features: torch.Tensor, yx: torch.Tensor, generator: torch.Generator, *, keep: float = 0.5, noise: float = 0.1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Drop tiles, turn the slide, blur features: the bag augmentation of training.

    Keeps a random share between `keep` and 1 of the tiles (at least one), mirrors and turns coordinates by
    multiples of 90 degrees, adds Gaussian noise of `noise` times each feature's standard deviation in the bag.
    """
    n = len(features)
    share = keep + (1 - keep) * float(torch.rand(1, generator=generator))
    chosen = torch.randperm(n, generator=generator)[: max(1, round(share * n))]
    features, yx = features[chosen], yx[chosen]
    flips = torch.randint(0, 2, (2,), generator=generator) * 2 - 1
    yx = yx * flips
    if int(torch.randint(0, 2, (1,), generator=generator)):
        yx = yx.flip(1)
    spread = features.std(0, correction=0, keepdim=True)
    return features + noise * spread * torch.randn(features.shape, generator=generator), yx


def move_grid(
    features: torch.Tensor, yx: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply one of `GRID_MOVES`, drawn at random: the grid augmentation of Brancati et al. 2021, on coordinates.

    Their grid is the bag's bounding box; shifts go by 1 to 3 cells, and what leaves the box is dropped (one tile at
    least stays). Their two zoomed-out copies need features at 4 um/px of their own and are not made here; they show
    every move once per epoch, we one at random.
    """
    move = GRID_MOVES[int(torch.randint(len(GRID_MOVES), (1,), generator=generator))]
    cells = int(torch.randint(1, GRID_SHIFT + 1, (1,), generator=generator))
    return moved(features, yx, move, cells=cells)


def moved(features: torch.Tensor, yx: torch.Tensor, move: str, *, cells: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply one of `GRID_MOVES` within the bag's bounding box; `cells` is how far the last four go."""
    low, high = yx.amin(0), yx.amax(0)
    if move == "identity":
        return features, yx
    if move in ("up", "down", "left", "right"):
        step = torch.tensor({"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}[move]) * cells
        there = yx + step
        stays = ((there >= low) & (there <= high)).all(1)
        return (features[stays], there[stays]) if bool(stays.any()) else (features, yx)
    y, x = (yx - low).unbind(1)
    (tall, wide) = (high - low).unbind(0)
    places = {
        "flip y": (tall - y, x),
        "flip x": (y, wide - x),
        "turn 90": (wide - x, y),
        "turn 180": (tall - y, wide - x),
        "turn 270": (x, tall - y),
    }
    return features, torch.stack(places[move], 1) + low
