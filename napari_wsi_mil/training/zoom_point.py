"""Localisation nets learn to point, ours: on crops, that their highest score lies on what the guide saw.

Entmax gives cells that are not among the highest no gradient, so a net whose map misses the lesion learns nothing about
it, and from random starts most die. Here the softmax of the scores learns instead: all cells, crops in place of whole
walks. Nets beside each other are asked most for what those before them missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import nn

from napari_wsi_mil.training.zoom_colour import Crops

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.models.magnet.localiser import Conv, Localiser

LEARNING_RATE = 3e-3
SHADE = 0.06
"""Standard deviation of the gain of red, green and blue in training."""
LEAST = 0.1
"""Weight of a crop on which the nets before leave nothing to find."""
HIDDEN = 1e-9
"""Share given to cells the guide does not cover, so that the logarithm stays finite."""


class Posed(NamedTuple):
    """A batch of crops, flipped or turned."""

    rgb: torch.Tensor
    cover: torch.Tensor


def point(
    group: Localiser,
    crops: Crops,
    *,
    steps: int,
    batch: int,
    generator: torch.Generator,
    tick: Callable[[int, int], None],
    clip: float = 5.0,
) -> None:
    """Train nets of one group on crops, `batch` a step, all nets on each; crops without the guide's tiles take no part.

    The loss of a net on a crop is -log of the softmax mass on covered cells, weighed by what the nets before it missed.
    Adam under a one-cycle rate. Ticks per step; does nothing without a covered crop.
    """
    some = (crops.cover.flatten(1).sum(1) > 0).nonzero()[:, 0]
    if not len(some) or not steps:
        return
    optimiser = torch.optim.Adam(group.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.2)
    group.train()
    for step in range(steps):
        tick(step, steps)
        rows = some[torch.randint(len(some), (batch,), generator=generator)]
        shown = _posed(crops, rows, generator)
        each = shown.rgb[:, None].expand(-1, group.nets, -1, -1, -1)
        share = group(each).flatten(2).log_softmax(2)
        found = (share + shown.cover.flatten(1)[:, None].clamp_min(HIDDEN).log()).logsumexp(2)
        missed = (1 - found.detach().exp()).clamp(0, 1)
        asked = torch.cat((torch.ones_like(missed[:, :1]), missed[:, :-1].cumprod(1)), 1).clamp_min(LEAST)
        loss = -((asked * found).sum(0) / asked.sum(0)).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(group.parameters(), clip)
        optimiser.step()
        schedule.step()


def _posed(crops: Crops, rows: torch.Tensor, generator: torch.Generator) -> Posed:
    """Return crops in one of eight flips and turns, with gains of their colours; glass stays 0."""
    turns, flip = int(torch.randint(4, (1,), generator=generator)), bool(torch.randint(2, (1,), generator=generator))
    gain = 1 + SHADE * torch.randn(len(rows), 3, 1, 1, generator=generator)
    parts = [torch.rot90(part, turns, (-2, -1)) for part in ((crops.rgb[rows] * gain).clamp(0, 1), crops.cover[rows])]
    rgb, cover = (part.flip(-1) for part in parts) if flip else parts
    return Posed(rgb, cover)


@torch.no_grad()
def raise_gain(group: Localiser, gain: float) -> None:
    """Multiply the scores of a group: where they are highest stays, but the map becomes surer of it."""
    norm = cast("nn.BatchNorm2d", cast("Conv", group.branches[-1]).norm)
    norm.weight.mul_(gain)
    norm.bias.mul_(gain)
