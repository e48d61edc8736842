"""SAM's mask decoder: tokens and image attend to one another, tokens become kernels over an enlarged map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.wsi_sam.parts import enlarge, perceptron


class Decoded(NamedTuple):
    """What the decoder makes of N prompts; masks number 0 is the answer, 1 to M-1 are proposals."""

    masks: torch.Tensor
    """Logits (N, M, 4 g, 4 g)."""
    iou: torch.Tensor
    """(N, M): expected overlap with the truth."""
    feature: torch.Tensor
    """(N, width / 8, 4 g, 4 g): the map that kernels are laid over."""
    extra: torch.Tensor
    """(N, E, width): added tokens after the attention."""


class CrossAttention(nn.Module):
    """Attention of one sequence to another, in 1 / `shrink` of the width."""

    def __init__(self, width: int, heads: int, *, shrink: int = 1) -> None:
        super().__init__()
        inner = width // shrink
        if inner % heads:
            message = f"width {width} / {shrink} must be divisible by heads {heads}"
            raise ValueError(message)
        self.heads = heads
        self.query, self.key = nn.Linear(width, inner), nn.Linear(width, inner)
        self.value, self.out = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Map queries (N, Q, width) with keys and values (N, K, width) to (N, Q, width)."""
        parts = (self.query(query), self.key(key), self.value(value))
        q, k, v = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        found = functional.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out


class Round(nn.Module):
    """Tokens attend to themselves and to the image, pass a perceptron, and the image attends to the tokens."""

    def __init__(self, width: int, heads: int, hidden: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.among = CrossAttention(width, heads)
        self.to_image = CrossAttention(width, heads, shrink=2)
        self.mlp = perceptron((width, hidden, width))
        self.to_tokens = CrossAttention(width, heads, shrink=2)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens: torch.Tensor, image: torch.Tensor, asked: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Update tokens (N, T, width) and image (N, g * g, width); `asked` are the tokens as they came."""
        if self.first:
            tokens = self.among(tokens, tokens, tokens)  # they hold their places still, and nothing worth keeping
        else:
            placed = tokens + asked
            tokens = tokens + self.among(placed, placed, tokens)
        tokens = self.norms[0](tokens)
        tokens = self.norms[1](tokens + self.to_image(tokens + asked, image + places, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        return tokens, self.norms[3](image + self.to_tokens(image + places, tokens + asked, tokens))


class MaskDecoder(nn.Module):
    """Mask decoder of Segment Anything (section 3 and appendix A), open to tokens others add.

    `width` of image embedding and tokens, `hidden` of the perceptrons, `rounds` of attention, `proposals` besides the
    one answer.
    """

    def __init__(
        self, *, width: int = 256, heads: int = 8, hidden: int = 2048, rounds: int = 2, proposals: int = 3
    ) -> None:
        super().__init__()
        if width % 8:
            message = f"width must be divisible by 8, got {width}"
            raise ValueError(message)
        self.rounds = nn.ModuleList(Round(width, heads, hidden, first=i == 0) for i in range(rounds))
        self.last_attend = CrossAttention(width, heads, shrink=2)
        self.last_norm = nn.LayerNorm(width)
        self.iou_token = nn.Parameter(torch.randn(1, width))
        self.mask_tokens = nn.Parameter(torch.randn(1 + proposals, width))
        self.enlarge = enlarge(width, width // 4, width // 8)
        self.kernels = nn.ModuleList(perceptron((width, width, width, width // 8)) for _ in range(1 + proposals))
        self.iou = perceptron((width, width, width, 1 + proposals))

    def forward(
        self,
        embedding: torch.Tensor,
        places: torch.Tensor,
        tokens: torch.Tensor,
        dense: torch.Tensor,
        extra: torch.Tensor | None = None,
    ) -> Decoded:
        """Answer N prompts over embeddings (N or 1, width, g, g).

        `places` (1, width, g, g), prompt `tokens` (N, T, width), `dense` prompts (N or 1, width, g or 1, g or 1),
        `extra` tokens (E, width), which stand between SAM's and those of the prompts.
        """
        n, grid = len(tokens), embedding.shape[-2:]
        own = [self.iou_token, self.mask_tokens, *([] if extra is None else [extra])]
        asked = torch.cat([torch.cat(own).expand(n, -1, -1), tokens], 1)
        image = (embedding + dense).expand(n, -1, -1, -1).flatten(2).transpose(1, 2)
        where = places.flatten(2).transpose(1, 2)
        found = asked
        for step in self.rounds:
            found, image = step(found, image, asked, where)
        found = self.last_norm(found + self.last_attend(found + asked, image + where, image))
        feature = functional.gelu(self.enlarge(image.transpose(1, 2).reshape(n, -1, *grid)))
        count = len(self.mask_tokens)
        kernels = torch.stack([self.kernels[i](found[:, 1 + i]) for i in range(count)], 1)
        added = found[:, 1 + count : 1 + count + (0 if extra is None else len(extra))]
        return Decoded(overlaid(kernels, feature), self.iou(found[:, 0]), feature, added)


def overlaid(kernels: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
    """Return the products (N, M, h, w) of kernels (N, M, C) with every pixel of (N, C, h, w)."""
    return (kernels @ feature.flatten(2)).view(*kernels.shape[:2], *feature.shape[2:])
