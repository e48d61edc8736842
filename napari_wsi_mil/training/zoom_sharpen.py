"""Views as narrow as the recipe asks, ours: the gain of every localisation net, found by bisection.

A net that is not sure spreads its map, and the view with it; training makes maps peaked only slowly. Nothing but the
scale of a net's scores changes: where they are highest stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from napari_wsi_mil.training.zoom_data import Pose, Reader
from napari_wsi_mil.training.zoom_guide import is_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.models.magnet.localiser import Conv, Localiser
    from napari_wsi_mil.models.magnet.magnet import Walk
    from napari_wsi_mil.training.zoom_data import ZoomSlide
    from napari_wsi_mil.training.zoom_fit import ZoomFit

SLIDES = 12
"""Slides that the gains are found on."""
MOST = 3.0
"""Greatest logarithm (base 2) of the factor of a gain."""
STEPS = 5


@torch.no_grad()
def sharpen(fit: ZoomFit) -> None:
    """Multiply gains, layer by layer from the root, until the median scale of each net's views is what is asked for.

    Nets whose views are narrow enough stay as they are.
    """
    network = fit.network.eval()
    order = torch.randperm(len(fit.kept), generator=fit.generator).tolist()[:SLIDES]
    slides = [fit.kept[i] for i in order]
    for depth, patches in enumerate(network.plan.patches, 1):
        frozen = int(network.frozen(depth))
        if patches == frozen:
            continue
        group = cast("Localiser", network.localisers[depth - 1])
        norm = cast("nn.BatchNorm2d", cast("Conv", group.branches[-1]).norm)
        weight, bias = norm.weight.clone(), norm.bias.clone()
        parents = network.plan.counts[depth - 1]
        wanted = torch.tensor(
            [fit.recipe.wanted_scale(depth, under_frozen=is_whole(network, depth, k)) for k in range(parents)]
        ).repeat_interleave(patches - frozen)
        low, high = torch.zeros(len(wanted)), torch.full((len(wanted),), MOST)
        for step in range(STEPS + 1):
            power = high if step == STEPS else (low + high) / 2 if step else low
            norm.weight.copy_(weight * 2**power)
            norm.bias.copy_(bias * 2**power)
            if step == STEPS:
                break
            wide = _scales(fit, slides, depth, frozen, patches) > wanted
            if step == 0:
                high = torch.where(wide, high, low)
                continue
            low, high = torch.where(wide, power, low), torch.where(wide, high, power)


def _scales(fit: ZoomFit, slides: Sequence[ZoomSlide], depth: int, frozen: int, patches: int) -> torch.Tensor:
    """Return (nets,) the median scale of what each net of a depth cuts out."""
    found = []
    for slide in slides:
        walk: Walk = fit.network.walk(Reader(fit.frames, [slide], [Pose()]))
        found.append(walk.theta[depth - 1][0, :, 0].reshape(-1, patches)[:, frozen:].flatten())
    return torch.stack(found).median(0).values
