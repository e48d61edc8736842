"""Softmax with exact zeros: entmax with alpha 1.5 and sparsemax, sorted exactly, with their own gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def entmax15(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Map scores to probabilities, many of them exactly 0: p = max(x / 2 - tau, 0) ** 2, summing to 1 along `dim`.

    Peters, Niculae, Martins, "Sparse Sequence-to-Sequence Models", ACL 2019, with their exact (sorting) algorithm.
    Any floating dtype is kept; entries of -inf get 0, a slice of nothing else gives NaN.
    """
    found: torch.Tensor = _Entmax15.apply(x, dim)  # type: ignore[no-untyped-call]
    return found


def sparsemax(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Map scores to their nearest point of the simplex: p = max(x - tau, 0), summing to 1 along `dim`.

    Martins, Astudillo, "From Softmax to Sparsemax", ICML 2016. Conditions as for `entmax15`.
    """
    found: torch.Tensor = _Sparsemax.apply(x, dim)  # type: ignore[no-untyped-call]
    return found


def support_entmax15(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Return how many entries lie on or above the threshold of `entmax15`, int64, `dim` kept with length 1."""
    return _threshold15(_shifted(x, dim) / 2, dim)[1]


def support_sparsemax(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Return how many entries lie above the threshold of `sparsemax`, int64, `dim` kept with length 1."""
    return _threshold1(_shifted(x, dim), dim)[1]


def _shifted(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Take the maximum off, which changes no probability but keeps the squares below small."""
    return x - x.amax(dim, keepdim=True)


def _threshold15(z: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tau, size of the support) of halved scores."""
    ordered, counts = _ordered(z, dim)
    finite = ordered.clamp_min(_lowest(ordered))
    mean = finite.cumsum(dim) / counts
    squares = (finite * finite).cumsum(dim) / counts
    # sum over the support of (z - tau)^2 = 1, solved for tau at every size of the support
    spread = counts * (squares - mean * mean)
    tau = mean - ((1 - spread) / counts).clamp_min(0).sqrt()
    support = (tau <= ordered).sum(dim, keepdim=True)
    return tau.gather(dim, (support - 1).clamp_min(0)), support


def _threshold1(z: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tau, size of the support) of scores."""
    ordered, counts = _ordered(z, dim)
    tau = (ordered.clamp_min(_lowest(ordered)).cumsum(dim) - 1) / counts
    support = (ordered > tau).sum(dim, keepdim=True)
    return tau.gather(dim, (support - 1).clamp_min(0)), support


def _ordered(z: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores in falling order and their rank from 1, shaped to broadcast."""
    ordered = z.sort(dim=dim, descending=True).values
    shape = [1] * z.dim()
    shape[dim] = z.shape[dim]
    counts = torch.arange(1, z.shape[dim] + 1, dtype=z.dtype, device=z.device)
    return ordered, counts.view(shape)


def _lowest(ordered: torch.Tensor) -> float:
    """Stand in for -inf in sums: far below every threshold, its square far from overflow."""
    return -1e3 if ordered.dtype in (torch.float16, torch.bfloat16) else -1e6


class _Sparse(torch.autograd.Function):
    """Backward pass both share: project the gradient onto the support, weighted by the slope of p there."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        slope, (grad,) = ctx.slope(ctx.saved_tensors[0]), grads
        weighted = grad * slope
        share = weighted.sum(ctx.dim, keepdim=True) / slope.sum(ctx.dim, keepdim=True)
        return weighted - share * slope, None


class _Entmax15(_Sparse):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int) -> torch.Tensor:
        z = _shifted(x, dim) / 2
        tau, _ = _threshold15(z, dim)
        p = (z - tau).clamp_min(0) ** 2
        _keep(ctx, p, dim, torch.sqrt)
        return p


class _Sparsemax(_Sparse):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int) -> torch.Tensor:
        z = _shifted(x, dim)
        tau, _ = _threshold1(z, dim)
        p = (z - tau).clamp_min(0)
        _keep(ctx, p, dim, _ones_where_positive)
        return p


def _keep(ctx: Any, p: torch.Tensor, dim: int, slope: Callable[[torch.Tensor], torch.Tensor]) -> None:
    ctx.save_for_backward(p)
    ctx.dim, ctx.slope = dim, slope


def _ones_where_positive(p: torch.Tensor) -> torch.Tensor:
    return (p > 0).to(p.dtype)
