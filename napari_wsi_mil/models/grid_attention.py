"""Grid attention: the slide as a grid of features, convolved into attention maps that weight the grid itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.heads import Centre, Head, HeadOutput, TileScores, centred
from napari_wsi_mil.models.regions import cells
from napari_wsi_mil.models.registry import register
from napari_wsi_mil.models.whiten import Whiten

if TYPE_CHECKING:
    from collections.abc import Sequence

Pool = Literal["unpool", "same"]
Kind = Literal["max", "min", "avg"]
Scale = Literal["none", "layer", "rms"]

TITLES = {"max": "Max attention", "min": "Min attention", "avg": "Average attention"}
LARGEST_GRID = 1 << 22
"""Cells; 64 float32 maps of so many take 1 GiB."""


class Placed(NamedTuple):
    """A bag on its grid; cells without a tile hold zeros and are not stored."""

    tiles: torch.Tensor
    """(N, K) features in bag order."""
    of: torch.Tensor
    """(N,) int64: row of `held` that each tile went into."""
    share: torch.Tensor
    """(N,) float32: the tile's part of its cell, 1 over the number of tiles there."""
    held: torch.Tensor
    """(M, K) features of the cells with tiles, row by row of the grid; the mean where several tiles share a cell."""
    cell: torch.Tensor
    """(M,) int64 ascending: row * columns + column."""
    shape: tuple[int, int]
    """Rows and columns."""


class Seen(NamedTuple):
    """What one pass computes after the convolution."""

    logits: torch.Tensor
    maps: tuple[torch.Tensor, ...]
    """Per pool (filters, rows * columns) before softmax."""
    weights: tuple[torch.Tensor, ...]
    """Per pool (filters, M) after softmax over all cells, at cells with tiles."""
    vector: torch.Tensor
    """(pools, filters, K) sums of weight times feature, before ReLU."""


class GridAttention(Head):
    """Attention classifier over a grid of tile features, for classes or (one logit) a value.

    Brancati, De Pietro, Riccio, Frucci, "Gigapixel Histopathological Image Analysis Using Attention-Based Neural
    Networks", IEEE Access 2021, 9:87552, section III-B; where the text leaves a choice, as in the authors' released
    network: a `kernel` x `kernel` convolution of all K features into `filters` maps without activation; max and min
    pooled copies of them ("unpool": in each 2 x 2 cells the winner stays in place and the rest is 0, an odd last row
    or column is 0); softmax over all cells, empty ones too; per map the weighted sum of features; ReLU; one linear
    layer; dropout on its logits. Sides below 3 cells are padded with zeros at the bottom and right.

    The grid is the bag's own bounding box, so an added or taken tile at its edge can move which cells pool together.
    Tiles that fall into one cell (overlapping tiles) are averaged. Empty cells are never stored: the convolution is
    summed tile by tile, which gives the numbers of the dense grid.

    Ours, off by default: `pools` (also "avg": the mean of each 2 x 2 cells in all of them, 0 in an odd last row or
    column), `pool="same"` (windows of 3 x 3 with stride 1, the other reading of the text), `width` (Linear, ReLU
    before the grid), `scale` of a tile's features ("layer": LayerNorm, "rms": over their root mean square),
    taking off the bag's mean (`centre`), the first `whiten` principal axes of the training tiles, see `Whiten`, and
    `sharpness`, a factor of the maps before softmax.
    """

    needs_coordinates: ClassVar[bool] = True

    def __init__(
        self,
        *,
        n_features: int = 512,
        n_classes: int = 2,
        filters: int = 64,
        kernel: int = 3,
        pools: Sequence[Kind] = ("max", "min"),
        pool: Pool = "unpool",
        dropout: float = 0.2,
        width: int | None = None,
        scale: Scale = "none",
        centre: Centre = "none",
        whiten: int | None = None,
        sharpness: float = 1.0,
    ) -> None:
        super().__init__(n_features=n_features, n_classes=n_classes)
        if not pools or set(pools) - set(TITLES) or len(set(pools)) < len(pools):
            message = f"pools must be some of {', '.join(TITLES)}, each once, got {tuple(pools)}"
            raise ValueError(message)
        if kernel < 1 or kernel % 2 == 0 or pool not in ("unpool", "same") or scale not in ("none", "layer", "rms"):
            message = (
                f"expected an odd kernel, pool 'unpool' or 'same', scale 'none', 'layer' or 'rms', "
                f"got {kernel}, {pool!r}, {scale!r}"
            )
            raise ValueError(message)
        self.pools, self.pool, self.scale, self.centre = tuple(pools), pool, scale, centre
        self.sharpness = sharpness
        self.whiten = None if whiten is None else Whiten(n_features, whiten)
        given = whiten or n_features
        k = width or given
        self.norm = nn.LayerNorm(given) if scale == "layer" else nn.Identity()
        self.project = nn.Identity() if width is None else nn.Sequential(nn.Linear(given, width), nn.ReLU())
        self.conv = nn.Conv2d(k, filters, kernel, padding=kernel // 2)
        self.classify = nn.Linear(len(self.pools) * filters * k, n_classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag, see `Head.forward`.

        `attention_raw` (C, N) says which tiles speak for a class against the others: the tile's exact share of the
        logit (see `contribution`) less its mean share over all logits; with one logit the share itself. A row sums to
        that logit less the mean logit, biases apart. No gradient runs through it.
        """
        placed = self.place(features, yx)
        return self._output(placed, self.judge(placed, self.convolve(placed)))[0]

    def explain(
        self, features: torch.Tensor, yx: torch.Tensor | None = None
    ) -> tuple[HeadOutput, tuple[TileScores, ...]]:
        """Return `forward` and further maps of that pass.

        "Contribution" (per class): exact share of each tile in the logit, see `contribution`. "Grad-CAM" (per class):
        ReLU of the convolution's maps weighted by their mean gradient; left out where it would be rounding noise, for
        the softmax makes those gradients sum to 0 unless pooling drops some of them (`pool="same"`, "avg" alone).
        "Max attention", "Min attention" (per filter): the pooled maps before softmax; 0 where a tile lost its 2 x 2.
        """
        with torch.inference_mode(False):
            # Tensors of inference mode cannot take part in gradients; copies of them can.
            features = features.clone() if features.is_inference() else features
            with torch.no_grad():
                placed = self.place(features, yx)
                conv = self.convolve(placed)
            with torch.enable_grad():
                conv.requires_grad_()
                seen = self.judge(placed, conv)
                cam = self._grad_cam(placed, conv, seen.logits)
            output, share = self._output(placed, seen)
        output = output._replace(logits=output.logits.detach())
        found = [TileScores("Contribution", "class", share), *([] if cam is None else [cam])]
        for kind, pooled in zip(self.pools, seen.maps, strict=True):
            values = pooled.detach()[:, placed.cell[placed.of]]
            found.append(TileScores(TITLES[kind], "filter", values))
        return output, tuple(found)

    def prepare(self, bags: Sequence[torch.Tensor]) -> None:
        """Fit the principal axes, see `Head.prepare`."""
        if self.whiten is not None:
            self.whiten.fit([centred(bag, self.centre) for bag in bags])

    def place(self, features: torch.Tensor, yx: torch.Tensor | None) -> Placed:
        """Put a bag on its grid; raises BadRequest where tiles lie so far apart that the grid would fill the memory."""
        self.check_bag(features, yx)
        assert yx is not None  # check_bag refuses it
        where = cells(yx)
        rows, columns = (max(int(side) + 1, 3) for side in where.amax(0))
        if rows * columns > LARGEST_GRID:
            message = (
                f"tiles lie on a grid of {rows} x {columns} cells, expected at most {LARGEST_GRID} cells; "
                "pass coordinates in tile units"
            )
            raise BadRequest(message)
        tiles = centred(features, self.centre)
        tiles = self.norm(tiles if self.whiten is None else self.whiten(tiles))
        if self.scale == "rms":
            tiles = tiles / tiles.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        tiles = self.project(tiles)
        cell, of, count = torch.unique(where[:, 0] * columns + where[:, 1], return_inverse=True, return_counts=True)
        share = (1 / count.to(tiles.dtype))[of]
        if len(cell) == len(tiles):
            in_order = torch.equal(of, torch.arange(len(of), device=of.device))
            held = tiles if in_order else tiles[torch.argsort(of)]
        else:
            held = tiles.new_zeros(len(cell), tiles.shape[1]).index_add(0, of, tiles * share[:, None])
        return Placed(tiles, of, share, held, cell, (rows, columns))

    def convolve(self, placed: Placed) -> torch.Tensor:
        """Return (filters, rows, columns) maps of the convolution over the whole grid, bias included."""
        kernel = self.conv.kernel_size[0]
        rows, columns = placed.shape
        wide = columns + kernel - 1
        # A rim of kernel // 2 cells takes what falls off the grid.
        corner = placed.cell // columns * wide + placed.cell % columns
        out = placed.held.new_zeros((rows + kernel - 1) * wide, self.conv.out_channels)
        for dy in range(kernel):
            for dx in range(kernel):
                part = placed.held @ self.conv.weight[:, :, kernel - 1 - dy, kernel - 1 - dx].T
                out.index_add_(0, corner + dy * wide + dx, part)
        half = kernel // 2
        inner = out.view(-1, wide, self.conv.out_channels)[half : half + rows, half : half + columns]
        assert self.conv.bias is not None
        return (inner + self.conv.bias).permute(2, 0, 1).contiguous()

    def judge(self, placed: Placed, conv: torch.Tensor) -> Seen:
        """Return logits and what led to them from the convolution's maps."""
        maps, weights = [], []
        for kind in self.pools:
            pooled = _pooled(conv, kind, self.pool).flatten(1)
            maps.append(pooled)
            weights.append(torch.softmax(pooled * self.sharpness, 1)[:, placed.cell])
        vector = torch.stack([weight @ placed.held for weight in weights])
        logits = self.drop(self.classify(torch.relu(vector).flatten()))
        return Seen(logits, tuple(maps), tuple(weights), vector)

    def contribution(self, placed: Placed, seen: Seen) -> torch.Tensor:
        """Return (C, N) exact shares: each logit (without dropout) is its bias plus the sum of its row.

        The logit is linear in the tiles once attention is given and ReLU is known to pass or stop each entry of the
        vector; stopped entries (there are none with features >= 0) count for no tile.
        """
        weight = self.classify.weight.view(self.n_classes, *seen.vector.shape) * (seen.vector > 0)
        spread = [values[:, placed.of].T * placed.share[:, None] for values in seen.weights]
        rows = [
            torch.stack([(placed.tiles @ w.T * a).sum(1) for w, a in zip(of_class, spread, strict=True)]).sum(0)
            for of_class in weight
        ]
        return torch.stack(rows)

    @torch.no_grad()
    def _output(self, placed: Placed, seen: Seen) -> tuple[HeadOutput, torch.Tensor]:
        share = self.contribution(placed, seen)
        raw = share - share.mean(0) if self.n_classes > 1 else share
        return HeadOutput(seen.logits, raw, torch.softmax(raw, 1)), share

    def _grad_cam(self, placed: Placed, conv: torch.Tensor, logits: torch.Tensor) -> TileScores | None:
        if self.pool == "same" or self.pools == ("avg",):
            return None
        here = placed.cell[placed.of]
        found = []
        for logit in logits:
            (gradient,) = torch.autograd.grad(logit, conv, retain_graph=True)
            found.append(torch.relu(gradient.mean((1, 2)) @ conv.detach().flatten(1)[:, here]))
        return TileScores("Grad-CAM", "class", torch.stack(found))


def _pooled(maps: torch.Tensor, kind: Kind, pool: Pool) -> torch.Tensor:
    """Return (filters, rows, columns) pooled maps of unchanged size, see `GridAttention`."""
    if kind == "min":
        return -_pooled(-maps, "max", pool)
    if pool == "same":
        if kind == "avg":
            return functional.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
        return functional.max_pool2d(maps, 3, 1, 1)
    if kind == "avg":
        blocks = functional.avg_pool2d(maps, 2).repeat_interleave(2, 1).repeat_interleave(2, 2)
        rows, columns = maps.shape[1:]
        return functional.pad(blocks, (0, columns % 2, 0, rows % 2))
    winners, place = functional.max_pool2d(maps, 2, return_indices=True)
    kept = torch.zeros_like(maps).flatten(1).scatter(1, place.flatten(1), winners.flatten(1))
    return kept.view(maps.shape)


@register("grid-attention")
def build_grid_attention(**options: object) -> nn.Module:
    """Build a `GridAttention` from the options of a card."""
    return GridAttention(**options)  # type: ignore[arg-type]
