"""Small layers that the image encoder, the prompts and the mask decoder share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, eps 1e-6, as the SAM family normalises maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, channels, h, w) to the same shape."""
        pixels = x.permute(0, 2, 3, 1)
        return normed(pixels, self).permute(0, 3, 1, 2)


def normed(pixels: torch.Tensor, norm: ChannelNorm) -> torch.Tensor:
    """Return `norm` of (..., channels): the same with the channels last, where they lie in memory as they are read."""
    return functional.layer_norm(pixels, norm.weight.shape, norm.weight, norm.bias, 1e-6)


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers from each width to the next, ReLU between them."""
    steps: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        steps += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


class Enlarge(nn.Sequential):
    """Two transposed convolutions that make a map four times as wide, normalised and GELU between them.

    As neither overlaps itself, each is one product of matrices per cell; cells are put in their places at the end.
    """

    def __init__(self, n_in: int, between: int, n_out: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(n_in, between, 2, 2),
            ChannelNorm(between),
            nn.GELU(),
            nn.ConvTranspose2d(between, n_out, 2, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, n_in, h, w) to (n, n_out, 4 h, 4 w)."""
        return self.of_cells(x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3]))

    def of_cells(self, cells: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Map (n, h * w, n_in), cells of the `grid` row by row, to (n, n_out, 4 h, 4 w)."""
        first, norm, act, last = cast("tuple[Any, ChannelNorm, nn.GELU, Any]", tuple(self))
        inner: torch.Tensor = act(normed(_doubled(cells, first), norm))
        fine = _doubled(inner, last).view(len(cells), *grid, 2, 2, 2, 2, -1)
        rows = fine.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(1, 3)
        return rows.permute(0, 3, 1, 2)


def enlarge(n_in: int, between: int, n_out: int) -> Enlarge:
    """Return an `Enlarge` of these channels."""
    return Enlarge(n_in, between, n_out)


def _doubled(cells: torch.Tensor, step: Any) -> torch.Tensor:
    """Return the four cells (..., 4, n_out), row by row, that a transposed convolution makes of each of (..., n_in)."""
    flat = step.weight.permute(0, 2, 3, 1).flatten(1)
    return torch.unflatten(functional.linear(cells, flat.T, step.bias.repeat(4)), -1, (4, -1))
