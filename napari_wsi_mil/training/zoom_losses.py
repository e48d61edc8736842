"""The three losses of a MagNet (section 3.7 of the specification)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsi_mil.training.zoom_recipe import ZoomRecipe


class Losses(NamedTuple):
    """Each a () tensor, 0 where the recipe leaves it out."""

    l1: torch.Tensor
    l2: torch.Tensor
    l3: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """Their sum: the paper does not weigh them."""
        return self.l1 + self.l2 + self.l3


def paradoxical(first: torch.Tensor, last: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return max(P1 - P3, 0) per slide (B,) from logits (B, C): P is the probability of the true class.

    It grows where one is less sure after zooming in than before. The paper does not say which output of the last layer
    P3 is; ours is that of the classifier, so the loss concerns the whole zoom.
    """
    rows = torch.arange(len(labels))
    before, after = first.softmax(1)[rows, labels], last.softmax(1)[rows, labels]
    return (before - after).clamp_min(0)


def zoom_losses(
    logits: torch.Tensor,
    auxiliary: Mapping[int, torch.Tensor],
    labels: torch.Tensor,
    recipe: ZoomRecipe,
    weights: torch.Tensor | None = None,
) -> Losses:
    """Return the losses of a batch: logits (B, C) of the classifier and, by depth, of the auxiliary ones; labels (B,).

    L1 compares the first layer's auxiliary classifier with the classifier, L2 is the cross-entropy of all auxiliary
    ones, L3 that of the classifier; for two classes cross-entropy is the paper's binary one. `weights` (C,) weighs
    slides by their class.
    """
    each = logits.new_ones(len(labels)) if weights is None else weights[labels]
    none = logits.new_zeros(())

    def entropy(said: torch.Tensor) -> torch.Tensor:
        return (functional.cross_entropy(said, labels, reduction="none") * each).mean()

    first = auxiliary.get(1)
    l1 = (paradoxical(first, logits, labels) * each).mean() if recipe.l1 and first is not None else none
    l2 = torch.stack([entropy(said) for said in auxiliary.values()]).sum() if recipe.l2 and auxiliary else none
    return Losses(l1, l2, entropy(logits) if recipe.l3 else none)
