"""TinyViT as MobileSAM's image encoder, with the early map WSI-SAM takes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.encoder import ConvNorm
from napari_wsi_mil.models.wsi_sam.parts import ChannelNorm

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPAND = 4
"""Widening inside convolution blocks and perceptrons."""


class Seen(NamedTuple):
    """What the image encoder makes of pictures, g cells of `stride` px to a side."""

    embedding: torch.Tensor
    """(B, width, g, g)."""
    early: torch.Tensor
    """(B, early channels, g, g): the map after the second stage."""


class Conv(ConvNorm):
    """Convolution and batch normalisation; with `each` every channel by itself."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, each: bool = False) -> None:
        super().__init__(n_in, n_out, kernel, stride=stride)
        if each:
            self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=n_out, bias=False)


class Widened(nn.Module):
    """1x1 to more channels, 3x3 on each of them, 1x1 back; GELU after the first two, and after the shortcut if any."""

    def __init__(self, n_in: int, between: int, n_out: int, *, stride: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.widen = Conv(n_in, between, 1)
        self.mix = Conv(between, between, 3, stride=stride, each=True)
        self.narrow = Conv(between, n_out, 1)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, n_in, h, w) to (n, n_out, ceil(h / stride), ceil(w / stride))."""
        out: torch.Tensor = self.narrow(functional.gelu(self.mix(functional.gelu(self.widen(x)))))
        return functional.gelu(out + x) if self.shortcut else out


class WindowAttention(nn.Module):
    """Self-attention among the tokens of a window, with a learned bias for each |dy|, |dx|."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        if width % heads:
            message = f"width {width} must be divisible by heads {heads}"
            raise ValueError(message)
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, window * window))
        y, x = torch.arange(window * window) // window, torch.arange(window * window) % window
        distance = (y[:, None] - y).abs() * window + (x[:, None] - x).abs()
        self.register_buffer("distance", distance, persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map (windows, window ** 2, width), tokens row by row, to the same shape."""
        n, length, width = tokens.shape
        # Channels of qkv are ordered head by head, inside a head query, key, value.
        qkv = self.qkv(self.norm(tokens)).view(n, length, self.heads, 3, -1).permute(3, 0, 2, 1, 4)
        bias = self.bias[:, self.get_buffer("distance")][None]  # with four axes torch takes its fast way
        found = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=bias)
        out: torch.Tensor = self.out(found.transpose(1, 2).reshape(n, length, width))
        return out


class Perceptron(nn.Module):
    """Normalisation, linear layer to more channels, GELU, linear layer back."""

    def __init__(self, width: int, *, expand: int = EXPAND) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expand * width)
        self.narrow = nn.Linear(expand * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to the same shape."""
        out: torch.Tensor = self.narrow(functional.gelu(self.widen(self.norm(x))))
        return out


class WindowBlock(nn.Module):
    """Attention inside windows, a 3x3 convolution of each channel, a perceptron; the first and last with shortcuts."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attend = WindowAttention(width, heads, window)
        self.local = Conv(width, width, 3, each=True)
        self.mlp = Perceptron(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, h, w, width) to the same shape."""
        x = x + self._attended(x)
        x = self.local(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: torch.Tensor = x + self.mlp(x)
        return out

    def _attended(self, x: torch.Tensor) -> torch.Tensor:
        n, h, w, width = x.shape
        side = self.window
        # Zeros are put around before the normalisation and take part as keys: weights were trained that way.
        x = functional.pad(x, (0, 0, 0, -w % side, 0, -h % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.view(n, rows, side, columns, side, width).transpose(2, 3).reshape(-1, side * side, width)
        out: torch.Tensor = self.attend(windows).view(n, rows, columns, side, side, width).transpose(2, 3)
        return out.reshape(n, rows * side, columns * side, width)[:, :h, :w]


class ConvStage(nn.Module):
    """First stage: convolution blocks at a quarter of the side, then `merge` to the next width."""

    def __init__(self, width: int, next_width: int, *, depth: int, stride: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Widened(width, EXPAND * width, width, shortcut=True) for _ in range(depth)))
        self.merge = Widened(width, next_width, next_width, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, width, h, w) to (n, next_width, h / stride, w / stride)."""
        out: torch.Tensor = self.merge(self.blocks(x))
        return out


class WindowStage(nn.Module):
    """Window blocks, then `merge` to the next width; the last stage has none."""

    def __init__(self, width: int, next_width: int, *, depth: int, heads: int, window: int, stride: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(WindowBlock(width, heads, window) for _ in range(depth)))
        self.merge = Widened(width, next_width, next_width, stride=stride) if next_width else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, width, h, w) to (n, next_width or width, h / stride, w / stride)."""
        out: torch.Tensor = self.merge(self.blocks(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return out


class TinyVit(nn.Module):
    """Image encoder of one convolution stage and three of attention inside windows (Wu et al., TinyViT, ECCV 2022).

    Sizes default to those of MobileSAM (arXiv 2306.14289), whose third merge keeps the side. The neck brings the last
    stage to `n_out` channels. `strides` are those of the three merges; maps of stages two and four must have one side.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (2, 4, 5, 10),
        windows: Sequence[int] = (7, 7, 14, 7),
        strides: Sequence[int] = (2, 2, 1),
        n_out: int = 256,
    ) -> None:
        super().__init__()
        if {len(widths), len(depths), len(heads), len(windows), len(strides) + 1} != {4} or strides[2] != 1:
            message = f"expected four stages and strides (a, b, 1), got widths {widths} and strides {strides}"
            raise ValueError(message)
        self.stride = 4 * strides[0] * strides[1]
        self.early_channels = widths[2]
        self.stem = nn.Sequential(
            Conv(3, widths[0] // 2, 3, stride=2), nn.GELU(), Conv(widths[0] // 2, widths[0], 3, stride=2)
        )
        stages: list[nn.Module] = [ConvStage(widths[0], widths[1], depth=depths[0], stride=strides[0])]
        for i in (1, 2, 3):
            after, stride = (widths[i + 1], strides[i]) if i < 3 else (0, 1)
            stages.append(
                WindowStage(widths[i], after, depth=depths[i], heads=heads[i], window=windows[i], stride=stride)
            )
        self.stages = nn.ModuleList(stages)
        self.neck = nn.Sequential(
            nn.Conv2d(widths[3], n_out, 1, bias=False),
            ChannelNorm(n_out),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            ChannelNorm(n_out),
        )

    def forward(self, pixels: torch.Tensor) -> Seen:
        """Encode normalised pictures (B, 3, side, side); side a multiple of `stride`."""
        x = self.stem(pixels)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Seen(self.neck(x), maps[1])

    def fuse(self) -> None:
        """Fold every batch normalisation into its convolution; eval mode only."""
        for part in self.modules():
            if isinstance(part, ConvNorm):
                part.fuse()
