"""Readings made ready for the networks: smaller, and as density instead of colour."""

from __future__ import annotations

import torch
from torch.nn import functional


def dense(views: torch.Tensor) -> torch.Tensor:
    """Return 1 - views (..., 3, h, w), but 0 where all three are 0: RGB into density, and density back into RGB."""
    there = views.amax(-3, keepdim=True) > 0
    return torch.where(there, 1 - views, views)


def shrunk(views: torch.Tensor, px: int) -> torch.Tensor:
    """Return means over areas (..., 3, px, px) of views (..., 3, h, w)."""
    small = functional.interpolate(views.flatten(0, -4), size=(px, px), mode="area")
    return small.view(*views.shape[:-2], px, px)
