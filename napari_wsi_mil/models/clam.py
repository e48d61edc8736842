"""CLAM: attention pooling that also learns, from its own best and worst tiles, what a tile of each class looks like."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from napari_wsi_mil.models.heads import AttentionPool, Centre, Head, HeadOutput, centred
from napari_wsi_mil.models.registry import register

InstanceLoss = Literal["ce", "svm"]


class CLAM(Head):
    """Clustering-constrained attention MIL, single (SB) or multiple (MB) branch.

    Lu et al., "Data-efficient and weakly supervised computational pathology on whole-slide images", Nature Biomedical
    Engineering 2021, methods; sizes, B = 8, the weights 0.7 and 0.3 and the treatment of the other classes as the
    released code has them: "small" is width 512 with attention 256, "big" has attention 384. SB has one attention for
    all classes, MB one per class, each with its own one-output classifier (`branches` "one" or "class").

    Instance loss (`bag_loss`): the B tiles with most attention of the true class count as tiles of it, the B with least
    as none, for that class's instance classifier. With `subtyping` (classes that exclude each other) the B most
    attended tiles are no tiles of each other class, and the sum of all classes is divided by their number. Bags of
    fewer than B tiles give what they have; below 2B some tiles are asked for both ways, as in the reference. The loss
    is cross-entropy ("ce") or the smooth top-1 SVM ("svm", Berrada, Zisserman, Kumar, ICLR 2018, equation 7 for
    k = 1 with margin 1 and temperature 1). `bag_share` weighs the two: `bag_weight` = bag_share for the recipe's loss,
    `bag_loss` = (1 - bag_share) times the instance loss.

    Each instance classifier has two outputs of which every loss sees only the difference: that difference, the log-odds
    that a tile belongs to the class, is `instance_logits`. That map and `centre` are our additions.
    """

    def __init__(
        self,
        *,
        n_features: int = 512,
        n_classes: int = 2,
        branches: Literal["one", "class"] = "one",
        width: int = 512,
        attention: int = 256,
        gated: bool = True,
        dropout: float = 0.25,
        instances: int = 8,
        instance_loss: InstanceLoss = "ce",
        subtyping: bool = False,
        bag_share: float = 0.7,
        centre: Centre = "none",
    ) -> None:
        super().__init__(n_features=n_features, n_classes=n_classes)
        if instances < 1 or not 0 <= bag_share <= 1 or instance_loss not in ("ce", "svm"):
            message = (
                f"expected instances of at least 1, bag_share within 0..1 and instance_loss 'ce' or 'svm', "
                f"got {instances}, {bag_share} and {instance_loss!r}"
            )
            raise ValueError(message)
        self.instances, self.instance_loss, self.subtyping = instances, instance_loss, subtyping
        self.bag_weight, self.centre = bag_share, centre
        self.project = nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Dropout(dropout))
        maps = n_classes if branches == "class" else 1
        self.pool = AttentionPool(width, attention, maps=maps, gated=gated, dropout=dropout)
        self.classify = nn.Linear(width, n_classes)
        self.judge = nn.ModuleList(nn.Linear(width, 2) for _ in range(n_classes))

    def forward(self, features: torch.Tensor, yx: torch.Tensor | None = None) -> HeadOutput:
        """Classify one bag, see `Head.forward`; `yx` is accepted and ignored."""
        self.check_bag(features, yx)
        tokens = self.project(centred(features, self.centre))
        pooled, raw, attention = self.pool(tokens)
        # One pooled row per class where each has its branch, else the same row for all.
        logits = (pooled * self.classify.weight).sum(1) + self.classify.bias
        odds = torch.stack([(pair[:, 1] - pair[:, 0]) for pair in (judge(tokens) for judge in self.judge)], 1)
        return HeadOutput(logits, raw, attention, odds)

    def bag_loss(self, output: HeadOutput, target: torch.Tensor) -> torch.Tensor | None:
        """Return (1 - bag_share) times the instance loss, see the class; None for a value, which has no classes."""
        if target.is_floating_point() or self.bag_weight == 1:
            return None
        return (1 - self.bag_weight) * self.loss_of_instances(output, int(target))

    def loss_of_instances(self, output: HeadOutput, label: int) -> torch.Tensor:
        """Return the scalar instance loss of a bag of class `label`."""
        assert output.instance_logits is not None
        total = output.logits.new_zeros(())
        for c in range(self.n_classes):
            if c != label and not self.subtyping:
                continue
            attention = output.attention_raw[c if len(output.attention_raw) > 1 else 0]
            odds = output.instance_logits[:, c]
            take = min(self.instances, len(odds))
            top = odds[attention.topk(take).indices]
            if c == label:
                bottom = odds[attention.topk(take, largest=False).indices]
                # Odds for what the tile should be: turned round where it should not be of the class.
                total = total + self._loss(torch.cat([top, -bottom]))
            else:
                total = total + self._loss(-top)
        return total / self.n_classes if self.subtyping else total

    def _loss(self, margin: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of (n,) margins: score of the right answer less that of the wrong one."""
        wanted = 1.0 if self.instance_loss == "svm" else 0.0
        return functional.softplus(wanted - margin).mean()


@register("clam-sb")
def build_clam_sb(**options: object) -> nn.Module:
    """Build a `CLAM` with one attention for all classes from the options of a card."""
    return CLAM(branches="one", **options)  # type: ignore[arg-type]


@register("clam-mb")
def build_clam_mb(**options: object) -> nn.Module:
    """Build a `CLAM` with one attention per class from the options of a card."""
    return CLAM(branches="class", **options)  # type: ignore[arg-type]
