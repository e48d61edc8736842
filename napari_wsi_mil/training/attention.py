"""Recipe: labelled bags of features -> a trained slide-level head."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from napari_wsi_mil.models.registry import build
from napari_wsi_mil.ticks import Tick, no_tick
from napari_wsi_mil.training.bags import LabelledBag, split_bags, vary
from napari_wsi_mil.training.metrics import auroc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.models.heads import Head, HeadOutput


@dataclass(frozen=True)
class HeadRecipe:
    """Everything that decides how a head is trained."""

    architecture: str = "sac-mil"
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 10
    """Few: the encoder knows the training tiles, so longer training fits those and blurs the attention on new ones."""
    patience: int = 10
    """Epochs without a better validation loss after which training stops."""
    learning_rate: float = 2e-4
    weight_decay: float = 1e-5
    accumulate: int = 1
    """Slides per optimiser step."""
    held_out: float = 0.2
    """Share of the slides of each class used for early stopping."""
    keep: float = 0.5
    """Least share of a slide's tiles kept in a training pass."""
    noise: float = 0.1
    class_weights: bool = True
    seed: int = 0


@dataclass(frozen=True)
class TrainedHead:
    """The best head of a training run and its history."""

    head: Head
    """On the CPU, in eval mode, at the epoch of the lowest validation loss."""
    best_epoch: int
    history: tuple[tuple[float, float, float], ...]
    """Per epoch: training loss, validation loss, validation AUROC of class 1 (NaN unless there are two classes)."""


def train_head(bags: Sequence[LabelledBag], recipe: HeadRecipe, *, tick: Tick = no_tick) -> TrainedHead:
    """Train a head from slide labels alone, with AdamW, cross-entropy and early stopping.

    Ticks once per epoch. The same bags and recipe give the same weights on the same machine.
    Raises BadRequest if there are not two slides of at least two classes, Cancelled if `tick` stops the run.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    kept, held = split_bags(bags, recipe.held_out, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return _fit(kept, held, recipe, generator=generator, tick=tick)


def _fit(
    kept: Sequence[LabelledBag],
    held: Sequence[LabelledBag],
    recipe: HeadRecipe,
    *,
    generator: torch.Generator,
    tick: Tick,
) -> TrainedHead:
    n_classes = 1 + max(bag.label for bag in (*kept, *held))
    n_features = kept[0].features.shape[1]
    head: Head = build(recipe.architecture, n_features=n_features, n_classes=n_classes, **recipe.options)  # type: ignore[assignment]
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    weights = _class_weights(kept, n_classes) if recipe.class_weights else torch.ones(n_classes)
    best, best_epoch, best_state = float("inf"), 0, copy.deepcopy(head.state_dict())
    history = []
    for epoch in range(recipe.epochs):
        tick(epoch, recipe.epochs)
        loss = _epoch(head, optimiser, kept, recipe=recipe, weights=weights, generator=generator)
        held_loss, held_auroc = _validate(head, held, weights)
        history.append((loss, held_loss, held_auroc))
        if held_loss < best:
            best, best_epoch, best_state = held_loss, epoch, copy.deepcopy(head.state_dict())
        elif epoch - best_epoch >= recipe.patience:
            break
    tick(recipe.epochs, recipe.epochs)
    head.load_state_dict(best_state)
    return TrainedHead(head.eval(), best_epoch, tuple(history))


def _class_weights(bags: Sequence[LabelledBag], n_classes: int) -> torch.Tensor:
    """Return (C,) weights that give every class the same sum over the slides."""
    counts = np.bincount([bag.label for bag in bags], minlength=n_classes)
    return torch.from_numpy(len(bags) / (n_classes * np.maximum(counts, 1))).float()


def _epoch(
    head: Head,
    optimiser: torch.optim.Optimizer,
    bags: Sequence[LabelledBag],
    *,
    recipe: HeadRecipe,
    weights: torch.Tensor,
    generator: torch.Generator,
) -> float:
    """Show every bag once in random order, varied; return the mean weighted loss."""
    head.train()
    total = 0.0
    order = torch.randperm(len(bags), generator=generator).tolist()
    for step, index in enumerate(order, start=1):
        bag = bags[index]
        features, yx = vary(
            torch.from_numpy(bag.features), torch.from_numpy(bag.yx), generator, keep=recipe.keep, noise=recipe.noise
        )
        loss = weights[bag.label] * _loss(head(features, yx), bag.label)
        torch.autograd.backward(loss / recipe.accumulate)
        total += float(loss.detach())
        if step % recipe.accumulate == 0 or step == len(order):
            torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
            optimiser.step()
            optimiser.zero_grad()
    return total / len(bags)


def _loss(out: HeadOutput, label: int) -> torch.Tensor:
    return functional.cross_entropy(out.logits[None], torch.tensor([label]))


@torch.inference_mode()
def _validate(head: Head, bags: Sequence[LabelledBag], weights: torch.Tensor) -> tuple[float, float]:
    head.eval()
    outs = [run(head, bag) for bag in bags]
    labels = np.array([bag.label for bag in bags])
    loss = sum(float(weights[k] * _loss(out, int(k))) for out, k in zip(outs, labels, strict=True)) / len(bags)
    scores = np.array([float(out.logits.softmax(0)[1]) for out in outs])
    return loss, auroc(scores, labels == 1) if set(labels) == {0, 1} else float("nan")


@torch.inference_mode()
def run(head: Head, bag: LabelledBag) -> HeadOutput:
    """Classify one bag."""
    return head(torch.from_numpy(bag.features), torch.from_numpy(bag.yx))  # type: ignore[no-any-return]


def evaluate(head: Head, bags: Sequence[LabelledBag]) -> dict[str, float | int]:
    """Measure a two-class head on slides it was not trained on.

    Returns slide AUROC and accuracy at probability 0.5, and, where bags carry truth, the AUROC of the raw attention
    over tiles against truth: mean over the slides that hold both kinds of tiles, and pooled over all tiles.
    Raises BadRequest if only one class of slides is there.
    """
    outs = [run(head.eval(), bag) for bag in bags]
    labels = np.array([bag.label for bag in bags])
    tumour = np.array([float(out.logits.softmax(0)[1]) for out in outs])
    found: dict[str, float | int] = {
        "slides": len(bags),
        "slide_auroc": auroc(tumour, labels == 1),
        "slide_accuracy": float(((tumour > 0.5) == (labels == 1)).mean()),
    }
    raw = [(out.attention_raw[0].numpy(), bag.truth) for out, bag in zip(outs, bags, strict=True)]
    pairs = [(scores, truth) for scores, truth in raw if truth is not None]
    mixed = [(scores, truth) for scores, truth in pairs if truth.any() and not truth.all()]
    if mixed:
        found["tile_auroc_mean"] = float(np.mean([auroc(scores, truth) for scores, truth in mixed]))
        found["tile_auroc_slides"] = len(mixed)
        found["tile_auroc_pooled"] = auroc(*(np.concatenate(part) for part in zip(*pairs, strict=True)))
    return found
