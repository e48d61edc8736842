"""SAM's prompt encoder: points, boxes and masks as tokens and maps (Kirillov et al., Segment Anything, ICCV 2023)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.models.wsi_sam.parts import ChannelNorm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.models.prompted import Prompt


class Asked(NamedTuple):
    """N prompts, encoded."""

    tokens: torch.Tensor
    """(N, T, width); T is 0 for mask prompts alone."""
    dense: torch.Tensor
    """(N, width, g, g), or (1, width, 1, 1) without a mask prompt."""


REACH_PX = 4.0
"""Drawn prompts: how far a click reaches (standard deviation), and half the width of a box's soft edge."""
DRAWN = 8.0
"""Height of what is drawn; as large as logits of a mask."""


class PromptEncoder(nn.Module):
    """Turn prompts in pixels of a square view into tokens; weights are shared by both resolutions.

    Places are sines and cosines of random frequencies, x before y, after 0.5 px were added: pixel centres. Points get
    one more "no point" token if there is no box. `side_px` is the side of the view, `grid` the cells of its embedding;
    a mask prompt has four times as many.

    With `drawn` (ours, not SAM's) box and points are also drawn, as two maps beside the mask: a small model learns
    from pictures of prompts in a fraction of the steps that tokens alone take. Points lie as bumps of 8 and -8, a box
    is 8 inside, -8 outside.
    """

    def __init__(self, *, width: int, side_px: int, grid: int, mask_channels: int = 16, drawn: bool = False) -> None:
        super().__init__()
        self.side_px, self.grid, self.drawn = side_px, grid, drawn
        self.register_buffer("frequencies", torch.randn(2, width // 2))
        self.beside, self.on = _token(width), _token(width)
        self.first_corner, self.last_corner = _token(width), _token(width)
        self.no_point, self.no_mask = _token(width), _token(width)
        nothing = torch.empty(0)
        self._places: tuple[torch.Tensor, int, torch.Tensor] = nothing, 0, nothing
        few = mask_channels // 4
        self.shrink = nn.Sequential(
            nn.Conv2d(3 if drawn else 1, few, 2, 2),
            ChannelNorm(few),
            nn.GELU(),
            nn.Conv2d(few, mask_channels, 2, 2),
            ChannelNorm(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, 1),
        )

    def forward(
        self,
        points_yx: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        boxes: torch.Tensor | None = None,
        masks: torch.Tensor | None = None,
    ) -> Asked:
        """Encode N prompts: points (N, P, 2) with labels (N, P) of 1 and 0, boxes (N, 4) as y0, x0, y1, x1, masks
        (N, 1, 4 grid, 4 grid) logits. Each may be missing; those given have the same N.
        """
        parts = []
        if points_yx is not None and labels is not None and points_yx.shape[1]:
            kinds = torch.stack((self.beside, self.on))[labels.long()]
            parts.append(self.place(points_yx) + kinds)
            if boxes is None:
                parts.append(self.no_point.expand(len(points_yx), 1, -1))
        if boxes is not None:
            corners = self.place(boxes.view(-1, 2, 2))
            parts.append(corners + torch.stack((self.first_corner, self.last_corner)))
        dense = self._dense(masks, self._drawings(points_yx, labels, boxes) if self.drawn else [])
        tokens = torch.cat(parts, 1) if parts else dense.new_zeros(len(dense), 0, dense.shape[1])
        return Asked(tokens, dense)

    def _dense(self, masks: torch.Tensor | None, drawings: list[torch.Tensor | None]) -> torch.Tensor:
        """Return the map of a mask prompt, and of what is drawn beside it."""
        nothing = self.no_mask[None, :, None, None]
        there = [drawing for drawing in (masks, *drawings) if drawing is not None]
        if not there:
            return nothing
        wanted = 4 * self.grid
        if masks is not None and masks.shape[-2:] != (wanted, wanted):
            message = (
                f"mask prompt: expected logits of {wanted} x {wanted}, got {tuple(masks.shape[-2:])}; give the `raw` "
                "of an answer of the same model"
            )
            raise BadRequest(message)
        blank = torch.zeros_like(there[0])
        out: torch.Tensor = self.shrink(torch.cat([blank if d is None else d for d in (masks, *drawings)], 1))
        return out if masks is not None else out + nothing

    def _drawings(
        self, points_yx: torch.Tensor | None, labels: torch.Tensor | None, boxes: torch.Tensor | None
    ) -> list[torch.Tensor | None]:
        """Return points and boxes as maps (N, 1, 4 grid, 4 grid) within -8..8; None for what is missing."""
        cells = 4 * self.grid
        line = (torch.arange(cells, device=self.no_mask.device) + 0.5) * self.side_px / cells - 0.5
        bumps = frame = None
        if points_yx is not None and labels is not None and points_yx.shape[1]:
            near = torch.exp(-0.5 * ((line[:, None, None, None] - points_yx) / REACH_PX).square())  # (cells, N, P, 2)
            each = torch.einsum("inp,jnp->nijp", near[..., 0], near[..., 1])
            bumps = (each * (2.0 * labels - 1)[:, None, None]).sum(-1).clamp(-1, 1)[:, None] * DRAWN
        if boxes is not None:
            inside = torch.minimum(line - boxes[:, :2, None], boxes[:, 2:, None] - line) / REACH_PX  # (N, 2, cells)
            frame = torch.minimum(inside[:, 0, :, None], inside[:, 1, None, :]).clamp(-1, 1)[:, None] * DRAWN
        return [bumps, frame]

    def place(self, yx: torch.Tensor) -> torch.Tensor:
        """Return positional encodings (..., width) of pixels (..., 2)."""
        return self._waves((yx + 0.5) / self.side_px)

    def grid_places(self) -> torch.Tensor:
        """Return the positional encodings (1, width, grid, grid) of the embedding's cells, at their centres.

        They are kept until the frequencies are others.
        """
        frequencies = self.get_buffer("frequencies")
        of, version, places = self._places
        if of is not frequencies or version != frequencies._version:
            with torch.inference_mode(mode=False):  # training may use it too
                places = self._grid_places(frequencies)
            self._places = frequencies, frequencies._version, places
        return places

    def _grid_places(self, frequencies: torch.Tensor) -> torch.Tensor:
        line = (torch.arange(self.grid, device=frequencies.device, dtype=frequencies.dtype) + 0.5) / self.grid
        yx = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
        return self._waves(yx).permute(2, 0, 1)[None]

    def _waves(self, yx: torch.Tensor) -> torch.Tensor:
        """Encode shares of the side, 0..1."""
        angle = 2 * math.pi * ((2 * yx.flip(-1) - 1) @ self.get_buffer("frequencies"))
        return torch.cat((angle.sin(), angle.cos()), -1)


def _token(width: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(width))


def stacked(prompts: Sequence[Prompt], *, device: torch.device) -> dict[str, torch.Tensor | None]:
    """Return prompts of one shape as keywords of `PromptEncoder.forward`."""

    def stack(parts: list[np.ndarray | None]) -> torch.Tensor | None:
        there = [part for part in parts if part is not None]
        return torch.from_numpy(np.stack(there)).to(device) if there else None

    masks = stack([prompt.mask for prompt in prompts])
    return {
        "points_yx": stack([prompt.points_yx for prompt in prompts]),
        "labels": stack([prompt.labels for prompt in prompts]),
        "boxes": stack([prompt.box for prompt in prompts]),
        "masks": None if masks is None else masks[:, None],
    }
