"""A start for localisation nets, ours: one net per scale of view learns the guide's map on crops of all slides."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.magnet.localiser import Localiser, sparse_map
from napari_wsi_mil.models.magnet.magnet import MagNet, Rois
from napari_wsi_mil.training.zoom_data import Frames, Pose, ZoomSlide
from napari_wsi_mil.training.zoom_guide import covered, fenchel_young, heat, spot_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsi_mil.training.zoom_guide import GuideMass
    from napari_wsi_mil.training.zoom_recipe import ZoomRecipe

BATCH = 12
LEARNING_RATE = 2e-2
"""A net of 4,482 weights under a one-cycle rate; at 3e-3 it needs ten times the steps."""
RARE = 5.0
"""Weight of cells with lesion against those without."""
SHARP = 4.0
"""Scale of a new net's scores: with 1, as of any normalisation, its map is flat for hundreds of steps."""
SPREAD = 0.35
"""Crops are up to e^+-this larger than the scale asked for."""


class Kind(NamedTuple):
    """Views of one size: for nets of which depths they stand."""

    view_scale: float
    """Side over the root's."""
    wanted: float
    """Scale that the guide asks of what is cut from them."""


class Crops(NamedTuple):
    """A batch of views with what the guide says of them."""

    rgb: torch.Tensor
    """(n, 3, 56, 56)."""
    cover: torch.Tensor
    """(n, 56, 56) 1 where a tile of the guide lies."""
    target: torch.Tensor
    """(n, 56, 56) the map asked for; 0 where the guide has nothing."""


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
    """Train one net per scale of view and copy it to all nets that look at such views.

    The loss is cross-entropy per cell to where the guide's tiles lie, and the guide's loss of the map. Slides without
    a guide's map have nothing to find. Ticks per step over all nets.
    """
    of = kinds(network, recipe)
    scales = sorted({round(kind.view_scale, 6) for kind in of.values()}, reverse=True)
    for i, scale in enumerate(scales):
        wanted = max(kind.wanted for kind in of.values() if round(kind.view_scale, 6) == scale)
        steps = recipe.find_steps

        def told(step: int, begin: int = i * steps, total: int = len(scales) * steps) -> None:
            tick(begin + step, total)

        net = _one_net(network, frames, recipe, Kind(scale, wanted), generator=generator, told=told)
        for depth in range(1, network.plan.layers + 1):
            nets = network.plan.patches[depth - 1] - network.frozen(depth)
            for k in range(network.plan.counts[depth - 1] if nets else 0):
                if round(of[depth, k].view_scale, 6) == scale:
                    copy_net(net, network.localisers[depth - 1], range(k * nets, (k + 1) * nets))


def copy_net(one: Localiser, group: nn.Module, numbers: range) -> None:
    """Copy the weights of a single net into the given nets of a group."""
    assert isinstance(group, Localiser)
    source, state = one.state_dict(), group.state_dict()
    for name, value in source.items():
        if value.ndim == 0:
            state[name].copy_(value)
            continue
        each = state[name].unflatten(0, (group.nets, -1))
        for number in numbers:
            each[number].copy_(value)


def _one_net(
    network: MagNet,
    frames: Frames,
    recipe: ZoomRecipe,
    kind: Kind,
    *,
    generator: torch.Generator,
    told: Callable[[int], None],
) -> Localiser:
    plan, maker = network.plan, CropMaker(frames, recipe, kind, cells=network.plan.view_px, generator=generator)
    net, likeness = Localiser(), nn.Parameter(torch.tensor([1.0, -4.0]))
    nn.init.constant_(net.branches[-1].norm.weight, SHARP)  # type: ignore[union-attr, arg-type]
    optimiser = torch.optim.Adam([*net.parameters(), likeness], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=recipe.find_steps)
    net.train()
    for step in range(recipe.find_steps):
        told(step)
        crops = maker.batch(BATCH)
        scores = net(crops.rgb[:, None])[:, 0]
        tissue = crops.rgb.amax(1) > 0
        odds = scores * likeness[0] + likeness[1]
        cells = functional.binary_cross_entropy_with_logits(
            odds[tissue], crops.cover[tissue], pos_weight=torch.tensor(RARE)
        )
        some = crops.target.sum((1, 2)) > 0
        p = sparse_map(scores, plan.sparse)
        loss = 10 * cells + 0.5 * fenchel_young(scores[some], p[some], crops.target[some]).sum() / max(
            int(some.sum()), 1
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return net


class CropMaker:
    """Cuts views of one kind out of slides: half around what the guide saw, half from tissue of the others."""

    def __init__(
        self, frames: Frames, recipe: ZoomRecipe, kind: Kind, *, cells: int, generator: torch.Generator
    ) -> None:
        self.frames, self.recipe, self.kind, self.cells, self.generator = frames, recipe, kind, cells, generator
        self.guided = [slide for slide in frames.slides if slide.guide is not None]
        self.others = [slide for slide in frames.slides if slide.guide is None and slide.label == 0] or self.guided
        self._tissue: dict[str, torch.Tensor] = {}

    def batch(self, n: int) -> Crops:
        """Draw `n` views."""
        views = [self._one(self.guided if i % 2 else self.others) for i in range(n)]
        return Crops(*(torch.stack(part) for part in zip(*views, strict=True)))

    def _draw(self, n: int) -> int:
        return int(torch.randint(n, (1,), generator=self.generator))

    def _one(self, slides: Sequence[ZoomSlide]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        slide = slides[self._draw(len(slides))]
        pose = Pose.draw(self.generator, augment=self.recipe.augment, jitter=self.recipe.jitter)
        guide = self.frames.guide(slide, pose)
        rois = self._place(slide, pose, guide)
        rgb = self.frames.read(slide, pose, rois, self.cells)[0]
        cover = target = torch.zeros(self.cells, self.cells)
        seen = (guide.place - rois.centre) / rois.scale
        if len(guide.mass) and bool((seen.abs() <= 1).all(1).any()):
            sigma = spot_cells(self.kind.wanted, self.cells)
            target = heat(seen, guide.mass, self.cells, sigma)
            cover = covered(seen, guide.half / float(rois.scale), self.cells)
        return rgb, cover, target

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
