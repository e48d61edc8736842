"""Labelled bags of tile features, and the random changes they undergo in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class LabelledBag:
    """All tiles of one slide and the slide's label."""

    name: str
    features: np.ndarray
    """(N, D) float32."""
    yx: np.ndarray
    """(N, 2) float32 top-left corners in tile units."""
    label: int
    """Index of the class."""
    truth: np.ndarray | None = None
    """(N,) bool, tile inside the lesion; only for measuring, never for training."""

    def __post_init__(self) -> None:
        rows = len(self.features)
        if rows == 0 or self.yx.shape != (rows, 2) or not np.isfinite(self.features).all():
            message = (
                f"bag {self.name!r}: expected at least one tile, finite features and one coordinate pair per tile, "
                f"got features {self.features.shape} and coordinates {self.yx.shape}; embed the slide again"
            )
            raise BadRequest(message)


def split_bags(
    bags: Sequence[LabelledBag], share: float, generator: torch.Generator
) -> tuple[list[LabelledBag], list[LabelledBag]]:
    """Split into (kept, held out) with `share` of every class held out, at least one bag of each on both sides.

    Raises BadRequest if a class has fewer than two bags or there is only one class.
    """
    kept: list[LabelledBag] = []
    held: list[LabelledBag] = []
    labels = sorted({bag.label for bag in bags})
    for label in labels:
        same = [bag for bag in bags if bag.label == label]
        if len(same) < 2 or len(labels) < 2:
            message = (
                f"class {label} has {len(same)} slides of {len(bags)}; training needs two classes of two slides each"
            )
            raise BadRequest(message)
        n_held = min(len(same) - 1, max(1, round(share * len(same))))
        order = torch.randperm(len(same), generator=generator).tolist()
        held += [same[i] for i in order[:n_held]]
        kept += [same[i] for i in order[n_held:]]
    return kept, held


def vary(
    features: torch.Tensor, yx: torch.Tensor, generator: torch.Generator, *, keep: float = 0.5, noise: float = 0.1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Drop tiles, turn the slide, blur features: the bag augmentation of training.

    Keeps a random share between `keep` and 1 of the tiles (at least one), mirrors and turns coordinates by
    multiples of 90 degrees, adds Gaussian noise of `noise` times each feature's standard deviation in the bag.
    """
    n = len(features)
    share = keep + (1 - keep) * float(torch.rand(1, generator=generator))
    chosen = torch.randperm(n, generator=generator)[: max(1, round(share * n))]
    features, yx = features[chosen], yx[chosen]
    flips = torch.randint(0, 2, (2,), generator=generator) * 2 - 1
    yx = yx * flips
    if int(torch.randint(0, 2, (1,), generator=generator)):
        yx = yx.flip(1)
    spread = features.std(0, correction=0, keepdim=True)
    return features + noise * spread * torch.randn(features.shape, generator=generator), yx
