"""Mixing of tokens by shifted channels: rings of tokens, and the MLP whose output travels round them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from napari_wsi_mil.models.chunks import by_rows, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Norm = Literal["layer", "groups", "batch", "none"]


class Ring:
    """Tokens in rings (all of one region, or all of one slot): who stands `offset` places further round.

    Only real tokens are in a ring, so padded slots do not exist and cannot leak. Built in O(N).
    """

    def __init__(self, ring: torch.Tensor) -> None:
        sorted_already = bool((ring[1:] >= ring[:-1]).all())
        seat = torch.arange(len(ring), device=ring.device) if sorted_already else torch.argsort(ring, stable=True)
        _, number, count = torch.unique_consecutive(ring[seat], return_inverse=True, return_counts=True)
        first = (count.cumsum(0) - count)[number]
        rank = torch.arange(len(ring), device=ring.device) - first
        # 32 bits: a modulo takes a third of the time of 64.
        self.seat = seat.int()
        self.count = count
        self.number, self.rank, self.first = (torch.empty_like(self.seat) for _ in range(3))
        self.number[seat], self.rank[seat], self.first[seat] = number.int(), rank.int(), first.int()
        self.length = count.int()[self.number]

    def sources(self, offsets: Sequence[int]) -> torch.Tensor:
        """Return (N, offsets) int32: the token each token receives from when channels move by each of `offsets`."""
        step = torch.tensor(offsets, dtype=torch.int32, device=self.seat.device)
        place = self.rank[:, None] + step
        place.remainder_(self.length[:, None]).add_(self.first[:, None])
        return self.seat[place]


class RingNorm(nn.Module):
    """Group normalisation over all tokens of a ring and the channels of a group, eps 1e-5, one scale per channel."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        if width % groups:
            message = f"width must be divisible by the number of groups, got {width} and {groups}"
            raise ValueError(message)
        self.groups = groups
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, tokens: torch.Tensor, ring: Ring) -> torch.Tensor:
        """Map (N, width) to (N, width)."""
        parts = tokens.view(len(tokens), self.groups, -1)
        centred = parts - self._mean(parts, ring)[:, :, None]
        scaled = centred * torch.rsqrt(self._mean(centred.square(), ring) + 1e-5)[:, :, None]
        out: torch.Tensor = scaled.flatten(1) * self.weight + self.bias
        return out

    def _mean(self, parts: torch.Tensor, ring: Ring) -> torch.Tensor:
        sums = parts.new_zeros(len(ring.count), self.groups).index_add(0, ring.number, parts.mean(2))
        out: torch.Tensor = (sums / ring.count[:, None])[ring.number]
        return out


class ShiftMix(nn.Module):
    """One mixing step along one axis: post(x + shift(MLP(norm(x)))), each channel track shifted by its own offset.

    The block of ChordMixer (Khalitov et al., ICLR 2023, section 3) if offsets are 0, 1, 2, 4, ...; there as here
    `norm` and `post` are one of four: per token ("layer"), per ring and one of `groups` groups of channels ("groups"),
    per channel over the bag in training ("batch"), or "none". The last layer's first weights are multiplied by `start`.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        offsets: tuple[int, ...],
        *,
        dropout: float = 0.25,
        start: float = 1.0,
        norm: Norm = "layer",
        post: Norm = "none",
        groups: int = 8,
    ) -> None:
        super().__init__()
        self.offsets = offsets
        edges = [round(i * width / len(offsets)) for i in range(len(offsets) + 1)]
        self.tracks = [slice(a, b) for a, b in pairwise(edges)]
        self.norm, self.post = _norm(norm, width, groups), _norm(post, width, groups)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width), nn.Dropout(dropout)
        )
        with torch.no_grad():
            for weights in self.mlp[3].parameters():
                weights.mul_(start)

    def forward(self, tokens: torch.Tensor, ring: Ring) -> torch.Tensor:
        """Map (N, width) to (N, width) in O(N)."""
        moved = self.shift(self.mlp(_normed(self.norm, tokens, ring)), ring)
        return _normed(self.post, tokens + moved, ring)

    def update(self, tokens: torch.Tensor, ring: Ring, room: torch.Tensor) -> None:
        """Do in place what `forward` does, where no gradient is wanted; `room` is a second (N, width) to work in.

        Some rows at a time stay in the processor's cache, and no fresh memory is asked for.
        """
        if self._needs_all_rows():
            tokens.copy_(self(tokens, ring))
            return
        by_rows(lambda rows: self.mlp(_normed(self.norm, tokens[rows], ring)), room)
        sources = self._flat_sources(ring)
        for rows in chunks(room):
            kept = tokens[rows]
            kept += self._gather(room, sources, rows)
            if not isinstance(self.post, nn.Identity):
                kept.copy_(self.post(kept))

    def shift(self, mixed: torch.Tensor, ring: Ring) -> torch.Tensor:
        """Return (N, width): every track of every token comes from the token `offset` places further round the ring."""
        return self._gather(mixed, self._flat_sources(ring), slice(0, len(mixed)))

    def _needs_all_rows(self) -> bool:
        norms = (self.norm, self.post)
        return any(isinstance(n, RingNorm) or (isinstance(n, nn.BatchNorm1d) and n.training) for n in norms)

    def _even(self) -> bool:
        return len({track.stop - track.start for track in self.tracks}) == 1

    def _flat_sources(self, ring: Ring) -> torch.Tensor:
        """Return `Ring.sources`; with tracks of one width already as rows of (N * tracks, width / tracks)."""
        sources = ring.sources(self.offsets)
        if self._even():
            sources *= len(self.offsets)
            sources += torch.arange(len(self.offsets), dtype=torch.int32, device=sources.device)
        return sources

    def _gather(self, mixed: torch.Tensor, sources: torch.Tensor, rows: slice) -> torch.Tensor:
        wanted = sources[rows]
        if self._even():
            pieces = mixed.view(len(mixed) * len(self.offsets), -1)
            return pieces.index_select(0, wanted.flatten()).view(len(wanted), -1)
        moved = [mixed[:, track].index_select(0, wanted[:, i]) for i, track in enumerate(self.tracks)]
        return torch.cat(moved, 1)


def _norm(kind: Norm, width: int, groups: int) -> nn.Module:
    made: dict[str, Callable[[], nn.Module]] = {
        "layer": lambda: nn.LayerNorm(width),
        "groups": lambda: RingNorm(width, groups),
        "batch": lambda: nn.BatchNorm1d(width),
        "none": nn.Identity,
    }
    if kind not in made:
        message = f"expected a norm of {', '.join(made)}, got {kind!r}"
        raise ValueError(message)
    return made[kind]()


def _normed(norm: nn.Module, tokens: torch.Tensor, ring: Ring) -> torch.Tensor:
    out: torch.Tensor = norm(tokens, ring) if isinstance(norm, RingNorm) else norm(tokens)
    return out
