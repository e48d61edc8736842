"""Guidance, ours: localisation nets learn where an already trained slide-level head looked.

The head has learned from slide labels alone, so the zoom has, too. Its tiles are pooled into the cells of every view;
nets beside each other that look at one view are asked for what the nets before them left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from napari_wsi_mil.models.magnet.magnet import MagNet, Walk
    from napari_wsi_mil.training.zoom_recipe import ZoomRecipe

LEAST_MASS = 0.02
"""Share of the guide's mass that a view must hold for its nets to be told anything."""
TOO_WIDE = 2.0
"""Weight of what too wide views cost."""
SPREAD = 1.6
"""Scale over standard deviation of a round spot: expected L1 distance from its centre."""


class GuideMass(NamedTuple):
    """The guide's tiles of one slide, in the root frame."""

    place: torch.Tensor
    """(N, 2) y, x in -1..1."""
    mass: torch.Tensor
    """(N,) summing to 1; N is 0 where a slide has no guide."""
    half: float
    """Half the side of a tile, in -1..1."""
    number: int = 0
    """Of the slide, to divide slides among nets."""


def spot_cells(scale: float, cells: int) -> float:
    """Return the standard deviation in cells of a spot from which the scale `scale` follows."""
    return max(scale / SPREAD * (cells - 1) / 2, 0.5)


def heat(place: torch.Tensor, mass: torch.Tensor, cells: int, sigma: float) -> torch.Tensor:
    """Pool tiles at (N, 2) of a view, -1..1, into (cells, cells) and blur with `sigma` cells; sums to 1.

    Tiles outside the view are left out; there must be one inside.
    """
    inside = (place.abs() <= 1).all(1)
    cell = ((place[inside] + 1) / 2 * (cells - 1)).round().long()
    grid = torch.zeros(cells * cells).index_add_(0, cell[:, 0] * cells + cell[:, 1], mass[inside]).view(cells, cells)
    reach = math.ceil(3 * sigma)
    bell = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    bell = bell / bell.sum()
    rows = functional.conv2d(grid[None, None], bell.view(1, 1, -1, 1), padding=(reach, 0))
    wide = functional.conv2d(rows, bell.view(1, 1, 1, -1), padding=(0, reach))[0, 0]
    return wide / wide.sum().clamp_min(1e-12)


def covered(place: torch.Tensor, half: float, cells: int) -> torch.Tensor:
    """Return which cells of a view (cells, cells) tiles at (N, 2) of it, -1..1, cover: 1 or 0; one cell at least."""
    line = torch.linspace(-1, 1, cells)
    near = (line - place[..., None]).abs() <= max(half, 1 / (cells - 1))
    rows, columns = near.float().unbind(1)
    return (rows.T @ columns > 0).float()


def fenchel_young(scores: torch.Tensor, p: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return a number per map (n,) whose gradient to the scores (n, h, w) is p - target, as of the Fenchel-Young loss.

    p (n, h, w) is the sparse map of the scores (entmax or sparsemax: the gradient holds for either). The value itself
    is <p - target, scores>, zero where the map is the target. Blondel, Martins, Niculae, "Learning with Fenchel-Young
    losses", JMLR 2020, proposition 2. Unlike cross-entropy it tells cells with p = 0, too, what is asked of them.
    """
    return ((p - target).detach() * scores).sum((1, 2))


class Asked(NamedTuple):
    """What the guide asks of localisation nets: one entry per map that is asked for anything."""

    row: tuple[int, ...]
    """Number of the slide in the batch."""
    node: tuple[int, ...]
    """Number of the view among those of its depth."""
    target: torch.Tensor
    """(n, h, w)."""
    weight: torch.Tensor
    """(n,) share of the guide's mass that is concerned."""


def asked(network: MagNet, walk: Walk, guides: list[GuideMass], recipe: ZoomRecipe, depth: int) -> Asked:
    """Return what is asked of the nets of one depth, from 1, on a walk; frozen patches are asked nothing.

    Each of several nets of one view is left in peace by one slide in as many, so that they do not all learn the same.
    """
    plan, cells = network.plan, walk.maps[depth - 1].shape[-1]
    patches, frozen = plan.patches[depth - 1], int(network.frozen(depth))
    nets = patches - frozen
    rows, nodes, targets, weights = [], [], [], []
    above, here = walk.rois[depth - 1], walk.rois[depth]
    for b, guide in enumerate(guides):
        spared = frozen + guide.number % nets if nets > 1 else -1
        for k in range(plan.counts[depth - 1] if len(guide.mass) else 0):
            seen = (guide.place - above.centre[b, k].detach()) / above.scale[b, k].detach()
            left = guide.mass * (seen.abs() <= 1).all(1)
            sigma = spot_cells(recipe.wanted_scale(depth, under_frozen=is_whole(network, depth, k)), cells)
            for j in range(frozen, patches):
                node = k * patches + j
                if float(left.sum()) >= LEAST_MASS and j != spared:
                    rows.append(b)
                    nodes.append(node)
                    targets.append(heat(seen, left, cells, sigma))
                    weights.append(left.sum())
                away = (guide.place - here.centre[b, node].detach()).abs().amax(1)
                left = left * (away > here.scale[b, node].detach())
    like = walk.maps[depth - 1]
    target = torch.stack(targets) if targets else like.new_zeros(0, cells, cells)
    return Asked(tuple(rows), tuple(nodes), target, torch.stack(weights) if weights else like.new_zeros(0))


def guide_loss(network: MagNet, walk: Walk, guides: list[GuideMass], recipe: ZoomRecipe) -> torch.Tensor:
    """Return the guide's loss of a walk: the mean over depths of what is asked there, and what too wide views cost."""
    parts = []
    for depth in range(1, network.plan.layers + 1):
        want = asked(network, walk, guides, recipe, depth)
        if want.row:
            rows, nodes = list(want.row), list(want.node)
            each = fenchel_young(walk.scores[depth - 1][rows, nodes], walk.maps[depth - 1][rows, nodes], want.target)
            parts.append((each * want.weight).sum() / want.weight.sum())
        parts.append(TOO_WIDE * too_wide(network, walk, recipe, depth))
    return torch.stack(parts).sum() / network.plan.layers


def too_wide(network: MagNet, walk: Walk, recipe: ZoomRecipe, depth: int) -> torch.Tensor:
    """Return the mean over the views of a depth of log(scale / scale asked for) squared, where it is above 0.

    A net that is not sure where to look spreads its map, and its view with it; it shall rather choose.
    """
    patches, frozen = network.plan.patches[depth - 1], int(network.frozen(depth))
    wanted = [
        recipe.wanted_scale(depth, under_frozen=is_whole(network, depth, k))
        for k in range(network.plan.counts[depth - 1])
    ]
    scale = walk.theta[depth - 1][..., 0]
    scale = scale.reshape(len(scale), -1, patches)[:, :, frozen:]
    if not scale.numel():
        return walk.scores[0].sum() * 0
    return (scale / scale.new_tensor(wanted)[:, None]).log().clamp_min(0).square().mean()


def is_whole(network: MagNet, depth: int, parent: int) -> bool:
    """Tell whether a parent of views of this depth is a frozen patch."""
    return depth > 1 and network.frozen(depth - 1) and parent % network.plan.patches[depth - 2] == 0


def touched(walk: Walk, guides: list[GuideMass]) -> list[float]:
    """Return per guided slide the share of the guide's mass inside the final views."""
    found = []
    for b, guide in enumerate(guides):
        if len(guide.mass):
            last = walk.rois[-1]
            away = (guide.place[:, None] - last.centre[b].detach()).abs().amax(2)
            found.append(float((guide.mass * (away <= last.scale[b].detach()).any(1)).sum()))
    return found
