"""Random changes of tile batches: geometry, stain, focus, compression.

All functions take and return (n, 3, h, w) float32 RGB in 0..1 and draw from the given generator only.
"""

from __future__ import annotations

import imagecodecs
import numpy as np
import torch
from torch.nn import functional

# Optical-density directions of haematoxylin, eosin and a residual after Ruifrok and Johnston 2001, rows of unit length.
_STAINS = torch.tensor([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def turn(tiles: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Flip and rotate every tile by a random multiple of 90 degrees; exact, no resampling."""
    out = torch.empty_like(tiles)
    moves = torch.randint(8, (len(tiles),), generator=generator)
    for move in range(8):
        chosen = moves == move
        part = torch.rot90(tiles[chosen], move % 4, (2, 3))
        out[chosen] = part.flip(3) if move >= 4 else part
    return out


def warp(tiles: torch.Tensor, generator: torch.Generator, *, zoom: float = 1.3) -> torch.Tensor:
    """Rotate freely, zoom by 1/zoom..zoom per tile with 10 % anisotropy, shift up to 10 %; mirrored at edges."""
    n = len(tiles)
    angle = _uniform(n, -torch.pi, torch.pi, generator)
    scale = torch.exp(_uniform(n, -1, 1, generator) * float(np.log(zoom)))
    stretch = _uniform(n, 0.9, 1.1, generator)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = _uniform(2 * n, -0.2, 0.2, generator).reshape(2, n)
    rows = torch.stack([cos * stretch, -sin, shift[0], sin * stretch, cos, shift[1]], 1).reshape(n, 2, 3)
    grid = functional.affine_grid(rows, list(tiles.shape), align_corners=False)
    return functional.grid_sample(tiles, grid, padding_mode="reflection", align_corners=False)


def restain(tiles: torch.Tensor, generator: torch.Generator, *, strength: float = 1.0) -> torch.Tensor:
    """Scale and offset the haematoxylin, eosin and residual density of every tile at random."""
    n = len(tiles)
    density = -torch.log(tiles.clamp(1 / 255, 1))
    stains = torch.einsum("nchw,cs->nshw", density, torch.linalg.inv(_STAINS))
    gain = torch.exp(strength * 0.25 * torch.randn(n, 3, 1, 1, generator=generator))
    offset = strength * 0.06 * torch.randn(n, 3, 1, 1, generator=generator)
    density = torch.einsum("nshw,sc->nchw", stains * gain + offset, _STAINS)
    return torch.exp(-density.clamp(0, 6))


def rebalance(tiles: torch.Tensor, generator: torch.Generator, *, strength: float = 1.0) -> torch.Tensor:
    """Move the mean colour partly towards that of another tile of the batch, then apply a scanner gain and bias."""
    n = len(tiles)
    mean = tiles.mean((2, 3), keepdim=True)
    other = mean[torch.randperm(n, generator=generator)]
    pull = _uniform(n, 0, 0.8, generator)[:, None, None, None]
    gain = 1 + strength * 0.08 * torch.randn(n, 3, 1, 1, generator=generator)
    bias = strength * 0.03 * torch.randn(n, 3, 1, 1, generator=generator)
    return ((tiles + pull * (other - mean)) * gain + bias).clamp(0, 1)


def refocus(tiles: torch.Tensor, generator: torch.Generator, *, share: float = 0.35) -> torch.Tensor:
    """Blur or sharpen a share of the tiles and add a little sensor noise to all."""
    soft = functional.avg_pool2d(functional.pad(tiles, (1, 1, 1, 1), mode="reflect"), 3, 1)
    amount = _uniform(len(tiles), -0.6, 1.0, generator)
    amount = amount * (torch.rand(len(tiles), generator=generator) < share)
    mixed = tiles + amount[:, None, None, None] * (soft - tiles)
    return (mixed + 0.01 * torch.randn(mixed.shape, generator=generator)).clamp(0, 1)


def recompress(tiles: torch.Tensor, generator: torch.Generator, *, share: float = 0.3) -> torch.Tensor:
    """Send a share of the tiles through JPEG at quality 40 to 95 with 4:2:0 chroma, as slide files do."""
    out = tiles.clone()
    chosen = torch.nonzero(torch.rand(len(tiles), generator=generator) < share).flatten().tolist()
    quality = torch.randint(40, 96, (len(tiles),), generator=generator).tolist()
    for i in chosen:
        pixels = (tiles[i].permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().numpy()
        stored = imagecodecs.jpeg8_encode(pixels, level=quality[i], subsampling="420")
        out[i] = torch.from_numpy(imagecodecs.jpeg8_decode(stored).astype(np.float32) / 255).permute(2, 0, 1)
    return out


def repose(tiles: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn, warp, restain and rebalance: what leaves tissue sharp. Warp and new stain to three tiles in four only."""
    tiles = turn(tiles, generator)
    for change in (warp, restain):
        chosen = torch.rand(len(tiles), generator=generator) < 0.75
        tiles = tiles.clone()
        tiles[chosen] = change(tiles[chosen], generator)
    return rebalance(tiles, generator)


def degrade(tiles: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Refocus and recompress: what a scanner and its files take away."""
    return recompress(refocus(tiles, generator), generator)


def augment(tiles: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Apply everything above."""
    return degrade(repose(tiles, generator), generator)


def reduced(tiles: torch.Tensor, block: int) -> torch.Tensor:
    """Return tiles whose sides are `block` times smaller, by means of block x block pixels."""
    return tiles if block == 1 else functional.avg_pool2d(tiles, block)
