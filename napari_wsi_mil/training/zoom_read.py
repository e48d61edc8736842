"""A start for the classifier, ours: it learns from the views that the nets as they are find in every slide."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.training.zoom_data import Pose
from napari_wsi_mil.training.zoom_look import BARE, MORE, SHOWS, Seen, learn_to_look, look
from napari_wsi_mil.training.zoom_sharpen import sharpen

if TYPE_CHECKING:
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.training.zoom_fit import ZoomFit

BATCH = 32
LOOK_EVERY = 20
"""Steps between looks at the held-out slides."""
MOST_SHOWN = 4
"""Views of made-up sequences that show what the guide saw, at most."""
NOISE = 0.1
"""Standard deviation of what is added to features, in those of each feature over all views."""


def learn_to_read(fit: ZoomFit, tick: Tick) -> float:
    """Train GRU and classifier of `fit.network` on rows of features; keep the state of the lowest held-out loss.

    Every round walks all training slides in new poses; with a guide the CNN learns from these views first. The order
    of final views is shuffled in training, as no place in the sequence means more than another to begin with; see
    `Pool.draw`. Returns the mean loss of the last steps.
    """
    recipe, network = fit.recipe, fit.network
    total = recipe.read_rounds * len(fit.kept) + len(fit.held)
    guided = bool(fit.guided)
    if fit.guided and recipe.sharpen:
        sharpen(fit)
    seen: list[Seen] = []
    for _ in range(recipe.read_rounds):
        for slide, pose in zip(fit.kept, fit.poses(len(fit.kept)), strict=True):
            tick(len(seen), total)
            seen.append(look(fit, slide, pose, more=MORE if guided else 0))
    if guided and recipe.look_steps:
        learn_to_look(fit, seen, tick)
    pool = _pool(fit, seen)
    held = torch.stack([_features(fit, look(fit, slide, Pose(), more=0).finals) for slide in fit.held])
    wanted = torch.tensor([slide.label for slide in fit.held])
    parts = nn.ModuleList([network.gru, network.head])
    optimiser = torch.optim.Adam(parts.parameters(), recipe.read_rate, weight_decay=recipe.weight_decay)
    best, kept, losses = float("inf"), copy.deepcopy(parts.state_dict()), []
    spread = pool.rows.std((0, 1))
    for step in range(recipe.read_steps):
        parts.train()
        batch, truth = pool.draw(fit.generator)
        noise = torch.randn(batch.shape, generator=fit.generator)
        said = network.classify(batch + NOISE * spread * noise)
        loss = functional.cross_entropy(said, truth, weight=fit.weights)
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


class Pool(NamedTuple):
    """Features that training sequences are made of."""

    rows: torch.Tensor
    """(n, F, D) of whole walks."""
    labels: torch.Tensor
    """(n,) of their slides."""
    plain: torch.Tensor
    """(m, D) of views of slides of class 0."""
    shown: tuple[torch.Tensor, ...]
    """Per class (k, D) of views in which the guide saw something; none for class 0."""

    def draw(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a batch of sequences (BATCH, F, D) and their classes.

        Half are whole walks with their views in random order. With a guide the others are made up: views that show
        nothing, and for classes but the first one to `MOST_SHOWN` at random places that show what the guide saw, so
        that the classifier learns what a few views mean among many, not the slides by heart.
        """
        views = self.rows.shape[1]
        drawn = torch.randint(len(self.rows), (BATCH,), generator=generator)
        order = torch.rand(BATCH, views, generator=generator).argsort(1)
        batch = self.rows[drawn].gather(1, order[:, :, None].expand(-1, -1, self.rows.shape[2]))
        labels = self.labels[drawn].clone()
        classes = [0, *(c for c, rows in enumerate(self.shown) if len(rows))]
        if len(classes) == 1 or not len(self.plain):
            return batch, labels
        for i in range(BATCH // 2):
            batch[i] = self.plain[torch.randint(len(self.plain), (views,), generator=generator)]
            labels[i] = label = classes[i % len(classes)]
            if label:
                some = int(torch.randint(1, min(MOST_SHOWN, views) + 1, (1,), generator=generator))
                rows = self.shown[label]
                batch[i, order[i, :some]] = rows[torch.randint(len(rows), (some,), generator=generator)]
        return batch, labels


def _pool(fit: ZoomFit, seen: list[Seen]) -> Pool:
    rows, plain, shown = [], [], [list[torch.Tensor]() for _ in range(fit.n_classes)]
    for one in seen:
        found = _features(fit, torch.cat((one.finals, one.more)))
        rows.append(found[: len(one.finals)])
        if one.label == 0:  # of the rest a guide leaves out much of what it knows
            plain.append(found[one.tiles <= BARE])
        shown[one.label].append(found[one.tiles >= SHOWS])
    labels = torch.tensor([one.label for one in seen])
    return Pool(torch.stack(rows), labels, torch.cat(plain), tuple(torch.cat(part) for part in shown))


@torch.no_grad()
def _features(fit: ZoomFit, finals: torch.Tensor) -> torch.Tensor:
    """Return features (F, D) of final views (F, 3, px, px) uint8."""
    fit.network.eval()
    return fit.network.features(finals[None].float() / 255)[0]


@torch.no_grad()
def _loss(fit: ZoomFit, parts: nn.Module, rows: torch.Tensor, labels: torch.Tensor) -> float:
    parts.eval()
    return float(functional.cross_entropy(fit.network.classify(rows), labels, weight=fit.weights))
