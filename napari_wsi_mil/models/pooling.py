"""Mean and max pooling: the baselines without attention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from napari_wsi_mil.models.heads import Centre, Head, HeadOutput, centred
from napari_wsi_mil.models.registry import register


class PoolingMIL(Head):
    """Judge every tile by itself, then take the mean or the maximum over the bag.

    General knowledge rather than one paper's; the forms and sizes are those of reference studies. `width=None` is the
    "linear" form, one Linear on the features; a `width` is the "fc" form, with Linear, ReLU and dropout before it.

    pool "mean": mean of the tiles' logits (the same as the logits of the mean tile, the last layer being linear);
    attention is 1/N everywhere and its raw score 0. pool "max": per class the largest logit of any tile (`choose`
    "class"), or the logits of the one tile most sure of any class but the first (`choose` "tile", the form of CLAM's
    baseline, by probability); the raw attention of a class is the tiles' logit of it. Both are exact: each map shows
    the very numbers that were pooled. `centre` takes off the bag's mean and is our addition.
    """

    def __init__(
        self,
        *,
        n_features: int = 512,
        n_classes: int = 2,
        pool: Literal["mean", "max"] = "mean",
        width: int | None = None,
        choose: Literal["class", "tile"] = "class",
        dropout: float = 0.25,
        centre: Centre = "none",
    ) -> None:
        super().__init__(n_features=n_features, n_classes=n_classes)
        if pool not in ("mean", "max") or choose not in ("class", "tile"):
            message = f"expected pool 'mean' or 'max' and choose 'class' or 'tile', got {pool!r} and {choose!r}"
            raise ValueError(message)
        self.pool, self.choose, self.centre = pool, choose, centre
        self.project = (
            nn.Identity()
            if width is None
            else nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Dropout(dropout))
        )
        self.classify = nn.Linear(width or n_features, n_classes)

    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag, see `Head.forward`; `yx` is accepted and ignored."""
        self.check_bag(features, yx)
        tiles = self.classify(self.project(centred(features, self.centre)))
        if self.pool == "mean":
            raw = tiles.new_zeros(1, len(tiles))
            return HeadOutput(tiles.mean(0), raw, torch.softmax(raw, 1), tiles)
        logits = tiles.amax(0) if self.choose == "class" else tiles[_surest(tiles)]
        return HeadOutput(logits, tiles.T, torch.softmax(tiles.T, 1), tiles)


def _surest(tiles: torch.Tensor) -> torch.Tensor:
    """Return the index of the tile with the largest probability of any class but the first; of the value if alone."""
    if tiles.shape[1] == 1:
        return tiles[:, 0].argmax()
    return torch.softmax(tiles, 1)[:, 1:].amax(1).argmax()


@register("mean")
def build_mean(**options: object) -> nn.Module:
    """Build a mean-pooling `PoolingMIL` from the options of a card."""
    return PoolingMIL(pool="mean", **options)  # type: ignore[arg-type]


@register("max")
def build_max(**options: object) -> nn.Module:
    """Build a max-pooling `PoolingMIL` from the options of a card."""
    return PoolingMIL(pool="max", **options)  # type: ignore[arg-type]
