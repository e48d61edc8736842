"""Small layers that the image encoder, the prompts and the mask decoder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

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
        centred = x - x.mean(1, keepdim=True)
        scaled = centred * (centred.square().mean(1, keepdim=True) + 1e-6).rsqrt()
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers from each width to the next, ReLU between them."""
    steps: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        steps += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


def enlarge(n_in: int, between: int, n_out: int) -> nn.Sequential:
    """Return two transposed convolutions that make a map four times as wide, normalised and GELU between them."""
    return nn.Sequential(
        nn.ConvTranspose2d(n_in, between, 2, 2),
        ChannelNorm(between),
        nn.GELU(),
        nn.ConvTranspose2d(between, n_out, 2, 2),
    )
