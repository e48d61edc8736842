"""A start for localisation nets, ours: crops of all slides at the scales that nets of each layer look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_wsi_mil.models.magnet.localiser import Localiser
from napari_wsi_mil.models.magnet.magnet import MagNet, Rois
from napari_wsi_mil.models.magnet.shown import dense, shrunk
from napari_wsi_mil.training.zoom_colour import Crops, colour_weights, start_from_colour
from napari_wsi_mil.training.zoom_data import Frames, Pose, ZoomSlide
from napari_wsi_mil.training.zoom_guide import covered
from napari_wsi_mil.training.zoom_point import point, raise_gain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from napari_wsi_mil.training.zoom_guide import GuideMass
    from napari_wsi_mil.training.zoom_recipe import ZoomRecipe

PARTS = (np.array([1.0] * 6), np.array([1.0] * 3 + [0.0] * 3), np.array([0.0] * 3 + [1.0] * 3))
"""Which of the six colour weights nets beside each other start from."""
POINTED = 1000
"""Crops that nets learn to point on."""
SPREAD = 0.35
"""Crops are up to e^+-this larger than the scale asked for."""


class Kind(NamedTuple):
    """Views of one size: for nets of which depths they stand."""

    view_scale: float
    """Side over the root's."""
    wanted: float
    """Scale that the guide asks of what is cut from them."""


def kinds(network: MagNet, recipe: ZoomRecipe) -> dict[tuple[int, int], Kind]:
    """Return for every (depth, parent) the kind of view its nets look at."""
    found: dict[tuple[int, int], Kind] = {}
    scales = {(0, 0): 1.0}
    for depth, patches in enumerate(network.plan.patches, 1):
        for k in range(network.plan.counts[depth - 1]):
            frozen = depth > 1 and network.frozen(depth - 1) and k % network.plan.patches[depth - 2] == 0
            wanted = recipe.wanted_scale(depth, under_frozen=frozen)
            found[depth, k] = Kind(scales[depth - 1, k], wanted)
            for j in range(patches):
                whole = network.frozen(depth) and j == 0
                scales[depth, k * patches + j] = scales[depth - 1, k] * (1.0 if whole else wanted)
    return found


def start_nets(
    network: MagNet, frames: Frames, recipe: ZoomRecipe, *, generator: torch.Generator, tick: Callable[[int, int], None]
) -> None:
    """Let every localisation net start from the colours of what the guide saw in views like those it looks at.

    Nets beside each other start from different weights: of cells and their surroundings, of cells, of surroundings.
    With `point_steps` they then learn to point, one group for all views of a size. Slides without a guide's map have
    nothing to find. Ticks per group of nets, and per step of pointing.
    """
    of = kinds(network, recipe)
    every = _shared(of) if recipe.point_steps else {kind: [kind] for kind in sorted(set(of.values()), reverse=True)}
    made = dict[float, Crops]()
    for i, (kind, alike) in enumerate(every.items()):
        tick(i, len(every))
        maker = CropMaker(frames, recipe, kind, network=network, generator=generator)
        if kind.view_scale not in made:
            made[kind.view_scale] = maker.batch(recipe.find_crops)
        group = _started(network, made[kind.view_scale], kind.wanted)
        places = {place for place, one in of.items() if one in alike}
        if recipe.point_steps:
            if min(depth for depth, _ in places) <= recipe.point_layers:
                shown = maker.batch(POINTED, guided=True)
                point(
                    group, shown, steps=recipe.point_steps, batch=recipe.point_batch, generator=generator, tick=tick,
                    clip=recipe.clip,
                )  # fmt: skip
            raise_gain(group, recipe.point_gain)
        _place(group, network, places)


def _shared(of: dict[tuple[int, int], Kind]) -> dict[Kind, list[Kind]]:
    """Return one kind per size of view, the one that asks for the narrowest, and all that it stands for."""
    every = sorted(set(of.values()), reverse=True)
    sizes = sorted({kind.view_scale for kind in every}, reverse=True)
    alike = [[kind for kind in every if kind.view_scale == size] for size in sizes]
    return {min(some, key=lambda kind: kind.wanted): some for some in alike}


def _started(network: MagNet, crops: Crops, wanted: float) -> Localiser:
    """Return nets that look at one view, each started from its own part of the colours."""
    weights, group = colour_weights(crops), Localiser(max(network.plan.patches))
    for j in range(group.nets):
        net = Localiser()
        start_from_colour(net, crops, weights * PARTS[j % len(PARTS)], network.plan, wanted)
        copy_net(net, group, j)
    return group


def _place(group: Localiser, network: MagNet, places: set[tuple[int, int]]) -> None:
    """Copy a group's nets to all views (depth, number) that they stand for."""
    for depth, k in sorted(places):
        nets = network.plan.patches[depth - 1] - network.frozen(depth)
        for j in range(nets):
            copy_net(group, network.localisers[depth - 1], k * nets + j, source=j)


def copy_net(one: Localiser, group: nn.Module, number: int, *, source: int = 0) -> None:
    """Copy the weights of net `source` of one group into net `number` of another."""
    assert isinstance(group, Localiser)
    state = group.state_dict()
    for name, value in one.state_dict().items():
        if value.ndim == 0:
            state[name].copy_(value)
            continue
        state[name].unflatten(0, (group.nets, -1))[number].copy_(value.unflatten(0, (one.nets, -1))[source])


class CropMaker:
    """Cuts views of one kind out of slides: half around what the guide saw, half from tissue of the others."""

    def __init__(
        self, frames: Frames, recipe: ZoomRecipe, kind: Kind, *, network: MagNet, generator: torch.Generator
    ) -> None:
        self.frames, self.recipe, self.kind, self.generator = frames, recipe, kind, generator
        self.plan, self.density, self.cells = network.plan, network.density, network.plan.view_px
        self.guided = [slide for slide in frames.slides if slide.guide is not None]
        self.others = [slide for slide in frames.slides if slide.guide is None and slide.label == 0] or self.guided
        self._tissue: dict[str, torch.Tensor] = {}

    def batch(self, n: int, *, guided: bool = False) -> Crops:
        """Draw `n` views as the nets see them, all of slides with a guide's map if `guided`."""
        views = [self._one(self.guided if guided or i % 2 else self.others) for i in range(n)]
        seen, cover = (torch.stack(part) for part in zip(*views, strict=True))
        return Crops(seen, cover, self.density)

    def _draw(self, n: int) -> int:
        return int(torch.randint(n, (1,), generator=self.generator))

    def _one(self, slides: Sequence[ZoomSlide]) -> tuple[torch.Tensor, torch.Tensor]:
        slide = slides[self._draw(len(slides))]
        pose = Pose.draw(self.generator, augment=self.recipe.augment, jitter=self.recipe.jitter)
        guide = self.frames.guide(slide, pose)
        rois = self._place(slide, pose, guide)
        read = self.frames.read(slide, pose, rois, self.plan.source_px)
        seen_as = shrunk(dense(read) if self.density else read, self.cells)[0]
        cover = torch.zeros(self.cells, self.cells)
        seen = (guide.place - rois.centre) / rois.scale
        if len(guide.mass) and bool((seen.abs() <= 1).all(1).any()):
            cover = covered(seen, guide.half / float(rois.scale), self.cells)
        return seen_as, cover

    def _place(self, slide: ZoomSlide, pose: Pose, guide: GuideMass) -> Rois:
        if self.kind.view_scale >= 1:
            return Rois(torch.zeros(1, 2), torch.ones(1))
        away, size = 2 * torch.rand(2, generator=self.generator) - 1, torch.rand(1, generator=self.generator)
        scale = self.kind.view_scale * torch.exp(SPREAD * (2 * size - 1))
        if len(guide.mass):
            about = guide.place[self._draw(len(guide.place))]
            return Rois((about + away * scale * 0.8)[None], scale)
        tissue = self._tissue_of(slide)
        place = tissue[self._draw(len(tissue))] / pose.wider
        return Rois(pose.to_frame(place)[None], scale)

    def _tissue_of(self, slide: ZoomSlide) -> torch.Tensor:
        """Return places (n, 2) of the plain frame where its first view shows colour; the centre where none does."""
        if slide.name not in self._tissue:
            whole = self.frames.read(slide, Pose(), Rois(torch.zeros(1, 2), torch.ones(1)), self.cells)[0]
            cell = (whole.amax(0) > 0).nonzero().float()
            found = cell / (self.cells - 1) * 2 - 1
            self._tissue[slide.name] = found if len(found) else torch.zeros(1, 2)
        return self._tissue[slide.name]
