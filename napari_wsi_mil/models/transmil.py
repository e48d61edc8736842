"""TransMIL: a transformer over tiles in bag order."""

from __future__ import annotations

import math

import torch
from torch import nn

from napari_wsi_mil.models.heads import Centre, Head, HeadOutput, centred
from napari_wsi_mil.models.nystrom import NystromAttention
from napari_wsi_mil.models.registry import register

FLOOR = 1e-3
"""Least attention that is shown, as a part of the mean attention: the approximation also gives values below 0."""


class AttentionLayer(nn.Module):
    """tokens + attention(LayerNorm(tokens))."""

    def __init__(self, width: int, **options: object) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = NystromAttention(width, **options)  # type: ignore[arg-type]

    def forward(self, tokens: torch.Tensor, ask: int | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map (N, width) to (N, width), and the attention of token `ask`, see `NystromAttention`."""
        change, row = self.attention(self.norm(tokens), ask)
        return tokens + change, row


class PositionBySquare(nn.Module):
    """Depth-wise convolutions of several sizes over the tokens laid out in a square, row by row; the first is left."""

    def __init__(self, width: int, sizes: tuple[int, ...] = (7, 5, 3)) -> None:
        super().__init__()
        self.convolve = nn.ModuleList(nn.Conv2d(width, width, k, padding=k // 2, groups=width) for k in sizes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map (1 + side * side, width) to the same."""
        side = math.isqrt(len(tokens) - 1)
        square = tokens[1:].T.reshape(1, -1, side, side)
        mixed = square + sum(layer(square) for layer in self.convolve)
        return torch.cat([tokens[:1], mixed.flatten(2)[0].T])


class TransMIL(Head):
    """Transformer with a class token, two Nystrom layers and positions by convolution.

    Shao et al., "TransMIL", NeurIPS 2021, section 3.3 and algorithm 2: Linear to `width` and ReLU, the first tokens
    repeated until their number is a square, class token, layer, pyramid position encoding generator (PPEG: depth-wise
    7, 5 and 3 plus identity), layer, LayerNorm of the class token, Linear. 8 heads, landmarks width / 2, 6 steps for
    the pseudo-inverse, 33 taps, dropout 0.1. The square is of the *order* of tiles, coordinates play no part: another
    order gives another answer. `shifted` is for weights trained with nystrom-attention 0.0.9, see NystromAttention.

    The map is ours. It multiplies out the three Nystrom factors of the second layer for the class token and takes the
    mean over heads, and over a tile's copies where the square repeats it. What remains below a thousandth of the mean
    (the approximation also falls under 0) is set to that; `attention` is this divided by its sum, `attention_raw` its
    logarithm. It leaves out what reached the class token in the first layer and what tiles exchanged by then, so it
    says what the last layer looked at, and no gradient flows through it. It is computed in the same pass.
    """

    def __init__(
        self,
        *,
        n_features: int = 512,
        n_classes: int = 2,
        width: int = 512,
        heads: int = 8,
        landmarks: int | None = None,
        steps: int = 6,
        taps: int = 33,
        sizes: tuple[int, ...] = (7, 5, 3),
        dropout: float = 0.1,
        shifted: bool = False,
        centre: Centre = "none",
    ) -> None:
        super().__init__(n_features=n_features, n_classes=n_classes)
        self.centre = centre
        self.project = nn.Sequential(nn.Linear(n_features, width), nn.ReLU())
        self.token = nn.Parameter(torch.randn(1, width))
        layer = {
            "heads": heads, "landmarks": landmarks or width // 2, "steps": steps, "taps": taps, "dropout": dropout,
            "shifted": shifted,
        }  # fmt: skip
        self.first = AttentionLayer(width, **layer)
        self.position = PositionBySquare(width, tuple(sizes))
        self.second = AttentionLayer(width, **layer)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag, see `Head.forward`; depends on the order of tiles, `yx` is accepted and ignored."""
        self.check_bag(features, yx)
        n = len(features)
        tiles = self.project(centred(features, self.centre))
        missing = (math.isqrt(n - 1) + 1) ** 2 - n
        tokens, _ = self.first(torch.cat([self.token, tiles, tiles[:missing]]))
        tokens, row = self.second(self.position(tokens), 0)
        raw = _shown(row[:, 1:].mean(0), n)
        return HeadOutput(self.classify(self.norm(tokens[0])), raw, torch.softmax(raw, 1))


def _shown(row: torch.Tensor, n: int) -> torch.Tensor:
    """Return (1, n) log attention of the tiles from the (side * side,) attention of tiles and copies."""
    copies = len(row) - n
    tiles = row[:n].clone()
    tiles[:copies] = (tiles[:copies] + row[n:]) / 2
    tiles = tiles.clamp_min(0)
    return torch.log(tiles.clamp_min(FLOOR * tiles.mean().clamp_min(1e-12)))[None]


@register("transmil")
def build_transmil(**options: object) -> nn.Module:
    """Build a `TransMIL` from the options of a card."""
    return TransMIL(**options)  # type: ignore[arg-type]
