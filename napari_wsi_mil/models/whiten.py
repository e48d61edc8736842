"""Features on the principal axes of the training tiles, each axis of unit variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST = 1e-3
"""Axes with less than this part of the widest axis' standard deviation are rounding noise and become 0."""


class Whiten(nn.Module):
    """A fixed affine map fitted once on training tiles: (x - mean) @ axes.

    An encoder's features are strongly correlated (with `wsi-mini` 5 axes hold 98 % of their variance), and what counts
    for a slide need not lie on the widest axis; on equal axes gradient descent finds it soon. Ours, after no paper.
    Until `fit` is called it takes the first `n_axes` features as they are. Mean and axes are saved with the head.
    """

    def __init__(self, n_features: int, n_axes: int) -> None:
        super().__init__()
        if not 1 <= n_axes <= n_features:
            message = f"expected 1 to {n_features} axes for {n_features} features, got {n_axes}"
            raise ValueError(message)
        self.mean: torch.Tensor
        self.axes: torch.Tensor
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("axes", torch.eye(n_features, n_axes))

    @torch.no_grad()
    def fit(self, bags: Sequence[torch.Tensor]) -> None:
        """Fit to all rows of bags of (n, n_features); every tile counts the same."""
        count = sum(len(bag) for bag in bags)
        mean = sum((bag.sum(0, dtype=torch.float64) for bag in bags), torch.zeros(1, dtype=torch.float64)) / count
        products = [(centred := bag.double() - mean).T @ centred for bag in bags]
        variance, axes = torch.linalg.eigh(torch.stack(products).sum(0) / count)
        spread = variance.clamp_min(0).sqrt().flip(0)[: self.axes.shape[1]]
        axes = axes.flip(1)[:, : self.axes.shape[1]]
        # An axis has no direction of its own; the same one on every machine makes weights repeatable.
        axes = axes * torch.sign(axes.gather(0, axes.abs().argmax(0, keepdim=True)))
        kept = spread > SMALLEST * spread[0]
        self.mean.copy_(mean)
        self.axes.copy_(torch.where(kept, axes / spread.clamp_min(1e-12), 0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, n_features) to (N, n_axes)."""
        return (features - self.mean) @ self.axes
