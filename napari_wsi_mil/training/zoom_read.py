"""A start for the classifier, ours: it learns from the views that the nets as they are find in every slide."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.training.zoom_data import Pose
from napari_wsi_mil.training.zoom_look import MORE, Seen, learn_to_look, look

if TYPE_CHECKING:
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.zoom_fit import ZoomFit

BATCH = 32
LOOK_EVERY = 20
"""Steps between looks at the held-out slides."""
NOISE = 0.1
"""Standard deviation of what is added to features, in those of each feature over all views."""


def learn_to_read(fit: ZoomFit, tick: Tick) -> float:
    """Train GRU and classifier of `fit.network` on rows of features; keep the state of the lowest held-out loss.

    Every round walks all training slides in new poses; with a guide the CNN learns from these views first. The order
    of final views is shuffled in training, as no place in the sequence means more than another to begin with. Returns
    the mean loss of the last steps.
    """
    recipe, network = fit.recipe, fit.network
    total = recipe.read_rounds * len(fit.kept) + len(fit.held)
    guided = bool(fit.guided) and recipe.look_steps > 0
    seen: list[Seen] = []
    for _ in range(recipe.read_rounds):
        for slide, pose in zip(fit.kept, fit.poses(len(fit.kept)), strict=True):
            tick(len(seen), total)
            seen.append(look(fit, slide, pose, more=MORE if guided else 0))
    if guided:
        learn_to_look(fit, seen, tick)
    truth = torch.tensor([one.label for one in seen])
    known = torch.stack([_features(fit, one.finals) for one in seen])
    held = torch.stack([_features(fit, look(fit, slide, Pose(), more=0).finals) for slide in fit.held])
    wanted = torch.tensor([slide.label for slide in fit.held])
    parts = nn.ModuleList([network.gru, network.head])
    optimiser = torch.optim.Adam(parts.parameters(), recipe.read_rate, weight_decay=recipe.weight_decay)
    best, kept, losses = float("inf"), copy.deepcopy(parts.state_dict()), []
    spread = known.std((0, 1))
    for step in range(recipe.read_steps):
        parts.train()
        drawn = torch.randint(len(known), (BATCH,), generator=fit.generator)
        order = torch.rand(BATCH, known.shape[1], generator=fit.generator).argsort(1)
        batch = known[drawn].gather(1, order[:, :, None].expand(-1, -1, known.shape[2]))
        noise = torch.randn(batch.shape, generator=fit.generator)
        said = network.classify(batch + NOISE * spread * noise)
        loss = functional.cross_entropy(said, truth[drawn], weight=fit.weights)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parts.parameters(), recipe.clip)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            now = _loss(fit, parts, held, wanted)
            if now < best:
                best, kept = now, copy.deepcopy(parts.state_dict())
    parts.load_state_dict(kept)
    return sum(losses[-LOOK_EVERY:]) / len(losses[-LOOK_EVERY:])


@torch.no_grad()
def _features(fit: ZoomFit, finals: torch.Tensor) -> torch.Tensor:
    """Return features (F, D) of final views (F, 3, px, px) uint8."""
    fit.network.eval()
    return fit.network.features(finals[None].float() / 255)[0]


@torch.no_grad()
def _loss(fit: ZoomFit, parts: nn.Module, rows: torch.Tensor, labels: torch.Tensor) -> float:
    parts.eval()
    return float(functional.cross_entropy(fit.network.classify(rows), labels, weight=fit.weights))
