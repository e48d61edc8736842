"""Attention-based multiple instance learning, gated or not."""

from __future__ import annotations

import torch
from torch import nn

from napari_wsi_mil.models.heads import AttentionPool, Centre, Head, HeadOutput, centred
from napari_wsi_mil.models.registry import register


class AttentionMIL(Head):
    """Attention pooling over tiles, then a linear classifier; tile positions play no part.

    Ilse, Tomczak, Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, equations 8 and 9. The
    optional first layer (Linear to `width`, ReLU, dropout) is the form that CLAM made common; `width=None` pools the
    features themselves, as the paper does. Ours: `centre="bag"` takes the bag's mean off first; `sharpness` scales
    the attention's scores, fixed or (`learn_sharpness`) as a start, see `AttentionPool`.
    """

    def __init__(
        self,
        *,
        n_features: int = 512,
        n_classes: int = 2,
        width: int | None = 512,
        attention: int = 256,
        gated: bool = True,
        dropout: float = 0.25,
        centre: Centre = "none",
        sharpness: float = 1.0,
        learn_sharpness: bool = False,
    ) -> None:
        super().__init__(n_features=n_features, n_classes=n_classes)
        self.centre = centre
        self.project = (
            nn.Identity()
            if width is None
            else nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Dropout(dropout))
        )
        self.pool = AttentionPool(
            width or n_features, attention, gated=gated, dropout=dropout, sharpness=sharpness,
            learn_sharpness=learn_sharpness,
        )  # fmt: skip
        self.classify = nn.Linear(width or n_features, n_classes)

    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag, see `Head.forward`; `yx` is accepted and ignored."""
        self.check_bag(features, yx)
        pooled, raw, attention = self.pool(self.project(centred(features, self.centre)))
        return HeadOutput(self.classify(pooled)[0], raw, attention)


@register("abmil")
def build_abmil(**options: object) -> nn.Module:
    """Build an `AttentionMIL` from the options of a card."""
    return AttentionMIL(**options)  # type: ignore[arg-type]
