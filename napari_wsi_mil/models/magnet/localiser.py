"""Localisation nets: from a view of 56 px to where to look inside it, and how closely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_wsi_mil.models.magnet.entmax import entmax15, sparsemax
from napari_wsi_mil.models.magnet.pool import Maximum3

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.models.magnet.plan import ZoomPlan

Rules = Literal["appendix", "text", "text-mean", "mean"]
SPARSE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"entmax15": entmax15, "sparsemax": sparsemax}


class Located(NamedTuple):
    """What localisation nets answer."""

    theta: torch.Tensor
    """(..., 3): scale and translation (s, t_y, t_x) of the view cut out, in -1..1 of the view looked at."""
    raw_scale: torch.Tensor
    """(...): expected distance of the map's mass from its centre, before the bounds."""


class Conv(nn.Module):
    """Bias-free convolution, batch normalisation, ReLU, for several nets side by side in groups of channels."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, nets: int) -> None:
        super().__init__()
        self.nets, self.pointwise = nets, kernel == 1
        self.conv = nn.Conv2d(nets * n_in, nets * n_out, kernel, padding=kernel // 2, groups=nets, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(nets * n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, nets * n_in, h, w) to (n, nets * n_out, h, w), values >= 0."""
        out: torch.Tensor = self.norm(self._mixed(x) if self.pointwise else self.conv(x))
        return out.relu_()

    def _mixed(self, x: torch.Tensor) -> torch.Tensor:
        """Compute a 1x1 convolution in groups as matrix products: up to twice as fast as torch's on a CPU."""
        weight = self.conv.weight.view(self.nets, -1, self.conv.weight.shape[1])
        out = torch.matmul(weight, x.reshape(len(x), self.nets, weight.shape[2], -1)).view(len(x), -1, *x.shape[2:])
        return out if self.conv.bias is None else out + self.conv.bias[:, None, None]

    def fuse(self) -> None:
        """Fold the normalisation into the convolution; only valid in eval mode, does nothing twice."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Branch(nn.Module):
    """Five paths of convolutions side by side, their channels one after the other (figure A1).

    1x1; 1x1, 3x3; 1x1, 3x3, 3x3; 3x3 maximum, 1x1; 1x1, 3x3, 3x3, 3x3, in the order of the listing. The first 1x1 of
    the paths with 3x3 is narrower, int(0.75 width) channels but at least one.
    """

    def __init__(self, n_in: int, width: int, *, nets: int = 1) -> None:
        super().__init__()
        narrow = max(int(0.75 * width), 1)

        def path(length: int) -> nn.Sequential:
            steps = [Conv(narrow if i == 0 else width, width, 3, nets=nets) for i in range(length)]
            return nn.Sequential(Conv(n_in, narrow, 1, nets=nets), *steps)

        self.nets = nets
        self.one = Conv(n_in, width, 1, nets=nets)
        self.two, self.three = path(1), path(2)
        self.pooled = nn.Sequential(Maximum3(), Conv(n_in, width, 1, nets=nets))
        self.four = path(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, nets * n_in, h, w) to (n, nets * 5 * width, h, w), values >= 0."""
        paths = (self.one, self.two, self.three, self.pooled, self.four)
        found = [path(x).unflatten(1, (self.nets, -1)) for path in paths]
        return torch.cat(found, 2).flatten(1, 2)


class Localiser(nn.Module):
    """Localisation nets of the paper's appendix: three branches and a 1x1 convolution to one map (figures A1, A2).

    `nets` of them, none sharing a weight with another, run as one network of grouped convolutions: the same numbers as
    one after the other, in a fraction of the time. One net has 4,482 parameters. The listing omits the calls of three
    paths and leaves a normalisation switch of the last convolution unused: paths are chained as the text says, and
    the last convolution has normalisation and ReLU like all others.
    """

    def __init__(self, nets: int = 1) -> None:
        super().__init__()
        self.nets = nets
        self.branches = nn.Sequential(
            Branch(3, 3, nets=nets), Branch(15, 8, nets=nets), Branch(40, 1, nets=nets), Conv(5, 1, 1, nets=nets)
        )

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Map views (n, nets, 3, h, w), values 0..1, one per net, to maps (n, nets, h, w) >= 0."""
        maps: torch.Tensor = self.branches(views.flatten(1, 2))
        return maps

    def fuse(self) -> None:
        """Fold every batch normalisation into its convolution; eval mode only."""
        for part in self.modules():
            if isinstance(part, Conv):
                part.fuse()


def sparse_map(maps: torch.Tensor, sparse: str = "entmax15") -> torch.Tensor:
    """Turn maps (..., h, w) into probabilities of the same shape, summing to 1 over h and w, many exactly 0."""
    return SPARSE[sparse](maps.flatten(-2)).view_as(maps)


def locate(p: torch.Tensor, *, rules: Rules = "appendix", min_scale: float = 0.05) -> Located:
    """Turn probability maps (..., h, w) into scale and translation.

    g runs from -1 to 1 over the cells of an axis, corner-aligned. "appendix" (figure A2, the listing): t is the sum of
    tanh(marginal of p) * g; s the expected L1 distance from t, at most 1 - max|t| so that the view stays inside, then
    in `min_scale`..1. "text" (section 3): t = tanh(mean of g under p), s the expected L1 distance from t, at least
    `min_scale`, so a view can reach beyond the border. The text does not say what the distance is from; "text-mean"
    measures from the mean before its tanh instead. "mean" (ours): the listing without tanh. The tanh draws a map with
    one sure cell towards the middle, by a quarter of its distance, and widens its view by as much.
    """
    columns, rows = p.sum(-2), p.sum(-1)
    x, y = _line(columns), _line(rows)
    if rules == "appendix":
        t_x, t_y = (columns.tanh() * x).sum(-1), (rows.tanh() * y).sum(-1)
    elif rules == "mean":
        t_x, t_y = (columns * x).sum(-1), (rows * y).sum(-1)
    else:
        mean_x, mean_y = (columns * x).sum(-1), (rows * y).sum(-1)
        t_x, t_y = mean_x.tanh(), mean_y.tanh()
    from_x, from_y = (mean_x, mean_y) if rules == "text-mean" else (t_x, t_y)
    raw = (columns * (x - from_x[..., None]).abs()).sum(-1) + (rows * (y - from_y[..., None]).abs()).sum(-1)
    if rules in ("appendix", "mean"):
        inside = 1 - torch.maximum(t_x.abs(), t_y.abs())
        scale = torch.minimum(raw, inside).clamp(min_scale, 1)
    else:
        scale = raw.clamp_min(min_scale)
    return Located(torch.stack((scale, t_y, t_x), -1), raw)


def keep_apart(scores: torch.Tensor, plan: ZoomPlan, depth: int) -> torch.Tensor:
    """Return scores (B, K, P, h, w) of P nets that look at one view, each 0 where views of the nets before it lie."""
    kept, free = [scores[:, :, 0]], torch.ones_like(scores[:, :, 0])
    rows, columns = (torch.linspace(-1, 1, side, device=scores.device) for side in scores.shape[-2:])
    for k in range(1, scores.shape[2]):
        with torch.no_grad():
            p = sparse_map(kept[-1], plan.sparse)
            s, y, x = locate(p, rules=plan.rules, min_scale=plan.floor(depth)).theta.unbind(-1)
            beside = (columns - x[..., None]).abs() > s[..., None]
            free = free * ((rows - y[..., None]).abs() > s[..., None])[..., None].logical_or(beside[:, :, None])
        kept.append(scores[:, :, k] * free)
    return torch.stack(kept, 2)


def _line(marginal: torch.Tensor) -> torch.Tensor:
    return torch.linspace(-1, 1, marginal.shape[-1], dtype=marginal.dtype, device=marginal.device)
