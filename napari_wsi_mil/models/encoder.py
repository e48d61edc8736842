"""The bundled tile encoder `wsi-mini`: a small residual convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_wsi_mil.models.registry import register

if TYPE_CHECKING:
    from collections.abc import Sequence


class ConvNorm(nn.Module):
    """Bias-free convolution followed by batch normalisation; `fuse` folds the two into one."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, n_in, h, w) to (n, n_out, ceil(h / stride), ceil(w / stride))."""
        out: torch.Tensor = self.norm(self.conv(x))
        return out

    def fuse(self) -> None:
        """Fold the normalisation into the convolution; only valid in eval mode, does nothing twice."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, ReLU after the sum."""

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(n_in, n_out, 3, stride=stride)
        self.second = ConvNorm(n_out, n_out, 3)
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if same else ConvNorm(n_in, n_out, 1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, n_in, h, w) to (n, n_out, ceil(h / stride), ceil(w / stride)), values >= 0."""
        return torch.relu(self.shortcut(x) + self.second(torch.relu(self.first(x))))


class MiniEncoder(nn.Module):
    """Encode tissue tiles into non-negative feature rows.

    A plain small residual network of our own sizing, after no paper: stem convolution of `stem_stride`,
    one stage per further width (each halves the side), a 1x1 convolution to `n_features`, ReLU, mean over the field.
    `widths` has one entry more than `depths`; `depths` counts the blocks of each stage. With `stem_stride` 1 tiles of
    half the side meet the same stages as whole ones with 2, so weights of the one serve the other to begin with.
    With `pooling` "max" the greatest value of the field is taken, not the mean: something small is not thinned out.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (24, 48, 96, 192),
        depths: Sequence[int] = (2, 2, 2),
        n_features: int = 512,
        stem_stride: int = 2,
        pooling: Literal["mean", "max"] = "mean",
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "max"):
            message = f"expected pooling mean or max, got {pooling!r}"
            raise ValueError(message)
        self.n_features, self.pooling = n_features, pooling
        self.stem = ConvNorm(3, widths[0], 3, stride=stem_stride)
        blocks = []
        for n_in, n_out, depth in zip(widths[:-1], widths[1:], depths, strict=True):
            blocks.append(ResidualBlock(n_in, n_out, stride=2))
            blocks.extend(ResidualBlock(n_out, n_out, stride=1) for _ in range(depth - 1))
        self.stages = nn.Sequential(*blocks)
        self.project = ConvNorm(widths[-1], n_features, 1)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) float32 RGB tiles, normalised as the card says, to (n, n_features) float32 >= 0."""
        x = tiles.contiguous(memory_format=torch.channels_last)
        x = torch.relu(self.stem(x))
        x = torch.relu(self.project(self.stages(x)))
        return x.float().amax((2, 3)) if self.pooling == "max" else x.float().mean((2, 3))

    def fuse(self) -> MiniEncoder:
        """Fold every batch normalisation and lay weights out channels-last for speed; eval mode only."""
        for part in self.modules():
            if isinstance(part, ConvNorm):
                part.fuse()
        return channels_last(self)


def channels_last(encoder: MiniEncoder) -> MiniEncoder:
    """Lay convolution weights out channels-last in place; about twice as fast on a CPU."""
    for part in encoder.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
    return encoder


@register("mini-encoder")
def build_mini_encoder(**options: object) -> nn.Module:
    """Build a `MiniEncoder` from the options of a card."""
    return MiniEncoder(**options)  # type: ignore[arg-type]
