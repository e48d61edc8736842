"""A start for the CNN, ours: it learns which of the views that the nets find show what the guide saw.

The guide has learned from slide labels alone. Views are those of real walks, so the CNN meets what looks most like a
lesion to the localisation nets; guided slides add views around the guide's tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.magnet.magnet import Rois
from napari_wsi_mil.training.zoom_data import Pose, Reader

if TYPE_CHECKING:
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.zoom_data import ZoomSlide
    from napari_wsi_mil.training.zoom_fit import ZoomFit
    from napari_wsi_mil.training.zoom_guide import GuideMass

BATCH = 48
MORE = 6
"""Views around the guide's tiles, per guided slide and round."""
SHOWS, BARE = 0.25, 0.02
"""Tiles of the guide, by area, from which on a view shows something, and up to which it does not."""
LEARNING_RATE = 5e-4
SHADE = 0.05
"""Standard deviation of the gain of red, green and blue in training."""


class Seen(NamedTuple):
    """The views of one walk."""

    finals: torch.Tensor
    """(F, 3, px, px) uint8, in the order of the sequence."""
    more: torch.Tensor
    """(M, 3, px, px) uint8: around the guide's tiles; none without a guide."""
    tiles: torch.Tensor
    """(F + M,) tiles of the guide in each view, by area."""
    label: int


def tiles_in(centre: torch.Tensor, scale: torch.Tensor, guide: GuideMass) -> torch.Tensor:
    """Return how many of the guide's tiles lie in views (K, 2), (K,) of the root frame, by area."""
    if not len(guide.mass):
        return torch.zeros(len(scale))
    away = (centre[:, None] - guide.place[None]).abs()
    both = (scale[:, None, None] + guide.half - away).clamp_min(0)
    side = torch.minimum(both, torch.minimum(scale[:, None, None] * 2, torch.tensor(2 * guide.half)))
    return side.prod(2).sum(1) / (2 * guide.half) ** 2


@torch.no_grad()
def look(fit: ZoomFit, slide: ZoomSlide, pose: Pose, *, more: int = MORE) -> Seen:
    """Walk through a slide and keep what was seen."""
    fit.network.eval()
    walk = fit.network.walk(Reader(fit.frames, [slide], [pose]))
    guide, last = fit.frames.guide(slide, pose), walk.rois[-1]
    centre, scale, px = last.centre[0], last.scale[0], walk.views[-1].shape[-1]
    finals, extra = _bytes(walk.views[-1][0]), torch.zeros(0, 3, px, px, dtype=torch.uint8)
    if more and len(guide.mass):
        about = torch.multinomial(guide.mass, more, replacement=True, generator=fit.generator)
        some = torch.randint(len(scale), (more,), generator=fit.generator)
        away = 2 * torch.rand(more, 2, generator=fit.generator) - 1
        spots = guide.place[about] + away * scale[some, None] * 0.7
        # Sampled from its parent's reading, a view is half as fine as one of its own would be: so are these.
        fine = px if fit.network.plan.reread else max(px // 2, 1)
        read = fit.frames.read(slide, pose, Rois(spots, scale[some]), fine)
        extra = _bytes(functional.interpolate(read, (px, px), mode="bilinear", align_corners=True))
        centre, scale = torch.cat((centre, spots)), torch.cat((scale, scale[some]))
    return Seen(finals, extra, tiles_in(centre, scale, guide), slide.label)


def _bytes(views: torch.Tensor) -> torch.Tensor:
    return views.mul(255).round().clamp(0, 255).byte()


def learn_to_look(fit: ZoomFit, seen: list[Seen], tick: Tick) -> None:
    """Train the CNN and a linear layer, thrown away afterwards, to tell views with guide's tiles from those without.

    Half of every batch shows something, the other half is of slides of the first class: in the rest a guide leaves out
    much of what it knows. A CNN that knows tissue keeps its normalisation. Does nothing where no view shows anything.
    """
    views = torch.cat([part for one in seen for part in (one.finals, one.more)])
    tiles = torch.cat([one.tiles for one in seen])
    none = torch.cat([torch.full((len(one.tiles),), one.label == 0) for one in seen])
    shows, bare = (~none & (tiles >= SHOWS)).nonzero()[:, 0], (none & (tiles <= BARE)).nonzero()[:, 0]
    if not len(shows) or not len(bare):
        return
    network, recipe = fit.network, fit.recipe
    head = nn.Linear(network.n_features, 1)
    optimiser = torch.optim.AdamW([*network.cnn.parameters(), *head.parameters()], LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=recipe.look_steps)
    fit.train()
    for step in range(recipe.look_steps):
        tick(step, recipe.look_steps)
        rows = torch.cat(
            [part[torch.randint(len(part), (BATCH // 2,), generator=fit.generator)] for part in (shows, bare)]
        )
        rgb = views[rows].float() / 255
        gain = 1 + SHADE * torch.randn(BATCH // 2 * 2, 3, 1, 1, generator=fit.generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=fit.device == "cpu"):
            said = head(network.features((rgb * gain).clamp(0, 1)[None])[0])[:, 0]
        wanted = (tiles[rows] >= SHOWS).float()
        loss = functional.binary_cross_entropy_with_logits(said.float(), wanted)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.cnn.parameters(), recipe.clip)
        optimiser.step()
        schedule.step()
