"""Cut a square view out of a square image, differentiably: plain bilinear, and linearised multi-sampling."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

NOISY_GRIDS = 7
"""Grids beside the true one that an output pixel's slope is fitted to."""
CHUNK_PX = 1 << 20
"""Output pixels worked on at once in a fit; each takes about 300 bytes."""

Noise = tuple[torch.Tensor, torch.Tensor]
"""Standard normal draws (N, 7, px, px, 2) in (x, y): the jitter, and the push away from the pixel."""


def grid_of(theta: torch.Tensor, px: int) -> torch.Tensor:
    """Return the places (N, px, px, 2) in (x, y), -1..1 of the source, of the view `theta` (N, 3) = (s, t_y, t_x).

    Output places are s * linspace(-1, 1, px) + t on both axes (appendix A3).
    """
    line = torch.linspace(-1, 1, px, dtype=theta.dtype, device=theta.device)
    scale, y, x = theta.unbind(-1)
    rows = scale[:, None] * line + y[:, None]
    columns = scale[:, None] * line + x[:, None]
    shape = (len(theta), px, px)
    return torch.stack((columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), -1)


def bilinear(
    source: torch.Tensor, theta: torch.Tensor, px: int, *, align_corners: bool = True, repeat: int = 1
) -> torch.Tensor:
    """Sample views (N, C, px, px) from images (N / repeat, C, H, W); outside the image is 0.

    View n is cut from image n // repeat. With `align_corners` -1 and 1 are the centres of the outermost pixels, as in
    the paper's listing; without, their outer edges.
    """
    return _sample(source, grid_of(theta, px), align_corners=align_corners, repeat=repeat)


def linearised(
    source: torch.Tensor,
    theta: torch.Tensor,
    px: int,
    *,
    align_corners: bool = True,
    repeat: int = 1,
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
    fixed_bias: bool = True,
) -> torch.Tensor:
    """Sample like `bilinear`, with a gradient to `theta` that sees a neighbourhood of every output pixel.

    Jiang, Sun, Tagliasacchi, Trulls, Yi, "Linearized Multi-Sampling for Differentiable Image Transformation",
    ICCV 2019: around each output pixel 7 noisy places are sampled too and a plane is fitted to their differences from
    it; its slope is the gradient. The noise is drawn from `generator` unless given. With `fixed_bias` the value is
    exactly the bilinear one; without, the fitted intercept is added to it, as the authors' code does by default, so
    the value depends on the noise. The gradient to `source` is the bilinear one.
    """
    grid = grid_of(theta, px)
    fixed = grid.detach()
    value = _sample(source, fixed, align_corners=align_corners, repeat=repeat)
    plan = _Fit(align_corners, repeat, generator)
    plane = _planes(source.detach(), fixed, value.detach(), noise, plan)
    shift = grid - fixed
    out = value + plane[0] * shift[..., 0].unsqueeze(1) + plane[1] * shift[..., 1].unsqueeze(1)
    return out if fixed_bias else out + plane[2]


def cut(
    source: torch.Tensor, theta: torch.Tensor, px: int, *, linear: bool, generator: torch.Generator | None
) -> torch.Tensor:
    """Sample views (B, K * P, C, px, px) from images (B, K, C, h, w), P side by side from each, by either way."""
    batch, parents = source.shape[:2]
    times = theta.shape[1] // parents
    images, flat = source.flatten(0, 1), theta.flatten(0, 1)
    if linear:
        views = linearised(images, flat, px, repeat=times, generator=generator)
    else:
        views = bilinear(images, flat, px, repeat=times)
    return views.view(batch, parents * times, *views.shape[1:])


def moved(views: torch.Tensor, theta: torch.Tensor, *, linear: bool, generator: torch.Generator | None) -> torch.Tensor:
    """Return readings (B, K, C, px, px) of the views `theta` (B, K, 3) unchanged, with gradients to theta.

    A pixel of the reading at g lies at s * g + t of the parent; were theta another, the reading would show its own
    place g + ((s g + t) - (s0 g + t0)) / s0 there. The gradient is that of sampling it at these places, by either way.
    """
    if not theta.requires_grad:
        return views
    fixed = theta.detach()
    own = torch.cat((theta[..., :1] / fixed[..., :1], (theta[..., 1:] - fixed[..., 1:]) / fixed[..., :1]), -1)
    found = cut(views, own, views.shape[-1], linear=linear, generator=generator)
    return views + (found - found.detach())


class _Fit(NamedTuple):
    align_corners: bool
    repeat: int
    generator: torch.Generator | None


def _sample(source: torch.Tensor, grid: torch.Tensor, *, align_corners: bool, repeat: int) -> torch.Tensor:
    """Sample (N, C, h, w) at grids (N, h, w, 2); grids of one image are stacked, so it is never copied."""
    n, height, width, _ = grid.shape
    images = len(source)
    tall = grid.view(images, repeat * height, width, 2) if n == images * repeat else grid
    out = functional.grid_sample(source, tall, mode="bilinear", padding_mode="zeros", align_corners=align_corners)
    channels = out.shape[1]
    return out.view(images, channels, repeat, height, width).transpose(1, 2).reshape(n, channels, height, width)


@torch.no_grad()
def _planes(
    source: torch.Tensor, grid: torch.Tensor, value: torch.Tensor, noise: Noise | None, fit: _Fit
) -> torch.Tensor:
    """Return slope in x, slope in y and intercept (3, N, C, px, px) of the plane through value differences."""
    per_image = fit.repeat * grid.shape[1] * grid.shape[2]
    step = max(1, CHUNK_PX // per_image)
    found = []
    for start in range(0, len(source), step):
        views = slice(start * fit.repeat, (start + step) * fit.repeat)
        part = source[start : start + step]
        shape = (grid[views].shape[0], NOISY_GRIDS, *grid.shape[1:])
        draws = _drawn(shape, grid, fit.generator) if noise is None else (noise[0][views], noise[1][views])
        found.append(_plane(part, grid[views], value[views], _moves(draws, part, grid), fit))
    return torch.cat(found, 1)


def _drawn(shape: tuple[int, ...], like: torch.Tensor, generator: torch.Generator | None) -> Noise:
    """Draw where the generator lives, so that a seed means the same on every device."""
    device = like.device if generator is None else generator.device
    first, second = (torch.randn(shape, generator=generator, device=device, dtype=like.dtype) for _ in range(2))
    return first.to(like.device), second.to(like.device)


def _moves(draws: Noise, source: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Scale standard normal draws to distances: half an output pixel's share and two source pixels' of -1..1."""
    out = grid.new_tensor((grid.shape[2], grid.shape[1]))
    seen = grid.new_tensor((source.shape[3], source.shape[2]))
    return draws[0] * (0.5 / out) + draws[1] * (2 / seen)


def _plane(
    source: torch.Tensor, grid: torch.Tensor, value: torch.Tensor, moves: torch.Tensor, fit: _Fit
) -> torch.Tensor:
    """Fit value differences y = A (dx, dy, 1) by least squares at every output pixel."""
    n, grids, height, width, _ = moves.shape
    places = (grid[:, None] + moves).view(n, grids * height, width, 2)
    places = places.view(len(source), -1, width, 2)
    seen = functional.grid_sample(
        source, places, mode="bilinear", padding_mode="zeros", align_corners=fit.align_corners
    )
    channels = seen.shape[1]
    seen = seen.view(len(source), channels, fit.repeat, grids, height, width).permute(0, 2, 3, 1, 4, 5)
    rise = seen.reshape(n, grids, channels, height, width) - value[:, None]
    kept = (moves.abs() <= 1).all(-1, keepdim=True).to(moves.dtype)
    dx, dy = (moves * kept).unbind(-1)
    one = kept[..., 0]
    # normal equations; the true place is none of the 7, so the intercept is free
    left = [part.sum(1) for part in (dx * dx, dx * dy, dx, dy * dy, dy, one)]
    right = [(weight.unsqueeze(2) * rise).sum(1) for weight in (dx, dy, one)]
    return _solved(left, right)


def _solved(left: list[torch.Tensor], right: list[torch.Tensor]) -> torch.Tensor:
    """Solve the symmetric 3x3 systems in closed form; where they have no answer the plane is flat."""
    xx, xy, x, yy, y, n = left
    minors = (
        (yy * n - y * y, y * x - xy * n, xy * y - yy * x),
        (None, xx * n - x * x, xy * x - xx * y),
        (None, None, xx * yy - xy * xy),
    )
    determinant = xx * minors[0][0] + xy * minors[0][1] + x * minors[0][2]
    rows = []
    for i in range(3):
        found = torch.zeros_like(right[0])
        for j in range(3):
            minor = minors[min(i, j)][max(i, j)]
            assert minor is not None
            found += (minor / determinant).unsqueeze(1) * right[j]
        rows.append(found)
    return torch.stack(rows).nan_to_num(0.0, 0.0, 0.0)
