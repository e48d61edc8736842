"""DSMIL: the most critical tile of each class, and attention by likeness to it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.heads import Centre, Head, HeadOutput, centred
from napari_wsi_mil.models.registry import register


class DSMIL(Head):
    """Dual-stream MIL.

    Li, Li, Eliceiri, "Dual-stream Multiple Instance Learning Network for Whole Slide Image Classification with
    Self-supervised Contrastive Learning", CVPR 2021, section 3.2. Stream one is a linear classifier of tiles; its best
    tile m of a class is critical. Stream two weighs tiles by softmax(q(x_n) . q(x_m) / sqrt(query)), sums their values
    v and classifies the (classes, values) matrix by a convolution as long as a value row. q is Linear, ReLU, Linear,
    tanh (`nonlinear` False: one Linear), v is the tile itself, or dropout, Linear, ReLU with `value`. `init`
    "orthogonal" starts the Linear layers as the released training does.

    Loss: half for the logits, half for the largest tile logit of each class. `loss` "sigmoid" is the paper's, binary
    cross-entropy of each class on its own (`bag_weight` is 0 and `bag_loss` the whole loss); "softmax", our default,
    takes cross-entropy of classes that exclude each other, as results show softmax probabilities (`bag_weight` one
    half for the recipe's loss, `bag_loss` the other half). A value is fitted by its square error in both halves.
    """

    def __init__(
        self,
        *,
        n_features: int = 512,
        n_classes: int = 2,
        query: int = 128,
        nonlinear: bool = True,
        value: bool = False,
        dropout: float = 0.0,
        loss: Literal["softmax", "sigmoid"] = "softmax",
        init: Literal["usual", "orthogonal"] = "usual",
        centre: Centre = "none",
    ) -> None:
        super().__init__(n_features=n_features, n_classes=n_classes)
        if loss not in ("softmax", "sigmoid"):
            message = f"expected loss 'softmax' or 'sigmoid', got {loss!r}"
            raise ValueError(message)
        self.loss, self.centre = loss, centre
        self.bag_weight = 0.0 if loss == "sigmoid" else 0.5
        self.judge = nn.Linear(n_features, n_classes)
        self.query = nn.Sequential(nn.Linear(n_features, query))
        if nonlinear:
            self.query.extend([nn.ReLU(), nn.Linear(query, query), nn.Tanh()])
        self.value = (
            nn.Sequential(nn.Dropout(dropout), nn.Linear(n_features, n_features), nn.ReLU()) if value else nn.Identity()
        )
        self.classify = nn.Conv1d(n_classes, n_classes, n_features)
        if init == "orthogonal":
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.orthogonal_(layer.weight)

    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag, see `Head.forward`; one attention per class, `yx` is accepted and ignored."""
        self.check_bag(features, yx)
        features = centred(features, self.centre)
        tiles = self.judge(features)
        query = self.query(features)
        critical = query[tiles.argmax(0)]
        raw = critical @ query.T / math.sqrt(query.shape[1])
        attention = torch.softmax(raw, 1)
        # The convolution has one place to stand: written as the product it is, it needs no convolution kernel.
        bag = attention @ self.value(features)
        logits = self.classify.weight.flatten(1) @ bag.flatten() + self.classify.bias
        return HeadOutput(logits, raw, attention, tiles)

    def bag_loss(self, output: HeadOutput, target: torch.Tensor) -> torch.Tensor | None:
        """Return half the loss of the largest tile logits, with "sigmoid" also that of the logits; see the class."""
        assert output.instance_logits is not None
        largest = output.instance_logits.amax(0)
        if target.is_floating_point():
            half = (largest[0] - target) ** 2 / 2
            return half + (output.logits[0] - target) ** 2 / 2 if self.loss == "sigmoid" else half
        if self.loss == "softmax":
            return functional.cross_entropy(largest, target) / 2
        wanted = functional.one_hot(target, self.n_classes).to(largest.dtype)
        both = torch.stack([output.logits, largest])
        return functional.binary_cross_entropy_with_logits(both, wanted.expand_as(both))


@register("dsmil")
def build_dsmil(**options: object) -> nn.Module:
    """Build a `DSMIL` from the options of a card."""
    return DSMIL(**options)  # type: ignore[arg-type]
