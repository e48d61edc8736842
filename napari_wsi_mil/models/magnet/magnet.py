"""MagNet: find where to magnify, layer by layer, and classify the slide by what was found there."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.magnet.localiser import Localiser, keep_apart, locate, sparse_map
from napari_wsi_mil.models.magnet.plan import ZoomPlan
from napari_wsi_mil.models.magnet.sampler import cut, moved
from napari_wsi_mil.models.magnet.shown import dense, shrunk
from napari_wsi_mil.models.registry import build, register

AUXILIARY: Mapping[str, object] = {"widths": (16, 32, 64), "depths": (1, 1), "n_features": 128}
"""Options of the own small network that stands in for the paper's ResNet-18 in the auxiliary classifiers."""


class Rois(NamedTuple):
    """Square regions of the root frame, K per slide."""

    centre: torch.Tensor
    """(B, K, 2) y, x in -1..1 of the root frame."""
    scale: torch.Tensor
    """(B, K): side over the root's side."""


Read = Callable[[Rois, int], torch.Tensor]
"""Read regions at a side in px: (rois, px) -> (B, K, 3, px, px) float32 0..1, glass black, without gradient."""


class Walk(NamedTuple):
    """One way through a batch of slides; views of one depth lie in the order of `ZoomPlan.names`."""

    rois: tuple[Rois, ...]
    """Per depth 0..L. Composed from `theta`, with its gradients."""
    theta: tuple[torch.Tensor, ...]
    """Per depth 1..L (B, K, 3): s, t_y, t_x of a view in its parent's -1..1; 1, 0, 0 for frozen patches."""
    maps: tuple[torch.Tensor, ...]
    """Per depth 1..L (B, K, 56, 56): where the nets looked, as probabilities; uniform for frozen patches."""
    scores: tuple[torch.Tensor, ...]
    """Per depth 1..L (B, K, 56, 56) >= 0: the nets' maps before they were made sparse; 0 for frozen patches, which
    have no net. A net that answers 0 everywhere looks at its whole view, too."""
    views: tuple[torch.Tensor, ...]
    """Per depth 0..L (B, K, 3, px, px) 0..1: what the localisation nets, and at the end the classifier, saw, as RGB."""
    inputs: tuple[torch.Tensor, ...]
    """Per depth 0..L-1 (B, K, 3, 56, 56) 0..1: exactly what the localisation nets took; `views` unless `density`."""


class MagNet(nn.Module):
    """Trainable zoom into a slide and classifier of the final views.

    Dimitriou, Arandjelovic, Harrison, "Magnifying Networks for Histopathological Images with Billions of Pixels",
    Diagnostics 2024, 14, 524. A tree of views: each is cut out of its parent by its own localisation net (section 3
    and appendix A, see `localiser`), the children of one view from one reading of its region at twice the side. The
    views of the last layer go through a convolutional network `cnn` and, as a sequence in path order, through a GRU
    and a classifier of 512 and 256 units.

    Ours, where the paper is silent or needs weights we cannot ship: `cnn` is any registered encoder (paper: ImageNet
    Inception-v3); the GRU's width `hidden`, its last state, ReLU between linear layers; the next layer convolves the
    view sampled from its parent's reading, so gradients reach all layers, and only its source is read again; the
    final views are sampled from readings of 448 px (with `reread` in the plan every view is read anew, with the same
    gradient). Auxiliary classifiers, for training only, see the views of the
    first and of the last layer (paper: layers 1 and 3 of 3), by a small own network or any encoder instead of an
    ImageNet ResNet-18. With `density` (ours, off by default) the localisation nets see 1 - RGB, and 0 where the
    reading is black: black glass is darker than any lesion, so every edge of tissue would draw them; final views stay
    RGB. `cnn_px` (ours): side to which final views are averaged before the CNN, where they were enlarged from coarser
    readings anyway. `**plan` are the fields of `ZoomPlan`.
    """

    def __init__(
        self,
        *,
        n_classes: int = 2,
        cnn: str = "mini-encoder",
        cnn_options: Mapping[str, object] | None = None,
        cnn_mean: Sequence[float] = (0.5, 0.5, 0.5),
        cnn_std: Sequence[float] = (0.5, 0.5, 0.5),
        hidden: int = 512,
        dropout: float = 0.0,
        cnn_px: int | None = None,
        density: bool = False,
        auxiliary: bool = True,
        auxiliary_cnn: str = "mini-encoder",
        auxiliary_options: Mapping[str, object] | None = None,
        **plan: Any,
    ) -> None:
        super().__init__()
        self.plan = ZoomPlan.of(plan)
        self.n_classes, self.density, self.cnn_px = n_classes, density, cnn_px
        self.localisers = nn.ModuleList(Localiser(nets) if nets else nn.Identity() for nets in self._nets())
        self.cnn = build(cnn, **(cnn_options or {}))
        self.n_features = int(cast("int", self.cnn.n_features))
        self.register_buffer("mean", torch.tensor(tuple(cnn_mean)).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(cnn_std)).view(3, 1, 1), persistent=False)
        self.gru = nn.GRU(self.n_features, hidden, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, max(hidden // 2, 1)),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(max(hidden // 2, 1), n_classes),
        )
        self.auxiliary = nn.ModuleDict()
        if auxiliary:
            for depth in self.auxiliary_depths:
                net = build(auxiliary_cnn, **(AUXILIARY if auxiliary_options is None else auxiliary_options))
                self.auxiliary[str(depth)] = nn.Sequential(net, nn.Linear(cast("int", net.n_features), n_classes))

    @property
    def auxiliary_depths(self) -> tuple[int, ...]:
        """Depths whose views the auxiliary classifiers see: the first layer and the last."""
        return tuple(sorted({1, self.plan.layers}))

    def frozen(self, depth: int) -> bool:
        """Tell whether the first patch of every group of this layer takes its whole input."""
        return self.plan.frozen_patch and depth == 2

    def _nets(self) -> list[int]:
        """Return the number of localisation nets per layer."""
        counts = self.plan.counts
        return [
            counts[depth - 1] * (patches - self.frozen(depth)) for depth, patches in enumerate(self.plan.patches, 1)
        ]

    def walk(
        self, read: Read, batch: int = 1, *, linearised: bool = False, generator: torch.Generator | None = None
    ) -> Walk:
        """Zoom into a batch of slides; one reading per layer, of all its regions.

        The root is read at `source_px`, deeper regions too, the parents of final views at `last_source_px`; `read`
        gets regions without gradients. Views are sampled bilinearly; with `linearised`, for training, gradients to
        theta come from linearised multi-sampling (values stay the bilinear ones) with noise from `generator`. With
        `reread` in the plan views are read, as is said there; the gradient is that of sampling the reading itself.
        """
        plan, like = self.plan, cast("torch.Tensor", self.mean)
        sample, keep = (functools.partial(way, linear=linearised, generator=generator) for way in (cut, moved))
        rois = [Rois(like.new_zeros(batch, 1, 2), like.new_ones(batch, 1))]
        inputs: list[torch.Tensor] = []
        thetas: list[torch.Tensor] = []
        maps, scores = [], []
        for depth in range(1, plan.layers + 1):
            source = self._read(read, rois[-1], plan.readings[depth - 1][1])
            coded = dense(source) if self.density else source
            if not inputs:  # the root has no parent to be sampled from
                inputs.append(shrunk(coded, plan.view_px))
            elif plan.reread:
                inputs.append(keep(shrunk(coded, plan.view_px), thetas[-1]))
            seen, p, theta = self._locate(inputs[-1], depth)
            if depth < plan.layers and not plan.reread:
                inputs.append(sample(coded, theta, plan.view_px))
            rois.append(compose(rois[-1], theta))
            thetas.append(theta)
            maps.append(p)
            scores.append(seen)
        if plan.reread:
            finals = keep(self._read(read, rois[-1], plan.final_px), thetas[-1])
        else:
            finals = sample(source, thetas[-1], plan.final_px)
        shown = [dense(view) for view in inputs] if self.density else inputs
        return Walk(tuple(rois), tuple(thetas), tuple(maps), tuple(scores), (*shown, finals), tuple(inputs))

    def _read(self, read: Read, rois: Rois, px: int) -> torch.Tensor:
        like = cast("torch.Tensor", self.mean)
        found = read(Rois(rois.centre.detach(), rois.scale.detach()), px)
        wanted = (*rois.scale.shape, 3, px, px)
        if tuple(found.shape) != wanted:
            message = f"read returned {tuple(found.shape)}, expected {wanted}"
            raise ValueError(message)
        return found.to(like.device, like.dtype)

    def _locate(self, views: torch.Tensor, depth: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scores and maps (B, K * P, h, w) and theta (B, K * P, 3) of the patches of views (B, K, 3, h, w)."""
        batch, parents, _, height, width = views.shape
        plan, frozen = self.plan, self.frozen(depth)
        nets = plan.patches[depth - 1] - frozen
        found = [views.new_zeros((batch, parents, 1, height, width))] if frozen else []
        if nets:
            each = views.unsqueeze(2).expand(-1, -1, nets, -1, -1, -1).flatten(1, 2)
            seen = self.localisers[depth - 1](each)
            seen = seen.view(batch, parents, nets, height, width)
            found.append(keep_apart(seen, plan, depth) if plan.apart else seen)
        scores = torch.cat(found, 2)
        maps = sparse_map(scores, plan.sparse)
        theta = locate(maps, rules=plan.rules, min_scale=plan.floor(depth)).theta
        if frozen:
            # the text's rules would make more than the whole of a uniform map, and rounding a hair of translation
            whole = theta.new_tensor((1.0, 0.0, 0.0)).expand(batch, parents, 1, 3)
            theta = torch.cat((whole, theta[:, :, 1:]), 2)
        return scores.flatten(1, 2), maps.flatten(1, 2), theta.flatten(1, 2)

    def features(self, finals: torch.Tensor) -> torch.Tensor:
        """Encode final views (B, F, 3, px, px), 0..1, into rows (B, F, D); normalised here with the CNN's mean, std."""
        views = self._normalised(finals).flatten(0, 1)
        if self.cnn_px is not None:
            views = functional.adaptive_avg_pool2d(views, self.cnn_px)
        rows: torch.Tensor = self.cnn(views)
        return rows.view(*finals.shape[:2], -1)

    def classify(self, sequence: torch.Tensor) -> torch.Tensor:
        """Map feature rows (B, F, D) in path order to logits (B, C): GRU, its last state, 512, 256, classes."""
        _, last = self.gru(sequence)
        logits: torch.Tensor = self.head(last[0])
        return logits

    def auxiliary_logits(self, walk: Walk) -> dict[int, torch.Tensor]:
        """Return depth -> logits (B, C), the mean over the views of that depth; empty without auxiliary nets."""
        found = {}
        for key, net in self.auxiliary.items():
            views = self._normalised(walk.views[int(key)])
            found[int(key)] = net(views.flatten(0, 1)).view(*views.shape[:2], -1).mean(1)
        return found

    def _normalised(self, views: torch.Tensor) -> torch.Tensor:
        return (views - cast("torch.Tensor", self.mean)) / cast("torch.Tensor", self.std)

    def forward(self, read: Read, batch: int = 1) -> torch.Tensor:
        """Return logits (B, C) of slides; for losses and pictures use `walk`, `features` and `classify`."""
        return self.classify(self.features(self.walk(read, batch).views[-1]))

    def contributions(self, sequence: torch.Tensor) -> torch.Tensor:
        """Return how much each node speaks for each class (B, n_views, C), nodes in the order of `ZoomPlan.names`.

        Log-odds of the class with all final views (B, F, D), minus those with the views under the node left out of
        the sequence. 0 for the root and for every node that holds all final views: nothing would be left to judge.
        """
        whole = log_odds(self.classify(sequence))
        finals = sequence.shape[1]
        found = []
        for count in self.plan.counts:
            under = finals // count
            if under == finals:
                found.append(torch.zeros_like(whole)[:, None].expand(-1, count, -1))
                continue
            kept = torch.tensor(
                [[i for i in range(finals) if i // under != node] for node in range(count)], device=sequence.device
            )
            rest = sequence[:, kept].flatten(0, 1)
            odds = log_odds(self.classify(rest)).view(len(sequence), count, -1)
            found.append(whole[:, None] - odds)
        return torch.cat(found, 1)

    def fuse(self) -> MagNet:
        """Fold batch normalisations into convolutions everywhere; eval mode only."""
        for part in list(self.modules()):
            fuse = getattr(part, "fuse", None)
            if part is not self and callable(fuse):
                fuse()
        return self


def compose(parents: Rois, theta: torch.Tensor) -> Rois:
    """Place children theta (B, K * P, 3), P per parent side by side, in the root frame.

    Scales and places are taken as those of whole squares, though views are sampled corner-aligned: a child's border
    is at its outermost pixel centres. Less than one pixel of the reading lies between the two.
    """
    times = theta.shape[1] // parents.scale.shape[1]
    scale = parents.scale.repeat_interleave(times, 1)
    centre = parents.centre.repeat_interleave(times, 1)
    return Rois(centre + scale[..., None] * theta[..., 1:], scale * theta[..., 0])


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return log(p / (1 - p)) of every class (B, C); a single logit is its own."""
    if logits.shape[-1] == 1:
        return logits
    others = [torch.cat((logits[:, :c], logits[:, c + 1 :]), 1).logsumexp(1) for c in range(logits.shape[1])]
    return logits - torch.stack(others, 1)


@register("magnet")
def build_magnet(**options: object) -> nn.Module:
    """Build a `MagNet` from the options of a card."""
    return MagNet(**options)  # type: ignore[arg-type]
