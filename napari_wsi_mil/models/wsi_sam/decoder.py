"""SAM's mask decoder: tokens and image attend to one another, tokens become kernels over an enlarged map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.wsi_sam.parts import enlarge, perceptron

EVERY = slice(None)
"""Of the masks: the answer and the proposals."""


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


class Attended(NamedTuple):
    """N prompts after the attention."""

    tokens: torch.Tensor
    """(N, 1 + M, width): SAM's own, that of the expected overlap first."""
    added: torch.Tensor
    """(N, E, width): those others added."""
    image: torch.Tensor
    """(N, g * g, width)."""


class CrossAttention(nn.Module):
    """Attention of one sequence to another, in 1 / `shrink` of the width.

    Where one side is a few tokens and the other an image, the products are taken in another order: projections of the
    few are carried over to the many instead of projecting all of these, which are the same sums for half the work.
    """

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
        asking, asked, few = query.shape[1], key.shape[1], self.key.out_features // self.heads
        if asking <= few < asked:
            return self._of_few(query, key, value)
        if asked <= few < asking:
            return self._to_few(query, key, value)
        q, k, v = self._heads(self.query(query)), self._heads(self.key(key)), self._heads(self.value(value))
        found = functional.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (N, L, inner) into (N, heads, L, inner / heads)."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)

    def _by_head(self, layer: nn.Linear) -> torch.Tensor:
        """Return a layer's weight as (heads, inner / heads, width)."""
        return layer.weight.view(self.heads, -1, layer.in_features)

    def _of_few(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Let few queries attend to many; the bias of keys adds the same to all of them and falls out."""
        q = self._heads(self.query(query))
        back = (q * q.shape[-1] ** -0.5) @ self._by_head(self.key)  # (N, heads, Q, width)
        weights = (back.flatten(1, 2) @ key.transpose(1, 2)).softmax(-1)
        mixed = torch.unflatten(weights @ value, 1, (self.heads, -1))
        found = mixed @ self._by_head(self.value).transpose(1, 2)
        out: torch.Tensor = self.out(found.transpose(1, 2).flatten(2) + self.value.bias)
        return out

    def _to_few(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Let many queries attend to few; weights are (N, K, heads, Q), as softmax is faster over long rows."""
        k = self._heads(self.key(key))
        k = k * k.shape[-1] ** -0.5
        back = (k @ self._by_head(self.query)).transpose(1, 2)  # (N, K, heads, width)
        bias = (k @ self.query.bias.view(self.heads, -1, 1)).transpose(1, 2)
        scores = torch.baddbmm(bias.flatten(1, 2), back.flatten(1, 2), query.transpose(1, 2))
        weights = torch.unflatten(scores, 1, (-1, self.heads)).softmax(1).flatten(1, 2)
        out_heads = self.out.weight.T.reshape(self.heads, -1, self.out.out_features)
        values = (self._heads(self.value(value)) @ out_heads).transpose(1, 2).flatten(1, 2)
        return torch.baddbmm(self.out.bias, weights.transpose(1, 2), values)


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
        placed = image + places
        tokens = self.norms[1](tokens + self.to_image(tokens + asked, placed, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        return tokens, self.norms[3](image + self.to_tokens(placed, tokens + asked, tokens))


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
        found = self.attend(cells(embedding, dense), places, tokens, extra)
        return self.answer(found, (embedding.shape[2], embedding.shape[3]))

    def attend(
        self, image: torch.Tensor, places: torch.Tensor, tokens: torch.Tensor, extra: torch.Tensor | None = None
    ) -> Attended:
        """Let N prompts and images (N or 1, g * g, width) attend to one another, also `extra` tokens (E, width)."""
        n, count = len(tokens), 1 + len(self.mask_tokens)
        own = [self.iou_token, self.mask_tokens, *([] if extra is None else [extra])]
        asked = torch.cat([*(part.expand(n, -1, -1) for part in own), tokens], 1)
        found, image = asked, image.expand(n, -1, -1)
        where = places.flatten(2).transpose(1, 2)
        for step in self.rounds:
            found, image = step(found, image, asked, where)
        found = self.last_norm(found + self.last_attend(found + asked, image + where, image))
        first, added, _ = found.split((count, asked.shape[1] - count - tokens.shape[1], tokens.shape[1]), 1)
        return Attended(first, added, image)

    def answer(self, found: Attended, grid: tuple[int, int], *, wanted: slice = EVERY) -> Decoded:
        """Turn what the attention made of N prompts into the masks `wanted` over the image's `grid`."""
        feature = functional.gelu(self.enlarge.of_cells(found.image, grid))
        numbers = range(len(self.mask_tokens))[wanted]
        kernels = torch.stack([self.kernels[i](found.tokens[:, 1 + i]) for i in numbers], 1)
        return Decoded(overlaid(kernels, feature), self.iou(found.tokens[:, 0])[:, wanted], feature, found.added)


def cells(embedding: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    """Return pictures (N or 1, width, g, g) with what prompts lay over them as (N or 1, g * g, width)."""
    return (embedding + dense).permute(0, 2, 3, 1).flatten(1, 2)


def overlaid(kernels: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
    """Return the products (N, M, h, w) of kernels (N, M, C) with every pixel of (N, C, h, w)."""
    return (kernels @ feature.flatten(2)).view(*kernels.shape[:2], *feature.shape[2:])
