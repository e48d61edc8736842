"""Self-attention in linear time by the Nystrom method."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def pseudo_inverse(matrix: torch.Tensor, steps: int = 6) -> torch.Tensor:
    """Approximate the pseudo-inverse of every (..., m, m) matrix by an iteration of third order.

    Xiong et al. 2021, section 3.3, after Razavi et al. 2014. The start is scaled by the largest row and column sums of
    ALL matrices given, as the reference does; the result of one therefore depends a little on the others.
    """
    size = matrix.abs()
    z = matrix.mT / (size.sum(-1).amax() * size.sum(-2).amax())
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(steps):
        step = matrix @ z
        z = 0.25 * z @ (13 * eye - step @ (15 * eye - step @ (7 * eye - step)))
    return z


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return softmax(query key') value of (heads, n, d) arrays; the query is scaled already."""
    # Only with a batch axis does torch take its kernels that never hold the n x n matrix.
    out = functional.scaled_dot_product_attention(query[None], key[None], value[None], scale=1.0)
    return out[0]


class _Along(torch.autograd.Function):
    """Depth-wise convolution along the tokens with its own gradient of the weights.

    oneDNN's, in torch 2.13 on the CPU, is off by 6 % at 256 tokens (measured against float64; a second torch kernel
    agrees with float64), so the forward kernel does what it can do and the rest are sums of products, one per tap.
    """

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ctx.save_for_backward(value, weight)
        return _slide(value, weight)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        value, weight = ctx.saved_tensors
        heads, n, _ = value.shape
        taps = weight.shape[1]
        padded = functional.pad(value, (0, 0, taps // 2, taps // 2))
        flat = grad.reshape(heads, -1, 1)
        dots = [torch.bmm(padded[:, t : t + n].reshape(heads, 1, -1), flat)[:, 0, 0] for t in range(taps)]
        return _slide(grad, weight.flip(1)), torch.stack(dots, 1)


def _slide(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return (heads, n, d): each head's (taps,) weights slid along its n tokens, zeros beyond the ends."""
    heads, taps = weight.shape
    return functional.conv2d(value[None], weight[:, None, :, None], padding=(taps // 2, 0), groups=heads)[0]


class AlongTokens(nn.Module):
    """A weighted sum of each token's neighbours in the sequence, with `taps` weights per head."""

    def __init__(self, heads: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, taps).uniform_(-(taps**-0.5), taps**-0.5))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Map (heads, N, d) to the same."""
        out: torch.Tensor = _Along.apply(value, self.weight)  # type: ignore[no-untyped-call]
        return out


class NystromAttention(nn.Module):
    """Multi-head self-attention through m landmarks.

    Xiong et al., "Nystromformer", AAAI 2021, section 3: softmax(QK') is replaced by
    softmax(Q K_l') pinv(softmax(Q_l K_l')) softmax(Q_l K'), landmarks Q_l and K_l being means over equal runs of
    tokens; a depth-wise convolution over the sequence (`taps`) is added to the values. Zeros are put before the tokens
    until m divides their number; they take part as keys, as in the reference implementation. `shifted` returns the
    first instead of the last tokens after that padding, a slip of nystrom-attention before 0.0.10, needed only for
    weights trained with it. We never hold a tokens x landmarks matrix: memory grows with the tokens only.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 8,
        landmarks: int = 256,
        steps: int = 6,
        taps: int = 33,
        dropout: float = 0.1,
        shifted: bool = False,
    ) -> None:
        super().__init__()
        if width % heads or taps % 2 == 0 or landmarks < 1:
            message = f"expected a width divisible by heads and an odd number of taps, got {width}, {heads}, {taps}"
            raise ValueError(message)
        self.heads, self.landmarks, self.steps, self.shifted = heads, landmarks, steps, shifted
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.local = AlongTokens(heads, taps)
        self.out = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, ask: int | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map (N, width) to (N, width); with `ask` also return how much that token attends to each, (heads, N).

        The latter is multiplied out of the three factors in use, without gradient: it may be slightly negative and
        sums to about 1 less what the padding took.
        """
        query, key, value, query_marks, key_marks = self._split(tokens)
        inverse = pseudo_inverse(self._between(query_marks, key_marks), self.steps)
        mixed = _attend(query, key_marks, inverse @ _attend(query_marks, key, value))
        mixed = mixed + self.local(value)
        out: torch.Tensor = self.drop(self.out(mixed.transpose(0, 1).flatten(1)))
        padding = len(out) - len(tokens)
        row = None
        if ask is not None:
            # `shifted` drops tokens from the end: what leaves as token i went in as padded token i.
            asking = query[:, [ask if self.shifted else padding + ask]]
            row = self._row(self._between(asking, key_marks) @ inverse, query_marks, key)[:, padding:]
        return out[: len(tokens)] if self.shifted else out[padding:], row

    @torch.no_grad()
    def _row(self, weights: torch.Tensor, query_marks: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Return (heads, padded N); one head at a time, for landmarks x tokens is large."""
        rows = [weights[h, 0] @ torch.softmax(query_marks[h] @ key[h].T, 1) for h in range(self.heads)]
        return torch.stack(rows)

    @staticmethod
    def _between(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return torch.softmax(query @ key.mT, -1)

    def _split(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return query (scaled), key and value, (heads, padded N, width / heads), and landmarks of query and key."""
        run = -(-len(tokens) // self.landmarks)
        padded = functional.pad(tokens, (0, 0, run * self.landmarks - len(tokens), 0))
        query, key, value = self.project(padded).view(len(padded), 3, self.heads, -1).permute(1, 2, 0, 3)
        query = query * query.shape[-1] ** -0.5
        marks = [part.unflatten(1, (self.landmarks, run)).mean(2) for part in (query, key)]
        return (query, key, value, *marks)
