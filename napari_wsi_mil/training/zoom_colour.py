"""What a localisation net starts from, ours: the colour that tells the guide's tiles from the rest of a view.

Four thousand weights behind narrow ReLU layers find a few dark cells among thousands badly from a random start. A
logistic regression on colour finds them at once; it is written into some channels of the net, the others stay random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.magnet.localiser import Conv, locate, sparse_map

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.models.magnet.localiser import Branch, Localiser
    from napari_wsi_mil.models.magnet.plan import ZoomPlan

    Floats = npt.NDArray[np.float64]
    Wanted = dict[Conv, dict[int, float]]
    """Convolution -> channel -> what to add to it after normalisation has been undone."""


class Crops(NamedTuple):
    """A batch of views with what the guide says of them."""

    rgb: torch.Tensor
    """(n, 3, h, w) float32 0..1."""
    cover: torch.Tensor
    """(n, h, w) 1 where a tile of the guide lies, else 0."""
    density: bool = False
    """Whether `rgb` is density, 0 for glass: then cells that are glass in part are no darker than others."""


DARK = 0.12
"""Mean of red, green and blue below which a pixel counts as glass made black, or in part so."""
BORDER = 2000.0
"""What a cell beside glass loses: half-black pixels look as dark as tumour does."""
TRIED = 32
"""Crops with a guide that gain and blur are chosen on."""
COST = 0.7
"""What being off the scale asked for by a factor e costs, in shares of the guide's tiles."""
GAINS = (0.8, 1.5, 3.0, 5.0)
BLURS = (0.0, 0.5, 1.0)
"""Share of the score that is the mean over 7 x 7 cells."""


def colour_weights(crops: Crops) -> Floats:
    """Return six weights: of red, green and blue of a cell, then of their means over 3 x 3 cells.

    Logistic regression of whether the guide's tiles cover a cell, within views: what all cells of a view share, such
    as its stain, is taken off first. Both kinds of cells weigh the same. The score has a standard deviation of 1.
    """
    near = functional.avg_pool2d(crops.rgb, 3, 1, 1)
    inner = _inner(crops)
    values = torch.cat((crops.rgb, near), 1)
    count = inner.sum((1, 2)).clamp_min(1)[:, None, None, None]
    mean = (values * inner[:, None]).sum((2, 3), keepdim=True) / count
    rows = (values - mean).permute(0, 2, 3, 1)[inner].double().numpy()
    covered = crops.cover[inner].numpy() > 0
    spread = rows.std(0)
    fit = LogisticRegression(C=0.1, class_weight="balanced", max_iter=300).fit(rows / spread, covered)
    weights = fit.coef_[0] / spread
    return np.asarray(weights / max(float((rows @ weights).std()), 1e-9))


def _inner(crops: Crops) -> torch.Tensor:
    """Return (n, h, w) whether a cell shows tissue and, of colours, whether all around it do, too."""
    tissue = (crops.rgb.amax(1, keepdim=True) > 0).float()
    return (tissue if crops.density else functional.avg_pool2d(tissue, 3, 1, 1))[:, 0] > 0.99


@torch.no_grad()
def start_from_colour(
    net: Localiser, crops: Crops, weights: Floats, plan: ZoomPlan, wanted: float
) -> tuple[float, float]:
    """Write colour weights into a net of its own and choose how peaked its maps are; return gain and blur.

    Of all gains and blurs the one whose views hold most of the guide's tiles at about the scale `wanted`.
    """
    some = (crops.cover.sum((1, 2)) > 0).nonzero()[:TRIED, 0]
    tried = Crops(crops.rgb[some], crops.cover[some], crops.density)
    best, chosen, kept = -float("inf"), (GAINS[0], BLURS[0]), _written(net, tried, weights)
    for gain in GAINS:
        for blur in BLURS:
            _settle(net, tried, kept, gain=gain, blur=blur)
            scores = net.eval()(tried.rgb[:, None])[:, 0]
            theta = locate(sparse_map(scores, plan.sparse), rules=plan.rules, min_scale=plan.min_scale).theta
            off = (theta[:, 0] / wanted).log().abs()
            value = float((held(theta, tried.cover) - COST * off).mean())
            if value > best:
                best, chosen = value, (gain, blur)
    _settle(net, tried, kept, gain=chosen[0], blur=chosen[1])
    net.train()
    return chosen


def held(theta: torch.Tensor, cover: torch.Tensor) -> torch.Tensor:
    """Return (n,) the share of covered cells (n, h, w) inside the views theta (n, 3)."""
    line = torch.linspace(-1, 1, cover.shape[-1])
    rows, columns = ((line - theta[:, i, None]).abs() <= theta[:, :1] for i in (1, 2))
    inside = rows[:, :, None] & columns[:, None, :]
    return (cover * inside).sum((1, 2)) / cover.sum((1, 2)).clamp_min(1)


def _written(net: Localiser, crops: Crops, weights: Floats) -> Wanted:
    """Write the channels that carry colour to the last branch; return what normalisation must leave them."""
    first, second, third = (cast("Branch", net.branches[i]) for i in range(3))
    (narrow, near), (narrow2, near2) = (cast("tuple[Conv, Conv]", tuple(part.two)) for part in (first, second))
    four = cast("tuple[Conv, ...]", tuple(third.four))
    wanted: Wanted = {}

    def put(conv: Conv, channel: int, sources: dict[int, float], bias: float = 0.0) -> None:
        kernel = conv.conv.weight
        kernel[channel] = 0
        for source, value in sources.items():
            kernel[channel, source] = value / (kernel.shape[-1] ** 2)
        wanted.setdefault(conv, {})[channel] = bias

    for c in range(3):
        put(first.one, c, {c: 1.0})
        put(second.one, c, {c: 1.0})
        put(narrow2, c, {c: 1.0})
        put(near2, c, {c: 1.0})
    put(narrow, 0, dict.fromkeys(range(3), -1 / 3), DARK)
    put(near, 0, {0: 1.0})  # the fourth channel of the branch: how much glass is near
    put(second.one, 3, {3: 1.0})
    sources = (
        {c: float(weights[c]) for c in range(3)}
        | {8 + c: float(weights[3 + c]) for c in range(3)}
        | {3: 0.0 if crops.density else -BORDER}
    )
    inner = _inner(crops)
    around = functional.avg_pool2d(crops.rgb, 3, 1, 1)
    values = (torch.cat((crops.rgb, around), 1) * torch.tensor(weights).float().view(1, 6, 1, 1)).sum(1)[inner]
    least = float(values.min()) if len(values) else 0.0
    put(third.one, 0, sources, -least)
    put(four[0], 0, sources, -least)
    for conv in four[1:]:
        put(conv, 0, {0: 1.0})
    return wanted


def _settle(net: Localiser, crops: Crops, wanted: Wanted, *, gain: float, blur: float) -> None:
    """Set all normalisations to what crops show: as usual, but undone where a channel carries colour."""
    last = net.branches[-1]
    assert isinstance(last, Conv)
    share = torch.tensor([1 - blur, 0.01, 0.01, 0.01, blur])
    last.conv.weight.copy_(share.view(1, 5, 1, 1))

    def before(part: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(part, Conv)
        assert isinstance(part.norm, nn.BatchNorm2d)
        norm, made = part.norm, part.conv(given[0])
        mean, variance = made.mean((0, 2, 3)), made.var((0, 2, 3), unbiased=False)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        for channel, bias in wanted.get(part, {}).items():
            norm.weight[channel] = (variance[channel] + norm.eps).sqrt()
            norm.bias[channel] = mean[channel] + bias
        if part is last:
            norm.weight[0] = gain * (variance[0] + norm.eps).sqrt()
            norm.bias[0] = gain * mean[0]

    hooks = [part.register_forward_pre_hook(before) for part in net.modules() if isinstance(part, Conv)]
    net.eval()(crops.rgb[:, None])
    for hook in hooks:
        hook.remove()
