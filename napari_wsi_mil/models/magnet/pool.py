"""3 x 3 maximum with stride 1, several times faster on a CPU than torch's, with the same gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Maximum3(nn.Module):
    """Maximum over 3 x 3 cells around every cell of (n, C, h, w); what lies outside does not count.

    Equal to `nn.MaxPool2d(3, 1, 1)` in value and gradient: of equal cells the first in row order gets it. Rows and
    columns are taken one after the other, which needs 4 comparisons per cell instead of 9, in vectors.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, C, h, w) to (n, C, h, w)."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            return _along(_along(x, -1)[0], -2)[0]
        out: torch.Tensor = _Both.apply(x)  # type: ignore[no-untyped-call]
        return out


class _Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        rows, *of_columns = _along(x, -1, masks=True)
        out, *of_rows = _along(rows, -2, masks=True)
        ctx.save_for_backward(*of_columns, *of_rows)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        first, second, third, fourth = ctx.saved_tensors
        return _spread(_spread(grads[0], first=third, second=fourth, dim=-2), first=first, second=second, dim=-1)


def _along(x: torch.Tensor, dim: int, *, masks: bool = False) -> list[torch.Tensor]:
    """Return the maximum of each cell and its two neighbours along an axis, and if wanted who won.

    The masks tell whether the cell before is no smaller than the cell, and whether the larger of them is no smaller
    than the cell after.
    """
    before, after = (1, 0), (0, 1)
    rest = (0, 0) if dim == -2 else ()
    size = x.shape[dim]
    left = functional.pad(x, (*rest, *before), value=-torch.inf).narrow(dim, 0, size)
    right = functional.pad(x, (*rest, *after), value=-torch.inf).narrow(dim, 1, size)
    two = torch.maximum(left, x)
    out = torch.maximum(two, right)
    return [out, left >= x, two >= right] if masks else [out]


def _spread(grad: torch.Tensor, *, first: torch.Tensor, second: torch.Tensor, dim: int) -> torch.Tensor:
    """Send the gradient of each maximum to the cell that won it."""
    size = grad.shape[dim]
    out = grad * (second & ~first)
    out.narrow(dim, 0, size - 1).add_((grad * (second & first)).narrow(dim, 1, size - 1))
    out.narrow(dim, 1, size - 1).add_((grad * ~second).narrow(dim, 0, size - 1))
    return out
