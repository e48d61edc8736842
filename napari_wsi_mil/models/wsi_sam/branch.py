"""What WSI-SAM adds to SAM for one resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.wsi_sam.decoder import overlaid
from napari_wsi_mil.models.wsi_sam.parts import ChannelNorm, enlarge, perceptron

if TYPE_CHECKING:
    from napari_wsi_mil.models.wsi_sam.decoder import Decoded
    from napari_wsi_mil.models.wsi_sam.tiny_vit import Seen


class Half(NamedTuple):
    """One resolution's part of the answer to N prompts."""

    kernel: torch.Tensor
    """(N, 1, width / 8): what the added token became."""
    fused: torch.Tensor | None
    """(N, width / 8, 4 g, 4 g): the fusion module's map; None where it was not asked for."""
    sam: Decoded
    """SAM's own answer, with the added token present."""


class Branch(nn.Module):
    """Added token, its perceptron, and the fusion module (section 2.2 of the paper; 25 tensors).

    The fusion module adds up maps of three depths of one resolution: the early and the final one of the image encoder,
    both enlarged four times, and the one SAM lays its kernels over.
    """

    def __init__(self, *, width: int, early_channels: int) -> None:
        super().__init__()
        thin = width // 8
        self.token = nn.Parameter(torch.randn(1, width))
        self.kernel = perceptron((width, width, width, thin))
        self.early = enlarge(early_channels, width, thin)
        self.late = enlarge(width, width // 4, thin)
        self.refine = nn.Sequential(
            nn.Conv2d(thin, width // 4, 3, padding=1),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.Conv2d(width // 4, thin, 3, padding=1),
        )

    def forward(self, seen: Seen, sam: Decoded, *, fuse: bool = True) -> Half:
        """Add to SAM's answer of N prompts over pictures (N or 1); `fuse` False leaves the map out."""
        kernel = self.kernel(sam.extra)
        fused = self.refine(sam.feature) + self.still(seen) if fuse else None
        return Half(kernel, fused, sam)

    def still(self, seen: Seen) -> torch.Tensor:
        """Return that part of the fusion module's map (B, width / 8, 4 g, 4 g) which no prompt changes."""
        out: torch.Tensor = self.late(seen.embedding) + self.early(seen.early)
        return out

    def laid(self, kernel: torch.Tensor, still: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        """Return the masks (N, 1, 4 g, 4 g) of kernels (N, 1, width / 8) over fused maps that are not made themselves.

        `still` (1, ...) and SAM's `feature` (N, ...) are maps of width / 8 channels. Kernel and last convolution
        become one of a single channel: at each place nine products, each then added where it belongs.
        """
        last: Any = self.refine[-1]
        x = self.refine[:-1](feature)
        n, _, h, w = x.shape
        weight = torch.einsum("no,ocij->nijc", kernel[:, 0], last.weight.flip(2, 3)).flatten(1, 2)
        moved = functional.fold(weight @ x.flatten(2), (h, w), 3, padding=1)
        shift: torch.Tensor = kernel[:, 0] @ last.bias
        return overlaid(kernel, still) + moved + shift.view(n, 1, 1, 1)
