"""A trained encoder that shows another one, which sees less, what its features should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from napari_wsi_mil.models.encoder import MiniEncoder, channels_last
from napari_wsi_mil.models.registry import build
from napari_wsi_mil.models.weights import load_weights
from napari_wsi_mil.training.feed import as_tensor, normalise

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.models.card import ModelCard

LEAST_SPREAD = 0.05
"""Share of the mean spread below which a feature counts as this: one that is always 0 must not weigh most."""


class Teacher:
    """Distillation of features (Hinton et al. 2015 did it with logits; ours is the plain distance of features).

    `encoder` maps normalised (n, 3, h, w) tiles to (n, K) features and is never changed; `tiles` (n, h, w, 3) uint8 are
    some it knows, whose features give the unit of each of the K.
    """

    def __init__(self, encoder: nn.Module, tiles: npt.NDArray[np.uint8]) -> None:
        self.encoder = encoder.eval()
        seen = torch.cat(
            [self.features(normalise(as_tensor(part))) for part in np.array_split(tiles, 1 + len(tiles) // 128)]
        )
        spread = seen.std(0)
        self.spread = spread.clamp_min(LEAST_SPREAD * float(spread.mean()))

    @torch.no_grad()
    def features(self, tiles: torch.Tensor, *, bfloat16: bool = False) -> torch.Tensor:
        """Return (n, K) float32 features of normalised tiles."""
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            out: torch.Tensor = self.encoder(tiles)
        return out.float()

    def distance(self, features: torch.Tensor, whole: torch.Tensor, *, bfloat16: bool = False) -> torch.Tensor:
        """Return () mean squared distance of (n, K) features from those of tiles (n, 3, h, w), in units of spread."""
        wanted = self.features(whole, bfloat16=bfloat16)
        return ((features.float() - wanted) / self.spread).square().mean()


def unfused(card: ModelCard) -> nn.Module:
    """Load a small encoder with its normalisation layers still apart, as training starts from it."""
    encoder = build(card.architecture, **card.options)
    state = load_weights(card.weights_path, sha256=card.sha256)
    encoder.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    assert isinstance(encoder, MiniEncoder)
    return channels_last(encoder).eval()
