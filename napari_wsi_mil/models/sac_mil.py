"""SAC-MIL: position from slide coordinates, correlation of all tiles by shifted channels, attention pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import nn

from napari_wsi_mil.models.chunks import by_rows
from napari_wsi_mil.models.heads import AttentionPool, Centre, Head, HeadOutput, centred
from napari_wsi_mil.models.regions import Cut, Ordering, Regions, group
from napari_wsi_mil.models.registry import register
from napari_wsi_mil.models.shift import Norm, Ring, ShiftMix
from napari_wsi_mil.models.whiten import Whiten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Shift = Literal["radix", "chord"]


def polar(yx: torch.Tensor, centre: Literal["mean", "bbox"] = "mean") -> torch.Tensor:
    """Return (N, 2) distance and direction (radians) of `yx` (N, 2) from the centre of the bag; at it direction 0."""
    middle = yx.mean(0) if centre == "mean" else (yx.amin(0) + yx.amax(0)) / 2
    offset = yx - middle
    distance = torch.linalg.vector_norm(offset, dim=1)
    # Below a ten-thousandth of a tile the direction is rounding noise of the mean.
    direction = torch.where(distance > 1e-4, torch.atan2(offset[:, 0], offset[:, 1]), 0.0)
    return torch.stack([distance, direction], 1)


def rotate(
    tokens: torch.Tensor,
    place: torch.Tensor,
    *,
    angles: Literal["integer", "omega"] = "integer",
    base: float = 10_000.0,
) -> torch.Tensor:
    """Rotate channel pairs of (N, D) tokens, D divisible by 4, by their `place` (N, 2) distance and direction.

    The first D/4 pairs turn by distance * base^(-4m/D), the others by direction times 1, 2, ... ("integer", continuous
    where the direction jumps from pi to -pi) or times base^(-4m/D) ("omega"). Norms of tokens are kept.
    """
    quarter = tokens.shape[1] // 4
    m = torch.arange(quarter, dtype=tokens.dtype, device=tokens.device)
    falling = base ** (-m / quarter)
    turns = m + 1 if angles == "integer" else falling
    theta = torch.cat([place[:, :1] * falling, place[:, 1:] * turns], 1)
    cos, sin = torch.cos(theta), torch.sin(theta)
    a, b = tokens[:, 0::2], tokens[:, 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], 2).flatten(1)


def polar_rotate(
    tokens: torch.Tensor,
    yx: torch.Tensor,
    *,
    centre: Literal["mean", "bbox"] = "mean",
    angles: Literal["integer", "omega"] = "integer",
    base: float = 10_000.0,
) -> torch.Tensor:
    """Rotate channel pairs of (N, D) tokens by where their tile lies in the bag; `yx` (N, 2) float32 in tile units."""
    return rotate(tokens, polar(yx, centre), angles=angles, base=base)


class SACMIL(Head):
    """Slide classifier with full correlation of tiles in linear time; a re-implementation from a public abstract.

    Sourced (arXiv 2509.03973, abstract and caption of figure 1c): position comes from the tiles' coordinates in the
    slide, by an encoding called polar rotary; a "SAC block" of MLP layers only correlates all instances through
    channel shifting in time linear in their number; instances are divided into regions of k.

    Ours, each an option: curve that orders tiles (`ordering`), region size (`region_size`), equal or filled regions
    (`cut`), centre and angular frequencies of the rotation (`centre_of`, `angles`), shift offsets (`shift`: "radix"
    with block t moving by j * radix^t, j < radix, which is O(N) with a fixed number of blocks; "chord" with offsets
    0, 1, 2, 4, ... after ChordMixer, ICLR 2023, which skips blocks beyond log2 of the longest ring), number of blocks,
    MLP width, the scale at which mixing starts (`mix_start`; at 0 training begins as attention pooling of rotated tiles
    and learns to mix, which kept attention sharp in our trials), pooling, norm before pooling, taking off the bag's
    mean (`centre`), putting features on the first `whiten` principal axes of the training tiles (see `Whiten`), and the
    norms before and after a mixing step (`norm`, `post_norm`, see `ShiftMix`). Blocks mix within regions and across
    them, in turn ("alternate") or first all steps within, then all across (`order`).

    Every tile reaches every logit, through gated or mean pooling if not sooner; with max pooling it does by the
    blocks alone. With "regions-first" and balanced regions it also reaches every token, and with "alternate" where
    all regions are of one size (else some tokens miss some tiles of surplus slots), as long as radix^blocks, or
    2^blocks with "chord", is at least the length of the longest ring. So that longer bags than those of the training
    keep this, regions grow beyond `region_size` where there would be too many (`grow`; not with "window"): 16^2
    serves 65,536 tiles, half of that with "regions-first". Beyond, tiles far apart meet only in the pooling.
    No figure of that paper is claimed.
    """

    needs_coordinates: ClassVar[bool] = True

    def __init__(
        self,
        *,
        n_features: int = 512,
        n_classes: int = 2,
        width: int = 512,
        mlp: int | None = None,
        blocks: int = 2,
        mix_start: float = 1.0,
        ordering: Ordering = "hilbert",
        region_size: int = 64,
        cut: Cut = "balanced",
        grow: bool = True,
        order: Literal["alternate", "regions-first"] = "alternate",
        position: bool = True,
        centre_of: Literal["mean", "bbox"] = "mean",
        angles: Literal["integer", "omega"] = "integer",
        base: float = 10_000.0,
        shift: Shift = "radix",
        radix: int = 16,
        chord_tracks: int = 13,
        norm: Norm = "layer",
        post_norm: Norm = "none",
        norm_groups: int = 8,
        pooling: Literal["gated", "max", "mean"] = "gated",
        attention: int = 256,
        final_norm: bool = False,
        dropout: float = 0.25,
        centre: Centre = "none",
        whiten: int | None = None,
    ) -> None:
        super().__init__(n_features=n_features, n_classes=n_classes)
        if pooling not in ("gated", "max", "mean"):
            message = f"pooling must be gated, max or mean, got {pooling!r}"
            raise ValueError(message)
        if width % 4:
            message = f"width must be divisible by 4 for the polar rotation, got {width}"
            raise ValueError(message)
        self.ordering, self.region_size, self.cut = ordering, region_size, cut
        self.position, self.centre_of, self.angles, self.base = position, centre_of, angles, base
        self.shift, self.centre = shift, centre
        self.order = order
        # A ring across regions that takes in surplus tiles is up to twice as long as there are regions.
        most = radix**blocks if order == "alternate" else (radix**blocks + 1) // 2
        self.most_regions = most if grow and shift == "radix" and blocks else None
        self.whiten = None if whiten is None else Whiten(n_features, whiten)
        self.project = nn.Sequential(nn.Linear(whiten or n_features, width), nn.GELU(), nn.Dropout(dropout))
        steps = [_offsets(shift, t, radix if shift == "radix" else chord_tracks) for t in range(blocks)]
        mixing: dict[str, Any] = {
            "dropout": dropout, "start": mix_start, "norm": norm, "post": post_norm, "groups": norm_groups,
        }  # fmt: skip
        mixes = [ShiftMix(width, mlp or width, step, **mixing) for step in (*steps, *steps)]
        self.within, self.across = nn.ModuleList(mixes[:blocks]), nn.ModuleList(mixes[blocks:])
        self.norm = nn.LayerNorm(width) if final_norm else nn.Identity()
        self.pooling = pooling
        self.pool = AttentionPool(width, attention, dropout=dropout) if pooling == "gated" else None
        self.classify = nn.Linear(width, n_classes)

    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag, see `Head.forward`; attention is over the correlated tokens, in bag order.

        With mean pooling the raw attention is 0 and the attention 1/N everywhere. With max pooling each correlated
        token is judged by itself and the slide takes the logits of the token surest of any class but the first, which
        suits a finding of one tile among thousands; the raw attention is that log-odds. Without gradients tokens are
        mixed in place, in about 0.7 of the time at 40,000 tiles, with the same numbers to rounding.
        """
        self.check_bag(features, yx)
        assert yx is not None  # check_bag refuses it
        regions = self.regions_of(yx)
        tokens = self.correlate(features, yx, regions)
        back = torch.empty_like(regions.order)
        back[regions.order] = torch.arange(len(back), device=back.device)
        if self.pooling == "max":
            judged = self.classify(tokens)
            odds = judged[:, 1:].logsumexp(1) - judged[:, 0] if self.n_classes > 1 else judged[:, 0]
            raw = odds[back][None]
            return HeadOutput(judged[odds.argmax()], raw, torch.softmax(raw, 1), judged[back])
        if self.pool is None:
            raw = tokens.new_zeros(1, len(tokens))
            return HeadOutput(self.classify(tokens.mean(0)), raw, raw + 1 / len(tokens))
        pooled, raw, attention = self.pool(tokens)
        return HeadOutput(self.classify(pooled)[0], raw[:, back], attention[:, back])

    def prepare(self, bags: Sequence[torch.Tensor]) -> None:
        """Fit the principal axes, see `Head.prepare`."""
        if self.whiten is not None:
            self.whiten.fit([centred(bag, self.centre) for bag in bags])

    def correlate(self, features: torch.Tensor, yx: torch.Tensor, regions: Regions) -> torch.Tensor:
        """Return (N, width) tokens in curve order, after rotation and all blocks."""
        steps = self._steps(regions)
        start = self._starter(features, yx, regions.order)
        if torch.is_grad_enabled():
            tokens = start(slice(0, len(yx)))
            for step, ring in steps:
                tokens = step(tokens, ring)
            out: torch.Tensor = self.norm(tokens)
            return out
        tokens = by_rows(start, features.new_empty(len(yx), self.classify.in_features))
        room = torch.empty_like(tokens)
        for step, ring in steps:
            step.update(tokens, ring, room)
        return by_rows(lambda rows: self.norm(tokens[rows]), tokens)

    def _starter(
        self, features: torch.Tensor, yx: torch.Tensor, order: torch.Tensor
    ) -> Callable[[slice], torch.Tensor]:
        """Return the function that makes the first tokens of some places in curve order, rotated."""
        mean = features.mean(0) if self.centre == "bag" else None
        place = polar(yx[order], self.centre_of)

        def start(rows: slice) -> torch.Tensor:
            taken = features[order[rows]]
            taken = taken if mean is None else taken - mean
            tokens: torch.Tensor = self.project(taken if self.whiten is None else self.whiten(taken))
            return rotate(tokens, place[rows], angles=self.angles, base=self.base) if self.position else tokens

        return start

    def regions_of(self, yx: torch.Tensor) -> Regions:
        """Return the tiles in curve order and their regions; `yx` (N, 2) in tile units."""
        least = -(-len(yx) // self.most_regions) if self.most_regions and self.ordering != "window" else 0
        return group(yx, ordering=self.ordering, size=max(self.region_size, least), cut=self.cut)

    def _steps(self, regions: Regions) -> list[tuple[Any, Ring]]:
        """Return the mixing steps in order, each with its rings."""
        first = self.order == "regions-first"
        slot = regions.slot
        if first and self.cut == "balanced" and self.ordering != "window":
            # Regions differ by one tile: one that is surplus joins the ring of its neighbour, which visits all regions.
            slot = slot.clamp_max(int(torch.bincount(regions.region).min()) - 1)
        inside, outside = Ring(regions.region), Ring(slot)
        blocks = self.blocks_for(max(int(inside.count.max()), int(outside.count.max())))
        within = [(step, inside) for step in self.within[:blocks]]
        across = [(step, outside) for step in self.across[:blocks]]
        return within + across if first else [step for pair in zip(within, across, strict=True) for step in pair]

    def blocks_for(self, longest: int) -> int:
        """Return how many blocks run for rings of up to `longest`: all with radix, ceil(log2) with chord."""
        if self.shift == "radix":
            return len(self.within)
        return min(len(self.within), max(1, (longest - 1).bit_length()))


def _offsets(shift: Shift, block: int, tracks: int) -> tuple[int, ...]:
    """Return the offset of every channel track in block number `block`."""
    if shift == "radix":
        return tuple(j * tracks**block for j in range(tracks))
    return (0, *(1 << i for i in range(tracks - 1)))


@register("sac-mil")
def build_sac_mil(**options: object) -> nn.Module:
    """Build a `SACMIL` from the options of a card."""
    return SACMIL(**options)  # type: ignore[arg-type]
