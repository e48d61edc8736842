"""What training tiles looked like to the encoder, in a few numbers, to say of a slide that it looks unlike them.

Ours, after no paper: 64 principal axes of equal variance (models.whiten), 64 centroids on them, and two limits taken
from slides. Single tiles of foreign tissue often look like some training tile to a small encoder; what gives a foreign
slide away is how many of its tiles lie at the rim, so a slide is judged by that share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsi_mil.errors import BadRequest, WeightsError
from napari_wsi_mil.models.weights import load_weights, save_weights
from napari_wsi_mil.models.whiten import Whiten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsi_mil.models.card import ModelCard

    Floats = npt.NDArray[np.float32]
    Bools = npt.NDArray[np.bool_]

AXES = 64
CENTROIDS = 64
PER_BAG = 400
"""Tiles taken of a bag, so that a large slide does not outweigh the others."""
ROWS = 40_000
RIM = 0.95
"""Part of the held-out tiles that count as familiar."""
SPARE = 0.05
"""How much more than the strangest slide of training is needed for an alarm."""
LEAST_ALARM = 0.25
"""No alarm below this share, however alike the slides of training are: there may have been few."""
ENOUGH = 20
"""Tiles a slide of training must have for its share to count, where there are such slides."""


@dataclass(frozen=True, eq=False)
class Familiar:
    """Where the training tiles lie among all features; made by `fit_familiar`."""

    mean: Floats
    """(D,)."""
    axes: Floats
    """(D, Q) such that (x - mean) @ axes has unit variance over training tiles."""
    centroids: Floats
    """(K, Q)."""
    limit: float
    """Distance to the nearest centroid above which a tile looks unfamiliar; one held-out tile in twenty does."""
    usual_share: float
    """Largest share of such tiles in any slide of training, held out or not."""

    @property
    def alarm_share(self) -> float:
        """Share of unfamiliar tiles above which a slide is unlike those of training."""
        return max(LEAST_ALARM, self.usual_share + SPARE)

    def distance(self, features: Floats) -> Floats:
        """Return (N,) distance of each (N, D) feature row to its nearest centroid.

        Raises BadRequest for rows of another length.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            message = (
                f"features have shape {features.shape}, expected (tiles, {len(self.mean)}); "
                "use features of the encoder this was fitted on"
            )
            raise BadRequest(message)
        # Not (features - mean) @ axes: a bag of 200,000 long rows should not be copied.
        inside = torch.from_numpy(features @ self.axes - self.mean @ self.axes)
        return np.asarray(torch.cdist(inside, torch.from_numpy(self.centroids)).amin(1).numpy())

    def unfamiliar(self, features: Floats) -> Bools:
        """Return (N,) bool: tiles unlike nearly all that training or held-out slides held."""
        return self.distance(features) > self.limit


def fit_familiar(bags: Sequence[Floats], held_out: Sequence[Floats], *, seed: int = 0) -> Familiar:
    """Describe the tiles of training `bags`, with limits from `held_out` bags of other slides, each (N, D) float32.

    At most 400 tiles of a bag are looked at, chosen by `seed`; the same input gives the same description.
    Raises BadRequest without bags or held-out bags, or with fewer than two tiles to fit.
    """
    if not bags or not held_out or sum(len(bag) for bag in bags) < 2:
        message = (
            f"expected training bags with two tiles and at least one held-out bag, got {len(bags)} and {len(held_out)} "
            "bags; give slides for both"
        )
        raise BadRequest(message)
    rng = np.random.default_rng(seed)
    per_bag = max(1, min(PER_BAG, ROWS // len(bags)))
    tiles = np.concatenate([_some(bag, per_bag, rng) for bag in bags])
    whiten = Whiten(tiles.shape[1], min(AXES, tiles.shape[1], len(tiles) - 1))
    whiten.fit([torch.from_numpy(tiles)])
    centroids = _k_means(whiten(torch.from_numpy(tiles)), min(CENTROIDS, len(tiles)), seed)
    found = Familiar(whiten.mean.numpy(), whiten.axes.numpy(), centroids.numpy(), 0.0, 0.0)
    distances = [found.distance(_some(bag, PER_BAG, rng)) for bag in held_out]
    limit = float(np.quantile(np.concatenate(distances), RIM))
    # Kinds of slides that are few in training lie at its rim and may be missing among those held out: all are asked.
    every = [*bags, *held_out]
    shares = [float((found.distance(bag) > limit).mean()) for bag in every if len(bag) >= ENOUGH]
    shares = shares or [float((found.distance(bag) > limit).mean()) for bag in every]
    return Familiar(found.mean, found.axes, found.centroids, limit, max(shares))


def _some(bag: Floats, count: int, rng: np.random.Generator) -> Floats:
    rows = np.sort(rng.permutation(len(bag))[:count])
    return np.ascontiguousarray(bag[rows], np.float32)


def _k_means(points: torch.Tensor, count: int, seed: int, *, rounds: int = 25) -> torch.Tensor:
    """Return (count, Q) centroids after Lloyd's iteration from random points; one without points stays where it is."""
    generator = torch.Generator().manual_seed(seed)
    centroids = points[torch.randperm(len(points), generator=generator)[:count]].clone()
    for _ in range(rounds):
        nearest = torch.cdist(points, centroids).argmin(1)
        size = torch.bincount(nearest, minlength=count)[:, None]
        total = torch.zeros_like(centroids).index_add_(0, nearest, points)
        centroids = torch.where(size > 0, total / size.clamp_min(1), centroids)
    return centroids


def save_familiar(path: Path, familiar: Familiar) -> tuple[str, int]:
    """Write one .safetensors file, whole or not at all; return (sha256, size in bytes) for the card."""
    limits = torch.tensor([familiar.limit, familiar.usual_share], dtype=torch.float64)
    arrays = {name: torch.from_numpy(getattr(familiar, name)) for name in ("mean", "axes", "centroids")}
    return save_weights(path, {**arrays, "limits": limits})


def load_familiar(card: ModelCard) -> Familiar | None:
    """Return what the card's head was trained on, None where the card names no such file.

    Raises WeightsError if the file is missing, altered, or not of this kind.
    """
    if card.familiar_file is None:
        return None
    found = load_weights(card.weights_path.with_name(card.familiar_file), sha256=card.familiar_sha256 or "")
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    axes = shapes.get("axes", (0, 0))
    count = shapes.get("centroids", (0, 0))[0]
    wanted = {"mean": axes[:1], "axes": axes, "centroids": (count, *axes[1:]), "limits": (2,)}
    if shapes != wanted or axes[0] != card.n_features:
        message = (
            f"{card.familiar_file}: expected mean, axes, centroids and limits for {card.n_features} features, "
            f"got {shapes}; use the file that came with the head"
        )
        raise WeightsError(message)
    limit, share = found["limits"].tolist()
    arrays = {name: found[name].float().numpy() for name in ("mean", "axes", "centroids")}
    return Familiar(**arrays, limit=limit, usual_share=share)
